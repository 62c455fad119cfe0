//! The way in: the seven steps that each request takes before a server is picked for it.
//!
//! Each step costs more than the one before it, and a request that one refuses has taken nothing
//! from a server. [`Admission::admit`] holds the first six; the seventh, what becomes of a request
//! that waits, is [`Line::next`]. Whoever has to find out more about a request calls the two halves
//! of `admit` himself: between them it has passed its rates, and holds no server's place.
//! Invariant: a request that was let in or waits is counted for its client, and at its pool, until
//! its pass or its place in the line is dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use model::configuration::{Action, Class, Configuration};
use model::fact::{AdmissionFacts, ReasonCount};
use model::{Name, Reason, Timestamp};

use crate::buffers::Buffers;
use crate::clients::Clients;
use crate::gate::{Carried, Gate, Pass};
use crate::gcra::KeyTable;
use crate::limits::Limits;
use crate::queue::{Arrival, Line, Ticket};
use crate::request::{Refusal, Request};
use crate::retries::RetryShare;
use crate::talkers::Talkers;

/// Who is let in, for one configuration; what was learned outlives it.
#[derive(Debug)]
pub struct Admission {
    observe: bool,
    keys_max: u32,
    seed: u64,
    buffers: Arc<Buffers>,
    keys: Arc<KeyTable>,
    clients: Clients,
    limits: Limits,
    retries: RetryShare,
    talkers: Talkers,
    routes: Vec<Route>,
    pools: Vec<(Name, Arc<Gate>)>,
    /// What would have been refused if this did more than observe, by reason.
    observed: Vec<AtomicU64>,
}

#[derive(Clone, Copy, Debug)]
struct Route {
    class: Class,
    /// `None`: it needs no server.
    pool: Option<usize>,
}

/// What becomes of a request that arrived.
#[derive(Debug)]
#[must_use = "a pass that is dropped gives its place back"]
pub enum Verdict {
    /// It is let in.
    Serve(Pass),
    /// It waits; its token is in the line. Call [`Line::next`] now: somebody may have given way.
    Wait(Ticket),
    /// It is refused.
    Refuse(Refusal),
}

/// A request that passed the first three steps, with what it took on the way; its drop gives that
/// back.
#[derive(Debug)]
#[must_use = "a request that was checked is still to be let in"]
pub struct Checked {
    carried: Carried,
    flow: u64,
}

impl Checked {
    /// The refusal of this request for a reason that is not admission's: try again in 1 to 3 s.
    #[must_use]
    pub const fn refused(&self, reason: Reason) -> Refusal {
        Refusal::busy(reason, self.flow)
    }
}

impl Admission {
    /// Builds admission for a configuration. `pools`: the addresses of each pool's servers, in
    /// configuration order. What `previous` learned is kept: keys where their number stays, clients
    /// and pools by name, servers by address. Allocates; off the path.
    #[must_use]
    pub fn build(
        configuration: &Configuration,
        workers: usize,
        pools: &[&[SocketAddr]],
        previous: Option<&Self>,
        (now, seed): (Timestamp, u64),
    ) -> Self {
        let settings = &configuration.admission;
        // Hashes of before must stay comparable with those of now.
        let seed = previous.map_or(seed, |previous| previous.seed);
        let kept = previous.filter(|previous| previous.keys_max == settings.keys_max);
        let buffers = previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.buffers));
        buffers.set_max(settings.buffer_bytes_max);
        let gate = |(index, pool): (usize, &model::configuration::Pool)| {
            let known = previous.and_then(|previous| previous.gate_of(&pool.name));
            let addresses = pools.get(index).copied().unwrap_or_default();
            let gate = Gate::build(pool, addresses, workers, known.map(|gate| &**gate), now);
            (Arc::clone(&pool.name), Arc::new(gate))
        };
        let route = |route: &model::configuration::Route| Route {
            class: route.class.unwrap_or_default(),
            pool: match route.action {
                Action::Forward { pool, .. } => Some(pool),
                Action::Redirect { .. } | Action::Respond { .. } => None,
            },
        };
        Self {
            observe: settings.observe,
            keys_max: settings.keys_max,
            seed,
            buffers,
            keys: kept.map_or_else(
                || Arc::new(KeyTable::new(settings.keys_max, seed)),
                |kept| Arc::clone(&kept.keys),
            ),
            clients: Clients::build(configuration, previous.map(|p| &p.clients), now, seed),
            limits: Limits::build(configuration, previous.map(|p| &p.limits), seed),
            retries: RetryShare::new(settings.retry_share),
            talkers: Talkers::build(
                configuration,
                workers,
                previous.map(|p| &p.talkers),
                now,
                seed,
            ),
            routes: configuration.routes.iter().map(route).collect(),
            pools: configuration.pools.iter().enumerate().map(gate).collect(),
            observed: Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Decides about a request that arrived: all of [`Admission::check`], then all of
    /// [`Admission::enter`].
    pub fn admit<R: Request, T>(
        &self,
        request: &R,
        line: Option<&mut Line<T>>,
        token: impl FnOnce() -> T,
        now: Timestamp,
    ) -> Verdict {
        match self.check(request, now) {
            Ok(checked) => self.enter((request, checked), line, token, now),
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// Steps 1 to 3: what can be said of a request whoever serves it. Lock-free; allocates nothing.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check<R: Request>(&self, request: &R, now: Timestamp) -> Result<Checked, Refusal> {
        let client = request.client();
        let route = self.route(request.route());
        self.talkers.record(request.worker(), route.pool, request.talker());
        self.clients.count(client);

        // 1. Memory, and whether this client may come here at all.
        if self.buffers.is_full() {
            return Err(Refusal::busy(Reason::BuffersFull, request.flow()));
        }
        self.may_use(request)?;

        // 2. Rates, and what the client may have in flight.
        let quota = self.limits.check(&self.keys, &self.clients, request, now)?;
        let flow = self.clients.key(client).unwrap_or_else(|| request.flow());
        let place = self.clients.begin(client).or_else(|reason| {
            self.clients.count_refused(client);
            self.unless_observing(Refusal::busy(reason, flow))?;
            Ok(self.clients.begin_over(client))
        })?;
        let carried = Carried { _client: place, quota };

        // 3. Retries beyond the client's share.
        if !self.retries.admit(&self.keys, flow, request.is_retry(), now) {
            self.unless_observing(Refusal::because(Reason::TooManyRetries))?;
        }
        Ok(Checked { carried, flow })
    }

    /// Steps 4 to 6, for a request that passed the first three: a place at its pool. `line` is the
    /// worker's own at the pool of the request's route, `None` where the route has no pool; `token`
    /// is what the line knows the request by if it has to wait. Lock-free; allocates only when it
    /// waits.
    pub fn enter<R: Request, T>(
        &self,
        (request, checked): (&R, Checked),
        line: Option<&mut Line<T>>,
        token: impl FnOnce() -> T,
        now: Timestamp,
    ) -> Verdict {
        let Some(line) = line else {
            return Verdict::Serve(Pass::without_pool(checked.carried));
        };
        self.place(request, checked, (line, token), now).unwrap_or_else(Verdict::Refuse)
    }

    fn place<R: Request, T>(
        &self,
        request: &R,
        Checked { carried, flow }: Checked,
        (line, token): (&mut Line<T>, impl FnOnce() -> T),
        now: Timestamp,
    ) -> Result<Verdict, Refusal> {
        let route = self.route(request.route());
        if request.deadline().is_some_and(|deadline| deadline <= now) {
            self.unless_observing(Refusal::because(Reason::TooLate))?;
        }
        let class = self.class(request, route);
        let gate = line.gate();
        let busy = gate.is_busy(request.server_free(), now);

        // 4. While not all can be served: class and cohort above the threshold.
        if busy && !gate.is_important(class, flow, line.is_new(class, flow), now) {
            self.unless_observing(Refusal::busy(Reason::Shed, flow))?;
        }

        // 5. A free place.
        let mut carried = Some(carried);
        if !busy && let Some(pass) = gate.enter(&mut carried, now) {
            return Ok(Verdict::Serve(pass));
        }
        if self.observe {
            self.count_observed(Reason::QueueFull);
            return Ok(Verdict::Serve(gate.enter_anyway(carried)));
        }

        // 6. The queue; 7 is what it does with those who wait.
        let arrival = Arrival {
            class,
            flow,
            bytes: request.bytes(),
            newcomer: request.is_newcomer(),
            deadline: request.deadline(),
            carried,
        };
        let waits = line.push(arrival, token, now).map(Verdict::Wait);
        waits.map_err(|reason| Refusal::busy(reason, flow))
    }

    /// The gate of a pool.
    ///
    /// # Panics
    /// When `pool` is no place in `Configuration::pools`.
    #[must_use]
    pub fn gate(&self, pool: usize) -> &Arc<Gate> {
        &self.pools[pool].1
    }

    /// Registered clients: the kill switch, and what they have in flight.
    #[must_use]
    pub const fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Rate limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Who sends the most.
    #[must_use]
    pub const fn talkers(&self) -> &Talkers {
        &self.talkers
    }

    /// The keys of rate limits.
    #[must_use]
    pub fn keys(&self) -> &KeyTable {
        &self.keys
    }

    /// The account of what connections hold in buffers.
    #[must_use]
    pub const fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// The secret that the hashes of flows and keys are to be made with; the same after a reload.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Learns and judges; call it every 250 ms, off the path.
    pub fn tick(&self, now: Timestamp) {
        self.pools.iter().for_each(|(_, gate)| gate.tick(now));
        let overloaded: Vec<bool> =
            self.pools.iter().map(|(_, gate)| gate.is_overloaded(now)).collect();
        self.clients.tick(now);
        self.talkers.tick(&overloaded, &self.clients, now);
    }

    /// One second of admission; the pools' queues are in [`Gate::facts`]. Off the path, by one
    /// reader, once a second.
    #[must_use]
    pub fn facts(&self) -> AdmissionFacts {
        AdmissionFacts {
            clients: self.clients.facts(),
            limits: self.limits.facts(),
            talkers: self.talkers.facts(),
            observed: self.observed(),
            buffer_bytes: self.buffers.held(),
            shared: self.limits.leases().map(|leases| leases.facts()),
        }
    }

    /// What would have been refused since the last call if this did more than observe; only
    /// reasons that occurred. What rate limits would have refused is in their own facts.
    fn observed(&self) -> Vec<ReasonCount> {
        let counts = Reason::ALL.iter().zip(&self.observed);
        counts
            .map(|(reason, count)| (reason, count.swap(0, Relaxed)))
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| ReasonCount { code: reason.code().to_owned(), count })
            .collect()
    }

    fn gate_of(&self, name: &Name) -> Option<&Arc<Gate>> {
        self.pools.iter().find(|(known, _)| known == name).map(|(_, gate)| gate)
    }

    fn route(&self, index: usize) -> Route {
        let unknown = Route { class: Class::default(), pool: None };
        self.routes.get(index).copied().unwrap_or(unknown)
    }

    /// How important a request is taken to be now; for the log.
    pub fn class_of<R: Request>(&self, request: &R) -> Class {
        self.class(request, self.route(request.route()))
    }

    /// The client's class wins over the route's; who is demoted is bulk.
    fn class<R: Request>(&self, request: &R, route: Route) -> Class {
        let demoted =
            route.pool.is_some_and(|pool| self.talkers.is_demoted(pool, request.talker()));
        if demoted {
            return Class::Bulk;
        }
        request.client().and_then(|client| self.clients.class(client)).unwrap_or(route.class)
    }

    /// The kill switch works even where everything else only observes.
    fn may_use<R: Request>(&self, request: &R) -> Result<(), Refusal> {
        let Err(reason) = self.clients.may_use(request.client(), request.route()) else {
            return Ok(());
        };
        self.clients.count_refused(request.client());
        let refusal = Refusal::because(reason);
        if reason == Reason::ClientDisabled { Err(refusal) } else { self.unless_observing(refusal) }
    }

    /// A refusal, or only its count.
    fn unless_observing(&self, refusal: Refusal) -> Result<(), Refusal> {
        if !self.observe {
            return Err(refusal);
        }
        self.count_observed(refusal.reason);
        Ok(())
    }

    fn count_observed(&self, reason: Reason) {
        if let Some(count) = self.observed.get(reason.index()) {
            count.fetch_add(1, Relaxed);
        }
    }
}
