//! Requests of one worker that wait for a place at one pool, and who of them is next.
//!
//! Strictly the more important class first; within a class the flows take turns (`queue::lane`).
//! A line is short: what waits longer than a request takes to serve is better refused at once
//! (`queue::limits`). Who waits with more than others gives way when it is full: the newest of the longest flow of the least important class, never the arrival of a shorter one.
//! A burst after a calm time is held back instead of refused, and served with what all others leave
//! (`queue::burst`).
//! Invariants: a line never holds more than its number and its bytes allow; each token that was
//! put in comes out exactly once, by [`Line::next`] or [`Line::leave`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::configuration::Class;
use model::{Reason, Timestamp};

use crate::gate::{Carried, Gate, HELD, Pass};
use crate::request::Refusal;

mod burst;
mod delay;
mod lane;
mod limits;
#[cfg(test)]
mod tests;

use burst::Burst;
use delay::Departure;
use lane::Lane;
use limits::Limits;

/// Bytes that the requests of one line may hold.
const BYTES_MAX: u64 = 8 << 20;
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
        /// As it would have been refused on arrival, for [`Reason::QueueFull`],
        /// [`Reason::QueueTimeout`] or [`Reason::TooLate`].
        refusal: Refusal,
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
    /// Nothing was served on its connection before.
    pub(crate) newcomer: bool,
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
    /// Those of `waiting` that stand in no lane.
    burst: Burst,
    /// What gave way or was too late, until it is called.
    refused: VecDeque<(T, Refusal, Duration)>,
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
    /// Whether it is held back.
    held: bool,
    token: T,
}

/// Whose turn it is in which lane, or `None` for who is held back; and its ticket.
type First = (Option<(usize, u64)>, u64);

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
            burst: Burst::default(),
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
        if let Some((token, refusal, waited)) = self.refused.pop_front() {
            return Some(Called::Refuse { token, refusal, waited });
        }
        let ((turn, ticket), limits) = (first?, limits?);
        if self.leaves_place(now) {
            return None;
        }
        let carried = &mut self.waiting.get_mut(&ticket)?.arrival.carried;
        let pass = self.gate.enter(carried, now)?;
        self.leaving_since = None;
        let (waiting, waited) = self.take_out(ticket, Departure::Served, limits.short, now)?;
        match turn {
            Some((class, flow)) => {
                self.gate.shared.board.served(self.worker);
                self.lanes[class].end_turn(flow);
            }
            None => self.gate.shared.board.serve_held(),
        }
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
        let mut held = false;
        while !held && self.is_full(arrival.bytes) {
            if !self.make_room(&arrival, now) {
                held = self.holds_back(&arrival, now);
                self.count_unplaced(&arrival, held, now);
                if !held {
                    self.burst.refused(now);
                    return Err(Reason::QueueFull);
                }
            }
        }
        self.ticket += 1;
        let waiting = Waiting { arrival, since: now, stood: Duration::ZERO, held, token: token() };
        if held {
            self.hold_back(self.ticket, waiting, now);
            return Ok(Ticket(self.ticket));
        }
        let (class, flow) = (waiting.arrival.class, waiting.arrival.flow);
        let flows = self.flows();
        self.bytes += waiting.arrival.bytes;
        self.lanes[class.index()].push(flow, self.ticket);
        self.waiting.insert(self.ticket, waiting);
        let board = &self.gate.shared.board;
        board.joined(self.worker, class.index());
        board.flows_changed(self.worker, flows, self.flows());
        Ok(Ticket(self.ticket))
    }

    fn is_full(&self, bytes: u64) -> bool {
        let capacity = self.capacity();
        self.waiting.len() - self.burst.len() >= capacity
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

    /// The first of the most important class, with its class and flow, then who is held back;
    /// whoever stands before it but is too late is refused.
    fn first_in_time(&mut self, limits: &Limits, now: Timestamp) -> Option<First> {
        loop {
            let Some(class) = self.lanes.iter().position(|lane| !lane.is_empty()) else {
                return self.first_held(limits, now);
            };
            let lane = &self.lanes[class];
            let (flow, ticket) = lane.next()?;
            let wait_max = self.limit(lane, lane.length(flow), limits);
            let waiting = self.waiting.get(&ticket)?;
            let Some(reason) = waiting.over(wait_max, limits.service, now) else {
                return Some((Some((class, flow)), ticket));
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
        over.extend(self.look_at_burst(&limits, now));
        // In the order of arrival, whatever lane they are of.
        over.sort_unstable_by_key(|(ticket, _)| *ticket);
        for (ticket, reason) in over {
            self.refuse(ticket, reason, limits.short, now);
        }
    }

    /// Refuses a request, or holds it back if all that it lacks is a place.
    fn refuse(&mut self, ticket: u64, reason: Reason, short: Duration, now: Timestamp) {
        if reason != Reason::TooLate {
            let waiting = self.waiting.get(&ticket).filter(|waiting| !waiting.held);
            if waiting.is_some_and(|waiting| self.holds_back(&waiting.arrival, now)) {
                if let Some((waiting, thin)) = self.forget(ticket) {
                    self.count_departure(&waiting, thin, (Departure::Refused, short), now);
                    self.hold_back(ticket, Waiting { held: true, ..waiting }, now);
                }
                return;
            }
            self.burst.refused(now);
        }
        if let Some((waiting, waited)) = self.take_out(ticket, Departure::Refused, short, now) {
            let refusal = if reason == Reason::TooLate {
                Refusal::because(reason)
            } else {
                Refusal::busy(reason, waiting.arrival.flow)
            };
            self.refused.push_back((waiting.token, refusal, waited));
        }
    }

    /// An arrival finds no place to wait: it counts as one of its flow that waited for nothing.
    fn count_unplaced(&mut self, arrival: &Arrival, held: bool, now: Timestamp) {
        let short = self.limits().short;
        let lane = &mut self.lanes[arrival.class.index()];
        let thin = lane.length(arrival.flow) == 0;
        let delay = if thin { &mut lane.thin_delay } else { &mut lane.thick_delay };
        delay.left(Departure::Refused, short, short, now);
        if thin && !held {
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
        if !waiting.held {
            self.count_departure(&waiting, thin, (how, short), now);
            if thin && how == Departure::Refused {
                self.gate.shared.level.refuse();
            }
        }
        self.gate.shared.board.waited(waited);
        Some((waiting, waited))
    }

    /// A request left its lane.
    fn count_departure(
        &mut self,
        waiting: &Waiting<T>,
        thin: bool,
        (how, short): (Departure, Duration),
        now: Timestamp,
    ) {
        let waited = now.since(waiting.since);
        let lane = &mut self.lanes[waiting.arrival.class.index()];
        let delay = if thin { &mut lane.thin_delay } else { &mut lane.thick_delay };
        delay.left(how, waited.saturating_sub(waiting.stood), short, now);
    }

    /// Takes out a request; with it, whether it was the only one of its flow in its lane.
    fn forget(&mut self, ticket: u64) -> Option<(Waiting<T>, bool)> {
        let waiting = self.waiting.remove(&ticket)?;
        if waiting.held {
            let was_listed = self.burst.remove(&waiting.arrival, ticket);
            debug_assert!(was_listed, "a request that is held back is listed");
            self.gate.shared.board.left(self.worker, HELD);
            return Some((waiting, false));
        }
        let flows = self.flows();
        let lane = &mut self.lanes[waiting.arrival.class.index()];
        let thin = lane.length(waiting.arrival.flow) == 1;
        let was_listed = lane.remove(waiting.arrival.flow, ticket);
        debug_assert!(was_listed, "a waiting request stands in its class's lane");
        self.bytes = self.bytes.saturating_sub(waiting.arrival.bytes);
        let board = &self.gate.shared.board;
        board.left(self.worker, waiting.arrival.class.index());
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
