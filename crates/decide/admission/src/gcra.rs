//! Token buckets for millions of keys in fixed memory: the generic cell rate algorithm (GCRA,
//! ITU-T I.371), which needs one number per key, the theoretical arrival time.
//!
//! A key that kept to its rate has a theoretical arrival time in the past, and that is the same
//! as no entry at all. So nothing is ever cleaned up: a slot is 16 bits of the key's hash and 48
//! bits of the time in microseconds, eight slots fill a cache line, and a newcomer takes the slot
//! that expires first. Only a set with more than eight keys that are above their rate forgets
//! somebody, and then whoever has the least to remember.
//! Invariants: no allocation after [`KeyTable::new`]; a lone key is admitted at most
//! `burst + rate x t` times in any time `t`, to within 6 us of the clock, and never refused while
//! it keeps to its rate; no call waits for another one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use model::Timestamp;
use model::configuration::Rate;

use crate::hash::{below, mix};

/// Slots in one cache line.
const WAYS: usize = 8;
/// Bytes of one set: a cache line.
const SET_BYTES: u64 = 64;
/// Memory per key: two slots, so that few sets are ever full.
const KEY_BYTES: u64 = 16;
/// The largest table, which 10 million keys fill to 60 %.
const BYTES_MAX: u64 = 128 << 20;
/// A time of 48 bits in microseconds: 8.9 years of a process.
pub(crate) const TIME_MAX: u64 = (1 << 48) - 1;
/// How far ahead an arrival time may lie: half of that.
const DEPTH_MAX: f64 = (1_u64 << 47) as f64;
/// How often a slot that others write at the same moment is tried again. Each failed try means
/// that another one succeeded; who still fails is let in uncounted.
const TRIES: usize = 64;

/// A rate and its burst, made ready for the path.
///
/// Arrival times are whole microseconds, the interval of a rate often is not: at 300,000 a second,
/// rounding it would let in 10 % more. So arrival times lie on a grid of 1 to 4 us of which the
/// interval is an exact multiple, and each is rounded by itself: the error never adds up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// The step of the grid in microseconds: 1, or from 2 up to 4; from 1 for the fastest rates.
    step: f64,
    /// Steps that one request takes.
    steps: u64,
    /// How far ahead the arrival time may lie after a request, in microseconds.
    depth: u64,
    interval: Duration,
    burst: u32,
}

impl Pace {
    /// `burst` (at least 1) requests at once, `rate` in the long run. More than a million a
    /// second is no limit.
    #[must_use]
    pub fn new(rate: Rate, burst: u32) -> Self {
        let (count, nanos) = (u128::from(rate.count.max(1)), rate.per.as_nanos());
        let micros = nanos as f64 / 1e3 / count as f64;
        let burst = burst.max(1);
        let (step, steps, slack) = match micros {
            _ if nanos % (count * 1_000) == 0 => (1.0, floor(micros + 0.5), 0.0),
            _ if micros < 1.0 => (1.0, 0, 0.0),
            _ => {
                let steps = floor(micros / 2.0).max(1);
                let step = micros / steps as f64;
                // Now is rounded up to the grid, and the grid to microseconds.
                (step, steps, step + 2.0)
            }
        };
        let depth = floor((f64::from(burst) * micros + slack).min(DEPTH_MAX));
        let interval = Duration::from_nanos(u64::try_from(nanos / count).unwrap_or(u64::MAX));
        Self { step, steps, depth, interval, burst }
    }

    /// Requests that may come at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// The time between two requests that come evenly, rounded down to nanoseconds.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// The part of one of `doors` (at least 1) that share it: at least one request at once.
    pub(crate) fn share(&self, doors: u32) -> Self {
        let (doors, burst) = (doors.max(1), (self.burst / doors.max(1)).max(1));
        let steps = self.steps * u64::from(doors);
        let slack = if self.step == 1.0 { 0.0 } else { self.step + 2.0 };
        let depth = f64::from(burst) * self.step * steps as f64 + slack;
        let depth = floor(depth.min(DEPTH_MAX));
        Self { step: self.step, steps, depth, interval: self.interval * doors, burst }
    }

    /// The room in which so many could follow at once.
    pub(crate) fn room_of(&self, left: u32) -> Room {
        let left = f64::from(left.min(self.burst)) * self.step * self.steps as f64;
        Room { ahead: self.depth.saturating_sub(floor(left + 0.5)), pace: *self }
    }

    /// A number that differs between paces: a key of a changed rate starts anew, for what it
    /// owes at one rate says nothing at another one.
    pub(crate) fn fingerprint(&self) -> u64 {
        mix(self.steps ^ self.step.to_bits().rotate_left(32), self.depth)
    }

    /// One request at `now`, in microseconds, of a key whose arrival time is `time`: the new
    /// arrival time, or how long until there is room.
    fn advance(&self, time: u64, now: u64) -> Result<u64, Duration> {
        let next = if self.step == 1.0 {
            time.max(now) + self.steps
        } else if time > now {
            self.moment(self.place(time) + self.steps)
        } else {
            self.moment(self.place_after(now) + self.steps)
        }
        .min(TIME_MAX);
        let over = next.saturating_sub(now).saturating_sub(self.depth);
        if over == 0 { Ok(next) } else { Err(Duration::from_micros(over)) }
    }

    /// The arrival time before the latest request.
    fn retreat(&self, time: u64) -> u64 {
        self.moment(self.place(time).saturating_sub(self.steps))
    }

    /// The moment of a place on the grid, in whole microseconds.
    fn moment(&self, place: u64) -> u64 {
        floor(place as f64 * self.step + 0.5)
    }

    /// The place of a moment that is on the grid.
    fn place(&self, moment: u64) -> u64 {
        floor(moment as f64 / self.step + 0.5)
    }

    /// The first place that is not before a moment.
    fn place_after(&self, moment: u64) -> u64 {
        let place = moment as f64 / self.step;
        let before = floor(place);
        if (before as f64) < place { before + 1 } else { before }
    }

    fn room(&self, time: u64, now: u64) -> Room {
        Room { ahead: time.saturating_sub(now), pace: *self }
    }

    /// Takes one request out of a bucket that has a word of its own: exact, whatever else happens.
    ///
    /// # Errors
    ///
    /// How long until there is room; nothing was taken.
    pub(crate) fn take(&self, bucket: &AtomicU64, now: Timestamp) -> Result<Room, Duration> {
        let now = micros(now);
        let mut time = bucket.load(Relaxed);
        for _ in 0..TRIES {
            let next = self.advance(time, now)?;
            match bucket.compare_exchange_weak(time, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(self.room(next, now)),
                Err(current) => time = current,
            }
        }
        Ok(self.room(time, now))
    }

    /// Undoes one [`Pace::take`].
    pub(crate) fn give_back(&self, bucket: &AtomicU64) {
        bucket.update(Relaxed, Relaxed, |time| self.retreat(time));
    }
}

/// What is left after a request was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// How far ahead of now the arrival time lies, in microseconds.
    ahead: u64,
    pace: Pace,
}

impl Room {
    /// Requests that could follow at once.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        if self.pace.steps == 0 {
            return self.pace.burst;
        }
        let interval = self.pace.step * self.pace.steps as f64;
        let left = self.pace.depth.saturating_sub(self.ahead) as f64;
        u32::try_from(floor(left / interval))
            .map_or(self.pace.burst, |left| left.min(self.pace.burst))
    }

    /// How long until the whole burst is there again.
    #[must_use]
    pub const fn full_in(&self) -> Duration {
        Duration::from_micros(self.ahead)
    }

    /// What it was taken from.
    #[must_use]
    pub const fn pace(&self) -> Pace {
        self.pace
    }
}

/// Arrival times of keys, in memory of fixed size, shared by all workers.
pub struct KeyTable {
    sets: Box<[Set]>,
    seed: u64,
}

#[derive(Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

impl std::fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyTable").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl KeyTable {
    /// A table for `keys_max` keys above their rates at a time: 16 bytes each, at most 128 MiB.
    /// `seed` is secret, so that nobody can choose keys that meet in one set.
    #[must_use]
    pub fn new(keys_max: u32, seed: u64) -> Self {
        let bytes = (u64::from(keys_max) * KEY_BYTES).min(BYTES_MAX);
        let sets = (bytes / SET_BYTES).max(1);
        Self { sets: (0..sets).map(|_| Set::default()).collect(), seed }
    }

    /// Memory it holds, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// Takes one request of `key` at `now`.
    ///
    /// # Errors
    ///
    /// How long until there is room; nothing was taken.
    pub fn take(&self, key: u64, pace: &Pace, now: Timestamp) -> Result<Room, Duration> {
        let now = micros(now);
        self.revise(key, now, |time| match pace.advance(time, now) {
            Ok(next) => (Some(next), Ok(pace.room(next, now))),
            Err(wait) => (None, Err(wait)),
        })
    }

    /// Undoes one [`KeyTable::take`]; a key that was forgotten meanwhile owes nothing anyway.
    pub fn give_back(&self, key: u64, pace: &Pace, now: Timestamp) {
        self.revise(key, micros(now), |time| (Some(pace.retreat(time)), ()));
    }

    /// Replaces the time of `key` by what `step` makes of it (`None` leaves it), and returns what
    /// `step` says beside. It gets 0 when the time has passed, and may be called several times.
    pub(crate) fn revise<R>(
        &self,
        key: u64,
        now: u64,
        step: impl Fn(u64) -> (Option<u64>, R),
    ) -> R {
        let hash = mix(key, self.seed);
        let place = usize::try_from(below(hash, self.sets.len() as u64)).unwrap_or(0);
        let (set, tag) = (&self.sets[place], hash & 0xffff);
        let mut tries = 0;
        loop {
            let (slot, word) = set.find(tag, now);
            let present = word >> 48 == tag && word & TIME_MAX > now;
            let (next, result) = step(if present { word & TIME_MAX } else { 0 });
            tries += 1;
            // A time that has passed equals an absent key: nobody has to give way to it.
            let Some(next) = next.filter(|&next| present || next > now) else { return result };
            let word_next = tag << 48 | next.min(TIME_MAX);
            let written = slot.compare_exchange(word, word_next, Relaxed, Relaxed).is_ok();
            if written || tries == TRIES {
                return result;
            }
        }
    }
}

impl Set {
    /// The slot of a tag whose time has not passed; without one, the slot that expires first.
    fn find(&self, tag: u64, now: u64) -> (&AtomicU64, u64) {
        let words: [u64; WAYS] = std::array::from_fn(|way| self.0[way].load(Relaxed));
        // Without a branch per slot: which one it is cannot be foreseen.
        let mut found = WAYS;
        for (way, word) in words.iter().enumerate() {
            let is_it = (word >> 48 == tag) & (word & TIME_MAX > now);
            found = if is_it { way } else { found };
        }
        if found == WAYS {
            found = 0;
            for (way, word) in words.iter().enumerate() {
                let is_sooner = word & TIME_MAX < words[found] & TIME_MAX;
                found = if is_sooner { way } else { found };
            }
        }
        (&self.0[found], words[found])
    }
}

/// Whole microseconds since the process started.
pub(crate) fn micros(now: Timestamp) -> u64 {
    (now.as_nanos() / 1_000).min(TIME_MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times since the start are not negative; the cast saturates"
)]
pub(crate) fn floor(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests;
