//! Findings as people and machines see them.

use crate::{check, source};
use std::path::Path;

fn text(text: &str, color: bool) -> String {
    settings::render_text(&check(text).findings, &source(text, Path::new("/")), color)
}

#[test]
fn as_rustc_does() {
    let rendered = text(
        "[listen.a]\naddress = \"127.0.0.1:80\"\n\n[listen.b]\naddress = \"127.0.0.1:80\"\n\n[routes.a]\nrespnd = {}\n",
        false,
    );
    let expected = "\
error[duplicate-address]: 127.0.0.1:80 is listened on twice
 --> tidegate.toml:5:11
  |
5 | address = \"127.0.0.1:80\"
  |           ^^^^^^^^^^^^^^ the same address again
  |
 ::: tidegate.toml:2:11
  |
2 | address = \"127.0.0.1:80\"
  |           -------------- first used by `a`
  |
  = help: give each listener its own address or port

error[route-action]: route `a` does nothing
 --> tidegate.toml:7:1
  |
7 | [routes.a]
  | ^^^^^^^^^^ 0 of `pool`, `redirect` and `respond`
  |
  = help: give exactly one of `pool`, `redirect` and `respond`

error[unknown-key]: unknown key `respnd` in `a`
 --> tidegate.toml:8:1
  |
8 | respnd = {}
  | ^^^^^^ not known here
  |
  = help: did you mean `respond`?
";
    assert_eq!(rendered, expected);
}

#[test]
fn as_json() {
    let text = "[listen.a]\naddress = \"127.0.0.1:80\"\n[routes.a]\nrespond = { statsu = 1 }\n";
    let json = settings::render_json(&check(text).findings, &source(text, Path::new("/")));
    let expected = serde_json::json!([{
        "rule": "unknown-key",
        "severity": "error",
        "message": "unknown key `statsu` in `respond`",
        "file": "tidegate.toml",
        "line": 4,
        "column": 13,
        "start": 59,
        "end": 65,
        "label": "not known here",
        "help": "did you mean `status`?",
        "related": null,
    }]);
    assert_eq!(json, expected);
}

#[test]
fn nothing_of_the_text_reaches_the_terminal_raw() {
    let hostile = "\u{1b}[31m\u{9b}32m\u{202e}\u{7f}\u{8}\r";
    for text in [
        format!("[door]\nworkers = '{hostile}'\n"),
        format!("# {hostile}\n[door] x{hostile}\n"),
        format!("[\"{hostile}\"]\n"),
        format!("[routes.a]\nhost = '''{hostile}'''\npool = \"\\u001b[31m\"\n"),
        format!("{hostile}\n"),
    ] {
        let checked = check(&text);
        assert!(!checked.findings.is_empty());
        let source = source(&text, Path::new("/"));
        let plain = settings::render_text(&checked.findings, &source, false);
        let json = settings::render_json(&checked.findings, &source).to_string();
        for character in plain.chars().chain(json.chars()) {
            let is_safe = character == '\n'
                || !(character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character));
            assert!(is_safe, "{character:?} in {plain:?} or {json:?}");
        }
    }
}

#[test]
fn colors_are_asked_for() {
    assert!(!text("x = 1", false).contains('\u{1b}'));
    assert!(text("x = 1", true).contains('\u{1b}'));
}

#[test]
fn a_long_line_is_cut_around_the_finding() {
    let long = format!("# {}\nx = [{}]\n", "x".repeat(10_000), "1, ".repeat(3_000));
    let rendered = text(&format!("{}y = 1 # {}\n", long, "z".repeat(10_000)), false);
    assert!(rendered.contains("--> tidegate.toml:3:1"), "{rendered}");
    assert!(rendered.len() < 4_000, "{}", rendered.len());
    let far = format!("door = {{ {}workers = 0 }}\n", " ".repeat(5_000));
    let rendered = text(&far, false);
    assert!(rendered.contains("--> tidegate.toml:1:5020"), "{rendered}");
}
