//! Results as text: each run when it ended, and all of them side by side in the end.
//!
//! A verdict is a sign and a word; its colour only repeats them.

use std::fmt::Write as _;

use rehearsal::drill::report::{EntryOutcome, Judged};
use rehearsal::drill::{RunReport, Verdict, repetitions};

use super::picture::first_line;
use crate::commands::table::{Cell, Tone, table};
use crate::output::printable;

/// One run: what happened, what was measured, what follows.
pub(super) fn run(report: &RunReport, colours: bool) -> String {
    let mut text = format!(
        "\n{}: {}\n{}, guard {}, seed {}\n",
        printable(&report.drill),
        printable(&report.title),
        printable(&front(report)),
        on_off(report.guard),
        report.seed
    );
    let happened: Vec<Vec<Cell>> = report
        .timeline
        .iter()
        .map(|entry| {
            let (outcome, tone) = match &entry.outcome {
                EntryOutcome::Ok => (String::new(), Tone::Plain),
                EntryOutcome::Refused(why) => (format!("refused: {}", first_line(why)), Tone::Good),
                EntryOutcome::Failed(why) => (format!("failed: {}", first_line(why)), Tone::Bad),
            };
            vec![
                Cell::from(format!("{:.1} s", entry.at_seconds)),
                Cell::from(&entry.words),
                Cell::new(outcome, tone),
            ]
        })
        .collect();
    if !happened.is_empty() {
        text.push('\n');
        text.push_str(&table(&[">AT", "WHAT HAPPENED", ""], &happened, colours));
    }
    for (heading, judged, symptom) in
        [("OUTAGE", &report.symptoms, true), ("EXPECTED", &report.expectations, false)]
    {
        if !judged.is_empty() {
            let rows: Vec<Vec<Cell>> =
                judged.iter().map(|judged| verdict_row(report, judged, symptom)).collect();
            text.push('\n');
            let headings = [heading, ">FROM", ">TO", "BOUND", ">MEASURED", "VERDICT", ""];
            text.push_str(&table(&headings, &rows, colours));
        }
    }
    text.push('\n');
    for finding in &report.findings {
        put(&mut text, format_args!("  ! {}\n", printable(finding)));
    }
    put(&mut text, format_args!("  {}\n", printable(&report.summary.words)));
    text
}

fn verdict_row(report: &RunReport, judged: &Judged, symptom: bool) -> Vec<Cell> {
    let (words, tone) = verdict(report.verdict_of(judged), symptom);
    vec![
        Cell::from(&judged.measure),
        Cell::from(format!("{:.0} s", judged.from_seconds)),
        Cell::from(format!("{:.0} s", judged.to_seconds)),
        Cell::from(&judged.bound_words),
        Cell::from(&judged.value_words),
        Cell::new(words, tone),
        Cell::from(judged.pending.as_deref().unwrap_or_default()),
    ]
}

/// Sign, word and colour of a verdict.
fn verdict(verdict: Verdict, symptom: bool) -> (&'static str, Tone) {
    match (verdict, symptom) {
        (Verdict::Held, true) => ("\u{25cf} shown", Tone::Plain),
        (Verdict::Missed, true) => ("\u{25cb} not shown", Tone::Warning),
        (Verdict::Held, false) => ("\u{2713} held", Tone::Good),
        (Verdict::Missed, false) => ("\u{2717} missed", Tone::Bad),
        (Verdict::Pending, _) => ("\u{25cb} pending", Tone::Warning),
        (Verdict::PendingHolds, _) => ("! pending, but holds: take the mark away", Tone::Bad),
        (Verdict::NotAvailable, _) => ("- not available", Tone::Plain),
        (Verdict::GeneratorBound, _) => ("? generator-bound", Tone::Bad),
    }
}

/// All runs side by side: drills against front doors, and what repetitions came to.
pub(super) fn all(played: &[RunReport], colours: bool) -> String {
    if played.len() < 2 {
        return String::new();
    }
    let mut doors: Vec<(&str, bool)> = Vec::new();
    let mut drills: Vec<&str> = Vec::new();
    for run in played {
        if !doors.contains(&(run.front.as_str(), run.guard)) {
            doors.push((&run.front, run.guard));
        }
        if !drills.contains(&run.drill.as_str()) {
            drills.push(&run.drill);
        }
    }
    let headings: Vec<String> = std::iter::once("CLIENT-SEEN SUCCESS".to_owned())
        .chain(doors.iter().map(|(front, guard)| format!("{front}, guard {}", on_off(*guard))))
        .collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows: Vec<Vec<Cell>> = drills
        .iter()
        .map(|drill| {
            let cells = doors.iter().map(|door| {
                let of = |run: &&RunReport| {
                    run.drill == *drill && (run.front.as_str(), run.guard) == *door
                };
                played.iter().find(of).map_or_else(Cell::default, summary)
            });
            std::iter::once(Cell::from(drill)).chain(cells).collect()
        })
        .collect();
    let mut text = format!("\n{}", table(&headings, &rows, colours));
    for repetition in repetitions(played) {
        let guard = on_off(repetition.guard);
        let (drill, front) = (printable(&repetition.drill), &repetition.front);
        let what = match repetition.same {
            true => "the same verdicts each time".to_owned(),
            false => format!("different verdicts: {}", repetition.differences.join("; ")),
        };
        put(
            &mut text,
            format_args!(
                "  {drill}, {front}, guard {guard}: {} runs, {}\n",
                repetition.runs,
                printable(&what)
            ),
        );
    }
    text
}

/// What clients saw of one run, and how it ended.
fn summary(run: &RunReport) -> Cell {
    let success = run
        .client_success()
        .map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0));
    let count = |verdict: Verdict| {
        run.expectations.iter().filter(|judged| run.verdict_of(judged) == verdict).count()
    };
    let counts: Vec<String> = [Verdict::Held, Verdict::Missed, Verdict::Pending]
        .into_iter()
        .map(|verdict| (verdict, count(verdict)))
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| format!("{count} {}", verdict.as_str()))
        .collect();
    let counts = counts.join(", ");
    match (run.summary.decides, run.summary.passed, count(Verdict::Pending)) {
        (true, true, 0) => Cell::new(format!("{success}  \u{2713} passed: {counts}"), Tone::Good),
        (true, true, _) => Cell::new(format!("{success}  \u{25cb} {counts}"), Tone::Warning),
        (true, false, _) => Cell::new(format!("{success}  \u{2717} failed: {counts}"), Tone::Bad),
        (false, _, _) => Cell::from(format!("{success}  {counts}")),
    }
}

/// The front door with its version, said once.
fn front(report: &RunReport) -> String {
    match report.front_version.to_lowercase().contains(&report.front) {
        true => report.front_version.clone(),
        false => format!("{} {}", report.front, report.front_version).trim_end().to_owned(),
    }
}

fn on_off(guard: bool) -> &'static str {
    if guard { "on" } else { "off" }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String never fails");
}

#[cfg(test)]
mod tests {
    use rehearsal::drill::report::{EntryKind, Summary, TimelineEntry, Unit};

    use super::*;

    fn report(front: &str, verdict: Verdict) -> RunReport {
        let judged = |measure: &str, verdict, pending: Option<&str>| Judged {
            measure: measure.to_owned(),
            key: "success".to_owned(),
            from_seconds: 5.0,
            to_seconds: 10.0,
            at_least: Some(0.99),
            at_most: None,
            unit: Unit::Share,
            value: Some(0.5),
            value_words: "50 %".to_owned(),
            bound_words: "at least 99 %".to_owned(),
            pending: pending.map(str::to_owned),
            verdict,
            words: String::new(),
        };
        RunReport {
            drill: "kill-one".to_owned(),
            title: "One of three".to_owned(),
            front: front.to_owned(),
            front_version: "tidegate 1.0".to_owned(),
            guard: true,
            seed: 7,
            timeline: vec![TimelineEntry {
                at_seconds: 5.0,
                kind: EntryKind::Change,
                words: "configuration applied".to_owned(),
                outcome: EntryOutcome::Refused("no\u{1b}[2J\nmore".to_owned()),
                server: None,
            }],
            symptoms: vec![judged("share of a", Verdict::Held, None)],
            expectations: vec![
                judged("success of b", verdict, None),
                judged("success of c", Verdict::Pending, Some("not yet")),
            ],
            summary: Summary {
                passed: verdict == Verdict::Held,
                decides: front == "tidegate",
                held: usize::from(verdict == Verdict::Held),
                words: "that was it".to_owned(),
                ..Summary::default()
            },
            ..RunReport::default()
        }
    }

    #[test]
    fn a_run_in_full() {
        let text = run(&report("tidegate", Verdict::Missed), false);
        for part in [
            "kill-one: One of three\ntidegate 1.0, guard on, seed 7\n",
            "5.0 s  configuration applied  refused: no\\u{1b}[2J\n",
            "\u{25cf} shown",
            "success of b   5 s  10 s  at least 99 %      50 %  \u{2717} missed\n",
            "\u{25cb} pending  not yet\n",
            "  that was it\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing:\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(
            run(&report("tidegate", Verdict::Missed), true).contains("\u{1b}[31m\u{2717} missed")
        );
    }

    #[test]
    fn all_runs_side_by_side() {
        let good = report("tidegate", Verdict::Held);
        assert_eq!(all(std::slice::from_ref(&good), false), "", "one run was told already");
        let runs = [good.clone(), report("nginx", Verdict::Missed)];
        let text = all(&runs, false);
        for part in
            ["tidegate, guard on", "nginx, guard on", "\u{25cb} 1 held, 1 pending", "2 missed"]
        {
            assert!(text.contains(part), "{part:?} is missing:\n{text}");
        }
        let steady = all(&[good.clone(), good.clone()], false);
        assert!(steady.contains("2 runs, the same verdicts each time"), "{steady}");
        let differ = all(&[good, report("tidegate", Verdict::Missed)], false);
        assert!(differ.contains("different verdicts: success of b: held and missed"), "{differ}");
    }
}
