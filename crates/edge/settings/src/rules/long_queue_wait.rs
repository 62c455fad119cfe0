//! A wait for a place that outlasts the request.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use crate::units::show_duration;
use model::configuration::Action;
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "long-queue-wait",
    number: Some(32),
    severity: Severity::Warning,
    summary: "a request may wait for a place as long as it may take in all",
    rationale: "\
Whoever waits that long is given up before a server is asked, or just after: the wait delays \
the refusal and nothing else. A queue is for bursts, so a tenth of the total timeout is plenty. \
Held against nobody who did not write `queue_wait`.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
timeouts = { total = \"2s\" }
queue_wait = \"5s\"
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
timeouts = { total = \"2s\" }
queue_wait = \"200ms\"
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let configuration = subject.configuration;
    for (index, pool) in configuration.pools.iter().enumerate() {
        let path = ["pools", &pool.name, "queue_wait"];
        let wait = pool.admission.wait_max;
        if subject.written(&path).is_none() {
            continue;
        }
        let own = pool
            .timeouts
            .total
            .map(|total| (total, subject.place(&["pools", &pool.name, "timeouts", "total"]).span));
        let of_routes = configuration.routes.iter().filter_map(|route| match route.action {
            Action::Forward { pool, .. } if pool == index => {
                let place = subject.place(&["routes", &route.name, "total_timeout"]);
                Some((route.total_timeout?, place.span))
            }
            Action::Forward { .. } | Action::Redirect { .. } | Action::Respond { .. } => None,
        });
        let totals = own.into_iter().chain(of_routes);
        let shortest = totals.min_by_key(|(total, _)| *total);
        let Some((total, span)) = shortest.filter(|(total, _)| wait >= *total) else { continue };
        let message = format!(
            "requests to pool {} may wait {} and take {} in all",
            quote(&pool.name),
            show_duration(wait),
            show_duration(total)
        );
        let help =
            format!("write at most {}", show_duration((total / 10).max(Duration::from_millis(1))));
        let found = subject.found(&RULE, &path, message);
        report.add(
            found
                .label("outlasts the request")
                .related(span, "the request is given up after this")
                .help(help),
        );
    }
}
