//! A pool under load, event by event: clients that send at random, workers that admit and queue,
//! one server of so many places and a queue of its own. Replays from its seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use model::configuration::Configuration;
use model::{Reason, Timestamp};

use super::{Asked, at_ms};
use crate::hash::mix;
use crate::{Admission, Called, Ending, LimiterSample, Line, Pass, Verdict};

/// How often a worker looks at its line without being rung.
const TICK: Duration = Duration::from_millis(8);

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) asked: Asked,
    pub(super) per_second: f64,
}

/// What became of a sender's requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: u32,
    pub(super) served: u32,
    /// From arrival to answer, of those that were served, in the order of the answers.
    pub(super) latencies: Vec<Duration>,
    pub(super) refused: BTreeMap<&'static str, u32>,
}

impl Tally {
    pub(super) fn part(&self) -> f64 {
        f64::from(self.served) / f64::from(self.sent.max(1))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(usize),
    Answer(usize),
    Tick,
    Judge,
}

#[derive(Debug)]
struct Job {
    sender: usize,
    worker: usize,
    arrived: Timestamp,
    began: Timestamp,
    pass: Option<Pass>,
}

/// The pool and its clients.
#[derive(Debug)]
pub(super) struct Farm {
    pub(super) admission: Admission,
    lines: Vec<Line<usize>>,
    now: Timestamp,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    senders: Vec<Sender>,
    pub(super) tallies: Vec<Tally>,
    jobs: Vec<Job>,
    pub(super) places: usize,
    pub(super) service: Duration,
    /// Whether the limiter hears of answers; otherwise its limit stays at its first, 20.
    pub(super) measured: bool,
    /// Whether the server answers at all, or fails at once.
    pub(super) is_up: bool,
    busy: usize,
    backlog: VecDeque<usize>,
    chance: u64,
    in_flight_most: u32,
}

impl Farm {
    pub(super) fn new(configuration: &Configuration, workers: usize, seed: u64) -> Self {
        let addresses = ["10.0.0.1:80".parse().unwrap()];
        let pools: Vec<&[_]> = configuration.pools.iter().map(|_| &addresses[..]).collect();
        let admission = Admission::build(configuration, workers, &pools, None, (at_ms(0), 5));
        let lines = (0..workers).map(|worker| Line::new(admission.gate(0).clone(), worker));
        let lines = lines.collect();
        let mut farm = Self {
            admission,
            lines,
            now: at_ms(0),
            events: BinaryHeap::new(),
            senders: Vec::new(),
            tallies: Vec::new(),
            jobs: Vec::new(),
            places: 20,
            service: Duration::from_millis(20),
            measured: false,
            is_up: true,
            busy: 0,
            backlog: VecDeque::new(),
            chance: seed,
            in_flight_most: 0,
        };
        farm.after(TICK, Event::Tick);
        farm.after(Duration::from_millis(250), Event::Judge);
        farm
    }

    /// Others send from now on, and what was counted is forgotten.
    pub(super) fn send(&mut self, senders: Vec<Sender>) -> &mut Self {
        self.events.retain(|Reverse((_, _, event))| !matches!(event, Event::Arrival(_)));
        self.tallies = vec![Tally::default(); senders.len()];
        self.senders = senders;
        for sender in 0..self.senders.len() {
            self.plan_arrival(sender);
        }
        self
    }

    /// Runs for so long.
    pub(super) fn go(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > end {
                self.plan(at, event);
                break;
            }
            self.now = at;
            match event {
                Event::Arrival(sender) => self.arrive(sender),
                Event::Answer(job) => self.answer(job),
                Event::Tick => {
                    (0..self.lines.len()).for_each(|worker| self.call(worker));
                    self.after(TICK, Event::Tick);
                }
                Event::Judge => {
                    self.admission.tick(self.now);
                    self.after(Duration::from_millis(250), Event::Judge);
                }
            }
        }
        self.now = end;
        self
    }

    pub(super) fn served(&self) -> u32 {
        self.tallies.iter().map(|tally| tally.served).sum()
    }

    pub(super) fn forget(&mut self) {
        self.tallies.iter_mut().for_each(|tally| *tally = Tally::default());
        self.in_flight_most = 0;
    }

    /// The most that were in flight since the last [`Farm::forget`].
    pub(super) fn in_flight_most(&self) -> u32 {
        self.in_flight_most
    }

    fn arrive(&mut self, sender: usize) {
        self.plan_arrival(sender);
        self.tallies[sender].sent += 1;
        let worker = usize::try_from(self.roll()).unwrap() % self.lines.len();
        let job = self.jobs.len();
        self.jobs.push(Job { sender, worker, arrived: self.now, began: self.now, pass: None });
        let asked = Asked { worker, ..self.senders[sender].asked };
        match self.admission.admit(&asked, Some(&mut self.lines[worker]), || job, self.now) {
            Verdict::Serve(pass) => self.begin(job, pass),
            Verdict::Wait(_) => self.call(worker),
            Verdict::Refuse(refusal) => self.refuse(sender, refusal.reason),
        }
    }

    /// Calls who need not wait any more, here and where it is due.
    fn call(&mut self, first: usize) {
        let mut next = Some(first);
        while let Some(worker) = next {
            while let Some(called) = self.lines[worker].next(true, self.now) {
                match called {
                    Called::Serve { token, pass, .. } => self.begin(token, pass),
                    Called::Refuse { token, refusal, .. } => {
                        self.refuse(self.jobs[token].sender, refusal.reason);
                    }
                }
            }
            let gate = self.admission.gate(0);
            next = gate.due_elsewhere(worker, self.now).filter(|_| worker == first);
        }
    }

    fn refuse(&mut self, sender: usize, reason: Reason) {
        *self.tallies[sender].refused.entry(reason.code()).or_default() += 1;
    }

    fn begin(&mut self, job: usize, pass: Pass) {
        self.in_flight_most = self.in_flight_most.max(pass.in_flight());
        self.jobs[job].pass = Some(pass);
        self.jobs[job].began = self.now;
        if !self.is_up {
            self.after(Duration::from_millis(1), Event::Answer(job));
        } else if self.busy < self.places {
            self.work(job);
        } else {
            self.backlog.push_back(job);
        }
    }

    fn work(&mut self, job: usize) {
        self.busy += 1;
        let time = self.service.mul_f64(0.5 + self.unit());
        self.after(time, Event::Answer(job));
    }

    fn answer(&mut self, job: usize) {
        let Job { sender, worker, arrived, began, .. } = self.jobs[job];
        if self.is_up {
            let latency = self.now.since(arrived);
            self.tallies[sender].served += 1;
            self.tallies[sender].latencies.push(latency);
            self.busy = self.busy.saturating_sub(1);
            if let Some(next) = self.backlog.pop_front() {
                self.work(next);
            }
        }
        let Some(pass) = self.jobs[job].pass.take() else { return };
        if self.measured {
            let in_flight = pass.in_flight();
            let ending = if self.is_up { Ending::Answered } else { Ending::Failed };
            let sample = LimiterSample { began, ended: self.now, in_flight, ending };
            let _moved = self.admission.gate(0).record(0, &sample, in_flight);
        }
        drop(pass);
        self.call(worker);
    }

    fn plan_arrival(&mut self, sender: usize) {
        let gap = -(1.0 - self.unit()).ln() / self.senders[sender].per_second;
        self.after(Duration::from_secs_f64(gap), Event::Arrival(sender));
    }

    fn after(&mut self, time: Duration, event: Event) {
        self.plan(self.now + time, event);
    }

    fn plan(&mut self, at: Timestamp, event: Event) {
        self.chance = self.chance.wrapping_add(1);
        self.events.push(Reverse((at, self.chance, event)));
    }

    fn roll(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(1);
        mix(self.chance, 3)
    }

    fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
