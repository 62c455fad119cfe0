//! The waiting requests of one class: whose turn is next, and who waits with too many.
//!
//! Flows take turns, one request each: deficit round robin (Shreedhar and Varghese, 1996) where
//! every request costs the same. A flow with one waiting request is thin, one with more is thick.
//! Thin ones go first while they do not stand in a queue themselves, as sparse flows do in
//! `FQ-CoDel` (RFC 8290): whoever sends less than its share hardly waits behind those who send
//! more. When the thin ones alone are too many, all take turns.
//! Invariant: a flow is listed exactly while it has waiting requests, once by its turn and once
//! by its length.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::delay::Delay;

/// The flows of one class.
#[derive(Debug, Default)]
pub(super) struct Lane {
    flows: BTreeMap<u64, Flow>,
    /// Flows by turn, lowest first: those with one waiting request, those with more.
    thin: BTreeMap<u64, u64>,
    thick: BTreeMap<u64, u64>,
    /// Flows by how many of theirs wait.
    lengths: BTreeSet<(usize, u64)>,
    /// The last turn that was handed out.
    turn: u64,
    pub(super) thin_delay: Delay,
    pub(super) thick_delay: Delay,
}

/// What one client has waiting.
#[derive(Debug, Default)]
struct Flow {
    /// Tickets, the oldest first.
    waiting: VecDeque<u64>,
    turn: u64,
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    pub(super) fn flows(&self) -> usize {
        self.flows.len()
    }

    /// How many of a flow's requests wait.
    pub(super) fn length(&self, flow: u64) -> usize {
        self.flows.get(&flow).map_or(0, |flow| flow.waiting.len())
    }

    pub(super) fn is_overloaded(&self) -> bool {
        self.thin_delay.is_overloaded() || self.thick_delay.is_overloaded()
    }

    /// Appends a request of a flow; one that did not wait takes its turn after all others.
    pub(super) fn push(&mut self, flow: u64, ticket: u64) {
        let entry = self.flows.entry(flow).or_insert_with(|| {
            self.turn += 1;
            Flow { waiting: VecDeque::new(), turn: self.turn }
        });
        let before = entry.waiting.len();
        entry.waiting.push_back(ticket);
        let turn = entry.turn;
        self.list((flow, turn), before, before + 1);
    }

    /// Takes out a request; false when it is not there.
    pub(super) fn remove(&mut self, flow: u64, ticket: u64) -> bool {
        let Some(entry) = self.flows.get_mut(&flow) else { return false };
        let Ok(place) = entry.waiting.binary_search(&ticket) else { return false };
        let before = entry.waiting.len();
        entry.waiting.remove(place);
        let turn = entry.turn;
        if before == 1 {
            self.flows.remove(&flow);
        }
        self.list((flow, turn), before, before - 1);
        if self.thin.is_empty() {
            self.thin_delay.emptied();
        }
        if self.thick.is_empty() {
            self.thick_delay.emptied();
        }
        true
    }

    /// The flow had its turn: the next is after all others.
    pub(super) fn end_turn(&mut self, flow: u64) {
        if self.flows.len() == 1 {
            return; // Alone, it is next anyway.
        }
        let Some(entry) = self.flows.get_mut(&flow) else { return };
        self.turn += 1;
        let before = std::mem::replace(&mut entry.turn, self.turn);
        let by_turn = if entry.waiting.len() == 1 { &mut self.thin } else { &mut self.thick };
        by_turn.remove(&before);
        by_turn.insert(self.turn, flow);
    }

    /// Who is served next: the flow and its ticket. In overload a flow's newest request goes
    /// first: its oldest would be too late for somebody who has given up.
    pub(super) fn next(&self) -> Option<(u64, u64)> {
        let thin = self.thin.first_key_value();
        let thick = self.thick.first_key_value();
        let in_order = self.thin_delay.is_overloaded();
        let (_, &flow) = match (thin, thick) {
            (Some(thin), Some(thick)) if in_order && thick.0 < thin.0 => thick,
            (Some(thin), _) => thin,
            (None, thick) => thick?,
        };
        let waiting = &self.flows.get(&flow)?.waiting;
        let ticket =
            if self.thick_delay.is_overloaded() { waiting.back() } else { waiting.front() };
        Some((flow, *ticket?))
    }

    /// The flow with the most waiting requests, and how many.
    pub(super) fn longest(&self) -> Option<(usize, u64)> {
        self.lengths.last().copied()
    }

    /// A flow's newest request.
    pub(super) fn newest(&self, flow: u64) -> Option<u64> {
        self.flows.get(&flow)?.waiting.back().copied()
    }

    /// Every waiting request with its flow's number of them.
    pub(super) fn tickets(&self) -> impl Iterator<Item = (u64, usize)> {
        self.flows
            .values()
            .flat_map(|flow| flow.waiting.iter().map(|&ticket| (ticket, flow.waiting.len())))
    }

    /// A flow has so many waiting instead of so many before.
    fn list(&mut self, (flow, turn): (u64, u64), before: usize, now: usize) {
        if before > 0 {
            self.lengths.remove(&(before, flow));
        }
        if now > 0 {
            self.lengths.insert((now, flow));
        }
        if before.min(2) == now.min(2) {
            return; // It was thick, and is.
        }
        match before {
            0 => {}
            1 => drop(self.thin.remove(&turn)),
            _ => drop(self.thick.remove(&turn)),
        }
        match now {
            0 => {}
            1 => drop(self.thin.insert(turn, flow)),
            _ => drop(self.thick.insert(turn, flow)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words: `a` pushes a request of flow a, `!` serves, `-a3` takes ticket 3 of flow a out.
    /// Tickets count from 1. Expected: flow and ticket of each that was served.
    fn check(script: &str, expected: &str) {
        let (mut lane, mut ticket, mut served) = (Lane::default(), 0, Vec::new());
        for word in script.split(' ') {
            let bytes = word.as_bytes();
            match bytes[0] {
                b'!' => {
                    let (flow, ticket) = lane.next().unwrap();
                    lane.remove(flow, ticket);
                    lane.end_turn(flow);
                    served.push(format!("{}{ticket}", char::from(u8::try_from(flow).unwrap())));
                }
                b'-' => assert!(lane.remove(u64::from(bytes[1]), u64::from(bytes[2] - b'0'))),
                flow => {
                    ticket += 1;
                    lane.push(u64::from(flow), ticket);
                }
            }
        }
        assert_eq!(served.join(" "), expected, "{script}");
    }

    #[test]
    fn flows_take_turns() {
        check("a a a a b b b b ! ! ! !", "a1 b5 a2 b6");
    }

    #[test]
    fn a_thin_flow_goes_before_a_thick_one() {
        check("a a a b ! ! c ! !", "b4 a1 c5 a2");
    }

    #[test]
    fn who_left_is_not_served() {
        check("a b a -b2 ! -a3 d !", "a1 d4");
    }

    #[test]
    fn the_longest_is_known() {
        let mut lane = Lane::default();
        assert_eq!(lane.longest(), None);
        for (flow, ticket) in [(7, 1), (7, 2), (8, 3)] {
            lane.push(flow, ticket);
        }
        assert_eq!((lane.longest(), lane.newest(7), lane.flows()), (Some((2, 7)), Some(2), 2));
        assert!(lane.remove(7, 1) && lane.remove(7, 2) && !lane.remove(7, 2));
        assert_eq!((lane.longest(), lane.length(7), lane.is_empty()), (Some((1, 8)), 0, false));
    }
}
