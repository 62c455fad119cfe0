//! A world to predict: machines with places and a queue behind a configuration's real pools.
//!
//! Not the model of a replay: requests arrive at random, clients return, service times have a
//! long tail, machines have the places they have. What is recorded is what a door would see.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use balancing::{Dice, Member, Outcome, Pick, PickRequest, Pool};
use model::configuration::{Action, ServerAddress};
use model::recording::{RecordedRequest, Recording};
use model::{Configuration, Timestamp};

/// What a world is made of.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// Requests per second by route.
    pub(super) routes: Vec<(&'static str, f64)>,
    /// Mean service time of a machine that is not slow, microseconds.
    pub(super) service_us: f64,
    /// Machines that take longer, by this factor.
    pub(super) slow: Vec<(SocketAddr, f64)>,
    /// Requests that a machine serves at once.
    pub(super) places: usize,
    pub(super) seconds: u32,
    /// One request in so many is recorded.
    pub(super) sampled: u32,
}

/// What one server got, by pool and address.
#[derive(Clone, Debug, Default)]
pub(super) struct Got {
    pub(super) share: f64,
    pub(super) in_flight: f64,
    pub(super) p99_us: u64,
}

pub(super) type Outcomes = BTreeMap<(String, String), Got>;

/// Clients; consistent hashing sees as many keys.
const CLIENTS: u64 = 5_000;
/// Seconds before anything is measured or recorded.
const WARM_UP: u32 = 10;

struct Flight {
    pick: Pick,
    sent_at: Timestamp,
}

/// A pool and its machines, at work.
struct Working {
    pool: Pool,
    ends: Vec<BinaryHeap<Reverse<Timestamp>>>,
    latencies_us: Vec<Vec<u64>>,
    in_flight: BTreeMap<(Timestamp, u64), Flight>,
}

impl Working {
    fn new(settings: &model::configuration::Pool) -> Self {
        let members = settings.servers.iter().map(|server| {
            let ServerAddress::Socket(address) = server.address else { panic!("no names here") };
            let (weight, drain) = (server.weight, server.drain);
            Member { address, name: None, weight, zone: server.zone.clone(), drain }
        });
        let members: Vec<Member> = members.collect();
        let pool = Pool::build(settings, &members, None, Timestamp::from_nanos(1));
        let count = members.len();
        let (ends, latencies_us) = (vec![BinaryHeap::new(); count], vec![Vec::new(); count]);
        Self { pool, ends, latencies_us, in_flight: BTreeMap::new() }
    }

    fn advance(&mut self, now: Timestamp) {
        while let Some(first) = self.in_flight.first_entry()
            && first.key().0 <= now
        {
            let ((ended_at, _), flight) = first.remove_entry();
            let latency = ended_at.since(flight.sent_at);
            assert!(flight.pick.finish(Outcome::Success { latency }, ended_at).is_none());
        }
    }
}

/// Lets the configuration work in the world: what it recorded, and what each server got.
pub(super) fn run(world: &World, settings: &Configuration, seed: u64) -> (Recording, Outcomes) {
    let mut dice = Dice::new(seed);
    let mut pools: Vec<Working> = settings.pools.iter().map(Working::new).collect();
    let per_second: f64 = world.routes.iter().map(|(_, rate)| rate).sum();
    let mut recording = Recording {
        span_ms: u64::from(world.seconds) * 1_000,
        routes: world.routes.iter().map(|(name, _)| (*name).to_owned()).collect(),
        servers: servers_of(settings),
        ..Recording::default()
    };
    let (mut now, mut number) = (Timestamp::from_nanos(1_000_000_000), 0_u64);
    let begin = now + Duration::from_secs(WARM_UP.into());
    let end = begin + Duration::from_secs(world.seconds.into());
    while now < end {
        now = now + Duration::from_secs_f64(-(1.0 - dice.unit()).ln() / per_second);
        number += 1;
        let route = route_of(world, dice.unit() * per_second);
        let found = settings.routes.iter().find(|known| *known.name == *world.routes[route].0);
        let Some(Action::Forward { pool, .. }) = found.map(|route| &route.action) else { continue };
        let (index, working) = (*pool, &mut pools[*pool]);
        working.advance(now);
        let key = dice.below(CLIENTS).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let request = PickRequest { hash: Some(key), tried: &[] };
        let Ok(pick) = working.pool.pick(&request, now, &mut dice) else { continue };
        // Between half and a long tail: half is fixed, half exponential.
        let factor = world.slow.iter().find(|(address, _)| *address == pick.address());
        let service_us = world.service_us
            * factor.map_or(1.0, |(_, factor)| *factor)
            * (0.5 - 0.5 * (1.0 - dice.unit()).ln());
        let (place, address) = (pick.index(), pick.address());
        let ends = &mut working.ends[place];
        let free_at = if ends.len() < world.places {
            now
        } else {
            ends.pop().map_or(now, |Reverse(end)| end.max(now))
        };
        let ended_at = free_at + Duration::from_secs_f64(service_us / 1e6);
        ends.push(Reverse(ended_at));
        working.in_flight.insert((ended_at, number), Flight { pick, sent_at: now });
        if now < begin {
            continue;
        }
        let latency_us = u64::try_from(ended_at.since(now).as_micros()).unwrap();
        working.latencies_us[place].push(latency_us);
        recording.requests += 1;
        if number % u64::from(world.sampled) == 0 {
            let server = (settings.pools[index].name.to_string(), address.to_string());
            let server = recording.servers.iter().position(|known| *known == server).unwrap();
            recording.kept.push(RecordedRequest {
                at_ms: u32::try_from(now.since(begin).as_millis()).unwrap(),
                weight: world.sampled,
                route: u16::try_from(route).unwrap(),
                server: u16::try_from(server).unwrap(),
                key,
                bytes: 1_000,
                service_us: u32::try_from(latency_us).unwrap(),
            });
        }
    }
    (recording, outcomes(world, settings, pools))
}

fn route_of(world: &World, mut draw: f64) -> usize {
    for (index, (_, rate)) in world.routes.iter().enumerate() {
        draw -= rate;
        if draw < 0.0 {
            return index;
        }
    }
    world.routes.len() - 1
}

fn servers_of(settings: &Configuration) -> Vec<(String, String)> {
    let of = |pool: &model::configuration::Pool| -> Vec<(String, String)> {
        let name = |server: &model::configuration::Server| server.address.to_string();
        pool.servers.iter().map(|server| (pool.name.to_string(), name(server))).collect()
    };
    settings.pools.iter().flat_map(of).collect()
}

fn outcomes(world: &World, settings: &Configuration, pools: Vec<Working>) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for (pool, working) in settings.pools.iter().zip(pools) {
        let total: usize = working.latencies_us.iter().map(Vec::len).sum();
        for (server, mut latencies_us) in pool.servers.iter().zip(working.latencies_us) {
            latencies_us.sort_unstable();
            let held_us: u64 = latencies_us.iter().sum();
            let got = Got {
                share: latencies_us.len() as f64 / total.max(1) as f64,
                in_flight: held_us as f64 / (f64::from(world.seconds) * 1e6),
                p99_us: latencies_us.get(latencies_us.len() * 99 / 100).copied().unwrap_or(0),
            };
            outcomes.insert((pool.name.to_string(), server.address.to_string()), got);
        }
    }
    outcomes
}
