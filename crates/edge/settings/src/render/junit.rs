//! Findings as a JUnit report, which GitLab and others show as tests.
//!
//! A file is a suite. An error is a failed test; a warning is one that passed, with its text as
//! output, because JUnit knows no warnings; a file without findings is one test that passed, so
//! that it is seen to be checked.

use std::fmt::Write as _;

use super::{clean, message};
use crate::Source;
use crate::finding::{Finding, Severity};

/// A whole XML document.
#[must_use]
pub fn render_junit(findings: &[Finding], sources: &[Source]) -> String {
    let mut suites = String::new();
    let (mut tests, mut failures) = (0, 0);
    for (index, source) in sources.iter().enumerate() {
        let own: Vec<&Finding> = findings.iter().filter(|finding| finding.file == index).collect();
        let failed = own.iter().filter(|finding| finding.severity == Severity::Error).count();
        let file = escape(&clean(&source.name));
        tests += own.len().max(1);
        failures += failed;
        write(
            &mut suites,
            format_args!(
                "  <testsuite name=\"{file}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\">\n",
                own.len().max(1)
            ),
        );
        if own.is_empty() {
            let case = "    <testcase name=\"no findings\"";
            write(&mut suites, format_args!("{case} classname=\"{file}\" file=\"{file}\"/>\n"));
        }
        for finding in own {
            case(&mut suites, finding, &file);
        }
        suites.push_str("  </testsuite>\n");
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tidegate check\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">\n{suites}</testsuites>\n"
    )
}

fn case(text: &mut String, finding: &Finding, file: &str) {
    let Finding { rule, line, column, .. } = finding;
    let summary = escape(&finding.message);
    let severity = finding.severity.as_str();
    let body = format!("{file}:{line}:{column}: {severity}\n{}", escape(&message(finding)));
    // A report keeps tests apart by their names, so the place is in it.
    let name = format!("{rule} at {line}:{column}: {summary}");
    write(
        text,
        format_args!(
            "    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\">\n"
        ),
    );
    match finding.severity {
        Severity::Error => write(
            text,
            format_args!("      <failure type=\"{rule}\" message=\"{summary}\">{body}</failure>\n"),
        ),
        Severity::Warning => write(text, format_args!("      <system-out>{body}</system-out>\n")),
    }
    text.push_str("    </testcase>\n");
}

fn write(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a String takes all text");
}

/// Text for an attribute or an element; what XML 1.0 cannot hold is replaced.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push(char::REPLACEMENT_CHARACTER),
            _ if character.is_control() && character != '\n' => {
                escaped.push(char::REPLACEMENT_CHARACTER);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}
