//! The schema, the reference and the reader say the same.
//!
//! The tests walk every table of the schema, write a configuration with it, and try each key.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use settings::Checked;

use crate::{PASSWORD_HASH, environment, folder_with_files, lines, source};

/// A table of the schema, and where it stands.
#[derive(Clone)]
struct Table<'s> {
    /// Such as `pools.NAME.servers`; empty for the whole document.
    path: String,
    schema: &'s Value,
    /// From the outermost table in: its path, the key in it, whether the value is an array.
    steps: Vec<(String, String, bool)>,
}

const HASH: &str = "'0000000000000000000000000000000000000000000000000000000000000000'";

/// Keys and values a table needs besides the `key` that is tried.
fn company(path: &str, key: &str) -> Vec<(&'static str, &'static str)> {
    let needed: &[(&str, &str)] = match path {
        "" => &[
            ("listen", "{ a = { address = '127.0.0.1:1' } }"),
            (
                "pools",
                "{ a = { servers = ['a:1'], check = 'tcp' }, t = { servers = ['b:1'], check = 'tcp' } }",
            ),
            ("routes", "{ a = { pool = 'a' } }"),
            ("admission", "{ shared = { url = 'redis://127.0.0.1:6379' } }"),
        ],
        "listen.NAME" if ["pool", "sni"].contains(&key) => {
            &[("address", "'127.0.0.1:1'"), ("mode", "'tcp'")]
        }
        "listen.NAME" => &[("address", "'127.0.0.1:1'")],
        "listen.NAME.tls" => &[("certificates", "[{ certificate = 'a.pem', key = 'a.key' }]")],
        "listen.NAME.tls.certificates" | "pools.NAME.tls.certificate" => {
            &[("certificate", "'a.pem'"), ("key", "'a.key'")]
        }
        "listen.NAME.tls.clients" => &[("roots", "'a.pem'")],
        "listen.NAME.tls.acme" => &[("hosts", "['a.example.com']")],
        "pools.NAME" => &[("servers", "['a:1', 'b:1']")],
        "pools.NAME.servers" => &[("address", "'a:1'")],
        "pools.NAME.balance" => &[("maglev", "'path'")],
        "pools.NAME.check" => &[("path", "'/'")],
        "routes.NAME" if ["redirect", "respond"].contains(&key) => &[],
        "routes.NAME" if key == "replace_path" => {
            &[("pool", "'a'"), ("path_regex", "'^/api/(.*)'")]
        }
        "routes.NAME" => &[("pool", "'a'")],
        "routes.NAME.path" => &[("exact", "'/'")],
        "routes.NAME.cors" => &[("origins", "'*'")],
        "routes.NAME.basic_auth" if key == "users" => &[],
        "routes.NAME.basic_auth" => &[("users_file", "'users'")],
        "routes.NAME.jwt_auth" if ["public_key_file", "jwks_file"].contains(&key) => &[],
        "routes.NAME.jwt_auth" => &[("secret_file", "'secret'")],
        "routes.NAME.forward_auth" => &[("pool", "'a'")],
        "admission.flow" | "limits.NAME.by" => &[("header", "'x-tenant'")],
        "admission.shared" => &[("url", "'redis://127.0.0.1:6379'")],
        "clients.NAME" if key == "keys" => &[],
        "clients.NAME" => &[("key", "{ network = '10.0.0.0/8' }"), ("rate", "'50/s'")],
        "clients.NAME.key" | "clients.NAME.keys" => match key {
            "header" | "sha256" => &[("header", "'x-api-key'"), ("sha256", HASH)],
            "value" => &[("header", "'x-api-key'")],
            "jwt_claim" | "secret_file" => {
                &[("jwt_claim", "'sub'"), ("value", "'a'"), ("secret_file", "'secret'")]
            }
            "public_key_file" => &[("jwt_claim", "'sub'"), ("value", "'a'")],
            "network" | "certificate" => &[],
            _ => &[("network", "'10.0.0.0/8'")],
        },
        "limits.NAME" => &[("by", "'all'"), ("rate", "'50/s'")],
        "allow" => &[("rule", "'single-server'"), ("reason", "'it is only a test'")],
        "routes.NAME.redirect" => &[("location", "'/'")],
        "admin" if key != "socket" => &[("address", "'127.0.0.1:2'"), ("token_file", "'token'")],
        "telemetry.access_log" => &[("file", "'access.log'")],
        _ => &[],
    };
    needed.iter().filter(|(other, _)| *other != key).copied().collect()
}

/// The pairs of a table: `key` with `value`, if any, and the company it needs.
fn pairs(path: &str, pair: Option<(&str, &str)>, separator: &str) -> String {
    let (key, _) = pair.unwrap_or_default();
    let pairs = company(path, key).into_iter().chain(pair);
    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key} = {value}")).collect();
    pairs.join(separator)
}

/// A document with this pair in this table.
fn document(table: &Table<'_>, pair: Option<(&str, &str)>) -> String {
    if table.path.is_empty() {
        return pairs("", pair, "\n");
    }
    let mut value = format!("{{ {} }}", pairs(&table.path, pair, ", "));
    for (outer, key, in_array) in table.steps.iter().rev() {
        let element = if *in_array { format!("[{value}]") } else { value };
        value = format!("{{ {} }}", pairs(outer, Some((key, &element)), ", "));
    }
    let (section, named) = table.path.split_once('.').unwrap_or((&table.path, ""));
    let value = match (section, named.starts_with("NAME")) {
        ("allow", _) => format!("[{value}]"),
        (_, true) => format!("{{ a = {value} }}"),
        (_, false) => value,
    };
    pairs("", Some((section, &value)), "\n")
}

/// The tables a value may be: itself, one of several forms, or the elements of an array.
fn forms(schema: &Value, in_array: bool) -> Vec<(&Value, bool)> {
    if schema.get("properties").is_some() {
        return vec![(schema, in_array)];
    }
    let choices = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    choices
        .flat_map(|form| forms(form, in_array))
        .chain(schema.get("items").into_iter().flat_map(|items| forms(items, true)))
        .collect()
}

/// Every table of the schema.
fn tables(schema: &Value) -> Vec<Table<'_>> {
    let mut found = vec![Table { path: String::new(), schema, steps: vec![] }];
    for (section, value) in properties(schema) {
        let entry = value.get("additionalProperties").filter(|entry| entry.is_object());
        let name = if entry.is_some() { ".NAME" } else { "" };
        let path = format!("{section}{name}");
        let element = value.get("items");
        found.push(Table { path, schema: entry.or(element).unwrap_or(value), steps: vec![] });
    }
    let mut next = 1;
    while let Some(table) = found.get(next).cloned() {
        for (key, property) in properties(table.schema) {
            for (schema, in_array) in forms(property, false) {
                let step = (table.path.clone(), key.clone(), in_array);
                let steps = table.steps.iter().cloned().chain([step]).collect();
                found.push(Table { path: format!("{}.{key}", table.path), schema, steps });
            }
        }
        next += 1;
    }
    found
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().expect("a table").iter()
}

/// Whether a text can be read. That rules refuse it does not matter here.
fn is_read(checked: &Checked) -> bool {
    checked.configuration.is_some() || checked.overridable.is_some()
}

fn check(text: &str, folder: &Path) -> Checked {
    let state_directory = Some("/state".into());
    let environment = settings::Environment { state_directory, ..environment() };
    settings::check(&source(text, folder), &environment)
}

/// A value of this schema, as TOML.
fn sample(path: &str, schema: &Value) -> String {
    match path {
        "listen.NAME.pool" => return "'t'".to_owned(),
        "listen.NAME.sni" => return "{ 'a.example.com' = 't' }".to_owned(),
        "listen.NAME.address" => return "'127.0.0.1:1'".to_owned(),
        "routes.NAME.listen" => return "'a'".to_owned(),
        "pools.NAME.servers.address" => return "'a:1'".to_owned(),
        "clients.NAME.routes" | "limits.NAME.routes" => return "['a']".to_owned(),
        "clients.NAME.key.sha256" | "clients.NAME.keys.sha256" => return HASH.to_owned(),
        "clients.NAME.key.secret_file" | "clients.NAME.keys.secret_file" => {
            return "'secret'".to_owned();
        }
        "clients.NAME.key.public_key_file" | "clients.NAME.keys.public_key_file" => {
            return "'public.pem'".to_owned();
        }
        "routes.NAME.jwt_auth.public_key_file" => return "'public.pem'".to_owned(),
        "routes.NAME.jwt_auth.jwks_file" => return "'jwks.json'".to_owned(),
        "routes.NAME.basic_auth.users" => return format!("{{ a = '{PASSWORD_HASH}' }}"),
        "listen.NAME.tls.clients.revocation" => return "['a.pem']".to_owned(),
        "pools.NAME.capacity" => return "'capacity.json'".to_owned(),
        "pools.NAME.tls.roots"
        | "listen.NAME.tls.certificates.ocsp"
        | "listen.NAME.tls.acme.roots"
        | "listen.NAME.tls.clients.roots" => return "'a.pem'".to_owned(),
        "pools.NAME.check.path" | "routes.NAME.replace_prefix" => return "'/'".to_owned(),
        "listen.NAME.tls" => {
            return "{ certificates = [{ certificate = 'a.pem', key = 'a.key' }] }".to_owned();
        }
        _ => {}
    }
    let needed = company(path.rsplit_once('.').map_or("", |(table, _)| table), "");
    let key = path.rsplit('.').next().expect("a key");
    if let Some((_, value)) = needed.iter().find(|(other, _)| *other == key) {
        return (*value).to_owned();
    }
    if let Some(value) = schema.get("default").or_else(|| schema["examples"].get(0)) {
        return toml(value);
    }
    if schema["format"] == "size-with-unit" {
        return "'1KiB'".to_owned();
    }
    if let Some(first) = schema.get("anyOf").and_then(|forms| forms.get(0)) {
        return sample(path, first);
    }
    if let Some(first) = schema.get("enum").and_then(|words| words.get(0)) {
        return toml(first);
    }
    if let Some(only) = schema.get("const") {
        return toml(only);
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (_, Some("duration-with-unit")) => "'60s'".to_owned(),
        (Some("object"), _) => {
            let inner = company(path, "");
            let inner: Vec<String> =
                inner.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            format!("{{ {} }}", inner.join(", "))
        }
        (Some("array"), _) => format!("[{}]", sample(path, &schema["items"])),
        (Some("integer"), _) => schema["minimum"].as_u64().unwrap_or(1).to_string(),
        (Some("boolean"), _) => "true".to_owned(),
        (Some("string"), _) => "'a'".to_owned(),
        other => panic!("no sample for {path}: {other:?}"),
    }
}

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

#[test]
fn the_walk_reaches_every_table() {
    let schema = settings::schema();
    let paths: Vec<String> = tables(&schema).into_iter().map(|table| table.path).collect();
    assert_eq!(
        paths,
        [
            "",
            "door",
            "listen.NAME",
            "pools.NAME",
            "routes.NAME",
            "admission",
            "clients.NAME",
            "limits.NAME",
            "admin",
            "telemetry",
            "invariants",
            "changes",
            "allow",
            "listen.NAME.http2",
            "listen.NAME.tls",
            "listen.NAME.limits",
            "listen.NAME.timeouts",
            "pools.NAME.servers",
            "pools.NAME.balance",
            "pools.NAME.check",
            "pools.NAME.tls",
            "pools.NAME.timeouts",
            "pools.NAME.retries",
            "pools.NAME.ejection",
            "routes.NAME.path",
            "routes.NAME.redirect",
            "routes.NAME.respond",
            "routes.NAME.request_headers",
            "routes.NAME.response_headers",
            "routes.NAME.compress",
            "routes.NAME.cors",
            "routes.NAME.basic_auth",
            "routes.NAME.jwt_auth",
            "routes.NAME.forward_auth",
            "admission.flow",
            "admission.shared",
            "clients.NAME.key",
            "clients.NAME.keys",
            "limits.NAME.by",
            "telemetry.access_log",
            "listen.NAME.tls.certificates",
            "listen.NAME.tls.acme",
            "listen.NAME.tls.clients",
            "pools.NAME.balance.maglev",
            "pools.NAME.tls.certificate",
        ]
    );
}

#[test]
fn every_key_of_the_schema_is_accepted() {
    let folder = folder_with_files();
    let schema = settings::schema();
    let mut count = 0;
    for table in tables(&schema) {
        for (key, property) in properties(table.schema) {
            let path = format!("{}.{key}", table.path);
            let value = sample(path.trim_start_matches('.'), property);
            let text = document(&table, Some((key, &value)));
            let checked = check(&text, folder.path());
            assert!(is_read(&checked), "{path}\n{text}\n{:#?}", lines(&checked));
            count += 1;
        }
    }
    assert!(count > 90, "only {count} keys were tried");
}

#[test]
fn every_other_key_is_refused_and_the_reader_knows_the_same_keys() {
    let folder = folder_with_files();
    let schema = settings::schema();
    for table in tables(&schema) {
        let text = document(&table, Some(("frobnicate-it", "1")));
        let checked = check(&text, folder.path());
        let unknown: Vec<_> =
            checked.findings.iter().filter(|finding| finding.rule == "unknown-key").collect();
        let [finding] = unknown.as_slice() else { panic!("{text}\n{:#?}", lines(&checked)) };
        let help = finding.help.as_deref().expect("the known keys");
        // Every other word between backquotes is a key.
        let read: BTreeSet<&str> = help.split('`').skip(1).step_by(2).collect();
        let written: BTreeSet<&str> =
            properties(table.schema).map(|(key, _)| key.as_str()).collect();
        assert_eq!(read, written, "{}", table.path);
    }
}

#[test]
fn every_default_of_the_schema_is_the_readers() {
    let folder = folder_with_files();
    let schema = settings::schema();
    let mut count = 0;
    for table in tables(&schema) {
        for (key, property) in properties(table.schema) {
            let Some(default) = property.get("default") else { continue };
            let default = toml(default);
            let read = |pair| {
                let text = document(&table, pair);
                let checked = check(&text, folder.path());
                let read = checked.configuration.or(checked.overridable);
                let mut configuration = read.unwrap_or_else(|| panic!("{text}"));
                configuration.version = "".into();
                configuration
            };
            let written = read(Some((key, &default)));
            assert_eq!(written, read(None), "{}.{key}", table.path);
            count += 1;
        }
    }
    assert!(count > 40, "only {count} defaults were tried");
}

/// What must be run when one of the next two tests fails.
const GENERATE: &str = "run `cargo run -p settings --example generate`";

#[test]
fn the_reference_is_up_to_date() {
    let file = include_str!("../../../../../docs/reference/configuration.md");
    assert!(file == settings::reference(), "{GENERATE}");
}

#[test]
fn the_schema_file_is_up_to_date() {
    let file = include_str!("../../../../../docs/reference/schema.json");
    let schema = serde_json::to_string_pretty(&settings::schema()).expect("plain JSON") + "\n";
    assert!(file == schema, "{GENERATE}");
}

#[test]
fn every_key_is_described() {
    let schema = settings::schema();
    for table in tables(&schema) {
        for (key, property) in properties(table.schema) {
            let description = property["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty(), "{}.{key}", table.path);
        }
    }
}
