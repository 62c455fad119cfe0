//! A client is known by a certificate that nobody asks for.

use model::configuration::Identity;

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "unasked-certificate",
    number: None,
    severity: Severity::Error,
    summary: "a client is known by its certificate, but no listener asks for certificates",
    rationale: "\
The client is then never recognized: its limits and its class do not hold, and its requests \
count among those of unknown clients.",
    bad: Example::native(
        "\
[clients.partner]
key = { certificate = \"partner.example\" }
",
    ),
    good: Example::native(
        "\
[listen.web]
address = \"0.0.0.0:8443\"
tls = { certificates = [{ certificate = \"a.pem\", key = \"a.key\" }], clients = { roots = \"a.pem\" } }
[clients.partner]
key = { certificate = \"partner.example\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let listeners = &subject.configuration.listeners;
    let asks = |tls: &model::configuration::ListenerTls| tls.clients.is_some();
    if listeners.iter().any(|listener| listener.tls.as_ref().is_some_and(asks)) {
        return;
    }
    for client in &subject.configuration.clients {
        let is_shown = |identity: &Identity| match identity {
            Identity::Certificate(_) => true,
            Identity::Header { .. } | Identity::Jwt { .. } | Identity::Network(_) => false,
        };
        if !client.identities.iter().any(is_shown) {
            continue;
        }
        let message = format!(
            "client {} is known by its certificate, but no listener asks for one",
            quote(&client.name)
        );
        report.add(
            subject
                .found(&RULE, &["clients", &client.name], message)
                .label("it is never recognized")
                .help("add `clients = { roots = \"clients.pem\" }` to the listener's `tls`"),
        );
    }
}
