//! Whether requests take far longer than before, or pile up.
//!
//! Three looks at each route: the median, the slowest hundredth, and requests in flight over
//! requests begun, which is the time they take by Little's law (1961) before they have ended. Each
//! must be far above what nineteen of twenty seconds before had, for several seconds in a row.

use std::collections::BTreeMap;

use model::fact::{RouteFacts, Snapshot};

use super::{routes, usual_most};
use crate::words::latency_words;

/// A route needs so many requests before the change, and in the seconds that show harm: at a few
/// requests a second a median is one request's word.
const REQUESTS_MIN: u64 = 40;

/// The median may double; what is under 20 ms more is nobody's outage. A stall of one second
/// touches two.
const MEDIAN: Limit = Limit { ratio: 2.0, more_us: 20_000.0, seconds: 3, requests_min: 1 };
/// The slowest hundredth moves more, and needs many requests to be one at all.
const SLOWEST: Limit = Limit { ratio: 3.0, more_us: 50_000.0, seconds: 5, requests_min: 50 };
/// What piles up grows from second to second and is seen first: two are enough, since a stall of
/// one second is seen in one gauge only.
const PILED: Limit = Limit { ratio: 2.5, more_us: 50_000.0, seconds: 2, requests_min: 1 };
/// Requests in flight over what was usual: fewer is chance, or one slow client.
const PILED_REQUESTS: f64 = 20.0;
/// Requests that stay by design, such as WebSockets, also add up. What piles up is told from them
/// by the others: they take longer, or most of what begins does not end.
const PILED_MEDIAN_RATIO: f64 = 1.5;
const PILED_ENDS: f64 = 0.5;

/// From where on a second counts as bad, and how many in a row are harm.
#[derive(Debug)]
struct Limit {
    ratio: f64,
    more_us: f64,
    seconds: u32,
    /// Of one second.
    requests_min: u64,
}

/// Judges how long requests take.
#[derive(Debug)]
pub(super) struct Latency {
    routes: BTreeMap<String, Route>,
}

/// What was usual on one route, and the bad seconds in a row.
#[derive(Debug, Default)]
struct Route {
    requests: u64,
    median_us: f64,
    slowest_us: f64,
    in_flight: f64,
    waiting_us: f64,
    /// In flight at the end of the last second.
    open: u64,
    median: Streak,
    slowest: Streak,
    piled: Streak,
}

#[derive(Debug, Default)]
struct Streak {
    seconds: u32,
    requests: u64,
}

impl Latency {
    pub(super) fn new(usual: &[Snapshot]) -> Self {
        let mut seen: BTreeMap<String, Vec<&RouteFacts>> = BTreeMap::new();
        for route in usual.iter().flat_map(routes) {
            seen.entry(route.name.clone()).or_default().push(route);
        }
        let routes = seen.into_iter().map(|(name, seconds)| (name, Route::new(&seconds)));
        Self { routes: routes.collect() }
    }

    pub(super) fn second(&mut self, snapshot: &Snapshot) -> Option<String> {
        let mut broken = None;
        for facts in routes(snapshot) {
            let Some(route) = self.routes.get_mut(&facts.name) else { continue };
            let words = route.second(facts);
            broken = broken.or_else(|| words.map(|words| format!("route {}: {words}", facts.name)));
        }
        broken
    }
}

impl Route {
    fn new(seconds: &[&RouteFacts]) -> Self {
        let most = |value: fn(&RouteFacts) -> Option<u64>| {
            usual_most(
                seconds.iter().filter_map(|facts| value(facts)).map(|us| us as f64).collect(),
            )
        };
        let mut open = seconds.first().map_or(0, |facts| facts.in_flight);
        let waiting = seconds.iter().map(|facts| waiting_us(facts, &mut open)).collect();
        Self {
            requests: seconds.iter().map(|facts| facts.requests).sum(),
            median_us: most(|facts| facts.p50_us),
            slowest_us: most(|facts| facts.p99_us),
            in_flight: most(|facts| Some(facts.in_flight)),
            waiting_us: usual_most(waiting),
            open,
            ..Self::default()
        }
    }

    fn second(&mut self, facts: &RouteFacts) -> Option<String> {
        let began = began(facts, self.open);
        let waiting = waiting_us(facts, &mut self.open);
        if self.requests < REQUESTS_MIN {
            return None;
        }
        let median = facts.p50_us.map_or(0.0, |us| us as f64);
        let slowest = facts.p99_us.map_or(0.0, |us| us as f64);
        let in_flight = facts.in_flight as f64;
        let hangs = median > self.median_us * PILED_MEDIAN_RATIO
            || (facts.requests as f64) < began as f64 * PILED_ENDS;
        let piles = hangs && in_flight > self.in_flight + PILED_REQUESTS;
        let waiting = if piles { waiting } else { 0.0 };
        let requests = facts.requests;
        // All three are told each second, also after one of them spoke.
        let piled = self.piled.add(&PILED, waiting, self.waiting_us, began);
        let medium = self.median.add(&MEDIAN, median, self.median_us, requests);
        let slow = self.slowest.add(&SLOWEST, slowest, self.slowest_us, requests);
        if medium {
            return Some(longer("half of the requests take", median, self.median_us));
        }
        if piled {
            return Some(format!(
                "requests pile up: {} in flight, before at most {:.0}",
                facts.in_flight, self.in_flight
            ));
        }
        slow.then(|| longer("one request of a hundred takes", slowest, self.slowest_us))
    }
}

impl Streak {
    /// Counts one second; true once enough were bad in a row.
    fn add(&mut self, limit: &Limit, value: f64, usual: f64, requests: u64) -> bool {
        if requests == 0 {
            // Nothing was asked, so nothing is said.
            return false;
        }
        let is_bad = requests >= limit.requests_min
            && value > (usual * limit.ratio).max(usual + limit.more_us);
        if !is_bad {
            *self = Self::default();
            return false;
        }
        self.seconds += 1;
        self.requests += requests;
        self.seconds >= limit.seconds && self.requests >= REQUESTS_MIN
    }
}

fn began(facts: &RouteFacts, open: u64) -> u64 {
    (facts.requests + facts.in_flight).saturating_sub(open)
}

/// How long requests that begin now take, by Little's law; remembers what is in flight.
fn waiting_us(facts: &RouteFacts, open: &mut u64) -> f64 {
    let began = began(facts, *open).max(1);
    *open = facts.in_flight;
    facts.in_flight as f64 / began as f64 * 1e6
}

fn longer(what: &str, now: f64, usual: f64) -> String {
    format!("{what} {} and longer, before {} at most", latency_words(now), latency_words(usual))
}
