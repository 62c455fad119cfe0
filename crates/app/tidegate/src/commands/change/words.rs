//! A generation in words: how its state, its origin and its whole record are shown.

use std::fmt::Write as _;

use model::generation::{Generation, GenerationState, Origin};

use crate::commands::table::Tone;
use crate::output::printable;

/// How a state is called, and the colour it is shown in.
pub(super) fn state(state: GenerationState) -> (&'static str, Tone) {
    match state {
        GenerationState::Canary => ("canary", Tone::Warning),
        GenerationState::Unconfirmed => ("unconfirmed", Tone::Warning),
        GenerationState::Watched => ("watched", Tone::Warning),
        GenerationState::Confirmed => ("confirmed", Tone::Good),
        GenerationState::Superseded => ("superseded", Tone::Plain),
        GenerationState::RolledBack => ("rolled back", Tone::Bad),
    }
}

/// How it came.
pub(super) fn origin(origin: Origin) -> String {
    match origin {
        Origin::Start => "start".to_owned(),
        Origin::Reload => "reload".to_owned(),
        Origin::Apply => "apply".to_owned(),
        Origin::Rollback { to } => format!("rollback to {to}"),
        Origin::AutomaticRollback { to } => format!("automatic rollback to {to}"),
    }
}

/// Its whole record but its text.
pub(super) fn record(generation: &Generation, colour: bool) -> String {
    let (state, tone) = state(generation.state);
    let mut text = format!("generation {}  {}\n", generation.number, tone.paint(state, colour));
    let base = match generation.base {
        Some(base) => format!(", in place of {base}"),
        None => String::new(),
    };
    let forced = if generation.forced { ", forced" } else { "" };
    let rows = [
        ("how", format!("{}{base}{forced}", origin(generation.origin))),
        ("when", generation.at.clone()),
        ("who", generation.author.clone()),
        ("why", generation.reason.clone()),
        ("version", generation.version.clone()),
        ("verdict", generation.verdict.clone()),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(text, "  {name:<8} {}", printable(value)).expect("a string takes text");
    }
    text.push_str(&changes(&generation.changes));
    text
}

/// What changed, one line each.
pub(super) fn changes(changes: &[String]) -> String {
    changes.iter().map(|change| format!("  - {}\n", printable(change))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_who_when_why_and_what_came_of_it() {
        let generation = Generation {
            number: 13,
            version: "0123456789ab".to_owned(),
            base: Some(12),
            at: "2026-01-02T03:04:05.678Z".to_owned(),
            author: "root".to_owned(),
            reason: "one more server\u{1b}[2J".to_owned(),
            origin: Origin::AutomaticRollback { to: 11 },
            forced: true,
            state: GenerationState::RolledBack,
            verdict: "a server got 97 % of pool web".to_owned(),
            changes: vec!["pool web: server a added".to_owned()],
        };
        let text = record(&generation, false);
        for part in [
            "generation 13  rolled back\n",
            "automatic rollback to 11, in place of 12, forced\n",
            "  why      one more server\\u{1b}[2J\n",
            "  verdict  a server got 97 % of pool web\n",
            "  - pool web: server a added\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing:\n{text}");
        }
    }
}
