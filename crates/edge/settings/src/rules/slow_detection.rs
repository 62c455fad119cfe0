//! A dead server that goes unnoticed for too long.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use crate::units::show_duration;
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "slow-detection",
    number: Some(16),
    severity: Severity::Warning,
    summary: "the health check takes longer than 30 s to find a dead server",
    rationale: "\
From its death to the last failure in a row a server gets requests: `fall` intervals and a \
timeout. With 99.9 % promised, a month may hold 43 minutes of failure in all; at half a \
minute each, the third of the traffic that went to one of three servers spends a week's part \
in some sixty updates or crashes. Ejection is faster, but only where requests fail outright.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\", interval = \"30s\", fall = 3 }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\", interval = \"2s\", fall = 3 }
",
    ),
    seen: Seen::By(check),
};

/// The longest time to find a dead server that is not worth a word.
const DETECTION_MAX: Duration = Duration::from_secs(30);

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        let Some(check) = &pool.check else { continue };
        let detection = check.interval.saturating_mul(check.fall).saturating_add(check.timeout);
        if detection <= DETECTION_MAX {
            continue;
        }
        let message = format!(
            "a dead server of pool {} is found after up to {}",
            quote(&pool.name),
            show_duration(detection)
        );
        let found = subject.found(&RULE, &["pools", &pool.name, "check"], message);
        report.add(
            found
                .label(format!("{} failures, {} apart", check.fall, show_duration(check.interval)))
                .help("lower `interval` or `fall`"),
        );
    }
}
