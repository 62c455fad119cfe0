//! How many may wait at one worker, and for how long.
//!
//! A line holds twice what may be in flight, or more where service takes hardly any time. Its time
//! limits are short while it stands (`queue::delay`): half a median service time, 20 to 50 ms, but for
//! pools of few places as long as two of them take to become free. While the limit is only a first
//! guess, it may be far too low for a door that starts under its usual load, so more may wait, for
//! longer.

use std::time::Duration;

use super::Line;
use super::lane::Lane;

/// The fewest requests of all workers that may wait at a pool.
const WAITING_MIN: u32 = 16;
/// The same while the limit is only a first guess, and how long they may wait then.
const WAITING_MIN_GUESSING: u32 = 256;
const WAIT_GUESSING: Duration = Duration::from_millis(200);
/// The fewest that may wait at one worker where service takes hardly any time: that so many
/// connections ask without a pause is no overload.
const WAITING_MIN_FAST: u32 = 256;
/// The range of the time limit while a line stands. With 5 ms as the least, a machine that is busy
/// is late by as much, and 32 connections that ask without a pause were refused answers of 3 ms.
const WAIT_SHORT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(50));

/// The time limits of this moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) service: Duration,
    pub(super) short: Duration,
    pub(super) long: Duration,
}

impl<T> Line<T> {
    /// Requests that may wait here.
    pub(super) fn capacity(&self) -> usize {
        let limit = self.gate.limit().unwrap_or_else(|| self.gate.in_flight());
        let least = if self.gate.is_guessing() { WAITING_MIN_GUESSING } else { WAITING_MIN };
        let workers = u32::try_from(self.gate.shared.board.workers().max(1)).unwrap_or(u32::MAX);
        let own = limit.saturating_mul(2).max(least).div_ceil(workers);
        let own = if self.is_fast() { own.max(WAITING_MIN_FAST) } else { own };
        usize::try_from(own).unwrap_or(usize::MAX)
    }

    /// Whether the turn of many who wait comes soon.
    pub(super) fn is_fast(&self) -> bool {
        let Limits { service, short, .. } = self.limits();
        !service.is_zero() && service * 2 <= short
    }

    /// How long a request may wait whose flow has so many waiting.
    pub(super) fn limit(&self, lane: &Lane, length: usize, limits: &Limits) -> Duration {
        let overloaded = if length == 1 {
            lane.thin_delay.is_overloaded() || self.gate.shared.level.sheds()
        } else {
            lane.thick_delay.is_overloaded()
        };
        if overloaded { limits.short } else { limits.long }
    }

    pub(super) fn limits(&self) -> Limits {
        let service = self.gate.service_time();
        let long = self.gate.wait_max();
        if self.gate.is_guessing() {
            let long = long.max(WAIT_GUESSING);
            return Limits { service, short: long, long };
        }
        if service.is_zero() {
            // Nothing is known yet.
            return Limits { service, short: WAIT_SHORT.1.min(long), long };
        }
        let places = self.gate.limit().unwrap_or(1).max(1);
        // Two places become free in this time, unless there is only one.
        let two_places = (service * 2 / places).min(service);
        let short = (service / 2).clamp(WAIT_SHORT.0, WAIT_SHORT.1).max(two_places).min(long);
        Limits { service, short, long }
    }
}
