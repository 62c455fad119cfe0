//! A window: what is to be counted next, and what was counted.
//!
//! Not every attempt counts. One that began before the limit was what it is, at another number in
//! flight, tells of another limit; but those that take long must not be missing among those that
//! end, or the first to end, the short ones, make every new limit look good.

use model::Timestamp;

/// Attempts that are enough where they hardly differ.
pub(super) const FEW: u32 = 6;
/// Attempts in a window: as many as are in flight, but at least and at most so many.
const TURN_MIN: u32 = 16;
const TURN_MAX: u32 = 400;

/// What is to be counted next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The limit while it lasts.
    pub(super) limit: u32,
    /// Since when the limit is what it is.
    pub(super) since: Timestamp,
    /// Attempts that ended earlier do not count.
    pub(super) from: Timestamp,
    /// It ends now at the latest.
    pub(super) due: Timestamp,
    /// It ends when so many count.
    pub(super) target: u32,
    /// Attempts that began after `since` count if at least so many were in flight, itself included,
    pub(super) floor: u32,
    /// and at most so many.
    pub(super) ceiling: u32,
    /// Attempts that began before `since` count if at least so many were in flight.
    pub(super) floor_before: u32,
    /// Longer times count as this.
    pub(super) cap_us: u64,
    /// A client that leaves after so long gave up waiting; one that leaves earlier says nothing.
    pub(super) late_us: u64,
    /// The window before goes on: only `due` and `target` are new.
    pub(super) goes_on: bool,
}

/// What was counted in one window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Attempts that ended in it, except those whose client left early.
    pub(super) seen: u32,
    /// Those of them that count; the numbers below are of these.
    pub(super) held: u32,
    /// Those that began since the limit is what it is.
    pub(super) reached: u32,
    /// Answers.
    pub(super) answered: u32,
    /// Attempts that timed out, or whose client gave up.
    pub(super) late: u32,
    /// Their time, each at most the cap.
    pub(super) spent_us: f64,
    /// The part of it that ended in answers.
    pub(super) answered_us: f64,
    /// The squares of their times as parts of the cap.
    pub(super) squares: f64,
    /// Answers to attempts that began while little was in flight; not among those above.
    pub(super) calm: u32,
    /// Their time.
    pub(super) calm_us: f64,
}

impl Tally {
    /// The mean time of an answer, or of any attempt if none was answered. Failures that come at once
    /// say nothing of how long the servers take.
    pub(super) fn mean_us(&self) -> f64 {
        if self.answered > 0 {
            self.answered_us / f64::from(self.answered)
        } else {
            self.spent_us / f64::from(self.held.max(1))
        }
    }
}

/// Attempts that are enough to begin with.
pub(super) fn few(limit: u32) -> u32 {
    FEW.min(limit + 2)
}

/// Attempts that are a fair picture of a limit.
pub(super) fn turn(limit: u32, scatter: f64) -> u32 {
    rounded(f64::from(limit.max(TURN_MIN)) * (1.0 + 4.0 * scatter)).min(TURN_MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative; the cast saturates"
)]
pub(super) fn rounded(value: f64) -> u32 {
    value.round() as u32
}
