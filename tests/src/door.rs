//! The real binary, run in a folder of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::admin::{self, AdminAnswer};
use crate::{eventually_some, wait};

/// The binary under test: the release or the debug build, whichever was built last, so that no
/// test passes or fails by what was built long ago.
///
/// # Panics
/// When neither is there.
#[must_use]
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its file");
    // <target>/<profile>/deps/<test>
    let profile = own.parent().and_then(Path::parent).expect("tests run from a target folder");
    let target = profile.parent().expect("tests run from a target folder");
    let builds = [target.join("release/tidegate"), target.join("debug/tidegate")];
    let built = |file: &PathBuf| file.metadata().and_then(|about| about.modified()).ok();
    let newest = builds.into_iter().filter(|file| file.is_file()).max_by_key(built);
    newest.unwrap_or_else(|| no_binary(target))
}

fn no_binary(target: &Path) -> ! {
    panic!(
        "there is no tidegate in {}: run `cargo build -p tidegate` (or with `--release`) first",
        target.display()
    );
}

/// What a finished command left.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
}

/// Runs the binary with these arguments to its end.
///
/// # Panics
/// When it cannot be run.
#[must_use]
pub fn tidegate(arguments: &[&str]) -> Finished {
    // A door that says nothing of its state keeps it here, and not where the machine's own is.
    let state = tempfile::tempdir().expect("temporary folders can be made");
    let output = Command::new(binary())
        .args(arguments)
        .env("STATE_DIRECTORY", state.path())
        .stdin(Stdio::null())
        .output()
        .expect("the binary can be run");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A running front door. Dropped, it gets SIGTERM, and SIGKILL if it does not end.
#[derive(Debug)]
pub struct Door {
    child: Child,
    status: Option<ExitStatus>,
    folder: TempDir,
    /// Names and addresses of the listeners, in the order they were printed.
    listeners: Vec<(String, SocketAddr)>,
    stdout: Arc<Mutex<String>>,
    /// Processes that another one took over from, oldest first.
    retired: Vec<Child>,
}

impl Door {
    /// Starts a door with this configuration, and waits until it listens.
    ///
    /// In the text `{dir}` stands for the folder of the configuration. What a test does not care
    /// about is added: `[admin]` with a socket in that folder, `[door]` with one worker, so that
    /// server connections are reused predictably, and allowances for [`LEAN`].
    ///
    /// # Panics
    /// When it does not listen in time; with its log.
    #[must_use]
    #[track_caller]
    pub fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        std::fs::write(folder.path().join("tidegate.toml"), whole(text, folder.path()))
            .expect("the folder is writable");
        let (child, stdout) = run(folder.path(), None);
        let mut door = Self {
            child,
            status: None,
            folder,
            listeners: Vec::new(),
            stdout,
            retired: Vec::new(),
        };
        door.wait_for_listeners(text.matches("[listen.").count());
        door
    }

    /// Ends the process as a crash does and starts it again, with the same folder.
    ///
    /// # Panics
    /// When it does not listen in time; with its log.
    #[track_caller]
    pub fn crash(&mut self) {
        self.child.kill().expect("the door runs");
        self.child.wait().expect("the door ends");
        let expected = self.listeners.len();
        (self.child, self.stdout) = run(self.folder.path(), None);
        self.wait_for_listeners(expected);
    }

    /// Starts another process that takes over, and waits until it listens.
    ///
    /// # Panics
    /// When it does not listen in time; with the log of all.
    #[track_caller]
    pub fn upgrade(&mut self) {
        let expected = self.listeners.len();
        let (child, stdout) = run(self.folder.path(), Some(&self.handover_socket()));
        self.retired.push(std::mem::replace(&mut self.child, child));
        self.stdout = stdout;
        self.wait_for_listeners(expected);
        let told = "the door that ran before retires";
        let retired = self.retired.len();
        let found = wait::look(|| (self.log().matches(told).count() >= retired).then_some(()));
        assert!(found.is_some(), "the old process does not retire:\n{}", self.log());
    }

    /// Where another process asks to take over.
    #[must_use]
    pub fn handover_socket(&self) -> PathBuf {
        self.folder().join("admin.sock.handover")
    }

    /// How many of the processes that another one took over from still run.
    #[must_use]
    pub fn retiring(&mut self) -> usize {
        self.retired
            .iter_mut()
            .filter_map(|child| child.try_wait().ok())
            .filter(Option::is_none)
            .count()
    }

    /// `text` with what every test needs, as [`Door::start`] adds it.
    #[must_use]
    pub fn complete(&self, text: &str) -> String {
        whole(text, self.folder())
    }

    #[track_caller]
    fn wait_for_listeners(&mut self, expected: usize) {
        let found = wait::look(|| {
            let listeners: Vec<_> = self.stdout().lines().filter_map(listener_of).collect();
            let ended = !matches!(self.child.try_wait(), Ok(None));
            (listeners.len() >= expected || ended).then_some(listeners)
        });
        self.listeners = found.unwrap_or_default();
        assert!(self.listeners.len() >= expected, "the door does not listen:\n{}", self.log());
    }

    /// Where the listener `name` is.
    ///
    /// # Panics
    /// When there is none of this name.
    #[must_use]
    #[track_caller]
    pub fn address(&self, name: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("no listener {name:?} in {:?}", self.listeners)).1
    }

    /// Where the first listener is.
    #[must_use]
    pub fn first_address(&self) -> SocketAddr {
        self.listeners[0].1
    }

    /// The folder of its configuration.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file of its configuration.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.folder().join("tidegate.toml")
    }

    /// The admin socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder().join("admin.sock")
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far, on stderr.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it printed so far, on stdout.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines of the access log `{dir}/access`, once there are `at_least` so many.
    ///
    /// # Panics
    /// When they do not come.
    #[must_use]
    #[track_caller]
    pub fn access_lines(&self, at_least: usize) -> Vec<String> {
        let file = self.folder().join("access");
        eventually_some(&format!("there are {at_least} lines in the access log"), || {
            let text = std::fs::read_to_string(&file).ok()?;
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            (lines.len() >= at_least && text.ends_with('\n')).then_some(lines)
        })
    }

    /// Asks the admin interface; `request` is a method and a path.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn admin(&self, request: &str, body: &str) -> AdminAnswer {
        admin::ask(&self.socket(), &format!("{request} HTTP/1.1"), body)
            .expect("the admin interface answers")
    }

    /// The metrics, as Prometheus text.
    #[must_use]
    #[track_caller]
    pub fn metrics(&self) -> String {
        self.admin("GET /metrics", "").body
    }

    /// The metrics, as OpenMetrics.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn open_metrics(&self) -> AdminAnswer {
        let head = "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text";
        admin::ask(&self.socket(), head, "").expect("the admin interface answers")
    }

    /// The sum of the samples of `metric` whose labels hold each of `labels` (`reason="x"`).
    #[must_use]
    #[track_caller]
    pub fn metric(&self, metric: &str, labels: &[&str]) -> f64 {
        let metrics = self.metrics();
        let samples = metrics.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, told) = series.split_once('{').unwrap_or((series, ""));
            let fits = name == metric && labels.iter().all(|label| told.contains(label));
            fits.then(|| value.parse::<f64>().ok())?
        });
        samples.sum()
    }

    /// The last second's snapshot; waits for the first.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        eventually_some("there is a snapshot", || {
            let answer = self.admin("GET /v1/status", "");
            (answer.status == 200).then(|| serde_json::from_str(&answer.body).ok())?
        })
    }

    /// Replaces the configuration file; takes effect at the next reload.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn rewrite(&self, text: &str) {
        std::fs::write(self.configuration(), whole(text, self.folder()))
            .expect("the folder is writable");
    }

    /// Reloads over the admin interface and waits for the outcome.
    #[must_use]
    #[track_caller]
    pub fn reload(&self) -> AdminAnswer {
        self.admin("POST /v1/reload", "{}")
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).expect("the door runs");
    }

    fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// True while the process runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.status.is_none() && matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until the process ends by itself.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually_some("the door ends", || child.try_wait().ok().flatten());
        self.status = Some(status);
        status
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// When the system does not tell.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the process has a status");
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        let kibibytes = line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
        kibibytes.expect("the status tells the memory") * 1_024
    }
}

/// Starts the binary with the configuration in `folder`; its log is appended to.
fn run(folder: &Path, from: Option<&Path>) -> (Child, Arc<Mutex<String>>) {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log"));
    let mut child = Command::new(binary())
        .arg("run")
        .arg("-c")
        .arg(folder.join("tidegate.toml"))
        .args(from.map(|socket| format!("--take-over={}", socket.display())))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.expect("the folder is writable"))
        .spawn()
        .expect("the binary can be run");
    let output = child.stdout.take().expect("stdout is piped");
    let stdout = Arc::new(Mutex::new(String::new()));
    std::thread::spawn({
        let stdout = Arc::clone(&stdout);
        move || collect(output, &stdout)
    });
    (child, stdout)
}

impl Drop for Door {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show(&self.log());
        }
        for retired in &mut self.retired {
            drop(retired.kill());
            drop(retired.wait());
        }
        if self.status.is_some() || !self.is_running() {
            return;
        }
        let told = kill_process(self.process(), Signal::TERM).is_ok();
        let child = &mut self.child;
        if !told || wait::look(|| child.try_wait().ok().flatten()).is_none() {
            drop(child.kill());
            drop(child.wait());
            if !std::thread::panicking() {
                panic!("the door did not end after SIGTERM:\n{}", self.log());
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "the log of the door belongs to the failed test's output")]
fn show(log: &str) {
    eprintln!("--- the door's log ---\n{log}--- end of the door's log ---");
}

/// The rules that tests break for their own good: one server says more clearly than two what the
/// door did to it, no check means no requests but the test's, and all is on one machine.
const LEAN: [&str; 3] = ["single-server", "no-health-check", "narrow-hash-key"];

/// The configuration with what every test needs. A rule that the text itself speaks of is left
/// to it.
fn whole(text: &str, folder: &Path) -> String {
    let mut text = text.replace("{dir}", &folder.display().to_string());
    let state = format!("state = \"{}/state\"\n", folder.display());
    if !text.contains("[door]") {
        text.push_str(&format!("\n[door]\nworkers = 1\ndrain = \"1s\"\n{state}"));
    } else if !text.contains("state = ") {
        text = text.replacen("[door]\n", &format!("[door]\n{state}"), 1);
    }
    if !text.contains("[admin]") {
        text.push_str(&format!("\n[admin]\nsocket = \"{}/admin.sock\"\n", folder.display()));
    }
    for rule in
        LEAN.iter().filter(|rule| !text.contains(&format!("\"{rule}\""))).collect::<Vec<_>>()
    {
        text.push_str(&format!(
            "\n[[allow]]\nrule = \"{rule}\"\nreason = \"tests are as small as they can be\"\n"
        ));
    }
    text
}

/// `listening on ADDRESS name=NAME`.
fn listener_of(line: &str) -> Option<(String, SocketAddr)> {
    let (address, name) = line.strip_prefix("listening on ")?.split_once(" name=")?;
    Some((name.to_owned(), address.parse().ok()?))
}

fn collect(output: impl Read, into: &Mutex<String>) {
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(lines.read_until(b'\n', &mut line), Ok(count) if count > 0) {
        into.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
}
