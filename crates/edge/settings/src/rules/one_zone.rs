//! A pool whose servers are all in one zone.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "one-zone",
    number: Some(11),
    severity: Severity::Warning,
    summary: "every server of a pool names the same zone",
    rationale: "\
Zones are named because they fail one by one: a whole pool in one of them goes with it. \
Where no zone is written nothing is known, and nothing is said.",
    bad: Example::native(
        "\
[pools.api]
servers = [
  { address = \"10.0.0.1:80\", zone = \"a\" },
  { address = \"10.0.0.2:80\", zone = \"a\" },
]
check = { path = \"/health\" }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [
  { address = \"10.0.0.1:80\", zone = \"a\" },
  { address = \"10.0.0.2:80\", zone = \"b\" },
]
check = { path = \"/health\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        let [first, others @ ..] = pool.servers.as_slice() else { continue };
        let Some(zone) = &first.zone else { continue };
        if others.is_empty() || others.iter().any(|server| server.zone.as_ref() != Some(zone)) {
            continue;
        }
        let message =
            format!("all servers of pool {} are in zone {}", quote(&pool.name), quote(zone));
        let found = subject.found(&RULE, &["pools", &pool.name, "servers"], message);
        report.add(found.label("one zone").help("add a server in another zone"));
    }
}
