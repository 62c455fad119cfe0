//! Who sends far more than its part to a pool that is overloaded, so that its requests should
//! come after everybody else's.
//!
//! A registered client is held against what it usually sends: it may be most of the traffic when
//! it always is. Whoever else (and a client of less than a minute) is held against the others:
//! more than a tenth of all, and eight times the median of the other flows. That does not go for a
//! client whose class is above normal: it was put before the others on purpose, and is held to its
//! rate, and to what it usually sends once that is known. Being demoted takes
//! nothing away: who is alone, or is let through by the others, gets all that is left.
//! Letting off has a lower bar, so that nobody at the bar goes back and forth.

use model::Timestamp;

use crate::baseline::Usual;
use crate::talkers::Talker;

/// Fewer arrivals than this in a window are chance.
const SURE_MIN: u64 = 8;
/// A registered client below this share of the arrivals is not why a pool is overloaded.
const CLIENT_SHARE_MIN: f64 = 0.02;
/// Share of the arrivals above which a flow is far above its part.
const SHARE_MIN: f64 = 0.1;
/// How often the median of the other flows that is.
const MEDIANS_MIN: u64 = 8;
/// The part of both bars below which it is let off.
const LET_OFF: f64 = 0.5;

/// One flow at one pool in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Flow {
    pub(crate) who: Talker,
    /// Arrivals that are surely its own.
    pub(crate) sure: u64,
    /// What it usually sends, once learned.
    pub(crate) usual: Option<Usual>,
    /// It was registered as more important than others.
    pub(crate) important: bool,
}

/// How much a flow sends against its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Far more: it is demoted.
    Far,
    /// Not far more, but too much to let it off.
    Above,
    /// Its part.
    Usual,
}

/// A flow that is demoted at a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) key: u64,
    pub(crate) who: Talker,
    pub(crate) pool: usize,
    /// When it last sent too much.
    pub(crate) above_at: Timestamp,
    /// When the pool was last overloaded.
    pub(crate) overloaded_at: Timestamp,
}

/// The standing of each flow whose standing is not usual for sure, the greatest first. `flows`
/// are sorted, the greatest first; `total` are all arrivals, also those that are nobody's for
/// sure; `seconds` is the window's length, at least 1; `times` is `demote_above`.
pub(crate) fn standings(
    flows: &[Flow],
    total: u64,
    seconds: f64,
    times: f64,
) -> impl Iterator<Item = (Flow, Standing)> {
    let of = move |(index, flow): (usize, &Flow)| {
        let share = flow.sure as f64 / total.max(1) as f64;
        let exceeds = |part: f64| match flow.usual {
            Some(usual) => {
                let bar = usual.mean + (usual.bar(times) - usual.mean) * part;
                share > CLIENT_SHARE_MIN * part && flow.sure as f64 / seconds > bar
            }
            None if flow.important => false,
            None => {
                let Some(median) = median_of_others(flows, index) else { return false };
                let bar = (MEDIANS_MIN * median.max(1)) as f64;
                share > SHARE_MIN * part && flow.sure as f64 > bar * part
            }
        };
        let standing = match () {
            () if exceeds(1.0) => Standing::Far,
            () if exceeds(LET_OFF) => Standing::Above,
            () => Standing::Usual,
        };
        (*flow, standing)
    };
    flows.iter().take_while(|flow| flow.sure >= SURE_MIN).enumerate().map(of)
}

/// The upper median of all flows but one; `None` when there is no other.
fn median_of_others(flows: &[Flow], index: usize) -> Option<u64> {
    let others = flows.len().checked_sub(2)?;
    let middle = others / 2;
    let place = if middle < index { middle } else { middle + 1 };
    flows.get(place).map(|flow| flow.sure)
}

#[cfg(test)]
mod tests {
    use Standing::{Above, Far, Usual as Part};

    use super::*;

    const LEARNED: Option<Usual> = Some(Usual { mean: 100.0, deviation: 5.0 });

    /// Arrivals of flows in a second, the greatest first; `others` more with `each`.
    /// Expected: the standing of those that are named.
    fn check(flows: &[(u64, Option<Usual>)], (others, each): (u32, u64), expected: &[Standing]) {
        let named = flows.iter().map(|&(sure, usual)| (sure, usual));
        let rest = (0..others).map(|_| (each, None));
        let flows: Vec<Flow> = (0..)
            .zip(named.chain(rest))
            .map(|(address, (sure, usual))| {
                let who = Talker::V4(address);
                Flow { who, sure, usual, important: false }
            })
            .collect();
        let total = flows.iter().map(|flow| flow.sure).sum();
        let found: Vec<Standing> =
            standings(&flows, total, 1.0, 4.0).map(|(_, standing)| standing).collect();
        let named = found.len().min(expected.len());
        assert_eq!(&found[..named], expected, "{:?}", &flows[..expected.len()]);
        assert!(found[named..].iter().all(|&standing| standing == Part), "{found:?}");
    }

    #[test]
    fn a_flood_among_polite_flows() {
        check(&[(9_500, None)], (100, 5), &[Far]);
        check(&[(950, None)], (1, 50), &[Far]);
        // Two that share a flood, and five.
        check(&[(4_750, None), (4_750, None)], (100, 5), &[Far, Far]);
        check(&[(1_900, None); 5], (100, 5), &[Far; 5]);
    }

    #[test]
    fn behind_a_flood_of_keys_that_come_once() {
        check(&[(5_000, None)], (4_000, 1), &[Far]);
    }

    #[test]
    fn who_is_alone_or_as_big_as_the_others_is_not() {
        check(&[(10_000, None)], (0, 0), &[Part]);
        check(&[(5_000, None), (4_000, None)], (0, 0), &[Part, Part]);
        check(&[(480, None), (480, None)], (1, 40), &[Part, Part]);
        check(&[], (30, 300), &[]);
    }

    #[test]
    fn letting_off_has_a_lower_bar() {
        check(&[(450, None)], (100, 50), &[Above]);
        check(&[(400, None)], (100, 5), &[Far]);
        check(&[(90, None)], (100, 10), &[Above]);
        check(&[(50, None)], (100, 10), &[Part]);
    }

    #[test]
    fn a_few_requests_are_chance() {
        check(&[(7, None)], (1, 1), &[]);
        check(&[(9, None)], (1, 1), &[Far]);
    }

    #[test]
    fn a_registered_client_is_held_against_itself() {
        // Always most of the traffic: not the cause.
        check(&[(110, LEARNED)], (3, 2), &[Part]);
        check(&[(401, LEARNED)], (10, 100), &[Far]);
        check(&[(260, LEARNED)], (10, 100), &[Above]);
        check(&[(240, LEARNED)], (10, 100), &[Part]);
        // Far above, but nothing against the load.
        check(&[(500, LEARNED)], (1_000, 50), &[Part]);
        // An uneven one may be more uneven: 100 + 6 x 200.
        let uneven = Some(Usual { mean: 100.0, deviation: 200.0 });
        check(&[(1_200, uneven)], (10, 100), &[Above]);
        check(&[(1_301, uneven)], (10, 100), &[Far]);
    }

    #[test]
    fn who_was_put_before_others_is_not_held_against_them() {
        let flow = |sure, usual, important| {
            let who = Talker::V4(u32::try_from(sure).unwrap());
            Flow { who, sure, usual, important }
        };
        let small = (0..50).map(|_| flow(5, None, false));
        let check = |usual, expected| {
            let flows: Vec<Flow> =
                std::iter::once(flow(9_000, usual, true)).chain(small.clone()).collect();
            let first = standings(&flows, 9_250, 1.0, 4.0).next().map(|(_, standing)| standing);
            assert_eq!(first, Some(expected), "{usual:?}");
        };
        check(None, Part);
        check(LEARNED, Far);
    }
}
