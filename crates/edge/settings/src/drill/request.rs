//! Reads what a stream asks: shapes of requests.

use std::sync::Arc;

use model::Name;
use model::load::{Keys, RequestShape};

use crate::finding::{Finding, quote};
use crate::pool::{TOKEN_HELP, is_token};
use crate::reader::{Table, Value};

/// Shapes of one stream, and header fields of one shape.
const SHAPES_MAX: usize = 64;
const HEADERS_MAX: usize = 32;
/// Bytes of a target or a header's value, and of a body.
const TEXT_BYTES_MAX: usize = 4_096;
const BODY_BYTES_MAX: u64 = 65_536;

/// The shapes of an array of requests.
pub(super) fn requests(value: &Value<'_>) -> Option<Vec<RequestShape>> {
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of requests such as \"GET /\"");
        return None;
    };
    if !(1..=SHAPES_MAX).contains(&array.len()) {
        let message = format!("a stream has 1 to {SHAPES_MAX} requests");
        value.invalid("out-of-range", message, "write `requests = [\"GET /\"]`");
        return None;
    }
    let shapes: Vec<Option<RequestShape>> = array.iter().map(shape).collect();
    shapes.into_iter().collect()
}

fn shape(value: &Value<'_>) -> Option<RequestShape> {
    if value.as_text().is_some() {
        let (method, target) = target(value)?;
        return Some(RequestShape { method, target, ..RequestShape::default() });
    }
    let mut table = value.table("requests such as \"GET /\" or tables with `target`")?;
    let given = table.required("target", "target = \"GET /\"").and_then(|value| target(&value));
    let weight = table.number("weight", 1, 1..=1_000_000);
    let headers = table.get("headers").map(|value| headers(&value)).unwrap_or_default();
    let body_bytes = table.size("body_bytes", 0, 0..=BODY_BYTES_MAX);
    let keys = Keys {
        count: table.number("keys", 1, 1..=u32::MAX),
        hot_share: table.ratio("hot_share", 0.0),
    };
    let (method, target) = given?;
    keys_are_used(&mut table, &target, &headers);
    table.finish();
    let body = vec![b'x'; usize::try_from(body_bytes).unwrap_or_default()];
    Some(RequestShape { weight, method, target, headers, body: Arc::from(body), keys })
}

/// Keys that no part of the request names would silently change nothing.
fn keys_are_used(table: &mut Table<'_>, target: &Name, headers: &[(Name, Name)]) {
    let is_used = target.contains("{key}") || headers.iter().any(|(_, v)| v.contains("{key}"));
    if let Some(value) = table.get("keys").filter(|_| !is_used) {
        let message = "`keys` has no effect: the request names no `{key}`".to_owned();
        let finding = Finding::error("unused-keys", value.key_span.clone(), message);
        let help = "write it into the target or a header, as in \"/item/{key}\"";
        value.report(finding.label("not used").help(help));
    }
}

/// `/path` for GET, or `METHOD /path`.
fn target(value: &Value<'_>) -> Option<(Name, Name)> {
    let text = value.text()?;
    let (method, target) = text.split_once(' ').unwrap_or(("GET", text));
    let fits = target.starts_with('/')
        && target.len() <= TEXT_BYTES_MAX
        && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if fits && is_token(method) {
        return Some((Name::from(method), Name::from(target)));
    }
    let message = format!("{} is not a request", quote(text));
    value.invalid(
        "invalid-target",
        message,
        "write a method and a target, as in \"GET /item/{key}\"",
    );
    None
}

fn headers(value: &Value<'_>) -> Vec<(Name, Name)> {
    let Some(table) = value.table("a table of header fields") else { return Vec::new() };
    let entries = table.entries();
    if entries.len() > HEADERS_MAX {
        let message = format!("more than {HEADERS_MAX} header fields");
        value.invalid("too-many", message, "leave some out");
    }
    entries.iter().take(HEADERS_MAX).filter_map(header).collect()
}

fn header(entry: &Value<'_>) -> Option<(Name, Name)> {
    if !is_token(entry.name) {
        let message = format!("{} is not the name of a header", quote(entry.name));
        let finding = Finding::error("invalid-token", entry.key_span.clone(), message);
        entry.report(finding.label("not valid here").help(TOKEN_HELP));
        return None;
    }
    Some((Name::from(entry.name.to_ascii_lowercase()), header_value(entry)?))
}

/// The value of a header field: visible ASCII, with spaces inside.
pub(super) fn header_value(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    let fits = text.len() <= TEXT_BYTES_MAX
        && text.trim() == text
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if fits {
        return Some(Name::from(text));
    }
    let message = format!("{} is not the value of a header", quote(text));
    value.invalid("invalid-value", message, "use visible ASCII characters, and spaces inside");
    None
}
