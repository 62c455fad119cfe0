//! A new database, with what can be read of a damaged one.
//!
//! It is written beside the old one and takes its name when it is whole. The old one is renamed,
//! never removed: a person, or SQLite's `.recover`, may get more out of it.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::switch::Switch;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::Failure;
use crate::open::{DATABASE, connect};
use crate::{JournalError, LIST_MAX, Stored, record, schema, switches};

/// Where the new database is until it is whole.
const NEXT: &str = "journal.db.next";
/// What SQLite keeps beside a database: its log and the index of that.
const BESIDE: [&str; 2] = ["-wal", "-shm"];
/// Bytes of text that are saved from a damaged database, at most.
const SAVED_BYTES_MAX: usize = 64 << 20;
/// Files that are set aside under names of one second, at most.
const ASIDE_MAX: usize = 100;

/// What a new database begins with.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// Newest first.
    generations: Vec<Stored>,
    switches: Vec<Switch>,
}

/// Whether SQLite's log of a database is there without it.
pub(crate) fn has_remains(folder: &Path) -> bool {
    folder.join(format!("{DATABASE}-wal")).exists()
}

/// Sets the damaged database aside and builds a new one from what can be read of it. Says in
/// words what was done.
///
/// # Errors
/// When the folder cannot be written or the disk is full; the damaged one is then still there.
pub(crate) fn mend(folder: &Path, what: &str) -> Result<String, JournalError> {
    let saved = salvage(&folder.join(DATABASE));
    write_next(folder, &saved)?;
    let aside = set_aside(folder).map_err(|error| unusable(folder, error))?;
    publish(folder)?;
    let generations = &saved.generations;
    let saved = match (generations.last(), generations.first()) {
        (Some(oldest), Some(newest)) => format!(
            "{} of its generations could be read and are kept, {} to {}",
            generations.len(),
            oldest.generation.number,
            newest.generation.number
        ),
        (None, _) | (_, None) => {
            "no generation in it could be read: the history begins anew".to_owned()
        }
    };
    Ok(format!(
        "the history in {} is damaged ({what}); the damaged file is now {}; {saved}",
        folder.display(),
        aside.display()
    ))
}

/// Makes a database that holds `saved`.
///
/// # Errors
/// As [`mend`].
pub(crate) fn build(folder: &Path, saved: &Saved) -> Result<(), JournalError> {
    write_next(folder, saved)?;
    publish(folder)
}

/// What can be read, within bounds.
fn salvage(path: &Path) -> Saved {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(connection) = Connection::open_with_flags(path, flags) else { return Saved::default() };
    Saved { generations: generations(&connection), switches: switches::readable(&connection) }
}

/// The generations that can be read, newest first, within bounds.
fn generations(connection: &Connection) -> Vec<Stored> {
    // A walk ends at the first damaged page, so one comes from each end.
    let mut numbers = BTreeSet::new();
    for order in ["DESC", "ASC"] {
        walk(connection, order, &mut numbers);
    }
    let mut saved = Vec::new();
    let mut bytes = 0;
    for number in numbers.into_iter().rev() {
        let read =
            connection.query_row(&record::select("number = ?1", ""), [number], record::stored);
        let Ok(stored) = read else { continue };
        bytes += stored.text.len();
        if saved.len() == LIST_MAX || bytes > SAVED_BYTES_MAX {
            break;
        }
        saved.push(stored);
    }
    saved
}

/// The numbers up to the first that cannot be read.
fn walk(connection: &Connection, order: &str, numbers: &mut BTreeSet<i64>) {
    let sql = format!("SELECT number FROM generations ORDER BY number {order} LIMIT {LIST_MAX}");
    let Ok(mut statement) = connection.prepare(&sql) else { return };
    let Ok(rows) = statement.query_map([], |row| row.get::<_, i64>(0)) else { return };
    numbers.extend(rows.map_while(Result::ok));
}

/// Writes the new database under its temporary name, whole and on the disk.
fn write_next(folder: &Path, saved: &Saved) -> Result<(), JournalError> {
    let path = folder.join(NEXT);
    for end in ["", "-wal", "-shm", "-journal"] {
        // A process may have ended in the middle of this.
        remove(&folder.join(format!("{NEXT}{end}"))).map_err(|error| unusable(folder, error))?;
    }
    // SQLite gives what it keeps beside the file the same mode.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| unusable(folder, error))?;
    fill(&path, saved).map_err(|failure| failure.told(folder))
}

fn fill(path: &Path, saved: &Saved) -> Result<(), Failure> {
    let mut connection = connect(path)?;
    schema::migrate(&mut connection, 0)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for stored in &saved.generations {
        record::insert(&transaction, stored)?;
    }
    for switch in &saved.switches {
        switches::insert(&transaction, switch)?;
    }
    transaction.commit()?;
    // Last: until here all of it is in the one file.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.close().map_err(|(_connection, error)| Failure::from(error))
}

/// Gives the new database its name.
fn publish(folder: &Path) -> Result<(), JournalError> {
    let renamed = std::fs::rename(folder.join(NEXT), folder.join(DATABASE));
    renamed.and_then(|()| File::open(folder)?.sync_all()).map_err(|error| unusable(folder, error))
}

/// Renames the database and what SQLite keeps beside it; gives its new path.
fn set_aside(folder: &Path) -> std::io::Result<PathBuf> {
    let path = folder.join(DATABASE);
    let date = changed(&path);
    let free = |end: String| {
        let aside = format!("{DATABASE}.damaged-{date}{end}");
        (!folder.join(&aside).exists()).then_some(aside)
    };
    let aside = (1..=ASIDE_MAX)
        .find_map(|count| free(if count == 1 { String::new() } else { format!("-{count}") }))
        .ok_or_else(|| std::io::Error::other("too many damaged files are set aside there"))?;
    // The log first: it must never meet a database that it does not belong to.
    for end in BESIDE.into_iter().chain([""]) {
        let from = folder.join(format!("{DATABASE}{end}"));
        if from.exists() {
            std::fs::rename(from, folder.join(format!("{aside}{end}")))?;
        }
    }
    Ok(folder.join(aside))
}

/// When the file was last written, as `20260131T235959Z`: nothing here reads the clock.
fn changed(path: &Path) -> String {
    std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|time| jiff::Timestamp::try_from(time).ok())
        .map_or_else(|| "unknown".to_owned(), |time| time.strftime("%Y%m%dT%H%M%SZ").to_string())
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn unusable(folder: &Path, error: std::io::Error) -> JournalError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return JournalError::Full { folder: folder.to_owned() };
    }
    JournalError::Folder { folder: folder.to_owned(), error }
}
