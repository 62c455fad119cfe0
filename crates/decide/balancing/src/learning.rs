//! What a pool learns from outcomes and checks, and the facts it states.
//!
//! Invariant: every change of a server's state is counted in `Shared::changes` after it was
//! made, so no worker keeps picking by the old state.

use std::borrow::Cow;
use std::sync::atomic::{Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

use model::Timestamp;
use model::fact::{PoolFacts, ServerFacts, ServerState};

use crate::candidates::{Group, Zone};
use crate::ejection::{Counted, Ticket};
use crate::health::Verdict;
use crate::pick::{Failure, FailureCause, StateChange};
use crate::pool::Inner;

impl Inner {
    pub(crate) fn succeeded(
        &self,
        index: usize,
        ticket: Ticket,
        latency: Duration,
        now: Timestamp,
    ) -> Option<StateChange> {
        let learned = &self.servers[index].learned;
        // The state before costs something to say; only a return needs it.
        if !learned.ejection.success(ticket, now) {
            learned.ewma.success(latency, now);
            return None;
        }
        // Measured anew: failures counted as timeouts would keep traffic away for a minute.
        learned.ewma.restart(latency, now);
        learned.begin_warming(now);
        self.changed();
        self.change(index, ServerState::Ejected, now, "the probe succeeded".into())
    }

    pub(crate) fn failed(
        &self,
        index: usize,
        ticket: Ticket,
        failure: Failure,
        now: Timestamp,
    ) -> Option<StateChange> {
        let learned = &self.servers[index].learned;
        let settings = &self.configuration.ejection;
        // A fast failure must not look like a fast server.
        let cost = failure.latency.max(self.configuration.timeouts.first_byte);
        if !failure.cause.ejects() {
            learned.ewma.failure(cost, now);
            return None;
        }
        learned.last_failure.store(failure.cause.code(), Relaxed);
        match learned.ejection.failure(ticket, now, settings) {
            // Ejection deals with it. A penalty now would keep the rest of the row away, and
            // the server would fail a little for minutes instead of being set aside at once.
            Counted::Noted => None,
            Counted::Apart => {
                learned.ewma.failure(cost, now);
                None
            }
            Counted::ProbeLost => {
                self.changed();
                None
            }
            Counted::Enough => {
                let from = self.state(index, now);
                if !self.set_aside(index, ticket, now) {
                    // The pool cannot spare it, so it stays and is avoided instead.
                    learned.ewma.penalise(cost, now);
                    return None;
                }
                self.change(index, from, now, self.why_ejected(index))
            }
        }
    }

    pub(crate) fn checked_server(
        &self,
        index: usize,
        passed: bool,
        now: Timestamp,
    ) -> Option<StateChange> {
        let check = self.configuration.check.as_ref()?;
        let learned = &self.servers.get(index)?.learned;
        let from = self.state(index, now);
        let before = learned.health.verdict();
        learned.health.report(passed, check.fall, check.rise, |verdict| match verdict {
            Verdict::Unknown => learned.begin_warming_if_joined(now),
            Verdict::Up | Verdict::Down => {
                // What failed before it was down says nothing of the server that came back.
                learned.ewma.forget();
                learned.begin_warming(now);
            }
        });
        if learned.health.verdict() == before {
            return None;
        }
        self.changed();
        let why: Cow<'static, str> = match (before, passed) {
            (Verdict::Unknown, true) => "its first check passed".into(),
            (Verdict::Unknown, false) => "its first check failed".into(),
            (_, true) => format!("{} checks in a row passed", check.rise).into(),
            (_, false) => format!("{} checks in a row failed", check.fall).into(),
        };
        self.change(index, from, now, why)
    }

    /// Sets a server aside unless too many are: the pool must not empty itself.
    fn set_aside(&self, index: usize, ticket: Ticket, now: Timestamp) -> bool {
        // Another worker is at it: the next failure asks again.
        if self.shared.ejecting.swap(true, Acquire) {
            return false;
        }
        let settings = &self.configuration.ejection;
        let taking = || self.servers.iter().filter(|server| server.takes_requests());
        let aside = taking().filter(|server| server.learned.ejection.is_aside()).count() + 1;
        // A hair more, so that 0.3 of 10 servers is 3 in spite of rounding.
        let fits = aside as f64 <= taking().count() as f64 * settings.share_max + 1e-6;
        let done = fits && self.servers[index].learned.ejection.set_aside(ticket, now, settings);
        self.shared.ejecting.store(false, Release);
        if done {
            self.changed();
        }
        done
    }

    fn change(
        &self,
        index: usize,
        from: ServerState,
        now: Timestamp,
        why: Cow<'static, str>,
    ) -> Option<StateChange> {
        let to = self.state(index, now);
        let address = self.servers[index].address();
        (from != to).then_some(StateChange { index, address, from, to, why })
    }

    fn state(&self, index: usize, now: Timestamp) -> ServerState {
        let server = &self.servers[index];
        if !server.takes_requests() {
            return ServerState::Draining;
        }
        self.standing(index).state(server.learned.warm(now, self.slow_start))
    }

    fn why_ejected(&self, index: usize) -> Cow<'static, str> {
        let last = FailureCause::words(self.servers[index].learned.last_failure.load(Relaxed));
        format!(
            "set aside after {} failures in a row, the last: {last}",
            self.configuration.ejection.failures
        )
        .into()
    }

    fn why(&self, index: usize, state: ServerState) -> Option<String> {
        match state {
            ServerState::Up | ServerState::SlowStart => None,
            ServerState::Unknown => Some("no check has ended yet".to_owned()),
            ServerState::Ejected => Some(self.why_ejected(index).into_owned()),
            ServerState::Down => Some("its health checks fail".to_owned()),
            ServerState::Draining if self.servers[index].member.drain => {
                Some("draining by configuration".to_owned())
            }
            ServerState::Draining => Some("its weight is 0".to_owned()),
        }
    }

    /// The shares that weight, warmth, health and zone intend at this moment.
    fn shares_intended(&self, now: Timestamp) -> Vec<f64> {
        // With nobody healthy the others take everything; with anyone healthy nothing is meant
        // for the others, even in panic.
        let group = if self.view().weight_of(Group::Healthy) > 0 {
            Group::Healthy
        } else {
            Group::Unhealthy
        };
        let part = self.zone_part().filter(|_| group == Group::Healthy);
        let zones: &[(Zone, f64)] = match part {
            None => &[(Zone::Any, 1.0)],
            Some(part) => &[(Zone::Own, part), (Zone::Others, 1.0 - part)],
        };
        let mut shares = vec![0.0; self.servers.len()];
        for &(zone, part) in zones {
            let taking = |index: &&usize| Group::of(self.standing(**index)) == Some(group);
            let indexes = || self.tables[zone.index()].indexes().iter().filter(taking);
            let weight = |&index: &usize| {
                let server = &self.servers[index];
                f64::from(server.member.weight)
                    * f64::from(server.learned.warm(now, self.slow_start))
            };
            let total: f64 = indexes().map(weight).sum();
            indexes().for_each(|index| shares[*index] += part * weight(index) / total);
        }
        shares
    }

    pub(crate) fn facts(&self, now: Timestamp) -> PoolFacts {
        self.follow_changes();
        let shares = self.shares_intended(now);
        let server = |index: usize| {
            let (server, state) = (&self.servers[index], self.state(index, now));
            ServerFacts {
                address: server.address().to_string(),
                name: server.member.name.as_deref().map(str::to_owned),
                state,
                why: self.why(index, state),
                weight: server.member.weight,
                share_intended: shares[index],
                in_flight: u64::from(server.in_flight()),
                in_flight_max: Some(self.limit(index)).filter(|&limit| limit > 0),
                ewma_us: server.learned.ewma.read(now).micros(),
                ..ServerFacts::default()
            }
        };
        PoolFacts {
            name: self.configuration.name.to_string(),
            panic: self.view().panics(),
            servers: (0..self.servers.len()).map(server).collect(),
            ..PoolFacts::default()
        }
    }
}
