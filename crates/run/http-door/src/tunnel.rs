//! After a 101: bytes pass both ways, unread, until both sides have ended or nothing moves.
//!
//! What the client sent behind its request reaches the server only now, when the server has
//! agreed to the new protocol (CVE-2026-2833, RFC 9931). Buffers are lent only while they hold
//! bytes, so an idle WebSocket costs two sockets and a task. It ends when its client may not go on.

use std::rc::Rc;
use std::task::Poll;

use model::Reason;
use net::buffer::{Buffer, BufferPool};
use net::clock;

use crate::attempt::Attempt;
use crate::connection::Client;
use crate::exchange::{Ended, Exchange};
use crate::half::Half;
use crate::heads;
use crate::identify::Sender;
use crate::pump::Side;
use crate::standing::Standing;
use crate::treated::{self, Kind};
use crate::upstream::ServerConnection;

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
    treated::treat_response(client, exchange, Kind::Response(101));
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
    let from = (&client.listener, &client.origin);
    let mut standing = Standing::new(attempt.worker, from, exchange.client, attempt.view);
    let bytes = client.buffer.as_ref().map_or(&[][..], |held| held.bytes());
    let sender = Sender::of(&exchange.request, bytes, &client.origin, exchange.phases.started);
    let broken = |_side: Side| Reason::ClientClosed;
    let pass = std::future::poll_fn(|context| {
        loop {
            standing.look(&client.stream, Some(sender))?;
            let up_done = up.poll(context, (&mut client.stream, &mut server.stream), pool);
            let down_done = down.poll(context, (&mut server.stream, &mut client.stream), pool);
            let (up_done, down_done) = (up_done.map_err(broken)?, down_done.map_err(broken)?);
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
    let result: Result<(), Reason> = pass.await;
    tracing::trace!(?result, "tunnel ended");
    ended.at = clock::now();
    ended.bytes_in = up.bytes;
    ended.bytes_out = down.bytes;
    ended.reason = result.err();
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
