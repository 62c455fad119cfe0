//! The one place that reads the clock.
//!
//! Monotonic time is nanoseconds since the first call; wall time is for logs only. Everything
//! that decides takes a [`Timestamp`] instead, so that tests turn the clock by hand.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use model::Timestamp;

static START: OnceLock<Instant> = OnceLock::new();

/// Now, on the process's monotonic clock. About 25 ns.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is handed")]
pub fn now() -> Timestamp {
    let now = Instant::now();
    let start = *START.get_or_init(|| now);
    let nanos = now.saturating_duration_since(start).as_nanos();
    Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Now, by the wall clock; it may jump.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is handed")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
