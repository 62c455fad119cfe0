//! The search for the limit: try another size for a moment, keep what was better. Pure.
//!
//! What is maximised is power, `throughput^3.5 / latency` (Kleinrock, "Power and deterministic rules
//! of thumb", ICC 1979; trying neighbours in turns is that of PCC Vivace, NSDI 2018). Servers that
//! take so many and let the others wait have their best power exactly at that number, servers that
//! slow down with each request a little below the peak of their throughput. Latency that is the
//! same at both sizes cancels out: nothing that decides is remembered and could go stale. What an
//! answer took in the calm ([`Calm`]) only says which size to try first.
//!
//! Windows alternate: the limit is held and measured, then a neighbour is tried. What differs by
//! more than chance explains decides; otherwise more pairs of windows are asked, while the steps
//! shrink and the pauses grow. Only a limit that is reached is measured, so idle servers, and few
//! requests, change nothing. Where times vary much, [`super::varied`] decides instead.

use std::time::Duration;

use model::Timestamp;

use super::calm::Calm;
use super::curve::Point;
use super::measured::{Measured, scatter};
use super::pressure::Pressure;
use super::varied::{self, Next, VARIED, Varied};
use super::verdict::{Direction, PROOF_WORSE, Verdict, is_quick};
use super::window::{FEW, Tally, Window, few, rounded, turn};

/// The limit before anything is known. More would please a door that starts before many servers
/// with much to do; but servers that collapse under it may not come back (simulated: twice as
/// much left servers that contend for a lock at nothing).
const FIRST: u32 = 20;
/// No limit is above this.
pub(super) const LIMIT_MAX: u32 = 10_000;
/// The widest and the narrowest step, as a ratio of limits, and what shrinks one in vain.
const STEP_MAX: f64 = 2.0;
const STEP_MIN: f64 = 1.12;
const STEP_SHRINKS: f64 = 0.3;
/// How many standard errors better a neighbour above or below has to be. A limit that is too high
/// costs some latency until the next trial; one that is too low costs answers, so the way down
/// needs the better proof.
const PROOF_UP: f64 = 1.3;
const PROOF_DOWN: f64 = 2.0;
/// Where answers take so many times longer than in the calm the first trial goes down; the widest
/// step that this suggests.
const LONGER: f64 = 1.4;
const STEP_CALM_MAX: f64 = 4.0;
/// A cost at the same limit has changed if it moved by so much, and by so many standard errors.
const CHANGE_MIN: f64 = 0.12;
const CHANGE_PROOF: f64 = 3.0;
/// Trials in a row that find nothing better, after which the limit counts as found.
const VAIN_MAX: u32 = 2;
/// Pairs of windows for one question, at most; fewer for what promises nothing: one, once a limit is found.
const PAIRS_MAX: u32 = 6;
const PAIRS_MAX_LOST: u32 = 2;
/// The scatter of attempts that hardly differ: few are enough.
const ALIKE: f64 = 0.02;
/// Late attempts that are no accident, if they are also a third of all.
const LATE_FEW: u32 = 4;
/// Between the trials of a limit that is found pass so many times a trial's length, fewer at first.
const RESTS: u32 = 30;
const RESTS_SOON: u32 = 4;
/// No rest is longer, before any trial, and before one that is not noticed.
const REST_MAX: Duration = Duration::from_secs(2);
const REST_MAX_UP: Duration = Duration::from_millis(700);
/// The shortest and longest time after which a window ends without its attempts.
const PATIENCE: Duration = Duration::from_millis(250);
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// The longest time that a held limit waits for more attempts at its number in flight.
const LASTS_MAX: Duration = Duration::from_secs(5);
/// After so long with attempts, what is held to is no first guess any more.
const FIRST_LASTS: Duration = Duration::from_secs(3);
/// Times count as at most so many means.
const CAP: u64 = 5;
/// The cap while no mean is known.
const CAP_FIRST_US: u64 = 10_000_000;
/// A client that left earlier never gave up waiting.
const LATE_MIN_US: u64 = 100_000;
/// A limit that so long nobody needed was found in a moment that is over.
const FORGOTTEN: Duration = Duration::from_secs(2);

/// The state of the search.
#[derive(Debug)]
pub(super) struct Search {
    /// The limit that is held to, between trials.
    limit: u32,
    /// What is known of it.
    here: Option<Measured>,
    /// The question that is open.
    trial: Option<Trial>,
    /// Whether the running window is the trial's.
    trying: bool,
    /// Where the next trial goes,
    direction: Direction,
    /// and how far, as a ratio.
    step_up: f64,
    step_down: f64,
    /// Trials in a row that found nothing better.
    vain: u32,
    /// True until a limit is found that is better than its neighbours, and after all has changed.
    lost: bool,
    /// No trial before this.
    rest_until: Timestamp,
    /// The relative variance of single times, within windows and between them: those of neighbours
    /// in a server's queue rise and fall together.
    scatter: f64,
    wobble: f64,
    /// When the first window with attempts ended.
    measured_since: Option<Timestamp>,
    pressure: Pressure,
    /// The mean time in the latest window, and in the latest one that was no trial.
    latest: Duration,
    usual: Duration,
    calm: Calm,
    /// Whether the limit was last changed because answers came too late.
    retreated: bool,
    varied: Varied,
    window: Window,
}

/// A question: is this limit better than the one that is held?
#[derive(Clone, Copy, Debug)]
struct Trial {
    limit: u32,
    /// What its windows gave so far.
    found: Option<Measured>,
    /// How many windows.
    pairs: u32,
}

impl Search {
    /// Nothing is known; the first window begins `now`.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            limit: FIRST,
            here: None,
            trial: None,
            trying: false,
            // A door that has just started before healthy servers must not be what limits them; where
            // they are overloaded already the calm says so, or one trial of more at once is short.
            direction: Direction::Up,
            step_up: STEP_MAX,
            step_down: STEP_MAX,
            vain: 0,
            lost: true,
            rest_until: now,
            scatter: 0.0,
            wobble: 0.0,
            measured_since: None,
            pressure: Pressure::new(now),
            latest: Duration::ZERO,
            usual: Duration::ZERO,
            calm: Calm::default(),
            retreated: false,
            varied: Varied::new(now),
            window: Window {
                limit: FIRST,
                since: now,
                from: now,
                due: now + PATIENCE,
                target: FEW,
                floor: FIRST - FIRST / 10,
                ceiling: FIRST,
                floor_before: FIRST,
                cap_us: CAP_FIRST_US,
                late_us: LATE_MIN_US,
                goes_on: false,
            },
        }
    }

    /// The running window.
    pub(super) const fn window(&self) -> &Window {
        &self.window
    }

    /// Whether the limit is more than a first guess.
    pub(super) fn is_found(&self, now: Timestamp) -> bool {
        !self.lost || self.measured_since.is_some_and(|since| now.since(since) >= FIRST_LASTS)
    }

    /// The running window has its attempts, or its time is over: what follows is in
    /// [`Self::window`].
    pub(super) fn close(&mut self, tally: &Tally, now: Timestamp) {
        let before = self.calm;
        self.calm.add(tally);
        self.window = self.next(tally, now);
        if self.window.goes_on {
            // Its counts will come again.
            self.calm = before;
        }
    }

    fn next(&mut self, tally: &Tally, now: Timestamp) -> Window {
        if self.trying {
            self.pressure.pass(now);
        } else {
            self.pressure.add(tally, now);
        }
        if !self.pressure.is_enough() {
            return self.unneeded(now);
        }
        if tally.held > 0 {
            self.measured_since.get_or_insert(now);
            let mean_us = tally.mean_us();
            self.latest = Duration::from_secs_f64(mean_us / 1e6);
            if !self.trying {
                self.usual = self.latest;
            }
        }
        if tally.late >= LATE_FEW && tally.late * 3 > tally.held {
            if !self.trying {
                return self.retreat(now);
            } else if self.window.limit > self.limit {
                return self.in_vain(now);
            }
        }
        let few = few(self.window.limit);
        // When the limit is reached now and then only, those that take long are left over in between.
        let reached = tally.reached >= tally.held / 4 && tally.held * 2 >= tally.seen;
        if tally.held < few || !reached {
            let may_come = !self.trying && tally.reached > 0 && now < self.window.from + LASTS_MAX;
            if now < self.window.due || may_come {
                let due = self.window.due.max(now + PATIENCE);
                return Window { due, target: tally.held + few, goes_on: true, ..self.window };
            }
            return if self.trying { self.not_reached(tally, now) } else { self.hold(now) };
        }
        let scatter = scatter(&self.window, tally);
        let turn = match self.scatter.max(scatter) {
            scatter if scatter >= VARIED => varied::turn(self.window.limit, scatter),
            _ => turn(self.window.limit, if self.lost { 0.0 } else { scatter }),
        };
        let alike = scatter < ALIKE && self.may_be_short();
        if tally.held < turn && now < self.window.due && !alike {
            return Window { target: turn, goes_on: true, ..self.window };
        }
        self.scatter = (self.scatter * 0.8).max(scatter);
        if self.window.from == self.window.since && !alike {
            // The very first window: now it is known how long the first ends tell too little.
            return Window { from: now + self.settling(), ..self.hold(now) };
        }
        let scatter = self.scatter.max(self.wobble);
        let level = Measured::new(&self.window, tally, scatter);
        let (limit, cost, count) = (level.limit, level.cost, f64::from(tally.held));
        let point = Point { limit, cost, count, scatter };
        let change = self.varied.add(&point, self.limit, now);
        let quick = is_quick(&level) || self.here.is_some_and(|here| is_quick(&here));
        if self.scatter >= VARIED && !quick {
            if let Some(direction) = change {
                self.changed(direction, now);
            }
            if let Some(next) = self.varied.next(&point, self.limit, !self.lost, now) {
                return self.go(next, now);
            }
        }
        if self.trying { self.tried(level, now) } else { self.held(level, tally, now) }
    }

    /// Where times vary much all that was measured decides, not this window and the one before.
    fn go(&mut self, next: Next, now: Timestamp) -> Window {
        self.here = None;
        self.trial = None;
        self.limit = next.limit;
        self.lost = !next.found;
        match next.trial {
            Some(limit) => self.try_out(limit, now),
            None => self.hold(now),
        }
    }

    /// Hardly anybody finds the limit reached: nothing can be said of it.
    fn unneeded(&mut self, now: Timestamp) -> Window {
        self.trial = None;
        if self.limit < FIRST && self.pressure.missed(now) >= FORGOTTEN {
            self.limit = FIRST;
            self.changed(Direction::Up, now);
            self.varied.forget();
            self.here = None;
        }
        self.hold(now)
    }

    /// Whether few attempts may be enough: the first ones ever, and those of a wide step down,
    /// where the first to end are as good as the others.
    fn may_be_short(&self) -> bool {
        let wide = self.window.limit * 10 <= self.limit * 7;
        self.here.is_none() || self.trying && wide
    }

    /// The limit was held, and measured.
    fn held(&mut self, level: Measured, tally: &Tally, now: Timestamp) -> Window {
        match self.here {
            Some(here) if here.limit == level.limit => {
                let apart = level.cost - here.cost;
                if apart.abs() > CHANGE_MIN.max(CHANGE_PROOF * here.doubt(&level)) {
                    self.changed(if apart > 0.0 { Direction::Down } else { Direction::Up }, now);
                    self.here = Some(level);
                } else {
                    let seen = (apart * apart * f64::from(tally.held)).min(4.0);
                    self.wobble += 0.2 * (seen - self.wobble);
                    self.here = Some(here.merged(&level));
                }
            }
            _ => self.here = Some(level),
        }
        if now < self.rest_until {
            return self.hold(now);
        }
        match self.trial {
            Some(trial) => self.try_out(trial.limit, now),
            None => self.ask(now),
        }
    }

    /// A neighbour was tried, and measured.
    fn tried(&mut self, level: Measured, now: Timestamp) -> Window {
        let (Some(here), Some(trial)) = (self.here, self.trial) else {
            return self.hold(now);
        };
        let found = trial.found.map_or(level, |found| found.merged(&level));
        let pairs = trial.pairs + 1;
        self.trial = Some(Trial { found: Some(found), pairs, ..trial });
        let promising = here.gain(&found).0 > 0.0;
        // Where what is held is good, a trial that promises nothing is not made again and again.
        let pairs_max = match (promising, self.lost) {
            (true, _) => PAIRS_MAX,
            (false, true) => PAIRS_MAX_LOST,
            (false, false) => 1,
        };
        let proof = match self.direction {
            _ if self.lost => PROOF_WORSE,
            Direction::Up => PROOF_UP,
            Direction::Down => PROOF_DOWN,
        };
        match Verdict::of(&here, &found, self.scatter, proof) {
            Verdict::Better => {
                self.limit = found.limit;
                self.here = Some(found);
                self.vain = 0;
                let step = self.step();
                *step = (*step * *step).min(STEP_MAX);
                self.ask(now)
            }
            Verdict::Unclear if pairs < pairs_max => {
                self.rest(promising, now);
                self.hold(now)
            }
            Verdict::Unclear | Verdict::Worse => {
                // Nearer, but not so near that chance hides the difference.
                let (_, doubt) = here.gain(&found);
                let step = self.step();
                *step = step.powf(STEP_SHRINKS).max((doubt / 2.0).exp()).clamp(STEP_MIN, STEP_MAX);
                self.in_vain(now)
            }
        }
    }

    /// The same limit costs more, or less, than it did: what was found may be wrong now.
    fn changed(&mut self, direction: Direction, now: Timestamp) {
        self.direction = direction;
        self.step_up = STEP_MAX;
        self.step_down = STEP_MAX;
        self.vain = 0;
        self.lost = true;
        self.calm.forget();
        self.retreated = false;
        self.trial = None;
        self.rest_until = now;
    }

    /// Many came back too late: whatever the reason, fewer at once cannot be wrong.
    fn retreat(&mut self, now: Timestamp) -> Window {
        // What the calm was like says when it is over, and the way is up again.
        let calm = self.calm;
        self.changed(Direction::Down, now);
        (self.calm, self.retreated) = (calm, true);
        self.limit = (self.limit / 2).max(1);
        self.varied.forget();
        self.here = None;
        self.hold(now)
    }

    /// The neighbour's number in flight was hardly reached.
    fn not_reached(&mut self, tally: &Tally, now: Timestamp) -> Window {
        if self.window.limit > self.limit && tally.seen > 0 {
            // Nobody asks for so much, or something else is in the way: it need not be this limit.
            self.limit = self.window.limit.min(self.limit + self.limit.div_ceil(4));
            self.here = None;
            // A wide step down would refuse those whom the servers have time for.
            self.step_down = STEP_MIN;
        }
        self.in_vain(now)
    }

    /// The neighbour was no better, or could not be tried: next time the other one.
    fn in_vain(&mut self, now: Timestamp) -> Window {
        self.trial = None;
        self.vain += 1;
        self.lost &= self.vain < VAIN_MAX;
        self.direction = self.direction.opposite();
        self.rest(false, now);
        self.hold(now)
    }

    /// Sets the pause until the next trial: one that costs answers or latency has to be rare.
    fn rest(&mut self, promising: bool, now: Timestamp) {
        let spent = now.since(self.window.since);
        let pause = if self.lost || promising {
            spent
        } else {
            let rests = if self.vain >= 2 * VAIN_MAX { RESTS } else { RESTS_SOON };
            // Where times vary anyway, a little more at once is not noticed: it may be tried often.
            let unnoticed = self.direction == Direction::Up && self.scatter > VARIED;
            let most = if unnoticed { REST_MAX_UP.max(spent) } else { REST_MAX.max(spent * 3) };
            (spent * rests).min(most)
        };
        self.rest_until = now + pause;
    }

    const fn step(&mut self) -> &mut f64 {
        match self.direction {
            Direction::Up => &mut self.step_up,
            Direction::Down => &mut self.step_down,
        }
    }

    /// Asks about the next neighbour.
    fn ask(&mut self, now: Timestamp) -> Window {
        self.look_at_calm();
        match self.limit {
            1 => self.direction = Direction::Up,
            LIMIT_MAX.. => self.direction = Direction::Down,
            _ => {}
        }
        let (limit, step) = (f64::from(self.limit), *self.step());
        let limit = match self.direction {
            Direction::Up => rounded(limit * step).clamp(self.limit + 1, LIMIT_MAX),
            Direction::Down => rounded(limit / step).clamp(1, self.limit - 1),
        };
        self.trial = Some(Trial { limit, found: None, pairs: 0 });
        self.try_out(limit, now)
    }

    /// While nothing is found, and where times hardly vary: by how much longer answers take than in
    /// the calm the first trial goes down, and how far one does. After a retreat all go up while it
    /// is hardly longer.
    fn look_at_calm(&mut self) {
        let hinted = self.lost && self.scatter < VARIED;
        let Some(here) = self.here.filter(|here| hinted && !is_quick(here)) else { return };
        let Some(longer) = self.calm.times_longer(here.cost) else { return };
        if longer <= LONGER && self.retreated {
            // What was late is over, and nothing waits: fewer at once would only be fewer.
            self.direction = Direction::Up;
        } else if self.vain == 0 && longer > LONGER {
            self.direction = Direction::Down;
        }
        if self.direction == Direction::Down {
            self.step_down = longer.clamp(STEP_MIN, STEP_CALM_MAX);
        }
    }

    fn hold(&mut self, now: Timestamp) -> Window {
        self.trying = false;
        self.opened(self.limit, self.limit - self.limit / 10, now)
    }

    fn try_out(&mut self, limit: u32, now: Timestamp) -> Window {
        self.trying = true;
        // Above, what counts has to be nearer to the trial's number than to the one before.
        let slack = if limit > self.limit { (limit - self.limit) / 4 } else { limit / 10 };
        self.opened(limit, limit - slack, now)
    }

    fn opened(&self, limit: u32, floor: u32, now: Timestamp) -> Window {
        let same = limit == self.window.limit;
        let from = if same { now } else { now + self.settling() };
        let patience = (self.latest.max(self.usual) * 6).clamp(PATIENCE, PATIENCE_MAX);
        let lower = limit.min(self.window.limit);
        let usual_us = u64::try_from(self.usual.as_micros()).unwrap_or(u64::MAX);
        Window {
            limit,
            since: if same { self.window.since } else { now },
            from,
            due: from + patience,
            target: few(limit),
            floor,
            ceiling: limit,
            floor_before: lower - lower / 10,
            cap_us: if usual_us == 0 { CAP_FIRST_US } else { usual_us.saturating_mul(CAP) },
            late_us: usual_us.max(LATE_MIN_US),
            goes_on: false,
        }
    }

    /// How long after a change of the limit the ends tell of the one before, or only of the
    /// shortest attempts.
    fn settling(&self) -> Duration {
        let scatter = if self.lost { 0.0 } else { self.scatter.min(2.0) };
        self.latest.max(self.usual).mul_f64(1.25 + scatter)
    }
}
