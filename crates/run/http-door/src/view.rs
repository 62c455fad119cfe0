//! What one worker serves: a configuration that is live, or tried, with the worker's own counters and
//! idle connections.
//!
//! Made when the configuration changes, and held by each request and connection until its end, so
//! that they end under the one they began with.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use model::Name;
use model::configuration::{ListenerProtocol, PoolTls};
use telemetry::{Arm, ArmShard, Arms, RouteShard, ServerShard, TcpShard};

use crate::live::Live;
use crate::treated::Treated;
use crate::upstream::IdleConnections;
use crate::waiting::Queue;
use crate::worker::Shared;

/// What a worker serves now, with its own counters and idle connections.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) live: Arc<Live>,
    pub(crate) routes: Vec<RouteView>,
    pub(crate) pools: Vec<PoolView>,
    /// By listener: what passes through those that only pass bytes on.
    pub(crate) tcp: BTreeMap<Name, Arc<TcpShard>>,
    /// Counts what this configuration does while two are compared.
    pub(crate) arm: Option<Arc<ArmShard>>,
}

/// A route, as one worker serves it.
#[derive(Debug)]
pub(crate) struct RouteView {
    pub(crate) metrics: Arc<RouteShard>,
    /// What stands for it in recordings.
    pub(crate) number: u16,
    /// What is done to its heads, if anything.
    pub(crate) treated: Option<Rc<Treated>>,
}

/// A pool, as one worker serves it.
#[derive(Debug)]
pub(crate) struct PoolView {
    pub(crate) servers: Vec<ServerView>,
    /// Who waits for a place there.
    pub(crate) queue: Rc<Queue>,
}

/// A server, as one worker serves it.
#[derive(Debug)]
pub(crate) struct ServerView {
    pub(crate) address: SocketAddr,
    pub(crate) host: Option<Name>,
    pub(crate) idle: Rc<IdleConnections>,
    pub(crate) metrics: Arc<ServerShard>,
    /// What stands for it in recordings.
    pub(crate) number: u16,
}

/// Whose idle connections: the server's, in the pool, by the way they were secured. What another
/// configuration trusted may not serve this one.
pub(crate) type IdleKey = (Name, SocketAddr, Option<PoolTls>);

impl View {
    pub(crate) fn new(
        worker: usize,
        shared: &Shared,
        (live, arm): (Arc<Live>, Option<(Arm, &Arms)>),
        idle: &mut HashMap<IdleKey, Rc<IdleConnections>>,
    ) -> Self {
        let registry = &shared.registry;
        let routes = live.router.routes().iter().map(|route| RouteView {
            metrics: registry.route(worker, &route.name),
            number: registry.route_number(&route.name),
            treated: Treated::of(route, &live.configuration).map(Rc::new),
        });
        let routes = routes.collect();
        let pools = live.configuration.pools.iter().zip(&live.pools);
        let pools: Vec<(Name, PoolView)> = pools
            .map(|(settings, pool)| {
                let pool_name = &settings.name;
                let servers = pool.members.iter().map(|member| ServerView {
                    address: member.address,
                    host: member.name.clone(),
                    idle: Rc::clone(
                        idle.entry((pool_name.clone(), member.address, settings.tls.clone()))
                            .or_default(),
                    ),
                    metrics: registry.server(worker, pool_name, member.address),
                    number: registry.server_number(pool_name, member.address),
                });
                let servers = servers.collect();
                let queue = Queue::new(worker, &pool.gate, &pool.balance);
                (pool_name.clone(), PoolView { servers, queue })
            })
            .collect();
        let arm = arm.map(|(arm, arms)| {
            let addresses =
                |view: &PoolView| view.servers.iter().map(|server| server.address).collect();
            arms.shard(
                arm,
                pools.iter().map(|(name, view)| (name.clone(), addresses(view))).collect(),
            )
        });
        let pools = pools.into_iter().map(|(_, view)| view).collect();
        let listeners = live.configuration.listeners.iter();
        let tcp = listeners
            .filter(|listener| matches!(listener.protocol, ListenerProtocol::Tcp(_)))
            .map(|listener| (listener.name.clone(), registry.tcp(worker, &listener.name)))
            .collect();
        Self { live, routes, pools, tcp, arm }
    }

    pub(crate) fn queues(&self) -> impl Iterator<Item = Weak<Queue>> {
        self.pools.iter().map(|pool| Rc::downgrade(&pool.queue))
    }
}
