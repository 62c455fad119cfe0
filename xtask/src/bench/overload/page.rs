//! The plots, as one page that needs nothing else.

use rehearsal::page::chart::{Axis, Line, Lines, lines};
use rehearsal::page::{Cell, Html, Page, Tone, Unit, table};

use super::bars::Verdict;
use super::case::Scenario;
use super::point::Point;
use super::runner::OBJECTIVE;
use super::table::{Group, groups};

/// A plot for each curve, a table for each bar.
pub(super) fn render(points: &[Point], verdicts: &[Verdict]) -> String {
    let mut page = Page::new(
        "Goodput against offered load",
        &format!(
            "answered within {OBJECTIVE} of when it was due, as a share of what the servers carry"
        ),
    );
    let missed = verdicts.iter().filter(|verdict| !verdict.reached()).count();
    let (tone, headline) = match missed {
        0 => (Tone::Good, format!("all {} bars reached", verdicts.len())),
        missed => (Tone::Bad, format!("{missed} of {} bars missed", verdicts.len())),
    };
    page.banner(tone, &headline, &[]);
    let curves = |group: &&Group<'_>| matches!(group.scenario, Scenario::Curve | Scenario::Stale);
    let groups = groups(points);
    page.section("Curves", groups.iter().filter(curves).map(curve));
    let headings = ["Bar", ">Bound", ">Measured", "Result"];
    let rows: Vec<Vec<Cell>> = verdicts
        .iter()
        .map(|verdict| {
            let measured = verdict.measured.map_or_else(|| "-".to_owned(), |spread| spread.text(3));
            let result = match verdict.reached() {
                true => Cell::new("reached", Tone::Good),
                false => Cell::new("missed", Tone::Bad),
            };
            let sign = if verdict.at_least { "at least" } else { "at most" };
            let bound = format!("{sign} {}", verdict.bound);
            vec![verdict.name.as_str().into(), bound.into(), measured.into(), result]
        })
        .collect();
    page.section("Bars", [table("", &headings, &rows).wide()]);
    page.render()
}

fn curve(group: &Group<'_>) -> Html {
    let of = |door| {
        let at = |times: &u32| {
            let share = group.spread((door, *times), |point| Some(point.part("steady")?.share));
            (f64::from(*times), share.map(|share| share.median))
        };
        let points = group.times().iter().map(at).collect();
        Line { name: door.name().to_owned(), points, ..Line::default() }
    };
    lines(&Lines {
        title: group.title(),
        across: Axis {
            label: "Offered, as a multiple of the capacity".to_owned(),
            unit: Unit::Count,
            ..Axis::default()
        },
        up: Axis {
            label: "Goodput, of what is attainable".to_owned(),
            unit: Unit::Share,
            ends: Some((0.0, 1.0)),
            ..Axis::default()
        },
        lines: group.doors().into_iter().map(of).collect(),
    })
}
