//! Configurations to compare, and the tests of everything that needs one.

mod broken;
mod difference;
mod error;
mod fields;
mod forecast;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use model::Configuration;
use model::configuration::{
    Action, Admin, Admission, Balance, Changes, Class, Client, ClientLimits, ClientTimeouts, Door,
    Ejection, ErrorFormat, ForwardedStyle, Identity, Invariants, LimitKey, Listener, PathPattern,
    Pool, PoolAdmission, Rate, RateLimit, Retries, Route, Server, ServerAddress, ServerTimeouts,
    Telemetry, Treatment,
};

/// The server of this number listens on 10.0.0.NUMBER:80.
fn address(number: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, number), 80))
}

fn server(number: u8, weight: u32) -> Server {
    Server { address: ServerAddress::Socket(address(number)), weight, zone: None, drain: false }
}

/// A pool of servers numbered from `first`, of these weights.
pub(crate) fn pool(name: &str, first: u8, weights: &[u32]) -> Pool {
    let second = Duration::from_secs(1);
    Pool {
        protocol: model::configuration::ServerProtocol::default(),
        proxy_protocol: None,
        name: name.into(),
        servers: (first..).zip(weights).map(|(number, &weight)| server(number, weight)).collect(),
        balance: Balance::P2c,
        zone: None,
        check: None,
        tls: None,
        timeouts: ServerTimeouts {
            connect: 3 * second,
            first_byte: 30 * second,
            progress: 30 * second,
            total: None,
            idle: 30 * second,
            tunnel_idle: 300 * second,
        },
        retries: Retries {
            attempts_max: 2,
            budget: 0.1,
            budget_min_per_second: 3,
            on_status: false,
        },
        ejection: Ejection { failures: 5, pause: second, pause_max: 30 * second, share_max: 0.5 },
        slow_start: 30 * second,
        in_flight_max: 0,
        admission: PoolAdmission::default(),
        idle_max: 64,
        resolve: 30 * second,
        capacity: None,
        peak_per_second: None,
    }
}

/// A route of this name to the pool of this index.
fn route(name: &str, pool: usize) -> Route {
    Route {
        name: name.into(),
        priority: 0,
        listeners: Vec::new(),
        hosts: Vec::new(),
        path: PathPattern::Prefix(format!("/{name}").into()),
        methods: Vec::new(),
        headers: Vec::new(),
        action: Action::Forward { pool, rewrite: None },
        body_bytes_max: None,
        total_timeout: None,
        treatment: Treatment::default(),
        class: None,
    }
}

/// A registered client of this name: 50 requests a second, 20 in flight.
fn client(name: &str) -> Client {
    Client {
        name: name.into(),
        identities: vec![Identity::Header { name: "x-api-key".into(), sha256: [7; 32] }],
        rate: Some(Rate { count: 50, per: Duration::from_secs(1) }),
        burst: 50,
        in_flight_max: Some(20),
        class: Class::Normal,
        routes: Vec::new(),
        enabled: true,
        shared: false,
        headers: false,
    }
}

/// A limit of this name by address, per second.
fn limit(name: &str, count: u32) -> RateLimit {
    RateLimit {
        name: name.into(),
        by: LimitKey::Address,
        rate: Rate { count, per: Duration::from_secs(1) },
        burst: count,
        routes: Vec::new(),
        observe: false,
        headers: false,
        shared: false,
    }
}

fn listener() -> Listener {
    let second = Duration::from_secs(1);
    Listener {
        protocol: model::configuration::ListenerProtocol::default(),
        proxy_protocol: false,
        name: "web".into(),
        address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)),
        tls: None,
        trusted_proxies: Vec::new(),
        forwarded: ForwardedStyle::XForwarded,
        limits: ClientLimits {
            head_bytes_max: 16_384,
            headers_max: 100,
            target_bytes_max: 8_192,
            body_bytes_max: 100 << 20,
            connections_max: 10_000,
            connections_per_address_max: 1_000,
        },
        timeouts: ClientTimeouts {
            handshake: 10 * second,
            head: 10 * second,
            body: 30 * second,
            keep_alive: 60 * second,
        },
        errors: ErrorFormat::ProblemJson,
    }
}

/// Pools `api` of three servers and `web` of two, each with a route of its own name.
fn configuration() -> Configuration {
    Configuration {
        version: "000000000000".into(),
        door: Door {
            workers: 2,
            drain: Duration::from_secs(30),
            connections_max: 20_000,
            state: None,
        },
        listeners: vec![listener()],
        pools: vec![pool("api", 1, &[1, 1, 1]), pool("web", 11, &[1, 1])],
        routes: vec![route("api", 0), route("web", 1)],
        admission: Admission::default(),
        clients: Vec::new(),
        limits: Vec::new(),
        admin: Admin { socket: None, tcp: None },
        telemetry: Telemetry { access_log: None },
        invariants: Invariants::default(),
        changes: Changes::default(),
        allowances: Vec::new(),
        files: Vec::new(),
    }
}

/// [`configuration`] after a change.
fn changed(change: impl FnOnce(&mut Configuration)) -> Configuration {
    let mut configuration = configuration();
    change(&mut configuration);
    configuration
}
