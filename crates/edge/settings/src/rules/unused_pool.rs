//! Servers that no request reaches.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "unused-pool",
    number: Some(36),
    severity: Severity::Warning,
    summary: "no route forwards to a pool",
    rationale: "\
Its servers are checked and get nothing. It is what a misspelt or forgotten route leaves \
behind; a pool that is prepared for later is harmless, so this is a warning. A pool whose \
only routes are never reached is found by `unreachable-route`.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }

[pools.old]
servers = [\"10.0.0.3:80\", \"10.0.0.4:80\"]
check = { path = \"/health\" }

[routes.all]
pool = \"api\"
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }

[pools.old]
servers = [\"10.0.0.3:80\", \"10.0.0.4:80\"]
check = { path = \"/health\" }

[routes.all]
pool = \"api\"

[routes.old]
path = \"/old\"
pool = \"old\"
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let used = subject.used_pools();
    for (pool, _) in subject.configuration.pools.iter().zip(used).filter(|(_, used)| !used) {
        let message = format!("pool {} is not used by any route", quote(&pool.name));
        let found = subject.found(&RULE, &["pools", &pool.name], message);
        report.add(
            found
                .label("never used")
                .help(format!("add a route with `pool = \"{}\"`, or remove it", pool.name)),
        );
    }
}
