//! The shape of `[load.NAME]` as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use crate::raw::{RawDuration, RawRate, RawSize};

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawStream {
    /// Requests due a second, whatever comes back: an open model. Up to 1000000/s.
    rate: Option<RawRate>,
    /// The same in parts, one after the other, each with a rate of its own or a slope.
    #[schemars(length(min = 1, max = 64))]
    stages: Option<Vec<RawStage>>,
    /// Users who ask, wait for the answer, think and ask again: a closed model.
    #[schemars(range(min = 1, max = 18_000))]
    users: Option<u32>,
    /// Connections that are held open, as those of browsers and mobile applications.
    #[schemars(range(min = 1, max = 18_000))]
    sessions: Option<u32>,
    /// How the requests of `rate` and `stages` are spaced.
    #[schemars(extend("default" = "even"))]
    arrivals: Option<RawSpacing>,
    /// The mean pause of `users` between an answer and the next request; exponential.
    #[schemars(extend("default" = "0s"))]
    think: Option<RawDuration>,
    /// `sessions` are opened evenly over this time.
    #[schemars(extend("default" = "0s"))]
    opening: Option<RawDuration>,
    /// Each of `sessions` asks this often, from 10ms. By default once, when it was opened.
    ask_every: Option<RawDuration>,
    /// What one of `sessions` does when its connection was closed or lost.
    #[schemars(extend("default" = "back-off"))]
    reconnect: Option<RawReconnect>,
    /// When it begins.
    #[schemars(extend("default" = "0s"))]
    start: Option<RawDuration>,
    /// How long it makes requests, from 100ms. By default to the end of the drill; needed in a
    /// file of a load alone. `stages` last as long as they say.
    #[schemars(rename = "for")]
    lasting: Option<RawDuration>,
    /// What is asked, each a method and a target or a table; drawn by weight. At most 64; gRPC needs one.
    #[schemars(length(min = 1, max = 64), extend("default" = ["GET /"]))]
    requests: Option<Vec<RawRequest>>,
    /// Different clients, who take turns.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1))]
    clients: Option<u32>,
    /// The header that carries a client's key.
    key_header: Option<String>,
    /// The value of that header; `{client}` is replaced by the client's number, from 0.
    #[schemars(extend("default" = "{client}"))]
    key: Option<String>,
    /// Addresses inside 127.0.0.0/8 that the clients connect from, in turn.
    #[schemars(extend("examples" = ["127.0.1.0/24"]))]
    source: Option<String>,
    /// For one try, to its last byte.
    #[schemars(extend("default" = "10s"))]
    timeout: Option<RawDuration>,
    /// Further tries after a failure (no complete answer in time, a 5xx or a 429): a number of
    /// tries at once, or a table.
    #[schemars(extend("default" = 0))]
    retries: Option<RawRetries>,
    /// What the clients speak: HTTP/2 in the clear by prior knowledge, over TLS by ALPN; gRPC over it.
    #[schemars(extend("default" = "http1"))]
    protocol: Option<RawLoadProtocol>,
    /// Requests at once on one connection of `http2` or `grpc`; a server that allows fewer has fewer.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 100))]
    streams: Option<u32>,
    /// Whether connections are used again.
    #[schemars(extend("default" = true))]
    keep_alive: Option<bool>,
    /// Requests under way at once; those due beyond are dropped and counted as failed.
    #[schemars(range(min = 1, max = 18_000), extend("default" = 10_000))]
    in_flight: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawLoadProtocol {
    Http1,
    Http2,
    Grpc,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawStage {
    /// At its begin.
    rate: RawRate,
    /// At its end, reached in a straight line. By default the same.
    to: Option<RawRate>,
    /// How long it lasts, from 100ms.
    #[schemars(rename = "for")]
    lasting: RawDuration,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawSpacing {
    Even,
    Poisson,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawReconnect {
    Never,
    AtOnce,
    BackOff,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawRequest {
    Target(String),
    Table(RawRequestTable),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawRequestTable {
    /// A target for GET (in gRPC for POST), or a method and a target. Each `{key}` is replaced by a key.
    #[schemars(extend("examples" = ["/item/{key}", "POST /cart"]))]
    target: String,
    /// How often, relative to the others.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1))]
    weight: Option<u32>,
    /// Header fields; a value may have `{key}` too. At most 32.
    headers: Option<BTreeMap<String, String>>,
    /// The length of the body, up to 64KiB.
    #[schemars(extend("default" = 0))]
    body_bytes: Option<RawSize>,
    /// The message of a gRPC request, up to 64KiB. By default it is empty.
    #[schemars(extend("examples" = ["hex:0a05 68656c6c6f", "base64:CgVoZWxsbw=="]))]
    message: Option<String>,
    /// Different keys: users, products, anything a server may be chosen by.
    #[schemars(range(min = 1), extend("default" = 1))]
    keys: Option<u32>,
    /// The share of requests that name key 0; the rest is uniform.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.0))]
    hot_share: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawRetries {
    Count(#[schemars(range(min = 0, max = 10))] u32),
    Table(RawRetriesTable),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawRetriesTable {
    /// Further tries after the first.
    #[schemars(range(min = 0, max = 10))]
    max: u32,
    /// Before the first of them, doubling, with full jitter. By default at once.
    back_off: Option<RawDuration>,
    /// Whether a 429 or 503 with `Retry-After` is tried again no sooner than it says. A session,
    /// which otherwise only connects again, then repeats what was refused.
    #[schemars(extend("default" = false))]
    respect_retry_after: Option<bool>,
}
