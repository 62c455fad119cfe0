//! A pattern whose time grows without bound with what a client sends.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "catastrophic-regex",
    number: Some(37),
    severity: Severity::Error,
    summary: "a regular expression takes exponential or polynomial time on some path",
    rationale: "\
Nested repetition, as in `(a+)+`, lets an engine that backtracks try every way to split the \
text: one long path of a client then holds a processor for seconds (Cloudflare, 2 July \
2019). The expressions of this door's own `path_regex` cannot do that: they take time in proportion \
to the path, whatever their form, and their size is bounded.",
    bad: Example::nginx(
        "\
location ~ ^/(([a-z0-9]+)+)+$ {
    proxy_pass http://api;
}
",
    ),
    good: Example::nginx(
        "\
location ~ ^/[a-z0-9]+$ {
    proxy_pass http://api;
}
",
    ),
    seen: Seen::Import,
};
