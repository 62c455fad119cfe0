//! How changes are held in check: what must hold, how a change goes live, which rules are set
//! aside.

use std::path::PathBuf;
use std::time::Duration;

use super::Configuration;
use crate::Name;

/// The folder that outlives the process (`[door] state`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where it is; the door that runs is its only user.
    pub folder: PathBuf,
    /// True when it was named: the door then does not start without it. The default folder is
    /// done without, with a warning, where it cannot be used.
    pub required: bool,
}

/// What must hold whatever changes (`[invariants]`). Held in `check`, in `plan`, and while a
/// change is watched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Invariants {
    /// The largest share of the requests of a pool of several servers that one of them may get,
    /// 0 to 1. Default 0.9.
    pub share_max: f64,
    /// Servers that must be able to take requests, in each pool that has as many. Default 1.
    pub eligible_min: u32,
    /// Whether every route of the live configuration must still be there, by name. Default off.
    pub keep_routes: bool,
    /// The largest part by which a change may lower a limit, 0 to 1. Default 1: any.
    pub limit_drop_max: f64,
}

impl Default for Invariants {
    fn default() -> Self {
        Self { share_max: 0.9, eligible_min: 1, keep_routes: false, limit_drop_max: 1.0 }
    }
}

/// How changes go live (`[changes]`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Changes {
    /// How long a change is watched after it went live. Default 30 s; zero is off.
    pub watch: Duration,
    /// What happens when a watched change breaks an invariant.
    pub rollback: Rollback,
    /// The largest part of a pool's requests that a change may move to other servers at once,
    /// 0 to 1; more needs a canary. Default 0.5.
    pub move_max: f64,
    /// Requests that each side of a canary must have served before there is a verdict.
    /// Default 300.
    pub requests_min: u64,
    /// Generations that are kept, 10 to 100,000. Default 1,000.
    pub history_max: u32,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            watch: Duration::from_secs(30),
            rollback: Rollback::Automatic,
            move_max: 0.5,
            requests_min: 300,
            history_max: 1_000,
        }
    }
}

/// What happens when a watched change breaks an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollback {
    /// It is undone.
    Automatic,
    /// What would have been done is logged, and nothing is done.
    Observe,
}

/// A rule that is set aside (`[[allow]]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The rule's name, such as `single-server`.
    pub rule: Name,
    /// The table it is set aside for, such as `pools.web`; `None` is everywhere.
    pub at: Option<Name>,
    /// Why.
    pub reason: Name,
}

impl Allowance {
    /// Whether it sets `rule` aside for `place`, such as `pools.web`, and for what is inside.
    #[must_use]
    pub fn fits(&self, rule: &str, place: &str) -> bool {
        let is_inside = |at: &Name| {
            let below = place.strip_prefix(&**at);
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        *self.rule == *rule && self.at.as_ref().is_none_or(is_inside)
    }
}

impl Configuration {
    /// Whether `rule` is set aside for `place`, such as `pools.web`, or for every place.
    #[must_use]
    pub fn allows(&self, rule: &str, place: &str) -> bool {
        self.allowances.iter().any(|allowance| allowance.fits(rule, place))
    }
}
