//! Two routes for the same requests.

use super::unreachable_route::{found, subject_of};
use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use crate::order::hidden;

pub(super) static RULE: Rule = Rule {
    name: "duplicate-route",
    number: Some(34),
    severity: Severity::Error,
    summary: "two routes match the same requests, so the second is never reached",
    rationale: "\
Two routes with the same hosts, path, methods and headers: the one that comes first in the \
file takes everything. Mostly one was copied, and only half changed.",
    bad: Example::native(
        "\
[routes.api]
path = \"/api\"
pool = \"api\"

[routes.users]
path = \"/api\"
pool = \"api\"
",
    ),
    good: Example::native(
        "\
[routes.api]
path = \"/api\"
pool = \"api\"

[routes.users]
path = \"/api/users\"
pool = \"api\"
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for hidden in hidden(&subject.configuration.routes) {
        if hidden.is_same {
            let by = quote(&hidden.by.name);
            let what = format!("{} matches the same requests as {by}", subject_of(&hidden));
            let help = "remove one, or tell them apart by host, path or headers";
            report.add(found(subject, &RULE, (&hidden, what)).help(help));
        }
    }
}
