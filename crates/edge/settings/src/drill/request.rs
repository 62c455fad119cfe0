//! Reads what a stream asks: shapes of requests.

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use model::Name;
use model::load::{Keys, Protocol, RequestShape};

use super::scope::meaningless;
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
pub(super) fn requests(value: &Value<'_>, protocol: Protocol) -> Option<Vec<RequestShape>> {
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of requests such as \"GET /\"");
        return None;
    };
    if !(1..=SHAPES_MAX).contains(&array.len()) {
        let message = format!("a stream has 1 to {SHAPES_MAX} requests");
        value.invalid("out-of-range", message, "write `requests = [\"GET /\"]`");
        return None;
    }
    let shapes: Vec<Option<RequestShape>> =
        array.iter().map(|value| shape(value, protocol)).collect();
    shapes.into_iter().collect()
}

fn shape(value: &Value<'_>, protocol: Protocol) -> Option<RequestShape> {
    if value.as_text().is_some() {
        let (method, target) = target(value, protocol)?;
        return Some(RequestShape { method, target, ..RequestShape::default() });
    }
    let mut table = value.table("requests such as \"GET /\" or tables with `target`")?;
    let given =
        table.required("target", "target = \"GET /\"").and_then(|value| target(&value, protocol));
    let weight = table.number("weight", 1, 1..=1_000_000);
    let headers = table.get("headers").map(|value| headers(&value)).unwrap_or_default();
    let body_bytes = table.size("body_bytes", 0, 0..=BODY_BYTES_MAX);
    let message = message(&mut table, protocol);
    let keys = Keys {
        count: table.number("keys", 1, 1..=u32::MAX),
        hot_share: table.ratio("hot_share", 0.0),
    };
    let (method, target) = given?;
    keys_are_used(&mut table, &target, &headers);
    table.finish();
    let body =
        message.unwrap_or_else(|| vec![b'x'; usize::try_from(body_bytes).unwrap_or_default()]);
    Some(RequestShape { weight, method, target, headers, body: Arc::from(body), keys })
}

/// The message of gRPC, if one is given.
fn message(table: &mut Table<'_>, protocol: Protocol) -> Option<Vec<u8>> {
    if protocol != Protocol::Grpc {
        meaningless(table, &["message"], "no gRPC");
    }
    if table.has("message") {
        meaningless(table, &["body_bytes"], "message");
    }
    let value = table.get("message")?;
    let text = value.text()?;
    match message_bytes(text) {
        Ok(bytes) if u64::try_from(bytes.len()).is_ok_and(|length| length <= BODY_BYTES_MAX) => {
            Some(bytes)
        }
        Ok(_) => {
            let message = "the message is longer than 64KiB".to_owned();
            value.invalid("out-of-range", message, "send a shorter one");
            None
        }
        Err(why) => {
            let message = format!("{} is no message: {why}", quote(text));
            value.invalid("invalid-message", message, "write \"hex:0a05\" or \"base64:CgU=\"");
            None
        }
    }
}

/// The bytes of a message that is written as `hex:...` or `base64:...`; blanks do not count.
///
/// # Errors
/// What is wrong with it, in words that follow a colon.
pub fn message_bytes(text: &str) -> Result<Vec<u8>, String> {
    let (encoding, digits) = match text.split_once(':') {
        Some(("hex", digits)) => (&HEXLOWER_PERMISSIVE, digits),
        Some(("base64", digits)) => (&BASE64, digits),
        Some(_) | None => return Err("it begins with neither hex: nor base64:".to_owned()),
    };
    let digits: String = digits.split_ascii_whitespace().collect();
    encoding.decode(digits.as_bytes()).map_err(|error| error.to_string())
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

/// `/path` for GET, or for POST in gRPC; or `METHOD /path`.
fn target(value: &Value<'_>, protocol: Protocol) -> Option<(Name, Name)> {
    let text = value.text()?;
    let usual = if protocol == Protocol::Grpc { "POST" } else { "GET" };
    let (method, target) = text.split_once(' ').unwrap_or((usual, text));
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
