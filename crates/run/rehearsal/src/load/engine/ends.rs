//! Events of connections; how tries and requests end; and what their askers do next.

use std::time::Duration;

use model::Timestamp;
use net::clock;
use rustix::event::epoll::EventFlags;

use super::super::answer::Cause;
use super::super::connection::{Asker, Progress, Work};
use super::super::dial;
use super::super::http2::Seen;
use super::super::schedule::exponential;
use super::super::sessions::{AFTER_FAILURE, back_off};
use super::super::slots::Token;
use super::super::timers::What;
use super::Engine;

/// A complete answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    status: u16,
    /// The number of its server.
    server: usize,
    /// How long a refused client is told to wait.
    retry_after: Option<Duration>,
    /// What else makes it a failure.
    failure: Option<Cause>,
}

impl From<Seen> for Answered {
    fn from(seen: Seen) -> Self {
        let Seen { status, server, retry_after, failure, .. } = seen;
        Self { status, server, retry_after, failure }
    }
}

impl Engine {
    pub(super) fn take_event(&mut self, token: Token, flags: EventFlags) {
        let Some(connection) = self.slots.named(token) else { return };
        let rests = connection.work.is_none();
        let progress = connection.go_on(flags, &mut self.inbox, &mut self.reading);
        if !rests {
            self.settle(token.slot, progress);
        } else if progress != Progress::Waiting {
            self.lose(token.slot);
        }
    }

    /// Gives up on every try whose time is over.
    pub(super) fn give_up(&mut self, now: Timestamp) {
        while let Some(slot) = self.deadlines.passed(now) {
            let connecting = self.slots.get(slot).is_some_and(|late| late.is_connecting());
            self.fail(slot, if connecting { Cause::ConnectTimedOut } else { Cause::Timeout });
        }
    }

    /// The answer of a connection is complete.
    pub(super) fn answered(&mut self, slot: usize) {
        let Some(connection) = self.slots.get(slot) else { return };
        let Some(work) = connection.work.take() else { return };
        let now = self.inbox.arrived(work.try_due);
        let answer = Answered {
            status: connection.answer.status(),
            server: connection.answer.server(),
            retry_after: connection.answer.retry_after(),
            failure: None,
        };
        let keep = connection.answer.keep_alive() && self.flows[work.stream].keep_alive;
        self.deadlines.clear(work.stream, slot);
        if keep {
            connection.answer.rest();
            connection.idle_since = now;
            let (source, session) = (connection.source, connection.session);
            if session.is_none()
                && let Some(token) = self.slots.token(slot)
            {
                self.flows[work.stream].idle.push(token, source, &mut self.slots);
            }
        } else {
            self.close(slot);
        }
        self.end_try(work, Ok(answer), now);
    }

    /// A connection failed its request.
    pub(super) fn fail(&mut self, slot: usize, cause: Cause) {
        let Some(connection) = self.slots.get(slot) else { return };
        let closed = matches!(cause, Cause::Reset | Cause::ClosedWithoutAnswer);
        let crossed = closed
            && connection.may_be_stale
            && connection.kind.repeatable
            && !connection.answer.has_begun();
        let work = connection.work.take();
        self.close(slot);
        let Some(mut work) = work else { return };
        if crossed && !work.resent && work.asker_is_free() {
            // The peer closed a connection at rest, and the request crossed that on the way: any
            // client sends it again, on a new connection.
            work.resent = true;
            self.counts[work.stream].tries -= 1;
            if self.dispatch(work, None, false) {
                return;
            }
            self.counts[work.stream].tries += 1;
        }
        self.end_try(work, Err(cause), clock::now());
    }

    /// A connection at rest came to its end.
    fn lose(&mut self, slot: usize) {
        let Some(connection) = self.slots.get(slot) else { return };
        let (stream, session) = (connection.stream, connection.session);
        self.close(slot);
        self.counts[stream].lost += 1;
        if let Some(session) = session {
            self.reconnect((stream, session), clock::now());
        }
    }

    pub(super) fn close(&mut self, slot: usize) {
        let Some(connection) = self.slots.remove(slot) else { return };
        let flow = &mut self.flows[connection.stream];
        flow.open -= 1;
        self.deadlines.clear(connection.stream, slot);
        if let Some(session) = connection.session {
            flow.sessions[session].slot = None;
        }
    }

    /// Cuts every connection of a stream.
    pub(super) fn cut(&mut self, stream: usize) {
        for slot in self.slots.of_stream(stream) {
            let Some(connection) = self.slots.get(slot) else { continue };
            dial::reset_when_closed(connection.socket());
            if connection.work.is_some() {
                self.fail(slot, Cause::Cut);
            } else {
                self.lose(slot);
            }
        }
    }

    /// A try ended: the request with it, unless it is tried again.
    pub(super) fn end_try(
        &mut self,
        mut work: Work,
        ended: Result<Answered, Cause>,
        now: Timestamp,
    ) {
        let mut outcome = ended.map(|_| ());
        let told = ended.ok().and_then(|answer| answer.retry_after);
        if let Ok(Answered { status, server, failure, .. }) = ended {
            let counts = &mut self.counts[work.stream];
            counts.answered += 1;
            counts.count_status(status, 1);
            counts.count_server(self.reading.server(server));
            counts.latency_all.add(micros(now, work.try_due));
            if status >= 500 || status == 429 {
                outcome = Err(Cause::Status(status));
            }
            outcome = failure.map_or(outcome, Err);
        }
        if let Err(cause) = outcome
            && let Some(at) = self.retry_at(&work, told, now)
        {
            work.cause = cause;
            if let Asker::Session(session) = work.asker {
                self.flows[work.stream].sessions[session].repeats = true;
            }
            self.timers.set(at, What::Retry(work));
            return;
        }
        self.conclude(work, outcome, now);
    }

    /// When a request that failed is tried again, if it is; `told`: how long to wait at least. A
    /// session only connects again, unless it is told when to repeat what it asked.
    fn retry_at(
        &mut self,
        work: &Work,
        told: Option<Duration>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let flow = &self.flows[work.stream];
        let told = told.filter(|_| flow.retries.respect_retry_after);
        let may_repeat = work.asker_is_free() || told.is_some();
        if work.tries >= flow.retries.retries_max || !may_repeat {
            return None;
        }
        let own = match flow.retries.back_off {
            Some(first) => back_off(first, work.tries, &mut self.rng),
            None => Duration::ZERO,
        };
        let at = now + own.max(told.unwrap_or_default());
        (at <= flow.end + flow.timeout).then_some(at)
    }

    /// A request whose next try comes too late ends as its last one did.
    pub(super) fn conclude_failed(&mut self, work: Work) {
        if let Asker::Session(session) = work.asker {
            self.flows[work.stream].sessions[session].repeats = false;
        }
        self.conclude(work, Err(work.cause), clock::now());
    }

    /// A request ended.
    pub(super) fn conclude(&mut self, work: Work, outcome: Result<(), Cause>, now: Timestamp) {
        let counts = &mut self.counts[work.stream];
        match outcome {
            Ok(()) => {
                counts.ok += 1;
                counts.latency.add(micros(now, work.due));
            }
            Err(cause) => {
                counts.failed += 1;
                counts.count_failure(cause);
            }
        }
        self.flows[work.stream].in_flight -= 1;
        match work.asker {
            Asker::Nobody => {}
            Asker::User(user) => self.user_goes_on((work.stream, user), outcome, now),
            Asker::Session(session) => self.session_goes_on((work.stream, session), outcome, now),
        }
    }

    fn user_goes_on(
        &mut self,
        (stream, user): (usize, usize),
        outcome: Result<(), Cause>,
        now: Timestamp,
    ) {
        let think = self.flows[stream].think.mul_f64(exponential(&mut self.rng));
        let pause = match outcome {
            Err(cause) if !cause.is_answer() => think.max(AFTER_FAILURE),
            Ok(()) | Err(_) => think,
        };
        self.timers.set(now + pause, What::User { stream, user });
    }

    fn session_goes_on(
        &mut self,
        (stream, session): (usize, usize),
        outcome: Result<(), Cause>,
        now: Timestamp,
    ) {
        let flow = &mut self.flows[stream];
        let own = &mut flow.sessions[session];
        let answered = outcome.map_or_else(Cause::is_answer, |()| true);
        if answered {
            own.answered();
        }
        if own.slot.is_none() {
            self.counts[stream].lost += u64::from(answered);
            self.reconnect((stream, session), now);
        } else if !flow.arriving {
            // Its time is over, and it only waited for this answer.
            if let Some(slot) = own.slot {
                self.close_resting(stream, slot);
            }
        } else if let Some(every) = flow.ask_every {
            own.ready = now;
            let (due, epoch) = (own.asked + every, own.epoch);
            self.timers.set(due, What::Session { stream, session, epoch });
        }
    }

    /// A session that has no connection: when it will have one again.
    pub(super) fn reconnect(&mut self, (stream, session): (usize, usize), now: Timestamp) {
        let flow = &mut self.flows[stream];
        let own = &mut flow.sessions[session];
        if own.repeats {
            return; // What it repeats will connect.
        }
        let at = own.reconnect(flow.reconnect, now, &mut self.rng);
        let epoch = own.epoch;
        if let Some(at) = at.filter(|_| flow.arriving) {
            self.timers.set(at, What::Session { stream, session, epoch });
        }
    }

    /// Nothing more becomes due; sessions at rest end, those that wait to repeat something later.
    pub(super) fn end_arrivals(&mut self, stream: usize) {
        self.flows[stream].arriving = false;
        for session in 0..self.flows[stream].sessions.len() {
            let own = &self.flows[stream].sessions[session];
            let Some(slot) = own.slot.filter(|_| !own.repeats) else { continue };
            self.close_resting(stream, slot);
        }
    }

    /// Closes a connection that carries no request.
    fn close_resting(&mut self, stream: usize, slot: usize) {
        if self.flows[stream].requests.over_http2() {
            let connection = self.http2.connections.get(slot);
            if connection.is_some_and(|connection| connection.exchanges.is_empty()) {
                self.close_http2(slot);
            }
        } else if self.slots.get(slot).is_some_and(|connection| connection.work.is_none()) {
            self.close(slot);
        }
    }
}

pub(super) fn micros(now: Timestamp, since: Timestamp) -> u64 {
    u64::try_from(now.since(since).as_micros()).unwrap_or(u64::MAX)
}
