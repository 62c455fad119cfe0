//! A site without TLS may act as the user.

use model::configuration::Origins;

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "plain-cors-origin",
    number: None,
    severity: Severity::Warning,
    summary: "`cors` with `credentials` lets in a site without TLS",
    rationale: "\
Whoever is between the user and a site without TLS can put a script into its pages, and that \
script then acts with the user's cookies, however well this door is secured. `localhost` is let \
pass.",
    bad: Example::native(
        "\
[routes.all]
pool = \"api\"
cors = { origins = [\"http://app.example.com\"], credentials = true }
",
    ),
    good: Example::native(
        "\
[routes.all]
pool = \"api\"
cors = { origins = [\"https://app.example.com\", \"http://localhost:3000\"], credentials = true }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for route in &subject.configuration.routes {
        let Some(cors) = route.treatment.cors.as_ref().filter(|cors| cors.credentials) else {
            continue;
        };
        let Origins::Listed(origins) = &cors.origins else { continue };
        for origin in origins.iter().filter(|origin| is_plain(origin)) {
            let message =
                format!("whoever is between the user and {} acts as the user", quote(origin));
            let path = ["routes", &*route.name, "cors", "origins"];
            report.add(
                subject
                    .found(&RULE, &path, message)
                    .label("not protected by TLS")
                    .help("serve the site over TLS and name it with `https://`"),
            );
        }
    }
}

fn is_plain(origin: &str) -> bool {
    let Some(rest) = origin.strip_prefix("http://") else { return false };
    let own = ["localhost", "127.0.0.1", "[::1]"].into_iter().any(|own| {
        rest.strip_prefix(own).is_some_and(|port| port.is_empty() || port.starts_with(':'))
    });
    !own && !rest.split(':').next().is_some_and(|host| host.ends_with(".localhost"))
}
