//! Facts of one second that a configuration gives: whether its invariants hold, and which of its
//! listeners pass bytes on.
//!
//! Pure. The share of a pool's busiest server is that of the requests it got, where there were
//! enough of them in the second to tell; otherwise the share that is intended for it.

use model::Configuration;
use model::configuration::ListenerProtocol;
use model::fact::{InvariantFact, PoolFacts, ServerState, TcpFacts};

/// Requests of a pool in one second that make its shares worth a fact: with fewer, chance alone
/// gives one server of several most of them now and then.
const REQUESTS_MIN: u64 = 100;

/// Every invariant of every pool of several servers, from the facts of its pools.
pub(super) fn invariants(configuration: &Configuration, pools: &[PoolFacts]) -> Vec<InvariantFact> {
    let limits = &configuration.invariants;
    let mut facts = Vec::new();
    for pool in pools.iter().filter(|pool| pool.servers.len() > 1) {
        let mut add = |name: &str, value: f64, limit: f64, holds: bool| {
            let pool = pool.name.clone();
            facts.push(InvariantFact { name: name.to_owned(), pool, value, limit, holds });
        };
        let share = share_of_busiest(pool);
        add("share_max", share, limits.share_max, share <= limits.share_max);
        let eligible = pool.servers.iter().filter(|server| takes_requests(server.state)).count();
        let eligible = u32::try_from(eligible).unwrap_or(u32::MAX);
        // A pool that has fewer servers at all is not asked for more.
        let has = u32::try_from(pool.servers.len()).unwrap_or(u32::MAX);
        let least = limits.eligible_min.min(has);
        add("eligible_min", eligible.into(), least.into(), eligible >= least);
    }
    facts
}

/// Every listener that passes bytes on; what passed is filled in by the collector.
pub(super) fn tcp(configuration: &Configuration) -> Vec<TcpFacts> {
    let listeners = configuration.listeners.iter();
    listeners
        .filter(|listener| matches!(listener.protocol, ListenerProtocol::Tcp(_)))
        .map(|listener| TcpFacts { name: listener.name.to_string(), ..TcpFacts::default() })
        .collect()
}

fn share_of_busiest(pool: &PoolFacts) -> f64 {
    let requests: u64 = pool.servers.iter().map(|server| server.requests).sum();
    let shares = pool.servers.iter().map(|server| match server.share {
        Some(share) if requests >= REQUESTS_MIN => share,
        Some(_) | None => server.share_intended,
    });
    shares.fold(0.0, f64::max)
}

fn takes_requests(state: ServerState) -> bool {
    match state {
        ServerState::Up | ServerState::SlowStart => true,
        ServerState::Unknown | ServerState::Ejected | ServerState::Down | ServerState::Draining => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use model::fact::ServerFacts;

    use super::*;

    /// Servers as (state, requests, intended share); the facts as `name value holds`.
    fn check(servers: &[(ServerState, u64, f64)], expected: &[&str]) {
        let requests: u64 = servers.iter().map(|server| server.1).sum();
        let server = |&(state, count, share_intended): &(ServerState, u64, f64)| ServerFacts {
            state,
            requests: count,
            share: (requests > 0).then(|| count as f64 / requests as f64),
            share_intended,
            ..ServerFacts::default()
        };
        let servers = servers.iter().map(server).collect();
        let pool = PoolFacts { name: "api".to_owned(), servers, ..PoolFacts::default() };
        let source = settings::Source {
            name: "test".to_owned(),
            text: "[listen.a]\naddress = \"127.0.0.1:0\"\n[pools.api]\nservers = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n[routes.r]\npool = \"api\"\n[invariants]\neligible_min = 2\n".to_owned(),
            folder: "/".into(),
        };
        let checked = settings::check(&source, &settings::Environment::detect());
        let configuration = checked.configuration.or(checked.overridable).unwrap();
        let facts = invariants(&configuration, &[pool]);
        let told: Vec<String> =
            facts.iter().map(|f| format!("{} {:.2} {}", f.name, f.value, f.holds)).collect();
        assert_eq!(told, expected, "{servers:?}", servers = facts);
    }

    #[test]
    fn invariants_are_facts() {
        use ServerState::{Down, Up};
        check(&[(Up, 1, 1.0)], &[]);
        check(&[(Up, 60, 0.5), (Up, 50, 0.5)], &["share_max 0.55 true", "eligible_min 2.00 true"]);
        check(&[(Up, 99, 0.5), (Up, 1, 0.5)], &["share_max 0.99 false", "eligible_min 2.00 true"]);
        // Too few requests to tell.
        check(&[(Up, 9, 0.5), (Up, 0, 0.5)], &["share_max 0.50 true", "eligible_min 2.00 true"]);
        check(
            &[(Up, 0, 1.0), (Down, 0, 0.0)],
            &["share_max 1.00 false", "eligible_min 1.00 false"],
        );
    }
}
