//! When a certificate is due: at two thirds of its life, a little earlier by chance so that many
//! doors do not ask at one moment; after a failure, later each time.
//!
//! Pure: time comes in.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Duration;

use model::Timestamp;
use model::fact::ObtainingFacts;

/// Orders in a day, at most: authorities refuse those who ask too often.
pub(super) const ATTEMPTS_PER_DAY: usize = 10;

const DAY_S: i64 = 86_400;
const DAY: Duration = Duration::from_secs(DAY_S.unsigned_abs());

/// After the first failure; doubled with each further one.
const PAUSE_MIN: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Of a failure's reason so many characters are told.
const REASON_CHARS_MAX: usize = 300;

/// What is known of one certificate that is to be obtained.
#[derive(Debug)]
pub(super) struct Plan {
    /// When attempts of the last day began; also in seconds of Unix time, as all that is only told.
    attempts: VecDeque<(Timestamp, i64)>,
    is_underway: bool,
    failures: u32,
    /// When the last attempt failed, and why; `None` after one that succeeded.
    failed: Option<(i64, String)>,
    not_before: Timestamp,
    not_before_unix_s: i64,
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
            failed: None,
            not_before: Timestamp::ZERO,
            not_before_unix_s: 0,
            chance,
        }
    }

    /// Whether an order begins now, when a certificate of this `life` is in use; then it is
    /// underway until [`Self::ended`].
    pub(super) fn begins(&mut self, life: &Range<i64>, now_unix_s: i64, now: Timestamp) -> bool {
        if self.is_underway || now < self.not_before || now_unix_s < self.due(life) {
            return false;
        }
        self.attempts.retain(|(began, _)| now.since(*began) < DAY);
        if self.attempts.len() >= ATTEMPTS_PER_DAY {
            return false;
        }
        self.attempts.push_back((now, now_unix_s));
        self.is_underway = true;
        true
    }

    /// An order ended, and why it failed if it did; how long the next one waits at least.
    pub(super) fn ended(
        &mut self,
        failure: Option<&str>,
        now_unix_s: i64,
        now: Timestamp,
    ) -> Duration {
        self.is_underway = false;
        self.failures = if failure.is_none() { 0 } else { self.failures.saturating_add(1) };
        self.failed = failure.map(|why| (now_unix_s, one_line(why)));
        let doubled = 2_u32.saturating_pow(self.failures.saturating_sub(1));
        // After a success too: the new certificate is not in use yet.
        let pause = PAUSE_MIN.saturating_mul(doubled).min(PAUSE_MAX);
        let pause = pause.mul_f64(1.0 + 0.2 * self.chance);
        self.not_before = now + pause;
        self.not_before_unix_s = now_unix_s.saturating_add_unsigned(pause.as_secs());
        pause
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// What is told of it while a certificate of this `life` is in use.
    pub(super) fn facts(&self, life: &Range<i64>) -> ObtainingFacts {
        let mut next = self.due(life).max(self.not_before_unix_s);
        // The oldest makes room for another one.
        if self.attempts.len() >= ATTEMPTS_PER_DAY
            && let Some((_, began)) = self.attempts.front()
        {
            next = next.max(began.saturating_add(DAY_S));
        }
        ObtainingFacts {
            underway: self.is_underway,
            failures: self.failures,
            failed_at_unix_s: self.failed.as_ref().map(|(at, _)| *at),
            reason: self.failed.as_ref().map(|(_, why)| why.clone()),
            next_at_unix_s: next,
        }
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

/// What others wrote, such as an authority, as one line of a bounded length.
fn one_line(text: &str) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(plain).take(REASON_CHARS_MAX).collect()
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
            if plan.begins(&(0..0), second, now) {
                began.push(second);
                plan.ended(Some("why"), second, now);
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
        let pause = plan.ended(None, 0, now);
        assert_eq!((plan.failures(), pause), (0, PAUSE_MIN));
    }

    #[test]
    fn what_is_told_is_when_it_happens() {
        let (mut plan, mut now, start) = (Plan::new(0.5), Timestamp::ZERO, 1_000_000);
        let life = 0..0;
        for second in start..start + 2 * DAY_S {
            let told = plan.facts(&life).next_at_unix_s;
            if plan.begins(&life, second, now) {
                assert!(
                    (second - 1..=second).contains(&told) || second == start,
                    "{second} {told}"
                );
                assert!(plan.facts(&life).underway);
                plan.ended(Some("why"), second, now);
                let told = plan.facts(&life);
                assert_eq!((told.underway, told.failed_at_unix_s), (false, Some(second)));
                assert!(told.next_at_unix_s > second, "{told:?}");
            }
            now = now + SECOND;
        }
        // A renewal is told too, and a success forgets what failed.
        plan.ended(None, start, Timestamp::ZERO);
        let told = plan.facts(&(start..start + 90 * DAY_S));
        assert_eq!((told.failures, told.failed_at_unix_s, told.reason), (0, None, None));
        assert_eq!(told.next_at_unix_s, start + 57 * DAY_S);
    }

    #[test]
    fn what_an_authority_says_is_one_line_of_a_bounded_length() {
        let mut plan = Plan::new(0.0);
        plan.ended(
            Some(&format!("{}\u{1b}[2J\n{}", "ä".repeat(200), "b".repeat(999))),
            0,
            Timestamp::ZERO,
        );
        let reason = plan.facts(&(0..0)).reason.unwrap();
        assert_eq!(reason.chars().count(), REASON_CHARS_MAX);
        assert!(reason.contains("ä [2J b") && !reason.contains(char::is_control), "{reason}");
    }
}
