//! Recorded requests as a replay needs them, and what they say of the servers.
//!
//! A server's slowness is how long it took beside what its pool took for the same routes; a
//! request's own service time is what is left without it. That a server was slow because it was
//! overloaded cannot be told from a recording: it is taken for slow.
//! Indexes and weights are believed as far as they are in range: a recording may come from a file.
//! Invariant: whatever was recorded, what is replayed is bounded.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use balancing::trial::{REQUESTS_MAX, ReplayRequest, Seen};
use model::Configuration;
use model::configuration::{Action, Pool, ServerAddress};
use model::recording::{RecordedRequest, Recording};

/// A server with fewer recorded requests counts as fast as the others.
const REQUESTS_FOR_SLOWNESS: u64 = 20;
/// Requests that each pool may replay, however little of the recording is its own.
const REQUESTS_PER_POOL_MIN: usize = 2_000;
/// What requests take of which no service time was recorded at all, microseconds.
const SERVICE_US: f64 = 15_000.0;
/// A prime: how far apart requests are taken that stand in for others.
const STRIDE: usize = 7_919;

/// A recording and what it says of servers.
#[derive(Debug)]
pub(super) struct Traffic<'a> {
    recording: &'a Recording,
    /// By index of the recording's servers.
    seen: Vec<Seen>,
}

/// What one pool gets.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Requests that were kept; each may stand for several.
    pub(super) kept: usize,
    /// All of them in order, as many as are replayed.
    pub(super) requests: Vec<ReplayRequest>,
}

/// The kept requests by route, and how often one of them was asked for.
#[derive(Debug, Default)]
struct Alike<'r> {
    by_route: BTreeMap<u16, (Vec<&'r RecordedRequest>, usize)>,
}

impl<'r> Alike<'r> {
    fn new(kept: &[&'r RecordedRequest]) -> Self {
        let mut alike = Self::default();
        for request in kept {
            alike.by_route.entry(request.route).or_default().0.push(request);
        }
        alike
    }

    /// What takes the place of a request that stands for several: requests of its route, far
    /// apart from their order. As many in a row of the same client, all as slow, would be a burst
    /// that never was: shares were off by up to 4 %.
    fn next(&mut self, request: &'r RecordedRequest) -> &'r RecordedRequest {
        if weight(request) == 1 {
            return request;
        }
        let Some((alike, turn)) = self.by_route.get_mut(&request.route) else { return request };
        *turn += 1;
        let place = (*turn * STRIDE).checked_rem(alike.len()).unwrap_or(0);
        alike.get(place).copied().unwrap_or(request)
    }
}

impl<'a> Traffic<'a> {
    pub(super) fn new(recording: &'a Recording) -> Self {
        let one = Seen { at_once: 1, slowness: 1.0 };
        let mut traffic = Self { recording, seen: vec![one; recording.servers.len()] };
        let mut by_pool: BTreeMap<&str, Vec<&RecordedRequest>> = BTreeMap::new();
        for request in &recording.kept {
            if let Some((pool, _)) = recording.servers.get(usize::from(request.server)) {
                by_pool.entry(pool).or_default().push(request);
            }
        }
        for kept in by_pool.values_mut() {
            kept.sort_by_key(|request| request.at_ms);
            traffic.see_slowness(kept);
            traffic.see_at_once(kept);
        }
        traffic
    }

    /// Requests that stand for those of each route, by its name.
    pub(super) fn by_route(&self) -> BTreeMap<&'a str, u64> {
        let mut weights = BTreeMap::new();
        for request in &self.recording.kept {
            if let Some(route) = self.recording.routes.get(usize::from(request.route)) {
                *weights.entry(route.as_str()).or_default() += weight(request);
            }
        }
        weights
    }

    /// What the pool of this index gets by the names of the routes that lead to it.
    pub(super) fn of_pool(&self, configuration: &Configuration, index: usize) -> Load {
        let leads =
            |action: &Action| matches!(action, Action::Forward { pool, .. } if *pool == index);
        let routes = configuration.routes.iter().filter(|route| leads(&route.action));
        let names: BTreeSet<&str> = routes.map(|route| &*route.name).collect();
        let recorded = self.recording.routes.iter();
        let wanted: Vec<bool> = recorded.map(|name| names.contains(name.as_str())).collect();
        let all = self.recording.kept.iter();
        let mut kept: Vec<&RecordedRequest> = all
            .filter(|request| wanted.get(usize::from(request.route)).copied().unwrap_or(false))
            .collect();
        kept.sort_by_key(|request| request.at_ms);
        let (known, sum) = kept
            .iter()
            .filter_map(|request| self.service_us(request))
            .fold((0_u32, 0.0), |(known, sum), service_us| (known + 1, sum + service_us));
        let usual_us = if known > 0 { sum / f64::from(known) } else { SERVICE_US };
        let mut alike = Alike::new(&kept);
        let replayed = |(at_us, request)| {
            let request = alike.next(request);
            let service_us = self.service_us(request).unwrap_or(usual_us);
            ReplayRequest { at_us, key: request.key, service_us }
        };
        let requests = spread(&kept, self.part_of(kept.len())).into_iter();
        Load { kept: kept.len(), requests: requests.map(replayed).collect() }
    }

    /// How long a request took beside what its server takes; `None` if that was not recorded.
    fn service_us(&self, request: &RecordedRequest) -> Option<f64> {
        let seen = self.seen.get(usize::from(request.server))?;
        (request.service_us > 0).then(|| f64::from(request.service_us) / seen.slowness)
    }

    /// What is known of each configured server of a pool. A server is trusted with as many
    /// requests at once as it was seen to hold, or with its weight's part of what the pool's
    /// busiest was seen to hold, if that is more; never with more than any was seen to hold. One
    /// that was never seen is believed to be as fast as the median of the others.
    pub(super) fn of_servers(&self, pool: &Pool) -> Vec<Seen> {
        let own: Vec<Option<Seen>> = self.own_of(pool);
        let weighted = own.iter().zip(&pool.servers);
        let busiest = weighted
            .filter_map(|(seen, server)| seen.map(|seen| (seen.at_once, server.weight)))
            .max_by_key(|&(at_once, weight)| (at_once, Reverse(weight)));
        let recorded = self.recording.servers.iter().zip(&self.seen);
        let anywhere = recorded.filter(|((name, _), _)| **name == *pool.name);
        let most = anywhere.map(|(_, seen)| seen.at_once).max().unwrap_or(1);
        let (most, weight) = busiest.map_or((most, 0), |(at_once, weight)| (at_once, weight));
        let mut known: Vec<f64> = own.iter().flatten().map(|seen| seen.slowness).collect();
        known.sort_by(f64::total_cmp);
        let usual = known.get(known.len().saturating_sub(1) / 2).copied().unwrap_or(1.0);
        let trusted = |(seen, server): (&Option<Seen>, &model::configuration::Server)| {
            let by_weight = if server.weight >= weight {
                u64::from(most)
            } else {
                u64::from(most) * u64::from(server.weight) / u64::from(weight.max(1))
            };
            let by_weight = u32::try_from(by_weight).unwrap_or(u32::MAX).max(1);
            let own = seen.unwrap_or(Seen { at_once: 1, slowness: usual });
            Seen { at_once: own.at_once.max(by_weight), ..own }
        };
        own.iter().zip(&pool.servers).map(trusted).collect()
    }

    /// By configured server; `None` if nothing was recorded of it in this pool. Addresses that
    /// are not configured are those of the pool's names, which share them evenly.
    fn own_of(&self, pool: &Pool) -> Vec<Option<Seen>> {
        let recorded = self.recording.servers.iter().zip(&self.seen);
        let mut by_address: BTreeMap<&str, Seen> = recorded
            .filter(|((name, _), _)| **name == *pool.name)
            .map(|((_, address), seen)| (address.as_str(), *seen))
            .collect();
        let socket = |address: &ServerAddress| match address {
            ServerAddress::Socket(address) => Some(address.to_string()),
            ServerAddress::Name { .. } => None,
        };
        let mut found: Vec<Option<Seen>> = pool
            .servers
            .iter()
            .map(|server| socket(&server.address).and_then(|at| by_address.remove(at.as_str())))
            .collect();
        let names = pool.servers.iter().filter(|server| socket(&server.address).is_none()).count();
        if names > 0 && !by_address.is_empty() {
            let count = u32::try_from(names).unwrap_or(u32::MAX);
            let places = u32::try_from(by_address.len()).unwrap_or(u32::MAX);
            let at_once = by_address.values().fold(0_u32, |sum, s| sum.saturating_add(s.at_once));
            let slowness: f64 = by_address.values().map(|seen| seen.slowness).sum();
            let each = Seen {
                at_once: at_once.div_ceil(count).max(1),
                slowness: slowness / f64::from(places),
            };
            for (found, server) in found.iter_mut().zip(&pool.servers) {
                if socket(&server.address).is_none() {
                    *found = Some(each);
                }
            }
        }
        found
    }

    /// Requests that a pool with so many kept ones may replay.
    fn part_of(&self, kept: usize) -> usize {
        let part = REQUESTS_MAX as u64 * kept as u64 / self.recording.kept.len().max(1) as u64;
        usize::try_from(part).unwrap_or(REQUESTS_MAX).clamp(REQUESTS_PER_POOL_MIN, REQUESTS_MAX)
    }

    fn see_slowness(&mut self, kept: &[&RecordedRequest]) {
        let mut routes: BTreeMap<u16, (f64, f64)> = BTreeMap::new();
        let timed = || kept.iter().filter(|request| request.service_us > 0);
        for request in timed() {
            let (sum, count) = routes.entry(request.route).or_default();
            let weight = weight(request) as f64;
            *sum += weight * f64::from(request.service_us);
            *count += weight;
        }
        let mut servers: BTreeMap<u16, (f64, f64, u64)> = BTreeMap::new();
        for request in timed() {
            let Some((sum, count)) = routes.get(&request.route) else { continue };
            let (taken, usual, requests) = servers.entry(request.server).or_default();
            let weight = weight(request) as f64;
            *taken += weight * f64::from(request.service_us);
            *usual += weight * sum / count;
            *requests += 1;
        }
        for (server, (taken, usual, requests)) in servers {
            if let Some(seen) = self.seen.get_mut(usize::from(server))
                && requests >= REQUESTS_FOR_SLOWNESS
            {
                seen.slowness = taken / usual;
            }
        }
    }

    fn see_at_once(&mut self, kept: &[&RecordedRequest]) {
        let mut ends: BTreeMap<u16, BinaryHeap<Reverse<u64>>> = BTreeMap::new();
        let mut alike = Alike::new(kept);
        for (at_us, request) in spread(kept, self.part_of(kept.len())) {
            let request = alike.next(request);
            let held = ends.entry(request.server).or_default();
            while held.peek().is_some_and(|Reverse(end)| *end <= at_us) {
                held.pop();
            }
            held.push(Reverse(at_us + u64::from(request.service_us)));
            if let Some(seen) = self.seen.get_mut(usize::from(request.server)) {
                seen.at_once = seen.at_once.max(u32::try_from(held.len()).unwrap_or(u32::MAX));
            }
        }
    }
}

fn weight(request: &RecordedRequest) -> u64 {
    u64::from(request.weight.max(1))
}

/// Every request as often as it stands for, and when: the newest that are at most `most` in all.
/// Those of one millisecond are spread over it; those that stand for several over the time that
/// as many take on average, or until the next.
fn spread<'r>(kept: &[&'r RecordedRequest], most: usize) -> Vec<(u64, &'r RecordedRequest)> {
    let mut total = 0_u64;
    let fits = |request: &&&RecordedRequest| {
        let with = total.saturating_add(weight(request));
        let fits = with <= most as u64;
        if fits {
            total = with;
        }
        fits
    };
    let count = kept.iter().rev().take_while(fits).count();
    let kept = &kept[kept.len() - count..];
    let (Some(first), Some(last)) = (kept.first(), kept.last()) else { return Vec::new() };
    let at_us = |request: &RecordedRequest| u64::from(request.at_ms) * 1_000;
    let span_us = at_us(last) - at_us(first) + 1_000;
    let mut spread = Vec::new();
    let mut groups = kept.chunk_by(|a, b| a.at_ms == b.at_ms).peekable();
    while let Some(group) = groups.next() {
        let begin_us = at_us(group[0]);
        let requests: u64 = group.iter().map(|request| weight(request)).sum();
        let next_us = groups.peek().map_or(u64::MAX, |next| at_us(next[0]));
        let window_us = if requests > group.len() as u64 {
            (span_us * requests / total.max(1)).clamp(1_000, next_us - begin_us)
        } else {
            1_000
        };
        let heaviest = group.iter().map(|request| weight(request)).max().unwrap_or(0);
        let mut place = 0;
        for copy in 0..heaviest {
            for request in group.iter().filter(|request| weight(request) > copy) {
                spread.push((begin_us + window_us * place / requests, *request));
                place += 1;
            }
        }
    }
    spread
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(at_ms: u32, weight: u32) -> RecordedRequest {
        RecordedRequest { at_ms, weight, service_us: 1_000, ..RecordedRequest::default() }
    }

    /// `at x weight` per request; the moments of all in microseconds.
    fn check(requests: &[(u32, u32)], most: usize, expected: &[u64]) {
        let requests: Vec<_> = requests.iter().map(|&(at, weight)| request(at, weight)).collect();
        let spread = spread(&requests.iter().collect::<Vec<_>>(), most);
        assert_eq!(spread.iter().map(|(at_us, _)| *at_us).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn requests_are_spread_over_the_time_they_stand_for() {
        check(&[], 10, &[]);
        check(&[(5, 1), (5, 1), (9, 1)], 10, &[5_000, 5_500, 9_000]);
        check(&[(0, 2), (10, 2), (19, 2)], 10, &[0, 3_333, 10_000, 13_333, 19_000, 22_333]);
        // Until the next at most.
        check(&[(0, 4), (2, 1)], 10, &[0, 500, 1_000, 1_500, 2_000]);
    }

    #[test]
    fn the_newest_are_replayed_where_there_are_too_many() {
        check(&[(0, 5), (10, 2), (20, 1)], 3, &[10_000, 13_666, 20_000]);
        check(&[(0, u32::MAX)], 3, &[]);
    }

    #[test]
    fn slowness_and_requests_at_once_are_seen() {
        let mut recording = Recording {
            routes: vec!["all".to_owned()],
            servers: ["10.0.0.1:80", "10.0.0.2:80"].map(|at| ("web".into(), at.into())).to_vec(),
            ..Recording::default()
        };
        // Both get one every 10 ms; one answers after 10 ms, one after 30 ms.
        for number in 0..200 {
            let (fast, slow) = (request(number * 10, 1), request(number * 10 + 5, 1));
            recording.kept.push(RecordedRequest { service_us: 10_000, ..fast });
            recording.kept.push(RecordedRequest { service_us: 30_000, server: 1, ..slow });
        }
        let traffic = Traffic::new(&recording);
        let [fast, slow] = traffic.seen[..] else { panic!("two servers") };
        assert!((fast.slowness - 0.5).abs() < 1e-9 && (slow.slowness - 1.5).abs() < 1e-9);
        assert_eq!((fast.at_once, slow.at_once), (1, 3));
    }

    /// A recording of pool `web` in which the server of each address held so many at once.
    fn held(servers: &[(&str, u32)]) -> Recording {
        let mut recording = Recording { routes: vec!["all".to_owned()], ..Recording::default() };
        for (index, (address, at_once)) in (0_u16..).zip(servers) {
            recording.servers.push(("web".to_owned(), (*address).to_owned()));
            let one = RecordedRequest { server: index, ..request(0, 1) };
            recording.kept.extend((0..*at_once).map(|_| one));
        }
        recording
    }

    /// Servers that are configured, with their weights; how many at once each is trusted with.
    fn check_trust(seen: &[(&str, u32)], servers: &[(&str, u32)], expected: &[u32]) {
        let server = |(address, weight): &(&str, u32)| model::configuration::Server {
            address: match address.parse() {
                Ok(address) => ServerAddress::Socket(address),
                Err(_) => ServerAddress::Name { host: (*address).into(), port: 80 },
            },
            weight: *weight,
            zone: None,
            drain: false,
        };
        let mut pool = crate::tests::pool("web", 1, &[]);
        pool.servers = servers.iter().map(server).collect();
        let recording = held(seen);
        let trusted = Traffic::new(&recording).of_servers(&pool);
        assert_eq!(trusted.iter().map(|seen| seen.at_once).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn servers_are_trusted_with_what_one_of_their_weight_held() {
        let (a, b, c) = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80");
        // No more than was seen, whatever the weight; as much as an equal held; a part by weight.
        check_trust(&[(a, 8), (b, 8)], &[(a, 90), (b, 5)], &[8, 8]);
        check_trust(&[(a, 18), (b, 2)], &[(a, 1), (b, 1)], &[18, 18]);
        check_trust(&[(a, 18), (b, 2)], &[(a, 6), (b, 1), (c, 2)], &[18, 3, 6]);
        check_trust(&[(a, 8)], &[(b, 1)], &[8]);
        // A name stands for the addresses that are not configured.
        check_trust(&[(a, 4), (b, 6), (c, 5)], &[(a, 1), ("app.example", 2)], &[5, 11]);
    }
}
