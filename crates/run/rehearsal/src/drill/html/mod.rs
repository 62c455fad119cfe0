//! Every run as one page: the same drill with each front door, side by side on the same axes.
//!
//! Drawn for the question "who was hurt, when, and what did the front door do": what clients
//! lost is the loudest colour on the page. Invariant: the page shows what [`RunReport`] holds and
//! works nothing out that a verdict rests on; without a script, every number is in a table.

mod band;
mod chart;
mod group;
mod section;
mod style;
mod tables;

use std::fmt::Write as _;

use super::report::{RunReport, Verdict};
use crate::page::{Html, Page, Tone, Unit};
use group::{Column, Group};

/// The whole page of these runs, in their order. Runs of the same drill with the same front door
/// and guard count as repetitions: the first is drawn, the others are counted.
#[must_use]
pub fn page(runs: &[RunReport]) -> String {
    let groups = group::groups(runs);
    let mut page = Page::new(&title(&groups), &subtitle(runs)).styled(style::STYLE);
    let (tone, headline, details) = verdict(runs, &groups);
    page.banner(tone, &headline, &details);
    // One drill is told in full right below.
    if groups.len() > 1 {
        page.add(&tables::matrix(&groups));
    }
    for (index, group) in groups.iter().enumerate() {
        page.add(&section::section(index, group));
    }
    page.add(&reading());
    page.render()
}

fn title(groups: &[Group<'_>]) -> String {
    match groups {
        [only] => format!("Drill {}", only.first().drill),
        several => format!("{} drills", several.len()),
    }
}

/// Front doors with their versions, and the seeds.
fn subtitle(runs: &[RunReport]) -> String {
    let mut fronts: Vec<String> = Vec::new();
    let mut seeds: Vec<u64> = Vec::new();
    for run in runs {
        let front = match run.front_version.to_lowercase().contains(&run.front) {
            true => run.front_version.clone(),
            false => format!("{} {}", run.front, run.front_version).trim_end().to_owned(),
        };
        if !fronts.contains(&front) {
            fronts.push(front);
        }
        if !seeds.contains(&run.seed) {
            seeds.push(run.seed);
        }
    }
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    let plural = if seeds.len() == 1 { "" } else { "s" };
    let count = counted(runs.len(), "run");
    format!("{count}: {}. Seed{plural} {}.", fronts.join(", "), seeds.join(", "))
}

/// The banner: what the exit code says, and what the runs rest on.
fn verdict(runs: &[RunReport], groups: &[Group<'_>]) -> (Tone, String, Vec<String>) {
    let mut details = Vec::new();
    let bound = runs.iter().filter(|run| run.generator.generator_bound).count();
    details.push(match bound {
        0 => "The load generator kept its times in every run.".to_owned(),
        count => format!(
            "In {} the load generator did not keep its times: nothing follows from them.",
            counted(count, "run")
        ),
    });
    let columns = || groups.iter().flat_map(|group| &group.columns);
    let repeated: Vec<&Column<'_>> = columns().filter(|column| !column.others.is_empty()).collect();
    let unsteady = repeated.iter().filter(|column| !column.is_steady()).count();
    if !repeated.is_empty() {
        details.push(match unsteady {
            0 => "Every repetition came to the same verdicts.".to_owned(),
            count => {
                format!("In {} repetitions came to different verdicts.", counted(count, "case"))
            }
        });
    }
    let deciding: Vec<&RunReport> = runs.iter().filter(|run| run.summary.decides).collect();
    let passed = deciding.iter().filter(|run| run.summary.passed).count();
    let pending: usize = deciding.iter().map(|run| run.summary.pending).sum();
    if deciding.is_empty() {
        let headline = "Nothing is decided: tidegate with its guard on was not among the runs";
        return (Tone::Plain, headline.to_owned(), details);
    }
    let runs = counted(deciding.len(), "deciding run");
    let held: usize = deciding.iter().map(|run| run.summary.held).sum();
    // What is pending never reads as passed, not even in a headline.
    let headline = match (passed == deciding.len() && unsteady == 0, pending) {
        (true, 0) => format!("Passed: in {runs}, every expectation holds ({held} held)"),
        (true, _) => format!(
            "Nothing was missed but what is pending: {held} held, {pending} pending, in {runs}"
        ),
        (false, _) => format!(
            "Not passed: {passed} of {runs} missed nothing but what is pending ({held} held, {pending} pending)"
        ),
    };
    let tone = match (passed == deciding.len() && unsteady == 0, pending) {
        (false, _) => Tone::Bad,
        (true, 0) => Tone::Good,
        (true, _) => Tone::Warning,
    };
    (tone, headline, details)
}

/// What the reader has to know to read the drawings.
fn reading() -> Html {
    Html::markup(
        "<section class=\"reading-help\"><h2>How to read this page</h2>\
         <p><b>Success</b> is what clients saw: the share of requests that got a complete answer below 500 and not 429, \
         counted once however often they were tried. A column filled to the top means that every request ended well; \
         what is missing is drawn as lost. The large number of a run counts from the first fault or change (of the load too) to the end, for the \
         streams whose success the drill expects.</p>\
         <p><b>p99</b> counts successful answers from when their request was due, so that waiting is not hidden. \
         <b>Share</b> is each server's part of all answers. <b>Places</b> are the requests a server can work on at once: the darkest (in a dark theme the brightest) means all taken. \
         A line below a strip says that the front door shows that server as ill; a thin line through it, that the server did not answer.</p>\
         <p><b>Guard on</b> means that a front door's own limits and checks are in use, <b>guard off</b> that they are not. \
         Only tidegate with its guard on decides whether a drill passed; the others are there to compare. \
         <b>Pending</b> marks what tidegate is known not to do yet: it is measured, and never counts as passed.</p></section>\n"
            .to_owned(),
    )
}

/// `1 drill`, `2 drills`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A share, or a dash where nothing was measured.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "\u{2013}".to_owned(), |share| Unit::Share.show(share))
}

/// Sign, word and class of a verdict; never its colour alone.
fn sign(verdict: Verdict, symptom: bool) -> (&'static str, &'static str, Tone) {
    match (verdict, symptom) {
        (Verdict::Held, true) => ("\u{25cf}", "shown", Tone::Plain),
        (Verdict::Missed | Verdict::Pending, true) => ("\u{25cb}", "not shown", Tone::Plain),
        (Verdict::PendingHolds, true) => ("\u{25cf}", "shown", Tone::Plain),
        (Verdict::Held, false) => ("\u{2713}", "held", Tone::Good),
        (Verdict::Missed, false) => ("\u{2717}", "missed", Tone::Bad),
        (Verdict::Pending, false) => ("\u{25cb}", "pending", Tone::Warning),
        (Verdict::PendingHolds, false) => ("!", "pending, but holds", Tone::Bad),
        (Verdict::NotAvailable, _) => ("\u{2013}", "not available", Tone::Plain),
        (Verdict::GeneratorBound, _) => ("?", "generator-bound", Tone::Bad),
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String never fails");
}

#[cfg(test)]
pub(in crate::drill) mod tests;
