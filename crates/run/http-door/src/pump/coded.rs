//! The pump's way through an encoder, for bodies that are compressed as they pass.
//!
//! What the source sends reaches the sink without waiting for more: when the source pauses, the
//! encoder gives out all it has. One poll encodes a bounded part, so that a large body does not
//! keep the worker from its other connections.
//!
//! Invariant: nothing more is read before all that was encoded is written.

use std::task::{Context, Poll, ready};

use http_wire::{CHUNK_END, LAST_CHUNK, write_chunk_head};
use net::buffer::Buffer;
use net::socket::Socket;

use super::{Encoding, Pump, PumpError, Side, Source, sink};
use crate::coder::{Coder, Then};

/// Bytes that one poll encodes, at most: about a millisecond's work.
const BYTES_PER_POLL: usize = 32 * 1024;

/// A body that is encoded.
#[derive(Debug)]
pub(super) struct Coded {
    coder: Coder,
    /// Decoded bytes in the buffer that wait to be encoded.
    input: (usize, usize),
    /// What was encoded, before it is framed.
    encoded: Vec<u8>,
    /// The first bytes leave together with the head.
    head_waits: bool,
    /// The encoder holds something back.
    owes: bool,
    ended: bool,
    /// Encoded bytes so far.
    pub(super) bytes: u64,
}

impl Coded {
    /// Encodes `input` and frames what comes out, in chunked coding.
    fn encode(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), PumpError> {
        self.encoded.clear();
        self.coder.encode(input, then, &mut self.encoded).map_err(|_failed| PumpError::Encoder)?;
        self.owes = then == Then::GoOn && (self.owes || !input.is_empty());
        if !self.encoded.is_empty() {
            write_chunk_head(out, self.encoded.len());
            out.extend_from_slice(&self.encoded);
            out.extend_from_slice(CHUNK_END);
            self.bytes += self.encoded.len() as u64;
        }
        Ok(())
    }
}

impl Pump {
    /// From now on the body is encoded by `coder`, and goes out in chunks. To be called before
    /// anything is decoded.
    pub(crate) fn encode_with(&mut self, coder: Coder) {
        self.encoding = Encoding::Coded;
        self.coded = Some(Box::new(Coded {
            coder,
            input: (self.floor, self.floor),
            encoded: Vec::new(),
            head_waits: true,
            owes: false,
            ended: false,
            bytes: 0,
        }));
    }

    /// [`Pump::poll`] of a body that is encoded.
    pub(super) fn poll_coded(
        &mut self,
        context: &mut Context<'_>,
        coded: &mut Coded,
        (from, to): (&mut impl Socket, &mut impl Socket),
        (buffer, out): (&mut Buffer, &mut Vec<u8>),
    ) -> Poll<Result<(), PumpError>> {
        let mut left = BYTES_PER_POLL;
        loop {
            self.take_input(coded);
            if !coded.head_waits {
                self.blocked = Side::Sink;
                ready!(self.poll_write(context, to, buffer, out))?;
                if coded.ended {
                    ready!(to.poll_flush(context)).map_err(|error| sink(&error))?;
                    self.finished = true;
                    return Poll::Ready(Ok(()));
                }
            }
            if self.ended || coded.input.0 < coded.input.1 {
                if left == 0 {
                    // The others' turn.
                    self.blocked = Side::Source;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                left -= self.encode_part(coded, buffer, out, left)?;
                continue;
            }
            if std::mem::take(&mut coded.head_waits) || self.decode(buffer, out)? {
                continue;
            }
            match self.poll_fill(context, from, buffer) {
                Poll::Ready(result) => result?,
                Poll::Pending if coded.owes => coded.encode(b"", Then::Flush, out)?,
                Poll::Pending => {
                    if to.poll_flush(context).is_pending() {
                        self.blocked = Side::Sink;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// What was decoded is for the encoder, not for the sink.
    fn take_input(&mut self, coded: &mut Coded) {
        if self.data.0 < self.data.1 {
            coded.input = std::mem::replace(&mut self.data, (self.floor, self.floor));
        }
    }

    /// Encodes up to `most` bytes, and the end after the last; says how many.
    fn encode_part(
        &mut self,
        coded: &mut Coded,
        buffer: &Buffer,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<usize, PumpError> {
        let (start, end) = coded.input;
        let until = end.min(start + most);
        let input = buffer.bytes().get(start..until).unwrap_or_default();
        let then = if self.ended && until == end { Then::End } else { Then::GoOn };
        coded.encode(input, then, out)?;
        if then == Then::End {
            coded.ended = true;
            out.extend_from_slice(LAST_CHUNK);
            if let Source::Chunked(decoder) = &self.source {
                out.extend_from_slice(decoder.trailers());
            }
            out.extend_from_slice(CHUNK_END);
        }
        coded.input.0 = until;
        coded.head_waits = false;
        self.progressed = true;
        Ok(until - start)
    }
}

#[cfg(test)]
mod tests;
