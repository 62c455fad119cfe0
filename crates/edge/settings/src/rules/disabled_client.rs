//! A client that is switched off in the file.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "disabled-client",
    number: None,
    severity: Severity::Warning,
    summary: "a client is disabled, so all of its requests are refused",
    rationale: "\
It is what an incident leaves behind, and months later nobody knows why a partner is refused. \
Where it is meant to stay, `[[allow]]` says so with its reason.",
    bad: Example::native(
        "\
[clients.shop]
key = { header = \"x-api-key\", value = \"example\" }
enabled = false
",
    ),
    good: Example::native(
        "\
[clients.shop]
key = { header = \"x-api-key\", value = \"example\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for client in subject.configuration.clients.iter().filter(|client| !client.enabled) {
        let message = format!("client {} is disabled", quote(&client.name));
        let found = subject.found(&RULE, &["clients", &client.name, "enabled"], message);
        report.add(
            found
                .label("all of its requests are refused")
                .help("remove it, or say with `[[allow]]` why it stays"),
        );
    }
}
