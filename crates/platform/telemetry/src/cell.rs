//! A counter with one writer and many readers.
//!
//! The worker that owns the shard is the only writer, so a plain load and store is enough: no
//! lock-prefixed instruction on the request path. Invariant: a second writer would lose counts,
//! never corrupt memory; the registry hands each worker its own shards so that there is none.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only its owner increases.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `count`. Only the shard's owner may call it.
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The count so far; any thread may ask.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// `N` counters side by side, indexed by something small: a reason, a status, a bucket.
#[derive(Debug)]
pub(crate) struct Counters<const N: usize>([Counter; N]);

impl<const N: usize> Counters<N> {
    pub(crate) const fn new() -> Self {
        Self([const { Counter::new() }; N])
    }

    /// Adds one at `index`; an index outside the array is a defect of the caller and ignored.
    #[inline]
    pub(crate) fn increment(&self, index: usize) {
        debug_assert!(index < N, "counter {index} of {N}");
        if let Some(counter) = self.0.get(index) {
            counter.add(1);
        }
    }

    /// Adds these counts to `totals`, which must be as long.
    pub(crate) fn add_to(&self, totals: &mut [u64]) {
        debug_assert_eq!(totals.len(), N);
        for (total, counter) in totals.iter_mut().zip(&self.0) {
            *total = total.wrapping_add(counter.get());
        }
    }
}
