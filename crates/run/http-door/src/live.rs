//! What is live: one configuration with its routes indexed, its servers resolved, its TLS loaded.
//!
//! A `Live` is built off the path, then swapped into every worker at once and never changed.
//! Servers that were there before keep what was learned about them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use admission::{Admission, Gate};
use balancing::Member;
use model::configuration::{
    Listener, ListenerProtocol, Pool as PoolSettings, ServerAddress, ServerProtocol,
};
use model::{Configuration, Name, Timestamp};
use net::tls::{ClientTls, ServerTls, TlsError};
use tokio_rustls::TlsConnector;

use crate::authenticate::Guards;
use crate::identify::Identities;
use crate::route::Router;
use crate::secured::Secured;
use crate::upstream::UpstreamTls;

/// The protocols that a listener offers over TLS, best first.
pub(crate) fn server_alpn(listener: &Listener) -> &'static [&'static [u8]] {
    match listener.protocol {
        ListenerProtocol::Http { http2: Some(_) } => &[b"h2", b"http/1.1"],
        ListenerProtocol::Http { http2: None } => &[b"http/1.1"],
        // What is inside is not known, so whatever the client offers is right.
        ListenerProtocol::Tcp(_) => &[],
    }
}

/// The protocols that the servers of a pool are asked for over TLS.
pub(crate) fn client_alpn(pool: &PoolSettings) -> &'static [&'static [u8]] {
    match pool.protocol {
        ServerProtocol::Http1 => &[b"http/1.1"],
        ServerProtocol::Http2 => &[b"h2"],
        ServerProtocol::Tcp => &[],
    }
}

/// Names and the addresses they stand for now.
pub type Addresses = BTreeMap<Name, Vec<IpAddr>>;

/// What is known of the servers beyond the configuration.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What their names stand for.
    pub addresses: Addresses,
    /// Servers, by pool and address, that were taken out of rotation while running.
    pub drained: BTreeSet<(Name, SocketAddr)>,
}

/// One configuration, ready to serve.
#[derive(Debug)]
pub struct Live {
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) router: Router,
    pub(crate) pools: Vec<LivePool>,
    pub(crate) listeners: Vec<LiveListener>,
    pub(crate) admission: Arc<Admission>,
    /// What registered clients are known by; absent when none are.
    pub(crate) identities: Option<Arc<Identities>>,
    /// Who may use its routes.
    pub(crate) guards: Arc<Guards>,
    /// Makes the hashes by which clients are told apart; the same as long as the process runs.
    pub(crate) secret: RandomState,
    /// How many workers serve it.
    workers: usize,
    /// The certificates of its listeners and pools, as they were read.
    secured: Secured,
}

/// A pool with its servers.
#[derive(Debug)]
pub(crate) struct LivePool {
    pub(crate) balance: Arc<balancing::Pool>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) members: Vec<Member>,
    pub(crate) tls: Option<UpstreamTls>,
}

/// A listener with its certificates.
#[derive(Clone, Debug)]
pub(crate) struct LiveListener {
    pub(crate) settings: Arc<Listener>,
    pub(crate) tls: Option<Arc<ServerTls>>,
    /// Its connections over all workers; the same count before and after a reload.
    pub(crate) connections: Arc<AtomicU32>,
}

/// What registered clients are known by, and who may use the routes.
type Askers = (Option<Arc<Identities>>, Arc<Guards>);

/// Why a configuration cannot go live.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The certificates of a listener cannot be used.
    #[error("listener {listener:?}: TLS cannot be set up")]
    ListenerTls {
        /// The listener.
        listener: Name,
        /// Why.
        source: TlsError,
    },
    /// TLS towards a pool's servers cannot be set up.
    #[error("pool {pool:?}: TLS cannot be set up")]
    PoolTls {
        /// The pool.
        pool: Name,
        /// Why.
        source: TlsError,
    },
    /// The key of a client's tokens cannot be used.
    #[error("client {client:?}: the public key is no PEM of an RSA, P-256 or Ed25519 key")]
    ClientKey {
        /// The client.
        client: Name,
    },
    /// A key of the tokens that a route asks for cannot be used.
    #[error("route {route:?}: a key of `jwt_auth` cannot be used")]
    RouteKey {
        /// The route.
        route: Name,
    },
}

impl Live {
    /// Builds what serves `configuration`, with what is `known` of its servers. Reads the files of
    /// its certificates.
    ///
    /// # Errors
    /// When a certificate or key cannot be used. What is live stays so.
    pub fn build(
        configuration: &Arc<Configuration>,
        known: &Known,
        previous: Option<&Self>,
        now: Timestamp,
    ) -> Result<Self, LiveError> {
        let secured = Secured::load(configuration, previous.map(|live| &live.secured))?;
        let read = (configuration, secured, askers(configuration, previous)?);
        Self::assemble(read, known, previous, now)
    }

    /// The same configuration, of which files of users and of keys were read again, in place of
    /// `previous`. No file is read.
    ///
    /// # Errors
    /// When a key cannot be used, which reading it would have found.
    pub fn with_files(
        &self,
        configuration: &Arc<Configuration>,
        known: &Known,
        (previous, now): (&Self, Timestamp),
    ) -> Result<Self, LiveError> {
        let read = (configuration, self.secured.clone(), askers(configuration, Some(previous))?);
        Self::assemble(read, known, Some(previous), now)
    }

    /// The same configuration with what is `known` of its servers now, in place of `previous`. No
    /// file is read.
    ///
    /// # Errors
    /// When the name of a pool's servers is none that TLS can verify, which [`Self::build`] would
    /// have found.
    pub fn rebuilt(
        &self,
        known: &Known,
        previous: &Self,
        now: Timestamp,
    ) -> Result<Self, LiveError> {
        self.with_certificates(self.secured.clone(), known, (previous, now))
    }

    /// The same configuration with these certificates, in place of `previous`.
    ///
    /// # Errors
    /// As [`Self::rebuilt`].
    pub fn with_certificates(
        &self,
        secured: Secured,
        known: &Known,
        (previous, now): (&Self, Timestamp),
    ) -> Result<Self, LiveError> {
        let askers = (self.identities.clone(), Arc::clone(&self.guards));
        let read = (&self.configuration, secured, askers);
        Self::assemble(read, known, Some(previous), now)
    }

    fn assemble(
        (configuration, secured, (identities, guards)): (&Arc<Configuration>, Secured, Askers),
        known: &Known,
        previous: Option<&Self>,
        now: Timestamp,
    ) -> Result<Self, LiveError> {
        // The process keeps the number of workers and the secret that it started with.
        let workers = previous.map_or(configuration.door.workers, |live| live.workers);
        let secret = previous.map_or_else(RandomState::new, |live| live.secret.clone());
        let members: Vec<Vec<Member>> =
            configuration.pools.iter().map(|pool| members_of(pool, known)).collect();
        let addresses: Vec<Vec<SocketAddr>> = members
            .iter()
            .map(|members| members.iter().map(|member| member.address).collect())
            .collect();
        let addresses: Vec<&[SocketAddr]> = addresses.iter().map(Vec::as_slice).collect();
        let before = previous.map(|live| &*live.admission);
        // Nobody outside can know the seed, so nobody can aim at one place of a table.
        let seed = (now, secret.hash_one("admission"));
        let admission = Admission::build(configuration, workers, &addresses, before, seed);
        let pools = configuration
            .pools
            .iter()
            .zip(members)
            .enumerate()
            .map(|(index, (pool, members))| {
                let parts = (members, admission.gate(index), secured.pool(&pool.name));
                LivePool::build(pool, parts, previous, now)
            })
            .collect::<Result<_, _>>()?;
        let listeners = configuration
            .listeners
            .iter()
            .map(|listener| LiveListener::new(listener, &secured, previous))
            .collect();
        Ok(Self {
            configuration: Arc::clone(configuration),
            router: Router::new(&configuration.routes),
            pools,
            listeners,
            admission: Arc::new(admission),
            identities,
            guards,
            secret,
            workers,
            secured,
        })
    }

    /// Its certificates, as they were read.
    #[must_use]
    pub fn secured(&self) -> &Secured {
        &self.secured
    }

    /// Who is let in, and the kill switch of each client. A candidate has its own, with the same
    /// gates, limits and switches behind it.
    #[must_use]
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// The configuration it serves.
    #[must_use]
    pub fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    /// Whether servers are told by the PROXY protocol whose connections they get.
    pub(crate) fn tells_clients(&self) -> bool {
        self.configuration.pools.iter().any(|pool| pool.proxy_protocol.is_some())
    }

    /// The pool of this index with its decision state.
    #[must_use]
    pub fn pool(&self, index: usize) -> &Arc<balancing::Pool> {
        &self.pools[index].balance
    }

    /// The members of the pool of this index, in the order of its servers.
    #[must_use]
    pub fn members(&self, index: usize) -> &[Member] {
        &self.pools[index].members
    }

    /// Routes and servers, for the metrics that stay.
    #[must_use]
    pub fn names(&self) -> (Vec<Name>, Vec<(Name, SocketAddr)>) {
        let routes = self.configuration.routes.iter().map(|route| route.name.clone()).collect();
        let pools = self.configuration.pools.iter().zip(&self.pools);
        let servers = pools
            .flat_map(|(settings, pool)| {
                pool.members.iter().map(|member| (settings.name.clone(), member.address))
            })
            .collect();
        (routes, servers)
    }
}

impl LivePool {
    fn build(
        settings: &PoolSettings,
        (members, gate, tls): (Vec<Member>, &Arc<Gate>, Option<&Arc<ClientTls>>),
        previous: Option<&Live>,
        now: Timestamp,
    ) -> Result<Self, LiveError> {
        let before = previous.and_then(|live| {
            let at = live.configuration.pools.iter().position(|pool| pool.name == settings.name)?;
            live.pools.get(at)
        });
        let before = before.map(|pool| &*pool.balance);
        let balance = Arc::new(balancing::Pool::build(settings, &members, before, now));
        let tls = settings.tls.as_ref().zip(tls).map(|(settings, tls)| {
            let name = settings.server_name.as_deref();
            let server_name = name.map(net::tls::server_name).transpose()?;
            Ok(UpstreamTls { connector: TlsConnector::from(tls.config()), server_name })
        });
        let tls = tls
            .transpose()
            .map_err(|source| LiveError::PoolTls { pool: settings.name.clone(), source })?;
        for (index, _) in members.iter().enumerate() {
            balance.limit_server(index, gate.server_limit(index));
        }
        Ok(Self { balance, gate: Arc::clone(gate), members, tls })
    }
}

impl LiveListener {
    fn new(settings: &Listener, secured: &Secured, previous: Option<&Live>) -> Self {
        let known = previous.and_then(|live| {
            live.listeners.iter().find(|listener| listener.settings.name == settings.name)
        });
        let tls = secured.listener(&settings.name).cloned();
        let connections = known.map(|known| Arc::clone(&known.connections)).unwrap_or_default();
        Self { settings: Arc::new(settings.clone()), tls, connections }
    }
}

/// With the same clients the table stays, so that what was found in it need not be looked up again.
fn askers(configuration: &Configuration, previous: Option<&Live>) -> Result<Askers, LiveError> {
    let same = previous.filter(|live| live.configuration.clients == configuration.clients);
    let identities = match same {
        Some(live) => live.identities.clone(),
        None => Identities::build(&configuration.clients)
            .map_err(|client| LiveError::ClientKey { client })?
            .map(Arc::new),
    };
    let guards =
        Guards::build(&configuration.routes).map_err(|route| LiveError::RouteKey { route })?;
    Ok((identities, Arc::new(guards)))
}

/// Every configured server with the addresses it stands for, each address once.
fn members_of(settings: &PoolSettings, known: &Known) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::with_capacity(settings.servers.len());
    for server in &settings.servers {
        let (name, places) = match &server.address {
            ServerAddress::Socket(address) => (None, vec![*address]),
            ServerAddress::Name { host, port } => {
                let found = known.addresses.get(host).map_or(&[][..], Vec::as_slice);
                let places = found.iter().map(|ip| SocketAddr::new(*ip, *port)).collect();
                (Some(host.clone()), places)
            }
        };
        for address in places {
            if members.iter().all(|member| member.address != address) {
                members.push(Member {
                    address,
                    name: name.clone(),
                    weight: server.weight,
                    zone: server.zone.clone(),
                    drain: server.drain
                        || known.drained.contains(&(settings.name.clone(), address)),
                });
            }
        }
    }
    members
}
