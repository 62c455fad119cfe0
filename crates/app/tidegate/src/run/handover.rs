//! One process takes over from another: the sockets pass on, so that no connection is refused or
//! lost, and the old process serves what it has to its end.
//!
//! The new process asks at a Unix socket beside the admin socket, before it opens anything. The
//! old one lets go of the journal (from then on nothing changes there), and hands over copies of
//! its listening sockets. Both accept until the new one says that it serves; then the old one
//! retires. If that word does not come, the old process goes on as if nobody had asked.
//!
//! Invariant: at every moment at least one process accepts on every socket; never do two write
//! the journal.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use model::Name;
use net::handover;
use net::listen::{UnixSocket, bind_unix};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::change::Pause;
use super::control::{Desk, Request};

/// For the sockets, once somebody asked.
const PASS_TIMEOUT: Duration = Duration::from_secs(10);
/// For the new process to serve: names are looked up and servers checked in this time.
const SERVE_TIMEOUT: Duration = Duration::from_secs(60);
const SERVES: &[u8] = b"I serve\n";
const RETIRED: &[u8] = b"I retire\n";

/// Copies of what the door listens on.
#[derive(Debug, Default)]
pub(super) struct Copies {
    pub(super) listeners: Vec<Copy>,
    pub(super) admin: Option<UnixListener>,
    pub(super) admin_tcp: Option<TcpListener>,
}

/// A listener's sockets.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) name: Name,
    /// The address as configured.
    pub(super) configured: SocketAddr,
    pub(super) sockets: Vec<TcpListener>,
}

/// What was taken over, and the process that had it.
#[derive(Debug)]
pub(super) struct Taken {
    copies: Copies,
    from: Predecessor,
}

/// The process whose sockets were taken over, and which serves until it is told.
#[derive(Debug)]
pub(super) struct Predecessor(UnixStream);

/// What is said of the sockets, in their order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    refused: Option<String>,
    listeners: Vec<Listed>,
    admin: bool,
    admin_tcp: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    configured: SocketAddr,
    sockets: usize,
}

/// Where a process with this admin socket is asked.
pub(super) fn path_of(admin: &Path) -> PathBuf {
    let mut name = admin.as_os_str().to_owned();
    name.push(".handover");
    name.into()
}

/// Asks the process at `path` for its sockets. Waits; nothing else goes on yet.
///
/// # Errors
/// When nobody answers there, or it refuses, in its words.
pub(super) fn take(path: &Path) -> anyhow::Result<Taken> {
    let stream = UnixStream::connect(path)
        .with_context(|| format!("no door to take over from answers at {}", path.display()))?;
    stream.set_read_timeout(Some(PASS_TIMEOUT))?;
    stream.set_write_timeout(Some(PASS_TIMEOUT))?;
    let (text, sockets) = handover::receive(&stream).context("the door handed nothing over")?;
    let manifest: Manifest =
        serde_json::from_str(&text).context("the door speaks of a handover in other words")?;
    if let Some(why) = manifest.refused {
        anyhow::bail!("the door does not hand over: {why}");
    }
    let copies = copies(manifest, sockets).context("fewer sockets came than were announced")?;
    Ok(Taken { copies, from: Predecessor(stream) })
}

fn copies(manifest: Manifest, sockets: Vec<OwnedFd>) -> Option<Copies> {
    let mut sockets = sockets.into_iter();
    let mut listeners = Vec::with_capacity(manifest.listeners.len());
    for Listed { name, configured, sockets: count } in manifest.listeners {
        let own: Vec<TcpListener> = sockets.by_ref().take(count).map(TcpListener::from).collect();
        if own.len() < count {
            return None;
        }
        listeners.push(Copy { name: name.into(), configured, sockets: own });
    }
    let admin = if manifest.admin { Some(sockets.next()?.into()) } else { None };
    let admin_tcp = if manifest.admin_tcp { Some(sockets.next()?.into()) } else { None };
    Some(Copies { listeners, admin, admin_tcp })
}

impl Taken {
    pub(super) fn split(self) -> (Copies, Option<Predecessor>) {
        (self.copies, Some(self.from))
    }
}

impl Predecessor {
    /// Says that this process serves, and waits until the other one has retired.
    ///
    /// # Errors
    /// When the other one is gone, or does not retire: then both serve, and it has to be ended.
    pub(super) fn retire(mut self) -> anyhow::Result<()> {
        self.0.write_all(SERVES)?;
        let mut answer = [0; RETIRED.len()];
        self.0.read_exact(&mut answer)?;
        anyhow::ensure!(answer == RETIRED, "it says something else");
        Ok(())
    }
}

/// Answers whoever wants to take over; ends when this is dropped.
pub(super) struct Office {
    tasks: JoinSet<()>,
}

impl Office {
    /// Waits until the process that took over has its last word.
    pub(super) async fn close(mut self) {
        if tokio::time::timeout(PASS_TIMEOUT, self.tasks.join_next()).await.is_err() {
            tracing::warn!("the process that took over was not told that this one retires");
        }
    }
}

/// Opens the socket beside the admin socket at `admin`. Must be called on a runtime.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn open(
    admin: &Path,
    desk: &Arc<Desk>,
    pauses: mpsc::Sender<Pause>,
) -> anyhow::Result<Office> {
    let socket = bind_unix(&path_of(admin))?;
    let listener = tokio::net::UnixListener::from_std(socket.listener().try_clone()?)?;
    let desk = Arc::clone(desk);
    let mut tasks = JoinSet::new();
    // One at a time: a second one waits, and finds that the first took over, or did not.
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if !is_own(&stream) {
                tracing::warn!("another user asked to take over from this door");
                continue;
            }
            match hand_over(&desk, &pauses, stream).await {
                Ok(successor) => return leave(successor, (listener, socket)),
                Err(error) => tracing::warn!("nobody took over: {error:#}"),
            }
        }
    });
    Ok(Office { tasks })
}

/// Says that this process retires, once the next one can be asked in its place.
fn leave(mut successor: UnixStream, office: (tokio::net::UnixListener, UnixSocket)) {
    drop(office);
    // It may have ended in the meantime; this process retires all the same: the service manager
    // knows the other one as the service, and starts it again.
    drop(successor.write_all(RETIRED));
}

fn is_own(stream: &tokio::net::UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// Hands over to one process that asked; returns once it serves and this one has retired.
async fn hand_over(
    desk: &Desk,
    pauses: &mpsc::Sender<Pause>,
    stream: tokio::net::UnixStream,
) -> anyhow::Result<UnixStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SERVE_TIMEOUT))?;
    stream.set_write_timeout(Some(PASS_TIMEOUT))?;
    let (answer, answered) = oneshot::channel();
    pauses.send(Pause::Begin(answer)).await?;
    if let Err(why) = answered.await? {
        let manifest = Manifest {
            refused: Some(why.clone()),
            listeners: Vec::new(),
            admin: false,
            admin_tcp: false,
        };
        handover::send(&stream, &serde_json::to_string(&manifest)?, &[])?;
        anyhow::bail!(why);
    }
    match pass(desk, stream).await {
        Ok(stream) => {
            let (retire, retired) = oneshot::channel();
            desk.requests.send(Request::Retire(retire)).await?;
            retired.await?;
            Ok(stream)
        }
        Err(error) => {
            pauses.send(Pause::End).await?;
            Err(error)
        }
    }
}

/// Hands the sockets over and waits until the other process serves.
async fn pass(desk: &Desk, stream: UnixStream) -> anyhow::Result<UnixStream> {
    let (copy, copied) = oneshot::channel();
    desk.requests.send(Request::Copy(copy)).await?;
    let copies = copied.await?.context("the sockets cannot be copied")?;
    let passing = tokio::task::spawn_blocking(move || {
        let mut stream = stream;
        let (text, sockets) = listed(&copies)?;
        handover::send(&stream, &text, &sockets)?;
        let mut word = [0; SERVES.len()];
        stream.read_exact(&mut word).context("it did not come to serve")?;
        anyhow::ensure!(word == SERVES, "it says something else than that it serves");
        Ok(stream)
    });
    passing.await?
}

fn listed(copies: &Copies) -> anyhow::Result<(String, Vec<BorrowedFd<'_>>)> {
    let list = |copy: &Copy| Listed {
        name: copy.name.to_string(),
        configured: copy.configured,
        sockets: copy.sockets.len(),
    };
    let manifest = Manifest {
        refused: None,
        listeners: copies.listeners.iter().map(list).collect(),
        admin: copies.admin.is_some(),
        admin_tcp: copies.admin_tcp.is_some(),
    };
    let mut sockets: Vec<BorrowedFd<'_>> =
        copies.listeners.iter().flat_map(|copy| &copy.sockets).map(AsFd::as_fd).collect();
    sockets.extend(copies.admin.as_ref().map(AsFd::as_fd));
    sockets.extend(copies.admin_tcp.as_ref().map(AsFd::as_fd));
    Ok((serde_json::to_string(&manifest)?, sockets))
}

/// Starts the program that stands now where this process's program was, with the same arguments,
/// to take over from this process.
///
/// # Errors
/// When it cannot be started.
pub(super) fn start_successor(admin: &Path) -> anyhow::Result<tokio::process::Child> {
    let program = std::env::current_exe().context("the program's own path")?;
    // The kernel says so where the file was replaced.
    let path = program.as_os_str().as_bytes();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    let program = Path::new(std::ffi::OsStr::from_bytes(path)).to_owned();
    let is_ours = |argument: &std::ffi::OsString| argument.as_bytes().starts_with(b"--take-over");
    let arguments = std::env::args_os().skip(1).filter(|argument| !is_ours(argument));
    let mut option = std::ffi::OsString::from("--take-over=");
    option.push(path_of(admin));
    tokio::process::Command::new(&program)
        .args(arguments)
        .arg(option)
        // The service manager's watchdog is the new process's to feed from then on.
        .env_remove("WATCHDOG_PID")
        .stdin(std::process::Stdio::null())
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))
}
