//! Notices that files of users, or of keys of tokens, changed, and reads them again.
//!
//! They are part of what the configuration's text stands for, so the text is checked once more as a
//! whole, on a thread that may wait for the disk, one look at a time. What comes of it goes to the
//! operator; it is no generation, for the text is the same. Files that cannot be used leave what was
//! read before in its place, and that is told once: when they are the same at the next look, for who
//! writes a file may not be done yet.

use std::path::PathBuf;
use std::sync::Arc;

use console::Kept;
use http_door::live::Live;
use model::Configuration;
use net::tls::Stamps;
use settings::Environment;
use tokio::task::JoinSet;

use super::{judge, start};

/// What is known of the files.
#[derive(Debug)]
pub(super) struct KeyFiles {
    path: PathBuf,
    environment: Environment,
    /// At most one look.
    looking: JoinSet<Found>,
    known: Known,
}

/// What the last look found.
#[derive(Clone, Debug, Default)]
struct Known {
    /// What they were compared with.
    configuration: Option<Arc<Configuration>>,
    /// As they were on the disk.
    stamps: Stamps,
    /// Why they cannot be used, and whether that was told.
    refused: Option<(String, bool)>,
}

/// What one look found.
#[derive(Debug)]
pub(super) struct Found {
    /// What was live.
    pub(super) live: Arc<Live>,
    /// Its configuration with what is in the files now, if that is something else.
    pub(super) renewed: Option<Arc<Configuration>>,
    /// Files that were touched.
    pub(super) changed: Vec<PathBuf>,
    known: Known,
}

impl KeyFiles {
    /// Looks at those that the configuration at `path` names.
    pub(super) fn new(path: PathBuf, environment: Environment) -> Self {
        Self { path, environment, looking: JoinSet::new(), known: Known::default() }
    }

    /// Begins a look at the files of `live`, whose text is `kept`, unless the one before still
    /// waits for the disk.
    pub(super) fn look(&mut self, live: &Arc<Live>, kept: Arc<Kept>) {
        let configuration = live.configuration();
        let is_of_text = *kept.generation.version == *configuration.version;
        if configuration.files.is_empty() || !is_of_text || !self.looking.is_empty() {
            return;
        }
        let (live, before) = (Arc::clone(live), self.known.clone());
        let (path, environment) = (self.path.clone(), self.environment.clone());
        self.looking.spawn_blocking(move || {
            let read = || {
                let source = start::source_of(kept.generation.number, &kept.text, &path);
                // Rules do not undo what is live: they were obeyed, or overridden.
                judge::check(&source, &environment, true).map(|accepted| accepted.configuration)
            };
            look(live, before, read)
        });
    }

    /// What the look found; `None` when there is none.
    pub(super) async fn found(&mut self) -> Option<Found> {
        let mut found = self.looking.join_next().await?.ok()?;
        if let Some((why, told)) = &mut found.known.refused {
            let again = self.known.refused.as_ref().is_some_and(|(before, _)| before == why);
            if again && !*told {
                *told = true;
                tracing::error!(
                    why,
                    "files of users or keys cannot be read again: those read before still count"
                );
            }
        }
        self.known = found.known.clone();
        Some(found)
    }
}

/// Reads the files again if one was touched, or another configuration is live since, or what was
/// there `before` cannot be used: that may be for another file's sake.
fn look(
    live: Arc<Live>,
    before: Known,
    read: impl FnOnce() -> Result<Configuration, String>,
) -> Found {
    let configuration = Arc::clone(live.configuration());
    // Before they are read, so that what is written in between counts as a change.
    let stamps = Stamps::of(configuration.files.iter().map(PathBuf::as_path));
    let changed = stamps.changed_since(&before.stamps);
    let is_known =
        before.configuration.as_ref().is_some_and(|known| Arc::ptr_eq(known, &configuration));
    if is_known && changed.is_empty() && before.refused.is_none() {
        return Found { live, renewed: None, changed, known: before };
    }
    let (renewed, refused) = match read() {
        Ok(same) if same == *configuration => (None, None),
        Ok(other) => (Some(Arc::new(other)), None),
        Err(why) => {
            let told = before.refused.is_some_and(|(same, told)| told && same == why);
            (None, Some((why, told)))
        }
    };
    let compared = renewed.as_ref().unwrap_or(&configuration);
    let known = Known { configuration: Some(Arc::clone(compared)), stamps, refused };
    Found { live, renewed, changed, known }
}
