//! What a server or a pool was measured to be able to do, as `load capacity` writes it and
//! checks and admission read it.

use serde::{Deserialize, Serialize};

/// One measured capacity: a JSON document of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// What was measured: a URL.
    pub url: String,
    /// The pool of the configuration it stands for, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// When, as RFC 3339 in UTC.
    pub measured_at: String,
    /// The highest rate that held the conditions, requests per second.
    pub per_second: f64,
    /// The lower and upper ends of its error band, requests per second.
    pub low_per_second: f64,
    /// As above.
    pub high_per_second: f64,
    /// The conditions it held: the 99th percentile of latency at most this, milliseconds.
    pub p99_ms_max: f64,
    /// And the share of failed requests at most this, 0 to 1.
    pub failed_share_max: f64,
    /// Why a higher rate did not hold: `latency`, `failures`, `throughput`, `generator`, or `limit`.
    pub bound_by: String,
    /// The Universal Scalability Law fitted to the steps, where they allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usl: Option<Usl>,
}

/// X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1)), N requests in flight (Gunther 1993).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usl {
    /// Requests per second of one in flight.
    pub lambda: f64,
    /// Contention, 0 to 1.
    pub sigma: f64,
    /// Coherency: above zero, throughput falls past a peak.
    pub kappa: f64,
}
