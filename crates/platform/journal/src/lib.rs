//! The durable history of generations, in an embedded SQLite: the truth about what went live,
//! and about who was disabled by hand.
//!
//! One folder holds `journal.db` and `journal.lock`; one process has it at a time. A call that
//! writes is one transaction, on the disk when it returns; one that fails leaves no trace.
//! Nothing here reads the clock: the caller says when a generation was made. All calls wait for
//! the disk, so a runtime makes them from a thread that may block.
//! Invariants: a generation is there whole, with its text, or not at all; numbers only grow; what
//! was decided about a generation is not decided anew; a damaged file is set aside, never
//! overwritten.

mod error;
mod limit;
mod lock;
mod open;
mod record;
mod repair;
mod schema;
mod switches;
#[cfg(test)]
mod tests;
mod trim;

use std::path::{Path, PathBuf};

use model::generation::{Generation, GenerationState, Origin};
use model::switch::Switch;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

pub use error::JournalError;
pub use limit::{AUTHOR_BYTES_MAX, LIST_MAX, REASON_BYTES_MAX, SWITCHES_MAX, TEXT_BYTES_MAX};

use error::Failure;
use lock::Lock;

/// A generation that is to be recorded; the journal gives it its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGeneration {
    /// [`model::Configuration::version`] of its text, at most 64 bytes.
    pub version: String,
    /// The generation that was live when it was made; absent for the first.
    pub base: Option<u64>,
    /// When it was made, as RFC 3339 in UTC with milliseconds; at most 64 bytes.
    pub at: String,
    /// Who made it; at most [`AUTHOR_BYTES_MAX`].
    pub author: String,
    /// Why; at most [`REASON_BYTES_MAX`].
    pub reason: String,
    /// How it came.
    pub origin: Origin,
    /// Whether its author overrode errors of rules.
    pub forced: bool,
    /// What it is at first.
    pub state: GenerationState,
    /// Why it is so; empty while nothing was decided. Cut after 4,000 bytes.
    pub verdict: String,
    /// What it changed in words. Cut after 200 lines, a line after 1,000 bytes.
    pub changes: Vec<String>,
    /// Its text; at most [`TEXT_BYTES_MAX`].
    pub text: String,
    /// The version of the file's text when it was recorded; absent when the file could not be
    /// read.
    pub file_version: Option<String>,
}

/// A switch that is to be recorded; the journal gives it its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSwitch {
    /// The client's name; at most 200 bytes.
    pub client: String,
    /// What it is switched to.
    pub enabled: bool,
    /// When, as RFC 3339 in UTC with milliseconds; at most 64 bytes.
    pub at: String,
    /// Who; at most [`AUTHOR_BYTES_MAX`].
    pub author: String,
    /// Why; at most [`REASON_BYTES_MAX`].
    pub reason: String,
}

/// A generation with all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What is told of it.
    pub generation: Generation,
    /// Its text.
    pub text: String,
    /// The version of the file's text when it was recorded.
    pub file_version: Option<String>,
}

/// The history, open and held by this process alone.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    folder: PathBuf,
    warnings: Vec<String>,
    /// Held until the journal is dropped; absent in memory.
    _lock: Option<Lock>,
}

impl Journal {
    /// Opens the history in `folder`, or begins one there. The folder is made (0700) if need be.
    ///
    /// A damaged file is set aside under a dated name and what can be read of it is kept:
    /// [`Self::warnings`] says so.
    ///
    /// # Errors
    /// When another process holds the folder, when the file is of a later version or of another
    /// program, and when the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        open::folder(folder)?;
        let lock = Lock::take(folder)?;
        let (connection, warnings) = open::database(folder)?;
        Ok(Self { connection, folder: folder.to_owned(), warnings, _lock: Some(lock) })
    }

    /// A history that ends with the process: for a door without a state folder, and for tests.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn in_memory() -> Result<Self, JournalError> {
        let folder = PathBuf::from(":memory:");
        let made = Connection::open_in_memory().and_then(|mut connection| {
            schema::configure(&connection)?;
            schema::migrate(&mut connection, 0)?;
            Ok(connection)
        });
        let connection = made.map_err(|error| Failure::from(error).told(&folder))?;
        Ok(Self { connection, folder, warnings: Vec::new(), _lock: None })
    }

    /// What was found wrong at the opening and was mended, in words: for the log.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Records a generation under the next number.
    ///
    /// # Errors
    /// When a text is longer than allowed, and when the disk refuses.
    pub fn append(&mut self, new: &NewGeneration) -> Result<Generation, JournalError> {
        limit::check(new)?;
        self.write(|transaction| record::append(transaction, new))
    }

    /// Records what became of a generation, and gives it as it is now.
    ///
    /// # Errors
    /// When there is no such generation, when it was decided otherwise before, and when the disk
    /// refuses.
    pub fn settle(
        &mut self,
        number: u64,
        state: GenerationState,
        verdict: &str,
    ) -> Result<Generation, JournalError> {
        self.write(|transaction| record::settle(transaction, number, state, verdict))
    }

    /// [`Self::settle`] and [`Self::append`] as one: both happen, or neither.
    ///
    /// # Errors
    /// As those two.
    pub fn replace(
        &mut self,
        number: u64,
        state: GenerationState,
        verdict: &str,
        new: &NewGeneration,
    ) -> Result<Generation, JournalError> {
        limit::check(new)?;
        self.write(|transaction| {
            record::settle(transaction, number, state, verdict)?;
            record::append(transaction, new)
        })
    }

    /// Rolls back what a process left undecided when it ended: canaries, and generations that
    /// nobody had confirmed. Gives them as they are now, oldest first.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn recover(&mut self) -> Result<Vec<Generation>, JournalError> {
        self.write(|transaction| {
            let undecided = record::numbers(transaction, "state IN ('canary', 'unconfirmed')")?;
            let verdict = "the process ended before it was decided";
            let undo =
                |number| record::settle(transaction, number, GenerationState::RolledBack, verdict);
            undecided.into_iter().map(undo).collect()
        })
    }

    /// Forgets the oldest generations until at most `max` are left, and says how many went.
    ///
    /// Stays: the newest one, so that numbers grow; the one that a restart serves; and the last
    /// confirmed one, to which a rollback goes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn trim(&mut self, max: usize) -> Result<usize, JournalError> {
        self.write(|transaction| trim::trim(transaction, max))
    }

    /// Records that a client was disabled, or enabled again. The oldest entries beyond
    /// [`SWITCHES_MAX`] are forgotten, but never that a client is disabled.
    ///
    /// # Errors
    /// When a text is longer than allowed, and when the disk refuses.
    pub fn switch(&mut self, new: &NewSwitch) -> Result<Switch, JournalError> {
        switches::check(new)?;
        self.write(|transaction| switches::append(transaction, new))
    }

    /// The clients that are disabled: the newest switch of each, by client.
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn disabled(&self) -> Result<Vec<Switch>, JournalError> {
        let read = switches::disabled(&self.connection);
        read.map_err(|error| Failure::from(error).told(&self.folder))
    }

    /// Up to `limit` switches, newest first, of those before `before` if given; at most
    /// [`LIST_MAX`].
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn switches(&self, limit: usize, before: Option<u64>) -> Result<Vec<Switch>, JournalError> {
        let limit = i64::try_from(limit.min(LIST_MAX)).unwrap_or(i64::MAX);
        let before = record::integer(before.unwrap_or(u64::MAX));
        let read = switches::list(&self.connection, limit, before);
        read.map_err(|error| Failure::from(error).told(&self.folder))
    }

    /// What a process that starts serves: the newest whose state survives a restart.
    ///
    /// # Errors
    /// When the disk refuses, or the file was damaged meanwhile.
    pub fn live(&self) -> Result<Option<Stored>, JournalError> {
        self.stored("state IN ('watched', 'confirmed')", [])
    }

    /// The generation of this number.
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn get(&self, number: u64) -> Result<Option<Stored>, JournalError> {
        self.stored("number = ?1", [record::integer(number)])
    }

    /// The newest confirmed generation, of those before `before` if given: where a rollback goes.
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn last_confirmed(&self, before: Option<u64>) -> Result<Option<Stored>, JournalError> {
        let before = record::integer(before.unwrap_or(u64::MAX));
        self.stored("state = 'confirmed' AND number < ?1", [before])
    }

    /// The newest generation whose text has this version.
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn newest_with(&self, version: &str) -> Result<Option<Generation>, JournalError> {
        let found = self.stored("version = ?1", [version])?;
        Ok(found.map(|stored| stored.generation))
    }

    /// Up to `limit` generations, newest first, of those before `before` if given; at most
    /// [`LIST_MAX`].
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn list(&self, limit: usize, before: Option<u64>) -> Result<Vec<Generation>, JournalError> {
        let limit = i64::try_from(limit.min(LIST_MAX)).unwrap_or(i64::MAX);
        let before = record::integer(before.unwrap_or(u64::MAX));
        let read = || -> Result<Vec<Generation>, Failure> {
            let sql = record::select("number < ?1", "DESC LIMIT ?2");
            let mut statement = self.connection.prepare_cached(&sql)?;
            let rows = statement.query_map([before, limit], record::generation)?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        read().map_err(|failure| failure.told(&self.folder))
    }

    fn stored<P: rusqlite::Params>(
        &self,
        which: &str,
        parameters: P,
    ) -> Result<Option<Stored>, JournalError> {
        let sql = record::select(which, "DESC LIMIT 1");
        let read = || -> Result<Option<Stored>, Failure> {
            let mut statement = self.connection.prepare_cached(&sql)?;
            Ok(statement.query_row(parameters, record::stored).optional()?)
        };
        read().map_err(|failure| failure.told(&self.folder))
    }

    /// One transaction: what fails in it is undone.
    fn write<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, JournalError> {
        let write = || -> Result<T, Failure> {
            let transaction =
                self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let changed = change(&transaction)?;
            transaction.commit()?;
            Ok(changed)
        };
        write().map_err(|failure| failure.told(&self.folder))
    }
}
