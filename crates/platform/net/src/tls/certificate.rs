//! Reads certificate and key files, and what a certificate says: its names and its dates.
//!
//! Invariant: what this returns was parsed to the end and its key fits; an error names the file.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::configuration::CertificateFiles;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::file::{FileKind, FileStatus, read};
use super::ocsp::{self, Staple};
use super::{TlsError, provider};

/// A certificate chain with its key, and what the files say.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) certified: CertifiedKey,
    /// What is sent along with it.
    pub(super) staple: Option<Staple>,
    /// Of the leaf, and of the OCSP response if there is one.
    pub(super) statuses: Vec<FileStatus>,
}

/// The files that [`load`] reads.
pub(super) fn paths(files: &CertificateFiles) -> impl Iterator<Item = &Path> {
    let pair = [files.certificate.as_path(), files.key.as_path()];
    pair.into_iter().chain(files.ocsp.as_deref())
}

/// Reads a chain and its key and checks that they belong together.
pub(super) fn load(files: &CertificateFiles) -> Result<Loaded, TlsError> {
    let chain = read_certificates(&files.certificate)?;
    let key = read_key(&files.key)?;
    let leaf =
        chain.first().ok_or_else(|| TlsError::NoCertificate { path: files.certificate.clone() })?;
    let leaf = parse(&files.certificate, 1, leaf)?;
    let mut statuses = vec![describe(&files.certificate, &leaf)?];
    let serial = leaf.raw_serial().to_vec();

    let signing = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|source| TlsError::Key { path: files.key.clone(), source })?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(TlsError::KeyMismatch {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            });
        }
        Err(source) => return Err(TlsError::from(source)),
    }
    let mut staple = None;
    if let Some(path) = &files.ocsp {
        let (found, status) = ocsp::load(path, &serial)?;
        staple = found;
        statuses.push(status);
    }
    Ok(Loaded { certified, staple, statuses })
}

/// All certificates of a PEM file, at least one.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|error| damaged(path, &error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_path_buf() });
    }
    for (index, certificate) in chain.iter().enumerate() {
        parse(path, index + 1, certificate)?;
    }
    Ok(chain)
}

/// The authorities of a PEM file, all of which must be usable, and when the first of them ends.
pub(super) fn read_roots(path: &Path) -> Result<(RootCertStore, FileStatus), TlsError> {
    let mut store = RootCertStore::empty();
    let mut dates = Vec::new();
    for (index, certificate) in read_certificates(path)?.into_iter().enumerate() {
        let status = describe(path, &parse(path, index + 1, &certificate)?)?;
        dates.extend(status.not_after_unix_s);
        store.add(certificate).map_err(|error| TlsError::Certificate {
            path: path.to_path_buf(),
            number: index + 1,
            problem: error.to_string(),
        })?;
    }
    let status = FileStatus {
        path: path.to_path_buf(),
        kind: FileKind::Roots,
        names: Vec::new(),
        not_before_unix_s: 0,
        not_after_unix_s: dates.into_iter().min(),
        problem: None,
    };
    Ok((store, status))
}

/// The first private key of a PEM file.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    if let Ok(metadata) = std::fs::metadata(path)
        && metadata.permissions().mode() & 0o007 != 0
    {
        tracing::warn!(path = %path.display(), "every user can reach this private key: chmod 600");
    }
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => {
            let holds = |label: &[u8]| text.windows(label.len()).any(|window| window == label);
            let hint = if holds(b"ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED") {
                "it is encrypted; decrypt it with `openssl pkey -in FILE -out FILE.plain`"
            } else if holds(b"BEGIN CERTIFICATE") {
                "it holds a certificate; are `certificate` and `key` swapped?"
            } else {
                "expected PEM with `-----BEGIN PRIVATE KEY-----`"
            };
            Err(TlsError::NoKey { path: path.to_path_buf(), hint })
        }
        Err(error) => Err(damaged(path, &error)),
    }
}

pub(super) fn damaged(path: &Path, error: &pem::Error) -> TlsError {
    TlsError::Pem { path: path.to_path_buf(), problem: error.to_string() }
}

fn parse<'a>(
    path: &Path,
    number: usize,
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, TlsError> {
    X509Certificate::from_der(der).map(|(_rest, certificate)| certificate).map_err(|error| {
        TlsError::Certificate { path: path.to_path_buf(), number, problem: error.to_string() }
    })
}

/// The names and dates of a leaf. The common name is not one of its names: no client looks at it.
fn describe(path: &Path, certificate: &X509Certificate<'_>) -> Result<FileStatus, TlsError> {
    let alternatives = certificate.subject_alternative_name().map_err(|error| {
        TlsError::Certificate { path: path.to_path_buf(), number: 1, problem: error.to_string() }
    })?;
    let mut names: Vec<String> = Vec::new();
    for alternative in alternatives.iter().flat_map(|found| &found.value.general_names) {
        // An address is never a server name (RFC 6066), so only DNS names choose a certificate.
        if let GeneralName::DNSName(name) = alternative {
            let name = name.to_ascii_lowercase();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let validity = certificate.validity();
    Ok(FileStatus {
        path: PathBuf::from(path),
        kind: FileKind::Certificate,
        names,
        not_before_unix_s: validity.not_before.timestamp(),
        not_after_unix_s: Some(validity.not_after.timestamp()),
        problem: None,
    })
}
