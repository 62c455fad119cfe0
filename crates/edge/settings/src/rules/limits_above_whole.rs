//! Parts that are allowed more than the whole.

use super::{Example, Report, Rule, Seen, Subject, active};
use crate::Severity;
use crate::finding::quote;
use crate::units::show_rate;
use model::Name;
use model::configuration::{Configuration, LimitKey, RateLimit};
use std::collections::BTreeSet;

pub(super) static RULE: Rule = Rule {
    name: "limits-above-whole",
    number: Some(30),
    severity: Severity::Warning,
    summary: "limits of parts add up to more than the limit of the whole",
    rationale: "\
Whoever comes first then uses up the whole, and a part that keeps to its own limit is refused \
all the same: its limit promises what is not there. Compared are limits by `all` for some \
routes, and the rates of clients together, with a limit by `all` for every route; and the \
requests in flight that servers may have together with `door.connections`, since every one of \
them came over a connection. Only what was written counts.",
    bad: Example::native(
        "\
[limits.all]
by = \"all\"
rate = \"100/s\"

[clients.shop]
key = { header = \"x-api-key\", value = \"example-1\" }
rate = \"80/s\"

[clients.app]
key = { header = \"x-api-key\", value = \"example-2\" }
rate = \"80/s\"
",
    ),
    good: Example::native(
        "\
[limits.all]
by = \"all\"
rate = \"200/s\"

[clients.shop]
key = { header = \"x-api-key\", value = \"example-1\" }
rate = \"80/s\"

[clients.app]
key = { header = \"x-api-key\", value = \"example-2\" }
rate = \"80/s\"
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let configuration = subject.configuration;
    let is_whole =
        |limit: &&RateLimit| limit.by == LimitKey::All && limit.routes.is_empty() && !limit.observe;
    let parts = [
        ("limits of routes", of_routes(configuration)),
        ("rates of clients", of_clients(configuration)),
    ];
    for whole in configuration.limits.iter().filter(is_whole) {
        for (what, sum) in parts {
            if sum <= whole.rate.per_second() {
                continue;
            }
            let rate = show_rate(whole.rate.count, whole.rate.per);
            let message = format!(
                "the {what} add up to {sum:.0}/s, and limit {} is {rate}",
                quote(&whole.name)
            );
            let found = subject.found(&RULE, &["limits", &whole.name, "rate"], message);
            report.add(found.label("less than its parts").help("raise it, or lower the parts"));
        }
    }
    connections(subject, report);
}

/// The sum of limits of some routes; of limits that share a route the first counts.
fn of_routes(configuration: &Configuration) -> f64 {
    let mut seen: BTreeSet<&Name> = BTreeSet::new();
    let mut sum = 0.0;
    for limit in configuration.limits.iter().filter(|limit| !limit.observe) {
        let is_part = limit.by == LimitKey::All && !limit.routes.is_empty();
        if is_part && limit.routes.iter().all(|route| !seen.contains(route)) {
            seen.extend(&limit.routes);
            sum += limit.rate.per_second();
        }
    }
    sum
}

/// The sum of the rates of clients, if there are several.
fn of_clients(configuration: &Configuration) -> f64 {
    let clients = configuration.clients.iter().filter(|client| client.enabled);
    let rates: Vec<f64> = clients.filter_map(|client| Some(client.rate?.per_second())).collect();
    // That of a single one is compared with each limit by `client-above-limit`.
    if rates.len() < 2 { 0.0 } else { rates.iter().sum() }
}

fn connections(subject: &Subject<'_>, report: &mut Report) {
    let configuration = subject.configuration;
    let path = ["door", "connections"];
    if subject.written(&path).is_none() {
        return;
    }
    let places = configuration
        .pools
        .iter()
        .map(|pool| u64::from(pool.in_flight_max).saturating_mul(active(pool).len() as u64));
    let sum: u64 = places.sum();
    let connections = configuration.door.connections_max;
    if sum <= u64::from(connections) {
        return;
    }
    let message = format!(
        "the servers may have {sum} requests in flight, and clients {connections} connections"
    );
    let found = subject.found(&RULE, &path, message);
    report.add(found.label("less than its parts").help("lower `in_flight_max`, or raise this"));
}
