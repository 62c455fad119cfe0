//! Connections that are held open: when each asks, and when it connects again.
//!
//! A session that has no connection asks when it connects; its clock starts over with that.

use std::time::Duration;

use fastrand::Rng;
use model::Timestamp;
use model::load::Reconnect;

/// The first bound of a back-off, and its last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// Between two failures of an asker that does not wait by itself. Without it, a target that
/// refuses at once would be met as fast as the generator can.
pub(super) const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// One session.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// Its connection.
    pub(super) slot: Option<usize>,
    /// Whether a request that was refused waits to be repeated.
    pub(super) repeats: bool,
    /// Timers of an earlier epoch are void.
    pub(super) epoch: u32,
    /// Attempts to connect again since the last good answer.
    attempts: u32,
    /// When its last request was due.
    pub(super) asked: Timestamp,
    /// Since when it may ask.
    pub(super) ready: Timestamp,
}

impl Session {
    /// An answer came: the next loss is the first again.
    pub(super) fn answered(&mut self) {
        self.attempts = 0;
    }

    /// When to connect again after the connection was lost, or could not be had; `None`: never.
    pub(super) fn reconnect(
        &mut self,
        policy: Reconnect,
        now: Timestamp,
        rng: &mut Rng,
    ) -> Option<Timestamp> {
        self.epoch = self.epoch.wrapping_add(1);
        let attempt = self.attempts;
        self.attempts = self.attempts.saturating_add(1);
        match policy {
            Reconnect::Never => None,
            Reconnect::AtOnce if attempt == 0 => Some(now),
            Reconnect::AtOnce => Some(now + AFTER_FAILURE),
            Reconnect::BackOff => Some(now + back_off(BACK_OFF.0, attempt, rng)),
        }
    }
}

/// Full jitter: a random time up to a bound that doubles with each attempt, to at most 30 s.
pub(super) fn back_off(first: Duration, attempt: u32, rng: &mut Rng) -> Duration {
    let bound = first.saturating_mul(1 << attempt.min(20)).min(BACK_OFF.1);
    bound.mul_f64(rng.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnecting() {
        let mut rng = Rng::with_seed(1);
        let now = Timestamp::from_nanos(1_000);
        let mut delays = |policy, attempts: usize| -> Vec<_> {
            let mut session = Session::default();
            let all = (0..attempts).map(|_| session.reconnect(policy, now, &mut rng));
            all.map(|at| at.map(|at| at.since(now))).collect()
        };
        let fixed = AFTER_FAILURE;
        assert_eq!(delays(Reconnect::Never, 1), [None]);
        assert_eq!(delays(Reconnect::AtOnce, 3), [Some(Duration::ZERO), Some(fixed), Some(fixed)]);
        let mut sums = [Duration::ZERO; 12];
        for _ in 0..1_000 {
            for (sum, delay) in sums.iter_mut().zip(delays(Reconnect::BackOff, 12)) {
                *sum += delay.unwrap();
            }
        }
        let means: Vec<_> = sums.iter().map(|sum| sum.as_secs_f64() / 1_000.0).collect();
        for (mean, bound) in
            means.iter().zip([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0])
        {
            assert!((mean / bound - 0.5).abs() < 0.05, "{means:?}");
        }
    }
}
