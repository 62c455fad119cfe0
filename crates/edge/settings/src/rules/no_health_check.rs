//! A pool that learns of a dead server from failed requests.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "no-health-check",
    number: Some(13),
    severity: Severity::Error,
    summary: "a pool has no health check",
    rationale: "\
Without a check only failing requests of clients show that a server is down, and only they \
find out that it is back.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in subject.configuration.pools.iter().filter(|pool| pool.check.is_none()) {
        let message = format!("pool {} has no health check", quote(&pool.name));
        let found = subject.found(&RULE, &["pools", &pool.name, "check"], message);
        report.add(
            found
                .label("a server that is down is found by failed requests only")
                .help("add `check = { path = \"/health\" }`"),
        );
    }
}
