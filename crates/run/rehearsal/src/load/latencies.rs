//! Latencies as counts in buckets that grow with the value: small, quick to add to, mergeable.
//!
//! Log-linear, as HDR histograms: 128 equal buckets for each doubling, one bucket a value below
//! 256 us. A quantile is the middle of its bucket, so at most 0.4 % off. Only the range between the
//! smallest and the largest value takes memory, so that a quiet second costs next to nothing.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// Buckets for each doubling, as a power of two.
const STEP_BITS: u32 = 7;
const STEPS: u64 = 1 << STEP_BITS;
/// Longer ones count as this: two hours, in microseconds.
const LONGEST_US: u64 = 7_200_000_000;

/// Counts of latencies in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// The bucket that `counts` begins with.
    first: usize,
    counts: Vec<u64>,
    count: u64,
    sum_us: u64,
    max_us: u64,
}

impl Latencies {
    /// Counts one latency.
    pub fn add(&mut self, us: u64) {
        let us = us.min(LONGEST_US);
        self.add_to(bucket(us), 1);
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
    }

    /// Counts all of another's latencies as well.
    pub fn merge(&mut self, other: &Self) {
        // The last first, so that the range grows to that side once.
        for (index, &count) in other.counts.iter().enumerate().rev() {
            if count > 0 {
                self.add_to(other.first + index, count);
            }
        }
        self.count += other.count;
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
    }

    /// The latency that a share of them, 0 to 1, did not exceed, microseconds; at most 0.4 % off.
    /// `None` when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = rank(share, self.count);
        let mut seen = 0;
        for (value_us, count) in self.buckets() {
            seen += count;
            if seen >= wanted {
                return Some(value_us.min(self.max_us));
            }
        }
        None
    }

    /// How many of them were at most this long, microseconds; by whole buckets.
    #[must_use]
    pub fn at_most(&self, us: u64) -> u64 {
        let last = bucket(us.min(LONGEST_US));
        let within = (last + 1).saturating_sub(self.first).min(self.counts.len());
        self.counts.iter().take(within).sum()
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The longest, microseconds, exactly; 0 when there are none.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max_us
    }

    /// The mean, microseconds, exactly; `None` when there are none.
    #[must_use]
    pub fn mean(&self) -> Option<u64> {
        self.sum_us.checked_div(self.count)
    }

    /// Every bucket that has any: the middle of its range in microseconds, and its count; in order.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counted = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(index, &count)| (middle(self.first + index), count))
    }

    fn add_to(&mut self, bucket: usize, count: u64) {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let missing = self.first - bucket;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bucket;
        }
        let index = bucket - self.first;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        if let Some(slot) = self.counts.get_mut(index) {
            *slot += count;
        }
    }
}

impl Serialize for Latencies {
    /// As `count`, `mean_us`, `max_us` and the `buckets`, each a value in microseconds and a count.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Latencies", 4)?;
        fields.serialize_field("count", &self.count)?;
        fields.serialize_field("mean_us", &self.mean())?;
        fields.serialize_field("max_us", &self.max_us)?;
        fields.serialize_field("buckets", &self.buckets().collect::<Vec<_>>())?;
        fields.end()
    }
}

/// The bucket of a value of at most [`LONGEST_US`].
fn bucket(us: u64) -> usize {
    let shift = (u64::BITS - us.leading_zeros()).saturating_sub(STEP_BITS + 1);
    let index = u64::from(shift) * STEPS + (us >> shift);
    // Below 128 * 33: the value has at most 33 bits.
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The middle of a bucket's range.
fn middle(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    let shift = (bucket / STEPS).saturating_sub(1);
    let low = (bucket - shift * STEPS) << shift;
    low + (1 << shift) / 2
}

/// Which of `count` values, from 1, a share of them does not exceed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts stay far below 2^53, and a share is clamped to 0 to 1"
)]
fn rank(share: f64, count: u64) -> u64 {
    // Less a little, so that 0.99 of 100 is the 99th and not, rounded up, the 100th.
    ((share.clamp(0.0, 1.0) * count as f64 - 1e-6).ceil() as u64).clamp(1, count.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Latencies {
        let mut latencies = Latencies::default();
        values.iter().for_each(|&us| latencies.add(us));
        latencies
    }

    #[test]
    fn quantiles_of_known_values() {
        let check = |values: &[u64], share, expected| {
            assert_eq!(of(values).quantile(share), expected, "{share} of {values:?}");
        };
        check(&[], 0.5, None);
        check(&[7], 0.0, Some(7));
        check(&[1, 2, 3, 4], 0.5, Some(2));
        check(&[1, 2, 3, 4], 0.51, Some(3));
        check(&[1, 2, 3, 4], 1.0, Some(4));
        let hundred: Vec<u64> = (1..=100).collect();
        check(&hundred, 0.99, Some(99));
        check(&[1_000_000], 0.5, Some(1_000_000));
        assert_eq!(of(&[u64::MAX]).max(), LONGEST_US);
        assert_eq!(of(&[1, 2, 6]).mean(), Some(3));
        assert_eq!(of(&[10, 20, 5_000]).at_most(20), 2);
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_half_a_percent_off(
            mut values in prop::collection::vec(0_u64..LONGEST_US, 1..200),
            share in 0.0_f64..=1.0,
        ) {
            let (ours, length) = (of(&values).quantile(share).unwrap(), values.len());
            values.sort_unstable();
            let wanted = usize::try_from(rank(share, length as u64)).unwrap();
            let exact = values[wanted - 1];
            prop_assert!(ours.abs_diff(exact) * 200 <= exact, "{ours} for {exact}");
        }

        #[test]
        fn merged_is_as_if_counted_together(
            left in prop::collection::vec(0_u64..LONGEST_US, 0..50),
            right in prop::collection::vec(0_u64..1_000, 0..50),
        ) {
            let mut merged = of(&left);
            merged.merge(&of(&right));
            prop_assert_eq!(merged, of(&[left, right].concat()));
        }
    }
}
