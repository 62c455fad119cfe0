//! The tables and the file that a bench leaves behind.

use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::bars::Verdict;
use super::http::{Measure, Scenario};
use super::report::{Spread, table};
use crate::say;

/// Prints what each door needed, what each bar came to, and the bars that were missed.
pub(super) fn print(measures: &[Measure], verdicts: &[Verdict]) {
    say::data(&table(&values(measures)));
    if verdicts.is_empty() {
        return;
    }
    say::data(&table(&bars(verdicts)));
    for measure in measures.iter().filter(|measure| !measure.valid()) {
        say::data(&format!("invalid: {}", measure.progress()));
    }
    for verdict in verdicts.iter().filter(|verdict| !verdict.reached()) {
        let measured =
            verdict.measured.map_or_else(|| "no valid round".to_owned(), |s| s.text(decimals(s)));
        let invalid = verdict.invalid_rounds;
        say::data(&format!(
            "missed: {} at most {}, measured {measured}, {invalid} invalid rounds of tidegate",
            verdict.name, verdict.at_most
        ));
    }
}

/// One row per scenario and door, over the valid rounds.
fn values(measures: &[Measure]) -> Vec<Vec<String>> {
    let head = ["scenario", "door", "median (low-high)", "unit", "requests/s", "rounds"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for scenario in Scenario::ALL {
        let mut doors: Vec<_> =
            measures.iter().filter(|m| m.scenario == scenario).map(|m| m.door).collect();
        doors.sort();
        doors.dedup();
        for door in doors {
            let of = || measures.iter().filter(|m| m.scenario == scenario && m.door == door);
            let valid = || of().filter(|measure| measure.valid());
            let values: Vec<f64> = valid().map(|measure| measure.value).collect();
            let rates: Vec<f64> = valid().map(|measure| measure.per_second).collect();
            let text = Spread::of(&values).map_or_else(|| "-".to_owned(), |s| s.text(decimals(s)));
            let rate = Spread::of(&rates).filter(|spread| spread.median > 0.0);
            rows.push(vec![
                scenario.name().to_owned(),
                door.name().to_owned(),
                text,
                scenario.unit().to_owned(),
                rate.map_or_else(|| "-".to_owned(), |spread| format!("{:.0}", spread.median)),
                format!("{}/{}", values.len(), of().count()),
            ]);
        }
    }
    rows
}

/// One row per bar.
fn bars(verdicts: &[Verdict]) -> Vec<Vec<String>> {
    let head = ["bar", "at most", "median (low-high)", "result"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(verdicts.iter().map(|verdict| {
        let measured = verdict.measured.map_or_else(|| "-".to_owned(), |s| s.text(decimals(s)));
        let result = if verdict.reached() { "reached" } else { "MISSED" };
        vec![verdict.name.clone(), verdict.at_most.to_string(), measured, result.to_owned()]
    }));
    rows
}

/// Bytes in whole numbers, microseconds and ratios with two decimals.
fn decimals(spread: Spread) -> usize {
    if spread.median >= 200.0 { 0 } else { 2 }
}

/// Everything that was measured, for another program.
#[derive(Serialize)]
struct Everything<'a> {
    measures: &'a [Measure],
    bars: Vec<BarResult<'a>>,
}

#[derive(Serialize)]
struct BarResult<'a> {
    name: &'a str,
    at_most: f64,
    measured: Option<Spread>,
    invalid_rounds: usize,
    reached: bool,
}

/// Writes measures and verdicts as JSON.
pub(super) fn write_json(
    path: &Path,
    measures: &[Measure],
    verdicts: &[Verdict],
) -> anyhow::Result<()> {
    let bars = verdicts.iter().map(|verdict| BarResult {
        name: &verdict.name,
        at_most: verdict.at_most,
        measured: verdict.measured,
        invalid_rounds: verdict.invalid_rounds,
        reached: verdict.reached(),
    });
    let everything = Everything { measures, bars: bars.collect() };
    let text = serde_json::to_string_pretty(&everything)?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
