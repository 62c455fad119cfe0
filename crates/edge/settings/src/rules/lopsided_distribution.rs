//! One server gets nearly all requests, or far more than its weight says.

use super::trials::Tried;
use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use model::configuration::Pool;

pub(super) static RULE: Rule = Rule {
    name: "lopsided-distribution",
    number: Some(1),
    severity: Severity::Error,
    summary: "one server gets 90 % of the requests of a pool or more, or more than twice what its weight intends",
    rationale: "\
Three of five outages this project began with were changes that sent most requests to one \
server, and nobody looked there for hours. So every pool is run before it goes live: its \
real code under a synthetic load, from a start, steadily, over a reload and a restart, and \
with each server lost in turn. What is judged are the shares that come out, not the weights: \
zones, limits and algorithms count as they are. Twice its intended part is only judged above \
2 % of the traffic, where chance is not the reason. A pool with fewer than two servers that \
take requests is other rules'.",
    bad: Example::native(
        "\
[pools.api]
servers = [
  { address = \"10.0.0.1:80\", weight = 90 },
  { address = \"10.0.0.2:80\", weight = 5 },
  { address = \"10.0.0.3:80\", weight = 5 },
]
check = { path = \"/health\" }

[[allow]]
rule = \"steep-weights\"
reason = \"so that the example breaks one rule only\"
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.3:80\"]
check = { path = \"/health\" }
",
    ),
    seen: Seen::By(check),
};

/// The share of one server from which a pool is lopsided, whatever its weights say.
const SHARE_MAX: f64 = 0.9;
/// What chance takes away from a share in a simulation, or adds to it.
pub(super) const CHANCE: f64 = 0.01;
/// What chance may add to twice a server's part.
const MARGIN: f64 = 0.02;

fn check(subject: &Subject<'_>, report: &mut Report) {
    let trials = subject.trials();
    for (pool, tried) in subject.configuration.pools.iter().zip(&trials.pools) {
        let Some(tried) = tried.iter().find(|tried| is_lopsided(tried)) else { continue };
        let Some(server) = pool.servers.get(tried.server) else { continue };
        let message = format!(
            "server {} gets {:.0} % of the requests of pool {}{}",
            quote(&server.address.to_string()),
            tried.share * 100.0,
            quote(&pool.name),
            tried.when(pool)
        );
        report.add(
            subject
                .found(&RULE, &place(pool), message)
                .label(label(tried))
                .help("try it with `tidegate apply --canary 5%`, or give the servers like weights"),
        );
    }
    if trials.untried > 0 {
        report.add(subject.partly_simulated(trials.untried));
    }
}

fn place(pool: &Pool) -> [&str; 3] {
    ["pools", &pool.name, "servers"]
}

/// Whether this alone refuses the pool.
pub(super) fn is_lopsided(tried: &Tried) -> bool {
    tried.share >= SHARE_MAX - CHANCE || tried.share > 2.0 * tried.intended + MARGIN
}

fn label(tried: &Tried) -> String {
    format!("its weight intends {:.0} %", tried.intended * 100.0)
}
