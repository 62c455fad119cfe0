//! Counts of those who send the most, of any number of senders, in fixed memory: Space-Saving
//! (Metwally, Agrawal, El Abbadi, 2005), cut into sets of a cache line each.
//!
//! Space-Saving and not HeavyKeeper: it needs no chance, its error is known per entry, and it
//! keeps names beside the counts. In one line of eight counts the least is found by looking, so
//! neither heap nor lock is needed. A newcomer takes the place of the least in its set and goes on
//! from its count, which is stated as its error: a count is never too low. Of N arrivals a flow
//! with more than N / 4096 keeps its place, but for the luck of how the sets are filled.
//! Invariant: one word holds a key's tag and its count, so an arrival counts for no other key;
//! who it was is written after it, and read only if it fits the tag.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::hash::below;
use crate::talkers::{Talker, key};

const WAYS: usize = 8;
const SETS: usize = 512;
/// The lower half of a word: the count.
const COUNT_MASK: u64 = u32::MAX as u64;
/// An arrival that still meets another writer after so many tries is not counted.
const TRIES: usize = 4;

/// One worker's counts; others may write too.
#[derive(Debug)]
pub(crate) struct Sketch {
    sets: Box<[Set]>,
    /// Arrivals per pool.
    totals: Box<[AtomicU64]>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Set {
    /// The upper half of the key, the count.
    words: [AtomicU64; WAYS],
    /// Who it is: the second of [`Talker::parts`].
    values: [AtomicU64; WAYS],
    /// The error, the pool, and the first of [`Talker::parts`]; see `pack`.
    others: [AtomicU64; WAYS],
}

/// What was counted for a flow at a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) who: Talker,
    pub(crate) pool: usize,
    pub(crate) count: u64,
    /// How much of the count may be others'.
    pub(crate) error: u64,
}

impl Sketch {
    pub(crate) fn new(pools: usize) -> Self {
        Self {
            sets: (0..SETS).map(|_| Set::default()).collect(),
            totals: (0..pools).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Counts one arrival.
    pub(crate) fn record(&self, seed: u64, pool: usize, who: Talker) {
        if let Some(total) = self.totals.get(pool) {
            total.fetch_add(1, Relaxed);
        }
        let key = key(seed, pool, who);
        let set = &self.sets[usize::try_from(below(key << 32, SETS as u64)).unwrap_or(0)];
        for _ in 0..TRIES {
            if set.count(key >> 32, pool, who) {
                return;
            }
        }
    }

    /// Adds what was counted, all of it, and begins anew if the window ends.
    pub(crate) fn read(&self, seed: u64, ends: bool, seen: &mut Vec<Seen>, totals: &mut [u64]) {
        for (total, sum) in self.totals.iter().zip(totals) {
            *sum += if ends { total.swap(0, Relaxed) } else { total.load(Relaxed) };
        }
        for set in &self.sets {
            for way in 0..WAYS {
                let word = &set.words[way];
                if word.load(Relaxed) == 0 {
                    continue;
                }
                let word = if ends { word.swap(0, Relaxed) } else { word.load(Relaxed) };
                seen.extend(set.seen(seed, way, word));
            }
        }
    }
}

impl Set {
    /// False when another writer came between.
    fn count(&self, tag: u64, pool: usize, who: Talker) -> bool {
        let (way, word) = self.find(tag);
        let (kind, value) = who.parts();
        let count = word & COUNT_MASK;
        let same = word >> 32 == tag && count > 0;
        // The window is a second: only a door whose tick has died counts so far.
        if count == COUNT_MASK {
            return true;
        }
        let next = tag << 32 | (count + 1);
        if self.words[way].compare_exchange(word, next, Relaxed, Relaxed).is_err() {
            return false;
        }
        // Two that took one place at once may leave the wrong name: who counts next mends it.
        if !same || self.values[way].load(Relaxed) != value {
            self.values[way].store(value, Relaxed);
            self.others[way].store(pack(count, pool, kind), Relaxed);
        }
        true
    }

    /// The place of a tag; without one, the place with the least count.
    fn find(&self, tag: u64) -> (usize, u64) {
        let mut found = (0, self.words[0].load(Relaxed));
        for (way, word) in self.words.iter().enumerate() {
            let word = word.load(Relaxed);
            if word >> 32 == tag && word & COUNT_MASK > 0 {
                return (way, word);
            }
            if word & COUNT_MASK < found.1 & COUNT_MASK {
                found = (way, word);
            }
        }
        found
    }

    /// `None` for a name that does not fit its count: it is being written.
    fn seen(&self, seed: u64, way: usize, word: u64) -> Option<Seen> {
        let other = self.others[way].load(Relaxed);
        let who = Talker::from_parts(other & 0xff, self.values[way].load(Relaxed))?;
        let pool = usize::try_from(other >> 8 & 0xff_ffff).ok()?;
        let (count, error) = (word & COUNT_MASK, (other >> 32).min(word & COUNT_MASK));
        (key(seed, pool, who) >> 32 == word >> 32).then_some(Seen { who, pool, count, error })
    }
}

/// 32 bits of error, 24 of pool, 8 of kind.
fn pack(error: u64, pool: usize, kind: u64) -> u64 {
    error << 32 | (pool as u64 & 0xff_ffff) << 8 | kind
}

#[cfg(test)]
mod tests;
