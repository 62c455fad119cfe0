//! One direction of a connection whose bytes are passed on unread: a tunnel behind HTTP, or TCP.
//!
//! Invariant: no more is read than one buffer holds until it was written, so that a slow reader
//! slows the writer down; and a buffer is lent only while it holds bytes.

use std::io::IoSlice;
use std::rc::Rc;
use std::task::{Context, Poll};

use net::buffer::{Buffer, BufferPool};
use net::socket::Socket;

use crate::pump::Side;

/// One direction.
#[derive(Debug)]
pub(crate) struct Half {
    buffer: Option<Buffer>,
    /// What was written so far.
    pub(crate) bytes: u64,
    /// The source ended; once all is written the sink's writing side is closed too.
    ended: bool,
    closed: bool,
    progressed: bool,
}

impl Half {
    /// A direction that begins with these bytes.
    pub(crate) fn new(buffer: Option<Buffer>) -> Self {
        Self { buffer, bytes: 0, ended: false, closed: false, progressed: false }
    }

    pub(crate) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Moves what can be moved now; true once this direction has ended.
    ///
    /// # Errors
    /// The side that broke.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        (from, to): (&mut impl Socket, &mut impl Socket),
        pool: &Rc<BufferPool>,
    ) -> Result<bool, Side> {
        let sink = |_error: std::io::Error| Side::Sink;
        if let Some(buffer) = &mut self.buffer {
            while !buffer.is_empty() {
                match to.poll_write(context, &[IoSlice::new(buffer.filled())]).map_err(sink)? {
                    Poll::Ready(0) => return Err(Side::Sink),
                    Poll::Ready(count) => {
                        buffer.consume(count);
                        self.bytes += count as u64;
                        self.progressed = true;
                    }
                    Poll::Pending => return Ok(false),
                }
            }
            self.buffer = None;
        }
        if to.poll_flush(context).map_err(sink)?.is_pending() {
            return Ok(false);
        }
        if self.ended {
            // A sink that cannot be closed any more is: whoever reads from it learns why.
            self.closed = self.closed || to.poll_shutdown(context).is_ready();
            return Ok(self.closed);
        }
        let mut buffer = pool.lend();
        let read = from.poll_read(context, buffer.spare());
        match read.map_err(|_error| Side::Source)? {
            Poll::Ready(0) => {
                self.ended = true;
                self.progressed = true;
            }
            Poll::Ready(count) => {
                buffer.advance(count);
                self.buffer = Some(buffer);
                self.progressed = true;
            }
            Poll::Pending => {}
        }
        Ok(false)
    }
}
