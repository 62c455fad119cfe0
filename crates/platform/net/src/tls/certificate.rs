//! Reads certificate and key files, and what a certificate says: its names and its dates.
//!
//! Invariant: what this returns was parsed to the end and its key fits; an error names the file.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::configuration::CertificateFiles;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::{TlsError, provider};

/// The largest certificate or key file. The system's whole root store is about 0.2 MiB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

const DAY_S: i64 = 86_400;

/// What a certificate in use says about itself, for metrics and status pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// The certificate file.
    pub path: PathBuf,
    /// The DNS names it is for, lower case; `*.` in front means exactly one label.
    pub names: Vec<String>,
    /// Valid from, in seconds of Unix time.
    pub not_before_unix_s: i64,
    /// Valid until, in seconds of Unix time.
    pub not_after_unix_s: i64,
}

impl CertificateStatus {
    /// Whole days until it expires, seen from `now_unix_s`; negative when it has expired.
    #[must_use]
    pub fn days_left(&self, now_unix_s: i64) -> i64 {
        days_left(self.not_after_unix_s, now_unix_s)
    }
}

/// Whole days from `now_unix_s` to `not_after_unix_s`, rounded down; -1 from the first second after.
#[must_use]
pub fn days_left(not_after_unix_s: i64, now_unix_s: i64) -> i64 {
    not_after_unix_s.saturating_sub(now_unix_s).div_euclid(DAY_S)
}

/// The wall clock that certificates are judged by, in seconds of Unix time.
#[must_use]
pub fn now_unix_s() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}

/// A certificate chain with its key, and what the leaf says.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) certified: CertifiedKey,
    pub(super) status: CertificateStatus,
}

/// Reads a chain and its key and checks that they belong together.
pub(super) fn load(files: &CertificateFiles) -> Result<Loaded, TlsError> {
    let chain = read_certificates(&files.certificate)?;
    let key = read_key(&files.key)?;
    let leaf =
        chain.first().ok_or_else(|| TlsError::NoCertificate { path: files.certificate.clone() })?;
    let status = describe(&files.certificate, leaf)?;
    warn_of_dates(&status, now_unix_s());

    let signing = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|source| TlsError::Key { path: files.key.clone(), source })?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) => Ok(Loaded { certified, status }),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::KeyMismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        }),
        Err(source) => Err(TlsError::from(source)),
    }
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

fn damaged(path: &Path, error: &pem::Error) -> TlsError {
    TlsError::Pem { path: path.to_path_buf(), problem: error.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let length = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|source| TlsError::Read { path: path.to_path_buf(), source })?;
    if u64::try_from(length).is_ok_and(|length| length <= FILE_BYTES_MAX) {
        Ok(bytes)
    } else {
        Err(TlsError::TooLarge { path: path.to_path_buf(), bytes_max: FILE_BYTES_MAX })
    }
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
fn describe(path: &Path, leaf: &CertificateDer<'_>) -> Result<CertificateStatus, TlsError> {
    let certificate = parse(path, 1, leaf)?;
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
    Ok(CertificateStatus {
        path: path.to_path_buf(),
        names,
        not_before_unix_s: validity.not_before.timestamp(),
        not_after_unix_s: validity.not_after.timestamp(),
    })
}

/// An expired certificate is served all the same: the clients decide, and an outage of every
/// name on the listener would be worse.
fn warn_of_dates(status: &CertificateStatus, now_unix_s: i64) {
    let path = status.path.display();
    if status.not_after_unix_s < now_unix_s {
        let days = -status.days_left(now_unix_s);
        tracing::warn!(%path, days, "the certificate has expired: clients will refuse it");
    } else if status.not_before_unix_s > now_unix_s {
        tracing::warn!(%path, "the certificate is not valid yet: check the clock");
    }
}
