//! Which certificates of clients a listener accepts.
//!
//! Invariant: what is configured is never less than asked for. A client whose certificate does not
//! verify is refused even where none is required; with revocation lists, one that is on a list, one
//! that no list covers, and one whose list is too old are refused alike.

use std::path::Path;
use std::sync::Arc;

use model::configuration::ClientCertificates;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::certificate::{damaged, read_roots};
use super::file::{FileKind, FileStatus, read};
use super::{TlsError, provider};

/// Whom a listener trusts, as it was read.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) statuses: Vec<FileStatus>,
    /// What it was made of: sessions begun under other terms are not resumed.
    terms: (Vec<Vec<u8>>, bool),
}

impl Trust {
    /// Whether a client that shows these certificates, its own first, is let in now.
    pub(super) fn admits(&self, shown: &[CertificateDer<'_>]) -> bool {
        let (_, required) = self.terms;
        match shown.split_first() {
            None => !required,
            Some((own, between)) => {
                self.verifier.verify_client_cert(own, between, UnixTime::now()).is_ok()
            }
        }
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.terms == other.terms
    }
}

/// The files that [`load`] reads.
pub(super) fn paths(clients: &ClientCertificates) -> impl Iterator<Item = &Path> {
    std::iter::once(&*clients.roots).chain(clients.revocation.iter().map(|path| &**path))
}

/// Reads the authorities and the lists of what they revoked.
pub(super) fn load(clients: &ClientCertificates) -> Result<Trust, TlsError> {
    let (roots, status) = read_roots(&clients.roots)?;
    let mut terms = vec![read(&clients.roots)?];
    let mut statuses = vec![status];
    let mut lists = Vec::new();
    for path in &clients.revocation {
        let (found, status) = read_lists(path)?;
        terms.extend(found.iter().map(|list| list.as_ref().to_vec()));
        lists.extend(found);
        statuses.push(status);
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .with_crls(lists)
        .enforce_revocation_expiration();
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().map_err(|error| TlsError::Clients {
        path: clients.roots.clone(),
        problem: error.to_string(),
    })?;
    Ok(Trust { verifier, statuses, terms: (terms, clients.required) })
}

/// All revocation lists of a PEM file, at least one, and when the first of them ends.
fn read_lists(
    path: &Path,
) -> Result<(Vec<CertificateRevocationListDer<'static>>, FileStatus), TlsError> {
    let text = read(path)?;
    let lists = CertificateRevocationListDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|error| damaged(path, &error))?;
    if lists.is_empty() {
        return Err(TlsError::NoRevocation { path: path.to_path_buf() });
    }
    let mut ends = Vec::new();
    let mut begins = Vec::new();
    for list in &lists {
        let (_, list) = CertificateRevocationList::from_der(list).map_err(|error| {
            TlsError::Pem { path: path.to_path_buf(), problem: error.to_string() }
        })?;
        begins.push(list.last_update().timestamp());
        ends.extend(list.next_update().map(|end| end.timestamp()));
    }
    let status = FileStatus {
        path: path.to_path_buf(),
        kind: FileKind::Revocation,
        names: Vec::new(),
        not_before_unix_s: begins.into_iter().max().unwrap_or(0),
        not_after_unix_s: ends.into_iter().min(),
        problem: None,
    };
    Ok((lists, status))
}
