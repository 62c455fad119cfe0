//! A candidate that is tried: which requests it serves.
//!
//! The choice is made for each request, at random. A choice for each client would keep a person's
//! whole visit in one arm, but an address may stand for a load balancer or an office: one address
//! could bring the candidate everything or nothing, and the arms would differ by who is in them.
//! Neither holds for requests that the live configuration binds to a server by a key of the client
//! (consistent hashing by cookie, header or client address): there a session lives on one server,
//! and would break at every change of arms, so the key decides, the same way in all workers. A key
//! of the path binds no session and does not decide. Nor does a counter: every tenth request of a
//! steady rhythm, or of a round robin that both arms share, could always be the same one.
//! Invariants: the share holds for each request that has no such key, and for each key; a request
//! stays in its arm to its end.

use std::rc::Rc;
use std::sync::Arc;

use model::configuration::{Action, Balance, HashKey, Listener};
use telemetry::{ArmCollector, Arms};

use crate::connection::Client;
use crate::exchange::Exchange;
use crate::live::Live;
use crate::record;
use crate::route::Match;
use crate::serve::head_bytes;
use crate::view::View;
use crate::worker::Worker;

/// A configuration that serves a share of the requests for a while.
#[derive(Debug)]
pub struct Candidate {
    pub(crate) live: Arc<Live>,
    pub(crate) share: f64,
    pub(crate) arms: Arc<Arms>,
}

impl Candidate {
    /// Tries `live`, which was built with what is live as its previous, on a `share` of 0 to 1 of
    /// the requests. Its listeners are not tried: they change when it is promoted.
    #[must_use]
    pub fn new(live: Arc<Live>, share: f64) -> Self {
        Self { live, share, arms: Arc::default() }
    }

    /// The same trial with its configuration built anew, after the servers' names changed.
    #[must_use]
    pub fn rebuilt(&self, live: Arc<Live>) -> Self {
        Self { live, share: self.share, arms: Arc::clone(&self.arms) }
    }

    /// What is tried; as [`crate::worker::Command::Live`] it is promoted.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Reads what both arms do; to be asked for once per trial.
    #[must_use]
    pub fn collector(&self) -> ArmCollector {
        ArmCollector::new(Arc::clone(&self.arms))
    }
}

/// A candidate as one worker has it.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) candidate: Arc<Candidate>,
    pub(crate) view: Rc<View>,
}

/// The configuration that serves the request, and what its router says.
pub(crate) fn route(
    worker: &Worker,
    client: &Client,
    exchange: &Exchange,
    listener: &Listener,
) -> (Rc<View>, Match) {
    let view = worker.view();
    let found = view.live.router.find(&exchange.request, head_bytes(client), &listener.name);
    let trial = worker.trial();
    let Some(trial) = &*trial else { return (view, found) };
    let chance = match session(&view, found, (client, exchange), listener) {
        Some(key) => chance_of(key, &trial.candidate.live.configuration.version),
        None => worker.dice.borrow_mut().unit(),
    };
    if chance >= trial.candidate.share {
        return (view, found);
    }
    let found = trial.view.live.router.find(&exchange.request, head_bytes(client), &listener.name);
    (Rc::clone(&trial.view), found)
}

/// The key that binds the request to a server, if it is one of the client.
fn session(
    view: &View,
    found: Match,
    (client, exchange): (&Client, &Exchange),
    listener: &Listener,
) -> Option<u64> {
    let Match::Route(index) = found else { return None };
    let Action::Forward { pool, .. } = view.live.router.routes()[index].action else { return None };
    let balance = &view.live.configuration.pools[pool].balance;
    if matches!(balance, Balance::Maglev(HashKey::Path)) {
        return None;
    }
    record::key(balance, client, exchange, listener)
}

/// A number from 0 up to, not including, 1 for a key: the same in all workers, another for
/// another candidate.
fn chance_of(key: u64, version: &str) -> f64 {
    let mixed = record::hash(&(key ^ record::hash(version.as_bytes())).to_le_bytes());
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_even_and_another_candidate_takes_others() {
        let share = |version: &str| -> Vec<u64> {
            (0..10_000)
                .filter(|key| chance_of(record::hash(&u64::to_le_bytes(*key)), version) < 0.1)
                .collect()
        };
        let (first, second) = (share("a"), share("b"));
        assert!((900..1_100).contains(&first.len()), "{}", first.len());
        assert_eq!(first, share("a"));
        let both = first.iter().filter(|key| second.contains(key)).count();
        assert!((50..150).contains(&both), "{both}");
    }
}
