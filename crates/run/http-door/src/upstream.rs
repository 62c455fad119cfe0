//! Connections to servers: opened within the connect time, kept idle per worker, reused last
//! in, first out.
//!
//! Invariant: a connection is kept only after a response that ended exactly where its framing
//! said, with nothing behind it; it is handed out again only when nothing arrived meanwhile.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_wire::{Endpoints, ResponseHead};
use model::{Reason, Timestamp};
use net::buffer::Buffer;
use net::socket::Stream;
use net::timer::Deadline;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

use crate::http2::outbound::Connections;

/// TLS towards the servers of a pool.
#[derive(Clone)]
pub(crate) struct UpstreamTls {
    pub(crate) connector: TlsConnector,
    /// The name in the configuration; else that of each server.
    pub(crate) server_name: Option<ServerName<'static>>,
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTls").field("server_name", &self.server_name).finish()
    }
}

impl UpstreamTls {
    /// The name that the certificate of the server at `address`, resolved from `host`, must
    /// have.
    ///
    /// # Errors
    /// When the host name is no valid TLS name.
    pub(crate) fn name_of(
        &self,
        address: SocketAddr,
        host: Option<&Arc<str>>,
    ) -> Result<ServerName<'static>, InvalidDnsNameError> {
        match (&self.server_name, host) {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(host)) => ServerName::try_from(host.to_string()),
            (None, None) => Ok(ServerName::IpAddress(address.ip().into())),
        }
    }
}

/// A connection to a server, in use.
#[derive(Debug)]
pub(crate) struct ServerConnection {
    pub(crate) stream: Stream,
    pub(crate) buffer: Option<Buffer>,
    /// It has served a request before: the server may have closed it in the meantime.
    pub(crate) reused: bool,
    /// How the stream ended, of a connection that is one stream of an HTTP/2 connection.
    pub(crate) fate: Option<Fate>,
}

/// Told when a stream of HTTP/2 ends before its response does.
pub(crate) type Fate = Rc<Cell<Option<Cut>>>;

/// How a stream of HTTP/2 ended too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The connection is going away, and the request was not begun.
    GoneAway,
    /// The server refused the stream before it began.
    Refused,
    /// What the server sent is no response.
    Malformed,
    /// The request's head is too large: for HTTP/2, or for the server.
    Unsendable,
    /// Anything else: the server reset the stream, or the connection broke.
    Closed,
}

impl ServerConnection {
    /// One connection for one request after the other.
    pub(crate) fn plain(stream: Stream, reused: bool) -> Self {
        Self { stream, buffer: None, reused, fate: None }
    }

    /// How its stream was cut; always `Closed` without HTTP/2.
    pub(crate) fn cut(&self) -> Cut {
        self.fate.as_ref().and_then(|fate| fate.get()).unwrap_or(Cut::Closed)
    }
}

/// How long a connection may be idle after this response: as the server says, with a second in hand,
/// but no longer than is configured.
pub(crate) fn idle_time(response: &ResponseHead, configured: Duration) -> Duration {
    let told = response.keep_alive_timeout_seconds.map(|seconds| {
        Duration::from_secs(u64::from(seconds)).saturating_sub(Duration::from_secs(1))
    });
    told.map_or(configured, |told| told.min(configured))
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    /// Whom the server was told that it is from; then it is for nobody else.
    owner: Option<Endpoints>,
    since: Timestamp,
    expires: Timestamp,
}

/// A worker's idle connections to one server.
#[derive(Debug, Default)]
pub(crate) struct IdleConnections {
    idle: RefCell<Vec<Idle>>,
    /// Those that speak HTTP/2, in use or not.
    pub(crate) http2: Rc<Connections>,
}

impl IdleConnections {
    /// The most recently used connection of this owner that is still of use and was idle for no
    /// longer than `idle_time_max`.
    pub(crate) fn take(
        &self,
        owner: Option<&Endpoints>,
        now: Timestamp,
        idle_time_max: Duration,
    ) -> Option<ServerConnection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(at) = idle.iter().rposition(|idle| idle.owner.as_ref() == owner)
            && idle.get(at).is_some_and(|youngest| now.since(youngest.since) <= idle_time_max)
        {
            let mut candidate = idle.remove(at);
            if candidate.expires > now && !candidate.stream.is_stale() {
                let stream = candidate.stream;
                return Some(ServerConnection::plain(stream, true));
            }
        }
        None
    }

    /// Keeps a connection from `since` until `expires`, unless `idle_max` are kept already. One that
    /// has an owner takes the place of the oldest: its owner may be gone, and nobody else wants it.
    pub(crate) fn put(
        &self,
        stream: Stream,
        owner: Option<Endpoints>,
        (since, expires): (Timestamp, Timestamp),
        idle_max: usize,
    ) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= idle_max && idle_max > 0 && owner.is_some() {
            idle.remove(0);
        }
        if idle.len() < idle_max {
            idle.push(Idle { stream, owner, since, expires });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty() && self.http2.is_empty()
    }

    /// Closes what expired or was closed by the server. To be called about once a second.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.idle.borrow_mut().retain_mut(|idle| idle.expires > now && !idle.stream.is_stale());
        self.http2.sweep(now);
    }
}

/// What is opened to a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) address: SocketAddr,
    /// How it is secured, and the name that the server's certificate must have.
    pub(crate) tls: Option<(&'a UpstreamTls, Option<&'a Arc<str>>)>,
    /// What is sent before all else, TLS included: a PROXY header.
    pub(crate) preface: &'a [u8],
}

/// Opens a connection to `address`.
///
/// # Errors
/// `ConnectFailed`, `ConnectTimeout` or `ServerTls`.
pub(crate) async fn connect(
    address: SocketAddr,
    tls: Option<(&UpstreamTls, Option<&Arc<str>>)>,
    deadline: &Deadline,
    time: Duration,
) -> Result<ServerConnection, Reason> {
    open(Opening { address, tls, preface: &[] }, deadline, time).await
}

/// Opens a connection.
///
/// # Errors
/// `ConnectFailed`, `ConnectTimeout` or `ServerTls`.
pub(crate) async fn open(
    opening: Opening<'_>,
    deadline: &Deadline,
    time: Duration,
) -> Result<ServerConnection, Reason> {
    let Opening { address, tls, preface } = opening;
    deadline.set(time);
    let mut tcp = match deadline.within(Stream::connect(address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "connect failed");
            return Err(Reason::ConnectFailed);
        }
        Err(_) => return Err(Reason::ConnectTimeout),
    };
    if !preface.is_empty() {
        match deadline.within(tcp.write_all(preface)).await {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return Err(Reason::ConnectFailed),
            Err(_elapsed) => return Err(Reason::ConnectTimeout),
        }
    }
    let Some((tls, host)) = tls else {
        let stream = Stream::Tcp(net::socket::LazyTcp::Registered(tcp));
        return Ok(ServerConnection::plain(stream, false));
    };
    let name = tls.name_of(address, host).map_err(|_invalid| Reason::ServerTls)?;
    match deadline.within(Box::pin(tls.connector.connect(name, tcp))).await {
        Ok(Ok(stream)) => {
            let stream = Stream::Tls(Box::new(stream.into()));
            Ok(ServerConnection::plain(stream, false))
        }
        Ok(Err(error)) => {
            tracing::warn!(%address, %error, "TLS to the server failed");
            Err(Reason::ServerTls)
        }
        Err(_) => Err(Reason::ConnectTimeout),
    }
}
