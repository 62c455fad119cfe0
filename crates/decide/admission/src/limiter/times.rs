//! The recent median time of an answer, from a fixed histogram that forgets by halves.
//!
//! Eight buckets per doubling, so the median is right within 5 %.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use model::Timestamp;

/// 8 per doubling, of times up to 2^31 microseconds, 36 minutes.
const BUCKETS: usize = 29 * 8;
/// How often the past is halved.
const HALVED_EVERY_NS: u64 = 250_000_000;
/// Samples below which the past is kept whole.
const FEW: u32 = 32;

#[derive(Debug)]
pub(super) struct Times {
    median_us: AtomicU64,
    settled_at: AtomicU64,
    buckets: Box<[AtomicU32; BUCKETS]>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            median_us: AtomicU64::new(0),
            settled_at: AtomicU64::new(0),
            buckets: Box::new([const { AtomicU32::new(0) }; BUCKETS]),
        }
    }
}

impl Times {
    pub(super) fn add(&self, spent_us: u64) {
        self.buckets[bucket(spent_us)].fetch_add(1, Relaxed);
    }

    pub(super) fn median(&self) -> Duration {
        Duration::from_micros(self.median_us.load(Relaxed))
    }

    /// Takes the median anew and halves the past, when it is time. One caller at a time.
    pub(super) fn settle(&self, now: Timestamp) {
        let past = now.as_nanos().saturating_sub(self.settled_at.load(Relaxed));
        let total: u32 = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum();
        if total == 0 || past < HALVED_EVERY_NS && self.median_us.load(Relaxed) > 0 {
            return;
        }
        self.settled_at.store(now.as_nanos(), Relaxed);
        let mut below = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            below += bucket.load(Relaxed);
            if below * 2 >= total {
                self.median_us.store(middle(index), Relaxed);
                break;
            }
        }
        if total >= FEW {
            for bucket in self.buckets.iter() {
                bucket.store(bucket.load(Relaxed) / 2, Relaxed);
            }
        }
    }
}

/// The bucket of a time: its highest bit, then the three bits below it.
fn bucket(spent_us: u64) -> usize {
    let value = spent_us.clamp(8, (1 << 31) - 1);
    let octave = value.ilog2();
    let eighth = (value >> (octave - 3)) & 7;
    let index = u64::from(octave - 3) * 8 + eighth;
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The middle of a bucket in microseconds.
fn middle(index: usize) -> u64 {
    let (octave, eighth) = (index / 8, index as u64 % 8);
    ((8 + eighth) * 2 + 1) << octave >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_middle_and_neighbours_are_close() {
        for index in 0..BUCKETS - 8 {
            assert_eq!(bucket(middle(index)), index);
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), 28 * 8 - 1);
    }

    #[test]
    fn the_median_follows() {
        let times = Times::default();
        let mut now = Timestamp::ZERO;
        let mut check = |spent_us: u64, expected_us: std::ops::Range<u64>| {
            for _ in 0..100 {
                times.add(spent_us);
            }
            now = now + Duration::from_millis(300);
            times.settle(now);
            let median = u64::try_from(times.median().as_micros()).unwrap();
            assert!(expected_us.contains(&median), "{median} {expected_us:?}");
        };
        check(20_000, 19_000..21_000);
        check(80_000, 76_000..84_000);
        check(5_000, 4_750..5_250);
    }
}
