//! Findings as workflow commands of GitHub Actions, which become annotations in a pull request.
//!
//! The escapes are those of GitHub's own toolkit (`actions/toolkit`, `command.ts`): `%`, CR and LF
//! in the message; `:` and `,` too in a property. The end of a line would begin another command.

use super::{file_name, message};
use crate::Source;
use crate::finding::{Finding, Severity};

/// One line per finding: `::error file=tidegate.toml,line=5,col=11,title=RULE::MESSAGE`.
#[must_use]
pub fn render_github(findings: &[Finding], sources: &[Source]) -> String {
    findings.iter().map(|finding| annotation(finding, sources)).collect()
}

fn annotation(finding: &Finding, sources: &[Source]) -> String {
    let command = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    format!(
        "::{command} file={},line={},col={},title={}::{}\n",
        property(&file_name(finding, sources)),
        finding.line,
        finding.column,
        property(finding.rule),
        data(&message(finding)),
    )
}

fn data(text: &str) -> String {
    // The percent sign first: it begins what the others become.
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
