//! The same as `send` and `ends` for connections of HTTP/2, which carry several requests at once.
//!
//! Invariant: whatever a connection's protocol was given, it is polled before the call returns, so
//! that requests go out at once; and whoever was woken by that is looked at before anything else.

use model::Timestamp;
use net::clock;
use rustix::event::epoll::EventFlags;

use super::super::answer::Cause;
use super::super::connection::{Asker, Progress, Work};
use super::super::dial::{self, DialError};
use super::super::http2::{Connection, Received, TOKEN};
use super::super::slots::Token;
use super::super::tls::Tls;
use super::Engine;
use super::ends::{Answered, micros};
use super::send::MAY_BE_STALE_AFTER;

impl Engine {
    /// Sends a try on this connection, or one that has room, or a new one. False when no socket
    /// can be had; whatever else happens is the outcome of the try.
    pub(super) fn dispatch_http2(&mut self, work: Work, slot: Option<usize>) -> bool {
        let flow = &mut self.flows[work.stream];
        let slot = slot.or_else(|| {
            let shares = work.asker_is_free() && flow.keep_alive;
            let source = flow.requests.source(work.client);
            let connections = &mut self.http2.connections;
            if shares { flow.rooms.find(source, flow.streams_max, connections) } else { None }
        });
        let slot = match slot.map_or_else(|| self.connect_http2(&work), Ok) {
            Ok(slot) => slot,
            Err(DialError::NoSocket) => return false,
            Err(DialError::Failed(cause)) => {
                self.counts[work.stream].tries += 1;
                self.end_try(work, Err(cause), clock::now());
                return true;
            }
        };
        self.counts[work.stream].tries += 1;
        let token = self.http2.connections.token(slot);
        let begun = self.begin_http2(slot, work);
        token.into_iter().for_each(|token| self.turn_http2(token));
        match begun {
            // It went out; now its waker is registered.
            Ok(number) => self.look_at(number),
            Err(cause) => self.end_try(work, Err(cause), clock::now()),
        }
        true
    }

    /// Gives a request to the protocol; the number of its exchange.
    fn begin_http2(&mut self, slot: usize, work: Work) -> Result<usize, Cause> {
        let flow = &self.flows[work.stream];
        let asked = flow.requests.over(work.number, work.client, &mut self.scratch);
        let asked = asked.ok_or(Cause::Unsendable)?;
        let number = self.http2.exchanges.vacant();
        let waker = self.http2.waker(number);
        let token = self.http2.connections.token(slot).ok_or(Cause::NoSocket)?;
        let connection = self.http2.connections.get(slot).ok_or(Cause::NoSocket)?;
        let asked = connection.ask(asked, work, (token, waker));
        let mut exchange = asked.inspect_err(|_| connection.draining = true)?;
        let rested = connection.idle_since;
        exchange.may_be_stale =
            rested > Timestamp::ZERO && work.try_due.since(rested) >= MAY_BE_STALE_AFTER;
        exchange.sent_at = clock::now();
        connection.exchanges.insert(number);
        self.http2.exchanges.insert(exchange);
        let deadline = work.try_due.min(flow.end) + flow.timeout;
        self.http2.deadlines.set(work.stream, number, deadline);
        Ok(number)
    }

    /// Begins a connection; its slot.
    fn connect_http2(&mut self, work: &Work) -> Result<usize, DialError> {
        let stream = work.stream;
        let flow = &self.flows[stream];
        let (source, streams_max) = (flow.requests.source(work.client), flow.streams_max);
        if flow.open >= flow.in_flight_max {
            let rests = |connection: &Connection| {
                connection.stream == stream
                    && connection.session.is_none()
                    && connection.exchanges.is_empty()
            };
            let resting = self.http2.connections.that(rests).next();
            resting.into_iter().for_each(|resting| self.close_http2(resting));
        }
        let tls = self.job.tls.as_ref().map(Tls::for_http2).transpose();
        let tls = tls.map_err(DialError::Failed)?;
        let dialed = dial::dial(self.job.target.address, source);
        if !matches!(dialed, Err(DialError::NoSocket)) {
            self.counts[stream].connects += 1;
        }
        let socket = dialed?;
        self.inbox.prepare(&socket);
        let made = Connection::new(socket, work, tls, streams_max);
        let mut connection = made.ok_or(DialError::Failed(Cause::NotHttp2))?;
        connection.source = source;
        let token = self.http2.connections.insert(connection);
        let connection = self.http2.connections.named(token);
        let watched = connection
            .map(|connection| self.poller.add(connection.socket(), token.to_bits() | TOKEN));
        if !matches!(watched, Some(Ok(()))) {
            self.http2.connections.remove(token.slot);
            return Err(DialError::NoSocket);
        }
        let flow = &mut self.flows[stream];
        flow.open += 1;
        if let Asker::Session(session) = work.asker {
            flow.sessions[session].slot = Some(token.slot);
        } else if flow.keep_alive {
            flow.rooms.push(token, source, &mut self.http2.connections);
        }
        Ok(token.slot)
    }

    pub(super) fn take_http2_event(&mut self, bits: u64, flags: EventFlags) {
        let token = Token::from_bits(bits & !TOKEN);
        let Some(connection) = self.http2.connections.named(token) else { return };
        if let Err(cause) = connection.connected(flags) {
            self.end_http2(token, cause);
            return;
        }
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if !ended && !flags.contains(EventFlags::IN) {
            self.turn_http2(token);
            return;
        }
        loop {
            let Some(connection) = self.http2.connections.named(token) else { return };
            match connection.receive(ended, &mut self.inbox) {
                Received::Over(cause) => {
                    let cause = connection.read_rest(cause, &mut self.inbox);
                    return self.end_http2(token, cause);
                }
                Received::More => self.take_ready(),
                Received::Nothing => {
                    self.take_ready();
                    // What was read made room, which the server has to learn.
                    return self.turn_http2(token);
                }
            }
        }
    }

    /// Lets a connection's protocol go on until there is nothing more to do.
    fn turn_http2(&mut self, token: Token) {
        loop {
            let Some(connection) = self.http2.connections.named(token) else { return };
            if let Err(cause) = connection.turn() {
                let cause = connection.read_rest(cause, &mut self.inbox);
                return self.end_http2(token, cause);
            }
            self.take_ready();
            let Some(connection) = self.http2.connections.named(token) else { return };
            if connection.draining && connection.exchanges.is_empty() {
                return self.end_http2(token, Cause::ClosedWithoutAnswer);
            }
            if !connection.is_woken() {
                return;
            }
        }
    }

    /// Looks at every exchange that was woken.
    fn take_ready(&mut self) {
        while let Some(number) = self.http2.next_ready() {
            self.look_at(number);
        }
    }

    fn look_at(&mut self, number: usize) {
        let Some(exchange) = self.http2.exchanges.get(number) else { return };
        let arrived = self.inbox.arrived(exchange.work.try_due);
        match exchange.go_on(arrived, &mut self.reading) {
            Progress::Waiting => {}
            Progress::Complete => self.answered_http2(number, arrived),
            Progress::Failed(cause) => self.fail_http2(number, cause),
        }
    }

    fn answered_http2(&mut self, number: usize, now: Timestamp) {
        let Some(exchange) = self.http2.exchanges.remove(number) else { return };
        let (work, seen) = (exchange.work, exchange.seen);
        self.http2.deadlines.clear(work.stream, number);
        let counts = &mut self.counts[work.stream];
        counts.messages += seen.messages;
        if let Some(first) = seen.first_message {
            counts.first_message.add(micros(first, work.try_due));
        }
        self.leave(exchange.connection, number, now);
        self.end_try(work, Ok(Answered::from(seen)), now);
    }

    /// A request failed; its connection may go on.
    fn fail_http2(&mut self, number: usize, cause: Cause) {
        let Some(exchange) = self.http2.exchanges.remove(number) else { return };
        let closed = matches!(cause, Cause::Reset | Cause::ClosedWithoutAnswer);
        let cause = self.ending.filter(|_| closed).unwrap_or(cause);
        let (mut work, token) = (exchange.work, exchange.connection);
        // What a server that leaves in good order did not begin with, and what crossed the close of
        // a connection at rest, any client sends again.
        let stale = closed && exchange.may_be_stale && exchange.kind.repeatable;
        let crossed = cause == Cause::GoAway(0) || (stale && !exchange.has_begun());
        self.http2.deadlines.clear(work.stream, number);
        // A stream that is not over by now is reset with this.
        drop(exchange);
        self.leave(token, number, clock::now());
        if crossed && !work.resent && work.asker_is_free() {
            work.resent = true;
            self.counts[work.stream].tries -= 1;
            if self.dispatch_http2(work, None) {
                return;
            }
            self.counts[work.stream].tries += 1;
        }
        self.end_try(work, Err(cause), clock::now());
    }

    /// An exchange is over: its connection has room for another one, or has nothing more to do.
    fn leave(&mut self, token: Token, number: usize, now: Timestamp) {
        let Some(connection) = self.http2.connections.named(token) else { return };
        connection.exchanges.remove(&number);
        let flow = &mut self.flows[connection.stream];
        let (source, is_empty) = (connection.source, connection.exchanges.is_empty());
        if is_empty {
            connection.idle_since = now;
        }
        if !flow.keep_alive || connection.draining {
            if is_empty {
                self.close_http2(token.slot);
            }
        } else if connection.session.is_none() {
            flow.rooms.push(token, source, &mut self.http2.connections);
        }
    }

    /// Gives up on every try whose time is over. A connection on which nothing came since such a
    /// try went out is given up as well, as one of HTTP/1 is.
    pub(super) fn give_up_http2(&mut self, now: Timestamp) {
        while let Some(number) = self.http2.deadlines.passed(now) {
            let Some(exchange) = self.http2.exchanges.get(number) else { return };
            let (token, sent_at) = (exchange.connection, exchange.sent_at);
            let mut cause = Cause::Timeout;
            if let Some(connection) = self.http2.connections.named(token) {
                if connection.is_connecting() {
                    cause = Cause::ConnectTimedOut;
                }
                connection.draining |= connection.heard_at <= sent_at;
            }
            self.fail_http2(number, cause);
            self.turn_http2(token);
        }
    }

    /// A connection came to its end, and with it all that is under way on it.
    fn end_http2(&mut self, token: Token, cause: Cause) {
        let Some(connection) = self.http2.connections.named(token) else { return };
        let (stream, session) = (connection.stream, connection.session);
        let (rests, drained) = (connection.exchanges.is_empty(), connection.draining);
        let Some(mut connection) = self.remove_http2(token.slot) else { return };
        let cause = connection.end().unwrap_or(cause);
        let outer = self.ending.replace(cause);
        self.take_ready();
        for number in connection.exchanges {
            let exchange = self.http2.exchanges.get(number);
            let Some(exchange) = exchange.filter(|own| own.connection == token) else { continue };
            let cause = if exchange.has_begun() { Cause::CutShort } else { cause };
            self.fail_http2(number, cause);
        }
        self.ending = outer;
        if rests && !(drained && session.is_none()) {
            self.counts[stream].lost += 1;
        }
        if rests && let Some(session) = session {
            self.reconnect((stream, session), clock::now());
        }
    }

    pub(super) fn close_http2(&mut self, slot: usize) {
        drop(self.remove_http2(slot));
    }

    fn remove_http2(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.http2.connections.remove(slot)?;
        let flow = &mut self.flows[connection.stream];
        flow.open -= 1;
        if let Some(session) = connection.session {
            flow.sessions[session].slot = None;
        }
        Some(connection)
    }

    /// Cuts every connection of a stream.
    pub(super) fn cut_http2(&mut self, stream: usize) {
        let of_stream = |connection: &Connection| connection.stream == stream;
        let slots: Vec<usize> = self.http2.connections.that(of_stream).collect();
        for slot in slots {
            let Some(token) = self.http2.connections.token(slot) else { continue };
            if let Some(connection) = self.http2.connections.get(slot) {
                dial::reset_when_closed(connection.socket());
            }
            let Some(connection) = self.remove_http2(slot) else { continue };
            if connection.exchanges.is_empty() {
                self.counts[stream].lost += 1;
                if let Some(session) = connection.session {
                    self.reconnect((stream, session), clock::now());
                }
            }
            for number in connection.exchanges {
                if self.http2.exchanges.get(number).is_some_and(|own| own.connection == token) {
                    self.fail_http2(number, Cause::Cut);
                }
            }
        }
    }
}
