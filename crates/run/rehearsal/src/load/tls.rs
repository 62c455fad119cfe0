//! TLS of a connection, driven by hand: bytes in, bytes out, no sockets.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use model::Name;
use model::configuration::PoolTls;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection};

use super::answer::{Answer, Cause, Reading};
use super::{LoadError, TlsTarget};

/// Plain bytes that are taken out at once.
const PLAIN_BYTES: usize = 16_384;

/// What every connection of a load begins with. Sessions are resumed, as browsers do.
#[derive(Debug)]
pub(super) struct Settings {
    config: Arc<ClientConfig>,
    /// The same with HTTP/2 as the only protocol.
    http2: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl Settings {
    pub(super) fn new(target: &TlsTarget) -> Result<Self, LoadError> {
        let settings = PoolTls {
            server_name: Some(Name::from(target.server_name.as_str())),
            roots: target.roots.clone(),
            verify: target.verify,
            certificate: None,
        };
        let config = net::tls::client(&settings)?;
        let mut http2 = ClientConfig::clone(&config);
        http2.alpn_protocols = vec![b"h2".to_vec()];
        let http2 = Arc::new(http2);
        Ok(Self { config, http2, server_name: net::tls::server_name(&target.server_name)? })
    }
}

/// One connection's TLS.
#[derive(Debug)]
pub(super) struct Tls {
    connection: ClientConnection,
}

impl Tls {
    pub(super) fn new(settings: &Settings) -> Result<Self, Cause> {
        Self::with(Arc::clone(&settings.config), settings)
    }

    /// For HTTP/2.
    pub(super) fn for_http2(settings: &Settings) -> Result<Self, Cause> {
        Self::with(Arc::clone(&settings.http2), settings)
    }

    fn with(config: Arc<ClientConfig>, settings: &Settings) -> Result<Self, Cause> {
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

    /// Whether the handshake is done. An error: it did not agree on HTTP/2.
    pub(super) fn speaks_http2(&self) -> Result<bool, Cause> {
        match self.connection.alpn_protocol() {
            _ if self.connection.is_handshaking() => Ok(false),
            Some(b"h2") => Ok(true),
            Some(_) | None => Err(Cause::NotHttp2),
        }
    }

    /// Takes what arrived, and hands its plain bytes to the answer; true when that is complete.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        answer: &mut Answer,
        reading: &mut Reading,
    ) -> Result<bool, Cause> {
        let mut complete = false;
        let goodbye = self.open(bytes, |plain| {
            complete = answer.take(plain, reading)?;
            Ok(())
        })?;
        if goodbye {
            answer.end()?;
        }
        Ok(complete || goodbye)
    }

    /// Takes what arrived, and hands on its plain bytes; true when the peer said goodbye.
    pub(super) fn open(
        &mut self,
        mut bytes: &[u8],
        mut hand_on: impl FnMut(&mut [u8]) -> Result<(), Cause>,
    ) -> Result<bool, Cause> {
        let mut plain = [0; PLAIN_BYTES];
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes).map_err(|_broken| Cause::Tls)?;
            self.connection.process_new_packets().map_err(|error| cause(&error))?;
            loop {
                match self.connection.reader().read(&mut plain) {
                    Ok(0) => return Ok(true),
                    Ok(count) => hand_on(plain.get_mut(..count).unwrap_or_default())?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => return Err(Cause::Tls),
                }
            }
        }
        Ok(false)
    }
}

/// What a user can do something about is said in words of its own.
fn cause(error: &rustls::Error) -> Cause {
    if matches!(error, rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) {
        return Cause::NotHttp2;
    }
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
