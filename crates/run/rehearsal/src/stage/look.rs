//! One look at everything on a stage: what each server says, and what the front door shows of it.

use std::net::SocketAddr;
use std::time::Duration;

use model::{Name, Timestamp};
use serde_json::Value;

use crate::sample;

/// A server that does not say how it is within this time does not answer.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// When it began, by [`net::clock::now`].
    pub at: Timestamp,
    /// In the order of the drill's stack.
    pub servers: Vec<ServerLook>,
    /// How often the front door has gone back to an earlier configuration by itself; `None`: it
    /// does not say.
    pub rollbacks: Option<u64>,
}

/// One server at one moment.
#[derive(Clone, Debug)]
pub struct ServerLook {
    /// Its name.
    pub name: Name,
    /// Whether its process runs; a stopped one does.
    pub alive: bool,
    /// What it says of itself; `None`: it does not answer.
    pub gauges: Option<Gauges>,
    /// Its state as the front door shows it, in the door's own words; `None`: the door shows none.
    pub state_seen_by_door: Option<String>,
    /// Whether that state means that something is wrong with it; `None`: the door shows none.
    pub wrong: Option<bool>,
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Places it has: requests it serves at once.
    pub places: u64,
    /// Places taken.
    pub busy: u64,
    /// Requests that wait for a place.
    pub waiting: u64,
    /// Requests answered well since it started.
    pub served: u64,
    /// Requests answered with an error since it started.
    pub failed: u64,
    /// Queries and connections to the database that were tried since it started.
    pub database_attempts: u64,
    /// Those of them that failed.
    pub database_failures: u64,
}

impl Gauges {
    /// Whether all places are taken.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.busy >= self.places
    }

    fn read(answer: &Value) -> Self {
        let number = |key| answer.get(key).and_then(Value::as_u64).unwrap_or_default();
        Self {
            places: number("concurrency"),
            busy: number("busy"),
            waiting: number("waiting"),
            served: number("served"),
            failed: number("failed"),
            database_attempts: number("database_attempts"),
            database_failures: number("database_failures"),
        }
    }
}

/// How a front door sees one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The door's own word.
    pub(super) state: String,
    /// Whether that means that something is wrong.
    pub(super) wrong: bool,
}

/// What the server at this address says of itself, if it answers in time.
pub(super) async fn gauges(address: SocketAddr) -> Option<Gauges> {
    let answer = tokio::time::timeout(PATIENCE, sample::control(address, None)).await;
    answer.ok()?.ok().as_ref().map(Gauges::read)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn gauges_are_read_and_missing_ones_are_zero() {
        let answer = json!({ "name": "a", "concurrency": 5, "busy": 5, "waiting": 7, "served": 9 });
        let gauges = Gauges::read(&answer);
        assert_eq!(
            gauges,
            Gauges { places: 5, busy: 5, waiting: 7, served: 9, ..Gauges::default() }
        );
        assert!(gauges.is_saturated());
        assert!(!Gauges { busy: 4, ..gauges }.is_saturated());
    }
}
