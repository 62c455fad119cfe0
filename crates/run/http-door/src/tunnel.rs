//! After a 101: bytes pass both ways, unread, until both sides have ended or nothing moves.
//!
//! What the client sent behind its request reaches the server only now, when the server has
//! agreed to the new protocol (CVE-2026-2833, RFC 9931). Buffers are lent only while they hold
//! bytes, so an idle WebSocket costs two sockets and a task.

use std::io::IoSlice;
use std::rc::Rc;
use std::task::{Context, Poll};

use model::Reason;
use net::buffer::{Buffer, BufferPool};
use net::clock;
use net::socket::Socket;

use crate::attempt::Attempt;
use crate::connection::Client;
use crate::exchange::{Ended, Exchange};
use crate::heads;
use crate::upstream::ServerConnection;

/// One direction of a tunnel.
#[derive(Debug)]
struct Half {
    buffer: Option<Buffer>,
    bytes: u64,
    /// The source ended; once all is written the sink's writing side is closed too.
    ended: bool,
    closed: bool,
    progressed: bool,
}

/// Tells the client that the protocol changes, and passes bytes until the end.
pub(crate) async fn run(
    attempt: &mut Attempt<'_, '_>,
    client: &mut Client,
    exchange: &mut Exchange,
    mut server: ServerConnection,
    length: usize,
) -> Ended {
    let mut ended = Ended {
        status: 101,
        reason: None,
        keep_alive: false,
        complete: false,
        bytes_in: 0,
        bytes_out: 0,
        at: clock::now(),
    };
    let Some(mut downstream) = server.buffer.take() else { return ended };
    let (start, _) = downstream.bounds();
    let bytes = downstream.bytes().get(start..start + length).unwrap_or_default();
    exchange.to_client.clear();
    heads::write_interim(&mut exchange.to_client, &exchange.response, bytes);
    downstream.consume(length);
    if let Err(reason) = client.write_all(&exchange.to_client).await {
        ended.reason = Some(reason);
        return ended;
    }
    attempt.release();
    let pool = &attempt.worker.buffers;
    // The head stays where it is for the record; only what follows it is passed on.
    let mut up = Half::new(client.buffer.as_ref().and_then(|held| copy_of(held, pool)));
    let mut down = Half::new(Some(downstream).filter(|buffer| !buffer.is_empty()));
    let idle_time = attempt.settings.timeouts.tunnel_idle;
    exchange.deadline.limit(None);
    exchange.deadline.set(idle_time);
    let deadline = &exchange.deadline;
    let pass = std::future::poll_fn(|context| {
        loop {
            let up_done = up.poll(context, (&mut client.stream, &mut server.stream), pool)?;
            let down_done = down.poll(context, (&mut server.stream, &mut client.stream), pool)?;
            if up_done && down_done {
                return Poll::Ready(Ok(()));
            }
            if up.take_progress() | down.take_progress() {
                deadline.set(idle_time);
                continue;
            }
            return deadline.poll(context).map(|_elapsed| Ok(()));
        }
    });
    let result: Result<(), std::io::Error> = pass.await;
    tracing::trace!(?result, "tunnel ended");
    ended.at = clock::now();
    ended.bytes_in = up.bytes;
    ended.bytes_out = down.bytes;
    ended.reason = result.err().map(|_error| Reason::ClientClosed);
    ended
}

/// What a client sent behind its request's head, in a buffer of its own.
fn copy_of(held: &Buffer, pool: &Rc<BufferPool>) -> Option<Buffer> {
    if held.is_empty() {
        return None;
    }
    let mut copy = pool.lend();
    let bytes = held.filled();
    copy.spare().get_mut(..bytes.len())?.copy_from_slice(bytes);
    copy.advance(bytes.len());
    Some(copy)
}

impl Half {
    fn new(buffer: Option<Buffer>) -> Self {
        Self { buffer, bytes: 0, ended: false, closed: false, progressed: false }
    }

    fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Moves what can be moved now; true once this direction has ended.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        (from, to): (&mut impl Socket, &mut impl Socket),
        pool: &Rc<BufferPool>,
    ) -> std::io::Result<bool> {
        if let Some(buffer) = &mut self.buffer {
            while !buffer.is_empty() {
                match to.poll_write(context, &[IoSlice::new(buffer.filled())])? {
                    Poll::Ready(0) => return Err(std::io::ErrorKind::WriteZero.into()),
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
        if to.poll_flush(context)?.is_pending() {
            return Ok(false);
        }
        if self.ended {
            if !self.closed && to.poll_shutdown(context)?.is_ready() {
                self.closed = true;
            }
            return Ok(self.closed);
        }
        let mut buffer = pool.lend();
        match from.poll_read(context, buffer.spare())? {
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
