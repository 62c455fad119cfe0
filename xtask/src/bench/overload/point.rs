//! What one run of a case came to.

use serde::Serialize;
use serde_json::Value;

use super::case::{Case, Scenario};
use super::plan::{CALM, CHANGED, FLOOD, Plan};

/// Of what is attainable, from when on a change counts as followed.
const FOLLOWED: f64 = 0.92;

/// What one judged stream of a point saw.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Part {
    /// Its name.
    pub(super) stream: &'static str,
    /// Good answers within the objective, per second.
    pub(super) goodput_per_second: f64,
    /// The same over what is attainable.
    pub(super) share: f64,
    /// Good answers over requests.
    pub(super) success: f64,
    /// Of good answers, from when they were due; absent without any.
    pub(super) p99_ms: Option<f64>,
}

/// One run of a case.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    #[serde(flatten)]
    pub(super) case: Case,
    pub(super) round: usize,
    pub(super) parts: Vec<Part>,
    /// Of a change: seconds until it was followed, down and up; of a storm: until it was over.
    pub(super) recovery_seconds: Vec<Option<u32>>,
    /// Seconds until the one that floods was named.
    pub(super) named_seconds: Option<f64>,
    /// Latency of the servers without load and door, milliseconds.
    pub(super) unloaded_p99_ms: f64,
    /// The generator's 99th percentile of its own lateness, milliseconds.
    pub(super) late_p99_ms: f64,
    /// Why it does not count.
    pub(super) lost: Option<String>,
}

impl Point {
    /// A point that came to nothing.
    pub(super) fn lost(case: Case, round: usize, why: String) -> Self {
        Self {
            case,
            round,
            parts: Vec::new(),
            recovery_seconds: Vec::new(),
            named_seconds: None,
            unloaded_p99_ms: 0.0,
            late_p99_ms: 0.0,
            lost: Some(why),
        }
    }

    /// From the report of its load.
    pub(super) fn of(case: Case, round: usize, plan: &Plan, report: &Value) -> Self {
        let late_p99_ms = number(report, "/generator/lateness/p99_ms");
        let mut point = Self { late_p99_ms, lost: None, ..Self::lost(case, round, String::new()) };
        // After a storm only the calm has to be on time: in the storm the clients are the machine.
        let storm = case.scenario == Scenario::Storm;
        let bound = report.pointer("/generator/bound").and_then(Value::as_bool) == Some(true);
        if (bound && !storm) || (storm && late_after_storm(report)) {
            point.lost = Some(format!(
                "the generator was late ({:.1} %) or dropped ({:.1} %)",
                number(report, "/generator/late_share") * 100.0,
                number(report, "/generator/dropped_share") * 100.0
            ));
        }
        for judged in &plan.judged {
            let seen = report["streams"]
                .as_array()
                .and_then(|streams| streams.iter().find(|stream| stream["name"] == judged.stream));
            let seen = seen.unwrap_or(&Value::Null);
            let goodput = number(seen, "/within") / f64::from(judged.seconds);
            point.parts.push(Part {
                stream: judged.stream,
                goodput_per_second: goodput,
                share: goodput / judged.attainable_per_second,
                success: number(seen, "/success"),
                p99_ms: seen.pointer("/latency/p99_ms").and_then(Value::as_f64),
            });
        }
        point.recovery_seconds = recoveries(&case, plan, report);
        point
    }

    /// The same, counted although its generator was late.
    pub(super) fn kept_although_late(self) -> Self {
        let lost = self.lost.filter(|_| self.parts.is_empty());
        Self { lost, ..self }
    }

    pub(super) fn part(&self, stream: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.stream == stream)
    }

    /// One line for the person who waits.
    pub(super) fn progress(&self) -> String {
        if let Some(why) = &self.lost {
            // A door that does not start says much; the whole of it is in the JSON.
            let why: String = why.lines().next().unwrap_or_default().chars().take(300).collect();
            return format!("{}: lost: {why}", self.case.name());
        }
        let parts = self.parts.iter().map(|part| {
            let p99 = part.p99_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
            format!(
                "{} {:.1} % ({:.0}/s, success {:.1} %, p99 {p99})",
                part.stream,
                part.share * 100.0,
                part.goodput_per_second,
                part.success * 100.0
            )
        });
        let parts = parts.collect::<Vec<_>>().join(", ");
        let named = match (self.case.scenario, self.named_seconds) {
            (Scenario::Talker, Some(seconds)) => format!(", named after {seconds:.1} s"),
            _ => String::new(),
        };
        format!("{}: {parts}{named}", self.case.name())
    }
}

/// Whether requests went out late in the calm.
fn late_after_storm(report: &Value) -> bool {
    const LATE_MS_MAX: f64 = 5.0;
    moments(report)
        .filter(|moment| number(moment, "/second") >= f64::from(FLOOD + CALM))
        .any(|moment| number(moment, "/late_p99_ms") > LATE_MS_MAX)
}

/// Seconds until what was attainable was had again.
fn recoveries(case: &Case, plan: &Plan, report: &Value) -> Vec<Option<u32>> {
    let attainable = |stream: &str| {
        plan.judged.iter().find(|judged| judged.stream == stream).map(|it| it.attainable_per_second)
    };
    match (case.scenario, plan.slow) {
        (Scenario::Change, Some((falls, rises))) => [(falls, "slow"), (rises, "back")]
            .into_iter()
            .map(|(from, stream)| recovered(report, from, attainable(stream)?))
            .collect(),
        (Scenario::Storm, _) => {
            vec![attainable("calm").and_then(|per_second| recovered(report, FLOOD, per_second))]
        }
        _ => Vec::new(),
    }
}

/// Whole seconds after `from` until three in a row came to [`FOLLOWED`] of what was attainable.
fn recovered(report: &Value, from: u32, attainable_per_second: f64) -> Option<u32> {
    let within: Vec<f64> = moments(report)
        .filter(|moment| number(moment, "/second") >= f64::from(from))
        .map(|moment| number(moment, "/within"))
        .collect();
    let enough = FOLLOWED * attainable_per_second * 3.0;
    let first = within.windows(3).position(|seconds| seconds.iter().sum::<f64>() >= enough)?;
    u32::try_from(first).ok().filter(|seconds| *seconds <= 3 * CHANGED)
}

fn moments(report: &Value) -> impl Iterator<Item = &Value> {
    report["moments"].as_array().into_iter().flatten()
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0)
}
