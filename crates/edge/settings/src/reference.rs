//! The references of the configuration and of drills in Markdown, written from their schemas.
//!
//! One heading for each table, one row for each key, in the order of the schema. What is missing
//! here is missing in the schema, and so in the editor too.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::schema::schema;

/// The configuration reference as Markdown: every key, type, default and description.
#[must_use]
pub fn reference() -> String {
    page(INTRODUCTION, &schema())
}

/// The reference of a schema behind its introduction.
pub(crate) fn page(introduction: &str, schema: &Value) -> String {
    let mut text = introduction.to_owned();
    let plain: Vec<_> = properties(schema).filter(|(_, section)| !is_section(section)).collect();
    if !plain.is_empty() {
        text.push_str("\n## At the top\n\n");
        rows(&mut text, schema, plain.into_iter());
    }
    for (key, section) in properties(schema).filter(|(_, section)| is_section(section)) {
        match (named_entry(section), section.get("items")) {
            (Some(entry), _) => table(&mut text, &format!("{key}.NAME"), section, entry),
            (None, Some(element)) => table(&mut text, &format!("[{key}]"), section, element),
            (None, None) => table(&mut text, key, section, section),
        }
    }
    text
}

/// Whether this is a table or tables, and no plain key.
fn is_section(schema: &Value) -> bool {
    named_entry(schema).is_some()
        || schema.get(DESCRIBED_AT).is_some()
        || !tables(schema).is_empty()
}

const INTRODUCTION: &str = "\
# Configuration

Generated from the schema by `cargo run -p settings --example generate`; do not edit.

One TOML file. Durations are written like `\"250ms\"`, `\"1s\"` or `\"1m30s\"`, sizes like `\"16KiB\"` or
`\"1MB\"`; a plain integer is bytes. Paths of files are relative to the folder of the configuration.
NAME is yours: 1 to 64 letters, digits, `-`, `_` or `.`. Timeouts are from 10ms to 24h.
An unknown key is an error. Tables below the second level may be written inline.

```toml
[listen.web]
address = \"127.0.0.1:8080\"

[pools.api]
servers = [\"127.0.0.1:3001\", { address = \"127.0.0.1:3002\", weight = 2 }]
balance = \"p2c\"
check = { path = \"/health\", interval = \"1s\" }

[routes.api]
path = \"/\"
pool = \"api\"
```
";

/// The schema's properties, in order.
pub(crate) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// The schema of the entries, when the keys of a table are the user's.
pub(crate) fn named_entry(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|entry| entry.is_object())
}

/// Where the keys of a table are described that may stand in several places.
const DESCRIBED_AT: &str = "x-described-at";

/// The tables a value may be that are described where it stands: itself, one of several forms, or the elements of an array.
pub(crate) fn tables(schema: &Value) -> Vec<&Value> {
    if schema.get(DESCRIBED_AT).is_some() {
        return Vec::new();
    }
    if schema.get("properties").is_some() {
        return vec![schema];
    }
    let forms = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    forms.chain(schema.get("items")).flat_map(tables).collect()
}

fn table(text: &mut String, path: &str, section: &Value, schema: &Value) {
    let name = if path.contains('.') && !path.ends_with(".NAME") {
        format!("`{path}`")
    } else {
        format!("`[{path}]`")
    };
    let depth = if name.starts_with("`[") { "##" } else { "###" };
    write!(text, "\n{depth} {name}\n\n{}\n\n", string(section, "description"))
        .expect("a String takes all text");
    if let Some(place) = section.get(DESCRIBED_AT).and_then(Value::as_str) {
        writeln!(text, "Its keys are those of `{place}`.").expect("a String takes all text");
        return;
    }
    rows(text, schema, properties(schema));
    for (key, property) in properties(schema) {
        for inner in tables(property) {
            table(text, &format!("{}.{key}", path.trim_matches(['[', ']'])), property, inner);
        }
    }
}

/// One row for each of these keys of a table, and what their words mean where that is described.
fn rows<'v>(
    text: &mut String,
    schema: &'v Value,
    keys: impl Iterator<Item = (&'v String, &'v Value)>,
) {
    text.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
    let mut words = String::new();
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (key, property) in keys {
        let default = match property.get("default") {
            _ if required.contains(&key.as_str()) => "required".to_owned(),
            Some(value) => format!("`{value}`"),
            None => String::new(),
        };
        let mut meaning = cell(string(property, "description"));
        for example in property.get("examples").and_then(Value::as_array).into_iter().flatten() {
            write!(meaning, " Example: `{}`.", toml(example)).expect("a String takes all text");
        }
        let kind = cell(&kind(property));
        writeln!(text, "| `{key}` | {kind} | {default} | {meaning} |")
            .expect("a String takes all text");
        describe_words(&mut words, key, property);
    }
    text.push_str(&words);
}

/// The words a key may have, each with its meaning, if they have one.
fn describe_words(text: &mut String, key: &str, schema: &Value) {
    let words = schema.get("oneOf").and_then(Value::as_array);
    let Some(words) = words else { return };
    write!(text, "\n| `{key}` | meaning |\n| --- | --- |\n").expect("a String takes all text");
    for word in words {
        let meaning = cell(string(word, "description"));
        writeln!(text, "| {} | {meaning} |", kind(word)).expect("a String takes all text");
    }
}

fn string<'v>(schema: &'v Value, key: &str) -> &'v str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A pipe would end the cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The type of a value, in words.
fn kind(schema: &Value) -> String {
    match string(schema, "format") {
        "duration-with-unit" => return "duration".to_owned(),
        "size-with-unit" => return "size".to_owned(),
        "rate-with-unit" => return "rate".to_owned(),
        _ => {}
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(only) = schema.get("const") {
        return format!("`{only}`");
    }
    if schema.get("oneOf").is_some() {
        return "one of the words below".to_owned();
    }
    if let Some(forms) = schema.get("anyOf").and_then(Value::as_array) {
        return forms.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let name = string(schema, "type");
    match (name, schema.get("minimum"), schema.get("maximum")) {
        ("object", ..) => "table".to_owned(),
        ("array", ..) => {
            format!("array of {}", schema.get("items").map(kind).unwrap_or_default())
        }
        (_, Some(first), Some(last)) => format!("{name}, {first} to {last}"),
        (_, Some(first), None) => format!("{name}, from {first}"),
        _ => name.to_owned(),
    }
}

/// An example as it is written in TOML, which differs from JSON in its tables only.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
