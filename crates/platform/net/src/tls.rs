//! TLS on both sides of the door: what it speaks, and with which certificates.
//!
//! Mozilla's Intermediate profile: TLS 1.3, and TLS 1.2 with forward-secret AEAD suites only, over
//! rustls with aws-lc-rs. Files are read and checked here once, so that a handshake can only fail
//! for what the peer does.
//!
//! Invariant: contradictory or unreadable settings are an error, never a weaker connection.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};

mod acme;
mod certificate;
mod client;
mod file;
mod ocsp;
mod peer;
mod server;
mod trust;

pub use acme::{ACME_ALPN, challenge, store, write_private};
pub use client::{ClientTls, client, server_name};
pub use file::{FileKind, FileStatus, Stamps, days_left, now_unix_s};
pub use peer::{PeerCertificate, peer_certificate};
pub use server::{ServerTls, load};

/// Why TLS cannot be set up, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the door's own cannot be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is larger than any certificate or key is.
    #[error("{path} is larger than {bytes_max} bytes: not a certificate or key file", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// A file is not PEM, or what it holds is damaged.
    #[error("{path} is not valid PEM: {problem}", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// No certificate in a file that should hold some.
    #[error("{path} holds no certificate (`-----BEGIN CERTIFICATE-----`)", path = path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate that cannot be understood.
    #[error("certificate {number} of {path} is damaged: {problem}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Which one in the file, from 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
    /// No private key that can be used.
    #[error("{path} holds no private key: {hint}", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What it holds instead, or what is expected.
        hint: &'static str,
    },
    /// A private key of a kind that is not supported.
    #[error("the private key in {path} cannot be used; RSA from 2,048 bits, ECDSA P-256, P-384, P-521 and Ed25519 can", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the library said.
        source: rustls::Error,
    },
    /// The key belongs to another certificate.
    #[error(
        "the private key in {key} does not belong to the first certificate in {certificate}; \
         the server's own certificate must come first, then the intermediates",
        key = key.display(), certificate = certificate.display()
    )]
    KeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// A file that should hold an OCSP response holds none.
    #[error("{path} is no OCSP response in DER: {problem}", path = path.display())]
    Ocsp {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// No revocation list in a file that should hold some.
    #[error("{path} holds no revocation list (`-----BEGIN X509 CRL-----`); \
             `openssl crl -inform DER -in FILE -out FILE.pem` makes PEM of DER", path = path.display())]
    NoRevocation {
        /// The file.
        path: PathBuf,
    },
    /// Clients cannot be verified with these files.
    #[error("clients cannot be verified with {path} and its revocation lists: {problem}", path = path.display())]
    Clients {
        /// The file of authorities.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// `strict_sni` with a certificate that no server name can match.
    #[error("{path} names no host (subjectAltName), so with strict_sni it can never be used", path = path.display())]
    NoNames {
        /// The certificate file.
        path: PathBuf,
    },
    /// A listener without certificates.
    #[error("a TLS listener needs at least one certificate")]
    NoCertificates,
    /// No trusted root at all.
    #[error(
        "the system has no trusted root certificates; install `ca-certificates` or set `roots`"
    )]
    NoRoots,
    /// Roots are given, but verification is off.
    #[error("`roots` and `verify = false` contradict each other; remove one")]
    RootsUnused,
    /// Not a name that TLS can verify.
    #[error("{name:?} is neither a DNS name nor an address")]
    ServerName {
        /// The name.
        name: String,
    },
    /// The library refused the settings.
    #[error("TLS cannot be set up")]
    Library {
        /// What the library said.
        #[from]
        source: rustls::Error,
    },
}

/// The cryptography of both sides: the library's suites, which are those of Mozilla's Intermediate
/// profile without its finite-field DHE, and its groups with the hybrid post-quantum one first.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        Arc::new(CryptoProvider {
            kx_groups: vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
            ..rustls::crypto::aws_lc_rs::default_provider()
        })
    };
    Arc::clone(PROVIDER.get_or_init(make))
}

#[cfg(test)]
mod tests;
