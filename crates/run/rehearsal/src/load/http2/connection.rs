//! One HTTP/2 connection of the load: a socket, perhaps TLS, and the protocol over both.
//!
//! Edges only, as for HTTP/1: output is tried at once and again when the socket says so. A request
//! may be given to a connection that is still being made; it goes out with its first bytes, as
//! prior knowledge allows, or once TLS has agreed on `h2`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use model::Timestamp;
use net::clock;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, sockopt};

use super::super::answer::Cause;
use super::super::connection::{Asker, Work};
use super::super::dial;
use super::super::inbox::Inbox;
use super::super::slots::Token;
use super::super::tls::Tls;
use super::exchange::{Exchange, Opened, cause};
use super::request::Asked;
use super::wire::Wire;

/// What a server may send ahead, on one stream and on all: enough that not the generator is what
/// slows a body down. Nothing of it is kept.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// Bytes of an answer's head, as for HTTP/1.
const HEAD_BYTES_MAX: u32 = 65_536;
/// Reads of a connection that is over: no more can wait in a socket.
const READS_AT_END_MAX: u32 = 1_000;
/// The type of the frame that a server begins with (RFC 9113, section 3.4).
const SETTINGS_FRAME: u8 = 4;

pub(in super::super) struct Connection {
    pub(in super::super) stream: usize,
    pub(in super::super) session: Option<usize>,
    pub(in super::super) source: Option<Ipv4Addr>,
    /// The numbers of the exchanges under way.
    pub(in super::super) exchanges: BTreeSet<usize>,
    /// It takes no further request.
    pub(in super::super) draining: bool,
    /// Whether its stream knows that it has room.
    pub(in super::super) listed: bool,
    /// Since when it rests; zero before its first answer.
    pub(in super::super) idle_since: Timestamp,
    /// When something came last.
    pub(in super::super) heard_at: Timestamp,
    socket: OwnedFd,
    connecting: bool,
    tls: Option<Box<Tls>>,
    wire: Wire,
    driver: Box<h2::client::Connection<Wire, Bytes>>,
    sender: SendRequest<Bytes>,
    woken: Arc<Woken>,
    /// What the socket did not take yet.
    output: Vec<u8>,
    sent: usize,
    /// The socket takes nothing any more.
    mute: bool,
}

/// What a read found.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Received {
    /// There may be more to read.
    More,
    Nothing,
    /// The connection is over.
    Over(Cause),
}

impl Connection {
    /// A connection that was begun for a request. `None` never happens: the protocol begins with
    /// bytes that the wire takes at once.
    pub(in super::super) fn new(
        socket: OwnedFd,
        work: &Work,
        tls: Option<Tls>,
        streams_max: usize,
    ) -> Option<Self> {
        let wire = Wire::default();
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .initial_max_send_streams(streams_max);
        let mut begin = Box::pin(builder.handshake(wire.clone()));
        let begun = begin.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok((sender, driver))) = begun else { return None };
        Some(Self {
            stream: work.stream,
            session: match work.asker {
                Asker::Session(session) => Some(session),
                Asker::Nobody | Asker::User(_) => None,
            },
            source: None,
            exchanges: BTreeSet::new(),
            draining: false,
            listed: false,
            idle_since: Timestamp::ZERO,
            heard_at: Timestamp::ZERO,
            socket,
            connecting: true,
            tls: tls.map(Box::new),
            wire,
            driver: Box::new(driver),
            sender,
            woken: Arc::default(),
            output: Vec::new(),
            sent: 0,
            mute: false,
        })
    }

    pub(in super::super) const fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    pub(in super::super) const fn is_connecting(&self) -> bool {
        self.connecting
    }

    /// Whether it takes another request when at most so many may be under way.
    pub(in super::super) fn has_room(&self, streams_max: usize) -> bool {
        let under_way = self.exchanges.len();
        !self.draining
            && under_way < streams_max
            && under_way < self.sender.current_max_send_streams()
    }

    /// Gives a request to the protocol; [`Self::turn`] sends it.
    pub(in super::super) fn ask(
        &mut self,
        asked: Asked,
        work: Work,
        (token, waker): (Token, Waker),
    ) -> Result<Exchange, Cause> {
        let ends = asked.body.is_empty();
        let (answer, mut upload) =
            self.sender.send_request(asked.head, ends).map_err(|error| refused(&error))?;
        if !ends {
            upload.send_data(asked.body, true).map_err(|error| refused(&error))?;
        }
        let opened = Opened { answer, upload, kind: asked.kind, grpc: asked.grpc };
        Ok(Exchange::new(opened, work, token, waker))
    }

    /// An event: what became of a connection that is being made.
    pub(in super::super) fn connected(&mut self, flags: EventFlags) -> Result<(), Cause> {
        if !self.connecting {
            return Ok(());
        }
        match sockopt::socket_error(&self.socket) {
            Ok(Err(error)) | Err(error) => Err(dial::cause(error)),
            Ok(Ok(())) => {
                let open = EventFlags::OUT | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
                self.connecting = !flags.intersects(open);
                Ok(())
            }
        }
    }

    /// Lets the protocol do what it can and sends what it has to say. An error: it is over.
    pub(in super::super) fn turn(&mut self) -> Result<(), Cause> {
        loop {
            let over = self.drive();
            let flushed = self.flush();
            over?;
            flushed?;
            if !std::mem::take(&mut self.wire.lock().blocked) || !self.output.is_empty() {
                return Ok(());
            }
        }
    }

    /// Whether the protocol has something to do that no event tells of.
    pub(in super::super) fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed)
    }

    /// Reads once. `ended`: the peer ended its side, so that there is an end to read up to.
    pub(in super::super) fn receive(&mut self, ended: bool, inbox: &mut Inbox) -> Received {
        let read = match inbox.read(&self.socket) {
            Ok([]) => Err(Cause::ClosedWithoutAnswer),
            Err(Errno::INTR) => return Received::More,
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(dial::cause(error)),
            Ok(bytes) => self.take(bytes),
        };
        match read.and_then(|count| self.turn().map(|()| count)) {
            Err(cause) => Received::Over(cause),
            Ok(0) => Received::Nothing,
            Ok(count) if ended || inbox.is_full(count) => Received::More,
            Ok(_) => Received::Nothing,
        }
    }

    /// Nothing comes any more: the exchanges under way learn from the protocol what it knows. Why
    /// the server ended it, if it said that it was not in good order.
    pub(in super::super) fn end(&mut self) -> Option<Cause> {
        let told = self.told();
        self.wire.lock().ended = true;
        // Whatever it says, this is its end.
        self.drive().unwrap_or_default();
        told
    }

    /// Reads what came before the peer closed: it still counts. Why the connection ends.
    pub(in super::super) fn read_rest(&mut self, cause: Cause, inbox: &mut Inbox) -> Cause {
        for _ in 0..READS_AT_END_MAX {
            match self.receive(true, inbox) {
                Received::More => {}
                Received::Nothing | Received::Over(Cause::ClosedWithoutAnswer) => break,
                Received::Over(found) => return found,
            }
        }
        cause
    }

    /// Takes what arrived; how much that was.
    fn take(&mut self, bytes: &mut [u8]) -> Result<usize, Cause> {
        let count = bytes.len();
        let is_first = self.heard_at == Timestamp::ZERO;
        if !self.exchanges.is_empty() {
            self.idle_since = Timestamp::ZERO;
        }
        let mut wire = self.wire.lock();
        match &mut self.tls {
            None => {
                let first_type = bytes.get(3).filter(|_| is_first);
                if first_type.is_some_and(|kind| *kind != SETTINGS_FRAME) {
                    return Err(Cause::NotHttp2);
                }
                wire.input.extend_from_slice(bytes);
            }
            Some(tls) => {
                let input = &mut wire.input;
                let goodbye = tls.open(bytes, |plain| {
                    input.extend_from_slice(plain);
                    Ok(())
                })?;
                wire.ended |= goodbye;
            }
        }
        drop(wire);
        self.heard_at = clock::now();
        Ok(count)
    }

    /// Polls the protocol until it waits for the wire.
    fn drive(&mut self) -> Result<(), Cause> {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut context = Context::from_waker(&waker);
        loop {
            self.woken.0.store(false, Ordering::Relaxed);
            match Pin::new(&mut *self.driver).poll(&mut context) {
                Poll::Ready(Ok(())) => {
                    return Err(self.told().unwrap_or(Cause::ClosedWithoutAnswer));
                }
                Poll::Ready(Err(error)) => return Err(cause(&error, false)),
                Poll::Pending if self.is_woken() => {}
                Poll::Pending => break,
            }
        }
        self.draining |= self.closed().is_some();
        Ok(())
    }

    /// Why no further request may be sent, if there is a reason.
    fn closed(&mut self) -> Option<Cause> {
        match self.sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => Some(cause(&error, false)),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        }
    }

    /// Why the server ended the connection, if it said that it was not in good order.
    fn told(&mut self) -> Option<Cause> {
        self.closed().filter(|told| matches!(told, Cause::GoAway(1..)))
    }

    /// Sends what is left, as far as the socket takes it.
    fn flush(&mut self) -> Result<(), Cause> {
        let mut wire = self.wire.lock();
        match &mut self.tls {
            None => self.output.append(&mut wire.output),
            Some(tls) => {
                if !wire.output.is_empty() && tls.speaks_http2()? {
                    tls.write(&wire.output)?;
                    wire.output.clear();
                }
                tls.drain_into(&mut self.output)?;
            }
        }
        drop(wire);
        if self.mute {
            self.output.clear();
            return Ok(());
        }
        while let Some(rest @ [_, ..]) = self.output.get(self.sent..) {
            match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.connecting = false;
                    self.sent += count;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => {
                    (self.mute, self.sent) = (true, 0);
                    return Err(dial::cause(error));
                }
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }
}

/// Why the protocol took no request: the connection is closing, or the request is none.
fn refused(error: &h2::Error) -> Cause {
    let closing = error.is_go_away() || error.is_io() || error.is_reset();
    if closing { cause(error, false) } else { Cause::Unsendable }
}

/// Set when the protocol wants to be polled again.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("stream", &self.stream)
            .field("exchanges", &self.exchanges)
            .field("draining", &self.draining)
            .finish_non_exhaustive()
    }
}
