//! What a generation did with the requests it served in one second: the facts that a change is
//! judged by.
//!
//! While a candidate is tried there are two arms, the live generation and the candidate; each
//! request belongs to one of them from its route to its end.

use serde::{Deserialize, Serialize};

/// Upper bounds of the latency buckets in microseconds: powers of two of a millisecond's quarter,
/// split in four, from 250 us to 64 s; what is slower is in one more bucket.
pub const LATENCY_BUCKETS: usize = 73;

/// The bucket of a latency in microseconds.
#[must_use]
pub fn latency_bucket(us: u64) -> usize {
    // 250 us x 2^(k/4): the quarter steps are 1, 1.25, 1.5 and 1.75 of a power of two.
    let quarters = us.saturating_mul(4) / 250;
    let Some(power) = quarters.max(1).checked_ilog2() else { return 0 };
    if power < 2 {
        return 0;
    }
    let step = (quarters >> (power - 2)) & 3;
    let index = u64::from(power - 2) * 4 + step + 1;
    usize::try_from(index).unwrap_or(usize::MAX).min(LATENCY_BUCKETS - 1)
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
        assert_eq!((latency_bucket(250), latency_bucket(312)), (1, 1));
        assert_eq!((latency_bucket(313), latency_bucket(500)), (2, 5));
        assert_eq!(latency_bucket(u64::MAX), LATENCY_BUCKETS - 1);
        let mut seen: Vec<usize> = (0..80_000_000).step_by(61).map(latency_bucket).collect();
        assert!(seen.is_sorted() && seen.last() == Some(&(LATENCY_BUCKETS - 1)));
        seen.dedup();
        assert_eq!(seen.len(), LATENCY_BUCKETS, "every bucket can be reached");
    }
}
