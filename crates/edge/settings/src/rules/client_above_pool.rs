//! A client that may have more in flight than the servers can.

use super::reach::pools_of;
use super::{Example, Report, Rule, Seen, Subject, active};
use crate::Severity;
use crate::finding::quote;
use model::configuration::Pool;

pub(super) static RULE: Rule = Rule {
    name: "client-above-pool",
    number: None,
    severity: Severity::Warning,
    summary: "a client may have more requests in flight than all servers together take",
    rationale: "\
Its limit then holds nothing back: before it is reached, the client has filled every server. \
Judged where each pool that the client can use has `in_flight_max`, which is for one server, \
or a measured capacity that shows at how many in flight the servers do the most.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
in_flight_max = 20

[clients.shop]
key = { header = \"x-api-key\", value = \"example\" }
in_flight = 100
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
in_flight_max = 20

[clients.shop]
key = { header = \"x-api-key\", value = \"example\" }
in_flight = 10
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let configuration = subject.configuration;
    for client in configuration.clients.iter().filter(|client| client.enabled) {
        let Some(most) = client.in_flight_max else { continue };
        let pools = pools_of(configuration, &client.routes);
        let places: Option<f64> = pools.iter().map(|pool| places(pool)).sum();
        let Some(places) = places.filter(|places| !pools.is_empty() && f64::from(most) > *places)
        else {
            continue;
        };
        let message = format!(
            "client {} may have {most} requests in flight, and its servers take {places:.0}",
            quote(&client.name)
        );
        let found = subject.found(&RULE, &["clients", &client.name, "in_flight"], message);
        report.add(found.label("fills every server").help("leave some for others"));
    }
}

/// How many requests a pool takes at once, where that is known.
fn places(pool: &Pool) -> Option<f64> {
    if pool.in_flight_max > 0 {
        return Some(f64::from(pool.in_flight_max) * active(pool).len() as f64);
    }
    // The peak of the Universal Scalability Law.
    let usl = pool.capacity.as_ref()?.usl?;
    (usl.kappa > 0.0 && usl.sigma < 1.0).then(|| ((1.0 - usl.sigma) / usl.kappa).sqrt())
}
