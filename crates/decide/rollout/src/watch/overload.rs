//! Whether a server to which the change moved requests cannot bear them.
//!
//! That a server gets a larger share by its weight is the change's own doing. When just this one
//! then has requests pile up (in flight over begun, by Little's law), one second is enough to
//! know: chance would have to hit the one server the change was about.

use std::collections::BTreeMap;

use model::fact::{PoolFacts, ServerFacts, ServerState, Snapshot};

use super::usual_most;
use crate::words::share_words;

/// From this ratio of its share on, requests were moved to a server.
const MOVED: f64 = 1.5;
/// What a server may differ by from second to second: the ratio and the microseconds of the time
/// a request takes there, and the requests in flight.
const RATIO: f64 = 2.5;
const MORE_US: f64 = 50_000.0;
const REQUESTS: f64 = 20.0;

/// Judges the servers that get more than before.
#[derive(Debug)]
pub(super) struct Overload {
    servers: BTreeMap<(String, String), Server>,
}

#[derive(Debug, Default)]
struct Server {
    share: f64,
    in_flight: f64,
    waiting_us: f64,
    /// In flight at the end of the last second.
    open: u64,
}

impl Overload {
    pub(super) fn new(usual: &[Snapshot]) -> Self {
        let mut seen: BTreeMap<(String, String), Vec<&ServerFacts>> = BTreeMap::new();
        for pool in usual.iter().flat_map(|snapshot| &snapshot.pools) {
            for server in &pool.servers {
                let key = (pool.name.clone(), server.address.clone());
                seen.entry(key).or_default().push(server);
            }
        }
        let mut servers: BTreeMap<_, _> =
            seen.into_iter().map(|(key, seconds)| (key, Server::new(&seconds))).collect();
        let now = usual.last().map_or(&[][..], |snapshot| snapshot.pools.as_slice());
        for pool in now {
            for server in &pool.servers {
                let key = (pool.name.clone(), server.address.clone());
                servers.entry(key).or_default().share = share(pool, server);
            }
        }
        Self { servers }
    }

    pub(super) fn second(&mut self, snapshot: &Snapshot) -> Option<String> {
        let mut broken = None;
        for pool in &snapshot.pools {
            for server in &pool.servers {
                let key = (pool.name.clone(), server.address.clone());
                let Some(known) = self.servers.get_mut(&key) else { continue };
                let words = known.second(server, share(pool, server));
                broken =
                    broken.or_else(|| words.map(|words| format!("pool {}: {words}", pool.name)));
            }
        }
        broken
    }
}

impl Server {
    fn new(seconds: &[&ServerFacts]) -> Self {
        let mut open = seconds.first().map_or(0, |facts| facts.in_flight);
        let waiting = seconds.iter().map(|facts| waiting_us(facts, &mut open)).collect();
        Self {
            share: 0.0,
            in_flight: usual_most(seconds.iter().map(|facts| facts.in_flight as f64).collect()),
            waiting_us: usual_most(waiting),
            open,
        }
    }

    fn second(&mut self, facts: &ServerFacts, share: f64) -> Option<String> {
        let waiting = waiting_us(facts, &mut self.open);
        // A server that had nothing before is new: it has no usual to compare with.
        let was_moved = self.share > 0.0 && share >= self.share * MOVED;
        let cannot_bear = facts.in_flight as f64 > self.in_flight + REQUESTS
            && waiting > (self.waiting_us * RATIO).max(self.waiting_us + MORE_US);
        (was_moved && cannot_bear).then(|| {
            format!(
                "{} is to get {} of the requests instead of {}, and they pile up: {} in flight, \
                 before at most {:.0}",
                facts.address,
                share_words(share),
                share_words(self.share),
                facts.in_flight,
                self.in_flight
            )
        })
    }
}

/// What the weights give a server of its pool's requests.
fn share(pool: &PoolFacts, server: &ServerFacts) -> f64 {
    let weight = |server: &ServerFacts| match server.state {
        ServerState::Draining => 0.0,
        ServerState::Unknown
        | ServerState::Up
        | ServerState::SlowStart
        | ServerState::Ejected
        | ServerState::Down => f64::from(server.weight),
    };
    let all: f64 = pool.servers.iter().map(weight).sum();
    if all > 0.0 { weight(server) / all } else { 0.0 }
}

/// How long a request that begins now takes at this server; remembers what is in flight.
fn waiting_us(facts: &ServerFacts, open: &mut u64) -> f64 {
    let began = (facts.requests + facts.in_flight).saturating_sub(*open).max(1);
    *open = facts.in_flight;
    facts.in_flight as f64 / began as f64 * 1e6
}
