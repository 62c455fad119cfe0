//! The pool as a whole: shares, bounds, traps, and workers at the same time.
//!
//! Time is turned by hand. `Bench` serves every request in one fixed time, first in, first
//! out, so that what is measured is the choice alone.

mod bounds;
mod concurrency;
mod forgiveness;
mod recovery;
mod room;
mod shares;
mod traps;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use model::configuration::{self, Balance, Check, CheckKind, HashKey};
use model::{Name, Timestamp};

use crate::pick::Failure;
use crate::{Dice, FailureCause, Member, NoServer, Outcome, Pick, PickRequest, Pool};

pub(super) const SERVICE: Duration = Duration::from_millis(20);

pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

pub(super) fn settings(balance: Balance) -> configuration::Pool {
    configuration::Pool {
        protocol: model::configuration::ServerProtocol::default(),
        proxy_protocol: None,
        name: "web".into(),
        servers: Vec::new(),
        balance,
        zone: None,
        check: None,
        tls: None,
        timeouts: configuration::ServerTimeouts {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(30),
            progress: Duration::from_secs(30),
            total: None,
            idle: Duration::from_secs(30),
            tunnel_idle: Duration::from_secs(300),
        },
        retries: configuration::Retries {
            attempts_max: 2,
            budget: 0.1,
            budget_min_per_second: 3,
            on_status: false,
        },
        ejection: configuration::Ejection {
            failures: 5,
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(30),
            share_max: 0.5,
        },
        slow_start: Duration::from_secs(30),
        in_flight_max: 0,
        admission: configuration::PoolAdmission::default(),
        idle_max: 64,
        resolve: Duration::from_secs(30),
        capacity: None,
        peak_per_second: None,
    }
}

pub(super) fn checks() -> Option<Check> {
    Some(Check {
        kind: CheckKind::Tcp,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        fall: 3,
        rise: 2,
    })
}

pub(super) fn algorithms() -> [Balance; 5] {
    [Balance::P2c, Balance::LeastRequest, Balance::RoundRobin, Balance::Random, maglev()]
}

pub(super) fn maglev() -> Balance {
    Balance::Maglev(HashKey::Path)
}

pub(super) fn address(number: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), u16::try_from(number + 1).unwrap()))
}

pub(super) fn members(weights: &[u32]) -> Vec<Member> {
    let member = |(number, &weight)| Member {
        address: address(number),
        name: None,
        weight,
        zone: None,
        drain: false,
    };
    weights.iter().enumerate().map(member).collect()
}

pub(super) fn zoned(zones: &[&str]) -> Vec<Member> {
    let mut members = members(&vec![1; zones.len()]);
    for (member, zone) in members.iter_mut().zip(zones) {
        member.zone = Some(Name::from(*zone));
    }
    members
}

pub(super) fn build(configuration: &configuration::Pool, members: &[Member]) -> Pool {
    Pool::build(configuration, members, None, Timestamp::ZERO)
}

/// Fails a server until it is set aside, or the pool refuses.
pub(super) fn eject(pool: &Pool, index: usize, now: Timestamp) {
    for _ in 0..5 {
        let ticket = pool.inner.servers[index].learned.ejection.ticket();
        let failure = Failure { latency: Duration::from_millis(1), cause: FailureCause::Reset };
        let change = pool.inner.failed(index, ticket, failure, now);
        assert!(change.is_none_or(|change| change.index == index));
    }
}

/// A load on a pool: what is in flight, and who got how much.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    pool: &'a Pool,
    pub(super) now: Timestamp,
    pub(super) dice: Dice,
    in_flight: VecDeque<(Timestamp, Pick)>,
    pub(super) counts: Vec<u32>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(pool: &'a Pool, now: Timestamp) -> Self {
        Self {
            pool,
            now,
            dice: Dice::new(42),
            in_flight: VecDeque::new(),
            counts: vec![0; pool.len()],
        }
    }

    /// Sends `requests`, one every `SERVICE / concurrency`.
    pub(super) fn load(&mut self, requests: u32, concurrency: u32, tried: &[usize]) -> &mut Self {
        for _ in 0..requests {
            self.now = self.now + SERVICE / concurrency;
            while self.in_flight.front().is_some_and(|(done_at, _)| *done_at <= self.now) {
                let (_, pick) = self.in_flight.pop_front().unwrap();
                assert_eq!(pick.finish(Outcome::Success { latency: SERVICE }, self.now), None);
            }
            let request = PickRequest { hash: Some(self.dice.roll()), tried };
            match self.pool.pick(&request, self.now, &mut self.dice) {
                Ok(pick) => {
                    self.counts[pick.index()] += 1;
                    self.in_flight.push_back((self.now + SERVICE, pick));
                }
                Err(reason) => assert_eq!(reason, NoServer::Full),
            }
        }
        self
    }

    pub(super) fn shares(&self) -> Vec<f64> {
        let total: u32 = self.counts.iter().sum();
        self.counts.iter().map(|&count| f64::from(count) / f64::from(total.max(1))).collect()
    }
}
