//! Switches of registered clients to rows and back.
//!
//! Invariant: the newest switch of a client that is disabled is never forgotten: a restart must
//! not let it in again.

use model::switch::Switch;
use rusqlite::{Connection, Row, Transaction, params};

use crate::error::Failure;
use crate::record::integer;
use crate::{JournalError, NewSwitch, SWITCHES_MAX, limit};

/// The newest switch of each client that is disabled.
const DISABLED: &str = "enabled = 0
    AND number IN (SELECT max(number) FROM switches GROUP BY client)";

/// Refuses what a person wrote too long.
pub(crate) fn check(new: &NewSwitch) -> Result<(), JournalError> {
    for (what, text, bytes_max) in [
        ("client", &new.client, limit::AUTHOR_BYTES_MAX),
        ("author", &new.author, limit::AUTHOR_BYTES_MAX),
        ("reason", &new.reason, limit::REASON_BYTES_MAX),
        ("time", &new.at, limit::TIME_BYTES_MAX),
    ] {
        limit::fits(what, text, bytes_max)?;
    }
    Ok(())
}

/// Writes a switch under the next number, and forgets the oldest beyond [`SWITCHES_MAX`].
pub(crate) fn append(transaction: &Transaction<'_>, new: &NewSwitch) -> Result<Switch, Failure> {
    let newest: Option<i64> =
        transaction.query_row("SELECT max(number) FROM switches", [], |row| row.get(0))?;
    let NewSwitch { client, enabled, at, author, reason } = new.clone();
    let number = u64::try_from(newest.unwrap_or(0) + 1).unwrap_or(u64::MAX);
    let switch = Switch { number, client, enabled, at, author, reason };
    insert(transaction, &switch)?;
    let old = format!(
        "DELETE FROM switches WHERE NOT ({DISABLED})
         AND number NOT IN (SELECT number FROM switches ORDER BY number DESC LIMIT ?1)"
    );
    transaction.prepare_cached(&old)?.execute([i64::try_from(SWITCHES_MAX).unwrap_or(i64::MAX)])?;
    Ok(switch)
}

/// Writes a switch under its own number.
pub(crate) fn insert(transaction: &Transaction<'_>, switch: &Switch) -> Result<(), Failure> {
    let sql = "INSERT INTO switches (number, client, enabled, at, author, reason)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction.prepare_cached(sql)?.execute(params![
        integer(switch.number),
        switch.client,
        switch.enabled,
        switch.at,
        switch.author,
        switch.reason,
    ])?;
    Ok(())
}

/// The newest switch of each client that is disabled, by client.
pub(crate) fn disabled(connection: &Connection) -> rusqlite::Result<Vec<Switch>> {
    let sql = select(DISABLED, "client");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], switch)?;
    rows.collect()
}

/// Up to `limit` switches before `before`, newest first.
pub(crate) fn list(
    connection: &Connection,
    limit: i64,
    before: i64,
) -> rusqlite::Result<Vec<Switch>> {
    let sql = select("number < ?2", "number DESC LIMIT ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([limit, before], switch)?;
    rows.collect()
}

/// The rows of a damaged database, newest first, up to the first that cannot be read. A database
/// of an earlier version has none.
pub(crate) fn readable(connection: &Connection) -> Vec<Switch> {
    let sql = select("true", "number DESC LIMIT ?1");
    let Ok(mut statement) = connection.prepare(&sql) else { return Vec::new() };
    let limit = i64::try_from(2 * SWITCHES_MAX).unwrap_or(i64::MAX);
    let Ok(rows) = statement.query_map([limit], switch) else { return Vec::new() };
    rows.map_while(Result::ok).collect()
}

fn select(which: &str, order: &str) -> String {
    format!(
        "SELECT number, client, enabled, at, author, reason FROM switches
         WHERE {which} ORDER BY {order}"
    )
}

fn switch(row: &Row<'_>) -> rusqlite::Result<Switch> {
    Ok(Switch {
        number: row.get(0)?,
        client: row.get(1)?,
        enabled: row.get(2)?,
        at: row.get(3)?,
        author: row.get(4)?,
        reason: row.get(5)?,
    })
}
