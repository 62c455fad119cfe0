//! A reload that begins its turns anew sends a burst to whoever is first.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "state-losing-reload",
    number: Some(4),
    severity: Severity::Warning,
    summary: "a reload makes every process begin its turns at the first server",
    rationale: "\
Round robin and its kin remember whose turn it is; a new process does not. With many \
processes or frequent reloads the first servers of the list get more than their part, and \
after each reload a burst (HAProxy #1282). Name a random start, or an algorithm that looks \
at load. This door keeps its state over a reload, so only an imported configuration can \
break the rule.",
    bad: Example::haproxy(
        "\
backend api
    balance roundrobin
    server a 10.0.0.1:80 check
    server b 10.0.0.2:80 check
",
    ),
    good: Example::haproxy(
        "\
backend api
    balance random(2)
    server a 10.0.0.1:80 check
    server b 10.0.0.2:80 check
",
    ),
    seen: Seen::Import,
};
