//! One server gets most of the requests.

use super::lopsided_distribution::{CHANCE, is_lopsided};
use super::trials::Tried;
use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "uneven-distribution",
    number: Some(1),
    severity: Severity::Warning,
    summary: "one server gets 60 % of the requests of a pool or more",
    rationale: "\
The other servers must carry more than they ever do when this one is lost. The shares are \
those that the pool's real code gives in a simulation, as in `lopsided-distribution`, which \
is the error from 90 % on. A single loss does not count here: of three servers, two are left \
with half each.",
    bad: Example::native(
        "\
[pools.api]
servers = [{ address = \"10.0.0.1:80\", weight = 3 }, \"10.0.0.2:80\"]
check = { path = \"/health\" }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
",
    ),
    seen: Seen::By(check),
};

/// The share of one server from which a pool is uneven.
const SHARE_MIN: f64 = 0.6;

fn check(subject: &Subject<'_>, report: &mut Report) {
    let trials = subject.trials();
    for (pool, tried) in subject.configuration.pools.iter().zip(&trials.pools) {
        // What is worse than uneven was said already.
        if tried.iter().any(is_lopsided) {
            continue;
        }
        let is_uneven =
            |tried: &&Tried| tried.lost().is_none() && tried.share >= SHARE_MIN - CHANCE;
        let Some(tried) = tried.iter().find(is_uneven) else { continue };
        let Some(server) = pool.servers.get(tried.server) else { continue };
        let message = format!(
            "server {} gets {:.0} % of the requests of pool {}{}",
            quote(&server.address.to_string()),
            tried.share * 100.0,
            quote(&pool.name),
            tried.when(pool)
        );
        let found = subject.found(&RULE, &["pools", &pool.name, "servers"], message);
        report.add(found.label("most of them").help("spread the weights, or add servers"));
    }
}
