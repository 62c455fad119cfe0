//! A drill: a stack, a load, faults and changes on a timeline, and what is expected of the door.
//!
//! Invariant: a value of these types was checked by `settings`: names resolve, ranges hold,
//! windows lie inside the drill.

use std::time::Duration;

use crate::Name;
use crate::load::LoadPlan;
use crate::sample::SampleSettings;

/// Servers of one drill, at most.
pub const SERVERS_MAX: usize = 32;
/// The longest drill.
pub const DURATION_MAX: Duration = Duration::from_secs(3_600);

/// One whole drill.
#[derive(Clone, Debug, PartialEq)]
pub struct Drill {
    /// What `drill run` calls it: the file's name without `.toml`.
    pub name: Name,
    /// One line.
    pub title: String,
    /// What happened to whom, and when: paragraphs of plain text.
    pub description: String,
    /// How long it runs, up to [`DURATION_MAX`]; everything on its timeline lies inside.
    pub duration: Duration,
    /// What stands behind the door.
    pub stack: Stack,
    /// How the front door is set up at the start.
    pub door: DoorSetup,
    /// What its clients send.
    pub load: LoadPlan,
    /// Faults and changes, in order of [`Event::at`].
    pub events: Vec<Event>,
    /// What shows that the outage truly happened; judged in every run, most telling with the guard off.
    pub symptoms: Vec<Expectation>,
    /// What the door should achieve all the same.
    pub expectations: Vec<Expectation>,
}

/// What stands behind the door.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// 1 to [`SERVERS_MAX`] sample applications; their names are `settings.name`.
    pub servers: Vec<SampleSettings>,
    /// A PostgreSQL cluster of the drill's own, if any.
    pub database: Option<Database>,
}

/// A PostgreSQL cluster of the drill's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its `max_connections`, 10 to 1,000.
    pub connections_max: u32,
    /// Rows of the table the sample applications query, 0 to 1,000,000.
    pub rows: u32,
}

/// How the front door is set up, in words that each kind of front door can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct DoorSetup {
    /// How a server is chosen.
    pub balance: DoorBalance,
    /// The servers that take traffic with their weights, by name; those not named get none.
    pub weights: Vec<(Name, u32)>,
    /// The path of the active health check.
    pub check_path: String,
    /// Between two health checks.
    pub check_interval: Duration,
    /// For a whole answer of a server to begin.
    pub timeout: Duration,
    /// Tries of one request that may be repeated, the first included, 1 to 4.
    pub attempts: u32,
    /// Requests per second that one client may send where the front door limits clients, if it is to.
    pub client_rate_per_second: Option<u32>,
    /// The header that says which client it is; `None`: its address.
    pub client_header: Option<Name>,
    /// Requests at once that one server is given where the front door limits that, if it is to.
    pub server_in_flight_max: Option<u32>,
    /// Whether it is made live over the objections of every check.
    pub forced: bool,
}

/// How a front door chooses a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoorBalance {
    /// Each front door's own recommended way: p2c, least connections.
    Default,
    /// Round robin.
    RoundRobin,
    /// Consistent hashing of the request's path.
    HashPath,
    /// Consistent hashing of a header's value.
    HashHeader(Name),
}

/// Something that happens on the timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, from the begin of the drill.
    pub at: Duration,
    /// It is undone after this time; `None`: at the end of the drill.
    pub lasting: Option<Duration>,
    /// What.
    pub fault: Fault,
}

/// What can be broken or changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Processes are ended with SIGKILL, and started again in the end.
    Kill {
        /// Which servers.
        servers: Vec<Name>,
    },
    /// Processes are stopped with SIGSTOP: they accept and never answer.
    Stop {
        /// Which servers.
        servers: Vec<Name>,
    },
    /// Servers behave otherwise (slow, failing, half-open, leaking, pausing, burning, lying, cut in capacity).
    Behave {
        /// Which kind, as it was written: `slow`, `errors`, `half-open`, `leak`, `pauses`, `burn`, `lying-check`, `capacity` or `behave`.
        kind: &'static str,
        /// Each named server with its settings while the fault lasts.
        servers: Vec<SampleSettings>,
    },
    /// The network between two parts gets worse.
    Network {
        /// Where.
        link: Link,
        /// How.
        conditions: NetworkConditions,
    },
    /// Another configuration of the front door is applied; undone by applying the one before.
    Configure {
        /// The whole set-up that goes live.
        door: Box<DoorSetup>,
    },
    /// The configuration the door had before the last `Configure` is applied once more, as somebody does who
    /// deploys from an old checkout; undone by applying the newest.
    Stale,
    /// A new version of the application is started on servers, with its own behaviour.
    Deploy {
        /// Each named server with its new settings, [`SampleSettings::version`] included.
        servers: Vec<SampleSettings>,
    },
    /// One server after the other is restarted: SIGTERM, its grace, a new process at the same address.
    RollingRestart {
        /// Which servers, in this order.
        servers: Vec<Name>,
        /// From the start of one to the end of the next.
        pause: Duration,
    },
    /// All connections of a stream's clients are cut at once, as by a lost network; the clients do what they do.
    CutClients {
        /// Which stream.
        stream: Name,
    },
}

impl Fault {
    /// Where the network gets worse, if it does.
    #[must_use]
    pub const fn link(&self) -> Option<&Link> {
        if let Self::Network { link, .. } = self { Some(link) } else { None }
    }
}

/// Between which parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Between the clients and the front door.
    Clients,
    /// Between the front door and this server.
    Server(Name),
    /// Between the servers and the database.
    Database,
}

/// What a network does to connections; the default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NetworkConditions {
    /// Added to each direction.
    pub latency: Duration,
    /// A random part on top of `latency`, up to this; order of bytes is kept.
    pub jitter: Duration,
    /// Bytes per second of each connection and direction.
    pub bytes_per_second: Option<u64>,
    /// The share of chunks after which a connection makes no progress for a while, as after lost packets, 0 to 1.
    pub stall_share: f64,
    /// How long such a stall lasts.
    pub stall: Duration,
    /// The share of new connections that are reset after their first bytes, 0 to 1.
    pub reset_share: f64,
    /// Connections are accepted, bytes go nowhere.
    pub black_hole: bool,
    /// Connections at once; further ones are refused (closed at once).
    pub connections_max: Option<usize>,
}

/// A number that is measured, and its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// What is measured.
    pub measure: Measure,
    /// The begin of the time it is measured over, from the begin of the drill.
    pub from: Duration,
    /// The end of that time.
    pub to: Duration,
    /// Holds when the number is at least this.
    pub at_least: Option<f64>,
    /// Holds when the number is at most this.
    pub at_most: Option<f64>,
    /// Why it cannot be met yet. It is judged all the same; if it holds, the mark must go.
    pub pending: Option<String>,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The share of a stream's requests that ended well (a complete answer below 500, not 429), 0 to 1.
    /// A retried request counts once, by its last try; a dropped one as failed.
    Success {
        /// Which stream.
        stream: Name,
    },
    /// The share of a stream's requests that were answered completely, whatever the status, 0 to 1.
    Answered {
        /// Which stream.
        stream: Name,
    },
    /// Requests per second of a stream that ended well.
    Goodput {
        /// Which stream.
        stream: Name,
    },
    /// Median latency of a stream's successful answers from when they were due, milliseconds.
    P50Ms {
        /// Which stream.
        stream: Name,
    },
    /// 99th percentile of the same, milliseconds.
    P99Ms {
        /// Which stream.
        stream: Name,
    },
    /// The share of all answers that one server gave, 0 to 1.
    Share {
        /// Which server; `None`: the one with the most.
        server: Option<Name>,
    },
    /// The share of the looks at a server that found all its places taken, 0 to 1.
    Saturated {
        /// Which server.
        server: Name,
    },
    /// Tries sent to the servers per request of the clients.
    AttemptsPerRequest,
    /// New client connections per second.
    ConnectsPerSecond {
        /// Which stream.
        stream: Name,
    },
    /// Times the database refused or failed a server's query.
    DatabaseFailures,
    /// Seconds from `from` until a stream's success is at least 99 % for three seconds in a row, after the
    /// first that were not; 0 when it never fell.
    RecoverySeconds {
        /// Which stream.
        stream: Name,
    },
    /// Seconds from `from` until the front door itself shows that something is wrong with this server.
    DetectSeconds {
        /// Which server.
        server: Name,
    },
    /// Whether the change at `from` was refused before it went live: 1 or 0.
    ChangeRefused,
    /// Seconds from `from` until this cause is named.
    CauseSeconds {
        /// The cause, by its name in the list of causes.
        cause: String,
    },
    /// Seconds from `from` until the front door takes this action by itself.
    ActionSeconds {
        /// The action, such as `roll back`, `throttle client` or `promote replica`.
        action: String,
    },
}
