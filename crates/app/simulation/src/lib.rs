//! Doors, servers and clients under a simulated clock, deciding with the door's own code.
//!
//! A discrete-event simulation: an experiment is a [`Plan`], [`run`] plays it and says what was
//! [`Seen`]. What a door decides comes from `balancing` and `admission`, the same code that
//! serves; what is simulated is the world around it. For tests and experiments only.
//! Invariants: a run replays from its plan, seed included; nothing reads a real clock. Rules that
//! are compared meet the same arrivals and the same work, for each has a generator of its own.

mod chance;
mod chooser;
mod events;
mod guard;
mod hot_cold;
mod join_least;
mod plan;
mod seen;
mod server;
mod world;

pub use chance::Work;
pub use chooser::Rule;
pub use plan::{Entrance, Flow, Patience, Plan};
pub use seen::{FlowSeen, Moment, Seen, ServerSeen};
pub use server::{Condition, Scaling, ServerPlan};
pub use world::run;
