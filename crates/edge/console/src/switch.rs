//! What the endpoints of registered clients take and give.
//!
//! Disabling is for the moment in which a client does harm: it does not wait for a change of the
//! configuration that is under way, and it stays in effect until it is taken back.

use model::fact::ClientFacts;
use model::switch::Switch;
use serde::{Deserialize, Serialize};

use crate::change::check_words;

/// `POST /v1/clients/disable` and `POST /v1/clients/enable`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchRequest {
    /// The client's name in the configuration.
    pub client: String,
    /// Why; as [`crate::Apply::reason`].
    pub reason: String,
    /// As [`crate::Apply::author`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// A switch as the door is asked for it: checked for its form, and with its author's full name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchOrder {
    /// Who: `root`, `ci-bot (root)`, `ci-bot (token)`.
    pub author: String,
    /// The client's name.
    pub client: String,
    /// What it is switched to.
    pub enabled: bool,
    /// Why.
    pub reason: String,
}

/// `GET /v1/clients`: one registered client of the live configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RegisteredClient {
    /// What it did in the last second; `enabled` is as of now.
    #[serde(flatten)]
    pub facts: ClientFacts,
    /// Routes that it may use; empty means all.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Requests it may have in flight and waiting; absent without a limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_max: Option<u32>,
    /// Who disabled it by hand, when and why; absent while nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Switch>,
}

impl SwitchRequest {
    /// Says what is wrong with the form of the request; `Ok` otherwise.
    pub(crate) fn check(&self) -> Result<(), String> {
        check_words(&self.reason, self.author.as_deref())
    }
}
