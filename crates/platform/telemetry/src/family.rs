//! Shards by key, with those that left the configuration kept for a while.
//!
//! A server that goes away and comes back a minute later continues its counters; one that does
//! not is dropped, so that years of reloads and DNS changes cannot grow the memory or the number
//! of series. Time is the number of collections, one a second. Invariants: at most
//! [`RETIRED_ENTRIES`] keys are held beyond those in the configuration; a key's number is no other
//! key's while it is held, and comes back into use as late as can be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// After this many collections, one a second, a key that left the configuration is dropped.
pub const RETIRED_COLLECTIONS: u64 = 600;
/// At most this many keys that left the configuration are kept; the longest gone go first.
pub const RETIRED_ENTRIES: usize = 1_000;

/// One key's shards, one place per worker, made on first use.
#[derive(Debug)]
pub(crate) struct Entry<S> {
    shards: Vec<Option<Arc<S>>>,
    /// Tells a key that was dropped and made again from one that stayed.
    pub(crate) generation: u64,
    /// Stands for the key in recordings; [`NO_NUMBER`] when all were taken.
    pub(crate) number: u16,
    retired_at: Option<u64>,
}

/// The number that stands for nothing.
pub(crate) const NO_NUMBER: u16 = u16::MAX;

impl<S> Entry<S> {
    /// The shards that exist.
    pub(crate) fn shards(&self) -> impl Iterator<Item = &S> {
        self.shards.iter().flatten().map(Arc::as_ref)
    }

    /// True while somebody, such as a long WebSocket on an old configuration, still records.
    fn is_held(&self) -> bool {
        self.shards.iter().flatten().any(|shard| Arc::strong_count(shard) > 1)
    }
}

/// All shards of one kind.
#[derive(Debug)]
pub(crate) struct Family<K, S> {
    entries: BTreeMap<K, Entry<S>>,
    collections: u64,
    generations: u64,
    numbers: BTreeSet<u16>,
    next_number: u16,
}

impl<K: Ord + Clone, S: Default> Family<K, S> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            collections: 0,
            generations: 0,
            numbers: BTreeSet::new(),
            next_number: 0,
        }
    }

    /// The shard of `worker` for `key`; makes it when it does not exist. The key is in use again.
    pub(crate) fn shard(&mut self, key: K, worker: usize) -> Arc<S> {
        let entry = self.entry(key);
        if entry.shards.len() <= worker {
            entry.shards.resize_with(worker + 1, || None);
        }
        let place = entry.shards.get_mut(worker).expect("the place was just made");
        Arc::clone(place.get_or_insert_with(Arc::default))
    }

    /// The number of `key`; takes one when it has none yet. The key is in use again.
    pub(crate) fn number(&mut self, key: K) -> u16 {
        self.entry(key).number
    }

    fn entry(&mut self, key: K) -> &mut Entry<S> {
        if !self.entries.contains_key(&key) {
            self.generations += 1;
            let (generation, number) = (self.generations, self.take_number());
            let entry = Entry { shards: Vec::new(), generation, number, retired_at: None };
            self.entries.insert(key.clone(), entry);
        }
        let entry = self.entries.get_mut(&key).expect("it was just made");
        entry.retired_at = None;
        entry
    }

    fn take_number(&mut self) -> u16 {
        let after = (self.next_number..NO_NUMBER).chain(0..self.next_number);
        let free = after.into_iter().find(|number| !self.numbers.contains(number));
        let Some(number) = free else { return NO_NUMBER };
        self.numbers.insert(number);
        self.next_number = (number + 1) % NO_NUMBER;
        number
    }

    /// Retires every key that is not in `keep`.
    pub(crate) fn retain(&mut self, keep: &BTreeSet<K>) {
        for (key, entry) in &mut self.entries {
            if keep.contains(key) {
                entry.retired_at = None;
            } else {
                entry.retired_at.get_or_insert(self.collections);
            }
        }
        let mut retired: Vec<(u64, K)> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| Some((entry.retired_at?, key.clone())))
            .collect();
        let Some(excess) = retired.len().checked_sub(RETIRED_ENTRIES) else { return };
        retired.sort();
        for (_, key) in retired.iter().take(excess) {
            if let Some(entry) = self.entries.remove(key) {
                self.numbers.remove(&entry.number);
            }
        }
    }

    /// A second passed: drops what has been retired for long and is no longer recorded into.
    pub(crate) fn collected(&mut self) {
        self.collections += 1;
        let collections = self.collections;
        let numbers = &mut self.numbers;
        self.entries.retain(|_, entry| {
            let kept = entry.retired_at.is_none_or(|at| collections - at < RETIRED_COLLECTIONS)
                || entry.is_held();
            if !kept {
                numbers.remove(&entry.number);
            }
            kept
        });
    }

    /// Every key with its shards, in the order of the keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &Entry<S>)> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(family: &Family<usize, u64>) -> Vec<usize> {
        family.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn the_same_shard_is_returned_to_the_same_worker() {
        let mut family = Family::<usize, u64>::new();
        let first = family.shard(1, 0);
        assert!(Arc::ptr_eq(&first, &family.shard(1, 0)));
        assert!(!Arc::ptr_eq(&first, &family.shard(1, 1)));
        assert!(!Arc::ptr_eq(&first, &family.shard(2, 0)));
    }

    #[test]
    fn what_left_is_dropped_after_a_while_unless_it_comes_back_or_is_held() {
        let mut family = Family::<usize, u64>::new();
        for key in 0..3 {
            drop(family.shard(key, 0));
        }
        let held = family.shard(3, 0);
        family.retain(&BTreeSet::from([0]));
        for _ in 1..RETIRED_COLLECTIONS {
            family.collected();
        }
        assert_eq!(keys(&family), [0, 1, 2, 3]);
        drop(family.shard(1, 0));
        family.collected();
        assert_eq!(keys(&family), [0, 1, 3]);
        drop(held);
        family.collected();
        assert_eq!(keys(&family), [0, 1]);
    }

    #[test]
    fn the_number_kept_is_bounded_and_the_longest_gone_go_first() {
        let mut family = Family::<usize, u64>::new();
        drop(family.shard(9_999, 0));
        family.retain(&BTreeSet::new());
        family.collected();
        let held: Vec<_> = (0..RETIRED_ENTRIES).map(|key| family.shard(key, 0)).collect();
        family.retain(&BTreeSet::new());
        assert_eq!(family.iter().count(), held.len());
        assert!(!keys(&family).contains(&9_999));
    }

    #[test]
    fn a_key_made_again_has_another_generation() {
        let mut family = Family::<usize, u64>::new();
        let generation = |family: &Family<usize, u64>| {
            family.iter().map(|(_, entry)| entry.generation).collect::<Vec<_>>()
        };
        drop(family.shard(1, 0));
        let before = generation(&family);
        family.retain(&BTreeSet::new());
        for _ in 0..RETIRED_COLLECTIONS {
            family.collected();
        }
        assert!(keys(&family).is_empty());
        drop(family.shard(1, 0));
        assert_ne!(before, generation(&family));
    }

    #[test]
    fn a_number_comes_back_only_when_all_others_had_their_turn() {
        let mut family = Family::<usize, u64>::new();
        let first = [family.number(10), family.number(11), family.number(10)];
        assert_eq!(first, [0, 1, 0]);
        family.retain(&BTreeSet::from([11]));
        for _ in 0..RETIRED_COLLECTIONS {
            family.collected();
        }
        assert_eq!(family.number(12), 2);
        family.next_number = NO_NUMBER - 1;
        assert_eq!(family.number(13), NO_NUMBER - 1);
        assert_eq!([family.number(14), family.number(15)], [0, 3]);
    }
}
