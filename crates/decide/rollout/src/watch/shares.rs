//! Whether one server of several gets more of its pool's requests than is allowed.
//!
//! Two looks. What the weights intend is known and not sampled: as soon as the pool has served a
//! few requests, an intent over the limit is a fact. What the servers get is sampled: the exact
//! binomial tail says whether chance could explain it, over windows of several lengths, so that
//! a second that is half from before the change does not dilute the next ones. A window is as
//! long as it takes the balancer to forgive a stall: of two equal servers, one that stood still
//! for a moment is avoided for up to a second, and its twin gets everything. No change did that.

use std::collections::{BTreeMap, VecDeque};

use model::Configuration;
use model::fact::{PoolFacts, ServerFacts, ServerState, Snapshot};

use crate::evidence::binomial_tail;
use crate::words::share_words;

/// How often a good change may be rolled back for its shares by chance, all looks together.
const CHANCE: f64 = 0.001;
/// How often chance may excuse a pool that held before: rare enough to keep the invariant.
const CHANCE_BEFORE: f64 = 0.01;
/// Windows in seconds: the first outlasts a stall of a second that touches two, the last is as
/// long as the default watch.
const WINDOWS: [usize; 4] = [4, 8, 16, 32];
/// Requests of the pool before its intent counts: without traffic, nobody is harmed.
const INTENT_REQUESTS: u64 = 20;
/// Seconds a new server may take to pass its first check.
const UNKNOWN_SECONDS: u32 = 10;
/// Seconds for which a server's absence is its own: a restart, one ejection.
const ABSENT_SECONDS: u32 = 5;

/// Judges every pool's shares.
#[derive(Debug)]
pub(super) struct Shares {
    share_max: f64,
    chance: f64,
    lopsided: Vec<String>,
    pools: BTreeMap<String, Pool>,
    seconds: u32,
}

#[derive(Debug, Default)]
struct Pool {
    had_several: bool,
    excused: Option<String>,
    in_flight: BTreeMap<String, u64>,
    /// The newest last.
    seconds: VecDeque<Second>,
    requests: u64,
    absent_seconds: u32,
}

/// What the servers were sent in one second, and the share one of them was allowed.
#[derive(Debug)]
struct Second {
    sent: BTreeMap<String, u64>,
    limit: f64,
}

impl Shares {
    pub(super) fn new(settings: &Configuration, held: &[Snapshot]) -> Self {
        let lopsided =
            settings.pools.iter().filter(|pool| crate::may_be_lopsided(settings, &pool.name));
        let looks = settings.changes.watch.as_secs().max(1) as f64
            * WINDOWS.len() as f64
            * settings.pools.len().max(1) as f64;
        let mut shares = Self {
            share_max: settings.invariants.share_max,
            chance: CHANCE / looks,
            lopsided: lopsided.map(|pool| pool.name.to_string()).collect(),
            pools: BTreeMap::new(),
            seconds: 0,
        };
        for snapshot in held {
            for facts in &snapshot.pools {
                let pool = shares.pools.entry(facts.name.clone()).or_default();
                pool.take(facts, shares.share_max, 0);
            }
        }
        let now = held.last().map_or(&[][..], |snapshot| snapshot.pools.as_slice());
        shares.pools.retain(|name, _| now.iter().any(|facts| facts.name == *name));
        for facts in now {
            if let Some(pool) = shares.pools.get_mut(&facts.name) {
                pool.end_before(facts, shares.share_max);
            }
        }
        shares
    }

    /// The pools that broke the invariant before, in words.
    pub(super) fn excused(&self) -> impl Iterator<Item = String> {
        self.pools.values().filter_map(|pool| pool.excused.clone())
    }

    pub(super) fn second(&mut self, snapshot: &Snapshot) -> Option<String> {
        self.seconds += 1;
        if self.share_max >= 1.0 {
            return None;
        }
        let mut broken = None;
        for facts in &snapshot.pools {
            let pool = self.pools.entry(facts.name.clone()).or_default();
            pool.take(facts, self.share_max, self.seconds);
            let is_judged = (pool.had_several || facts.servers.len() > 1)
                && pool.excused.is_none()
                && !self.lopsided.contains(&facts.name);
            if is_judged {
                broken = broken
                    .or_else(|| pool.intent(facts, self.share_max))
                    .or_else(|| pool.measured(&facts.name, self.chance));
            }
        }
        broken
    }
}

impl Pool {
    fn take(&mut self, facts: &PoolFacts, share_max: f64, second: u32) {
        let mut sent = BTreeMap::new();
        let mut in_flight = BTreeMap::new();
        for server in &facts.servers {
            // What began counts, not what ended: an overloaded server ends few of its many.
            let before = self.in_flight.get(&server.address).copied().unwrap_or(0);
            let began = (server.requests + server.in_flight).saturating_sub(before);
            sent.insert(server.address.clone(), began);
            in_flight.insert(server.address.clone(), server.in_flight);
        }
        self.in_flight = in_flight;
        self.requests += sent.values().sum::<u64>();
        let limit = self.limit(facts, share_max, second);
        self.seconds.push_back(Second { sent, limit });
        if self.seconds.len() > WINDOWS[WINDOWS.len() - 1] {
            self.seconds.pop_front();
        }
    }

    /// The share one server may get in this second: more than the invariant's while another is
    /// not there for a reason that passes, half way from what is then intended to everything.
    fn limit(&mut self, facts: &PoolFacts, share_max: f64, second: u32) -> f64 {
        let is = |states: &[ServerState]| {
            facts.servers.iter().any(|server| server.weight > 0 && states.contains(&server.state))
        };
        let is_absent = is(&[ServerState::Ejected, ServerState::Down]);
        self.absent_seconds = if is_absent { self.absent_seconds + 1 } else { 0 };
        let passes = is(&[ServerState::SlowStart])
            || (is(&[ServerState::Unknown]) && second <= UNKNOWN_SECONDS)
            || (is_absent && self.absent_seconds <= ABSENT_SECONDS);
        if !passes {
            return share_max;
        }
        let intended = facts.servers.iter().map(|server| server.share_intended).fold(0.0, f64::max);
        share_max.max(f64::midpoint(intended, 1.0))
    }

    /// Ends the time before the change: notes whether the invariant held in it.
    fn end_before(&mut self, facts: &PoolFacts, share_max: f64) {
        self.had_several = facts.servers.len() > 1;
        let takes = |server: &ServerFacts| match server.state {
            ServerState::Up | ServerState::SlowStart | ServerState::Unknown => true,
            ServerState::Ejected | ServerState::Down | ServerState::Draining => false,
        };
        let intended = share_by_weight(facts, takes).map_or(0.0, |(_, share)| share);
        let window = self.seconds.len();
        let is_measured = self.seconds.back().is_some_and(|second| second.limit <= share_max);
        let (_, most, of, limit) = self.busiest(window);
        let got_more = is_measured && binomial_tail(most, of, limit) < CHANCE_BEFORE;
        if self.had_several && (intended > share_max || got_more) {
            let share = if got_more { most as f64 / of as f64 } else { intended };
            self.excused = Some(format!(
                "pool {} sent {} of its requests to one server before the change, too",
                facts.name,
                share_words(share)
            ));
        }
        self.seconds.clear();
        self.requests = 0;
        self.absent_seconds = 0;
    }

    fn intent(&self, facts: &PoolFacts, share_max: f64) -> Option<String> {
        let is_configured = |server: &ServerFacts| server.state != ServerState::Draining;
        let (server, share) = share_by_weight(facts, is_configured)?;
        (share > share_max && self.requests >= INTENT_REQUESTS).then(|| {
            format!(
                "pool {}: {} is to get {} of the requests, at most {} is allowed",
                facts.name,
                server.address,
                share_words(share),
                share_words(share_max)
            )
        })
    }

    fn measured(&self, name: &str, chance: f64) -> Option<String> {
        let lengths = WINDOWS.into_iter().filter(|length| *length <= self.seconds.len());
        lengths.map(|length| self.busiest(length)).find_map(|(server, most, of, limit)| {
            (binomial_tail(most, of, limit) < chance).then(|| {
                format!(
                    "pool {name}: {server} got {} of {of} requests, at most {} is allowed",
                    share_words(most as f64 / of as f64),
                    share_words(limit)
                )
            })
        })
    }

    /// Of the last seconds: the busiest server, what it was sent, what all were, and the limit.
    fn busiest(&self, window: usize) -> (&str, u64, u64, f64) {
        let mut sent: BTreeMap<&str, u64> = BTreeMap::new();
        let mut limit: f64 = 0.0;
        for second in self.seconds.iter().rev().take(window) {
            limit = limit.max(second.limit);
            for (server, count) in &second.sent {
                *sent.entry(server).or_default() += count;
            }
        }
        let all = sent.values().sum();
        let most = sent.into_iter().max_by_key(|(_, count)| *count).unwrap_or(("", 0));
        (most.0, most.1, all, limit)
    }
}

/// The server that weights alone send most to, and its share; of those that `counts` keeps.
fn share_by_weight(
    facts: &PoolFacts,
    counts: impl Fn(&ServerFacts) -> bool,
) -> Option<(&ServerFacts, f64)> {
    let servers = || facts.servers.iter().filter(|server| counts(server));
    let all: f64 = servers().map(|server| f64::from(server.weight)).sum();
    let most = servers().max_by_key(|server| server.weight)?;
    (all > 0.0).then(|| (most, f64::from(most.weight) / all))
}
