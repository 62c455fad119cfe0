//! What the certificate that a client showed says about it.
//!
//! Only certificates that the library verified get here: it tells of no other.

use rustls::ServerConnection;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Names of one certificate that are looked at; others of it are never found.
const NAMES_MAX: usize = 64;

/// A client's verified certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The DNS names (lower case) and URIs of its subjectAltName, in its order, at most 64.
    pub names: Vec<String>,
    /// Its subject as text, such as `CN=partner, O=Example`.
    pub subject: String,
    /// Valid until, in seconds of Unix time.
    pub not_after_unix_s: i64,
    /// The certificate itself.
    pub der: Vec<u8>,
}

/// The certificate of the client at the other end; `None` when it showed none.
#[must_use]
pub fn peer_certificate(connection: &ServerConnection) -> Option<PeerCertificate> {
    let der = connection.peer_certificates()?.first()?;
    // The verifier understood it, so this does; if ever not, the client is unknown, no more.
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let alternatives = certificate.subject_alternative_name().ok()?;
    let mut names = Vec::new();
    for alternative in alternatives.iter().flat_map(|found| &found.value.general_names) {
        match alternative {
            GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
            GeneralName::URI(uri) => names.push((*uri).to_owned()),
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => {}
        }
        if names.len() == NAMES_MAX {
            break;
        }
    }
    Some(PeerCertificate {
        names,
        subject: certificate.subject().to_string(),
        not_after_unix_s: certificate.validity().not_after.timestamp(),
        der: der.to_vec(),
    })
}
