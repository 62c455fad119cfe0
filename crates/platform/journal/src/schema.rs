//! The tables, and the way from every version of them to the newest.
//!
//! `user_version` counts migrations. One is never edited after a release: a later one follows.
//! Texts have a table of their own, because a rollback has the text of an earlier generation.

use rusqlite::{Connection, TransactionBehavior};

/// Marks the file as ours: "Tide".
const APPLICATION: i32 = 0x5469_6465;

/// From version N to N + 1, for N from 0.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE texts (
        id       INTEGER PRIMARY KEY,
        checksum INTEGER NOT NULL,
        text     TEXT NOT NULL
    ) STRICT;
    CREATE TABLE generations (
        number       INTEGER PRIMARY KEY,
        version      TEXT NOT NULL,
        base         INTEGER,
        at           TEXT NOT NULL,
        author       TEXT NOT NULL,
        reason       TEXT NOT NULL,
        origin       TEXT NOT NULL,
        origin_to    INTEGER,
        forced       INTEGER NOT NULL,
        state        TEXT NOT NULL,
        verdict      TEXT NOT NULL,
        changes      TEXT NOT NULL,
        file_version TEXT,
        text         INTEGER NOT NULL REFERENCES texts (id)
    ) STRICT;
",
    "
    CREATE TABLE switches (
        number  INTEGER PRIMARY KEY,
        client  TEXT NOT NULL,
        enabled INTEGER NOT NULL,
        at      TEXT NOT NULL,
        author  TEXT NOT NULL,
        reason  TEXT NOT NULL
    ) STRICT;
",
];

/// What is found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Ours, of this version; may be one that this program does not know yet.
    Ours(i64),
    /// A database of another program.
    Foreign,
}

/// The version that this program writes.
pub(crate) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// What every connection is told before it reads or writes.
pub(crate) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Only a person with the SQLite shell can be in the way; the wait is bounded.
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)
}

/// Reads whose file it is and of which version.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<Version> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if number("application_id")? != i64::from(APPLICATION) {
        return Ok(Version::Foreign);
    }
    Ok(Version::Ours(number("user_version")?))
}

/// Brings the tables from version `from` to the newest, in one transaction.
pub(crate) fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(from).unwrap_or(MIGRATIONS.len());
    let Some(missing) = MIGRATIONS.get(done..).filter(|missing| !missing.is_empty()) else {
        return Ok(());
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", known())?;
    transaction.commit()
}
