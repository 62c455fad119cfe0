//! The client says where the door connects to.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "client-chosen-upstream",
    number: Some(40),
    severity: Severity::Error,
    summary: "the server is chosen by what the client sends",
    rationale: "\
A `proxy_pass` built from the `Host` header, an argument or the path lets anybody send \
requests to any address the door can reach: the cloud's metadata, the admin pages, the \
neighbours. In this door a route names a pool, and a pool names its servers.",
    bad: Example::nginx(
        "\
location / {
    proxy_pass http://$http_host;
}
",
    ),
    good: Example::nginx(
        "\
location / {
    proxy_pass http://api;
}
",
    ),
    seen: Seen::Import,
};
