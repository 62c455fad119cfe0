//! Retries that nothing holds back.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use model::configuration::Retries;

pub(super) static RULE: Rule = Rule {
    name: "unbudgeted-retries",
    number: Some(22),
    severity: Severity::Warning,
    summary: "retries have no budget",
    rationale: "\
When servers fail because they are overloaded, every retry adds to the load. A budget, a \
share of the requests, keeps retries from becoming a second wave. A budget of 1, or a \
thousand retries a second that are always allowed, is none.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
retries = { attempts = 2, budget = 1.0 }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
retries = { attempts = 2, budget = 0.1 }
",
    ),
    seen: Seen::By(check),
};

/// One retry for every request.
const BUDGET_NONE: f64 = 1.0;
/// Retries per second that are always allowed: as many are beyond what a small service gets.
const FLOOR_NONE: u32 = 1_000;

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        if pool.retries.attempts_max < 2 || has_budget(&pool.retries) {
            continue;
        }
        let key =
            if pool.retries.budget >= BUDGET_NONE { "budget" } else { "budget_min_per_second" };
        let message = format!("nothing limits the retries of pool {}", quote(&pool.name));
        let found = subject.found(&RULE, &["pools", &pool.name, "retries", key], message);
        report.add(found.label("no limit").help("leave it out: the default is a tenth"));
    }
}

/// Whether anything but the number of attempts limits retries.
pub(super) fn has_budget(retries: &Retries) -> bool {
    retries.budget < BUDGET_NONE && retries.budget_min_per_second < FLOOR_NONE
}
