//! Whatever the text: an answer, never a panic, and places that are inside the text.

use std::path::Path;

use proptest::prelude::*;
use settings::Severity;

use crate::{check, source};

/// Checks a text and renders what is found; the answer must be consistent.
fn survives(text: &str) {
    let checked = check(text);
    let mut place_before = (0, 0);
    for finding in &checked.findings {
        assert!(text.get(finding.span.clone()).is_some(), "{finding:?} is outside {text:?}");
        assert!(!finding.message.is_empty());
        let place = (finding.line, finding.column);
        assert!(place_before <= place, "{finding:?} is out of order");
        place_before = place;
    }
    let refused = checked.findings.iter().any(|finding| finding.severity == Severity::Error);
    assert_eq!(checked.configuration.is_none(), refused);
    let source = source(text, Path::new("/"));
    let rendered = settings::render_text(&checked.findings, std::slice::from_ref(&source), false);
    assert_eq!(rendered.is_empty(), checked.findings.is_empty());
}

/// Pieces from which texts come out that are almost configurations.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "[listen.a]\n",
        "[pools.a]\n",
        "[routes.a]\n",
        "[[routes]]\n",
        "[door]\n",
        "[admin]\n",
        "[telemetry]\n",
        "[admission]\n",
        "[clients.a]\n",
        "[limits.a]\n",
        "key = ",
        "by = ",
        "rate = ",
        "burst = ",
        "routes = ",
        "\"50/s\"",
        "address = ",
        "servers = ",
        "path = ",
        "pool = ",
        "host = ",
        "tls = ",
        "check = ",
        "balance = ",
        "headers = ",
        "methods = ",
        "limits = ",
        "timeouts = ",
        "access_log = ",
        "redirect = ",
        "respond = ",
        "socket = ",
        "a.b.c = ",
        "head = ",
        "total = ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "=",
        "\n",
        "\"",
        "'''",
        "\\",
        "#",
        "\"a\"",
        "\"/{a}/{*b}\"",
        "\"127.0.0.1:80\"",
        "\"1s\"",
        "\"16KiB\"",
        "true",
        "1",
        "-1",
        "1e9",
        "0x7f",
        "nan",
        "1979-05-27",
        "\u{1b}",
        "ä",
        "\r\n",
        "\t",
        "\0",
        "\u{feff}",
    ];
    prop_oneof![
        4 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text(text: String) {
        survives(&text);
    }

    #[test]
    fn almost_a_configuration(pieces in prop::collection::vec(piece(), 0..60)) {
        survives(&pieces.concat());
    }

    #[test]
    fn a_configuration_with_one_change(
        position in 0..EXAMPLE.len(),
        length in 0..8_usize,
        piece in piece(),
    ) {
        let start = EXAMPLE.floor_char_boundary(position);
        let end = EXAMPLE.ceil_char_boundary((position + length).min(EXAMPLE.len()));
        let mut text = EXAMPLE.to_owned();
        text.replace_range(start..end, &piece);
        survives(&text);
    }
}

const EXAMPLE: &str = include_str!("example.toml");

#[test]
fn the_example_is_sound() {
    assert_eq!(crate::lines(&check(EXAMPLE)), Vec::<String>::new());
}

#[test]
fn deep_nesting() {
    for (open, close) in [("[", "]"), ("{ a = ", "}")] {
        survives(&format!("x = {}{}", open.repeat(50_000), close.repeat(50_000)));
    }
    survives(&"a.".repeat(50_000));
    survives(&format!("[{}a]", "a.".repeat(50_000)));
}
