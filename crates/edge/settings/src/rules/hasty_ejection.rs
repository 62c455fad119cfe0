//! One failed request takes a large part of a small pool away.

use super::{Example, Report, Rule, Seen, Subject, active};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "hasty-ejection",
    number: Some(17),
    severity: Severity::Warning,
    summary: "one failure sets a server of a small pool aside",
    rationale: "\
A single failure is mostly about the request or the network, not about the server. In a pool \
of two or three it takes away half or a third of what can serve, and puts that load on the \
others. Larger pools can spare a server for a moment.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.3:80\"]
check = { path = \"/health\" }
ejection = { failures = 1 }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.3:80\"]
check = { path = \"/health\" }
ejection = { failures = 5 }
",
    ),
    seen: Seen::By(check),
};

/// Pools of so many servers are small.
const SMALL_MAX: usize = 3;

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        let count = active(pool).len();
        if !(2..=SMALL_MAX).contains(&count) {
            continue;
        }
        let is_checked_hastily = pool.check.as_ref().is_some_and(|check| check.fall == 1);
        let hasty = [
            ("ejection", "failures", "failed request", pool.ejection.failures == 1),
            ("check", "fall", "failed check", is_checked_hastily),
        ];
        for (table, key, what, is_hasty) in hasty {
            if !is_hasty {
                continue;
            }
            let message = format!(
                "one {what} takes one of {count} servers out of pool {}",
                quote(&pool.name)
            );
            let found = subject.found(&RULE, &["pools", &pool.name, table, key], message);
            report.add(
                found.label("at the first failure").help(format!("write `{key} = 3` or more")),
            );
        }
    }
}
