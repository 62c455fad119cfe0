//! The admin interface: who may look at the door, who may change it, and over which socket.
//!
//! Two ways in. The Unix socket believes the kernel: the caller is root or the door's own user.
//! The TCP address believes a token. On both, `Host` and `Origin` are checked, because a browser
//! on the operator's machine reaches loopback too (DNS rebinding, cross-origin requests).
//! What the answers hold comes from the one [`Control`] that `app/tidegate` connects.
//!
//! What is served, all of it JSON but the last three:
//!
//! | Endpoint | Takes | Gives |
//! | --- | --- | --- |
//! | `GET /v1/status` | | [`Snapshot`] |
//! | `GET /v1/history?seconds=60` | 1 to 3600 | `[Snapshot]` |
//! | `POST /v1/reload` | `{}` | [`Changed`] |
//! | `POST /v1/apply` | [`Apply`], at most 5 MiB | [`Changed`] |
//! | `POST /v1/rollback` | [`RollBack`] | [`Changed`] |
//! | `POST /v1/confirm` | [`Confirm`] | [`Changed`] |
//! | `GET /v1/changes` | | [`ChangeStatus`] |
//! | `GET /v1/changes/wait?generation=N&seconds=30` | N: the open one by default; 1 to 30 | [`Waited`], once it is decided or the time is over |
//! | `GET /v1/generations?limit=20&before=N` | 1 to 1000 | `[Generation]`, newest first |
//! | `GET /v1/generations/N` | | [`Kept`] |
//! | `GET /v1/configuration` | | [`Kept`], the live one |
//! | `GET /v1/recording` | | [`Recording`] |
//! | `GET /v1/clients` | | `[`[`RegisteredClient`]`]` |
//! | `POST /v1/clients/disable`, `/v1/clients/enable` | [`SwitchRequest`] | `{"result"}` |
//! | `GET /v1/switches?limit=20&before=N` | 1 to 1000 | `[Switch]`, newest first |
//! | `POST /v1/servers/drain` | `{"pool", "server", "on"}` | `{"result"}` |
//! | `GET /metrics`, `/health`, `/ready` | | text |
//!
//! A refusal is RFC 9457 problem details: `detail` says what, where and what to do; `code` tells
//! programs which it is, see [`RefusalKind`].
//!
//! Invariant: the door changes only by `POST` with `Content-Type: application/json` from an
//! admitted caller, one change at a time, and each change leaves an audit line. Switches of clients
//! are one at a time too, but beside changes: they do not wait for one.

mod answer;
mod body;
mod change;
pub mod client;
mod guard;
mod look;
mod mutation;
mod server;
mod switch;
#[cfg(test)]
mod tests;
mod token;
mod user;

use std::sync::Arc;

use model::fact::Snapshot;
use model::generation::{ChangeStatus, Generation};
use model::recording::Recording;
use model::switch::Switch;
use tokio::sync::watch;

pub use change::{
    AUTHOR_CHARACTERS_MAX, Answer, Apply, ChangeOrder, Changed, Confirm, Kept,
    REASON_CHARACTERS_MAX, Refusal, RefusalKind, RollBack, Waited, What,
};
pub use server::{serve_tcp, serve_unix};
pub use switch::{RegisteredClient, SwitchOrder, SwitchRequest};
pub use token::{Token, TokenError};

/// What the console may ask of the door; `app/tidegate` implements it.
///
/// The synchronous calls run on the console's runtime and must not wait for anything slow.
pub trait Control: Send + Sync + 'static {
    /// The last whole second; `None` before the first one ended.
    fn snapshot(&self) -> Option<Arc<Snapshot>>;

    /// Up to `seconds` (1 to 3,600) last snapshots, oldest first.
    fn history(&self, seconds: usize) -> Vec<Arc<Snapshot>>;

    /// The metrics in the best format for an `Accept` header: body and content type.
    fn metrics(&self, accept: &str) -> (String, &'static str);

    /// Carries out a change. Runs to its end even when the caller hangs up.
    fn change(&self, order: ChangeOrder) -> Answer<Changed>;

    /// How changes stand, now and from now on.
    fn changes(&self) -> watch::Receiver<Arc<ChangeStatus>>;

    /// Up to `limit` (1 to 1,000) generations before `before`, newest first.
    fn generations(&self, limit: usize, before: Option<u64>) -> Answer<Vec<Generation>>;

    /// The generation of this number; [`RefusalKind::Unknown`] if there is none.
    fn generation(&self, number: u64) -> Answer<Kept>;

    /// The live generation.
    fn configuration(&self) -> Arc<Kept>;

    /// The traffic of the last minutes, as much as was kept.
    fn recording(&self) -> Recording;

    /// The registered clients of the live configuration, in its order.
    fn clients(&self) -> Vec<RegisteredClient>;

    /// Up to `limit` (1 to 1,000) switches of clients before `before`, newest first.
    fn switches(&self, limit: usize, before: Option<u64>) -> Answer<Vec<Switch>>;

    /// Disables a client, or takes that back, and says in words what came of it. A client that is
    /// disabled is refused when the call returns, before the answer has come. Runs to its end even
    /// when the caller hangs up.
    fn switch(&self, order: SwitchOrder) -> Answer<String>;

    /// True while the door takes new traffic: started, and not draining.
    fn ready(&self) -> bool;

    /// Takes a server out of (`on`), or back into, the rotation of its pool.
    ///
    /// # Errors
    /// In words, when there is no such pool or server.
    fn drain_server(&self, pool: &str, server: &str, on: bool) -> Result<(), String>;
}
