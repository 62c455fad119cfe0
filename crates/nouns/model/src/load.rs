//! What a load test sends: streams of requests, each with its own rate, mix and clients.
//!
//! Invariant: a value of these types was checked by whoever made it ([`Stream::checked`] for
//! those that come from a command line); the load generator does not check again.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::Name;

/// Streams of one load.
pub const STREAMS_MAX: usize = 64;
/// Requests of one stream that may be under way at once.
pub const IN_FLIGHT_MAX: usize = 18_000;
/// Requests under way at once on one HTTP/2 connection.
pub const STREAMS_PER_CONNECTION_MAX: usize = 10_000;
/// The highest rate of one stream, requests per second.
pub const RATE_MAX: f64 = 1_000_000.0;

/// One load: every stream runs at the same time, each beginning at its own start.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPlan {
    /// 1 to [`STREAMS_MAX`] streams, with distinct names.
    pub streams: Vec<Stream>,
}

/// Requests of one kind of client.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// How reports name it.
    pub name: Name,
    /// When it begins, counted from the begin of the load.
    pub start: Duration,
    /// When its requests are due.
    pub arrivals: Arrivals,
    /// What is asked: at least one shape, drawn by weight.
    pub requests: Vec<RequestShape>,
    /// Who asks.
    pub clients: Clients,
    /// What its clients speak.
    pub protocol: Protocol,
    /// Requests under way at once on one connection of HTTP/2 or gRPC, 1 to
    /// [`STREAMS_PER_CONNECTION_MAX`]; a server that allows fewer has fewer.
    pub streams_max: usize,
    /// Whether connections are used again. `false`: one connection a request, closed by the client.
    pub keep_alive: bool,
    /// For one try, from when it was due (a retry: from when it was sent) to its last byte.
    pub timeout: Duration,
    /// What a client does after a failure.
    pub retries: Retries,
    /// Requests under way at once, 1 to [`IN_FLIGHT_MAX`]; those due beyond are dropped and counted.
    pub in_flight_max: usize,
}

/// What the clients of a stream speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1: one request at a time on a connection.
    #[default]
    Http1,
    /// HTTP/2: over TLS by ALPN, in the clear by prior knowledge (RFC 9113, section 3).
    Http2,
    /// gRPC over HTTP/2: a request's body is one message, and `grpc-status` is its outcome.
    Grpc,
}

impl Protocol {
    /// Whether several requests may be under way on one connection.
    #[must_use]
    pub const fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc)
    }
}

/// When requests are due.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// Open model: due whatever comes back.
    Open {
        /// One after the other; at least one.
        stages: Vec<Stage>,
        /// How the requests of a stage are spaced.
        spacing: Spacing,
    },
    /// Closed model: each user asks, waits for the answer, thinks, asks again.
    Closed {
        /// Users at once, 1 to [`IN_FLIGHT_MAX`].
        users: usize,
        /// Mean pause between an answer and the next request; exponential, zero for none.
        think: Duration,
        /// How long users begin new requests.
        duration: Duration,
    },
    /// Connections that are held open, as those of browsers and mobile applications.
    Sessions {
        /// Connections, 1 to [`IN_FLIGHT_MAX`].
        count: usize,
        /// They are opened evenly over this time.
        opening: Duration,
        /// Each asks this often, from its own start; `None`: once, when it was opened.
        ask_every: Option<Duration>,
        /// How long they are held.
        duration: Duration,
        /// What a session does when its connection was closed or lost.
        reconnect: Reconnect,
    },
    /// Requests of a recorded log at their own times; each is a shape of its own and
    /// [`Stream::requests`] is empty.
    Replay {
        /// In order of [`ReplayRequest::due`].
        requests: Arc<[ReplayRequest]>,
    },
}

/// One part of an open model: the rate goes in a straight line from one value to the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Requests per second at its begin, 0 to [`RATE_MAX`].
    pub from_per_second: f64,
    /// Requests per second at its end, 0 to [`RATE_MAX`].
    pub to_per_second: f64,
    /// How long it lasts.
    pub duration: Duration,
}

/// How requests of an open model are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly: the n-th is due when the integral of the rate reaches n.
    Even,
    /// As a Poisson process, from the load's seed.
    Poisson,
}

/// What a session does when its connection ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// Nothing more.
    Never,
    /// Connects again at once, every time: the herd.
    AtOnce,
    /// Waits a random time up to a bound that doubles from 100 ms to 30 s (full jitter).
    BackOff,
}

/// One request of a recorded log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRequest {
    /// When it is due, counted from the start of the stream.
    pub due: Duration,
    /// The method.
    pub method: Name,
    /// The target as it goes on the wire.
    pub target: Name,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestShape {
    /// How often, relative to the other shapes; at least 1.
    pub weight: u32,
    /// The method.
    pub method: Name,
    /// The target as it goes on the wire. Each `{key}` is replaced by a key of [`Keys`].
    pub target: Name,
    /// Further header fields; a value may have `{key}` too.
    pub headers: Vec<(Name, Name)>,
    /// The body; empty for none. Of gRPC the message, without the five bytes before it.
    pub body: Arc<[u8]>,
    /// The keys `{key}` is drawn from.
    pub keys: Keys,
}

/// The keys that a request names: users, products, anything a server may be chosen by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keys {
    /// Different keys, `0` to `count - 1`; at least 1.
    pub count: u32,
    /// The share of requests that name key 0, 0 to 1; the rest is uniform. 0: all uniform.
    pub hot_share: f64,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Clients {
    /// Different clients, at least 1; they take turns.
    pub count: u32,
    /// The header that carries a client's key, if any.
    pub key_header: Option<Name>,
    /// The value of that header; `{client}` is replaced by the client's number, from 0.
    pub key: Name,
    /// Addresses inside 127.0.0.0/8 the clients connect from, in turn; `None`: the system's choice.
    pub source: Option<IpNet>,
}

/// What a client does after a failure (no complete answer in time, or a 5xx or 429).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// Further tries after the first, 0 to 10.
    pub retries_max: u32,
    /// Before the first retry, doubling with full jitter; `None`: at once.
    pub back_off: Option<Duration>,
    /// Whether a 429 or 503 with `Retry-After` is tried again no sooner than it says. A session,
    /// which otherwise only connects again, then repeats what was refused.
    pub respect_retry_after: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self { count: 1, hot_share: 0.0 }
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self { count: 1, key_header: None, key: Name::from("{client}"), source: None }
    }
}

impl Default for RequestShape {
    fn default() -> Self {
        Self {
            weight: 1,
            method: Name::from("GET"),
            target: Name::from("/"),
            headers: Vec::new(),
            body: Arc::from([]),
            keys: Keys::default(),
        }
    }
}

impl Default for Stream {
    /// Ten requests a second for ten seconds.
    fn default() -> Self {
        let stage =
            Stage { from_per_second: 10.0, to_per_second: 10.0, duration: Duration::from_secs(10) };
        Self {
            name: Name::from("load"),
            start: Duration::ZERO,
            arrivals: Arrivals::Open { stages: vec![stage], spacing: Spacing::Even },
            requests: vec![RequestShape::default()],
            clients: Clients::default(),
            protocol: Protocol::Http1,
            streams_max: 100,
            keep_alive: true,
            timeout: Duration::from_secs(10),
            retries: Retries::default(),
            in_flight_max: 10_000,
        }
    }
}

impl Arrivals {
    /// How long requests become due, from the start of the stream.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self {
            Self::Open { stages, .. } => stages.iter().map(|stage| stage.duration).sum(),
            Self::Closed { duration, .. } | Self::Sessions { duration, .. } => *duration,
            Self::Replay { requests } => {
                requests.last().map_or(Duration::ZERO, |request| request.due)
            }
        }
    }
}

impl LoadPlan {
    /// When the last stream makes its last request due, from the begin of the load.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let ends = self.streams.iter().map(|stream| stream.start + stream.arrivals.duration());
        ends.max().unwrap_or_default()
    }
}

impl Stream {
    /// Checks every range.
    ///
    /// # Errors
    /// One sentence that names what is out of range, and the range.
    pub fn checked(self) -> Result<Self, String> {
        let rate = |rate: f64| rate.is_finite() && (0.0..=RATE_MAX).contains(&rate);
        let arrivals = match &self.arrivals {
            Arrivals::Open { stages, .. } => {
                !stages.is_empty()
                    && stages
                        .iter()
                        .all(|stage| rate(stage.from_per_second) && rate(stage.to_per_second))
            }
            Arrivals::Closed { users: count, .. } | Arrivals::Sessions { count, .. } => {
                (1..=IN_FLIGHT_MAX).contains(count)
            }
            Arrivals::Replay { requests } => !requests.is_empty(),
        };
        let replay = matches!(self.arrivals, Arrivals::Replay { .. });
        let shapes = self.requests.iter().all(|shape| {
            shape.weight >= 1
                && shape.keys.count >= 1
                && (0.0..=1.0).contains(&shape.keys.hot_share)
        });
        let posts = self.requests.iter().all(|shape| &*shape.method == "POST");
        let loopback = self.clients.source.is_none_or(|net| match net {
            IpNet::V4(net) => net.network().is_loopback() && net.prefix_len() >= 8,
            IpNet::V6(_) => false,
        });
        let rules = [
            (!self.name.is_empty(), "a stream needs a name"),
            (
                arrivals,
                "rates must be 0 to 1000000 a second, users and sessions 1 to 18000, and a replayed log must not be empty",
            ),
            (replay || !self.requests.is_empty(), "a stream needs at least one request"),
            (shapes, "weights and key counts must be at least 1, and hot shares 0 to 1"),
            (
                self.protocol != Protocol::Grpc || (posts && !replay),
                "gRPC asks with POST alone, and no log can be replayed over it",
            ),
            (
                (1..=STREAMS_PER_CONNECTION_MAX).contains(&self.streams_max),
                "requests at once on one connection must be 1 to 10000",
            ),
            (self.clients.count >= 1, "a stream needs at least one client"),
            (loopback, "source addresses must be a network inside 127.0.0.0/8"),
            (!self.timeout.is_zero(), "the timeout must be longer than zero"),
            (self.retries.retries_max <= 10, "retries must be 0 to 10"),
            (
                (1..=IN_FLIGHT_MAX).contains(&self.in_flight_max),
                "requests in flight must be 1 to 18000",
            ),
        ];
        match rules.iter().find(|(fits, _)| !fits) {
            Some((_, rule)) => Err(format!("stream {:?}: {rule}", &*self.name)),
            None => Ok(self),
        }
    }
}
