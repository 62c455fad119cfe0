//! The journal as the running door uses it: opened at the start, asked from threads that may wait
//! for the disk.
//!
//! Invariant: no caller on the runtime waits for the disk with the thread that runs it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use console::{Kept, Refusal, RefusalKind};
use journal::{Journal, JournalError, NewGeneration, Stored};
use model::configuration::State;
use model::generation::{Generation, GenerationState};

use crate::commands::chain;

/// The open journal; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Book {
    /// `None` while another process has it.
    journal: Arc<Mutex<Option<Journal>>>,
    /// Where it is; `None` when it is in memory only.
    folder: Option<PathBuf>,
}

/// What became of a generation.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) number: u64,
    pub(super) state: GenerationState,
    pub(super) why: String,
}

/// What is written at once: all of it, or nothing.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A generation is decided.
    Settle(Verdict),
    /// There is a new one.
    Add(Box<NewGeneration>),
    /// One is decided because a new one takes its place.
    Replace(Verdict, Box<NewGeneration>),
}

impl Book {
    /// Opens the journal of the door whose configuration is the file at `path`.
    ///
    /// # Errors
    /// When the folder was named and cannot be used: history must not be lost unnoticed. A
    /// default folder is done without, with a warning.
    pub(super) fn open(state: Option<&State>, path: &Path) -> anyhow::Result<Self> {
        let folder = state.map(|state| folder(state, path));
        let opened = folder.as_deref().map_or_else(Journal::in_memory, Journal::open);
        let required = state.is_some_and(|state| state.required);
        let (journal, folder) = match opened {
            Ok(journal) => (journal, folder),
            Err(error) if required => {
                let hint = "the history of changes (`[door] state`) cannot be used";
                return Err(anyhow::Error::new(error).context(hint));
            }
            Err(error) => {
                tracing::warn!(
                    why = chain(&error),
                    "generations are kept in memory only, until the door ends"
                );
                (Journal::in_memory()?, None)
            }
        };
        for warning in journal.warnings() {
            tracing::warn!("the history of changes: {warning}");
        }
        Ok(Self { journal: Arc::new(Mutex::new(Some(journal))), folder })
    }

    /// Closes the journal, so that another process may open it; what is asked meanwhile fails.
    ///
    /// # Errors
    /// In words, when it is in memory only: it would be lost.
    pub(super) fn close(&self) -> Result<(), String> {
        if self.folder.is_none() {
            return Err("generations are kept in memory only, and would be lost: name a folder with `state` in `[door]`, and restart the door once".to_owned());
        }
        *self.journal.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Opens it again after [`Self::close`]: nobody took over.
    ///
    /// # Errors
    /// When another process still has it.
    pub(super) fn open_again(&self) -> Result<(), JournalError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if journal.is_none() {
            *journal = Some(Journal::open(folder)?);
        }
        Ok(())
    }

    /// A journal that ends with the process.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(super) fn in_memory() -> anyhow::Result<Self> {
        Ok(Self { journal: Arc::new(Mutex::new(Some(Journal::in_memory()?))), folder: None })
    }

    /// Asks the journal and waits for the disk: at the start, before anything is served.
    pub(super) fn ask_and_wait<T>(
        &self,
        question: impl FnOnce(&mut Journal) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.as_mut().map_or(Err(JournalError::HandedOver), question)
    }

    /// Asks the journal on a thread that may wait for the disk.
    ///
    /// # Errors
    /// [`RefusalKind::NotRecorded`], in words.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Journal) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let book = self.clone();
        let asked = tokio::task::spawn_blocking(move || book.ask_and_wait(question)).await;
        let why = match asked {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => chain(&error),
            Err(error) => error.to_string(),
        };
        let detail = format!("the history of changes cannot be used: {why}");
        Err(Refusal::new(RefusalKind::NotRecorded, detail))
    }

    /// Writes one entry, durably, and gives the new generation, or the settled one.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) async fn write(&self, entry: Entry) -> Result<Generation, Refusal> {
        self.ask(move |journal| match &entry {
            Entry::Settle(old) => journal.settle(old.number, old.state, &old.why),
            Entry::Add(new) => journal.append(new),
            Entry::Replace(old, new) => journal.replace(old.number, old.state, &old.why, new),
        })
        .await
    }

    /// The generation of this number.
    ///
    /// # Errors
    /// [`RefusalKind::Unknown`] when there is none, and as [`Self::ask`].
    pub(super) async fn get(&self, number: u64) -> Result<Kept, Refusal> {
        let found = self.ask(move |journal| journal.get(number)).await?;
        found.map(kept).ok_or_else(|| {
            let detail = format!(
                "there is no generation {number}, or it is too old to be kept: `tidegate history` shows those that are"
            );
            Refusal::new(RefusalKind::Unknown, detail)
        })
    }
}

/// A stored generation as the admin interface shows it.
pub(super) fn kept(stored: Stored) -> Kept {
    Kept { generation: stored.generation, text: stored.text }
}

/// A named folder is one door's alone. Below the default one each configuration file has its own,
/// so that two doors of one user do not take each other's history for theirs.
fn folder(state: &State, path: &Path) -> PathBuf {
    if state.required {
        return state.folder.clone();
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_unknown| path.to_owned());
    state.folder.join(&*settings::version(&absolute.to_string_lossy()))
}
