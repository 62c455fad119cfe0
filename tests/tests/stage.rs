//! The stage of a drill with each front door: it serves, is given changes, notices a dead server,
//! and leaves nothing behind.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use black_box::{Client, Finished, binary, tidegate};
use model::Name;
use model::drill::{
    Database, DoorBalance, DoorSetup, Drill, Event, Fault, Link, NetworkConditions, Stack,
};
use model::fact::Snapshot;
use model::load::{LoadPlan, Stream};
use model::sample::{RouteCost, SampleSettings};
use rehearsal::fault::watchdog::Watchdog;
use rehearsal::stage::{Answer, FrontDoor, NotApplied, Setup, Stage, TidegateTools, scratch};

/// The tools as somebody has them who has the binary alone.
struct Commands;

impl TidegateTools for Commands {
    fn check(&self, text: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let file = folder.path().join("tidegate.toml");
        std::fs::write(&file, text).expect("the folder is writable");
        let finished = tidegate(&["check", &file.display().to_string()]);
        if finished.code == Some(0) { Ok(()) } else { Err(finished.stdout + &finished.stderr) }
    }

    fn snapshot<'a>(&'a self, socket: &'a Path) -> Answer<'a, Option<Snapshot>> {
        let socket = socket.display().to_string();
        Box::pin(async {
            let finished = run(["status", "--json", "--socket"], socket).await;
            serde_json::from_str(&finished.stdout).ok()
        })
    }

    fn reload<'a>(&'a self, socket: &'a Path) -> Answer<'a, Result<String, String>> {
        let socket = socket.display().to_string();
        Box::pin(async {
            let finished = run(["reload", "--socket"], socket).await;
            if finished.code == Some(0) { Ok(finished.stdout) } else { Err(finished.stderr) }
        })
    }

    fn rollbacks<'a>(&'a self, socket: &'a Path) -> Answer<'a, Option<u64>> {
        let socket = socket.display().to_string();
        Box::pin(async {
            let finished = run(["history", "--json", "--socket"], socket).await;
            let history: serde_json::Value = serde_json::from_str(&finished.stdout).ok()?;
            let back = history.as_array()?.iter();
            let back = back.filter(|entry| entry["origin"]["kind"] == "automatic_rollback");
            u64::try_from(back.count()).ok()
        })
    }

    fn force<'a>(&'a self, socket: &'a Path, text: &'a str) -> Answer<'a, Result<String, String>> {
        let socket = socket.display().to_string();
        Box::pin(async move {
            let folder = tempfile::tempdir().expect("temporary folders can be made");
            let file = folder.path().join("tidegate.toml");
            std::fs::write(&file, text).expect("the folder is writable");
            let apply = move || {
                let file = file.display().to_string();
                let how = ["--force", "--detach", "--reason", "a stage without its guard"];
                tidegate(&[&["apply", &file][..], &how, &["--socket", &socket]].concat())
            };
            let finished = tokio::task::spawn_blocking(apply).await.expect("it can be run");
            if finished.code == Some(0) { Ok(finished.stdout) } else { Err(finished.stderr) }
        })
    }
}

/// Runs the binary while fault proxies go on: they live on this thread.
async fn run<const N: usize>(arguments: [&'static str; N], socket: String) -> Finished {
    let run = move || tidegate(&[&arguments[..], &[&socket]].concat());
    tokio::task::spawn_blocking(run).await.expect("the binary can be run")
}

fn drill() -> Drill {
    let server = |name: &str| SampleSettings {
        name: name.to_owned(),
        service_time_ms: 1.0,
        ..SampleSettings::default()
    };
    Drill {
        name: Name::from("stage"),
        title: String::new(),
        description: String::new(),
        duration: Duration::from_secs(10),
        stack: Stack { servers: vec![server("one"), server("two")], database: None },
        door: door(&[("one", 1), ("two", 1)]),
        load: LoadPlan { streams: vec![Stream::default()] },
        events: Vec::new(),
        symptoms: Vec::new(),
        expectations: Vec::new(),
    }
}

fn door(weights: &[(&str, u32)]) -> DoorSetup {
    DoorSetup {
        balance: DoorBalance::RoundRobin,
        weights: weights.iter().map(|(name, weight)| (Name::from(*name), *weight)).collect(),
        check_path: "/health".to_owned(),
        check_interval: Duration::from_millis(200),
        timeout: Duration::from_secs(5),
        attempts: 2,
        client_rate_per_second: None,
        client_header: None,
        server_in_flight_max: Some(100),
        forced: false,
    }
}

/// The values of a header in twenty answers, all of which are 200.
fn answers(door: SocketAddr, header: &str) -> BTreeSet<String> {
    let mut client = Client::connect(door);
    (0..20)
        .map(|_| {
            let response = client.get("/");
            assert_eq!(response.status, 200, "{}", response.text());
            response.header(header).unwrap_or_default().to_owned()
        })
        .collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Set-ups that use every word, each with a limit of five requests a second.
fn everything() -> Vec<DoorSetup> {
    let client = Name::from("x-client");
    let limited = DoorSetup { client_rate_per_second: Some(5), ..door(&[("one", 1), ("two", 0)]) };
    [DoorBalance::Default, DoorBalance::HashPath, DoorBalance::HashHeader(client.clone())]
        .into_iter()
        .zip([None, Some(client.clone()), Some(client)])
        .map(|(balance, client_header)| DoorSetup { balance, client_header, ..limited.clone() })
        .collect()
}

/// Whether one client's forty requests in a row meet a limit.
fn is_limited(door: SocketAddr) -> bool {
    let mut client = Client::connect(door);
    let ask = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Client: a\r\n\r\n";
    (0..40).any(|_| client.ask(ask).status == 429)
}

/// Processes that work in this folder.
fn processes(folder: &Path) -> usize {
    let works_there = |entry: std::io::Result<std::fs::DirEntry>| {
        let current = entry.ok().and_then(|entry| entry.path().join("cwd").read_link().ok());
        // A folder that is gone has a remark behind its name.
        current.is_some_and(|current: PathBuf| {
            current.display().to_string().starts_with(&folder.display().to_string())
        })
    };
    std::fs::read_dir("/proc")
        .expect("processes are listed")
        .map(works_there)
        .filter(|&works| works)
        .count()
}

/// Waits until the front door shows a server so.
async fn eventually_shown(stage: &Stage, server: usize, wrong: bool) {
    for _ in 0..400 {
        let look = stage.look().await.expect("the door runs");
        if look.servers[server].wrong == Some(wrong) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("server {server} is never shown with wrong = {wrong}: {:?}", stage.look().await);
}

async fn play(front: FrontDoor, guard: bool) {
    let watchdog = Watchdog::start(&binary(), &scratch()).await.expect("the watchdog starts");
    let watchdog = Arc::new(watchdog);
    let drill = drill();
    let executable = binary();
    let setup = Setup { drill: &drill, front, guard, seed: 7, executable: &executable };
    let raised = Stage::raise(setup, Arc::new(Commands), Arc::clone(&watchdog)).await;
    let stage = raised.unwrap_or_else(|why| panic!("{front}: {why}"));
    let folder = stage.folder().to_owned();

    assert_eq!(answers(stage.door_address(), "x-server"), names(&["one", "two"]), "{front}");
    let one = door(&[("one", 5)]);
    if guard && front == FrontDoor::Tidegate {
        let refused = stage.configure(&one).await;
        assert!(matches!(&refused, Err(NotApplied::Refused(why)) if why.contains("single-server")));
    }
    let forced = DoorSetup { forced: front == FrontDoor::Tidegate, ..one };
    stage.configure(&forced).await.expect("a forced change goes live");
    assert_eq!(answers(stage.door_address(), "x-server"), names(&["one"]), "{front}");
    // HAProxy takes a backend without servers.
    if front != FrontDoor::Haproxy {
        let refused = stage.configure(&door(&[])).await;
        assert!(matches!(refused, Err(NotApplied::Refused(_))), "{front}: {refused:?}");
        assert_eq!(answers(stage.door_address(), "x-server"), names(&["one"]), "{front}");
    }
    for setup in everything() {
        // Only tidegate objects to a server that gets everything.
        let setup = DoorSetup { forced: front == FrontDoor::Tidegate, ..setup };
        stage.configure(&setup).await.expect("every word is understood");
        let limited = is_limited(stage.door_address());
        // tidegate does not limit clients as yet.
        assert!(front == FrontDoor::Tidegate || limited == guard, "{front}");
    }
    // Not what it began with: that would be an old text.
    let both = door(&[("one", 2), ("two", 1)]);
    stage.configure(&both).await.expect("a good change goes live");

    let look = stage.look().await.expect("the door runs");
    let served: u64 =
        look.servers.iter().filter_map(|server| server.gauges).map(|of| of.served).sum();
    assert!(served >= 40, "{front}: {look:?}");
    if guard && front != FrontDoor::Nginx {
        stage.kill("two").await.expect("a server can be killed");
        eventually_shown(&stage, 1, true).await;
        assert_eq!(answers(stage.door_address(), "x-server"), names(&["one"]), "{front}");
        stage.start("two").await.expect("a server can be started");
        eventually_shown(&stage, 1, false).await;
    }
    let second = SampleSettings { version: "v2".to_owned(), ..drill.stack.servers[0].clone() };
    stage.deploy("one", &second).await.expect("a server can be replaced");
    let failing = SampleSettings { error_rate: 1.0, ..drill.stack.servers[1].clone() };
    stage.behave("two", &failing).await.expect("a server can be told");
    stage.recover("two").await.expect("a server recovers");
    stage.stop("two").await.expect("a server can be stopped");
    let look = stage.look().await.expect("the door runs");
    assert!(look.servers[1].alive && look.servers[1].gauges.is_none(), "{front}: {look:?}");
    stage.cont("two").await.expect("a server can go on");

    assert!(processes(&folder) >= 3, "{front}");
    stage.end().await.unwrap_or_else(|why| panic!("{front}: {why}"));
    assert_eq!((processes(&folder), folder.exists()), (0, false), "{front}");
    let watchdog = Arc::into_inner(watchdog).expect("nobody else has it");
    watchdog.end().await.expect("nothing was left to undo");
}

#[tokio::test]
async fn tidegate_takes_changes_notices_a_dead_server_and_leaves_nothing() {
    play(FrontDoor::Tidegate, true).await;
}

#[tokio::test]
async fn nginx_takes_changes_and_leaves_nothing() {
    play(FrontDoor::Nginx, true).await;
}

#[tokio::test]
async fn haproxy_takes_changes_notices_a_dead_server_and_leaves_nothing() {
    play(FrontDoor::Haproxy, true).await;
}

#[tokio::test]
async fn without_the_guard_every_front_door_takes_the_same_changes() {
    for front in [FrontDoor::Tidegate, FrontDoor::Nginx, FrontDoor::Haproxy] {
        play(front, false).await;
    }
}

/// As [`answers`], while proxies need this thread.
async fn answers_meanwhile(stage: &Stage) -> BTreeSet<String> {
    let door = stage.door_address();
    let asked = tokio::task::spawn_blocking(move || answers(door, "x-server"));
    asked.await.expect("every answer is 200")
}

#[tokio::test]
async fn links_that_a_drill_breaks_have_a_proxy_the_database_too() {
    let watchdog = Watchdog::start(&binary(), &scratch()).await.expect("the watchdog starts");
    let watchdog = Arc::new(watchdog);
    let mut drill = drill();
    drill.stack.database = Some(Database { connections_max: 20, rows: 10 });
    for server in &mut drill.stack.servers {
        server.routes = vec![RouteCost { queries: 1, ..RouteCost::default() }];
    }
    let links = [Link::Clients, Link::Server(Name::from("one")), Link::Database];
    drill.events = links.iter().cloned().map(broken).collect();
    let executable = binary();
    let front = FrontDoor::Tidegate;
    let setup = Setup { drill: &drill, front, guard: true, seed: 7, executable: &executable };
    let raised = Stage::raise(setup, Arc::new(Commands), Arc::clone(&watchdog)).await;
    let stage = raised.unwrap_or_else(|why| panic!("{why}"));

    eventually_shown(&stage, 0, false).await;
    assert_eq!(answers_meanwhile(&stage).await, names(&["one", "two"]));
    let look = stage.look().await.expect("the door runs");
    let attempts = look.servers.iter().filter_map(|server| server.gauges);
    assert!(attempts.map(|of| of.database_attempts).sum::<u64>() >= 20, "{look:?}");

    let closed = NetworkConditions { connections_max: Some(0), ..NetworkConditions::default() };
    stage.network(&links[1], closed).expect("the link has a proxy");
    eventually_shown(&stage, 0, true).await;
    assert_eq!(answers_meanwhile(&stage).await, names(&["two"]));
    let other = stage.network(&Link::Server(Name::from("two")), closed);
    assert!(other.is_err(), "no fault is about this link");

    stage.network(&links[1], NetworkConditions::default()).expect("the link has a proxy");
    let slow = NetworkConditions { latency: Duration::from_millis(20), ..closed };
    let slow = NetworkConditions { connections_max: None, ..slow };
    stage.network(&Link::Clients, slow).expect("the link has a proxy");
    let begin = tokio::time::Instant::now();
    answers_meanwhile(&stage).await;
    // Twenty answers, each at least that late in both directions.
    assert!(begin.elapsed() >= Duration::from_millis(800), "{:?}", begin.elapsed());
    stage.end().await.unwrap_or_else(|why| panic!("{why}"));
}

fn broken(link: Link) -> Event {
    let conditions = NetworkConditions { black_hole: true, ..NetworkConditions::default() };
    let fault = Fault::Network { link, conditions };
    Event { at: Duration::from_secs(1), lasting: None, fault }
}
