//! Plays a plan: requests become due, doors choose, servers work, clients lose patience.
//!
//! Invariant: an attempt has a serial number of its own; what a server or a timer says about an
//! attempt that is over is ignored. A server works on for a client that has left.

use std::time::Duration;

use admission::{Called, Ending, LimiterSample, Pass, Ticket, Verdict};
use balancing::Dice;
use model::{Reason, Timestamp};

use crate::chooser::{Chooser, Chosen, Ended, Rule, settings};
use crate::events::Events;
use crate::guard::{Asks, Guard};
use crate::hot_cold::{Latencies, Report};
use crate::plan::{BEGIN, Entrance, Plan};
use crate::seen::{FlowSeen, MOMENT, Moment, Seen, ServerSeen};
use crate::server::{Server, Taken};

/// How long a server that fails takes to say so.
const FAST: Duration = Duration::from_millis(1);

/// How often a door looks at who waits, as its wheel of timers does.
const TICK: Duration = Duration::from_millis(8);

/// One attempt of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attempt {
    request: usize,
    serial: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Requests of this flow become due.
    Due { flow: usize },
    /// A client tries, or tries again.
    Try { request: usize },
    /// A request at this server is done, unless something came in between.
    Done { server: usize, epoch: u64 },
    /// A server failed this attempt.
    Failed(Attempt),
    /// The client gives up this attempt.
    GivenUp(Attempt),
    /// What the plan says happens to this server.
    Change { server: usize, place: usize },
    /// The doors hear of this server.
    Joins { server: usize },
    /// A door looks at who waits.
    Tick { door: usize },
    /// A moment has passed.
    Moment,
    /// Counting begins.
    Count,
}

/// What a server holds.
#[derive(Debug)]
struct Job {
    attempt: Attempt,
    came: Timestamp,
    /// What the server held before.
    held: usize,
}

#[derive(Debug)]
struct Request {
    flow: usize,
    client: u64,
    due: Timestamp,
    work: f64,
    tries: u32,
    /// Of the attempt under way; 0: none is.
    serial: u64,
    door: usize,
    place: Place,
}

/// Where an attempt is.
#[derive(Debug)]
enum Place {
    /// With the client.
    Away,
    /// In the line of its door.
    Line(Ticket),
    /// At a server.
    Server(Box<Sent>),
}

#[derive(Debug)]
struct Sent {
    at: Timestamp,
    chosen: Chosen,
    /// What the door had sent to the server, itself included.
    in_flight: u32,
    pass: Option<Pass>,
}

/// A door: who is let in, and where to.
#[derive(Debug)]
struct Door {
    chooser: Chooser,
    guard: Option<Guard<Attempt>>,
}

struct World<'a> {
    plan: &'a Plan,
    now: Timestamp,
    events: Events<Event>,
    servers: Vec<Server<Job>>,
    latencies: Vec<Latencies>,
    doors: Vec<Door>,
    requests: Vec<Request>,
    free: Vec<usize>,
    serials: u64,
    /// Chance for what clients send, for the way through the doors, for what doors decide.
    sending: Dice,
    entering: Dice,
    deciding: Dice,
    counting_from: Timestamp,
    moment: Moment,
    seen: Seen,
}

/// Plays a plan and says what was seen.
#[must_use]
pub fn run(plan: &Plan) -> Seen {
    let mut world = World::new(plan);
    let end = BEGIN + plan.duration;
    while let Some((at, event)) = world.events.next()
        && at <= end
    {
        world.now = at;
        world.handle(event);
    }
    world.now = end;
    world.seen()
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Self {
        let known = plan.servers.iter().filter(|server| server.joins.is_none()).count();
        let settings = settings(plan.entrance);
        let guarded = plan.entrance != Entrance::Open;
        let door = || Door {
            chooser: Chooser::new(&plan.rule, &settings, known, BEGIN),
            guard: guarded.then(|| Guard::new(&settings, plan.servers.len(), BEGIN)),
        };
        let mut world = Self {
            plan,
            now: BEGIN,
            events: Events::new(),
            servers: plan.servers.iter().map(|server| Server::new(server, BEGIN)).collect(),
            latencies: plan.servers.iter().map(|_| Latencies::default()).collect(),
            doors: (0..plan.doors).map(|_| door()).collect(),
            requests: Vec::new(),
            free: Vec::new(),
            serials: 0,
            sending: Dice::new(plan.seed),
            entering: Dice::new(plan.seed ^ 0x5eed),
            deciding: Dice::new(plan.seed ^ 0xd1ce),
            counting_from: BEGIN + plan.warm_up,
            moment: Moment::default(),
            seen: Seen {
                flows: vec![FlowSeen::default(); plan.flows.len()],
                servers: vec![ServerSeen::default(); plan.servers.len()],
                ..Seen::default()
            },
        };
        world.events.at(BEGIN + plan.warm_up, Event::Count);
        world.events.at(BEGIN + MOMENT, Event::Moment);
        (0..plan.flows.len()).for_each(|flow| world.next_due(flow));
        for (server, planned) in plan.servers.iter().enumerate() {
            for (place, (after, _)) in planned.changes.iter().enumerate() {
                world.events.at(BEGIN + *after, Event::Change { server, place });
            }
            if let Some(after) = planned.joins {
                world.events.at(BEGIN + after, Event::Joins { server });
            }
        }
        world
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Due { flow } => self.due(flow),
            Event::Try { request } => self.attempt(request),
            Event::Done { server, epoch } => self.done(server, epoch),
            Event::Failed(attempt) => self.end(attempt, Ended::Failed(FAST)),
            Event::GivenUp(attempt) => self.end(attempt, Ended::Left),
            Event::Change { server, place } => {
                let (_, condition) = self.plan.servers[server].changes[place];
                self.servers[server].change(condition, self.now);
                self.next_done(server);
            }
            Event::Joins { server } => {
                let doors = self.doors.iter_mut();
                doors.for_each(|door| door.chooser.grow(server + 1, self.now));
            }
            Event::Tick { door } => self.tick(door),
            Event::Moment => self.moment(),
            Event::Count => {
                for server in &mut self.servers {
                    server.advance(self.now);
                    (server.held, server.worked) = (0.0, 0.0);
                }
            }
        }
    }

    fn moment(&mut self) {
        for guard in self.doors.iter().filter_map(|door| door.guard.as_ref()) {
            guard.tick(self.now);
        }
        let guard = self.doors.first().and_then(|door| door.guard.as_ref());
        self.moment.limit = guard.map_or(0, Guard::limit);
        self.seen.moments.push(std::mem::take(&mut self.moment));
        self.events.at(self.now + MOMENT, Event::Moment);
    }

    fn next_due(&mut self, flow: usize) {
        if let Some(at) = self.plan.flows[flow].next(self.now, &mut self.sending) {
            self.events.at(at, Event::Due { flow });
        }
    }

    fn due(&mut self, flow: usize) {
        let clients = u64::from(self.plan.flows[flow].clients);
        for _ in 0..self.plan.flows[flow].burst {
            let work = self.plan.work.draw(&mut self.sending) * self.plan.work_mean.as_secs_f64();
            let client = (flow as u64) << 32 | self.entering.below(clients);
            let request = Request {
                flow,
                client,
                due: self.now,
                work,
                tries: 0,
                serial: 0,
                door: 0,
                place: Place::Away,
            };
            let slot = match self.free.pop() {
                Some(slot) => {
                    self.requests[slot] = request;
                    slot
                }
                None => {
                    self.requests.push(request);
                    self.requests.len() - 1
                }
            };
            self.moment.due += 1;
            if self.now >= self.counting_from {
                self.seen.flows[flow].due += 1;
            }
            self.attempt(slot);
        }
        self.next_due(flow);
    }

    fn attempt(&mut self, slot: usize) {
        self.serials += 1;
        let attempt = Attempt { request: slot, serial: self.serials };
        let request = &mut self.requests[slot];
        request.serial = self.serials;
        request.tries += 1;
        if let Some(timeout) = self.plan.flows[request.flow].patience.timeout {
            self.events.at(self.now + timeout, Event::GivenUp(attempt));
        }
        let door = usize::try_from(self.entering.below(self.doors.len() as u64)).unwrap_or(0);
        request.door = door;
        let Door { chooser, guard } = &mut self.doors[door];
        let Some(guard) = guard else {
            self.send(attempt, None);
            return;
        };
        let asks = Asks { client: request.client, server_free: chooser.has_room() };
        match guard.admit(&asks, || attempt, self.now) {
            Verdict::Serve(pass) => self.send(attempt, Some(pass)),
            Verdict::Refuse(refusal) => self.refuse(attempt, refusal.reason),
            Verdict::Wait(ticket) => {
                request.place = Place::Line(ticket);
                self.call(door);
            }
        }
    }

    /// Calls those who need not wait any more at a door.
    fn call(&mut self, door: usize) {
        loop {
            let Door { chooser, guard: Some(guard) } = &mut self.doors[door] else { return };
            match guard.next(chooser.has_room(), self.now) {
                Some(Called::Serve { token, pass, .. }) => self.send(token, Some(pass)),
                Some(Called::Refuse { token, refusal, .. }) => self.refuse(token, refusal.reason),
                None => {
                    if guard.waits() && !guard.ticks {
                        guard.ticks = true;
                        self.events.at(self.now + TICK, Event::Tick { door });
                    }
                    return;
                }
            }
        }
    }

    fn tick(&mut self, door: usize) {
        if let Some(guard) = &mut self.doors[door].guard {
            guard.ticks = false;
        }
        self.call(door);
    }

    /// Sends an attempt to a server that its door chooses.
    fn send(&mut self, attempt: Attempt, pass: Option<Pass>) {
        let door = self.requests[attempt.request].door;
        let (servers, latencies) = (&self.servers, &self.latencies);
        let ask = |index: usize| {
            let held = servers[index].held_now();
            Report { held, latency: latencies[index].at(held) }
        };
        let Some(chosen) = self.doors[door].chooser.choose(self.now, &mut self.deciding, ask)
        else {
            self.refuse(attempt, Reason::NoServer);
            return;
        };
        let index = chosen.index;
        let in_flight = self.doors[door].chooser.in_flight(index);
        let request = &mut self.requests[attempt.request];
        let sent = Sent { at: self.now, chosen, in_flight, pass };
        request.place = Place::Server(Box::new(sent));
        let server = &mut self.servers[index];
        let job = Job { attempt, came: self.now, held: server.held_now() };
        let taken = server.take(job, request.work, self.now);
        if self.now >= self.counting_from {
            self.seen.servers[index].attempts += 1;
            self.seen.servers[index].waited += u64::from(taken == Taken::Waits);
        }
        match taken {
            Taken::AtWork | Taken::Waits => self.next_done(index),
            Taken::Failed => self.events.at(self.now + FAST, Event::Failed(attempt)),
        }
    }

    fn next_done(&mut self, server: usize) {
        let epoch = self.servers[server].epoch;
        if let Some(at) = self.servers[server].next_done() {
            self.events.at(at, Event::Done { server, epoch });
        }
    }

    fn done(&mut self, server: usize, epoch: u64) {
        if self.servers[server].epoch != epoch {
            return;
        }
        while let Some(job) = self.servers[server].done(self.now) {
            let took = self.now.since(job.came);
            if let Rule::HotCold(_) = self.plan.rule {
                self.latencies[server].record(job.held, took.as_secs_f64());
            }
            self.end(job.attempt, Ended::Answered(took));
        }
        self.next_done(server);
    }

    fn refuse(&mut self, attempt: Attempt, reason: Reason) {
        self.moment.refused += 1;
        let request = &mut self.requests[attempt.request];
        request.place = Place::Away;
        if self.now >= self.counting_from {
            *self.seen.refusals.entry((request.flow, reason.code())).or_default() += 1;
        }
        self.over(attempt.request, false);
    }

    /// The attempt has ended, if it is not over already.
    fn end(&mut self, attempt: Attempt, ended: Ended) {
        let request = &mut self.requests[attempt.request];
        if request.serial != attempt.serial {
            return;
        }
        let door = request.door;
        match std::mem::replace(&mut request.place, Place::Away) {
            Place::Away => {}
            Place::Line(ticket) => {
                if let Some(guard) = &mut self.doors[door].guard {
                    guard.leave(ticket);
                }
            }
            Place::Server(sent) => self.free(door, *sent, ended),
        }
        self.over(attempt.request, matches!(ended, Ended::Answered(_)));
        self.call(door);
    }

    /// Gives back the place of an attempt and says how it went.
    fn free(&mut self, door: usize, sent: Sent, ended: Ended) {
        let Door { chooser, guard } = &mut self.doors[door];
        let index = sent.chosen.index;
        chooser.ended(sent.chosen, ended, self.now);
        let (Some(guard), Some(pass)) = (guard, sent.pass) else { return };
        let ending = match ended {
            Ended::Answered(_) => Ending::Answered,
            Ended::Failed(_) => Ending::Failed,
            Ended::Left => Ending::Left,
        };
        let in_flight = pass.in_flight();
        let sample = LimiterSample { began: sent.at, ended: self.now, in_flight, ending };
        if let Some(limit) = guard.record(index, sent.in_flight, &sample) {
            chooser.limit_server(index, limit);
        }
    }

    /// The attempt under way is over: the request is, too, or is tried again.
    fn over(&mut self, slot: usize, answered: bool) {
        let request = &mut self.requests[slot];
        request.serial = 0;
        let patience = self.plan.flows[request.flow].patience;
        if !answered && request.tries <= patience.retries {
            self.events.at(self.now + patience.pause, Event::Try { request: slot });
            return;
        }
        self.free.push(slot);
        let latency = self.now.since(request.due);
        let good = answered && latency <= self.plan.objective;
        self.moment.good += u32::from(good);
        if request.due < self.counting_from {
            return;
        }
        let flow = &mut self.seen.flows[request.flow];
        flow.answered += u64::from(answered);
        flow.good += u64::from(good);
        if answered {
            self.seen.latencies_us.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        }
    }

    fn seen(mut self) -> Seen {
        let counted = self.now.since(self.counting_from);
        for (server, seen) in self.servers.iter_mut().zip(&mut self.seen.servers) {
            server.advance(self.now);
            seen.held = server.held / counted.as_secs_f64();
            seen.worked = server.worked / counted.as_secs_f64();
        }
        self.seen.unfinished = (self.requests.len() - self.free.len()) as u64;
        self.seen.counted = counted;
        self.seen.latencies_us.sort_unstable();
        self.seen
    }
}
