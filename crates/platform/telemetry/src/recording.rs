//! Puts the workers' rings together to one recording.
//!
//! Pure. A worker whose traffic rose sharply may hold less than the others; the recording begins
//! where all of them are whole, so that no time has only some workers' requests.

use std::collections::BTreeMap;

use model::recording::{RecordedRequest, Recording};
use model::{Name, Timestamp};

use crate::recorder::{Entry, Mark, RingReading};
use crate::registry::ServerKey;

const MILLIS_PER_SECOND: u64 = 1_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// What the numbers in the rings stand for.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) routes: BTreeMap<u16, Name>,
    pub(crate) servers: BTreeMap<u16, ServerKey>,
}

/// The recording that `readings` hold, as of `now`. A request that arrived before its begin, and
/// one whose route has been gone for long, is counted but not kept.
pub(crate) fn assemble(readings: &[RingReading], numbers: &Numbers, now: Timestamp) -> Recording {
    let whole = readings.iter().filter_map(first_whole).max();
    let begins = readings.iter().filter_map(|reading| begin(reading, whole).map(|m| m.second));
    let Some(second) = begins.min() else { return Recording::default() };
    let begin_ms = second * MILLIS_PER_SECOND;
    let now_ms = now.as_nanos() / NANOS_PER_MILLI;
    let mut recording =
        Recording { span_ms: now_ms.saturating_sub(begin_ms), ..Recording::default() };
    let mut names = Names { numbers, routes: BTreeMap::new(), servers: BTreeMap::new() };
    for reading in readings {
        let Some(mark) = begin(reading, whole) else { continue };
        recording.requests += reading.requests.saturating_sub(mark.requests);
        let before = usize::try_from(mark.kept.saturating_sub(reading.first)).unwrap_or(usize::MAX);
        for entry in reading.entries.iter().skip(before) {
            let at_ms = (entry.arrived.as_nanos() / NANOS_PER_MILLI).checked_sub(begin_ms);
            let kept = at_ms.and_then(|at_ms| names.recorded(&mut recording, entry, at_ms));
            recording.kept.extend(kept);
        }
    }
    recording.kept.sort_by_key(|request| request.at_ms);
    recording
}

/// The first second of which the ring still holds everything; `None` when it holds all that was
/// ever kept in the seconds that were read.
fn first_whole(reading: &RingReading) -> Option<u64> {
    let lost = reading.marks.first().is_some_and(|mark| mark.kept < reading.first);
    let whole = reading.marks.iter().find(|mark| mark.kept >= reading.first);
    // Without any whole second, nothing of it is of use: the second after the last.
    let after = || reading.marks.last().map_or(0, |mark| mark.second + 1);
    lost.then(|| whole.map_or_else(after, |mark| mark.second))
}

/// Where the recording begins in this ring.
fn begin(reading: &RingReading, whole: Option<u64>) -> Option<Mark> {
    reading.marks.iter().find(|mark| mark.second >= whole.unwrap_or(0)).copied()
}

/// Numbers the names that occur from 0, in the order of their first occurrence.
struct Names<'a> {
    numbers: &'a Numbers,
    routes: BTreeMap<u16, u16>,
    servers: BTreeMap<u16, u16>,
}

impl Names<'_> {
    fn recorded(
        &mut self,
        recording: &mut Recording,
        entry: &Entry,
        at_ms: u64,
    ) -> Option<RecordedRequest> {
        let route = match self.routes.get(&entry.route) {
            Some(route) => *route,
            None => {
                let name = self.numbers.routes.get(&entry.route)?;
                recording.routes.push(name.to_string());
                let route = u16::try_from(recording.routes.len() - 1).ok()?;
                self.routes.insert(entry.route, route);
                route
            }
        };
        Some(RecordedRequest {
            at_ms: u32::try_from(at_ms).ok()?,
            weight: entry.weight,
            route,
            server: self.server(recording, entry.server).unwrap_or(u16::MAX),
            key: entry.key,
            bytes: entry.bytes,
            service_us: entry.service_us,
        })
    }

    fn server(&mut self, recording: &mut Recording, number: u16) -> Option<u16> {
        if let Some(server) = self.servers.get(&number) {
            return Some(*server);
        }
        let (pool, address) = self.numbers.servers.get(&number)?;
        recording.servers.push((pool.to_string(), address.to_string()));
        let server = u16::try_from(recording.servers.len() - 1).ok()?;
        self.servers.insert(number, server);
        Some(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn numbers() -> Numbers {
        let server = |port| (Name::from("api"), ([10, 0, 0, 1], port).into());
        Numbers {
            routes: BTreeMap::from([(3, "shop".into()), (5, "blog".into())]),
            servers: BTreeMap::from([(1, server(80)), (2, server(81))]),
        }
    }

    fn entry(arrived_ms: u64, route: u16, server: u16) -> Entry {
        let arrived = Timestamp::from_nanos(arrived_ms * NANOS_PER_MILLI);
        Entry { arrived, weight: 2, route, server, key: 7, bytes: 8, service_us: 9 }
    }

    /// A ring whose marks are `(second, requests, kept)`.
    fn ring(marks: &[(u64, u64, u64)], requests: u64, first: u64, kept: &[Entry]) -> RingReading {
        let mark = |&(second, requests, kept): &(u64, u64, u64)| Mark { second, requests, kept };
        let marks = marks.iter().map(mark).collect();
        RingReading { requests, marks, first, entries: kept.to_vec() }
    }

    /// `(at_ms, route, server)` of each request that was kept.
    fn kept(recording: &Recording) -> Vec<(u32, &str, &str)> {
        let name = |request: &RecordedRequest| {
            let server = recording.servers.get(usize::from(request.server));
            let server = server.map_or("none", |(_, address)| address.as_str());
            (request.at_ms, recording.routes[usize::from(request.route)].as_str(), server)
        };
        recording.kept.iter().map(name).collect()
    }

    #[test]
    fn rings_are_put_together_in_the_order_of_arrival() {
        let readings = [
            ring(&[(10, 0, 0), (12, 4, 2)], 6, 0, &[entry(10_900, 5, 2), entry(12_100, 3, 1)]),
            ring(&[(11, 90, 70)], 94, 70, &[entry(9_000, 3, 1), entry(11_500, 3, u16::MAX)]),
            RingReading::default(),
        ];
        let recording = assemble(&readings, &numbers(), Timestamp::from_nanos(13 * SECOND));
        assert_eq!((recording.span_ms, recording.requests), (3_000, 10));
        // What arrived before the begin is counted, and not kept.
        assert_eq!(
            kept(&recording),
            [(900, "blog", "10.0.0.1:81"), (1_500, "shop", "none"), (2_100, "shop", "10.0.0.1:80")]
        );
    }

    #[test]
    fn it_begins_where_all_rings_are_whole() {
        let full =
            ring(&[(10, 0, 0), (11, 50, 20), (12, 90, 45)], 99, 30, &[entry(12_000, 3, 1); 20]);
        let calm =
            ring(&[(10, 0, 0), (12, 1, 1)], 2, 0, &[entry(10_000, 5, 1), entry(12_500, 5, 1)]);
        let recording = assemble(&[full, calm], &numbers(), Timestamp::from_nanos(13 * SECOND));
        assert_eq!((recording.span_ms, recording.requests, recording.kept.len()), (1_000, 10, 6));
    }

    #[test]
    fn what_no_name_stands_for_any_more_is_not_kept() {
        let reading = ring(&[(1, 0, 0)], 2, 0, &[entry(1_000, 4, 1), entry(1_000, 5, 9)]);
        let recording = assemble(&[reading], &numbers(), Timestamp::from_nanos(2 * SECOND));
        assert_eq!((recording.requests, kept(&recording)), (2, vec![(0, "blog", "none")]));
    }

    #[test]
    fn nothing_recorded_is_an_empty_recording() {
        let recording = assemble(&[RingReading::default()], &numbers(), Timestamp::ZERO);
        assert_eq!(recording, Recording::default());
    }
}
