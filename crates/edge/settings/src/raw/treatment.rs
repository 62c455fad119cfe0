//! The shape of what is done to the requests of a route; see the module above.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{RawDuration, RawSize};

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawRequestHeaders {
    /// Names of fields that are removed.
    #[schemars(length(max = 32), extend("examples" = [["x-debug"]]))]
    remove: Option<Vec<String>>,
    /// Fields that replace all of their name; one whose value comes out empty is only removed.
    /// `host` can be set too, from text, `{host}` and `{authority}`.
    #[schemars(extend("examples" = [{ "x-tenant": "{header:x-org}", "host": "internal.example" }]))]
    set: Option<BTreeMap<String, String>>,
    /// Fields that stand beside others of their name.
    #[schemars(extend("examples" = [{ "x-via": "edge" }]))]
    add: Option<BTreeMap<String, String>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawResponseHeaders {
    /// Names of fields that are removed.
    #[schemars(length(max = 32), extend("examples" = [["server"]]))]
    remove: Option<Vec<String>>,
    /// Fields that replace all of their name; one whose value comes out empty is only removed.
    #[schemars(extend("examples" = [{ "strict-transport-security": "max-age=31536000" }]))]
    set: Option<BTreeMap<String, String>>,
    /// Fields that stand beside others of their name.
    #[schemars(extend("examples" = [{ "set-cookie": "seen=1" }]))]
    add: Option<BTreeMap<String, String>>,
    /// Which responses are changed: all, or those with status 200 to 399.
    #[schemars(extend("default" = "always"))]
    when: Option<RawWhen>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawWhen {
    Always,
    Success,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum RawCompress {
    OnOff(bool),
    Table(RawCompressTable),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawCompressTable {
    /// What is offered, the most preferred first.
    #[schemars(length(min = 1), extend("default" = ["zstd", "br", "gzip"]))]
    codings: Option<Vec<RawCoding>>,
    /// From fastest to smallest.
    #[schemars(range(min = 1, max = 9), extend("default" = 4))]
    level: Option<u8>,
    /// Shorter bodies, if their length is known, are left alone.
    #[schemars(extend("default" = "1KiB"))]
    min: Option<RawSize>,
    /// Media types; `text/*` stands for all of `text`. By default the usual types of text.
    #[schemars(length(min = 1), extend("examples" = [["text/*", "application/json"]]))]
    types: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum RawCoding {
    Zstd,
    Br,
    Gzip,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawCors {
    /// Sites, as browsers name them: `"https://app.example.com"`, or `"https://*.example.com"` for
    /// hosts with one more label. `"*"` lets in any.
    #[schemars(extend("examples" = ["*", ["https://app.example.com", "https://*.example.org"]]))]
    origins: RawOrigins,
    /// Methods that scripts may use, upper case.
    #[schemars(length(min = 1), extend("default" = ["GET", "HEAD", "POST"]))]
    methods: Option<Vec<String>>,
    /// Header fields that scripts may send besides those that any may; `"*"` allows all.
    #[schemars(extend("default" = [], "examples" = [["content-type", "x-token"]]))]
    headers: Option<RawCorsHeaders>,
    /// Header fields of responses that scripts may see besides those that any may.
    #[schemars(extend("default" = [], "examples" = [["x-total"]]))]
    expose: Option<Vec<String>>,
    /// Whether cookies and the like may be sent. Not with `origins = "*"`.
    #[schemars(extend("default" = false))]
    credentials: Option<bool>,
    /// How long a browser may remember the answer, at most 24h.
    #[schemars(extend("default" = "10m"))]
    max_age: Option<RawDuration>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawOrigins {
    Listed(#[schemars(length(min = 1, max = 256))] Vec<String>),
    One(String),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawCorsHeaders {
    Listed(#[schemars(length(max = 32))] Vec<String>),
    Any(RawAny),
}

#[derive(JsonSchema)]
enum RawAny {
    #[schemars(rename = "*")]
    Any,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawBasicAuth {
    /// A file as `htpasswd -B` writes it: a name, a colon and a hash in each line. Exactly one of
    /// `users_file` and `users`. It is read again when it changes.
    users_file: Option<String>,
    /// Hashes by name: bcrypt (`$2y$...`) with a cost of at most 14, or Argon2id (`$argon2id$...`).
    users: Option<BTreeMap<String, String>>,
    /// What the browser shows when it asks.
    #[schemars(extend("default" = "restricted"))]
    realm: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawJwtAuth {
    /// PEM file of the public key of whoever signs. Exactly one of `public_key_file`, `secret_file`
    /// and `jwks_file`. Whichever it is, it is read again when it changes.
    public_key_file: Option<String>,
    /// File of the secret that tokens are signed with.
    secret_file: Option<String>,
    /// File of a JSON Web Key Set.
    jwks_file: Option<String>,
    /// The value of `iss`, if it has to be one.
    issuer: Option<String>,
    /// The values of `aud` of which one has to be there. By default `aud` is not looked at.
    #[schemars(extend("examples" = ["api", ["api", "admin"]]))]
    audience: Option<RawAudience>,
    /// Claims that the token must have: with this value, or with it in a list or in a
    /// space-separated string. Dots lead to a claim within another.
    #[schemars(extend("examples" = [{ "scope": "read" }, { "realm_access.roles": "admin" }]))]
    claims: Option<BTreeMap<String, String>>,
    /// Header fields for the server, and the claim that each is set from. A request's own fields of
    /// these names are removed.
    #[schemars(extend("examples" = [{ "x-user": "sub" }]))]
    headers: Option<BTreeMap<String, String>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RawAudience {
    One(String),
    Several(#[schemars(length(min = 1, max = 64))] Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawForwardAuth {
    /// The pool that is asked. It speaks HTTP/1.1.
    pool: String,
    /// The path it is asked at, with a query if it needs one.
    #[schemars(extend("default" = "/"))]
    path: Option<String>,
    /// Header fields of the request that it gets. By default all.
    #[schemars(length(max = 64), extend("examples" = [["authorization", "cookie"]]))]
    headers: Option<Vec<String>>,
    /// Header fields of its answer that the server gets. A request's own fields of these names are
    /// removed.
    #[schemars(length(max = 64), extend("default" = [], "examples" = [["x-user"]]))]
    copy: Option<Vec<String>>,
    /// Header fields of its answer that the client gets beside those of the response, such as the
    /// cookie of a session that was prolonged.
    #[schemars(length(max = 64), extend("default" = [], "examples" = [["set-cookie"]]))]
    copy_response: Option<Vec<String>>,
    /// How long it may take in all, from 10ms to 60s. Without an answer the request is refused.
    #[schemars(extend("default" = "5s"))]
    timeout: Option<RawDuration>,
}
