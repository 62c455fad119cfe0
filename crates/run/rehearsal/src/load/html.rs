//! A report as one HTML page.

use crate::page::chart::{Axis, Bar, Line, Lines, POINTS_MAX, bars, lines};
use crate::page::{Cell, Html, Page, Scale, Tile, Tone, Unit, table};

use super::StreamSecond;
use super::report::{Generator, Quantiles, Report, Seen, Verdict, milliseconds, number};

/// Points that a picture of a run has room for.
const POINTS: usize = if POINTS_MAX < 240 { POINTS_MAX } else { 240 };
/// Rows of a table of names; the rest is counted in the last one.
const NAMES_MAX: usize = 16;

/// The whole file.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut page = Page::new("Load test", &subtitle(report));
    page.banner(tone(report.verdict), &headline(report), &report.notes);
    page.tiles(&tiles(report));
    if !report.thresholds.is_empty() {
        page.section("Thresholds", [thresholds(report).wide()]);
    }
    let slices = slices(report);
    page.section(
        "Over time",
        [latency(&slices), requests(&slices), under_way(&slices), lateness(&slices)],
    );
    let numbers = Html::stacked([quantiles(report), confession(&report.generator)]);
    page.section("Latency", [percentiles(report), numbers]);
    page.cards("Answers", answers(&report.all));
    if report.streams.len() > 1 {
        page.section("Streams", [streams(report).wide()]);
    }
    page.render()
}

/// The verdict for a person, in one line.
#[must_use]
pub(crate) fn headline(report: &Report) -> String {
    format!("{}: {}", report.verdict.word(), report.why)
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Passed => Tone::Good,
        Verdict::Finished => Tone::Plain,
        Verdict::GeneratorBound => Tone::Warning,
        Verdict::Breached | Verdict::Failed => Tone::Bad,
    }
}

fn subtitle(report: &Report) -> String {
    let ended = if report.interrupted { ", ended before its time" } else { "" };
    format!(
        "{}, {} from {}, seed {}{ended}",
        report.url,
        Unit::Seconds.show(report.seconds),
        report.started_at,
        report.seed
    )
}

fn tiles(report: &Report) -> Vec<Tile> {
    let (all, latency) = (&report.all, &report.all.latency);
    let tile = |label: &str, value: String, note: String, tone| Tile {
        label: label.to_owned(),
        value,
        note,
        tone,
    };
    let bad = |is_bad: bool| if is_bad { Tone::Bad } else { Tone::Plain };
    let missed = all.failed + all.dropped;
    vec![
        tile(
            "Good answers",
            shown(all.success, Unit::Share),
            format!("{} of {} due", count(all.ok), count(all.due)),
            bad(missed > 0),
        ),
        tile(
            "Rate",
            Unit::PerSecond.show(all.ok_per_second),
            "good answers".to_owned(),
            Tone::Plain,
        ),
        tile("p50", ms(latency.p50_ms), "half were at most this".to_owned(), Tone::Plain),
        tile("p99", ms(latency.p99_ms), format!("max {}", ms(latency.max_ms)), Tone::Plain),
        tile(
            "Failed",
            count(all.failed),
            format!("{} retries", count(all.retries)),
            bad(all.failed > 0),
        ),
        tile(
            "Generator late",
            ms(report.generator.lateness.p99_ms),
            "p99 of its own lateness".to_owned(),
            if report.generator.bound { Tone::Warning } else { Tone::Plain },
        ),
    ]
}

fn thresholds(report: &Report) -> Html {
    let rows: Vec<Vec<Cell>> = report
        .thresholds
        .iter()
        .map(|gate| {
            let (word, tone) =
                if gate.breached { ("breached", Tone::Bad) } else { ("held", Tone::Good) };
            vec![gate.fail_if.as_str().into(), gate.shown.as_str().into(), Cell::new(word, tone)]
        })
        .collect();
    Html::titled("The run fails if", &table("", &["Condition", ">Measured", "Verdict"], &rows))
}

/// Some seconds put together, so that a long run still fits into a picture.
struct Slice {
    /// The middle, in seconds.
    at: f64,
    /// How many seconds.
    width: f64,
    counts: StreamSecond,
}

fn slices(report: &Report) -> Vec<Slice> {
    // The time after the plan belongs to the picture only as far as something still failed in it.
    let planned = |second: u64| number(second) < report.seconds;
    let belongs = |(second, counts): &(u64, StreamSecond)| planned(*second) || counts.failed > 0;
    let last = report.each.iter().rposition(belongs);
    let each = report.each.get(..last.map_or(0, |last| last + 1)).unwrap_or_default();
    let per_slice = each.len().div_ceil(POINTS).max(1);
    each.chunks(per_slice)
        .filter_map(|seconds| {
            let ((first, begin), rest) = seconds.split_first()?;
            let mut counts = begin.clone();
            rest.iter().for_each(|(_, later)| counts.append(later));
            let whole: f64 = seconds.iter().map(|_| 1.0).sum();
            // The plan may end within a second, whose counts are then those of a part of it.
            let left = report.seconds - number(*first);
            let width = if left > 0.0 { whole.min(left) } else { whole };
            Some(Slice { at: number(*first) + width / 2.0, width, counts })
        })
        .collect()
}

fn time_axis() -> Axis {
    Axis { label: "Time".to_owned(), unit: Unit::Seconds, ..Axis::default() }
}

fn line(name: &str, slices: &[Slice], value: impl Fn(&Slice) -> Option<f64>) -> Line {
    let points = slices.iter().map(|slice| (slice.at, value(slice))).collect();
    Line { name: name.to_owned(), points, ..Line::default() }
}

/// A log axis where the values are too far apart to be read on an even one.
fn latency_axis(label: &str, lines: &[Line]) -> Axis {
    let values = || lines.iter().flat_map(|line| &line.points).filter_map(|(_, value)| *value);
    let low = values().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    let high = values().fold(0.0, f64::max);
    let scale = if high / low > 50.0 { Scale::Log } else { Scale::Linear };
    Axis { label: label.to_owned(), unit: Unit::Milliseconds, scale, ends: None }
}

fn latency(slices: &[Slice]) -> Html {
    let of = |name, share| {
        line(name, slices, |slice| slice.counts.latency.quantile(share).map(milliseconds))
    };
    let drawn = vec![of("p50", 0.5), of("p99", 0.99)];
    lines(&Lines {
        title: "Latency of good answers, from when they were due".to_owned(),
        across: time_axis(),
        up: latency_axis("Latency", &drawn),
        lines: drawn,
    })
}

fn requests(slices: &[Slice]) -> Html {
    let per_second = |name: &str, count: fn(&StreamSecond) -> u64| {
        line(name, slices, |slice| Some(number(count(&slice.counts)) / slice.width))
    };
    lines(&Lines {
        title: "Requests each second".to_owned(),
        across: time_axis(),
        up: Axis { label: "Requests".to_owned(), unit: Unit::PerSecond, ..Axis::default() },
        lines: vec![
            Line { filled: true, ..per_second("ended well", |counts| counts.ok) },
            per_second("due", |counts| counts.due),
            Line { bad: true, filled: true, ..per_second("failed", |counts| counts.failed) },
            per_second("not sent", |counts| counts.dropped),
        ],
    })
}

fn under_way(slices: &[Slice]) -> Html {
    lines(&Lines {
        title: "Requests under way and connections open".to_owned(),
        across: time_axis(),
        up: Axis { label: "At the end of the second".to_owned(), ..Axis::default() },
        lines: vec![
            line("under way", slices, |slice| Some(number(slice.counts.in_flight))),
            line("connections", slices, |slice| Some(number(slice.counts.open))),
        ],
    })
}

fn percentiles(report: &Report) -> Html {
    let points = report.percentiles.iter().map(|(share, ms)| (*share, Some(*ms))).collect();
    let drawn = vec![Line { name: "good answers".to_owned(), points, ..Line::default() }];
    lines(&Lines {
        title: "Latency by percentile".to_owned(),
        across: Axis {
            label: "Share of the requests that were at most as slow".to_owned(),
            unit: Unit::Share,
            scale: Scale::Nines,
            ends: None,
        },
        up: latency_axis("Latency", &drawn),
        lines: drawn,
    })
}

fn quantiles(report: &Report) -> Html {
    let row = |name: &str, quantiles: &Quantiles| {
        let values = [
            quantiles.mean_ms,
            quantiles.p50_ms,
            quantiles.p90_ms,
            quantiles.p99_ms,
            quantiles.p99_9_ms,
            quantiles.max_ms,
        ];
        std::iter::once(Cell::from(name)).chain(values.map(|value| ms(value).into())).collect()
    };
    let mut rows = vec![
        row("Good answers", &report.all.latency),
        row("Every answer", &report.all.latency_all),
    ];
    rows.extend(report.all.first_message.iter().map(|first| row("First message", first)));
    rows.push(row("Own lateness", &report.generator.lateness));
    let headings = ["", ">Mean", ">p50", ">p90", ">p99", ">p99.9", ">Max"];
    Html::titled("Latency in numbers", &table("", &headings, &rows))
}

fn answers(all: &Seen) -> Vec<Html> {
    let status = |status: &u16| match *status {
        0 => "other".to_owned(),
        status => status.to_string(),
    };
    let tone = |code: u16| match code {
        429 | 500.. => Tone::Bad,
        400.. => Tone::Warning,
        _ => Tone::Plain,
    };
    let answered = number(all.answered).max(1.0);
    let bar = |name: String, number_of: u64, whole: f64, tone| Bar {
        name,
        value: number(number_of),
        note: Unit::Share.show(number(number_of) / whole),
        tone,
    };
    let statuses: Vec<Bar> = all
        .statuses
        .iter()
        .map(|(code, number_of)| bar(status(code), *number_of, answered, tone(*code)))
        .collect();
    let servers: Vec<Bar> = most(&all.servers)
        .into_iter()
        .map(|(name, number_of)| bar(name, number_of, answered, Tone::Plain))
        .collect();
    let mut parts = Vec::new();
    if !statuses.is_empty() {
        parts.push(bars("Statuses", Unit::Count, &statuses));
    }
    if !servers.is_empty() {
        parts.push(bars("Servers that answered", Unit::Count, &servers));
    }
    if all.failures.is_empty() {
        parts.push(Html::titled("Failures", &Html::paragraph("No request failed.")));
    } else {
        let failed = number(all.failed).max(1.0);
        let failures: Vec<Bar> = most(&all.failures)
            .into_iter()
            .map(|(name, number_of)| bar(name, number_of, failed, Tone::Bad))
            .collect();
        parts.push(bars("Failed requests, by what became of the last try", Unit::Count, &failures));
    }
    parts
}

/// The most frequent names, the rest as one.
fn most(table: &std::collections::BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut names: Vec<(String, u64)> =
        table.iter().map(|(name, number_of)| (name.clone(), *number_of)).collect();
    if names.len() > NAMES_MAX {
        names.sort_by_key(|(_, number_of)| std::cmp::Reverse(*number_of));
        let rest: u64 = names.split_off(NAMES_MAX - 1).iter().map(|(_, number_of)| number_of).sum();
        names.push(("all others".to_owned(), rest));
    }
    names
}

fn streams(report: &Report) -> Html {
    let rows: Vec<Vec<Cell>> = report
        .streams
        .iter()
        .map(|stream| {
            let seen = &stream.seen;
            let failed = if seen.failed > 0 { Tone::Bad } else { Tone::Plain };
            vec![
                stream.name.as_str().into(),
                count(seen.due).into(),
                count(seen.ok).into(),
                Cell::new(count(seen.failed), failed),
                count(seen.dropped).into(),
                shown(seen.success, Unit::Share).into(),
                ms(seen.latency.p50_ms).into(),
                ms(seen.latency.p99_ms).into(),
                ms(seen.latency.max_ms).into(),
            ]
        })
        .collect();
    let headings =
        ["Stream", ">Due", ">Good", ">Failed", ">Not sent", ">Success", ">p50", ">p99", ">Max"];
    Html::titled("Each stream", &table("", &headings, &rows))
}

fn lateness(slices: &[Slice]) -> Html {
    let of = |name, share| {
        line(name, slices, |slice| slice.counts.lateness.quantile(share).map(milliseconds))
    };
    let drawn = vec![of("p50", 0.5), of("p99", 0.99), of("max", 1.0)];
    lines(&Lines {
        title: "Own lateness, from when due to when sent".to_owned(),
        across: time_axis(),
        up: latency_axis("Lateness", &drawn),
        lines: drawn,
    })
}

fn confession(generator: &Generator) -> Html {
    let tone = |share: f64| if share > 0.01 { Tone::Warning } else { Tone::Good };
    let share = |share: f64| Cell::new(Unit::Share.show(share), tone(share));
    let per_try = generator.cpu_us_per_try.map(|us| us / 1_000.0);
    let rows = [
        vec!["Sent late; above 1 % the run is generator-bound".into(), share(generator.late_share)],
        vec![
            "Not sent; above 1 % the run is generator-bound".into(),
            share(generator.dropped_share),
        ],
        vec!["CPU time".into(), ms(Some(generator.cpu_seconds * 1_000.0)).into()],
        vec!["CPU time per try".into(), ms(per_try).into()],
    ];
    Html::titled("Whether to believe these numbers", &table("", &["", ">Measured"], &rows))
}

fn count(number_of: u64) -> String {
    Unit::Count.show(number(number_of))
}

fn ms(value: Option<f64>) -> String {
    shown(value, Unit::Milliseconds)
}

fn shown(value: Option<f64>, unit: Unit) -> String {
    value.map_or_else(|| "\u{2013}".to_owned(), |value| unit.show(value))
}
