//! Whether a client may send one more retry: each of its requests earns it a share of one.
//!
//! What a client owes is a time in the table of keys, as with the rates: a retry costs five
//! seconds of it, a request that is no retry pays back its share of that, and time itself pays
//! back the rest. So a client retries `share` of its requests, and one in five seconds beside; a
//! few more at once are free, for a lone client that meets a failing server must be able to try
//! again. While nobody retries, nothing is looked up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use model::Timestamp;

use crate::gcra::{KeyTable, floor, micros};
use crate::hash::mix;

/// Keeps these entries apart from those of the limits.
const SALT: u64 = 0x7265_7472_6965_7321;
/// What a retry costs, in microseconds.
const COST: u64 = 5_000_000;
/// What may be owed: so many retries at once are free.
const OWED_MAX: u64 = 10 * COST;

/// How many retries each client may send.
#[derive(Debug)]
pub struct RetryShare {
    /// What a request that is no retry pays back, in microseconds.
    earned: u64,
    /// Until when somebody may owe something, in microseconds.
    owed_until: AtomicU64,
}

impl RetryShare {
    /// Retries may be this share of a client's requests, 0 to 1; 1 has no limit.
    #[must_use]
    pub fn new(share: f64) -> Self {
        let earned = floor(share.clamp(0.0, 1.0) * COST as f64);
        Self { earned, owed_until: AtomicU64::new(0) }
    }

    /// Counts one request of a client or flow (a keyed hash). False: it is a retry too many.
    #[must_use]
    pub fn admit(&self, table: &KeyTable, flow: u64, is_retry: bool, now: Timestamp) -> bool {
        let now = micros(now);
        if self.earned >= COST || (!is_retry && self.owed_until.load(Relaxed) <= now) {
            return true;
        }
        let key = mix(flow, SALT);
        if !is_retry {
            table.revise(key, now, |owed| (Some(owed.saturating_sub(self.earned)), ()));
            return true;
        }
        let until = now + OWED_MAX;
        if self.owed_until.load(Relaxed) < until {
            self.owed_until.fetch_max(until, Relaxed);
        }
        table.revise(key, now, |owed| {
            let next = owed.max(now) + COST;
            if next > until { (None, false) } else { (Some(next), true) }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// `req*N`: N requests; `try*N`: N retries wanted; `+N`: N ms pass. A share of 10 %.
    /// Expected: retries allowed per `try`.
    fn check(script: &str, expected: &[u32]) {
        let (table, share) = (KeyTable::new(1_000, 1), RetryShare::new(0.1));
        let mut now = Timestamp::from_nanos(1_000_000_000);
        let mut allowed: Vec<u32> = Vec::new();
        for word in script.split_whitespace() {
            if let Some(ms) = word.strip_prefix('+') {
                now = now + Duration::from_millis(ms.parse().unwrap());
                continue;
            }
            let (what, times) = word.split_once('*').unwrap();
            let times: u32 = times.parse().unwrap();
            let admit = |is_retry| u32::from(share.admit(&table, 9, is_retry, now));
            match what {
                "req" => assert_eq!((0..times).map(|_| admit(false)).sum::<u32>(), times),
                _ => allowed.push((0..times).map(|_| admit(true)).sum()),
            }
        }
        assert_eq!(allowed, expected, "{script}");
    }

    #[test]
    fn a_few_are_free_and_come_back_slowly() {
        check("try*20 +4999 try*20 +2 try*20", &[10, 0, 1]);
        check("try*20 +60000 try*20", &[10, 10]);
    }

    #[test]
    fn requests_earn_their_share() {
        check("try*20 req*9 try*20 req*1 try*20", &[10, 0, 1]);
        check("try*20 req*30 try*20", &[10, 3]);
    }

    #[test]
    fn calm_does_not_save_up() {
        check("req*100000 try*20", &[10]);
    }

    #[test]
    fn a_steady_share_passes_and_twice_as_many_do_not() {
        // 100/s with 10 %, and the one in five seconds: 10.2/s pass for ever.
        check(&"req*90 try*10 +1000 ".repeat(4), &[10, 9, 9, 9]);
        let (asked, seconds) = (20, 60);
        let (table, share) = (KeyTable::new(1_000, 1), RetryShare::new(0.1));
        let mut allowed = 0;
        for second in 0..seconds {
            let now = Timestamp::ZERO + Duration::from_secs(second);
            (0..100).for_each(|_| assert!(share.admit(&table, 1, false, now)));
            allowed += (0..asked).filter(|_| share.admit(&table, 1, true, now)).count();
        }
        assert!((590..=620).contains(&allowed), "{allowed} of {}", asked * seconds);
    }

    #[test]
    fn flows_do_not_share() {
        let (table, share) = (KeyTable::new(1_000, 1), RetryShare::new(0.1));
        let allowed =
            |flow| (0..20).filter(|_| share.admit(&table, flow, true, Timestamp::ZERO)).count();
        assert_eq!((allowed(1), allowed(2)), (10, 10));
    }

    #[test]
    fn the_whole_share_is_no_limit() {
        let (table, share) = (KeyTable::new(1_000, 1), RetryShare::new(1.0));
        assert!((0..100).all(|_| share.admit(&table, 1, true, Timestamp::ZERO)));
    }
}
