//! Whether the load was what the drill says it is.
//!
//! Pure. A drill runs its servers, its front door and its clients on one machine, often on one
//! that has other things to do, and asks its generator for herds that no process can send in a
//! millisecond. What it measures is counted by whole seconds, so that a request is late when it was
//! sent more than a tenth of one after it was due: it may then count in another second than it
//! should. A load test by itself, which measures milliseconds, allows one millisecond. A latency
//! counts from when its request was due: it never looks shorter for a delay of the generator.
//! Smaller delays are said.

use std::time::Duration;

use crate::load::{Latencies, Second};

use super::report::Generator;
use super::verdict::share;

/// A request that is sent later than this after it was due is late.
pub(crate) const LATE_MS: u64 = 100;
/// A 99th percentile of lateness above this is said, milliseconds.
pub(crate) const SAID_MS: f64 = 20.0;
/// Above this share of late or dropped requests nothing follows from a drill.
pub(crate) const SHARE_MAX: f64 = 0.01;

/// What the seconds of a drill say about their generator.
pub(crate) fn confession(seconds: &[Second], cpu: Duration) -> Generator {
    let (mut due, mut dropped, mut lateness) = (0, 0, Latencies::default());
    for stream in seconds.iter().flat_map(|second| &second.streams) {
        due += stream.due;
        dropped += stream.dropped;
        lateness.merge(&stream.lateness);
    }
    let late = lateness.count().saturating_sub(lateness.at_most(LATE_MS * 1_000));
    let late_share = share(late, lateness.count()).unwrap_or_default();
    let dropped_share = share(dropped, due).unwrap_or_default();
    Generator {
        late_share,
        dropped_share,
        lateness_p99_ms: lateness.quantile(0.99).map(|micros| micros as f64 / 1_000.0),
        generator_bound: late_share.max(dropped_share) > SHARE_MAX,
        cpu_seconds: cpu.as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::StreamSecond;

    /// A thousand requests, so many of them 60 ms, 120 ms late, and dropped.
    fn check((slightly, late, dropped): (u64, u64, u64), bound: bool) {
        let mut lateness = Latencies::default();
        (0..slightly).for_each(|_| lateness.add(60_000));
        (0..late).for_each(|_| lateness.add(120_000));
        (0..1_000 - slightly - late - dropped).for_each(|_| lateness.add(50));
        let stream = StreamSecond { due: 1_000, dropped, lateness, ..StreamSecond::default() };
        let seconds = [Second { second: 0, streams: vec![stream] }];
        let found = confession(&seconds, Duration::from_secs(1));
        assert_eq!(found.generator_bound, bound, "{slightly} {late} {dropped}: {found:?}");
    }

    #[test]
    fn a_load_in_other_seconds_is_another_load() {
        check((0, 0, 0), false);
        check((500, 0, 0), false);
        check((0, 9, 10), false);
        check((0, 11, 0), true);
        check((0, 0, 11), true);
    }
}
