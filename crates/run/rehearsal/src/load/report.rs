//! What a load came to, in the words of every report: text, JSON, HTML and JUnit say the same.
//!
//! Pure. Invariant: a run whose generator was the bottleneck, or that nobody answered, never
//! passes, whatever its gates say.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::threshold::{Judged, Threshold};
use super::{Latencies, Outcome, StreamSecond};

/// Which run it was.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The target, without anything secret.
    pub url: String,
    /// The streams' names, as in the plan.
    pub streams: Vec<String>,
    /// What every random choice followed from.
    pub seed: u64,
    /// When it began, as RFC 3339 in UTC.
    pub started_at: String,
    /// How long requests were to become due.
    pub planned: Duration,
    /// What a good answer has to keep to count as goodput, from when it was due.
    pub objective: Option<Duration>,
    /// Whether it was ended before its time.
    pub interrupted: bool,
    /// What a reader has to know, such as lines of a log that were not used.
    pub notes: Vec<String>,
}

/// The outcome in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every gate held.
    Passed,
    /// There was no gate.
    Finished,
    /// A gate was breached.
    Breached,
    /// The generator was the bottleneck: its numbers describe itself.
    GeneratorBound,
    /// Nothing was answered.
    Failed,
}

/// Latencies in milliseconds; absent when there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// The mean.
    pub mean_ms: Option<f64>,
    /// The median.
    pub p50_ms: Option<f64>,
    /// 90 % were at most this.
    pub p90_ms: Option<f64>,
    /// 99 %.
    pub p99_ms: Option<f64>,
    /// 99.9 %.
    pub p99_9_ms: Option<f64>,
    /// The longest.
    pub max_ms: Option<f64>,
}

/// What the clients of one stream, or of all, saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Seen {
    /// Requests that became due.
    pub due: u64,
    /// Of those, the ones that went out.
    pub sent: u64,
    /// And the ones that did not, because too many were under way.
    pub dropped: u64,
    /// Requests that ended with a good answer.
    pub ok: u64,
    /// Requests that ended without one.
    pub failed: u64,
    /// Complete answers, retries included.
    pub answered: u64,
    /// Tries after the first.
    pub retries: u64,
    /// Connections that were begun.
    pub connects: u64,
    /// Good answers of those due, 0 to 1; absent when nothing was due.
    pub success: Option<f64>,
    /// Good answers per second.
    pub ok_per_second: f64,
    /// Good answers within the objective; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<u64>,
    /// Of good answers, from when they were due.
    pub latency: Quantiles,
    /// Of every complete answer.
    pub latency_all: Quantiles,
    /// Messages of complete answers of gRPC.
    #[serde(skip_serializing_if = "is_zero")]
    pub messages: u64,
    /// Of complete answers of gRPC with any message, from when the try was due to the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_message: Option<Quantiles>,
    /// Complete answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Complete answers by server.
    pub servers: BTreeMap<String, u64>,
    /// Failed requests by what became of their last try.
    pub failures: BTreeMap<String, u64>,
}

/// One stream by its name.
#[derive(Clone, Debug, Serialize)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// What its clients saw.
    #[serde(flatten)]
    pub seen: Seen,
}

/// The generator about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Generator {
    /// Whether it was the bottleneck: more than 1 % late or dropped.
    pub bound: bool,
    /// The share of requests it sent late, 0 to 1.
    pub late_share: f64,
    /// The share of requests it dropped, 0 to 1.
    pub dropped_share: f64,
    /// How late it sent them, sessions and users not counted while they were busy.
    pub lateness: Quantiles,
    /// CPU time of its threads, seconds.
    pub cpu_seconds: f64,
    /// The same per try, microseconds; absent without tries.
    pub cpu_us_per_try: Option<f64>,
}

/// One second of all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Moment {
    /// Which one, from 0.
    pub second: u64,
    /// Requests that became due.
    pub due: u64,
    /// Requests that ended well.
    pub ok: u64,
    /// Of those, the ones within the objective; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<u64>,
    /// Requests that did not.
    pub failed: u64,
    /// Requests that did not go out.
    pub dropped: u64,
    /// Requests under way at its end.
    pub in_flight: u64,
    /// Median latency of good answers, milliseconds.
    pub p50_ms: Option<f64>,
    /// Their 99th percentile, milliseconds.
    pub p99_ms: Option<f64>,
    /// The generator's 99th percentile of lateness, milliseconds.
    pub late_p99_ms: Option<f64>,
}

/// One gate and what it found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gate {
    /// As it was written: true of the result, it fails the run.
    pub fail_if: String,
    /// In milliseconds, as a share, a rate or a count; absent when nothing could be measured.
    pub measured: Option<f64>,
    /// The same for a person.
    pub shown: String,
    /// Whether it fails the run.
    pub breached: bool,
}

/// A whole result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// In a word.
    pub verdict: Verdict,
    /// And why.
    pub why: String,
    /// The target.
    pub url: String,
    /// When it began, as RFC 3339 in UTC.
    pub started_at: String,
    /// What every random choice followed from.
    pub seed: u64,
    /// Whether it was ended before its time.
    pub interrupted: bool,
    /// What a reader has to know, such as lines of a log that were not used.
    pub notes: Vec<String>,
    /// What a good answer had to keep to count as within it, milliseconds; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective_ms: Option<f64>,
    /// How long requests became due, seconds.
    pub seconds: f64,
    /// Until the last one ended, seconds.
    pub wall_seconds: f64,
    /// All streams together.
    pub all: Seen,
    /// Each stream.
    pub streams: Vec<Stream>,
    /// The gates.
    pub thresholds: Vec<Gate>,
    /// The generator about itself.
    pub generator: Generator,
    /// Good answers: the share and the latency in milliseconds that it did not exceed.
    pub percentiles: Vec<(f64, f64)>,
    /// Second by second; of a run longer than three hours only the last three.
    pub moments: Vec<Moment>,
    /// What the moments were made from.
    #[serde(skip)]
    pub(crate) each: Vec<(u64, StreamSecond)>,
}

impl Report {
    /// The report of a run.
    #[must_use]
    pub fn new(run: Run, outcome: &Outcome, thresholds: &[Threshold]) -> Self {
        let total = together(&outcome.total);
        let planned = run.planned.as_secs_f64();
        let wall = outcome.wall.as_secs_f64();
        let seconds = if run.interrupted { planned.min(wall) } else { planned };
        let thresholds: Vec<Gate> = thresholds
            .iter()
            .map(|threshold| Gate::from(threshold.judge(&total, seconds)))
            .collect();
        let (verdict, why) = verdict(outcome, &total, &thresholds);
        let each: Vec<(u64, StreamSecond)> = outcome
            .seconds
            .iter()
            .map(|second| (second.second, together(&second.streams)))
            .collect();
        let streams = run.streams.into_iter().zip(&outcome.total);
        let cpu_seconds = outcome.cpu.as_secs_f64();
        let objective = run.objective.map(micros);
        Self {
            verdict,
            why,
            url: run.url,
            started_at: run.started_at,
            seed: run.seed,
            interrupted: run.interrupted,
            notes: run.notes,
            objective_ms: objective.map(milliseconds),
            seconds,
            wall_seconds: wall,
            all: Seen::of(&total, seconds, objective),
            streams: streams
                .map(|(name, counts)| Stream { name, seen: Seen::of(counts, seconds, objective) })
                .collect(),
            thresholds,
            generator: Generator {
                bound: outcome.generator.generator_bound,
                late_share: outcome.generator.late_share,
                dropped_share: outcome.generator.dropped_share,
                lateness: Quantiles::of(&total.lateness),
                cpu_seconds,
                cpu_us_per_try: (total.tries > 0).then(|| cpu_seconds * 1e6 / number(total.tries)),
            },
            percentiles: percentiles(&total.latency),
            moments: each
                .iter()
                .map(|(second, counts)| Moment::of(*second, counts, objective))
                .collect(),
            each,
        }
    }
}

/// The worst first: what the numbers are worth, then whether there are any, then what they say.
fn verdict(outcome: &Outcome, total: &StreamSecond, gates: &[Gate]) -> (Verdict, String) {
    let percent = |share: f64| crate::page::Unit::Share.show(share);
    if outcome.generator.generator_bound {
        let (late, dropped) = (outcome.generator.late_share, outcome.generator.dropped_share);
        let what = if dropped > late {
            format!(
                "{} of the requests did not go out because too many were under way",
                percent(dropped)
            )
        } else {
            format!("{} of the requests went out late", percent(late))
        };
        return (Verdict::GeneratorBound, format!("{what}, so the numbers describe the generator"));
    }
    if total.answered == 0 {
        return (Verdict::Failed, "nothing was answered".to_owned());
    }
    let breached: Vec<String> = gates
        .iter()
        .filter(|gate| gate.breached)
        .map(|gate| format!("{} ({})", gate.fail_if, gate.shown))
        .collect();
    if !breached.is_empty() {
        return (Verdict::Breached, breached.join(", "));
    }
    match gates.len() {
        0 => (Verdict::Finished, "no threshold was set".to_owned()),
        1 => (Verdict::Passed, "the threshold held".to_owned()),
        gates => (Verdict::Passed, format!("all {gates} thresholds held")),
    }
}

/// What all streams saw together.
pub(crate) fn together(streams: &[StreamSecond]) -> StreamSecond {
    let mut all = StreamSecond::default();
    streams.iter().for_each(|stream| all.add(stream));
    all
}

impl Verdict {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Finished => "finished",
            Self::Breached => "failed",
            Self::GeneratorBound => "generator-bound",
            Self::Failed => "failed",
        }
    }
}

impl From<Judged> for Gate {
    fn from(judged: Judged) -> Self {
        Self {
            fail_if: judged.threshold,
            measured: judged.measured,
            shown: judged.shown,
            breached: judged.breached,
        }
    }
}

impl Quantiles {
    /// Of these latencies.
    #[must_use]
    pub fn of(latencies: &Latencies) -> Self {
        let quantile = |share| latencies.quantile(share).map(milliseconds);
        Self {
            mean_ms: latencies.mean().map(milliseconds),
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            p99_9_ms: quantile(0.999),
            max_ms: (latencies.count() > 0).then(|| milliseconds(latencies.max())),
        }
    }
}

impl Seen {
    fn of(counts: &StreamSecond, seconds: f64, objective: Option<u64>) -> Self {
        Self {
            due: counts.due,
            sent: counts.sent,
            dropped: counts.dropped,
            ok: counts.ok,
            failed: counts.failed,
            answered: counts.answered,
            retries: counts.retries,
            connects: counts.connects,
            success: (counts.due > 0).then(|| number(counts.ok) / number(counts.due)),
            ok_per_second: if seconds > 0.0 { number(counts.ok) / seconds } else { 0.0 },
            within: objective.map(|us| counts.latency.at_most(us)),
            latency: Quantiles::of(&counts.latency),
            latency_all: Quantiles::of(&counts.latency_all),
            messages: counts.messages,
            first_message: (counts.first_message.count() > 0)
                .then(|| Quantiles::of(&counts.first_message)),
            statuses: counts.by_status.clone(),
            servers: counts.by_server.clone(),
            failures: counts.by_failure.clone(),
        }
    }
}

impl Moment {
    fn of(second: u64, counts: &StreamSecond, objective: Option<u64>) -> Self {
        let quantile = |latencies: &Latencies, share| latencies.quantile(share).map(milliseconds);
        Self {
            second,
            due: counts.due,
            ok: counts.ok,
            within: objective.map(|us| counts.latency.at_most(us)),
            failed: counts.failed,
            dropped: counts.dropped,
            in_flight: counts.in_flight,
            p50_ms: quantile(&counts.latency, 0.5),
            p99_ms: quantile(&counts.latency, 0.99),
            late_p99_ms: quantile(&counts.lateness, 0.99),
        }
    }
}

/// The curve of an HDR histogram: each further nine of the share, as far as there are requests.
fn percentiles(latencies: &Latencies) -> Vec<(f64, f64)> {
    let mut shares = vec![0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85];
    let mut rest = 0.1;
    while rest > 1e-7 {
        shares.extend([1.0, 0.7, 0.5, 0.35, 0.25, 0.15].map(|part| 1.0 - rest * part));
        rest /= 10.0;
    }
    let finest = 1.0 - 1.0 / number(latencies.count().max(1));
    shares.retain(|share| *share < finest);
    shares.push(finest);
    shares
        .into_iter()
        .filter_map(|share| {
            // The share of one request less than all is that of the longest.
            let us = if share < finest { latencies.quantile(share)? } else { latencies.max() };
            (latencies.count() > 0).then(|| (share, milliseconds(us)))
        })
        .collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

pub(crate) fn milliseconds(us: u64) -> f64 {
    number(us) / 1_000.0
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::super::{Confession, Second, junit};
    use super::*;

    /// A hundred requests of which `failed` had no answer, in a second.
    fn report(failed: u64, dropped_share: f64, gates: &[&str]) -> Report {
        let mut counts = StreamSecond {
            due: 100,
            sent: 100,
            ok: 100 - failed,
            failed,
            ..StreamSecond::default()
        };
        counts.answered = counts.ok;
        (1..=counts.ok).for_each(|ms| counts.latency.add(ms * 1_000));
        let generator = Confession {
            dropped_share,
            generator_bound: dropped_share > 0.01,
            ..Confession::default()
        };
        let outcome = Outcome {
            seconds: vec![Second { second: 0, streams: vec![counts.clone()] }],
            total: vec![counts],
            wall: Duration::from_secs(1),
            generator,
            ..Outcome::default()
        };
        let run = Run {
            url: "http://a/?b=<&\"\u{1}>".to_owned(),
            streams: vec!["load".to_owned()],
            planned: Duration::from_secs(1),
            ..Run::default()
        };
        let gates: Vec<Threshold> =
            gates.iter().map(|gate| Threshold::parse(gate).unwrap()).collect();
        Report::new(run, &outcome, &gates)
    }

    #[test]
    fn the_worst_is_the_verdict() {
        for (failed, dropped, gates, verdict, why) in [
            (0, 0.0, &[][..], Verdict::Finished, "no threshold was set"),
            (0, 0.01, &["p99 > 1s"], Verdict::Passed, "the threshold held"),
            (0, 0.0, &["p99 > 1s", "errors > 1%"], Verdict::Passed, "all 2 thresholds held"),
            (2, 0.0, &["p99 > 1s", "errors > 1%"], Verdict::Breached, "errors > 1% (2 %)"),
            (100, 0.0, &["errors > 1%"], Verdict::Failed, "nothing was answered"),
            (
                100,
                0.02,
                &["errors > 1%"],
                Verdict::GeneratorBound,
                "2 % of the requests did not go out because too many were under way, so the numbers describe the generator",
            ),
        ] {
            let report = report(failed, dropped, gates);
            assert_eq!((report.verdict, report.why.as_str()), (verdict, why));
        }
    }

    #[test]
    fn percentiles_rise_to_the_longest() {
        let curve = report(0, 0.0, &[]).percentiles;
        assert!(curve.is_sorted() && curve.len() > 15, "{curve:?}");
        assert_eq!(curve.last(), Some(&(0.99, 100.0)));
        assert_eq!(report(100, 0.0, &[]).percentiles, []);
    }

    #[test]
    fn junit_is_escaped() {
        let text = junit::render(&report(2, 0.0, &["errors > 1%"]));
        assert!(text.contains("name=\"load http://a/?b=&lt;&amp;&quot;\\u{1}&gt;\""), "{text}");
        assert!(text.contains("<failure message=\"errors &gt; 1%: 2 %\"/>"), "{text}");
        assert!(text.contains("tests=\"3\" failures=\"1\""), "{text}");
    }
}
