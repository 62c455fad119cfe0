//! One direction of one connection: what came in goes on when its pace permits.
//!
//! Invariant: no more than [`HELD_BYTES_MAX`] are held back; beyond that nothing is read, and the
//! sender waits. Order is kept, and the end of the data follows the data at the same pace.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use fastrand::Rng;
use model::drill::NetworkConditions;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::pace::{Arrival, Pace, Permit};

/// Held back in one direction, with what is known about each piece.
pub(super) const HELD_BYTES_MAX: usize = 256 * 1_024;
/// What a piece costs besides its bytes: many small ones must not take more memory than few large ones.
const PIECE_BYTES: usize = 128;
/// Read at once.
const READ_BYTES: usize = 64 * 1_024;

thread_local! {
    /// Where bytes pass through on their way; one for all connections of a thread, since nothing
    /// stays in it while anybody waits.
    static PASSAGE: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

#[derive(Debug)]
struct Piece {
    arrival: Arrival,
    bytes: Vec<u8>,
    sent: usize,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    pace: Pace,
    began: Instant,
    pieces: VecDeque<Piece>,
    held_bytes: usize,
    /// The sender has no more.
    end: Option<Arrival>,
    timer: Option<Pin<Box<Sleep>>>,
    is_done: bool,
}

impl Pipe {
    pub(super) fn new(conditions: NetworkConditions, random: Rng) -> Self {
        Self {
            pace: Pace::new(conditions, random),
            began: Instant::now(),
            pieces: VecDeque::new(),
            held_bytes: 0,
            end: None,
            timer: None,
            is_done: false,
        }
    }

    pub(super) fn set(&mut self, conditions: NetworkConditions) {
        self.pace.set(conditions);
    }

    /// Carries from one to the other; ready when the end of the data went on too.
    pub(super) fn poll_carry(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while !self.is_done {
            let wrote = self.write(context, to)?;
            let read = match self.poll_read(context, from)? {
                Poll::Ready(Some(bytes)) => self.forward(context, to, bytes).map(|()| true)?,
                Poll::Ready(None) => true,
                Poll::Pending => false,
            };
            if !wrote && !read && !self.is_done {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Holds back what comes in, while there is nobody to give it to; ready when the sender has no more.
    pub(super) fn poll_hold(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<()>> {
        while self.end.is_none() {
            match self.poll_read(context, from)? {
                Poll::Ready(Some(bytes)) => {
                    PASSAGE.with_borrow(|passage| self.keep(&passage[..bytes]))
                }
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads into the passage: how many bytes, or `None` at their end.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Poll<Option<usize>>> {
        let room = HELD_BYTES_MAX.saturating_sub(self.held_bytes + PIECE_BYTES).min(READ_BYTES);
        if self.end.is_some() || room == 0 {
            return Ok(Poll::Pending);
        }
        let read = PASSAGE.with_borrow_mut(|passage| {
            let mut buffer = ReadBuf::new(&mut passage[..room]);
            let polled = Pin::new(from).poll_read(context, &mut buffer);
            polled.map_ok(|()| buffer.filled().len())
        });
        match read {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(0)) => {
                self.end = Some(self.pace.arrive(self.began.elapsed()));
                Ok(Poll::Ready(None))
            }
            Poll::Ready(Ok(bytes)) => Ok(Poll::Ready(Some(bytes))),
        }
    }

    /// Gives on what is in the passage, at once where nothing stands in the way.
    fn forward(
        &mut self,
        context: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
        bytes: usize,
    ) -> io::Result<()> {
        PASSAGE.with_borrow(|passage| {
            let mut bytes = &passage[..bytes];
            if self.pieces.is_empty()
                && self.pace.is_free()
                && let Poll::Ready(written) = Pin::new(to).poll_write(context, bytes)
            {
                bytes = &bytes[written?..];
            }
            if !bytes.is_empty() {
                self.keep(bytes);
            }
            Ok(())
        })
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.held_bytes += bytes.len() + PIECE_BYTES;
        let arrival = self.pace.arrive(self.began.elapsed());
        self.pieces.push_back(Piece { arrival, bytes: bytes.to_vec(), sent: 0 });
    }

    /// Writes what is held back and may go on; whether anything went on.
    fn write(
        &mut self,
        context: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<bool> {
        let mut wrote = false;
        while let Some(next) = self.pieces.front().map(|piece| piece.arrival).or(self.end) {
            let now = self.began.elapsed();
            let portion = match self.pace.permit(now, &next) {
                Permit::Bytes(portion) => portion,
                Permit::At(due) if self.is_due(context, due) => continue,
                Permit::At(_) | Permit::Never => return Ok(wrote),
            };
            let Some(piece) = self.pieces.front_mut() else {
                self.is_done = Pin::new(to).poll_shutdown(context)?.is_ready();
                return Ok(wrote);
            };
            let rest = &piece.bytes[piece.sent..];
            let Poll::Ready(written) =
                Pin::new(&mut *to).poll_write(context, &rest[..portion.min(rest.len())])?
            else {
                return Ok(wrote);
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            wrote = true;
            piece.sent += written;
            self.pace.sent(now, written);
            if piece.sent == piece.bytes.len() {
                self.held_bytes -= piece.bytes.len() + PIECE_BYTES;
                self.pieces.pop_front();
                self.pace.passed(now, &next);
            }
        }
        Ok(wrote)
    }

    /// Whether the time has come; if not, the task is woken then.
    fn is_due(&mut self, context: &mut Context<'_>, due: Duration) -> bool {
        // A time beyond the clock's range is a time that never comes; a day is as good.
        let due = self.began + due.min(self.began.elapsed() + Duration::from_secs(86_400));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(context).is_ready()
    }
}
