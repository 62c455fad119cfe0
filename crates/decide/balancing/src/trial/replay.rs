//! Recorded requests through a pool: what each server would get, hold and take.
//!
//! The model of a server, which must not promise more than was seen: it serves as many requests
//! at once as it was seen to hold, each in its recorded time; what comes beyond that waits, first
//! come, first served. So a server that gets more than it ever had shows a queue, even if it
//! could have done more: nobody has seen that it can.
//! The pool has served for a while: all servers are up and warm.
//! Invariant: shares sum to 1, or all are 0 when nothing was served.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use model::{Timestamp, configuration};

use super::members::members_of;
use super::run::Run;
use crate::pool::Pool;

/// Requests that are replayed, at most; what comes after is left out.
pub const REQUESTS_MAX: usize = 200_000;
/// Requests that a server may serve at once, at most: bounds the memory of a run.
const AT_ONCE_MAX: u32 = 65_536;
/// When a replay begins: not at zero, which clocks of the pool take for "never".
const BEGIN: Timestamp = Timestamp::from_nanos(3_600_000_000_000);

/// One request to replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplayRequest {
    /// When it arrives, microseconds after the begin; not before the one ahead of it.
    pub at_us: u64,
    /// The hash that consistent hashing takes.
    pub key: u64,
    /// How long a server of slowness 1 takes for it, microseconds.
    pub service_us: f64,
}

/// What was seen of a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// How many requests it was seen to hold at once, at least 1.
    pub at_once: u32,
    /// Its service times relative to the others', above 0; 1 is as fast as they are.
    pub slowness: f64,
}

/// What a replay came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replayed {
    /// By configured server, in order.
    pub servers: Vec<ReplayServer>,
    /// Requests that no server had room for.
    pub refused: u64,
}

/// One server in a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReplayServer {
    /// Its part of the requests that were served, 0 to 1.
    pub share: f64,
    /// Requests in flight there, on average.
    pub in_flight: f64,
    /// 99th percentile of waiting and service, microseconds; 0 without requests.
    pub p99_us: u64,
    /// Requests it served.
    pub requests: u64,
}

/// Sends `requests` through the pool. `seen` is by configured server, in order; what is missing
/// there serves one request at once. Makes at most [`REQUESTS_MAX`] picks: about 100 ms.
#[must_use]
pub fn replay(
    settings: &configuration::Pool,
    seen: &[Seen],
    requests: &[ReplayRequest],
    seed: u64,
) -> Replayed {
    let (members, places) = members_of(settings);
    let requests = requests.get(..REQUESTS_MAX).unwrap_or(requests);
    let mut run = Run::new(Pool::build(settings, &members, None, BEGIN), BEGIN, seed);
    let mut servers: Vec<Server> = vec![Server::default(); members.len()];
    for (place, seen) in places.iter().zip(seen) {
        if let Some(index) = *place {
            servers[index].seen = *seen;
        }
    }
    for index in 0..members.len() {
        drop(run.pool.report_check(index, true, BEGIN));
    }
    let mut refused = 0;
    for request in requests {
        run.advance(BEGIN + Duration::from_micros(request.at_us));
        match run.pick(request.key, &[]) {
            Ok(pick) => {
                let latency = servers[pick.index()].serve(request.service_us, run.now);
                run.send(pick, latency);
            }
            Err(_) => refused += 1,
        }
    }
    let served = servers.iter().map(|server| server.latencies_us.len()).sum();
    let span_us = match requests {
        [first, .., last] => last.at_us.saturating_sub(first.at_us).max(1),
        [_] | [] => 1,
    };
    let stated: Vec<ReplayServer> =
        servers.into_iter().map(|server| server.stated(served, span_us)).collect();
    let server = |place: &Option<usize>| place.map_or_else(ReplayServer::default, |at| stated[at]);
    Replayed { servers: places.iter().map(server).collect(), refused }
}

/// A server at work.
#[derive(Clone, Debug)]
struct Server {
    seen: Seen,
    /// When each request that is served or waits for its turn ends; at most `at_once` matter.
    ends: BinaryHeap<Reverse<Timestamp>>,
    latencies_us: Vec<u64>,
}

impl Default for Server {
    fn default() -> Self {
        let seen = Seen { at_once: 1, slowness: 1.0 };
        Self { seen, ends: BinaryHeap::new(), latencies_us: Vec::new() }
    }
}

impl Server {
    /// How long the request takes here that arrives `now`, waiting included.
    fn serve(&mut self, service_us: f64, now: Timestamp) -> Duration {
        let at_once = self.seen.at_once.clamp(1, AT_ONCE_MAX);
        let at_once = usize::try_from(at_once).unwrap_or(usize::MAX);
        // With every place taken, the one that is free first is the next.
        let free_at = if self.ends.len() < at_once {
            now
        } else {
            self.ends.pop().map_or(now, |Reverse(end)| end.max(now))
        };
        let service_us = (service_us * self.seen.slowness).clamp(1.0, 3.6e9);
        let end = free_at + Duration::from_secs_f64(service_us / 1e6);
        self.ends.push(Reverse(end));
        let latency = end.since(now);
        self.latencies_us.push(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        latency
    }

    fn stated(mut self, served: usize, span_us: u64) -> ReplayServer {
        let requests = self.latencies_us.len();
        let held_us: f64 = self.latencies_us.iter().map(|&latency| latency as f64).sum();
        self.latencies_us.sort_unstable();
        let rank = (requests * 99).div_ceil(100).saturating_sub(1);
        ReplayServer {
            share: requests as f64 / served.max(1) as f64,
            in_flight: held_us / span_us as f64,
            p99_us: self.latencies_us.get(rank).copied().unwrap_or(0),
            requests: requests as u64,
        }
    }
}
