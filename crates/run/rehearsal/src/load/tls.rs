//! TLS of a connection, driven by hand: bytes in, bytes out, no sockets.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use model::Name;
use model::configuration::PoolTls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::answer::{Answer, Cause, Reading};
use super::{LoadError, TlsTarget};

/// Plain bytes that are taken out at once.
const PLAIN_BYTES: usize = 16_384;

/// What every connection of a load begins with. Sessions are resumed, as browsers do.
#[derive(Debug)]
pub(super) struct Settings {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl Settings {
    pub(super) fn new(target: &TlsTarget) -> Result<Self, LoadError> {
        let settings = PoolTls {
            server_name: Some(Name::from(target.server_name.as_str())),
            roots: target.roots.clone(),
            verify: target.verify,
        };
        let config = net::tls::client(&settings)?;
        Ok(Self { config, server_name: net::tls::server_name(&target.server_name)? })
    }
}

/// One connection's TLS.
#[derive(Debug)]
pub(super) struct Tls {
    connection: ClientConnection,
}

impl Tls {
    pub(super) fn new(settings: &Settings) -> Result<Self, Cause> {
        let config = Arc::clone(&settings.config);
        let connection = ClientConnection::new(config, settings.server_name.clone());
        let mut connection = connection.map_err(|_refused| Cause::Tls)?;
        // A request is bounded by its shape, and must not be cut.
        connection.set_buffer_limit(None);
        Ok(Self { connection })
    }

    /// Encrypts a request, now or once the handshake is done.
    pub(super) fn write(&mut self, request: &[u8]) -> Result<(), Cause> {
        self.connection.writer().write_all(request).map_err(|_broken| Cause::Tls)
    }

    /// Appends what is to be sent.
    pub(super) fn drain_into(&mut self, output: &mut Vec<u8>) -> Result<(), Cause> {
        while self.connection.wants_write() {
            self.connection.write_tls(output).map_err(|_broken| Cause::Tls)?;
        }
        Ok(())
    }

    /// Takes what arrived, and hands its plain bytes to the answer; true when that is complete.
    pub(super) fn take(
        &mut self,
        mut bytes: &[u8],
        answer: &mut Answer,
        reading: &mut Reading,
    ) -> Result<bool, Cause> {
        let mut plain = [0; PLAIN_BYTES];
        let mut complete = false;
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes).map_err(|_broken| Cause::Tls)?;
            self.connection.process_new_packets().map_err(|_broken| Cause::Tls)?;
            loop {
                match self.connection.reader().read(&mut plain) {
                    // The peer said goodbye.
                    Ok(0) => {
                        answer.end()?;
                        return Ok(true);
                    }
                    Ok(count) => {
                        complete =
                            answer.take(plain.get_mut(..count).unwrap_or_default(), reading)?;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => return Err(Cause::Tls),
                }
            }
        }
        Ok(complete)
    }
}
