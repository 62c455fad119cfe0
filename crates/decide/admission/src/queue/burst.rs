//! A burst after a calm time: who is held back until the others leave something of the servers.
//!
//! When all sessions of a network connect again in one moment, more comes than may wait, and a second
//! later the servers are idle. Refused, all of it comes again, or never. So while nobody had to be
//! refused for two seconds, who would be refused for want of a place is held back instead, and
//! served when nobody else waits: first who was served on the same connection before, since he is
//! not part of a herd that has just connected; and of these the newest, for in a burst the oldest has
//! least reason to hope, and who comes while a burst is worked off does not stand behind it (folly's
//! adaptive LIFO orders an overloaded queue in the same way).
//!
//! Whether it is a burst, or more than the servers can do, shows within half a second: only as many
//! stay as can be served in the time that is left, at twice the pace at which all workers together
//! served them in the last half second, and the rest is refused. In overload nothing is left over,
//! so that all are.
//! Invariant: who is held back is listed once, and its bytes are counted while it is.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use model::{Reason, Timestamp};

use super::{Arrival, First, Limits, Line, Waiting};
use crate::gate::HELD;

/// Bytes that those who are held back at one worker may hold.
const BYTES_MAX: u64 = 8 << 20;
/// How long nobody must have been refused for want of a place.
const CALM: Duration = Duration::from_secs(2);
/// How often it is seen whether they get anywhere.
const LOOK: Duration = Duration::from_millis(500);
/// How much faster than in the last interval they may have to be served.
const FASTER: u128 = 2;

/// Where one stands: by class, whether nothing was served on its connection before, and age. The
/// most important is first, and of these the newest; by ticket.
type Standing = (usize, bool, Reverse<u64>);

/// Those of one line who are held back.
#[derive(Debug, Default)]
pub(super) struct Burst {
    order: BTreeSet<Standing>,
    bytes: u64,
    /// When the first of them was held back.
    began: Timestamp,
    /// When anybody was last refused for want of a place.
    refused_at: Option<Timestamp>,
    /// When it was last seen how many all workers had served, and how many that were.
    looked: Timestamp,
    served: u64,
}

impl Burst {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether one more may be held back, where `max` may be at once.
    fn takes(&self, max: usize, bytes: u64, now: Timestamp) -> bool {
        let calm = self.refused_at.is_none_or(|at| now.since(at) >= CALM);
        calm && self.order.len() < max && self.bytes.saturating_add(bytes) <= BYTES_MAX
    }

    /// Holds one back; all workers have `served` so many so far.
    fn insert(&mut self, arrival: &Arrival, ticket: u64, served: u64, now: Timestamp) {
        if self.order.is_empty() {
            (self.began, self.looked, self.served) = (now, now, served);
        }
        self.order.insert(standing(arrival, ticket));
        self.bytes += arrival.bytes;
    }

    /// Forgets one; false when it is not held back.
    pub(super) fn remove(&mut self, arrival: &Arrival, ticket: u64) -> bool {
        let was_there = self.order.remove(&standing(arrival, ticket));
        if was_there {
            self.bytes = self.bytes.saturating_sub(arrival.bytes);
        }
        was_there
    }

    /// Who is served next.
    fn next(&self) -> Option<u64> {
        self.order.first().map(|(_, _, Reverse(ticket))| *ticket)
    }

    /// Somebody was refused for want of a place: it is not calm.
    pub(super) const fn refused(&mut self, now: Timestamp) {
        self.refused_at = Some(now);
    }

    /// Whether it is time to see if they get anywhere.
    fn is_due(&self, wait_max: Duration, now: Timestamp) -> bool {
        !self.order.is_empty() && now.since(self.looked) >= LOOK.min(wait_max)
    }

    /// Those who cannot be served in time, as it looks now: the least important, and the oldest of
    /// them. Each may wait `wait_max`; at all workers `waiting` are held back, and `served` were
    /// served so far.
    fn surplus(
        &mut self,
        wait_max: Duration,
        (waiting, served): (u32, u64),
        now: Timestamp,
    ) -> Vec<u64> {
        let passed = now.since(self.looked);
        let left = wait_max.saturating_sub(now.since(self.began));
        let pace = u128::from(served.saturating_sub(self.served)) * FASTER;
        (self.looked, self.served) = (now, served);
        let in_time = pace * left.as_nanos() / passed.as_nanos().max(1);
        let own = self.order.len() as u128;
        // Of those who can be, as large a part as these are of all.
        let kept = in_time * own / u128::from(waiting).max(1);
        let surplus = usize::try_from(own.saturating_sub(kept)).unwrap_or(usize::MAX);
        self.order.iter().rev().take(surplus).map(|(_, _, Reverse(ticket))| *ticket).collect()
    }

    /// All of them, by ticket.
    fn tickets(&self) -> impl Iterator<Item = u64> {
        self.order.iter().map(|(_, _, Reverse(ticket))| *ticket)
    }
}

fn standing(arrival: &Arrival, ticket: u64) -> Standing {
    (arrival.class.index(), arrival.newcomer, Reverse(ticket))
}

impl<T> Line<T> {
    /// Who of those that are held back is served next; who stands before it but is too late is refused.
    pub(super) fn first_held(&mut self, limits: &Limits, now: Timestamp) -> Option<First> {
        loop {
            let ticket = self.burst.next()?;
            let waiting = self.waiting.get(&ticket)?;
            let Some(reason) = waiting.over(self.gate.burst_wait_max(), limits.service, now) else {
                return Some((None, ticket));
            };
            self.refuse(ticket, reason, limits.short, now);
        }
    }

    /// Those who are refused now, and why: their own time is over, or they cannot be served in theirs.
    /// They are many and their time is long, so that they are not looked at in each sweep.
    pub(super) fn look_at_burst(&mut self, limits: &Limits, now: Timestamp) -> Vec<(u64, Reason)> {
        let wait_max = self.gate.burst_wait_max();
        if !self.burst.is_due(wait_max, now) {
            return Vec::new();
        }
        let board = &self.gate.shared.board;
        let surplus = self.burst.surplus(wait_max, (board.held(), board.served_held()), now);
        let mut over: Vec<_> =
            surplus.into_iter().map(|ticket| (ticket, Reason::QueueTimeout)).collect();
        for ticket in self.burst.tickets() {
            let waiting = self.waiting.get(&ticket);
            let reason = waiting.and_then(|waiting| waiting.over(wait_max, limits.service, now));
            over.extend(reason.map(|reason| (ticket, reason)));
        }
        over
    }

    /// Whether a request may be held back instead of being refused. How many at once: as many as the
    /// servers can do in the time that they may wait, if they do nothing else.
    pub(super) fn holds_back(&self, arrival: &Arrival, now: Timestamp) -> bool {
        let service = self.gate.service_time().as_nanos();
        let known = !self.gate.is_guessing() && !self.gate.shared.level.sheds();
        let Some(limit) = self.gate.limit().filter(|_| known) else { return false };
        let in_turn = self.gate.burst_wait_max().as_nanos() * u128::from(limit);
        let workers = self.gate.shared.board.workers().max(1) as u128;
        let max = in_turn.checked_div(service * workers).unwrap_or(0);
        self.burst.takes(usize::try_from(max).unwrap_or(usize::MAX), arrival.bytes, now)
    }

    pub(super) fn hold_back(&mut self, ticket: u64, waiting: Waiting<T>, now: Timestamp) {
        let board = &self.gate.shared.board;
        self.burst.insert(&waiting.arrival, ticket, board.served_held(), now);
        board.joined(self.worker, HELD);
        self.waiting.insert(ticket, waiting);
    }
}

#[cfg(test)]
mod tests {
    use model::configuration::Class;

    use super::*;
    use crate::tests::at_ms;

    const WAIT_MAX: Duration = Duration::from_secs(5);

    fn arrival(class: Class, newcomer: bool) -> Arrival {
        Arrival { class, flow: 1, bytes: 1, newcomer, deadline: None, carried: None }
    }

    /// So many are held back here at 0, and `others` elsewhere; by 500 ms all workers have served so
    /// many: how many of those here cannot be in time.
    fn check(held: u64, others: u32, served: u64, expected: usize) {
        let mut all = Burst::default();
        for ticket in 0..held {
            all.insert(&arrival(Class::Normal, true), ticket, 7, at_ms(0));
        }
        let total = u32::try_from(held).unwrap() + others;
        assert!(!all.is_due(WAIT_MAX, at_ms(499)) && all.is_due(WAIT_MAX, at_ms(500)));
        let surplus = all.surplus(WAIT_MAX, (total, 7 + served), at_ms(500));
        let oldest: Vec<u64> = (0..).take(expected).collect();
        assert_eq!(surplus, oldest, "{held} here, {others} elsewhere, {served} served");
    }

    #[test]
    fn only_those_stay_who_can_be_served_in_time() {
        check(370, 0, 30, 0);
        check(290, 0, 10, 110);
        check(200, 600, 20, 110);
        check(300, 0, 0, 300);
    }

    #[test]
    fn the_most_important_then_who_is_known_then_the_newest_goes_first() {
        let mut burst = Burst::default();
        let (normal, important) = (Class::Normal, Class::Important);
        let all = [(normal, true), (important, true), (important, true), (important, false)];
        for ((class, newcomer), ticket) in all.into_iter().zip(1..) {
            burst.insert(&arrival(class, newcomer), ticket, 0, at_ms(0));
        }
        let order: Vec<u64> = burst.tickets().collect();
        assert_eq!(order, [4, 3, 2, 1]);
    }

    #[test]
    fn nobody_is_held_back_after_somebody_was_refused() {
        let mut burst = Burst::default();
        burst.refused(at_ms(100));
        assert!(!burst.takes(9, 1, at_ms(2_099)));
        assert!(burst.takes(9, 1, at_ms(2_100)));
    }

    #[test]
    fn their_number_and_bytes_are_bounded() {
        let mut burst = Burst::default();
        let large = Arrival { bytes: BYTES_MAX - 1, ..arrival(Class::Normal, true) };
        burst.insert(&large, 1, 0, at_ms(0));
        assert!(!burst.takes(9, 2, at_ms(0)) && !burst.takes(1, 1, at_ms(0)));
        assert!(burst.takes(2, 1, at_ms(0)));
        assert!(burst.remove(&large, 1) && !burst.remove(&large, 1));
        assert!(burst.takes(9, BYTES_MAX, at_ms(0)));
    }
}
