//! One server twice is no second server.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use model::configuration::ServerAddress;
use std::collections::HashMap;

pub(super) static RULE: Rule = Rule {
    name: "duplicate-server",
    number: Some(11),
    severity: Severity::Warning,
    summary: "a server is listed twice in one pool",
    rationale: "\
The door has each address once: the second entry adds no redundancy, and its weight does not \
count. It is mostly a slip of the hand where another address was meant.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.2:80\"]
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
        let mut seen: HashMap<&ServerAddress, usize> = HashMap::new();
        for (index, server) in pool.servers.iter().enumerate() {
            let Some(first) = seen.get(&server.address) else {
                seen.insert(&server.address, index);
                continue;
            };
            let path = |index: usize| {
                ["pools", &pool.name, "servers", &index.to_string()].map(str::to_owned)
            };
            let first = path(*first);
            let first = subject.place(&first.each_ref().map(String::as_str));
            let again = path(index);
            let message = format!("server {} is listed twice", quote(&server.address.to_string()));
            let found = subject.found(&RULE, &again.each_ref().map(String::as_str), message);
            report.add(
                found
                    .label("the same address again")
                    .related(first.span, "first listed here")
                    .help("give it a `weight` if it is to take more traffic"),
            );
        }
    }
}
