//! What happens when most of a pool looks dead: healthy servers first, each up to a bound.
//!
//! Panic: less than half of the weight that was ever checked is healthy. Then either most
//! servers are dead, or what is known of their health is wrong. The same rule serves both:
//!
//! 1. The healthy take everything, each up to its bound in flight: `in_flight_max`; without
//!    that five times what servers of its weight held in the calm before, at least 32.
//! 2. What is over goes to the others by weight, within `in_flight_max`: if they live after
//!    all it is served, otherwise it fails fast, and the survivors are not crushed by it
//!    (Envoy #17659).
//! 3. With nobody healthy all the others take everything, within `in_flight_max`: nothing can
//!    pile onto a survivor then.
//!
//! So a survivor serves all clients as long as it can, and a pool whose checks are wrong loses
//! nobody. The bound is in requests in flight, not a part of the traffic, because a server
//! that cannot keep up shows it there, whatever the traffic was before.
//! Invariant: panic raises no limit, and the bound does not grow while the pool panics.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use model::Timestamp;

/// How much more than in the calm a survivor may hold: with a third of the pool left it needs
/// three times as much, and room for chance.
const BOUND_FACTOR: f32 = 5.0;
/// A survivor may always hold this many.
const BOUND_MIN: u32 = 32;
/// How often the calm is measured.
const PAUSE_NANOS: u64 = 100_000_000;
/// How fast the measure forgets: slower than checks find out that servers are dead, while
/// their part already piles up elsewhere.
const TIME_CONSTANT_NANOS: f32 = 10e9;

/// What servers hold in flight while the pool does not panic.
#[derive(Debug, Default)]
pub(crate) struct Calm {
    /// A moving average of requests in flight per weight, as an `f32`.
    per_weight: AtomicU32,
    /// When it was last measured, in nanoseconds; 0 before the first time.
    measured_at: AtomicU64,
}

impl Calm {
    /// Measures when it is time to; `held` says what is in flight at the healthy, and their
    /// weight, or nothing in panic.
    pub(crate) fn measure(&self, now: Timestamp, held: impl Fn() -> Option<(u64, u64)>) {
        let (then, now) = (self.measured_at.load(Relaxed), now.as_nanos());
        let passed = now.saturating_sub(then);
        if passed < PAUSE_NANOS
            || self.measured_at.compare_exchange(then, now, Relaxed, Relaxed).is_err()
        {
            return;
        }
        let Some((in_flight, weight)) = held() else { return };
        let sample = in_flight as f32 / weight.max(1) as f32;
        let average = f32::from_bits(self.per_weight.load(Relaxed));
        let keep = if then == 0 { 0.0 } else { (-(passed as f32) / TIME_CONSTANT_NANOS).exp() };
        self.per_weight.store((sample + keep * (average - sample)).to_bits(), Relaxed);
    }

    /// How many requests a survivor of this weight may hold where nothing else limits it.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "never negative; the cast saturates"
    )]
    pub(crate) fn bound(&self, weight: u32) -> u32 {
        let calm = f32::from_bits(self.per_weight.load(Relaxed)) * weight as f32;
        ((BOUND_FACTOR * calm).ceil() as u32).max(BOUND_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each word: so many in flight at a weight of 10 for 1 s; `!`: 1 s of panic.
    /// Expected: the bound of weight 10 after each.
    fn check(script: &str, expected: &[u32]) {
        let calm = Calm::default();
        let mut now_ms = 1_000;
        let mut bounds = Vec::new();
        for word in script.split(' ') {
            for _ in 0..10 {
                now_ms += 100;
                let now = Timestamp::from_nanos(now_ms * 1_000_000);
                calm.measure(now, || Some((word.parse().ok()?, 10)));
            }
            bounds.push(calm.bound(10));
        }
        assert_eq!(bounds, expected, "{script}");
    }

    #[test]
    fn the_bound_follows_the_calm() {
        check("0 2 6", &[32, 32, 32]);
        check("20 20", &[100, 100]);
        check("20 100 100", &[100, 139, 173]);
    }

    #[test]
    fn the_bound_stays_in_panic() {
        check("20 ! ! !", &[100, 100, 100, 100]);
    }

    #[test]
    fn the_bound_follows_weight() {
        let calm = Calm::default();
        calm.measure(Timestamp::from_nanos(1_000_000_000), || Some((200, 10)));
        assert_eq!((calm.bound(1), calm.bound(3)), (100, 300));
    }
}
