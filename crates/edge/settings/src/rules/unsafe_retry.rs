//! A request that must not happen twice is sent twice.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "unsafe-retry",
    number: Some(23),
    severity: Severity::Error,
    summary: "requests that are not idempotent are tried again",
    rationale: "\
A POST whose answer is lost may have been carried out. Sent again it orders, pays or posts \
twice. This door sends such a request again only when the server surely never began with it.",
    bad: Example::nginx(
        "\
location / {
    proxy_pass http://api;
    proxy_next_upstream error timeout non_idempotent;
}
",
    ),
    good: Example::nginx(
        "\
location / {
    proxy_pass http://api;
    proxy_next_upstream error timeout;
}
",
    ),
    seen: Seen::Import,
};
