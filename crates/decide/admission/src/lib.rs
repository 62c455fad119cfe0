//! Who is let in, who waits and who is refused, before any server does work for it.
//!
//! Pure: time comes in as `now`, who asks as a [`Request`]; nothing here waits, reads a clock or
//! does I/O. One [`Admission`] is shared by all workers, so what it learns lives in atomics; the
//! requests that wait are a worker's own ([`Line`]).
//! Read [`Admission::admit`] first: the seven steps stand there in their order.
//! Invariants: everything that can grow has a limit; a place that was taken is given back by the
//! drop of its [`Pass`], however the request ends; a refusal has taken nothing from a server.

mod admit;
mod baseline;
mod buffers;
mod clients;
mod count;
mod demotion;
mod gate;
mod gcra;
mod hash;
mod lease;
mod level;
mod limiter;
mod limits;
mod queue;
mod request;
mod retries;
mod retry_after;
mod sketch;
mod talkers;
#[cfg(test)]
mod tests;

pub use admit::{Admission, Checked, Verdict};
pub use buffers::{BufferHold, Buffers};
pub use clients::Clients;
pub use gate::{Gate, Pass};
pub use gcra::{KeyTable, Pace, Room};
pub use lease::{Ask, Asks, Leases};
pub use limiter::{Ending, Limiter, LimiterSample};
pub use limits::{Limits, Quota};
pub use queue::{Called, Line, Ticket};
pub use request::{Refusal, Request};
pub use retries::RetryShare;
pub use talkers::{Talker, Talkers};
