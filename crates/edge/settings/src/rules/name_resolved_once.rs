//! A server that moves is never found again.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "name-resolved-once",
    number: Some(38),
    severity: Severity::Warning,
    summary: "a server is named, and its name is resolved only when the process starts",
    rationale: "\
nginx and HAProxy look a name up when they start. When the server gets another address, as \
in any cloud, requests go on to the old one until somebody reloads. This door resolves names \
again while it runs, by their time to live.",
    bad: Example::nginx(
        "\
upstream api {
    server api.internal:80;
    server 10.0.0.2:80;
}
",
    ),
    good: Example::nginx(
        "\
upstream api {
    zone api 64k;
    server api.internal:80 resolve;
    server 10.0.0.2:80;
}
",
    ),
    seen: Seen::Import,
};
