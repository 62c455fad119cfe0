//! A list of who may enter, and a door that lets in everyone.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "allow-without-deny",
    number: Some(42),
    severity: Severity::Error,
    summary: "addresses are allowed, and nobody is denied",
    rationale: "\
`allow` alone restricts nothing: who is on no list is let in. Behind the list must stand \
`deny all`. This door has no lists of addresses.",
    bad: Example::nginx(
        "\
location /status {
    allow 10.0.0.0/8;
    proxy_pass http://api;
}
",
    ),
    good: Example::nginx(
        "\
location /status {
    allow 10.0.0.0/8;
    deny all;
    proxy_pass http://api;
}
",
    ),
    seen: Seen::Import,
};
