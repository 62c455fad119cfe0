//! A hash that moves nearly all keys when one server comes or goes.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "inconsistent-hash",
    number: Some(7),
    severity: Severity::Warning,
    summary: "the hash is not consistent: a change of the pool moves nearly every key",
    rationale: "\
With the remainder of a division as the choice, a pool that grows from n to n + 1 servers \
keeps one key in n + 1: nine of ten keys move when the tenth server comes, and every cache \
and session behind them is cold at once. A consistent hash moves one in n + 1. This door \
only has a consistent one.",
    bad: Example::nginx(
        "\
upstream api {
    hash $request_uri;
    server 10.0.0.1:80;
    server 10.0.0.2:80;
}
",
    ),
    good: Example::nginx(
        "\
upstream api {
    hash $request_uri consistent;
    server 10.0.0.1:80;
    server 10.0.0.2:80;
}
",
    ),
    seen: Seen::Import,
};
