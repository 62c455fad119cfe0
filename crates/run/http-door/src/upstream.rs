//! Connections to servers: opened within the connect time, kept idle per worker, reused last
//! in, first out.
//!
//! Invariant: a connection is kept only after a response that ended exactly where its framing
//! said, with nothing behind it; it is handed out again only when nothing arrived meanwhile.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Reason, Timestamp};
use net::buffer::Buffer;
use net::socket::Stream;
use net::timer::Deadline;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use tokio_rustls::TlsConnector;

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
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    since: Timestamp,
    expires: Timestamp,
}

/// A worker's idle connections to one server.
#[derive(Debug, Default)]
pub(crate) struct IdleConnections {
    idle: RefCell<Vec<Idle>>,
}

impl IdleConnections {
    /// The most recently used connection that is still of use and was idle for no longer than
    /// `idle_time_max`.
    pub(crate) fn take(&self, now: Timestamp, idle_time_max: Duration) -> Option<ServerConnection> {
        let mut idle = self.idle.borrow_mut();
        while idle.last().is_some_and(|youngest| now.since(youngest.since) <= idle_time_max) {
            let mut candidate = idle.pop()?;
            if candidate.expires > now && !candidate.stream.is_stale() {
                let stream = candidate.stream;
                return Some(ServerConnection { stream, buffer: None, reused: true });
            }
        }
        None
    }

    /// Keeps a connection from `since` until `expires`, unless `idle_max` are kept already.
    pub(crate) fn put(
        &self,
        stream: Stream,
        (since, expires): (Timestamp, Timestamp),
        idle_max: usize,
    ) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < idle_max {
            idle.push(Idle { stream, since, expires });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }

    /// Closes what expired or was closed by the server. To be called about once a second.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.idle.borrow_mut().retain_mut(|idle| idle.expires > now && !idle.stream.is_stale());
    }
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
    deadline.set(time);
    let tcp = match deadline.within(Stream::connect(address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "connect failed");
            return Err(Reason::ConnectFailed);
        }
        Err(_) => return Err(Reason::ConnectTimeout),
    };
    let Some((tls, host)) = tls else {
        let stream = Stream::Tcp(net::socket::LazyTcp::Registered(tcp));
        return Ok(ServerConnection { stream, buffer: None, reused: false });
    };
    let name = tls.name_of(address, host).map_err(|_invalid| Reason::ServerTls)?;
    match deadline.within(Box::pin(tls.connector.connect(name, tcp))).await {
        Ok(Ok(stream)) => {
            let stream = Stream::Tls(Box::new(stream.into()));
            Ok(ServerConnection { stream, buffer: None, reused: false })
        }
        Ok(Err(error)) => {
            tracing::warn!(%address, %error, "TLS to the server failed");
            Err(Reason::ServerTls)
        }
        Err(_) => Err(Reason::ConnectTimeout),
    }
}
