//! Sockets for the load: where from, where to, and how many there may be.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use model::load::{Arrivals, LoadPlan, Stream};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::LoadError;
use super::answer::Cause;

/// Open files for everything but connections.
const OTHER_FILES: u64 = 200;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum DialError {
    /// The system had no socket, port or memory left: the generator's own limit.
    NoSocket,
    /// The target's doing.
    Failed(Cause),
}

/// Begins a connection.
pub(super) fn dial(to: SocketAddr, from: Option<Ipv4Addr>) -> Result<OwnedFd, DialError> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let begin = || {
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if let Some(from) = from {
            // The port is then chosen with the target in view, so that it can be used again for
            // another; a kernel without this has fewer ports.
            drop(set_bind_address_no_port(&socket));
            rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
        }
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error),
        }
    };
    begin().map_err(|error| match error {
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL => {
            DialError::NoSocket
        }
        error => DialError::Failed(cause(error)),
    })
}

/// What an error of a connection means.
pub(super) fn cause(error: Errno) -> Cause {
    match error {
        Errno::CONNREFUSED => Cause::Refused,
        Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED => Cause::Reset,
        Errno::TIMEDOUT => Cause::ConnectTimedOut,
        Errno::NETUNREACH | Errno::HOSTUNREACH => Cause::Unreachable,
        _ => Cause::Socket,
    }
}

/// Makes the close of a connection a reset, as of a cut line.
pub(super) fn reset_when_closed(socket: &OwnedFd) {
    // Where the system refuses, the connection is closed in good order.
    sockopt::set_socket_linger(socket, Some(Duration::ZERO)).unwrap_or_default();
}

/// Raises the limit of open files as far as it goes, and says when that cannot be enough.
pub(super) fn allow_open_files(plan: &LoadPlan) -> Result<(), LoadError> {
    let limits = getrlimit(Resource::Nofile);
    if limits.current != limits.maximum {
        let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
    }
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(()) };
    let (mut held, mut at_most) = (OTHER_FILES, OTHER_FILES);
    for stream in &plan.streams {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        match &stream.arrivals {
            Arrivals::Closed { users, .. } if shares_connections(stream) => {
                held = held.saturating_add(count(users.div_ceil(stream.streams_max)));
                at_most = at_most.saturating_add(count(*users));
            }
            Arrivals::Closed { users: connections, .. }
            | Arrivals::Sessions { count: connections, .. } => {
                held = held.saturating_add(count(*connections));
                at_most = at_most.saturating_add(count(*connections));
            }
            Arrivals::Open { .. } | Arrivals::Replay { .. } => {
                at_most = at_most.saturating_add(count(stream.in_flight_max));
            }
        }
    }
    if held > limit {
        return Err(LoadError::OpenFiles { needed: held, limit });
    }
    if at_most > limit {
        tracing::debug!(
            at_most,
            limit,
            "requests in flight may need more open files than there may be: those count as dropped"
        );
    }
    Ok(())
}

/// Whether several users ask over one connection.
const fn shares_connections(stream: &Stream) -> bool {
    stream.protocol.is_http2() && stream.keep_alive && stream.clients.source.is_none()
}

/// `IP_BIND_ADDRESS_NO_PORT`: no safe wrapper offers it.
#[expect(unsafe_code, reason = "neither socket2 nor rustix has IP_BIND_ADDRESS_NO_PORT")]
fn set_bind_address_no_port(socket: &OwnedFd) -> std::io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>())
        .expect("the size of an int fits any length type");
    // SAFETY: the descriptor is open while `socket` is borrowed; the value is an int that lives
    // over the call and `length` is its size, as this option asks.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
