//! A limit per client that counts the proxy in front.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "limit-on-proxy",
    number: Some(29),
    severity: Severity::Error,
    summary: "connections are limited per address where another proxy is in front",
    rationale: "\
`connections_per_address` counts the address that connects. Behind a proxy that is the \
proxy, for all clients together: the limit of one client becomes the limit of everybody. \
That a proxy is in front is what `trusted_proxies` says.",
    bad: Example::native(
        "\
[listen.web]
address = \"0.0.0.0:8080\"
trusted_proxies = [\"10.0.0.0/8\"]
limits = { connections = 100, connections_per_address = 10 }
",
    ),
    good: Example::native(
        "\
[listen.web]
address = \"0.0.0.0:8080\"
trusted_proxies = [\"10.0.0.0/8\"]
limits = { connections = 100 }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for listener in &subject.configuration.listeners {
        let limits = &listener.limits;
        let is_limited = limits.connections_per_address_max < limits.connections_max;
        if listener.trusted_proxies.is_empty() || !is_limited {
            continue;
        }
        let path = ["listen", &listener.name, "limits", "connections_per_address"];
        let message =
            format!("listener {} limits its proxies, not their clients", quote(&listener.name));
        let found = subject.found(&RULE, &path, message);
        let proxies = subject.place(&["listen", &listener.name, "trusted_proxies"]);
        report.add(
            found
                .label("all clients of a proxy share this")
                .related(proxies.span, "these connect, for many clients")
                .help("remove it, and limit clients at the proxy in front"),
        );
    }
}
