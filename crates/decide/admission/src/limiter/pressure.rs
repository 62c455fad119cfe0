//! Whether a limit is asked for so much that something can be said of it.
//!
//! Servers that stand still for a moment have many in flight then, and answer late: that says
//! nothing of how many they should have. In overload the limit is reached all the time.

use std::time::Duration;

use model::Timestamp;

use super::window::Tally;

/// The part of the attempts that has to find the limit reached, as a moving mean over so long.
const ENOUGH: f64 = 0.35;
const TIME: Duration = Duration::from_millis(400);
/// Who starts before too much to do does not have to wait until he believes it.
const AT_FIRST: f64 = 0.75;

/// How many of the attempts find the limit reached, of late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pressure {
    part: f64,
    at: Timestamp,
    /// When it was last enough.
    enough_at: Timestamp,
}

impl Pressure {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { part: AT_FIRST, at: now, enough_at: now }
    }

    /// Adds the window of a limit that was held.
    pub(super) fn add(&mut self, tally: &Tally, now: Timestamp) {
        let part = f64::from(tally.held) / f64::from(tally.seen.max(1));
        let passed = now.since(self.at).as_secs_f64() / TIME.as_secs_f64();
        self.part = part + (self.part - part) * (-passed).exp();
        self.at = now;
        if self.is_enough() {
            self.enough_at = now;
        }
    }

    /// Passes over the window of a trial: that nobody asks for a higher limit says nothing.
    pub(super) fn pass(&mut self, now: Timestamp) {
        self.at = now;
    }

    pub(super) fn is_enough(&self) -> bool {
        self.part >= ENOUGH
    }

    /// For how long it was not enough.
    pub(super) fn missed(&self, now: Timestamp) -> Duration {
        now.since(self.enough_at)
    }
}
