//! An outer timeout that ends before what it encloses could.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use crate::units::show_duration;
use model::configuration::{Action, Pool};
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "inverted-timeouts",
    number: Some(20),
    severity: Severity::Error,
    summary: "a timeout is shorter than what it encloses, attempts included",
    rationale: "\
The inner timeout then never ends anything: a request that could have gone to a second \
server is given up while the first is still waited for. Defaults are not held against \
anyone: they only mean that the total timeout comes first.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
timeouts = { total = \"30s\", first_byte = \"20s\" }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
timeouts = { total = \"40s\", first_byte = \"20s\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        if let Some(total) = pool.timeouts.total {
            let path = ["pools", &pool.name, "timeouts", "total"];
            judge(subject, report, (&path, total, pool));
        }
        pauses(subject, report, pool);
    }
    let mut judged = None;
    for route in &subject.configuration.routes {
        // A route with both kinds of host stands there twice.
        let is_new = judged != Some(&route.name);
        judged = Some(&route.name);
        let Action::Forward { pool, .. } = route.action else { continue };
        let pool = subject.configuration.pools.get(pool);
        if let (Some(total), Some(pool), true) = (route.total_timeout, pool, is_new) {
            judge(subject, report, (&["routes", &route.name, "total_timeout"], total, pool));
        }
    }
}

/// Reports a total timeout that ends before a written one inside it could.
fn judge(
    subject: &Subject<'_>,
    report: &mut Report,
    (path, total, pool): (&[&str], Duration, &Pool),
) {
    let timeouts = [
        ("connect", pool.timeouts.connect, 1),
        ("first_byte", pool.timeouts.first_byte, pool.retries.attempts_max),
    ];
    for (key, inner, attempts) in timeouts {
        let needed = inner.saturating_mul(attempts);
        let written = subject.written(&["pools", &pool.name, "timeouts", key]);
        let Some(inner_span) = written.filter(|_| needed > total) else { continue };
        let in_attempts =
            if attempts == 1 { String::new() } else { format!(" in {attempts} attempts") };
        let message = format!(
            "the total of {} ends before {} of {}{in_attempts}",
            show_duration(total),
            quote(key),
            show_duration(inner)
        );
        let found = subject.found(&RULE, path, message);
        report.add(
            found
                .label("the outer timeout is the shorter one")
                .related(inner_span, "this one could never end by itself")
                .help(format!("make it at least {}", show_duration(needed))),
        );
        return;
    }
}

fn pauses(subject: &Subject<'_>, report: &mut Report, pool: &Pool) {
    let ejection = &pool.ejection;
    if ejection.pause <= ejection.pause_max {
        return;
    }
    let message = "the first pause is longer than the longest".to_owned();
    let found = subject.found(&RULE, &["pools", &pool.name, "ejection", "pause"], message);
    let help = format!("raise `pause_max`, now {}", show_duration(ejection.pause_max));
    report.add(found.label("not below the longest").help(help));
}
