//! How many requests may be tried again: a budget, so that retries cannot become the load.
//!
//! Each request deposits its share of a retry; deposits fade with a time constant of 10 s, so
//! at most ten seconds' worth is ever saved up. A reserve of some retries per second, also up
//! to ten seconds' worth, lets a quiet pool retry at all.
//! Invariant: a balance never falls below zero, so no retry is spent twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use model::Timestamp;

/// Balances are kept in millionths of a retry.
const RETRY: u64 = 1_000_000;
/// How many seconds' worth may be saved up.
const WINDOW_SECONDS: u64 = 10;
/// Fading is applied in steps of this, not at each request.
const STEP_NANOS: u64 = 50_000_000;

/// The retry budget of a pool, shared by all workers. What was saved up is shared by all
/// generations of the pool; what each may spend follows from its own settings.
#[derive(Debug)]
pub struct RetryBudget {
    /// Millionths of a retry that one request deposits.
    share: u64,
    /// Retries per second that are always allowed.
    minimum_per_second: u64,
    saved: Arc<Saved>,
}

#[derive(Debug)]
struct Saved {
    deposits: AtomicU64,
    reserve: AtomicU64,
    /// When fading was last applied, in nanoseconds.
    advanced_at: AtomicU64,
}

impl RetryBudget {
    /// A budget that goes on with what `previous` saved up.
    pub(crate) fn new(
        settings: &model::configuration::Retries,
        previous: Option<&Self>,
        now: Timestamp,
    ) -> Self {
        let minimum_per_second = u64::from(settings.budget_min_per_second);
        let begin = || {
            Arc::new(Saved {
                deposits: AtomicU64::new(0),
                reserve: AtomicU64::new(minimum_per_second * WINDOW_SECONDS * RETRY),
                advanced_at: AtomicU64::new(now.as_nanos()),
            })
        };
        let saved = previous.map_or_else(begin, |previous| Arc::clone(&previous.saved));
        Self { share: millionths(settings.budget), minimum_per_second, saved }
    }

    /// Counts one request of a client; not its retries.
    pub fn deposit(&self) {
        if self.share > 0 {
            self.saved.deposits.fetch_add(self.share, Relaxed);
        }
    }

    /// Takes one retry out. False: over the budget, do not retry.
    #[must_use]
    pub fn withdraw(&self, now: Timestamp) -> bool {
        self.advance(now);
        take(&self.saved.deposits) || take(&self.saved.reserve)
    }

    /// Lets time pass; called at every pick, so that the deposits of a long calm fade.
    pub(crate) fn advance(&self, now: Timestamp) {
        let saved = &self.saved;
        let then = saved.advanced_at.load(Relaxed);
        let passed = now.as_nanos().saturating_sub(then);
        if passed < STEP_NANOS
            || saved.advanced_at.compare_exchange(then, now.as_nanos(), Relaxed, Relaxed).is_err()
        {
            return;
        }
        let keep = (-(passed as f64) / (WINDOW_SECONDS * 1_000_000_000) as f64).exp();
        // A deposit made meanwhile must not be lost: only what fades is taken away.
        let lost = fraction(saved.deposits.load(Relaxed), 1.0 - keep);
        saved.deposits.update(Relaxed, Relaxed, |saved| saved.saturating_sub(lost));
        let earned = passed.saturating_mul(self.minimum_per_second) / (1_000_000_000 / RETRY);
        let most = self.reserve_max();
        saved.reserve.update(Relaxed, Relaxed, |saved| saved.saturating_add(earned).min(most));
    }

    fn reserve_max(&self) -> u64 {
        self.minimum_per_second * WINDOW_SECONDS * RETRY
    }
}

fn take(balance: &AtomicU64) -> bool {
    balance.try_update(Relaxed, Relaxed, |saved| saved.checked_sub(RETRY)).is_ok()
}

fn millionths(share: f64) -> u64 {
    fraction(RETRY, share.clamp(0.0, 1.0))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`part` is 0 to 1; the cast saturates"
)]
fn fraction(whole: u64, part: f64) -> u64 {
    (whole as f64 * part).round() as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// `req*N`: N requests; `try*N`: N retries wanted; `+N`: N ms pass, and a request is picked.
    /// 10 % and 1 per second. Expected: retries allowed per `try`.
    fn check(script: &str, expected: &[u32]) {
        let settings = model::configuration::Retries {
            attempts_max: 2,
            budget: 0.1,
            budget_min_per_second: 1,
            on_status: false,
        };
        let mut now = Timestamp::ZERO;
        let budget = RetryBudget::new(&settings, None, now);
        let mut allowed: Vec<u32> = Vec::new();
        for word in script.split(' ') {
            if let Some(ms) = word.strip_prefix('+') {
                now = now + Duration::from_millis(ms.parse().unwrap());
                budget.advance(now);
                continue;
            }
            let (what, times) = word.split_once('*').unwrap();
            let times: u32 = times.parse().unwrap();
            match what {
                "req" => (0..times).for_each(|_| budget.deposit()),
                _ => allowed.push((0..times).map(|_| u32::from(budget.withdraw(now))).sum()),
            }
        }
        assert_eq!(allowed, expected, "{script}");
    }

    #[test]
    fn the_reserve_refills_and_is_bounded() {
        check("try*20", &[10]);
        check("try*20 +3000 try*20", &[10, 3]);
        check("try*20 +60000 try*20", &[10, 10]);
    }

    #[test]
    fn requests_earn_their_share() {
        check("try*20 req*100 try*20", &[10, 10]);
        check("try*20 req*9 try*20 req*1 try*20", &[10, 0, 1]);
    }

    #[test]
    fn deposits_fade_so_that_calm_does_not_pay_for_a_storm() {
        // 1000 requests save 100 retries; one window later 36.8 are left, and 10 in reserve.
        check("req*1000 +10000 try*200", &[46]);
        check("req*100000 +100000 try*200", &[10]);
    }

    #[test]
    fn an_hour_of_calm_saves_ten_seconds() {
        let second = "req*100 +1000 ";
        // 100/s x 10 % x 10 s, a little less for the steps, and 10 in reserve.
        check(&format!("{}try*2000", second.repeat(3600)), &[105]);
    }

    #[test]
    fn generations_share_what_was_saved_and_keep_their_own_settings() {
        let settings = |budget, budget_min_per_second| model::configuration::Retries {
            attempts_max: 2,
            budget,
            budget_min_per_second,
            on_status: false,
        };
        let live = RetryBudget::new(&settings(0.1, 1), None, Timestamp::ZERO);
        let tried = RetryBudget::new(&settings(0.0, 0), Some(&live), Timestamp::ZERO);
        let allowed =
            |budget: &RetryBudget| (0..100).filter(|_| budget.withdraw(Timestamp::ZERO)).count();
        (0..100).for_each(|_| tried.deposit());
        assert_eq!(allowed(&live), 10, "the reserve alone: the candidate's requests earn nothing");
        (0..100).for_each(|_| live.deposit());
        assert_eq!((allowed(&tried), allowed(&live)), (10, 0), "what was earned is spent once");
    }
}
