//! A client's connection: its socket, its buffer, its deadline, and what is known of its peer.
//!
//! Invariants: between requests a connection holds no buffer and no exchange, and within a head
//! that does not come only the bytes that came; the bytes of a request head stay at the front of
//! the buffer until the request was recorded.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_wire::{Endpoints, Framing, HeadLimits, HeadScanner, HeaderKind, RequestHead};
use model::configuration::Listener;
use model::{Reason, Timestamp};
use net::buffer::Buffer;
use net::clock;
use net::socket::{Socket, Stream};
use net::timer::Deadline;

use crate::exchange::Exchange;
use crate::identify::Known;
use crate::idle::IDLE_AFTER;
use crate::record;
use crate::session::{ClientCertificate, Session};
use crate::worker::{ListenerCell, Worker};

/// What is known of the peer before it says anything.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) peer: SocketAddr,
    /// The peer's address in text, written once per connection.
    pub(crate) peer_text: Box<str>,
    /// Its hash, once it was asked for.
    peer_hash: OnceCell<u64>,
    /// What it is to admission, once it was asked for.
    peer_key: OnceCell<u64>,
    /// Where it connected to.
    local: SocketAddr,
    /// The peer may speak for others (see `trusted_proxies`).
    pub(crate) trusted: bool,
    pub(crate) tls: bool,
    /// What its TLS handshake settled; all streams of an HTTP/2 connection share it.
    pub(crate) session: Option<Rc<Session>>,
    /// The number of the listener's terms on which it was let in last.
    terms: Cell<u64>,
    /// Whether it was let in when that was last asked.
    is_trusted: Cell<bool>,
    /// Whether a request on it was let in.
    pub(crate) is_known: Cell<bool>,
}

impl Origin {
    pub(crate) fn new(peer: SocketAddr, tls: bool, listener: &Listener) -> Self {
        let address = peer.ip().to_canonical();
        Self {
            peer,
            local: listener.address,
            peer_text: address.to_string().into_boxed_str(),
            peer_hash: OnceCell::new(),
            peer_key: OnceCell::new(),
            trusted: listener.trusted_proxies.iter().any(|network| network.contains(&address)),
            tls,
            session: None,
            terms: Cell::new(0),
            is_trusted: Cell::new(true),
            is_known: Cell::new(false),
        }
    }

    /// The same, once its TLS handshake is over, which it did on the listener's terms of this
    /// number.
    pub(crate) fn with_session(self, session: Option<Rc<Session>>, terms: u64) -> Self {
        Self { session, terms: Cell::new(terms), ..self }
    }

    /// Whether the listener still lets in the client at the other end of `stream`: what it trusts
    /// may have changed since their handshake. Looked at anew only then.
    pub(crate) fn is_admitted(&self, listener: &ListenerCell, stream: &Stream) -> bool {
        let terms = listener.terms();
        if self.terms.get() == terms {
            return true;
        }
        let is_admitted = listener.admits(stream);
        let was_admitted = self.is_trusted.replace(is_admitted);
        if is_admitted {
            self.terms.set(terms);
        } else if was_admitted {
            let (peer, known) = (self.peer, self.certificate().map(ClientCertificate::words));
            tracing::info!(%peer, known, "a client's certificate counts no more: it is asked to leave");
        }
        is_admitted
    }

    /// What [`Origin::is_admitted`] said last.
    pub(crate) fn is_trusted(&self) -> bool {
        self.is_trusted.get()
    }

    /// The certificate that the peer showed, if it showed one.
    pub(crate) fn certificate(&self) -> Option<&ClientCertificate> {
        self.session.as_ref()?.certificate.as_ref()
    }

    /// The same, connected to this address: where it is not known, the listener's stands for it.
    pub(crate) fn with_local(self, local: Option<SocketAddr>) -> Self {
        Self { local: local.unwrap_or(self.local), ..self }
    }

    /// Both ends of its connection, as a server is told by the PROXY protocol.
    pub(crate) const fn endpoints(&self) -> Endpoints {
        Endpoints { source: self.peer, destination: self.local }
    }

    /// The hash of the client's address as text, without allocating the text.
    pub(crate) fn client_hash(&self, head: &RequestHead, bytes: &[u8], listener: &Listener) -> u64 {
        if self.trusted {
            return record::hash_address(self.client(head, bytes, listener));
        }
        *self.peer_hash.get_or_init(|| record::hash(self.peer_text.as_bytes()))
    }

    /// What `hash` makes of the peer's address; always the same on one connection.
    pub(crate) fn peer_key(&self, hash: impl FnOnce(IpAddr) -> u64) -> u64 {
        *self.peer_key.get_or_init(|| hash(self.peer.ip()))
    }

    /// The client on whose behalf the request came: the last address in `X-Forwarded-For` that
    /// no trusted proxy has, or the peer itself.
    pub(crate) fn client(&self, head: &RequestHead, bytes: &[u8], listener: &Listener) -> IpAddr {
        let mut client = self.peer.ip().to_canonical();
        if !self.trusted {
            return client;
        }
        let fields = head.headers.iter().rev().filter(|h| h.kind == HeaderKind::XForwardedFor);
        for element in fields.flat_map(|field| field.value.of(bytes).rsplit(|byte| *byte == b',')) {
            let address =
                std::str::from_utf8(element).ok().and_then(|text| text.trim().parse().ok());
            let Some(address): Option<IpAddr> = address else { break };
            client = address.to_canonical();
            if !listener.trusted_proxies.iter().any(|network| network.contains(&client)) {
                break;
            }
        }
        client
    }
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: Stream,
    pub(crate) buffer: Option<Buffer>,
    pub(crate) deadline: Deadline,
    pub(crate) scanner: HeadScanner,
    /// When the first bytes of a head came, if they were not all of it.
    pub(crate) head_began: Option<Timestamp>,
    pub(crate) origin: Rc<Origin>,
    /// What it was recognized by last.
    pub(crate) known: Rc<RefCell<Known>>,
    pub(crate) listener: Rc<ListenerCell>,
    /// It is one stream of an HTTP/2 connection, for one request.
    pub(crate) over_http2: bool,
}

impl Client {
    /// Waits for a whole request head; its length, or `None` when the connection is over.
    ///
    /// # Errors
    /// The reason for which the head is refused.
    pub(crate) async fn read_head(&mut self, worker: &Rc<Worker>) -> Result<Option<usize>, Reason> {
        let settings = self.listener.settings();
        let limits = head_limits(&settings);
        // A stream of HTTP/2 holds nobody up.
        let idle_after = if self.over_http2 { Duration::MAX } else { IDLE_AFTER };
        self.scanner.reset();
        self.head_began = None;
        if let Some(buffer) = &mut self.buffer {
            buffer.compact();
            self.deadline.set(settings.timeouts.head);
        } else {
            self.deadline.set(settings.timeouts.keep_alive.min(idle_after));
        }
        let head_time = settings.timeouts.head;
        let longer = settings.timeouts.keep_alive.saturating_sub(idle_after);
        drop(settings);
        let listener = Rc::clone(&self.listener);
        let mut seat = None;
        let read = std::future::poll_fn(|context| {
            let polled = self.poll_head(context, worker, &limits, head_time);
            if polled.is_ready() {
                return polled;
            }
            let is_idle = self.buffer.is_none();
            if !is_idle {
                // Whoever was told to go and was asked something just then stays.
                seat = None;
            }
            while self.deadline.poll(context).is_ready() {
                if !is_idle {
                    return Poll::Ready(Err(Reason::HeadTimeout));
                }
                if seat.is_some() || longer.is_zero() {
                    return Poll::Ready(Ok(None));
                }
                seat = Some(listener.idle.sit(worker.wheel.ticks(), self.deadline.ender()));
                self.deadline.set(longer);
            }
            Poll::Pending
        });
        let read = read.await;
        if matches!(read, Ok(None)) && seat.is_some_and(|seat| seat.is_called()) {
            worker.metrics.connection_made_room();
        }
        read
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        worker: &Rc<Worker>,
        limits: &HeadLimits,
        head_time: Duration,
    ) -> Poll<Result<Option<usize>, Reason>> {
        loop {
            if let Some(buffer) = &self.buffer
                && !buffer.is_empty()
            {
                match self.scanner.scan(buffer.filled(), limits) {
                    Ok(Some(length)) => return Poll::Ready(Ok(Some(length))),
                    Ok(None) => drop(self.head_began.get_or_insert_with(clock::now)),
                    Err(reason) => return Poll::Ready(Err(reason)),
                }
            } else if (worker.is_closing(&self.listener) && !self.over_http2) || !self.is_admitted()
            {
                return Poll::Ready(Ok(None));
            }
            let buffer = self.buffer.get_or_insert_with(|| worker.buffers.lend());
            buffer.grow();
            if buffer.spare().is_empty() {
                return Poll::Ready(Err(Reason::HeadTooLarge));
            }
            match self.stream.poll_read(context, buffer.spare()) {
                Poll::Pending => {
                    self.hold_what_came();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(count)) if count > 0 => {
                    let begins = buffer.is_empty();
                    buffer.advance(count);
                    if begins && worker.account.is_full() {
                        return Poll::Ready(Err(Reason::BuffersFull));
                    }
                    if begins {
                        self.deadline.set(head_time);
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// Whether its listener lets it in still. Of a stream of HTTP/2 its connection knows.
    pub(crate) fn is_admitted(&self) -> bool {
        self.over_http2 || self.origin.is_admitted(&self.listener, &self.stream)
    }

    /// Whether it may be asked something more once it has its answer.
    pub(crate) fn stays(&self, worker: &Worker) -> bool {
        !worker.accepts_no_more(&self.listener) && self.is_admitted()
    }

    /// Keeps no more memory than what was read needs.
    fn hold_what_came(&mut self) {
        match &mut self.buffer {
            Some(buffer) if !buffer.is_empty() => buffer.shrink(),
            _ => self.buffer = None,
        }
    }

    /// Ready once the client has left: it closed its connection, or reset it. What else it sends
    /// in the meantime is kept for later, as far as the buffer has room; beyond that, only a
    /// reset is noticed. Only while nobody else reads: all of the request was read, or nothing
    /// behind its head yet. Meanwhile the buffer holds no more than what was sent.
    ///
    /// A client that ends only its writing side counts as gone, for nothing tells the two apart.
    /// A client that does so and still waits for its answer is rare, and nginx leaves it too; one
    /// that has its answer soon is never asked (see `work::WATCH_AFTER`).
    pub(crate) fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(buffer) = &mut self.buffer {
            buffer.grow();
            if buffer.spare().is_empty() {
                break;
            }
            match self.stream.poll_read(context, buffer.spare()) {
                Poll::Pending => {
                    buffer.shrink();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(count)) if count > 0 => buffer.advance(count),
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        self.stream.poll_reset(context)
    }

    /// True when nothing of the request's body is still to come. What of it came with the head,
    /// and was not forwarded, is thrown away.
    pub(crate) fn skips_body(&mut self, exchange: &Exchange) -> bool {
        let length = match exchange.request.framing {
            Framing::None => 0,
            Framing::Length(length) => length,
            Framing::Chunked | Framing::Close => return false,
        };
        if length == 0 {
            return true;
        }
        let (Some(buffer), Ok(length)) = (&mut self.buffer, usize::try_from(length)) else {
            return false;
        };
        let whole = !exchange.body_begun && buffer.filled().len() >= length;
        if whole {
            buffer.consume(length);
        }
        whole
    }

    /// Writes all of `bytes`, within the listener's time for one advance of a body.
    ///
    /// # Errors
    /// `ClientClosed` or `ClientTooSlow`.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Reason> {
        self.deadline.set(self.listener.settings().timeouts.body);
        while !bytes.is_empty() {
            let (stream, deadline) = (&mut self.stream, &self.deadline);
            let write =
                std::future::poll_fn(|context| stream.poll_write(context, &[IoSlice::new(bytes)]));
            match deadline.within(write).await {
                Ok(Ok(count)) if count > 0 => bytes = bytes.get(count..).unwrap_or_default(),
                Ok(_) => return Err(Reason::ClientClosed),
                Err(_) => return Err(Reason::ClientTooSlow),
            }
        }
        let (stream, deadline) = (&mut self.stream, &self.deadline);
        let flush = std::future::poll_fn(|context| stream.poll_flush(context));
        match deadline.within(flush).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Reason::ClientClosed),
            Err(_) => Err(Reason::ClientTooSlow),
        }
    }

    /// Ends the connection so that the client can still read the last answer. After a `complete`
    /// exchange nothing is left to read and it can end at once. Else the writing side is closed
    /// first, and what the client still sends is read and thrown away for a while: closing with
    /// bytes unread would reset the connection and could destroy the answer on its way.
    pub(crate) async fn close(&mut self, worker: &Rc<Worker>, complete: bool) {
        let nothing_left = self.buffer.as_ref().is_none_or(Buffer::is_empty);
        if complete && nothing_left && matches!(self.stream, Stream::Tcp(_)) {
            return;
        }
        self.buffer = None;
        // A stream of HTTP/2 ends on its own; nobody's bytes are in its way.
        if !self.over_http2 {
            linger(worker, &mut self.stream, &self.deadline).await;
        }
    }
}

/// Ends the writing side, and throws away for a while what the client still sends.
pub(crate) async fn linger(worker: &Worker, stream: &mut Stream, deadline: &Deadline) {
    const LINGER: Duration = Duration::from_secs(2);
    const BYTES_MAX: usize = 256 * 1024;
    deadline.set(LINGER);
    let mut left = BYTES_MAX;
    let drain = std::future::poll_fn(|context| {
        if stream.poll_shutdown(context).is_pending() {
            return Poll::Pending;
        }
        let mut buffer = worker.buffers.lend();
        while left > 0 {
            match stream.poll_read(context, buffer.bytes_mut()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => left = left.saturating_sub(count),
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(())
    });
    if deadline.within(drain).await.is_err() {
        tracing::trace!("the client did not close in time");
    }
}

pub(crate) fn head_limits(listener: &Listener) -> HeadLimits {
    HeadLimits {
        bytes_max: listener.limits.head_bytes_max,
        headers_max: listener.limits.headers_max,
        target_bytes_max: listener.limits.target_bytes_max,
    }
}
