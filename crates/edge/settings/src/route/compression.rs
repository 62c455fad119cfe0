//! Reads `compress` of a route: by which codings its responses are compressed, and which of them.

use std::ops::RangeInclusive;

use model::Name;
use model::configuration::{Coding, Compression};

use crate::finding::quote;
use crate::pool::{TOKEN_HELP, is_token};
use crate::reader::Value;

/// What is offered, by the names that clients use.
const CODINGS: [(&str, Coding); 3] =
    [("zstd", Coding::Zstd), ("br", Coding::Brotli), ("gzip", Coding::Gzip)];

/// From fastest to smallest.
const LEVELS: RangeInclusive<u8> = 1..=9;
const LEVEL: u8 = 4;

/// Below a kilobyte, a packet is not full anyway.
const BYTES_MIN: u64 = 1 << 10;
const BYTES_MIN_RANGE: RangeInclusive<u64> = 0..=1 << 30;

/// Media types, at most.
const TYPES_MAX: usize = 256;

/// What is text, or like it. Pictures, sound, video, archives and most fonts are compressed as
/// they are.
const TYPES: [&str; 18] = [
    "text/*",
    "application/atom+xml",
    "application/geo+json",
    "application/graphql-response+json",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/problem+json",
    "application/rss+xml",
    "application/vnd.api+json",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/xhtml+xml",
    "application/xml",
    "font/ttf",
    "image/svg+xml",
];

/// Reads `compress`: a table, `true` for its defaults, or `false`.
pub(super) fn compression(value: &Value<'_>) -> Option<Compression> {
    if let Some(on) = value.as_boolean() {
        return on.then(|| Compression {
            codings: CODINGS.map(|(_, coding)| coding).to_vec(),
            level: LEVEL,
            bytes_min: BYTES_MIN,
            types: types_by_default(),
        });
    }
    let mut table = value.table("`true`, or a table")?;
    let codings = table.get("codings").map(|value| codings(&value));
    let level = table.number("level", LEVEL, LEVELS);
    let bytes_min = table.size("min", BYTES_MIN, BYTES_MIN_RANGE);
    let types = table.get("types").map(|value| types(&value));
    table.finish();
    Some(Compression {
        codings: codings.unwrap_or_else(|| CODINGS.map(|(_, coding)| coding).to_vec()),
        level,
        bytes_min,
        types: types.unwrap_or_else(types_by_default),
    })
}

fn types_by_default() -> Vec<Name> {
    TYPES.iter().map(|text| Name::from(*text)).collect()
}

fn codings(value: &Value<'_>) -> Vec<Coding> {
    let mut codings = Vec::new();
    for element in listed(value, "write `compress = false` to compress nothing") {
        let Some(coding) = element.choice(&CODINGS) else { continue };
        if !codings.contains(&coding) {
            codings.push(coding);
        }
    }
    codings
}

fn types(value: &Value<'_>) -> Vec<Name> {
    let elements = listed(value, "leave it out to mean the usual types of text");
    if elements.len() > TYPES_MAX {
        let message = format!("more than {TYPES_MAX} media types");
        value.invalid("too-many", message, "use one such as \"text/*\" for several");
    }
    let mut types = Vec::new();
    for element in elements {
        let Some(text) = element.text() else { continue };
        match media_type(text) {
            Ok(kind) if types.contains(&kind) => {}
            Ok(kind) => types.push(kind),
            Err(help) => {
                let message = format!("{} is not a media type", quote(text));
                element.invalid("invalid-media-type", message, help);
            }
        }
    }
    types
}

/// A type in lower case, or what is wrong with it.
fn media_type(text: &str) -> Result<Name, &'static str> {
    if text.contains(';') {
        return Err("leave out the parameters: they are not compared");
    }
    let Some((kind, subtype)) = text.split_once('/') else {
        return Err("write it like \"application/json\", or \"text/*\" for all of `text`");
    };
    if kind == "*" {
        return Err("list the types that get smaller: pictures and videos only cost time");
    }
    if !is_token(kind) || kind.contains('*') || !is_token(subtype) {
        return Err(TOKEN_HELP);
    }
    if subtype != "*" && subtype.contains('*') {
        return Err("a `*` stands for all that follows the slash");
    }
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("application/grpc") {
        return Err("the messages of a call are compressed by gRPC itself");
    }
    Ok(Name::from(lower))
}

/// The elements of an array that must not be empty.
fn listed<'a>(value: &Value<'a>, help: &'static str) -> Vec<Value<'a>> {
    let Some(elements) = value.as_array() else {
        value.wrong_type("an array of strings");
        return Vec::new();
    };
    if elements.is_empty() {
        let message = format!("{} must not be empty", quote(value.name));
        value.invalid("empty-list", message, help);
    }
    elements
}
