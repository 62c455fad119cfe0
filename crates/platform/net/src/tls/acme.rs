//! The files that certificates obtained by the door itself are kept in, and the answer to the
//! challenge that is made in a TLS handshake (tls-alpn-01, RFC 8737).
//!
//! Invariant: a certificate is put in the place of another only after both it and its key were read
//! back and fit; the key is never readable by others.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use model::configuration::{Acme, CertificateFiles};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::{TlsError, certificate, provider};

/// The protocol of a handshake that only asks for the answer to a challenge.
pub const ACME_ALPN: &[u8] = b"acme-tls/1";

/// Makes a certificate of no value where there is none yet, so that the listener can be served:
/// self-signed, and long expired, so that no client takes it for more.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn prepare(acme: &Acme) -> Result<(), TlsError> {
    let files = &acme.files;
    if files.certificate.exists() && files.key.exists() {
        return Ok(());
    }
    let hosts: Vec<String> = acme.hosts.iter().map(|host| host.to_string()).collect();
    let mut params = CertificateParams::new(hosts).map_err(made(files))?;
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2000, 1, 2);
    let key = KeyPair::generate().map_err(made(files))?;
    let certificate = params.self_signed(&key).map_err(made(files))?;
    store(files, &certificate.pem(), &key.serialize_pem())
}

/// Puts a chain and its key, both PEM, in the place of what is there. It waits for the disk.
///
/// # Errors
/// When they do not fit, or cannot be written; what is there stays then.
pub fn store(files: &CertificateFiles, chain: &str, key: &str) -> Result<(), TlsError> {
    let new = CertificateFiles {
        certificate: files.certificate.with_extension("new"),
        key: files.key.with_extension("key-new"),
        ocsp: None,
    };
    write_private(&new.key, key.as_bytes())?;
    write_private(&new.certificate, chain.as_bytes())?;
    certificate::load(&new)?;
    // Whoever looks in between finds a pair that does not fit, and looks again.
    for (from, to) in [(&new.key, &files.key), (&new.certificate, &files.certificate)] {
        std::fs::rename(from, to).map_err(|source| TlsError::Write { path: to.clone(), source })?;
    }
    Ok(())
}

/// Writes a file that only its owner can read, in a folder that only its owner can enter.
///
/// # Errors
/// As the system says.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // One that is there may have been made with other rights.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| TlsError::Write { path: path.to_path_buf(), source })
}

/// What answers the challenge for `host` with the SHA-256 of its key authorization.
///
/// # Errors
/// When the host is no DNS name.
pub fn challenge(host: &str, digest: [u8; 32]) -> Result<Arc<ServerConfig>, TlsError> {
    let none = CertificateFiles { certificate: host.into(), key: host.into(), ocsp: None };
    let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(made(&none))?;
    params.custom_extensions.push(CustomExtension::new_acme_identifier(&digest));
    let key = KeyPair::generate().map_err(made(&none))?;
    let certificate = params.self_signed(&key).map_err(made(&none))?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = provider().key_provider.load_private_key(key.into())?;
    // Not checked as others are: no verifier knows the extension, which is critical.
    let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![ACME_ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn made(files: &CertificateFiles) -> impl FnOnce(rcgen::Error) -> TlsError {
    let path = files.certificate.clone();
    move |error| TlsError::Certificate { path, number: 1, problem: error.to_string() }
}
