//! What the door observed in one second: the facts that `status`, and later detection, read.
//!
//! Counts are of that second; gauges are as of its end. Plain data that serializes, so that a
//! stored run of snapshots replays.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::configuration::Class;

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
    /// Per listener that only passes bytes on, in configuration order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp: Vec<TcpFacts>,
    /// The door's own answers in this second by reason code; only those that occurred.
    pub reasons: Vec<ReasonCount>,
    /// The number of the live generation; 0 when it is not known.
    #[serde(default)]
    pub generation: u64,
    /// What is seen of the change that is tried or watched, in words; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Who was let in.
    #[serde(default)]
    pub admission: AdmissionFacts,
    /// Servers that only a candidate has while it is tried, by pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<PoolFacts>,
    /// The invariants of each pool of several servers, and whether they hold.
    #[serde(default)]
    pub invariants: Vec<InvariantFact>,
    /// The files of certificates in use; shared by all seconds in which nothing of them changed.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub certificates: Arc<[CertificateFacts]>,
}

fn is_empty(facts: &Arc<[CertificateFacts]>) -> bool {
    facts.is_empty()
}

/// One file of a listener's or a pool's TLS that ends at some time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// `listener` or `pool`.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// `certificate`, `ocsp`, `revocation` (lists of revoked certificates) or `roots` (authorities).
    pub kind: String,
    /// The file.
    pub file: String,
    /// The hosts that a certificate is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// When it ends, in seconds of Unix time; the first to end where the file holds several.
    /// Absent where it does not say.
    pub not_after_unix_s: Option<i64>,
    /// Whole days until then; negative once it has expired.
    pub days_left: Option<i64>,
    /// What is wrong with it, in words: it has expired, or what is on the disk now cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Of a certificate that the door obtains by itself; absent for all other files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtaining: Option<ObtainingFacts>,
}

/// How a certificate that the door obtains by itself (ACME) comes along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObtainingFacts {
    /// An attempt is under way.
    pub underway: bool,
    /// Attempts in a row that failed; 0 after one that succeeded.
    pub failures: u32,
    /// When the last of these failed, in seconds of Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at_unix_s: Option<i64>,
    /// Why it failed: one line, at most 300 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the next attempt is due, to renew it or to repeat what failed, in seconds of Unix time.
    pub next_at_unix_s: i64,
}

/// One second of admission: who asked for how much, and who was refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AdmissionFacts {
    /// Registered clients, in configuration order.
    pub clients: Vec<ClientFacts>,
    /// Rate limits, in configuration order.
    pub limits: Vec<LimitFacts>,
    /// Who sent the most, the most first; at most 20.
    pub talkers: Vec<TalkerFacts>,
    /// What would have been refused in this second if `admission.observe` were off, by reason;
    /// only those that occurred. What rate limits would have refused is in `limits`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<ReasonCount>,
    /// Bytes that connections hold in buffers at the end.
    pub buffer_bytes: u64,
    /// Quotas that are shared with other doors; absent when none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedFacts>,
}

/// One second of one registered client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientFacts {
    /// Its name.
    pub name: String,
    /// Its class as configured.
    pub class: Class,
    /// False when it is disabled, by the configuration or by hand.
    pub enabled: bool,
    /// Whether it is demoted, because it sends far more than it used to.
    pub demoted: bool,
    /// Requests that arrived.
    pub requests: u64,
    /// Requests that were refused for its own sake.
    pub refused: u64,
    /// Requests in flight or waiting at the end.
    pub in_flight: u64,
    /// What it usually sends, requests per second; absent while it is learned.
    pub baseline_per_second: Option<f64>,
    /// The rate it is held to, requests per second.
    pub limit_per_second: Option<f64>,
}

/// One second of one rate limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitFacts {
    /// Its name.
    pub name: String,
    /// Whether it only counts.
    pub observe: bool,
    /// Requests it applied to.
    pub requests: u64,
    /// Requests it refused, or would have refused when it only counts.
    pub refused: u64,
}

/// One second of one of those who sent the most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TalkerFacts {
    /// A registered client's name, an address, or the value of the header that tells flows apart,
    /// shortened and hashed: it may be a secret.
    pub name: String,
    /// `client`, `address` or `header`.
    pub kind: String,
    /// Requests that arrived; an upper bound where others share its place in the sketch.
    pub requests: u64,
    /// How much `requests` may be too high.
    pub error: u64,
    /// Its share of all requests, 0 to 1.
    pub share: f64,
    /// Whether it is demoted.
    pub demoted: bool,
}

/// The shared quotas at the end of one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SharedFacts {
    /// `shared`, or `alone` while the server that holds them does not answer.
    pub state: String,
    /// How many doors share, as last known.
    pub doors: u32,
    /// Tokens leased in this second.
    pub leased: u64,
    /// Requests decided without a lease in this second.
    pub alone: u64,
    /// Calls that failed or took too long in this second.
    pub failed: u64,
}

/// One second of one pool's queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueFacts {
    /// Requests it may have in flight now; absent without a limit.
    pub limit: Option<u32>,
    /// Requests in flight at the end.
    pub in_flight: u32,
    /// Requests waiting at the end.
    pub waiting: u32,
    /// Requests that waited and were then served, or given up, in this second.
    pub waited: u64,
    /// Their mean wait in microseconds.
    pub wait_us: u64,
    /// Median service time in microseconds, as the queue reckons with.
    pub service_us: u64,
    /// True while more arrives than can be served.
    pub overloaded: bool,
    /// The least important class that is let in.
    pub class: Class,
    /// The part of that class that is let in, 0 to 1.
    pub class_share: f64,
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
    /// Requests that were not let in, for want of servers, memory or patience; they are among
    /// those of class 5xx.
    #[serde(default)]
    pub refused: u64,
    /// Requests in flight at the end.
    pub in_flight: u64,
    /// Median total time in microseconds; absent without requests.
    pub p50_us: Option<u64>,
    /// 99th percentile of the total time in microseconds.
    pub p99_us: Option<u64>,
}

/// One second of one listener that only passes bytes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TcpFacts {
    /// The listener's name.
    pub name: String,
    /// Connections open at the end.
    pub connections: u64,
    /// Connections taken in.
    pub opened: u64,
    /// Bytes from clients to servers.
    pub bytes_in: u64,
    /// Bytes from servers to clients.
    pub bytes_out: u64,
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
    /// Its queue.
    #[serde(default)]
    pub queue: QueueFacts,
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
    /// Requests it may have in flight; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_max: Option<u32>,
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
