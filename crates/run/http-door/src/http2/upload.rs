//! The request's way: from the client's frames into the pipe to the walk.
//!
//! Invariant: the client may send more only for what the pipe has taken, so a walk that does not
//! read makes it wait.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use http_wire::{BODY_END, CHUNK_END, write_chunk_head};
use net::pipe::End;
use net::socket::Socket;

use super::translate::{self, Body};

/// A request on its way to the walk.
pub(crate) struct Upload {
    body: Body,
    frames: RecvStream,
    /// What is being written: the head, or framing before data.
    lines: Vec<u8>,
    written: usize,
    data: Bytes,
    /// What follows the data.
    tail: &'static [u8],
    /// Bytes of data to give back to the client's window once all is written.
    owed: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    /// All was read.
    Ended,
    /// A tunnel whose client will send no more; the walk hears of it once the tunnel is open.
    Closing,
}

impl Upload {
    /// A request of this head, whose body is in `frames`.
    pub(crate) fn new(head: Vec<u8>, body: Body, frames: RecvStream) -> Self {
        let state = if body == Body::None { State::Ended } else { State::Data };
        let (data, tail) = (Bytes::new(), &b""[..]);
        Self { body, frames, lines: head, written: 0, data, tail, owed: 0, state }
    }

    /// Lets the walk know that a tunnel's client has ended its side, if it has. Before the tunnel
    /// is open it would look as if the client had left.
    pub(crate) fn open_tunnel(&mut self, pipe: &mut End) {
        if self.state == State::Closing && self.is_written() {
            self.state = State::Ended;
            pipe.finish();
        }
    }

    /// Moves what can be moved now.
    ///
    /// # Errors
    /// When the client is gone. A walk that reads no more is no error: it may have answered.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, pipe: &mut End) -> io::Result<()> {
        loop {
            match self.poll_write(context, pipe) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending | Poll::Ready(Err(_)) => return Ok(()),
            }
            if self.poll_read(context)?.is_pending() {
                return Ok(());
            }
        }
    }

    fn is_written(&self) -> bool {
        self.written == self.lines.len() && self.data.is_empty() && self.tail.is_empty()
    }

    fn poll_write(&mut self, context: &mut Context<'_>, pipe: &mut End) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let lines = self.lines.get(self.written..).unwrap_or_default();
            let parts = [IoSlice::new(lines), IoSlice::new(&self.data), IoSlice::new(self.tail)];
            let count = std::task::ready!(pipe.poll_write(context, &parts))?;
            let of_lines = count.min(lines.len());
            self.written += of_lines;
            let of_data = (count - of_lines).min(self.data.len());
            self.data.advance(of_data);
            self.tail = self.tail.get(count - of_lines - of_data..).unwrap_or_default();
        }
        self.lines.clear();
        self.written = 0;
        if self.owed > 0 {
            // It fails only for a stream that is gone, which shows at the next read.
            drop(self.frames.flow_control().release_capacity(self.owed));
            self.owed = 0;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> io::Result<Poll<()>> {
        let gone = |_error: h2::Error| io::Error::from(io::ErrorKind::ConnectionReset);
        match self.state {
            State::Data => match self.frames.poll_data(context) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Some(data)) => self.take(data.map_err(gone)?),
                Poll::Ready(None) if self.body == Body::Tunnel => self.state = State::Closing,
                Poll::Ready(None) => self.state = State::Trailers,
            },
            State::Trailers => match self.frames.poll_trailers(context) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(trailers) => {
                    self.end(trailers.map_err(gone)?.as_ref())?;
                    self.state = State::Ended;
                }
            },
            State::Ended | State::Closing => return Ok(Poll::Pending),
        }
        Ok(Poll::Ready(()))
    }

    fn take(&mut self, data: Bytes) {
        if self.body == Body::Chunked && !data.is_empty() {
            write_chunk_head(&mut self.lines, data.len());
            self.tail = CHUNK_END;
        }
        self.owed = data.len();
        self.data = data;
    }

    /// Trailers can only follow chunks; behind a body of known length they are left out (RFC 9110,
    /// section 6.5.1).
    fn end(&mut self, trailers: Option<&http::HeaderMap>) -> io::Result<()> {
        if self.body != Body::Chunked {
            return Ok(());
        }
        let Some(trailers) = trailers else {
            self.lines.extend_from_slice(BODY_END);
            return Ok(());
        };
        translate::write_trailers(&mut self.lines, trailers)
            .map_err(|_untranslatable| io::ErrorKind::InvalidData.into())
    }
}
