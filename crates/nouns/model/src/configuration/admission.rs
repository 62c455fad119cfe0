//! Who is let in: registered clients, rate limits, classes, and what a pool takes at once.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Name;

/// Who is let in (`[admission]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// True: what would be refused is counted, and let in. Default off.
    pub observe: bool,
    /// Keys that rate limits remember, 1,000 to 10,000,000; 16 bytes each, at most 128 MiB in
    /// all, taken at the start. Default 1,000,000.
    pub keys_max: u32,
    /// What tells clients apart that are not registered. Default: the address.
    pub flow: FlowKey,
    /// The rate that all clients that are not registered share; `None` (the default) has none.
    pub unknown_rate: Option<Rate>,
    /// Requests in flight and waiting of all clients that are not registered; `None` has no limit.
    pub unknown_in_flight_max: Option<u32>,
    /// A client that sends more than this many times its learned baseline while a pool is
    /// overloaded is demoted to [`Class::Bulk`]. At least 1.5; 0 turns it off. Default 4.
    pub demote_above: f64,
    /// Marked retries (see [`Admission::retry_header`]) as a share of a client's requests, 0 to 1.
    /// Default 0.1.
    pub retry_share: f64,
    /// The header, lower case, in which a client says which attempt this is: 1 or more is a retry.
    /// `grpc-previous-rpc-attempts` always counts. Default `x-retry-attempt`.
    pub retry_header: Name,
    /// Bytes that all connections may hold in buffers. Default 512 MiB.
    pub buffer_bytes_max: u64,
    /// Quotas shared with other doors.
    pub shared: Option<SharedQuotas>,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            observe: false,
            keys_max: 1_000_000,
            flow: FlowKey::Address,
            unknown_rate: None,
            unknown_in_flight_max: None,
            demote_above: 4.0,
            retry_share: 0.1,
            retry_header: "x-retry-attempt".into(),
            buffer_bytes_max: 512 << 20,
            shared: None,
        }
    }
}

/// What tells clients apart that are not registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowKey {
    /// The client's address, IPv6 by /64.
    Address,
    /// A header's value, by lower-case name; the address where it is absent.
    Header(Name),
}

/// How important a request is. When not all can be served, the least important is refused first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Served as long as anything is.
    Critical,
    /// Before what is normal.
    Important,
    /// What nothing else is said of.
    #[default]
    Normal,
    /// Can wait: batch jobs, and clients that are far above their baseline.
    Bulk,
}

impl Class {
    /// All classes, the most important first; `ALL[class.index()] == class`.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Important, Self::Normal, Self::Bulk];

    /// 0 (critical) to 3 (bulk).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Important => "important",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }
}

/// A rate: so many in such a time, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least 1.
    pub count: u32,
    /// In which time, 1 ms to 1 day.
    pub per: Duration,
}

impl Rate {
    /// Requests per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }
}

/// A registered client, an integration (`[clients.NAME]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// The name in the configuration.
    pub name: Name,
    /// What it is known by; any one is enough. At least one.
    pub identities: Vec<Identity>,
    /// Requests it may send; `None` has no limit of its own.
    pub rate: Option<Rate>,
    /// Requests above the rate that it may send at once, at least 1. Default: one second's worth.
    pub burst: u32,
    /// Requests in flight and waiting; `None` has no limit of its own.
    pub in_flight_max: Option<u32>,
    /// How important it is. Default [`Class::Normal`].
    pub class: Class,
    /// Routes it may use, by name; empty means all.
    pub routes: Vec<Name>,
    /// False: every request is refused. `tidegate client disable` does the same at once.
    pub enabled: bool,
    /// Whether the rate is shared with other doors.
    pub shared: bool,
    /// Whether its responses carry `RateLimit` and `RateLimit-Policy`.
    pub headers: bool,
}

/// What a registered client is known by.
#[derive(Clone, Debug, PartialEq)]
pub enum Identity {
    /// The SHA-256 of a header's value, by lower-case name. A value that is given in the
    /// configuration is hashed when it is read.
    Header {
        /// The header.
        name: Name,
        /// The hash.
        sha256: [u8; 32],
    },
    /// A claim of a signed JSON Web Token in `Authorization: Bearer`.
    Jwt {
        /// The claim's name.
        claim: Name,
        /// Its value.
        value: Name,
        /// What the signature is checked with.
        key: JwtKey,
    },
    /// Its address, IPv4 or IPv6.
    Network(IpNet),
    /// A name (subjectAltName: DNS, lower case, or URI) in the certificate that it showed and that
    /// the listener's authorities vouch for.
    Certificate(Name),
}

/// What a token's signature is checked with. Kept out of `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum JwtKey {
    /// A secret shared with the issuer (HS256).
    Secret(Vec<u8>),
    /// A PEM public key (RS256, ES256 or EdDSA, as the key says).
    Public(Vec<u8>),
    /// A public JSON Web Key (RFC 7517).
    Jwk {
        /// What it signs with, as `alg` names it.
        algorithm: Name,
        /// The key itself, as it is written.
        json: Vec<u8>,
    },
}

impl std::fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(..)",
            Self::Public(_) => "Public(..)",
            Self::Jwk { .. } => "Jwk(..)",
        })
    }
}

/// A rate limit (`[limits.NAME]`); every one that applies to a request must have room.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// The name in the configuration.
    pub name: Name,
    /// Whose requests are counted together.
    pub by: LimitKey,
    /// How many.
    pub rate: Rate,
    /// How many at once, at least 1. Default: one second's worth.
    pub burst: u32,
    /// Routes it applies to, by name; empty means all.
    pub routes: Vec<Name>,
    /// True: what would be refused is counted, and let in.
    pub observe: bool,
    /// Whether responses carry `RateLimit` and `RateLimit-Policy`. Default off.
    pub headers: bool,
    /// Whether it is shared with other doors.
    pub shared: bool,
}

/// Whose requests a limit counts together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// Everyone's.
    All,
    /// Those of one client: a registered one, or what `admission.flow` tells apart.
    Client,
    /// Those of one address: IPv4 /32, IPv6 /64.
    Address,
    /// Those of one route.
    Route,
    /// Those with the same value of a header, by lower-case name; without it, no limit.
    Header(Name),
}

/// What a pool takes at once (in `[pools.NAME]`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolAdmission {
    /// Whether the limit on requests in flight is found by measuring. Default on. Off: only
    /// [`super::Pool::in_flight_max`] holds.
    pub adaptive: bool,
    /// The longest a request waits for a place while the pool is not overloaded. Default 100 ms.
    pub wait_max: Duration,
    /// The longest a request of a burst waits for what others leave, where the limit is found by
    /// measuring. Zero: no longer than any other. Default 5 s.
    pub burst_wait_max: Duration,
}

impl Default for PoolAdmission {
    fn default() -> Self {
        Self {
            adaptive: true,
            wait_max: Duration::from_millis(100),
            burst_wait_max: Duration::from_secs(5),
        }
    }
}

/// Where quotas are shared with other doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedQuotas {
    /// A Redis or Valkey server, `redis://[user:password@]host[:port][/db]`.
    pub url: Name,
    /// Doors with the same name share. Default `tidegate`.
    pub name: Name,
    /// How long an answer may take before the door goes on by itself. Default 100 ms.
    pub timeout: Duration,
}
