//! Records the requests of the last minutes: a fair sample in a fixed ring per worker.
//!
//! What is over a second's share of the ring is sampled: of each run of `k` requests one, drawn
//! by chance, is kept with the weight `k`. So every request has the same chance as its
//! neighbours, whatever the rhythm of the traffic, and the weights sum to the requests but for
//! the run that a second's end cuts short. `k` follows from the rate of the last second; a rate
//! that rises within a second doubles it each time that the second's share is used up.
//! Invariants: a ring has one writer, which neither allocates nor waits nor reads the clock; a
//! reader takes no entry that was being overwritten.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use model::Timestamp;

use crate::cell::Counter;

/// How many requests all workers together keep.
pub const RECORDED_REQUESTS: usize = 65_536;
/// How far a recording goes back.
pub const RECORDED_SECONDS: u64 = 300;
/// Marks of seconds: some more than are read, so that none that is read is overwritten meanwhile.
const MARKS: usize = 320;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What is written down of a request that a route forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// When its head was complete.
    pub arrived: Timestamp,
    /// The number of its route (see `Registry::route_number`).
    pub route: u16,
    /// The number of the server that served it last (see `Registry::server_number`);
    /// `u16::MAX` if none did.
    pub server: u16,
    /// The hash of its key.
    pub key: u64,
    /// Bytes of the response's body.
    pub bytes: u64,
    /// From sending it to the server to the first byte of the response.
    pub service: Duration,
}

/// One worker's recorder; of all workers together they take at most 2 MiB, and 8 KiB for each.
#[derive(Debug)]
pub struct Recorder {
    ring: Arc<Ring>,
    sampler: Sampler,
}

impl Recorder {
    pub(crate) fn new(ring: Arc<Ring>, seed: u64) -> Self {
        let sampler = Sampler::new(ring.slots.len(), seed);
        Self { ring, sampler }
    }

    /// A forwarded request ended `at`; `request` is asked for it only if it is kept.
    #[inline]
    pub fn offer(&self, at: Timestamp, request: impl FnOnce() -> ForwardedRequest) {
        let number = self.ring.requests.get();
        if at >= self.sampler.second_ends.get() {
            let second = at.as_nanos() / NANOS_PER_SECOND;
            self.ring.mark(second, number);
            self.sampler.begin_second(second, number);
        }
        self.ring.requests.add(1);
        if number == self.sampler.next.get() {
            self.ring.push(self.sampler.take(), &request());
        }
    }
}

/// Which requests are kept. Numbers count a worker's requests from 0.
#[derive(Debug)]
struct Sampler {
    /// The request to be kept next.
    next: Cell<u64>,
    /// The first request after the current run.
    run_ends: Cell<u64>,
    /// How many requests a run has, at least 1: the weight of the one that is kept.
    run: Cell<u32>,
    /// Requests that a second may keep before runs grow.
    share: u32,
    /// What is left of it.
    share_left: Cell<u32>,
    /// The current second and its first request.
    second: Cell<(u64, u64)>,
    second_ends: Cell<Timestamp>,
    random: Cell<u64>,
}

impl Sampler {
    fn new(slots: usize, seed: u64) -> Self {
        let share = u64::try_from(slots).unwrap_or(u64::MAX) / RECORDED_SECONDS;
        let share = u32::try_from(share).unwrap_or(u32::MAX).max(1);
        Self {
            next: Cell::new(0),
            run_ends: Cell::new(1),
            run: Cell::new(1),
            share,
            share_left: Cell::new(share),
            second: Cell::new((0, 0)),
            second_ends: Cell::new(Timestamp::ZERO),
            random: Cell::new(seed),
        }
    }

    /// A request, the one of this `number`, is the first to end in this `second`.
    #[cold]
    fn begin_second(&self, second: u64, number: u64) {
        let (last, first) = self.second.replace((second, number));
        let seconds = second.saturating_sub(last).max(1);
        let rate = number.saturating_sub(first) / seconds;
        let run = rate.div_ceil(u64::from(self.share)).max(1);
        self.run.set(u32::try_from(run).unwrap_or(u32::MAX));
        self.share_left.set(self.share);
        self.second_ends.set(Timestamp::from_nanos((second + 1).saturating_mul(NANOS_PER_SECOND)));
        self.begin_run(number);
    }

    /// Ends the run whose kept request has come; that request's weight.
    fn take(&self) -> u32 {
        let weight = self.run.get();
        self.share_left.set(self.share_left.get() - 1);
        if self.share_left.get() == 0 {
            self.share_left.set(self.share);
            self.run.set(weight.saturating_mul(2));
        }
        self.begin_run(self.run_ends.get());
        weight
    }

    fn begin_run(&self, first: u64) {
        let run = u64::from(self.run.get());
        self.run_ends.set(first + run);
        self.next.set(first + if run == 1 { 0 } else { self.below(run) });
    }

    /// A number below `bound`, which fits in 32 bits (splitmix64, Steele and others, 2014).
    fn below(&self, bound: u64) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed >> 32) * bound) >> 32
    }
}

/// One worker's kept requests, and where each second begins in them.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Requests that ended, kept or not.
    requests: Counter,
    /// Requests ever kept: the first entry that is not written yet.
    kept: AtomicU64,
    slots: Box<[Slot]>,
    marks: Box<[MarkCell]>,
}

/// An entry as four words, so that a reader needs no lock.
#[derive(Debug, Default)]
struct Slot([AtomicU64; 4]);

#[derive(Debug)]
struct MarkCell {
    second: AtomicU64,
    requests: AtomicU64,
    kept: AtomicU64,
}

/// Where a second begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Seconds since the process started.
    pub(crate) second: u64,
    /// Requests that ended before it.
    pub(crate) requests: u64,
    /// Requests kept before it.
    pub(crate) kept: u64,
}

/// A request that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) arrived: Timestamp,
    pub(crate) weight: u32,
    pub(crate) route: u16,
    pub(crate) server: u16,
    pub(crate) key: u64,
    pub(crate) bytes: u32,
    pub(crate) service_us: u32,
}

/// What a ring held at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct RingReading {
    /// Requests that ended ever.
    pub(crate) requests: u64,
    /// Seconds in which requests ended, oldest first.
    pub(crate) marks: Vec<Mark>,
    /// How many were kept before the first of `entries`.
    pub(crate) first: u64,
    /// Oldest first, by their ends.
    pub(crate) entries: Vec<Entry>,
}

impl Ring {
    /// One of `workers` rings, each with an equal part of all slots.
    pub(crate) fn new(workers: usize) -> Self {
        let slots = (RECORDED_REQUESTS / workers.max(1)).max(1);
        let mark = || MarkCell {
            second: AtomicU64::new(u64::MAX),
            requests: AtomicU64::new(0),
            kept: AtomicU64::new(0),
        };
        Self {
            requests: Counter::new(),
            kept: AtomicU64::new(0),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            marks: (0..MARKS).map(|_| mark()).collect(),
        }
    }

    fn slot(&self, number: u64) -> &Slot {
        let slots = self.slots.len() as u64;
        &self.slots[usize::try_from(number % slots).unwrap_or(0)]
    }

    fn mark_cell(&self, second: u64) -> &MarkCell {
        &self.marks[usize::try_from(second % MARKS as u64).unwrap_or(0)]
    }

    #[cold]
    fn mark(&self, second: u64, requests: u64) {
        let cell = self.mark_cell(second);
        cell.requests.store(requests, Ordering::Relaxed);
        cell.kept.store(self.kept.load(Ordering::Relaxed), Ordering::Relaxed);
        // Last, and so that who sees it sees the other two.
        cell.second.store(second, Ordering::Release);
    }

    fn push(&self, weight: u32, request: &ForwardedRequest) {
        let number = self.kept.load(Ordering::Relaxed);
        // A reader that sees a word of this entry also sees `kept` as it is now (see `read`).
        fence(Ordering::Release);
        for (cell, word) in self.slot(number).0.iter().zip(pack(weight, request)) {
            cell.store(word, Ordering::Relaxed);
        }
        self.kept.store(number + 1, Ordering::Release);
    }

    /// The marks of the [`RECORDED_SECONDS`] that end with `now`, and all entries.
    pub(crate) fn read(&self, now: Timestamp) -> RingReading {
        let last = now.as_nanos() / NANOS_PER_SECOND;
        let marks = (last.saturating_sub(RECORDED_SECONDS - 1)..=last).filter_map(|second| {
            let cell = self.mark_cell(second);
            let found = cell.second.load(Ordering::Acquire) == second;
            found.then(|| Mark {
                second,
                requests: cell.requests.load(Ordering::Relaxed),
                kept: cell.kept.load(Ordering::Relaxed),
            })
        });
        let marks = marks.collect();
        let slots = self.slots.len() as u64;
        let end = self.kept.load(Ordering::Acquire);
        let begin = end.saturating_sub(slots);
        let words: Vec<[u64; 4]> = (begin..end)
            .map(|number| self.slot(number).0.each_ref().map(|cell| cell.load(Ordering::Relaxed)))
            .collect();
        fence(Ordering::Acquire);
        // The writer may have been at the entry of this number, in the slot of a whole round ago.
        let writing = self.kept.load(Ordering::Relaxed);
        let first = begin.max((writing + 1).saturating_sub(slots)).min(end);
        let overwritten = usize::try_from(first - begin).unwrap_or(usize::MAX);
        let entries = words.into_iter().skip(overwritten).map(unpack).collect();
        RingReading { requests: self.requests.get(), marks, first, entries }
    }
}

fn pack(weight: u32, request: &ForwardedRequest) -> [u64; 4] {
    let bytes = request.bytes.min(u64::from(u32::MAX));
    let service = u64::try_from(request.service.as_micros()).unwrap_or(u64::MAX);
    let service = service.min(u64::from(u32::MAX));
    let names = u64::from(request.route) << 16 | u64::from(request.server);
    [
        request.arrived.as_nanos(),
        request.key,
        bytes << 32 | service,
        u64::from(weight) << 32 | names,
    ]
}

#[expect(clippy::cast_possible_truncation, reason = "taking words apart is the point")]
const fn unpack([arrived, key, sizes, names]: [u64; 4]) -> Entry {
    Entry {
        arrived: Timestamp::from_nanos(arrived),
        weight: (names >> 32) as u32,
        route: (names >> 16) as u16,
        server: names as u16,
        key,
        bytes: (sizes >> 32) as u32,
        service_us: sizes as u32,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A request whose every field follows from its number.
    fn request(number: u64, arrived: Timestamp) -> ForwardedRequest {
        ForwardedRequest {
            arrived,
            route: u16::try_from(number % 7).unwrap(),
            server: u16::try_from(number % 11).unwrap(),
            key: number,
            bytes: number % 13,
            service: Duration::from_micros(number % 17),
        }
    }

    fn entry(weight: u32, request: &ForwardedRequest) -> Entry {
        unpack(pack(weight, request))
    }

    /// When the `n`th of `count` requests of a second ends.
    fn moment(second: u64, n: u64, count: u64) -> Timestamp {
        Timestamp::from_nanos(second * NANOS_PER_SECOND + n * NANOS_PER_SECOND / count)
    }

    /// Records `counts[i]` requests in second `i`; all of them, and what the ring holds then.
    fn record(ring: &Arc<Ring>, counts: &[u64]) -> (Vec<ForwardedRequest>, RingReading) {
        let recorder = Recorder::new(Arc::clone(ring), 1);
        let mut all = Vec::new();
        for (second, count) in (0..).zip(counts) {
            for n in 0..*count {
                let at = moment(second, n, *count);
                all.push(request(all.len() as u64, at));
                recorder.offer(at, || *all.last().unwrap());
            }
        }
        let last = (counts.len() as u64).saturating_sub(1);
        (all, ring.read(moment(last, 0, 1)))
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let ring = Arc::new(Ring::new(1));
        let (all, reading) = record(&ring, &[218, 0, 0, 5, 217]);
        let whole: Vec<Entry> = all.iter().map(|request| entry(1, request)).collect();
        assert_eq!((reading.requests, reading.first), (440, 0));
        assert_eq!(reading.entries, whole);
        let marks: Vec<_> =
            reading.marks.iter().map(|mark| (mark.second, mark.requests, mark.kept)).collect();
        assert_eq!(marks, [(0, 0, 0), (3, 218, 218), (4, 223, 223)]);
    }

    #[test]
    fn a_rhythm_in_the_traffic_does_not_show_in_the_sample() {
        let (all, reading) = record(&Arc::new(Ring::new(1)), &[4_000; 250]);
        for period in [2, 3, 4, 5, 8, 10, 16] {
            let chosen = reading.entries.iter().filter(|entry| entry.key % period == 0);
            let weight: u64 = chosen.map(|entry| u64::from(entry.weight)).sum();
            let expected = all.len() as u64 / period;
            assert!(weight.abs_diff(expected) * 20 < expected, "{weight} of {expected}");
        }
    }

    #[test]
    fn a_calm_after_a_storm_is_kept_whole_again() {
        let (all, reading) = record(&Arc::new(Ring::new(1)), &[50_000, 3, 10, 10]);
        let calm: Vec<Entry> = all.iter().rev().take(20).rev().map(|last| entry(1, last)).collect();
        assert!(reading.entries.ends_with(&calm));
    }

    #[test]
    fn no_entry_is_read_while_it_is_written() {
        let ring = Arc::new(Ring::new(RECORDED_REQUESTS / 16));
        let writer = Arc::clone(&ring);
        let written = std::thread::spawn(move || {
            for number in 0..200_000 {
                writer.push(1, &request(number, Timestamp::from_nanos(number)));
            }
        });
        let mut read = 0;
        while !written.is_finished() || read == 0 {
            let reading = ring.read(Timestamp::ZERO);
            for (number, found) in (reading.first..).zip(&reading.entries) {
                assert_eq!(*found, entry(1, &request(number, Timestamp::from_nanos(number))));
                read += 1;
            }
        }
        written.join().unwrap();
    }

    proptest! {
        #[test]
        fn the_ring_holds_a_fair_part_of_what_a_plain_list_holds(
            counts in prop::collection::vec(prop_oneof![0_u64..50, 0_u64..3_000], 1..20),
            workers in prop::sample::select(vec![1_usize, 16, 64, 400]),
        ) {
            let ring = Arc::new(Ring::new(workers));
            let (all, reading) = record(&ring, &counts);
            let slots = RECORDED_REQUESTS / workers;
            prop_assert_eq!(reading.requests, all.len() as u64);
            prop_assert!(reading.entries.len() <= slots);
            // In order, and as they were.
            prop_assert!(reading.entries.is_sorted_by(|a, b| a.key < b.key));
            for found in &reading.entries {
                let at = usize::try_from(found.key).unwrap();
                prop_assert_eq!(*found, entry(found.weight, &all[at]));
            }
            // A second's weights are off by less than its last run.
            let share = (slots as u64 / RECORDED_SECONDS).max(1);
            let (mut rate, mut since) = (0_u64, 0);
            for (second, count) in (0_u64..).zip(&counts) {
                if *count == 0 {
                    since += 1;
                    continue;
                }
                let mark = reading.marks.iter().find(|mark| mark.second == second).unwrap();
                let run = (rate / (since + 1)).div_ceil(share).max(2 * count / share).max(1);
                (rate, since) = (*count, 0);
                let range = mark.requests..mark.requests + count;
                if mark.kept < reading.first {
                    continue;
                }
                let kept = reading.entries.iter().filter(|entry| range.contains(&entry.key));
                let weight: u64 = kept.map(|entry| u64::from(entry.weight)).sum();
                prop_assert!(weight.abs_diff(*count) <= run, "{weight} of {count}, runs of {run}");
            }
        }
    }
}
