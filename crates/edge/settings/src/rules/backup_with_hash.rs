//! Backup servers that the algorithm ignores or refuses.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "backup-with-hash",
    number: Some(8),
    severity: Severity::Error,
    summary: "backup servers together with a hash algorithm",
    rationale: "\
nginx ignores `backup` under `hash`, `ip_hash` and `random`: the spare servers either take \
requests from the first moment or never, and both are found out in an outage. This door has \
no backup servers; a server of another zone takes over by itself.",
    bad: Example::nginx(
        "\
upstream api {
    ip_hash;
    server 10.0.0.1:80;
    server 10.0.0.2:80;
    server 10.0.0.3:80 backup;
}
",
    ),
    good: Example::nginx(
        "\
upstream api {
    ip_hash;
    server 10.0.0.1:80;
    server 10.0.0.2:80;
    server 10.0.0.3:80;
}
",
    ),
    seen: Seen::Import,
};
