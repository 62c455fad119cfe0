//! The shape of `[stack]`, of a server's settings and of `[door]` as they are written.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use crate::raw::{RawDuration, RawRate, RawSize};

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawStack {
    /// How many, named `a`, `b` and so on; or up to 32 names.
    servers: RawServers,
    /// How every server behaves.
    server: Option<RawSettings>,
    /// A PostgreSQL cluster of the drill's own.
    database: Option<RawDatabase>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawServers {
    Count(#[schemars(range(min = 1, max = 26))] u32),
    Names(#[schemars(length(min = 1, max = 32))] Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawDatabase {
    /// Its `max_connections`.
    #[schemars(range(min = 10, max = 1_000), extend("default" = 100))]
    connections: Option<u32>,
    /// Rows of the table that the sample applications query.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 10_000))]
    rows: Option<u32>,
}

/// How a sample application behaves.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawSettings {
    /// Mean milliseconds of work per request.
    #[schemars(range(min = 0, max = 60_000))]
    service_time_ms: Option<f64>,
    /// How the time of one request varies around that mean.
    distribution: Option<RawDistribution>,
    /// Requests served at once.
    #[schemars(range(min = 1, max = 10_000))]
    concurrency: Option<u32>,
    /// Requests that may wait; further ones are answered 503 at once.
    #[schemars(range(min = 0, max = 10_000))]
    queue_max: Option<u32>,
    /// The share of requests that fail.
    #[schemars(range(min = 0, max = 1))]
    error_rate: Option<f64>,
    /// The status of a failing request.
    #[schemars(range(min = 400, max = 599))]
    error_status: Option<u16>,
    /// A failing request is answered at once instead of after its time.
    fast_errors: Option<bool>,
    /// The path of the health check.
    #[schemars(regex(pattern = "^/"))]
    health_path: Option<String>,
    /// What the health check says.
    healthy: Option<bool>,
    /// Bytes of an ordinary answer's body, up to 16MiB.
    body_bytes: Option<RawSize>,
    /// In each answer as the header `x-version`.
    #[schemars(length(min = 1, max = 64))]
    version: Option<String>,
    /// Milliseconds of CPU that each request burns besides its service time.
    #[schemars(range(min = 0, max = 10_000))]
    cpu_ms: Option<f64>,
    /// What each further request at work adds to the time of all, as a share of it: a lock that
    /// everybody needs.
    #[schemars(range(min = 0, max = 10))]
    contention: Option<f64>,
    /// Routes with a cost of their own, at most 64. The first whose path is a prefix counts.
    #[schemars(length(max = 64))]
    routes: Option<Vec<RawRouteCost>>,
    /// Requests are read and nothing is ever answered, health checks included.
    half_open: Option<bool>,
    /// Bytes of memory lost a second, up to 256MiB.
    leak_bytes_per_second: Option<RawSize>,
    /// Bytes lost at most, up to 1GiB. There the process ends as if out of memory.
    leak_bytes_max: Option<RawSize>,
    /// The whole process stands still this often, as in garbage collection; 0 for never.
    #[schemars(range(min = 0, max = 600_000))]
    pause_every_ms: Option<u32>,
    /// How long it stands still each time.
    #[schemars(range(min = 0, max = 60_000))]
    pause_ms: Option<u32>,
    /// Connections to the database at once; a request that finds none free waits.
    #[schemars(range(min = 1, max = 1_000))]
    database_connections_max: Option<u32>,
    /// A connection of its own for each query, as applications without a pool do.
    database_connect_each: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum RawDistribution {
    Fixed,
    Exponential,
    Lognormal,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawRouteCost {
    /// The begin of the path.
    #[schemars(regex(pattern = "^/"))]
    path: String,
    /// Mean milliseconds of work, in place of the server's.
    #[schemars(range(min = 0, max = 60_000), extend("default" = 0.0))]
    service_time_ms: Option<f64>,
    /// Milliseconds of CPU.
    #[schemars(range(min = 0, max = 10_000), extend("default" = 0.0))]
    cpu_ms: Option<f64>,
    /// Milliseconds under a lock of the process that one request holds at a time.
    #[schemars(range(min = 0, max = 10_000), extend("default" = 0.0))]
    lock_ms: Option<f64>,
    /// Queries to the database.
    #[schemars(range(min = 0, max = 100), extend("default" = 0))]
    queries: Option<u32>,
    /// Milliseconds the database works on each query.
    #[schemars(range(min = 0, max = 10_000), extend("default" = 0.0))]
    query_ms: Option<f64>,
    /// The share of requests that a cache answers without any of this.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.0))]
    cache_hit_share: Option<f64>,
}

/// How the front door is set up.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawDoorSetup {
    /// How a server is chosen. `default` is each front door's own recommended way;
    /// `{ hash_header = "x-user" }` hashes the value of a header.
    #[schemars(extend("default" = "default"))]
    balance: Option<RawDoorBalance>,
    /// The servers that take traffic, with weights from 0 to 1000. Those not named take none.
    /// By default all with weight 1.
    #[schemars(extend("examples" = [{ "a": 1, "b": 1 }]))]
    weights: Option<BTreeMap<String, u32>>,
    /// The active health check.
    check: Option<RawDoorCheck>,
    /// For an answer of a server to begin, from 10ms to 10m.
    #[schemars(extend("default" = "5s"))]
    timeout: Option<RawDuration>,
    /// Tries of one request that may be repeated, the first included.
    #[schemars(range(min = 1, max = 4), extend("default" = 2))]
    attempts: Option<u32>,
    /// What one client may send, a whole number a second, where the front door limits clients.
    client_rate: Option<RawRate>,
    /// The header that says which client it is; by default its address.
    client_header: Option<String>,
    /// Requests at once that one server is given, where the front door limits that.
    #[schemars(range(min = 1, max = 100_000))]
    server_in_flight: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawDoorBalance {
    Named(RawDoorBalanceName),
    HashHeader(RawHashHeader),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawDoorBalanceName {
    Default,
    RoundRobin,
    HashPath,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawHashHeader {
    /// The header whose value is hashed.
    hash_header: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawDoorCheck {
    /// What is asked.
    #[schemars(regex(pattern = "^/"), extend("default" = "/health"))]
    path: Option<String>,
    /// From one check to the next, from 50ms to 1m.
    #[schemars(extend("default" = "500ms"))]
    interval: Option<RawDuration>,
}
