//! One run as one drawing: all its bands over one time axis.

use super::band::{Band, DRAWN_MAX, Layout, Shows};
use super::group::{self, Happening};
use super::{percent, put};
use crate::drill::report::{EntryKind, RunReport, SecondRow, ServerRow};
use crate::page::{Html, Unit};

/// The narrowest room between two numbers of happenings.
const NUMBER_ROOM: f64 = 13.0;

/// The drawing of a run. What happened is numbered as in `happenings`.
pub(super) fn drawing(run: &RunReport, layout: &Layout, happenings: &[Happening<'_>]) -> Html {
    let mut svg = format!(
        "<svg class=\"drawing\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" role=\"img\" aria-label=\"{2}\">",
        layout.width,
        place(layout.height),
        Html::text(&spoken(run))
    );
    for band in &layout.bands {
        put(&mut svg, format_args!("<g transform=\"translate(0 {})\">", place(band.top)));
        svg.push_str(&content(run, layout, *band));
        svg.push_str("</g>");
    }
    svg.push_str(&events(run, layout, happenings));
    svg.push_str(&totals(run, layout));
    svg.push_str("</svg>");
    Html::markup(svg)
}

fn content(run: &RunReport, layout: &Layout, band: Band) -> String {
    match band.shows {
        Shows::Events => String::new(),
        Shows::Success(stream) => success(run, layout, band, stream),
        Shows::Latency => latency(run, layout, band),
        Shows::Share => shares(run, layout, band),
        Shows::Places(server) => places(run, layout, band, server),
        Shows::Database => database(run, layout, band),
        Shows::Time => time(layout),
    }
}

/// A coordinate: tenths are finer than a screen shows.
fn place(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// A whole band as ground.
fn ground(layout: &Layout, band: Band, class: &str) -> String {
    format!(
        "<rect class=\"{class}\" width=\"{}\" height=\"{}\"/>",
        layout.width,
        place(band.height)
    )
}

/// Filled steps between two heights, one a second; a gap where there is no number.
fn steps(
    layout: &Layout,
    rows: &[SecondRow],
    ends: impl Fn(&SecondRow) -> Option<(f64, f64)>,
) -> String {
    let mut path = String::new();
    let mut open: Option<(f64, f64, f64, f64)> = None;
    let close = |path: &mut String, (from, to, low, high): (f64, f64, f64, f64)| {
        let (from, to) = (place(layout.x(from)), place(layout.x(to)));
        put(path, format_args!("M{from} {}H{to}V{}H{from}Z", place(low), place(high)));
    };
    for row in rows {
        let (from, to) = (row.second as f64, row.second as f64 + 1.0);
        let next = ends(row).filter(|(low, high)| (low - high).abs() >= 0.05);
        open = match (open, next) {
            // Seconds alike become one step: most of a drill is calm.
            (Some((begun, until, low, high)), Some(next))
                if until >= from && (low - next.0).abs() < 0.05 && (high - next.1).abs() < 0.05 =>
            {
                Some((begun, to, low, high))
            }
            (before, next) => {
                before.into_iter().for_each(|step| close(&mut path, step));
                next.map(|(low, high)| (from, to, low, high))
            }
        };
    }
    open.into_iter().for_each(|step| close(&mut path, step));
    path
}

/// What ended well from the bottom, what did not from the top.
fn success(run: &RunReport, layout: &Layout, band: Band, stream: usize) -> String {
    let height = band.height;
    let of = |row: &SecondRow| row.streams.get(stream).and_then(group::success_of_second);
    let well = steps(layout, &run.seconds, |row| of(row).map(|ok| (height, height * (1.0 - ok))));
    let lost = steps(layout, &run.seconds, |row| of(row).map(|ok| (height * (1.0 - ok), 0.0)));
    let mut svg = ground(layout, band, "ground");
    put(&mut svg, format_args!("<path class=\"well\" d=\"{well}\"/>"));
    put(&mut svg, format_args!("<path class=\"lost\" d=\"{lost}\"/>"));
    svg
}

/// The success of each stream, over everything else.
fn totals(run: &RunReport, layout: &Layout) -> String {
    let mut svg = String::new();
    for band in &layout.bands {
        if let Shows::Success(stream) = band.shows {
            let y = place(band.top + band.height - 6.0);
            let all = percent(run.success_of(&[stream]));
            put(&mut svg, format_args!("<text class=\"all\" x=\"5\" y=\"{y}\">{all}</text>"));
        }
    }
    svg
}

/// A line a stream over decades.
fn latency(run: &RunReport, layout: &Layout, band: Band) -> String {
    let mut svg = ground(layout, band, "ground");
    for power in layout.decades.0 + 1..layout.decades.1 {
        let y = place(layout.latency(10_f64.powi(power), band.height));
        put(&mut svg, format_args!("<path class=\"rule\" d=\"M0 {y}H{}\"/>", layout.width));
    }
    // The first stream is the one the drill is about: it is drawn last, above the others.
    for stream in (0..run.streams.len().min(DRAWN_MAX)).rev() {
        let mut path = String::new();
        let mut drawing = false;
        for row in &run.seconds {
            let p99 = row.streams.get(stream).and_then(|row| row.p99_ms);
            if let Some(p99) = p99 {
                let (from, to) = (row.second as f64, row.second as f64 + 1.0);
                let y = place(layout.latency(p99, band.height));
                match drawing {
                    true => put(&mut path, format_args!("V{y}H{}", place(layout.x(to)))),
                    false => put(
                        &mut path,
                        format_args!("M{} {y}H{}", place(layout.x(from)), place(layout.x(to))),
                    ),
                }
            }
            drawing = p99.is_some();
        }
        put(&mut svg, format_args!("<path class=\"p99 l{stream}\" d=\"{path}\"/>"));
    }
    svg
}

/// The servers' shares, one above the other, the first at the top.
fn shares(run: &RunReport, layout: &Layout, band: Band) -> String {
    let mut svg = ground(layout, band, "ground");
    let before = |row: &SecondRow, count: usize| -> f64 {
        row.servers.iter().take(count).filter_map(|server| server.share).sum()
    };
    for server in 0..run.servers.len().min(DRAWN_MAX) {
        let path = steps(layout, &run.seconds, |row| {
            row.servers.get(server)?.share?;
            let (low, high) = (before(row, server + 1), before(row, server));
            Some((low.min(1.0) * band.height, high.min(1.0) * band.height))
        });
        put(&mut svg, format_args!("<path class=\"s{server}\" d=\"{path}\"/>"));
    }
    svg
}

/// One server: the fuller, the stronger; a line below it while the door shows it as ill.
fn places(run: &RunReport, layout: &Layout, band: Band, server: usize) -> String {
    let mut svg = ground(layout, band, "ground");
    let places = run.servers.get(server).map_or(0, |server| server.places);
    let of = |row: &SecondRow| row.servers.get(server).and_then(|row| fullness(row, places));
    for level in 1..=4_u8 {
        let path =
            steps(layout, &run.seconds, |row| (of(row)? == level).then_some((band.height, 0.0)));
        put(&mut svg, format_args!("<path class=\"full{level}\" d=\"{path}\"/>"));
    }
    let silent = steps(layout, &run.seconds, |row| {
        let silent = row.servers.get(server)?.busy.is_none();
        silent.then_some((band.height / 2.0 + 0.75, band.height / 2.0 - 0.75))
    });
    put(&mut svg, format_args!("<path class=\"silent\" d=\"{silent}\"/>"));
    let ill = steps(layout, &run.seconds, |row| {
        let wrong = row.servers.get(server)?.door_wrong;
        wrong.then_some((band.height + 2.0, band.height - 1.0))
    });
    put(&mut svg, format_args!("<path class=\"ill\" d=\"{ill}\"/>"));
    svg
}

/// 0 to 4: idle, a third, two thirds, nearly all, all places taken for most of the second.
pub(super) fn fullness(row: &ServerRow, places: u64) -> Option<u8> {
    let busy = row.busy?;
    let share = group::share(busy, places).unwrap_or(0.0);
    let taken = row.saturated.unwrap_or(0.0);
    Some(match (taken, share) {
        (taken, _) if taken >= 0.5 => 4,
        (_, share) if share >= 0.75 => 3,
        (_, share) if share >= 0.4 => 2,
        (_, share) if share >= 0.1 => 1,
        (_, _) => 0,
    })
}

fn database(run: &RunReport, layout: &Layout, band: Band) -> String {
    let mut svg = ground(layout, band, "ground");
    let path = steps(layout, &run.seconds, |row| {
        let failures = row.database.as_ref()?.failures as f64;
        Some((band.height, band.height * (1.0 - failures / layout.failures)))
    });
    put(&mut svg, format_args!("<path class=\"lost\" d=\"{path}\"/>"));
    svg
}

fn time(layout: &Layout) -> String {
    let mut svg = String::new();
    let ticks = layout.ticks();
    for at in &ticks {
        let x = layout.x(*at);
        let class = match x {
            x if x < 1.0 => "tick",
            x if x > layout.width - 12.0 => "tick end",
            _ => "tick middle",
        };
        let unit = if ticks.last() == Some(at) { " s" } else { "" };
        put(&mut svg, format_args!("<path class=\"rule\" d=\"M{} -3v5\"/>", place(x)));
        put(
            &mut svg,
            format_args!("<text class=\"{class}\" x=\"{}\" y=\"14\">{at}{unit}</text>", place(x)),
        );
    }
    svg
}

/// Lines through all bands, and a numbered sign above each that has a number.
fn events(run: &RunReport, layout: &Layout, happenings: &[Happening<'_>]) -> String {
    let mut svg = String::new();
    let bottom = layout.bands.last().map_or(layout.height, |band| band.top - 4.0);
    let mut free_from = f64::NEG_INFINITY;
    for happening in happenings {
        let Some(entry) = happening.of(run) else { continue };
        let x = layout.x(entry.at_seconds);
        let class = match entry.kind {
            EntryKind::Load | EntryKind::Fault | EntryKind::Change => "event",
            EntryKind::Undo | EntryKind::DoorNoticed => "event undone",
        };
        put(&mut svg, format_args!("<path class=\"{class}\" d=\"M{} 17V{bottom:.1}\"/>", place(x)));
        let Some(number) = happening.number else { continue };
        if x < free_from {
            continue;
        }
        free_from = x + NUMBER_ROOM;
        let centre = x.clamp(8.0, layout.width - 8.0);
        let centre = place(centre);
        put(
            &mut svg,
            format_args!(
                "<circle class=\"number\" cx=\"{centre}\" cy=\"9.5\" r=\"7.5\"/><text class=\"digit\" x=\"{centre}\" y=\"13.2\">{number}</text>"
            ),
        );
    }
    svg
}

/// The drawing for those who do not see it; the tables have the rest.
fn spoken(run: &RunReport) -> String {
    let streams = run.streams.iter().enumerate().take(DRAWN_MAX).map(|(index, stream)| {
        let worst = run.seconds.iter().filter_map(|row| {
            let success = group::success_of_second(row.streams.get(index)?)?;
            Some((row.second, success))
        });
        let worst = worst.min_by(|one, other| one.1.total_cmp(&other.1));
        let worst = worst.map(|(second, success)| {
            format!(", lowest {} in second {second}", Unit::Share.show(success))
        });
        let all = percent(run.success_of(&[index]));
        format!("success of {} {all}{}", stream.name, worst.unwrap_or_default())
    });
    let streams: Vec<String> = streams.collect();
    format!(
        "{} with {}, guard {}: {}. The numbers are in the tables below.",
        run.drill,
        run.front,
        if run.guard { "on" } else { "off" },
        streams.join("; ")
    )
}
