//! TLS of a connection, driven by hand: bytes in, bytes out, no sockets.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use model::Name;
use model::configuration::PoolTls;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection};

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
            self.connection.process_new_packets().map_err(|error| cause(&error))?;
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

/// What a user can do something about is said in words of its own.
fn cause(error: &rustls::Error) -> Cause {
    let rustls::Error::InvalidCertificate(why) = error else { return Cause::Tls };
    let why = if matches!(why, CertificateError::UnknownIssuer) {
        "unknown issuer (--ca names one to trust)"
    } else if matches!(why, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
        "it has expired"
    } else if matches!(
        why,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    ) {
        "it is for another name"
    } else if why.to_string().contains("CaUsedAsEndEntity") {
        "it is an issuer's, not a server's"
    } else {
        "it is not valid"
    };
    Cause::Certificate(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_certificate_says_why() {
        let check = |why, expected: &str| {
            let found = cause(&rustls::Error::InvalidCertificate(why)).to_string();
            assert_eq!(found, format!("certificate refused: {expected}"));
        };
        check(CertificateError::UnknownIssuer, "unknown issuer (--ca names one to trust)");
        check(CertificateError::Expired, "it has expired");
        check(CertificateError::NotValidForName, "it is for another name");
        check(CertificateError::Revoked, "it is not valid");
        assert_eq!(cause(&rustls::Error::DecryptError), Cause::Tls);
    }
}
