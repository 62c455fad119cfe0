//! Opens a connection to a server that speaks HTTP/2, and drives it to its end.
//!
//! A connection counts as open once the server's SETTINGS are there: until then nobody knows how
//! many streams it takes, nor whether it speaks HTTP/2 at all. While a stream waits and nothing
//! comes, a PING finds out whether anybody is still there. Servers count PINGs as an attack when
//! they come often and for nothing, so a silence is asked about once, and then rarely.
//!
//! Invariants: every window is bounded, and that of the connection is as large as those of all its
//! streams, so that a client that reads slowly stops no other's response.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use model::{Reason, Timestamp};
use net::clock;
use net::socket::Stream;
use net::timer::{Deadline, Elapsed, Wheel};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use super::{Connection, STREAMS_MAX, State};
use crate::upstream::{self, UpstreamTls};

/// Bytes of one response that the server may send ahead of the client.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for all responses on a connection.
const CONNECTION_WINDOW: u32 = STREAMS_MAX * STREAM_WINDOW;
/// A response's head, decoded; what the walk takes too.
const HEAD_BYTES_MAX: u32 = 32 * 1024;
/// Bytes of one request that wait for the socket.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Streams that were given up, whose last frames may still come.
const RESET_STREAMS_MAX: usize = 128;

/// A connection to be opened.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) address: SocketAddr,
    pub(super) host: Option<Arc<str>>,
    pub(super) tls: Option<UpstreamTls>,
    /// For all of it.
    pub(super) time: Duration,
    pub(super) wheel: Rc<Wheel>,
    pub(super) idle_time: Duration,
    pub(super) room: Rc<Notify>,
}

/// How a silent connection is watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// After so much silence while a stream waits.
    pub(super) ask_after: Duration,
    /// For the answer.
    pub(super) answer_within: Duration,
    /// Between two questions about the same silence.
    pub(super) again_after: Duration,
}

/// The last is more than the five minutes that gRPC's own servers ask for.
pub(super) const WATCH: Watch = Watch {
    ask_after: Duration::from_secs(5),
    answer_within: Duration::from_secs(5),
    again_after: Duration::from_secs(310),
};

/// Opens the connection, and leaves it to a task that drives it.
///
/// # Errors
/// `ConnectFailed`, `ConnectTimeout` or `ServerTls`.
pub(super) async fn open(plan: Plan) -> Result<Connection, Reason> {
    let deadline = plan.wheel.deadline();
    // The handshake takes what is left of the time.
    deadline.limit(Some(plan.time));
    let tls = plan.tls.as_ref().map(|tls| (tls, plan.host.as_ref()));
    let stream = upstream::connect(plan.address, tls, &deadline, plan.time).await?.stream;
    if !chose_http2(&stream) {
        tracing::warn!(address = %plan.address, "the server did not choose HTTP/2 (ALPN `h2`)");
        return Err(Reason::ServerTls);
    }
    deadline.clear();
    let state = State::new(plan.room);
    let opened = deadline.within(handshake(stream, &state, plan.wheel.deadline(), WATCH)).await;
    let sender = match opened {
        Ok(Ok(sender)) => sender,
        Ok(Err(error)) => {
            tracing::warn!(address = %plan.address, %error, "the server does not speak HTTP/2");
            return Err(Reason::ConnectFailed);
        }
        Err(_elapsed) => return Err(Reason::ConnectTimeout),
    };
    let (secure, address, idle_time) = (plan.tls.is_some(), plan.address, plan.idle_time);
    Ok(Connection { sender, state, secure, address, idle_time })
}

/// Without TLS the server is known to speak it; with TLS it says so.
fn chose_http2(stream: &Stream) -> bool {
    match stream {
        Stream::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        Stream::Tcp(_) | Stream::Pipe(_) => true,
    }
}

/// Exchanges SETTINGS with the server; from then on a task drives the connection.
pub(super) async fn handshake<T: AsyncRead + AsyncWrite + Unpin + 'static>(
    io: T,
    state: &Rc<State>,
    deadline: Deadline,
    watch: Watch,
) -> Result<SendRequest<Bytes>, h2::Error> {
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        // None before the server's SETTINGS, which shows that they have come.
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX);
    let (sender, mut connection) = builder.handshake(io).await?;
    let ping = connection.ping_pong();
    std::future::poll_fn(|context| {
        let driven = Pin::new(&mut connection).poll(context);
        match driven {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // It ended before it began.
            Poll::Ready(Ok(())) => Poll::Ready(Err(h2::Reason::REFUSED_STREAM.into())),
            Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await?;
    let (state, mut pulse) = (Rc::clone(state), Pulse::new(ping, deadline, watch));
    tokio::task::spawn_local(async move {
        let mut connection = pin!(connection);
        let ended = std::future::poll_fn(|context| {
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended.err());
            }
            // Dropping the connection ends all its streams.
            pulse.poll(context, &state).map(|()| None)
        });
        let error = ended.await;
        tracing::debug!(?error, "a connection to a server ended");
        state.ended.set(true);
        state.room.notify_one();
    });
    Ok(sender)
}

/// Whether the server is still there.
struct Pulse {
    ping: Option<PingPong>,
    deadline: Deadline,
    watch: Watch,
    asked: Option<Timestamp>,
    /// The last question was not answered yet.
    owed: bool,
}

impl Pulse {
    fn new(ping: Option<PingPong>, deadline: Deadline, watch: Watch) -> Self {
        deadline.set(watch.ask_after);
        Self { ping, deadline, watch, asked: None, owed: false }
    }

    /// Ready when the server no longer answers.
    fn poll(&mut self, context: &mut Context<'_>, state: &State) -> Poll<()> {
        let Some(ping) = &mut self.ping else { return Poll::Pending };
        if self.owed && ping.poll_pong(context).is_ready() {
            self.owed = false;
            self.deadline.set(self.watch.ask_after);
        }
        while let Poll::Ready(Elapsed::Phase | Elapsed::Limit) = self.deadline.poll(context) {
            if self.owed {
                tracing::warn!("a server does not answer on its HTTP/2 connection any more");
                return Poll::Ready(());
            }
            let now = clock::now();
            if state.heard.take() {
                self.asked = None;
            } else if state.streams.get() > 0
                && self.asked.is_none_or(|asked| now.since(asked) >= self.watch.again_after)
                && ping.send_ping(Ping::opaque()).is_ok()
            {
                self.asked = Some(now);
                self.owed = true;
                // Registers for the answer, and lets the connection send the question.
                drop(ping.poll_pong(context));
                context.waker().wake_by_ref();
                self.deadline.set(self.watch.answer_within);
                continue;
            }
            self.deadline.set(self.watch.ask_after);
        }
        Poll::Pending
    }
}
