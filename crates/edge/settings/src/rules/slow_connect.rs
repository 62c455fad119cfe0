//! Connecting may take most of the time there is.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use crate::units::show_duration;

pub(super) static RULE: Rule = Rule {
    name: "slow-connect",
    number: Some(25),
    severity: Severity::Warning,
    summary: "the connect timeout is above a third of the total timeout",
    rationale: "\
A server that does not answer the handshake holds a request for the whole connect timeout. \
If that is most of the total, no time is left to try another server and wait for its answer. \
Within one network a connection takes milliseconds. Only what was written is reported.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
timeouts = { connect = \"5s\", total = \"10s\" }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
timeouts = { connect = \"1s\", total = \"10s\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        let path = ["pools", &pool.name, "timeouts", "connect"];
        let Some(total) = pool.timeouts.total else { continue };
        let connect = pool.timeouts.connect;
        // More than the total is an inverted timeout, which is worse.
        let is_slow = connect.saturating_mul(3) > total && connect <= total;
        if !is_slow || subject.written(&path).is_none() {
            continue;
        }
        let message = format!(
            "connecting to pool {} may take {} of {} in all",
            quote(&pool.name),
            show_duration(connect),
            show_duration(total)
        );
        let found = subject.found(&RULE, &path, message);
        report
            .add(found.label("more than a third").help("lower it: connecting takes milliseconds"));
    }
}
