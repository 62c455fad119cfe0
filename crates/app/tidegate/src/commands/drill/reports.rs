//! The files of a `drill run`, its JSON document, and whether it passed.

use std::fs::OpenOptions;
use std::path::Path;

use rehearsal::drill::report::EntryOutcome;
use rehearsal::drill::{RunReport, html, junit, repetitions};
use serde_json::json;

use super::RunArguments;
use crate::commands::complain;
use crate::output::printable;

/// Whether every run that decides passed, and every repetition came to the same verdicts.
pub(super) fn passed(played: &[RunReport]) -> bool {
    let mut deciding = played.iter().filter(|run| run.summary.decides);
    deciding.all(|run| run.summary.passed)
        && repetitions(played).iter().all(|repeated| repeated.same)
}

/// Whether everything of these runs' timelines could be done. What a front door refused was done.
pub(super) fn carried_out(played: &[RunReport]) -> bool {
    let mut entries = played.iter().flat_map(|run| &run.timeline);
    entries.all(|entry| !matches!(entry.outcome, EntryOutcome::Failed(_)))
}

/// All runs as one document.
pub(super) fn json(played: &[RunReport], whole: bool) -> String {
    let document = json!({
        "passed": whole && passed(played),
        "complete": whole,
        "repetitions": repetitions(played),
        "runs": played,
    });
    format!("{document:#}\n")
}

/// Tells a path that cannot be written before half an hour of drills, not after it.
///
/// # Errors
/// In words, with the path.
pub(super) fn writable(arguments: &RunArguments) -> Result<(), String> {
    for path in [&arguments.report, &arguments.junit].into_iter().flatten() {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    }
    Ok(())
}

/// Writes the files that were asked for.
///
/// # Errors
/// In words, with the path.
pub(super) fn write(arguments: &RunArguments, played: &[RunReport]) -> Result<(), String> {
    let write = |path: &Path, text: String| {
        std::fs::write(path, text)
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))
    };
    if let Some(path) = &arguments.report {
        write(path, html::page(played))?;
        complain(&format!("the report is in {}", printable(&path.display().to_string())));
    }
    if let Some(path) = &arguments.junit {
        write(path, junit::document(played))?;
    }
    Ok(())
}
