//! A request becomes due, finds a connection and goes out.

use model::Timestamp;
use net::clock;

use super::super::answer::Cause;
use super::super::connection::{Asker, Connection, Progress, Work};
use super::super::dial::{self, DialError};
use super::super::requests::Kind;
use super::super::timers::What;
use super::super::tls::Tls;
use super::Engine;

/// A connection that rested this long may have been closed by its peer in the meantime.
pub(super) const MAY_BE_STALE_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

impl Engine {
    /// The next request of an open model becomes due at its own time.
    pub(super) fn set_arrival(&mut self, stream: usize) {
        let flow = &mut self.flows[stream];
        match flow.arrivals.next() {
            Some((number, due)) => {
                flow.number = number;
                let due = flow.start + std::time::Duration::from_nanos(due);
                self.timers.set(due, What::Arrival { stream });
            }
            None => flow.arriving = false,
        }
    }

    pub(super) fn arrive(&mut self, stream: usize, due: Timestamp, now: Timestamp) {
        let number = self.flows[stream].number;
        let client = self.flows[stream].requests.client(number);
        self.set_arrival(stream);
        let work = work(stream, (number, client), due, Asker::Nobody);
        self.ask(work, None, due, now);
    }

    pub(super) fn user_asks(&mut self, user: (usize, usize), due: Timestamp, now: Timestamp) {
        let (stream, user) = user;
        let flow = &mut self.flows[stream];
        if !flow.arriving || due >= flow.end {
            return;
        }
        let client = flow.requests.client(u64::try_from(flow.of_all(user)).unwrap_or(0));
        let work = work(stream, (flow.count_request(), client), due, Asker::User(user));
        if !self.ask(work, None, due, now) {
            self.timers
                .set(now + super::super::sessions::AFTER_FAILURE, What::User { stream, user });
        }
    }

    pub(super) fn session_asks(&mut self, session: (usize, usize), due: Timestamp, now: Timestamp) {
        let (stream, session) = session;
        let flow = &mut self.flows[stream];
        if !flow.arriving || due >= flow.end {
            return;
        }
        let client = flow.requests.client(u64::try_from(flow.of_all(session)).unwrap_or(0));
        let number = flow.count_request();
        let own = &mut flow.sessions[session];
        own.asked = due;
        let (slot, ready) = (own.slot, own.ready.max(due));
        let work = work(stream, (number, client), due, Asker::Session(session));
        if !self.ask(work, slot, ready, now) {
            self.reconnect((stream, session), now);
        }
    }

    /// A request is due. `ready`: since when nothing but the generator keeps it from going out.
    /// False when it did not go out: it is dropped.
    fn ask(
        &mut self,
        mut work: Work,
        slot: Option<usize>,
        ready: Timestamp,
        now: Timestamp,
    ) -> bool {
        let (stream, flow) = (work.stream, &mut self.flows[work.stream]);
        self.counts[stream].due += 1;
        if flow.in_flight >= flow.in_flight_max {
            self.counts[stream].dropped += 1;
            return false;
        }
        flow.in_flight += 1;
        let late_after = flow.late_after;
        work.try_due = ready;
        if !self.dispatch(work, slot, true) {
            self.flows[stream].in_flight -= 1;
            self.counts[stream].dropped += 1;
            return false;
        }
        let counts = &mut self.counts[stream];
        counts.sent += 1;
        let lateness = now.since(ready);
        counts.lateness.add(u64::try_from(lateness.as_micros()).unwrap_or(u64::MAX));
        counts.late += u64::from(lateness > late_after);
        true
    }

    /// A request is tried again, from now on.
    pub(super) fn retry(&mut self, mut work: Work, now: Timestamp) {
        work.try_due = now;
        work.tries += 1;
        self.counts[work.stream].retries += 1;
        let slot = match work.asker {
            Asker::Nobody | Asker::User(_) => None,
            Asker::Session(session) => {
                let own = &mut self.flows[work.stream].sessions[session];
                own.repeats = false;
                own.slot
            }
        };
        if !self.dispatch(work, slot, true) {
            self.conclude(work, Err(Cause::NoSocket), now);
        }
    }

    /// Sends a try on this connection, or one that rests, or a new one. False when no socket can
    /// be had; whatever else happens is the outcome of the try.
    pub(super) fn dispatch(&mut self, work: Work, slot: Option<usize>, may_rest: bool) -> bool {
        let flow = &mut self.flows[work.stream];
        if flow.requests.over_http2() {
            return self.dispatch_http2(work, slot);
        }
        let source = flow.requests.source(work.client);
        let rests = work.asker_is_free() && may_rest && flow.keep_alive;
        let slot =
            slot.or_else(|| if rests { flow.idle.pop(source, &mut self.slots) } else { None });
        let slot = match slot.map_or_else(|| self.connect(&work), Ok) {
            Ok(slot) => slot,
            Err(DialError::NoSocket) => return false,
            Err(DialError::Failed(cause)) => {
                self.counts[work.stream].tries += 1;
                self.end_try(work, Err(cause), clock::now());
                return true;
            }
        };
        self.counts[work.stream].tries += 1;
        let flow = &self.flows[work.stream];
        let deadline = work.try_due.min(flow.end) + flow.timeout;
        self.deadlines.set(work.stream, slot, deadline);
        self.begin(slot, work);
        true
    }

    /// Begins a connection; its slot.
    fn connect(&mut self, work: &Work) -> Result<usize, DialError> {
        let stream = work.stream;
        let flow = &mut self.flows[stream];
        let source = flow.requests.source(work.client);
        if flow.open >= flow.in_flight_max
            && let Some(oldest) = flow.idle.pop_oldest(&mut self.slots)
        {
            self.close(oldest);
        }
        let tls = self.job.tls.as_ref().map(Tls::new).transpose().map_err(DialError::Failed)?;
        let dialed = dial::dial(self.job.target.address, source);
        if !matches!(dialed, Err(DialError::NoSocket)) {
            self.counts[stream].connects += 1;
        }
        let socket = dialed?;
        self.inbox.prepare(&socket);
        let mut connection = Connection::new(socket, work, tls);
        connection.source = source;
        let token = self.slots.insert(connection);
        let socket = self.slots.get(token.slot).map(|connection| connection.socket());
        let watched = socket.map(|socket| self.poller.add(socket, token.to_bits()));
        if !matches!(watched, Some(Ok(()))) {
            self.slots.remove(token.slot);
            return Err(DialError::NoSocket);
        }
        self.flows[stream].open += 1;
        if let Asker::Session(session) = work.asker {
            self.flows[stream].sessions[session].slot = Some(token.slot);
        }
        Ok(token.slot)
    }

    /// Writes the request.
    fn begin(&mut self, slot: usize, work: Work) {
        let Some(connection) = self.slots.get(slot) else { return };
        let rested = connection.idle_since;
        connection.may_be_stale =
            rested > Timestamp::ZERO && work.try_due.since(rested) >= MAY_BE_STALE_AFTER;
        connection.work = Some(work);
        let requests = &self.flows[work.stream].requests;
        let (bytes, kind): (&[u8], Kind) =
            requests.bytes(work.number, work.client, &mut self.scratch);
        connection.kind = kind;
        if let Err(cause) = connection.send(bytes) {
            let progress = connection.receive_after(cause, &mut self.inbox, &mut self.reading);
            self.settle(slot, progress);
        }
    }

    /// Goes on with what became of a connection with a request under way.
    pub(super) fn settle(&mut self, slot: usize, progress: Progress) {
        match progress {
            Progress::Waiting => {}
            Progress::Complete => self.answered(slot),
            Progress::Failed(cause) => self.fail(slot, cause),
        }
    }
}

const fn work(stream: usize, (number, client): (u64, u32), due: Timestamp, asker: Asker) -> Work {
    Work {
        stream,
        number,
        client,
        due,
        try_due: due,
        tries: 0,
        asker,
        resent: false,
        cause: Cause::Cut,
    }
}
