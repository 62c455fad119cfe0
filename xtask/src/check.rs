//! Keeps the house in its shape: every rule that a program can hold is held here.
//!
//! All checks run and all findings are listed, so that one run is enough to repair them.
//! A finding says what is wrong, where, and what to do about it.

mod documents;
mod floors;
mod promises;
mod ratchets;
mod sources;
mod tools;

use std::fmt;

use crate::{Outcome, say};

/// What `check` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave out cargo-deny, which needs the network.
    #[arg(long)]
    quick: bool,
}

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// The file, or the command, it was found in.
    place: String,
    /// What is wrong.
    what: String,
    /// What to do about it.
    remedy: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    do: {}", self.place, self.what, self.remedy)
    }
}

/// A check by its name; an error means that it could not look.
type Check = (&'static str, fn() -> anyhow::Result<Vec<Finding>>);

/// The checks in the order they run, the fast ones first.
const CHECKS: [Check; 7] = [
    ("floors", floors::check),
    ("ratchets", ratchets::check),
    ("ARCHITECTURE.md", documents::check),
    ("PROMISES.md", promises::check),
    ("fmt", tools::formatting),
    ("clippy", tools::clippy),
    ("cargo-deny", tools::deny),
];

/// Runs every check and lists what they found.
pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let mut findings = Vec::new();
    for (name, check) in CHECKS {
        if options.quick && name == "cargo-deny" {
            say::note(&format!("{name:<16} left out (--quick)"));
            continue;
        }
        let found = check().unwrap_or_else(|error| {
            vec![Finding::new(name, format!("the check could not look: {error:#}"), "repair this")]
        });
        let result =
            if found.is_empty() { "clean".into() } else { format!("{} found", found.len()) };
        say::note(&format!("{name:<16} {result}"));
        findings.extend(found.into_iter().map(|finding| (name, finding)));
    }
    for (name, finding) in &findings {
        say::data(&format!("{name}: {finding}"));
    }
    if findings.is_empty() {
        say::data("clean");
        return Ok(Outcome::Clean);
    }
    say::data(&format!("{} findings", findings.len()));
    Ok(Outcome::Findings)
}
