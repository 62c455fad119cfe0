//! One request and its response: HTTP/1.1 in a pipe on one side, an HTTP/2 stream on the other.
//!
//! Both directions move at once and wait for each other's reader: no more is read from the pipe
//! than the server's window takes, and the server's window grows by what the walk has read. All of
//! it is driven by the walk's end of the pipe. When the walk leaves, this is dropped with that end,
//! and the stream is reset (CANCEL); when the server does, the pipe ends without a
//! proper end, which the walk reports, or repeats elsewhere if `Fate` says that nothing began.
//!
//! Invariant: a response ends properly in the pipe only if it did so on the stream.

use std::future::Future;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use http_wire::{
    CHUNK_END, ChunkDecoder, Framing, HeadLimits, HeadScanner, LAST_CHUNK, Method, RequestHead,
    write_chunk_head,
};
use net::clock;
use net::pipe::End;
use net::socket::Socket;

use super::websocket::{self, Agreement};
use super::{Slot, State, cut_of};
use crate::http2::translate_out::{self, BodyEnd, Untranslatable};
use crate::upstream::{Cut, Fate};

/// The walk's own head: the client's, within its listener's largest limits, and what the walk adds.
const LIMITS: HeadLimits = HeadLimits {
    bytes_max: 96 * 1024,
    headers_max: http_wire::HEADERS_MAX,
    target_bytes_max: 65_534,
};

/// Room for most heads of responses.
const HEAD_BYTES: usize = 512;

/// What a stream needs of its connection.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) secure: bool,
    pub(super) address: SocketAddr,
    /// The connection is for a request with a large head.
    pub(super) alone: bool,
    pub(super) fate: Fate,
}

/// Why a stream ended before its response did.
#[derive(Debug)]
enum Broken {
    /// The walk needs no more of it.
    Left,
    /// The server, or the connection to it.
    Cut(Cut),
}

/// Moves one request and its response. The pipe ends properly only with a whole response.
pub(super) async fn run(mut end: End, way: Way, slot: Slot) {
    let (fate, alone) = (way.fate.clone(), way.alone);
    if let Err(Broken::Cut(cut)) = pass(&mut end, way, &slot).await {
        // A server that ends the connection for a large head says that it is too large.
        let for_its_head = alone && matches!(cut, Cut::Closed | Cut::GoneAway);
        fate.set(Some(if for_its_head { Cut::Unsendable } else { cut }));
        end.reset();
    }
}

async fn pass(end: &mut End, way: Way, slot: &Slot) -> Result<(), Broken> {
    let mut head = RequestHead::default();
    let (bytes, rest) = read_head(end, &mut head, way.address).await?;
    let mut sender = way.sender;
    // A server that does not speak RFC 8441 gets what was asked without the upgrade.
    let agreement = websocket::agreement(&head, &bytes)
        .filter(|_| sender.is_extended_connect_protocol_enabled());
    let unsendable = |_untranslatable| Broken::Cut(Cut::Unsendable);
    let mut request = translate_out::request(&head, &bytes, way.secure).map_err(unsendable)?;
    let is_tunnel = agreement.is_some();
    if is_tunnel {
        websocket::extend(&mut request);
    }
    let is_empty = !is_tunnel && matches!(head.framing, Framing::None | Framing::Length(0));
    let (response, stream) = sender.send_request(request, is_empty).map_err(|error| {
        tracing::debug!(%error, "a stream could not be opened");
        // The connection has just ended, or takes no more streams: nothing was sent.
        let gone = error.is_io() || error.is_go_away();
        Broken::Cut(if gone { Cut::GoneAway } else { Cut::Unsendable })
    })?;
    drop(sender);
    let mut upload = Upload::new(stream, head.framing, &slot.state);
    if is_tunnel {
        (upload.source, upload.done) = (Source::Tunnel, false);
    }
    upload.take(rest)?;
    let mut download = Download { agreement, ..Download::new(response, head.method) };
    drop((bytes, head));
    std::future::poll_fn(|context| {
        if let Poll::Ready(broken) = upload.poll(context, end) {
            return Poll::Ready(Err(broken));
        }
        let downloaded = download.poll(context, end, &slot.state);
        // The other side of a tunnel ends on its own.
        let still_sends = download.is_open_tunnel && !upload.done;
        if still_sends && matches!(downloaded, Poll::Ready(Ok(()))) {
            return Poll::Pending;
        }
        downloaded
    })
    .await
}

/// Waits for the walk's request head: its bytes, and what came behind them.
async fn read_head(
    end: &mut End,
    head: &mut RequestHead,
    address: SocketAddr,
) -> Result<(Bytes, Vec<u8>), Broken> {
    let mut scanner = HeadScanner::default();
    let mut bytes = Vec::new();
    loop {
        let more = std::future::poll_fn(|context| end.poll_take(context)).await;
        let more = more.map_err(|_gone| Broken::Left)?;
        if more.is_empty() {
            return Err(Broken::Left);
        }
        if bytes.is_empty() {
            bytes = more;
        } else {
            bytes.extend_from_slice(&more);
        }
        // The walk writes what can be read, but for the number of fields, to which it adds some.
        let too_large = |reason| {
            tracing::debug!(%reason, "a request is too large for HTTP/2");
            Broken::Cut(Cut::Unsendable)
        };
        let Some(mut length) = scanner.scan(&bytes, &LIMITS).map_err(too_large)? else { continue };
        length += name_host(&mut bytes, address);
        head.parse(bytes.get(..length).unwrap_or_default(), &LIMITS).map_err(too_large)?;
        let rest = bytes.split_off(length);
        return Ok((Bytes::from(bytes), rest));
    }
}

/// A client of HTTP/1.0 need not say which host it means; HTTP/2 does not go without one. The
/// server's address stands for it then. Returns how much longer that makes the head.
fn name_host(bytes: &mut Vec<u8>, address: SocketAddr) -> usize {
    const NO_HOST: &[u8] = b"\r\nhost: \r\n";
    let line = memchr::memchr(b'\r', bytes).unwrap_or_default();
    if bytes.get(line..).is_none_or(|rest| !rest.starts_with(NO_HOST)) {
        return 0;
    }
    let at = line + NO_HOST.len() - 2;
    let host = address.to_string().into_bytes();
    let length = host.len();
    bytes.splice(at..at, host);
    length
}

/// The request's body on its way to the server.
struct Upload<'a> {
    stream: SendStream<Bytes>,
    source: Source,
    /// Body bytes that the server has not taken yet.
    data: Bytes,
    trailers: Option<HeaderMap>,
    /// Nothing more is sent: all was, or the server wants no more.
    done: bool,
    state: &'a State,
    /// Nothing was sent yet.
    is_new: bool,
    /// It waits until the server takes more.
    waits: bool,
}

/// Where the body ends in the pipe.
enum Source {
    /// All of it was read.
    Done,
    /// After this many more bytes.
    Length(u64),
    Chunked(Box<ChunkDecoder>),
    /// With what the walk writes: a WebSocket.
    Tunnel,
}

impl<'a> Upload<'a> {
    fn new(stream: SendStream<Bytes>, framing: Framing, state: &'a State) -> Self {
        let (source, done) = match framing {
            Framing::None | Framing::Length(0) | Framing::Close => (Source::Done, true),
            Framing::Length(length) => (Source::Length(length), false),
            Framing::Chunked => (Source::Chunked(Box::default()), false),
        };
        let (data, trailers) = (Bytes::new(), None);
        Self { stream, source, data, trailers, done, state, is_new: true, waits: false }
    }

    /// Takes what came from the pipe: decodes it.
    fn take(&mut self, mut bytes: Vec<u8>) -> Result<(), Untranslatable> {
        match &mut self.source {
            Source::Done => bytes.clear(),
            Source::Tunnel => {}
            Source::Length(left) => {
                *left = left.saturating_sub(bytes.len() as u64);
                if *left == 0 {
                    self.source = Source::Done;
                }
            }
            Source::Chunked(decoder) => {
                let decoded = decoder.decode(&mut bytes).map_err(|_reason| Untranslatable)?;
                bytes.truncate(decoded.data);
                if decoded.finished {
                    let trailers = translate_out::request_trailers(decoder.trailers())?;
                    self.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
                    self.source = Source::Done;
                }
            }
        }
        self.data = Bytes::from(bytes);
        Ok(())
    }

    /// Moves what can be moved now; ready only when the stream is of no more use.
    fn poll(&mut self, context: &mut Context<'_>, end: &mut End) -> Poll<Broken> {
        while !self.done {
            if !self.data.is_empty() {
                match ready!(self.poll_send(context)) {
                    Ok(()) => continue,
                    Err(broken) => return Poll::Ready(broken),
                }
            }
            if matches!(self.source, Source::Done) {
                self.end();
            }
            match ready!(end.poll_take(context)) {
                Ok(bytes) if !bytes.is_empty() => {
                    if let Err(untranslatable) = self.take(bytes) {
                        return Poll::Ready(untranslatable.into());
                    }
                }
                // The client of a tunnel has ended its side.
                Ok(_) if matches!(self.source, Source::Tunnel) => self.end(),
                // The walk gave up in the middle of the request.
                Ok(_) | Err(_) => return Poll::Ready(Broken::Left),
            }
        }
        Poll::Pending
    }

    /// Says that nothing follows.
    fn end(&mut self) {
        self.done = true;
        let ended = match self.trailers.take() {
            Some(trailers) => self.stream.send_trailers(trailers),
            None => self.stream.send_data(Bytes::new(), true),
        };
        if let Err(error) = ended {
            // The response tells why.
            tracing::trace!(%error, "the end of a request could not be sent");
        }
    }

    /// Sends some of the data. A server that takes no more of it may still answer.
    ///
    /// What is there at once, which is no more than a pipe holds, is left to the library whatever
    /// the window: a stream has none before it is open, and head and body leave in one write.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if std::mem::take(&mut self.is_new) {
            self.send(self.data.len());
            return Poll::Ready(Ok(()));
        }
        self.stream.reserve_capacity(self.data.len());
        if self.stream.capacity() == 0 {
            match self.stream.poll_capacity(context) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => {
                    self.stop_waiting();
                    self.done = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {
                    self.wait();
                    return Poll::Pending;
                }
            }
        }
        self.stop_waiting();
        self.send(self.stream.capacity().min(self.data.len()));
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, count: usize) {
        let part = self.data.split_to(count);
        let is_last =
            self.data.is_empty() && matches!(self.source, Source::Done) && self.trailers.is_none();
        let sent = self.stream.send_data(part, is_last);
        // The response tells why it could not be sent.
        self.done = is_last || sent.is_err();
    }

    fn wait(&mut self) {
        if !self.waits {
            self.waits = true;
            self.state.waiting_uploads.set(self.state.waiting_uploads.get() + 1);
            self.state.moved_at.set(clock::now());
        }
    }

    fn stop_waiting(&mut self) {
        if self.waits {
            self.waits = false;
            self.state.waiting_uploads.set(self.state.waiting_uploads.get() - 1);
            self.state.moved_at.set(clock::now());
        }
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

/// The response on its way to the walk.
struct Download {
    phase: Phase,
    request_method: Method,
    /// What goes before and after the data.
    head: Vec<u8>,
    data: Bytes,
    tail: &'static [u8],
    /// Bytes of these three that are in the pipe.
    written: usize,
    in_chunks: bool,
    /// What the client gets to read when the server agrees to a WebSocket.
    agreement: Option<Agreement>,
    is_open_tunnel: bool,
}

enum Phase {
    Head(ResponseFuture),
    Body(RecvStream),
    /// All of it was read.
    Done,
}

impl Download {
    fn new(response: ResponseFuture, request_method: Method) -> Self {
        Self {
            phase: Phase::Head(response),
            request_method,
            head: Vec::with_capacity(HEAD_BYTES),
            data: Bytes::new(),
            tail: b"",
            written: 0,
            in_chunks: false,
            agreement: None,
            is_open_tunnel: false,
        }
    }

    /// Moves what can be moved now; ready once all of the response is in the pipe.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        end: &mut End,
        state: &State,
    ) -> Poll<Result<(), Broken>> {
        loop {
            ready!(self.poll_write(context, end))?;
            let read = match &mut self.phase {
                Phase::Head(_) => self.poll_head(context),
                Phase::Body(_) => self.poll_body(context),
                Phase::Done => {
                    end.finish();
                    return Poll::Ready(Ok(()));
                }
            };
            ready!(read)?;
            state.heard.set(true);
        }
    }

    /// Writes what was read. Only what the walk's side took makes room for more of the server's.
    fn poll_write(&mut self, context: &mut Context<'_>, end: &mut End) -> Poll<Result<(), Broken>> {
        let total = self.head.len() + self.data.len() + self.tail.len();
        while self.written < total {
            let (head, rest) = skip(&self.head, self.written);
            let (data, rest) = skip(&self.data, rest);
            let (tail, _) = skip(self.tail, rest);
            let parts = [IoSlice::new(head), IoSlice::new(data), IoSlice::new(tail)];
            match ready!(end.poll_write(context, &parts)) {
                Ok(count) => self.written += count,
                Err(_gone) => return Poll::Ready(Err(Broken::Left)),
            }
        }
        if let Phase::Body(body) = &mut self.phase
            && !self.data.is_empty()
            && let Err(error) = body.flow_control().release_capacity(self.data.len())
        {
            tracing::debug!(%error, "a stream's window could not be given back");
        }
        self.head.clear();
        self.data.clear();
        self.tail = b"";
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Phase::Head(response) = &mut self.phase else { return Poll::Ready(Ok(())) };
        if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(context) {
            let (status, fields) = (interim.status(), interim.headers());
            translate_out::write_response(&mut self.head, status, fields, BodyEnd::Bodiless)?;
            return Poll::Ready(Ok(()));
        }
        let response = ready!(Pin::new(response).poll(context)).map_err(Broken::of)?;
        let (parts, body) = response.into_parts();
        let at_end = body.is_end_stream();
        let (status, fields) = (parts.status, &parts.headers);
        if status.is_success()
            && let Some(agreement) = self.agreement.take()
        {
            translate_out::check_fields(fields)?;
            agreement.write(&mut self.head, fields);
            self.is_open_tunnel = true;
            self.phase = Phase::Body(body);
            return Poll::Ready(Ok(()));
        }
        let end = translate_out::body_end(status, fields, self.request_method, at_end);
        translate_out::write_response(&mut self.head, status, fields, end)?;
        self.in_chunks = end == BodyEnd::Chunks;
        self.phase = match end {
            BodyEnd::Bodiless | BodyEnd::Empty => Phase::Done,
            BodyEnd::Length | BodyEnd::Chunks => Phase::Body(body),
        };
        Poll::Ready(Ok(()))
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Phase::Body(body) = &mut self.phase else { return Poll::Ready(Ok(())) };
        if let Some(data) = ready!(body.poll_data(context)) {
            self.data = data.map_err(Broken::of)?;
            if self.in_chunks && !self.data.is_empty() {
                write_chunk_head(&mut self.head, self.data.len());
                self.tail = CHUNK_END;
            }
            return Poll::Ready(Ok(()));
        }
        let trailers = ready!(body.poll_trailers(context)).map_err(Broken::of)?;
        if self.in_chunks {
            self.head.extend_from_slice(LAST_CHUNK);
            if let Some(trailers) = trailers {
                translate_out::write_trailers(&mut self.head, &trailers)?;
            }
            self.tail = CHUNK_END;
        }
        self.phase = Phase::Done;
        Poll::Ready(Ok(()))
    }
}

impl From<Untranslatable> for Broken {
    fn from(_untranslatable: Untranslatable) -> Self {
        Self::Cut(Cut::Malformed)
    }
}

impl Broken {
    fn of(error: h2::Error) -> Self {
        tracing::debug!(%error, "a stream of a server was cut");
        Self::Cut(cut_of(&error))
    }
}

/// The part of `bytes` after `count`, and what of `count` is left for the next part.
fn skip(bytes: &[u8], count: usize) -> (&[u8], usize) {
    match bytes.get(count..) {
        Some(rest) => (rest, 0),
        None => (&[], count - bytes.len()),
    }
}
