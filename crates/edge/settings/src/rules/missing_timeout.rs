//! A wait that nothing ends.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "missing-timeout",
    number: Some(19),
    severity: Severity::Error,
    summary: "a timeout that is infinite unless it is written is not written",
    rationale: "\
Without `timeout connect`, `timeout client` or `timeout server` HAProxy waits for ever: \
every server that hangs holds its connections until the limit is reached and the door is \
full. In this door every timeout but `total` has a default that ends it.",
    bad: Example::haproxy(
        "\
defaults
    mode http
    timeout client 30s
    timeout server 30s
",
    ),
    good: Example::haproxy(
        "\
defaults
    mode http
    timeout connect 3s
    timeout client 30s
    timeout server 30s
",
    ),
    seen: Seen::Import,
};
