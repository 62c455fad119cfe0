//! A hash of something that is nearly always the same.

use super::{Example, Report, Rule, Seen, Subject, active};
use crate::Severity;
use crate::finding::quote;
use model::configuration::{
    Action, Balance, Configuration, HashKey, HostPattern, PathPattern, Route,
};
use std::collections::BTreeSet;

pub(super) static RULE: Rule = Rule {
    name: "narrow-hash-key",
    number: Some(6),
    severity: Severity::Error,
    summary: "a consistent hash is taken of a key with fewer values than there are servers",
    rationale: "\
A hash sends everything with one key to one server. If all clients share the key, because a \
proxy or a NAT is in front or because it names the protocol, one server gets everything and \
the others nothing, whatever the weights. Seen from the configuration: the client's address \
where every listener is on loopback and trusts no proxy, so that only a local proxy or a \
local process connects; the path where routes let fewer exact paths through than there are \
servers; a header for which every route asks one value; `host` where the routes name fewer \
hosts than there are servers; headers that clients all send alike.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.3:80\"]
balance = { maglev = { header = \"accept-encoding\" } }
check = { path = \"/health\" }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.3:80\"]
balance = { maglev = { header = \"x-user\" } }
check = { path = \"/health\" }
",
    ),
    seen: Seen::By(check),
};

/// Headers of which clients send a handful of values between them.
const ALIKE: [&str; 9] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "connection",
    "content-type",
    "upgrade-insecure-requests",
    "via",
    "x-forwarded-proto",
];

fn check(subject: &Subject<'_>, report: &mut Report) {
    for (index, pool) in subject.configuration.pools.iter().enumerate() {
        let Balance::Maglev(key) = &pool.balance else { continue };
        let servers = active(pool).len();
        let Some(why) = narrowness(subject.configuration, index, key) else { continue };
        let (count, why) = why;
        if servers < 2 || count >= servers {
            continue;
        }
        let message = format!(
            "pool {} spreads {servers} servers over {}",
            quote(&pool.name),
            if count == 1 { "one key".to_owned() } else { format!("{count} keys") }
        );
        let found = subject.found(&RULE, &["pools", &pool.name, "balance"], message);
        report.add(
            found
                .label(why)
                .help("hash what differs from client to client, or leave `balance` out"),
        );
    }
}

/// How many values a key has at most, and why; `None` when that is not known to be few.
fn narrowness(
    configuration: &Configuration,
    pool: usize,
    key: &HashKey,
) -> Option<(usize, &'static str)> {
    let forwards = |route: &&Route| match route.action {
        Action::Forward { pool: index, .. } => index == pool,
        Action::Redirect { .. } | Action::Respond { .. } => false,
    };
    let routes: Vec<&Route> = configuration.routes.iter().filter(forwards).collect();
    if routes.is_empty() {
        return None;
    }
    match key {
        HashKey::ClientAddress => {
            let is_local = configuration.listeners.iter().all(|listener| {
                listener.address.ip().is_loopback() && listener.trusted_proxies.is_empty()
            });
            is_local.then_some((1, "every client connects from this machine"))
        }
        HashKey::Path => exact_paths(&routes).map(|count| (count, "the routes have no more paths")),
        HashKey::Header(name) if ALIKE.contains(&&**name) => {
            Some((1, "clients send this header alike"))
        }
        HashKey::Header(name) if &**name == "host" => {
            exact_hosts(&routes).map(|count| (count, "the routes have no more hosts"))
        }
        HashKey::Header(name) => header_values(&routes, name)
            .map(|count| (count, "the routes ask for this header's value")),
        HashKey::Cookie(_) => None,
    }
}

fn exact_paths(routes: &[&Route]) -> Option<usize> {
    let paths: Option<BTreeSet<&str>> = routes
        .iter()
        .map(|route| match &route.path {
            PathPattern::Exact(path) => Some(&**path),
            PathPattern::Prefix(_)
            | PathPattern::Start(_)
            | PathPattern::Template(_)
            | PathPattern::Regex(_) => None,
        })
        .collect();
    paths.map(|paths| paths.len())
}

fn exact_hosts(routes: &[&Route]) -> Option<usize> {
    let mut hosts: BTreeSet<&str> = BTreeSet::new();
    for route in routes {
        if route.hosts.is_empty() {
            return None;
        }
        for host in &route.hosts {
            match host {
                HostPattern::Exact(host) => hosts.insert(host),
                HostPattern::Wildcard(_) => return None,
            };
        }
    }
    Some(hosts.len())
}

fn header_values(routes: &[&Route], name: &str) -> Option<usize> {
    let value = |route: &&Route| {
        let asked = route.headers.iter().find(|header| &*header.name == name)?;
        asked.value.as_deref().map(str::to_owned)
    };
    let values: Option<BTreeSet<String>> = routes.iter().map(value).collect();
    values.map(|values| values.len())
}
