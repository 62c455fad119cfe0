//! Why the journal refuses, in words that say what to do.
//!
//! Inside the crate a [`Failure`] knows nothing of the folder; it is told once, at the interface.

use std::path::{Path, PathBuf};

use model::generation::GenerationState;
use rusqlite::ErrorCode;

/// Why the history could not be opened, read or written. After an error of a writing call
/// nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has the folder.
    #[error(
        "the state folder {} is used by another door{}: stop that one, or give this one a folder of its own with `state` in `[door]`",
        folder.display(),
        holder.map(|process| format!(" (process {process})")).unwrap_or_default()
    )]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The id of that process, if it is known.
        holder: Option<u32>,
    },
    /// The journal was closed, because another process takes over.
    #[error(
        "the history of changes was handed over to the process that takes over from this one: ask that one, in a moment"
    )]
    HandedOver,
    /// The folder, or a file in it, cannot be made or written.
    #[error(
        "the state folder {} cannot be used: make it writable for the door's user, or name another one with `state` in `[door]`",
        folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The disk is full.
    #[error(
        "the disk of the state folder {} is full: nothing was recorded; make room and try again",
        folder.display()
    )]
    Full {
        /// The folder.
        folder: PathBuf,
    },
    /// The file was written by a later version of this program.
    #[error(
        "the history in {} has version {found}, and this program knows {known}: run the version that wrote it, or give this one a folder of its own with `state` in `[door]`",
        folder.display()
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// The version of the file.
        found: i64,
        /// The version that this program writes.
        known: i64,
    },
    /// The file is a database of another program.
    #[error(
        "{} is a database of another program: name another folder with `state` in `[door]`",
        folder.join(crate::open::DATABASE).display()
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
    },
    /// The file was damaged while it was in use.
    #[error(
        "the history in {} is damaged ({what}): start the door again, which sets the file aside and keeps what can be read",
        folder.display()
    )]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A text of the caller's is longer than allowed.
    #[error("the {what} has {bytes} bytes, and at most {bytes_max} are kept: shorten it")]
    TooLong {
        /// What is too long: `text`, `author`, `reason`, `version`, `time` or `client`.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// There is no such generation.
    #[error("there is no generation {number} in the history: `tidegate history` lists them")]
    Unknown {
        /// The number that was asked for.
        number: u64,
    },
    /// It was decided otherwise before.
    #[error("generation {number} is {from:?} and cannot become {to:?}")]
    Decided {
        /// Its number.
        number: u64,
        /// What it is.
        from: GenerationState,
        /// What it was to become.
        to: GenerationState,
    },
    /// Another error of the database.
    #[error("the history in {} cannot be used", folder.display())]
    Database {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        error: rusqlite::Error,
    },
}

/// What goes wrong inside a call.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database says so.
    Database(rusqlite::Error),
    /// There is no such generation.
    Unknown(u64),
    /// It was decided otherwise before.
    Decided { number: u64, from: GenerationState, to: GenerationState },
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl Failure {
    /// The same for the caller.
    pub(crate) fn told(self, folder: &Path) -> JournalError {
        let folder = folder.to_owned();
        match self {
            Self::Unknown(number) => JournalError::Unknown { number },
            Self::Decided { number, from, to } => JournalError::Decided { number, from, to },
            Self::Database(error) => told(error, folder),
        }
    }
}

fn told(error: rusqlite::Error, folder: PathBuf) -> JournalError {
    let code = error.sqlite_error_code();
    if code == Some(ErrorCode::DiskFull) {
        return JournalError::Full { folder };
    }
    let denied = [ErrorCode::ReadOnly, ErrorCode::PermissionDenied, ErrorCode::CannotOpen];
    if code.is_some_and(|code| denied.contains(&code)) {
        return JournalError::Folder { folder, error: std::io::Error::other(error) };
    }
    if is_damage(&error) {
        return JournalError::Damaged { folder, what: error.to_string() };
    }
    JournalError::Database { folder, error }
}

/// Whether the file itself is wrong, and not what is around it.
///
/// What cannot be read as a generation counts too: nobody but this crate writes to the file.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    // `Unknown` is SQLITE_ERROR: a table or a column that must be there is not. Without a code, a
    // value is none that a generation can have.
    let wrong = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase, ErrorCode::Unknown];
    error.sqlite_error_code().is_none_or(|code| wrong.contains(&code))
}
