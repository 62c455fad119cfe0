//! Rate limits: every one that applies to a request must have room, and then one is taken of each.
//!
//! A refused request has taken nothing: what the limits before the one that refuses gave is given
//! back. The coarse come first, the client's own rate before them all, so that a flood of strange
//! keys that one limit for all refuses takes no place in the table of keys.
//! Limits for all and for routes have a bucket of their own; limits by client, address and header
//! keep their keys in the [`KeyTable`], apart from each other by a salt of name and pace: a limit
//! that is changed starts anew, for what is owed at one pace says nothing at another.
//! What doors share is leased ([`Leases`]); the buckets here then hold the door's own part of it,
//! for as long as it has to decide alone.
//! A limit that only observes counts what it would have refused, and takes only what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use model::configuration::{Configuration, LimitKey, RateLimit};
use model::fact::LimitFacts;
use model::{Name, Reason, Timestamp};

use crate::clients::Clients;
use crate::gcra::{KeyTable, Pace, Room};
use crate::hash::{mix, text};
use crate::lease::{Leases, Shared, SharedRate};
use crate::request::{Refusal, Request};
use crate::retry_after::retry_after;

/// The limits of a configuration.
#[derive(Debug)]
pub struct Limits {
    limits: Box<[Limit]>,
    /// Per route, the limits that apply.
    routes: Box<[Box<[Applied]>]>,
    /// Whether everything only observes.
    observe: bool,
    /// What is leased of the rates that doors share.
    leases: Option<Arc<Leases>>,
}

#[derive(Debug)]
struct Limit {
    name: Name,
    by: LimitKey,
    pace: Pace,
    salt: u64,
    observe: bool,
    headers: bool,
    /// Its rate, where doors share it.
    shared: Option<SharedRate>,
    counts: Arc<Counts>,
}

/// A limit as it applies to one route.
#[derive(Debug)]
struct Applied {
    limit: usize,
    bucket: Bucket,
}

/// Where arrival times are kept.
#[derive(Debug)]
enum Bucket {
    /// One for all of its requests; a reload finds it by `key`.
    Own { key: u64, time: Arc<AtomicU64> },
    /// Per key.
    Keyed,
}

/// What was counted since the last facts; a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    requests: AtomicU64,
    refused: AtomicU64,
}

/// The state of a limit, for the headers of a response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// The limit's place in `Configuration::limits`; `None` is the client's own rate.
    pub limit: Option<usize>,
    /// What is left of it.
    pub room: Room,
}

/// One request that is checked.
struct Ask<'a, R> {
    table: &'a KeyTable,
    clients: &'a Clients,
    request: &'a R,
    leases: Option<&'a Leases>,
    now: Timestamp,
}

/// What it has taken so far.
struct Taken {
    client: bool,
    /// Per limit of the route, the first in the lowest bit.
    limits: u64,
}

impl Limits {
    /// The limits of a configuration. Buckets and counts of limits that did not change are those
    /// of `previous`; `seed` must be the same then. What doors share is leased as long as the
    /// configuration says where.
    #[must_use]
    pub fn build(configuration: &Configuration, previous: Option<&Self>, seed: u64) -> Self {
        let leases = configuration.admission.shared.as_ref().map(|_| {
            let known = previous.and_then(|previous| previous.leases.clone());
            known.unwrap_or_else(|| Arc::new(Leases::new(configuration.admission.keys_max, seed)))
        });
        let limits = configuration.limits.iter().map(|limit| Limit::new(limit, previous, seed));
        let mut built = Self {
            limits: limits.collect(),
            routes: Box::default(),
            observe: configuration.admission.observe,
            leases,
        };
        let mut buckets = Buckets { previous, made: Vec::new() };
        let of_route = |route: &model::configuration::Route| {
            let mut applied: Vec<usize> = (0..built.limits.len())
                .filter(|&index| applies(&configuration.limits[index], &route.name))
                .collect();
            applied.sort_by_key(|&index| fineness(&built.limits[index].by));
            let apply = |index: usize| {
                let bucket = buckets.of(&built.limits[index], &route.name);
                Applied { limit: index, bucket }
            };
            applied.into_iter().map(apply).collect()
        };
        built.routes = configuration.routes.iter().map(of_route).collect();
        built
    }

    /// Takes one request from the client's own rate and from all limits that apply, or from none.
    /// Returns the tightest of those whose state is shown to the client.
    ///
    /// # Errors
    ///
    /// [`Reason::RateLimited`], with when to come back.
    pub fn check<R: Request>(
        &self,
        table: &KeyTable,
        clients: &Clients,
        request: &R,
        now: Timestamp,
    ) -> Result<Option<Quota>, Refusal> {
        let leases = self.leases.as_deref();
        let ask = Ask { table, clients, request, leases, now };
        let client = request.client();
        let mut taken = Taken { client: false, limits: 0 };
        let mut quota: Option<Quota> = None;
        match clients.take(client, leases, now) {
            Ok(room) => {
                taken.client = room.is_some();
                let shown = room.filter(|_| clients.shows(client));
                quota = shown.map(|room| Quota { limit: None, room });
            }
            Err(_) if self.observe => clients.count_refused(client),
            Err(wait) => {
                clients.count_refused(client);
                return Err(ask.refuse(None, wait));
            }
        }
        for (place, applied) in self.applied(request.route()).iter().enumerate() {
            let limit = &self.limits[applied.limit];
            match limit.take(&applied.bucket, &ask) {
                None => {}
                Some(Ok(room)) => {
                    taken.limits |= bit(place);
                    if limit.headers && quota.is_none_or(|quota| is_tighter(&room, &quota.room)) {
                        quota = Some(Quota { limit: Some(applied.limit), room });
                    }
                }
                Some(Err(_)) if limit.observe || self.observe => {}
                Some(Err(wait)) => {
                    self.give_back(&taken, &ask);
                    return Err(ask.refuse(Some(applied.limit), wait));
                }
            }
        }
        Ok(quota)
    }

    /// What was counted since the last call, per limit; off the path, by one reader.
    #[must_use]
    pub fn facts(&self) -> Vec<LimitFacts> {
        let facts = |limit: &Limit| LimitFacts {
            name: limit.name.to_string(),
            observe: limit.observe || self.observe,
            requests: limit.counts.requests.swap(0, Relaxed),
            refused: limit.counts.refused.swap(0, Relaxed),
        };
        self.limits.iter().map(facts).collect()
    }

    /// What is leased of the rates that doors share; absent where none are.
    #[must_use]
    pub const fn leases(&self) -> Option<&Arc<Leases>> {
        self.leases.as_ref()
    }

    fn applied(&self, route: usize) -> &[Applied] {
        self.routes.get(route).map_or(&[], |applied| applied)
    }

    fn give_back<R: Request>(&self, taken: &Taken, ask: &Ask<'_, R>) {
        if taken.client {
            ask.clients.give_back(ask.request.client(), ask.leases);
        }
        for (place, applied) in self.applied(ask.request.route()).iter().enumerate() {
            if taken.limits & bit(place) != 0 {
                self.limits[applied.limit].give_back(&applied.bucket, ask);
            }
        }
    }
}

impl Limit {
    fn new(settings: &RateLimit, previous: Option<&Limits>, seed: u64) -> Self {
        let pace = Pace::new(settings.rate, settings.burst);
        let kind = format!("{} {:?}", settings.name, settings.by);
        let salt = mix(text(&kind, seed), pace.fingerprint());
        let before =
            previous.and_then(|previous| previous.limits.iter().find(|limit| limit.salt == salt));
        Self {
            name: Arc::clone(&settings.name),
            by: settings.by.clone(),
            pace,
            salt,
            observe: settings.observe,
            headers: settings.headers,
            shared: settings
                .shared
                .then(|| SharedRate::new("limit", &settings.name, settings.rate, settings.burst)),
            counts: before.map(|before| Arc::clone(&before.counts)).unwrap_or_default(),
        }
    }

    /// `None`: it does not apply to this request.
    fn take<R: Request>(
        &self,
        bucket: &Bucket,
        ask: &Ask<'_, R>,
    ) -> Option<Result<Room, Duration>> {
        let slot = match bucket {
            Bucket::Own { key, .. } => *key,
            Bucket::Keyed => self.key(ask)?,
        };
        let alone = |pace: &Pace| match bucket {
            Bucket::Own { time, .. } => pace.take(time, ask.now),
            Bucket::Keyed => ask.table.take(slot, pace, ask.now),
        };
        let result = match (ask.leases, &self.shared) {
            (Some(leases), Some(rate)) => {
                let key = || ask.request.shared_key(&self.by);
                leases.take(&Shared { rate, slot, key: &key, alone: &alone }, ask.now)
            }
            (Some(_) | None, _) => alone(&self.pace),
        };
        self.counts.requests.fetch_add(1, Relaxed);
        if result.is_err() {
            self.counts.refused.fetch_add(1, Relaxed);
        }
        Some(result)
    }

    fn give_back<R: Request>(&self, bucket: &Bucket, ask: &Ask<'_, R>) {
        let slot = match bucket {
            Bucket::Own { key, .. } => Some(*key),
            Bucket::Keyed => self.key(ask),
        };
        let Some(slot) = slot else { return };
        let pace = match (ask.leases, &self.shared) {
            (Some(leases), Some(rate)) => leases.give_back(rate, slot),
            (Some(_) | None, _) => Some(self.pace),
        };
        match (pace, bucket) {
            (None, _) => {}
            (Some(pace), Bucket::Own { time, .. }) => pace.give_back(time),
            (Some(pace), Bucket::Keyed) => ask.table.give_back(slot, &pace, ask.now),
        }
    }

    fn key<R: Request>(&self, ask: &Ask<'_, R>) -> Option<u64> {
        let key = match &self.by {
            // By name, for a client's place may be another one's after a reload.
            LimitKey::Client => ask.asker(),
            LimitKey::All | LimitKey::Route | LimitKey::Address | LimitKey::Header(_) => {
                ask.request.key(&self.by)?
            }
        };
        Some(mix(key, self.salt))
    }
}

impl<R: Request> Ask<'_, R> {
    /// A keyed hash of the registered client's name, or of the flow.
    fn asker(&self) -> u64 {
        self.clients.key(self.request.client()).unwrap_or_else(|| self.request.flow())
    }

    fn refuse(&self, limit: Option<usize>, wait: Duration) -> Refusal {
        let retry_after = Some(retry_after(self.table, self.asker(), wait, self.now));
        Refusal { reason: Reason::RateLimited, retry_after, limit }
    }
}

/// The buckets of a configuration while it is built: one per limit and, where it counts routes
/// apart, per name of a route.
struct Buckets<'a> {
    previous: Option<&'a Limits>,
    made: Vec<(u64, Arc<AtomicU64>)>,
}

impl Buckets<'_> {
    fn of(&mut self, limit: &Limit, route: &Name) -> Bucket {
        let key = match &limit.by {
            LimitKey::All => limit.salt,
            LimitKey::Route => text(route, limit.salt),
            LimitKey::Client | LimitKey::Address | LimitKey::Header(_) => return Bucket::Keyed,
        };
        let made = self.made.iter().find(|made| made.0 == key).map(|made| Arc::clone(&made.1));
        let time = made.unwrap_or_else(|| {
            let time = self.before(key).unwrap_or_default();
            self.made.push((key, Arc::clone(&time)));
            time
        });
        Bucket::Own { key, time }
    }

    fn before(&self, wanted: u64) -> Option<Arc<AtomicU64>> {
        let applied = self.previous?.routes.iter().flatten();
        applied
            .filter_map(|applied| match &applied.bucket {
                Bucket::Own { key, time } => (*key == wanted).then(|| Arc::clone(time)),
                Bucket::Keyed => None,
            })
            .next()
    }
}

fn applies(limit: &RateLimit, route: &Name) -> bool {
    limit.routes.is_empty() || limit.routes.contains(route)
}

/// Few keys first.
fn fineness(by: &LimitKey) -> u8 {
    match by {
        LimitKey::All => 0,
        LimitKey::Route => 1,
        LimitKey::Client => 2,
        LimitKey::Header(_) => 3,
        LimitKey::Address => 4,
    }
}

fn is_tighter(room: &Room, than: &Room) -> bool {
    room.remaining() < than.remaining()
}

/// Limits after the 64th of a route keep what they gave.
fn bit(place: usize) -> u64 {
    u32::try_from(place).ok().and_then(|place| 1_u64.checked_shl(place)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
