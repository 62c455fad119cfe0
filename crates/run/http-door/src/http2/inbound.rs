//! HTTP/2 from a client: one task drives the connection and serves its streams.
//!
//! What the library (h2 0.4.20) bounds by itself, and how it is set here: streams at once, and
//! those reset before they were looked at; the size of a header list (four times its limit ends
//! the connection) and the CONTINUATION frames of one; errors of streams that it had to reset
//! (MadeYouReset); empty and tiny DATA frames; windows, and what waits to be sent on a stream. It
//! answers each PING and SETTINGS before it reads on, so these hold no memory. How often a client
//! may send them, and reset streams, is [`frames`]' to count. For its buffers it holds 24 KiB for each
//! connection, used or not, which nothing makes it give back; what is held here for streams is given
//! back when there was none for a second.
//!
//! Invariants: a connection without a stream lives no longer than an idle one of HTTP/1.1; a
//! header block that has begun ends within the time of a head; once the listener closes, streams
//! in flight end, and no others begin; nor do they once the client's certificate counts no more.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use model::configuration::{Http2, Listener, ListenerProtocol};
use net::clock;
use net::socket::Stream;
use net::timer::Deadline;

use super::carrier::Carrier;
use super::frames::{Flood, Meter, PREFACE, Reset};
use super::stream::{self, Shared};
use super::streams::Streams;
use crate::connection::{self, Client};
use crate::idle::{IDLE_AFTER, Seat};
use crate::record;
use crate::worker::{ListenerCell, Worker};

/// What a client may send of one body before the walk has read any of it.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for all streams of a connection. Few slow readers of a connection hold up the others,
/// and a connection that is all uploads holds no more than eight of HTTP/1.1.
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;
/// What waits in the library on one stream, on its way to a slow client.
const SEND_BYTES_MAX: usize = 32 * 1024;
/// Streams that the library had to reset for errors of the client's, on one connection.
const STREAM_ERRORS_MAX: usize = 200;
/// The size of a field that HTTP/2 counts besides name and value (RFC 9113, section 6.5.2).
const FIELD_OVERHEAD: usize = 32;
/// Turns that streams and frames take before other connections have theirs.
const TURNS_MAX: usize = 4;
/// What a stream is reset with that has its whole response (RFC 9113, section 8.1).
const NO_ERROR: u32 = 0;
/// Streams of a connection of which it is remembered that they were served.
const SERVED_MAX: usize = 256;
/// How long a client that was told to leave, and has no stream open, has to agree: a round trip.
const LEAVE_TIME: Duration = Duration::from_millis(500);

/// True when the client agreed to HTTP/2 in its TLS handshake.
pub(crate) fn was_negotiated(stream: &Stream) -> bool {
    match stream {
        Stream::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        Stream::Tcp(_) | Stream::Pipe(_) => false,
    }
}

/// True when a connection's first head, of `length` bytes, is the beginning of the preface of
/// HTTP/2 and the listener speaks that. Under TLS it is agreed on in the handshake only.
pub(crate) fn is_preface(client: &Client, length: usize) -> bool {
    const LINE_BYTES: usize = 18;
    length == LINE_BYTES
        && matches!(client.stream, Stream::Tcp(_))
        && settings(&client.listener.settings()).is_some()
        && client
            .buffer
            .as_ref()
            .is_some_and(|buffer| buffer.filled().get(..LINE_BYTES) == PREFACE.get(..LINE_BYTES))
}

fn settings(listener: &Listener) -> Option<Http2> {
    match &listener.protocol {
        ListenerProtocol::Http { http2 } => *http2,
        ListenerProtocol::Tcp(_) => None,
    }
}

/// Serves one client connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, mut client: Client) {
    let listener = client.listener.settings();
    let http2 = settings(&listener).unwrap_or_default();
    let cell = Rc::clone(&client.listener);
    let builder = builder(&listener, http2);
    let head_time = listener.timeouts.head;
    drop(listener);
    let meter = Rc::new(RefCell::new(Meter::new(http2.streams_max, clock::now())));
    let first = client.buffer.take();
    let shared = Shared {
        worker: Rc::clone(&worker),
        listener: client.listener,
        origin: client.origin,
        known: client.known,
    };
    let stream = Rc::new(RefCell::new(client.stream));
    let carrier = Carrier::new(&stream, first, &meter);
    client.deadline.set(head_time);
    let Ok(Ok(frames)) = client.deadline.within(builder.handshake(carrier)).await else {
        tracing::debug!(peer = %shared.origin.peer, "no preface of HTTP/2 came");
        return;
    };
    worker.metrics.http2_connection();
    let mut driver = Driver {
        shared,
        frames,
        meter,
        streams: Streams::new(),
        begin: stream::serve,
        deadline: client.deadline,
        phase: Phase::New,
        rests: false,
        seat: None,
        leaving: false,
        refusing: false,
        closing: false,
        told: false,
        served: VecDeque::new(),
    };
    std::future::poll_fn(|context| driver.poll(context, (&cell, &stream))).await;
    let Driver { frames, mut streams, deadline, seat, .. } = driver;
    drop(frames);
    let makes_room = seat.as_ref().is_some_and(Seat::is_called);
    drop(seat);
    let linger = async {
        if let Some(stream) = Rc::into_inner(stream)
            && !makes_room
        {
            connection::linger(&worker, &mut stream.into_inner(), &deadline).await;
        }
    };
    // Their walks find the client gone; the connection's place is free once they have ended.
    let last_turns = std::future::poll_fn(|context| {
        streams.turn();
        streams.take_frames_woken();
        streams.rest(context);
        if streams.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::join!(linger, last_turns);
}

fn builder(listener: &Listener, http2: Http2) -> Builder {
    let limits = &listener.limits;
    // Twice what the walk allows, so that it is the walk that refuses, and says so.
    let list_bytes = 2 * (limits.head_bytes_max + FIELD_OVERHEAD * limits.headers_max);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(http2.streams_max)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(list_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BYTES_MAX)
        .max_local_error_reset_streams(Some(STREAM_ERRORS_MAX))
        .enable_connect_protocol();
    builder
}

/// What a connection does, as far as its deadline is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    /// A header block has begun.
    Head,
    /// Streams are open.
    Busy,
    Idle,
    /// The client was told to leave, and no stream is open.
    Leaving,
}

/// Serves one stream to its end.
type Begin<F> = fn(Shared, Request<RecvStream>, SendResponse<Bytes>) -> F;

struct Driver<'c, F> {
    shared: Shared,
    frames: Connection<Carrier, Bytes>,
    meter: Rc<RefCell<Meter>>,
    streams: Streams<F>,
    begin: Begin<F>,
    /// Always armed, so that the task is woken when the listener closes.
    deadline: Deadline,
    phase: Phase,
    /// It has been idle for a while, and holds no memory that it does not need.
    rests: bool,
    /// Its place among the idle connections; kept to the end by one that goes to make room.
    seat: Option<Seat<'c>>,
    /// The client was told to leave.
    leaving: bool,
    /// Its certificate counts no more: streams that it opens are refused.
    refusing: bool,
    /// The connection ends now: what else the client sends is not looked at.
    closing: bool,
    /// That a stream was reset stands in the log.
    told: bool,
    /// The last streams that were served, and so have a line of their own in the access log.
    served: VecDeque<u32>,
}

impl<'c, F: Future<Output = ()>> Driver<'c, F> {
    /// Ready once the connection is over.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        (listener, stream): (&'c ListenerCell, &RefCell<Stream>),
    ) -> Poll<()> {
        if !self.refusing {
            self.refusing = !self.shared.origin.is_admitted(listener, &stream.borrow());
        }
        let polled = self.poll_phases(context, listener);
        if polled.is_pending() {
            self.streams.rest(context);
        }
        polled
    }

    fn poll_phases(&mut self, context: &mut Context<'_>, listener: &'c ListenerCell) -> Poll<()> {
        loop {
            if self.poll_turns().is_ready() {
                return Poll::Ready(());
            }
            let is_over = self.refusing || self.shared.worker.accepts_no_more(listener);
            if is_over && !self.leaving {
                self.leave();
                continue;
            }
            self.enter(self.current_phase(), listener);
            if self.deadline.poll(context).is_pending() {
                return Poll::Pending;
            }
            match self.phase {
                Phase::New | Phase::Busy => self.phase = Phase::New,
                Phase::Idle if self.seat.as_ref().is_some_and(Seat::is_called) => {
                    // Streams that it opens just now are told that they were not begun.
                    self.shared.worker.metrics.connection_made_room();
                    self.close(Reason::NO_ERROR);
                }
                Phase::Idle if !self.rests => {
                    self.streams.shrink();
                    self.served = VecDeque::new();
                    self.rests = true;
                    let keep_alive = self.shared.listener.settings().timeouts.keep_alive;
                    self.deadline.set(keep_alive.saturating_sub(IDLE_AFTER));
                }
                Phase::Idle => self.leave(),
                Phase::Head => {
                    tracing::debug!(peer = %self.shared.origin.peer, "a header block did not end");
                    return Poll::Ready(());
                }
                Phase::Leaving if self.closing => return Poll::Ready(()),
                Phase::Leaving => {
                    // It is told which of its streams were served, so that it can repeat others.
                    self.close(Reason::NO_ERROR);
                    self.phase = Phase::New;
                }
            }
        }
    }

    /// What streams have to say is sent with the frames, and new ones begin, until nobody has
    /// anything to do; ready once the connection is over.
    fn poll_turns(&mut self) -> Poll<()> {
        for _ in 0..TURNS_MAX {
            if !self.streams.turn() {
                break;
            }
            if self.streams.take_frames_woken() && self.poll_frames().is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Takes in streams; ready once the connection is over.
    fn poll_frames(&mut self) -> Poll<()> {
        let waker = self.streams.frames_waker();
        let context = &mut Context::from_waker(&waker);
        loop {
            if self.closing {
                let closed = self.frames.poll_closed(context);
                self.count_resets();
                return closed.map(|_| ());
            }
            let accepted = self.frames.poll_accept(context);
            self.count_resets();
            let flood = self.meter.borrow().flood();
            if let Some(flood) = flood
                && !matches!(accepted, Poll::Ready(None | Some(Err(_))))
            {
                let peer = self.shared.origin.peer;
                tracing::info!(%peer, ?flood, "an HTTP/2 connection was ended");
                self.shared.worker.metrics.http2_flood();
                self.close(match flood {
                    Flood::Resets | Flood::IdleFrames => Reason::ENHANCE_YOUR_CALM,
                    Flood::NoSettings => Reason::PROTOCOL_ERROR,
                });
                continue;
            }
            match accepted {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some(Err(error))) => {
                    let begun_wrongly = flood.filter(|flood| *flood == Flood::NoSettings);
                    let own = error.reason().filter(|_| !error.is_remote());
                    let own = own.or(begun_wrongly.map(|_| Reason::PROTOCOL_ERROR));
                    let metrics = &self.shared.worker.metrics;
                    own.iter().for_each(|code| metrics.http2_connection_ended((*code).into()));
                    tracing::info!(peer = %self.shared.origin.peer, %error, "HTTP/2 failed");
                    return Poll::Ready(());
                }
                Poll::Ready(Some(Ok((_, mut respond)))) if self.refusing => {
                    respond.send_reset(Reason::REFUSED_STREAM);
                }
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.shared.worker.metrics.http2_stream();
                    if self.served.len() >= SERVED_MAX {
                        self.served.pop_front();
                    }
                    self.served.push_back(respond.stream_id().as_u32());
                    let begin = || (self.begin)(self.shared.clone(), request, respond);
                    self.streams.add(begin);
                }
            }
        }
    }

    /// Tells the client to open no more streams.
    fn leave(&mut self) {
        self.leaving = true;
        self.frames.graceful_shutdown();
        self.streams.wake_frames();
    }

    /// Counts the streams that the client was told were reset. What the library resets by itself
    /// (a malformed request, a list of fields beyond all limits) is no request to anybody else, so
    /// it is written down here.
    fn count_resets(&mut self) {
        let resets = self.meter.borrow_mut().take_resets();
        for Reset { stream, code } in resets.into_iter().filter(|reset| reset.code != NO_ERROR) {
            self.shared.worker.metrics.http2_stream_reset(code);
            if !self.served.contains(&stream) {
                record::stream_refused(&self.shared.worker, &self.shared.origin);
            }
            // A client can have many lines written: the first of a connection is enough.
            if !std::mem::replace(&mut self.told, true) {
                let (peer, code) = (self.shared.origin.peer, Reason::from(code));
                tracing::info!(%peer, ?code, "a stream of HTTP/2 was reset; others of this connection are counted only");
            }
        }
    }

    /// Ends the connection and all of its streams.
    fn close(&mut self, reason: Reason) {
        if reason != Reason::NO_ERROR {
            self.shared.worker.metrics.http2_connection_ended(reason.into());
        }
        (self.closing, self.leaving) = (true, true);
        self.frames.abrupt_shutdown(reason);
        self.streams.wake_frames();
    }

    fn current_phase(&self) -> Phase {
        if self.meter.borrow().in_head() {
            Phase::Head
        } else if !self.streams.is_empty() {
            Phase::Busy
        } else if self.leaving {
            Phase::Leaving
        } else {
            Phase::Idle
        }
    }

    /// The time of a phase begins when it does, and not anew with each frame.
    fn enter(&mut self, phase: Phase, listener: &'c ListenerCell) {
        if phase == self.phase {
            return;
        }
        self.phase = phase;
        if phase == Phase::Idle {
            let ender = self.deadline.ender();
            self.seat = Some(listener.idle.sit(self.shared.worker.wheel.ticks(), ender));
        } else if !self.closing {
            self.seat = None;
        }
        let timeouts = self.shared.listener.settings().timeouts;
        self.rests = false;
        self.deadline.set(match phase {
            Phase::Head => timeouts.head,
            Phase::New | Phase::Busy => timeouts.keep_alive,
            Phase::Idle => timeouts.keep_alive.min(IDLE_AFTER),
            Phase::Leaving => LEAVE_TIME,
        });
    }
}
