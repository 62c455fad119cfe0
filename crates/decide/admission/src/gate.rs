//! What one pool takes at once: the limits that were found, and the requests that are in flight.
//!
//! A gate is shared by all workers and outlives reloads in what it learned: the limiter of the
//! pool, one per server by its address, the count in flight, the level, and who waits where.
//! After an outage - a second in which attempts ended and none was answered - the limit rises
//! from an eighth to its full height within a second and a half, so that servers that have just
//! come back are not stampeded; the queues let the most important through first meanwhile.
//! Invariant: a [`Pass`] that exists is counted, one that was dropped is not. In flight never
//! exceeds the limit by more than it fell since, nor in observe mode counts as refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Relaxed};
use std::time::Duration;

use model::Timestamp;
use model::configuration::{self, Class};
use model::fact::QueueFacts;

mod board;
#[cfg(test)]
mod tests;

pub(crate) use board::{Board, HELD};

use crate::count::{Count, Held};
use crate::level::{Level, level_of};
use crate::limiter::{Ending, Limiter, LimiterSample};
use crate::limits::Quota;

/// Without an answer for this long, with attempts that ended otherwise, the pool is out.
const OUTAGE: Duration = Duration::from_secs(1);
/// Attempts that must have ended without an answer meanwhile.
const OUTAGE_ATTEMPTS: u32 = 10;
/// How long the limit rises after an outage, and from which part of it.
const RECOVERY: Duration = Duration::from_millis(1_500);
const RECOVERY_PART: f64 = 0.125;

/// The gate of one pool.
#[derive(Debug)]
pub struct Gate {
    adaptive: bool,
    wait_max: Duration,
    burst_wait_max: Duration,
    limiter: Arc<Limiter>,
    servers: Vec<Server>,
    /// What all servers together may have in flight. A pass beyond it would find no server.
    servers_limit: AtomicU32,
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    limiter: Arc<Limiter>,
    /// The limit that the door was told last.
    told: AtomicU32,
}

/// What all generations of a pool share.
#[derive(Debug)]
pub(crate) struct Shared {
    in_flight: Arc<Count>,
    pub(crate) level: Level,
    pub(crate) board: Board,
    /// Attempts that ended without an answer since the last answer, and since when.
    unanswered: AtomicU32,
    unanswered_since: AtomicU64,
    /// When an outage ended, in nanoseconds; 0 when the limit has risen again, or there was none.
    recovering_since: AtomicU64,
}

/// A place in flight at a pool. Whatever happens to the request, its drop gives everything back:
/// the pool's place and the client's.
#[must_use = "the place is given back as soon as this is dropped"]
#[derive(Debug)]
pub struct Pass {
    place: Option<Held>,
    carried: Option<Carried>,
}

/// What a request got on its way in, before it had a place.
#[derive(Debug)]
pub(crate) struct Carried {
    /// Its place in its client's count, held until the request ends.
    pub(crate) _client: Option<Held>,
    /// The state of the limit that its response shows.
    pub(crate) quota: Option<Quota>,
}

impl Pass {
    /// A pass of a request that needs no server.
    pub(crate) const fn without_pool(carried: Carried) -> Self {
        Self { place: None, carried: Some(carried) }
    }

    /// How many requests were in flight at the pool when it was given, itself included; 0 for a
    /// request that needs no server.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.place.as_ref().map_or(0, Held::number)
    }

    /// Gives back the place at the pool while the request goes on: its server has done its work,
    /// and what remains is a stream or a slow reader. The client's place is kept. False when there
    /// was none.
    pub fn leave_pool(&mut self) -> bool {
        self.place.take().is_some()
    }

    /// The limit whose state the response shows, if any.
    #[must_use]
    pub fn quota(&self) -> Option<Quota> {
        self.carried.as_ref()?.quota
    }
}

impl Gate {
    /// Builds the gate of a pool whose servers are at `addresses`, in the order of
    /// `balancing::Pool::servers`. What `previous` learned of the pool, and of the servers that
    /// stay, is kept. Allocates; off the path.
    #[must_use]
    pub fn build(
        settings: &configuration::Pool,
        addresses: &[SocketAddr],
        workers: usize,
        previous: Option<&Self>,
        now: Timestamp,
    ) -> Self {
        let known: BTreeMap<SocketAddr, &Arc<Limiter>> = previous
            .iter()
            .flat_map(|gate| &gate.servers)
            .map(|server| (server.address, &server.limiter))
            .collect();
        let server = |&address: &SocketAddr| Server {
            address,
            limiter: known
                .get(&address)
                .map_or_else(|| Arc::new(Limiter::new(now)), |known| Arc::clone(known)),
            told: AtomicU32::new(0),
        };
        let kept = previous.filter(|gate| gate.shared.board.workers() == workers);
        let servers: Vec<Server> = addresses.iter().map(server).collect();
        Self {
            adaptive: settings.admission.adaptive,
            wait_max: settings.admission.wait_max,
            burst_wait_max: settings.admission.burst_wait_max,
            limiter: previous
                .map_or_else(|| Arc::new(Limiter::new(now)), |gate| Arc::clone(&gate.limiter)),
            servers_limit: AtomicU32::new(sum_of_limits(&servers)),
            servers,
            shared: kept.map_or_else(
                || Arc::new(Shared::new(workers, previous, now)),
                |gate| Arc::clone(&gate.shared),
            ),
        }
    }

    /// Counts an attempt that ended at the server at this place. `sample.in_flight` is of the
    /// pool ([`Pass::in_flight`]), `server_in_flight` of the server when the attempt began,
    /// itself included. `Some`: the server's limit, which moved; hand it to
    /// `balancing::Pool::limit_server`.
    pub fn record(
        &self,
        server: usize,
        sample: &LimiterSample,
        server_in_flight: u32,
    ) -> Option<u32> {
        match sample.ending {
            Ending::Answered => self.shared.answered(sample.ended),
            Ending::Failed | Ending::TimedOut => self.shared.unanswered(sample.ended),
            Ending::Left => {}
        }
        self.limiter.record(sample);
        let server = self.servers.get(server)?;
        server.limiter.record(&LimiterSample { in_flight: server_in_flight, ..*sample });
        if !self.adaptive {
            return None;
        }
        let limit = server.limiter.limit();
        if server.told.swap(limit, Relaxed) == limit {
            return None;
        }
        self.servers_limit.store(sum_of_limits(&self.servers), Relaxed);
        Some(limit)
    }

    /// A request found no server that may take it: says of the pool what a failed attempt does.
    pub fn unserved(&self, now: Timestamp) {
        self.shared.unanswered(now);
    }

    /// Requests that may be in flight, at least 1; `None` when the limit is not found by measuring.
    #[must_use]
    pub fn limit(&self) -> Option<u32> {
        self.adaptive.then(|| self.limiter.limit())
    }

    /// Requests that may be in flight at the server at this place; 0 when nothing limits it.
    #[must_use]
    pub fn server_limit(&self, server: usize) -> u32 {
        let server = self.servers.get(server).filter(|_| self.adaptive);
        server.map_or(0, |server| server.limiter.limit())
    }

    /// A place for a request of the door's own, which waits in no line: it is counted whether there is
    /// a place or not.
    pub fn join(&self) -> Pass {
        self.enter_anyway(None)
    }

    /// A request that left the pool goes on there: it is counted whether there is a place or not.
    pub fn rejoin(&self, pass: &mut Pass) {
        if pass.place.is_none() {
            pass.place = self.shared.in_flight.enter(None);
        }
    }

    /// Requests in flight now, over all workers and generations.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.shared.in_flight.held()
    }

    /// The worker other than this one whose waiting requests should get the next free place, if
    /// any waits: ring it when [`crate::Line::next`] has nothing more to call.
    #[must_use]
    pub fn waits_elsewhere(&self, worker: usize) -> Option<usize> {
        self.shared.board.most_due_but(worker)
    }

    /// The worker to ring: as [`Gate::waits_elsewhere`], but only while a place is free. With all
    /// places taken nobody is woken for nothing.
    #[must_use]
    pub fn due_elsewhere(&self, worker: usize, now: Timestamp) -> Option<usize> {
        self.waits_elsewhere(worker).filter(|_| self.has_place(now))
    }

    /// Whether a place is free.
    pub(crate) fn has_place(&self, now: Timestamp) -> bool {
        self.allowed(now).is_none_or(|limit| self.in_flight() < limit)
    }

    /// Whether requests wait for a place, at any worker.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.shared.board.waiting() > 0
    }

    /// One second of facts: counts since the last call, gauges of now. Off the path; one caller.
    #[must_use]
    pub fn facts(&self, now: Timestamp) -> QueueFacts {
        let shared = &self.shared;
        self.tick(now);
        let (waited, wait_us) = shared.board.take_waits();
        let (class, class_share) = shared.level.reach();
        QueueFacts {
            limit: self.allowed(now),
            in_flight: self.in_flight(),
            waiting: shared.board.waiting(),
            waited,
            wait_us: wait_us.checked_div(waited).unwrap_or(0),
            service_us: u64::try_from(self.service_time().as_micros()).unwrap_or(u64::MAX),
            overloaded: self.is_overloaded(now),
            class,
            class_share,
        }
    }

    /// Whether the pool refuses, or makes requests wait for longer than a burst explains.
    #[must_use]
    pub fn is_overloaded(&self, now: Timestamp) -> bool {
        self.shared.board.is_overloaded(now) || self.shared.level.sheds()
    }

    /// Looks whether the level should move, also while nobody arrives.
    pub(crate) fn tick(&self, now: Timestamp) {
        self.shared.level.advance(self.shared.in_flight.entered(), now);
    }

    pub(crate) const fn wait_max(&self) -> Duration {
        self.wait_max
    }

    pub(crate) const fn burst_wait_max(&self) -> Duration {
        self.burst_wait_max
    }

    /// As if its limit had been found.
    #[cfg(test)]
    pub(crate) fn assume_found(&self) {
        self.limiter.assume_found();
    }

    /// As if answers had taken this long so far.
    #[cfg(test)]
    pub(crate) fn assume_service(&self, service_us: u64, now: Timestamp) {
        self.limiter.assume_service(service_us, now);
    }

    /// Whether the limit is only a first guess: the door has just begun to serve this pool.
    pub(crate) fn is_guessing(&self) -> bool {
        self.adaptive && !self.limiter.is_found()
    }

    pub(crate) fn service_time(&self) -> Duration {
        self.limiter.service_time()
    }

    /// The limit as it holds now: lower while the pool recovers from an outage.
    pub(crate) fn allowed(&self, now: Timestamp) -> Option<u32> {
        let limit = self.limit()?.min(self.servers_limit.load(Relaxed));
        Some(self.shared.recovering(limit, now))
    }

    /// Whether a request that arrives has to stand behind others, or finds no place.
    pub(crate) fn is_busy(&self, server_free: bool, now: Timestamp) -> bool {
        !server_free || self.shared.board.waiting() > 0 || !self.has_place(now)
    }

    /// Whether a request that finds the pool busy is important enough. It is counted, unless its
    /// flow waits already: what one flow sends too much of is the queue's business.
    pub(crate) fn is_important(
        &self,
        class: Class,
        flow: u64,
        is_new: bool,
        now: Timestamp,
    ) -> bool {
        let shared = &self.shared;
        shared.level.advance(shared.in_flight.entered(), now);
        let level = level_of(class, flow, now);
        if is_new {
            shared.level.count(level);
        }
        shared.level.admit(level)
    }

    /// Takes a place; `None` when there is none, and then nothing is taken out of `carried`.
    pub(crate) fn enter(&self, carried: &mut Option<Carried>, now: Timestamp) -> Option<Pass> {
        let place = self.shared.in_flight.enter(self.allowed(now))?;
        Some(Pass { place: Some(place), carried: carried.take() })
    }

    /// Takes a place whether there is one or not: where everything only observes.
    pub(crate) fn enter_anyway(&self, carried: Option<Carried>) -> Pass {
        Pass { place: self.shared.in_flight.enter(None), carried }
    }
}

impl Shared {
    fn new(workers: usize, previous: Option<&Gate>, now: Timestamp) -> Self {
        Self {
            in_flight: previous
                .map_or_else(Arc::default, |gate| Arc::clone(&gate.shared.in_flight)),
            level: Level::new(now),
            board: Board::new(workers),
            unanswered: AtomicU32::new(0),
            unanswered_since: AtomicU64::new(0),
            recovering_since: AtomicU64::new(0),
        }
    }

    fn unanswered(&self, now: Timestamp) {
        if self.unanswered.fetch_add(1, AcqRel) == 0 {
            self.unanswered_since.store(now.as_nanos(), Relaxed);
        }
    }

    fn answered(&self, now: Timestamp) {
        // Nearly always there is nothing to clear, and nothing is written.
        if self.unanswered.load(Relaxed) == 0 {
            return;
        }
        let since = Timestamp::from_nanos(self.unanswered_since.load(Relaxed));
        let attempts = self.unanswered.swap(0, AcqRel);
        if attempts >= OUTAGE_ATTEMPTS && now.since(since) >= OUTAGE {
            self.recovering_since.store(now.as_nanos().max(1), Relaxed);
        }
    }

    /// What is left of a limit while the pool recovers.
    fn recovering(&self, limit: u32, now: Timestamp) -> u32 {
        let since = self.recovering_since.load(Relaxed);
        if since == 0 {
            return limit;
        }
        let passed = now.since(Timestamp::from_nanos(since));
        if passed >= RECOVERY {
            self.recovering_since.store(0, Relaxed);
            return limit;
        }
        let risen = passed.as_secs_f64() / RECOVERY.as_secs_f64();
        let part = RECOVERY_PART + (1.0 - RECOVERY_PART) * risen;
        part_of(limit, part)
    }
}

/// No limit when there is no server: then there is another reason to refuse.
fn sum_of_limits(servers: &[Server]) -> u32 {
    let sum = servers.iter().map(|server| server.limiter.limit()).fold(0, u32::saturating_add);
    if sum == 0 { u32::MAX } else { sum }
}

/// A part, 0 to 1, of a number; at least 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a u32 is between 0 and it"
)]
fn part_of(number: u32, part: f64) -> u32 {
    ((f64::from(number) * part) as u32).max(1)
}
