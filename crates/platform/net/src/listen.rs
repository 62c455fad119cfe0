//! Opens the sockets the door listens on: TCP, those systemd hands over, and the admin socket.
//!
//! Several workers listen on one address, each with its own socket (`SO_REUSEPORT`), so that
//! accepting needs no shared lock. Every descriptor is non-blocking and close-on-exec.
//!
//! Invariant: `SO_REUSEPORT` is for the workers of one door only. A second door on the same
//! address is an error here, never a silent split of the traffic.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, Socket, Type};

mod admin;

pub use admin::{UnixSocket, bind_unix};

/// What the kernel takes of a response that it cannot send yet, for each connection: accepted ones
/// inherit it. Without it a client that does not read holds megabytes there, and the work of
/// fetching them from a server.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// How a listening socket is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections the kernel keeps that nobody accepted yet, 1 to 65,535; the kernel lowers it
    /// to `net.core.somaxconn`. Default 4,096.
    pub backlog: u16,
    /// Wake the door only when the first bytes are there, or after this time, rounded up to
    /// seconds. `None` (the default) wakes it at once.
    pub defer_accept: Option<Duration>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 4096, defer_accept: None }
    }
}

/// Why a socket could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens on the address.
    #[error(
        "cannot listen on {address}: another process already does; \
         find it with `ss -ltnp 'sport = :{port}'`, stop it or choose another port",
        port = address.port()
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The user may not open this port.
    #[error(
        "cannot listen on {address}: not permitted; ports below 1024 need \
         CAP_NET_BIND_SERVICE (systemd: `AmbientCapabilities=CAP_NET_BIND_SERVICE`) \
         or a socket unit"
    )]
    NotPermitted {
        /// The address.
        address: SocketAddr,
    },
    /// The address is not one of this machine's.
    #[error(
        "cannot listen on {address}: no network interface has this address; \
         use one of `ip address`, or {any} for all",
        any = if address.is_ipv4() { "0.0.0.0" } else { "[::]" }
    )]
    NotLocal {
        /// The address.
        address: SocketAddr,
    },
    /// The kernel has no IPv6 (or no IPv4).
    #[error("cannot listen on {address}: this address family is turned off on this machine")]
    FamilyOff {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else the system refused.
    #[error("cannot listen on {address}: {doing} failed")]
    System {
        /// The address.
        address: SocketAddr,
        /// The step that failed.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another process answers on the Unix socket.
    #[error("cannot listen on {path}: another process answers there; stop it or choose another path", path = path.display())]
    UnixInUse {
        /// The socket.
        path: PathBuf,
    },
    /// The path is taken by something that is not a socket, which is never removed.
    #[error("cannot listen on {path}: it exists and is not a socket; remove it or choose another path", path = path.display())]
    UnixNotSocket {
        /// The path.
        path: PathBuf,
    },
    /// Anything else the system refused about a Unix socket.
    #[error("cannot listen on {path}: {doing} failed", path = path.display())]
    UnixSystem {
        /// The socket.
        path: PathBuf,
        /// The step that failed.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The sockets handed over by the service manager are not what the protocol promises.
    #[error("socket activation: {problem}")]
    Activation {
        /// What is wrong, and where.
        problem: String,
    },
}

/// Opens one listening socket that other workers of this door may join with [`bind`].
///
/// Port 0 lets the system choose. An IPv6 address serves IPv6 only, so that `0.0.0.0` and `[::]`
/// can be configured side by side. Accepted connections inherit `TCP_NODELAY` and a bound on what they
/// hold unsent.
///
/// # Errors
/// See [`ListenError`]. It does not notice a second door of the same user: use [`bind_group`].
pub fn bind(address: SocketAddr, options: &ListenOptions) -> Result<TcpListener, ListenError> {
    let socket = open(address)?;
    socket.set_reuse_port(true).map_err(|source| explain(address, "SO_REUSEPORT", source))?;
    socket.bind(&address.into()).map_err(|source| explain(address, "bind", source))?;
    let listen = || -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        if let Some(wait) = options.defer_accept {
            set_defer_accept(&socket, wait)?;
        }
        socket.listen(i32::from(options.backlog.max(1)))
    };
    listen().map_err(|source| explain(address, "listen", source))?;
    Ok(socket.into())
}

/// Opens `count` sockets on one address, one per worker; at least one. With port 0 the first
/// chooses and the others follow.
///
/// # Errors
/// [`ListenError::InUse`] also when another door of the same user listens there, which
/// `SO_REUSEPORT` alone would allow.
pub fn bind_group(
    address: SocketAddr,
    count: usize,
    options: &ListenOptions,
) -> Result<Vec<TcpListener>, ListenError> {
    if address.port() != 0 {
        // A socket without SO_REUSEPORT cannot bind where anybody listens. It is closed at once:
        // it only asks the question.
        let question = open(address)?;
        question.bind(&address.into()).map_err(|source| explain(address, "bind", source))?;
    }
    let first = bind(address, options)?;
    let resolved = first.local_addr().map_err(|source| explain(address, "getsockname", source))?;
    let mut group = vec![first];
    while group.len() < count {
        group.push(bind(resolved, options)?);
    }
    Ok(group)
}

/// The same socket `count` times, at least once, for workers that share one they were given.
///
/// # Errors
/// The process is out of descriptors.
pub fn share(listener: TcpListener, count: usize) -> io::Result<Vec<TcpListener>> {
    let mut shares = Vec::with_capacity(count.max(1));
    while shares.len() + 1 < count {
        shares.push(listener.try_clone()?);
    }
    shares.push(listener);
    Ok(shares)
}

/// Accepts one connection, already non-blocking and close-on-exec: one system call.
///
/// # Errors
/// `WouldBlock` when nobody waits. `ConnectionAborted` and the like concern that connection only;
/// `EMFILE`, `ENFILE`, `ENOBUFS` and `ENOMEM` mean the process or the machine is full, and the
/// connection still waits: accept again after a pause.
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (descriptor, peer) = rustix::net::acceptfrom_with(listener, flags)?;
    let stream = TcpStream::from(descriptor);
    let address = match peer.and_then(|peer| SocketAddr::try_from(peer).ok()) {
        Some(address) => address,
        None => stream.peer_addr()?,
    };
    Ok((stream, address))
}

/// True when a connection cannot be accepted because the process or the system has no file
/// descriptor left: only waiting helps.
#[must_use]
pub fn is_out_of_files(error: &io::Error) -> bool {
    let number = rustix::io::Errno::from_io_error(error);
    matches!(number, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

/// Registers a listening socket with this thread's runtime, which then tells when somebody waits.
/// Accepted connections are left to [`accept`], so that they are registered only if need be.
///
/// # Errors
/// When the runtime cannot take the socket.
#[expect(unsafe_code, reason = "the caller of `AsyncFd` vouches that the descriptor never changes")]
pub fn watch(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: `TcpListener` owns one open descriptor, gives the same one on every call, and is
    // moved into the `AsyncFd`, which drops it only after it was deregistered.
    unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }
        .map_err(io::Error::from)
}

/// A socket the service manager opened for the door (`LISTEN_FDS`).
#[derive(Debug)]
pub struct Inherited {
    /// `FileDescriptorName=` of the socket unit; `unknown` when the manager gave none.
    pub name: String,
    /// The socket itself.
    pub socket: InheritedSocket,
}

/// What kind of socket was handed over.
#[derive(Debug)]
pub enum InheritedSocket {
    /// A listening TCP socket and where it listens.
    Tcp(TcpListener, SocketAddr),
    /// A listening Unix socket and its path; `None` when it has no path.
    Unix(UnixListener, Option<PathBuf>),
}

/// Takes over the sockets of `LISTEN_FDS`; none when the door was started without a socket unit,
/// or when they are meant for another process. Only the first call gets them.
///
/// Connections that were waiting before this call lack `TCP_NODELAY` unless the socket unit says
/// `NoDelay=yes`; those that come later inherit it.
///
/// # Errors
/// [`ListenError::Activation`] when the variables are malformed, or a descriptor is not a
/// listening stream socket.
pub fn inherited() -> Result<Vec<Inherited>, ListenError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let activation = |problem| ListenError::Activation { problem };
    // This also sets close-on-exec on each, and so proves that they are open.
    let descriptors = sd_notify::listen_fds_with_names()
        .map_err(|error| activation(format!("LISTEN_FDS cannot be used: {error}")))?;
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    descriptors
        .map(|(descriptor, name)| {
            let socket = adopt(take(descriptor)).map_err(|error| {
                activation(format!("descriptor {descriptor} ({name}): {error}"))
            })?;
            Ok(Inherited { name, socket })
        })
        .collect()
}

/// Makes a descriptor ours.
#[expect(unsafe_code, reason = "the service manager hands over descriptors by number")]
fn take(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the socket activation protocol gives these descriptors to this process, nobody else
    // here knows them, and `inherited` calls this once per descriptor in the process's life.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Checks what kind of socket it is. Those of a socket unit are blocking: that changes here.
fn adopt(descriptor: OwnedFd) -> io::Result<InheritedSocket> {
    let socket = Socket::from(descriptor);
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a listening stream socket (the unit needs `ListenStream=` and `Accept=no`)",
        ));
    }
    socket.set_nonblocking(true)?;
    let local = socket.local_addr()?;
    if let Some(address) = local.as_socket() {
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        return Ok(InheritedSocket::Tcp(socket.into(), address));
    }
    let path = local.as_pathname().map(PathBuf::from);
    Ok(InheritedSocket::Unix(UnixListener::from(OwnedFd::from(socket)), path))
}

/// A stream socket of the address's family, with the options that must precede `bind`.
fn open(address: SocketAddr) -> Result<Socket, ListenError> {
    let prepare = || -> io::Result<Socket> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        // A restart must not wait for the TIME_WAIT of the connections before it.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        Ok(socket)
    };
    prepare().map_err(|source| explain(address, "socket", source))
}

/// The kernel's error in words that name the remedy.
fn explain(address: SocketAddr, doing: &'static str, source: io::Error) -> ListenError {
    match source.raw_os_error() {
        Some(libc::EADDRINUSE) => ListenError::InUse { address },
        Some(libc::EACCES | libc::EPERM) => ListenError::NotPermitted { address },
        Some(libc::EADDRNOTAVAIL) => ListenError::NotLocal { address },
        Some(libc::EAFNOSUPPORT) => ListenError::FamilyOff { address },
        Some(_) | None => ListenError::System { address, doing, source },
    }
}

/// `TCP_DEFER_ACCEPT`: no safe wrapper offers it.
#[expect(unsafe_code, reason = "neither socket2 nor rustix has TCP_DEFER_ACCEPT")]
fn set_defer_accept(socket: &Socket, wait: Duration) -> io::Result<()> {
    let whole_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let seconds = libc::c_int::try_from(whole_s).unwrap_or(libc::c_int::MAX);
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>())
        .expect("the size of an int fits any length type");
    // SAFETY: the descriptor is open while `socket` is borrowed; the value is an int that lives
    // over the call and `length` is its size, as this option asks.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
