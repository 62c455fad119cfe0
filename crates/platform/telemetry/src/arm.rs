//! What the two arms of a trial did: the live generation and the candidate, side by side.
//!
//! A trial brings its own [`Arms`], so nothing is written while no candidate is tried, and a
//! request that outlives its trial never counts in the next one. Invariant: a shard has one
//! writer, the worker that it was made for; what it counts is in exactly one collection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use model::arm::{ArmFacts, ArmPool, ArmServer, LATENCY_BUCKETS, latency_bucket};
use model::{Fault, Name};

use crate::cell::{Counter, Counters};
use crate::shard::{AttemptSample, RequestSample};

/// One of the two configurations that serve during a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// What was live before and stays so for most requests.
    Live,
    /// What is tried.
    Candidate,
}

/// The shards of one trial.
#[derive(Debug, Default)]
pub struct Arms {
    shards: Mutex<Shards>,
}

#[derive(Debug, Default)]
struct Shards {
    made: u64,
    held: Vec<Arc<ArmShard>>,
}

/// One worker's record of one arm, for as long as one set of its servers is in use.
#[derive(Debug)]
#[repr(align(128))]
pub struct ArmShard {
    arm: Arm,
    number: u64,
    requests: Counter,
    failures: Counter,
    latencies: Counters<LATENCY_BUCKETS>,
    pools: Vec<PoolCells>,
}

#[derive(Debug)]
struct PoolCells {
    name: Name,
    servers: Vec<ServerCells>,
}

#[derive(Debug)]
struct ServerCells {
    address: SocketAddr,
    requests: Counter,
    failures: Counter,
}

/// Reads the arms of one trial, once a second; one per trial, since an arm's shard that has told
/// its last second is dropped.
#[derive(Debug)]
pub struct ArmCollector {
    arms: Arc<Arms>,
    /// What each shard held at the last call.
    seen: BTreeMap<u64, ArmFacts>,
}

impl Arms {
    /// A worker's own shard for `arm`, whose pools have these servers; the indexes that
    /// [`ArmShard::attempt`] takes are those of this list. Not for the request path: it locks.
    #[must_use]
    pub fn shard(&self, arm: Arm, pools: Vec<(Name, Vec<SocketAddr>)>) -> Arc<ArmShard> {
        let cells =
            |address| ServerCells { address, requests: Counter::new(), failures: Counter::new() };
        let pools = pools.into_iter().map(|(name, servers)| PoolCells {
            name,
            servers: servers.into_iter().map(cells).collect(),
        });
        let pools = pools.collect();
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.made += 1;
        let shard = Arc::new(ArmShard {
            arm,
            number: shards.made,
            requests: Counter::new(),
            failures: Counter::new(),
            latencies: Counters::new(),
            pools,
        });
        shards.held.push(Arc::clone(&shard));
        shard
    }
}

impl ArmShard {
    /// A request that a route of this arm served ended. It failed when its status is 5xx, or when it was cut short
    /// for a reason that is the server's or the door's fault. How long a tunnel (101) lasts is
    /// its client's choice, so that is in no latency bucket.
    #[inline]
    pub fn request(&self, sample: &RequestSample) {
        self.requests.add(1);
        let blamed = sample.reason.is_some_and(|reason| reason.fault() != Fault::Client);
        self.failures.add(u64::from(blamed || sample.status >= 500));
        if sample.status != 101 {
            let us = u64::try_from(sample.duration.as_micros()).unwrap_or(u64::MAX);
            self.latencies.increment(latency_bucket(us));
        }
    }

    /// No route of this arm takes a request: a failure, though the request may be at fault. Both
    /// arms get such requests alike, so what one arm fails more is a route that it lost.
    #[inline]
    pub fn unrouted(&self) {
        self.requests.add(1);
        self.failures.add(1);
    }

    /// An attempt of this arm at a server ended; it failed as [`crate::ServerShard::attempt`]
    /// says.
    #[inline]
    pub fn attempt(&self, pool: usize, server: usize, sample: &AttemptSample) {
        let cells = self.pools.get(pool).and_then(|pool| pool.servers.get(server));
        debug_assert!(cells.is_some(), "server {server} of pool {pool}");
        if let Some(cells) = cells {
            cells.requests.add(1);
            cells.failures.add(u64::from(sample.has_failed()));
        }
    }

    fn read(&self) -> ArmFacts {
        let mut latencies = vec![0; LATENCY_BUCKETS];
        self.latencies.add_to(&mut latencies);
        let server = |cells: &ServerCells| ArmServer {
            address: cells.address.to_string(),
            requests: cells.requests.get(),
            failures: cells.failures.get(),
        };
        let pool = |cells: &PoolCells| ArmPool {
            name: cells.name.to_string(),
            servers: cells.servers.iter().map(server).collect(),
        };
        ArmFacts {
            requests: self.requests.get(),
            failures: self.failures.get(),
            latencies,
            pools: self.pools.iter().map(pool).collect(),
        }
    }
}

impl ArmCollector {
    /// A collector of the trial that counts in `arms`.
    #[must_use]
    pub fn new(arms: Arc<Arms>) -> Self {
        Self { arms, seen: BTreeMap::new() }
    }

    /// What the live generation and the candidate did since the last call.
    #[must_use]
    pub fn collect(&mut self) -> (ArmFacts, ArmFacts) {
        let (mut live, mut candidate) = (ArmFacts::default(), ArmFacts::default());
        let mut before = std::mem::take(&mut self.seen);
        let mut shards = self.arms.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.held.retain_mut(|shard| {
            // Asked before it is read: when nobody else holds it, this reading is its last.
            let ended = Arc::get_mut(shard).is_some();
            let now = shard.read();
            let sum = match shard.arm {
                Arm::Live => &mut live,
                Arm::Candidate => &mut candidate,
            };
            add_difference(sum, &now, &before.remove(&shard.number).unwrap_or_default());
            if !ended {
                self.seen.insert(shard.number, now);
            }
            !ended
        });
        (live, candidate)
    }
}

/// Adds to `sum` what one shard counted since `before`, which holds the same servers or nothing.
fn add_difference(sum: &mut ArmFacts, now: &ArmFacts, before: &ArmFacts) {
    sum.requests += now.requests.saturating_sub(before.requests);
    sum.failures += now.failures.saturating_sub(before.failures);
    sum.latencies.resize(LATENCY_BUCKETS, 0);
    for (index, (sum, now)) in sum.latencies.iter_mut().zip(&now.latencies).enumerate() {
        *sum += now.saturating_sub(before.latencies.get(index).copied().unwrap_or(0));
    }
    for (index, pool) in now.pools.iter().enumerate() {
        let earlier = before.pools.get(index).map_or(&[][..], |pool| &pool.servers);
        let place = sum.pools.iter().position(|known| known.name == pool.name);
        let place = place.unwrap_or_else(|| {
            sum.pools.push(ArmPool { name: pool.name.clone(), servers: Vec::new() });
            sum.pools.len() - 1
        });
        for (index, server) in pool.servers.iter().enumerate() {
            add_server(&mut sum.pools[place], server, earlier.get(index));
        }
    }
}

fn add_server(sum: &mut ArmPool, now: &ArmServer, before: Option<&ArmServer>) {
    let known = sum.servers.iter().position(|server| server.address == now.address);
    let place = known.unwrap_or_else(|| {
        sum.servers.push(ArmServer { address: now.address.clone(), ..ArmServer::default() });
        sum.servers.len() - 1
    });
    let server = &mut sum.servers[place];
    server.requests += now.requests - before.map_or(0, |before| before.requests);
    server.failures += now.failures - before.map_or(0, |before| before.failures);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Reason;

    use super::*;

    fn request(status: u16, reason: Option<Reason>) -> RequestSample {
        let duration = Duration::from_millis(1);
        RequestSample { status, duration, bytes_in: 0, bytes_out: 0, reason }
    }

    fn attempt(status: Option<u16>, failure: Option<Reason>) -> AttemptSample {
        let total = Duration::from_millis(1);
        AttemptSample { status, failure, connect: None, first_byte: None, total, retried: false }
    }

    fn pools() -> Vec<(Name, Vec<SocketAddr>)> {
        vec![
            ("web".into(), vec!["10.0.0.1:80".parse().unwrap()]),
            ("api".into(), vec!["10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap()]),
        ]
    }

    /// Requests, failures, and per server its requests and failures.
    fn numbers(facts: &ArmFacts) -> (u64, u64, Vec<(u64, u64)>) {
        let servers = facts.pools.iter().flat_map(|pool| &pool.servers);
        let servers = servers.map(|server| (server.requests, server.failures)).collect();
        (facts.requests, facts.failures, servers)
    }

    #[test]
    fn a_request_fails_by_its_status_or_for_a_fault_that_is_not_its_clients() {
        for (sample, failed) in [
            (request(200, None), false),
            (request(404, Some(Reason::NoRoute)), false),
            (request(500, None), true),
            (request(503, Some(Reason::NoServer)), true),
            (request(200, Some(Reason::ServerClosed)), true),
            (request(499, Some(Reason::ClientClosed)), false),
            (request(500, Some(Reason::Internal)), true),
        ] {
            let arms = Arc::new(Arms::default());
            arms.shard(Arm::Live, pools()).request(&sample);
            let (live, candidate) = ArmCollector::new(arms).collect();
            assert_eq!((live.requests, live.failures), (1, u64::from(failed)), "{sample:?}");
            assert_eq!(live.latencies[latency_bucket(1_000)], 1, "{sample:?}");
            assert_eq!(candidate, ArmFacts::default());
        }
    }

    #[test]
    fn workers_add_up_and_each_second_is_told_once() {
        let arms = Arc::new(Arms::default());
        let mut collector = ArmCollector::new(Arc::clone(&arms));
        let shards = [arms.shard(Arm::Candidate, pools()), arms.shard(Arm::Candidate, pools())];
        for shard in &shards {
            shard.request(&request(200, None));
            shard.attempt(1, 1, &attempt(Some(200), None));
            shard.attempt(1, 0, &attempt(None, Some(Reason::ConnectFailed)));
            shard.attempt(0, 0, &attempt(None, Some(Reason::ClientClosed)));
        }
        let (live, candidate) = collector.collect();
        assert_eq!(live, ArmFacts::default());
        assert_eq!(numbers(&candidate), (2, 0, vec![(2, 0), (2, 2), (2, 0)]));
        let names: Vec<&str> = candidate.pools.iter().map(|pool| pool.name.as_str()).collect();
        assert_eq!(names, ["web", "api"]);
        shards[0].request(&request(502, Some(Reason::ServerClosed)));
        let (_, candidate) = collector.collect();
        assert_eq!(numbers(&candidate), (1, 1, vec![(0, 0); 3]));
        assert_eq!(candidate.latencies.iter().sum::<u64>(), 1);
    }

    #[test]
    fn a_shard_that_ended_tells_its_last_second_and_is_dropped() {
        let arms = Arc::new(Arms::default());
        let mut collector = ArmCollector::new(Arc::clone(&arms));
        for round in 0..3 {
            let shard = arms.shard(Arm::Live, pools());
            shard.request(&request(200, None));
            assert_eq!(numbers(&collector.collect().0), (1, 0, vec![(0, 0); 3]), "{round}");
            shard.request(&request(200, None));
            drop(shard);
            assert_eq!(collector.collect().0.requests, 1, "{round}");
            assert!(collector.seen.is_empty() && arms.shards.lock().unwrap().held.is_empty());
        }
        assert_eq!(collector.collect(), (ArmFacts::default(), ArmFacts::default()));
    }

    #[test]
    fn what_has_no_route_is_a_failure_without_latency() {
        let arms = Arc::new(Arms::default());
        arms.shard(Arm::Candidate, pools()).unrouted();
        let (_, candidate) = ArmCollector::new(arms).collect();
        assert_eq!((candidate.requests, candidate.failures), (1, 1));
        assert_eq!(candidate.latencies.iter().sum::<u64>(), 0);
    }

    #[test]
    fn how_long_a_tunnel_lasts_is_no_latency() {
        let arms = Arc::new(Arms::default());
        arms.shard(Arm::Live, pools()).request(&request(101, None));
        let (live, _) = ArmCollector::new(arms).collect();
        assert_eq!((live.requests, live.latencies.iter().sum::<u64>()), (1, 0));
    }
}
