//! One request on an HTTP/2 connection, and its answer: the head is looked at, the body only
//! counted off and its room given back at once.
//!
//! Invariant: an answer is complete with the end of its stream; what a server resets in good order
//! after that changes nothing (RFC 9113, section 8.1).

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use model::Timestamp;

use super::super::answer::{Cause, Reading};
use super::super::connection::{Progress, Work};
use super::super::requests::Kind;
use super::super::slots::Token;
use super::grpc::{self, Messages};

#[derive(Debug)]
pub(in super::super) struct Exchange {
    pub(in super::super) work: Work,
    /// What carries it.
    pub(in super::super) connection: Token,
    pub(in super::super) kind: Kind,
    /// When this try went out.
    pub(in super::super) sent_at: Timestamp,
    /// Whether its connection had rested so long that the peer may have closed it.
    pub(in super::super) may_be_stale: bool,
    /// Of a complete answer.
    pub(in super::super) seen: Seen,
    phase: Phase,
    /// Lives as long as the exchange: when both are dropped, the stream is reset.
    _upload: SendStream<Bytes>,
    waker: Waker,
    grpc: Option<Messages>,
}

/// What a complete answer said.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Seen {
    pub(in super::super) status: u16,
    /// The number of the server in [`Reading`].
    pub(in super::super) server: usize,
    pub(in super::super) retry_after: Option<Duration>,
    /// What makes a complete answer of gRPC a failure.
    pub(in super::super) failure: Option<Cause>,
    /// Messages of gRPC, and when the first one had arrived.
    pub(in super::super) messages: u64,
    pub(in super::super) first_message: Option<Timestamp>,
}

#[derive(Debug)]
enum Phase {
    Head(ResponseFuture),
    /// With the `grpc-status` of the head, if there was one.
    Body(RecvStream, Option<u8>),
}

/// A stream of its own on a connection.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) answer: ResponseFuture,
    pub(super) upload: SendStream<Bytes>,
    pub(super) kind: Kind,
    pub(super) grpc: bool,
}

impl Exchange {
    pub(super) fn new(opened: Opened, work: Work, connection: Token, waker: Waker) -> Self {
        Self {
            work,
            connection,
            kind: opened.kind,
            sent_at: Timestamp::ZERO,
            may_be_stale: false,
            seen: Seen::default(),
            phase: Phase::Head(opened.answer),
            _upload: opened.upload,
            waker,
            grpc: opened.grpc.then(Messages::default),
        }
    }

    /// True once the head of the answer came.
    pub(in super::super) const fn has_begun(&self) -> bool {
        matches!(self.phase, Phase::Body(..))
    }

    /// Goes on as far as what came allows; `arrived`: when that was.
    pub(in super::super) fn go_on(
        &mut self,
        arrived: Timestamp,
        reading: &mut Reading,
    ) -> Progress {
        let waker = self.waker.clone();
        let mut context = Context::from_waker(&waker);
        if let Phase::Head(answer) = &mut self.phase {
            match Pin::new(answer).poll(&mut context) {
                Poll::Pending => return Progress::Waiting,
                Poll::Ready(Err(error)) => return Progress::Failed(cause(&error, false)),
                Poll::Ready(Ok(answer)) => {
                    let (head, body) = answer.into_parts();
                    self.read_head(head.status.as_u16(), &head.headers, reading);
                    self.phase = Phase::Body(body, grpc::status(&head.headers));
                }
            }
        }
        self.read_body(arrived, &mut context)
    }

    fn read_head(&mut self, status: u16, fields: &HeaderMap, reading: &mut Reading) {
        self.seen.status = status;
        let server = fields.get(reading.server_header()).map(http::HeaderValue::as_bytes);
        self.seen.server = reading.number_server(server);
        if matches!(status, 429 | 503) {
            let value = fields.get(http::header::RETRY_AFTER);
            self.seen.retry_after = value.and_then(|value| Reading::retry_after(value.as_bytes()));
        }
    }

    fn read_body(&mut self, arrived: Timestamp, context: &mut Context<'_>) -> Progress {
        let Phase::Body(body, status) = &mut self.phase else { return Progress::Waiting };
        loop {
            match body.poll_data(context) {
                Poll::Pending => return Progress::Waiting,
                Poll::Ready(None) => break,
                Poll::Ready(Some(Err(error))) if ends_well(&error) => break,
                Poll::Ready(Some(Err(error))) => return Progress::Failed(cause(&error, true)),
                Poll::Ready(Some(Ok(data))) => {
                    // Nothing is kept, so that there is room for as much again. A stream that is
                    // over by now needs none.
                    body.flow_control().release_capacity(data.len()).unwrap_or_default();
                    if let Some(messages) = &mut self.grpc {
                        messages.take(&data, arrived);
                    }
                }
            }
        }
        match body.poll_trailers(context) {
            Poll::Pending => return Progress::Waiting,
            Poll::Ready(Ok(Some(trailers))) => *status = grpc::status(&trailers).or(*status),
            Poll::Ready(Ok(None)) => {}
            Poll::Ready(Err(error)) if ends_well(&error) => {}
            Poll::Ready(Err(error)) => return Progress::Failed(cause(&error, true)),
        }
        if let Some(messages) = &self.grpc {
            self.seen.messages = messages.count;
            self.seen.first_message = messages.first_at;
            self.seen.failure = grpc::failure(self.seen.status, *status, messages);
        }
        Progress::Complete
    }
}

/// A server that answered before it read the whole request may reset the rest of it so.
fn ends_well(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// What an error means for an exchange. What only says that the connection is gone is known better
/// by that.
pub(super) fn cause(error: &h2::Error, begun: bool) -> Cause {
    let code = error.reason().map_or(0, u32::from);
    if error.is_reset() && error.is_remote() {
        return if code == u32::from(Reason::REFUSED_STREAM) {
            Cause::RefusedStream
        } else {
            Cause::StreamReset(code)
        };
    }
    if error.is_go_away() && error.is_remote() {
        return Cause::GoAway(code);
    }
    if error.reason().is_some() {
        return Cause::BrokenHttp2(code);
    }
    if begun { Cause::CutShort } else { Cause::ClosedWithoutAnswer }
}
