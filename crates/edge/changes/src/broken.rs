//! Which invariants a candidate, or the change to it, would break.
//!
//! Held to are the candidate's own `[invariants]` and `[changes]`: whoever relaxes them does so
//! in plain sight, as a line of the difference.

use std::collections::{BTreeMap, BTreeSet};

use model::configuration::{ClientLimits, Listener, Pool, Rate, RateLimit, Route};
use model::forecast::PoolForecast;
use model::{Configuration, Name};

use crate::words;

/// Messages, at most; a last one counts the rest.
const MESSAGES_MAX: usize = 100;
/// How far the share of a trial may be off by chance: a share that is this near its limit has
/// reached it.
const SHARE_ERROR: f64 = 0.01;
/// The same for what is moved, of two trials: only what is this far above its limit exceeds it,
/// so that one of two equal servers can be drained.
const MOVED_ERROR: f64 = 0.02;
/// The rule that is set aside where a lopsided pool is meant.
const LOPSIDED: &str = "lopsided-distribution";

/// Invariants of `to` that it would break, in words with their numbers; with `from`, also those of
/// the change from there. `pools` is the forecast of `to`'s pools. At most 100 and a last one that
/// counts the rest.
#[must_use]
pub fn broken(
    from: Option<&Configuration>,
    to: &Configuration,
    pools: &[PoolForecast],
) -> Vec<String> {
    let mut messages = Vec::new();
    let configured: BTreeMap<&str, &Pool> =
        to.pools.iter().map(|pool| (&*pool.name, pool)).collect();
    for forecast in pools {
        if let Some(pool) = configured.get(forecast.name.as_str()) {
            messages.extend(lopsided(to, pool, forecast));
        }
    }
    messages.extend(to.pools.iter().filter_map(|pool| too_few(to, pool)));
    if let Some(from) = from {
        messages.extend(pools.iter().filter_map(|forecast| moves_too_much(to, forecast)));
        if to.invariants.keep_routes {
            messages.extend(lost_routes(from, to));
        }
        messages.extend(dropped_limits(from, to));
    }
    if messages.len() > MESSAGES_MAX {
        let rest = messages.len() - MESSAGES_MAX;
        messages.truncate(MESSAGES_MAX);
        messages.push(format!("and {rest} more"));
    }
    messages
}

fn taking(pool: &Pool) -> usize {
    pool.servers.iter().filter(|server| !server.drain && server.weight > 0).count()
}

/// A pool of two of which one is drained is maintenance; of three or more it is a mistake that
/// one gets everything, whether by weights or because it is the last that takes requests.
fn lopsided(to: &Configuration, pool: &Pool, forecast: &PoolForecast) -> Option<String> {
    let limit = to.invariants.share_max;
    let judged = taking(pool) > 1 || (taking(pool) == 1 && pool.servers.len() > 2);
    if limit >= 1.0 || !judged || to.allows(LOPSIDED, &format!("pools.{}", pool.name)) {
        return None;
    }
    let shares = forecast.servers.iter().filter_map(|server| {
        let share = server.share?;
        Some((server.share_intended.map_or(share, |intended| share.min(intended)), server))
    });
    let (share, server) = shares.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (share >= limit - SHARE_ERROR).then(|| {
        format!(
            "pool {}: {} would get {} of its requests, with {} of {} taking any; \
             less than {} is wanted (invariants.share_max)",
            words::text(&pool.name),
            words::text(&server.address),
            words::share(share),
            taking(pool),
            words::count(pool.servers.len(), "server"),
            words::share(limit),
        )
    })
}

fn too_few(to: &Configuration, pool: &Pool) -> Option<String> {
    let wanted = usize::try_from(to.invariants.eligible_min).unwrap_or(usize::MAX);
    (taking(pool) < wanted && pool.servers.len() >= wanted).then(|| {
        format!(
            "pool {}: {} of {} could take requests; at least {wanted} must (invariants.eligible_min)",
            words::text(&pool.name),
            taking(pool),
            words::count(pool.servers.len(), "server"),
        )
    })
}

fn moves_too_much(to: &Configuration, forecast: &PoolForecast) -> Option<String> {
    (forecast.moved > to.changes.move_max + MOVED_ERROR).then(|| {
        format!(
            "pool {}: {} of its requests would move to other servers at once, more than {} \
             (changes.move_max): the change needs a canary",
            words::text(&forecast.name),
            words::share(forecast.moved),
            words::share(to.changes.move_max),
        )
    })
}

fn lost_routes(from: &Configuration, to: &Configuration) -> Vec<String> {
    let kept: BTreeSet<&Name> = to.routes.iter().map(|route| &route.name).collect();
    let mut told = BTreeSet::new();
    let gone = from.routes.iter().map(|route| &route.name).filter(|name| !kept.contains(name));
    gone.filter(|name| told.insert(*name))
        .map(|name| format!("route {} would be lost (invariants.keep_routes)", words::text(name)))
        .collect()
}

/// One limit before and after; `None` means that there was, or would be, none.
#[derive(Debug)]
struct Limit {
    what: String,
    from: Option<Amount>,
    to: Option<Amount>,
}

/// How much is allowed.
#[derive(Clone, Copy, Debug)]
enum Amount {
    Things(u64),
    Bytes(u64),
    Rate(Rate),
}

impl Amount {
    fn number(self) -> f64 {
        match self {
            Self::Things(number) | Self::Bytes(number) => number as f64,
            Self::Rate(rate) => rate.per_second(),
        }
    }
}

fn show(amount: &Amount) -> String {
    match amount {
        Amount::Things(number) => number.to_string(),
        Amount::Bytes(bytes) => words::size(*bytes),
        Amount::Rate(rate) => words::rate(rate),
    }
}

fn dropped_limits(from: &Configuration, to: &Configuration) -> Vec<String> {
    let most = to.invariants.limit_drop_max;
    if most >= 1.0 {
        return Vec::new();
    }
    limits(from, to).into_iter().filter_map(|limit| dropped(&limit, most)).collect()
}

fn dropped(limit: &Limit, most: f64) -> Option<String> {
    let part = match (limit.from.map(Amount::number), limit.to.map(Amount::number)) {
        (_, None) => 0.0,
        // Nothing was limited before.
        (None, Some(_)) => 1.0,
        (Some(from), Some(_)) if from <= 0.0 => 0.0,
        (Some(from), Some(to)) => 1.0 - to / from,
    };
    let show = |value: Option<Amount>| words::or_none(value.as_ref(), show);
    // A hair more, so that a drop of exactly the permitted part passes in spite of rounding.
    (part > most + 1e-9).then(|| {
        format!(
            "{} would fall from {} to {}, by {}; at most {} is allowed (invariants.limit_drop_max)",
            limit.what,
            show(limit.from),
            show(limit.to),
            words::share(part),
            words::share(most),
        )
    })
}

fn limits(from: &Configuration, to: &Configuration) -> Vec<Limit> {
    let mut limits = vec![Limit {
        what: "door: the limit of connections".to_owned(),
        from: Some(Amount::Things(u64::from(from.door.connections_max))),
        to: Some(Amount::Things(u64::from(to.door.connections_max))),
    }];
    for (before, after) in same_name(&from.listeners, &to.listeners, |listener| &listener.name) {
        limits.extend(limits_of_listener(before, after));
    }
    for (before, after) in same_name(&from.pools, &to.pools, |pool| &pool.name) {
        let limited = |most: u32| (most > 0).then_some(Amount::Things(u64::from(most)));
        limits.push(Limit {
            what: format!("pool {}: the limit of requests in flight", words::text(&before.name)),
            from: limited(before.in_flight_max),
            to: limited(after.in_flight_max),
        });
    }
    for (before, after) in same_name(&from.routes, &to.routes, |route| &route.name) {
        // Without its own limit a route has that of its listener, told there.
        if before.body_bytes_max.is_some() || after.body_bytes_max.is_some() {
            limits.push(Limit {
                what: format!("route {}: the body limit", words::text(&before.name)),
                from: body_limit(from, before).map(Amount::Bytes),
                to: body_limit(to, after).map(Amount::Bytes),
            });
        }
    }
    limits.extend(limits_of_clients(from, to));
    limits.extend(rate_limits(from, to));
    limits
}

fn limits_of_clients(from: &Configuration, to: &Configuration) -> Vec<Limit> {
    let rate = |what: String, from: Option<Rate>, to: Option<Rate>| Limit {
        what: format!("{what}: the rate"),
        from: from.map(Amount::Rate),
        to: to.map(Amount::Rate),
    };
    let in_flight = |what: String, from: Option<u32>, to: Option<u32>| Limit {
        what: format!("{what}: the limit of requests in flight"),
        from: from.map(|most| Amount::Things(u64::from(most))),
        to: to.map(|most| Amount::Things(u64::from(most))),
    };
    let (before, after) = (&from.admission, &to.admission);
    let unknown = || "unregistered clients".to_owned();
    let mut limits = vec![
        rate(unknown(), before.unknown_rate, after.unknown_rate),
        in_flight(unknown(), before.unknown_in_flight_max, after.unknown_in_flight_max),
    ];
    for (before, after) in same_name(&from.clients, &to.clients, |client| &client.name) {
        let name = format!("client {}", words::text(&before.name));
        limits.push(rate(name.clone(), before.rate, after.rate));
        limits.push(in_flight(name, before.in_flight_max, after.in_flight_max));
    }
    limits
}

/// Each limit that would be held to, and what it was; one that only counts limits nothing.
fn rate_limits(from: &Configuration, to: &Configuration) -> Vec<Limit> {
    let held = |limit: &RateLimit| (!limit.observe).then_some(Amount::Rate(limit.rate));
    let before: BTreeMap<&Name, &RateLimit> =
        from.limits.iter().map(|limit| (&limit.name, limit)).collect();
    let limit = |after: &RateLimit| Limit {
        what: format!("limit {}: the rate", words::text(&after.name)),
        from: before.get(&after.name).and_then(|before| held(before)),
        to: held(after),
    };
    to.limits.iter().map(limit).collect()
}

fn limits_of_listener(from: &Listener, to: &Listener) -> Vec<Limit> {
    let ClientLimits {
        head_bytes_max,
        headers_max,
        target_bytes_max,
        body_bytes_max,
        connections_max,
        connections_per_address_max,
    } = from.limits;
    let after = to.limits;
    let name = words::text(&from.name);
    let limit = |what: &str, from: Amount, to: Amount| Limit {
        what: format!("listener {name}: the {what}"),
        from: Some(from),
        to: Some(to),
    };
    let things = |number: u32| Amount::Things(u64::from(number));
    let count = |what: &str, from: u32, to: u32| limit(what, things(from), things(to));
    let bytes = |number: usize| Amount::Bytes(number as u64);
    let size = |what: &str, from: usize, to: usize| limit(what, bytes(from), bytes(to));
    let headers = |number: usize| Amount::Things(number as u64);
    vec![
        limit("body limit", Amount::Bytes(body_bytes_max), Amount::Bytes(after.body_bytes_max)),
        size("head limit", head_bytes_max, after.head_bytes_max),
        limit("header limit", headers(headers_max), headers(after.headers_max)),
        size("target limit", target_bytes_max, after.target_bytes_max),
        count("limit of connections", connections_max, after.connections_max),
        count(
            "limit of connections of one address",
            connections_per_address_max,
            after.connections_per_address_max,
        ),
    ]
}

/// The largest body that a route takes on any of its listeners.
fn body_limit(configuration: &Configuration, route: &Route) -> Option<u64> {
    let serves = |listener: &&Listener| {
        route.listeners.is_empty() || route.listeners.contains(&listener.name)
    };
    let listeners = configuration.listeners.iter().filter(serves);
    route.body_bytes_max.or_else(|| listeners.map(|known| known.limits.body_bytes_max).max())
}

/// What is there before and after, by its name; each name once.
fn same_name<'a, T>(from: &'a [T], to: &'a [T], name: impl Fn(&T) -> &Name) -> Vec<(&'a T, &'a T)> {
    let mut after: BTreeMap<Name, &'a T> = BTreeMap::new();
    for thing in to {
        after.entry(Name::clone(name(thing))).or_insert(thing);
    }
    // Taken out, so that a route that stands twice is compared once.
    from.iter().filter_map(|thing| Some((thing, after.remove(name(thing))?))).collect()
}
