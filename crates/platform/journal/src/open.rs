//! Opening the database: what is there is examined before it is believed.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::error::{Failure, is_damage};
use crate::repair::Saved;
use crate::schema::Version;
use crate::{JournalError, record, repair, schema, switches};

/// The name of the database in the folder.
pub(crate) const DATABASE: &str = "journal.db";

/// What stands in the way of using a file.
enum Obstacle {
    /// The file is wrong; in words.
    Damage(String),
    /// Anything else.
    Refused(JournalError),
}

/// Makes the folder, readable for its user alone, unless it is there.
pub(crate) fn folder(folder: &Path) -> Result<(), JournalError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| JournalError::Folder { folder: folder.to_owned(), error })
}

/// Opens the database of a folder that is locked; a damaged one is mended first. The warnings
/// say what was mended.
pub(crate) fn database(folder: &Path) -> Result<(Connection, Vec<String>), JournalError> {
    let mut warnings = Vec::new();
    if !folder.join(DATABASE).exists() {
        if repair::has_remains(folder) {
            warnings.push(repair::mend(folder, "the file is gone, and its log is not")?);
        } else {
            repair::build(folder, &Saved::default())?;
        }
    }
    let what = match examined(folder) {
        Ok(connection) => return Ok((connection, warnings)),
        Err(Obstacle::Refused(error)) => return Err(error),
        Err(Obstacle::Damage(what)) => what,
    };
    warnings.push(repair::mend(folder, &what)?);
    match examined(folder) {
        Ok(connection) => Ok((connection, warnings)),
        Err(Obstacle::Refused(error)) => Err(error),
        // What was just written is wrong already: the disk is not to be trusted.
        Err(Obstacle::Damage(what)) => {
            Err(JournalError::Damaged { folder: folder.to_owned(), what })
        }
    }
}

/// The database, if it is sound and of a version that is known.
fn examined(folder: &Path) -> Result<Connection, Obstacle> {
    let refused = |error: rusqlite::Error| {
        if is_damage(&error) {
            return Obstacle::Damage(error.to_string());
        }
        Obstacle::Refused(Failure::from(error).told(folder))
    };
    let mut connection = connect(&folder.join(DATABASE)).map_err(refused)?;
    match schema::version(&connection).map_err(refused)? {
        Version::Foreign if is_empty(folder) => {
            return Err(Obstacle::Damage("the file is empty".to_owned()));
        }
        Version::Foreign => {
            return Err(Obstacle::Refused(JournalError::Foreign { folder: folder.to_owned() }));
        }
        Version::Ours(found) if found > schema::known() => {
            let (folder, known) = (folder.to_owned(), schema::known());
            return Err(Obstacle::Refused(JournalError::Newer { folder, found, known }));
        }
        Version::Ours(found) => {
            // Before a migration: it must not copy what is damaged.
            sound(&connection).map_err(refused)?.map_err(Obstacle::Damage)?;
            schema::migrate(&mut connection, found).map_err(refused)?;
        }
    }
    readable(&connection).map_err(refused)?;
    Ok(connection)
}

/// A connection to a file that is there.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Without the URI flag, so that no character of a path means anything.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    schema::configure(&connection)?;
    Ok(connection)
}

/// Whether the pages of the file fit together. Reads all of it once.
fn sound(connection: &Connection) -> rusqlite::Result<Result<(), String>> {
    let what: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))?;
    if what != "ok" {
        // The lines before the last name the database.
        return Ok(Err(what.lines().last().unwrap_or_default().to_owned()));
    }
    let orphan = "SELECT 1 FROM generations WHERE text NOT IN (SELECT id FROM texts)";
    if connection.prepare(orphan)?.exists([])? {
        return Ok(Err("a generation has no text".to_owned()));
    }
    Ok(Ok(()))
}

/// Whether every generation can be read, with the text that was written, and every switch.
fn readable(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&record::select("true", ""))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        record::stored(row)?;
    }
    switches::list(connection, i64::MAX, i64::MAX)?;
    Ok(())
}

fn is_empty(folder: &Path) -> bool {
    std::fs::metadata(folder.join(DATABASE)).is_ok_and(|metadata| metadata.len() == 0)
}
