//! Which configuration the door starts with: the file, or what was live when the door ended.
//!
//! The journal is the truth about what went live; the file is where changes come from. A file
//! that nobody touched since, one whose text was replaced in the meantime (a stale copy that was
//! rolled out again), and one with mistakes do not undo what went live. Any other text is a
//! change, and becomes a generation of its own once the door can listen.

use std::path::Path;

use console::Kept;
use journal::{JournalError, NewGeneration, Stored};
use model::Configuration;
use model::generation::{Generation, GenerationState, Origin};
use net::clock;
use settings::{Environment, Source};

use super::book::{self, Book};
use super::judge;
use crate::commands::chain;

/// What the door starts with.
pub(super) struct Start {
    pub(super) configuration: Configuration,
    pub(super) book: Book,
    history_required: bool,
    record: Record,
}

enum Record {
    /// This generation is served again.
    Kept(Box<Stored>),
    /// The file is a new one.
    New(Box<NewGeneration>),
}

/// Opens the journal and chooses what is served.
///
/// # Errors
/// In words: the journal cannot be used although it was asked for, or neither the file nor the
/// journal has a configuration that can be served.
pub(super) fn choose(path: &Path, environment: &Environment) -> Result<Start, String> {
    let file = settings::read(path).map_err(|error| chain(&error));
    let state = settings::state(file.as_ref().ok(), environment);
    let book = Book::open(state.as_ref(), path).map_err(|error| chain(error.as_ref()))?;
    let kept = recover(&book).map_err(|error| chain(&error))?;
    let (configuration, record) = match kept {
        Some(kept) => served(kept, file, path, (&book, environment))?,
        None => {
            let (configuration, new) = from_file(&file?, environment, None)?;
            (configuration, Record::New(new))
        }
    };
    let history_required = state.is_some_and(|state| state.required);
    Ok(Start { configuration, book, history_required, record })
}

impl Start {
    /// Records what is served from now on, and says which generation that is.
    ///
    /// # Errors
    /// When it cannot be recorded although a history was asked for.
    pub(super) fn record(self) -> anyhow::Result<(Book, Kept)> {
        let new = match self.record {
            Record::Kept(stored) => return Ok((self.book, book::kept(*stored))),
            Record::New(new) => new,
        };
        let kept = |generation| Kept { generation, text: new.text.clone() };
        match self.book.ask_and_wait(|journal| journal.append(&new)) {
            Ok(generation) => Ok((self.book, kept(generation))),
            Err(error) if self.history_required => {
                Err(anyhow::Error::new(error).context("the start cannot be recorded"))
            }
            Err(error) => {
                tracing::error!(
                    why = chain(&error),
                    "the start cannot be recorded: generations are kept in memory only"
                );
                let book = Book::in_memory()?;
                let generation = book.ask_and_wait(|journal| journal.append(&new))?;
                Ok((book, kept(generation)))
            }
        }
    }
}

/// Decides what an ended process left open, and gives what it served last.
fn recover(book: &Book) -> Result<Option<Stored>, JournalError> {
    book.ask_and_wait(|journal| {
        for undone in journal.recover()? {
            tracing::warn!(
                generation = undone.number,
                "it was open when the door ended, and is rolled back: {}",
                undone.verdict
            );
        }
        let Some(mut live) = journal.live()? else { return Ok(None) };
        if live.generation.state == GenerationState::Watched {
            let verdict = "its watch was cut short when the door ended; nothing was broken so far";
            let number = live.generation.number;
            live.generation = journal.settle(number, GenerationState::Confirmed, verdict)?;
        }
        Ok(Some(live))
    })
}

/// Chooses between the generation that was live and the file.
fn served(
    kept: Stored,
    file: Result<Source, String>,
    path: &Path,
    (book, environment): (&Book, &Environment),
) -> Result<(Configuration, Record), String> {
    let number = kept.generation.number;
    let live = live_configuration(&kept, path, environment);
    let changed = match &file {
        Ok(file) => match is_a_change(file, &kept, book).map_err(|error| chain(&error))? {
            Ok(()) => from_file(file, environment, Some((&kept, &live)))
                .map_err(|why| format!("the file cannot be used: {why}")),
            Err(why) => Err(why),
        },
        Err(why) => Err(format!("the file cannot be used: {why}")),
    };
    let why_not = match changed {
        Ok((configuration, new)) => return Ok((configuration, Record::New(new))),
        Err(why) => why,
    };
    match live {
        Ok(configuration) => {
            if why_not.is_empty() {
                tracing::info!(generation = number, "the live generation is served");
            } else {
                tracing::error!(
                    generation = number,
                    "the generation that was live is served, not the file: {why_not}"
                );
            }
            Ok((configuration, Record::Kept(Box::new(kept))))
        }
        // What was live cannot be served any more, by a certificate that is gone for example.
        Err(gone) => match file.and_then(|file| from_file(&file, environment, None)) {
            Ok((configuration, mut new)) => {
                tracing::error!("generation {number} cannot be served any more: {gone}");
                new.base = Some(number);
                Ok((configuration, Record::New(new)))
            }
            Err(why) => Err(format!("{why}\ngeneration {number} cannot be served either: {gone}")),
        },
    }
}

/// `Ok` when the file says something new; else why it does not count, empty if it says what is
/// live.
fn is_a_change(
    file: &Source,
    kept: &Stored,
    book: &Book,
) -> Result<Result<(), String>, JournalError> {
    let version = settings::version(&file.text);
    if *version == *kept.generation.version {
        return Ok(Err(String::new()));
    }
    if kept.file_version.as_deref() == Some(&*version) {
        let why = "its text differs from what is live, but nobody changed it since that went live; `tidegate reload` takes it over";
        return Ok(Err(why.to_owned()));
    }
    let known = book.ask_and_wait(|journal| journal.newest_with(&version))?;
    Ok(known.map_or(Ok(()), |known| Err(stale(&known, kept.generation.number))))
}

/// Why a text that was live once is not taken from a file.
pub(super) fn stale(known: &Generation, live: u64) -> String {
    let number = known.number;
    let fate = if known.state == GenerationState::RolledBack {
        format!("which was rolled back ({})", known.verdict)
    } else if number + 1 == live {
        format!("which was replaced by {live}")
    } else {
        format!("which was replaced by {} to {live}", number + 1)
    };
    format!(
        "its text is that of generation {number}, {fate}: `tidegate rollback {number} --reason TEXT` if that is meant"
    )
}

/// The configuration of a generation that was live once. Rules do not undo it: they were obeyed,
/// or overridden, when it went live.
pub(super) fn live_configuration(
    kept: &Stored,
    path: &Path,
    environment: &Environment,
) -> Result<Configuration, String> {
    let source = source_of(kept.generation.number, &kept.text, path);
    judge::check(&source, environment, true).map(|accepted| accepted.configuration)
}

/// The text of a generation as a source: its relative paths are relative to the file's folder.
pub(super) fn source_of(number: u64, text: &str, path: &Path) -> Source {
    let absolute = std::path::absolute(path).unwrap_or_else(|_unknown| path.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    Source { name: format!("generation {number}"), text: text.to_owned(), folder }
}

/// The file as a new generation.
fn from_file(
    file: &Source,
    environment: &Environment,
    before: Option<(&Stored, &Result<Configuration, String>)>,
) -> Result<(Configuration, Box<NewGeneration>), String> {
    let accepted = judge::check(file, environment, false)?;
    judge::log(&accepted.findings, file);
    let configuration = accepted.configuration;
    let changes = match before {
        Some((_, Ok(live))) => changes::difference(live, &configuration),
        Some((_, Err(_))) | None => Vec::new(),
    };
    let version = configuration.version.to_string();
    let new = NewGeneration {
        file_version: Some(version.clone()),
        version,
        base: before.map(|(kept, _)| kept.generation.number),
        at: telemetry::rfc3339(clock::wall()),
        author: "door".to_owned(),
        reason: "the door started with its file".to_owned(),
        origin: Origin::Start,
        forced: false,
        state: GenerationState::Confirmed,
        verdict: String::new(),
        changes,
        text: file.text.clone(),
    };
    Ok((configuration, Box::new(new)))
}
