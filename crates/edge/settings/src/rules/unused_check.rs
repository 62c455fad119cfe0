//! A health check that is described but never made.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "unused-check",
    number: Some(14),
    severity: Severity::Error,
    summary: "a health check is described, and no server is checked by it",
    rationale: "\
`option httpchk` describes how servers are checked; only servers with `check` are. The file \
looks as if dead servers were found, and they are not. In this door `check` stands in the \
pool and holds for all its servers.",
    bad: Example::haproxy(
        "\
backend api
    option httpchk GET /health
    server a 10.0.0.1:80
    server b 10.0.0.2:80
",
    ),
    good: Example::haproxy(
        "\
backend api
    option httpchk GET /health
    server a 10.0.0.1:80 check
    server b 10.0.0.2:80 check
",
    ),
    seen: Seen::Import,
};
