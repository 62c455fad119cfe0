//! Mistakes of TOML itself, next to mistakes in what could be read.

use crate::{check, lines};

const SOUND: &str = "[listen.a]\naddress = \"127.0.0.1:1\"\n[routes.a]\nrespond = {}\n";

fn finds(body: &str, expected: &[&str]) {
    let checked = check(&format!("{body}\n{SOUND}"));
    assert_eq!(lines(&checked), expected, "{body}");
    assert!(checked.configuration.is_none());
}

#[test]
fn several_at_once_and_with_others() {
    let body = "[door]\nworkers = four\ndrain = \"1x\"\n[telemetry]\naccess_log = = 1";
    finds(
        body,
        &[
            "error[syntax] 2:11 invalid boolean, expected `false` (not valid TOML)",
            "error[invalid-unit] 3:9 `1x` is not a duration (an unknown unit) help: write it like \"250ms\", \"1s\" or \"1m30s\"",
            "error[syntax] 5:14 extra `=`, expected nothing (not valid TOML)",
        ],
    );
}

#[test]
fn duplicates() {
    finds(
        "[door]\nworkers = 1\nworkers = 2\n[door]\ndrain = \"1s\"",
        &[
            "error[duplicate-key] 3:1 this key or table is given twice (given again here)",
            "error[duplicate-key] 4:2 this key or table is given twice (given again here)",
        ],
    );
}

#[test]
fn unclosed() {
    finds(
        "[door\nworkers = 1",
        &["error[syntax] 1:6 unclosed table, expected `]` (not valid TOML)"],
    );
    finds(
        "[door]\ndrain = \"1s",
        &["error[syntax] 2:12 invalid basic string, expected `\"` (not valid TOML)"],
    );
    let help = "help: is a bracket above not closed?";
    finds(
        "[telemetry]\naccess_log = { stdout = true",
        &[&format!(
            "error[syntax] 3:1 missing key for inline table element, expected `,` (not valid TOML) {help}"
        )],
    );
    finds(
        "[pools.a]\nservers = [\n'a:1'\n'b:1'\n",
        &[&format!(
            "error[syntax] 4:1 missing comma between array elements, expected `,` (not valid TOML) {help}"
        )],
    );
}

#[test]
fn on_neighbouring_lines() {
    finds(
        "[door]\ndrain = 1s\nworkers",
        &[
            "error[syntax] 2:9 string values must be quoted, expected literal string (not valid TOML)",
            "error[syntax] 3:8 key with no value, expected `=` (not valid TOML)",
        ],
    );
}
