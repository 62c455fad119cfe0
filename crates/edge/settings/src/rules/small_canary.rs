//! A verdict on a change after a handful of requests.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "small-canary",
    number: Some(48),
    severity: Severity::Warning,
    summary: "the verdict on a canary needs fewer than 100 requests",
    rationale: "\
With few requests chance decides: of 20 requests, two failures are no evidence that one in a \
hundred fails, and none is no evidence that all is well. A hundred for each side is the \
least that shows a difference of a few percent.",
    bad: Example::native(
        "\
[changes]
requests_min = 10
",
    ),
    good: Example::native(
        "\
[changes]
requests_min = 300
",
    ),
    seen: Seen::By(check),
};

/// Requests of each side that a verdict needs at least.
const REQUESTS_MIN: u64 = 100;

fn check(subject: &Subject<'_>, report: &mut Report) {
    let requests_min = subject.configuration.changes.requests_min;
    if requests_min >= REQUESTS_MIN {
        return;
    }
    let message = format!("a canary is judged after {requests_min} requests");
    let found = subject.found(&RULE, &["changes", "requests_min"], message);
    report.add(found.label("chance decides").help(format!("write at least {REQUESTS_MIN}")));
}
