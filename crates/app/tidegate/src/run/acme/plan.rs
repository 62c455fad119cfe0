//! When a certificate is due: at two thirds of its life, a little earlier by chance so that many
//! doors do not ask at one moment; after a failure, later each time.
//!
//! Pure: time comes in.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Duration;

use model::Timestamp;

/// Orders in a day, at most: authorities refuse those who ask too often.
pub(super) const ATTEMPTS_PER_DAY: usize = 10;

const DAY: Duration = Duration::from_secs(86_400);

/// After the first failure; doubled with each further one.
const PAUSE_MIN: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(6 * 3_600);

/// What is known of one certificate that is to be obtained.
#[derive(Debug)]
pub(super) struct Plan {
    /// When attempts of the last day began.
    attempts: VecDeque<Timestamp>,
    is_underway: bool,
    failures: u32,
    not_before: Timestamp,
    /// 0 to 1: how much of the spread is used.
    chance: f64,
}

impl Default for Plan {
    fn default() -> Self {
        // Different in each process and for each certificate.
        let chance = RandomState::new().hash_one("certificate") % 1_000;
        Self::new(f64::from(u32::try_from(chance).unwrap_or(0)) / 1_000.0)
    }
}

impl Plan {
    fn new(chance: f64) -> Self {
        Self {
            attempts: VecDeque::new(),
            is_underway: false,
            failures: 0,
            not_before: Timestamp::ZERO,
            chance,
        }
    }

    /// Whether an order begins now, when a certificate of this `life` is in use; then it is
    /// underway until [`Self::ended`].
    pub(super) fn begins(&mut self, life: &Range<i64>, now_unix_s: i64, now: Timestamp) -> bool {
        if self.is_underway || now < self.not_before || now_unix_s < self.due(life) {
            return false;
        }
        self.attempts.retain(|began| now.since(*began) < DAY);
        if self.attempts.len() >= ATTEMPTS_PER_DAY {
            return false;
        }
        self.attempts.push_back(now);
        self.is_underway = true;
        true
    }

    /// An order ended; how long the next one waits at least.
    pub(super) fn ended(&mut self, succeeded: bool, now: Timestamp) -> Duration {
        self.is_underway = false;
        self.failures = if succeeded { 0 } else { self.failures.saturating_add(1) };
        let doubled = 2_u32.saturating_pow(self.failures.saturating_sub(1));
        // After a success too: the new certificate is not in use yet.
        let pause = PAUSE_MIN.saturating_mul(doubled).min(PAUSE_MAX);
        let pause = pause.mul_f64(1.0 + 0.2 * self.chance);
        self.not_before = now + pause;
        pause
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// When a certificate of this life is renewed, in seconds of Unix time: from 0.6 to two thirds
    /// of it.
    fn due(&self, life: &Range<i64>) -> i64 {
        let seconds = life.end.saturating_sub(life.start).max(0);
        let spread = u64::try_from(seconds / 15).unwrap_or(0);
        let earlier = Duration::from_secs(spread).mul_f64(self.chance).as_secs();
        let latest = life.start.saturating_add(seconds / 3 * 2);
        latest.saturating_sub(i64::try_from(earlier).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let check = |chance: f64, life: Range<i64>, expected: i64| {
            let mut plan = Plan::new(chance);
            assert!(!plan.begins(&life, expected - 1, Timestamp::ZERO), "{life:?}");
            assert!(plan.begins(&life, expected, Timestamp::ZERO), "{life:?}");
            assert!(!plan.begins(&life, expected, Timestamp::ZERO), "it is underway");
        };
        check(0.0, 0..90, 60);
        check(1.0, 0..90, 54);
        check(0.5, 1_000..10_000, 6_700);
        check(0.0, 0..0, 0);
    }

    #[test]
    fn failures_wait_longer_and_a_day_has_its_bound() {
        let (mut plan, mut now) = (Plan::new(0.0), Timestamp::ZERO);
        let mut began = Vec::new();
        for second in 0..2 * 86_400 {
            if plan.begins(&(0..0), 1, now) {
                began.push(second);
                plan.ended(false, now);
            }
            now = now + SECOND;
        }
        assert_eq!(began[..5], [0, 60, 180, 420, 900]);
        for day in 0..=86_400 {
            let attempts = began.iter().filter(|second| (day..day + 86_400).contains(*second));
            assert!(attempts.count() <= ATTEMPTS_PER_DAY);
        }
        assert!(began.len() > ATTEMPTS_PER_DAY, "it goes on: {began:?}");
        // A success forgets them, and is no reason to ask at once.
        let pause = plan.ended(true, now);
        assert_eq!((plan.failures(), pause), (0, PAUSE_MIN));
    }
}
