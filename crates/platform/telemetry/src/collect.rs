//! Turns totals into the facts of one second.
//!
//! The workers only count up; the collector keeps the totals it saw last and subtracts. A key
//! that was dropped and made again starts at zero. Invariant: an event is in exactly one
//! snapshot, whichever second it falls into.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::fact::{PoolFacts, ReasonCount, RouteFacts, Snapshot};
use model::{Name, Reason};

use crate::histogram::HistogramCounts;
use crate::registry::{Reading, Registry, ServerKey};
use crate::tcp::TcpTotals;
use crate::totals::{RouteTotals, ServerTotals, WorkerTotals};

/// Reads all shards, once a second; one per process, since its calls are the registry's clock.
#[derive(Debug)]
pub struct Collector {
    registry: Arc<Registry>,
    workers: WorkerTotals,
    routes: BTreeMap<Name, Reading<RouteTotals>>,
    servers: BTreeMap<ServerKey, Reading<ServerTotals>>,
    tcp: BTreeMap<Name, Reading<TcpTotals>>,
}

/// What one server did since the last collection.
struct ServerDelta {
    attempts: u64,
    failures: u64,
    retries: u64,
    retries_refused: u64,
    first_byte: HistogramCounts,
}

impl Collector {
    /// A collector that starts from what the registry holds now.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        let workers = registry.read_workers();
        let routes = registry.read_routes().into_iter().collect();
        let servers = registry.read_servers().into_iter().collect();
        let tcp = registry.read_tcp().into_iter().collect();
        Self { registry, workers, routes, servers, tcp }
    }

    /// Fills in what was counted since the last call: requests, classes, percentiles, shares,
    /// retries, connections and reasons. `gauges` comes with the names of routes, pools and
    /// servers and with the gauges that balancing knows; those stay as they are.
    #[must_use]
    pub fn collect(&mut self, gauges: Snapshot) -> Snapshot {
        let mut snapshot = gauges;
        let mut reasons = vec![0; Reason::ALL.len()];
        self.collect_workers(&mut snapshot, &mut reasons);
        self.collect_routes(&mut snapshot, &mut reasons);
        self.collect_servers(&mut snapshot);
        self.collect_tcp(&mut snapshot, &mut reasons);
        // After reading: what is dropped now has told its last second.
        self.registry.collected();
        snapshot.reasons = Reason::ALL
            .iter()
            .zip(reasons)
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| ReasonCount { code: reason.code().to_owned(), count })
            .collect();
        self.registry.admitted(&snapshot);
        snapshot
    }

    fn collect_workers(&mut self, snapshot: &mut Snapshot, reasons: &mut [u64]) {
        let now = self.registry.read_workers();
        let before = std::mem::replace(&mut self.workers, now);
        snapshot.connections = self.workers.accepted.saturating_sub(self.workers.closed);
        snapshot.connections_accepted = self.workers.accepted.saturating_sub(before.accepted);
        add_delta(reasons, &self.workers.reasons, &before.reasons);
        add_delta(reasons, &self.workers.refused, &before.refused);
    }

    fn collect_routes(&mut self, snapshot: &mut Snapshot, reasons: &mut [u64]) {
        let now: BTreeMap<_, _> = self.registry.read_routes().into_iter().collect();
        let before = std::mem::replace(&mut self.routes, now);
        let nothing = RouteTotals::default();
        for (name, reading) in &self.routes {
            add_delta(
                reasons,
                &reading.totals.reasons,
                &earlier(&before, name, reading, &nothing).reasons,
            );
        }
        for facts in &mut snapshot.routes {
            if let Some((name, reading)) = self.routes.get_key_value(facts.name.as_str()) {
                fill_route(facts, &reading.totals, earlier(&before, name, reading, &nothing));
            }
        }
    }

    fn collect_servers(&mut self, snapshot: &mut Snapshot) {
        let now: BTreeMap<_, _> = self.registry.read_servers().into_iter().collect();
        let before = std::mem::replace(&mut self.servers, now);
        let nothing = ServerTotals::default();
        let mut pools: BTreeMap<Name, BTreeMap<SocketAddr, ServerDelta>> = BTreeMap::new();
        for (key, reading) in &self.servers {
            let delta = server_delta(&reading.totals, earlier(&before, key, reading, &nothing));
            pools.entry(Arc::clone(&key.0)).or_default().insert(key.1, delta);
        }
        for facts in snapshot.pools.iter_mut().chain(&mut snapshot.tried) {
            if let Some(servers) = pools.get(facts.name.as_str()) {
                fill_pool(facts, servers);
            }
        }
    }

    fn collect_tcp(&mut self, snapshot: &mut Snapshot, reasons: &mut [u64]) {
        let now: BTreeMap<_, _> = self.registry.read_tcp().into_iter().collect();
        let before = std::mem::replace(&mut self.tcp, now);
        let nothing = TcpTotals::default();
        for (name, reading) in &self.tcp {
            let before = earlier(&before, name, reading, &nothing);
            add_delta(reasons, &reading.totals.reasons, &before.reasons);
            let facts = snapshot.tcp.iter_mut().filter(|facts| *facts.name == **name);
            facts.for_each(|facts| reading.totals.fill(facts, before));
        }
    }
}

/// The totals of the last collection, or nothing for a key that is new since.
fn earlier<'a, K: Ord, T>(
    before: &'a BTreeMap<K, Reading<T>>,
    key: &K,
    reading: &Reading<T>,
    nothing: &'a T,
) -> &'a T {
    before
        .get(key)
        .filter(|then| then.generation == reading.generation)
        .map_or(nothing, |then| &then.totals)
}

fn add_delta(sums: &mut [u64], now: &[u64], before: &[u64]) {
    for ((sum, now), before) in sums.iter_mut().zip(now).zip(before) {
        *sum += now.saturating_sub(*before);
    }
}

fn fill_route(facts: &mut RouteFacts, now: &RouteTotals, before: &RouteTotals) {
    for ((class, now), before) in
        facts.by_class.iter_mut().zip(&now.durations).zip(&before.durations)
    {
        *class = now.count().saturating_sub(before.count());
    }
    // The sum over the classes and not the counter of ends, so that one snapshot adds up.
    facts.requests = facts.by_class.iter().sum();
    facts.refused = (Reason::ALL.iter().zip(&now.reasons).zip(&before.reasons))
        .filter(|((reason, _), _)| reason.is_overload())
        .map(|((_, now), before)| now.saturating_sub(*before))
        .sum();
    facts.in_flight = now.in_flight();
    let durations = now.durations_all().since(&before.durations_all());
    facts.p50_us = micros(durations.quantile(500));
    facts.p99_us = micros(durations.quantile(990));
}

fn server_delta(now: &ServerTotals, before: &ServerTotals) -> ServerDelta {
    ServerDelta {
        attempts: now.attempts.saturating_sub(before.attempts),
        failures: now.failures_all().saturating_sub(before.failures_all()),
        retries: now.retries.saturating_sub(before.retries),
        retries_refused: now.retries_refused.saturating_sub(before.retries_refused),
        first_byte: now.first_byte.since(&before.first_byte),
    }
}

fn fill_pool(facts: &mut PoolFacts, servers: &BTreeMap<SocketAddr, ServerDelta>) {
    // Servers that left a moment ago count too: their attempts were the pool's.
    facts.retries = servers.values().map(|delta| delta.retries).sum();
    facts.retries_refused = servers.values().map(|delta| delta.retries_refused).sum();
    let attempts: u64 = servers.values().map(|delta| delta.attempts).sum();
    for server in &mut facts.servers {
        // A server without a record yet had no attempt, which is a share of zero.
        let delta =
            server.address.parse::<SocketAddr>().ok().and_then(|address| servers.get(&address));
        server.requests = delta.map_or(0, |delta| delta.attempts);
        server.failures = delta.map_or(0, |delta| delta.failures);
        server.share = (attempts > 0).then(|| server.requests as f64 / attempts as f64);
        server.p50_us = delta.and_then(|delta| micros(delta.first_byte.quantile(500)));
        server.p99_us = delta.and_then(|delta| micros(delta.first_byte.quantile(990)));
    }
}

fn micros(duration: Option<Duration>) -> Option<u64> {
    duration.and_then(|duration| u64::try_from(duration.as_micros()).ok())
}
