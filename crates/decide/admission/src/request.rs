//! What admission asks of a request, and what it answers when it refuses.
//!
//! A hash is only taken when a step needs it: the walk stops at the first step that refuses.

use std::time::Duration;

use model::configuration::LimitKey;
use model::{Reason, Timestamp};

use crate::talkers::Talker;

/// A request as far as admission looks at it; the door implements it over what it has read.
pub trait Request {
    /// The registered client that sent it: its place in `Configuration::clients`.
    fn client(&self) -> Option<usize>;

    /// The worker that it arrived at.
    fn worker(&self) -> usize;

    /// A keyed hash of who sent it where no registered client did: its address (IPv4 /32, IPv6
    /// /64), or the header that `admission.flow` names.
    fn flow(&self) -> u64;

    /// Who is named for it among those who send the most: the registered client, else what
    /// `flow` is a hash of.
    fn talker(&self) -> Talker;

    /// A keyed hash of whose requests a limit counts together. `None`: the limit does not apply.
    fn key(&self, by: &LimitKey) -> Option<u64>;

    /// As [`Request::key`], but the same in all doors, for limits that they share; only taken when
    /// a door asks the others' server. Nobody may be able to find two values with the same key.
    fn shared_key(&self, by: &LimitKey) -> Option<u128> {
        self.key(by).map(u128::from)
    }

    /// Its route: a place in `Configuration::routes`.
    fn route(&self) -> usize;

    /// Whether it says of itself that it repeats another.
    fn is_retry(&self) -> bool;

    /// Bytes of memory that it holds while it waits.
    fn bytes(&self) -> u64;

    /// Whether nothing was let in on its connection before.
    fn is_newcomer(&self) -> bool {
        false
    }

    /// When nobody waits for its answer any more; `None` when that is not known.
    fn deadline(&self) -> Option<Timestamp>;

    /// Whether a server that may take it has a free place (`balancing::Pool::has_room`).
    fn server_free(&self) -> bool;
}

/// A request that is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// When to ask again, in whole seconds; `None` when asking again is no use.
    pub retry_after: Option<Duration>,
    /// The rate limit that refused: its place in `Configuration::limits`.
    pub limit: Option<usize>,
}

impl Refusal {
    /// A refusal after which asking again is no use, or for which nobody can say when.
    #[must_use]
    pub const fn because(reason: Reason) -> Self {
        Self { reason, retry_after: None, limit: None }
    }

    /// A refusal for want of a place: try again in 1 to 3 s. `spread` keeps those who are refused
    /// together from coming back together.
    #[must_use]
    pub const fn busy(reason: Reason, spread: u64) -> Self {
        let seconds = 1 + spread % 3;
        Self { reason, retry_after: Some(Duration::from_secs(seconds)), limit: None }
    }
}
