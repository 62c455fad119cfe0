//! Whether the candidate sends one server more of a pool's requests than is allowed, where the
//! live arm does not.

use std::collections::{BTreeMap, BTreeSet};

use model::arm::{ArmFacts, ArmPool};

use crate::evidence::{binomial_tail, ln_ratio};
use crate::words::share_words;

/// One look at the end: chance explains as much in one of a hundred trials. Stricter than for
/// failures, since a pool may well be meant to be just below the limit.
const CHANCE_SUSPICIOUS: f64 = 0.01;
/// The shares that are bet on: all but one of a thousand requests, and half way to it.
const ALL_BUT_A_FEW: f64 = 0.999;

/// What an arm sent to the servers of one pool.
type Servers = BTreeMap<String, u64>;

/// Compares the servers' shares with what is allowed.
#[derive(Debug)]
pub(super) struct Shares {
    share_max: f64,
    lopsided: BTreeSet<String>,
    live: BTreeMap<String, Servers>,
    candidate: BTreeMap<String, Servers>,
}

/// The busiest server of a pool.
struct Busiest<'a> {
    pool: &'a str,
    server: &'a str,
    requests: u64,
    of: u64,
    live_share: Option<f64>,
}

impl Shares {
    pub(super) const fn new(share_max: f64, lopsided: BTreeSet<String>) -> Self {
        Self { share_max, lopsided, live: BTreeMap::new(), candidate: BTreeMap::new() }
    }

    pub(super) fn second(&mut self, live: &ArmFacts, candidate: &ArmFacts) {
        add(&mut self.live, &live.pools);
        add(&mut self.candidate, &candidate.pools);
    }

    pub(super) fn harm(&self, chance: f64) -> Option<String> {
        let pools = self.candidate.len().max(1) as f64;
        self.first(|busiest| {
            let bets = [f64::midpoint(self.share_max, 1.0), ALL_BUT_A_FEW.max(self.share_max)];
            let likelier =
                bets.map(|bet| ln_ratio(busiest.requests, busiest.of, bet, self.share_max).exp());
            // Each server of each pool has its part of the chance; above a half only one server
            // can be, so that its pool's part is its own.
            f64::midpoint(likelier[0], likelier[1]) >= 2.0 * pools / chance
        })
    }

    pub(super) fn suspicion(&self) -> Option<String> {
        self.first(|busiest| {
            binomial_tail(busiest.requests, busiest.of, self.share_max) <= CHANCE_SUSPICIOUS
        })
    }

    fn first(&self, is_shown: impl Fn(&Busiest<'_>) -> bool) -> Option<String> {
        if self.share_max >= 1.0 {
            return None;
        }
        let judged = self.candidate.iter().filter(|(pool, _)| !self.lopsided.contains(*pool));
        judged.filter_map(|(pool, servers)| self.busiest(pool, servers)).find_map(|busiest| {
            is_shown(&busiest).then(|| {
                let live = busiest.live_share.map_or_else(
                    || "the live generation sent it nothing".to_owned(),
                    |share| format!("of the live generation's {}", share_words(share)),
                );
                format!(
                    "pool {}: {} gets {} of {} requests, at most {} is allowed; {live}",
                    busiest.pool,
                    busiest.server,
                    share_words(busiest.requests as f64 / busiest.of as f64),
                    busiest.of,
                    share_words(self.share_max)
                )
            })
        })
    }

    /// `None` where the pool has one server in both arms, or the live arm is as uneven.
    fn busiest<'a>(&self, pool: &'a str, servers: &'a Servers) -> Option<Busiest<'a>> {
        let live = self.live.get(pool);
        if servers.len().max(live.map_or(0, BTreeMap::len)) < 2 {
            return None;
        }
        let (server, requests) = servers.iter().max_by_key(|(_, requests)| **requests)?;
        let live_of: u64 = live.map_or(0, |live| live.values().sum());
        let share = |requests: u64| requests as f64 / live_of as f64;
        let live_top = live.and_then(|live| live.values().max());
        if live_of > 0 && live_top.is_some_and(|top| share(*top) > self.share_max) {
            return None;
        }
        let live_share = live
            .and_then(|live| live.get(server))
            .filter(|_| live_of > 0)
            .map(|requests| share(*requests));
        let of = servers.values().sum();
        (of > 0).then_some(Busiest { pool, server, requests: *requests, of, live_share })
    }
}

fn add(pools: &mut BTreeMap<String, Servers>, seen: &[ArmPool]) {
    for pool in seen {
        let servers = pools.entry(pool.name.clone()).or_default();
        for server in &pool.servers {
            *servers.entry(server.address.clone()).or_default() += server.requests;
        }
    }
}
