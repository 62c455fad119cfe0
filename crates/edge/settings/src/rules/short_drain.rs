//! A restart that cuts requests which were promised more time.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::units::show_duration;
use model::configuration::{Action, Configuration};
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "short-drain",
    number: Some(27),
    severity: Severity::Warning,
    summary: "the drain is shorter than the longest request may take",
    rationale: "\
After SIGTERM requests in flight have `door.drain` to end; what takes longer is cut. A \
request may take as long as its total timeout, or else until the first byte is due. A drain \
that was written is held against timeouts that were written; defaults are held against \
nobody.",
    bad: Example::native(
        "\
[door]
drain = \"5s\"

[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
timeouts = { total = \"20s\" }
",
    ),
    good: Example::native(
        "\
[door]
drain = \"30s\"

[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
timeouts = { total = \"20s\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let drain = subject.configuration.door.drain;
    let Some((longest, path)) = longest(subject) else { return };
    if subject.written(&["door", "drain"]).is_none() || longest <= drain {
        return;
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let message = format!(
        "a drain of {} cuts requests that may take {}",
        show_duration(drain),
        show_duration(longest)
    );
    let found = subject.found(&RULE, &["door", "drain"], message);
    report.add(
        found
            .label("too short")
            .related(subject.place(&path).span, "a request may take so long")
            .help(format!("make it at least {}", show_duration(longest))),
    );
}

/// The longest time that was written for a request, and where.
fn longest(subject: &Subject<'_>) -> Option<(Duration, Vec<String>)> {
    let Configuration { routes, pools, .. } = subject.configuration;
    let totals = routes.iter().filter_map(|route| {
        let Action::Forward { .. } = route.action else { return None };
        Some((route.total_timeout?, path(&["routes", &route.name, "total_timeout"])))
    });
    let waits = pools.iter().map(|pool| {
        let key = |key| path(&["pools", &pool.name, "timeouts", key]);
        match pool.timeouts.total {
            Some(total) => (total, key("total")),
            None => (pool.timeouts.first_byte, key("first_byte")),
        }
    });
    let is_written = |path: &[String]| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        subject.written(&path).is_some()
    };
    let written = totals.chain(waits).filter(|(_, path)| is_written(path));
    written.max_by_key(|(duration, _)| *duration)
}

fn path(steps: &[&str]) -> Vec<String> {
    steps.iter().map(|step| (*step).to_owned()).collect()
}
