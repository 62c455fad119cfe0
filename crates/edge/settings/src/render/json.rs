//! Findings as JSON, for scripts.

use serde_json::{Value, json};

use super::file_name;
use crate::Source;
use crate::finding::Finding;

/// Findings as an array of objects with `rule`, `severity`, `message`, `file`, `line`, `column`,
/// `start`, `end` (bytes), `label`, `help` and `related`.
#[must_use]
pub fn render_json(findings: &[Finding], sources: &[Source]) -> Value {
    let object = |finding: &Finding| {
        json!({
            "rule": finding.rule,
            "severity": finding.severity.as_str(),
            "message": finding.message,
            "file": file_name(finding, sources),
            "line": finding.line,
            "column": finding.column,
            "start": finding.span.start,
            "end": finding.span.end,
            "label": finding.label,
            "help": finding.help,
            "related": finding.related.as_ref().map(|related| json!({
                "start": related.span.start,
                "end": related.span.end,
                "label": related.label,
            })),
        })
    };
    Value::Array(findings.iter().map(object).collect())
}
