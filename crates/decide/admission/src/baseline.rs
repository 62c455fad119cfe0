//! What a client usually sends: a mean and a deviation of its requests per second, over about
//! ten minutes.
//!
//! A flood must not become what is usual: each second counts for at most twice the mean, or three
//! deviations above it. So ten seconds of any flood raise the mean of an even client by less than
//! 2 %, and the caller learns nothing while the client is demoted. A client that really grows is
//! followed: doubled in seven minutes. One that comes in bursts stays known as uneven, unless
//! they are rarer than every ten seconds or so: a batch job is held against its calm.
//! The first minute is a plain mean, and counts for nothing yet.

/// Seconds after which the baseline counts.
const SECONDS_MIN: u32 = 60;
/// How many seconds it remembers.
const SECONDS_KEPT: u32 = 600;
/// The most that one second counts for, in deviations above the mean; at least twice the mean.
const DEVIATIONS_COUNTED: f64 = 3.0;
/// Deviations above the mean that are usual.
const DEVIATIONS: f64 = 6.0;

/// A client's learned baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Baseline {
    seconds: u32,
    mean: f64,
    /// The mean distance from the mean.
    deviation: f64,
}

/// What a client usually sends, in requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usual {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
}

impl Baseline {
    /// One second passed in which the client sent so many requests.
    pub(crate) fn observe(&mut self, per_second: f64) {
        let known = self.seconds >= SECONDS_MIN;
        self.seconds = self.seconds.saturating_add(1).min(SECONDS_KEPT);
        let rise_max = self.mean.max(DEVIATIONS_COUNTED * self.deviation) + 1.0;
        let counted = if known { per_second.min(self.mean + rise_max) } else { per_second };
        let weight = 1.0 / f64::from(self.seconds);
        let distance = (counted - self.mean).abs();
        self.mean += weight * (counted - self.mean);
        // The distance from a mean of nothing says nothing.
        if self.seconds > 1 {
            self.deviation += weight * (distance - self.deviation);
        }
    }

    /// What it learned, after a minute.
    pub(crate) fn usual(&self) -> Option<Usual> {
        (self.seconds >= SECONDS_MIN)
            .then_some(Usual { mean: self.mean, deviation: self.deviation })
    }
}

impl Usual {
    /// The rate above which a client sends far more than usual: `times` its mean, and more than
    /// its own unevenness explains.
    pub(crate) fn bar(&self, times: f64) -> f64 {
        (self.mean * times).max(self.mean + DEVIATIONS * self.deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pair: so many seconds at so many requests. Expected: the mean, to within 2 %.
    fn check(seconds: &[(u32, f64)], mean: Option<f64>) {
        let mut baseline = Baseline::default();
        for &(times, rate) in seconds {
            (0..times).for_each(|_| baseline.observe(rate));
        }
        let learned = baseline.usual().map(|usual| usual.mean);
        match (learned, mean) {
            (Some(learned), Some(mean)) => {
                assert!((learned - mean).abs() <= mean * 0.02, "{seconds:?}: {learned}");
            }
            (learned, mean) => assert_eq!(learned, mean, "{seconds:?}"),
        }
    }

    #[test]
    fn a_minute_is_needed() {
        check(&[(59, 100.0)], None);
        check(&[(60, 100.0)], Some(100.0));
        check(&[(600, 0.0)], Some(0.0));
    }

    #[test]
    fn a_flood_is_not_learned() {
        check(&[(600, 100.0), (10, 2_000.0)], Some(101.7));
        check(&[(600, 100.0), (60, 100_000.0)], Some(110.6));
    }

    #[test]
    fn growth_and_decline_are_followed() {
        check(&[(600, 100.0), (1_800, 150.0)], Some(147.5));
        check(&[(600, 100.0), (3_600, 1_000.0)], Some(995.0));
        check(&[(600, 100.0), (1_800, 10.0)], Some(14.5));
    }

    #[test]
    fn an_uneven_client_may_be_more_uneven() {
        let mut baseline = Baseline::default();
        (0..600).for_each(|second| baseline.observe(if second % 4 == 0 { 40.0 } else { 0.0 }));
        let usual = baseline.usual().unwrap();
        assert!((9.0..11.0).contains(&usual.mean) && usual.bar(4.0) > 80.0, "{usual:?}");
        assert_eq!(Usual { mean: 10.0, deviation: 1.0 }.bar(4.0), 40.0);
    }
}
