//! The configuration reference in Markdown, written from the schema.
//!
//! One heading for each table, one row for each key, in the order of the schema. What is missing
//! here is missing in the schema, and so in the editor too.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::schema::schema;

/// The configuration reference as Markdown: every key, type, default and description.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(INTRODUCTION);
    let schema = schema();
    for (key, section) in properties(&schema) {
        match named_entry(section) {
            Some(entry) => table(&mut text, &format!("{key}.NAME"), section, entry),
            None => table(&mut text, key, section, section),
        }
    }
    text
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

/// The tables a value may be: itself, one of several forms, or the elements of an array.
pub(crate) fn tables(schema: &Value) -> Vec<&Value> {
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
    text.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (key, property) in properties(schema) {
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
    }
    for (key, property) in properties(schema) {
        for inner in tables(property) {
            table(text, &format!("{path}.{key}"), property, inner);
        }
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
        _ => {}
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(only) = schema.get("const") {
        return format!("`{only}`");
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
