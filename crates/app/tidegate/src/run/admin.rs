//! Opens the admin interface: a Unix socket, and a TCP address if one is configured.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use console::{Control, Token};
use model::Configuration;
use net::listen::{self, ListenOptions, UnixSocket};
use tokio::task::JoinSet;

use super::control::{Counter, Desk};

/// The admin interface's sockets, claimed before the door listens anywhere: a second door with
/// the same admin socket ends before it takes a single connection.
pub(super) struct Claimed {
    socket: Option<UnixSocket>,
    tcp: Option<(TcpListener, Token)>,
}

/// The open admin interface; it closes when this is dropped.
pub(super) struct Admin {
    _tasks: JoinSet<()>,
    socket: Option<UnixSocket>,
    tcp: Option<TcpListener>,
}

impl Admin {
    /// Its sockets once more, for another process.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub(super) fn copies(&self) -> io::Result<(Option<UnixListener>, Option<TcpListener>)> {
        let socket = self.socket.as_ref().map(|socket| socket.listener().try_clone());
        let tcp = self.tcp.as_ref().map(TcpListener::try_clone);
        Ok((socket.transpose()?, tcp.transpose()?))
    }

    /// Where it is asked.
    pub(super) fn path(&self) -> Option<&Path> {
        self.socket.as_ref().map(UnixSocket::path)
    }

    /// Ends it here: another process answers on the same sockets.
    pub(super) fn leave(self) {
        if let Some(socket) = &self.socket {
            socket.leave();
        }
    }
}

/// Claims what the configuration asks for.
///
/// # Errors
/// When an address cannot be bound, or the token cannot be used: the door then does not start,
/// rather than run without its admin interface or with one that is open to all.
pub(super) fn claim(
    configuration: &Configuration,
    taken: (Option<UnixListener>, Option<TcpListener>),
) -> anyhow::Result<Claimed> {
    let admin = &configuration.admin;
    let (taken_socket, taken_tcp) = taken;
    let is_there = |listener: &UnixListener, path: &Path| {
        listener.local_addr().is_ok_and(|address| address.as_pathname() == Some(path))
    };
    let socket = admin.socket.as_deref().map(|path| match taken_socket {
        Some(listener) if is_there(&listener, path) => UnixSocket::adopt(listener, path),
        Some(_) | None => listen::bind_unix(path),
    });
    let socket = socket.transpose();
    let tcp = admin.tcp.as_ref().map(|tcp| {
        let token = Token::read(&tcp.token_file).context("admin token")?;
        let same = |listener: &TcpListener| listener.local_addr().ok() == Some(tcp.address);
        let listener = match taken_tcp.filter(same) {
            Some(listener) => listener,
            None => listen::bind(tcp.address, &ListenOptions::default()).context("admin")?,
        };
        tracing::info!(address = %listener.local_addr()?, "admin interface");
        anyhow::Ok((listener, token))
    });
    Ok(Claimed { socket: socket.context("admin socket")?, tcp: tcp.transpose()? })
}

/// Answers on the claimed sockets from now on. Must be called on a tokio runtime.
///
/// # Errors
/// When a socket cannot be used.
pub(super) fn start(claimed: Claimed, desk: &Arc<Desk>) -> anyhow::Result<Admin> {
    let mut tasks = JoinSet::new();
    let control: Arc<dyn Control> = Arc::new(Counter(Arc::clone(desk)));
    let socket = match claimed.socket {
        Some(socket) => {
            let listener = socket.listener().try_clone()?;
            let control = Arc::clone(&control);
            tasks.spawn(async move {
                let served = console::serve_unix(listener, control, std::future::pending()).await;
                if let Err(error) = served {
                    tracing::error!(%error, "the admin socket ended");
                }
            });
            Some(socket)
        }
        None => None,
    };
    let mut tcp = None;
    if let Some((listener, token)) = claimed.tcp {
        tcp = Some(listener.try_clone()?);
        tasks.spawn(async move {
            let served = console::serve_tcp(listener, token, control, std::future::pending()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the admin address ended");
            }
        });
    }
    Ok(Admin { _tasks: tasks, socket, tcp })
}
