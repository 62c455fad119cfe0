//! Shards by key, with those that left the configuration kept for a while.
//!
//! A server that goes away and comes back a minute later continues its counters; one that does
//! not is dropped, so that years of reloads and DNS changes cannot grow the memory or the number
//! of series. Time is the number of collections, one a second. Invariant: at most
//! [`RETIRED_ENTRIES`] keys are held beyond those in the configuration.

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
    retired_at: Option<u64>,
}

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
}

impl<K: Ord + Clone, S: Default> Family<K, S> {
    pub(crate) const fn new() -> Self {
        Self { entries: BTreeMap::new(), collections: 0, generations: 0 }
    }

    /// The shard of `worker` for `key`; makes it when it does not exist. The key is in use again.
    pub(crate) fn shard(&mut self, key: K, worker: usize) -> Arc<S> {
        let generations = &mut self.generations;
        let entry = self.entries.entry(key).or_insert_with(|| {
            *generations += 1;
            Entry { shards: Vec::new(), generation: *generations, retired_at: None }
        });
        entry.retired_at = None;
        if entry.shards.len() <= worker {
            entry.shards.resize_with(worker + 1, || None);
        }
        let place = entry.shards.get_mut(worker).expect("the place was just made");
        Arc::clone(place.get_or_insert_with(Arc::default))
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
            self.entries.remove(key);
        }
    }

    /// A second passed: drops what has been retired for long and is no longer recorded into.
    pub(crate) fn collected(&mut self) {
        self.collections += 1;
        let collections = self.collections;
        self.entries.retain(|_, entry| {
            entry.retired_at.is_none_or(|at| collections - at < RETIRED_COLLECTIONS)
                || entry.is_held()
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
}
