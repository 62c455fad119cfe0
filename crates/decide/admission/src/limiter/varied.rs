//! The limit of servers whose times vary much, by the mean of all that was measured.
//!
//! The limit is the one with the best power in the mean over all knees that [`Curve`] holds for
//! possible. Trials above and below in turns keep the curve known on both sides of it: as far away
//! as the knee may well be, but at least as far as chance lets one window tell. Until something is
//! known on both sides the limit does not count as found.

use std::time::Duration;

use model::Timestamp;

use super::curve::{Curve, Point, scaled};
use super::measured::EXPONENT;
use super::search::LIMIT_MAX;
use super::verdict::Direction;
use super::window::rounded;

/// The scatter from which on single windows are not compared.
pub(super) const VARIED: f64 = 0.3;
/// In one step the limit is at most so many times lower or higher.
const DOWN_MAX: f64 = 1.8;
const UP_MAX: f64 = 2.0;
/// A trial above all that is known: where servers contend for something, much more costs answers.
const UP_UNKNOWN: f64 = 1.5;
/// With this probability that the knee is above all that was measured, the limit doubles.
const BEYOND: f64 = 0.6;
/// Trials are where the knee is not above with these probabilities.
const LOW: f64 = 0.2;
const HIGH: f64 = 0.6;
/// The narrowest and the widest step that chance asks of a trial, as parts of the limit.
const STEP_MIN: f64 = 0.125;
const STEP_MAX: f64 = 0.5;
/// The limit is found when the logarithms of the numbers of those trials are so close.
const FOUND: f64 = 0.7;
/// Windows that the limit is held between two trials, and while it is not found.
const RESTS: u32 = 7;
const RESTS_LOST: u32 = 1;
/// After so long comes a trial above, however few windows there were.
const REST_MAX_UP: Duration = Duration::from_secs(1);
/// Attempts in a window: at least of so many in flight, this part of them, and the scatter more.
const TURN_MIN: u32 = 16;
const TURN_PART: f64 = 0.8;
const TURN_SCATTER_MAX: f64 = 4.0;
/// A cost at the same limit has changed if it moved by so much, and by so many standard errors.
const CHANGE_MIN: f64 = 0.12;
const CHANGE_PROOF: f64 = 3.5;

/// What is known, and what was done last.
#[derive(Debug)]
pub(super) struct Varied {
    curve: Curve,
    added_at: Timestamp,
    /// Windows since the last trial.
    windows: u32,
    tried_at: Timestamp,
    /// Where the last trial between known sides went.
    last: Direction,
    /// Where the first trial after a change goes. A door that starts before too much to do is
    /// better off with less; where servers became faster they may take more.
    first: Direction,
}

/// What follows from a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// The limit that is held.
    pub(super) limit: u32,
    /// Another one that the next window tries.
    pub(super) trial: Option<u32>,
    /// Whether the limit is found.
    pub(super) found: bool,
}

impl Varied {
    pub(super) fn new(now: Timestamp) -> Self {
        let (curve, first) = (Curve::default(), Direction::Down);
        Self { curve, added_at: now, windows: 0, tried_at: now, last: first, first }
    }

    pub(super) fn forget(&mut self) {
        self.curve.forget();
    }

    /// Adds a window of the limit that is held, or of a trial: which way the limit will have to go
    /// if the servers are not what they were.
    pub(super) fn add(&mut self, point: &Point, held: u32, now: Timestamp) -> Option<Direction> {
        let trial = point.limit != held;
        let moved = self
            .curve
            .moved(point)
            .filter(|(apart, doubt)| !trial && apart.abs() > CHANGE_MIN.max(CHANGE_PROOF * doubt));
        let change =
            moved.map(|(apart, _)| if apart > 0.0 { Direction::Down } else { Direction::Up });
        if let Some(direction) = change {
            self.curve.forget();
            self.first = direction;
        } else {
            self.curve.fade(now.since(self.added_at).as_secs_f64(), point.count);
        }
        self.added_at = now;
        self.curve.add(point, held);
        change
    }

    /// The next limit, after the window of `point`, while `limit` was held to and is found or not.
    pub(super) fn next(
        &mut self,
        point: &Point,
        limit: u32,
        found: bool,
        now: Timestamp,
    ) -> Option<Next> {
        let knee = self.curve.knee(point.scatter)?;
        let is_beyond = knee.beyond > BEYOND;
        let limit = if is_beyond {
            point.limit.max(limit).saturating_mul(2).min(up(limit))
        } else {
            knee.best(down(limit), up(limit), EXPONENT)
        };
        let (low, high) = (knee.quantile(LOW), knee.quantile(HIGH));
        let narrow = (f64::from(high) / f64::from(low)).ln() <= FOUND;
        let unknown = self.unknown(limit);
        let found = !is_beyond && (found || narrow && unknown.is_none());
        let in_turn = if limit == 1 { Direction::Up } else { self.last.opposite() };
        let direction = unknown.unwrap_or(in_turn);
        if !self.rested(found, direction, now) {
            return Some(Next { limit, trial: None, found });
        }
        (self.windows, self.tried_at) = (0, now);
        if unknown.is_none() {
            self.last = direction;
        }
        let step = (point.scatter / f64::from(turn(limit, point.scatter))).sqrt();
        let step = rounded((f64::from(limit) * step.clamp(STEP_MIN, STEP_MAX)).floor()).max(1);
        let trial = match direction {
            Direction::Up if unknown.is_some() => scaled(limit, UP_UNKNOWN).max(limit + 1),
            Direction::Up => high.min(up(limit)).max(limit + step),
            Direction::Down if unknown.is_some() => down(limit),
            Direction::Down => low.max(down(limit)).min(limit.saturating_sub(step)),
        };
        Some(Next { limit, trial: Some(trial.clamp(1, LIMIT_MAX)), found })
    }

    /// On which side of this limit nothing is known.
    fn unknown(&self, limit: u32) -> Option<Direction> {
        match self.curve.sides(limit) {
            (false, true) if limit > 1 => Some(Direction::Down),
            (false, false) if limit > 1 => Some(self.first),
            (_, false) => Some(Direction::Up),
            (_, true) => None,
        }
    }

    /// Whether it is time for another trial. One above costs some latency only.
    fn rested(&mut self, found: bool, direction: Direction, now: Timestamp) -> bool {
        self.windows += 1;
        let enough = self.windows > if found { RESTS } else { RESTS_LOST };
        enough || direction == Direction::Up && now.since(self.tried_at) > REST_MAX_UP
    }
}

/// The lowest and the highest limit after this one.
fn down(limit: u32) -> u32 {
    scaled(limit, 1.0 / DOWN_MAX).max(1)
}

fn up(limit: u32) -> u32 {
    scaled(limit, UP_MAX).min(LIMIT_MAX)
}

/// Attempts that make a window.
pub(super) fn turn(limit: u32, scatter: f64) -> u32 {
    rounded(f64::from(limit.max(TURN_MIN)) * (TURN_PART + scatter.min(TURN_SCATTER_MAX)))
}
