//! Scripts are told of a method that the route does not serve.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "unserved-cors-method",
    number: None,
    severity: Severity::Warning,
    summary: "`cors` allows a method that the route does not serve",
    rationale: "\
The browser asks for the route of the method it wants to use, so this one never answers for it. \
`OPTIONS` need not be listed: the door answers what browsers ask beforehand. Only methods that are \
written are held against the route.",
    bad: Example::native(
        "\
[routes.all]
pool = \"api\"
methods = [\"GET\"]
cors = { origins = [\"https://app.example.com\"], methods = [\"GET\", \"PUT\"] }
",
    ),
    good: Example::native(
        "\
[routes.all]
pool = \"api\"
methods = [\"GET\", \"PUT\"]
cors = { origins = [\"https://app.example.com\"], methods = [\"GET\", \"PUT\"] }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for route in &subject.configuration.routes {
        let path = ["routes", &*route.name, "cors", "methods"];
        let Some(cors) = &route.treatment.cors else { continue };
        if route.methods.is_empty() || subject.written(&path).is_none() {
            continue;
        }
        let serves = |wanted: &str| route.methods.iter().any(|method| **method == *wanted);
        let unserved = |method: &&model::Name| {
            !serves(method) && ***method != *"OPTIONS" && !(***method == *"HEAD" && serves("GET"))
        };
        let Some(method) = cors.methods.iter().find(unserved) else { continue };
        let message = format!("route {} does not serve {}", quote(&route.name), quote(method));
        report.add(
            subject
                .found(&RULE, &path, message)
                .label("never used")
                .help("add it to the route's `methods`, or remove it here"),
        );
    }
}
