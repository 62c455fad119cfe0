//! A generation: one configuration that went live, or was tried, with who, when, why and how it
//! ended.
//!
//! Numbers only grow: a rollback is a generation of its own with the text of an earlier one, so
//! that history is never rewritten.

use serde::{Deserialize, Serialize};

/// One entry of the history. Its text is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// From 1, without gaps.
    pub number: u64,
    /// [`crate::Configuration::version`] of its text.
    pub version: String,
    /// The generation that was live when it was made; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// When it was made, as RFC 3339 in UTC with milliseconds.
    pub at: String,
    /// Who made it: a user of the machine, or what a client with the token calls itself.
    pub author: String,
    /// Why, in the author's words.
    pub reason: String,
    /// How it came.
    pub origin: Origin,
    /// Whether its author overrode errors of rules.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// What became of it.
    pub state: GenerationState,
    /// Why it is in this state, in words; empty while nothing was decided.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub verdict: String,
    /// What it changed in words, one line each, against its base; at most 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// How a generation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Origin {
    /// The door started with the file.
    Start,
    /// The file was read again.
    Reload,
    /// A text was applied.
    Apply,
    /// A person went back to the text of generation `to`.
    Rollback {
        /// Whose text it has.
        to: u64,
    },
    /// The door went back by itself to the text of generation `to`.
    AutomaticRollback {
        /// Whose text it has.
        to: u64,
    },
}

/// What became of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// Serves a share of the requests beside the live one. Rolled back if the process ends.
    Canary,
    /// Live, awaiting a person's word; without it, rolled back, also if the process ends.
    Unconfirmed,
    /// Live, and watched. Stays live if the process ends.
    Watched,
    /// Went through its watch, or was not watched: what a rollback may go back to.
    Confirmed,
    /// Replaced by a later one before its watch ended.
    Superseded,
    /// Undone; `verdict` says why.
    RolledBack,
}

impl GenerationState {
    /// Whether it is decided what became of it.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Confirmed | Self::Superseded | Self::RolledBack)
    }

    /// Whether a process that starts again serves it, if it is the newest.
    #[must_use]
    pub const fn survives_restart(self) -> bool {
        matches!(self, Self::Watched | Self::Confirmed)
    }
}

/// The state of changes now: what `tidegate status` and `apply` show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeStatus {
    /// The number of the live generation; 0 before the first.
    pub live: u64,
    /// The generation that is tried or watched now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Generation>,
    /// What is seen of it so far, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub progress: String,
    /// How the file differs from what is live, in words; empty when it does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
}
