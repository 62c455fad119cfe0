//! When the requests of an open model are due.
//!
//! Each stage's rate goes in a straight line, so that its integral is a parabola that is solved
//! in closed form: no error adds up from one request to the next. Evenly spaced, the n-th request
//! is due when the integral reaches n; as a Poisson process, when it reaches the sum of n
//! exponential gaps of mean 1 (time-rescaling).
//!
//! Pure: seconds in, nanoseconds out. Invariant: times never go back.

use std::time::Duration;

use fastrand::Rng;
use model::load::{Spacing, Stage};

/// Rounding of the integral must not lose a request that is due at the very end.
const ROUNDING: f64 = 1e-6;

/// The due times of one open model, in order, in nanoseconds from its start.
#[derive(Debug)]
pub(super) struct Schedule {
    stages: Vec<Stage>,
    /// The stage that is solved now.
    stage: usize,
    /// Requests of the stages before it: the integral at its begin.
    before: f64,
    /// Time of the stages before it.
    elapsed: Duration,
    /// What the integral must reach for the next request.
    wanted: f64,
    /// For a Poisson process.
    gaps: Option<Rng>,
}

impl Schedule {
    pub(super) fn new(stages: &[Stage], spacing: Spacing, seed: u64) -> Self {
        let gaps = match spacing {
            Spacing::Even => None,
            Spacing::Poisson => Some(Rng::with_seed(seed)),
        };
        let stages = stages.to_vec();
        let mut schedule =
            Self { stages, stage: 0, before: 0.0, elapsed: Duration::ZERO, wanted: 0.0, gaps };
        schedule.want_next();
        schedule
    }

    fn want_next(&mut self) {
        self.wanted += self.gaps.as_mut().map_or(1.0, exponential);
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            let stage = *self.stages.get(self.stage)?;
            let requests = requests_of(&stage);
            let wanted = self.wanted - self.before;
            let is_last = self.stage + 1 == self.stages.len();
            if wanted <= requests || (is_last && wanted <= requests + ROUNDING) {
                let seconds = time_of(&stage, wanted.min(requests));
                self.want_next();
                return Some(nanos(self.elapsed + seconds.min(stage.duration)));
            }
            self.before += requests;
            self.elapsed += stage.duration;
            self.stage += 1;
        }
    }
}

/// Requests of all stages: the integral of the rate.
pub(super) fn expected(stages: &[Stage]) -> f64 {
    stages.iter().map(requests_of).sum()
}

fn requests_of(stage: &Stage) -> f64 {
    f64::midpoint(stage.from_per_second, stage.to_per_second) * stage.duration.as_secs_f64()
}

/// When the integral of the stage's rate reaches `wanted`, which is above 0 and not above the
/// stage's whole: the root of `slope/2 t^2 + from t = wanted`, in the form that stays exact when
/// the slope is next to nothing.
fn time_of(stage: &Stage, wanted: f64) -> Duration {
    let from = stage.from_per_second;
    let slope = (stage.to_per_second - from) / stage.duration.as_secs_f64();
    let root = 2.0f64.mul_add(slope * wanted, from * from).max(0.0).sqrt();
    Duration::try_from_secs_f64(2.0 * wanted / (from + root)).unwrap_or(stage.duration)
}

/// An exponential gap of mean 1.
pub(super) fn exponential(rng: &mut Rng) -> f64 {
    // `f64` is below 1, so that the logarithm is of something above 0.
    -(1.0 - rng.f64()).ln()
}

fn nanos(duration: Duration) -> u64 {
    model::time::saturating_nanos(duration)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stage(from_per_second: f64, to_per_second: f64, seconds: f64) -> Stage {
        Stage { from_per_second, to_per_second, duration: Duration::from_secs_f64(seconds) }
    }

    fn even(stages: &[Stage]) -> Vec<u64> {
        Schedule::new(stages, Spacing::Even, 0).collect()
    }

    #[test]
    fn counts_and_times() {
        let check = |stages: &[Stage], count, some: &[(usize, f64)]| {
            let due = even(stages);
            assert_eq!(due.len(), count, "{stages:?}");
            for &(index, seconds) in some {
                let off = due[index] as f64 / 1e9 - seconds;
                assert!(off.abs() < 2e-9, "request {index} of {stages:?} is off by {off} s");
            }
        };
        check(&[stage(0.0, 0.0, 5.0)], 0, &[]);
        check(&[stage(100.0, 100.0, 10.0)], 1_000, &[(0, 0.01), (499, 5.0), (999, 10.0)]);
        check(&[stage(0.0, 100.0, 10.0)], 500, &[(499, 10.0), (124, 5.0)]);
        check(&[stage(100.0, 0.0, 10.0)], 500, &[(374, 5.0), (499, 10.0)]);
        let stages = [stage(10.0, 10.0, 1.0), stage(0.0, 0.0, 2.0), stage(20.0, 20.0, 1.0)];
        check(&stages, 30, &[(9, 1.0), (10, 3.05), (29, 4.0)]);
        // A request that no stage alone completes.
        check(&[stage(0.5, 0.5, 1.0), stage(0.5, 0.5, 1.0)], 1, &[(0, 2.0)]);
        check(&[stage(7.0, 7.0, 0.0), stage(1.0, 1.0, 1.0)], 1, &[(0, 1.0)]);
        check(&[stage(9_999.7, 9_999.7, 100.0)], 999_970, &[(999_969, 100.0)]);
    }

    proptest! {
        #[test]
        fn due_times_follow_the_integral(
            stages in prop::collection::vec((0.0_f64..2_000.0, 0.0_f64..2_000.0, 0.0_f64..3.0), 1..5),
        ) {
            let stages: Vec<Stage> = stages.iter().map(|&(a, b, s)| stage(a, b, s)).collect();
            let due = even(&stages);
            prop_assert!(due.is_sorted());
            prop_assert!((due.len() as f64 - expected(&stages)).abs() <= 1.0);
            let end: Duration = stages.iter().map(|stage| stage.duration).sum();
            prop_assert!(due.last().is_none_or(|&last| last <= nanos(end)));
            // The integral up to the n-th due time is n.
            for (index, &at) in due.iter().enumerate().step_by(97) {
                let mut left = at as f64 / 1e9;
                let mut integral = 0.0;
                for stage in &stages {
                    let (whole, part) = (stage.duration.as_secs_f64(), left.min(stage.duration.as_secs_f64()));
                    if part <= 0.0 { break; }
                    let slope = (stage.to_per_second - stage.from_per_second) / whole;
                    integral += part * (stage.from_per_second + slope * part / 2.0);
                    left -= part;
                }
                prop_assert!((integral - (index + 1) as f64).abs() < 1e-4, "{integral} for {index}");
            }
        }
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_variance_of_a_poisson_process() {
        for (seed, stages) in
            [(1, [stage(1_000.0, 1_000.0, 100.0)]), (2, [stage(0.0, 2_000.0, 100.0)])]
        {
            let due: Vec<u64> = Schedule::new(&stages, Spacing::Poisson, seed).collect();
            assert!(due.is_sorted());
            assert_eq!(due, Schedule::new(&stages, Spacing::Poisson, seed).collect::<Vec<_>>());
            // Rescaled by the integral, the counts of equal parts have variance = mean = 100.
            let mut counts = vec![0_u32; 1_000];
            let mut part = 0_u32;
            for &at in &due {
                let share = at as f64 / 1e11;
                let rescaled = if seed == 1 { share } else { share * share };
                while part < 999 && rescaled * 1_000.0 >= f64::from(part + 1) {
                    part += 1;
                }
                counts[part as usize] += 1;
            }
            let mean = due.len() as f64 / 1_000.0;
            let variance =
                counts.iter().map(|&n| (f64::from(n) - mean).powi(2)).sum::<f64>() / 999.0;
            assert!((mean - 100.0).abs() < 1.2, "{mean}");
            assert!((variance / mean - 1.0).abs() < 0.2, "{variance} for {mean}");
        }
    }
}
