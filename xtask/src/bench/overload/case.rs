//! What is measured: every scenario with its doors, servers and multiples.

use serde::Serialize;

use super::app::Kind;
use super::door::Door;

/// What happens in a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scenario {
    /// Steady load; limits by hand fit exactly.
    Curve,
    /// Steady load on servers that are 4 times slower than when the limits were set by hand.
    Stale,
    /// The servers become 4 times slower during the run, and fast again.
    Change,
    /// One client sends nearly everything; a hundred polite ones send 0.8 times the capacity.
    Talker,
    /// Critical requests are 0.8 times the capacity, the rest is far above it.
    Critical,
    /// Ten seconds of 20 times the capacity with retries, then 0.8 times.
    Storm,
}

impl Scenario {
    pub(super) const ALL: [Self; 6] =
        [Self::Curve, Self::Stale, Self::Change, Self::Talker, Self::Critical, Self::Storm];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Curve => "goodput against offered load",
            Self::Stale => "the same, servers 4 times slower than when limits were set by hand",
            Self::Change => "servers become 4 times slower during the run, and fast again",
            Self::Talker => "one client sends nearly everything, 100 polite ones 0.8 x",
            Self::Critical => "critical requests are 0.8 x of it",
            Self::Storm => "10 s of this with retries, then 0.8 x",
        }
    }

    /// Whether the servers begin slow.
    pub(super) fn begins_slow(self) -> bool {
        self == Self::Stale
    }

    /// The multiples, unless others are asked for.
    fn times(self, quick: bool) -> &'static [u32] {
        match (self, quick) {
            (Self::Curve | Self::Stale, false) => &[1, 2, 5, 10, 20],
            (Self::Curve | Self::Stale, true) => &[1, 5, 20],
            (Self::Change, false) => &[2, 5],
            (Self::Change, true) => &[2],
            (Self::Talker | Self::Critical | Self::Storm, _) => &[20],
        }
    }

    /// Without and with retries of the clients.
    fn retries(self) -> &'static [bool] {
        match self {
            Self::Curve => &[false, true],
            Self::Stale | Self::Change | Self::Talker | Self::Critical => &[false],
            Self::Storm => &[true],
        }
    }

    fn takes(self, door: Door) -> bool {
        match self {
            Self::Critical => door == Door::Tidegate,
            Self::Storm => true,
            // Envoy's local rate limit knows no clients that were not named beforehand.
            Self::Talker => !matches!(door, Door::TidegateBare | Door::EnvoyLimits),
            Self::Curve | Self::Stale | Self::Change => door != Door::TidegateBare,
        }
    }
}

/// One point of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Case {
    pub(super) scenario: Scenario,
    pub(super) app: Kind,
    pub(super) retries: bool,
    pub(super) times: u32,
    pub(super) door: Door,
}

impl Case {
    /// One line.
    pub(super) fn name(&self) -> String {
        let Self { scenario, app, retries, times, door } = self;
        let retries = if *retries { ", retries" } else { "" };
        format!("{scenario:?} {times} x, {}{retries}: {}", app.name(), door.name())
    }

    pub(super) fn is_left_out_when_quick(&self) -> bool {
        let curve = self.scenario == Scenario::Curve;
        (self.retries && curve) || (self.door.is_without_limits() && curve && self.times != 5)
    }
}

/// Every point of one round, at these multiples if any are asked for.
pub(super) fn all(doors: &[Door], times: &[u32], quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for scenario in Scenario::ALL {
        for app in Kind::ALL {
            for &retries in scenario.retries() {
                let of = |times: u32| {
                    let takers = doors.iter().filter(|door| scenario.takes(**door));
                    takers.map(move |&door| Case { scenario, app, retries, times, door })
                };
                let times = if times.is_empty() { scenario.times(quick) } else { times };
                cases.extend(times.iter().copied().flat_map(of));
            }
        }
    }
    cases
}
