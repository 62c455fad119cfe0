//! A limit per client that counts the proxy in front.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use model::configuration::{FlowKey, LimitKey};

pub(super) static RULE: Rule = Rule {
    name: "limit-on-proxy",
    number: Some(29),
    severity: Severity::Error,
    summary: "a limit per client counts the proxy in front, or what any client can write",
    rationale: "\
`connections_per_address` counts the address that connects. Behind a proxy that is the \
proxy, for all clients together: the limit of one client becomes the limit of everybody. \
That a proxy is in front is what `trusted_proxies` says. A rate limit by `address` counts the \
client that a trusted proxy names, and is right on both sides. A limit, or `admission.flow`, \
by a header such as `x-forwarded-for` is not: any client writes into it what it likes, and has \
a new limit with each request.",
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

/// Headers that are meant to say whose request it is, and that anybody can send.
const CLAIMED: [&str; 7] = [
    "cf-connecting-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-forwarded-for",
    "x-original-forwarded-for",
    "x-real-ip",
];

fn check(subject: &Subject<'_>, report: &mut Report) {
    claimed(subject, report);
    for listener in &subject.configuration.listeners {
        let limits = &listener.limits;
        let is_limited = limits.connections_per_address_max < limits.connections_max;
        // A proxy that says whose connection it is has each counted as that client's.
        let tells_clients = listener.proxy_protocol;
        if listener.trusted_proxies.is_empty() || tells_clients || !is_limited {
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

/// Reports limits by a header that clients can write at will.
fn claimed(subject: &Subject<'_>, report: &mut Report) {
    let configuration = subject.configuration;
    let limits = configuration.limits.iter().filter_map(|limit| match &limit.by {
        LimitKey::Header(header) => Some((vec!["limits", &*limit.name, "by"], header)),
        LimitKey::All | LimitKey::Client | LimitKey::Address | LimitKey::Route => None,
    });
    let flow = match &configuration.admission.flow {
        FlowKey::Header(header) => Some((vec!["admission", "flow"], header)),
        FlowKey::Address => None,
    };
    for (path, header) in flow.into_iter().chain(limits) {
        if !CLAIMED.contains(&&**header) {
            continue;
        }
        let message = format!("header {} is counted, and any client can write it", quote(header));
        let found = subject.found(&RULE, &path, message);
        report.add(
            found
                .label("a new value is a new client")
                .help("count by \"address\": it is the one that a trusted proxy names"),
        );
    }
}
