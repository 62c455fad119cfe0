//! Several servers on one machine are lost together.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use model::configuration::{Pool, ServerAddress};
use std::collections::BTreeSet;

pub(super) static RULE: Rule = Rule {
    name: "one-host",
    number: Some(11),
    severity: Severity::Warning,
    summary: "all servers of a pool are on one host",
    rationale: "\
They share its power, its kernel and its network card, so the pool is as redundant as one \
server. Addresses of this machine itself (127.0.0.1) are left out: the door is lost with \
them, whatever their number. So is a name that is alone: it may stand for several hosts.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:8001\", \"10.0.0.1:8002\"]
check = { path = \"/health\" }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:8001\", \"10.0.0.2:8001\"]
check = { path = \"/health\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        let Some(host) = only_host(pool) else { continue };
        let message = format!("all servers of pool {} are on {}", quote(&pool.name), quote(&host));
        let found = subject.found(&RULE, &["pools", &pool.name, "servers"], message);
        report.add(found.label("one host").help("add a server on another host"));
    }
}

/// The one host of several different servers.
fn only_host(pool: &Pool) -> Option<String> {
    let mut hosts = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for server in &pool.servers {
        let ServerAddress::Socket(address) = &server.address else { return None };
        if address.ip().is_loopback() {
            return None;
        }
        hosts.insert(address.ip());
        ports.insert(address.port());
    }
    let [host] = hosts.into_iter().collect::<Vec<_>>()[..] else { return None };
    // The same address twice is another rule's.
    (ports.len() > 1).then(|| host.to_string())
}
