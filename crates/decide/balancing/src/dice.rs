//! Chance, from a seed: a small deterministic generator, so that every decision replays.
//!
//! wyrand: one multiplication per draw. Not for secrets. One per worker, never shared.

/// A deterministic random generator; the same seed gives the same draws.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// A generator that replays from `seed`; any value will do.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 random bits.
    pub const fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0xa076_1d64_78bd_642f);
        let product = widening(self.state, self.state ^ 0xe703_7ed1_a0b4_28db);
        product.0 ^ product.1
    }

    /// A number from 0 up to, not including, `bound`; 0 when `bound` is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        widening(self.roll(), bound).0
    }

    /// A number from 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        // 53 bits fill the mantissa of an f64 exactly.
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability >= 1.0 || self.unit() < probability
    }
}

/// The high and the low half of a product.
#[expect(
    clippy::cast_possible_truncation,
    reason = "splitting a product into its halves is the point"
)]
const fn widening(a: u64, b: u64) -> (u64, u64) {
    let product = (a as u128) * (b as u128);
    ((product >> 64) as u64, product as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replays_and_is_even() {
        let (mut a, mut b) = (Dice::new(7), Dice::new(7));
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            let draw = a.below(10);
            assert_eq!(draw, b.below(10));
            counts[usize::try_from(draw).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn bounds_hold() {
        let mut dice = Dice::new(0);
        assert_eq!(dice.below(0), 0);
        assert!(dice.chance(1.0) && !dice.chance(0.0));
        assert!((0..10_000).all(|_| (0.0..1.0).contains(&dice.unit())));
    }
}
