//! One stream as one thread carries it.

use std::time::Duration;

use model::Timestamp;
use model::load::{Arrivals as Plan, Reconnect, Retries, Stream};

use super::super::Target;
use super::super::arrivals::Arrivals;
use super::super::http2::Rooms;
use super::super::requests::{Requests, mix};
use super::super::schedule::expected;
use super::super::sessions::Session;
use super::super::slots::Idle;

/// Which part of everything a thread carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) thread: usize,
    pub(super) threads: usize,
}

impl Turn {
    /// This thread's part of a count.
    fn part(self, count: usize) -> usize {
        count / self.threads + usize::from(self.thread < count % self.threads)
    }
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) requests: Requests,
    pub(super) arrivals: Arrivals,
    pub(super) idle: Idle,
    /// Its connections that take further requests, of HTTP/2.
    pub(super) rooms: Rooms,
    /// Requests at once on each of them.
    pub(super) streams_max: usize,
    pub(super) sessions: Vec<Session>,
    pub(super) start: Timestamp,
    /// From when on nothing becomes due.
    pub(super) end: Timestamp,
    /// False once nothing more becomes due.
    pub(super) arriving: bool,
    pub(super) keep_alive: bool,
    pub(super) timeout: Duration,
    pub(super) retries: Retries,
    pub(super) in_flight_max: usize,
    /// Of a closed model.
    pub(super) think: Duration,
    /// Of sessions.
    pub(super) ask_every: Option<Duration>,
    pub(super) reconnect: Reconnect,
    /// A request that begins later than this after it was due was late.
    pub(super) late_after: Duration,
    pub(super) in_flight: usize,
    pub(super) open: usize,
    /// How often its connections were cut.
    pub(super) cuts: u64,
    /// The number of the next arrival; or how many requests users and sessions made.
    pub(super) number: u64,
    turn: Turn,
}

impl Flow {
    pub(super) fn new(
        stream: &Stream,
        target: &Target,
        seed: u64,
        (begin, turn): (Timestamp, Turn),
    ) -> Self {
        let seed = mix(seed, hash(&stream.name));
        let (mut think, mut ask_every, mut reconnect) = (Duration::ZERO, None, Reconnect::Never);
        let (mut in_flight_max, mut sessions) = (turn.part(stream.in_flight_max).max(1), 0);
        match &stream.arrivals {
            Plan::Open { .. } | Plan::Replay { .. } => {}
            Plan::Closed { users, think: mean, .. } => {
                (in_flight_max, think) = (turn.part(*users), *mean);
            }
            Plan::Sessions { count, ask_every: every, reconnect: policy, .. } => {
                (ask_every, reconnect) = (*every, *policy);
                sessions = turn.part(*count);
                in_flight_max = sessions;
            }
        }
        let start = begin + stream.start;
        Self {
            requests: Requests::new(stream, target, seed),
            arrivals: Arrivals::new(&stream.arrivals, seed, (turn.thread, turn.threads)),
            idle: Idle::default(),
            rooms: Rooms::default(),
            streams_max: if stream.keep_alive { stream.streams_max } else { 1 },
            sessions: vec![Session::default(); sessions],
            start,
            end: start + stream.arrivals.duration(),
            arriving: true,
            keep_alive: stream.keep_alive || sessions > 0,
            timeout: stream.timeout,
            retries: stream.retries,
            in_flight_max,
            think,
            ask_every,
            reconnect,
            late_after: late_after(&stream.arrivals),
            in_flight: 0,
            open: 0,
            cuts: 0,
            number: 0,
            turn,
        }
    }

    /// The number of this thread's users or sessions, and when the first of each is due.
    pub(super) fn first_asks(&self, stream: &Stream, rng: &mut fastrand::Rng) -> Vec<Timestamp> {
        let spread = |index: usize, count: usize, over: Duration| {
            let index = u32::try_from(self.of_all(index)).unwrap_or(u32::MAX);
            self.start
                + over
                    .mul_f64(f64::from(index) / f64::from(u32::try_from(count).unwrap_or(u32::MAX)))
        };
        match &stream.arrivals {
            Plan::Open { .. } | Plan::Replay { .. } => Vec::new(),
            // Users who think do not come in step.
            Plan::Closed { users, think, .. } => {
                let first =
                    (0..self.turn.part(*users)).map(|_| self.start + think.mul_f64(rng.f64()));
                first.collect()
            }
            Plan::Sessions { count, opening, .. } => {
                (0..self.sessions.len()).map(|index| spread(index, *count, *opening)).collect()
            }
        }
    }

    /// The number among all threads of one of this thread's users or sessions.
    pub(super) const fn of_all(&self, index: usize) -> usize {
        index * self.turn.threads + self.turn.thread
    }

    /// A number for the next request of a user or session that no other request has.
    pub(super) fn count_request(&mut self) -> u64 {
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let number = self.number.wrapping_mul(wide(self.turn.threads)) + wide(self.turn.thread);
        self.number += 1;
        number
    }
}

/// A millisecond, or a tenth of the mean distance between two requests if that is more.
fn late_after(arrivals: &Plan) -> Duration {
    let seconds = arrivals.duration().as_secs_f64();
    let requests = match arrivals {
        Plan::Open { stages, .. } => expected(stages),
        Plan::Replay { requests } => f64::from(u32::try_from(requests.len()).unwrap_or(u32::MAX)),
        Plan::Closed { .. } | Plan::Sessions { .. } => f64::INFINITY,
    };
    let tenth = Duration::try_from_secs_f64(seconds / requests / 10.0).unwrap_or_default();
    tenth.clamp(Duration::from_millis(1), Duration::from_secs(1))
}

/// FNV-1a: the same in every run and build.
fn hash(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}
