//! Generations to rows and back.
//!
//! States and origins are written with the words that JSON has for them, so that one list of
//! words serves the admin interface and a person with the SQLite shell.

use model::generation::{Generation, GenerationState, Origin};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde_json::{Value, json};

use crate::error::Failure;
use crate::{NewGeneration, Stored, limit};

/// The rows for which `which` holds, with their texts, in the order of their numbers.
pub(crate) fn select(which: &str, order: &str) -> String {
    format!(
        "SELECT number, version, base, at, author, reason, origin, origin_to, forced, state,
                verdict, changes, file_version, texts.text, texts.checksum
         FROM generations JOIN texts ON texts.id = generations.text
         WHERE {which} ORDER BY number {order}"
    )
}

/// The numbers of the rows for which `which` holds, oldest first.
pub(crate) fn numbers(transaction: &Transaction<'_>, which: &str) -> Result<Vec<u64>, Failure> {
    let sql = format!("SELECT number FROM generations WHERE {which} ORDER BY number");
    let mut statement = transaction.prepare(&sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes a generation under the next number.
pub(crate) fn append(
    transaction: &Transaction<'_>,
    new: &NewGeneration,
) -> Result<Generation, Failure> {
    let newest: Option<i64> =
        transaction.query_row("SELECT max(number) FROM generations", [], |row| row.get(0))?;
    let number = u64::try_from(newest.unwrap_or(0) + 1).unwrap_or(u64::MAX);
    let stored = Stored {
        generation: Generation {
            number,
            version: new.version.clone(),
            base: new.base,
            at: new.at.clone(),
            author: new.author.clone(),
            reason: new.reason.clone(),
            origin: new.origin,
            forced: new.forced,
            state: new.state,
            verdict: limit::verdict(&new.verdict),
            changes: limit::changes(&new.changes),
        },
        text: new.text.clone(),
        file_version: new.file_version.clone(),
    };
    insert(transaction, &stored)?;
    Ok(stored.generation)
}

/// Writes a generation under its own number.
pub(crate) fn insert(transaction: &Transaction<'_>, stored: &Stored) -> Result<(), Failure> {
    let text = text(transaction, &stored.text)?;
    let generation = &stored.generation;
    let (origin, origin_to) = origin_words(generation.origin);
    let changes = Value::from(generation.changes.clone()).to_string();
    let sql = "INSERT INTO generations (number, version, base, at, author, reason, origin,
                   origin_to, forced, state, verdict, changes, file_version, text)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    transaction.prepare_cached(sql)?.execute(params![
        integer(generation.number),
        generation.version,
        generation.base.map(integer),
        generation.at,
        generation.author,
        generation.reason,
        origin,
        origin_to.map(integer),
        generation.forced,
        state_word(generation.state),
        generation.verdict,
        changes,
        stored.file_version,
        text,
    ])?;
    Ok(())
}

/// Writes what became of a generation, unless it was decided otherwise before.
pub(crate) fn settle(
    transaction: &Transaction<'_>,
    number: u64,
    state: GenerationState,
    verdict: &str,
) -> Result<Generation, Failure> {
    let found = transaction
        .prepare_cached(&select("number = ?1", ""))?
        .query_row([integer(number)], generation)
        .optional()?;
    let mut generation = found.ok_or(Failure::Unknown(number))?;
    if !may_become(generation.state, state) {
        return Err(Failure::Decided { number, from: generation.state, to: state });
    }
    generation.state = state;
    generation.verdict = limit::verdict(verdict);
    transaction
        .prepare_cached("UPDATE generations SET state = ?2, verdict = ?3 WHERE number = ?1")?
        .execute(params![integer(number), state_word(state), generation.verdict])?;
    Ok(generation)
}

/// Whether a generation may go from one state to another: forward only. A confirmed one may
/// still be undone by a person.
fn may_become(from: GenerationState, to: GenerationState) -> bool {
    use GenerationState::{Canary, Confirmed, RolledBack, Superseded, Unconfirmed, Watched};
    match from {
        Canary => true,
        Unconfirmed => to != Canary,
        Watched => matches!(to, Watched | Confirmed | Superseded | RolledBack),
        Confirmed => to == RolledBack,
        Superseded | RolledBack => false,
    }
}

/// The id of a text, which is kept once however many generations have it.
fn text(transaction: &Transaction<'_>, text: &str) -> Result<i64, Failure> {
    let checksum = checksum(text);
    let known = "SELECT id FROM texts WHERE checksum = ?1 AND text = ?2";
    let found =
        transaction.prepare_cached(known)?.query_row(params![checksum, text], |row| row.get(0));
    if let Some(id) = found.optional()? {
        return Ok(id);
    }
    transaction
        .prepare_cached("INSERT INTO texts (checksum, text) VALUES (?1, ?2)")?
        .execute(params![checksum, text])?;
    Ok(transaction.last_insert_rowid())
}

/// A row of [`select`] without its text.
pub(crate) fn generation(row: &Row<'_>) -> rusqlite::Result<Generation> {
    let changes: String = row.get(11)?;
    let origin = json!({ "kind": row.get::<_, String>(6)?, "to": row.get::<_, Option<u64>>(7)? });
    Ok(Generation {
        number: row.get(0)?,
        version: row.get(1)?,
        base: row.get(2)?,
        at: row.get(3)?,
        author: row.get(4)?,
        reason: row.get(5)?,
        origin: serde_json::from_value(origin).map_err(|error| unreadable(6, error))?,
        forced: row.get(8)?,
        state: serde_json::from_value(Value::String(row.get(9)?))
            .map_err(|error| unreadable(9, error))?,
        verdict: row.get(10)?,
        changes: serde_json::from_str(&changes).map_err(|error| unreadable(11, error))?,
    })
}

/// A row of [`select`], whose text is as it was written.
pub(crate) fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let text: String = row.get(13)?;
    if row.get::<_, i64>(14)? != checksum(&text) {
        return Err(unreadable(13, "the text of a generation is not the one that was written"));
    }
    Ok(Stored { generation: generation(row)?, text, file_version: row.get(12)? })
}

/// A number as SQLite has it; none that is ever given is beyond its range.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unreadable(
    column: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

fn state_word(state: GenerationState) -> String {
    json!(state).as_str().unwrap_or_default().to_owned()
}

fn origin_words(origin: Origin) -> (String, Option<u64>) {
    let value = json!(origin);
    let word = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    (word, value.get("to").and_then(Value::as_u64))
}

/// Tells whether a text is as it was written: FNV-1a. SQLite itself does not notice a flipped
/// bit inside a text.
fn checksum(text: &str) -> i64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.cast_signed()
}
