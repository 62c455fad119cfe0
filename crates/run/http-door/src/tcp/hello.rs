//! Reads the start of a TLS connection that is passed on by its server name, and keeps what it read
//! for the server.

use std::time::Duration;

use http_wire::{ClientHelloError, ClientHelloReader};
use model::Reason;
use net::buffer::Buffer;
use net::socket::{Socket, Stream};
use net::timer::Deadline;

use crate::worker::Worker;

/// How a connection began.
#[derive(Debug, Default)]
pub(crate) struct Hello {
    /// What was read of it; goes to the server as it came.
    pub(crate) bytes: Option<Buffer>,
    /// The server name, lower case.
    pub(crate) server_name: Option<String>,
}

/// Reads until the server name is known. A connection that is no TLS at all has none.
///
/// # Errors
/// [`Reason::BadClientHello`], [`Reason::HelloTimeout`], or [`Reason::ClientClosed`] when the
/// client left without a word.
pub(crate) async fn read(
    worker: &Worker,
    stream: &mut Stream,
    deadline: &Deadline,
    time: Duration,
) -> Result<Hello, Reason> {
    deadline.set(time);
    let mut reader = ClientHelloReader::default();
    let mut bytes = worker.buffers.lend();
    loop {
        bytes.grow();
        let read = std::future::poll_fn(|context| stream.poll_read(context, bytes.spare()));
        match deadline.within(read).await {
            Err(_elapsed) => return Err(Reason::HelloTimeout),
            Ok(Ok(count)) if count > 0 => bytes.advance(count),
            Ok(_) if bytes.is_empty() => return Err(Reason::ClientClosed),
            Ok(_) => return Err(Reason::BadClientHello),
        }
        let server_name = match reader.read(bytes.filled()) {
            Ok(None) => {
                bytes.shrink();
                continue;
            }
            Ok(Some(hello)) => hello.server_name.map(str::to_ascii_lowercase),
            Err(ClientHelloError::NotTls) => None,
            Err(error) => {
                tracing::debug!(%error, "a ClientHello was refused");
                return Err(Reason::BadClientHello);
            }
        };
        return Ok(Hello { bytes: Some(bytes), server_name });
    }
}
