//! Findings as text for people and as documents for other programs, one file per format.
//!
//! A finding names its file by its place in the list of sources.
//! Invariant: no control character of the configuration reaches the terminal or a document.
//! Excerpts and names are cleaned here, and excerpts show no secrets; messages were cleaned
//! where they were made.

mod github;
mod json;
mod junit;
mod sarif;
mod secrets;
mod text;

pub use github::render_github;
pub use json::render_json;
pub use junit::render_junit;
pub use sarif::render_sarif;
pub use secrets::without_secrets;
pub use text::render_text;

use crate::Source;
use crate::finding::{Finding, is_unsafe_to_print};

/// The printable name of the file that a finding is in.
fn file_name(finding: &Finding, sources: &[Source]) -> String {
    sources.get(finding.file).map(|source| clean(&source.name)).unwrap_or_default()
}

/// What is wrong, and on a second line what to do about it.
fn message(finding: &Finding) -> String {
    match &finding.help {
        Some(help) => format!("{}\n{help}", finding.message),
        None => finding.message.clone(),
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect()
}

fn clean(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// A character that a terminal shows and does not act on.
fn shown(character: char) -> char {
    match character {
        '\t' | '\r' => ' ',
        '\u{7f}' => '\u{2421}',
        '\0'..='\u{1f}' => {
            char::from_u32(0x2400 + u32::from(character)).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        _ if is_unsafe_to_print(character) => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}
