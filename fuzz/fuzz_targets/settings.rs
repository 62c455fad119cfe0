//! Any text as a configuration: never a panic, the same answer twice, a configuration exactly when
//! no finding is an error, and findings that point into the text and are fit for a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use settings::{Environment, Severity, Source};

fuzz_target!(|text: &str| {
    // No file of this machine is part of the input.
    let source = Source {
        name: "fuzz.toml".to_owned(),
        text: text.to_owned(),
        folder: "/nonexistent".into(),
    };
    let environment = Environment {
        open_files_max: 1_024,
        processors: 2,
        user_is_root: false,
        uid: 1_000,
        runtime_dir: None,
        state_directory: None,
        state_home: None,
        now_unix_s: 0,
    };
    let checked = settings::check(&source, &environment);
    let refused = checked.findings.iter().any(|finding| finding.severity == Severity::Error);
    assert!(checked.configuration.is_none() || !refused, "a configuration with errors");
    assert!(checked.configuration.is_some() || refused, "no configuration, and no reason");
    for finding in &checked.findings {
        let spans = [Some(&finding.span), finding.related.as_ref().map(|related| &related.span)];
        for span in spans.into_iter().flatten() {
            assert!(
                text.get(span.clone()).is_some(),
                "{}: {span:?} is not in the text",
                finding.rule
            );
        }
        assert!(finding.line >= 1 && finding.column >= 1);
        assert!(
            !finding.message.chars().any(char::is_control),
            "{}: {:?}",
            finding.rule,
            finding.message
        );
    }
    let again = settings::check(&source, &environment);
    assert_eq!(again.findings, checked.findings, "the same text, other findings");
    assert_eq!(again.configuration.is_some(), checked.configuration.is_some());
    let _rendered: String = settings::render_text(&checked.findings, std::slice::from_ref(&source), false);
});
