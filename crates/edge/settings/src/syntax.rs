//! Mistakes of TOML itself, joined with the mistakes in what could be read nevertheless.
//!
//! The parser recovers and goes on, so both kinds show at once. What a syntax error may have
//! caused (a key that seems missing, because its line could not be read) is left out: a finding
//! that vanishes when another is mended only wastes a person's time.

use std::collections::BTreeSet;

use crate::finding::{Finding, Findings, Severity, place, printable};

/// Rules that say something is absent: it may stand where the syntax error is.
const RULES_OF_ABSENCE: [&str; 10] = [
    "missing-key",
    "no-database",
    "no-listener",
    "no-route",
    "nothing-stale",
    "route-action",
    "unknown-listener",
    "unknown-pool",
    "unknown-server",
    "unknown-stream",
];

/// The parser's `errors`, and of the findings on the `structure` what they leave certain.
pub(crate) fn join(
    errors: &[toml::de::Error],
    structure: Vec<Finding>,
    text: &str,
) -> Vec<Finding> {
    if errors.is_empty() {
        return structure;
    }
    let syntax = Findings::default();
    for error in errors {
        syntax.add_error_with(|| finding(error, text.len()));
    }
    let mut syntax = syntax.finish(text);
    let lines: BTreeSet<usize> = syntax.iter().map(|finding| finding.line).collect();
    // Where one line has several, the later ones are the parser finding its way again.
    syntax.dedup_by_key(|finding| finding.line);
    // Behind a bracket that is not closed every line is wrong in this way: once is enough.
    syntax.dedup_by(|later, earlier| {
        is_in_brackets(&later.message) && is_in_brackets(&earlier.message)
    });
    let certain = |finding: &Finding| {
        finding.severity == Severity::Error
            // The parser puts a value without a place where it could not read one.
            && !finding.span.is_empty()
            && !RULES_OF_ABSENCE.contains(&finding.rule)
            && !lines.contains(&finding.line)
    };
    let mut findings: Vec<Finding> = structure.into_iter().filter(certain).chain(syntax).collect();
    place(&mut findings, text);
    findings
}

fn finding(error: &toml::de::Error, text_length: usize) -> Finding {
    let span = error.span().unwrap_or(text_length..text_length);
    let message = printable(error.message(), 200);
    if message == "duplicate key" {
        let message = "this key or table is given twice".to_owned();
        return Finding::error("duplicate-key", span, message).label("given again here");
    }
    let help = is_in_brackets(&message).then(|| "is a bracket above not closed?".to_owned());
    Finding::error("syntax", span, message).label("not valid TOML").help_maybe(help)
}

/// Whether the parser believed itself inside an array or inline table.
fn is_in_brackets(message: &str) -> bool {
    message.starts_with("missing comma between") || message.starts_with("missing key for inline")
}
