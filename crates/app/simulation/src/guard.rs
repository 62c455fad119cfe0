//! Who is let in at one door: the door's own admission, with the requests that wait there.
//!
//! One worker, one pool, one route, and the defaults of the configuration: it is told nothing
//! about the servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::{Admission, Called, LimiterSample, Line, Talker, Ticket, Verdict};
use model::configuration::{
    self, Action, Admin, Changes, Door, Invariants, LimitKey, PathPattern, Route, Telemetry,
    Treatment,
};
use model::{Configuration, Timestamp};

use crate::chooser::members;

/// One door's admission; `T` is what waits.
#[derive(Debug)]
pub(crate) struct Guard<T> {
    admission: Admission,
    line: Line<T>,
    /// Whether a tick is under way that looks at who waits.
    pub(crate) ticks: bool,
}

/// What is asked of a request that comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asks {
    pub(crate) client: u64,
    pub(crate) server_free: bool,
}

impl admission::Request for Asks {
    fn client(&self) -> Option<usize> {
        None
    }

    fn worker(&self) -> usize {
        0
    }

    fn talker(&self) -> Talker {
        Talker::Header(self.flow())
    }

    fn flow(&self) -> u64 {
        // As a keyed hash would be: evenly spread over all bits.
        balancing::Dice::new(self.client).roll()
    }

    fn key(&self, _: &LimitKey) -> Option<u64> {
        None
    }

    fn route(&self) -> usize {
        0
    }

    fn is_retry(&self) -> bool {
        false
    }

    fn bytes(&self) -> u64 {
        2_000
    }

    fn deadline(&self) -> Option<Timestamp> {
        None
    }

    fn server_free(&self) -> bool {
        self.server_free
    }
}

impl<T> Guard<T> {
    pub(crate) fn new(settings: &configuration::Pool, servers: usize, now: Timestamp) -> Self {
        let addresses: Vec<SocketAddr> =
            members(servers).iter().map(|member| member.address).collect();
        let configuration = configuration(settings);
        let admission = Admission::build(&configuration, 1, &[&addresses], None, (now, 1));
        let line = Line::new(Arc::clone(admission.gate(0)), 0);
        Self { admission, line, ticks: false }
    }

    pub(crate) fn admit(
        &mut self,
        asks: &Asks,
        token: impl FnOnce() -> T,
        now: Timestamp,
    ) -> Verdict {
        self.admission.admit(asks, Some(&mut self.line), token, now)
    }

    pub(crate) fn next(&mut self, server_free: bool, now: Timestamp) -> Option<Called<T>> {
        self.line.next(server_free, now)
    }

    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.line.leave(ticket);
    }

    pub(crate) fn waits(&self) -> bool {
        !self.line.is_empty()
    }

    pub(crate) fn limit(&self) -> u32 {
        self.line.gate().limit().unwrap_or(0)
    }

    /// What the door does four times a second, off the path.
    pub(crate) fn tick(&self, now: Timestamp) {
        self.admission.tick(now);
    }

    /// Counts an attempt that ended; the server's limit, if it moved.
    pub(crate) fn record(
        &self,
        server: usize,
        in_flight: u32,
        sample: &LimiterSample,
    ) -> Option<u32> {
        self.line.gate().record(server, sample, in_flight)
    }
}

/// One pool and a route to it; everything else as it is when nothing is said.
fn configuration(pool: &configuration::Pool) -> Configuration {
    let route = Route {
        name: "web".into(),
        priority: 0,
        listeners: Vec::new(),
        hosts: Vec::new(),
        path: PathPattern::Prefix("/".into()),
        methods: Vec::new(),
        headers: Vec::new(),
        action: Action::Forward { pool: 0, rewrite: None },
        body_bytes_max: None,
        total_timeout: None,
        treatment: Treatment::default(),
        class: None,
    };
    Configuration {
        version: "000000000000".into(),
        door: Door {
            workers: 1,
            drain: Duration::from_secs(30),
            connections_max: 20_000,
            state: None,
        },
        listeners: Vec::new(),
        pools: vec![pool.clone()],
        routes: vec![route],
        // A hundred doors in one process need not each remember a million keys.
        admission: configuration::Admission { keys_max: 1_000, ..Default::default() },
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
