//! Rules for header fields, and the head they are applied to.
//!
//! A head is worked on as text: lines that go are cut out in place, lines that come are put before
//! its end. Names compare as servers read them: some (CGI, WSGI) take any other character for a `-`,
//! so that `X_Tenant` would slip past a rule for `x-tenant`.
//! Invariant: a value that is written has no line end and no blanks at its ends.

use memchr::{memchr, memchr2};
use model::configuration::{Authentication, HeaderRules, HeaderValue, ValuePart, Variable};

use super::said::Said;
use crate::heads::write_field;

/// Bytes that the rules of one head write, at most: with the largest head of a server it is still
/// one that an HTTP/2 stream takes. A field that would exceed it is not written.
const BYTES_MAX: usize = 24 * 1024;

/// The rules for one direction, ready to be applied.
#[derive(Debug)]
pub(super) struct Rules {
    /// Names of the fields that are removed, or replaced.
    replaced: Box<[Box<[u8]>]>,
    /// A bit for the length of each: most names of a head need no comparison.
    lengths: u64,
    written: Box<[Written]>,
    success_only: bool,
}

/// A field that is written.
#[derive(Debug)]
struct Written {
    name: Box<[u8]>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Text(Box<[u8]>),
    Parts(Box<[Part]>),
}

#[derive(Debug)]
enum Part {
    Text(Box<[u8]>),
    Variable(Variable),
}

impl Rules {
    /// The rules of the route named `route`. What `authentication` tells the server alone is
    /// nothing that a request says.
    pub(super) fn new(
        rules: &HeaderRules,
        route: &str,
        authentication: Option<&Authentication>,
    ) -> Self {
        let set = rules.set.iter().map(|(name, _)| name);
        let replaced: Box<[Box<[u8]>]> =
            rules.remove.iter().chain(set).map(|name| name.as_bytes().into()).collect();
        let written = rules.set.iter().chain(&rules.add).map(|(name, value)| Written {
            name: name.as_bytes().into(),
            value: Value::new(value, route, authentication),
        });
        Self {
            lengths: replaced.iter().fold(0, |bits, name| bits | bit(name.len())),
            replaced,
            written: written.collect(),
            success_only: rules.success_only,
        }
    }

    /// Whether a response with this status is changed.
    pub(super) fn apply_to(&self, status: u16) -> bool {
        !self.success_only || (200..400).contains(&status)
    }

    /// Whether any value names the registered client.
    pub(super) fn asks_for_client(&self) -> bool {
        self.written.iter().any(|field| match &field.value {
            Value::Text(_) => false,
            Value::Parts(parts) => {
                parts.iter().any(|part| matches!(part, Part::Variable(Variable::Client)))
            }
        })
    }

    /// Whether fields of this name go.
    pub(super) fn replaces(&self, name: &[u8]) -> bool {
        self.lengths & bit(name.len()) != 0
            && self.replaced.iter().any(|replaced| reads_as(name, replaced))
    }

    /// Writes the lines that are set and added.
    pub(super) fn write(&self, out: &mut Vec<u8>, said: &Said<'_>) {
        let most = out.len() + BYTES_MAX;
        for Written { name, value } in &self.written {
            let start = out.len();
            match value {
                Value::Text(text) => write_field(out, name, text),
                Value::Parts(parts) => write_parts(out, name, parts, said),
            }
            if out.len() > most {
                out.truncate(start);
            }
        }
    }
}

impl Value {
    fn new(value: &HeaderValue, route: &str, authentication: Option<&Authentication>) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        for part in &value.0 {
            let text: &[u8] = match part {
                ValuePart::Text(text) => text.as_bytes(),
                ValuePart::Variable(Variable::Route) => route.as_bytes(),
                ValuePart::Variable(Variable::Header(name))
                    if authentication.is_some_and(|how| how.owns(name.as_bytes())) =>
                {
                    continue;
                }
                ValuePart::Variable(variable) => {
                    parts.push(Part::Variable(variable.clone()));
                    continue;
                }
            };
            match parts.last_mut() {
                Some(Part::Text(before)) => *before = [before, text].concat().into(),
                Some(Part::Variable(_)) | None => parts.push(Part::Text(text.into())),
            }
        }
        match parts.as_mut_slice() {
            [Part::Text(text)] => Self::Text(std::mem::take(text)),
            _ => Self::Parts(parts.into()),
        }
    }
}

/// Writes a field, unless its value comes out empty: only a server's `host` may be.
fn write_parts(out: &mut Vec<u8>, name: &[u8], parts: &[Part], said: &Said<'_>) {
    let start = out.len();
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    let value_start = out.len();
    for part in parts {
        match part {
            Part::Text(text) => out.extend_from_slice(text),
            Part::Variable(variable) => said.write(out, variable),
        }
    }
    // A variable that came out empty may leave blanks at an end, where HTTP/2 allows none.
    let value = out.get(value_start..).unwrap_or_default();
    let leading = value.len() - value.trim_ascii_start().len();
    let length = value.trim_ascii().len();
    // What came in was read strictly, so no line breaks here; if one did, this is where it ends.
    let breaks = value.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t');
    if breaks || length == 0 && name != b"host" {
        out.truncate(start);
        return;
    }
    out.drain(value_start..value_start + leading);
    out.truncate(value_start + length);
    out.extend_from_slice(b"\r\n");
}

fn bit(length: usize) -> u64 {
    1 << length.min(63)
}

/// Whether a server may read `name` as `wanted`, which is in lower case.
fn reads_as(name: &[u8], wanted: &[u8]) -> bool {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    name.len() == wanted.len()
        && name
            .iter()
            .zip(wanted)
            .all(|(&byte, &wanted)| plain(byte.to_ascii_lowercase()) == plain(wanted))
}

/// Cuts the lines out of a whole head whose names `goes` says so of.
pub(super) fn remove(head: &mut Vec<u8>, goes: impl Fn(&[u8]) -> bool) {
    let mut read = next_line(head, 0);
    let mut written = read;
    while read < head.len() {
        let end = next_line(head, read);
        let line = head.get(read..end).unwrap_or_default();
        let colon = memchr2(b':', b'\r', line).unwrap_or(0);
        if !goes(line.get(..colon).unwrap_or_default()) {
            if written < read {
                head.copy_within(read..end, written);
            }
            written += end - read;
        }
        read = end;
    }
    head.truncate(written);
}

/// Where the line ends that begins at `start`.
fn next_line(head: &[u8], start: usize) -> usize {
    let rest = head.get(start..).unwrap_or_default();
    memchr(b'\n', rest).map_or(head.len(), |at| start + at + 1)
}

/// Puts lines before the end of a whole head.
pub(super) fn extend(head: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    head.truncate(head.len().saturating_sub(2));
    write(head);
    head.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
