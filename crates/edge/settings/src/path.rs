//! Reads path patterns: exact, prefix, start, template, regular expression.
//!
//! Requests are compared by their canonical path, so a pattern that no canonical path can equal
//! (with `//`, `..`, a query or raw characters) is a mistake that would otherwise stay silent.

pub(crate) mod expression;

use std::collections::HashSet;

use model::Name;
use model::configuration::{PathPattern, TemplateSegment};

use crate::finding::{Finding, quote};
use crate::reader::{Table, Value};

/// Bytes of a path in the configuration, at most: as long as a request's head may be.
const PATH_BYTES_MAX: usize = 65_536;

/// What to do about a `*` that is not the last letter.
const STAR_HELP: &str = "a `*` is the last letter, for whatever follows; to match one as it is, \
                         write `{ exact = \"...\" }` or use `path_regex`";

/// Reads `path` or `path_regex`, whichever is given; by default every path.
pub(crate) fn path(table: &mut Table<'_>) -> Option<PathPattern> {
    let (path, regex) = (table.get("path"), table.get("path_regex"));
    let both = path.is_some() && regex.is_some();
    if let Some(value) = regex.as_ref().filter(|_| both) {
        let message = "`path_regex` stands in place of `path`".to_owned();
        value.at_key().invalid("conflicting-keys", message, "remove one of the two");
    }
    // Both are read, so that all their mistakes show.
    let path = path.map(|value| pattern(&value));
    let regex = regex.map(|value| expression::expression(&value).map(PathPattern::Regex));
    regex.or(path).unwrap_or_else(|| Some(PathPattern::Prefix(Name::from("/"))))
}

/// A prefix, a start when it ends with `*`, a template when it has braces, or `{ exact = "..." }`.
fn pattern(value: &Value<'_>) -> Option<PathPattern> {
    if let Some(text) = value.as_text() {
        if text.contains(['{', '}']) {
            return template(value, text).map(PathPattern::Template);
        }
        if text.contains('*') {
            return start(value, text).map(PathPattern::Start);
        }
        return plain_path(value).map(|path| PathPattern::Prefix(prefix(value, &path)));
    }
    let mut table = value.table("a path or `{ exact = \"/path\" }`")?;
    let exact = table.required("exact", "exact = \"/path\"");
    table.finish();
    exact.and_then(|value| plain_path(&value)).map(PathPattern::Exact)
}

/// What stands before the `*` at the end.
fn start(value: &Value<'_>, text: &str) -> Option<Name> {
    let start = text.strip_suffix('*').filter(|start| !start.contains('*'));
    // Its last segment is not whole: what follows is part of it.
    let problem = start.map_or(Some(STAR_HELP), |start| path_problem(&format!("{start}x")));
    if let Some(help) = problem {
        invalid_path(value, help);
        return None;
    }
    start.map(Name::from)
}

/// `/api/` means `/api` and what is below it, so its last slash says nothing.
fn prefix(value: &Value<'_>, path: &Name) -> Name {
    let trimmed = path.trim_end_matches('/');
    if path.as_ref() == "/" || trimmed.len() == path.len() {
        return path.clone();
    }
    let message = format!("the prefix {} serves {} too", quote(path), quote(trimmed));
    let finding = Finding::warning("trailing-slash", value.span.clone(), message);
    value.report(
        finding.label("a prefix ends at a segment").help(format!("write {}", quote(trimmed))),
    );
    Name::from(trimmed)
}

/// A path as a canonical request has it: begins with `/`, without query, fragment, empty or dot
/// segments, percent-encoded where needed.
pub(crate) fn plain_path(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    match path_problem(text) {
        None => Some(Name::from(text)),
        Some(help) => {
            invalid_path(value, help);
            None
        }
    }
}

pub(crate) fn invalid_path(value: &Value<'_>, help: &str) {
    let message = format!("{} is not a path", quote(value.as_text().unwrap_or_default()));
    value.invalid("invalid-path", message, help);
}

pub(crate) fn path_problem(text: &str) -> Option<&'static str> {
    if !text.starts_with('/') {
        return Some("a path begins with `/`");
    }
    if text.len() > PATH_BYTES_MAX {
        return Some("a path has at most 65536 bytes");
    }
    if text.contains(['?', '#']) {
        return Some("leave out the query and fragment: only the path is compared");
    }
    if text.contains("//") {
        return Some("leave out empty segments: requests never match them");
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return Some("leave out `.` and `..`: requests never match them");
    }
    if text.split('%').skip(1).any(|after| !starts_with_two_hex_digits(after)) {
        return Some("write two hex digits behind `%`");
    }
    let is_path_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte);
    if !text.bytes().all(is_path_byte) {
        return Some("percent-encode this character, as requests do (a space is `%20`)");
    }
    None
}

fn starts_with_two_hex_digits(text: &str) -> bool {
    let mut bytes = text.bytes();
    let mut next_is_hex = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
    next_is_hex() && next_is_hex()
}

fn template(value: &Value<'_>, text: &str) -> Option<Vec<TemplateSegment>> {
    match parse_template(text) {
        Ok(segments) => Some(segments),
        Err(help) => {
            let message = format!("{} is not a path template", quote(text));
            value.invalid("invalid-template", message, help);
            None
        }
    }
}

fn parse_template(text: &str) -> Result<Vec<TemplateSegment>, &'static str> {
    // The braces' own check is below; the rest must be a path like any other.
    if let Some(problem) = path_problem(&text.replace(['{', '}'], "")) {
        // `/{a}/{b}` is no empty segment once its parameters are gone.
        return Err(problem);
    }
    let Some(after_root) = text.strip_prefix('/') else { return Err("a path begins with `/`") };
    let count = after_root.split('/').count();
    let mut names = HashSet::new();
    let mut segments = Vec::with_capacity(count);
    for (index, segment) in after_root.split('/').enumerate() {
        let parsed = parse_segment(segment)?;
        if let TemplateSegment::Parameter(name) | TemplateSegment::Rest(name) = &parsed
            && !names.insert(name.clone())
        {
            return Err("give each parameter its own name");
        }
        if matches!(parsed, TemplateSegment::Rest(_)) && index + 1 < count {
            return Err("`{*rest}` must be the last segment");
        }
        segments.push(parsed);
    }
    Ok(segments)
}

fn parse_segment(segment: &str) -> Result<TemplateSegment, &'static str> {
    if !segment.contains(['{', '}']) {
        if segment.is_empty() {
            return Err("leave out the last `/`");
        }
        if segment.contains('*') {
            return Err("a `*` stands in `{*rest}` only, the last segment");
        }
        return Ok(TemplateSegment::Literal(Name::from(segment)));
    }
    let inner = segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .filter(|inner| !inner.contains(['{', '}']))
        .ok_or("a parameter is a whole segment, such as `/users/{id}`")?;
    let (is_rest, name) = match inner.strip_prefix('*') {
        Some(name) => (true, name),
        None => (false, inner),
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err("name a parameter with letters, digits and `_`, such as `{id}` or `{*rest}`");
    }
    let name = Name::from(name);
    Ok(if is_rest { TemplateSegment::Rest(name) } else { TemplateSegment::Parameter(name) })
}
