//! What the server is asked is not what the client asked.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "path-rewritten",
    number: Some(39),
    severity: Severity::Warning,
    summary: "the path is changed on its way: normalised, decoded or cut",
    rationale: "\
`proxy_pass` with a path replaces the matched part by it and sends the decoded, normalised \
path: `%2F` becomes `/`, and a missing slash glues two names together (`/apiv1`). Rules \
about paths then see another path than the server does. This door forwards the canonical \
path that it matched, undecoded.",
    bad: Example::nginx(
        "\
location /api {
    proxy_pass http://api/;
}
",
    ),
    good: Example::nginx(
        "\
location /api {
    proxy_pass http://api;
}
",
    ),
    seen: Seen::Import,
};
