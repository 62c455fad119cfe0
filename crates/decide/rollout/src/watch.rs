//! Judges a change that went live for everybody, against the seconds before it.
//!
//! Six judges look at each second, one file each: shares, servers, overload,
//! routing, failures, latency.
//! Each has learned from before the change what is usual, and says when that is broken.
//! Invariant: what was broken already before the change is not held against it.

mod failures;
mod latency;
mod overload;
mod routing;
mod servers;
mod shares;

use model::Configuration;
use model::fact::{RouteFacts, Snapshot};

use crate::words::{duration_words, of_requests};

/// How many seconds before the change say what is usual.
const BEFORE_SECONDS: usize = 60;
/// Seconds before the change that say whether an invariant held: longer ago, it may have been
/// mended since.
const HELD_SECONDS: usize = 10;
/// With fewer requests than this, the words say on how few a change stands: a failure of 1 % of
/// the requests would go unseen in one of twenty watches.
const REQUESTS_FEW: u64 = 300;

/// What is to be done with a change that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchVerdict {
    /// Nothing was broken so far; the watch goes on.
    Watching,
    /// The change broke what held before, in words: go back.
    Broken(String),
    /// The watch is over and nothing was broken; in words, on how many requests that stands.
    Held(String),
}

/// Watches one change.
#[derive(Debug)]
pub struct Watch {
    started_at_second: u64,
    seconds: u64,
    seconds_max: u64,
    requests: u64,
    failures: u64,
    /// What was broken before and is therefore not judged, in words.
    excused: Vec<String>,
    shares: shares::Shares,
    servers: servers::Servers,
    overload: overload::Overload,
    failing: failures::Failures,
    routing: routing::Routing,
    latency: latency::Latency,
}

impl Watch {
    /// Watches the change to `settings`, which went live when the process was
    /// `started_at_second` seconds old, for `settings.changes.watch`. `before` is what was seen
    /// until then, oldest first; its last 60 seconds are what the change is compared with.
    #[must_use]
    pub fn new(settings: &Configuration, before: &[Snapshot], started_at_second: u64) -> Self {
        let usual = last(before, BEFORE_SECONDS);
        // Whether an invariant held is a matter of the configuration that was live until now.
        let version = usual.last().map_or("", |snapshot| snapshot.configuration.as_str());
        let same = usual.iter().rev().take_while(|known| known.configuration == version).count();
        let held = last(usual, same.min(HELD_SECONDS));
        let shares = shares::Shares::new(settings, held);
        let servers = servers::Servers::new(settings.invariants.eligible_min, held);
        let mut excused: Vec<String> = shares.excused().chain(servers.excused()).collect();
        if usual.is_empty() {
            excused.push("what was usual before is not known".to_owned());
        }
        Self {
            started_at_second,
            seconds: 0,
            seconds_max: settings.changes.watch.as_secs().max(1),
            requests: 0,
            failures: 0,
            excused,
            shares,
            servers,
            overload: overload::Overload::new(usual),
            failing: failures::Failures::new(usual),
            routing: routing::Routing::new(usual),
            latency: latency::Latency::new(usual),
        }
    }

    /// Takes one second's facts. Call it once per snapshot since the change, in order, until it
    /// says something other than `Watching`; a snapshot from before the change is passed over.
    pub fn second(&mut self, snapshot: &Snapshot) -> WatchVerdict {
        if snapshot.uptime_seconds <= self.started_at_second {
            return WatchVerdict::Watching;
        }
        self.seconds += 1;
        let (failures, requests) = failures::of_door(snapshot);
        self.requests += requests;
        self.failures += failures;
        // The order is that of the words: a cause is a better reason than its effect.
        let broken = [
            self.shares.second(snapshot),
            self.servers.second(snapshot),
            self.overload.second(snapshot),
            self.routing.second(snapshot),
            self.failing.second(snapshot),
            self.latency.second(snapshot),
        ];
        if let Some(words) = broken.into_iter().flatten().next() {
            return WatchVerdict::Broken(words);
        }
        let age = snapshot.uptime_seconds - self.started_at_second;
        if age.max(self.seconds) >= self.seconds_max {
            return WatchVerdict::Held(self.held());
        }
        WatchVerdict::Watching
    }

    /// What was seen so far, in words.
    #[must_use]
    pub fn progress(&self) -> String {
        let failed = of_requests(self.failures, self.requests);
        format!("after {} s of {} s: {failed} failed", self.seconds, self.seconds_max)
    }

    fn held(&self) -> String {
        let watched = duration_words(std::time::Duration::from_secs(self.seconds));
        let failed = of_requests(self.failures, self.requests);
        let mut words = format!("nothing broke in {watched}: {failed} failed");
        if self.requests < REQUESTS_FEW {
            words.push_str("; that is too few to see small harm");
        }
        for excused in &self.excused {
            words.push_str("; not held against it: ");
            words.push_str(excused);
        }
        words
    }
}

/// The last `count` of `all`, or all of them.
fn last<T>(all: &[T], count: usize) -> &[T] {
    all.get(all.len().saturating_sub(count)..).unwrap_or(all)
}

/// The routes of a snapshot by name: a route with exact and wildcard hosts stands there twice,
/// and both have the same counts.
fn routes(snapshot: &Snapshot) -> impl Iterator<Item = &RouteFacts> {
    let mut seen = std::collections::BTreeSet::new();
    snapshot.routes.iter().filter(move |route| seen.insert(route.name.as_str()))
}

/// The value that one second of twenty exceeds, of seconds before a change; the largest of few.
fn usual_most(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len().saturating_sub(1) * 95).div_ceil(100);
    values.get(rank).copied().unwrap_or(0.0)
}
