//! When the bytes of one direction of one connection may go on.
//!
//! Pure: time comes in as `now`, counted from the begin of the connection, and what is drawn
//! comes from the seed.
//! Invariant: conditions that change concern what is held back already; the default conditions
//! hold nothing back.

use std::time::Duration;

use fastrand::Rng;
use model::drill::NetworkConditions;

/// Bytes are let through in portions of this time, and so much is made up for when somebody
/// came late for the next: timers are no better than 1 ms.
const PORTION: Duration = Duration::from_millis(10);
/// Bytes of one portion, whatever the bandwidth.
const PORTION_BYTES_MAX: usize = 64 * 1_024;

/// A piece of data as it came in, with what was drawn for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    at: Duration,
    /// How much of the jitter it gets, 0 to 1.
    jitter_share: f64,
    /// A stall follows it when the share of those is above this.
    stall_draw: f64,
}

/// What may happen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// At most so many bytes may go on; at least one.
    Bytes(usize),
    /// Nothing before this time.
    At(Duration),
    /// Nothing until the conditions change.
    Never,
}

/// The pace of one direction.
#[derive(Debug)]
pub(super) struct Pace {
    conditions: NetworkConditions,
    random: Rng,
    /// When the line has carried all that was given to it.
    free_at: Duration,
    stalled_at: Option<Duration>,
}

impl Pace {
    pub(super) fn new(conditions: NetworkConditions, random: Rng) -> Self {
        Self { conditions, random, free_at: Duration::ZERO, stalled_at: None }
    }

    pub(super) fn set(&mut self, conditions: NetworkConditions) {
        self.conditions = conditions;
        self.free_at = Duration::ZERO;
    }

    /// True: everything may go on as it comes.
    pub(super) fn is_free(&self) -> bool {
        let conditions = &self.conditions;
        !conditions.black_hole
            && conditions.latency.is_zero()
            && conditions.jitter.is_zero()
            && conditions.bytes_per_second.is_none()
            && conditions.stall_share <= 0.0
    }

    /// Notes that something came in.
    pub(super) fn arrive(&mut self, now: Duration) -> Arrival {
        Arrival { at: now, jitter_share: self.random.f64(), stall_draw: self.random.f64() }
    }

    /// What may happen to the piece that is next in line.
    pub(super) fn permit(&self, now: Duration, next: &Arrival) -> Permit {
        let conditions = &self.conditions;
        if conditions.black_hole {
            return Permit::Never;
        }
        let delay = conditions.latency.saturating_add(conditions.jitter.mul_f64(next.jitter_share));
        let mut due = next.at.saturating_add(delay);
        if let Some(stalled_at) = self.stalled_at
            && conditions.stall_share > 0.0
        {
            due = due.max(stalled_at.saturating_add(conditions.stall));
        }
        let portion = match conditions.bytes_per_second {
            None => usize::MAX,
            Some(rate) => {
                due = due.max(self.free_at);
                let bytes = u128::from(rate) * PORTION.as_millis() / 1_000;
                usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1, PORTION_BYTES_MAX)
            }
        };
        if due > now { Permit::At(due) } else { Permit::Bytes(portion) }
    }

    /// Notes that bytes went on.
    pub(super) fn sent(&mut self, now: Duration, bytes: usize) {
        let Some(rate) = self.conditions.bytes_per_second else { return };
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free_at = self.free_at.max(now.saturating_sub(PORTION)).saturating_add(time);
    }

    /// Notes that the last byte of a piece went on.
    pub(super) fn passed(&mut self, now: Duration, piece: &Arrival) {
        if piece.stall_draw < self.conditions.stall_share {
            self.stalled_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn pace(conditions: NetworkConditions) -> Pace {
        Pace::new(conditions, fastrand::Rng::with_seed(7))
    }

    #[test]
    fn what_is_held_back_obeys_the_newest_conditions() {
        let mut pace = pace(NetworkConditions { latency: ms(50), ..NetworkConditions::default() });
        let piece = pace.arrive(ms(100));
        assert_eq!(pace.permit(ms(100), &piece), Permit::At(ms(150)));
        assert_eq!(pace.permit(ms(150), &piece), Permit::Bytes(usize::MAX));
        pace.set(NetworkConditions { latency: ms(80), ..NetworkConditions::default() });
        assert_eq!(pace.permit(ms(150), &piece), Permit::At(ms(180)));
        pace.set(NetworkConditions { black_hole: true, ..NetworkConditions::default() });
        assert_eq!(pace.permit(ms(900), &piece), Permit::Never);
        pace.set(NetworkConditions::default());
        assert_eq!(pace.permit(ms(100), &piece), Permit::Bytes(usize::MAX));
    }

    #[test]
    fn a_stall_follows_a_piece_and_ends() {
        let stalls =
            NetworkConditions { stall_share: 1.0, stall: ms(300), ..NetworkConditions::default() };
        let mut pace = pace(stalls);
        let (first, second) = (pace.arrive(ms(0)), pace.arrive(ms(1)));
        assert_eq!(pace.permit(ms(1), &first), Permit::Bytes(usize::MAX));
        pace.passed(ms(1), &first);
        assert_eq!(pace.permit(ms(1), &second), Permit::At(ms(301)));
        pace.set(NetworkConditions::default());
        assert_eq!(pace.permit(ms(1), &second), Permit::Bytes(usize::MAX));
    }

    #[test]
    fn the_share_of_stalls_is_as_told() {
        let stalls =
            NetworkConditions { stall_share: 0.2, stall: ms(1), ..NetworkConditions::default() };
        let mut pace = pace(stalls);
        let stalled = |pace: &mut Pace| {
            let piece = pace.arrive(ms(0));
            pace.stalled_at = None;
            pace.passed(ms(0), &piece);
            pace.stalled_at.is_some()
        };
        let stalls = (0..10_000).filter(|_| stalled(&mut pace)).count();
        assert!((1_900..2_100).contains(&stalls), "{stalls} of 10000");
    }

    proptest! {
        /// However late each portion is taken (a timer's lateness), the long-run rate holds within 5 %.
        #[test]
        fn bandwidth_is_within_five_percent(
            rate in 1_000..100_000_000_u64, late_us in prop::collection::vec(0..3_000_u64, 1..20)
        ) {
            let conditions =
                NetworkConditions { bytes_per_second: Some(rate), ..NetworkConditions::default() };
            let mut pace = pace(conditions);
            let piece = pace.arrive(Duration::ZERO);
            let (mut now, mut bytes) = (Duration::ZERO, 0);
            let mut late = late_us.iter().cycle();
            while now < Duration::from_secs(2) {
                match pace.permit(now, &piece) {
                    Permit::Bytes(portion) => {
                        pace.sent(now, portion);
                        bytes += portion;
                    }
                    Permit::At(due) => now = due + Duration::from_micros(*late.next().unwrap()),
                    Permit::Never => panic!("there is no black hole"),
                }
            }
            let found = bytes as f64 / now.as_secs_f64() / rate as f64;
            prop_assert!((0.95..1.05).contains(&found), "{found} of {rate}");
        }
    }
}
