//! Counts what the clients of the gentle load saw, by second and in all.
//!
//! Invariant: bounded, however long it runs: latencies are kept in histograms, and after 64
//! different servers, statuses or failures the rest is counted as `other`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Different keys per table.
const KEYS_MAX: usize = 64;
/// The longest latency that is told apart.
const LATENCY_US_MAX: u64 = 600_000_000;

/// What the clients saw in some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests that ended, well or not.
    pub requests: u64,
    /// Of those, the ones that failed: no complete answer, or a 5xx.
    pub failed: u64,
    /// Requests that were due but not sent, because too many were under way.
    pub skipped: u64,
    /// Requests under way at the end.
    pub in_flight: u64,
    /// Answers by the header `x-server`.
    pub by_server: BTreeMap<String, u64>,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Failures by cause, in words.
    pub by_failure: BTreeMap<String, u64>,
    /// Median latency in microseconds, from when a request was due; absent without answers.
    pub p50_us: Option<u64>,
    /// 99th percentile of the latency in microseconds.
    pub p99_us: Option<u64>,
}

/// The end of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A complete answer.
    Answer {
        /// The header `x-server`, if any.
        server: Option<String>,
        /// The status.
        status: u16,
    },
    /// No complete answer, and why.
    Failure(String),
}

#[derive(Debug)]
struct Counts {
    seen: Seen,
    latency_us: Histogram<u64>,
}

impl Counts {
    fn new() -> Self {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
            .expect("1 to 600 s at three digits are valid bounds");
        Self { seen: Seen::default(), latency_us }
    }

    fn record(&mut self, ending: &Ending, latency: Duration) {
        self.seen.requests += 1;
        match ending {
            Ending::Answer { server, status } => {
                self.latency_us
                    .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
                count(&mut self.seen.by_status, *status, 0);
                count(
                    &mut self.seen.by_server,
                    server.clone().unwrap_or_else(|| "none".to_owned()),
                    "other".to_owned(),
                );
                if *status >= 500 {
                    self.seen.failed += 1;
                    count(
                        &mut self.seen.by_failure,
                        format!("status {status}"),
                        "other".to_owned(),
                    );
                }
            }
            Ending::Failure(cause) => {
                self.seen.failed += 1;
                count(&mut self.seen.by_failure, cause.clone(), "other".to_owned());
            }
        }
    }

    fn seen(&self, in_flight: u64) -> Seen {
        let quantile = |quantile| {
            (!self.latency_us.is_empty()).then(|| self.latency_us.value_at_quantile(quantile))
        };
        Seen { in_flight, p50_us: quantile(0.5), p99_us: quantile(0.99), ..self.seen.clone() }
    }
}

/// Adds one to `key`, or to `other` when the table is full.
fn count<K: Ord>(table: &mut BTreeMap<K, u64>, key: K, other: K) {
    let key = if table.len() < KEYS_MAX || table.contains_key(&key) { key } else { other };
    *table.entry(key).or_default() += 1;
}

/// Counts for one gentle load.
#[derive(Debug)]
pub struct Tally {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    second: Counts,
    total: Counts,
    in_flight: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner { second: Counts::new(), total: Counts::new(), in_flight: 0 }),
        }
    }
}

impl Tally {
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn begin(&self) {
        self.with(|inner| inner.in_flight += 1);
    }

    pub(super) fn skip(&self) {
        self.with(|inner| {
            inner.second.seen.skipped += 1;
            inner.total.seen.skipped += 1;
        });
    }

    pub(super) fn end(&self, ending: &Ending, latency: Duration) {
        self.with(|inner| {
            inner.in_flight = inner.in_flight.saturating_sub(1);
            inner.second.record(ending, latency);
            inner.total.record(ending, latency);
        });
    }

    /// What was seen since the last call; begins a new second.
    #[must_use]
    pub fn take_second(&self) -> Seen {
        self.with(|inner| {
            let seen = inner.second.seen(inner.in_flight);
            inner.second.seen = Seen::default();
            inner.second.latency_us.reset();
            seen
        })
    }

    /// What was seen since the start.
    #[must_use]
    pub fn total(&self) -> Seen {
        self.with(|inner| inner.total.seen(inner.in_flight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(server: &str, status: u16) -> Ending {
        Ending::Answer { server: Some(server.to_owned()), status }
    }

    #[test]
    fn a_second_is_taken_and_the_total_stays() {
        let tally = Tally::default();
        for (ending, ms) in [
            (answer("a", 200), 1),
            (answer("b", 200), 2),
            (answer("a", 503), 3),
            (Ending::Failure("connection lost".to_owned()), 4),
        ] {
            tally.begin();
            tally.end(&ending, Duration::from_millis(ms));
        }
        tally.begin();
        tally.skip();
        let second = tally.take_second();
        assert_eq!(
            (second.requests, second.failed, second.skipped, second.in_flight),
            (4, 2, 1, 1)
        );
        assert_eq!(second.by_server, BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]));
        assert_eq!(second.by_status, BTreeMap::from([(200, 2), (503, 1)]));
        assert_eq!(
            second.by_failure,
            BTreeMap::from([("connection lost".to_owned(), 1), ("status 503".to_owned(), 1)])
        );
        assert!(
            second.p50_us.is_some_and(|us| (1_990..=2_010).contains(&us)),
            "{:?}",
            second.p50_us
        );
        assert!(
            second.p99_us.is_some_and(|us| (2_990..=3_010).contains(&us)),
            "{:?}",
            second.p99_us
        );
        assert_eq!(tally.total(), second);
        assert_eq!(tally.take_second(), Seen { in_flight: 1, ..Seen::default() });
    }

    #[test]
    fn tables_are_bounded() {
        let tally = Tally::default();
        for number in 0..1_000 {
            tally.begin();
            tally.end(&answer(&number.to_string(), 200), Duration::ZERO);
        }
        let total = tally.total();
        assert_eq!(total.by_server.len(), KEYS_MAX + 1);
        assert_eq!(total.by_server.get("other"), Some(&936));
    }
}
