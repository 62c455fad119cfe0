//! A number of requests that are somewhere at once, and the guard that counts one of them.
//!
//! Invariant: from the moment a [`Held`] exists until it is dropped the count includes it exactly
//! once, however the request ends. A count that leaks refuses for ever (Envoy #43032).

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
};

/// Requests that are held, over all workers; a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Count {
    held: AtomicU32,
    /// How many entered so far.
    entered: AtomicU64,
}

impl Count {
    /// How many are held now.
    pub(crate) fn held(&self) -> u32 {
        self.held.load(Acquire)
    }

    /// How many entered since it was made.
    pub(crate) fn entered(&self) -> u64 {
        self.entered.load(Relaxed)
    }

    /// Counts one in unless `most` are held already; `None` as `most` has no limit.
    pub(crate) fn enter(self: &Arc<Self>, most: Option<u32>) -> Option<Held> {
        let most = most.unwrap_or(u32::MAX);
        let before =
            self.held.try_update(AcqRel, Acquire, |held| (held < most).then_some(held + 1)).ok()?;
        self.entered.fetch_add(1, Relaxed);
        Some(Held { count: Arc::clone(self), number: before + 1 })
    }
}

/// One request that is counted; counted out when it is dropped.
#[must_use = "it is counted out as soon as this is dropped"]
#[derive(Debug)]
pub(crate) struct Held {
    count: Arc<Count>,
    /// How many were held when it entered, itself included.
    number: u32,
}

impl Held {
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let before = self.count.held.fetch_sub(1, AcqRel);
        debug_assert!(before > 0, "a request left that never entered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_enters_leaves_however_it_ends() {
        let count = Arc::new(Count::default());
        let first = count.enter(Some(2)).unwrap();
        let second = count.enter(Some(2)).unwrap();
        assert_eq!((first.number(), second.number(), count.held()), (1, 2, 2));
        assert!(count.enter(Some(2)).is_none());
        drop(first);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _third = count.enter(Some(2)).unwrap();
            panic!("a defect");
        }));
        assert!(panicked.is_err());
        assert_eq!((count.held(), count.entered()), (1, 3));
        drop((second, count.enter(None)));
        assert_eq!(count.held(), 0);
    }

    #[test]
    fn a_limit_holds_while_workers_race() {
        let count = Arc::new(Count::default());
        let race = || {
            for held in (0..20_000).filter_map(|_| count.enter(Some(3))) {
                assert!(held.number() <= 3 && count.held() <= 3);
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(race))));
        assert_eq!(count.held(), 0);
    }
}
