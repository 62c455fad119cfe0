//! Every server but one takes no requests.

use super::{Example, Report, Rule, Seen, Subject, active, distinct};
use crate::Severity;
use crate::finding::quote;
use model::configuration::{Pool, ServerAddress};

pub(super) static RULE: Rule = Rule {
    name: "one-active-server",
    number: Some(2),
    severity: Severity::Error,
    summary: "every server of a pool but one has weight 0 or is drained",
    rationale: "\
The pool looks redundant and is not: one server gets every request, and nothing takes over \
when it is lost. Three of five outages this project began with were changes that left one \
server. A pool of two of which one is drained is left alone: that is how a pool of two is \
updated. So is a name that is the only active one: it may stand for several servers.",
    bad: Example::native(
        "\
[pools.api]
servers = [
  \"10.0.0.1:80\",
  { address = \"10.0.0.2:80\", weight = 0 },
  { address = \"10.0.0.3:80\", weight = 0 },
]
check = { path = \"/health\" }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.3:80\"]
check = { path = \"/health\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        let active = active(pool);
        let [(_, only)] = active.as_slice() else { continue };
        let is_one = matches!(only.address, ServerAddress::Socket(_));
        let count = distinct(pool).len();
        if count < 2 || !is_one || is_update_of_two(pool) {
            continue;
        }
        let message = format!(
            "server {} gets 100 % of the requests of pool {}",
            quote(&only.address.to_string()),
            quote(&pool.name)
        );
        let found = subject.found(&RULE, &["pools", &pool.name, "servers"], message);
        report.add(
            found
                .label("every other one has weight 0 or is drained")
                .help("give more servers a weight, or remove those that are gone"),
        );
    }
}

fn is_update_of_two(pool: &Pool) -> bool {
    pool.servers.len() == 2 && pool.servers.iter().any(|server| server.drain && server.weight > 0)
}
