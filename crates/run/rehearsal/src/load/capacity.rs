//! Finds the highest rate that a target carries: doubles until it does not, halves the distance,
//! and believes neither edge before it was seen twice.
//!
//! Pure: [`Search::next`] says which rate to try, [`Search::record`] takes what was measured, and
//! [`Search::found`] says what it came to. Who runs the steps is not known here.
//!
//! A step holds when failures, latency and throughput all do. Its p99 is the median of those of
//! its seconds, so that one stall of a noisy machine decides nothing. Invariant: at most
//! [`STEPS_MAX`] steps, whatever is measured.

use std::fmt;
use std::time::Duration;

use model::capacity::Usl;
use serde::Serialize;

use super::{Outcome, StreamSecond, usl};

/// Steps of one search.
pub const STEPS_MAX: usize = 48;
/// The default bound of the p99 is this many times that of the first rate,
const P99_FACTOR: f64 = 4.0;
/// and at least this, milliseconds.
const P99_MS_LEAST: f64 = 50.0;
/// The share of what is due that has to end each second once a step is under way.
const ENDED_MIN: f64 = 0.95;
/// The share of requests the generator may send late.
const LATE_MAX: f64 = 0.01;
/// Steps at the first rate, the quicker of which says how fast the target is without load.
const BASELINES: usize = 2;
/// The lowest rate that is tried, requests per second.
const RATE_MIN: f64 = 0.5;
/// How often the lower edge has to hold. The upper one has to fail twice in a row.
const SEEN_MIN: u32 = 2;

/// What a rate has to hold to count as carried.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// The first rate, requests per second, above 0.
    pub from_per_second: f64,
    /// The highest rate that is tried, requests per second.
    pub to_per_second: f64,
    /// The 99th percentile of good answers; `None`: four times that of the first rate, and at
    /// least 50 ms.
    pub p99_max: Option<Duration>,
    /// The share of requests that may fail, 0 to 1.
    pub failed_share_max: f64,
    /// How close the edges come, relative to the lower one, above 0: 0.05 for 5 %.
    pub band: f64,
}

/// What one step measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Step {
    /// Requests per second that were due.
    pub per_second: f64,
    /// Requests per second that ended well.
    pub ok_per_second: f64,
    /// The share of requests that failed, 0 to 1.
    pub failed_share: f64,
    /// The share that did not go out because too many were under way, 0 to 1.
    pub dropped_share: f64,
    /// Requests that ended, well or not, per request due, once the step was under way.
    pub ended_share: f64,
    /// Requests under way, on average.
    pub in_flight: f64,
    /// Median latency of good answers, milliseconds.
    pub p50_ms: Option<f64>,
    /// The median of the seconds' 99th percentiles, milliseconds; `None` without good answers.
    pub p99_ms: Option<f64>,
    /// The share of requests that the generator sent late, 0 to 1.
    pub late_share: f64,
    /// The 99th percentile of its lateness, milliseconds.
    pub late_p99_ms: Option<f64>,
}

/// Why a rate is not carried, or why no higher one was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Too slow.
    Latency,
    /// Too many failures.
    Failures,
    /// Answers did not keep up.
    Throughput,
    /// The generator could not send it; the target may carry more.
    Generator,
    /// [`Conditions::to_per_second`] was carried.
    Limit,
}

/// A step with its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// What was measured.
    #[serde(flatten)]
    pub step: Step,
    /// Why it does not hold; `None`: it holds.
    pub bound_by: Option<Bound>,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// The highest rate that held, requests per second; 0 when none did.
    pub per_second: f64,
    /// The lower end of the error band.
    pub low_per_second: f64,
    /// The upper end: the lowest rate that did not hold; the same as the lower one when none failed.
    pub high_per_second: f64,
    /// Whether the search came to its end: both edges were seen twice and are close together.
    pub confirmed: bool,
    /// Why no higher rate held.
    pub bound_by: Bound,
    /// The bound of the 99th percentile, milliseconds.
    pub p99_ms_max: f64,
    /// The bound of failures, 0 to 1.
    pub failed_share_max: f64,
    /// The Universal Scalability Law, where it explains the steps.
    pub usl: Option<Usl>,
    /// The throughput at which that law predicts the peak, requests per second.
    pub peak_per_second: Option<f64>,
    /// Every step, in order.
    pub steps: Vec<Judged>,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    conditions: Conditions,
    p99_ms_max: Option<f64>,
    /// The highest rate that holds, and how often it did.
    low: Option<(f64, u32)>,
    /// The lowest rate that failed twice in a row, and why.
    high: Option<(f64, Bound)>,
    /// A rate that failed just now: it is tried once more before that is believed.
    suspect: Option<f64>,
    /// How far the next step goes while one edge is unknown.
    factor: f64,
    steps: Vec<Judged>,
}

impl Step {
    /// What a load of one stream at a steady rate measured, in the `seconds` it was to last.
    #[must_use]
    pub fn of(per_second: f64, outcome: &Outcome, seconds: u64) -> Self {
        let total = StreamSecond::default();
        let total = outcome.total.first().unwrap_or(&total);
        let each: Vec<&StreamSecond> = outcome
            .seconds
            .iter()
            .filter(|second| second.second < seconds)
            .filter_map(|second| second.streams.first())
            .collect();
        let ok: u64 = each.iter().map(|second| second.ok).sum();
        let answered: u64 = each.iter().map(|second| second.answered).sum();
        let lasted = number(seconds.max(1));
        let mean_ms = total.latency_all.mean().map_or(0.0, milliseconds);
        // The first second opens the connections and has not been answered yet.
        let steady = each.get(1..).filter(|rest| !rest.is_empty()).unwrap_or(&each);
        let due: u64 = steady.iter().map(|second| second.due).sum();
        let steady_ended: u64 = steady.iter().map(|second| second.ok + second.failed).sum();
        let mut p99: Vec<f64> = each
            .iter()
            .filter(|second| second.due > 0)
            .map(|second| second.latency.quantile(0.99).map_or(f64::INFINITY, milliseconds))
            .collect();
        p99.sort_by(f64::total_cmp);
        Self {
            per_second,
            ok_per_second: number(ok) / lasted,
            failed_share: share(total.failed, total.due),
            dropped_share: share(total.dropped, total.due),
            ended_share: if due == 0 { 1.0 } else { share(steady_ended, due) },
            in_flight: number(answered) / lasted * mean_ms / 1_000.0,
            p50_ms: total.latency.quantile(0.5).map(milliseconds),
            p99_ms: p99.get(p99.len() / 2).copied().filter(|ms| ms.is_finite()),
            late_share: share(total.late, total.sent),
            late_p99_ms: total.lateness.quantile(0.99).map(milliseconds),
        }
    }
}

impl Search {
    /// A search that has not begun.
    #[must_use]
    pub fn new(conditions: Conditions) -> Self {
        let p99_ms_max = conditions.p99_max.map(|max| max.as_secs_f64() * 1_000.0);
        Self {
            conditions,
            p99_ms_max,
            low: None,
            high: None,
            suspect: None,
            factor: 2.0,
            steps: Vec::new(),
        }
    }

    /// The rate to try next, requests per second; `None`: the search is over.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        if self.steps.len() >= STEPS_MAX { None } else { self.wanted() }
    }

    fn wanted(&self) -> Option<f64> {
        if self.suspect.is_some() {
            return self.suspect;
        }
        if self.conditions.p99_max.is_none() && self.steps.len() < BASELINES {
            return Some(self.conditions.from_per_second);
        }
        let to = self.conditions.to_per_second;
        match (self.low, self.high) {
            (None, None) => Some(self.conditions.from_per_second.min(to)),
            (None, Some((high, _))) => Some(high / self.factor).filter(|rate| *rate >= RATE_MIN),
            (Some((low, _)), None) if low < to => Some((low * self.factor).min(to)),
            (Some((low, _)), Some((high, _))) if high / low > 1.0 + self.conditions.band + 1e-9 => {
                Some(between(low, high))
            }
            (Some((low, seen)), _) => (seen < SEEN_MIN).then_some(low),
        }
    }

    /// Takes what the step at the rate of [`Search::next`] measured, and judges it.
    pub fn record(&mut self, step: Step) -> Judged {
        let judged = Judged { step, bound_by: self.judge(&step) };
        self.steps.push(judged);
        match judged.bound_by {
            None => self.held(step.per_second),
            Some(bound) => self.failed(step.per_second, bound),
        }
        judged
    }

    fn held(&mut self, rate: f64) {
        self.suspect = None;
        let before = self.low.filter(|(low, _)| same(*low, rate));
        self.low = Some((rate, before.map_or(1, |(_, seen)| seen + 1)));
    }

    fn failed(&mut self, rate: f64, bound: Bound) {
        if self.suspect.take().is_none() {
            self.suspect = Some(rate);
            return;
        }
        self.high = Some((rate, bound));
        if self.low.is_some_and(|(low, _)| same(low, rate)) {
            // It held before, so what holds now is near: small steps down first, larger ones then.
            self.low = None;
            self.factor = 1.0 + 2.0 * self.conditions.band;
        } else if self.low.is_none() {
            self.factor = (self.factor * self.factor).min(2.0);
        }
    }

    fn judge(&mut self, step: &Step) -> Option<Bound> {
        if self.conditions.p99_max.is_none() && self.steps.len() < BASELINES {
            let bound = step.p99_ms.map(|ms| (ms * P99_FACTOR).max(P99_MS_LEAST));
            self.p99_ms_max = self.p99_ms_max.into_iter().chain(bound).min_by(f64::total_cmp);
        }
        let p99_ms_max = self.p99_ms_max.unwrap_or(P99_MS_LEAST);
        // Lateness makes a step harder for the target, never easier: what holds all the same holds.
        // What fails is the generator's fault only where its lateness explains it.
        let late = step.late_share > LATE_MAX;
        let blame =
            |bound, explained| Some(if late && explained { Bound::Generator } else { bound });
        if step.failed_share > self.conditions.failed_share_max {
            return blame(Bound::Failures, step.failed_share <= step.late_share);
        }
        let Some(p99_ms) = step.p99_ms else { return blame(Bound::Latency, false) };
        if p99_ms > p99_ms_max {
            return blame(Bound::Latency, p99_ms - step.late_p99_ms.unwrap_or(0.0) <= p99_ms_max);
        }
        let behind = step.ended_share < ENDED_MIN;
        let piled_up = step.dropped_share > self.conditions.failed_share_max;
        if behind || piled_up { blame(Bound::Throughput, true) } else { None }
    }

    /// What is known so far.
    #[must_use]
    pub fn found(&self) -> Found {
        let low = self.low.map_or(0.0, |(low, _)| low);
        let (high, bound_by) = self.high.unwrap_or((low, Bound::Limit));
        let confirmed = self.low.is_some() && self.wanted().is_none();
        let points = self.usl_points();
        let usl = usl::fit(&points);
        let measured_max = points.iter().map(|(n, _)| *n).fold(0.0, f64::max);
        Found {
            per_second: low,
            low_per_second: low,
            high_per_second: high.max(low),
            confirmed,
            bound_by,
            p99_ms_max: self.p99_ms_max.unwrap_or(P99_MS_LEAST),
            failed_share_max: self.conditions.failed_share_max,
            peak_per_second: usl.and_then(|usl| usl::peak(&usl, measured_max)).map(|(_, x)| x),
            usl,
            steps: self.steps.clone(),
        }
    }

    /// Steps that say something about the target: not those with failures, whose quick answers
    /// are no work, and not those the generator could not send.
    fn usl_points(&self) -> Vec<usl::Point> {
        self.steps
            .iter()
            .filter(|step| match step.bound_by {
                None | Some(Bound::Latency | Bound::Throughput | Bound::Limit) => true,
                Some(Bound::Failures | Bound::Generator) => false,
            })
            .map(|step| (step.step.in_flight, step.step.ok_per_second))
            .collect()
    }
}

/// A rate between the edges with no more digits than it needs.
fn between(low: f64, high: f64) -> f64 {
    let middle = f64::midpoint(low, high);
    let whole = middle.round();
    if whole > low && whole < high { whole } else { middle }
}

fn same(one: f64, other: f64) -> bool {
    (one - other).abs() <= one * 1e-9
}

fn milliseconds(us: u64) -> f64 {
    number(us) / 1_000.0
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { number(part) / number(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a step are far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Latency => "latency",
            Self::Failures => "failures",
            Self::Throughput => "throughput",
            Self::Generator => "generator",
            Self::Limit => "limit",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONDITIONS: Conditions = Conditions {
        from_per_second: 10.0,
        to_per_second: 50_000.0,
        p99_max: None,
        failed_share_max: 0.001,
        band: 0.05,
    };

    /// Runs the search against a server that is a function of the rate.
    fn search(conditions: Conditions, mut server: impl FnMut(f64) -> Step) -> Found {
        let mut search = Search::new(conditions);
        let mut steps = 0;
        while let Some(rate) = search.next() {
            assert!(rate > 0.0 && rate <= conditions.to_per_second, "{rate}");
            search.record(server(rate));
            steps += 1;
            assert!(steps <= STEPS_MAX);
        }
        search.found()
    }

    fn step(rate: f64, p99_ms: f64) -> Step {
        Step {
            per_second: rate,
            ok_per_second: rate,
            ended_share: 1.0,
            in_flight: rate * p99_ms / 3_000.0,
            p50_ms: Some(p99_ms / 5.0),
            p99_ms: Some(p99_ms),
            ..Step::default()
        }
    }

    /// One server with exponential service times: its p99 is ln(100) / (rate served - rate).
    fn queue(served: f64, rate: f64) -> Step {
        if rate < served { step(rate, 4_605.0 / (served - rate)) } else { step(rate, 10_000.0) }
    }

    /// Answers what is above the limit with 503 at once, as limit_req does.
    fn limited(limit: f64, rate: f64) -> Step {
        Step { failed_share: (1.0 - limit / rate).max(0.0), ..step(rate, 2.0) }
    }

    fn check(found: &Found, truth: f64, bound: Bound) {
        assert!(found.confirmed, "{found:?}");
        assert_eq!(found.bound_by, bound);
        assert_eq!(found.per_second, found.low_per_second);
        let (low, high) = (found.low_per_second, found.high_per_second);
        assert!(
            low <= truth * 1.0011 && truth <= high && high / low <= 1.0501,
            "{truth}: {low} to {high}"
        );
    }

    proptest! {
        #[test]
        fn the_knee_of_a_queue_is_found(served in 60.0..40_000.0_f64) {
            let p99_ms_max = (4_605.0 / (served - 10.0) * 4.0).max(50.0);
            let found = search(CONDITIONS, |rate| queue(served, rate));
            check(&found, served - 4_605.0 / p99_ms_max, Bound::Latency);
        }

        #[test]
        fn a_rate_limit_is_found(limit in 1.0..40_000.0_f64) {
            check(&search(CONDITIONS, |rate| limited(limit, rate)), limit, Bound::Failures);
        }

        /// A tenth of the steps stalls, but no rate twice: both edges are still where they belong.
        #[test]
        fn stalls_are_survived(limit in 30.0..20_000.0_f64, seed: u64) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut stalled = Vec::new();
            let found = search(CONDITIONS, |rate| {
                if random.u8(..10) == 0 && !stalled.contains(&rate) {
                    stalled.push(rate);
                    return Step { p99_ms: Some(900.0), ..limited(limit, rate) };
                }
                limited(limit, rate)
            });
            prop_assert!(found.low_per_second <= limit * 1.0011 && limit <= found.high_per_second, "{limit}: {found:?}");
        }
    }

    #[test]
    fn each_bound_has_its_name() {
        let from = |server: fn(f64) -> Step| search(CONDITIONS, server);
        check(
            &from(|rate| Step { ended_share: (300.0 / rate).min(1.0), ..step(rate, 3.0) }),
            315.0,
            Bound::Throughput,
        );
        check(
            &from(|rate| {
                // Late by more than the rest of the latency: the target is not to blame.
                let late_ms = (rate - 700.0).max(0.0) * 10.0;
                let late_share = if rate > 700.0 { 0.02 } else { 0.0 };
                Step { late_share, late_p99_ms: Some(late_ms), ..step(rate, 49.0 + late_ms) }
            }),
            700.1,
            Bound::Generator,
        );
        // Late, but far too little to explain that much latency.
        check(
            &from(|rate| Step {
                late_share: 0.02,
                late_p99_ms: Some(2.0),
                ..step(rate, if rate > 700.0 { 500.0 } else { 5.0 })
            }),
            700.0,
            Bound::Latency,
        );
        let found =
            search(Conditions { to_per_second: 100.0, ..CONDITIONS }, |rate| step(rate, 3.0));
        assert_eq!(
            (found.per_second, found.high_per_second, found.bound_by),
            (100.0, 100.0, Bound::Limit)
        );
        assert!(found.confirmed);
    }

    #[test]
    fn nothing_may_hold() {
        let server = |rate| Step { failed_share: 1.0, p99_ms: None, ..step(rate, 0.0) };
        let found = search(CONDITIONS, server);
        assert_eq!((found.per_second, found.bound_by), (0.0, Bound::Failures));
        assert!(!found.confirmed && found.high_per_second < 1.0);
    }

    #[test]
    fn the_default_bound_comes_from_the_first_step() {
        let of = |p99_ms: f64| search(CONDITIONS, |rate| step(rate, p99_ms)).p99_ms_max;
        assert_eq!((of(2.0), of(100.0)), (50.0, 400.0));
        let fixed = Conditions { p99_max: Some(Duration::from_millis(7)), ..CONDITIONS };
        assert_eq!(search(fixed, |rate| step(rate, 2.0)).p99_ms_max, 7.0);
    }
}
