//! Which server a door sends to: the door's own pool, or a rule that is only a candidate.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use balancing::{Dice, FailureCause, Member, Outcome, Pick, PickRequest, Pool};
use model::Timestamp;
use model::configuration::{self, Balance};

use crate::hot_cold::{HotCold, Report};
use crate::join_least::JoinLeast;
use crate::plan::Entrance;

/// How doors choose.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// The door's own code, with this algorithm.
    Pool(Balance),
    /// The least in-flight x peak EWMA of all servers; exists here only.
    JoinLeast,
    /// Prequal's hot-cold rule, with servers that report, of which so many reports are kept; exists
    /// here only.
    HotCold(usize),
}

impl Rule {
    /// Its name in tables.
    #[must_use]
    pub fn name(&self) -> String {
        let name = match self {
            Self::Pool(Balance::P2c) => "p2c",
            Self::Pool(Balance::LeastRequest) => "least request",
            Self::Pool(Balance::RoundRobin) => "round robin",
            Self::Pool(Balance::Random) => "random",
            Self::Pool(Balance::Maglev(_)) => "consistent hash",
            Self::JoinLeast => "peak EWMA of all",
            Self::HotCold(reports) => return format!("hot-cold, {reports} reports"),
        };
        name.to_owned()
    }
}

/// One door's choice, with what it has learned.
#[derive(Debug)]
pub(crate) enum Chooser {
    Pool(Pool, Box<configuration::Pool>),
    JoinLeast(JoinLeast),
    HotCold(HotCold),
}

/// A server chosen for one attempt, counted in flight there until it has ended.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) index: usize,
    pick: Option<Pick>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Answered(Duration),
    /// With status 500.
    Failed(Duration),
    /// The client left.
    Left,
}

impl Chooser {
    pub(crate) fn new(
        rule: &Rule,
        settings: &configuration::Pool,
        servers: usize,
        now: Timestamp,
    ) -> Self {
        match rule {
            Rule::Pool(balance) => {
                let settings = configuration::Pool { balance: balance.clone(), ..settings.clone() };
                let pool = Pool::build(&settings, &members(servers), None, now);
                Self::Pool(pool, Box::new(settings))
            }
            Rule::JoinLeast => Self::JoinLeast(JoinLeast::new(servers)),
            Rule::HotCold(reports) => Self::HotCold(HotCold::new(servers, *reports)),
        }
    }

    /// The pool has so many servers now; what was learned of the others stays.
    pub(crate) fn grow(&mut self, servers: usize, now: Timestamp) {
        match self {
            Self::Pool(pool, settings) => {
                *pool = Pool::build(settings, &members(servers), Some(&*pool), now);
            }
            Self::JoinLeast(known) => known.grow(servers),
            Self::HotCold(known) => known.grow(servers),
        }
    }

    /// `None`: no server may take it now.
    pub(crate) fn choose(
        &mut self,
        now: Timestamp,
        dice: &mut Dice,
        ask: impl Fn(usize) -> Report,
    ) -> Option<Chosen> {
        match self {
            Self::Pool(pool, _) => {
                let pick = pool.pick(&PickRequest::default(), now, dice).ok()?;
                Some(Chosen { index: pick.index(), pick: Some(pick) })
            }
            Self::JoinLeast(known) => Some(Chosen { index: known.choose(now, dice), pick: None }),
            Self::HotCold(known) => {
                Some(Chosen { index: known.choose(now, dice, ask), pick: None })
            }
        }
    }

    pub(crate) fn ended(&mut self, chosen: Chosen, ended: Ended, now: Timestamp) {
        if let Some(pick) = chosen.pick {
            // What changed is read from the pool; nobody here logs it.
            drop(pick.finish(outcome(ended), now));
            return;
        }
        match self {
            Self::Pool(..) => {}
            Self::JoinLeast(known) => {
                let latency = match ended {
                    Ended::Answered(latency) => Some(latency),
                    Ended::Failed(latency) => Some(latency.max(Duration::from_secs(1))),
                    Ended::Left => None,
                };
                known.ended(chosen.index, latency, now);
            }
            Self::HotCold(known) => known.ended(chosen.index),
        }
    }

    /// What this door has in flight at a server.
    pub(crate) fn in_flight(&self, index: usize) -> u32 {
        match self {
            Self::Pool(pool, _) => pool.servers()[index].in_flight(),
            Self::JoinLeast(_) | Self::HotCold(_) => 0,
        }
    }

    /// Whether some server may take a request.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Self::Pool(pool, _) => pool.has_room(),
            Self::JoinLeast(_) | Self::HotCold(_) => true,
        }
    }

    /// What a server may have in flight from now on.
    pub(crate) fn limit_server(&self, index: usize, limit: u32) {
        if let Self::Pool(pool, _) = self {
            pool.limit_server(index, limit);
        }
    }
}

const fn outcome(ended: Ended) -> Outcome {
    match ended {
        Ended::Answered(latency) => Outcome::Success { latency },
        Ended::Failed(latency) => Outcome::Failure { latency, cause: FailureCause::Status(500) },
        Ended::Left => Outcome::Neutral,
    }
}

/// Equal entries: the doors are not told what differs.
pub(crate) fn members(servers: usize) -> Vec<Member> {
    let member = |number: u32| Member {
        address: SocketAddr::from((Ipv4Addr::from(0x0a00_0001 + number), 80)),
        name: None,
        weight: 1,
        zone: None,
        drain: false,
    };
    (0..u32::try_from(servers).unwrap_or(u32::MAX)).map(member).collect()
}

/// A pool with the defaults of the configuration reference.
pub(crate) fn settings(entrance: Entrance) -> configuration::Pool {
    let (in_flight_max, adaptive) = match entrance {
        Entrance::Open => (0, false),
        Entrance::Found => (0, true),
        Entrance::Set(most) => (most, false),
    };
    configuration::Pool {
        protocol: model::configuration::ServerProtocol::default(),
        proxy_protocol: None,
        name: "web".into(),
        servers: Vec::new(),
        balance: Balance::P2c,
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
        in_flight_max,
        admission: configuration::PoolAdmission { adaptive, ..Default::default() },
        idle_max: 64,
        resolve: Duration::from_secs(30),
        capacity: None,
        peak_per_second: None,
    }
}
