//! A result of `tidegate load` for a person: the verdict first, then numbers that line up.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rehearsal::load::capacity::{Bound, Found};
use rehearsal::load::report::{Quantiles, Report, Seen, Verdict};
use rehearsal::page::Unit;

use crate::commands::table::{Cell, Tone, table};
use crate::output::printable;

/// Rows of a table of names; the rest is in the JSON.
const NAMES_MAX: usize = 12;

/// The whole report of a run.
pub(super) fn render(report: &Report, colour: bool) -> String {
    let tone = match report.verdict {
        Verdict::Passed => Tone::Good,
        Verdict::Finished => Tone::Plain,
        Verdict::GeneratorBound => Tone::Warning,
        Verdict::Breached | Verdict::Failed => Tone::Bad,
    };
    let mut text =
        format!("{}: {}\n", tone.paint(report.verdict.word(), colour), printable(&report.why));
    put(
        &mut text,
        format_args!(
            "{}  {}  seed {}\n",
            printable(&report.url),
            Unit::Seconds.show(report.seconds),
            report.seed
        ),
    );
    for note in &report.notes {
        put(&mut text, format_args!("note: {}\n", printable(note)));
    }
    let blocks = [
        thresholds(report, colour),
        requests(report, colour),
        latencies(report, colour),
        statuses(&report.all, colour),
        names("SERVER", &report.all.servers, report.all.answered, Tone::Plain, colour),
        names("FAILURE", &report.all.failures, report.all.failed, Tone::Bad, colour),
        generator(report),
    ];
    for block in blocks.iter().filter(|block| !block.is_empty()) {
        text.push('\n');
        text.push_str(block);
    }
    text
}

fn thresholds(report: &Report, colour: bool) -> String {
    let rows: Vec<Vec<Cell>> = report
        .thresholds
        .iter()
        .map(|gate| {
            let (word, tone) =
                if gate.breached { ("breached", Tone::Bad) } else { ("held", Tone::Good) };
            vec![(&gate.fail_if).into(), (&gate.shown).into(), Cell::new(word, tone)]
        })
        .collect();
    if rows.is_empty() {
        String::new()
    } else {
        table(&["FAIL IF", ">MEASURED", "VERDICT"], &rows, colour)
    }
}

fn requests(report: &Report, colour: bool) -> String {
    let row = |name: &str, seen: &Seen| {
        let bad =
            |number| Cell::new(count(number), if number > 0 { Tone::Bad } else { Tone::Plain });
        vec![
            name.into(),
            count(seen.due).into(),
            count(seen.ok).into(),
            bad(seen.failed),
            bad(seen.dropped),
            count(seen.retries).into(),
            shown(seen.success, Unit::Share).into(),
            Unit::Count.show(seen.ok_per_second).into(),
            count(seen.connects).into(),
        ]
    };
    let mut rows = Vec::new();
    if report.streams.len() > 1 {
        rows.extend(report.streams.iter().map(|stream| row(&stream.name, &stream.seen)));
    }
    rows.push(row("all", &report.all));
    let goodput = goodput(report);
    let headings = [
        "REQUESTS",
        ">DUE",
        ">GOOD",
        ">FAILED",
        ">NOT SENT",
        ">RETRIES",
        ">SUCCESS",
        ">GOOD/S",
        ">CONNECTS",
    ];
    table(&headings, &rows, colour) + &goodput
}

/// Good answers within the objective, if there is one.
fn goodput(report: &Report) -> String {
    let Some((objective, within)) = report.objective_ms.zip(report.all.within) else {
        return String::new();
    };
    format!("within {}: {} of {} due\n", ms(Some(objective)), count(within), count(report.all.due))
}

fn latencies(report: &Report, colour: bool) -> String {
    let row = |name: &str, quantiles: &Quantiles| {
        let values = [
            quantiles.p50_ms,
            quantiles.p90_ms,
            quantiles.p99_ms,
            quantiles.p99_9_ms,
            quantiles.max_ms,
        ];
        let cells = values.map(|value| Cell::from(ms(value)));
        std::iter::once(Cell::from(name)).chain(cells).collect::<Vec<_>>()
    };
    let mut rows = Vec::new();
    if report.streams.len() > 1 {
        rows.extend(report.streams.iter().map(|stream| row(&stream.name, &stream.seen.latency)));
    }
    rows.push(row("good answers", &report.all.latency));
    if report.all.answered != report.all.ok {
        rows.push(row("every answer", &report.all.latency_all));
    }
    if let Some(first_message) = &report.all.first_message {
        rows.push(row("first message", first_message));
    }
    rows.push(row("own lateness", &report.generator.lateness));
    table(&["LATENCY", ">P50", ">P90", ">P99", ">P99.9", ">MAX"], &rows, colour)
}

fn statuses(all: &Seen, colour: bool) -> String {
    let rows: Vec<Vec<Cell>> = all
        .statuses
        .iter()
        .map(|(status, number_of)| {
            let tone = match status {
                429 | 500.. => Tone::Bad,
                400.. => Tone::Warning,
                _ => Tone::Plain,
            };
            let name = if *status == 0 { "other".to_owned() } else { status.to_string() };
            vec![
                Cell::new(name, tone),
                count(*number_of).into(),
                share(*number_of, all.answered).into(),
            ]
        })
        .collect();
    if rows.is_empty() {
        String::new()
    } else {
        table(&["STATUS", ">COUNT", ">SHARE"], &rows, colour)
    }
}

fn names(
    heading: &str,
    of: &BTreeMap<String, u64>,
    whole: u64,
    tone: Tone,
    colour: bool,
) -> String {
    if of.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<(&String, u64)> =
        of.iter().map(|(name, number_of)| (name, *number_of)).collect();
    sorted.sort_by_key(|(_, number_of)| std::cmp::Reverse(*number_of));
    let rest: u64 = sorted.iter().skip(NAMES_MAX).map(|(_, number_of)| number_of).sum();
    let mut rows: Vec<Vec<Cell>> = sorted
        .iter()
        .take(NAMES_MAX)
        .map(|(name, number_of)| {
            vec![Cell::new(name, tone), count(*number_of).into(), share(*number_of, whole).into()]
        })
        .collect();
    if rest > 0 {
        rows.push(vec!["all others".into(), count(rest).into(), share(rest, whole).into()]);
    }
    table(&[heading, ">COUNT", ">SHARE"], &rows, colour)
}

fn generator(report: &Report) -> String {
    let generator = &report.generator;
    let per_try = generator
        .cpu_us_per_try
        .map_or_else(String::new, |us| format!(" ({} a try)", ms(Some(us / 1_000.0))));
    format!(
        "generator: {} sent late, {} not sent, CPU {}{per_try}\n",
        Unit::Share.show(generator.late_share),
        Unit::Share.show(generator.dropped_share),
        ms(Some(generator.cpu_seconds * 1_000.0)),
    )
}

/// The whole report of a search.
pub(super) fn render_capacity(url: &str, found: &Found, colour: bool) -> String {
    let (tone, line) = capacity_line(found);
    let mut text = format!("{}\n{}\n", tone.paint(&line, colour), printable(url));
    put(
        &mut text,
        format_args!(
            "a step holds with p99 at most {} and at most {} of the requests failed\n\n",
            Unit::Milliseconds.show(found.p99_ms_max),
            Unit::Share.show(found.failed_share_max)
        ),
    );
    let rows: Vec<Vec<Cell>> = found
        .steps
        .iter()
        .map(|judged| {
            let step = &judged.step;
            let verdict = match judged.bound_by {
                None => Cell::new("holds", Tone::Good),
                Some(Bound::Generator) => Cell::new("generator late", Tone::Warning),
                Some(bound) => Cell::new(bound.to_string(), Tone::Bad),
            };
            vec![
                Unit::PerSecond.show(step.per_second).into(),
                Unit::Count.show(step.ok_per_second).into(),
                ms(step.p50_ms).into(),
                ms(step.p99_ms).into(),
                Unit::Share.show(step.failed_share).into(),
                Unit::Count.show(step.in_flight).into(),
                verdict,
            ]
        })
        .collect();
    let headings = [">RATE", ">GOOD/S", ">P50", ">P99", ">FAILED", ">IN FLIGHT", "VERDICT"];
    text.push_str(&table(&headings, &rows, colour));
    if let Some(usl) = found.usl {
        put(
            &mut text,
            format_args!(
                "\nscalability: {} alone, contention {:.4}, coherency {:.6}",
                Unit::PerSecond.show(usl.lambda),
                usl.sigma,
                usl.kappa
            ),
        );
        if let Some(peak) = found.peak_per_second {
            put(&mut text, format_args!("; predicted peak {}", Unit::PerSecond.show(peak)));
        }
        text.push('\n');
    }
    text
}

fn capacity_line(found: &Found) -> (Tone, String) {
    let rate = |per_second| Unit::PerSecond.show(per_second);
    let (low, high) = (rate(found.low_per_second), rate(found.high_per_second));
    if found.per_second == 0.0 {
        return (
            Tone::Bad,
            format!(
                "no rate held: the lowest that was tried, {high}, was bound by {}",
                found.bound_by
            ),
        );
    }
    let capacity = rate(found.per_second);
    if found.bound_by == Bound::Generator {
        let line = format!(
            "generator-bound: at least {capacity}, but the generator cannot send more; try more --threads or another machine"
        );
        return (Tone::Warning, line);
    }
    if !found.confirmed {
        let range = match found.bound_by {
            Bound::Limit => format!("at least {low}; no higher rate was seen to fail"),
            Bound::Latency | Bound::Failures | Bound::Throughput | Bound::Generator => {
                format!("between {low} and {high}")
            }
        };
        return (Tone::Warning, format!("not confirmed: {range}"));
    }
    if found.bound_by == Bound::Limit {
        return (
            Tone::Good,
            format!("capacity at least {capacity}: the highest rate that was tried holds"),
        );
    }
    let line =
        format!("capacity {capacity}: it holds, {high} does not, bound by {}", found.bound_by);
    (Tone::Good, line)
}

fn count(number_of: u64) -> String {
    Unit::Count.show(number(number_of))
}

fn share(part: u64, whole: u64) -> String {
    shown((whole > 0).then(|| number(part) / number(whole)), Unit::Share)
}

fn ms(value: Option<f64>) -> String {
    shown(value, Unit::Milliseconds)
}

fn shown(value: Option<f64>, unit: Unit) -> String {
    value.map_or_else(|| "-".to_owned(), |value| unit.show(value))
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String never fails");
}
