//! A route that another one hides.

use super::Found;
use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use crate::order::{Hidden, hidden};
use model::configuration::HostPattern;

pub(super) static RULE: Rule = Rule {
    name: "unreachable-route",
    number: Some(34),
    severity: Severity::Error,
    summary: "a route is never reached, because another takes all its requests",
    rationale: "\
The most specific route wins, whatever the order in the file, unless one has a higher `priority`. \
A route of which another takes every request does nothing, and who wrote it believes that it does. \
A template comes before a prefix. What a regular expression takes is not looked into: only the same \
one is known to hide another.",
    bad: Example::native(
        "\
[routes.all]
path = \"/{*rest}\"
pool = \"api\"

[routes.files]
path = \"/files\"
respond = { status = 404 }
",
    ),
    good: Example::native(
        "\
[routes.all]
path = \"/\"
pool = \"api\"

[routes.files]
path = \"/files\"
respond = { status = 404 }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for hidden in hidden(&subject.configuration.routes) {
        if !hidden.is_same {
            let what = format!(
                "{} is never reached: {} takes all its requests",
                subject_of(&hidden),
                quote(&hidden.by.name)
            );
            let help = "narrow the route that comes first, or remove this one";
            report.add(found(subject, &RULE, (&hidden, what)).help(help));
        }
    }
}

/// A finding about a hidden route, at both routes.
pub(super) fn found(
    subject: &Subject<'_>,
    rule: &'static Rule,
    (hidden, message): (&Hidden<'_>, String),
) -> Found {
    let by = subject.place(&["routes", &hidden.by.name]);
    let found = subject.found(rule, &["routes", &hidden.route.name], message);
    found.label("never reached").related(by.span, "this route comes first")
}

/// The route, or the one of its hosts that is hidden.
pub(super) fn subject_of(hidden: &Hidden<'_>) -> String {
    let name = quote(&hidden.route.name);
    match hidden.host {
        None => format!("route {name}"),
        Some(HostPattern::Exact(host)) => format!("host {} of route {name}", quote(host)),
        Some(HostPattern::Wildcard(suffix)) => {
            format!("host {} of route {name}", quote(&format!("*{suffix}")))
        }
    }
}
