//! What a configuration would change in a door that runs: for `check --against`.
//!
//! Unlike `plan` it needs no recorded traffic, so that a pipeline gets the same answer each time.

use std::path::{Path, PathBuf};

use clap::Args;
use console::client::Endpoint;
use model::Configuration;
use settings::{Environment, Finding, Source};

use super::ask::Door;
use super::diff::meaning;
use super::plan::new_findings;
use crate::commands::chain;

#[derive(Debug, Args)]
pub(crate) struct AgainstArguments {
    /// Compare with what a running door serves: its admin socket, or its admin address such as
    /// http://10.0.0.5:9900
    #[arg(long, value_name = "URL|PATH")]
    against: Option<String>,

    /// A file with the token for an admin address
    #[arg(long, value_name = "FILE", requires = "against")]
    token_file: Option<PathBuf>,
}

/// A candidate beside what is live.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// The generation that is live.
    pub(crate) generation: u64,
    /// Findings that the live configuration does not have.
    pub(crate) new: Vec<Finding>,
    /// What would change, in words.
    pub(crate) changes: Vec<String>,
    /// Invariants that would break, in words.
    pub(crate) broken: Vec<String>,
}

impl AgainstArguments {
    /// Whether there is a door to compare with.
    pub(crate) fn is_asked(&self) -> bool {
        self.against.is_some()
    }

    /// What is wrong with these arguments beside so many files, in words.
    pub(crate) fn misuse(&self, files: usize) -> Option<String> {
        let place = self.against.as_ref()?;
        if files > 1 {
            return Some("`--against` compares one FILE: check the others on their own".to_owned());
        }
        let needs_token = place.contains("://") && self.token_file.is_none();
        needs_token.then(|| format!("{place} takes a token: name its file with `--token-file`"))
    }

    /// Compares with what the door serves; `None` without a door.
    ///
    /// # Errors
    /// In words: the door cannot be asked, or its configuration cannot be read here.
    pub(crate) async fn compare(
        &self,
        candidate: &Configuration,
        findings: &[Finding],
        folder: &Path,
    ) -> Result<Option<Comparison>, String> {
        let Some(place) = &self.against else { return Ok(None) };
        let door = Door::at(endpoint(place, self.token_file.as_deref())?);
        let live = door.generation(None).await?;
        let generation = live.generation.number;
        let name = format!("generation {generation}");
        // Its relative paths mean files beside the candidate: the door's are not here.
        let live = Source { name, text: live.text, folder: folder.to_owned() };
        let from = meaning(&live)?;
        let known = settings::check(&live, &Environment::detect()).findings;
        let forecast = changes::forecast(&from, candidate, None);
        Ok(Some(Comparison {
            generation,
            new: new_findings(findings, &known),
            changes: forecast.changes,
            broken: forecast.broken,
        }))
    }
}

fn endpoint(place: &str, token_file: Option<&Path>) -> Result<Endpoint, String> {
    match token_file {
        Some(token_file) => Endpoint::tcp(place, token_file).map_err(|error| chain(&error)),
        None => Ok(Endpoint::Unix(PathBuf::from(place))),
    }
}
