//! Layers of retries that multiply.

use super::unbudgeted_retries::has_budget;
use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use model::configuration::{Pool, ServerAddress};
use std::net::SocketAddr;

pub(super) static RULE: Rule = Rule {
    name: "retry-product",
    number: Some(21),
    severity: Severity::Error,
    summary: "one request may become more than 3 attempts over all layers, and no budget holds them back",
    rationale: "\
Attempts multiply over layers: three tries at each of three layers are 27 requests for one, \
all at the moment when servers are already too slow. More than three in all is an error. A \
layer is a pool whose server is a listener of this same door. A retry budget limits what a \
layer adds in all, so a layer that has one counts once: only those without multiply.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
retries = { attempts = 4, budget = 1.0 }

[[allow]]
rule = \"unbudgeted-retries\"
reason = \"so that the example breaks one rule only\"
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
retries = { attempts = 3, budget = 0.1 }
",
    ),
    seen: Seen::By(check),
};

/// Attempts that one request may become, over all layers.
const PRODUCT_MAX: u32 = 3;

fn check(subject: &Subject<'_>, report: &mut Report) {
    let configuration = subject.configuration;
    let listeners: Vec<SocketAddr> =
        configuration.listeners.iter().map(|listener| listener.address).collect();
    let inner = configuration.pools.iter().filter(|pool| !leads_back(pool, &listeners));
    let inner = inner.map(factor).max().unwrap_or(1);
    for pool in &configuration.pools {
        let own = factor(pool);
        let layers = if leads_back(pool, &listeners) { own.saturating_mul(inner) } else { own };
        if own == 1 || layers <= PRODUCT_MAX {
            continue;
        }
        let message = format!("one request to pool {} may become {layers}", quote(&pool.name));
        let found = subject.found(&RULE, &["pools", &pool.name, "retries", "attempts"], message);
        report.add(found.label("attempts without a budget").help(format!(
            "keep them to {PRODUCT_MAX}, or leave `budget` and `budget_min_per_second` as they are"
        )));
    }
}

fn factor(pool: &Pool) -> u32 {
    if has_budget(&pool.retries) { 1 } else { pool.retries.attempts_max }
}

/// Whether requests to this pool come back to the door.
fn leads_back(pool: &Pool, listeners: &[SocketAddr]) -> bool {
    pool.servers.iter().any(|server| match &server.address {
        ServerAddress::Socket(address) => listeners.contains(address),
        ServerAddress::Name { .. } => false,
    })
}
