//! TLS towards clients: which certificate answers which server name, and how sessions resume.
//!
//! Invariant: with `strict_sni` a certificate is shown only for a name it carries; a handshake
//! without a server name, or with another one, ends before any certificate is sent.

use std::collections::HashMap;
use std::sync::Arc;

use model::configuration::{ListenerTls, TlsVersion};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    ClientHello, ProducesTickets, ResolvesServerCert, ServerConfig, ServerSessionMemoryCache,
    StoresServerSessions,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::certificate::{self, CertificateStatus};
use super::{TlsError, provider};

/// TLS 1.2 sessions kept for clients without ticket support; about 100 bytes each.
const SESSIONS_MAX: usize = 4_096;

/// TLS as one listener terminates it.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    choice: Arc<Choice>,
    statuses: Arc<[CertificateStatus]>,
    ticketer: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
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
        // Tickets are encrypted with keys that live in this process only: a new one every six
        // hours, the one before it still accepted.
        Self::build(tls, alpn, Ticketer::new()?, ServerSessionMemoryCache::new(SESSIONS_MAX))
    }

    /// Reads the files again, or those of changed settings. Clients resume the sessions they have:
    /// the ticket keys stay. Connections already open are not touched.
    ///
    /// # Errors
    /// See [`TlsError`]; keep using `self` then.
    pub fn reload(&self, tls: &ListenerTls, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        Self::build(tls, alpn, Arc::clone(&self.ticketer), Arc::clone(&self.sessions))
    }

    /// What `tokio_rustls::TlsAcceptor` takes.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The names and dates of each certificate, in the order of the configuration.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateStatus] {
        &self.statuses
    }

    /// True when a connection that was opened for `server_name` may also carry requests for
    /// `host` (lower case, no port): the certificate that the first chooses is also for the
    /// second. Otherwise the request is misdirected (421, RFC 9110 section 15.5.20).
    #[must_use]
    pub fn serves_both(&self, server_name: &str, host: &str) -> bool {
        if plain(server_name) == plain(host) {
            return true;
        }
        let chosen = self.choice.candidates(Some(server_name));
        let named = self.choice.named(host);
        // Which of the chosen ones was shown depends on the client: all of them must do.
        !chosen.is_empty() && chosen.iter().all(|index| named.contains(index))
    }

    fn build(
        tls: &ListenerTls,
        alpn: &[&[u8]],
        ticketer: Arc<dyn ProducesTickets>,
        sessions: Arc<dyn StoresServerSessions>,
    ) -> Result<Self, TlsError> {
        let mut keys = Vec::with_capacity(tls.certificates.len());
        let mut statuses = Vec::with_capacity(tls.certificates.len());
        for files in &tls.certificates {
            let loaded = certificate::load(files)?;
            keys.push(Arc::new(loaded.certified));
            statuses.push(loaded.status);
        }
        let choice = Arc::new(Choice::new(keys, &statuses, tls.strict_sni)?);
        let versions: &[_] = match tls.version_min {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&choice) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.ticketer = Arc::clone(&ticketer);
        config.session_storage = Arc::clone(&sessions);
        // Early data can be replayed by whoever saw it, so a door does not take it.
        config.max_early_data_size = 0;
        let (config, statuses) = (Arc::new(config), Arc::from(statuses));
        Ok(Self { config, choice, statuses, ticketer, sessions })
    }
}

/// Chooses the certificate of a handshake. Several may carry one name, such as an ECDSA and an
/// RSA one: the first whose signature the client understands wins.
#[derive(Debug)]
struct Choice {
    keys: Vec<Arc<CertifiedKey>>,
    /// Indexes into `keys`, by lower-case name.
    exact: HashMap<String, Vec<usize>>,
    /// Indexes into `keys`; the key is what follows `*.`.
    wildcard: HashMap<String, Vec<usize>>,
    /// For handshakes whose name matches nothing: the first certificate, and any with exactly
    /// the same names. Empty with `strict_sni`.
    default: Vec<usize>,
}

impl Choice {
    fn new(
        keys: Vec<Arc<CertifiedKey>>,
        statuses: &[CertificateStatus],
        strict_sni: bool,
    ) -> Result<Self, TlsError> {
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
        let same = |(index, status): (usize, &CertificateStatus)| {
            (status.names == first.names).then_some(index)
        };
        let default = if strict_sni {
            Vec::new()
        } else {
            statuses.iter().enumerate().filter_map(same).collect()
        };
        Ok(Self { keys, exact, wildcard, default })
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
            self.keys[index].key.choose_scheme(hello.signature_schemes()).is_some()
        });
        // Without a common signature the library ends the handshake and says so.
        understood.or(candidates.first()).map(|&index| Arc::clone(&self.keys[index]))
    }
}
