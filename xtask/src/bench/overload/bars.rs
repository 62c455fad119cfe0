//! The promised numbers: what Tidegate with its defaults has to reach, told nothing.
//!
//! Medians over the rounds are judged; a point that was lost in every round misses its bar.

use serde::Serialize;

use super::super::report::Spread;
use super::case::{Case, Scenario};
use super::door::Door;
use super::point::{Part, Point};

/// Latency of what was let in, over that of the servers without load.
const P99_MAX: f64 = 2.0;
/// Of what is attainable, once a change was followed.
const FOLLOWED_MIN: f64 = 0.92;
/// Requests of the polite, and the critical, that succeed.
const SUCCESS_MIN: f64 = 0.99;
/// After a storm.
const CALM_MIN: f64 = 0.95;
/// Until the one that floods is named.
const NAMED_SECONDS_MAX: f64 = 5.0;

/// A promised number with what was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) name: String,
    pub(super) bound: f64,
    /// Whether the bound is the least; otherwise the most.
    pub(super) at_least: bool,
    /// `None`: nothing was measured.
    pub(super) measured: Option<Spread>,
}

impl Verdict {
    pub(super) fn reached(&self) -> bool {
        self.measured.is_some_and(|measured| match self.at_least {
            true => measured.median >= self.bound,
            false => measured.median <= self.bound,
        })
    }
}

/// The least share of what is attainable at a multiple of the capacity.
fn goodput_min(times: u32) -> f64 {
    match times {
        0..=5 => 0.95,
        6..=10 => 0.93,
        _ => 0.92,
    }
}

/// Judges every case of Tidegate with its defaults that was measured.
pub(super) fn judge(points: &[Point]) -> Vec<Verdict> {
    let mut cases: Vec<Case> =
        points.iter().map(|point| point.case).filter(|case| case.door == Door::Tidegate).collect();
    cases.dedup();
    cases.iter().flat_map(|case| judge_case(case, points)).collect()
}

fn judge_case(case: &Case, points: &[Point]) -> Vec<Verdict> {
    let rounds = || points.iter().filter(|point| point.case == *case && point.lost.is_none());
    let of = |stream: &str, value: fn(&Part, &Point) -> Option<f64>| {
        let values: Vec<f64> =
            rounds().filter_map(|point| value(point.part(stream)?, point)).collect();
        Spread::of(&values)
    };
    let retries = if case.retries { ", retries" } else { "" };
    let place = format!("{} x, {}{retries}", case.times, case.app.name());
    let verdict = |what: &str, (at_least, bound): (bool, f64), measured| Verdict {
        name: format!("{:?} {place}: {what}", case.scenario).to_lowercase(),
        bound,
        at_least,
        measured,
    };
    let share = |part: &Part, _: &Point| Some(part.share);
    let success = |part: &Part, _: &Point| Some(part.success);
    let p99 = |part: &Part, point: &Point| Some(part.p99_ms? / point.unloaded_p99_ms);
    match case.scenario {
        Scenario::Curve | Scenario::Stale => {
            let goodput =
                verdict("goodput / peak", (true, goodput_min(case.times)), of("steady", share));
            // Latency counts from the first try: with retries it says how long clients waited.
            let p99 = (!case.retries)
                .then(|| verdict("admitted p99 / unloaded", (false, P99_MAX), of("steady", p99)));
            [Some(goodput), p99].into_iter().flatten().collect()
        }
        Scenario::Change => vec![
            verdict("slow: goodput / new peak", (true, FOLLOWED_MIN), of("slow", share)),
            verdict("back: goodput / peak", (true, FOLLOWED_MIN), of("back", share)),
        ],
        Scenario::Talker => {
            let named: Vec<f64> = rounds().filter_map(|point| point.named_seconds).collect();
            let named = Spread::of(&named);
            vec![
                verdict("polite: success", (true, SUCCESS_MIN), of("polite", success)),
                verdict("the sender is named, s", (false, NAMED_SECONDS_MAX), named),
            ]
        }
        Scenario::Critical => {
            vec![verdict("critical: success", (true, SUCCESS_MIN), of("critical", success))]
        }
        Scenario::Storm => {
            vec![verdict("calm: goodput / offered", (true, CALM_MIN), of("calm", share))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::app::Kind;
    use super::*;

    fn point(times: u32, share: f64, p99_ms: f64, lost: bool) -> Point {
        let case = Case {
            scenario: Scenario::Curve,
            app: Kind::Sleep,
            retries: false,
            times,
            door: Door::Tidegate,
        };
        let part = Part {
            stream: "steady",
            goodput_per_second: 0.0,
            share,
            success: share,
            p99_ms: Some(p99_ms),
        };
        Point {
            parts: vec![part],
            unloaded_p99_ms: 30.0,
            lost: lost.then(|| "late".to_owned()),
            ..Point::lost(case, 0, String::new())
        }
    }

    fn check(points: &[Point], missed: &[&str]) {
        let verdicts = judge(points);
        let found: Vec<&str> =
            verdicts.iter().filter(|v| !v.reached()).map(|v| v.name.as_str()).collect();
        assert_eq!(found, missed);
    }

    #[test]
    fn the_bar_falls_with_the_multiple() {
        check(&[point(5, 0.95, 60.0, false)], &[]);
        check(&[point(5, 0.94, 60.0, false)], &["curve 5 x, sleeping: goodput / peak"]);
        check(&[point(10, 0.93, 61.0, false)], &["curve 10 x, sleeping: admitted p99 / unloaded"]);
        check(&[point(20, 0.92, 60.0, false)], &[]);
    }

    #[test]
    fn a_lost_point_reaches_nothing_and_medians_count() {
        check(
            &[point(1, 0.99, 40.0, true)],
            &[
                "curve 1 x, sleeping: goodput / peak",
                "curve 1 x, sleeping: admitted p99 / unloaded",
            ],
        );
        let rounds = [0.2, 0.96, 0.97].map(|share| point(1, share, 40.0, false));
        check(&rounds, &[]);
    }
}
