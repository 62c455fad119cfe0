//! What one part of a drill may say of another: names that resolve, windows inside the drill.
//!
//! Invariant: a part that could not be read leaves its names unknown (`None`), and then nothing
//! is held against those who use them: one mistake is one finding.

use std::ops::Range;
use std::time::Duration;

use model::Name;

use crate::finding::{Finding, did_you_mean, is_unsafe_to_print, one_of, quote};
use crate::reader::{Table, Value};
use crate::units::show_duration;

/// The names and limits that events and expectations are held against.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) duration: Duration,
    pub(super) servers: Option<Vec<Name>>,
    pub(super) streams: Option<Vec<Name>>,
    pub(super) has_database: bool,
}

impl Scope {
    /// The name of a server of the drill.
    pub(super) fn server(&self, value: &Value<'_>) -> Option<Name> {
        let said = (value.text()?, value.span.clone());
        known(value, said, self.servers.as_deref(), ("unknown-server", "server"))
    }

    /// The name of a server of the drill that is the key of this value.
    pub(super) fn server_key(&self, value: &Value<'_>) -> Option<Name> {
        let said = (value.name, value.key_span.clone());
        known(value, said, self.servers.as_deref(), ("unknown-server", "server"))
    }

    /// The name of a stream of the drill.
    pub(super) fn stream(&self, value: &Value<'_>) -> Option<Name> {
        let said = (value.text()?, value.span.clone());
        known(value, said, self.streams.as_deref(), ("unknown-stream", "stream"))
    }

    /// Reports the use of a database where the stack has none.
    pub(super) fn needs_database(&self, value: &Value<'_>) {
        if !self.has_database {
            let message = format!("{} needs a database, and the stack has none", quote(value.name));
            value.invalid("no-database", message, "add `database = {}` to `[stack]`");
        }
    }

    /// A time inside the drill.
    pub(super) fn time(&self, value: &Value<'_>) -> Option<Duration> {
        let time = value.duration(&(Duration::ZERO..=super::DURATION_MAX))?;
        inside(value, time, self.duration).then_some(time)
    }
}

/// Whether `end` is inside a drill of this duration; reports it at `value` if not.
pub(super) fn inside(value: &Value<'_>, end: Duration, duration: Duration) -> bool {
    if end <= duration {
        return true;
    }
    let (end, duration) = (show_duration(end), show_duration(duration));
    let message = format!("{} ends at {end}, after the drill ({duration})", quote(value.name));
    let finding = Finding::error("after-the-end", value.span.clone(), message);
    value.report(finding.label("after the end").help("make it shorter, or the drill longer"));
    false
}

/// The name that `value` or its key says, among those there are.
fn known(
    value: &Value<'_>,
    (text, span): (&str, Range<usize>),
    names: Option<&[Name]>,
    (rule, what): (&'static str, &str),
) -> Option<Name> {
    let Some(names) = names else { return Some(Name::from(text)) };
    if let Some(name) = names.iter().find(|name| name.as_ref() == text) {
        return Some(name.clone());
    }
    let words = || names.iter().map(AsRef::as_ref);
    let finding = Finding::error(rule, span, format!("unknown {what} {}", quote(text)))
        .label("not in this drill")
        .help(format!("use {}", one_of(words())))
        .help_maybe(did_you_mean(text, words()));
    value.report(finding);
    None
}

/// Reports each of these keys, which mean nothing beside `with`.
pub(super) fn meaningless(table: &mut Table<'_>, keys: &[&'static str], with: &str) {
    for key in keys {
        if let Some(value) = table.get(key) {
            let message = format!("{} has no meaning with {}", quote(key), quote(with));
            value.invalid("conflicting-keys", message, "remove one of them");
        }
    }
}

/// The one of several keys that is given; reports none, and every one after the first.
pub(super) fn exactly_one<'a>(
    table: &mut Table<'a>,
    keys: impl Iterator<Item = &'static str> + Clone,
    example: &str,
) -> Option<(&'static str, Value<'a>)> {
    let mut first: Option<(&'static str, Value<'a>)> = None;
    for key in keys.clone() {
        let Some(value) = table.get(key) else { continue };
        let Some((other, _)) = &first else {
            first = Some((key, value));
            continue;
        };
        let message = format!("{} and {} exclude each other", quote(other), quote(key));
        value.invalid("conflicting-keys", message, "remove one of them");
    }
    if first.is_none() {
        let message = format!("{} needs one of {}", quote(table.name()), one_of(keys));
        let finding = Finding::error("missing-key", table.span(), message);
        let finding = finding.label("none of them is given").help(format!("add `{example}`"));
        table.context().findings.add(finding);
    }
    first
}

/// The tables of an array of tables `[[key]]`, at most so many.
pub(super) fn each<'a>(root: &mut Table<'a>, key: &'static str, most: usize) -> Vec<Table<'a>> {
    let Some(value) = root.get(key) else { return Vec::new() };
    let expected = format!("made of tables `[[{key}]]`");
    let Some(array) = value.as_array() else {
        value.wrong_type(&expected);
        return Vec::new();
    };
    if array.len() > most {
        let message = format!("more than {most} of {}", quote(key));
        value.invalid("too-many", message, "leave some out");
    }
    array.iter().take(most).filter_map(|element| element.table(&expected)).collect()
}

/// One line of printable text of 1 to so many characters.
pub(super) fn line(value: &Value<'_>, characters_max: usize) -> Option<String> {
    let text = value.text()?;
    let fits = (1..=characters_max).contains(&text.chars().count());
    if fits && !text.contains(is_unsafe_to_print) {
        return Some(text.to_owned());
    }
    let message = format!("{} must be one line of text", quote(value.name));
    let help = format!("use 1 to {characters_max} printable characters");
    value.invalid("invalid-text", message, help);
    None
}

/// Paragraphs of printable text of at most so many bytes.
pub(super) fn prose(value: &Value<'_>, bytes_max: usize) -> Option<String> {
    let text = value.text()?;
    let is_unsafe = |c: char| c != '\n' && is_unsafe_to_print(c);
    if text.len() <= bytes_max && !text.contains(is_unsafe) {
        return Some(text.trim().to_owned());
    }
    let message = format!("{} must be printable text", quote(value.name));
    let help = format!("use at most {bytes_max} bytes, without control characters");
    value.invalid("invalid-text", message, help);
    None
}
