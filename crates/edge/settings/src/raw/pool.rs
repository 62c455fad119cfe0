//! The shape of `[pools.NAME]` as it is written; see the module above.

use schemars::JsonSchema;

use super::tcp::RawProxyVersion;
use super::tls::RawCertificate;
use super::{RawDuration, RawFalse, RawRate};

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawPool {
    /// The servers: `"ADDRESS:PORT"`, `"NAME:PORT"`, or tables.
    #[schemars(length(min = 1), extend("examples" = [["127.0.0.1:3001", { "address": "127.0.0.1:3002", "weight": 2 }]]))]
    servers: Vec<RawServer>,
    /// What the servers speak: HTTP/1.1; or HTTP/2, which gRPC needs, by ALPN under TLS and by prior
    /// knowledge without.
    #[schemars(extend("default" = "http1"))]
    protocol: Option<RawServerProtocol>,
    /// How a server is chosen: power of two choices on latency and load, fewest requests in
    /// flight, smooth weighted round robin, random by weight, or consistent hashing.
    #[schemars(extend("default" = "p2c"))]
    balance: Option<RawBalance>,
    /// The zone of this door. Servers of the same zone are preferred while enough are up.
    zone: Option<String>,
    /// Active health checks. Without them only failed requests show that a server is down.
    check: Option<RawCheck>,
    /// TLS towards the servers.
    #[schemars(extend("default" = false))]
    tls: Option<RawPoolTls>,
    /// How long a server may take.
    timeouts: Option<RawServerTimeouts>,
    /// When a request is tried again on another server.
    retries: Option<RawRetries>,
    /// When a failing server is set aside; `false` never does.
    ejection: Option<RawEjection>,
    /// How long a new or recovered server takes to reach its full share; `"0s"` is off.
    #[schemars(extend("default" = "30s"))]
    slow_start: Option<RawDuration>,
    /// Requests in flight at one server, over all workers; 0 means no limit.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 0))]
    in_flight_max: Option<u32>,
    /// Whether the limit on requests in flight is found by measuring, for the pool and for each
    /// server. Without it only `in_flight_max` holds.
    #[schemars(extend("default" = true))]
    adaptive: Option<bool>,
    /// The longest that a request waits for a place while the pool is not overloaded, at most 60s.
    #[schemars(extend("default" = "100ms"))]
    queue_wait: Option<RawDuration>,
    /// The longest that a request of a burst waits for what others leave of the servers, at most 60s;
    /// `"0s"` means no longer than `queue_wait`. Only where `adaptive` is on.
    #[schemars(extend("default" = "5s"))]
    burst_wait: Option<RawDuration>,
    /// Idle connections kept per server and worker. With `protocol = "http2"` the most connections,
    /// at least one, each for up to 100 requests at a time.
    #[schemars(range(min = 0, max = 10_000), extend("default" = 64))]
    idle_max: Option<u32>,
    /// How often names are resolved again when their TTL is longer, or unknown. From 1s.
    #[schemars(extend("default" = "30s"))]
    resolve: Option<RawDuration>,
    /// The file of what its servers together were measured to be able to do, as `tidegate load
    /// capacity --write` leaves it.
    #[schemars(extend("examples" = ["capacity.json"]))]
    capacity: Option<String>,
    /// Each connection to a server begins with a PROXY header of this version, which names the
    /// client. Idle connections then serve the same client only; health checks say that they are
    /// the door's own.
    proxy_protocol: Option<RawProxyVersion>,
    /// The most traffic it gets, requests per second.
    #[schemars(extend("examples" = ["400/s"]))]
    peak: Option<RawRate>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum RawServerProtocol {
    Http1,
    Http2,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawGrpcCheck {
    OnOff(bool),
    Service(#[schemars(length(min = 1, max = 256))] String),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawServer {
    Address(String),
    Table(RawServerTable),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawServerTable {
    /// An IP address or a DNS name, and a port.
    address: String,
    /// Its part of the traffic relative to the others; 0 takes none.
    #[schemars(range(min = 0, max = 1_000), extend("default" = 1))]
    weight: Option<u32>,
    /// Its zone.
    zone: Option<String>,
    /// No new requests; those in flight end.
    #[schemars(extend("default" = false))]
    drain: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawBalance {
    Named(RawBalanceName),
    Maglev(RawMaglev),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawBalanceName {
    P2c,
    LeastRequest,
    RoundRobin,
    Random,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawMaglev {
    /// What the consistent hash is taken of.
    maglev: RawHashKey,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawHashKey {
    Named(RawHashKeyName),
    Of(RawHashKeyOf),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawHashKeyName {
    ClientAddress,
    Path,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawHashKeyOf {
    /// The name of a header. Not together with `cookie`.
    header: Option<String>,
    /// The name of a cookie. Not together with `header`.
    cookie: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawCheck {
    Named(RawCheckName),
    Table(RawCheckTable),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawCheckName {
    Tcp,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawCheckTable {
    /// The path that is asked with `GET`. Needed unless `tcp` or `grpc` is set.
    path: Option<String>,
    /// Ask the gRPC health service (`grpc.health.v1`), about this service or, with `true`, about
    /// the server as a whole. Only with `protocol = "http2"`.
    #[schemars(extend("default" = false))]
    grpc: Option<RawGrpcCheck>,
    /// Only connect, ask nothing.
    #[schemars(extend("default" = false))]
    tcp: Option<bool>,
    /// The `Host` header; by default the server's address.
    host: Option<String>,
    /// Accepted status codes and ranges.
    #[schemars(extend("default" = "200-399"))]
    status: Option<RawStatuses>,
    /// Text the first 64 KiB of the body must contain.
    #[schemars(length(min = 1, max = 65_536))]
    body: Option<String>,
    /// Between two checks of one server, jittered by 10 %.
    #[schemars(extend("default" = "2s"))]
    interval: Option<RawDuration>,
    /// For one check.
    #[schemars(extend("default" = "1s"))]
    timeout: Option<RawDuration>,
    /// Failures in a row that take a server down.
    #[schemars(range(min = 1, max = 100), extend("default" = 3))]
    fall: Option<u32>,
    /// Successes in a row that bring a server back; the first check of a new server counts alone.
    #[schemars(range(min = 1, max = 100), extend("default" = 2))]
    rise: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawStatuses {
    One(RawStatus),
    Several(Vec<RawStatus>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawStatus {
    Code(#[schemars(range(min = 100, max = 599))] u16),
    Range(#[schemars(regex(pattern = r"^[1-5][0-9]{2}(-[1-5][0-9]{2})?$"))] String),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawPoolTls {
    OnOff(bool),
    Table(RawPoolTlsTable),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawPoolTlsTable {
    /// The name in the certificate; by default the server's host name, or its address.
    server_name: Option<String>,
    /// PEM file of trusted roots; the system's by default.
    roots: Option<String>,
    /// False accepts any certificate: for tests.
    #[schemars(extend("default" = true))]
    verify: Option<bool>,
    /// The certificate that the door shows to servers that ask for one. Read again when the files
    /// change, as `roots` is.
    certificate: Option<RawCertificate>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawServerTimeouts {
    /// To connect, TLS included.
    #[schemars(extend("default" = "3s"))]
    connect: Option<RawDuration>,
    /// From the request's end to the response's first byte.
    #[schemars(extend("default" = "30s"))]
    first_byte: Option<RawDuration>,
    /// Between two advances of the response body.
    #[schemars(extend("default" = "30s"))]
    progress: Option<RawDuration>,
    /// The whole request, attempts included. By default without limit.
    total: Option<RawDuration>,
    /// An idle server connection is closed after this; a shorter `Keep-Alive: timeout` wins.
    #[schemars(extend("default" = "30s"))]
    idle: Option<RawDuration>,
    /// An upgraded connection, or a gRPC call that its server has begun to answer, without bytes
    /// either way.
    #[schemars(extend("default" = "300s"))]
    tunnel_idle: Option<RawDuration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawRetries {
    /// Attempts in all; 1 is no retry.
    #[schemars(range(min = 1, max = 5), extend("default" = 2))]
    attempts: Option<u32>,
    /// Retries as a share of requests.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.1))]
    budget: Option<f64>,
    /// Retries per second that are always allowed.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 3))]
    budget_min_per_second: Option<u32>,
    /// Also try again when a server answers 502, 503 or 504; idempotent methods only.
    #[schemars(extend("default" = false))]
    on_status: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawEjection {
    Off(RawFalse),
    Table(RawEjectionTable),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawEjectionTable {
    /// Failures in a row; 0 turns ejection off.
    #[schemars(range(min = 0, max = 1_000), extend("default" = 5))]
    failures: Option<u32>,
    /// The first pause, doubled at each further ejection.
    #[schemars(extend("default" = "1s"))]
    pause: Option<RawDuration>,
    /// The longest pause.
    #[schemars(extend("default" = "30s"))]
    pause_max: Option<RawDuration>,
    /// The largest share of the pool that may be set aside.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.5))]
    share_max: Option<f64>,
}
