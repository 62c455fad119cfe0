//! A switch: somebody disabled a registered client while the door ran, or took that back.
//!
//! It lies above the configuration: a client is let in when the configuration enables it and
//! nobody has disabled it since. Numbers only grow, so that the history tells the order.

use serde::{Deserialize, Serialize};

/// One entry of the history of switches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// From 1.
    pub number: u64,
    /// The client's name in the configuration.
    pub client: String,
    /// What it was switched to.
    pub enabled: bool,
    /// When, as RFC 3339 in UTC with milliseconds.
    pub at: String,
    /// Who: a user of the machine, or what a client with the token calls itself; `door` where the
    /// client left the configuration.
    pub author: String,
    /// Why, in the author's words.
    pub reason: String,
}
