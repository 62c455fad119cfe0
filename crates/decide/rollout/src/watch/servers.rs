//! Whether each pool keeps enough servers that take requests.

use std::collections::BTreeMap;

use model::fact::{PoolFacts, ServerState, Snapshot};

/// Seconds in a row: a probe lost or one ejection passes sooner.
const SECONDS: u32 = 3;
/// Seconds a new server may take to pass its first check.
const UNKNOWN_SECONDS: u32 = 5;

/// Judges every pool's number of eligible servers.
#[derive(Debug)]
pub(super) struct Servers {
    eligible_min: usize,
    pools: BTreeMap<String, Pool>,
    seconds: u32,
}

#[derive(Debug)]
struct Pool {
    /// What it must keep: the invariant if that held, one if there was one, else nothing.
    needed: usize,
    excused: Option<String>,
    short_seconds: u32,
}

impl Servers {
    pub(super) fn new(eligible_min: u32, held: &[Snapshot]) -> Self {
        let eligible_min = usize::try_from(eligible_min).unwrap_or(usize::MAX);
        let now = held.last().map_or(&[][..], |snapshot| snapshot.pools.as_slice());
        let pools = now.iter().map(|facts| {
            let past = held.iter().flat_map(|snapshot| &snapshot.pools);
            let counts = past.filter(|past| past.name == facts.name).map(eligible);
            let short = counts.filter(|count| *count < eligible_min).count();
            let (has, configured) = (eligible(facts), facts.servers.len());
            let held = has >= eligible_min && short < SECONDS as usize;
            let excused = (!held && configured >= eligible_min).then(|| {
                format!("pool {} had {has} eligible servers before the change, too", facts.name)
            });
            let needed = if held { eligible_min } else { has.min(1) };
            (facts.name.clone(), Pool { needed, excused, short_seconds: 0 })
        });
        Self { eligible_min, pools: pools.collect(), seconds: 0 }
    }

    /// The pools that broke the invariant before, in words.
    pub(super) fn excused(&self) -> impl Iterator<Item = String> {
        self.pools.values().filter_map(|pool| pool.excused.clone())
    }

    pub(super) fn second(&mut self, snapshot: &Snapshot) -> Option<String> {
        self.seconds += 1;
        let mut broken = None;
        for facts in &snapshot.pools {
            // A pool that is new must have what it can have.
            let needed = self.eligible_min.min(facts.servers.len());
            let pool = self.pools.entry(facts.name.clone()).or_insert(Pool {
                needed,
                excused: None,
                short_seconds: 0,
            });
            let has = eligible(facts);
            let is_unknown = self.seconds <= UNKNOWN_SECONDS
                && facts.servers.iter().any(|server| server.state == ServerState::Unknown);
            let is_short = has < pool.needed && !is_unknown;
            pool.short_seconds = if is_short { pool.short_seconds + 1 } else { 0 };
            if pool.short_seconds >= SECONDS && broken.is_none() {
                broken = Some(format!(
                    "pool {}: {has} of {} servers take requests, at least {} must",
                    facts.name,
                    facts.servers.len(),
                    pool.needed
                ));
            }
        }
        broken
    }
}

/// How many servers take requests.
fn eligible(facts: &PoolFacts) -> usize {
    let takes = |state| match state {
        ServerState::Up | ServerState::SlowStart => true,
        ServerState::Unknown | ServerState::Ejected | ServerState::Down | ServerState::Draining => {
            false
        }
    };
    facts.servers.iter().filter(|server| server.weight > 0 && takes(server.state)).count()
}
