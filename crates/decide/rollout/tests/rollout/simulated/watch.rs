//! Doors whose configuration changes: three servers with slots and queues, users who arrive by
//! chance and give up after two seconds, and the snapshots that the door would have made.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use fastrand::Rng;
use model::Configuration;
use model::configuration::{Admin, Admission, Changes, Door, Invariants, Telemetry};
use model::fact::{PoolFacts, ReasonCount, RouteFacts, ServerFacts, ServerState, Snapshot};
use rollout::{Watch, WatchVerdict};

use super::{normal, poisson, round};

/// Users give up after this, in microseconds.
const PATIENCE_US: u64 = 2_000_000;
const SECOND_US: u64 = 1_000_000;
/// Failures that have nothing to do with the change.
const FAILED_ANYWAY: f64 = 0.003;
/// Seconds a server warms up.
const WARM_UP: f64 = 30.0;

/// What happens with the change, or by itself while it is watched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// Nothing is different.
    Nothing,
    /// A fourth server is added and warms up.
    Added,
    /// One server is replaced by a new one, which is checked, then warms up.
    Replaced,
    /// The weights become 2, 1 and 1.
    Reweighted,
    /// Nothing, but a server restarted in the last seconds before.
    Restarted,
    /// Nothing, but bursts of four times the traffic for up to three seconds.
    Bursts,
    /// Nothing, but 3 % of the requests failed before and do now.
    AlwaysFailing,
    /// Nothing, but strangers ask for what is not there, now and then very often.
    Strangers,
    /// Nothing, but all servers stop for 0.9 seconds once while the change is watched.
    Stall,
    /// Nothing, but a server is lost for ten seconds while the change is watched.
    Lost,
    /// The drills: weights 90, 5 and 5; one server of three; the same with a spike.
    Lopsided,
    OneServer,
    OneServerAndSpike,
    /// This share of the requests fails.
    Fails(f64),
    /// Every request waits this many times longer at the servers.
    Slower(f64),
    /// Half of the requests have no route any more.
    Unrouted,
    /// The servers take connections and never answer.
    Hangs,
    /// All servers are drained.
    Drained,
}

impl Change {
    pub(crate) const GOOD: [Self; 10] = [
        Self::Nothing,
        Self::Added,
        Self::Replaced,
        Self::Reweighted,
        Self::Restarted,
        Self::Bursts,
        Self::AlwaysFailing,
        Self::Strangers,
        Self::Stall,
        Self::Lost,
    ];
    pub(crate) const BAD: [Self; 10] = [
        Self::Lopsided,
        Self::OneServer,
        Self::OneServerAndSpike,
        Self::Fails(0.05),
        Self::Fails(0.2),
        Self::Fails(1.0),
        Self::Slower(3.0),
        Self::Unrouted,
        Self::Hangs,
        Self::Drained,
    ];

    /// The drills have steady users and servers that always take as long.
    fn is_drill(self) -> bool {
        matches!(self, Self::Lopsided | Self::OneServer | Self::OneServerAndSpike)
    }

    pub(crate) fn words(self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Added => "a server added".to_owned(),
            Self::Replaced => "a server replaced".to_owned(),
            Self::Reweighted => "weights 2, 1, 1".to_owned(),
            Self::Restarted => "a restart just before".to_owned(),
            Self::Bursts => "bursts of traffic".to_owned(),
            Self::AlwaysFailing => "3 % failed before, too".to_owned(),
            Self::Strangers => "strangers without a route".to_owned(),
            Self::Stall => "a stall while watched".to_owned(),
            Self::Lost => "a server lost while watched".to_owned(),
            Self::Lopsided => "weights 90, 5, 5".to_owned(),
            Self::OneServer => "one server of three".to_owned(),
            Self::OneServerAndSpike => "the same and a spike".to_owned(),
            Self::Fails(share) => format!("{:.0} % fail", share * 100.0),
            Self::Slower(times) => format!("{times} times slower"),
            Self::Unrouted => "half lose their route".to_owned(),
            Self::Hangs => "servers never answer".to_owned(),
            Self::Drained => "all servers drained".to_owned(),
        }
    }
}

/// How a watch ended.
pub(crate) struct Outcome {
    pub(crate) verdict: WatchVerdict,
    /// Seconds from the change to the verdict.
    pub(crate) seconds: f64,
}

/// Plays `before` seconds, then the change at some moment of a second, until a verdict.
pub(crate) fn play(change: Change, per_second: f64, before: u64, seed: u64) -> Outcome {
    let mut world = World::new(Rng::with_seed(seed), change, per_second, before);
    let history: Vec<Snapshot> = (0..before).map(|_| world.second()).collect();
    let mut watch = Watch::new(&configuration(), &history, before);
    for _ in 0..60 {
        let snapshot = world.second();
        match watch.second(&snapshot) {
            WatchVerdict::Watching => {}
            verdict @ (WatchVerdict::Broken(_) | WatchVerdict::Held(_)) => {
                let seconds = (world.now - world.changes_at) as f64 / 1e6;
                return Outcome { verdict, seconds };
            }
        }
    }
    panic!("the watch is over and there is no verdict");
}

pub(crate) fn configuration() -> Configuration {
    Configuration {
        version: "after".into(),
        door: Door {
            workers: 1,
            drain: Duration::from_secs(30),
            connections_max: 1_000,
            state: None,
        },
        listeners: Vec::new(),
        pools: Vec::new(),
        routes: Vec::new(),
        admission: Admission::default(),
        clients: Vec::new(),
        limits: Vec::new(),
        admin: Admin { socket: None, tcp: None },
        telemetry: Telemetry { access_log: None },
        invariants: Invariants::default(),
        changes: Changes::default(),
        allowances: Vec::new(),
        files: Vec::new(),
    }
}

struct Server {
    address: String,
    weight: u32,
    state: ServerState,
    /// When it began to warm up.
    warm_from: Option<u64>,
    /// When each slot is free again.
    slots: BinaryHeap<Reverse<u64>>,
    in_flight: u64,
    ended: u64,
    failed: u64,
}

impl Server {
    fn new(index: usize, slots: usize) -> Self {
        Self {
            address: format!("10.0.0.{}:80", index + 1),
            weight: 1,
            state: ServerState::Up,
            warm_from: None,
            slots: std::iter::repeat_n(Reverse(0), slots).collect(),
            in_flight: 0,
            ended: 0,
            failed: 0,
        }
    }

    /// Its weight now: warm, and taking requests.
    fn pull(&self, now: u64) -> f64 {
        let warmth = self
            .warm_from
            .map_or(1.0, |from| (now.saturating_sub(from) as f64 / 1e6 / WARM_UP).clamp(0.1, 1.0));
        match self.state {
            ServerState::Up | ServerState::SlowStart => f64::from(self.weight) * warmth,
            ServerState::Unknown
            | ServerState::Ejected
            | ServerState::Down
            | ServerState::Draining => 0.0,
        }
    }
}

/// A request's end: when, at which server, after what time, and whether it failed.
type End = Reverse<(u64, usize, u64, bool)>;

struct World {
    rng: Rng,
    change: Change,
    per_second: f64,
    now: u64,
    changes_at: u64,
    servers: Vec<Server>,
    ends: BinaryHeap<End>,
    service_us: f64,
    burst_seconds: u64,
    /// When what happens by itself after the change does.
    incident_at: u64,
}

impl World {
    fn new(mut rng: Rng, change: Change, per_second: f64, before: u64) -> Self {
        let drill = change.is_drill();
        // The drills have servers of 100 requests a second; the others bear all traffic here.
        let (slots, service_us) = if drill { (10, 100_000.0) } else { (100, 40_000.0) };
        let changes_at = before * SECOND_US + rng.u64(..SECOND_US);
        Self {
            changes_at,
            incident_at: changes_at + rng.u64(..15 * SECOND_US),
            rng,
            change,
            per_second,
            now: 0,
            servers: (0..3).map(|index| Server::new(index, slots)).collect(),
            ends: BinaryHeap::new(),
            service_us,
            burst_seconds: 0,
        }
    }

    fn second(&mut self) -> Snapshot {
        let from = self.now;
        let rate = self.rate();
        let requests = poisson(&mut self.rng, rate);
        let mut arrivals: Vec<u64> =
            (0..requests).map(|_| from + self.rng.u64(..SECOND_US)).collect();
        arrivals.sort_unstable();
        let mut unrouted = self.strangers();
        let (mut refused, mut changed) = (0, from > self.changes_at);
        self.keep_state(from);
        for at in arrivals {
            if !changed && at >= self.changes_at {
                changed = true;
                self.apply();
            }
            if changed && self.change == Change::Unrouted && self.rng.bool() {
                unrouted += 1;
            } else if !self.send(at, changed) {
                refused += 1;
            }
        }
        self.now = from + SECOND_US;
        if !changed && self.now > self.changes_at {
            self.apply();
        }
        self.close(unrouted, refused)
    }

    fn rate(&mut self) -> f64 {
        if self.change == Change::OneServerAndSpike {
            let (before, after) = (0.4 * self.per_second, 1.25 * self.per_second);
            return if self.now < self.changes_at { before } else { after };
        }
        if self.change.is_drill() {
            return self.per_second;
        }
        if self.burst_seconds > 0 {
            self.burst_seconds -= 1;
        } else if self.change == Change::Bursts && self.rng.f64() < 0.08 {
            self.burst_seconds = self.rng.u64(1..=3);
        }
        // Traffic is never quite even: 20 % from second to second.
        let noise = (0.2 * normal(&mut self.rng)).exp();
        self.per_second * noise * if self.burst_seconds > 0 { 4.0 } else { 1.0 }
    }

    fn strangers(&mut self) -> u64 {
        if self.change != Change::Strangers {
            return 0;
        }
        let often = self.rng.f64() < 0.05;
        poisson(&mut self.rng, if often { 40.0 } else { 0.5 })
    }

    /// What servers do by themselves: restart, pass a check, become warm.
    fn keep_state(&mut self, now: u64) {
        if self.change == Change::Restarted {
            let ago = self.changes_at.saturating_sub(now) / SECOND_US;
            let is_down = now < self.changes_at && (5..15).contains(&ago);
            let server = &mut self.servers[2];
            if is_down {
                server.state = ServerState::Down;
            } else if server.state == ServerState::Down {
                (server.state, server.warm_from) = (ServerState::SlowStart, Some(now));
            }
        }
        if self.change == Change::Lost {
            let is_down = (self.incident_at..self.incident_at + 10 * SECOND_US).contains(&now);
            let server = &mut self.servers[2];
            if is_down {
                server.state = ServerState::Down;
            } else if server.state == ServerState::Down {
                (server.state, server.warm_from) = (ServerState::SlowStart, Some(now));
            }
        }
        for server in &mut self.servers {
            if server.state == ServerState::Unknown && now > self.changes_at + SECOND_US {
                (server.state, server.warm_from) = (ServerState::SlowStart, Some(now));
            }
            if server.warm_from.is_some_and(|from| now > from + 30 * SECOND_US) {
                (server.state, server.warm_from) = (ServerState::Up, None);
            }
        }
    }

    fn apply(&mut self) {
        let slots = self.servers[0].slots.len();
        let fourth = |state, now| Server {
            state,
            warm_from: (state == ServerState::SlowStart).then_some(now),
            ..Server::new(3, slots)
        };
        match self.change {
            Change::Added => self.servers.push(fourth(ServerState::SlowStart, self.changes_at)),
            Change::Replaced => {
                // Requests at the old one end unseen.
                self.ends.retain(|Reverse((_, server, _, _))| *server != 2);
                self.servers[2] = fourth(ServerState::Unknown, self.changes_at);
            }
            Change::Reweighted => self.servers[0].weight = 2,
            Change::Lopsided => {
                for (server, weight) in self.servers.iter_mut().zip([90, 5, 5]) {
                    server.weight = weight;
                }
            }
            Change::OneServer | Change::OneServerAndSpike => {
                self.ends.retain(|Reverse((_, server, _, _))| *server == 0);
                self.servers.truncate(1);
            }
            Change::Drained => {
                for server in &mut self.servers {
                    server.state = ServerState::Draining;
                }
            }
            Change::Nothing
            | Change::Restarted
            | Change::Bursts
            | Change::AlwaysFailing
            | Change::Strangers
            | Change::Stall
            | Change::Lost
            | Change::Fails(_)
            | Change::Slower(_)
            | Change::Unrouted
            | Change::Hangs => {}
        }
    }

    /// Sends one request; false when there is no server for it.
    fn send(&mut self, at: u64, changed: bool) -> bool {
        let pulls: Vec<f64> = self.servers.iter().map(|server| server.pull(at)).collect();
        let mut draw = self.rng.f64() * pulls.iter().sum::<f64>();
        let chosen = pulls.iter().position(|pull| {
            draw -= pull;
            *pull > 0.0 && draw < 0.0
        });
        let Some(index) = chosen else { return false };
        let spread = if self.change.is_drill() { 0.0 } else { 0.5 };
        let mut service = self.service_us * (spread * normal(&mut self.rng)).exp();
        let failed = if let (Change::Fails(share), true) = (self.change, changed) {
            share
        } else if self.change == Change::AlwaysFailing {
            0.03
        } else {
            FAILED_ANYWAY
        };
        if let (Change::Slower(times), true) = (self.change, changed) {
            service *= times;
        } else if self.change == Change::Hangs && changed {
            service = 30e6;
        }
        let server = &mut self.servers[index];
        let free = server.slots.pop().map_or(0, |Reverse(free)| free);
        let mut begin = free.max(at);
        let stall = self.incident_at..self.incident_at + 900_000;
        if self.change == Change::Stall && stall.contains(&begin) {
            begin = stall.end;
        }
        let end = begin + round(service);
        server.slots.push(Reverse(end));
        server.in_flight += 1;
        let end = end.min(at + PATIENCE_US);
        self.ends.push(Reverse((end, index, end - at, self.rng.f64() < failed)));
        true
    }

    fn close(&mut self, unrouted: u64, refused: u64) -> Snapshot {
        let (mut times, mut by_class, mut gave_up) = (Vec::new(), [0, 0, 0, 0, refused], 0);
        while let Some(Reverse((end, index, time, failed))) = self.ends.peek().copied()
            && end <= self.now
        {
            self.ends.pop();
            let server = &mut self.servers[index];
            server.in_flight = server.in_flight.saturating_sub(1);
            server.ended += 1;
            server.failed += u64::from(failed);
            times.push(time);
            let class = if time >= PATIENCE_US {
                gave_up += 1;
                3
            } else if failed {
                4
            } else {
                1
            };
            by_class[class] += 1;
        }
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied();
        let reasons = [("no_route", unrouted), ("no_server", refused), ("client_closed", gave_up)];
        let web = RouteFacts {
            name: "web".to_owned(),
            requests: by_class.iter().sum(),
            by_class,
            refused: 0,
            in_flight: self.servers.iter().map(|server| server.in_flight).sum(),
            p50_us: at(50),
            p99_us: at(99),
        };
        let version = if self.now > self.changes_at { "after" } else { "before" };
        Snapshot {
            uptime_seconds: self.now / SECOND_US,
            configuration: version.to_owned(),
            routes: vec![web],
            pools: vec![self.pool()],
            reasons: reasons
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(code, count)| ReasonCount { code: code.to_owned(), count })
                .collect(),
            ..Snapshot::default()
        }
    }

    fn pool(&mut self) -> PoolFacts {
        let now = self.now;
        let pull: f64 = self.servers.iter().map(|server| server.pull(now)).sum();
        let servers = self.servers.iter_mut().map(|server| ServerFacts {
            address: server.address.clone(),
            state: server.state,
            weight: server.weight,
            share_intended: if pull > 0.0 { server.pull(now) / pull } else { 0.0 },
            requests: std::mem::take(&mut server.ended),
            failures: std::mem::take(&mut server.failed),
            in_flight: server.in_flight,
            ..ServerFacts::default()
        });
        PoolFacts { name: "web".to_owned(), servers: servers.collect(), ..PoolFacts::default() }
    }
}
