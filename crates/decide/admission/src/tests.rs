//! The room as a whole: a configuration to start from, a request that a test makes up, the order
//! of the steps, and a pool under load.

mod simulation;
mod surge;
mod walk;

use std::time::Duration;

use model::Timestamp;
use model::configuration::{self, Action, Configuration, LimitKey, Treatment};

use crate::{Request, Talker};

pub(crate) fn at_ms(ms: u64) -> Timestamp {
    Timestamp::from_nanos(1_000_000_000) + Duration::from_millis(ms)
}

/// Two pools, `web` and `slow`, each with a route of its name, and a route `hello` without a pool.
pub(crate) fn configuration() -> Configuration {
    let forward = |pool| Action::Forward { pool, rewrite: None };
    let respond =
        Action::Respond { status: 200, body: "".into(), content_type: "text/plain".into() };
    Configuration {
        version: "000000000000".into(),
        door: configuration::Door {
            workers: 1,
            drain: Duration::from_secs(30),
            connections_max: 1_000,
            state: None,
        },
        listeners: Vec::new(),
        pools: vec![pool("web"), pool("slow")],
        routes: vec![route("web", forward(0)), route("slow", forward(1)), route("hello", respond)],
        admission: configuration::Admission::default(),
        clients: Vec::new(),
        limits: Vec::new(),
        admin: configuration::Admin { socket: None, tcp: None },
        telemetry: configuration::Telemetry { access_log: None },
        invariants: configuration::Invariants::default(),
        changes: configuration::Changes::default(),
        allowances: Vec::new(),
        files: Vec::new(),
    }
}

fn route(name: &str, action: Action) -> configuration::Route {
    configuration::Route {
        name: name.into(),
        priority: 0,
        listeners: Vec::new(),
        hosts: Vec::new(),
        path: configuration::PathPattern::Prefix("/".into()),
        methods: Vec::new(),
        headers: Vec::new(),
        action,
        body_bytes_max: None,
        total_timeout: None,
        treatment: Treatment::default(),
        class: None,
    }
}

pub(crate) fn pool(name: &str) -> configuration::Pool {
    let time = Duration::from_secs(30);
    configuration::Pool {
        protocol: model::configuration::ServerProtocol::default(),
        proxy_protocol: None,
        name: name.into(),
        servers: Vec::new(),
        balance: configuration::Balance::P2c,
        zone: None,
        check: None,
        tls: None,
        timeouts: configuration::ServerTimeouts {
            connect: time,
            first_byte: time,
            progress: time,
            total: None,
            idle: time,
            tunnel_idle: time,
        },
        retries: configuration::Retries {
            attempts_max: 2,
            budget: 0.1,
            budget_min_per_second: 3,
            on_status: false,
        },
        ejection: configuration::Ejection {
            failures: 5,
            pause: time,
            pause_max: time,
            share_max: 0.5,
        },
        slow_start: time,
        in_flight_max: 0,
        admission: configuration::PoolAdmission::default(),
        idle_max: 64,
        resolve: time,
        capacity: None,
        peak_per_second: None,
    }
}

pub(crate) fn client(name: &str) -> configuration::Client {
    configuration::Client {
        name: name.into(),
        identities: Vec::new(),
        rate: None,
        burst: 1,
        in_flight_max: None,
        class: configuration::Class::Normal,
        routes: Vec::new(),
        enabled: true,
        shared: false,
        headers: false,
    }
}

/// A request that a test makes up; the address is the flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) client: Option<usize>,
    pub(crate) address: u32,
    pub(crate) route: usize,
    pub(crate) worker: usize,
    pub(crate) is_retry: bool,
    pub(crate) bytes: u64,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) server_free: bool,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            client: None,
            address: 1,
            route: 0,
            worker: 0,
            is_retry: false,
            bytes: 1_000,
            deadline: None,
            server_free: true,
        }
    }
}

impl Request for Asked {
    fn client(&self) -> Option<usize> {
        self.client
    }

    fn talker(&self) -> Talker {
        match self.client {
            Some(client) => Talker::Client(u32::try_from(client).unwrap()),
            None => Talker::V4(self.address),
        }
    }

    fn worker(&self) -> usize {
        self.worker
    }

    fn flow(&self) -> u64 {
        crate::hash::mix(u64::from(self.address), 77)
    }

    fn key(&self, by: &LimitKey) -> Option<u64> {
        match by {
            LimitKey::All | LimitKey::Route => Some(0),
            LimitKey::Client => Some(self.client.map_or_else(|| self.flow(), |c| c as u64)),
            LimitKey::Address => Some(self.flow()),
            LimitKey::Header(_) => None,
        }
    }

    fn route(&self) -> usize {
        self.route
    }

    fn is_retry(&self) -> bool {
        self.is_retry
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    fn server_free(&self) -> bool {
        self.server_free
    }
}
