//! How the configuration file differs from what is live, looked at once a second.
//!
//! A look costs one `stat`; the text is read, and compared in words, only after the file or the
//! live generation changed. It runs on a thread of its own: a file system that hangs delays
//! nothing but the next look.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use console::Kept;
use model::Configuration;
use settings::Environment;
use tokio::task::JoinSet;

use super::judge;
use crate::commands::chain;

/// Looks at the file again and again.
#[derive(Debug)]
pub(super) struct Drift {
    path: PathBuf,
    environment: Environment,
    /// What the last look saw.
    seen: Option<Seen>,
    words: Vec<String>,
    looking: JoinSet<Option<(Seen, Vec<String>)>>,
}

/// What a look depends on: while this is the same, so are its words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    modified: Option<SystemTime>,
    bytes: u64,
    live: u64,
}

impl Drift {
    pub(super) fn new(path: PathBuf, environment: Environment) -> Self {
        Self { path, environment, seen: None, words: Vec::new(), looking: JoinSet::new() }
    }

    /// Takes in what the last look found and begins the next. Must be called on a runtime.
    pub(super) fn second(&mut self, live: &Arc<Kept>, configuration: &Arc<Configuration>) {
        while let Some(found) = self.looking.try_join_next() {
            if let Ok(Some((seen, words))) = found {
                if !words.is_empty() && words != self.words {
                    tracing::warn!(
                        generation = seen.live,
                        "the file differs from what is live: {}",
                        words.first().map_or("", String::as_str)
                    );
                }
                (self.seen, self.words) = (Some(seen), words);
            }
        }
        if self.looking.is_empty() {
            let look = Look {
                path: self.path.clone(),
                environment: self.environment.clone(),
                seen: self.seen.clone(),
                live: Arc::clone(live),
                configuration: Arc::clone(configuration),
            };
            self.looking.spawn_blocking(move || look.look());
        }
    }

    /// The differences in words; empty when there are none.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }
}

struct Look {
    path: PathBuf,
    environment: Environment,
    seen: Option<Seen>,
    live: Arc<Kept>,
    configuration: Arc<Configuration>,
}

impl Look {
    /// `None` when nothing changed since the last look.
    fn look(&self) -> Option<(Seen, Vec<String>)> {
        let about = std::fs::metadata(&self.path).ok();
        let seen = Seen {
            modified: about.as_ref().and_then(|about| about.modified().ok()),
            bytes: about.map_or(0, |about| about.len()),
            live: self.live.generation.number,
        };
        (self.seen.as_ref() != Some(&seen)).then(|| (seen, self.words()))
    }

    fn words(&self) -> Vec<String> {
        let source = match settings::read(&self.path) {
            Ok(source) => source,
            Err(error) => return vec![format!("the file is not readable: {}", chain(&error))],
        };
        if source.text == self.live.text {
            return Vec::new();
        }
        let Ok(accepted) = judge::check(&source, &self.environment, true) else {
            let path = self.path.display();
            return vec![format!("the file has mistakes: `tidegate check {path}` shows them")];
        };
        let words = changes::difference(&self.configuration, &accepted.configuration);
        if words.is_empty() {
            return vec!["the file's text differs, but means the same".to_owned()];
        }
        words
    }
}
