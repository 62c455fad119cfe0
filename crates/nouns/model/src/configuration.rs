//! The configuration after it was checked: what `settings` makes and every room reads.
//!
//! Invariant: a value of these types is valid. Names resolve, numbers are in range, patterns
//! are well formed; nobody below checks them again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::Name;

mod admission;
mod check;
mod policy;
mod protocol;
mod route;
mod telemetry;
mod treatment;
pub use admission::{
    Admission, Class, Client, FlowKey, Identity, JwtKey, LimitKey, PoolAdmission, Rate, RateLimit,
    SharedQuotas,
};
pub use check::{Check, CheckKind};
pub use policy::{Allowance, Changes, Invariants, Rollback, State};
pub use protocol::{
    Acme, AcmeChallenge, ClientCertificates, Http2, ListenerProtocol, ProxyVersion, ServerProtocol,
    SniRoute, TcpForward,
};
pub use route::{
    Action, HeaderMatch, HostPattern, PathPart, PathPattern, REGEX_COMPILED_BYTES_MAX, REGEXES_MAX,
    Rewrite, Route, TemplateSegment,
};
pub use telemetry::{AccessLog, AccessLogFormat, AccessLogTarget, Telemetry};
pub use treatment::{
    Authentication, BasicAuthentication, Coding, Compression, Cors, ForwardAuthentication,
    HeaderRules, HeaderValue, JwtAuthentication, Origins, Treatment, ValuePart, Variable,
    may_hold_secret,
};

/// One whole, valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// Twelve hex digits of a hash of the text; in logs and error bodies.
    pub version: Name,
    /// Process-wide settings.
    pub door: Door,
    /// The addresses the door serves, in file order.
    pub listeners: Vec<Listener>,
    /// The pools of servers, in file order; [`Action::Forward`] indexes them.
    pub pools: Vec<Pool>,
    /// The routes, by priority, then most specific first: the first match wins. One that lists both
    /// exact and wildcard hosts stands here twice, once with each: no single place would be right for
    /// both.
    pub routes: Vec<Route>,
    /// Who is let in.
    pub admission: Admission,
    /// Registered clients, by name.
    pub clients: Vec<Client>,
    /// Rate limits, by name.
    pub limits: Vec<RateLimit>,
    /// The admin interface.
    pub admin: Admin,
    /// Logs and metrics.
    pub telemetry: Telemetry,
    /// What must hold whatever changes.
    pub invariants: Invariants,
    /// How changes go live.
    pub changes: Changes,
    /// Rules that are set aside, each for a reason.
    pub allowances: Vec<Allowance>,
    /// The files beside the text that it was made of: users, and keys of tokens. In order, each
    /// once.
    pub files: Vec<PathBuf>,
}

/// Process-wide settings (`[door]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Door {
    /// Worker threads, 1 to 256; each has its own runtime and listeners.
    pub workers: usize,
    /// How long requests in flight may take after SIGTERM. Default 30 s.
    pub drain: Duration,
    /// Client connections over all listeners, at least 1.
    pub connections_max: u32,
    /// Where generations are kept; `None` keeps them in memory only.
    pub state: Option<State>,
}

/// One address the door serves (`[listen.NAME]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The name in the configuration.
    pub name: Name,
    /// Where to listen; port 0 lets the system choose.
    pub address: SocketAddr,
    /// TLS termination, if any.
    pub tls: Option<ListenerTls>,
    /// Peers whose `Forwarded`, `X-Forwarded-*` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Which forwarding headers the door writes.
    pub forwarded: ForwardedStyle,
    /// Limits on what a client may send and hold.
    pub limits: ClientLimits,
    /// How long a client may take.
    pub timeouts: ClientTimeouts,
    /// The format of the door's own error bodies.
    pub errors: ErrorFormat,
    /// What is spoken there.
    pub protocol: ListenerProtocol,
    /// Every connection from `trusted_proxies` begins with a PROXY header (v1 or v2), and no other
    /// peer is let in.
    pub proxy_protocol: bool,
}

/// TLS termination on a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls {
    /// At least one; the first is used when no name matches and `strict_sni` is off.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version spoken.
    pub version_min: TlsVersion,
    /// Refuse a handshake whose server name matches no certificate.
    pub strict_sni: bool,
    /// Whether clients show a certificate of their own.
    pub clients: Option<ClientCertificates>,
    /// A certificate that the door obtains by itself; its files are the last of `certificates`.
    pub acme: Option<Acme>,
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// An OCSP response for the leaf (DER), sent along with it.
    pub ocsp: Option<PathBuf>,
}

/// A TLS version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Which forwarding headers the door writes towards servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedStyle {
    /// `X-Forwarded-For`, `-Proto`, `-Host` (the default).
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
    /// Both.
    Both,
    /// Neither; those of untrusted peers are still removed.
    Off,
}

/// The format of the door's own error bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `application/problem+json` (RFC 9457), the default.
    ProblemJson,
    /// `text/plain`.
    Text,
}

/// What a client may send and hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Bytes of request line and header fields, 1,024 to 65,536. Default 16,384.
    pub head_bytes_max: usize,
    /// Header fields, 8 to 256. Default 100.
    pub headers_max: usize,
    /// Bytes of the request target, 64 to 65,536. Default 8,192.
    pub target_bytes_max: usize,
    /// Bytes of a request body. Default 100 MiB; a route may differ.
    pub body_bytes_max: u64,
    /// Connections on this listener.
    pub connections_max: u32,
    /// Connections of one address (IPv4 /32, IPv6 /64) on this listener.
    pub connections_per_address_max: u32,
}

/// How long a client may take. Each at least 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// The TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// The whole head, from its first byte. Default 10 s.
    pub head: Duration,
    /// Between two advances of the body, or of the response towards the client. Default 30 s.
    pub body: Duration,
    /// An idle connection between requests. Default 60 s.
    pub keep_alive: Duration,
}

/// A pool of servers (`[pools.NAME]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The name in the configuration.
    pub name: Name,
    /// At least one.
    pub servers: Vec<Server>,
    /// How a server is chosen.
    pub balance: Balance,
    /// The zone of this door; servers of the same zone are preferred while enough are up.
    pub zone: Option<Name>,
    /// Active health checks.
    pub check: Option<Check>,
    /// TLS towards the servers.
    pub tls: Option<PoolTls>,
    /// How long a server may take.
    pub timeouts: ServerTimeouts,
    /// When a request is tried again.
    pub retries: Retries,
    /// When a failing server is set aside.
    pub ejection: Ejection,
    /// How long a new or recovered server takes to reach its full share. Default 30 s; zero is off.
    pub slow_start: Duration,
    /// Requests in flight at one server, over all workers; 0 means no limit.
    pub in_flight_max: u32,
    /// How many requests its servers are given at once, and how long others wait.
    pub admission: PoolAdmission,
    /// Idle connections kept per server and worker; over HTTP/2 the most connections, at least
    /// one. Default 64.
    pub idle_max: usize,
    /// How often names are resolved again when their TTL is longer, or unknown. Default 30 s.
    pub resolve: Duration,
    /// What all its servers together were measured to be able to do, if that is known.
    pub capacity: Option<crate::capacity::Capacity>,
    /// The most traffic it is known to get, requests per second, if that was said.
    pub peak_per_second: Option<f64>,
    /// What its servers speak.
    pub protocol: ServerProtocol,
    /// Each connection to a server begins with a PROXY header that names the client.
    pub proxy_protocol: Option<ProxyVersion>,
}

/// One server as configured; a name stands for all its addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Where it is.
    pub address: ServerAddress,
    /// Its part of the traffic relative to the others, 0 to 1,000. 0 takes none.
    pub weight: u32,
    /// Its zone.
    pub zone: Option<Name>,
    /// True: no new requests; those in flight end.
    pub drain: bool,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// An address and port.
    Socket(SocketAddr),
    /// A DNS name and port, resolved while running.
    Name {
        /// The host name, lower case.
        host: Name,
        /// The port, 1 to 65,535.
        port: u16,
    },
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// How a server is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Power of two choices on in-flight x peak EWMA (the default).
    P2c,
    /// Fewest requests in flight per weight.
    LeastRequest,
    /// Smooth weighted round robin.
    RoundRobin,
    /// Random by weight.
    Random,
    /// Consistent hashing (Maglev) with bounded load.
    Maglev(HashKey),
}

/// What a consistent hash is taken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    ClientAddress,
    /// The request's path.
    Path,
    /// A header's value, by lower-case name; requests without it fall back to p2c.
    Header(Name),
    /// A cookie's value; requests without it fall back to p2c.
    Cookie(Name),
}

/// TLS towards the servers of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolTls {
    /// The name in the certificate; by default the server's host name, or its address.
    pub server_name: Option<Name>,
    /// PEM file of trusted roots; the system's by default.
    pub roots: Option<PathBuf>,
    /// False accepts any certificate: for tests, never by default.
    pub verify: bool,
    /// What the door shows when a server asks who it is.
    pub certificate: Option<CertificateFiles>,
}

/// How long a server may take. Each at least 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// To connect, TLS included. Default 3 s.
    pub connect: Duration,
    /// From the request's end to the response's first byte. Default 30 s.
    pub first_byte: Duration,
    /// Between two advances of the response body. Default 30 s.
    pub progress: Duration,
    /// The whole request, attempts included; `None` (the default) has no limit.
    pub total: Option<Duration>,
    /// An idle server connection is closed after this. Default 30 s; a shorter `Keep-Alive: timeout` wins.
    pub idle: Duration,
    /// An upgraded connection, or a gRPC call that its server has begun to answer, without bytes
    /// either way. Default 300 s.
    pub tunnel_idle: Duration,
}

/// When a request is tried again on another server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retries {
    /// Attempts in all, 1 to 5. Default 2.
    pub attempts_max: u32,
    /// Retries as a share of requests, 0 to 1. Default 0.1.
    pub budget: f64,
    /// Retries per second that are always allowed. Default 3.
    pub budget_min_per_second: u32,
    /// Also try again when the server answers 502, 503 or 504, idempotent methods only.
    pub on_status: bool,
}

/// When a failing server is set aside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ejection {
    /// Failures in a row; 0 turns ejection off. Default 5.
    pub failures: u32,
    /// The first pause; doubled at each further ejection. Default 1 s.
    pub pause: Duration,
    /// The longest pause. Default 30 s.
    pub pause_max: Duration,
    /// The largest share of the pool that may be set aside, 0 to 1. Default 0.5.
    pub share_max: f64,
}

/// The admin interface (`[admin]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// A Unix socket, for the same user and root only; `None` turns it off.
    pub socket: Option<PathBuf>,
    /// A TCP address, with a token.
    pub tcp: Option<AdminTcp>,
}

/// The admin interface over TCP.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminTcp {
    /// Where to listen.
    pub address: SocketAddr,
    /// A file that holds the bearer token, at least 16 characters.
    pub token_file: PathBuf,
}
