//! How long a text in the history may be.
//!
//! What a person wrote is refused when it is too long, so that it is not cut unnoticed. What the
//! door wrote is cut: a rollback must not fail because its reason has many words.

use crate::{JournalError, NewGeneration};

/// Bytes of the text of a configuration, at most: 4 MiB, as much as one may have.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// Bytes of an author's name, at most.
pub const AUTHOR_BYTES_MAX: usize = 200;

/// Bytes of a reason, at most.
pub const REASON_BYTES_MAX: usize = 2_000;

/// Generations that one call lists, at most.
pub const LIST_MAX: usize = 1_000;

/// Switches of clients that are kept, at most, beside those of clients that are disabled.
pub const SWITCHES_MAX: usize = 1_000;

/// Bytes of a time, at most.
pub(crate) const TIME_BYTES_MAX: usize = 64;

const VERSION_BYTES_MAX: usize = 64;
const VERDICT_BYTES_MAX: usize = 4_000;
const CHANGES_MAX: usize = 200;
const CHANGE_BYTES_MAX: usize = 1_000;

/// Refuses what a person wrote too long.
pub(crate) fn check(new: &NewGeneration) -> Result<(), JournalError> {
    let file_version = new.file_version.as_deref().unwrap_or_default();
    for (what, text, bytes_max) in [
        ("text", new.text.as_str(), TEXT_BYTES_MAX),
        ("author", &new.author, AUTHOR_BYTES_MAX),
        ("reason", &new.reason, REASON_BYTES_MAX),
        ("version", &new.version, VERSION_BYTES_MAX),
        ("version", file_version, VERSION_BYTES_MAX),
        ("time", &new.at, TIME_BYTES_MAX),
    ] {
        fits(what, text, bytes_max)?;
    }
    Ok(())
}

/// Refuses one text that is too long.
pub(crate) fn fits(what: &'static str, text: &str, bytes_max: usize) -> Result<(), JournalError> {
    if text.len() > bytes_max {
        return Err(JournalError::TooLong { what, bytes: text.len(), bytes_max });
    }
    Ok(())
}

/// The verdict as it is kept.
pub(crate) fn verdict(text: &str) -> String {
    cut(text, VERDICT_BYTES_MAX)
}

/// The lines of a difference as they are kept.
pub(crate) fn changes(lines: &[String]) -> Vec<String> {
    lines.iter().take(CHANGES_MAX).map(|line| cut(line, CHANGE_BYTES_MAX)).collect()
}

fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mark = "…";
    let end = text.floor_char_boundary(bytes_max - mark.len());
    format!("{}{mark}", text.get(..end).unwrap_or_default())
}
