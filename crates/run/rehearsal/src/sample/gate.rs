//! Lets a settable number of requests be served at once; the rest wait in order of arrival.
//!
//! Invariant: permits in the semaphore + permits handed out - debt = the limit. The debt is what
//! a lowered limit could not take back at once; returned permits pay it first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
struct Limit {
    limit: usize,
    debt: usize,
}

/// The gate in front of a sample application's work.
#[derive(Debug)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    taken: AtomicUsize,
    limit: Mutex<Limit>,
}

/// A place at work; given back when dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    gate: &'a Gate,
    permit: Option<OwnedSemaphorePermit>,
}

impl Gate {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limit)),
            waiting: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            limit: Mutex::new(Limit { limit, debt: 0 }),
        }
    }

    /// Waits for a place; `None` when `waiting_max` requests wait already.
    pub(super) async fn enter(&self, waiting_max: usize) -> Option<Place<'_>> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(self.place(permit));
        }
        let _waiting = Waiting::begin(&self.waiting, waiting_max)?;
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(self.place(permit))
    }

    fn place(&self, permit: OwnedSemaphorePermit) -> Place<'_> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Place { gate: self, permit: Some(permit) }
    }

    /// Places that are taken; after a lowered limit more than it for a while.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Changes how many requests are served at once; those at work end undisturbed.
    pub(super) fn set_limit(&self, limit: usize) {
        let mut state = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if limit > state.limit {
            let more = limit - state.limit;
            let paid = more.min(state.debt);
            state.debt -= paid;
            self.places.add_permits(more - paid);
        } else {
            let fewer = state.limit - limit;
            state.debt += fewer - self.places.forget_permits(fewer);
        }
        state.limit = limit;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        self.gate.taken.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.gate.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if state.debt > 0 {
            state.debt -= 1;
            permit.forget();
        }
    }
}

/// Counts one waiting request, also when it stops waiting because its client left.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        if count.fetch_add(1, Ordering::Relaxed) < max {
            return Some(Self(count));
        }
        count.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// How many places can be taken right now.
    fn free(gate: &Gate) -> usize {
        let mut held = Vec::new();
        while let Poll::Ready(Some(place)) = poll(pin!(gate.enter(1))) {
            held.push(place);
        }
        held.len()
    }

    #[test]
    fn a_limit_changes_while_places_are_taken() {
        let gate = Gate::new(3);
        let Poll::Ready(Some(first)) = poll(pin!(gate.enter(0))) else {
            panic!("a free gate lets in")
        };
        let Poll::Ready(Some(second)) = poll(pin!(gate.enter(0))) else {
            panic!("a free gate lets in")
        };
        gate.set_limit(1);
        assert_eq!((free(&gate), gate.taken()), (0, 2));
        drop(first);
        assert_eq!((free(&gate), gate.taken()), (0, 1), "the debt is paid first");
        drop(second);
        assert_eq!(free(&gate), 1);
        gate.set_limit(4);
        assert_eq!(free(&gate), 4);
    }

    #[test]
    fn raising_a_limit_cancels_the_debt() {
        let gate = Gate::new(2);
        let Poll::Ready(Some(first)) = poll(pin!(gate.enter(0))) else {
            panic!("a free gate lets in")
        };
        let Poll::Ready(Some(second)) = poll(pin!(gate.enter(0))) else {
            panic!("a free gate lets in")
        };
        gate.set_limit(1);
        gate.set_limit(2);
        drop((first, second));
        assert_eq!(free(&gate), 2);
    }

    #[test]
    fn the_queue_is_bounded_and_forgets_who_left() {
        let gate = Gate::new(1);
        let Poll::Ready(Some(place)) = poll(pin!(gate.enter(0))) else {
            panic!("a free gate lets in")
        };
        {
            let mut waiting = pin!(gate.enter(1));
            assert!(poll(waiting.as_mut()).is_pending());
            assert_eq!(gate.waiting(), 1);
            assert!(matches!(poll(pin!(gate.enter(1))), Poll::Ready(None)), "the queue is full");
        }
        assert_eq!(gate.waiting(), 0, "who leaves no longer waits");
        drop(place);
        assert_eq!(free(&gate), 1);
    }
}
