//! Which servers a pick may choose among, and what an algorithm may ask of them.
//!
//! Invariant: a server that an algorithm returns was eligible when it was asked; the pick
//! then claims it atomically, so a limit holds even when workers race.

use std::sync::atomic::Ordering::Relaxed;

use model::Timestamp;

use crate::dice::Dice;
use crate::ewma::Latency;
use crate::pool::Inner;
use crate::server::{Server, Standing};
use crate::table::Table;

/// Draws by weight that may hit servers that are not eligible before all are scanned.
const DRAWS_MAX: u32 = 48;

/// Which part of the servers, by health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Those that take requests.
    Healthy,
    /// Those that are down or set aside; only in panic, see `panic`.
    Unhealthy,
}

impl Group {
    /// `None`: never takes any.
    pub(crate) const fn of(standing: Standing) -> Option<Self> {
        match standing {
            Standing::Unknown => None,
            Standing::Up => Some(Self::Healthy),
            Standing::Down | Standing::Aside => Some(Self::Unhealthy),
        }
    }
}

/// Which part of the servers, by zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    Any,
    Own,
    Others,
}

impl Zone {
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Any => 0,
            Self::Own => 1,
            Self::Others => 2,
        }
    }
}

/// The servers that one pick may choose among.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidates<'a> {
    pub(crate) pool: &'a Inner,
    pub(crate) now: Timestamp,
    pub(crate) group: Group,
    pub(crate) zone: Zone,
    /// Servers to avoid.
    pub(crate) tried: &'a [usize],
    /// Whether the pool panics, which bounds the healthy.
    pub(crate) panics: bool,
    /// Only those that did not fail last: two servers that died at once must not cost a
    /// request both its attempts.
    pub(crate) steady: bool,
    /// Not those penalised lately: for algorithms that do not see it in the latency.
    pub(crate) wary: bool,
}

impl<'a> Candidates<'a> {
    /// All servers of the zone by weight, eligible or not.
    pub(crate) fn table(&self) -> &'a Table {
        &self.pool.tables[self.zone.index()]
    }

    pub(crate) fn server(&self, index: usize) -> &'a Server {
        &self.pool.servers[index]
    }

    /// Whether this server, which the zone's table holds, may be chosen.
    pub(crate) fn eligible(&self, index: usize) -> bool {
        let learned = &self.server(index).learned;
        if !learned.has_room(self.limit(index))
            || self.tried.contains(&index)
            || self.steady && !learned.ejection.is_steady()
            || self.wary && learned.ewma.is_penalised(self.now)
        {
            return false;
        }
        Group::of(learned.standing(self.pool.checked, self.pool.ejects)) == Some(self.group)
    }

    /// The most requests this server may hold; 0 means no limit.
    pub(crate) fn limit(&self, index: usize) -> u32 {
        let limit = self.pool.limit(index);
        if limit == 0 && self.panics && self.group == Group::Healthy {
            return self.pool.shared.calm.bound(self.server(index).member.weight);
        }
        limit
    }

    pub(crate) fn warm(&self, index: usize) -> f32 {
        self.server(index).learned.warm(self.now, self.pool.slow_start)
    }

    pub(crate) fn weight(&self, index: usize) -> f32 {
        self.server(index).member.weight as f32
    }

    pub(crate) fn in_flight(&self, index: usize) -> f32 {
        self.server(index).learned.in_flight() as f32
    }

    pub(crate) fn latency(&self, index: usize) -> Latency {
        self.server(index).learned.ewma.read(self.now)
    }

    /// Asks for numbers until one belongs to an eligible server; a server that warms up is
    /// taken with the probability of its warmth. `None`: nobody was hit, scan instead.
    pub(crate) fn first_owner(
        &self,
        dice: &mut Dice,
        mut next: impl FnMut(&mut Dice) -> usize,
    ) -> Option<usize> {
        if self.table().is_empty() {
            return None;
        }
        (0..DRAWS_MAX).find_map(|_| {
            let index = next(dice);
            (self.eligible(index) && dice.chance(f64::from(self.warm(index)))).then_some(index)
        })
    }

    /// One eligible server by weight and warmth, looking at all of them.
    pub(crate) fn scan(&self, dice: &mut Dice) -> Option<usize> {
        let mut total = 0.0;
        let mut chosen = None;
        for &index in self.table().indexes() {
            if self.eligible(index) {
                let weight = f64::from(self.weight(index) * self.warm(index));
                total += weight;
                // Each replaces the choice with its part of the sum so far: fair by weight.
                if dice.unit() * total < weight {
                    chosen = Some(index);
                }
            }
        }
        chosen
    }

    /// A cyclic walk over the zone's servers from a random start.
    pub(crate) fn walk(&self, dice: &mut Dice) -> impl Iterator<Item = usize> {
        let indexes = self.table().indexes();
        let start = usize::try_from(dice.below(indexes.len() as u64)).unwrap_or(0);
        indexes[start..].iter().chain(&indexes[..start]).copied()
    }

    /// The next position of the rotation over the zone, shared by all workers.
    pub(crate) fn next_position(&self) -> u64 {
        let rotation = match self.group {
            Group::Healthy => self.zone.index(),
            Group::Unhealthy => 3,
        };
        self.pool.shared.positions[rotation].fetch_add(1, Relaxed)
    }
}
