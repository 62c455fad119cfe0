//! No server takes requests at all.

use super::{Example, Report, Rule, Seen, Subject, active};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "no-active-server",
    number: Some(2),
    severity: Severity::Error,
    summary: "every server of a pool has weight 0 or is drained",
    rationale: "\
Every request of the pool is answered 503. Where a pool is to be out of service for a while, \
a route with `respond` says so to clients, which an empty pool does not.",
    bad: Example::native(
        "\
[pools.api]
servers = [
  { address = \"10.0.0.1:80\", weight = 0 },
  { address = \"10.0.0.2:80\", drain = true },
]
check = { path = \"/health\" }
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
    for pool in subject.configuration.pools.iter().filter(|pool| active(pool).is_empty()) {
        let message = format!("no server of pool {} takes requests", quote(&pool.name));
        let found = subject.found(&RULE, &["pools", &pool.name, "servers"], message);
        report.add(
            found
                .label("every one has weight 0 or is drained")
                .help("give at least one server a weight and do not drain it"),
        );
    }
}
