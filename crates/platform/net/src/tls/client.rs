//! TLS towards servers: whom the door trusts, and under which name.
//!
//! Invariant: a connection is verified unless the configuration says `verify = false`, and that
//! is said aloud each time such a pool is set up.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use model::configuration::PoolTls;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::certificate::{self, read_roots};
use super::file::{FileStatus, Stamps};
use super::{TlsError, provider};

/// Server names whose sessions are kept for resumption.
const SESSION_NAMES_MAX: usize = 1_024;

/// TLS as the door speaks it to the servers of one pool.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    statuses: Arc<[FileStatus]>,
    stamps: Stamps,
}

/// Reads the files of `tls` for HTTP/1.1; see [`ClientTls::load`].
///
/// # Errors
/// See [`TlsError`].
pub fn client(tls: &PoolTls) -> Result<Arc<ClientConfig>, TlsError> {
    ClientTls::load(tls, &[b"http/1.1"]).map(|client| client.config())
}

impl ClientTls {
    /// TLS 1.2 or 1.3 with the files of `tls`, sessions resumed, asking for one of `alpn`.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(tls: &PoolTls, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        let stamps = Stamps::of(paths(tls));
        let mut statuses = Vec::new();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])?;
        let builder = if tls.verify {
            builder.with_root_certificates(roots(tls, &mut statuses)?)
        } else if tls.roots.is_some() {
            return Err(TlsError::RootsUnused);
        } else {
            tracing::warn!(
                server_name = tls.server_name.as_deref(),
                "verify = false: ANYBODY on the way can read and change this pool's traffic"
            );
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnything))
        };
        let mut config = match &tls.certificate {
            Some(files) => {
                let loaded = certificate::load(files)?;
                statuses.extend(loaded.statuses);
                let shown = SingleCertAndKey::from(loaded.certified);
                builder.with_client_cert_resolver(Arc::new(shown))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(SESSION_NAMES_MAX);
        Ok(Self { config: Arc::new(config), statuses: Arc::from(statuses), stamps })
    }

    /// What `tokio_rustls::TlsConnector` takes.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// What its files say about themselves.
    #[must_use]
    pub fn files(&self) -> &[FileStatus] {
        &self.statuses
    }

    /// What the system said of its files when they were read.
    #[must_use]
    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }
}

/// The files that TLS towards a pool is made of.
fn paths(tls: &PoolTls) -> impl Iterator<Item = &Path> {
    let shown = tls.certificate.iter().flat_map(certificate::paths);
    tls.roots.as_deref().into_iter().chain(shown)
}

/// The name to verify in a server's certificate: a DNS name or an address, in brackets or not.
///
/// # Errors
/// [`TlsError::ServerName`] when it is neither.
pub fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = plain.parse::<IpAddr>() {
        return Ok(ServerName::from(address));
    }
    // A certificate never carries the dot of a fully qualified name.
    let plain = name.strip_suffix('.').unwrap_or(name);
    match ServerName::try_from(plain.to_owned()) {
        Ok(name) => Ok(name),
        Err(_invalid) => Err(TlsError::ServerName { name: name.to_string() }),
    }
}

/// The roots of the configured file, all of which must be usable; or else the system's.
fn roots(tls: &PoolTls, statuses: &mut Vec<FileStatus>) -> Result<RootCertStore, TlsError> {
    if let Some(path) = &tls.roots {
        let (store, status) = read_roots(path)?;
        statuses.push(status);
        return Ok(store);
    }
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's root certificates cannot be read");
    }
    // A system's store may hold a few certificates of ancient kinds: they are left out.
    let (added, ignored) = store.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "system root certificates");
    if added == 0 { Err(TlsError::NoRoots) } else { Ok(store) }
}

/// The one place where a server's certificate is not looked at.
#[derive(Debug)]
pub(super) struct AcceptAnything;

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
