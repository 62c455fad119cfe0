//! What the door observed in one second: the facts that `status`, and later detection, read.
//!
//! Counts are of that second; gauges are as of its end. Plain data that serializes, so that a
//! stored run of snapshots replays.

use serde::{Deserialize, Serialize};

/// One second of the whole door.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The second's end, UTC, RFC 3339 with milliseconds.
    pub at: String,
    /// Seconds since the process started.
    pub uptime_seconds: u64,
    /// The configuration's version (see `Configuration::version`).
    pub configuration: String,
    /// Client connections open at the end.
    pub connections: u64,
    /// Client connections accepted in this second.
    pub connections_accepted: u64,
    /// True once the door drains.
    pub draining: bool,
    /// Access log lines lost so far because the writer could not follow.
    pub log_lines_lost: u64,
    /// Per route, in configuration order.
    pub routes: Vec<RouteFacts>,
    /// Per pool, in configuration order.
    pub pools: Vec<PoolFacts>,
    /// The door's own answers in this second by reason code; only those that occurred.
    pub reasons: Vec<ReasonCount>,
    /// The number of the live generation; 0 when it is not known.
    #[serde(default)]
    pub generation: u64,
    /// What is seen of the change that is tried or watched, in words; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// The invariants of each pool of several servers, and whether they hold.
    #[serde(default)]
    pub invariants: Vec<InvariantFact>,
}

/// One invariant of one pool in one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InvariantFact {
    /// Its key in `[invariants]`: `share_max` or `eligible_min`.
    pub name: String,
    /// The pool.
    pub pool: String,
    /// What is measured: the share of the busiest server, 0 to 1, or servers that take requests.
    pub value: f64,
    /// What it is held against.
    pub limit: f64,
    /// Whether it holds.
    pub holds: bool,
}

/// One second of one route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteFacts {
    /// The route's name.
    pub name: String,
    /// Requests that ended.
    pub requests: u64,
    /// Requests by status class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub by_class: [u64; 5],
    /// Requests in flight at the end.
    pub in_flight: u64,
    /// Median total time in microseconds; absent without requests.
    pub p50_us: Option<u64>,
    /// 99th percentile of the total time in microseconds.
    pub p99_us: Option<u64>,
}

/// One second of one pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolFacts {
    /// The pool's name.
    pub name: String,
    /// Retries sent.
    pub retries: u64,
    /// Retries wanted but over the budget.
    pub retries_refused: u64,
    /// True while less than half of the weight is healthy. The healthy still come first, each
    /// up to a bound on its requests in flight; what is over goes to the others.
    pub panic: bool,
    /// Its servers.
    pub servers: Vec<ServerFacts>,
}

/// One second of one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// `ip:port`.
    pub address: String,
    /// The name it was resolved from, if any.
    pub name: Option<String>,
    /// Whether it takes requests.
    pub state: ServerState,
    /// Why it does not take requests, in words.
    pub why: Option<String>,
    /// Its weight.
    pub weight: u32,
    /// Its share of the pool's attempts in this second, 0 to 1; absent without any.
    pub share: Option<f64>,
    /// The share that weight, warmth, health and zone intend for it at this moment, 0 to 1:
    /// less than its weight's while it warms up, 0 when it takes no requests. Latency and load
    /// move the real share away from it.
    pub share_intended: f64,
    /// Attempts that ended.
    pub requests: u64,
    /// Attempts that failed: 5xx, reset, timeout, connect failure.
    pub failures: u64,
    /// Attempts in flight at the end.
    pub in_flight: u64,
    /// Its peak EWMA in microseconds.
    pub ewma_us: u64,
    /// Median time to the first byte in microseconds; absent without requests.
    pub p50_us: Option<u64>,
    /// 99th percentile of the time to the first byte in microseconds.
    pub p99_us: Option<u64>,
}

/// Whether a server takes requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// No check has passed yet.
    #[default]
    Unknown,
    /// Takes requests.
    Up,
    /// Takes a growing part of its share.
    SlowStart,
    /// Set aside because requests failed; a probe decides its return.
    Ejected,
    /// Down by its health checks.
    Down,
    /// Takes no new requests by configuration.
    Draining,
}

/// How often a reason occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// The reason's code.
    pub code: String,
    /// How often.
    pub count: u64,
}
