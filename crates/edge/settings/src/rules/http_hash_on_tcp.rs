//! A hash of something that a TCP pool never sees.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "http-hash-on-tcp",
    number: Some(5),
    severity: Severity::Error,
    summary: "a pool of plain TCP hashes a part of HTTP requests",
    rationale: "\
A proxy of plain TCP reads no URL, no header and no cookie. The key is then the same for all \
connections, and they all go to one server; or the algorithm silently becomes another one. \
In this door's own configuration it is the mistake `wrong-protocol`.",
    bad: Example::haproxy(
        "\
backend api
    mode tcp
    balance hdr(X-User)
    server a 10.0.0.1:80 check
    server b 10.0.0.2:80 check
",
    ),
    good: Example::haproxy(
        "\
backend api
    mode tcp
    balance source
    hash-type consistent
    server a 10.0.0.1:80 check
    server b 10.0.0.2:80 check
",
    ),
    seen: Seen::Import,
};
