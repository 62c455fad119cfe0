//! What is done to the requests of a route, and to their responses, besides passing them on.
//!
//! Nothing of it costs anything where it is not configured.

use std::time::Duration;

use super::JwtKey;
use crate::Name;

/// What is done to the requests of a route, and to their responses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Treatment {
    /// Changes to the header fields that the server gets.
    pub request_headers: HeaderRules,
    /// Changes to the header fields that the client gets, in the door's own answers too.
    pub response_headers: HeaderRules,
    /// Compresses what servers send uncompressed.
    pub compression: Option<Compression>,
    /// Lets scripts of other sites in (the Fetch standard, section 3.2).
    pub cors: Option<Cors>,
    /// Who may use the route.
    pub authentication: Option<Authentication>,
}

/// Changes to header fields: first some are removed, then some replaced, then some added.
/// Names are lower case, and none is of framing or of the connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderRules {
    /// Names of fields that are removed.
    pub remove: Vec<Name>,
    /// Fields that replace all of their name. One whose value is empty is only removed.
    pub set: Vec<(Name, HeaderValue)>,
    /// Fields that stand beside others of their name. None is written with an empty value.
    pub add: Vec<(Name, HeaderValue)>,
    /// Only responses with status 200 to 399 are changed. Responses only.
    pub success_only: bool,
}

impl HeaderRules {
    /// True when nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// What names of header fields hold whose values are credentials, in lower case.
const SECRET_STEMS: [&str; 7] =
    ["access-token", "api-key", "apikey", "auth-token", "authorization", "password", "secret"];

/// Whether the value of the header field `name`, in any letters, may be a credential, so that no
/// difference and no excerpt shows it.
#[must_use]
pub fn may_hold_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_STEMS.into_iter().any(|stem| name.contains(stem))
}

/// The value of a header field, from its parts in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderValue(pub Vec<ValuePart>);

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePart {
    /// This text: visible ASCII, blanks and tabs.
    Text(Name),
    /// What the request says.
    Variable(Variable),
}

/// What a value can say of the request, `{name}` in the configuration. Empty where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `{client_address}`: the address of the client, as a trusted proxy told it.
    ClientAddress,
    /// `{peer_address}`: the address that the connection is from.
    PeerAddress,
    /// `{host}`: without the port, lower case.
    Host,
    /// `{authority}`: the host with the port, if it was given.
    Authority,
    /// `{scheme}`: `http` or `https`.
    Scheme,
    /// `{method}`.
    Method,
    /// `{path}`: canonical, as it came: before a prefix is replaced.
    Path,
    /// `{target}`: path and query.
    Target,
    /// `{request_id}`.
    RequestId,
    /// `{route}`: its name.
    Route,
    /// `{client}`: the name of the registered client.
    Client,
    /// `{user}`: who was authenticated.
    User,
    /// `{header:NAME}`: the first field of this name in the request, lower case.
    Header(Name),
}

/// Compresses responses for clients that accept it.
#[derive(Clone, Debug, PartialEq)]
pub struct Compression {
    /// What is offered, the most preferred first. At least one.
    pub codings: Vec<Coding>,
    /// 1 (fastest) to 9 (smallest). Default 4.
    pub level: u8,
    /// Shorter bodies, if their length is known, are left alone. Default 1 KiB.
    pub bytes_min: u64,
    /// Media types, lower case, without parameters; `text/*` stands for all of `text`.
    pub types: Vec<Name>,
}

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// Scripts of which other sites may use a route, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Cors {
    /// Which sites.
    pub origins: Origins,
    /// Methods they may use, upper case.
    pub methods: Vec<Name>,
    /// Header fields they may send, lower case; `None` allows any.
    pub headers: Option<Vec<Name>>,
    /// Header fields of responses they may see, lower case.
    pub expose: Vec<Name>,
    /// Whether they may send cookies and the like. Never with [`Origins::Any`].
    pub credentials: bool,
    /// How long a browser may remember this. Default 10 minutes.
    pub max_age: Duration,
}

/// Sites, as browsers name them in `Origin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Any.
    Any,
    /// These: `https://app.example.com`, or `https://*.example.com` for each host with exactly one
    /// more label. Lower case; a port only where it is not the scheme's own.
    Listed(Vec<Name>),
}

/// Who may use a route. Who cannot show that he is refused before any server is asked for him.
#[derive(Clone, Debug, PartialEq)]
pub enum Authentication {
    /// Name and password (RFC 7617).
    Basic(BasicAuthentication),
    /// A signed token, `Authorization: Bearer` (RFC 6750, RFC 7519).
    Jwt(JwtAuthentication),
    /// Whom another server lets in.
    Forward(ForwardAuthentication),
}

impl Authentication {
    /// Whether only the door may tell the server this field: `name` is the name of a header field,
    /// in any letters, or one that a server may read as such, with any other character for a `-`
    /// (CGI and WSGI do).
    #[must_use]
    pub fn owns(&self, name: &[u8]) -> bool {
        let reads_as = |own: &Name| {
            let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
            own.len() == name.len()
                && own
                    .bytes()
                    .zip(name)
                    .all(|(own, &byte)| plain(own).eq_ignore_ascii_case(&plain(byte)))
        };
        match self {
            Self::Basic(_) => false,
            Self::Jwt(jwt) => jwt.headers.iter().any(|(own, _)| reads_as(own)),
            Self::Forward(forward) => forward.copy.iter().any(reads_as),
        }
    }
}

/// Users with passwords. Kept out of `Debug`.
#[derive(Clone, PartialEq)]
pub struct BasicAuthentication {
    /// What the browser shows when it asks.
    pub realm: Name,
    /// Name and hash of the password, by name: bcrypt (`$2y$...`), or Argon2id in PHC format
    /// (`$argon2id$...`).
    pub users: Vec<(Name, Name)>,
}

impl std::fmt::Debug for BasicAuthentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BasicAuthentication")
            .field("realm", &self.realm)
            .field("users", &self.users.len())
            .finish()
    }
}

/// Tokens that count.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtAuthentication {
    /// Whose signatures count; at least one. With an id, only for tokens that name it.
    pub keys: Vec<(Option<Name>, JwtKey)>,
    /// The value of `iss`, if it has to be one.
    pub issuer: Option<Name>,
    /// The values of `aud` of which one has to be there; empty: `aud` is not looked at.
    pub audiences: Vec<Name>,
    /// Claims that the token must have with this value, or with it in a list, or in a
    /// space-separated string. Dots in a name lead through objects, unless a claim has that name.
    pub claims: Vec<(Name, Name)>,
    /// Header fields for the server, lower case, and the claim that each is set from. A request's
    /// own fields of these names never reach the server.
    pub headers: Vec<(Name, Name)>,
}

/// Another server decides: 2xx lets the request in, any other status below 500 is the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardAuthentication {
    /// Index into `Configuration::pools`; it speaks HTTP/1.1.
    pub pool: usize,
    /// The path it is asked at; `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri` tell what for.
    pub path: Name,
    /// Header fields of the request that it gets, lower case; `None` is all of them.
    pub headers: Option<Vec<Name>>,
    /// Header fields of its answer that the server of the request gets, lower case. A request's own
    /// fields of these names never reach the server.
    pub copy: Vec<Name>,
    /// Header fields of its answer that the client gets too, beside those of the response, lower
    /// case.
    pub copy_response: Vec<Name>,
    /// How long it may take in all, at least 10 ms. Default 5 s. Without an answer the request is
    /// refused.
    pub timeout: Duration,
}
