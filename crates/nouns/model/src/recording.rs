//! The traffic of the last minutes, as much of it as a bounded recorder kept: what `plan` replays
//! through a candidate.

use serde::{Deserialize, Serialize};

/// Requests that were kept, oldest first, and what their indexes mean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// How long it covers, milliseconds; 0 without requests.
    pub span_ms: u64,
    /// Requests that ended in that time, kept or not.
    pub requests: u64,
    /// Names of routes; [`RecordedRequest::route`] indexes them.
    pub routes: Vec<String>,
    /// Names of pools and `ip:port` of servers; [`RecordedRequest::server`] indexes them.
    pub servers: Vec<(String, String)>,
    /// The requests that were kept.
    pub kept: Vec<RecordedRequest>,
}

/// One request that a route forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// When it arrived, milliseconds after the recording's begin.
    #[serde(rename = "t")]
    pub at_ms: u32,
    /// How many requests it stands for, at least 1.
    #[serde(rename = "w")]
    pub weight: u32,
    /// Its route.
    #[serde(rename = "r")]
    pub route: u16,
    /// The server that served it last; `u16::MAX` if none did.
    #[serde(rename = "s")]
    pub server: u16,
    /// A hash of what consistent hashing would take of it under its pool's settings, or of the
    /// client's address where the pool does not hash.
    #[serde(rename = "k")]
    pub key: u64,
    /// Bytes of the response's body, at most `u32::MAX`.
    #[serde(rename = "b")]
    pub bytes: u32,
    /// From sending it to the server to the first byte of the response, microseconds.
    #[serde(rename = "u")]
    pub service_us: u32,
}
