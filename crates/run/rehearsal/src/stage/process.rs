//! One process of a stage: started in the stage's folder, leased at once, ended in order.
//!
//! Each leads a process group of its own: Ctrl-C is for the drill alone, and the children of a
//! front door end with it. Invariant: dropped, its group is killed; nobody waits for that.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStdout, Command};

use crate::fault::watchdog::{LeaseId, Undo, Watchdog};

/// For a killed process to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// Of the end of a log that is shown.
const LOG_BYTES_MAX: u64 = 16 * 1_024;
const LOG_LINES_MAX: usize = 10;

/// Where processes are started.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The `tidegate` executable.
    pub(super) executable: PathBuf,
    /// The folder of the stage.
    pub(super) folder: PathBuf,
    pub(super) watchdog: Arc<Watchdog>,
}

impl Place {
    /// A process that is this executable again.
    pub(super) async fn tidegate(
        &self,
        name: &str,
        arguments: &[String],
    ) -> Result<Process, String> {
        self.start(name, arguments).await
    }

    /// A process of another program, which replaces a wrapper that made the kernel end it with
    /// the drill.
    pub(super) async fn other(
        &self,
        name: &str,
        program: &Path,
        arguments: &[String],
    ) -> Result<Process, String> {
        let program = program.display().to_string();
        let wrapper = ["exec".to_owned(), "--".to_owned(), program];
        self.start(name, &[&wrapper, arguments].concat()).await
    }

    async fn start(&self, name: &str, arguments: &[String]) -> Result<Process, String> {
        let log = self.folder.join(format!("{name}.log"));
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let child = Command::new(&self.executable)
            .args(["--end-with-parent", &std::process::id().to_string()])
            .args(arguments)
            // The watchdog ends whoever works inside the folder, leased or not yet.
            .current_dir(&self.folder)
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        let pid = child.id().ok_or_else(|| format!("{name} ended at once"))?;
        let mut process = Process {
            name: name.to_owned(),
            child,
            log,
            lease: None,
            watchdog: Arc::clone(&self.watchdog),
        };
        // A process that ended already cannot be leased: its log says more than the refusal.
        match self.watchdog.lease(Undo::EndProcess { pid, group: true }, None).await {
            Ok(lease) => process.lease = Some(lease),
            Err(error) if process.ended().is_none() => {
                return Err(process.wrong(&error.to_string()));
            }
            Err(_) => return Err(process.wrong("it ended at once")),
        }
        Ok(process)
    }
}

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    lease: Option<LeaseId>,
    watchdog: Arc<Watchdog>,
}

impl Process {
    /// Its id, until it was found to have ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What it prints; once.
    pub(super) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal to this process alone.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), String> {
        let pid = self.raw().ok_or_else(|| format!("{} does not run", self.name))?;
        kill_process(pid, signal)
            .map_err(|error| format!("{} cannot be sent a signal: {error}", self.name))
    }

    /// Tells it to end and waits for as long as `patience`; then it is killed. A stopped process
    /// goes on first, or it would not hear.
    pub(super) async fn end(mut self, patience: Duration) -> Result<(), String> {
        let told = self.signal(Signal::TERM).and_then(|()| self.signal(Signal::CONT)).is_ok();
        if told && tokio::time::timeout(patience, self.child.wait()).await.is_ok() {
            return self.release().await;
        }
        self.kill().await
    }

    /// Kills it with its children, as `kill -9` does, and waits until it is gone.
    pub(super) async fn kill(mut self) -> Result<(), String> {
        self.kill_group();
        match tokio::time::timeout(KILL_TIMEOUT, self.child.wait()).await {
            Ok(Ok(_)) => self.release().await,
            Ok(Err(error)) => Err(self.wrong(&format!("it cannot be awaited: {error}"))),
            Err(_) => Err(self.wrong("it does not end when it is killed")),
        }
    }

    async fn release(&mut self) -> Result<(), String> {
        let Some(lease) = self.lease.take() else { return Ok(()) };
        self.watchdog.release(lease).await.map(drop).map_err(|error| error.to_string())
    }

    fn kill_group(&self) {
        if let Some(pid) = self.raw()
            && let Err(error) = kill_process_group(pid, Signal::KILL)
        {
            // A group without members has ended already.
            tracing::debug!(%error, name = self.name, "nothing to kill");
        }
    }

    fn raw(&self) -> Option<Pid> {
        self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
    }

    /// An error that ends with the end of the process's log.
    pub(super) fn wrong(&self, why: &str) -> String {
        let log = log_end(&self.log);
        if log.is_empty() {
            return format!("{}: {why}", self.name);
        }
        format!("{}: {why}; the end of its log:\n{log}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// The last lines of a log, indented; empty when there is none.
pub(super) fn log_end(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES_MAX)))?;
        file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)
    });
    if read.is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.iter().skip(lines.len().saturating_sub(LOG_LINES_MAX));
    end.map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_the_last_lines_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(log_end(&path), "");
        let text: String = (0..10_000).map(|line| format!("line {line}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let end = log_end(&path);
        assert!(end.starts_with("  line 9990\n") && end.ends_with("\n  line 9999"), "{end}");
    }
}
