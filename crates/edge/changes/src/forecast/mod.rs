//! What each server would get, from recorded traffic where there is enough of it.
//!
//! Requests go by the name of their route into the pool that the candidate gives it, and are
//! replayed through the live pool and the candidate's, so that before and after come from the
//! same model (see [`balancing::trial::replay`]); a pool with fewer than 100 of them is tried with
//! a synthetic load. Both show a pool that has served for a while: servers that join are warm.
//! A recording holds no paths: that a route takes other requests than it did is not foreseen.
//! Invariant: shares of a pool sum to 1, or all are 0; a pool that did not change and gets the
//! same requests moves none.

mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use balancing::trial::{self, Scenario};
use model::Configuration;
use model::configuration::{Action, Balance, Pool};
use model::forecast::{Forecast, PoolForecast, ServerForecast};
use model::recording::Recording;

use self::traffic::{Load, Traffic};
use crate::{broken, difference};

/// Any will do; a fixed one makes the same change read the same.
const SEED: u64 = 2;
/// Requests of a pool that must have been kept, or its shares come from a synthetic load.
const REQUESTS_MIN: usize = 100;

/// What going from one configuration to the other would do. At most 200,000 requests are
/// replayed each way, and 2,000 more per pool: about half a second.
#[must_use]
pub fn forecast(
    from: &Configuration,
    to: &Configuration,
    recording: Option<&Recording>,
) -> Forecast {
    let traffic = recording.map(Traffic::new);
    let by_route = traffic.as_ref().map(Traffic::by_route).unwrap_or_default();
    let mut forecast = Forecast { changes: difference(from, to), ..Forecast::default() };
    for (index, pool) in to.pools.iter().enumerate() {
        let load = traffic.as_ref().map(|traffic| traffic.of_pool(to, index)).unwrap_or_default();
        let live_index = from.pools.iter().position(|live| live.name == pool.name);
        let live = live_index.and_then(|at| Some((at, from.pools.get(at)?)));
        let replays = traffic.as_ref().filter(|_| load.kept >= REQUESTS_MIN);
        let (before, after) = match replays {
            Some(traffic) => {
                forecast.replayed += load.requests.len() as u64;
                let before = live.map(|(at, live)| {
                    replayed_live(traffic, live, &traffic.of_pool(from, at), &load)
                });
                (before, replayed(traffic, pool, &load))
            }
            None => (live.map(|(_, live)| tried(live)), tried(pool)),
        };
        let known = replays.map(|_| &by_route);
        let rerouted = rerouted_part(from, to, index, known);
        let mut told = stated(pool, before, after, rerouted);
        if replays.is_some() && !matches!(pool.balance, Balance::Maglev(_)) {
            let intended = stated(pool, live.map(|(_, live)| tried(live)), tried(pool), rerouted);
            intend(&mut told, &intended);
        }
        forecast.pools.push(told);
    }
    let kept: BTreeSet<&str> = to.routes.iter().map(|route| &*route.name).collect();
    let gone = by_route.iter().filter(|(route, _)| !kept.contains(*route));
    forecast.lost = gone.map(|(_, requests)| requests).sum();
    forecast.broken = broken(Some(from), to, &forecast.pools);
    forecast
}

/// Adds what would move, and go where, if all servers were alike. While servers are mostly at
/// rest, the one that is faster by a hair gets nearly everything, and a new one may take that
/// over: the next second may see it otherwise, and a change is not to be refused for it.
fn intend(told: &mut PoolForecast, intended: &PoolForecast) {
    told.moved = told.moved.min(intended.moved);
    for (server, alike) in told.servers.iter_mut().zip(&intended.servers) {
        server.share_intended = alike.share;
    }
}

/// One server as a run of its pool showed it.
#[derive(Clone, Debug)]
struct Shown {
    address: String,
    share: f64,
    in_flight: Option<f64>,
    p99_us: Option<u64>,
}

/// One run of a pool.
#[derive(Debug, Default)]
struct Outlook {
    servers: Vec<Shown>,
    refused: f64,
}

fn tried(pool: &Pool) -> Outlook {
    let shares = trial::shares(pool, Scenario::Steady, SEED);
    let shown = pool.servers.iter().zip(shares).map(|(server, share)| Shown {
        address: server.address.to_string(),
        share,
        in_flight: None,
        p99_us: None,
    });
    Outlook { servers: shown.collect(), refused: 0.0 }
}

fn replayed(traffic: &Traffic<'_>, pool: &Pool, load: &Load) -> Outlook {
    let replayed = trial::replay(pool, &traffic.of_servers(pool), &load.requests, SEED);
    let shown = pool.servers.iter().zip(&replayed.servers).map(|(server, stated)| Shown {
        address: server.address.to_string(),
        share: stated.share,
        in_flight: Some(stated.in_flight),
        p99_us: Some(stated.p99_us).filter(|_| stated.requests > 0),
    });
    let refused = replayed.refused as f64 / load.requests.len().max(1) as f64;
    Outlook { servers: shown.collect(), refused }
}

/// The live pool with its own requests. With too few of them its shares are those that the
/// candidate's requests would have there, and what it holds now is not known.
fn replayed_live(traffic: &Traffic<'_>, live: &Pool, own: &Load, candidates: &Load) -> Outlook {
    if own.kept >= REQUESTS_MIN {
        return replayed(traffic, live, own);
    }
    let mut outlook = replayed(traffic, live, candidates);
    for shown in &mut outlook.servers {
        (shown.in_flight, shown.p99_us) = (None, None);
    }
    outlook
}

/// The part of the requests that come to a pool which another pool gets now. Without a recording
/// each route counts the same.
fn rerouted_part(
    from: &Configuration,
    to: &Configuration,
    index: usize,
    by_route: Option<&BTreeMap<&str, u64>>,
) -> f64 {
    let live: BTreeMap<&str, Option<&str>> =
        from.routes.iter().map(|route| (&*route.name, pool_of(from, &route.action))).collect();
    let name = to.pools.get(index).map(|pool| &*pool.name);
    let led = to.routes.iter().filter(|route| pool_of(to, &route.action) == name);
    let names: BTreeSet<&str> = led.map(|route| &*route.name).collect();
    let (mut moved, mut all) = (0.0, 0.0);
    for route in names {
        let requests = by_route.map_or(1, |known| known.get(route).copied().unwrap_or(0)) as f64;
        // What is forwarded nowhere now is nobody's to lose.
        let Some(Some(pool)) = live.get(route) else { continue };
        all += requests;
        if Some(*pool) != name {
            moved += requests;
        }
    }
    if all > 0.0 { moved / all } else { 0.0 }
}

fn pool_of<'c>(configuration: &'c Configuration, action: &Action) -> Option<&'c str> {
    match action {
        Action::Forward { pool, .. } => configuration.pools.get(*pool).map(|pool| &*pool.name),
        Action::Redirect { .. } | Action::Respond { .. } => None,
    }
}

fn stated(pool: &Pool, before: Option<Outlook>, after: Outlook, rerouted: f64) -> PoolForecast {
    let is_live = before.is_some();
    let before = before.unwrap_or_default();
    // Of several entries with one address the first has the requests.
    let mut known: BTreeMap<&str, &Shown> = BTreeMap::new();
    for shown in &before.servers {
        known.entry(&shown.address).or_insert(shown);
    }
    let mut servers = Vec::with_capacity(after.servers.len());
    let mut apart = 0.0;
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for shown in &after.servers {
        if !told.insert(&shown.address) {
            continue;
        }
        let live = known.remove(shown.address.as_str());
        apart += (shown.share - live.map_or(0.0, |live| live.share)).abs();
        servers.push(ServerForecast {
            address: shown.address.clone(),
            share_before: live.map(|live| live.share),
            share: Some(shown.share),
            share_intended: None,
            in_flight_before: live.and_then(|live| live.in_flight),
            in_flight: shown.in_flight,
            p99_us_before: live.and_then(|live| live.p99_us),
            p99_us: shown.p99_us,
        });
    }
    // In the order of the live configuration, not of addresses.
    for shown in before.servers.iter().filter(|shown| !told.contains(shown.address.as_str())) {
        let Some(live) = known.remove(shown.address.as_str()) else { continue };
        apart += live.share;
        servers.push(ServerForecast {
            address: live.address.clone(),
            share_before: Some(live.share),
            in_flight_before: live.in_flight,
            p99_us_before: live.p99_us,
            ..ServerForecast::default()
        });
    }
    let elsewhere = if is_live { apart / 2.0 } else { 0.0 };
    PoolForecast {
        name: pool.name.to_string(),
        servers,
        moved: (rerouted + (1.0 - rerouted) * elsewhere).clamp(0.0, 1.0),
        refused: after.refused,
    }
}
