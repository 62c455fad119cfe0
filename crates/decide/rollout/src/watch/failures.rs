//! Whether more requests fail than before, over the door and on each route.
//!
//! What is usual is what was seen before, generously: the upper confidence bound, half as much
//! again, and two percentage points. Beyond it, evidence adds up second by second and begins anew
//! when it is gone (Page 1954; as an e-detector: Shin, Ramdas, Rinaldo 2024), so that harm which
//! begins late is seen as fast as harm which begins at once.
//! What admission refuses counts as failed too, but not in a second in which far more was asked for
//! than before and no less was served: that is a surge, and not what the change did.

use std::collections::BTreeMap;

use model::fact::{RouteFacts, Snapshot};
use model::{Fault, Reason};

use super::routes;
use crate::evidence::{binomial_upper, ln_ratio};
use crate::words::of_requests;

/// How often a good change may be rolled back for its failures by chance, all looks together.
const CHANCE: f64 = 0.001;
/// How surely what was usual before is below what is taken for usual.
const CHANCE_BEFORE: f64 = 0.01;
/// What a repeated measurement of the same door may differ by: as a ratio, and as a share.
const USUAL_RATIO: f64 = 1.5;
const USUAL_SHARE: f64 = 0.02;
/// What a second must serve of what a second served before, so that what it refused beyond it is
/// taken for a surge's.
const SERVED_RATIO: f64 = 0.9;
/// What is bet on: this part of the requests that would else succeed fails.
const BETS: [f64; 5] = [0.02, 0.05, 0.15, 0.4, 0.8];
/// Looks per watch; a longer watch has more, which the generous bound above covers.
const LOOKS: f64 = 30.0;
/// A burst of one second is not held against a change: seconds that must be bad of the last few.
const BAD_SECONDS: u32 = 2;
const LAST_SECONDS: u32 = 5;
/// Unless half of at least so many requests fail at once.
const AT_ONCE: u64 = 50;

/// Judges how many requests fail.
#[derive(Debug)]
pub(super) struct Failures {
    door: Judge,
    routes: BTreeMap<String, Judge>,
}

impl Failures {
    pub(super) fn new(usual: &[Snapshot]) -> Self {
        let mut by_route: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for route in usual.iter().flat_map(routes) {
            let sums = by_route.entry(route.name.clone()).or_default();
            let (failures, requests) = of_route(route);
            *sums = (sums.0 + failures, sums.1 + requests);
        }
        let judges = by_route.len() as f64 + 1.0;
        let door =
            usual.iter().map(of_door).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let judge = |sum| Judge::new(sum, usual.len(), judges);
        Self {
            door: judge(door),
            routes: by_route.into_iter().map(|(name, sum)| (name, judge(sum))).collect(),
        }
    }

    pub(super) fn second(&mut self, snapshot: &Snapshot) -> Option<String> {
        let mut broken = None;
        for route in routes(snapshot) {
            // A route that is new has no before of its own; the door's counts for it.
            if let Some(judge) = self.routes.get_mut(&route.name) {
                let words = judge.second(of_route(route), route.refused);
                broken =
                    broken.or_else(|| words.map(|words| format!("route {}: {words}", route.name)));
            }
        }
        let refused = routes(snapshot).map(|route| route.refused).sum();
        self.door.second(of_door(snapshot), refused).or(broken)
    }
}

/// Whether one stream of requests fails more than it did.
#[derive(Debug)]
struct Judge {
    before: (u64, u64),
    /// Requests, and requests that succeeded, in a second before.
    per_second: (f64, f64),
    usual: f64,
    threshold: f64,
    evidence: [f64; BETS.len()],
    /// The last seconds with requests, one bit each, the newest lowest: whether it was bad.
    bad: u32,
    since: (u64, u64),
}

impl Judge {
    fn new(before: (u64, u64), seconds: usize, judges: f64) -> Self {
        let upper = binomial_upper(before.0, before.1, CHANCE_BEFORE);
        let mean = |requests: u64| requests as f64 / seconds.max(1) as f64;
        Self {
            before,
            per_second: (mean(before.1), mean(before.1.saturating_sub(before.0))),
            usual: upper.mul_add(USUAL_RATIO, USUAL_SHARE).min(1.0),
            threshold: (BETS.len() as f64 * LOOKS * judges / CHANCE).ln(),
            evidence: [0.0; BETS.len()],
            bad: 0,
            since: (0, 0),
        }
    }

    fn second(&mut self, (failures, requests): (u64, u64), refused: u64) -> Option<String> {
        let excused = if self.is_surge(failures, requests) { refused.min(failures) } else { 0 };
        let (failures, requests) = (failures - excused, requests - excused);
        if requests == 0 || self.usual >= 1.0 {
            return None;
        }
        self.since = (self.since.0 + failures, self.since.1 + requests);
        for (evidence, bet) in self.evidence.iter_mut().zip(BETS) {
            let harmful = (1.0 - self.usual).mul_add(bet, self.usual);
            *evidence = evidence.max(0.0) + ln_ratio(failures, requests, harmful, self.usual);
        }
        let share = failures as f64 / requests as f64;
        self.bad = (self.bad << 1 | u32::from(share > self.usual)) & ((1 << LAST_SECONDS) - 1);
        let lasts = self.bad.count_ones() >= BAD_SECONDS || (share >= 0.5 && failures >= AT_ONCE);
        let is_shown = self.evidence.iter().any(|evidence| *evidence >= self.threshold);
        (lasts && is_shown && share > self.usual).then(|| {
            format!(
                "{} failed, before {}",
                of_requests(self.since.0, self.since.1),
                of_requests(self.before.0, self.before.1)
            )
        })
    }

    /// Whether far more was asked for than before, and no less was served.
    fn is_surge(&self, failures: u64, requests: u64) -> bool {
        let (asked, served) = self.per_second;
        requests as f64 > asked * USUAL_RATIO
            && requests.saturating_sub(failures) as f64 >= served * SERVED_RATIO
    }
}

/// Failed requests and all requests of one second.
pub(super) fn of_door(snapshot: &Snapshot) -> (u64, u64) {
    let (failures, requests) =
        routes(snapshot).map(of_route).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    // Some reasons end a response that had begun well. They may overlap with the answers of
    // class 5xx, so that the larger of both counts and none counts twice.
    let reasons = snapshot.reasons.iter().filter(|reason| is_failure(&reason.code));
    let failures = failures.max(reasons.map(|reason| reason.count).sum());
    (failures, requests.max(failures))
}

fn of_route(route: &RouteFacts) -> (u64, u64) {
    let [_, _, _, _, failures] = route.by_class;
    (failures, route.requests.max(failures))
}

fn is_failure(code: &str) -> bool {
    let known = Reason::ALL.iter().find(|reason| reason.code() == code);
    known.is_some_and(|reason| match reason.fault() {
        Fault::Client => false,
        // `server_error` is of an attempt that was followed by another one.
        Fault::Server | Fault::Door => *reason != Reason::ServerError,
    })
}
