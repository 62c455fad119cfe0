//! Undoes what is still broken when the drill's own process can no longer do it.
//!
//! The watchdog is this executable once more, in a session of its own. The drill writes one JSON
//! line per lease and per release into its stdin, and applies a fault only after the lease was
//! acknowledged; so a fault never exists without somebody who undoes it. At a lease's end, and
//! for all leases at the end of the pipe (the drill ended, failed, or was killed with -9), it
//! undoes what is leased, newest first.
//!
//! Invariant: it signals only the very processes that were leased (a pidfd, not a number that may
//! have been given to somebody else), and removes only folders that are named as a drill's.

mod process;
mod serve;
mod sweep;
mod undo;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use serve::{Grounds, serve};
pub use sweep::own_session;

/// What the names of folders that a watchdog may remove begin with.
pub const FOLDER_PREFIX: &str = "tidegate-drill-";
/// Bytes of one line, both ways.
const LINE_BYTES_MAX: usize = 64 * 1_024;
/// For the watchdog to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// For its answer: it may be undoing leases that ended.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// For it to undo everything and end.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// Calls that wait for their turn.
const CALLS_MAX: usize = 64;

/// How a fault is undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Undo {
    /// The process is ended: SIGTERM (and SIGCONT, in case it is stopped), and SIGKILL 2 s later.
    EndProcess {
        /// The process.
        pid: u32,
        /// With the process group it leads: nginx, HAProxy and PostgreSQL have children.
        group: bool,
    },
    /// The process goes on: SIGCONT.
    Continue {
        /// The process.
        pid: u32,
    },
    /// The folder goes with all that is in it, after the processes of the drill whose current
    /// folder lies inside were ended. It need not exist when it is leased; its name begins with
    /// [`FOLDER_PREFIX`] and it lies inside the watchdog's scratch folder.
    RemoveFolder {
        /// Its absolute path.
        path: PathBuf,
    },
    /// The sample application gets settings back.
    SetSample {
        /// Where it listens.
        address: SocketAddr,
        /// An object of settings, as its `/_control` takes it.
        settings: serde_json::Value,
    },
}

/// One lease of one watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(u64);

/// Why there is no watchdog, no lease, or no clean end.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    /// The process cannot be started.
    #[error("{} cannot be started as the watchdog of the drill", .0.display())]
    Start(PathBuf, #[source] io::Error),
    /// The process does not say that it is ready.
    #[error("the watchdog of the drill did not become ready within {} s", START_TIMEOUT.as_secs())]
    NotReady,
    /// The process ended too early; nothing may be broken any more, since nobody would undo it.
    #[error("the watchdog of the drill ended: break nothing more, and run the drill again")]
    Gone,
    /// No answer in time.
    #[error("the watchdog of the drill did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Late,
    /// It does not take this lease.
    #[error("the watchdog of the drill refuses a lease: {0}")]
    Refused(String),
    /// It ended, and could not undo everything; its log says what.
    #[error("the watchdog of the drill could not undo everything ({0}); its log says what is left")]
    Unclean(ExitStatus),
}

/// From the drill to the watchdog: a lease, or without an undo the release of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undo: Option<Undo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lasting_ms: Option<u64>,
}

/// From the watchdog to the drill. The first, for id 0, says that it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    id: u64,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ready,
    Leased,
    Released,
    /// There is no such lease: it ended before.
    Over,
    Refused(String),
}

type Call = (Order, oneshot::Sender<Result<Outcome, WatchdogError>>);

/// The drill's side of its watchdog. Dropped: the pipe ends, and everything leased is undone.
#[derive(Debug)]
pub struct Watchdog {
    calls: mpsc::Sender<Call>,
    /// The one task that speaks with the process; dropped with this, it closes the pipe.
    line: JoinSet<Result<(), WatchdogError>>,
    id_last: AtomicU64,
    pid: u32,
}

impl Watchdog {
    /// Starts `executable drill-watchdog` and waits until it is ready. It may remove folders inside
    /// `scratch` alone, which exists. Needs a tokio runtime that lives as long as this value.
    ///
    /// # Errors
    /// It cannot be started, or does not become ready.
    pub async fn start(executable: &Path, scratch: &Path) -> Result<Self, WatchdogError> {
        let wrong = |error| WatchdogError::Start(executable.to_owned(), error);
        let mut child = Command::new(executable)
            .args(["--log", "warn", "drill-watchdog", "--scratch"])
            .arg(std::path::absolute(scratch).map_err(wrong)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(wrong)?;
        let (Some(stdin), Some(stdout), Some(pid)) =
            (child.stdin.take(), child.stdout.take(), child.id())
        else {
            return Err(WatchdogError::Gone);
        };
        let mut line = Line { child, stdin, answers: answers(stdout) };
        match timeout(START_TIMEOUT, line.answer(0)).await {
            Ok(Ok(Outcome::Ready)) => {}
            Ok(Ok(_)) | Err(_) => return Err(WatchdogError::NotReady),
            Ok(Err(error)) => return Err(error),
        }
        let (calls, orders) = mpsc::channel(CALLS_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(line.keep(orders));
        Ok(Self { calls, line: tasks, id_last: AtomicU64::new(0), pid })
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Leases a fault; break nothing before this is `Ok`. The process that is leased must run.
    ///
    /// `lasting`: the watchdog undoes it then by itself. A drill that undoes it in time gives some
    /// seconds more than that and releases it.
    ///
    /// # Errors
    /// The lease is refused (no such process, no folder of a drill, too many), or the watchdog is gone.
    pub async fn lease(
        &self,
        undo: Undo,
        lasting: Option<Duration>,
    ) -> Result<LeaseId, WatchdogError> {
        let id = self.id_last.fetch_add(1, Ordering::Relaxed) + 1;
        let lasting_ms =
            lasting.map(|lasting| u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX));
        match self.call(Order { id, undo: Some(undo), lasting_ms }).await? {
            Outcome::Leased => Ok(LeaseId(id)),
            Outcome::Refused(why) => Err(WatchdogError::Refused(why)),
            Outcome::Ready | Outcome::Released | Outcome::Over => Err(WatchdogError::Gone),
        }
    }

    /// Ends a lease without undoing anything: the drill undid it, or it is no longer needed.
    /// `false`: it was over before, and the watchdog undid it.
    ///
    /// # Errors
    /// The watchdog is gone.
    pub async fn release(&self, lease: LeaseId) -> Result<bool, WatchdogError> {
        let outcome = self.call(Order { id: lease.0, undo: None, lasting_ms: None }).await?;
        Ok(outcome == Outcome::Released)
    }

    /// Ends the watchdog: it undoes what is still leased. Waits for up to 60 s.
    ///
    /// # Errors
    /// It does not end in time, or could not undo everything.
    pub async fn end(self) -> Result<(), WatchdogError> {
        let Self { calls, mut line, .. } = self;
        drop(calls);
        match timeout(END_TIMEOUT, line.join_next()).await {
            Ok(Some(Ok(ended))) => ended,
            Ok(Some(Err(_)) | None) => Err(WatchdogError::Gone),
            Err(_) => Err(WatchdogError::Late),
        }
    }

    async fn call(&self, order: Order) -> Result<Outcome, WatchdogError> {
        let (sender, answer) = oneshot::channel();
        let sent = self.calls.send((order, sender)).await;
        sent.map_err(|_gone| WatchdogError::Gone)?;
        answer.await.map_err(|_gone| WatchdogError::Gone)?
    }
}

/// The pipes to the process and back.
#[derive(Debug)]
struct Line {
    child: Child,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

fn answers(stdout: ChildStdout) -> Lines<BufReader<ChildStdout>> {
    use tokio::io::AsyncBufReadExt as _;
    BufReader::new(stdout).lines()
}

impl Line {
    /// One call after the other. A caller that no longer waits disturbs nothing: its exchange is
    /// completed here. After one that failed nothing can be trusted, so the pipe is closed.
    async fn keep(mut self, mut calls: mpsc::Receiver<Call>) -> Result<(), WatchdogError> {
        while let Some((order, sender)) = calls.recv().await {
            let outcome = self.exchange(&order).await;
            let broken = outcome.is_err();
            drop(sender.send(outcome));
            if broken {
                break;
            }
        }
        let Self { mut child, stdin, answers } = self;
        drop((stdin, answers));
        match child.wait().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(WatchdogError::Unclean(status)),
            Err(_) => Err(WatchdogError::Gone),
        }
    }

    async fn exchange(&mut self, order: &Order) -> Result<Outcome, WatchdogError> {
        let mut line = serde_json::to_string(order).map_err(|error| refused(&error))?;
        if line.len() >= LINE_BYTES_MAX {
            return Ok(Outcome::Refused(format!("it is longer than {LINE_BYTES_MAX} bytes")));
        }
        line.push('\n');
        let exchange = async {
            self.stdin.write_all(line.as_bytes()).await.map_err(|_gone| WatchdogError::Gone)?;
            self.answer(order.id).await
        };
        timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_elapsed| WatchdogError::Late)?
    }

    async fn answer(&mut self, id: u64) -> Result<Outcome, WatchdogError> {
        let line = self.answers.next_line().await.ok().flatten().ok_or(WatchdogError::Gone)?;
        let answer: Answer = serde_json::from_str(&line).map_err(|error| refused(&error))?;
        if answer.id == id { Ok(answer.outcome) } else { Err(WatchdogError::Gone) }
    }
}

fn refused(error: &serde_json::Error) -> WatchdogError {
    WatchdogError::Refused(error.to_string())
}
