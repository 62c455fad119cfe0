//! Rates that let through more than the servers can do.

use super::reach::{carried, pools_of};
use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use crate::units::show_rate;
use model::Name;
use model::configuration::{Client, Rate};

pub(super) static RULE: Rule = Rule {
    name: "rates-above-capacity",
    number: Some(28),
    severity: Severity::Error,
    summary: "a rate limit, or the rates of clients together, are above the measured capacity",
    rationale: "\
A limit above what the servers can do protects nothing, and rates that were promised to \
clients cannot be kept once all of them ask for theirs. Judged only where every pool that \
the requests can go to has a measured `capacity`; its lower end counts. Of a limit with a \
key, one key's rate is compared, and of clients together those that can use this pool only. \
A rate that is not shared holds for each door: with several doors, divide it by their number.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
capacity = \"capacity.json\" # 1000 requests/s

[limits.all]
by = \"all\"
rate = \"2000/s\"
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
capacity = \"capacity.json\" # 1000 requests/s

[limits.all]
by = \"all\"
rate = \"900/s\"
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let configuration = subject.configuration;
    for limit in configuration.limits.iter().filter(|limit| !limit.observe) {
        let path = ["limits", &limit.name, "rate"];
        judge(subject, report, (&path, limit.rate, &limit.routes));
    }
    let clients = || configuration.clients.iter().filter(|client| client.enabled);
    for client in clients() {
        if let Some(rate) = client.rate {
            let path = ["clients", &client.name, "rate"];
            judge(subject, report, (&path, rate, &client.routes));
        }
    }
    for pool in &configuration.pools {
        let Some(carried) = carried(&[pool]) else { continue };
        let only_here = |client: &&Client| matches!(pools_of(configuration, &client.routes).as_slice(), [only] if only.name == pool.name);
        let rates: Vec<f64> = clients()
            .filter(only_here)
            .filter_map(|client| Some(client.rate?.per_second()))
            .collect();
        let promised: f64 = rates.iter().sum();
        // A single one has been judged above.
        if rates.len() < 2 || promised <= carried {
            continue;
        }
        let message = format!(
            "{} clients may send {promised:.0} requests/s to pool {}, which carries {carried:.0}",
            rates.len(),
            quote(&pool.name)
        );
        let found = subject.found(&RULE, &["pools", &pool.name, "capacity"], message);
        report.add(found.label("less than was promised").help("lower the rates, or add servers"));
    }
}

fn judge(
    subject: &Subject<'_>,
    report: &mut Report,
    (path, rate, routes): (&[&str], Rate, &[Name]),
) {
    let pools = pools_of(subject.configuration, routes);
    let Some(carried) = carried(&pools).filter(|carried| rate.per_second() > *carried) else {
        return;
    };
    let message = format!(
        "{} may send {}, and the servers carry {carried:.0} requests/s",
        path.get(1).map(|name| quote(name)).unwrap_or_default(),
        show_rate(rate.count, rate.per),
    );
    let found = subject.found(&RULE, path, message);
    let measured =
        pools.first().and_then(|pool| subject.written(&["pools", &pool.name, "capacity"]));
    let found = found.label("above what was measured").help("lower it, or add servers");
    report.add(match measured {
        Some(measured) => found.related(measured, "measured here"),
        None => found,
    });
}
