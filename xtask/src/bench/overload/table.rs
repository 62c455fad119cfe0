//! The tables on stdout and the file for other programs.

use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::super::report::{Spread, table};
use super::app::{Capacity, Kind};
use super::bars::Verdict;
use super::case::{Case, Scenario};
use super::door::Door;
use super::point::{Part, Point};
use crate::say;

/// Points that share a table: of one scenario, one kind of server, with or without retries.
pub(super) struct Group<'a> {
    pub(super) scenario: Scenario,
    pub(super) app: Kind,
    pub(super) retries: bool,
    pub(super) points: Vec<&'a Point>,
}

impl Group<'_> {
    pub(super) fn title(&self) -> String {
        let retries = match (self.scenario, self.retries) {
            (Scenario::Storm, _) | (_, false) => "",
            (_, true) => ", 3 retries",
        };
        format!("{}: {}{retries}", self.scenario.title(), self.app.name())
    }

    pub(super) fn doors(&self) -> Vec<Door> {
        let mut doors: Vec<Door> = self.points.iter().map(|point| point.case.door).collect();
        doors.sort();
        doors.dedup();
        doors
    }

    pub(super) fn times(&self) -> Vec<u32> {
        let mut times: Vec<u32> = self.points.iter().map(|point| point.case.times).collect();
        times.sort_unstable();
        times.dedup();
        times
    }

    /// The rounds of one cell that count.
    pub(super) fn of(&self, door: Door, times: u32) -> impl Iterator<Item = &Point> {
        let fits = move |case: &Case| case.door == door && case.times == times;
        self.points.iter().copied().filter(move |point| fits(&point.case) && point.lost.is_none())
    }

    /// Over the rounds of one cell; `None` when all were lost.
    pub(super) fn spread(
        &self,
        (door, times): (Door, u32),
        value: impl Fn(&Point) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(&self.of(door, times).filter_map(value).collect::<Vec<_>>())
    }
}

/// The points by table, in order.
pub(super) fn groups(points: &[Point]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for point in points {
        let Case { scenario, app, retries, .. } = point.case;
        let same = |group: &&mut Group<'_>| {
            (group.scenario, group.app, group.retries) == (scenario, app, retries)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.points.push(point),
            None => groups.push(Group { scenario, app, retries, points: vec![point] }),
        }
    }
    groups
}

/// Prints what each door came to, what each bar came to, and what was lost.
pub(super) fn print(points: &[Point], verdicts: &[Verdict], capacities: &[Capacity]) {
    for capacity in capacities {
        let slow = if capacity.slow { ", 4 x slower" } else { "" };
        say::data(&format!(
            "1 x of {}{slow}: {:.0}/s, unloaded p99 {:.1} ms",
            capacity.app.name(),
            capacity.per_second,
            capacity.unloaded_p99_ms
        ));
    }
    for group in groups(points) {
        say::data(&format!("\n{}", group.title()));
        say::data(&table(&rows(&group)));
    }
    for point in points.iter().filter(|point| point.lost.is_some()) {
        say::data(&format!("lost: {}", point.progress()));
    }
    if verdicts.is_empty() {
        return;
    }
    let mut rows = vec![["bar", "bound", "measured", "result"].map(str::to_owned).to_vec()];
    rows.extend(verdicts.iter().map(|verdict| {
        let sign = if verdict.at_least { ">=" } else { "<=" };
        let measured = verdict.measured.map_or_else(|| "-".to_owned(), |spread| spread.text(3));
        let result = if verdict.reached() { "reached" } else { "MISSED" };
        vec![verdict.name.clone(), format!("{sign} {}", verdict.bound), measured, result.to_owned()]
    }));
    say::data(&format!("\n{}", table(&rows)));
}

fn rows(group: &Group<'_>) -> Vec<Vec<String>> {
    match group.scenario {
        Scenario::Curve | Scenario::Stale => curve(group),
        Scenario::Change => {
            let head = ["door", "slow: goodput", "after, s", "back: goodput", "after, s"];
            each(group, &head, |group, cell| {
                let after = |index: usize| {
                    let after = |point: &Point| {
                        point.recovery_seconds.get(index).copied().flatten().map(f64::from)
                    };
                    text(group.spread(cell, after), 0)
                };
                vec![percent(group, cell, "slow"), after(0), percent(group, cell, "back"), after(1)]
            })
        }
        Scenario::Talker => {
            let head = ["door", "polite: success", "polite: p99, ms", "named after, s"];
            each(group, &head, |group, cell| {
                let success =
                    group.spread(cell, |point| Some(point.part("polite")?.success * 100.0));
                let p99 = group.spread(cell, |point| point.part("polite")?.p99_ms);
                let named = group.spread(cell, |point| point.named_seconds);
                vec![text(success, 1), text(p99, 0), text(named, 1)]
            })
        }
        Scenario::Critical => {
            let head = ["door", "critical: success", "critical: p99, ms"];
            each(group, &head, |group, cell| {
                let success =
                    group.spread(cell, |point| Some(point.part("critical")?.success * 100.0));
                let p99 = group.spread(cell, |point| point.part("critical")?.p99_ms);
                vec![text(success, 1), text(p99, 0)]
            })
        }
        Scenario::Storm => {
            let head = ["door", "calm: goodput", "over after, s"];
            each(group, &head, |group, cell| {
                let after = |point: &Point| {
                    point.recovery_seconds.first().copied().flatten().map(f64::from)
                };
                vec![percent(group, cell, "calm"), text(group.spread(cell, after), 0)]
            })
        }
    }
}

/// One row a door, goodput and latency for each multiple.
fn curve(group: &Group<'_>) -> Vec<Vec<String>> {
    let times = group.times();
    let mut head = vec!["goodput, % of attainable / p99, ms".to_owned()];
    head.extend(times.iter().map(|times| format!("{times} x")));
    let row = |door: Door| {
        let cell = |times: &u32| {
            let p99 = group.spread((door, *times), |point| point.part("steady")?.p99_ms);
            let share = percent(group, (door, *times), "steady");
            format!(
                "{share} / {}",
                p99.map_or_else(|| "-".to_owned(), |p99| format!("{:.0}", p99.median))
            )
        };
        [door.name().to_owned()].into_iter().chain(times.iter().map(cell)).collect()
    };
    [head].into_iter().chain(group.doors().into_iter().map(row)).collect()
}

/// One row a door and multiple.
fn each(
    group: &Group<'_>,
    head: &[&str],
    cells: impl Fn(&Group<'_>, (Door, u32)) -> Vec<String>,
) -> Vec<Vec<String>> {
    let mut rows = vec![head.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>()];
    for times in group.times() {
        for door in group.doors() {
            let name = format!("{} ({times} x)", door.name());
            rows.push([name].into_iter().chain(cells(group, (door, times))).collect());
        }
    }
    rows
}

/// Goodput of a judged stream in percent of what is attainable.
fn percent(group: &Group<'_>, cell: (Door, u32), stream: &str) -> String {
    let share = |part: &Part| part.share * 100.0;
    text(group.spread(cell, |point| point.part(stream).map(share)), 1)
}

fn text(spread: Option<Spread>, decimals: usize) -> String {
    let Some(spread) = spread else { return "-".to_owned() };
    let one = (spread.high - spread.low).abs() < 1e-9;
    if one { format!("{:.decimals$}", spread.median) } else { spread.text(decimals) }
}

#[derive(Serialize)]
struct Everything<'a> {
    capacities: &'a [Capacity],
    points: &'a [Point],
    bars: Vec<BarResult<'a>>,
}

#[derive(Serialize)]
struct BarResult<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    reached: bool,
}

/// Writes everything as JSON.
pub(super) fn write_json(
    path: &Path,
    points: &[Point],
    verdicts: &[Verdict],
    capacities: &[Capacity],
) -> anyhow::Result<()> {
    let bars =
        verdicts.iter().map(|verdict| BarResult { verdict, reached: verdict.reached() }).collect();
    let text = serde_json::to_string_pretty(&Everything { capacities, points, bars })?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
