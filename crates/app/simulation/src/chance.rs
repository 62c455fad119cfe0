//! Random amounts of work and random gaps, all of a known mean.

use std::f64::consts::TAU;

use balancing::Dice;

/// How the work of requests varies around its mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Always the mean.
    Fixed,
    /// Many short, few long.
    Exponential,
    /// Log-normal with this standard deviation of the logarithm; 1 is a long tail.
    Lognormal(f64),
    /// This share of the requests, 0 to 1, is so many times as long as the others.
    Bimodal {
        /// The share of the long ones.
        share: f64,
        /// How many times as long they are.
        times: f64,
    },
}

impl Work {
    /// A factor of mean 1.
    pub(crate) fn draw(self, dice: &mut Dice) -> f64 {
        match self {
            Self::Fixed => 1.0,
            Self::Exponential => exponential(dice),
            Self::Lognormal(sigma) => (sigma * normal(dice) - sigma * sigma / 2.0).exp(),
            Self::Bimodal { share, times } => {
                let short = 1.0 / (1.0 - share + share * times);
                if dice.chance(share) { short * times } else { short }
            }
        }
    }
}

/// A random number of mean 1, as the gaps between independent events have.
pub(crate) fn exponential(dice: &mut Dice) -> f64 {
    // 1 - unit is never 0, so the logarithm is finite.
    -(1.0 - dice.unit()).ln()
}

/// By Box and Muller.
fn normal(dice: &mut Dice) -> f64 {
    (2.0 * exponential(dice)).sqrt() * (TAU * dice.unit()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean, and the standard deviation over the mean.
    fn check(work: Work, deviation: f64) {
        const DRAWS: u32 = 200_000;
        let mut dice = Dice::new(1);
        let draws: Vec<f64> = (0..DRAWS).map(|_| work.draw(&mut dice)).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(DRAWS);
        let squares = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>();
        let found = (squares / f64::from(DRAWS)).sqrt();
        assert!((mean - 1.0).abs() < 0.01, "{work:?}: mean {mean}");
        assert!((found - deviation).abs() < 0.03, "{work:?}: deviation {found}");
    }

    #[test]
    fn each_kind_of_work_has_mean_one_and_its_own_spread() {
        check(Work::Fixed, 0.0);
        check(Work::Exponential, 1.0);
        check(Work::Lognormal(1.0), (1.0_f64.exp() - 1.0).sqrt());
        check(Work::Bimodal { share: 0.1, times: 10.0 }, 2.7 / 1.9);
    }
}
