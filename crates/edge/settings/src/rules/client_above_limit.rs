//! A client that may send more than a limit lets it.

use super::reach::covers;
use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use crate::units::show_rate;
use model::configuration::{Client, LimitKey, RateLimit};

pub(super) static RULE: Rule = Rule {
    name: "client-above-limit",
    number: None,
    severity: Severity::Warning,
    summary: "a client's rate is above a limit that applies to it too, so it never gets it",
    rationale: "\
Every limit that applies to a request must have room, those for everybody too. A partner who \
was promised 50 requests a second and sends them from one address is held to the 10 that each \
address has. Judged are limits that count the client's requests together: by `all`, by \
`client`, and by `address`, since an integration mostly sends from one; by `route` where it \
uses one. A limit for only some of its routes is let through.",
    bad: Example::native(
        "\
[clients.shop]
key = { header = \"x-api-key\", value = \"example\" }
rate = \"50/s\"

[limits.per-address]
by = \"address\"
rate = \"10/s\"
",
    ),
    good: Example::native(
        "\
[clients.shop]
key = { header = \"x-api-key\", value = \"example\" }
rate = \"50/s\"

[limits.per-address]
by = \"address\"
rate = \"60/s\"
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let configuration = subject.configuration;
    for client in configuration.clients.iter().filter(|client| client.enabled) {
        let Some(rate) = client.rate else { continue };
        let below = |limit: &&RateLimit| {
            applies(limit, client) && limit.rate.per_second() < rate.per_second()
        };
        let per_second = |limit: &&RateLimit| limit.rate.per_second();
        let limits = configuration.limits.iter().filter(below);
        let lowest = limits.min_by(|a, b| per_second(a).total_cmp(&per_second(b)));
        let Some(limit) = lowest else { continue };
        let message = format!(
            "client {} may send {}, and limit {} lets {} through",
            quote(&client.name),
            show_rate(rate.count, rate.per),
            quote(&limit.name),
            show_rate(limit.rate.count, limit.rate.per)
        );
        let found = subject.found(&RULE, &["clients", &client.name, "rate"], message);
        report.add(
            found
                .label("never reached")
                .related(subject.place(&["limits", &limit.name, "rate"]).span, "applies to it too")
                .help("raise the limit, or give it `routes` that the client does not use"),
        );
    }
}

/// Whether a limit counts all requests of a client together.
fn applies(limit: &RateLimit, client: &Client) -> bool {
    let all_routes = limit.routes.is_empty()
        || (!client.routes.is_empty()
            && client.routes.iter().all(|route| covers(&limit.routes, route)));
    let together = match &limit.by {
        LimitKey::All | LimitKey::Client | LimitKey::Address => true,
        LimitKey::Route => client.routes.len() == 1,
        LimitKey::Header(_) => false,
    };
    !limit.observe && all_routes && together
}
