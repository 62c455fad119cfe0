//! The pool: builds itself, picks a server, learns from outcomes and checks, states its facts.
//!
//! Of one pick: a probe that is due goes first; then which servers by health, then by zone;
//! then the algorithm; then the place in flight is claimed. When less than half of the weight
//! is healthy the pool panics; `panic` states the rule.
//! Invariant: what is derived from the servers' states (`View`) is recomputed after every
//! change by whichever worker sees it first; a stale view misplaces a few picks, no counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
    Ordering::Release,
};
use std::time::Duration;

use model::configuration::{self, Balance};
use model::fact::PoolFacts;
use model::{Name, Timestamp};

use crate::candidates::{Candidates, Group, Zone};
use crate::dice::Dice;
use crate::ejection::Ticket;
use crate::maglev::Slots;
use crate::panic::Calm;
use crate::pick::{NoServer, Pick, PickRequest, StateChange};
use crate::retry::RetryBudget;
use crate::server::{Entrance, Learned, Member, Server, Standing};
use crate::table::Table;
use crate::zone::{ZoneWeights, part_kept};
use crate::{least_request, maglev, p2c, random, round_robin};

/// How often a pick whose server filled up meanwhile is made again.
const CLAIMS_MAX: u32 = 8;

/// The servers of one pool and what was learned about them; shared by all workers.
#[derive(Debug)]
pub struct Pool {
    pub(crate) inner: Arc<Inner>,
}

/// A pool's content; each pick holds on to it.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) servers: Vec<Server>,
    /// By [`Zone::index`]: servers that may take requests, of any, the own, other zones.
    pub(crate) tables: [Table; 3],
    pub(crate) slots: Slots,
    pub(crate) in_flight_max: u32,
    pub(crate) slow_start: Duration,
    pub(crate) checked: bool,
    pub(crate) ejects: bool,
    pub(crate) shared: Arc<Shared>,
    pub(crate) configuration: configuration::Pool,
    retries: RetryBudget,
    zones: u32,
    zone_weight: u64,
    view: View,
}

/// What all generations of a pool share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Round robin positions of the healthy, by [`Zone::index`], and of the unhealthy. One
    /// rotation for both would hand the servers after a skipped one to the other group.
    pub(crate) positions: [AtomicU64; 4],
    hashed_in_flight: AtomicU64,
    pub(crate) calm: Calm,
    /// How often any server's state changed.
    changes: AtomicU64,
    /// Held while a server is set aside, so that two at once do not exceed the share.
    pub(crate) ejecting: AtomicBool,
}

impl Shared {
    /// Requests in flight at a pool with consistent hashing.
    pub(crate) fn hashed_in_flight(&self) -> u64 {
        self.hashed_in_flight.load(Relaxed)
    }

    pub(crate) fn leave_sum(&self) {
        self.hashed_in_flight.fetch_sub(1, Relaxed);
    }
}

/// Sums over the servers' states.
#[derive(Debug)]
pub(crate) struct View {
    /// The value of `Shared::changes` that the sums are of.
    seen: AtomicU64,
    healthy: AtomicU64,
    unhealthy: AtomicU64,
    own_eligible: AtomicU64,
    /// When the next probe is due, in nanoseconds.
    probe_at: AtomicU64,
}

impl View {
    pub(crate) fn weight_of(&self, group: Group) -> u64 {
        match group {
            Group::Healthy => self.healthy.load(Relaxed),
            Group::Unhealthy => self.unhealthy.load(Relaxed),
        }
    }

    /// Whether less than half of the weight that was ever healthy is.
    pub(crate) fn panics(&self) -> bool {
        self.healthy.load(Relaxed) < self.unhealthy.load(Relaxed)
    }
}

impl Pool {
    /// Builds a pool. Servers that `previous` holds keep what was learned about them; when all
    /// are new none starts slowly, one that joins others does. Allocates; off the path.
    #[must_use]
    pub fn build(
        configuration: &configuration::Pool,
        members: &[Member],
        previous: Option<&Self>,
        now: Timestamp,
    ) -> Self {
        let known: BTreeMap<SocketAddr, Arc<Learned>> = previous
            .iter()
            .flat_map(|pool| &pool.inner.servers)
            .map(|server| (server.address(), Arc::clone(&server.learned)))
            .collect();
        let checked = configuration.check.is_some();
        let entrance = Entrance {
            checked,
            joins: members.iter().any(|member| known.contains_key(&member.address)),
        };
        let was_checked = previous.is_some_and(|pool| pool.inner.checked);
        let mut learned = known;
        if checked && !was_checked {
            learned.values().for_each(|learned| learned.health.assume_up());
        }
        let server = |member: &Member| Server {
            member: member.clone(),
            learned: Arc::clone(
                learned
                    .entry(member.address)
                    .or_insert_with(|| Arc::new(Learned::new(entrance, now))),
            ),
        };
        let servers: Vec<Server> = members.iter().map(server).collect();
        let inner = Inner::new(configuration, servers, previous.map(|pool| &*pool.inner), now);
        Self { inner: Arc::new(inner) }
    }

    /// Chooses a server for one request and counts it in flight there. Lock-free.
    ///
    /// # Errors
    /// Says why no server may take it now; the request was not counted anywhere.
    pub fn pick(
        &self,
        request: &PickRequest<'_>,
        now: Timestamp,
        dice: &mut Dice,
    ) -> Result<Pick, NoServer> {
        let inner = &self.inner;
        inner.retries.advance(now);
        inner.follow_changes();
        inner.shared.calm.measure(now, || inner.held_in_calm());
        if let Some((index, ticket)) = inner.due_probe(request, now) {
            return Ok(self.issue(index, ticket, true));
        }
        let index = inner.choose_and_claim(request, now, dice).ok_or_else(|| inner.why_none())?;
        Ok(self.issue(index, inner.servers[index].learned.ejection.ticket(), false))
    }

    /// Its servers; their places are the indexes used everywhere.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.inner.servers
    }

    /// How many servers it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.servers.len()
    }

    /// True when its names resolved to nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.servers.is_empty()
    }

    /// Sets how many requests the server at `index` may hold by what was measured of it; 0 takes
    /// that back. The lower of this and the configuration's limit holds. It is kept over rebuilds;
    /// an index out of range is ignored.
    pub fn limit_server(&self, index: usize, limit: u32) {
        if let Some(server) = self.inner.servers.get(index) {
            server.learned.set_limit(limit);
        }
    }

    /// Whether a pick can find a place: false while every server that may take requests holds as
    /// many as it may. True where none may take any, for waiting would not help: the pick says why.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.inner.follow_changes();
        self.inner.has_room()
    }

    /// Counts one active check of the server at `index`; an index out of range is ignored.
    pub fn report_check(&self, index: usize, passed: bool, now: Timestamp) -> Option<StateChange> {
        self.inner.checked_server(index, passed, now)
    }

    /// The gauges of this moment; counters are zero. Allocates; off the path.
    #[must_use]
    pub fn facts(&self, now: Timestamp) -> PoolFacts {
        self.inner.facts(now)
    }

    /// Its retry budget, which outlives rebuilds.
    #[must_use]
    pub fn retries(&self) -> &RetryBudget {
        &self.inner.retries
    }

    fn issue(&self, index: usize, ticket: Ticket, probe: bool) -> Pick {
        let summed = matches!(self.inner.configuration.balance, Balance::Maglev(_));
        if summed {
            self.inner.shared.hashed_in_flight.fetch_add(1, Relaxed);
        }
        Pick { pool: Arc::clone(&self.inner), index, ticket, probe, summed, detached: false }
    }
}

impl Inner {
    fn new(
        configuration: &configuration::Pool,
        servers: Vec<Server>,
        previous: Option<&Self>,
        now: Timestamp,
    ) -> Self {
        let saved = previous.map(|previous| &previous.retries);
        let retries = RetryBudget::new(&configuration.retries, saved, now);
        let own = |server: &Server| {
            configuration.zone.is_some() && server.member.zone == configuration.zone
        };
        let table = |wanted: &dyn Fn(&Server) -> bool| {
            let taking = servers
                .iter()
                .enumerate()
                .filter(|(_, server)| server.takes_requests() && wanted(server));
            Table::new(taking.map(|(index, server)| (index, server.member.weight)))
        };
        let tables = [table(&|_| true), table(&own), table(&|server| !own(server))];
        let hashes = matches!(configuration.balance, Balance::Maglev(_));
        let mut zones: Vec<&Option<Name>> = servers
            .iter()
            .filter(|server| server.takes_requests())
            .map(|server| &server.member.zone)
            .collect();
        zones.sort();
        zones.dedup();
        let pool = Self {
            slots: if hashes { Slots::new(&servers) } else { Slots::default() },
            zones: u32::try_from(zones.len()).unwrap_or(u32::MAX),
            zone_weight: weight_sum(
                servers.iter().filter(|server| server.takes_requests() && own(server)),
            ),
            servers,
            tables,
            in_flight_max: configuration.in_flight_max,
            slow_start: configuration.slow_start,
            checked: configuration.check.is_some(),
            ejects: configuration.ejection.failures > 0,
            shared: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.shared)),
            configuration: configuration.clone(),
            retries,
            view: View {
                seen: AtomicU64::new(0),
                healthy: AtomicU64::new(0),
                unhealthy: AtomicU64::new(0),
                own_eligible: AtomicU64::new(0),
                probe_at: AtomicU64::new(u64::MAX),
            },
        };
        pool.look(pool.shared.changes.load(Acquire));
        pool
    }

    pub(crate) const fn view(&self) -> &View {
        &self.view
    }

    pub(crate) fn standing(&self, index: usize) -> Standing {
        self.servers[index].learned.standing(self.checked, self.ejects)
    }

    pub(crate) fn changed(&self) {
        self.shared.changes.fetch_add(1, AcqRel);
    }

    pub(crate) fn follow_changes(&self) {
        let changes = self.shared.changes.load(Acquire);
        if changes != self.view.seen.load(Relaxed) {
            self.look(changes);
        }
    }

    /// Recomputes the view. Workers may race: one that stores an older view also stores the
    /// older count, so the next pick looks again.
    fn look(&self, changes: u64) {
        let (mut healthy, mut unhealthy, mut own_eligible, mut probe_at) = (0, 0, 0, u64::MAX);
        for &index in self.tables[Zone::Any.index()].indexes() {
            let weight = u64::from(self.servers[index].member.weight);
            match self.standing(index) {
                Standing::Unknown => {}
                Standing::Up => healthy += weight,
                Standing::Down => unhealthy += weight,
                Standing::Aside => {
                    unhealthy += weight;
                    let due = self.servers[index].learned.ejection.probe_at();
                    probe_at = due.map_or(probe_at, |due| probe_at.min(due.as_nanos()));
                }
            }
        }
        for &index in self.tables[Zone::Own.index()].indexes() {
            if self.standing(index) == Standing::Up {
                own_eligible += u64::from(self.servers[index].member.weight);
            }
        }
        self.view.healthy.store(healthy, Relaxed);
        self.view.unhealthy.store(unhealthy, Relaxed);
        self.view.own_eligible.store(own_eligible, Relaxed);
        self.view.probe_at.store(probe_at, Relaxed);
        self.view.seen.store(changes, Release);
    }

    /// Claims a probe that is due. Never with a retry, which should go where it succeeds; a key
    /// probes only the server that owns it.
    fn due_probe(&self, request: &PickRequest<'_>, now: Timestamp) -> Option<(usize, Ticket)> {
        if now.as_nanos() < self.view.probe_at.load(Relaxed) || !request.tried.is_empty() {
            return None;
        }
        let claim = |index: usize| {
            let learned = &self.servers[index].learned;
            if self.standing(index) != Standing::Aside || !learned.enter(self.limit(index)) {
                return None;
            }
            let ticket = learned.ejection.claim_probe(now, &self.configuration.ejection);
            match ticket {
                Some(_) => self.changed(),
                None => learned.leave(),
            }
            Some((index, ticket?))
        };
        match (&self.configuration.balance, request.hash) {
            (Balance::Maglev(_), Some(hash)) => self.slots.owner(hash).and_then(claim),
            _ => self.tables[Zone::Any.index()].indexes().iter().copied().find_map(claim),
        }
    }

    fn choose_and_claim(
        &self,
        request: &PickRequest<'_>,
        now: Timestamp,
        dice: &mut Dice,
    ) -> Option<usize> {
        let panics = self.view.panics();
        let (group, zone) = (Group::Healthy, self.choose_zone(dice));
        let retried = !request.tried.is_empty();
        let tried = request.tried;
        let first = Candidates {
            pool: self,
            now,
            group,
            zone,
            tried,
            panics,
            steady: false,
            wary: self.wary(),
        };
        // Nearly always there is nothing to give up.
        if !retried && let Some(index) = self.claim(&first, request.hash, dice) {
            return Some(index);
        }
        self.concede(first, request.hash, dice)
    }

    /// Gives up, in this order: for a retry that the server did not fail last; the zone; that
    /// it was not penalised lately; what was tried already; in panic health. A survivor that
    /// failed once is a better bet than a server that is known to be dead.
    fn concede(&self, first: Candidates<'_>, hash: Option<u64>, dice: &mut Dice) -> Option<usize> {
        let retried = !first.tried.is_empty();
        let elsewhere = Candidates { zone: Zone::Any, ..first };
        let anywhere = Candidates { wary: false, ..elsewhere };
        let others = first.panics.then_some(Candidates { group: Group::Unhealthy, ..anywhere });
        let again = |candidates| Candidates { tried: &[], ..candidates };
        let steady = retried.then_some(Candidates { steady: true, ..first });
        let plans = [
            steady,
            steady.map(|steady| Candidates { zone: Zone::Any, ..steady }),
            retried.then_some(first),
            (first.zone != Zone::Any).then_some(elsewhere),
            first.wary.then_some(anywhere),
            // Who was tried but works is a better bet than one that was tried and fails.
            (retried && first.wary).then(|| again(elsewhere)),
            retried.then(|| again(anywhere)),
            others,
            others.filter(|_| retried).map(again),
        ];
        plans.iter().flatten().find_map(|candidates| self.claim(candidates, hash, dice))
    }

    fn claim(
        &self,
        candidates: &Candidates<'_>,
        hash: Option<u64>,
        dice: &mut Dice,
    ) -> Option<usize> {
        for _ in 0..CLAIMS_MAX {
            let index = self.choose(candidates, hash, dice)?;
            if self.servers[index].learned.enter(candidates.limit(index)) {
                return Some(index);
            }
        }
        None
    }

    fn choose(
        &self,
        candidates: &Candidates<'_>,
        hash: Option<u64>,
        dice: &mut Dice,
    ) -> Option<usize> {
        if candidates.table().is_empty() {
            return None;
        }
        match (&self.configuration.balance, hash) {
            (Balance::P2c, _) | (Balance::Maglev(_), None) => p2c::choose(candidates, dice),
            (Balance::LeastRequest, _) => least_request::choose(candidates, dice),
            (Balance::RoundRobin, _) => round_robin::choose(candidates, dice),
            (Balance::Random, _) => random::choose(candidates, dice),
            (Balance::Maglev(_), Some(hash)) => maglev::choose(candidates, hash, dice),
        }
    }

    /// Whether the penalised are avoided outright. P2c sees a penalty as latency; with
    /// consistent hashing a key would leave its server for a while.
    const fn wary(&self) -> bool {
        match self.configuration.balance {
            Balance::LeastRequest | Balance::RoundRobin | Balance::Random => true,
            Balance::P2c | Balance::Maglev(_) => false,
        }
    }

    fn choose_zone(&self, dice: &mut Dice) -> Zone {
        match self.zone_part() {
            None => Zone::Any,
            Some(part) if dice.chance(part) => Zone::Own,
            Some(_) => Zone::Others,
        }
    }

    /// The part of the traffic that the own zone keeps; `None` without a preference.
    pub(crate) fn zone_part(&self) -> Option<f64> {
        let hashes = matches!(self.configuration.balance, Balance::Maglev(_));
        if self.zone_weight == 0 || hashes {
            return None;
        }
        part_kept(ZoneWeights {
            zones: self.zones,
            own: self.zone_weight,
            own_eligible: self.view.own_eligible.load(Relaxed),
            eligible: self.view.healthy.load(Relaxed),
        })
    }

    /// What is in flight at the healthy, and their weight; `None` in panic.
    fn held_in_calm(&self) -> Option<(u64, u64)> {
        if self.view.panics() {
            return None;
        }
        let taking = self.tables[Zone::Any.index()].indexes().iter();
        let healthy = taking.filter(|&&index| self.standing(index) == Standing::Up);
        Some(healthy.map(|&index| &self.servers[index]).fold((0, 0), |(held, weight), server| {
            (held + u64::from(server.in_flight()), weight + u64::from(server.member.weight))
        }))
    }
}

fn weight_sum<'a>(servers: impl Iterator<Item = &'a Server>) -> u64 {
    servers.map(|server| u64::from(server.member.weight)).sum()
}
