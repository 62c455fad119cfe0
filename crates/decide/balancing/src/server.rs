//! One server: what the configuration says of it, and what was learned about it.
//!
//! What was learned is shared by all generations of a pool that hold the same address, so that
//! a reload forgets nothing. Each server's counters have a cache line of their own.
//! Invariant: everything learned is atomic; no two fields need to change together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Relaxed};
use std::time::Duration;

use model::fact::ServerState;
use model::{Name, Timestamp};

use crate::ejection::Ejection;
use crate::ewma::Ewma;
use crate::health::{Health, Verdict};

/// The least part of its weight that a warming server has: with none it would never warm up
/// (Envoy #19437).
const WARM_MIN: f32 = 0.1;
const WARM: u64 = 0;
const WARMS_WHEN_UP: u64 = u64::MAX;

/// One server as resolved: an entry of the configuration at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub address: SocketAddr,
    /// The DNS name it came from, if any.
    pub name: Option<Name>,
    /// Its part of the traffic relative to the others, 0 to 1,000; 0 takes none.
    pub weight: u32,
    /// Its zone.
    pub zone: Option<Name>,
    /// True: no new requests.
    pub drain: bool,
}

/// A server of a pool.
#[derive(Debug)]
pub struct Server {
    pub(crate) member: Member,
    pub(crate) learned: Arc<Learned>,
}

impl Server {
    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.member.address
    }

    /// What the configuration and the resolver say of it.
    #[must_use]
    pub const fn member(&self) -> &Member {
        &self.member
    }

    /// Requests in flight at it, over all workers and pool generations.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.learned.in_flight.load(Relaxed)
    }

    /// Whether its configuration lets it take requests at all.
    pub(crate) const fn takes_requests(&self) -> bool {
        !self.member.drain && self.member.weight > 0
    }
}

/// What was learned about a server.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Learned {
    in_flight: AtomicU32,
    /// Requests it may hold by what was measured; 0 means no limit.
    limit: AtomicU32,
    /// Requests in flight that are streams by now, which that limit does not count.
    detached: AtomicU32,
    pub(crate) last_failure: AtomicU16,
    /// When it began to warm up, in nanoseconds; `WARM` or `WARMS_WHEN_UP` when it did not.
    warming_since: AtomicU64,
    pub(crate) ewma: Ewma,
    pub(crate) ejection: Ejection,
    pub(crate) health: Health,
}

/// How a server enters a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entrance {
    /// Checks decide whether it is up.
    pub(crate) checked: bool,
    /// It joins servers that already serve.
    pub(crate) joins: bool,
}

impl Learned {
    pub(crate) fn new(entrance: Entrance, now: Timestamp) -> Self {
        let warming_since = match entrance {
            Entrance { joins: false, .. } => WARM,
            Entrance { checked: true, .. } => WARMS_WHEN_UP,
            Entrance { checked: false, .. } => moment(now),
        };
        Self {
            in_flight: AtomicU32::new(0),
            limit: AtomicU32::new(0),
            detached: AtomicU32::new(0),
            last_failure: AtomicU16::new(0),
            warming_since: AtomicU64::new(warming_since),
            ewma: Ewma::default(),
            ejection: Ejection::default(),
            health: Health::new(if entrance.checked { Verdict::Unknown } else { Verdict::Up }),
        }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Sets what it may hold by what was measured; 0 means no limit.
    pub(crate) fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Relaxed);
    }

    /// The lower of a limit and what was measured; 0 means no limit, of each and of both.
    pub(crate) fn limit(&self, most: u32) -> u32 {
        match (most, self.limit.load(Relaxed)) {
            (most, 0) => most,
            (0, limit) => limit.saturating_add(self.detached.load(Relaxed)),
            (most, limit) => most.min(limit.saturating_add(self.detached.load(Relaxed))),
        }
    }

    /// A request in flight became a stream.
    pub(crate) fn detach(&self) {
        self.detached.fetch_add(1, AcqRel);
    }

    /// A stream ended; it leaves as any request does.
    pub(crate) fn end_detached(&self) {
        self.detached.fetch_sub(1, AcqRel);
    }

    /// Whether it holds fewer requests than this; 0 means no limit.
    pub(crate) fn has_room(&self, most: u32) -> bool {
        most == 0 || self.in_flight() < most
    }

    /// Counts one request in, unless the server holds `most` already; 0 means no limit.
    pub(crate) fn enter(&self, most: u32) -> bool {
        if most == 0 {
            self.in_flight.fetch_add(1, AcqRel);
            return true;
        }
        self.in_flight.try_update(AcqRel, Relaxed, |held| (held < most).then_some(held + 1)).is_ok()
    }

    /// Counts one request out.
    pub(crate) fn leave(&self) {
        let before = self.in_flight.fetch_sub(1, AcqRel);
        debug_assert!(before > 0, "a request left that never entered");
    }

    /// The server came back: it starts slowly.
    pub(crate) fn begin_warming(&self, now: Timestamp) {
        self.warming_since.store(moment(now), Relaxed);
    }

    /// Its first check passed: it starts slowly if it joined others.
    pub(crate) fn begin_warming_if_joined(&self, now: Timestamp) {
        if self.warming_since.load(Relaxed) == WARMS_WHEN_UP {
            self.begin_warming(now);
        }
    }

    /// The part of its weight that counts, 0.1 to 1.
    pub(crate) fn warm(&self, now: Timestamp, slow_start: Duration) -> f32 {
        let since = self.warming_since.load(Relaxed);
        if since == WARM || slow_start.is_zero() {
            return 1.0;
        }
        let age = now.since(Timestamp::from_nanos(since));
        (age.as_secs_f32() / slow_start.as_secs_f32()).clamp(WARM_MIN, 1.0)
    }

    /// Whether it takes requests; `checked` and `ejects` are the pool's settings.
    pub(crate) fn standing(&self, checked: bool, ejects: bool) -> Standing {
        if checked {
            match self.health.verdict() {
                Verdict::Unknown => return Standing::Unknown,
                Verdict::Down => return Standing::Down,
                Verdict::Up => {}
            }
        }
        if ejects && self.ejection.is_aside() { Standing::Aside } else { Standing::Up }
    }
}

/// Whether a server takes requests, by what was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No check has ended yet: never takes any.
    Unknown,
    /// Takes requests.
    Up,
    /// Down by its checks.
    Down,
    /// Set aside because requests failed.
    Aside,
}

impl Standing {
    pub(crate) fn state(self, warm: f32) -> ServerState {
        match self {
            Self::Unknown => ServerState::Unknown,
            Self::Up if warm < 1.0 => ServerState::SlowStart,
            Self::Up => ServerState::Up,
            Self::Down => ServerState::Down,
            Self::Aside => ServerState::Ejected,
        }
    }
}

/// A moment that neither reads as `WARM` nor as `WARMS_WHEN_UP`.
fn moment(now: Timestamp) -> u64 {
    now.as_nanos().clamp(1, u64::MAX - 1)
}
