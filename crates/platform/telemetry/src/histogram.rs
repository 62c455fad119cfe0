//! A fixed log-linear histogram of durations: eight buckets per power of two.
//!
//! Durations are counted in ticks of 2^-30 s, so that bucket bounds fall on round fractions of
//! a second (1/4 s, 1/2 s, 1 s, 2.5 s) and a sum over buckets answers "at most `le` seconds"
//! exactly. The range is 2^-20 s (0.95 us) to 512 s; shorter and longer durations have one
//! bucket each. Invariant: a bucket holds the durations in (lower, upper], as `le` requires,
//! and inside the range a quantile is at most [`RELATIVE_ERROR`] off.

use std::time::Duration;

use crate::cell::{Counter, Counters};

/// Ticks of 2^-30 s: the exponent.
const TICK_BITS: u32 = 30;
/// The shortest duration in range is above 2^10 ticks, 2^-20 s.
const LOW_BITS: u32 = 10;
/// The longest duration in range is 2^39 ticks, 512 s.
const HIGH_BITS: u32 = 39;
/// Eight buckets per power of two.
const SUB_BITS: u32 = 3;
/// Bucket 0 holds what is shorter than the range, the last what is longer.
const BUCKETS: usize = ((HIGH_BITS - LOW_BITS) << SUB_BITS) as usize + 2;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How far a quantile may be from the true sample, relative to it, inside the range: half a
/// bucket's width.
pub const RELATIVE_ERROR: f64 = 1.0 / 16.0;

/// The exported upper bounds in units of 2^-14 s; the bounds that OpenTelemetry recommends,
/// moved to the nearest bucket's bound, and some below and above for fast and slow servers.
pub(crate) const EXPORTED_BOUNDS: [u32; 20] = [
    4, 8, 16, 40, 80, 160, 416, 832, 1_280, 1_664, 4_096, 8_192, 12_288, 16_384, 40_960, 81_920,
    122_880, 163_840, 491_520, 983_040,
];

/// An exported bound in seconds.
pub(crate) fn bound_seconds(bound: u32) -> f64 {
    f64::from(bound) / 16_384.0
}

/// A histogram with one writer and many readers; about 1.9 KB.
#[derive(Debug)]
pub struct Histogram {
    buckets: Counters<BUCKETS>,
    sum_nanos: Counter,
}

impl Histogram {
    /// An empty histogram.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: Counters::new(), sum_nanos: Counter::new() }
    }

    /// Counts one duration. Only the owner may call it.
    #[inline]
    pub fn record(&self, duration: Duration) {
        self.buckets.increment(bucket_of(ticks_below(duration)));
        self.sum_nanos.add(model::time::saturating_nanos(duration));
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// What histograms held at one moment; adds up over workers, and subtracts over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramCounts {
    buckets: Vec<u64>,
    sum_nanos: u64,
}

impl Default for HistogramCounts {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], sum_nanos: 0 }
    }
}

impl HistogramCounts {
    /// Adds what `histogram` holds now.
    pub fn add(&mut self, histogram: &Histogram) {
        histogram.buckets.add_to(&mut self.buckets);
        self.sum_nanos = self.sum_nanos.wrapping_add(histogram.sum_nanos.get());
    }

    /// Adds what another reading held.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.wrapping_add(*theirs);
        }
        self.sum_nanos = self.sum_nanos.wrapping_add(other.sum_nanos);
    }

    /// What was counted after `earlier` was read.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let buckets = self
            .buckets
            .iter()
            .zip(&earlier.buckets)
            .map(|(now, then)| now.saturating_sub(*then))
            .collect();
        Self { buckets, sum_nanos: self.sum_nanos.saturating_sub(earlier.sum_nanos) }
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all durations in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.sum_nanos).as_secs_f64()
    }

    /// The duration below which `per_mille` of 1,000 samples lie (500 is the median); `None`
    /// without samples. At most [`RELATIVE_ERROR`] off between 1 us and 512 s; a longer one reads
    /// as 512 s.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = count.saturating_mul(per_mille.min(1_000)).div_ceil(1_000).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|in_bucket| {
            seen += in_bucket;
            seen >= rank
        });
        Some(middle(
            bucket.expect("the rank is at most the count, which is the sum of the buckets"),
        ))
    }

    /// How many durations were at most as long as each exported bound.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let mut next = 0;
        let mut total = 0;
        EXPORTED_BOUNDS.iter().map(move |bound| {
            let last = bucket_of((u64::from(*bound) << (TICK_BITS - 14)) - 1);
            while next <= last {
                total += self.buckets.get(next).copied().unwrap_or(0);
                next += 1;
            }
            (*bound, total)
        })
    }
}

/// The duration in ticks, rounded up, less one: this moves a duration that equals a bound into
/// the bucket below it.
#[inline]
fn ticks_below(duration: Duration) -> u64 {
    if duration.as_secs() > 512 {
        return 1 << HIGH_BITS;
    }
    let fraction = (u64::from(duration.subsec_nanos()) << TICK_BITS).div_ceil(NANOS_PER_SECOND);
    ((duration.as_secs() << TICK_BITS) + fraction).saturating_sub(1)
}

/// The bucket of a number of ticks from [`ticks_below`].
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "three bits remain after the mask")]
const fn bucket_of(ticks: u64) -> usize {
    if ticks < 1 << LOW_BITS {
        return 0;
    }
    if ticks >= 1 << HIGH_BITS {
        return BUCKETS - 1;
    }
    let exponent = 63 - ticks.leading_zeros();
    let sub = (ticks >> (exponent - SUB_BITS)) as u32 & ((1 << SUB_BITS) - 1);
    (((exponent - LOW_BITS) << SUB_BITS) + sub + 1) as usize
}

/// The largest duration of a bucket, in ticks.
fn upper_ticks(bucket: usize) -> u64 {
    let Some(place) = bucket.checked_sub(1) else { return 1 << LOW_BITS };
    if bucket >= BUCKETS - 1 {
        return 1 << HIGH_BITS;
    }
    let octave = place >> SUB_BITS;
    let sub = place & ((1 << SUB_BITS) - 1);
    ((1 << SUB_BITS) + sub as u64 + 1) << (octave + LOW_BITS as usize - SUB_BITS as usize)
}

/// The middle of a bucket; the bound itself for what is longer than the range.
fn middle(bucket: usize) -> Duration {
    let lower = bucket.checked_sub(1).map_or(0, upper_ticks);
    let ticks = u128::from(lower + upper_ticks(bucket)) / 2;
    let nanos = (ticks * u128::from(NANOS_PER_SECOND)) >> TICK_BITS;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(durations: &[Duration]) -> HistogramCounts {
        let histogram = Histogram::new();
        for duration in durations {
            histogram.record(*duration);
        }
        let mut counts = HistogramCounts::default();
        counts.add(&histogram);
        counts
    }

    #[test]
    fn buckets_tile_the_range_without_gap_or_overlap() {
        assert_eq!(BUCKETS, 234);
        for bucket in 0..BUCKETS - 1 {
            let upper = upper_ticks(bucket);
            assert_eq!(bucket_of(upper - 1), bucket, "the last tick of bucket {bucket}");
            assert_eq!(bucket_of(upper), bucket + 1, "the first tick after bucket {bucket}");
        }
    }

    #[test]
    fn every_exported_bound_is_a_bucket_bound() {
        for bound in EXPORTED_BOUNDS {
            let ticks = u64::from(bound) << (TICK_BITS - 14);
            assert_eq!(upper_ticks(bucket_of(ticks - 1)), ticks, "bound {}", bound_seconds(bound));
        }
        assert!(EXPORTED_BOUNDS.is_sorted());
    }

    #[test]
    fn a_duration_equal_to_a_bound_counts_below_it() {
        let counts = counts(&[
            Duration::from_secs(1),
            Duration::from_nanos(1_000_000_001),
            Duration::from_millis(250),
        ]);
        let at = |seconds: f64| {
            counts.cumulative().find(|(bound, _)| bound_seconds(*bound) == seconds).map(|c| c.1)
        };
        assert_eq!(at(0.25), Some(1));
        assert_eq!(at(1.0), Some(2));
        assert_eq!(at(2.5), Some(3));
    }

    #[test]
    fn extremes_have_a_bucket_each() {
        let extremes = counts(&[Duration::ZERO, Duration::MAX, Duration::from_secs(513)]);
        assert_eq!(extremes.count(), 3);
        assert_eq!(extremes.quantile(0), Some(Duration::from_nanos(476)));
        assert_eq!(extremes.quantile(1_000), Some(Duration::from_secs(512)));
        assert_eq!(HistogramCounts::default().quantile(500), None);
    }

    #[test]
    fn a_delta_holds_only_what_came_after() {
        let histogram = Histogram::new();
        histogram.record(Duration::from_secs(100));
        let mut before = HistogramCounts::default();
        before.add(&histogram);
        histogram.record(Duration::from_millis(1));
        let mut after = HistogramCounts::default();
        after.add(&histogram);
        let delta = after.since(&before);
        assert_eq!(delta.count(), 1);
        assert_eq!(delta.sum_seconds(), 0.001);
        assert!(delta.quantile(500).is_some_and(|median| median < Duration::from_millis(2)));
    }

    proptest! {
        #[test]
        fn quantiles_keep_the_stated_error(mut nanos in prop::collection::vec(954u64..512_000_000_000, 1..200), per_mille in 0u64..=1_000) {
            let counts = counts(&nanos.iter().map(|n| Duration::from_nanos(*n)).collect::<Vec<_>>());
            nanos.sort_unstable();
            let rank = (nanos.len() as u64 * per_mille).div_ceil(1_000).max(1);
            let truth = nanos[usize::try_from(rank).unwrap() - 1] as f64;
            let found = counts.quantile(per_mille).unwrap().as_nanos() as f64;
            // One nanosecond is the rounding of the tick to the clock's unit.
            prop_assert!((found - truth).abs() <= truth * RELATIVE_ERROR + 1.0, "{found} for {truth}");
        }

        #[test]
        fn cumulative_counts_are_exact(nanos in prop::collection::vec(0u64..80_000_000_000, 0..200)) {
            let counts = counts(&nanos.iter().map(|n| Duration::from_nanos(*n)).collect::<Vec<_>>());
            for (bound, count) in counts.cumulative() {
                let bound_nanos = u128::from(bound) * 1_000_000_000;
                let expected = nanos.iter().filter(|n| u128::from(**n) * 16_384 <= bound_nanos).count();
                prop_assert_eq!(count, expected as u64, "bound {}", bound);
            }
        }
    }
}
