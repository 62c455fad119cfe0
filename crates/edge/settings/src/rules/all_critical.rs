//! Importance that is given to everybody.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use model::configuration::{Action, Class};
use std::collections::BTreeMap;

pub(super) static RULE: Rule = Rule {
    name: "all-critical",
    number: None,
    severity: Severity::Warning,
    summary: "every client, or every route, is critical",
    rationale: "\
A class says who is served last when not everybody can be. Where all are `critical`, none is: \
the class does nothing between them. Judged where there are several.",
    bad: Example::native(
        "\
[clients.shop]
key = { header = \"x-api-key\", value = \"example-1\" }
class = \"critical\"

[clients.reports]
key = { header = \"x-api-key\", value = \"example-2\" }
class = \"critical\"
",
    ),
    good: Example::native(
        "\
[clients.shop]
key = { header = \"x-api-key\", value = \"example-1\" }
class = \"critical\"

[clients.reports]
key = { header = \"x-api-key\", value = \"example-2\" }
class = \"bulk\"
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let configuration = subject.configuration;
    let clients = configuration.clients.iter().filter(|client| client.enabled);
    let clients: Vec<Class> = clients.map(|client| client.class).collect();
    // By name: a route with both kinds of host stands there twice.
    let routes: BTreeMap<_, Class> = configuration
        .routes
        .iter()
        .filter(|route| matches!(route.action, Action::Forward { .. }))
        .map(|route| (&route.name, route.class.unwrap_or_default()))
        .collect();
    let routes: Vec<Class> = routes.into_values().collect();
    for (what, classes) in [("clients", clients), ("routes", routes)] {
        if classes.len() < 2 || classes.iter().any(|class| *class != Class::Critical) {
            continue;
        }
        let message = format!("all {} {what} are critical", classes.len());
        let found = subject.found(&RULE, &[what], message);
        report.add(found.label("so none is").help("give a lower class to what can wait"));
    }
}
