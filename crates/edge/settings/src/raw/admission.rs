//! The shape of `[admission]`, `[clients.NAME]` and `[limits.NAME]` as they are written; see the
//! module above.

use schemars::JsonSchema;

use super::{RawDuration, RawFalse, RawSize};

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawAdmission {
    /// Count what would be refused, and let it in.
    #[schemars(extend("default" = false))]
    observe: Option<bool>,
    /// Keys that rate limits remember; 16 bytes each, taken at the start.
    #[schemars(range(min = 1_000, max = 10_000_000), extend("default" = 1_000_000))]
    keys: Option<u32>,
    /// What tells clients apart that are not registered: the address (IPv4 /32, IPv6 /64), or a
    /// header, and the address where it is absent.
    #[schemars(extend("default" = "address", "examples" = [{ "header": "x-api-key" }]))]
    flow: Option<RawFlow>,
    /// The rate that all clients that are not registered share. By default none.
    unknown_rate: Option<RawCountRate>,
    /// Requests in flight and waiting of all clients that are not registered. By default without
    /// limit.
    #[schemars(range(min = 1, max = 1_000_000))]
    unknown_in_flight: Option<u32>,
    /// A client that sends more than this many times what it usually does while a pool is
    /// overloaded is treated as `bulk`; `false` never does. At least 1.5.
    #[schemars(extend("default" = 4.0))]
    demote_above: Option<RawDemote>,
    /// Marked retries as a share of a client's requests; more are refused.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.1))]
    retry_share: Option<f64>,
    /// The header in which a client says which attempt this is: 1 or more is a retry.
    /// `grpc-previous-rpc-attempts` always counts.
    #[schemars(extend("default" = "x-retry-attempt"))]
    retry_header: Option<String>,
    /// Bytes that all connections may hold in buffers, from 1MiB.
    #[schemars(extend("default" = "512MiB"))]
    buffers: Option<RawSize>,
    /// Where quotas are shared with other doors. One door needs none.
    shared: Option<RawShared>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawFlow {
    Named(RawFlowName),
    Of(RawHeaderName),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawFlowName {
    Address,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawHeaderName {
    /// The name of a header.
    #[schemars(extend("examples" = ["x-tenant"]))]
    header: String,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawDemote {
    Times(#[schemars(range(min = 0, max = 1_000))] f64),
    Off(RawFalse),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawShared {
    /// A Redis or Valkey server: `redis://[user:password@]host[:port][/db]`.
    #[schemars(extend("examples" = ["redis://127.0.0.1:6379"]))]
    url: String,
    /// Doors with the same name share.
    #[schemars(extend("default" = "tidegate"))]
    name: Option<String>,
    /// How long an answer may take before the door goes on by itself, from 1ms to 5s.
    #[schemars(extend("default" = "100ms"))]
    timeout: Option<RawDuration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawClient {
    /// What it is known by: a header, a signed token, a certificate, or networks. Of several
    /// clients that fit, a header wins over a token, a token over a certificate, a certificate over
    /// a network, and the most specific network over others.
    #[schemars(extend("examples" = [{ "header": "x-api-key", "value": "example" }]))]
    key: Option<RawIdentity>,
    /// Several of these; any one is enough. Instead of `key`.
    #[schemars(length(min = 1, max = 64), extend("examples" = [[{ "network": "10.1.0.0/16" }]]))]
    keys: Option<Vec<RawIdentity>>,
    /// Requests it may send. By default without a limit of its own.
    rate: Option<RawCountRate>,
    /// Requests above the rate that it may send at once. By default one second's worth.
    #[schemars(range(min = 1, max = 1_000_000))]
    burst: Option<u32>,
    /// Requests in flight and waiting. By default without a limit of its own.
    #[schemars(range(min = 1, max = 1_000_000))]
    in_flight: Option<u32>,
    /// How important it is, whatever its routes say.
    #[schemars(extend("default" = "normal"))]
    class: Option<RawClass>,
    /// Names of the routes it may use. By default all.
    #[schemars(length(min = 1, max = 1_000))]
    routes: Option<Vec<String>>,
    /// `false` refuses every request of it. `tidegate client disable` does the same at once.
    #[schemars(extend("default" = true))]
    enabled: Option<bool>,
    /// Share the rate with other doors. Needs `admission.shared`.
    #[schemars(extend("default" = false))]
    shared: Option<bool>,
    /// Tell it in `RateLimit` headers what is left.
    #[schemars(extend("default" = false))]
    headers: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawIdentity {
    /// The header whose value is the client's key. Needs `sha256` or `value`.
    header: Option<String>,
    /// The SHA-256 of that value in hex: `printf %s "$KEY" | sha256sum`.
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    sha256: Option<String>,
    /// That value itself, hashed when it is read; of a token, the claim's value.
    value: Option<String>,
    /// A claim of a signed JSON Web Token in `Authorization: Bearer`. Needs `value`, and
    /// `secret_file` or `public_key_file`.
    jwt_claim: Option<String>,
    /// A file with the secret that tokens are signed with (HS256), at least 32 bytes.
    secret_file: Option<String>,
    /// A PEM file with the public key of the issuer (RS256, ES256 or EdDSA).
    public_key_file: Option<String>,
    /// Networks that it sends from.
    #[schemars(extend("examples" = ["10.1.0.0/16", ["10.1.0.0/16", "2001:db8::/32"]]))]
    network: Option<RawNetworks>,
    /// A name in the certificate that it shows: a DNS name or a URI of its subjectAltName. Needs a
    /// listener with `tls.clients`.
    #[schemars(extend("examples" = ["spiffe://example/billing", "partner.example"]))]
    certificate: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawNetworks {
    One(String),
    Several(#[schemars(length(min = 1))] Vec<String>),
}

/// How important requests are. When not all can be served, the least important wait, and are
/// refused, first.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum RawClass {
    /// Served as long as anything is.
    Critical,
    /// Before what is normal.
    Important,
    /// What nothing else is said of.
    Normal,
    /// Can wait.
    Bulk,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawRateLimit {
    /// Whose requests are counted together: everyone's, those of one client (registered, or as
    /// `admission.flow` tells apart), of one address (IPv4 /32, IPv6 /64), of one route, or those
    /// with the same value of a header.
    #[schemars(extend("examples" = ["address"]))]
    by: RawLimitKey,
    /// How many.
    rate: RawCountRate,
    /// How many at once. By default one second's worth.
    #[schemars(range(min = 1, max = 1_000_000))]
    burst: Option<u32>,
    /// Names of the routes it applies to. By default all.
    #[schemars(length(min = 1, max = 1_000))]
    routes: Option<Vec<String>>,
    /// Count what would be refused, and let it in.
    #[schemars(extend("default" = false))]
    observe: Option<bool>,
    /// Tell clients in `RateLimit` headers what is left.
    #[schemars(extend("default" = false))]
    headers: Option<bool>,
    /// Share it with other doors. Needs `admission.shared`.
    #[schemars(extend("default" = false))]
    shared: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawLimitKey {
    Named(RawLimitKeyName),
    Of(RawHeaderName),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawLimitKeyName {
    All,
    Client,
    Address,
    Route,
}

/// A rate such as `"50/s"`, `"1000/m"`, `"5/h"` or `"10/d"`.
#[derive(JsonSchema)]
#[schemars(extend("format" = "rate-with-unit", "pattern" = "^[0-9]+/[smhd]$", "examples" = ["50/s"]))]
struct RawCountRate(String);
