//! The response's way: from the pipe of the walk into frames to the client.
//!
//! What the walk wrote is taken as it is; the library sends it on without another copy.
//! Invariants: no more waits here than one pipe holds, and in the library than its own bound; a
//! client that takes nothing for as long as a body may stand still is cut off.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http_wire::{ChunkDecoder, Framing, HeadLimits, HeadScanner, Method, ResponseHead};
use net::pipe::End;
use net::timer::Deadline;

use super::stream::Shared;
use super::translate::{self, Untranslatable};

/// The walk adds to heads that it has bounded itself.
const LIMITS: HeadLimits =
    HeadLimits { bytes_max: 64 * 1024, headers_max: http_wire::HEADERS_MAX, target_bytes_max: 0 };

/// Why a response did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The client is gone.
    Gone,
    /// The client does not read.
    TooSlow,
    /// The walk cut it, or never began it.
    Broken,
}

/// A response on its way to the client.
pub(crate) struct Download {
    shared: Shared,
    /// How long the client is waited for; absent while it is not.
    deadline: Option<Deadline>,
    request_method: Method,
    scanner: HeadScanner,
    /// A head that is not whole yet.
    head: Vec<u8>,
    body: Body,
    frames: Option<SendStream<Bytes>>,
    /// Data that waits for the client's window.
    data: Bytes,
    /// The end of the body was read.
    ended: bool,
}

enum Body {
    /// The head is still to come.
    Unknown,
    Length(u64),
    Chunked(Box<ChunkDecoder>),
    /// Up to the end of what the walk writes.
    Tunnel,
}

impl Download {
    /// The response to a request of this method.
    pub(crate) fn new(shared: &Shared, method: Method) -> Self {
        Self {
            shared: shared.clone(),
            deadline: None,
            request_method: method,
            scanner: HeadScanner::default(),
            head: Vec::new(),
            body: Body::Unknown,
            frames: None,
            data: Bytes::new(),
            ended: false,
        }
    }

    /// True once a tunnel is open.
    pub(crate) fn is_tunnel(&self) -> bool {
        matches!(self.body, Body::Tunnel)
    }

    /// Ready once the client has reset the stream.
    pub(crate) fn poll_reset(
        &mut self,
        context: &mut Context<'_>,
        respond: &mut SendResponse<Bytes>,
    ) -> Poll<()> {
        match &mut self.frames {
            None => respond.poll_reset(context).map(|_reason| ()),
            Some(frames) => frames.poll_reset(context).map(|_reason| ()),
        }
    }

    /// Moves what can be moved now; ready once the response has ended.
    ///
    /// # Errors
    /// Why it did not come to its end.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        pipe: &mut End,
        respond: &mut SendResponse<Bytes>,
    ) -> Poll<Result<(), Cut>> {
        loop {
            ready!(self.poll_send(context))?;
            if self.ended {
                return Poll::Ready(self.end());
            }
            let taken = match ready!(pipe.poll_take(context)) {
                Ok(taken) => taken,
                Err(_reset) => return Poll::Ready(Err(Cut::Broken)),
            };
            if taken.is_empty() {
                if !self.is_tunnel() {
                    return Poll::Ready(Err(Cut::Broken));
                }
                self.ended = true;
                continue;
            }
            if matches!(self.body, Body::Unknown) {
                self.take_head(taken, respond)?;
            } else {
                self.take_body(taken, 0)?;
            }
        }
    }

    /// Sends what the client has room for; ready once nothing waits.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        let is_end = self.ended && self.trailer_lines().is_empty();
        let Some(frames) = &mut self.frames else { return Poll::Ready(Ok(())) };
        while !self.data.is_empty() {
            frames.reserve_capacity(self.data.len());
            let room = match frames.capacity() {
                0 => match frames.poll_capacity(context) {
                    Poll::Ready(Some(Ok(room))) => room,
                    Poll::Ready(_) => return Poll::Ready(Err(Cut::Gone)),
                    // A tunnel's time is the walk's to watch.
                    Poll::Pending if matches!(self.body, Body::Tunnel) => return Poll::Pending,
                    Poll::Pending => {
                        let (worker, listener) = (&self.shared.worker, &self.shared.listener);
                        let deadline = self.deadline.get_or_insert_with(|| {
                            let deadline = worker.wheel.deadline();
                            deadline.set(listener.settings().timeouts.body);
                            deadline
                        });
                        return deadline.poll(context).map(|_| Err(Cut::TooSlow));
                    }
                },
                room => room,
            };
            self.deadline = None;
            let part = self.data.split_to(room.min(self.data.len()));
            let is_last = is_end && self.data.is_empty();
            frames.send_data(part, is_last).map_err(|_gone| Cut::Gone)?;
            if is_last {
                self.frames = None;
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// All data is sent: what is left is to say so.
    fn end(&mut self) -> Result<(), Cut> {
        let Some(mut frames) = self.frames.take() else { return Ok(()) };
        let sent = match translate::trailers(self.trailer_lines()).map_err(broken)? {
            Some(trailers) => frames.send_trailers(trailers),
            None => frames.send_data(Bytes::new(), true),
        };
        sent.map_err(|_gone| Cut::Gone)
    }

    fn trailer_lines(&self) -> &[u8] {
        match &self.body {
            Body::Chunked(decoder) => decoder.trailers(),
            Body::Unknown | Body::Length(_) | Body::Tunnel => &[],
        }
    }

    /// Reads heads: interim ones, and the one that the body follows.
    fn take_head(&mut self, taken: Vec<u8>, respond: &mut SendResponse<Bytes>) -> Result<(), Cut> {
        if self.head.is_empty() {
            self.head = taken;
        } else {
            self.head.extend_from_slice(&taken);
        }
        while let Some(length) =
            self.scanner.scan(&self.head, &LIMITS).map_err(|_reason| Cut::Broken)?
        {
            self.scanner.reset();
            let mut head = ResponseHead::default();
            let bytes = self.head.get(..length).unwrap_or_default();
            head.parse(bytes, &LIMITS, self.request_method).map_err(|_reason| Cut::Broken)?;
            if head.is_interim() {
                let bytes = Bytes::copy_from_slice(bytes);
                let interim = translate::response(&head, &bytes).map_err(broken)?;
                respond.send_informational(interim).map_err(|_gone| Cut::Gone)?;
                self.head.drain(..length);
                continue;
            }
            return self.respond(&head, length, respond);
        }
        Ok(())
    }

    /// Sends the final head, with what of the body came with it.
    fn respond(
        &mut self,
        head: &ResponseHead,
        length: usize,
        respond: &mut SendResponse<Bytes>,
    ) -> Result<(), Cut> {
        self.body = match head.framing {
            _ if head.status == 101 => Body::Tunnel,
            Framing::None => Body::Length(0),
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Box::default()),
            // The walk never writes such a response to a client of HTTP/1.1.
            Framing::Close => return Err(Cut::Broken),
        };
        let message = std::mem::take(&mut self.head);
        let bytes = self.take_body(message, length)?;
        let response = translate::response(head, &bytes.slice(..length)).map_err(broken)?;
        let is_last = self.ended && self.data.is_empty() && self.trailer_lines().is_empty();
        let frames = respond.send_response(response, is_last).map_err(|_gone| Cut::Gone)?;
        self.frames = Some(frames).filter(|_| !is_last);
        Ok(())
    }

    /// Takes the body's bytes, from `start` on in what was read.
    fn take_body(&mut self, mut taken: Vec<u8>, start: usize) -> Result<Bytes, Cut> {
        let raw = taken.get_mut(start..).unwrap_or_default();
        let count = match &mut self.body {
            Body::Unknown => 0,
            Body::Tunnel => raw.len(),
            Body::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(raw.len());
                *left -= count as u64;
                self.ended = *left == 0;
                count
            }
            Body::Chunked(decoder) => {
                let decoded = decoder.decode(raw).map_err(|_reason| Cut::Broken)?;
                self.ended = decoded.finished;
                decoded.data
            }
        };
        let bytes = Bytes::from(taken);
        self.data = bytes.slice(start..start + count);
        Ok(bytes)
    }
}

fn broken(_: Untranslatable) -> Cut {
    tracing::debug!("a response that HTTP/2 does not know");
    Cut::Broken
}
