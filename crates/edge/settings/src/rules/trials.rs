//! Every pool run before it goes live: its real code under a synthetic load.
//!
//! A start, a steady time, a reload with a restart, and the loss of each server in turn. In a
//! pool of more than eight servers, one server of each kind (weight and zone) is lost: to lose
//! another of the same kind is the same loss. What one check may simulate is bounded by
//! [`REQUESTS_MAX`]; what was left out is counted, and said in a finding.
//! Invariant: the same configuration gives the same shares, since the seed is fixed.

use std::collections::BTreeSet;

use balancing::trial::{Scenario, requests_of, shares};
use model::configuration::{Configuration, Pool, Server};

use super::active;
use crate::finding::quote;

/// Requests that one check simulates, at most: half a second's work.
const REQUESTS_MAX: u64 = 1_000_000;

/// Servers of a pool of which every one is lost in turn, at most.
const LOSSES_ALL_MAX: usize = 8;

/// Any number: what matters is that it is always the same.
const SEED: u64 = 0x7469_6465_6761_7465;

/// What all trials of a configuration showed.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    /// For each pool in order, the busiest server of each scenario; empty for pools with fewer
    /// than two servers that take requests.
    pub(crate) pools: Vec<Vec<Tried>>,
    /// Pools that were not, or not in every scenario, simulated.
    pub(crate) untried: usize,
}

/// The server that got the most beyond its part in one scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tried {
    scenario: Scenario,
    /// Index into the pool's servers.
    pub(crate) server: usize,
    /// What it got, 0 to 1.
    pub(crate) share: f64,
    /// What its weight intends among those that are left, 0 to 1.
    pub(crate) intended: f64,
}

impl Tried {
    /// The server that is lost in this scenario.
    pub(crate) fn lost(&self) -> Option<usize> {
        match self.scenario {
            Scenario::Start | Scenario::Steady | Scenario::Reload => None,
            Scenario::Loss(server) => Some(server),
        }
    }

    /// The scenario, as the end of a sentence.
    pub(crate) fn when(&self, pool: &Pool) -> String {
        match self.scenario {
            Scenario::Start => " at a start".to_owned(),
            Scenario::Steady => String::new(),
            Scenario::Reload => " over a reload".to_owned(),
            Scenario::Loss(lost) => {
                let lost = pool.servers.get(lost).map(|server| server.address.to_string());
                format!(" once {} is lost", quote(&lost.unwrap_or_default()))
            }
        }
    }
}

/// Tries every pool, as far as the bound allows.
pub(super) fn trials(configuration: &Configuration) -> Trials {
    trials_within(configuration, REQUESTS_MAX)
}

fn trials_within(configuration: &Configuration, requests_max: u64) -> Trials {
    let mut trials = Trials::default();
    let mut left = requests_max;
    for pool in &configuration.pools {
        let scenarios = scenarios(pool);
        // A quarter more is sent before counting begins.
        let each = (requests_of(pool) / 4).saturating_mul(5).max(1);
        let affordable = usize::try_from(left / each).unwrap_or(usize::MAX).min(scenarios.len());
        trials.untried += usize::from(affordable < scenarios.len());
        left = left.saturating_sub(each.saturating_mul(affordable as u64));
        let scenarios = scenarios.into_iter().take(affordable);
        trials.pools.push(scenarios.flat_map(|scenario| busiest(pool, scenario)).collect());
    }
    trials
}

/// The steady state first: what shows in several scenarios is said of the plainest.
fn scenarios(pool: &Pool) -> Vec<Scenario> {
    let active = active(pool);
    if active.len() < 2 {
        return Vec::new();
    }
    let mut scenarios = vec![Scenario::Steady, Scenario::Start, Scenario::Reload];
    // Of two servers one is left, which then gets everything by nobody's mistake.
    if active.len() > 2 {
        let mut kinds = BTreeSet::new();
        let is_new = |(_, server): &(usize, &Server)| {
            kinds.insert((server.weight, server.zone.clone())) || active.len() <= LOSSES_ALL_MAX
        };
        let lost: Vec<_> = active.iter().copied().filter(is_new).collect();
        scenarios.extend(lost.into_iter().map(|(index, _)| Scenario::Loss(index)));
    }
    scenarios
}

/// The server with the largest share, and the one furthest above its part.
fn busiest(pool: &Pool, scenario: Scenario) -> Vec<Tried> {
    let shares = shares(pool, scenario, SEED);
    let lost = match scenario {
        Scenario::Loss(server) => Some(server),
        Scenario::Start | Scenario::Steady | Scenario::Reload => None,
    };
    let mut weights = vec![0.0; pool.servers.len()];
    for (index, server) in active(pool) {
        weights[index] = f64::from(server.weight);
    }
    let all: f64 = weights.iter().sum();
    let lost_weight = lost.and_then(|lost| weights.get(lost)).copied().unwrap_or_default();
    let tried = |(server, (share, weight)): (usize, (&f64, &f64))| {
        // The lost one is measured by what it had.
        let left = if lost == Some(server) { all } else { all - lost_weight };
        Tried { scenario, server, share: *share, intended: weight / left.max(1.0) }
    };
    let tried: Vec<Tried> = shares.iter().zip(&weights).enumerate().map(tried).collect();
    let by_share = tried.iter().max_by(|a, b| a.share.total_cmp(&b.share));
    let excess = |tried: &Tried| tried.share - 2.0 * tried.intended;
    let by_excess = tried.iter().max_by(|a, b| excess(a).total_cmp(&excess(b)));
    by_share.into_iter().chain(by_excess).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(servers: &[&str]) -> Configuration {
        let mut text = "[listen.web]\naddress = \"0.0.0.0:80\"\n".to_owned();
        for (name, servers) in servers.iter().enumerate() {
            text.push_str(&format!(
                "[pools.p{name}]\nservers = [{servers}]\ncheck = {{ path = \"/\" }}\n\
                 [routes.r{name}]\npath = \"/{name}\"\npool = \"p{name}\"\n"
            ));
        }
        let folder = std::path::PathBuf::from("/");
        let source = crate::Source { name: String::new(), text, folder };
        let checked = crate::check(&source, &crate::Environment::detect());
        checked.configuration.expect("a sound configuration")
    }

    #[test]
    fn a_server_of_each_kind_is_lost() {
        let losses = |servers: &str| {
            let configuration = configuration(&[servers]);
            let scenarios = scenarios(&configuration.pools[0]);
            let lost = scenarios.iter().filter_map(|scenario| match scenario {
                Scenario::Loss(server) => Some(*server),
                Scenario::Start | Scenario::Steady | Scenario::Reload => None,
            });
            lost.collect::<Vec<_>>()
        };
        assert_eq!(losses("'a:1', 'b:1'"), [0; 0]);
        assert_eq!(losses("'a:1', 'b:1', { address = 'c:1', weight = 0 }"), [0; 0]);
        assert_eq!(losses("'a:1', 'b:1', 'c:1'"), [0, 1, 2]);
        let nine: String =
            (0..9).map(|n| format!("{{ address = 's{n}:1', weight = {} }},", 1 + n / 5)).collect();
        assert_eq!(losses(&nine), [0, 5]);
    }

    #[test]
    fn what_is_beyond_the_bound_is_counted() {
        let configuration = configuration(&["'a:1', 'b:1'", "'a:1', 'b:1'", "'a:1'"]);
        let tried = |requests_max| {
            let trials = trials_within(&configuration, requests_max);
            let counts: Vec<usize> = trials.pools.iter().map(Vec::len).collect();
            (counts, trials.untried)
        };
        // Of each scenario two servers are kept: the busiest, and the one furthest above its part.
        assert_eq!(tried(30_000), (vec![6, 6, 0], 0));
        assert_eq!(tried(20_000), (vec![6, 2, 0], 1));
        assert_eq!(tried(4_999), (vec![0, 0, 0], 2));
    }
}
