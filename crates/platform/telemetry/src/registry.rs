//! Hands each worker its own shards and reads them all together.
//!
//! Making and reading shards takes a lock; recording into one does not. The lock is never held
//! by the request path. Invariant: one worker index is used by one worker only, so every shard
//! has one writer.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::fact::Snapshot;
use model::recording::Recording;
use model::{Name, Timestamp};

use crate::admission::AdmissionTotals;
use crate::family::Family;
pub use crate::family::{RETIRED_COLLECTIONS, RETIRED_ENTRIES};
use crate::recorder::{Recorder, Ring, RingReading};
use crate::recording::{Numbers, assemble};
use crate::shard::{RouteShard, ServerShard, WorkerShard};
use crate::tcp::{TcpShard, TcpTotals};
use crate::totals::{RouteTotals, ServerTotals, WorkerTotals};

/// A server's place: its pool and its address.
pub(crate) type ServerKey = (Name, SocketAddr);

/// Totals of one key, with the generation that tells a new key from an old one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading<T> {
    pub(crate) generation: u64,
    pub(crate) totals: T,
}

/// All shards of the process; one per process, shared in an `Arc`.
#[derive(Debug)]
pub struct Registry {
    workers: Vec<Arc<WorkerShard>>,
    rings: Vec<Arc<Ring>>,
    routes: Mutex<Family<Name, RouteShard>>,
    servers: Mutex<Family<ServerKey, ServerShard>>,
    tcp: Mutex<Family<Name, TcpShard>>,
    reloads_applied: AtomicU64,
    reloads_rejected: AtomicU64,
    admission: Mutex<AdmissionTotals>,
}

/// A panic elsewhere while the lock was held leaves counts that are still good to read.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// A registry for workers 0 to `workers - 1`.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Arc::default()).collect(),
            rings: (0..workers).map(|_| Arc::new(Ring::new(workers))).collect(),
            routes: Mutex::new(Family::new()),
            servers: Mutex::new(Family::new()),
            tcp: Mutex::new(Family::new()),
            reloads_applied: AtomicU64::new(0),
            reloads_rejected: AtomicU64::new(0),
            admission: Mutex::default(),
        }
    }

    /// How many workers it is for.
    #[must_use]
    pub const fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The worker's own shard.
    ///
    /// # Panics
    /// When `worker` is not below the number given to [`Registry::new`]: a defect of the wiring.
    #[must_use]
    pub fn worker(&self, worker: usize) -> Arc<WorkerShard> {
        Arc::clone(
            self.workers.get(worker).expect("the caller starts as many workers as it told `new`"),
        )
    }

    /// The worker's shard of a route; the same one on every call. Not for the request path: it
    /// locks.
    #[must_use]
    pub fn route(&self, worker: usize, route: &Name) -> Arc<RouteShard> {
        lock(&self.routes).shard(Arc::clone(route), worker)
    }

    /// The worker's shard of a server; the same one on every call. Not for the request path: it
    /// locks.
    #[must_use]
    pub fn server(&self, worker: usize, pool: &Name, address: SocketAddr) -> Arc<ServerShard> {
        lock(&self.servers).shard((Arc::clone(pool), address), worker)
    }

    /// The worker's shard of a TCP listener; the same one on every call. Not for the request path:
    /// it locks.
    #[must_use]
    pub fn tcp(&self, worker: usize, listener: &Name) -> Arc<TcpShard> {
        lock(&self.tcp).shard(Arc::clone(listener), worker)
    }

    /// The worker's recorder; to be asked for once.
    ///
    /// # Panics
    /// When `worker` is not below the number given to [`Registry::new`]: a defect of the wiring.
    #[must_use]
    pub fn recorder(&self, worker: usize) -> Recorder {
        let ring = self.rings.get(worker);
        let ring = ring.expect("the caller starts as many workers as it told `new`");
        Recorder::new(Arc::clone(ring), worker as u64)
    }

    /// What stands for a route in recordings. Not for the request path: it locks.
    #[must_use]
    pub fn route_number(&self, route: &Name) -> u16 {
        lock(&self.routes).number(Arc::clone(route))
    }

    /// What stands for a server in recordings. Not for the request path: it locks.
    #[must_use]
    pub fn server_number(&self, pool: &Name, address: SocketAddr) -> u16 {
        lock(&self.servers).number((Arc::clone(pool), address))
    }

    /// The requests that the workers forwarded in the last [`crate::RECORDED_SECONDS`], at most
    /// [`crate::RECORDED_REQUESTS`] of them, as of `now`. Copies some MiB; off the path.
    #[must_use]
    pub fn recording(&self, now: Timestamp) -> Recording {
        let readings: Vec<RingReading> = self.rings.iter().map(|ring| ring.read(now)).collect();
        let named = |(name, entry): (&Name, &crate::family::Entry<RouteShard>)| {
            (entry.number, Arc::clone(name))
        };
        let routes = lock(&self.routes).iter().map(named).collect();
        let servers = lock(&self.servers).iter().map(|(key, e)| (e.number, key.clone())).collect();
        assemble(&readings, &Numbers { routes, servers }, now)
    }

    /// After a reload or a DNS change: what is in neither list is kept for
    /// [`RETIRED_COLLECTIONS`] more seconds, but no more than [`RETIRED_ENTRIES`] of each kind.
    pub fn retain(&self, routes: &[Name], servers: &[(Name, SocketAddr)]) {
        let routes: BTreeSet<_> = routes.iter().cloned().collect();
        lock(&self.routes).retain(&routes);
        let servers: BTreeSet<_> = servers.iter().cloned().collect();
        lock(&self.servers).retain(&servers);
    }

    /// As [`Registry::retain`], of TCP listeners.
    pub fn retain_tcp(&self, listeners: &[Name]) {
        lock(&self.tcp).retain(&listeners.iter().cloned().collect());
    }

    /// A reload was tried; `applied` says whether the new configuration is in force.
    pub fn configuration_reloaded(&self, applied: bool) {
        let counter = if applied { &self.reloads_applied } else { &self.reloads_rejected };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Reloads applied and rejected.
    pub(crate) fn reloads(&self) -> (u64, u64) {
        (
            self.reloads_applied.load(Ordering::Relaxed),
            self.reloads_rejected.load(Ordering::Relaxed),
        )
    }

    /// Adds what was let in and refused in one second.
    pub(crate) fn admitted(&self, second: &Snapshot) {
        lock(&self.admission).add(second);
    }

    /// What was let in and refused so far.
    pub(crate) fn admission(&self) -> AdmissionTotals {
        lock(&self.admission).clone()
    }

    /// Tells the registry that a collection, and so a second, passed.
    pub(crate) fn collected(&self) {
        lock(&self.routes).collected();
        lock(&self.servers).collected();
        lock(&self.tcp).collected();
    }

    pub(crate) fn read_workers(&self) -> WorkerTotals {
        let mut totals = WorkerTotals::default();
        for worker in &self.workers {
            worker.add_to(&mut totals);
        }
        totals
    }

    pub(crate) fn read_routes(&self) -> Vec<(Name, Reading<RouteTotals>)> {
        let routes = lock(&self.routes);
        let read = routes.iter().map(|(name, entry)| {
            let mut totals = RouteTotals::default();
            entry.shards().for_each(|shard| shard.add_to(&mut totals));
            (Arc::clone(name), Reading { generation: entry.generation, totals })
        });
        read.collect()
    }

    pub(crate) fn read_tcp(&self) -> Vec<(Name, Reading<TcpTotals>)> {
        let listeners = lock(&self.tcp);
        let read = listeners.iter().map(|(name, entry)| {
            let mut totals = TcpTotals::default();
            entry.shards().for_each(|shard| shard.add_to(&mut totals));
            (Arc::clone(name), Reading { generation: entry.generation, totals })
        });
        read.collect()
    }

    pub(crate) fn read_servers(&self) -> Vec<(ServerKey, Reading<ServerTotals>)> {
        let servers = lock(&self.servers);
        let read = servers.iter().map(|(key, entry)| {
            let mut totals = ServerTotals::default();
            entry.shards().for_each(|shard| shard.add_to(&mut totals));
            (key.clone(), Reading { generation: entry.generation, totals })
        });
        read.collect()
    }
}
