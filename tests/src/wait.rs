//! Waiting on conditions.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::PATIENCE;

/// Between two looks at a condition.
const PARK: Duration = Duration::from_millis(5);
/// Looks until the patience is over.
const LOOKS: u32 = 6_000;

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not hold within [`PATIENCE`]; `what` says what was waited for.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(what, || condition().then_some(()));
}

/// Waits until `look` finds something.
///
/// # Panics
/// When it finds nothing within [`PATIENCE`]; `what` says what was waited for.
#[track_caller]
pub fn eventually_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    look_until(&mut look).unwrap_or_else(|| panic!("waited in vain until {what}"))
}

/// Looks until something is found or the patience is over.
pub(crate) fn look<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    look_until(&mut look)
}

fn look_until<T>(look: &mut dyn FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::park_timeout(PARK);
    }
    None
}

/// A gate that threads wait at until a test opens it. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn closed() -> Self {
        Self::default()
    }

    /// Lets everybody through, from now on.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits until the gate is open.
    ///
    /// # Panics
    /// When nobody opens it within [`PATIENCE`].
    pub fn wait(&self) {
        let opened = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (opened, _timeout) = self
            .0
            .1
            .wait_timeout_while(opened, PATIENCE, |opened| !*opened)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(*opened, "nobody opened the gate");
    }
}
