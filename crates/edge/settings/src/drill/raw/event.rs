//! The shape of `[[event]]`, `[[symptom]]` and `[[expect]]` as they are written.

use schemars::JsonSchema;

use super::stack::{RawDistribution, RawDoorSetup, RawSettings};
use crate::raw::{RawDuration, RawSize, RawTrue};

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawEvent {
    /// When.
    at: RawDuration,
    /// It is undone after this time. By default at the end of the drill.
    #[schemars(rename = "for")]
    lasting: Option<RawDuration>,
    /// What.
    #[schemars(rename = "do")]
    kind: RawKind,
    /// The server it is about.
    server: Option<String>,
    /// The servers it is about: names, or `"all"`. In place of `server`.
    servers: Option<RawNames>,
    /// Of `slow`: mean milliseconds of work per request.
    #[schemars(range(min = 0, max = 60_000))]
    service_time_ms: Option<f64>,
    /// Of `slow`: how that time varies.
    distribution: Option<RawDistribution>,
    /// Of `errors`: the share of requests that fail.
    #[schemars(range(min = 0, max = 1), extend("default" = 1.0))]
    share: Option<f64>,
    /// Of `errors`: their status.
    #[schemars(range(min = 400, max = 599), extend("default" = 500))]
    status: Option<u16>,
    /// Of `errors`: at once instead of after the service time.
    #[schemars(extend("default" = true))]
    fast: Option<bool>,
    /// Of `leak`: bytes lost a second, up to 256MiB.
    per_second: Option<RawSize>,
    /// Of `leak`: where the process ends as if out of memory, up to 1GiB.
    #[schemars(extend("default" = "256MiB"))]
    max: Option<RawSize>,
    /// Of `pauses`: from one to the next.
    every: Option<RawDuration>,
    /// Of `pauses`: how long each is. Of `rolling-restart`: between two servers, by default 1s.
    pause: Option<RawDuration>,
    /// Of `burn`: milliseconds of CPU per request.
    #[schemars(range(min = 0, max = 10_000))]
    cpu_ms: Option<f64>,
    /// Of `burn`: the begin of the paths that burn it.
    #[schemars(regex(pattern = "^/"), extend("default" = "/"))]
    path: Option<String>,
    /// Of `capacity`: requests served at once.
    #[schemars(range(min = 1, max = 10_000))]
    concurrency: Option<u32>,
    /// Of `capacity`: requests that may wait. By default as before.
    #[schemars(range(min = 0, max = 10_000))]
    queue_max: Option<u32>,
    /// Of `behave` and `deploy`: what changes of a server's settings, keys of `stack.server`.
    #[schemars(extend("x-described-at" = "stack.server"))]
    settings: Option<RawSettings>,
    /// Of `deploy`: the label of the new version.
    #[schemars(length(min = 1, max = 64))]
    version: Option<String>,
    /// Of `configure`: what changes, keys of `[door]`; the rest is as `[door]` says.
    #[schemars(extend("x-described-at" = "door"))]
    door: Option<RawDoorSetup>,
    /// Of `configure`: it is made live over the objections of every check, as somebody in a hurry
    /// does.
    #[schemars(extend("default" = false))]
    force: Option<bool>,
    /// Of `network`: between the front door and `clients` or a server's name, or between the
    /// servers and the `database`.
    link: Option<String>,
    /// Of `network`: added to each direction, up to 1m.
    #[schemars(extend("default" = "0s"))]
    latency: Option<RawDuration>,
    /// Of `network`: a random part on top of it, up to this.
    #[schemars(extend("default" = "0s"))]
    jitter: Option<RawDuration>,
    /// Of `network`: bytes a second of each connection and direction.
    bandwidth: Option<RawSize>,
    /// Of `network`: the share of chunks after which a connection stands still, as after lost packets.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.0))]
    stall_share: Option<f64>,
    /// Of `network`: how long it then stands still.
    #[schemars(extend("default" = "200ms"))]
    stall: Option<RawDuration>,
    /// Of `network`: the share of new connections that are reset after their first bytes.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.0))]
    reset_share: Option<f64>,
    /// Of `network`: connections are accepted, and bytes go nowhere.
    #[schemars(extend("default" = false))]
    black_hole: Option<bool>,
    /// Of `network`: connections at once; further ones are refused.
    #[schemars(range(min = 0, max = 100_000))]
    connections: Option<u32>,
    /// Of `cut-clients`: which stream.
    stream: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawNames {
    All(RawAll),
    Names(#[schemars(length(min = 1))] Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawAll {
    All,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawKind {
    /// Processes are ended with SIGKILL, and started again in the end.
    Kill,
    /// Processes are stopped with SIGSTOP: they accept and never answer.
    Stop,
    /// Every request takes `service_time_ms`.
    Slow,
    /// A `share` of the requests fails with `status`, `fast` or after its time.
    Errors,
    /// Requests are read and nothing is answered.
    HalfOpen,
    /// Memory is lost, so many bytes `per_second`, until the process ends at `max`.
    Leak,
    /// The whole process stands still for `pause`, `every` so often.
    Pauses,
    /// Requests below `path` burn `cpu_ms`.
    Burn,
    /// The health check says the server is ill while it works.
    LyingCheck,
    /// Requests served at once are cut to `concurrency`.
    Capacity,
    /// Any of a server's `settings` change.
    Behave,
    /// The network of one `link` gets worse.
    Network,
    /// Another configuration of the front door is applied: `door`.
    Configure,
    /// The configuration from before the last `configure` is applied once more, as by somebody
    /// who deploys from an old checkout.
    Stale,
    /// A new `version` is started on servers, with its own `settings`.
    Deploy,
    /// One server after the other is restarted with SIGTERM, by default all, with a `pause` between.
    RollingRestart,
    /// All connections of a `stream` are cut at once; its clients do what they do.
    CutClients,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawExpectation {
    /// The share of this stream's requests that ended well: a complete answer below 500, not
    /// 429. A retried request counts once, by its last try.
    success: Option<String>,
    /// The share of this stream's requests that were answered completely, whatever the status.
    answered: Option<String>,
    /// Requests per second of this stream that ended well.
    goodput: Option<String>,
    /// The median latency of this stream's successful answers from when they were due, milliseconds.
    p50_ms: Option<String>,
    /// The 99th percentile of the same.
    p99_ms: Option<String>,
    /// The share of all answers that this server gave; `"most"`: the server that gave most.
    share: Option<String>,
    /// The share of looks at this server that found all its places taken.
    saturated: Option<String>,
    /// Tries sent to the servers per request of the clients.
    attempts_per_request: Option<RawTrue>,
    /// New connections of this stream's clients per second.
    connects_per_second: Option<String>,
    /// Times the database refused or failed a server's query.
    database_failures: Option<RawTrue>,
    /// Seconds from `from` until this stream's success is at least 99 % for three seconds in a row, after the first that were not; 0 when it never fell.
    recovery_seconds: Option<String>,
    /// Seconds from `from` until the front door itself shows that something is wrong with this server.
    detect_seconds: Option<String>,
    /// Whether the change at `from` is refused before it goes live. Needs no bound.
    change_refused: Option<bool>,
    /// Seconds from `from` until this cause is named.
    cause_seconds: Option<String>,
    /// Seconds from `from` until the front door takes this action by itself.
    action_seconds: Option<String>,
    /// The begin of the time it is measured over, in whole seconds.
    #[schemars(extend("default" = "0s"))]
    from: Option<RawDuration>,
    /// The end of that time. By default the end of the drill.
    to: Option<RawDuration>,
    /// Holds when the number is at least this. One bound is needed, or both.
    #[schemars(range(min = 0))]
    at_least: Option<f64>,
    /// Holds when the number is at most this.
    #[schemars(range(min = 0))]
    at_most: Option<f64>,
    /// Why it cannot be met yet. It is judged all the same; if it holds, the mark must go.
    #[schemars(length(min = 1, max = 200))]
    pending: Option<String>,
}
