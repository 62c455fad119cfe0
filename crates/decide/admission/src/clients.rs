//! Registered clients: their kill switch, what they have in flight, their rate and their baseline.
//!
//! All clients that are not registered are one account: they share a rate and a number in flight,
//! where the configuration gives them any.
//! Invariants: what is known of a client is known by its name and outlives a reload; a client
//! that was disabled by hand stays so until it is enabled by hand; a request that a disabled
//! client sends after [`Clients::set_enabled`] returned is refused.

use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::configuration::{Class, Client, Configuration, Rate};
use model::fact::ClientFacts;
use model::{Name, Reason, Timestamp};

use crate::baseline::{Baseline, Usual};
use crate::count::{Count, Held};
use crate::gcra::{Pace, Room};
use crate::hash::{mix, text};
use crate::lease::{Leases, Shared, SharedRate};

/// The name under which the accounts of all others are kept; no client can have it.
const UNKNOWN: &str = "";
/// Keeps the leases of clients apart from those of limits.
const LEASE_SALT: u64 = 0x636c_6965_6e74_7321;

/// Registered clients, in configuration order, and one account for everybody else.
#[derive(Debug)]
pub struct Clients {
    known: Box<[Registered]>,
    unknown: Registered,
    /// How often any was disabled or enabled by hand.
    switched: Arc<AtomicU64>,
}

/// A client as this configuration has it.
#[derive(Debug)]
struct Registered {
    account: Arc<Account>,
    /// The arrival time of its rate; another one where the rate is another.
    bucket: Arc<AtomicU64>,
    rate: Option<Rate>,
    pace: Option<Pace>,
    in_flight_max: Option<u32>,
    class: Class,
    /// Per route, whether it may use it; empty means all.
    routes: Box<[bool]>,
    enabled: bool,
    headers: bool,
    /// Its rate, where doors share it.
    shared: Option<SharedRate>,
}

/// What all configurations know of a client.
#[derive(Debug)]
struct Account {
    name: Name,
    key: u64,
    /// Disabled by hand.
    disabled: AtomicBool,
    demoted: AtomicBool,
    in_flight: Arc<Count>,
    requests: AtomicU64,
    refused: AtomicU64,
    learned: Mutex<Learned>,
}

#[derive(Debug)]
struct Learned {
    baseline: Baseline,
    /// When `baseline` was last told.
    told_at: Timestamp,
    /// Requests as of then, and as of the last facts.
    requests_told: u64,
    requests_shown: u64,
    refused_shown: u64,
}

impl Clients {
    /// The clients of a configuration; what `previous` knows of those of the same name stays.
    #[must_use]
    pub fn build(
        configuration: &Configuration,
        previous: Option<&Self>,
        now: Timestamp,
        seed: u64,
    ) -> Self {
        let admission = &configuration.admission;
        let before = |name: &Name| {
            previous?.known.iter().find(|registered| registered.account.name == *name)
        };
        let known = configuration.clients.iter().map(|client| {
            let routes = may_use(client, configuration);
            let pace = client.rate.map(|rate| Pace::new(rate, client.burst));
            Registered {
                rate: client.rate,
                in_flight_max: client.in_flight_max,
                class: client.class,
                routes,
                enabled: client.enabled,
                headers: client.headers,
                shared: client
                    .rate
                    .filter(|_| client.shared)
                    .map(|rate| SharedRate::new("client", &client.name, rate, client.burst)),
                ..Registered::new(&client.name, pace, before(&client.name), (now, seed))
            }
        });
        let pace = admission.unknown_rate.map(|rate| Pace::new(rate, second_of(rate)));
        let unknown = Registered {
            rate: admission.unknown_rate,
            in_flight_max: admission.unknown_in_flight_max,
            ..Registered::new(
                &UNKNOWN.into(),
                pace,
                previous.map(|previous| &previous.unknown),
                (now, seed),
            )
        };
        let switched = previous.map(|previous| Arc::clone(&previous.switched)).unwrap_or_default();
        Self { known: known.collect(), unknown, switched }
    }

    /// How many are registered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Counts a request that arrived; only registered clients are counted.
    pub fn count(&self, client: Option<usize>) {
        if client.is_some() {
            self.of(client).account.requests.fetch_add(1, Relaxed);
        }
    }

    /// Counts a request that was refused for the client's own sake.
    pub fn count_refused(&self, client: Option<usize>) {
        if client.is_some() {
            self.of(client).account.refused.fetch_add(1, Relaxed);
        }
    }

    /// Whether a client may use a route at all.
    ///
    /// # Errors
    ///
    /// [`Reason::ClientDisabled`] or [`Reason::ClientRoute`].
    pub fn may_use(&self, client: Option<usize>, route: usize) -> Result<(), Reason> {
        let registered = self.of(client);
        if !registered.is_enabled() {
            return Err(Reason::ClientDisabled);
        }
        match registered.routes.get(route) {
            Some(false) => Err(Reason::ClientRoute),
            Some(true) | None => Ok(()),
        }
    }

    /// Takes one request out of the client's rate; `None` where it has none. `leases` where doors
    /// share rates.
    ///
    /// # Errors
    ///
    /// How long until there is room; nothing was taken.
    pub fn take(
        &self,
        client: Option<usize>,
        leases: Option<&Leases>,
        now: Timestamp,
    ) -> Result<Option<Room>, Duration> {
        self.of(client).take(leases, now)
    }

    /// Undoes one [`Clients::take`].
    pub fn give_back(&self, client: Option<usize>, leases: Option<&Leases>) {
        self.of(client).give_back(leases);
    }

    /// Takes a place in flight; `None` for those whose requests in flight nobody counts.
    ///
    /// # Errors
    ///
    /// [`Reason::TooManyInFlight`].
    pub(crate) fn begin(&self, client: Option<usize>) -> Result<Option<Held>, Reason> {
        let registered = self.of(client);
        // A count that all share costs all of them: only where there is a limit to hold.
        if client.is_none() && registered.in_flight_max.is_none() {
            return Ok(None);
        }
        let held = registered.account.in_flight.enter(registered.in_flight_max);
        held.map(Some).ok_or(Reason::TooManyInFlight)
    }

    /// Takes a place in flight whatever the limit: where limits only observe.
    pub(crate) fn begin_over(&self, client: Option<usize>) -> Option<Held> {
        self.of(client).account.in_flight.enter(None)
    }

    /// The class of a registered client, as configured.
    #[must_use]
    pub fn class(&self, client: usize) -> Option<Class> {
        self.known.get(client).map(|registered| registered.class)
    }

    /// The place of a client by its name in the configuration.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.known.iter().position(|registered| *registered.account.name == *name)
    }

    /// Disables a client by hand, or takes that back; in effect for the next request on any
    /// worker. Returns whether the client is enabled now: not by hand if the configuration
    /// disables it, nor when there is no such client.
    pub fn set_enabled(&self, client: usize, enabled: bool) -> bool {
        let Some(registered) = self.known.get(client) else { return false };
        if registered.account.disabled.swap(!enabled, Relaxed) == enabled {
            self.switched.fetch_add(1, Release);
        }
        registered.is_enabled()
    }

    /// How often any client was disabled or enabled by hand so far: as long as it is the same, what
    /// [`Clients::is_enabled`] said of this configuration holds.
    #[must_use]
    pub fn switched(&self) -> u64 {
        self.switched.load(Acquire)
    }

    /// Whether a client is enabled, by hand and by the configuration.
    #[must_use]
    pub fn is_enabled(&self, client: usize) -> bool {
        self.known.get(client).is_some_and(Registered::is_enabled)
    }

    /// Learns what clients usually send; call it every 250 ms to a second, off the path.
    pub fn tick(&self, now: Timestamp) {
        for registered in &self.known {
            registered.account.learn(now);
        }
    }

    /// One second of each client; off the path, by one reader, once a second.
    #[must_use]
    pub fn facts(&self) -> Vec<ClientFacts> {
        self.known.iter().map(Registered::facts).collect()
    }

    /// Whether a client was put before what is normal.
    pub(crate) fn is_important(&self, client: u32) -> bool {
        let class = usize::try_from(client).ok().and_then(|client| self.class(client));
        class.is_some_and(|class| class < Class::Normal)
    }

    /// What a client usually sends, once it is learned.
    pub(crate) fn usual(&self, client: u32) -> Option<Usual> {
        let registered = self.known.get(usize::try_from(client).ok()?)?;
        registered.account.learned().baseline.usual()
    }

    /// Sets who is demoted at any pool.
    pub(crate) fn set_demoted(&self, is_demoted: impl Fn(u32) -> bool) {
        for (index, registered) in (0..).zip(&self.known) {
            registered.account.demoted.store(is_demoted(index), Relaxed);
        }
    }

    /// A keyed hash of a client's name; `None` for those that are not registered.
    pub(crate) fn key(&self, client: Option<usize>) -> Option<u64> {
        self.known.get(client?).map(|registered| registered.account.key)
    }

    /// Whether responses to it carry the state of its rate.
    pub(crate) fn shows(&self, client: Option<usize>) -> bool {
        self.of(client).headers
    }

    fn of(&self, client: Option<usize>) -> &Registered {
        client.and_then(|client| self.known.get(client)).unwrap_or(&self.unknown)
    }
}

impl Registered {
    fn new(
        name: &Name,
        pace: Option<Pace>,
        before: Option<&Self>,
        (now, seed): (Timestamp, u64),
    ) -> Self {
        let account = before.map(|before| Arc::clone(&before.account));
        let bucket = before.filter(|before| before.pace == pace);
        Self {
            account: account.unwrap_or_else(|| Arc::new(Account::new(name, now, seed))),
            bucket: bucket.map(|before| Arc::clone(&before.bucket)).unwrap_or_default(),
            rate: None,
            pace,
            in_flight_max: None,
            class: Class::Normal,
            routes: Box::default(),
            enabled: true,
            headers: false,
            shared: None,
        }
    }

    /// Takes one request out of its rate; `None` where it has none.
    fn take(&self, leases: Option<&Leases>, now: Timestamp) -> Result<Option<Room>, Duration> {
        let Some(pace) = self.pace else { return Ok(None) };
        let (Some(leases), Some(rate)) = (leases, &self.shared) else {
            return pace.take(&self.bucket, now).map(Some);
        };
        let alone = |part: &Pace| part.take(&self.bucket, now);
        // There is one key: the name of the rate says whose it is.
        let of = Shared { rate, slot: self.account.lease(rate), key: &|| Some(0), alone: &alone };
        leases.take(&of, now).map(Some)
    }

    fn give_back(&self, leases: Option<&Leases>) {
        let Some(pace) = self.pace else { return };
        let pace = match (leases, &self.shared) {
            (Some(leases), Some(rate)) => leases.give_back(rate, self.account.lease(rate)),
            (Some(_) | None, _) => Some(pace),
        };
        if let Some(pace) = pace {
            pace.give_back(&self.bucket);
        }
    }

    fn is_enabled(&self) -> bool {
        self.enabled && !self.account.disabled.load(Relaxed)
    }

    fn facts(&self) -> ClientFacts {
        let account = &self.account;
        let mut learned = account.learned();
        let (requests, refused) = (account.requests.load(Relaxed), account.refused.load(Relaxed));
        let shown = std::mem::replace(&mut learned.requests_shown, requests);
        let refused_shown = std::mem::replace(&mut learned.refused_shown, refused);
        ClientFacts {
            name: account.name.to_string(),
            class: self.class,
            enabled: self.is_enabled(),
            demoted: account.demoted.load(Relaxed),
            requests: requests - shown,
            refused: refused - refused_shown,
            in_flight: u64::from(account.in_flight.held()),
            baseline_per_second: learned.baseline.usual().map(|usual| usual.mean),
            limit_per_second: self.rate.map(|rate| rate.per_second()),
        }
    }
}

impl Account {
    fn new(name: &Name, now: Timestamp, seed: u64) -> Self {
        Self {
            name: Arc::clone(name),
            key: text(name, seed),
            disabled: AtomicBool::new(false),
            demoted: AtomicBool::new(false),
            in_flight: Arc::default(),
            requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            learned: Mutex::new(Learned {
                baseline: Baseline::default(),
                told_at: now,
                requests_told: 0,
                requests_shown: 0,
                refused_shown: 0,
            }),
        }
    }

    /// The key of its lease; another one where the rate is another.
    fn lease(&self, rate: &SharedRate) -> u64 {
        mix(self.key ^ LEASE_SALT, rate.fingerprint())
    }

    /// Only the tick and the facts take it, never the path.
    fn learned(&self) -> std::sync::MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, now: Timestamp) {
        let mut learned = self.learned();
        let passed = now.since(learned.told_at);
        if passed < Duration::from_secs(1) {
            return;
        }
        let requests = self.requests.load(Relaxed);
        let sent = requests - std::mem::replace(&mut learned.requests_told, requests);
        learned.told_at = now;
        // What a demoted client sends is what it should not send.
        if !self.demoted.load(Relaxed) {
            learned.baseline.observe(sent as f64 / passed.as_secs_f64());
        }
    }
}

/// Per route, whether the client may use it; empty when it may use all.
fn may_use(client: &Client, configuration: &Configuration) -> Box<[bool]> {
    if client.routes.is_empty() {
        return Box::default();
    }
    configuration.routes.iter().map(|route| client.routes.contains(&route.name)).collect()
}

/// One second's worth of a rate, at least 1: the burst of those who have no burst of their own.
fn second_of(rate: Rate) -> u32 {
    u32::try_from(crate::gcra::floor(rate.per_second())).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests;
