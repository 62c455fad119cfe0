//! Who sends the most, and who of them is demoted: counted by every worker, judged off the path.
//!
//! Each worker counts arrivals in a sketch of its own; a tick every 250 ms reads all sketches,
//! judges the flows of the pools that are overloaded by the rules of `demotion`, and
//! once a second closes the window: the counts begin anew, the top list is of that second.
//! The path asks one cache line whether a flow is demoted, and only while any is.
//! Errors: a count is too high by what its place in the sketch counted before, which is stated
//! with it: 1/4096 of a worker's arrivals on average, 1/2048 at most in the tests. A flow that
//! sends more than that keeps its place. Judged is only what is sure.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::configuration::Configuration;
use model::fact::TalkerFacts;
use model::{Name, Timestamp};

use crate::clients::Clients;
use crate::demotion::{Flow, Held, Standing, standings};
use crate::hash::{below, mix};
use crate::sketch::{Seen, Sketch};

/// Talkers that are shown.
const TOP: usize = 20;
/// How long a window is; the facts are of one.
const WINDOW: Duration = Duration::from_secs(1);
/// How long a flow must be below the bar before it is let off.
const RELEASE_AFTER: Duration = Duration::from_secs(10);
/// A flow above the bar is let off all the same when its pool was not overloaded for so long.
const CALM_AFTER: Duration = Duration::from_secs(60);
/// Flows demoted at a time.
const DEMOTED_MAX: usize = 128;

/// Who a request is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Talker {
    /// A registered client: its place in `Configuration::clients`.
    Client(u32),
    /// An IPv4 address.
    V4(u32),
    /// The first half of an IPv6 address.
    V6(u64),
    /// A keyed hash of the header's value that tells flows apart.
    Header(u64),
}

impl Talker {
    /// The flow of an address: all of IPv4, the /64 of IPv6.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments().map(u64::from);
                Self::V6(a << 48 | b << 32 | c << 16 | d)
            }
        }
    }

    /// Two numbers from which it can be made again.
    pub(crate) fn parts(self) -> (u64, u64) {
        match self {
            Self::Client(index) => (0, u64::from(index)),
            Self::V4(bits) => (1, u64::from(bits)),
            Self::V6(half) => (2, half),
            Self::Header(hash) => (3, hash),
        }
    }

    /// From [`Talker::parts`].
    pub(crate) fn from_parts(kind: u64, value: u64) -> Option<Self> {
        match kind {
            0 => u32::try_from(value).ok().map(Self::Client),
            1 => u32::try_from(value).ok().map(Self::V4),
            2 => Some(Self::V6(value)),
            3 => Some(Self::Header(value)),
            _ => None,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::V4(_) | Self::V6(_) => "address",
            Self::Header(_) => "header",
        }
    }

    fn name(self, clients: &[Name]) -> String {
        match self {
            Self::Client(index) => usize::try_from(index)
                .ok()
                .and_then(|index| clients.get(index))
                .map_or_else(String::new, ToString::to_string),
            Self::V4(bits) => std::net::Ipv4Addr::from_bits(bits).to_string(),
            Self::V6(half) => {
                format!("{}/64", std::net::Ipv6Addr::from_bits(u128::from(half) << 64))
            }
            // Half of the hash tells values apart, and gives nothing of them away.
            Self::Header(hash) => format!("{:08x}", hash >> 32),
        }
    }
}

/// The counts of all workers, and who is demoted.
#[derive(Debug)]
pub struct Talkers {
    clients: Box<[Name]>,
    pools: Box<[Name]>,
    demote_above: f64,
    shared: Arc<Shared>,
}

/// What generations with the same clients and pools share.
#[derive(Debug)]
struct Shared {
    seed: u64,
    shards: Box<[Sketch]>,
    demoted: Demoted,
    /// Only the tick and the facts take it.
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Timestamp,
    seen: Vec<Seen>,
    totals: Vec<u64>,
    held: Vec<Held>,
    top: Vec<Top>,
}

#[derive(Clone, Copy, Debug)]
struct Top {
    who: Talker,
    count: u64,
    error: u64,
    share: f64,
}

impl Talkers {
    /// Counts for `workers` workers (at least 1), about 100 KiB each. Goes on with what `previous`
    /// knows when it has the same clients and pools, for they are counted by their places.
    #[must_use]
    pub fn build(
        configuration: &Configuration,
        workers: usize,
        previous: Option<&Self>,
        now: Timestamp,
        seed: u64,
    ) -> Self {
        let clients: Box<[Name]> = configuration.clients.iter().map(|c| c.name.clone()).collect();
        let pools: Box<[Name]> = configuration.pools.iter().map(|p| p.name.clone()).collect();
        let shared = previous
            .filter(|previous| {
                previous.clients == clients
                    && previous.pools == pools
                    && previous.shared.shards.len() == workers.max(1)
            })
            .map(|previous| Arc::clone(&previous.shared))
            .unwrap_or_else(|| Arc::new(Shared::new(workers.max(1), pools.len(), now, seed)));
        Self { clients, pools, demote_above: configuration.admission.demote_above, shared }
    }

    /// Counts one arrival of `who` at a pool, before anything is decided; `None` where the route
    /// has no pool. `worker` only spreads the counts.
    pub fn record(&self, worker: usize, pool: Option<usize>, who: Talker) {
        let pool = pool.unwrap_or(self.pools.len());
        let shards = &self.shared.shards;
        shards[worker % shards.len()].record(self.shared.seed, pool, who);
    }

    /// Whether a flow's requests to a pool count as [`Class::Bulk`](model::configuration::Class).
    #[must_use]
    pub fn is_demoted(&self, pool: usize, who: Talker) -> bool {
        self.shared.demoted.any() && self.shared.demoted.contains(key(self.shared.seed, pool, who))
    }

    /// Judges; call it every 250 ms, off the path. `overloaded`: per pool, whether more arrives
    /// than can be served.
    pub fn tick(&self, overloaded: &[bool], clients: &Clients, now: Timestamp) {
        let mut window = self.shared.window.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = now.since(window.began) >= WINDOW;
        if !ends && window.held.is_empty() && !overloaded.contains(&true) {
            return;
        }
        window.read(&self.shared, ends);
        if self.demote_above > 0.0 {
            for pool in 0..self.pools.len() {
                let overloaded = overloaded.get(pool).copied().unwrap_or(false);
                self.judge(&mut window, (pool, overloaded), clients, now);
            }
        }
        window.release(&self.shared.demoted, self.demote_above > 0.0, now);
        clients
            .set_demoted(|index| window.held.iter().any(|held| held.who == Talker::Client(index)));
        if ends {
            window.close(now);
        }
    }

    /// Who sent the most in the last full second, the most first; at most 20.
    #[must_use]
    pub fn facts(&self) -> Vec<TalkerFacts> {
        let window = self.shared.window.lock().unwrap_or_else(PoisonError::into_inner);
        let facts = |top: &Top| TalkerFacts {
            name: top.who.name(&self.clients),
            kind: top.who.kind().to_owned(),
            requests: top.count,
            error: top.error,
            share: top.share,
            demoted: window.held.iter().any(|held| held.who == top.who),
        };
        window.top.iter().map(facts).collect()
    }

    fn judge(
        &self,
        window: &mut Window,
        (pool, overloaded): (usize, bool),
        clients: &Clients,
        now: Timestamp,
    ) {
        let any_held = window.held.iter().any(|held| held.pool == pool);
        if !overloaded && !any_held {
            return;
        }
        let usual = |who| match who {
            Talker::Client(index) => clients.usual(index),
            Talker::V4(_) | Talker::V6(_) | Talker::Header(_) => None,
        };
        let important = |who| match who {
            Talker::Client(index) => clients.is_important(index),
            Talker::V4(_) | Talker::V6(_) | Talker::Header(_) => false,
        };
        let mut flows: Vec<Flow> = window
            .of_pool(pool)
            .iter()
            .map(|seen| Flow {
                who: seen.who,
                sure: seen.count - seen.error,
                usual: usual(seen.who),
                important: important(seen.who),
            })
            .collect();
        flows.sort_unstable_by(|a, b| b.sure.cmp(&a.sure).then(a.who.cmp(&b.who)));
        let seconds = now.since(window.began).max(WINDOW).as_secs_f64();
        let total = window.totals[pool];
        for (flow, standing) in standings(&flows, total, seconds, self.demote_above) {
            if standing == Standing::Usual {
                continue;
            }
            let key = key(self.shared.seed, pool, flow.who);
            if let Some(held) = window.held.iter_mut().find(|held| held.key == key) {
                held.above_at = now;
            } else if standing == Standing::Far && overloaded && self.shared.demoted.insert(key) {
                let who = flow.who;
                window.held.push(Held { key, who, pool, above_at: now, overloaded_at: now });
            }
        }
        if overloaded {
            let held = window.held.iter_mut().filter(|held| held.pool == pool);
            held.for_each(|held| held.overloaded_at = now);
        }
    }
}

impl Shared {
    fn new(workers: usize, pools: usize, now: Timestamp, seed: u64) -> Self {
        Self {
            seed,
            // One total more: of the routes that have no pool.
            shards: (0..workers).map(|_| Sketch::new(pools + 1)).collect(),
            demoted: Demoted::default(),
            window: Mutex::new(Window {
                began: now,
                seen: Vec::new(),
                totals: vec![0; pools + 1],
                held: Vec::with_capacity(DEMOTED_MAX),
                top: Vec::with_capacity(TOP),
            }),
        }
    }
}

impl Window {
    /// Reads all sketches; what they counted ends with a window.
    fn read(&mut self, shared: &Shared, ends: bool) {
        self.seen.clear();
        self.totals.fill(0);
        for shard in &shared.shards {
            shard.read(shared.seed, ends, &mut self.seen, &mut self.totals);
        }
        self.seen.sort_unstable_by_key(|seen| (seen.pool, seen.who));
        merge(&mut self.seen, |a, b| a.pool == b.pool && a.who == b.who);
    }

    fn of_pool(&self, pool: usize) -> &[Seen] {
        let from = self.seen.partition_point(|seen| seen.pool < pool);
        let to = self.seen.partition_point(|seen| seen.pool <= pool);
        &self.seen[from..to]
    }

    fn release(&mut self, demoted: &Demoted, on: bool, now: Timestamp) {
        self.held.retain(|held| {
            let stays = on
                && now.since(held.above_at) < RELEASE_AFTER
                && now.since(held.overloaded_at) < CALM_AFTER;
            if !stays {
                demoted.remove(held.key);
            }
            stays
        });
    }

    fn close(&mut self, now: Timestamp) {
        let total: u64 = self.totals.iter().sum();
        self.seen.sort_unstable_by_key(|seen| seen.who);
        merge(&mut self.seen, |a, b| a.who == b.who);
        self.seen.sort_unstable_by(|a, b| b.count.cmp(&a.count).then(a.who.cmp(&b.who)));
        self.top.clear();
        self.top.extend(self.seen.iter().take(TOP).map(|seen| Top {
            who: seen.who,
            count: seen.count,
            error: seen.error,
            share: (seen.count as f64 / total.max(1) as f64).min(1.0),
        }));
        self.began = now;
    }
}

/// Adds up neighbours that are the same.
fn merge(seen: &mut Vec<Seen>, same: impl Fn(&Seen, &Seen) -> bool) {
    seen.dedup_by(|later, kept| {
        let is_same = same(kept, later);
        if is_same {
            kept.count += later.count;
            kept.error += later.error;
        }
        is_same
    });
}

/// What a flow is known by at a pool: in the sketch, and when it is demoted. Never 0.
pub(crate) fn key(seed: u64, pool: usize, who: Talker) -> u64 {
    let (kind, value) = who.parts();
    mix(mix(value, seed), (pool as u64) << 2 | kind).max(1)
}

/// A set of keys that the path reads without waiting: eight to a cache line, 0 is none.
#[derive(Debug, Default)]
struct Demoted {
    count: AtomicU32,
    sets: [DemotedSet; DEMOTED_MAX / 8],
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct DemotedSet([AtomicU64; 8]);

impl Demoted {
    fn any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    fn contains(&self, key: u64) -> bool {
        self.set(key).iter().any(|slot| slot.load(Relaxed) == key)
    }

    /// False when there is no place for it. Only the tick writes.
    fn insert(&self, key: u64) -> bool {
        let Some(slot) = self.set(key).iter().find(|slot| slot.load(Relaxed) == 0) else {
            return false;
        };
        slot.store(key, Relaxed);
        self.count.fetch_add(1, Relaxed);
        true
    }

    fn remove(&self, key: u64) {
        if let Some(slot) = self.set(key).iter().find(|slot| slot.load(Relaxed) == key) {
            slot.store(0, Relaxed);
            self.count.fetch_sub(1, Relaxed);
        }
    }

    fn set(&self, key: u64) -> &[AtomicU64; 8] {
        let place = below(key, self.sets.len() as u64);
        &self.sets[usize::try_from(place).unwrap_or(0)].0
    }
}

#[cfg(test)]
mod tests;
