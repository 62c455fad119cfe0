//! The loop of one thread: what is due goes out, what came is taken, and the rest of the time it
//! sleeps in one wait for both.
//!
//! - `send`: a request becomes due, finds a connection and goes out.
//! - `ends`: events of connections, answers, failures, retries, and what askers do next.
//! - `http2`: the same two for connections that carry several requests at once.
//! - `flow`: one stream as this thread carries it.
//!
//! Invariant: nothing goes out before it is due, since timers fire only once the clock has reached
//! them; and each request that went out ends exactly once.

mod ends;
mod flow;
mod http2;
mod send;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use model::Timestamp;
use model::load::Arrivals as Plan;
use net::clock;
use rustix::time::{ClockId, clock_gettime};

use super::answer::{Cause, Reading};
use super::deadlines::Deadlines;
use super::http2::{self as protocol, Http2};
use super::inbox::Inbox;
use super::ledger::Shared;
use super::poller::{ALARM, Event, Poller};
use super::requests::mix;
use super::slots::{Slots, Token};
use super::timers::{Timers, What};
use super::{LoadError, Options, StreamSecond, Target, tls};
use flow::{Flow, Turn};

/// The poller's token of the thread's orders.
const ORDERS: u64 = u64::MAX;
/// Answers wait this long for requests that are due: to wake up for both at once, and to ask for
/// several answers at once, takes a third off what a request costs.
const PATIENCE: Duration = Duration::from_micros(500);
const SECOND: Duration = Duration::from_secs(1);

/// What the threads are to do, beside the plan.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) target: Target,
    pub(super) tls: Option<tls::Settings>,
    pub(super) options: Options,
}

/// One thread of a load.
#[derive(Debug)]
pub(super) struct Engine {
    shared: Arc<Shared>,
    job: Arc<Job>,
    thread: usize,
    poller: Poller,
    timers: Timers,
    deadlines: Deadlines,
    slots: Slots,
    http2: Http2,
    /// Why a connection of HTTP/2 ends, while it does.
    ending: Option<Cause>,
    flows: Vec<Flow>,
    /// The second that is counted now, and when it ends.
    second: u64,
    second_end: Timestamp,
    counts: Vec<StreamSecond>,
    reading: Reading,
    inbox: Inbox,
    /// Whether answers may wait until the next request is due.
    patient: bool,
    /// Where templates are filled in.
    scratch: Vec<u8>,
    rng: Rng,
}

impl Engine {
    pub(super) fn new(
        shared: Arc<Shared>,
        job: Arc<Job>,
        thread: usize,
    ) -> Result<Self, LoadError> {
        let poller = Poller::new()?;
        if let Some(wake) = shared.wake_of(thread) {
            poller.add_level(wake, ORDERS).map_err(|error| LoadError::System {
                what: "watch an eventfd",
                source: error.into(),
            })?;
        }
        let turn = Turn { thread, threads: shared.threads };
        let seed = job.options.seed;
        let flow = |stream| Flow::new(stream, &job.target, seed, (shared.begin, turn));
        let flows: Vec<_> = shared.plan.streams.iter().map(flow).collect();
        // Answers that share a connection share the kernel's stamp as well if they are read together.
        let over_http2 = flows.iter().any(|flow| flow.requests.over_http2());
        let stamped = shared.plan.streams.iter().all(|stream| match stream.arrivals {
            // What comes back does not decide what goes out.
            Plan::Open { .. } | Plan::Replay { .. } => true,
            Plan::Closed { .. } | Plan::Sessions { .. } => false,
        });
        Ok(Self {
            thread,
            poller,
            timers: Timers::default(),
            deadlines: Deadlines::new(flows.len()),
            slots: Slots::default(),
            http2: Http2::new(if over_http2 { flows.len() } else { 0 }),
            ending: None,
            second: 0,
            second_end: shared.begin + SECOND,
            counts: vec![StreamSecond::default(); flows.len()],
            flows,
            reading: Reading::new(&job.options.server_header),
            inbox: Inbox::new(stamped),
            patient: stamped && !over_http2,
            scratch: Vec::new(),
            rng: Rng::with_seed(mix(seed, u64::try_from(thread).unwrap_or(u64::MAX))),
            shared,
            job,
        })
    }

    /// Runs the load; the CPU time it took.
    pub(super) fn run(mut self) -> Duration {
        Poller::be_punctual();
        self.set_first_timers();
        let (mut now, mut events) = (clock::now(), Vec::new());
        let mut looked = now;
        while !self.is_over() {
            now = self.fire_due(now);
            let mut next = self.next_due();
            if self.patient && next.since(now) <= PATIENCE && !self.poller.is_awake_for(next) {
                Poller::sleep(now, next);
                now = self.fire_due(clock::now());
                // There is no HTTP/2 where answers wait.
                let gives_up = self.deadlines.next().is_some_and(|deadline| deadline <= now);
                if now.since(looked) < PATIENCE && !gives_up {
                    continue;
                }
                next = now;
            }
            match self.poller.wait(now, next, &mut events) {
                Ok(()) => now = self.take_events(&events),
                Err(error) => {
                    tracing::error!(%error, "the load generator cannot wait for its sockets");
                    break;
                }
            }
            looked = now;
            // After what came was taken: an answer that is there came in time.
            self.give_up(now);
            self.give_up_http2(now);
        }
        self.roll_to(now);
        self.hand_over();
        self.shared.leave(self.thread, now);
        let used = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            u64::try_from(used.tv_sec).unwrap_or(0),
            u32::try_from(used.tv_nsec).unwrap_or(0),
        )
    }

    fn set_first_timers(&mut self) {
        let shared = Arc::clone(&self.shared);
        for (stream, planned) in shared.plan.streams.iter().enumerate() {
            let asks = self.flows[stream].first_asks(planned, &mut self.rng);
            for (index, due) in asks.into_iter().enumerate() {
                let what = if self.flows[stream].sessions.is_empty() {
                    What::User { stream, user: index }
                } else {
                    What::Session { stream, session: index, epoch: 0 }
                };
                self.timers.set(due, what);
            }
            match planned.arrivals {
                Plan::Open { .. } | Plan::Replay { .. } => self.set_arrival(stream),
                Plan::Closed { .. } | Plan::Sessions { .. } => {
                    self.timers.set(self.flows[stream].end, What::End { stream });
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.flows.iter().all(|flow| !flow.arriving && flow.in_flight == 0)
    }

    /// When there is something to do without any event: the next timer, deadline, or end of a
    /// second.
    fn next_due(&self) -> Timestamp {
        let nexts = [self.timers.next(), self.deadlines.next(), self.http2.deadlines.next()];
        nexts.into_iter().flatten().fold(self.second_end, Timestamp::min)
    }

    /// Lets everything happen that is due; the time afterwards.
    fn fire_due(&mut self, mut now: Timestamp) -> Timestamp {
        while let Some((due, what)) = self.timers.pop(now) {
            self.roll_to(due);
            match what {
                What::Arrival { stream } => self.arrive(stream, due, now),
                What::User { stream, user } => self.user_asks((stream, user), due, now),
                What::Session { stream, session, epoch } => {
                    if self.flows[stream].sessions[session].epoch == epoch {
                        self.session_asks((stream, session), due, now);
                    }
                }
                What::Retry(work) => self.retry(work, now),
                What::End { stream } => self.end_arrivals(stream),
            }
            now = clock::now();
        }
        self.roll_to(now);
        now
    }

    /// Takes what happened to connections; between two of them, what became due goes out.
    fn take_events(&mut self, events: &[Event]) -> Timestamp {
        let mut now = clock::now();
        for event in events {
            // Copied out of a packed structure, to which there are no references.
            let (token, flags) = (event.data.u64(), event.flags);
            match token {
                ORDERS => self.obey(now),
                ALARM => self.poller.rang(),
                token if token & protocol::TOKEN != 0 => self.take_http2_event(token, flags),
                token => self.take_event(Token::from_bits(token), flags),
            }
            now = clock::now();
            if self.timers.next().is_some_and(|due| due <= now) {
                now = self.fire_due(now);
            }
        }
        now
    }

    /// Does what was ordered from outside.
    fn obey(&mut self, now: Timestamp) {
        if let Some(wake) = self.shared.wake_of(self.thread) {
            // Empty already: the orders below are looked at in any case.
            rustix::io::read(wake, &mut [0_u8; 8]).unwrap_or_default();
        }
        for stream in 0..self.flows.len() {
            let cuts = self.shared.cuts(stream);
            if std::mem::replace(&mut self.flows[stream].cuts, cuts) != cuts {
                self.cut(stream);
                self.cut_http2(stream);
            }
        }
        if self.shared.is_stopping() {
            self.stop(now);
        }
    }

    /// Nothing becomes due any more, except for retries that end in time.
    fn stop(&mut self, now: Timestamp) {
        for (due, what) in self.timers.drain() {
            match what {
                What::Retry(work) if due <= now + self.flows[work.stream].timeout => {
                    self.timers.set(due, what);
                }
                What::Retry(work) => self.conclude_failed(work),
                What::Arrival { .. }
                | What::User { .. }
                | What::Session { .. }
                | What::End { .. } => {}
            }
        }
        for stream in 0..self.flows.len() {
            let flow = &mut self.flows[stream];
            flow.end = flow.end.min(now);
            self.end_arrivals(stream);
        }
    }

    /// Hands over every second that ended before `now`.
    fn roll_to(&mut self, now: Timestamp) {
        while now >= self.second_end {
            self.hand_over();
            self.second += 1;
            self.second_end = self.second_end + SECOND;
        }
    }

    fn hand_over(&mut self) {
        for (counts, flow) in self.counts.iter_mut().zip(&self.flows) {
            counts.in_flight = u64::try_from(flow.in_flight).unwrap_or(u64::MAX);
            counts.open = u64::try_from(flow.open).unwrap_or(u64::MAX);
        }
        self.shared.hand_over(self.thread, self.second, &self.counts);
        self.counts.fill_with(StreamSecond::default);
    }
}
