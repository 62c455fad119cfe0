//! What a change would do: in words, and in numbers per server.

use serde::{Deserialize, Serialize};

/// What `plan` says about a candidate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// What differs in words, one line each.
    pub changes: Vec<String>,
    /// Pools of the candidate, in its order.
    pub pools: Vec<PoolForecast>,
    /// Invariants that would break, in words.
    pub broken: Vec<String>,
    /// Requests of the recording that were replayed; 0 means that the shares come from a
    /// synthetic load alone.
    pub replayed: u64,
    /// Requests of the recording whose route the candidate does not have.
    pub lost: u64,
}

/// One pool under the candidate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolForecast {
    /// Its name.
    pub name: String,
    /// Its servers, those that the candidate drops included.
    pub servers: Vec<ServerForecast>,
    /// The part of its requests that other servers than now would get, 0 to 1.
    pub moved: f64,
    /// The part of its requests for which no server would have room, 0 to 1.
    #[serde(default)]
    pub refused: f64,
}

/// One server under the candidate, beside what it is now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerForecast {
    /// As configured: `ip:port` or `name:port`.
    pub address: String,
    /// Its share now, 0 to 1; absent when it is new.
    pub share_before: Option<f64>,
    /// Its share under the candidate, 0 to 1; absent when it is dropped.
    pub share: Option<f64>,
    /// Its share under the candidate if all servers were alike, 0 to 1; absent where that is
    /// `share` itself. Where both differ, latency decides at this load, not the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_intended: Option<f64>,
    /// Requests in flight now, on average.
    pub in_flight_before: Option<f64>,
    /// Requests in flight under the candidate, on average.
    pub in_flight: Option<f64>,
    /// 99th percentile of the time to the first byte now, microseconds.
    pub p99_us_before: Option<u64>,
    /// The same under the candidate.
    pub p99_us: Option<u64>,
}
