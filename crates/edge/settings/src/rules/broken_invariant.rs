//! What the configuration says must hold does not.

use super::lopsided_distribution::CHANCE;
use super::trials::Tried;
use super::{Example, Report, Rule, Seen, Subject, active};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "broken-invariant",
    number: None,
    severity: Severity::Error,
    summary: "a line of `[invariants]` does not hold in the configuration itself",
    rationale: "\
The invariants are the user's own, so nothing sets this finding aside: who means it changes \
them. Only those that are written are held here; the default for `share_max` is what \
`lopsided-distribution` judges. Shares are those of the simulation, without the loss of a \
server. What only a change can break (`keep_routes`, `limit_drop_max`) is held by `plan` and \
`apply`.",
    bad: Example::native(
        "\
[invariants]
eligible_min = 2

[pools.api]
servers = [{ address = \"10.0.0.1:80\", drain = true }, \"10.0.0.2:80\"]
check = { path = \"/health\" }
",
    ),
    good: Example::native(
        "\
[invariants]
eligible_min = 2

[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    if subject.written(&["invariants", "eligible_min"]).is_some() {
        eligible(subject, report);
    }
    if subject.written(&["invariants", "share_max"]).is_some() {
        share(subject, report);
    }
}

fn eligible(subject: &Subject<'_>, report: &mut Report) {
    let least =
        usize::try_from(subject.configuration.invariants.eligible_min).unwrap_or(usize::MAX);
    for pool in subject.configuration.pools.iter().filter(|pool| pool.servers.len() >= least) {
        let count = active(pool).len();
        if count >= least {
            continue;
        }
        let message = format!("{count} servers of pool {} take requests", quote(&pool.name));
        let found = subject.found(&RULE, &["pools", &pool.name, "servers"], message);
        let line = subject.place(&["invariants", "eligible_min"]);
        let label = format!("at least {least} must");
        report.add(found.label("too few").related(line.span, label));
    }
}

fn share(subject: &Subject<'_>, report: &mut Report) {
    let most = subject.configuration.invariants.share_max;
    for (pool, tried) in subject.configuration.pools.iter().zip(&subject.trials().pools) {
        let breaks = |tried: &&Tried| tried.lost().is_none() && tried.share > most + CHANCE;
        let Some(tried) = tried.iter().find(breaks) else { continue };
        let Some(server) = pool.servers.get(tried.server) else { continue };
        let message = format!(
            "server {} gets {:.0} % of the requests of pool {}{}",
            quote(&server.address.to_string()),
            tried.share * 100.0,
            quote(&pool.name),
            tried.when(pool)
        );
        let found = subject.found(&RULE, &["pools", &pool.name, "servers"], message);
        let line = subject.place(&["invariants", "share_max"]);
        let label = format!("at most {:.0} % may", most * 100.0);
        report.add(found.label("too much").related(line.span, label));
    }
}
