//! A byte stream within a thread, both ways: where one walk of a request meets the translation
//! from or to another protocol.
//!
//! The other end is served by another task, or by a future that this end drives ([`End::drive`]).
//!
//! Each direction holds a bounded number of bytes; who writes more waits until the other side has
//! read. Dropping an end closes both directions: what was written before can still be read, after
//! it comes the end, or an error where the end was not said properly ([`End::reset`]).
//! Invariant: no lock, no copy beyond the one in and the one out, and an empty pipe that nobody
//! has written to holds no memory.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::socket::Socket;

/// Bytes that wait in one direction, at most.
pub const BYTES_MAX: usize = 16 * 1024;
/// Room that is made for the first of them: a head and a short body, often written in parts.
const FIRST_BYTES: usize = 1024;

/// One end of a pipe.
pub struct End {
    pipe: Rc<Pipe>,
    /// Which of the two it is.
    is_one: bool,
    /// Who serves the other end, until it is done.
    driven: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// Both directions.
#[derive(Debug, Default)]
struct Pipe {
    to_one: RefCell<Half>,
    to_other: RefCell<Half>,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    bytes: Vec<u8>,
    /// Bytes of these that were read.
    read: usize,
    state: State,
    /// Who waits for bytes, and who for room.
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The reader is gone: nothing more can be written.
    deaf: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The writer said that nothing follows.
    Ended,
    /// The writer went without saying so.
    Reset,
}

/// Two ends: what is written to one is read at the other.
#[must_use]
pub fn pipe() -> (End, End) {
    let pipe = Rc::<Pipe>::default();
    let one = End { pipe: Rc::clone(&pipe), is_one: true, driven: None };
    (one, End { pipe, is_one: false, driven: None })
}

impl Half {
    fn wake(waker: &mut Option<Waker>) {
        if let Some(waker) = waker.take() {
            waker.wake();
        }
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.read
    }

    /// With nothing left to read: how it ended, once it did.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Open => {
                self.reader = Some(context.waker().clone());
                Poll::Pending
            }
            State::Ended => Poll::Ready(Ok(())),
            State::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    fn close(&mut self, state: State) {
        if self.state == State::Open {
            self.state = state;
        }
        Self::wake(&mut self.reader);
    }
}

impl End {
    /// What the other end has written.
    fn incoming(&self) -> &RefCell<Half> {
        if self.is_one { &self.pipe.to_one } else { &self.pipe.to_other }
    }

    fn outgoing(&self) -> &RefCell<Half> {
        if self.is_one { &self.pipe.to_other } else { &self.pipe.to_one }
    }

    /// Polls what `other` makes, which serves the other end, whenever something is read or flushed here, and
    /// when there is no room to write: what it does for one exchange is not worth a task. It is
    /// dropped with this end. What is written here is to be flushed.
    #[must_use]
    #[inline]
    pub fn drive<F: Future<Output = ()> + 'static>(self, other: impl FnOnce() -> F) -> Self {
        let mut this = self;
        // It is made where it stays: it is large, and most of it is room for later.
        let place = Box::<F>::new_uninit();
        let driven = Box::write(place, other());
        this.driven = Some(Box::into_pin(driven));
        this
    }

    fn poll_driven(&mut self, context: &mut Context<'_>) {
        if let Some(driven) = &mut self.driven
            && driven.as_mut().poll(context).is_ready()
        {
            self.driven = None;
        }
    }

    /// Ready once nothing will be read here any more because the other end was reset or dropped.
    /// Bytes that are there do not count.
    pub fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut half = self.incoming().borrow_mut();
        if half.state == State::Reset {
            return Poll::Ready(());
        }
        half.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Lets the other end read an error after what was written, and takes nothing more from it.
    pub fn reset(&mut self) {
        self.outgoing().borrow_mut().close(State::Reset);
        self.stop_reading();
    }

    /// Takes all that the other end has written, without a copy; nothing at the proper end.
    ///
    /// # Errors
    /// When the other end went without saying that nothing follows.
    pub fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let mut half = self.incoming().borrow_mut();
        if half.left() > 0 {
            let read = std::mem::take(&mut half.read);
            let mut bytes = std::mem::take(&mut half.bytes);
            bytes.drain(..read);
            Half::wake(&mut half.writer);
            return Poll::Ready(Ok(bytes));
        }
        half.poll_end(context).map_ok(|()| Vec::new())
    }

    /// Bytes that can be written now without waiting.
    #[must_use]
    pub fn room(&self) -> usize {
        BYTES_MAX.saturating_sub(self.outgoing().borrow().left())
    }

    /// Says that nothing more will be written.
    pub fn finish(&mut self) {
        self.outgoing().borrow_mut().close(State::Ended);
    }

    fn stop_reading(&mut self) {
        let mut half = self.incoming().borrow_mut();
        half.deaf = true;
        half.bytes = Vec::new();
        half.read = 0;
        Half::wake(&mut half.writer);
    }
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End")
            .field("incoming", self.incoming())
            .field("outgoing", self.outgoing())
            .finish_non_exhaustive()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.outgoing().borrow_mut().close(State::Reset);
        self.stop_reading();
    }
}

impl Socket for End {
    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.driven.is_some() {
            // Nobody is to be woken who looks for himself right after this.
            self.incoming().borrow_mut().reader = None;
            self.poll_driven(context);
        }
        let mut half = self.incoming().borrow_mut();
        let count = half.left().min(into.len());
        if count > 0 {
            let from = half.read;
            if let (Some(into), Some(bytes)) =
                (into.get_mut(..count), half.bytes.get(from..from + count))
            {
                into.copy_from_slice(bytes);
            }
            half.read += count;
            if half.left() == 0 {
                half.bytes.clear();
                half.read = 0;
            }
            Half::wake(&mut half.writer);
            return Poll::Ready(Ok(count));
        }
        half.poll_end(context).map_ok(|()| 0)
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.driven.is_some() && self.room() == 0 {
            self.poll_driven(context);
        }
        let mut half = self.outgoing().borrow_mut();
        if half.deaf || half.state != State::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = BYTES_MAX.saturating_sub(half.left());
        if room == 0 && parts.iter().any(|part| !part.is_empty()) {
            half.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        if half.read > 0 {
            let read = std::mem::take(&mut half.read);
            half.bytes.drain(..read);
        }
        let mut written = 0;
        let wanted = parts.iter().map(|part| part.len()).sum::<usize>().min(room);
        let is_first = half.bytes.capacity() == 0;
        half.bytes.reserve(if is_first { wanted.max(FIRST_BYTES) } else { wanted });
        for part in parts {
            let count = part.len().min(room - written);
            half.bytes.extend_from_slice(part.get(..count).unwrap_or_default());
            written += count;
        }
        if self.driven.is_none() {
            Half::wake(&mut half.reader);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_driven(context);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        self.poll_driven(context);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
