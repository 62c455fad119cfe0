//! Shares under a synthetic, steady load.
//!
//! Open loop with random gaps; each request has a key of its own; a server answers 10 to 20 ms
//! after it was asked, evenly spread, whatever else it holds: its weight is believed to say
//! what it can do. Chosen so that what is seen comes from the configuration:
//! - a mean of 15 ms is an ordinary application server, and its spread is wide enough that
//!   requests end in another order than they began;
//! - one request in flight per server, in the mean: with far less every server is idle and no
//!   algorithm that looks at load can tell them apart, with far more all of them converge on
//!   the weights and a bad start is no longer seen. Where `in_flight_max` would bind the
//!   heaviest server, a tenth of what it lets through: the limit is not what is tried here.
//!
//! Invariant: shares sum to 1, or all are 0 when no server takes requests.

use std::time::Duration;

use model::{Timestamp, configuration};

use super::members::members_of;
use super::run::Run;
use crate::pick::{FailureCause, Outcome};
use crate::pool::Pool;
use crate::server::Member;

/// Service times: from this, to as much again.
const SERVICE_MIN_US: u64 = 10_000;
/// The mean of the service times.
const SERVICE_MEAN_US: f64 = 15_000.0;
/// Requests that are counted, per server.
const REQUESTS_PER_SERVER: u64 = 200;
/// At least so many are counted: chance then moves a share of 0.5 by less than 0.01.
const REQUESTS_MIN: u64 = 4_000;
/// At most so many, but for the largest pools.
const REQUESTS_MAX: u64 = 20_000;
/// Of pools of more than a thousand servers so many per server, so that each is seen.
const REQUESTS_PER_SERVER_MIN: u64 = 20;
/// One part in so many is sent before counting begins, unless the start itself is tried.
const WARM_UP_PART: u64 = 4;
/// When a trial begins: not at zero, which clocks of the pool take for "never".
const BEGIN: Timestamp = Timestamp::from_nanos(3_600_000_000_000);

/// What happens in a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// All servers are new, their first checks just passed; counted from the first request.
    Start,
    /// It has served for a while.
    Steady,
    /// It is rebuilt twice while it is counted: from the same configuration, as a reload does,
    /// and from nothing, as a restart does.
    Reload,
    /// The server of this index in the configuration is lost after a while: it fails its checks
    /// or, where there are none, refuses every connection; counted from then on. Attempts
    /// count where they went, those that were refused too. An index out of range loses nobody.
    Loss(usize),
}

/// How many requests [`shares`] counts for these settings: 4,000 to 20,000, and 20 per server of
/// pools of more than a thousand. By chance alone a share `s` is off by about `sqrt(s / requests)`.
#[must_use]
pub fn requests_of(settings: &configuration::Pool) -> u64 {
    let servers = settings.servers.len() as u64;
    (servers * REQUESTS_PER_SERVER)
        .clamp(REQUESTS_MIN, REQUESTS_MAX)
        .max(servers * REQUESTS_PER_SERVER_MIN)
}

/// The share of the requests that each configured server gets, 0 to 1, in the order of the
/// configuration; all 0 when no server takes requests. A name stands for one address. Of entries
/// with the same address the first gets everything.
///
/// Sends [`requests_of`] requests and a quarter more. Who tries the loss of each server of a large
/// pool should choose some.
#[must_use]
pub fn shares(settings: &configuration::Pool, scenario: Scenario, seed: u64) -> Vec<f64> {
    let (members, places) = members_of(settings);
    let mut trial = Trial::new(settings, members, seed);
    let counted = requests_of(settings);
    if scenario != Scenario::Start {
        trial.load(counted / WARM_UP_PART);
        trial.counts.fill(0);
    }
    match scenario {
        Scenario::Start | Scenario::Steady => trial.load(counted),
        Scenario::Reload => {
            trial.load(counted / 3);
            trial.rebuild(true);
            trial.load(counted / 3);
            trial.rebuild(false);
            trial.load(counted / 3);
        }
        Scenario::Loss(server) => {
            if let Some(&Some(place)) = places.get(server) {
                trial.lose(place);
            }
            trial.load(counted);
        }
    }
    let total = trial.counts.iter().sum::<u64>().max(1) as f64;
    let share = |place: &Option<usize>| place.map_or(0.0, |at| trial.counts[at] as f64 / total);
    places.iter().map(share).collect()
}

/// One trial under way.
struct Trial<'a> {
    settings: &'a configuration::Pool,
    members: Vec<Member>,
    run: Run,
    /// Attempts by member.
    counts: Vec<u64>,
    /// The mean gap between two requests, microseconds.
    gap_us: f64,
    /// The member that refuses connections.
    refusing: Option<usize>,
}

impl<'a> Trial<'a> {
    fn new(settings: &'a configuration::Pool, members: Vec<Member>, seed: u64) -> Self {
        let pool = Pool::build(settings, &members, None, BEGIN);
        let mut trial = Self {
            settings,
            gap_us: SERVICE_MEAN_US / in_flight_offered(settings, &members),
            counts: vec![0; members.len()],
            members,
            run: Run::new(pool, BEGIN, seed),
            refusing: None,
        };
        trial.pass_checks();
        trial
    }

    /// Every server passes a check; without checks nothing happens.
    fn pass_checks(&mut self) {
        for index in 0..self.members.len() {
            drop(self.run.pool.report_check(index, true, self.run.now));
        }
    }

    fn rebuild(&mut self, keeps_state: bool) {
        let previous = keeps_state.then_some(&self.run.pool);
        self.run.pool = Pool::build(self.settings, &self.members, previous, self.run.now);
        self.pass_checks();
    }

    fn lose(&mut self, index: usize) {
        let Some(check) = &self.settings.check else {
            self.refusing = Some(index);
            return;
        };
        for _ in 0..check.fall {
            drop(self.run.pool.report_check(index, false, self.run.now));
        }
    }

    fn load(&mut self, requests: u64) {
        for _ in 0..requests {
            // Exponential gaps; 1 - unit is never 0, so the logarithm is finite.
            let gap_us = -self.gap_us * (1.0 - self.run.dice.unit()).ln();
            self.run.advance(self.run.now + Duration::from_secs_f64(gap_us / 1e6));
            self.request();
        }
    }

    /// One request: attempts until one is accepted, or the pool's settings end it.
    fn request(&mut self) {
        self.run.pool.retries().deposit();
        let key = self.run.dice.roll();
        let mut tried = Vec::new();
        for _ in 0..self.settings.retries.attempts_max.max(1) {
            if !tried.is_empty() && !self.run.pool.retries().withdraw(self.run.now) {
                return;
            }
            let Ok(pick) = self.run.pick(key, &tried) else { return };
            let index = pick.index();
            self.counts[index] += 1;
            if Some(index) != self.refusing {
                let service_us = SERVICE_MIN_US + self.run.dice.below(SERVICE_MIN_US);
                self.run.send(pick, Duration::from_micros(service_us));
                return;
            }
            tried.push(index);
            // Refused at once: nothing attracts traffic more.
            let (latency, cause) = (Duration::from_micros(200), FailureCause::Connect);
            drop(pick.finish(Outcome::Failure { latency, cause }, self.run.now));
        }
    }
}

/// Requests in flight that the load means to keep up.
fn in_flight_offered(settings: &configuration::Pool, members: &[Member]) -> f64 {
    let taking = || members.iter().filter(|member| !member.drain).map(|member| member.weight);
    let servers = taking().filter(|&weight| weight > 0).count().max(1) as f64;
    let heaviest = taking().max().unwrap_or(0).max(1);
    let total: u64 = taking().map(u64::from).sum();
    if settings.in_flight_max == 0 {
        return servers;
    }
    let fits = f64::from(settings.in_flight_max) * total.max(1) as f64 / f64::from(heaviest);
    servers.min(fits / 10.0)
}
