//! A pool that cannot carry its peak once a server is lost.

use super::{Example, Report, Rule, Seen, Subject, active};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "no-spare-capacity",
    number: Some(12),
    severity: Severity::Error,
    summary: "what is left of a pool after the loss of one server is less than its peak",
    rationale: "\
Redundancy that cannot carry the traffic is none: the second server falls after the first. \
Judged only where both numbers are known: `capacity`, measured by `tidegate load capacity`, \
and `peak`. The lower end of the measured band counts, each server is taken to carry its \
weight's part, and the heaviest is the one that is lost.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
capacity = \"capacity.json\" # 1000 requests/s
peak = \"800/s\"
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
capacity = \"capacity.json\" # 1000 requests/s
peak = \"400/s\"
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        let (Some(capacity), Some(peak)) = (&pool.capacity, pool.peak_per_second) else { continue };
        let weights = || active(pool).into_iter().map(|(_, server)| f64::from(server.weight));
        let total: f64 = weights().sum();
        let heaviest = weights().fold(0.0, f64::max);
        // Without an active server, and with one only, other rules have spoken.
        if weights().count() < 2 {
            continue;
        }
        let left = capacity.low_per_second * (total - heaviest) / total;
        if left >= peak {
            continue;
        }
        let message = format!(
            "pool {} carries {left:.0} requests/s after the loss of a server, and its peak is {peak:.0}",
            quote(&pool.name)
        );
        let found = subject.found(&RULE, &["pools", &pool.name, "peak"], message);
        report.add(
            found
                .label("more than what is left")
                .help(format!("add servers: all together carry {:.0}/s", capacity.low_per_second)),
        );
    }
}
