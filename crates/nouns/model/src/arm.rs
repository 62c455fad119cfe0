//! What a generation did with the requests it served in one second: the facts that a change is
//! judged by.
//!
//! While a candidate is tried there are two arms, the live generation and the candidate; each
//! request belongs to one of them from its route to its end.

use serde::{Deserialize, Serialize};

/// How many latency buckets there are: sixteenths of each power of two, from 250 us to 63 s, with
/// one bucket for what is faster; what is slower is in the last. A bucket is at most 6.25 % wide,
/// so that a difference of 15 % cannot hide in one, nor a trifle look like it.
pub const LATENCY_BUCKETS: usize = 289;

/// The bucket of a latency in microseconds.
#[must_use]
pub fn latency_bucket(us: u64) -> usize {
    let units = us.saturating_mul(16) / 250;
    let power = units.max(1).ilog2();
    if power < 4 {
        return 0;
    }
    let step = (units >> (power - 4)) & 15;
    let index = u64::from(power - 4) * 16 + step + 1;
    usize::try_from(index).unwrap_or(usize::MAX).min(LATENCY_BUCKETS - 1)
}

/// The microseconds at which a bucket begins.
#[must_use]
pub fn latency_bucket_start(bucket: usize) -> u64 {
    let Some(index) = bucket.min(LATENCY_BUCKETS).checked_sub(1) else { return 0 };
    let steps = (16 + index as u64 % 16) << (index / 16);
    (steps * 250).div_ceil(16)
}

/// One second of one arm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmFacts {
    /// Requests that ended.
    pub requests: u64,
    /// Those that the client saw fail: 5xx, or no answer for which a server or the door is to
    /// blame.
    pub failures: u64,
    /// Requests by [`latency_bucket`] of their total time; empty or [`LATENCY_BUCKETS`] long.
    pub latencies: Vec<u64>,
    /// Its pools, in the order of its configuration.
    pub pools: Vec<ArmPool>,
}

/// One pool of an arm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmPool {
    /// Its name.
    pub name: String,
    /// Its servers.
    pub servers: Vec<ArmServer>,
}

/// One server of an arm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmServer {
    /// `ip:port`.
    pub address: String,
    /// Attempts that this arm sent there and that ended.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_and_cover_everything() {
        assert_eq!((latency_bucket(0), latency_bucket(249)), (0, 0));
        assert_eq!((latency_bucket(250), latency_bucket(265)), (1, 1));
        assert_eq!((latency_bucket(266), latency_bucket(500)), (2, 17));
        for bucket in 1..LATENCY_BUCKETS {
            let start = latency_bucket_start(bucket);
            assert_eq!((latency_bucket(start - 1), latency_bucket(start)), (bucket - 1, bucket));
        }
        assert_eq!(latency_bucket(u64::MAX), LATENCY_BUCKETS - 1);
    }
}
