//! A pool at work: requests in flight, in the order in which they end.
//!
//! Invariant: everything that ended by a moment was reported to the pool before anything is
//! picked at that moment.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;

use crate::dice::Dice;
use crate::pick::{NoServer, Outcome, Pick, PickRequest};
use crate::pool::Pool;

/// A pool, its clock and what is in flight.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) pool: Pool,
    pub(super) now: Timestamp,
    pub(super) dice: Dice,
    /// By the moment they end; a number tells those apart that end together.
    in_flight: BTreeMap<(Timestamp, u64), Flight>,
    sent: u64,
}

/// One request in flight.
#[derive(Debug)]
struct Flight {
    pick: Pick,
    sent_at: Timestamp,
}

impl Run {
    pub(super) fn new(pool: Pool, now: Timestamp, seed: u64) -> Self {
        Self { pool, now, dice: Dice::new(seed), in_flight: BTreeMap::new(), sent: 0 }
    }

    /// Turns the clock to `now` and ends what is over by then.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some(first) = self.in_flight.first_entry()
            && first.key().0 <= now
        {
            let ((ended_at, _), flight) = first.remove_entry();
            let latency = ended_at.since(flight.sent_at);
            // The state of a server is read from the pool; what changed is nobody's news here.
            drop(flight.pick.finish(Outcome::Success { latency }, ended_at));
        }
        self.now = now;
    }

    /// Asks the pool for a server.
    pub(super) fn pick(&mut self, hash: u64, tried: &[usize]) -> Result<Pick, NoServer> {
        let request = PickRequest { hash: Some(hash), tried };
        self.pool.pick(&request, self.now, &mut self.dice)
    }

    /// Lets the picked server answer after `latency`.
    pub(super) fn send(&mut self, pick: Pick, latency: Duration) {
        self.sent += 1;
        let flight = Flight { pick, sent_at: self.now };
        self.in_flight.insert((self.now + latency, self.sent), flight);
    }
}
