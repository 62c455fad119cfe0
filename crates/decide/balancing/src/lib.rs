//! Which server gets the next request: algorithms, health, ejection and the retry budget.
//!
//! Pure: time comes in as `now`, chance as [`Dice`]; nothing here waits, allocates on the path
//! or does I/O. One [`Pool`] is shared by all workers, so what it learns lives in atomics.
//! Invariants: a request in flight is counted from its [`Pick`] to the pick's drop; a server
//! never holds more than `in_flight_max`, nor than [`Pool::limit_server`] said; draining servers, servers of weight 0 and servers
//! whose first check is still to come get nothing, in any state of the pool.

mod candidates;
mod choice;
mod dice;
mod ejection;
mod ewma;
mod health;
mod learning;
mod least_request;
mod maglev;
mod p2c;
mod panic;
mod pick;
mod pool;
mod random;
mod retry;
mod room;
mod round_robin;
mod server;
mod table;
pub mod trial;
mod zone;

#[cfg(test)]
mod tests;

pub use dice::Dice;
pub use pick::{FailureCause, NoServer, Outcome, Pick, PickRequest, StateChange};
pub use pool::Pool;
pub use retry::RetryBudget;
pub use server::{Member, Server};
