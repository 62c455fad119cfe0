//! TLS towards clients: which certificate answers which server name, and how sessions resume.
//!
//! Invariant: with `strict_sni` a certificate is shown only for a name it carries; a handshake
//! without a server name, or with another one, ends before any certificate is sent.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use model::configuration::{ListenerTls, TlsVersion};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    ClientHello, ProducesTickets, ResolvesServerCert, ServerConfig, ServerSessionMemoryCache,
    StoresServerSessions,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::file::{FileKind, FileStatus, Stamps, now_unix_s};
use super::ocsp::Staple;
use super::trust::{self, Trust};
use super::{TlsError, provider};
use super::{acme, certificate};
use crate::socket::Stream;

/// TLS 1.2 sessions kept for clients without ticket support; about 100 bytes each.
const SESSIONS_MAX: usize = 4_096;

/// TLS as one listener terminates it.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    choice: Arc<Choice>,
    statuses: Arc<[FileStatus]>,
    memory: Memory,
    trust: Option<Arc<Trust>>,
    stamps: Stamps,
}

/// What lets clients resume their sessions.
#[derive(Clone, Debug)]
struct Memory {
    ticketer: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Memory {
    /// Tickets are encrypted with keys that live in this process only: a new one every six hours,
    /// the one before it still accepted.
    fn new() -> Result<Self, TlsError> {
        let sessions = ServerSessionMemoryCache::new(SESSIONS_MAX);
        Ok(Self { ticketer: Ticketer::new()?, sessions })
    }
}

/// Reads the files of `tls` and makes the library's configuration of them; see [`ServerTls::load`].
///
/// # Errors
/// See [`TlsError`].
pub fn load(tls: &ListenerTls, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    ServerTls::load(tls, alpn).map(|server| server.config())
}

impl ServerTls {
    /// Reads the files of `tls`, checks them, and offers the protocols `alpn`, best first.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(tls: &ListenerTls, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        Self::build(tls, alpn, None)
    }

    /// Reads the files again, or those of changed settings. Clients resume the sessions they have:
    /// the ticket keys stay, unless whom the listener trusts changed: a resumed session is not
    /// verified again. Connections already open are not touched.
    ///
    /// # Errors
    /// See [`TlsError`]; keep using `self` then.
    pub fn reload(&self, tls: &ListenerTls, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        Self::build(tls, alpn, Some(self))
    }

    /// What `tokio_rustls::TlsAcceptor` takes.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What its files say about themselves: the certificates in the order of the configuration,
    /// each with its OCSP response behind it, then what clients are verified with.
    #[must_use]
    pub fn files(&self) -> &[FileStatus] {
        &self.statuses
    }

    /// What the system said of its files when they were read.
    #[must_use]
    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// True when a connection that was opened for `server_name` may also carry requests for
    /// `host` (any case, no port): the certificate that the first chooses is also for the
    /// second. Otherwise the request is misdirected (421, RFC 9110 section 15.5.20). A client that
    /// sent no server name may ask for what no certificate names, such as an address.
    #[must_use]
    pub fn serves_both(&self, server_name: Option<&str>, host: &str) -> bool {
        if server_name.is_some_and(|name| name.eq_ignore_ascii_case(host)) {
            return true;
        }
        if server_name.is_some_and(|name| plain(name) == plain(host)) {
            return true;
        }
        let chosen = self.choice.candidates(server_name);
        let named = self.choice.named(host);
        if named.is_empty() && server_name.is_none() {
            return true;
        }
        // Which of the chosen ones was shown depends on the client: all of them must do.
        !chosen.is_empty() && chosen.iter().all(|index| named.contains(index))
    }

    /// Whether two listeners, each with this TLS or with none, let in the same clients: one of them
    /// was read again from the other's settings, and found what it had.
    #[must_use]
    pub fn same_trust(one: Option<&Self>, other: Option<&Self>) -> bool {
        let trust = |tls: Option<&Self>| tls.and_then(|tls| tls.trust.as_ref().map(Arc::as_ptr));
        trust(one) == trust(other)
    }

    /// Whether a listener with this TLS, or with none, would let in the client at the other end of
    /// `stream` now. One that was let in by a certificate that nobody asks for any more is not: who
    /// it is was known by what was trusted then. It verifies signatures, as a handshake does.
    #[must_use]
    pub fn admits(tls: Option<&Self>, stream: &Stream) -> bool {
        let shown = stream.peer_certificates();
        match tls.and_then(|tls| tls.trust.as_ref()) {
            Some(trust) => trust.admits(shown),
            None => shown.is_empty(),
        }
    }

    fn build(tls: &ListenerTls, alpn: &[&[u8]], before: Option<&Self>) -> Result<Self, TlsError> {
        if let Some(acme) = &tls.acme {
            acme::prepare(acme)?;
        }
        let stamps = Stamps::of(paths(tls));
        let mut shown = Vec::with_capacity(tls.certificates.len());
        let mut statuses = Vec::new();
        for files in &tls.certificates {
            let loaded = certificate::load(files)?;
            shown.push(Shown::new(loaded.certified, loaded.staple));
            statuses.extend(loaded.statuses);
        }
        let choice = Arc::new(Choice::new(shown, &statuses, tls.strict_sni)?);
        let trust = tls.clients.as_ref().map(trust::load).transpose()?.map(Arc::new);
        statuses.extend(trust.iter().flat_map(|trust| trust.statuses.clone()));
        // What is the same stays the same in memory, for `same_trust`.
        let (memory, trust) = match before {
            Some(before) if before.trust == trust => (before.memory.clone(), before.trust.clone()),
            Some(_) | None => (Memory::new()?, trust),
        };
        let versions: &[_] = match tls.version_min {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
        let builder = match &trust {
            Some(trust) => builder.with_client_cert_verifier(Arc::clone(&trust.verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config =
            builder.with_cert_resolver(Arc::clone(&choice) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.ticketer = Arc::clone(&memory.ticketer);
        config.session_storage = Arc::clone(&memory.sessions);
        // Early data can be replayed by whoever saw it, so a door does not take it.
        config.max_early_data_size = 0;
        let (config, statuses) = (Arc::new(config), Arc::from(statuses));
        Ok(Self { config, choice, statuses, memory, trust, stamps })
    }
}

/// The files that TLS on a listener is made of.
fn paths(tls: &ListenerTls) -> impl Iterator<Item = &Path> {
    let shown = tls.certificates.iter().flat_map(certificate::paths);
    shown.chain(tls.clients.iter().flat_map(trust::paths))
}

/// A certificate, and the same with its OCSP response as long as that holds.
#[derive(Debug)]
struct Shown {
    plain: Arc<CertifiedKey>,
    stapled: Option<(Staple, Arc<CertifiedKey>)>,
}

impl Shown {
    fn new(certified: CertifiedKey, staple: Option<Staple>) -> Self {
        let stapled = staple.map(|staple| {
            let with = CertifiedKey { ocsp: Some(staple.der.clone()), ..certified.clone() };
            (staple, Arc::new(with))
        });
        Self { plain: Arc::new(certified), stapled }
    }

    /// What is shown now.
    fn now(&self) -> Arc<CertifiedKey> {
        match &self.stapled {
            Some((staple, stapled)) if staple.holds(now_unix_s()) => Arc::clone(stapled),
            Some(_) | None => Arc::clone(&self.plain),
        }
    }
}

/// Chooses the certificate of a handshake. Several may carry one name, such as an ECDSA and an
/// RSA one: the first whose signature the client understands wins.
#[derive(Debug)]
struct Choice {
    shown: Vec<Shown>,
    /// Indexes into `shown`, by lower-case name.
    exact: HashMap<String, Vec<usize>>,
    /// Indexes into `shown`; the key is what follows `*.`.
    wildcard: HashMap<String, Vec<usize>>,
    /// For handshakes whose name matches nothing: the first certificate, and any with exactly
    /// the same names. Empty with `strict_sni`.
    default: Vec<usize>,
}

impl Choice {
    fn new(shown: Vec<Shown>, files: &[FileStatus], strict_sni: bool) -> Result<Self, TlsError> {
        let is_certificate = |file: &&FileStatus| file.kind == FileKind::Certificate;
        let statuses: Vec<&FileStatus> = files.iter().filter(is_certificate).collect();
        let first = statuses.first().ok_or(TlsError::NoCertificates)?;
        let mut exact: HashMap<String, Vec<usize>> = HashMap::new();
        let mut wildcard: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, status) in statuses.iter().enumerate() {
            if status.names.is_empty() {
                if strict_sni {
                    return Err(TlsError::NoNames { path: status.path.clone() });
                }
                let path = status.path.display();
                tracing::warn!(%path, "the certificate names no host: no server name chooses it");
            }
            for name in &status.names {
                match name.strip_prefix("*.") {
                    Some(suffix) => wildcard.entry(suffix.to_owned()).or_default().push(index),
                    None => exact.entry(name.clone()).or_default().push(index),
                }
            }
        }
        let same =
            |(index, status): (usize, &&FileStatus)| (status.names == first.names).then_some(index);
        let default = if strict_sni {
            Vec::new()
        } else {
            statuses.iter().enumerate().filter_map(same).collect()
        };
        Ok(Self { shown, exact, wildcard, default })
    }

    /// The certificates that carry `name`. An exact name wins over a wildcard, which stands for
    /// exactly one label (RFC 9525 section 6.3).
    fn named(&self, name: &str) -> &[usize] {
        let name = plain(name);
        if let Some(found) = self.exact.get(&name) {
            return found;
        }
        match name.split_once('.') {
            Some((label, suffix)) if !label.is_empty() => {
                self.wildcard.get(suffix).map_or(&[], Vec::as_slice)
            }
            Some(_) | None => &[],
        }
    }

    /// The certificates that may answer a handshake for `server_name`, best first.
    fn candidates(&self, server_name: Option<&str>) -> &[usize] {
        match server_name.map(|name| self.named(name)) {
            Some(found) if !found.is_empty() => found,
            Some(_) | None => &self.default,
        }
    }
}

/// Lower case, without the dot of a fully qualified name.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let understood = candidates.iter().find(|&&index| {
            self.shown[index].plain.key.choose_scheme(hello.signature_schemes()).is_some()
        });
        // Without a common signature the library ends the handshake and says so.
        understood.or(candidates.first()).map(|&index| self.shown[index].now())
    }
}
