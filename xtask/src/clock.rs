//! The one place here that reads a clock or waits for time to pass.

use std::time::{Duration, Instant};

/// Reads the monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "a bench measures real time; the rule is for the door"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits. Only between two looks at another program that tells nobody when it is ready.
#[expect(clippy::disallowed_methods, reason = "nginx and its like offer no event to wait for")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
