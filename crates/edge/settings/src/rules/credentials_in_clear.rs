//! Passwords or tokens that cross a network as they are.

use model::configuration::{Authentication, Listener, ListenerProtocol};

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "credentials-in-clear",
    number: None,
    severity: Severity::Warning,
    summary: "a route asks for passwords or tokens on a listener without TLS",
    rationale: "\
Both are sent with every request, and whoever reads one on its way can use it until it ends; \
RFC 6750 forbids it for tokens. A listener on a loopback address is let through, and one with \
`trusted_proxies`, whose clients may speak TLS to the proxy in front of it.",
    bad: Example::native(
        "\
[routes.staff]
pool = \"api\"
basic_auth = { users = { alice = \"$2y$10$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW\" } }
",
    ),
    good: Example::native(
        "\
[listen.secure]
address = \"0.0.0.0:8443\"
tls = { certificates = [{ certificate = \"a.pem\", key = \"a.key\" }] }

[routes.staff]
pool = \"api\"
basic_auth = { users = { alice = \"$2y$10$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW\" } }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for route in &subject.configuration.routes {
        let key = match &route.treatment.authentication {
            Some(Authentication::Basic(_)) => "basic_auth",
            Some(Authentication::Jwt(_)) => "jwt_auth",
            // What is sent to the other server is not known here.
            Some(Authentication::Forward(_)) | None => continue,
        };
        let serves = |listener: &&Listener| {
            route.listeners.is_empty() || route.listeners.contains(&listener.name)
        };
        let mut listeners = subject.configuration.listeners.iter().filter(serves);
        let Some(listener) = listeners.find(|listener| is_open(listener)) else { continue };
        let message = format!(
            "route {} asks for {} on listener {}, which has no TLS",
            quote(&route.name),
            if key == "basic_auth" { "passwords" } else { "tokens" },
            quote(&listener.name)
        );
        let found = subject.found(&RULE, &["routes", &route.name, key], message);
        report.add(found.label("sent as they are").help(
            "give the listener `tls`, or serve the route with `listen` on others and redirect here",
        ));
    }
}

/// Whether others than this machine send requests there, as they are.
fn is_open(listener: &Listener) -> bool {
    matches!(listener.protocol, ListenerProtocol::Http { .. })
        && listener.tls.is_none()
        && listener.trusted_proxies.is_empty()
        && !listener.address.ip().to_canonical().is_loopback()
}
