//! The watchdog's own side over pipes, with real processes and folders.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{
    AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf, duplex,
    split,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Grounds, own_session, serve};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A watchdog that serves in this process.
struct Served {
    orders: WriteHalf<DuplexStream>,
    answers: Lines<BufReader<ReadHalf<DuplexStream>>>,
    task: JoinSet<Result<(), String>>,
    scratch: TempDir,
}

impl Served {
    async fn start() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let grounds = Grounds { scratch: scratch.path().to_owned(), session: own_session() };
        let (drill, watchdog) = duplex(4_096);
        let (input, output) = split(watchdog);
        let mut task = JoinSet::new();
        task.spawn(serve(input, output, grounds));
        let (answers, orders) = split(drill);
        let mut served = Self { orders, answers: BufReader::new(answers).lines(), task, scratch };
        assert_eq!(served.answer().await, json!("ready"));
        served
    }

    async fn answer(&mut self) -> Value {
        let line = timeout(PATIENCE, self.answers.next_line()).await.expect("an answer in time");
        let line = line.unwrap().expect("an answer before the end");
        serde_json::from_str::<Value>(&line).unwrap()["outcome"].clone()
    }

    async fn order(&mut self, order: Value) -> Value {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
        self.answer().await
    }

    async fn lease(&mut self, id: u64, undo: Value) {
        assert_eq!(self.order(json!({ "id": id, "undo": undo })).await, json!("leased"));
    }

    /// The end of the pipe, and what `serve` says.
    async fn end(&mut self) -> Result<(), String> {
        self.orders.shutdown().await.unwrap();
        timeout(PATIENCE, self.task.join_next()).await.expect("it ends in time").unwrap().unwrap()
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.scratch.path().canonicalize().unwrap().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("file"), "data").unwrap();
        folder
    }
}

/// A shell that runs `script` and leads a process group; killed in the end if the test failed.
struct Shell(Child);

impl Shell {
    fn run(script: &str, folder: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(folder).process_group(0);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn sleep() -> Self {
        Self::run("exec sleep 1000", Path::new("/"))
    }

    /// It has the listener, and nobody else has.
    fn holding(listener: std::net::TcpListener) -> Self {
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(std::os::fd::OwnedFd::from(listener));
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// `S` sleeping, `T` stopped, `Z` ended.
    fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

fn end_process(shell: &Shell) -> Value {
    json!({ "end_process": { "pid": shell.pid(), "group": false } })
}

#[tokio::test]
async fn the_end_of_the_pipe_undoes_what_was_not_released() {
    let mut served = Served::start().await;
    let (mut leased, mut released) = (Shell::sleep(), Shell::sleep());
    let folder = served.folder("tidegate-drill-a");
    served.lease(1, json!({ "remove_folder": { "path": folder } })).await;
    served.lease(2, end_process(&leased)).await;
    served.lease(3, end_process(&released)).await;
    assert_eq!(served.order(json!({ "id": 3 })).await, json!("released"));
    assert_eq!(served.order(json!({ "id": 3 })).await, json!("over"));
    assert!(folder.exists() && leased.is_running(), "nothing is undone before the end");
    served.end().await.unwrap();
    assert!(!folder.exists());
    assert!(!leased.is_running());
    assert!(released.is_running());
}

#[tokio::test]
async fn a_lease_with_an_end_is_undone_then() {
    let mut served = Served::start().await;
    let mut shell = Shell::sleep();
    let lease = json!({ "id": 1, "undo": end_process(&shell), "lasting_ms": 50 });
    assert_eq!(served.order(lease).await, json!("leased"));
    eventually("the lease ends", || !shell.is_running()).await;
    assert_eq!(served.order(json!({ "id": 1 })).await, json!("over"));
    served.end().await.unwrap();
}

#[tokio::test]
async fn a_stopped_process_goes_on_or_ends() {
    let mut served = Served::start().await;
    let (shell, mut ending) = (Shell::sleep(), Shell::sleep());
    for stopped in [&shell, &ending] {
        kill_process(Pid::from_child(&stopped.0), Signal::STOP).unwrap();
        eventually("it is stopped", || stopped.state() == Some('T')).await;
    }
    served.lease(1, json!({ "continue": { "pid": shell.pid() } })).await;
    served.lease(2, end_process(&ending)).await;
    served.end().await.unwrap();
    eventually("it goes on", || shell.state() == Some('S')).await;
    assert!(!ending.is_running());
}

#[tokio::test]
async fn a_group_ends_whole_also_when_it_ignores_sigterm() {
    let mut served = Served::start().await;
    let folder = served.folder("marks");
    // Both processes say that they are deaf before they are leased.
    let deaf = "trap '' TERM; touch deaf-1; (touch deaf-2; while :; do sleep 1; done) & echo $! > child; while :; do sleep 1; done";
    let mut shell = Shell::run(deaf, &folder);
    let mut child = String::new();
    eventually("both are deaf", || {
        child = std::fs::read_to_string(folder.join("child")).unwrap_or_default();
        folder.join("deaf-2").exists() && child.ends_with('\n')
    })
    .await;
    served.lease(1, json!({ "end_process": { "pid": shell.pid(), "group": true } })).await;
    served.end().await.unwrap();
    assert!(!shell.is_running());
    // Nobody of ours reaps the child: it is gone, or a zombie until its new parent does.
    let stat = format!("/proc/{}/stat", child.trim());
    eventually("the child ends", || {
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    })
    .await;
}

#[tokio::test]
async fn a_process_that_nobody_leased_ends_with_its_folder() {
    let mut served = Served::start().await;
    let (folder, other) = (served.folder("tidegate-drill-a"), served.folder("tidegate-drill-b"));
    served.lease(1, json!({ "remove_folder": { "path": folder } })).await;
    let mut inside = Shell::run("exec sleep 1000", &folder);
    let mut outside = Shell::run("exec sleep 1000", &other);
    served.end().await.unwrap();
    assert!(!inside.is_running() && !folder.exists());
    assert!(outside.is_running() && other.exists());
}

#[tokio::test]
async fn what_cannot_be_undone_is_refused() {
    let mut served = Served::start().await;
    let mut gone = Shell::sleep();
    gone.0.kill().unwrap();
    gone.0.wait().unwrap();
    let orders = [
        (end_process(&gone), "is not there"),
        (json!({ "continue": { "pid": u32::MAX } }), "is not there"),
        (json!({ "remove_folder": { "path": "/tidegate-drill-a" } }), "does not lie inside"),
        (json!({ "set_sample": { "address": "127.0.0.1:1", "settings": 1 } }), "are an object"),
    ];
    for (undo, why) in orders {
        let answer = served.order(json!({ "id": 1, "undo": undo })).await;
        assert!(answer["refused"].as_str().unwrap().contains(why), "{answer}");
    }
    served.end().await.unwrap();
}

#[tokio::test]
async fn an_application_that_is_gone_or_about_to_go_needs_no_settings() {
    let mut served = Served::start().await;
    // Never answers, as an application that is stopped; its listener ends with its lease.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let set = |address: &str| json!({ "set_sample": { "address": address, "settings": {} } });
    let mut shell = Shell::holding(silent);
    served.lease(1, end_process(&shell)).await;
    served.lease(2, set("127.0.0.1:1")).await;
    served.lease(3, set(&address.to_string())).await;
    served.end().await.unwrap();
    assert!(!shell.is_running());
}

#[tokio::test]
async fn a_drill_that_writes_nonsense_is_over() {
    for nonsense in ["{}\n".to_owned(), "x".repeat(70_000)] {
        let mut served = Served::start().await;
        let mut shell = Shell::sleep();
        served.lease(1, end_process(&shell)).await;
        // The watchdog may stop reading before all is written.
        drop(served.orders.write_all(nonsense.as_bytes()).await);
        let ended = timeout(PATIENCE, served.task.join_next()).await.expect("it ends in time");
        assert_eq!(ended.unwrap().unwrap(), Ok(()));
        assert!(!shell.is_running());
    }
}
