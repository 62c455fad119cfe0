//! A body without a bound.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::units::show_size;

pub(super) static RULE: Rule = Rule {
    name: "no-body-limit",
    number: Some(33),
    severity: Severity::Warning,
    summary: "request bodies of a terabyte or more are let through",
    rationale: "\
A limit beyond what any server takes is none: one client can hold a server, and its disk, \
with a single request that never ends. Uploads have a size; a route for them may have its \
own.",
    bad: Example::native(
        "\
[listen.web]
address = \"0.0.0.0:8080\"
limits = { body = \"1000TB\" }
",
    ),
    good: Example::native(
        "\
[listen.web]
address = \"0.0.0.0:8080\"
limits = { body = \"1GB\" }
",
    ),
    seen: Seen::By(check),
};

/// From here on a limit limits nothing: 1 TB.
const BODY_NONE: u64 = 1_000_000_000_000;

fn check(subject: &Subject<'_>, report: &mut Report) {
    for listener in &subject.configuration.listeners {
        let path = ["listen", &listener.name, "limits", "body"];
        judge(subject, report, (&path, listener.limits.body_bytes_max));
    }
    let mut judged = None;
    for route in &subject.configuration.routes {
        // A route with both kinds of host stands there twice.
        let is_new = judged != Some(&route.name);
        judged = Some(&route.name);
        if let Some(bytes) = route.body_bytes_max.filter(|_| is_new) {
            judge(subject, report, (&["routes", &route.name, "body_max"], bytes));
        }
    }
}

fn judge(subject: &Subject<'_>, report: &mut Report, (path, bytes): (&[&str], u64)) {
    if bytes < BODY_NONE {
        return;
    }
    let message = format!("bodies of up to {} are let through", show_size(bytes));
    let found = subject.found(&RULE, path, message);
    report.add(found.label("no limit in effect").help("write what an upload may be, such as 1GB"));
}
