//! The admin interface: who may look at the door, who may change it, and over which socket.
//!
//! Two ways in. The Unix socket believes the kernel: the caller is root or the door's own user.
//! The TCP address believes a token. On both, `Host` and `Origin` are checked, because a browser
//! on the operator's machine reaches loopback too (DNS rebinding, cross-origin requests).
//! What the answers hold comes from the one [`Control`] that `app/tidegate` connects.
//!
//! Invariant: the door changes only by `POST` with `Content-Type: application/json` from an
//! admitted caller, one change at a time, and each change leaves an audit line.

mod answer;
pub mod client;
mod guard;
mod mutation;
mod server;
#[cfg(test)]
mod tests;
mod token;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use model::fact::Snapshot;

pub use server::{serve_tcp, serve_unix};
pub use token::{Token, TokenError};

/// The end of a reload: `Ok` says what changed, `Err` why nothing did (rendered findings).
pub type Reload = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

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

    /// Reads the configuration again. Runs to its end even when the caller hangs up.
    fn reload(&self) -> Reload;

    /// True while the door takes new traffic: started, and not draining.
    fn ready(&self) -> bool;

    /// Takes a server out of (`on`), or back into, the rotation of its pool.
    ///
    /// # Errors
    /// In words, when there is no such pool or server.
    fn drain_server(&self, pool: &str, server: &str, on: bool) -> Result<(), String>;
}
