//! Findings as SARIF 2.1.0, which GitHub's code scanning and editors read.
//!
//! Columns count characters (`unicodeCodePoints`), as findings do. Every rule is described, found
//! or not; what is no rule is described by its name alone.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};

use super::{clean, line_starts, message};
use crate::Source;
use crate::finding::{Finding, Severity};
use crate::rules::{Rule, rules};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// Bytes of a span that are walked to find its end: a longer one ends there.
const SPAN_BYTES_MAX: usize = 4_096;

/// A document with one run.
#[must_use]
pub fn render_sarif(findings: &[Finding], sources: &[Source]) -> Value {
    let mut descriptors: Vec<Value> = rules().iter().map(|rule| descriptor(rule)).collect();
    let mut indexes: BTreeMap<&str, usize> =
        rules().iter().enumerate().map(|(index, rule)| (rule.name, index)).collect();
    for finding in findings {
        indexes.entry(finding.rule).or_insert_with(|| {
            descriptors.push(json!({ "id": finding.rule }));
            descriptors.len() - 1
        });
    }
    let lines: Vec<Vec<usize>> = sources.iter().map(|source| line_starts(&source.text)).collect();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let mut result = json!({
                "ruleId": finding.rule,
                "ruleIndex": indexes.get(finding.rule),
                "level": level(finding.severity),
                "message": { "text": message(finding) },
            });
            let Some(source) = sources.get(finding.file) else { return result };
            let start = (finding.line, finding.column);
            let main = location(finding.file, source, start, &finding.span);
            result["locations"] = json!([main]);
            if let (Some(related), Some(lines)) = (&finding.related, lines.get(finding.file)) {
                let start = place(&source.text, lines, related.span.start);
                let mut other = location(finding.file, source, start, &related.span);
                other["message"] = json!({ "text": related.label });
                result["relatedLocations"] = json!([other]);
            }
            result
        })
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "tidegate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": descriptors,
            }},
            "columnKind": "unicodeCodePoints",
            "artifacts": sources
                .iter()
                .map(|source| json!({ "location": { "uri": uri(&source.name) } }))
                .collect::<Vec<_>>(),
            "results": results,
        }],
    })
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.name,
        "shortDescription": { "text": format!("{}.", rule.summary) },
        "fullDescription": { "text": rule.rationale },
        "help": { "text": crate::rules::explain(rule.name).unwrap_or_default() },
        "defaultConfiguration": { "level": level(rule.severity) },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn location(file: usize, source: &Source, start: (usize, usize), span: &Range<usize>) -> Value {
    let end = source.text.floor_char_boundary(span.end.min(span.start + SPAN_BYTES_MAX));
    let inside = source.text.get(span.start..end).unwrap_or_default();
    let (end_line, end_column) = inside.chars().fold(start, |(line, column), character| {
        if character == '\n' { (line + 1, 1) } else { (line, column + 1) }
    });
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(&source.name), "index": file },
            "region": {
                "startLine": start.0,
                "startColumn": start.1,
                "endLine": end_line,
                "endColumn": end_column,
            },
        },
    })
}

/// Line and column, from 1, of a place in the text.
fn place(text: &str, lines: &[usize], position: usize) -> (usize, usize) {
    let line = lines.partition_point(|start| *start <= position);
    let start = line.checked_sub(1).and_then(|index| lines.get(index)).copied().unwrap_or(0);
    let before = text.get(start..position).unwrap_or_default();
    (line.max(1), before.chars().count() + 1)
}

/// A path as a URI reference (RFC 3986): relative ones stay so, which code scanning wants.
fn uri(name: &str) -> String {
    let name = clean(name);
    let path = name.strip_prefix("./").unwrap_or(&name);
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}
