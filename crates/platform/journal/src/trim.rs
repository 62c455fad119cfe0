//! Forgetting the oldest generations.

use rusqlite::Transaction;

use crate::error::Failure;

/// Removes all but the newest `max`, and never one that is still needed; says how many went.
pub(crate) fn trim(transaction: &Transaction<'_>, max: usize) -> Result<usize, Failure> {
    // The newest stays whatever its state, so that its number is not given again.
    let max = i64::try_from(max.max(1)).unwrap_or(i64::MAX);
    let gone = transaction.execute(
        "DELETE FROM generations
         WHERE number NOT IN (SELECT number FROM generations ORDER BY number DESC LIMIT ?1)
           AND number IS NOT (SELECT max(number) FROM generations
                              WHERE state IN ('watched', 'confirmed'))
           AND number IS NOT (SELECT max(number) FROM generations WHERE state = 'confirmed')",
        [max],
    )?;
    if gone > 0 {
        transaction
            .execute("DELETE FROM texts WHERE id NOT IN (SELECT text FROM generations)", [])?;
    }
    Ok(gone)
}
