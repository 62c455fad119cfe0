//! Rates that several doors share: each door leases tokens from a server that all of them ask,
//! before it needs them, so that no request ever waits for that server.
//!
//! While the server answers, a request takes a leased token; the next lease is asked for when
//! four fifths are spent. For a key without a lease, as many requests as are this door's part of
//! the burst are let in uncharged, and charged with the ask that the first of them starts: a
//! request too many now is one less later. A key of which nothing is left is refused until there
//! is something again. Where even the ask has no room, and all the time while the server does not
//! answer, the door holds the key to its part of the rate, `rate / doors`, by itself.
//!
//! Leases are bounded in size (a quarter of a second's worth, over all doors) and in time (2 s):
//! what a door that died had leased is only missing. Memory is fixed: eight bytes a key.
//! Invariants: nothing here waits; nothing is allocated per key. `N` doors admit of one key in any
//! time `t` from its first request at most `burst + rate x t`, and `2 x max(burst, N)` that were
//! not charged yet; each loss of the server with its return adds at most as much again.

mod entry;

use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use model::configuration::Rate;
use model::fact::SharedFacts;
use model::{Name, Timestamp};

use self::entry::{BALANCE_MAX, Entry, Step, Terms, steps};
use crate::gcra::{Pace, Room, floor};
use crate::hash::{below, mix};

/// Slots in one cache line.
const WAYS: usize = 8;
/// Keys that are leased at a time at most, in all: 64 MiB.
const KEYS_MAX: u64 = 8 << 20;
/// How often a slot that others write at the same moment is tried again; who still fails is let
/// in uncounted.
const TRIES: usize = 64;

/// A question for the server that holds the shared rates.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    slot: u64,
    /// The rate that is shared, the same in all doors that have it.
    pub name: Name,
    /// Whose requests it counts together, the same in all doors.
    pub key: u128,
    /// The rate of all doors together.
    pub rate: Rate,
    /// Requests at once of all doors together, at least 1.
    pub burst: u32,
    /// Requests that were let in and are to be charged, whatever is left; below zero, tokens that
    /// come back.
    pub charge: i32,
    /// Tokens that are wanted, at least 1.
    pub tokens: u32,
}

/// Takes questions to the server that holds the shared rates.
pub trait Asks: std::fmt::Debug + Send + Sync {
    /// Takes a question along if there is room, and says whether there was. Must not wait.
    fn push(&self, ask: Ask) -> bool;
}

/// A rate that doors share.
#[derive(Clone, Debug)]
pub(crate) struct SharedRate {
    name: Name,
    rate: Rate,
    burst: u32,
    pace: Pace,
    /// A quarter of a second's worth, of the burst where that is less.
    quarter: u32,
}

/// What the doors' part of each key is known to be, for all shared rates of a configuration.
pub struct Leases {
    sets: Box<[Set]>,
    seed: u64,
    /// Doors that share, as last known; 0 until that is known.
    doors: AtomicU32,
    /// Whether the server answers.
    answers: AtomicBool,
    asks: OnceLock<Arc<dyn Asks>>,
    counts: Counts,
}

#[derive(Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// What was counted since the last facts; a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    leased: AtomicU64,
    alone: AtomicU64,
    failed: AtomicU64,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leases").field("doors", &self.doors).finish_non_exhaustive()
    }
}

impl SharedRate {
    /// `kind` tells a limit from a client of the same name.
    pub(crate) fn new(kind: &str, name: &Name, rate: Rate, burst: u32) -> Self {
        let burst = burst.max(1);
        let second = u32::try_from(floor(rate.per_second())).unwrap_or(u32::MAX);
        Self {
            // Another rate is another budget: what is owed at one says nothing at another.
            name: format!("{kind}:{name}:{}/{}ms+{burst}", rate.count, rate.per.as_millis()).into(),
            rate,
            burst,
            pace: Pace::new(rate, burst),
            quarter: second.min(burst) / 4,
        }
    }

    /// A number that differs between rates.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.pace.fingerprint()
    }

    fn terms(&self, doors: u32) -> Terms {
        Terms {
            chunk: (self.quarter / doors).clamp(1, BALANCE_MAX),
            credit: (self.burst / doors).clamp(1, BALANCE_MAX),
        }
    }
}

/// One request of a key of a shared rate.
pub(crate) struct Shared<'a> {
    pub(crate) rate: &'a SharedRate,
    /// The key's keyed hash, for this door only.
    pub(crate) slot: u64,
    /// The key as all doors know it; taken when the server is asked and not before.
    pub(crate) key: &'a dyn Fn() -> Option<u128>,
    /// Takes one request of what this door decides about alone, at the pace of its part.
    pub(crate) alone: &'a dyn Fn(&Pace) -> Result<Room, Duration>,
}

impl Leases {
    /// For as many keys at a time as rate limits remember; 8 bytes each, at most 64 MiB. `seed`
    /// is secret.
    #[must_use]
    pub fn new(keys_max: u32, seed: u64) -> Self {
        let sets = (u64::from(keys_max).min(KEYS_MAX) / 8).max(1);
        Self {
            sets: (0..sets).map(|_| Set::default()).collect(),
            seed,
            doors: AtomicU32::new(0),
            answers: AtomicBool::new(false),
            asks: OnceLock::new(),
            counts: Counts::default(),
        }
    }

    /// Says once who takes questions along; until then the door decides alone.
    pub fn ask_by(&self, asks: &Arc<dyn Asks>) {
        self.asks.get_or_init(|| Arc::clone(asks));
    }

    /// The server answers, and so many doors ask it.
    pub fn set_shared(&self, doors: u32) {
        self.doors.store(doors.max(1), Relaxed);
        self.answers.store(true, Release);
    }

    /// The server does not answer: from now on the door decides alone.
    pub fn set_alone(&self) {
        self.answers.store(false, Release);
    }

    /// Counts a call that failed or took too long.
    pub fn count_failed(&self) {
        self.counts.failed.fetch_add(1, Relaxed);
    }

    /// The server answered a question: tokens, or none and when there will be one.
    pub fn answer(&self, ask: &Ask, tokens: u32, wait: Duration, now: Timestamp) {
        self.counts.leased.fetch_add(u64::from(tokens), Relaxed);
        let now = steps(now);
        self.revise(ask.slot, |entry| Some(entry?.answered(tokens, wait, now)));
    }

    /// A question was not answered.
    pub fn unanswered(&self, ask: &Ask) {
        self.revise(ask.slot, |entry| Some(entry?.unanswered(ask.charge)));
    }

    /// One second; off the path, by one reader, once a second.
    #[must_use]
    pub fn facts(&self) -> SharedFacts {
        let state = if self.answers.load(Acquire) { "shared" } else { "alone" };
        SharedFacts {
            state: state.to_owned(),
            doors: self.doors.load(Relaxed),
            leased: self.counts.leased.swap(0, Relaxed),
            alone: self.counts.alone.swap(0, Relaxed),
            failed: self.counts.failed.swap(0, Relaxed),
        }
    }

    /// Takes one request of a shared rate.
    ///
    /// # Errors
    ///
    /// How long until there may be room; nothing was taken.
    pub(crate) fn take(&self, of: &Shared<'_>, now: Timestamp) -> Result<Room, Duration> {
        let doors = self.doors.load(Relaxed).max(1);
        let asks = self.asks.get().filter(|_| self.answers.load(Acquire));
        let Some(asks) = asks else { return self.decide_alone(of, doors) };
        let (terms, at) = (of.rate.terms(doors), steps(now));
        let mut tries = 0;
        let (step, asked) = loop {
            let (slot, word, tag) = self.find(of.slot, at);
            let entry = if word >> 48 == tag { Entry::of(word) } else { Entry::default() };
            let (next, step, charge) = entry.step(terms, at);
            let next = tag << 48 | next.word();
            tries += 1;
            let written =
                next == word || slot.compare_exchange(word, next, Relaxed, Relaxed).is_ok();
            if written {
                break (step, charge.map(|charge| (slot, word, next, charge)));
            }
            if tries == TRIES {
                return Ok(of.rate.pace.room_of(0));
            }
        };
        if let Some((slot, before, word, charge)) = asked
            && !self.ask(&**asks, of, (charge, terms.chunk))
        {
            match step {
                Step::Token { .. } => drop(self.revise(of.slot, |e| Some(e?.unanswered(charge)))),
                Step::Credit { .. } | Step::Out { .. } | Step::Alone => {
                    // As if nobody had tried. Where the slot changed since, it expires.
                    slot.compare_exchange(word, before, Relaxed, Relaxed).ok();
                    return self.decide_alone(of, doors);
                }
            }
        }
        match step {
            Step::Token { left } | Step::Credit { left } => Ok(of.rate.pace.room_of(left)),
            Step::Out { wait } => Err(wait),
            Step::Alone => {
                let room = self.decide_alone(of, doors)?;
                // It is let in beside what was leased: to be charged.
                self.add(of.slot, -1);
                Ok(room)
            }
        }
    }

    /// Undoes one [`Leases::take`]; or says at which pace the door has to undo it, where it
    /// decides alone.
    pub(crate) fn give_back(&self, rate: &SharedRate, slot: u64) -> Option<Pace> {
        let is_back = self.answers.load(Acquire) && self.add(slot, 1);
        (!is_back).then(|| rate.pace.share(self.doors.load(Relaxed)))
    }

    fn decide_alone(&self, of: &Shared<'_>, doors: u32) -> Result<Room, Duration> {
        self.counts.alone.fetch_add(1, Relaxed);
        (of.alone)(&of.rate.pace.share(doors))
    }

    fn ask(&self, asks: &dyn Asks, of: &Shared<'_>, (charge, tokens): (i32, u32)) -> bool {
        let Some(key) = (of.key)() else { return false };
        let SharedRate { name, rate, burst, .. } = of.rate;
        let (name, rate, burst) = (Arc::clone(name), *rate, *burst);
        asks.push(Ask { slot: of.slot, name, key, rate, burst, charge, tokens })
    }

    /// Changes the balance of a key that has a slot; false where it has none.
    fn add(&self, key: u64, tokens: i32) -> bool {
        self.revise(key, |entry| {
            let mut entry = entry?;
            entry.add(tokens);
            Some(entry)
        })
    }

    /// Changes the entry of a key, if it has one; false where it has none.
    fn revise(&self, key: u64, change: impl Fn(Option<Entry>) -> Option<Entry>) -> bool {
        for _ in 0..TRIES {
            let (slot, word, tag) = self.find(key, 0);
            let entry = (word >> 48 == tag).then(|| Entry::of(word));
            let Some(next) = change(entry) else { return false };
            let next = tag << 48 | next.word();
            if slot.compare_exchange(word, next, Relaxed, Relaxed).is_ok() {
                return true;
            }
        }
        false
    }

    /// The slot of a key; without one, the slot that expires first. Also what stands in it and
    /// the tag of the key, which is never that of an empty slot.
    fn find(&self, key: u64, now: u64) -> (&AtomicU64, u64, u64) {
        let hash = mix(key, self.seed);
        let set = &self.sets[usize::try_from(below(hash, self.sets.len() as u64)).unwrap_or(0)].0;
        let tag = (hash & 0xffff).max(1);
        let mut best = (0, u64::MAX);
        for (way, slot) in set.iter().enumerate() {
            let word = slot.load(Relaxed);
            if word >> 48 == tag {
                return (slot, word, tag);
            }
            let left = if word == 0 { 0 } else { Entry::of(word).until.saturating_sub(now) + 1 };
            if left < best.1 {
                best = (way, left);
            }
        }
        let slot = &set[best.0];
        (slot, slot.load(Relaxed), tag)
    }
}

#[cfg(test)]
mod tests;
