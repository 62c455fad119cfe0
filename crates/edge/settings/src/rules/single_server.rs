//! A pool that does not survive the loss of a server.

use super::{Example, Report, Rule, Seen, Subject, distinct};
use crate::Severity;
use crate::finding::quote;
use model::configuration::ServerAddress;

pub(super) static RULE: Rule = Rule {
    name: "single-server",
    number: Some(10),
    severity: Severity::Error,
    summary: "a pool has one server",
    rationale: "\
Its loss, or its update, is an outage. Where one server is all there is, `[[allow]]` says so \
and why. A name is left alone: it may stand for several servers.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\"]
check = { path = \"/health\" }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        // One without weight is no server at all, which is another rule's.
        let servers = distinct(pool);
        let [(_, server)] = servers.as_slice() else { continue };
        let takes_requests = server.weight > 0 && !server.drain;
        if !takes_requests || !matches!(server.address, ServerAddress::Socket(_)) {
            continue;
        }
        let message = format!(
            "server {} gets 100 % of the requests of pool {}: there is no other",
            quote(&server.address.to_string()),
            quote(&pool.name)
        );
        let found = subject.found(&RULE, &["pools", &pool.name, "servers"], message);
        report.add(found.label("only one server").help(
            "add a second server, or say with `[[allow]] rule = \"single-server\"` why there is one",
        ));
    }
}
