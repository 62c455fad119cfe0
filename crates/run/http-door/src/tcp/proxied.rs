//! Whose connection it is, when a proxy in front says so before anything else (PROXY protocol).
//!
//! Not a byte behind the header is taken from the socket: what follows may be TLS, HTTP or anything
//! else, and is read by whoever reads that. Invariant: only a trusted peer is asked, so that nobody
//! else chooses the address that he is limited and logged by.

use std::time::Duration;

use http_wire::{Endpoints, PROXY_BYTES_MAX, read_proxy_header};
use model::Reason;
use net::socket::LazyTcp;
use net::timer::Deadline;
use tokio::net::TcpStream;

/// Reads the header at the start of a connection. `None`: the peer speaks for itself.
///
/// # Errors
/// [`Reason::BadProxyHeader`], or [`Reason::HelloTimeout`] when it has not come within `time`.
pub(crate) async fn read(
    tcp: &mut LazyTcp,
    deadline: &Deadline,
    time: Duration,
) -> Result<Option<Endpoints>, Reason> {
    let tcp = tcp.register().map_err(|_gone| Reason::BadProxyHeader)?;
    deadline.set(time);
    deadline.within(header(tcp)).await.unwrap_or(Err(Reason::HelloTimeout))
}

async fn header(tcp: &TcpStream) -> Result<Option<Endpoints>, Reason> {
    let mut bytes = vec![0; PROXY_BYTES_MAX];
    let mut taken = 0;
    loop {
        // Looked at first, and taken only as far as it is known to belong to the header.
        let room = bytes.get_mut(taken..).unwrap_or_default();
        let seen = tcp.peek(room).await.map_err(|_broken| Reason::BadProxyHeader)?;
        let known = bytes.get(..taken + seen).unwrap_or_default();
        let read = read_proxy_header(known).map_err(|error| {
            tracing::debug!(%error, "a PROXY header was refused");
            Reason::BadProxyHeader
        })?;
        let end = read.map_or(taken + seen, |header| header.length);
        if end == taken {
            // The peer has closed, or it sent more than a header may have.
            return Err(Reason::BadProxyHeader);
        }
        while taken < end {
            let part = bytes.get_mut(taken..end).unwrap_or_default();
            match tcp.try_read(part) {
                Ok(count) if count > 0 => taken += count,
                Ok(_) | Err(_) => return Err(Reason::BadProxyHeader),
            }
        }
        if let Some(header) = read {
            return Ok(header.endpoints);
        }
    }
}
