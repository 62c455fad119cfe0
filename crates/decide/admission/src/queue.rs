//! Requests of one worker that wait for a place at one pool, and who of them is next.
//!
//! Strictly the more important class first; within a class the flows take turns (`queue::lane`).
//! A line is short: what waits longer than a request takes to serve is better refused at once. So
//! it holds twice what may be in flight, or more where service takes hardly any time, and its time limits are short while it stands
//! (`queue::delay`): half a median service time, 20 to 50 ms, but for pools of few places as long
//! as two of them take to become free. While the limit is only a first guess, it may be far too low
//! for a door that starts under its usual load, so more may wait, for longer. Who waits with more than others gives way when it is full:
//! the newest of the longest flow of the least important class, never the arrival of a shorter one.
//! Invariants: a line never holds more than its number and its bytes allow; each token that was
//! put in comes out exactly once, by [`Line::next`] or [`Line::leave`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::configuration::Class;
use model::{Reason, Timestamp};

use crate::gate::{Carried, Gate, Pass};

mod delay;
mod lane;
#[cfg(test)]
mod tests;

use delay::Departure;
use lane::Lane;

/// The fewest requests of all workers that may wait at a pool.
const WAITING_MIN: u32 = 16;
/// The same while the limit is only a first guess, and how long they may wait then.
const WAITING_MIN_GUESSING: u32 = 256;
const WAIT_GUESSING: Duration = Duration::from_millis(200);
/// The fewest that may wait at one worker where service takes hardly any time: that so many
/// connections ask without a pause is no overload.
const WAITING_MIN_FAST: u32 = 256;
/// Bytes that the requests of one line may hold.
const BYTES_MAX: u64 = 8 << 20;
/// The range of the time limit while a line stands. With 5 ms as the least, a machine that is busy
/// is late by as much, and 32 connections that ask without a pause were refused answers of 3 ms.
const WAIT_SHORT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(50));
/// How often all waiting requests are looked at for those whose time is over.
const SWEEP: Duration = Duration::from_millis(4);
/// A line that nobody looked at for longer stood still with its worker, and with all that would have
/// freed places: the time beyond it does not count as waiting. It is looked at on each tick.
const LOOKED_AT: Duration = Duration::from_millis(40);
/// How long a place that is due to another worker is left to it.
const LEFT_MAX: Duration = Duration::from_millis(1);

/// What identifies a waiting request in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// A request that need not wait any more.
#[derive(Debug)]
pub enum Called<T> {
    /// It has its place.
    Serve {
        /// The door's.
        token: T,
        /// The place.
        pass: Pass,
        /// How long it waited.
        waited: Duration,
    },
    /// It is refused.
    Refuse {
        /// The door's.
        token: T,
        /// [`Reason::QueueFull`], [`Reason::QueueTimeout`] or [`Reason::TooLate`].
        reason: Reason,
        /// How long it waited.
        waited: Duration,
    },
}

/// A request that wants to wait.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) class: Class,
    pub(crate) flow: u64,
    pub(crate) bytes: u64,
    pub(crate) deadline: Option<Timestamp>,
    /// Goes on to its pass.
    pub(crate) carried: Option<Carried>,
}

/// The waiting requests of one worker at one pool; `T` is what the door knows them by.
#[derive(Debug)]
pub struct Line<T> {
    gate: Arc<Gate>,
    worker: usize,
    /// By class.
    lanes: [Lane; 4],
    waiting: BTreeMap<u64, Waiting<T>>,
    bytes: u64,
    ticket: u64,
    /// What gave way or was too late, until it is called.
    refused: VecDeque<(T, Reason, Duration)>,
    swept: Timestamp,
    /// Since when a free place is left to another worker.
    leaving_since: Option<Timestamp>,
}

#[derive(Debug)]
struct Waiting<T> {
    arrival: Arrival,
    since: Timestamp,
    /// For how long its worker stood still meanwhile.
    stood: Duration,
    token: T,
}

/// The time limits of this moment.
#[derive(Clone, Copy, Debug)]
struct Limits {
    service: Duration,
    short: Duration,
    long: Duration,
}

impl<T> Line<T> {
    /// The line of a worker at the gate of a pool.
    #[must_use]
    pub fn new(gate: Arc<Gate>, worker: usize) -> Self {
        Self {
            gate,
            worker,
            lanes: Default::default(),
            waiting: BTreeMap::new(),
            bytes: 0,
            ticket: 0,
            refused: VecDeque::new(),
            swept: Timestamp::ZERO,
            leaving_since: None,
        }
    }

    /// Who need not wait any more. Call it until `None`: after a place was freed, after a request
    /// was told to wait, when rung, and on each tick. `server_free`: as [`crate::Request::server_free`].
    pub fn next(&mut self, server_free: bool, now: Timestamp) -> Option<Called<T>> {
        if now.since(self.swept) >= SWEEP {
            self.sweep(now);
        }
        // Without a free place nobody is looked at: those whose time is over go by the sweep.
        let is_free = server_free && !self.waiting.is_empty() && self.gate.has_place(now);
        let limits = is_free.then(|| self.limits());
        let first = limits.and_then(|limits| self.first_in_time(&limits, now));
        if let Some((token, reason, waited)) = self.refused.pop_front() {
            return Some(Called::Refuse { token, reason, waited });
        }
        let ((class, flow, ticket), limits) = (first?, limits?);
        if self.leaves_place(now) {
            return None;
        }
        let carried = &mut self.waiting.get_mut(&ticket)?.arrival.carried;
        let pass = self.gate.enter(carried, now)?;
        self.leaving_since = None;
        self.gate.shared.board.served(self.worker);
        let (waiting, waited) = self.take_out(ticket, Departure::Served, limits.short, now)?;
        self.lanes[class].end_turn(flow);
        Some(Called::Serve { token: waiting.token, pass, waited })
    }

    /// The client hung up: forgets its request. False when it does not wait any more.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        self.forget(ticket.0).is_some()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The gate it stands at.
    #[must_use]
    pub const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Whether a flow has none waiting.
    pub(crate) fn is_new(&self, class: Class, flow: u64) -> bool {
        self.lanes[class.index()].length(flow) == 0
    }

    /// Lets a request wait.
    ///
    /// # Errors
    /// [`Reason::QueueFull`] when as many wait as may and nobody gives way.
    pub(crate) fn push(
        &mut self,
        arrival: Arrival,
        token: impl FnOnce() -> T,
        now: Timestamp,
    ) -> Result<Ticket, Reason> {
        while self.is_full(arrival.bytes) {
            if !self.make_room(&arrival, now) {
                self.count_refused(&arrival, now);
                return Err(Reason::QueueFull);
            }
        }
        let (class, flow) = (arrival.class, arrival.flow);
        let flows = self.flows();
        self.ticket += 1;
        self.bytes += arrival.bytes;
        self.lanes[class.index()].push(flow, self.ticket);
        let waiting = Waiting { arrival, since: now, stood: Duration::ZERO, token: token() };
        self.waiting.insert(self.ticket, waiting);
        let board = &self.gate.shared.board;
        board.joined(self.worker, class);
        board.flows_changed(self.worker, flows, self.flows());
        Ok(Ticket(self.ticket))
    }

    /// Requests that may wait here.
    fn capacity(&self) -> usize {
        let limit = self.gate.limit().unwrap_or_else(|| self.gate.in_flight());
        let least = if self.gate.is_guessing() { WAITING_MIN_GUESSING } else { WAITING_MIN };
        let workers = u32::try_from(self.gate.shared.board.workers().max(1)).unwrap_or(u32::MAX);
        let own = limit.saturating_mul(2).max(least).div_ceil(workers);
        let own = if self.is_fast() { own.max(WAITING_MIN_FAST) } else { own };
        usize::try_from(own).unwrap_or(usize::MAX)
    }

    /// Whether the turn of many who wait comes soon.
    fn is_fast(&self) -> bool {
        let Limits { service, short, .. } = self.limits();
        !service.is_zero() && service * 2 <= short
    }

    fn is_full(&self, bytes: u64) -> bool {
        let capacity = self.capacity();
        self.waiting.len() >= capacity
            || self.refused.len() >= capacity
            || self.bytes.saturating_add(bytes) > BYTES_MAX
    }

    /// Drops the newest of the longest flow of the least important class, unless that is the
    /// arrival itself.
    fn make_room(&mut self, arrival: &Arrival, now: Timestamp) -> bool {
        let Some(class) = self.lanes.iter().rposition(|lane| !lane.is_empty()) else {
            return false;
        };
        let lane = &self.lanes[class];
        let Some((length, flow)) = lane.longest() else { return false };
        let gives_way = match class.cmp(&arrival.class.index()) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => length > lane.length(arrival.flow) + 1,
            std::cmp::Ordering::Less => false,
        };
        let Some(ticket) = lane.newest(flow).filter(|_| gives_way) else { return false };
        if self.refused.len() >= self.capacity() {
            return false;
        }
        let short = self.limits().short;
        self.refuse(ticket, Reason::QueueFull, short, now);
        true
    }

    /// The first of the most important class; whoever stands before it but is too late is refused.
    fn first_in_time(&mut self, limits: &Limits, now: Timestamp) -> Option<(usize, u64, u64)> {
        loop {
            let class = self.lanes.iter().position(|lane| !lane.is_empty())?;
            let lane = &self.lanes[class];
            let (flow, ticket) = lane.next()?;
            let wait_max = self.limit(lane, lane.length(flow), limits);
            let waiting = self.waiting.get(&ticket)?;
            let Some(reason) = waiting.over(wait_max, limits.service, now) else {
                return Some((class, flow, ticket));
            };
            self.refuse(ticket, reason, limits.short, now);
        }
    }

    /// Whether a free place is due to another worker. It is left for a moment only: that worker
    /// may have other things to do.
    fn leaves_place(&mut self, now: Timestamp) -> bool {
        if !self.gate.shared.board.is_ahead(self.worker) {
            self.leaving_since = None;
            return false;
        }
        let since = *self.leaving_since.get_or_insert(now);
        now.since(since) < LEFT_MAX
    }

    /// Takes the time in which the worker stood still from the waiting of all who wait.
    fn excuse(&mut self, now: Timestamp) {
        let stood = now.since(self.swept).saturating_sub(LOOKED_AT);
        if stood.is_zero() {
            return;
        }
        for waiting in self.waiting.values_mut() {
            waiting.stood = (waiting.stood + stood).min(now.since(waiting.since));
        }
    }

    /// As if it had been looked at on each tick until now, without anybody being called: the next
    /// look is a sweep.
    #[cfg(test)]
    fn looked_at(&mut self, now: Timestamp) {
        let before = now.as_nanos().saturating_sub(model::time::saturating_nanos(SWEEP));
        self.swept = Timestamp::from_nanos(before);
    }

    /// Refuses those whose time is over, and sees whether the lanes still stand.
    fn sweep(&mut self, now: Timestamp) {
        self.excuse(now);
        self.swept = now;
        let limits = self.limits();
        for lane in &mut self.lanes {
            lane.thin_delay.advance(limits.short, now);
            lane.thick_delay.advance(limits.short, now);
        }
        if self.lanes.iter().any(Lane::is_overloaded) {
            self.gate.shared.board.overloads(self.worker, now);
        }
        if self.waiting.is_empty() {
            return;
        }
        let mut over: Vec<(u64, Reason)> = Vec::new();
        for lane in &self.lanes {
            for (ticket, length) in lane.tickets() {
                let Some(waiting) = self.waiting.get(&ticket) else { continue };
                let reason = waiting.over(self.limit(lane, length, &limits), limits.service, now);
                over.extend(reason.map(|reason| (ticket, reason)));
            }
        }
        // In the order of arrival, whatever lane they are of.
        over.sort_unstable_by_key(|(ticket, _)| *ticket);
        for (ticket, reason) in over {
            self.refuse(ticket, reason, limits.short, now);
        }
    }

    /// How long a request may wait whose flow has so many waiting.
    fn limit(&self, lane: &Lane, length: usize, limits: &Limits) -> Duration {
        let overloaded = if length == 1 {
            lane.thin_delay.is_overloaded() || self.gate.shared.level.sheds()
        } else {
            lane.thick_delay.is_overloaded()
        };
        if overloaded { limits.short } else { limits.long }
    }

    fn limits(&self) -> Limits {
        let service = self.gate.service_time();
        let long = self.gate.wait_max();
        if self.gate.is_guessing() {
            let long = long.max(WAIT_GUESSING);
            return Limits { service, short: long, long };
        }
        if service.is_zero() {
            // Nothing is known yet.
            return Limits { service, short: WAIT_SHORT.1.min(long), long };
        }
        let places = self.gate.limit().unwrap_or(1).max(1);
        // Two places become free in this time, unless there is only one.
        let two_places = (service * 2 / places).min(service);
        let short = (service / 2).clamp(WAIT_SHORT.0, WAIT_SHORT.1).max(two_places).min(long);
        Limits { service, short, long }
    }

    fn refuse(&mut self, ticket: u64, reason: Reason, short: Duration, now: Timestamp) {
        if let Some((waiting, waited)) = self.take_out(ticket, Departure::Refused, short, now) {
            self.refused.push_back((waiting.token, reason, waited));
        }
    }

    /// An arrival is refused: it counts as one of its flow that waited for nothing.
    fn count_refused(&mut self, arrival: &Arrival, now: Timestamp) {
        let short = self.limits().short;
        let lane = &mut self.lanes[arrival.class.index()];
        let thin = lane.length(arrival.flow) == 0;
        let delay = if thin { &mut lane.thin_delay } else { &mut lane.thick_delay };
        delay.left(Departure::Refused, short, short, now);
        if thin {
            self.gate.shared.level.refuse();
        }
    }

    /// Takes out a request that is done with waiting, and counts its wait, which a burst explains
    /// up to `short`.
    fn take_out(
        &mut self,
        ticket: u64,
        how: Departure,
        short: Duration,
        now: Timestamp,
    ) -> Option<(Waiting<T>, Duration)> {
        let (waiting, thin) = self.forget(ticket)?;
        let waited = now.since(waiting.since);
        let lane = &mut self.lanes[waiting.arrival.class.index()];
        let delay = if thin { &mut lane.thin_delay } else { &mut lane.thick_delay };
        delay.left(how, waited.saturating_sub(waiting.stood), short, now);
        if thin && how == Departure::Refused {
            self.gate.shared.level.refuse();
        }
        self.gate.shared.board.waited(waited);
        Some((waiting, waited))
    }

    /// Takes out a request; with it, whether it was the only one of its flow.
    fn forget(&mut self, ticket: u64) -> Option<(Waiting<T>, bool)> {
        let waiting = self.waiting.remove(&ticket)?;
        let flows = self.flows();
        let lane = &mut self.lanes[waiting.arrival.class.index()];
        let thin = lane.length(waiting.arrival.flow) == 1;
        let was_listed = lane.remove(waiting.arrival.flow, ticket);
        debug_assert!(was_listed, "a waiting request stands in its class's lane");
        self.bytes = self.bytes.saturating_sub(waiting.arrival.bytes);
        let board = &self.gate.shared.board;
        board.left(self.worker, waiting.arrival.class);
        board.flows_changed(self.worker, flows, self.flows());
        Some((waiting, thin))
    }

    fn flows(&self) -> u32 {
        let flows = self.lanes.iter().map(Lane::flows).sum::<usize>();
        u32::try_from(flows).unwrap_or(u32::MAX)
    }
}

impl<T> Waiting<T> {
    /// Why it need not wait any more, if its time is over.
    fn over(&self, wait_max: Duration, service: Duration, now: Timestamp) -> Option<Reason> {
        if self.arrival.deadline.is_some_and(|deadline| deadline.since(now) <= service) {
            return Some(Reason::TooLate);
        }
        (now.since(self.since) > wait_max + self.stood).then_some(Reason::QueueTimeout)
    }
}

impl<T> Drop for Line<T> {
    fn drop(&mut self) {
        while let Some(&ticket) = self.waiting.keys().next() {
            drop(self.forget(ticket));
        }
    }
}
