//! Reads `[[symptom]]` and `[[expect]]`: what is measured, when, and its bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

use model::Name;
use model::drill::{Expectation, Measure};

use super::scope::{Scope, each, exactly_one, line};
use crate::finding::{Finding, quote};
use crate::reader::{Table, Value};

/// Symptoms or expectations of one drill.
const EXPECTATIONS_MAX: usize = 64;

/// A share; and anything counted, in milliseconds, in seconds or a second.
const SHARE: RangeInclusive<f64> = 0.0..=1.0;
const COUNT: RangeInclusive<f64> = 0.0..=1_000_000_000.0;

/// What reads a measure from the value of its key.
type Read = fn(&Value<'_>, &Scope) -> Option<Measure>;

/// The keys that say what is measured; an expectation has one of them.
const MEASURES: [(&str, RangeInclusive<f64>, Read); 15] = [
    ("success", SHARE, |value, scope| stream(value, scope, |stream| Measure::Success { stream })),
    ("answered", SHARE, |value, scope| stream(value, scope, |stream| Measure::Answered { stream })),
    ("goodput", COUNT, |value, scope| stream(value, scope, |stream| Measure::Goodput { stream })),
    ("p50_ms", COUNT, |value, scope| stream(value, scope, |stream| Measure::P50Ms { stream })),
    ("p99_ms", COUNT, |value, scope| stream(value, scope, |stream| Measure::P99Ms { stream })),
    ("share", SHARE, share),
    ("saturated", SHARE, |value, scope| {
        scope.server(value).map(|server| Measure::Saturated { server })
    }),
    ("attempts_per_request", COUNT, |value, _| only_true(value, Measure::AttemptsPerRequest)),
    ("connects_per_second", COUNT, |value, scope| {
        stream(value, scope, |stream| Measure::ConnectsPerSecond { stream })
    }),
    ("database_failures", COUNT, |value, scope| {
        scope.needs_database(value);
        only_true(value, Measure::DatabaseFailures)
    }),
    ("recovery_seconds", COUNT, |value, scope| {
        stream(value, scope, |stream| Measure::RecoverySeconds { stream })
    }),
    ("detect_seconds", COUNT, |value, scope| {
        scope.server(value).map(|server| Measure::DetectSeconds { server })
    }),
    (CHANGE_REFUSED, SHARE, |value, _| value.boolean().map(|_| Measure::ChangeRefused)),
    ("cause_seconds", COUNT, |value, _| {
        line(value, 100).map(|cause| Measure::CauseSeconds { cause })
    }),
    ("action_seconds", COUNT, |value, _| {
        line(value, 100).map(|action| Measure::ActionSeconds { action })
    }),
];

/// The one measure that is its own bound.
const CHANGE_REFUSED: &str = "change_refused";

/// Reads every `[[key]]`, in file order.
pub(super) fn expectations(
    root: &mut Table<'_>,
    key: &'static str,
    scope: &Scope,
) -> Vec<Expectation> {
    let tables = each(root, key, EXPECTATIONS_MAX);
    tables.into_iter().filter_map(|table| expectation(table, key, scope)).collect()
}

fn expectation(mut table: Table<'_>, key: &str, scope: &Scope) -> Option<Expectation> {
    let keys = MEASURES.iter().map(|(key, ..)| *key);
    let chosen = exactly_one(&mut table, keys, "success = \"users\"");
    let (from, to) = window(&mut table, scope);
    // Only what is expected can be out of reach; a symptom is there or the drill is wrong.
    let pending = match key {
        "expect" => table.get("pending").and_then(|value| line(&value, 200)),
        _ => None,
    };
    let Some((name, value)) = chosen else {
        let _known = (table.get("at_least"), table.get("at_most"));
        table.finish();
        return None;
    };
    let (_, range, read) = MEASURES.iter().find(|(key, ..)| *key == name)?;
    let measure = read(&value, scope);
    let (at_least, at_most) = match value.as_boolean() {
        Some(refused) if name == CHANGE_REFUSED => {
            let bound = if refused { 1.0 } else { 0.0 };
            (Some(bound), Some(bound))
        }
        _ => bounds(&mut table, range),
    };
    table.finish();
    Some(Expectation { measure: measure?, from, to, at_least, at_most, pending })
}

/// From when to when, by default the whole drill. What is measured comes in whole seconds.
fn window(table: &mut Table<'_>, scope: &Scope) -> (Duration, Duration) {
    let from = table.get("from").and_then(|value| scope.time(&value)).unwrap_or_default();
    let to = table.get("to");
    let end = to.as_ref().and_then(|value| scope.time(value)).unwrap_or(scope.duration);
    if end < from + Duration::from_secs(1) {
        let span = to.map_or(table.span(), |value| value.span);
        let message = "`to` must be a second or more after `from`".to_owned();
        let finding = Finding::error("empty-window", span, message);
        table.context().findings.add(finding.label("no whole second is inside"));
    }
    (from, end)
}

fn bounds(table: &mut Table<'_>, range: &RangeInclusive<f64>) -> (Option<f64>, Option<f64>) {
    let (least, most) = (table.get("at_least"), table.get("at_most"));
    if least.is_none() && most.is_none() {
        let message = format!("{} has no bound", quote(table.name()));
        let finding = Finding::error("missing-key", table.span(), message);
        let help = "add `at_least = ...`, `at_most = ...` or both";
        table.context().findings.add(finding.label("every number would do").help(help));
    }
    let at_least = least.and_then(|value| value.decimal(range));
    let at_most = most.as_ref().and_then(|value| value.decimal(range));
    if let (Some(least), Some(most), Some(value)) = (at_least, at_most, most)
        && least > most
    {
        let message = "`at_most` is less than `at_least`".to_owned();
        value.invalid("out-of-range", message, "no number is between them");
    }
    (at_least, at_most)
}

fn stream(
    value: &Value<'_>,
    scope: &Scope,
    measure: impl FnOnce(Name) -> Measure,
) -> Option<Measure> {
    scope.stream(value).map(measure)
}

/// The share of one server, or of the one with the most.
fn share(value: &Value<'_>, scope: &Scope) -> Option<Measure> {
    if value.as_text() == Some("most") {
        return Some(Measure::Share { server: None });
    }
    scope.server(value).map(|server| Measure::Share { server: Some(server) })
}

/// A measure of the whole drill, switched on by `true`.
fn only_true(value: &Value<'_>, measure: Measure) -> Option<Measure> {
    if value.boolean()? {
        return Some(measure);
    }
    let message = format!("{} can only be `true`", quote(value.name));
    value.invalid("invalid-value", message, "write `true`, or leave the whole table out");
    None
}
