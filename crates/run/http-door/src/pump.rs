//! Moves one message, head and body, from one socket to another under back-pressure.
//!
//! A request and a response are the same thing here: a head that is already written out in
//! `out`, and a body that is read from the source, decoded, encoded again and written to the
//! sink. Head and first body bytes leave in one vectored write. Nothing more is read before
//! all that was read is written, so a slow reader costs one buffer.
//!
//! Invariant: only decoded body bytes are forwarded, never framing: chunk extensions and
//! whatever else a sender put between the bytes end here.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use http_wire::{ChunkDecoder, Framing, write_chunk_head};
use model::Reason;
use net::buffer::Buffer;
use net::socket::Socket;

use self::coded::Coded;

mod coded;

/// Copying this much costs less than a second part in a vectored write.
const COALESCE_BYTES_MAX: usize = 2048;

/// Where a body ends on the wire it comes from.
#[derive(Debug)]
enum Source {
    /// There is none, or all of it was read.
    Done,
    /// After this many more bytes.
    Length(u64),
    /// At the last chunk.
    Chunked(Box<ChunkDecoder>),
    /// At the end of the connection.
    Close,
}

/// How a body is framed on the wire it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is: the length was announced, or the connection's end is the body's.
    Identity,
    /// In chunks.
    Chunked,
    /// Through an encoder, and what that gives out in chunks.
    Coded,
}

/// The side that a pump waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Sink,
}

/// Why a message could not be moved to its end.
#[derive(Debug)]
pub(crate) enum PumpError {
    /// The source failed or ended too early.
    Source,
    /// The sink failed.
    Sink,
    /// The body is malformed.
    Malformed(Reason),
    /// The body is larger than the limit.
    TooLarge,
    /// The encoder failed.
    Encoder,
}

/// One message on its way.
#[derive(Debug)]
pub(crate) struct Pump {
    source: Source,
    encoding: Encoding,
    /// Where the body's bytes begin in the buffer; what is before belongs to the head.
    floor: usize,
    /// Decoded bytes in the buffer that wait to be written.
    data: (usize, usize),
    /// What follows the data on the wire.
    tail: &'static [u8],
    /// How much of `out`, data and tail is written.
    written: usize,
    /// The end of the body is encoded.
    ended: bool,
    /// Body bytes that may still come.
    left_max: u64,
    /// Body bytes so far.
    bytes: u64,
    /// The encoder, if there is one.
    coded: Option<Box<Coded>>,
    /// The decoded body, while all of it is still in the buffer.
    whole: Option<(usize, usize)>,
    decoded_once: bool,
    /// What follows a chunked body is not passed on.
    drops_trailers: bool,
    blocked: Side,
    progressed: bool,
    /// Anything was written at all.
    sent: bool,
    /// All was written and flushed.
    finished: bool,
}

impl Pump {
    /// A message whose body begins at the buffer's unread bytes. `bytes_max` bounds the body.
    pub(crate) fn new(
        framing: Framing,
        encoding: Encoding,
        buffer: &Buffer,
        bytes_max: u64,
    ) -> Self {
        let (source, encoding) = match framing {
            Framing::None | Framing::Length(0) => (Source::Done, Encoding::Identity),
            Framing::Length(length) => (Source::Length(length), encoding),
            Framing::Chunked => (Source::Chunked(Box::default()), encoding),
            Framing::Close => (Source::Close, encoding),
        };
        let floor = buffer.bounds().0;
        let empty = matches!(source, Source::Done);
        Self {
            source,
            encoding,
            floor,
            data: (floor, floor),
            tail: b"",
            written: 0,
            ended: empty,
            left_max: bytes_max,
            bytes: 0,
            coded: None,
            whole: empty.then_some((floor, floor)),
            decoded_once: false,
            drops_trailers: false,
            blocked: Side::Sink,
            progressed: false,
            sent: false,
            finished: false,
        }
    }

    /// The same, of which only the body is passed on (RFC 9110, section 6.5.1).
    pub(crate) fn without_trailers(mut self) -> Self {
        self.drops_trailers = true;
        self
    }

    /// Body bytes moved so far, as they go to the sink.
    pub(crate) fn bytes(&self) -> u64 {
        self.coded.as_ref().map_or(self.bytes, |coded| coded.bytes)
    }

    /// True when the message can be sent once more from what is still in the buffer.
    pub(crate) fn can_restart(&self) -> bool {
        self.whole.is_some()
    }

    /// Starts over: the caller has written the head anew. Only when [`Pump::can_restart`].
    pub(crate) fn restart(&mut self, out: &mut Vec<u8>) {
        debug_assert!(self.can_restart(), "the body is no longer in the buffer");
        let Some((start, end)) = self.whole else { return };
        self.written = 0;
        self.finished = false;
        self.tail = b"";
        self.data = (start, end);
        if self.encoding == Encoding::Chunked {
            self.encode_chunk(out);
        }
    }

    /// True once anything of the message was written.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent
    }

    /// True once all of the message was written.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// True once all of the message was read, written or not.
    pub(crate) fn has_read_all(&self) -> bool {
        self.ended
    }

    /// The side that the last [`Pump::poll`] waited for.
    pub(crate) fn blocked(&self) -> Side {
        self.blocked
    }

    /// Whether bytes moved since this was last asked.
    pub(crate) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Decodes what was read together with the head, before anything is sent. A body that is
    /// all there can then be sent again on another connection.
    ///
    /// # Errors
    /// When the body is malformed or too large.
    pub(crate) fn prepare(
        &mut self,
        buffer: &mut Buffer,
        out: &mut Vec<u8>,
    ) -> Result<(), PumpError> {
        self.decode(buffer, out).map(|_| ())
    }

    /// Brings head and body together: one plain write is cheaper than a vectored one. A small
    /// body is taken into `out`, behind the head; the head of a larger one is put in front of it
    /// in the buffer, where the head that was read is no longer needed. The message can then not
    /// be restarted from the buffer.
    pub(crate) fn coalesce(&mut self, buffer: &mut Buffer, out: &mut Vec<u8>) {
        if self.encoding == Encoding::Coded {
            // What the encoder makes of the first bytes goes behind the head.
            return;
        }
        let (start, end) = self.data;
        if end - start <= COALESCE_BYTES_MAX {
            let data = buffer.bytes().get(start..end).unwrap_or_default();
            out.extend_from_slice(data);
            out.extend_from_slice(self.tail);
            self.data = (self.floor, self.floor);
            self.tail = b"";
        } else if let Some(front) = start.checked_sub(out.len())
            && let Some(room) = buffer.bytes_mut().get_mut(front..start)
        {
            room.copy_from_slice(out);
            out.clear();
            self.data = (front, end);
        }
        self.whole = None;
    }

    /// Moves what can be moved now. Ready once all is written and flushed.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        (from, to): (&mut impl Socket, &mut impl Socket),
        buffer: &mut Buffer,
        out: &mut Vec<u8>,
    ) -> Poll<Result<(), PumpError>> {
        if let Some(mut coded) = self.coded.take() {
            let polled = self.poll_coded(context, &mut coded, (from, to), (buffer, out));
            self.coded = Some(coded);
            return polled;
        }
        loop {
            self.blocked = Side::Sink;
            ready!(self.poll_write(context, to, buffer, out))?;
            if self.ended {
                ready!(to.poll_flush(context)).map_err(|error| sink(&error))?;
                self.finished = true;
                return Poll::Ready(Ok(()));
            }
            if self.decode(buffer, out)? {
                continue;
            }
            let Poll::Ready(filled) = self.poll_fill(context, from, buffer) else {
                // TLS may hold a record; errors show at the next write.
                if to.poll_flush(context).is_pending() {
                    self.blocked = Side::Sink;
                }
                return Poll::Pending;
            };
            filled?;
            if self.ended && self.encoding == Encoding::Chunked {
                self.encode_chunk(out);
            }
        }
    }

    /// Reads from the source once all that was read is taken.
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        from: &mut impl Socket,
        buffer: &mut Buffer,
    ) -> Poll<Result<(), PumpError>> {
        if buffer.is_empty() {
            buffer.set_bounds(self.floor, self.floor);
        }
        self.blocked = Side::Source;
        let read = ready!(from.poll_read(context, buffer.spare()));
        self.progressed = true;
        Poll::Ready(match read {
            Ok(0) => self.end_of_source(),
            Ok(count) => {
                buffer.advance(count);
                Ok(())
            }
            Err(error) => Err(source(&error)),
        })
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        to: &mut impl Socket,
        buffer: &Buffer,
        out: &mut Vec<u8>,
    ) -> Poll<Result<(), PumpError>> {
        let data = buffer.bytes().get(self.data.0..self.data.1).unwrap_or_default();
        let total = out.len() + data.len() + self.tail.len();
        while self.written < total {
            let (head, rest) = skip(out, self.written);
            let (data, rest) = skip(data, rest);
            let (tail, _) = skip(self.tail, rest);
            let parts = [IoSlice::new(head), IoSlice::new(data), IoSlice::new(tail)];
            let parts = match (head.is_empty(), data.is_empty(), tail.is_empty()) {
                (false, true, true) => &parts[..1],
                (false, false, true) => &parts[..2],
                (true, false, true) => &parts[1..2],
                (true, _, false) => &parts[1..],
                _ => &parts[..],
            };
            let count = ready!(to.poll_write(context, parts)).map_err(|error| sink(&error))?;
            if count == 0 {
                return Poll::Ready(Err(sink(&io::ErrorKind::WriteZero.into())));
            }
            self.written += count;
            self.progressed = true;
            self.sent = true;
        }
        if !self.ended || self.encoding == Encoding::Coded {
            out.clear();
            self.data = (self.floor, self.floor);
            self.tail = b"";
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes body bytes from the buffer; false when there are none yet.
    fn decode(&mut self, buffer: &mut Buffer, out: &mut Vec<u8>) -> Result<bool, PumpError> {
        let (start, end) = buffer.bounds();
        if start == end || self.ended || self.data.0 < self.data.1 {
            return Ok(false);
        }
        let (consumed, length) = match &mut self.source {
            Source::Done => return Ok(false),
            Source::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(end - start);
                *left -= length as u64;
                if *left == 0 {
                    self.source = Source::Done;
                }
                (length, length)
            }
            Source::Close => (end - start, end - start),
            Source::Chunked(decoder) => {
                let raw = buffer.bytes_mut().get_mut(start..end).unwrap_or_default();
                let decoded = decoder.decode(raw).map_err(PumpError::Malformed)?;
                if decoded.finished {
                    self.finish_chunks(decoded.consumed, decoded.data, buffer, out)?;
                    return Ok(true);
                }
                (decoded.consumed, decoded.data)
            }
        };
        self.take(start, length)?;
        buffer.consume(consumed);
        let done = matches!(self.source, Source::Done);
        if done {
            self.remember_whole();
            self.ended = true;
        }
        self.decoded_once |= length > 0;
        if self.encoding == Encoding::Chunked && (length > 0 || done) {
            self.encode_chunk(out);
        }
        Ok(length > 0 || done)
    }

    /// The last chunk was read: its data and the trailers go out together.
    fn finish_chunks(
        &mut self,
        consumed: usize,
        length: usize,
        buffer: &mut Buffer,
        out: &mut Vec<u8>,
    ) -> Result<(), PumpError> {
        let start = buffer.bounds().0;
        self.take(start, length)?;
        buffer.consume(consumed);
        let source = std::mem::replace(&mut self.source, Source::Done);
        let Source::Chunked(decoder) = source else { return Ok(()) };
        self.ended = true;
        if self.encoding == Encoding::Coded {
            // Its trailers are wanted once all was encoded.
            self.source = Source::Chunked(decoder);
        } else if self.encoding == Encoding::Identity {
            self.remember_whole();
        } else if decoder.trailers().is_empty() || self.drops_trailers {
            self.remember_whole();
            self.encode_chunk(out);
        } else {
            // Data first, in a chunk of its own; then the trailers behind it would need a
            // second part after the data, so the data is moved into `out` before them.
            let data = buffer.bytes().get(self.data.0..self.data.1).unwrap_or_default();
            if !data.is_empty() {
                write_chunk_head(out, data.len());
                out.extend_from_slice(data);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n");
            out.extend_from_slice(decoder.trailers());
            out.extend_from_slice(b"\r\n");
            self.data = (self.floor, self.floor);
        }
        self.decoded_once = true;
        Ok(())
    }

    fn take(&mut self, start: usize, length: usize) -> Result<(), PumpError> {
        self.left_max = self.left_max.checked_sub(length as u64).ok_or(PumpError::TooLarge)?;
        self.bytes += length as u64;
        self.data = (start, start + length);
        Ok(())
    }

    fn remember_whole(&mut self) {
        self.whole = (!self.decoded_once).then_some(self.data);
    }

    /// Frames `data`, and the end of the body when it has come, in chunked coding.
    fn encode_chunk(&mut self, out: &mut Vec<u8>) {
        let length = self.data.1 - self.data.0;
        if length > 0 {
            write_chunk_head(out, length);
        }
        self.tail = match (length > 0, self.ended) {
            (true, true) => b"\r\n0\r\n\r\n",
            (true, false) => b"\r\n",
            (false, true) => b"0\r\n\r\n",
            (false, false) => b"",
        };
    }

    fn end_of_source(&mut self) -> Result<(), PumpError> {
        if !matches!(self.source, Source::Close) {
            return Err(source(&io::ErrorKind::UnexpectedEof.into()));
        }
        self.source = Source::Done;
        self.ended = true;
        Ok(())
    }
}

fn source(error: &io::Error) -> PumpError {
    tracing::debug!(%error, "a message's source failed");
    PumpError::Source
}

fn sink(error: &io::Error) -> PumpError {
    tracing::debug!(%error, "a message's sink failed");
    PumpError::Sink
}

/// The part of `bytes` after `count`, and what of `count` is left for the next part.
fn skip(bytes: &[u8], count: usize) -> (&[u8], usize) {
    match bytes.get(count..) {
        Some(rest) => (rest, 0),
        None => (&[], count - bytes.len()),
    }
}

#[cfg(test)]
mod tests;
