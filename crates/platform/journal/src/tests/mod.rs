//! The history as the door sees it: against a plain one in memory, across restarts, kills and
//! damage.

mod files;
mod kill;
mod plain;
mod states;
mod switches;

use model::generation::{GenerationState, Origin};

use crate::NewGeneration;

const STATES: [GenerationState; 6] = [
    GenerationState::Canary,
    GenerationState::Unconfirmed,
    GenerationState::Watched,
    GenerationState::Confirmed,
    GenerationState::Superseded,
    GenerationState::RolledBack,
];

/// A generation whose text and version follow from `text`.
fn new(text: &str, state: GenerationState) -> NewGeneration {
    NewGeneration {
        version: format!("v-{}", text.chars().take(20).collect::<String>()),
        base: None,
        at: "2026-01-31T23:59:59.000Z".to_owned(),
        author: "ada".to_owned(),
        reason: "because".to_owned(),
        origin: Origin::Apply,
        forced: false,
        state,
        verdict: String::new(),
        changes: Vec::new(),
        text: text.to_owned(),
        file_version: None,
    }
}
