//! Puts runs in order: by drill, then side by side by front door.
//!
//! Invariant: every group has at least one column, and every column at least one run.

use crate::drill::report::{EntryKind, RunReport, StreamRow, TimelineEntry};

/// All runs of one drill.
pub(super) struct Group<'a> {
    pub(super) columns: Vec<Column<'a>>,
}

/// The runs of one drill with one front door, guard on or off; the first is drawn.
pub(super) struct Column<'a> {
    pub(super) first: &'a RunReport,
    pub(super) others: Vec<&'a RunReport>,
}

/// What happened at one time of the timeline, the same for every front door.
pub(super) struct Happening<'a> {
    /// As the first front door met it.
    pub(super) entry: &'a TimelineEntry,
    /// How many happenings of the same kind and words came before it.
    before: usize,
    /// Its number in drawings and lists; what is undone has none.
    pub(super) number: Option<usize>,
}

/// Groups runs in the order in which drills and front doors come first.
pub(super) fn groups(runs: &[RunReport]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for run in runs {
        let new = Column { first: run, others: Vec::new() };
        let Some(group) = groups.iter_mut().find(|group| group.first().drill == run.drill) else {
            groups.push(Group { columns: vec![new] });
            continue;
        };
        match group.columns.iter_mut().find(|column| column.key() == new.key()) {
            Some(column) => column.others.push(run),
            None => group.columns.push(new),
        }
    }
    groups
}

impl<'a> Group<'a> {
    /// The run whose words stand for the drill.
    pub(super) fn first(&self) -> &'a RunReport {
        self.columns.first().expect("a group is made with its first column").first
    }

    /// Faults, changes and their ends as all front doors met them, in order of time.
    pub(super) fn happenings(&self) -> Vec<Happening<'a>> {
        let mut found: Vec<Happening<'a>> = Vec::new();
        for column in &self.columns {
            for (entry, before) in happened(column.first) {
                let is_known =
                    |known: &Happening<'_>| known.before == before && is_same(known.entry, entry);
                if !found.iter().any(is_known) {
                    found.push(Happening { entry, before, number: None });
                }
            }
        }
        found.sort_by(|one, other| one.entry.at_seconds.total_cmp(&other.entry.at_seconds));
        let mut number = 0;
        for happening in &mut found {
            if happening.entry.kind != EntryKind::Undo {
                number += 1;
                happening.number = Some(number);
            }
        }
        found
    }
}

impl<'a> Column<'a> {
    /// What tells columns apart.
    pub(super) fn key(&self) -> (&'a str, bool) {
        (&self.first.front, self.first.guard)
    }

    /// Whether all runs of this column came to the same verdicts.
    pub(super) fn is_steady(&self) -> bool {
        self.others.iter().all(|run| run.differences(self.first).is_empty())
    }
}

impl Happening<'_> {
    /// The same happening in a run.
    pub(super) fn of<'r>(&self, run: &'r RunReport) -> Option<&'r TimelineEntry> {
        let own = |(entry, before): &(&TimelineEntry, usize)| {
            *before == self.before && is_same(entry, self.entry)
        };
        happened(run).into_iter().find(own).map(|(entry, _)| entry)
    }

    /// What happened, without what one front door said of it.
    pub(super) fn words(&self) -> &str {
        planned(self.entry)
    }
}

/// What was planned of an entry: front doors add what they did after a dash.
fn planned(entry: &TimelineEntry) -> &str {
    entry.words.split_once(DASH).map_or(entry.words.as_str(), |(planned, _)| planned)
}

/// What one front door did with a change, in its own words.
pub(super) fn done(entry: &TimelineEntry) -> Option<&str> {
    entry.words.split_once(DASH).map(|(_, done)| done)
}

const DASH: &str = " \u{2014} ";

/// Faults, changes and their ends of one run, each with how many of the same came before it.
fn happened(run: &RunReport) -> Vec<(&TimelineEntry, usize)> {
    let mut found: Vec<(&TimelineEntry, usize)> = Vec::new();
    for entry in run.timeline.iter().filter(|entry| entry.kind != EntryKind::DoorNoticed) {
        let before = found.iter().filter(|(known, _)| is_same(known, entry)).count();
        found.push((entry, before));
    }
    found
}

/// Front doors meet the same happening at slightly different times, and say different things of it.
fn is_same(one: &TimelineEntry, other: &TimelineEntry) -> bool {
    one.kind == other.kind && planned(one) == planned(other)
}

/// The success of one second; nothing at all in a second with requests under way is no success.
pub(super) fn success_of_second(row: &StreamRow) -> Option<f64> {
    match row.ended() {
        0 if row.due > 0 && row.in_flight > 0 => Some(0.0),
        all => share(row.ok, all),
    }
}

/// `part / all`, unless there is nothing.
pub(super) fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}
