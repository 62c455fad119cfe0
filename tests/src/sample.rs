//! `tidegate sample-app`, run as a process that a test can kill, stop, slow down and bring back.
//!
//! Invariant: a process that is dropped is gone, stopped or not.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Client, binary};

/// A running sample application.
#[derive(Debug)]
pub struct Sample {
    child: Child,
    address: SocketAddr,
    name: String,
    arguments: Vec<String>,
    /// Kept open, so that the process can go on printing.
    _stdout: BufReader<ChildStdout>,
}

impl Sample {
    /// Starts an application named `name` on a port that the system chooses.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    #[track_caller]
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), name, arguments)
    }

    /// Applications of these names, alike otherwise.
    #[must_use]
    #[track_caller]
    pub fn several(names: &[&str], arguments: &[&str]) -> Vec<Self> {
        names.iter().map(|name| Self::start(name, arguments)).collect()
    }

    #[track_caller]
    fn start_at(address: SocketAddr, name: &str, arguments: Vec<String>) -> Self {
        let mut child = Command::new(binary())
            .args(["--end-with-parent", &std::process::id().to_string()])
            .args(["--log", "warn", "sample-app", "--name", name])
            .args(["--listen", &address.to_string()])
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the application prints its address");
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split(' ').next())
            .and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { child, address, name: name.to_owned(), arguments, _stdout: stdout }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name, which each answer carries as `x-server`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the application runs");
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("an own process can be killed");
        self.child.wait().expect("an own process can be awaited");
    }

    /// Starts it again at the same address, after [`Sample::kill`].
    #[track_caller]
    pub fn revive(&mut self) {
        *self = Self::start_at(self.address, &self.name, self.arguments.clone());
    }

    /// Changes settings while it runs; `change` is a JSON object.
    ///
    /// # Panics
    /// When the application refuses the change.
    #[track_caller]
    pub fn control(&self, change: &str) {
        let mut client = Client::connect(self.address);
        let response = client.ask(format!(
            "POST /_control HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{change}",
            change.len()
        ));
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
