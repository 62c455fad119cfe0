//! A small simulated door with its servers: open loop, one clock, one seed.
//!
//! The door keeps requests in a short line (twice the limit; waits of at most half a service time,
//! newest first, once it is overloaded), clients give up after a second, and servers do not
//! notice that: what they began they finish.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use model::Timestamp;

use crate::limiter::{Ending, Limiter, LimiterSample};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000 * MS;

/// How times of work vary around their mean.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spread {
    Fixed,
    Exponential,
    Lognormal,
    /// Nine of ten take a tenth of the mean, the others 9.1 times the mean.
    Mixed,
}

/// What a server does with the requests it has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// So many at once, the others wait.
    Places(u32),
    /// All at once, each slower by `sigma (n - 1) + kappa n (n - 1)`.
    Usl { sigma: f64, kappa: f64 },
    /// The work, then a lock that one holds at a time, for this part of the work's time; both
    /// longer by `contention` for each other request.
    Lock { part: f64, contention: f64 },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) work: Duration,
    pub(super) spread: Spread,
    /// The part of requests that fail at once.
    pub(super) failing: f64,
}

/// From this moment on all servers are like this, and this much is offered per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    pub(super) until: u64,
    pub(super) server: Server,
    pub(super) rate: f64,
}

/// What one second of the clock gave.
#[derive(Clone, Debug, Default)]
pub(super) struct Second {
    /// Answers.
    pub(super) good: u32,
    /// The pool's limit when the last of them came.
    pub(super) limit: u32,
    /// Nanoseconds each of them was in flight.
    pub(super) took: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    GivesUp(usize),
    /// A server ends the work of a request outside its lock.
    Worked(usize),
    /// A server is done with a request.
    Done(usize),
    /// A request's place in memory is free.
    Forgotten(usize),
}

#[derive(Clone, Copy, Debug)]
struct Request {
    arrived: u64,
    began: u64,
    server: usize,
    in_flight: u32,
    at_server: u32,
    open: bool,
}

#[derive(Debug, Default)]
struct Busy {
    in_flight: u32,
    at_work: u32,
    waiting: VecDeque<usize>,
    locked: bool,
    lock_line: VecDeque<usize>,
}

pub(super) struct World {
    pub(super) pool: Limiter,
    /// A limit for the pool that was set by hand, instead.
    pub(super) by_hand: Option<u32>,
    /// One per server, or none.
    limiters: Vec<Limiter>,
    now: u64,
    server: Server,
    rate: f64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    requests: Vec<Request>,
    free: Vec<usize>,
    servers: Vec<Busy>,
    in_flight: u32,
    line: VecDeque<usize>,
    line_empty_at: u64,
    pub(super) seconds: Vec<Second>,
    chance: u64,
}

impl World {
    pub(super) fn new(servers: usize, stacked: bool, seed: u64, first: Phase) -> Self {
        let limiters = if stacked { servers } else { 0 };
        let mut world = Self {
            pool: Limiter::new(Timestamp::ZERO),
            by_hand: None,
            limiters: (0..limiters).map(|_| Limiter::new(Timestamp::ZERO)).collect(),
            now: 0,
            server: first.server,
            rate: first.rate,
            events: BinaryHeap::new(),
            scheduled: 0,
            requests: Vec::new(),
            free: Vec::new(),
            servers: (0..servers).map(|_| Busy::default()).collect(),
            in_flight: 0,
            line: VecDeque::new(),
            line_empty_at: 0,
            seconds: Vec::new(),
            chance: seed,
        };
        world.schedule(1, Event::Arrival);
        world
    }

    pub(super) fn run(&mut self, phases: &[Phase]) {
        for phase in phases {
            self.server = phase.server;
            self.rate = phase.rate;
            while let Some(Reverse((at, _, event))) = self.events.pop() {
                self.now = at;
                self.happen(event);
                if at >= phase.until {
                    break;
                }
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => self.arrive(),
            Event::GivesUp(id) => {
                if self.requests[id].open && self.now >= self.requests[id].arrived + SECOND {
                    self.answer(id, Ending::Left);
                }
            }
            Event::Worked(id) => {
                let server = self.requests[id].server;
                self.servers[server].lock_line.push_back(id);
                self.lock(server);
            }
            Event::Done(id) => self.done(id),
            Event::Forgotten(id) => self.free.push(id),
        }
    }

    fn arrive(&mut self) {
        let gap = -self.unit().ln() / self.rate * 1e9;
        self.schedule(gap as u64 + 1, Event::Arrival);
        let request = Request {
            arrived: self.now,
            began: 0,
            server: usize::MAX,
            in_flight: 0,
            at_server: 0,
            open: true,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.requests[id] = request;
                id
            }
            None => {
                self.requests.push(request);
                self.requests.len() - 1
            }
        };
        if self.line.is_empty() {
            self.line_empty_at = self.now;
        }
        self.line.push_back(id);
        self.call();
        let most = (self.limit() as usize * 2).max(16);
        if self.line.len() > most {
            let refused =
                if self.is_overloaded() { self.line.pop_front() } else { self.line.pop_back() };
            self.free.extend(refused);
        }
    }

    fn limit(&self) -> u32 {
        self.by_hand.unwrap_or_else(|| self.pool.limit())
    }

    fn is_overloaded(&self) -> bool {
        self.now > self.line_empty_at + 100 * MS
    }

    /// Sends whom there is a place for.
    fn call(&mut self) {
        let half = self.pool.service_time() / 2;
        let half = half.clamp(Duration::from_millis(5), Duration::from_millis(50));
        let overloaded = self.is_overloaded();
        let most = if overloaded { half.as_nanos() as u64 } else { 100 * MS };
        while let Some(&oldest) = self.line.front() {
            if self.requests[oldest].arrived + most >= self.now {
                break;
            }
            self.line.pop_front();
            self.free.push(oldest);
        }
        while !self.line.is_empty() && self.in_flight < self.limit() {
            let Some(server) = self.pick() else { break };
            let next = if overloaded { self.line.pop_back() } else { self.line.pop_front() };
            self.send(next.unwrap(), server);
        }
        if self.line.is_empty() {
            self.line_empty_at = self.now;
        }
    }

    fn pick(&mut self) -> Option<usize> {
        let count = self.servers.len();
        let first = self.roll() as usize % count;
        (0..count)
            .map(|step| (first + step) % count)
            .filter(|&index| {
                self.limiters
                    .get(index)
                    .is_none_or(|own| self.servers[index].in_flight < own.limit())
            })
            .min_by_key(|&index| self.servers[index].in_flight)
    }

    fn send(&mut self, id: usize, server: usize) {
        self.in_flight += 1;
        let busy = &mut self.servers[server];
        busy.in_flight += 1;
        let request = &mut self.requests[id];
        request.began = self.now;
        request.server = server;
        request.in_flight = self.in_flight;
        request.at_server = busy.in_flight;
        let left = request.arrived + SECOND - self.now;
        self.schedule(left, Event::GivesUp(id));
        if self.server.failing > 0.0 && self.unit() < self.server.failing {
            // Held until nothing that is scheduled can mean it any more.
            self.schedule(2 * SECOND, Event::Forgotten(id));
            self.answer(id, Ending::Failed);
            return;
        }
        self.servers[server].waiting.push_back(id);
        self.work(server);
    }

    /// Begins what the server can begin.
    fn work(&mut self, server: usize) {
        loop {
            let busy = &mut self.servers[server];
            let most = match self.server.kind {
                Kind::Places(places) => places,
                Kind::Usl { .. } | Kind::Lock { .. } => u32::MAX,
            };
            if busy.at_work >= most {
                return;
            }
            let Some(id) = busy.waiting.pop_front() else { return };
            busy.at_work += 1;
            let n = f64::from(busy.at_work);
            let mean = self.server.work.as_nanos() as f64;
            let drawn = mean * self.draw();
            match self.server.kind {
                Kind::Places(_) => self.schedule(drawn as u64, Event::Done(id)),
                Kind::Usl { sigma, kappa } => {
                    let longer = 1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0);
                    self.schedule((drawn * longer) as u64, Event::Done(id));
                }
                Kind::Lock { contention, .. } => {
                    let longer = 1.0 + contention * (n - 1.0);
                    self.schedule((drawn * longer) as u64, Event::Worked(id));
                }
            }
        }
    }

    fn lock(&mut self, server: usize) {
        let Kind::Lock { part, contention } = self.server.kind else { return };
        let busy = &mut self.servers[server];
        if busy.locked {
            return;
        }
        let Some(id) = busy.lock_line.pop_front() else { return };
        busy.locked = true;
        let longer = 1.0 + contention * (f64::from(busy.at_work) - 1.0);
        let held = self.server.work.as_nanos() as f64 * part * longer;
        self.schedule(held as u64, Event::Done(id));
    }

    fn done(&mut self, id: usize) {
        let server = self.requests[id].server;
        self.servers[server].at_work -= 1;
        self.servers[server].locked = false;
        self.lock(server);
        self.work(server);
        if self.requests[id].open {
            self.answer(id, Ending::Answered);
        }
        self.free.push(id);
    }

    fn answer(&mut self, id: usize, ending: Ending) {
        self.requests[id].open = false;
        let request = self.requests[id];
        self.in_flight -= 1;
        self.servers[request.server].in_flight -= 1;
        let sample = LimiterSample {
            began: Timestamp::from_nanos(request.began),
            ended: Timestamp::from_nanos(self.now),
            in_flight: request.in_flight,
            ending,
        };
        self.pool.record(&sample);
        if let Some(own) = self.limiters.get(request.server) {
            own.record(&LimiterSample { in_flight: request.at_server, ..sample });
        }
        if ending == Ending::Answered {
            let second = (self.now / SECOND) as usize;
            if self.seconds.len() <= second {
                self.seconds.resize(second + 1, Second::default());
            }
            let limit = self.limit();
            let second = &mut self.seconds[second];
            second.good += 1;
            second.limit = limit;
            second.took.push(self.now - request.began);
        }
        self.call();
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((self.now + after, self.scheduled, event)));
    }

    /// A time of work as a part of its mean.
    fn draw(&mut self) -> f64 {
        match self.server.spread {
            Spread::Fixed => 1.0,
            Spread::Exponential => -self.unit().ln(),
            Spread::Lognormal => {
                let (a, b) = (self.unit(), self.unit());
                let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
                (normal - 0.5).exp()
            }
            Spread::Mixed => {
                if self.unit() < 0.9 {
                    0.1
                } else {
                    9.1
                }
            }
        }
    }

    /// Above 0, at most 1.
    fn unit(&mut self) -> f64 {
        ((self.roll() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// splitmix64.
    fn roll(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
