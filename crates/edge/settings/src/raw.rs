//! The shape of the configuration as it is written: what the schema is derived from.
//!
//! These types hold no value; reading with spans and all mistakes at once is `reader`'s.
//! Tests keep the two together: every key and every default here is tried with the reader, and
//! the keys the reader knows are compared with those here.
//! Invariant: a `default` in an attribute is what the reader uses when the key is absent.

#![expect(dead_code, reason = "only the shape is used: the schema is derived from it")]

mod admission;
mod changes;
mod pool;
mod tcp;
mod tls;
mod treatment;

use std::collections::BTreeMap;

use admission::{RawAdmission, RawClass, RawClient, RawRateLimit};
use changes::{RawAllow, RawChanges, RawInvariants};
use pool::RawPool;
use schemars::JsonSchema;
use tcp::RawMode;
use tls::RawListenerTls;
use treatment::{
    RawBasicAuth, RawCompress, RawCors, RawForwardAuth, RawJwtAuth, RawRequestHeaders,
    RawResponseHeaders,
};

/// Configuration of Tidegate.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "tidegate.toml")]
pub(crate) struct RawConfiguration {
    /// The process as a whole.
    door: Option<RawDoor>,
    /// Where the door listens. At least one.
    listen: BTreeMap<String, RawListener>,
    /// The pools of servers.
    pools: Option<BTreeMap<String, RawPool>>,
    /// Which requests go where. The most specific route wins, whatever the order in the file:
    /// exact hosts before wildcards before any host, then exact paths before templates before
    /// regular expressions before longer prefixes and starts, then more headers, then routes with
    /// methods. A route with a higher `priority` comes before all that. Regular expressions alone
    /// are tried in the order of the file.
    routes: BTreeMap<String, RawRoute>,
    /// Who is let in when not everybody can be served. Works without being configured.
    admission: Option<RawAdmission>,
    /// Registered clients: who they are, and what they may send.
    clients: Option<BTreeMap<String, RawClient>>,
    /// Rate limits. Every one that applies to a request must have room.
    limits: Option<BTreeMap<String, RawRateLimit>>,
    /// The admin interface: metrics, status, control.
    admin: Option<RawAdmin>,
    /// Logs and metrics.
    telemetry: Option<RawTelemetry>,
    /// What must hold whatever changes: held by `check`, by `plan`, and while a change is watched.
    invariants: Option<RawInvariants>,
    /// How changes go live.
    changes: Option<RawChanges>,
    /// Rules that are set aside, each for a reason. Only rules can be: a mistake cannot.
    allow: Option<Vec<RawAllow>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawDoor {
    /// Worker threads, each with its own runtime and listeners. By default one per processor.
    #[schemars(range(min = 1, max = 256))]
    workers: Option<u32>,
    /// How long requests in flight may take after SIGTERM.
    #[schemars(extend("default" = "30s"))]
    drain: Option<RawDuration>,
    /// Client connections over all listeners, at most half of the open files. By default three
    /// eighths of the open files, at most 100000.
    #[schemars(range(min = 1))]
    connections: Option<u32>,
    /// The folder where generations are kept, or `false` to keep them in memory only. One door
    /// uses it at a time. By default `$STATE_DIRECTORY` (systemd sets it), else
    /// `/var/lib/tidegate` for root, else `$XDG_STATE_HOME/tidegate`, else
    /// `~/.local/state/tidegate`. A folder that is named, here or by systemd, must be usable;
    /// the other defaults are done without, with a warning, where they are not.
    state: Option<RawPathOrFalse>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawListener {
    /// IP address and port. Port 0 lets the system choose.
    #[schemars(extend("examples" = ["127.0.0.1:8080", "[::]:443"]))]
    address: String,
    /// What is spoken there: `"tcp"` passes bytes on as they are, to `pool` or by `sni`.
    #[schemars(extend("default" = "http"))]
    mode: Option<RawMode>,
    /// The pool that connections are passed on to; of those that `sni` names, the others. Only with
    /// `mode = "tcp"`.
    pool: Option<String>,
    /// Pools by the server name that a TLS client asks for, exact or with the first label `*`. TLS
    /// is passed on as it came. Without `pool`, a connection with another name is closed. Only with
    /// `mode = "tcp"`.
    #[schemars(extend("examples" = [{ "a.example.com": "a", "*.b.example.com": "b" }]))]
    sni: Option<BTreeMap<String, String>>,
    /// Every connection begins with a PROXY header, version 1 or 2, that names the client. Only
    /// `trusted_proxies` may connect.
    #[schemars(extend("default" = false))]
    proxy_protocol: Option<bool>,
    /// HTTP/2 beside HTTP/1.1: agreed on in the TLS handshake, or begun by the client where there is
    /// no TLS. `false` turns it off.
    #[schemars(extend("default" = true))]
    http2: Option<RawHttp2>,
    /// TLS termination. Without it the listener speaks plain HTTP, or TCP.
    tls: Option<RawListenerTls>,
    /// Networks whose forwarding headers and request ids are believed.
    #[schemars(extend("default" = [], "examples" = [["10.0.0.0/8", "192.0.2.7"]]))]
    trusted_proxies: Option<Vec<String>>,
    /// Which forwarding headers servers receive.
    #[schemars(extend("default" = "x-forwarded"))]
    forwarded: Option<RawForwarded>,
    /// What a client may send and hold.
    limits: Option<RawLimits>,
    /// How long a client may take.
    timeouts: Option<RawClientTimeouts>,
    /// The format of the door's own error bodies.
    #[schemars(extend("default" = "problem+json"))]
    errors: Option<RawErrors>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawHttp2 {
    OnOff(bool),
    Table(RawHttp2Table),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawHttp2Table {
    /// Requests that one connection may have in flight.
    #[schemars(range(min = 1, max = 1_000), extend("default" = 100))]
    streams_max: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawForwarded {
    XForwarded,
    Rfc7239,
    Both,
    Off,
}

#[derive(JsonSchema)]
enum RawErrors {
    #[schemars(rename = "problem+json")]
    ProblemJson,
    #[schemars(rename = "text")]
    Text,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawLimits {
    /// Request line and header fields, from 1KiB to 64KiB.
    #[schemars(extend("default" = "16KiB"))]
    head: Option<RawSize>,
    /// Number of header fields.
    #[schemars(range(min = 8, max = 256), extend("default" = 100))]
    headers: Option<u32>,
    /// The request target, from 64B to 64KiB.
    #[schemars(extend("default" = "8KiB"))]
    target: Option<RawSize>,
    /// The request body.
    #[schemars(extend("default" = "100MiB"))]
    body: Option<RawSize>,
    /// Connections on this listener. By default as many as `door.connections`. Above nine tenths of
    /// it, the connection that has been idle for longest is closed for each that comes.
    #[schemars(range(min = 1))]
    connections: Option<u32>,
    /// Connections of one address (IPv4 /32, IPv6 /64). By default as many as `connections`.
    #[schemars(range(min = 1))]
    connections_per_address: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawClientTimeouts {
    /// The TLS handshake.
    #[schemars(extend("default" = "10s"))]
    handshake: Option<RawDuration>,
    /// The whole head of a request, from its first byte.
    #[schemars(extend("default" = "10s"))]
    head: Option<RawDuration>,
    /// Between two advances of the body, or of the response towards the client.
    #[schemars(extend("default" = "30s"))]
    body: Option<RawDuration>,
    /// An idle connection between requests.
    #[schemars(extend("default" = "60s"))]
    keep_alive: Option<RawDuration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawRoute {
    /// Names of the listeners it serves. By default all.
    #[schemars(extend("examples" = ["web", ["web", "secure"]]))]
    listen: Option<RawNames>,
    /// Hosts, exact or with the first label `*`. By default any.
    #[schemars(extend("examples" = ["example.com", ["example.com", "*.example.com"]]))]
    host: Option<RawHosts>,
    /// A prefix (`"/api"` serves `/api` and `/api/x`), a start when it ends with `*` (`"/img*"`
    /// serves `/img`, `/img/x` and `/imgx`), a template when it has braces (`"/users/{id}"`,
    /// `"/files/{*rest}"`), or `{ exact = "/path" }`.
    #[schemars(extend("default" = "/"))]
    path: Option<RawPath>,
    /// In place of `path`: a regular expression in the syntax of the `regex` crate without Unicode
    /// classes, at most 1000 bytes. It is looked for anywhere in the path: begin it with `^/`. It
    /// takes time in proportion to the path, whatever it is. At most 1000 routes may have one.
    #[schemars(length(max = 1_000), extend("examples" = ["^/[a-z]{2}/shop/", "(?i)[.]php$"]))]
    path_regex: Option<String>,
    /// Routes with a higher one are asked first, whatever their hosts and paths.
    #[schemars(range(max = 1_000), extend("default" = 0))]
    priority: Option<u16>,
    /// Methods, upper case. By default any.
    #[schemars(length(min = 1), extend("examples" = [["GET", "HEAD"]]))]
    methods: Option<Vec<String>>,
    /// Headers a request must have: a value, or `true` for any value.
    headers: Option<BTreeMap<String, RawHeader>>,
    /// The pool the request is forwarded to. Exactly one of `pool`, `redirect`, `respond`.
    pool: Option<String>,
    /// Replaces the matched prefix of the path. Only with `pool` and a prefix or a start.
    replace_prefix: Option<String>,
    /// Replaces the path; the query stays. `$1` to `$9` and `${name}` stand for what the groups of
    /// `path_regex` matched, `$$` for a dollar. Only with `pool` and `path_regex`.
    #[schemars(length(max = 1_000), extend("examples" = ["/v2/$1"]))]
    replace_path: Option<String>,
    /// Redirect.
    redirect: Option<RawRedirect>,
    /// Answer with a fixed response.
    respond: Option<RawRespond>,
    /// Replaces the listener's `limits.body` for this route.
    body_max: Option<RawSize>,
    /// Replaces the pool's `timeouts.total` for this route.
    total_timeout: Option<RawDuration>,
    /// How important its requests are; a registered client's own class wins. By default `normal`.
    #[schemars(extend("examples" = ["critical"]))]
    class: Option<RawClass>,
    /// Changes to the header fields that servers get.
    request_headers: Option<RawRequestHeaders>,
    /// Changes to the header fields that clients get, also in the door's own answers on this route.
    response_headers: Option<RawResponseHeaders>,
    /// Compresses responses for clients that accept it, if they came uncompressed: `true`, or a
    /// table for other values than the defaults. Not where a secret stands in the same response as
    /// text of an attacker's choice: its length would tell the secret.
    #[schemars(extend("examples" = [true, { "codings": ["br", "gzip"] }]))]
    compress: Option<RawCompress>,
    /// Lets scripts of other sites in (CORS): the door answers what browsers ask beforehand, and
    /// writes the fields they look for, in place of any the servers send.
    cors: Option<RawCors>,
    /// Lets in who has a name and a password (RFC 7617). At most one of `basic_auth`, `jwt_auth`
    /// and `forward_auth`.
    basic_auth: Option<RawBasicAuth>,
    /// Lets in who has a signed token (RFC 6750, RFC 7519). One without `exp` does not count.
    jwt_auth: Option<RawJwtAuth>,
    /// Lets in whom another server lets in.
    forward_auth: Option<RawForwardAuth>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawNames {
    One(String),
    Several(#[schemars(length(min = 1))] Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawHosts {
    One(String),
    Several(#[schemars(length(min = 1))] Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawPath {
    Pattern(#[schemars(regex(pattern = "^/"))] String),
    Exact(RawExact),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawExact {
    /// This path and no other.
    #[schemars(regex(pattern = "^/"))]
    exact: String,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawHeader {
    Value(String),
    Present(RawTrue),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawRedirect {
    /// 301, 302, 303, 307 or 308.
    #[schemars(extend("default" = 302, "enum" = [301, 302, 303, 307, 308]))]
    status: Option<u16>,
    /// The target; `{host}`, `{path}` and `{query}` (with its `?`) are replaced.
    #[schemars(extend("examples" = ["https://{host}{path}{query}"]))]
    location: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawRespond {
    /// The status code.
    #[schemars(range(min = 200, max = 599), extend("default" = 200))]
    status: Option<u16>,
    /// The body, at most 64 KiB.
    #[schemars(length(max = 65_536), extend("default" = ""))]
    body: Option<String>,
    /// The `Content-Type`.
    #[schemars(extend("default" = "text/plain; charset=utf-8"))]
    content_type: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawAdmin {
    /// A Unix socket for the same user and root, or `false`. By default
    /// `/run/tidegate/admin.sock` for root, else `$XDG_RUNTIME_DIR/tidegate/admin.sock`, else
    /// `/tmp/tidegate-<uid>/admin.sock`.
    socket: Option<RawPathOrFalse>,
    /// A TCP address. Needs `token_file`.
    address: Option<String>,
    /// A file that holds the bearer token, at least 16 characters. Needs `address`.
    token_file: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawPathOrFalse {
    Path(String),
    Off(RawFalse),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawTelemetry {
    /// The access log.
    #[schemars(extend("default" = false))]
    access_log: Option<RawAccessLog>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawAccessLog {
    Off(RawFalse),
    Stdout(RawStdout),
    Table(RawAccessLogTable),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawStdout {
    Stdout,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawAccessLogTable {
    /// A file, appended to; reopened on SIGHUP. Needed unless `stdout` is true.
    file: Option<String>,
    /// Write to standard output.
    #[schemars(extend("default" = false))]
    stdout: Option<bool>,
    /// One JSON object a line, Common Log Format with referer and user agent, or Elastic Common
    /// Schema.
    #[schemars(extend("default" = "json"))]
    format: Option<RawLogFormat>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawLogFormat {
    Json,
    Clf,
    Ecs,
}

/// `false`.
#[derive(JsonSchema)]
#[schemars(extend("const" = false))]
struct RawFalse(bool);

/// `true`.
#[derive(JsonSchema)]
#[schemars(extend("const" = true))]
pub(crate) struct RawTrue(bool);

/// A duration such as `"250ms"`, `"1s"` or `"1m30s"`.
#[derive(JsonSchema)]
#[schemars(extend("format" = "duration-with-unit", "pattern" = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"))]
pub(crate) struct RawDuration(String);

/// A size such as `"16KiB"` or `"1MB"`; a plain integer is bytes.
#[derive(JsonSchema)]
#[schemars(untagged, extend("format" = "size-with-unit"))]
pub(crate) enum RawSize {
    Text(#[schemars(regex(pattern = "^[0-9]+([KMGT]i?)?B$"))] String),
    Bytes(u64),
}

/// A rate such as `"200/s"`.
#[derive(JsonSchema)]
#[schemars(extend("format" = "rate-with-unit", "pattern" = "^[0-9]+([.][0-9]+)?/s$"))]
pub(crate) struct RawRate(String);
