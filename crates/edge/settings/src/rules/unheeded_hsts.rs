//! Browsers are told to use TLS where there is none.

use model::configuration::{Listener, ListenerProtocol, Route};

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

const FIELD: &str = "strict-transport-security";

pub(super) static RULE: Rule = Rule {
    name: "unheeded-hsts",
    number: None,
    severity: Severity::Warning,
    summary: "`strict-transport-security` is sent where no listener has TLS",
    rationale: "\
Browsers heed it only over TLS (RFC 6797, section 8.1), so it protects nobody. A listener with \
`trusted_proxies` is let pass: TLS may end before it.",
    bad: Example::native(
        "\
[routes.all]
pool = \"api\"
response_headers = { set = { strict-transport-security = \"max-age=31536000\" } }
",
    ),
    good: Example::native(
        "\
[listen.web]
address = \"0.0.0.0:8443\"
tls = { certificates = [{ certificate = \"a.pem\", key = \"a.key\" }] }
[routes.all]
pool = \"api\"
response_headers = { set = { strict-transport-security = \"max-age=31536000\" } }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for route in &subject.configuration.routes {
        let rules = &route.treatment.response_headers;
        let Some(kind) = [("set", &rules.set), ("add", &rules.add)]
            .into_iter()
            .find(|(_, fields)| fields.iter().any(|(name, _)| **name == *FIELD))
            .map(|(kind, _)| kind)
        else {
            continue;
        };
        let listeners = &subject.configuration.listeners;
        let secured =
            |listener: &Listener| listener.tls.is_some() || !listener.trusted_proxies.is_empty();
        if listeners.iter().any(|listener| serves(listener, route) && secured(listener)) {
            continue;
        }
        let message = format!(
            "no listener of route {} has TLS, so browsers do not heed this",
            quote(&route.name)
        );
        let path = ["routes", &*route.name, "response_headers", kind, FIELD];
        report.add(
            subject
                .found(&RULE, &path, message)
                .label("heeded over TLS only")
                .help("add `tls` to the listener, or name who ends TLS in `trusted_proxies`"),
        );
    }
}

fn serves(listener: &Listener, route: &Route) -> bool {
    let speaks_http = matches!(listener.protocol, ListenerProtocol::Http { .. });
    speaks_http && (route.listeners.is_empty() || route.listeners.contains(&listener.name))
}
