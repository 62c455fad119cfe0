//! What a client's TLS handshake settled: for which name it came, and with which certificate.
//!
//! Known once per connection and shared by all requests on it. Invariant: a certificate that is
//! told of here was verified by the listener's authorities and had not expired.

use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use net::tls::{PeerCertificate, ServerTls};
use rustls::{ProtocolVersion, ServerConnection};

/// The TLS session of a client's connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// What the listener had loaded when the connection began: the certificate it showed is among
    /// these, whatever is loaded since.
    tls: Arc<ServerTls>,
    /// `1.2` or `1.3`.
    pub(crate) version: &'static str,
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) certificate: Option<ClientCertificate>,
}

/// The certificate that the client showed.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    /// DNS names and URIs.
    pub(crate) names: Vec<String>,
    subject: String,
    /// It as the value of `Client-Cert` (RFC 9440, section 2.1).
    pub(crate) field: String,
}

/// A session was resumed with a certificate that has expired since it was verified.
#[derive(Debug)]
pub(crate) struct Expired;

impl Session {
    /// Reads what the handshake of `connection` settled with `tls`.
    ///
    /// # Errors
    /// [`Expired`]: the connection may not be served.
    pub(crate) fn of(
        connection: &ServerConnection,
        tls: Arc<ServerTls>,
        now_unix_s: i64,
    ) -> Result<Rc<Self>, Expired> {
        let certificate = net::tls::peer_certificate(connection);
        if certificate.as_ref().is_some_and(|shown| shown.not_after_unix_s < now_unix_s) {
            return Err(Expired);
        }
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "unknown",
        };
        Ok(Rc::new(Self {
            tls,
            version,
            server_name: connection.server_name().map(Box::from),
            certificate: certificate.map(ClientCertificate::new),
        }))
    }

    /// Whether a request for `host`, as it is written in the request, may come this way.
    pub(crate) fn serves(&self, host: &str) -> bool {
        self.tls.serves_both(self.server_name.as_deref(), host)
    }
}

impl ClientCertificate {
    fn new(shown: PeerCertificate) -> Self {
        let PeerCertificate { names, subject, der, .. } = shown;
        Self { names, subject, field: format!(":{}:", STANDARD.encode(der)) }
    }

    /// What it is called in the access log: its first name, or else its subject.
    pub(crate) fn words(&self) -> &str {
        self.names.first().unwrap_or(&self.subject)
    }
}
