//! HTTP/2 towards a server: a worker's few connections to it, and streams over them.
//!
//! A stream is handed to the walk as a connection of its own: a pipe that drives what turns the
//! walk's HTTP/1.1 into frames and back (`passage`). The connection itself is driven by a task of
//! its own (`driver`). What is left for this file is which connection takes a stream.
//!
//! Invariants: one shared connection is being opened at a time, and there are never more than the
//! pool's `idle_max`; no connection has more streams than its server allows, nor more than
//! [`STREAMS_MAX`]; a connection that is closing, or on which uploads stand still, is given none.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use model::{Reason, Timestamp};
use net::clock;
use net::pipe;
use net::socket::Stream;
use net::timer::{Deadline, Wheel};
use tokio::sync::Notify;

use crate::upstream::{Cut, Fate, ServerConnection, UpstreamTls};

mod driver;
mod passage;
mod websocket;

/// Streams on one connection, whatever the server allows: more would wait for each other too
/// often, for a lost packet stops all of them.
const STREAMS_MAX: u32 = 100;
/// Uploads that stood still for this long may have been stopped by one another.
const CLOGGED_AFTER: Duration = Duration::from_millis(100);

/// A head above this goes over a connection of its own. Some servers end the whole connection for
/// a head that is too large for them (nginx does), and with it what others do there.
const SHARED_HEAD_BYTES_MAX: usize = 8 * 1024;

/// Where a stream leads, and how long the way there may take.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) address: SocketAddr,
    /// The server's name, if it has one.
    pub(crate) host: Option<&'a Arc<str>>,
    pub(crate) tls: Option<&'a UpstreamTls>,
    /// The size of the request's head.
    pub(crate) head_bytes: usize,
    /// The most connections, at least 1.
    pub(crate) connections_max: usize,
    /// A connection without streams is closed after this.
    pub(crate) idle_time: Duration,
    pub(crate) wheel: &'a Rc<Wheel>,
}

/// A worker's connections to one server.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: RefCell<Vec<Rc<Connection>>>,
    /// Told to all who wait while a connection is being opened.
    opening: RefCell<Option<Rc<Opening>>>,
    /// A stream ended.
    room: Rc<Notify>,
}

/// A connection on its way, and what became of it.
#[derive(Debug, Default)]
struct Opening {
    result: Cell<Option<Result<(), Reason>>>,
    done: Notify,
}

/// A connection that streams can be opened on.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Bytes>,
    state: Rc<State>,
    secure: bool,
    address: SocketAddr,
    idle_time: Duration,
}

/// What the tasks of a connection tell each other.
#[derive(Debug)]
struct State {
    streams: Cell<usize>,
    /// When the last stream ended.
    idle_since: Cell<Timestamp>,
    /// Something of a response came since this was last asked.
    heard: Cell<bool>,
    /// Uploads that wait until the server takes more.
    waiting_uploads: Cell<usize>,
    /// When one of them last went on, or began to wait.
    moved_at: Cell<Timestamp>,
    /// The connection has ended.
    ended: Cell<bool>,
    room: Rc<Notify>,
}

/// A place on a connection, held while a stream is open.
#[derive(Debug)]
struct Slot {
    state: Rc<State>,
}

impl Connections {
    /// Opens a stream to `target` within `time`; true beside it when that had to wait for a new
    /// connection.
    ///
    /// # Errors
    /// `ConnectFailed`, `ConnectTimeout` or `ServerTls`.
    pub(crate) async fn stream(
        self: &Rc<Self>,
        target: &Target<'_>,
        deadline: &Deadline,
        time: Duration,
    ) -> Result<(ServerConnection, bool), Reason> {
        deadline.set(time);
        if target.head_bytes > SHARED_HEAD_BYTES_MAX {
            let opening = Box::pin(driver::open(self.plan(target, time)));
            return Ok((within(deadline, opening).await??.open_stream(false, true), true));
        }
        let mut waited = false;
        loop {
            let now = clock::now();
            self.open.borrow_mut().retain(|connection| connection.is_usable());
            let may_open = self.open.borrow().len() < target.connections_max;
            if let Some(connection) = self.choose(now, may_open) {
                return Ok((connection.open_stream(!waited, false), waited));
            }
            waited = true;
            let opening = self.opening.borrow().clone();
            match opening {
                Some(opening) => within(deadline, opening.end()).await??,
                None if may_open => within(deadline, self.begin(target, time).end()).await??,
                // All are full: the next stream that ends makes room.
                None => within(deadline, self.room.notified()).await?,
            }
        }
    }

    /// The connection with the fewest streams of those that can take one more. One on which
    /// uploads stand still is left alone if another may be opened: the next upload would stand
    /// still there too.
    fn choose(&self, now: Timestamp, may_open: bool) -> Option<Rc<Connection>> {
        let open = self.open.borrow();
        let free = open.iter().filter(|connection| connection.has_room());
        let key = |connection: &&Rc<Connection>| {
            (connection.state.is_clogged(now), connection.state.streams.get())
        };
        let best = free.min_by_key(key)?;
        (!may_open || !best.state.is_clogged(now)).then(|| Rc::clone(best))
    }

    /// Begins to open a connection, in a task of its own: whoever asked for it may leave, and
    /// others may wait for it.
    fn begin(self: &Rc<Self>, target: &Target<'_>, time: Duration) -> Rc<Opening> {
        let opening = Rc::<Opening>::default();
        *self.opening.borrow_mut() = Some(Rc::clone(&opening));
        let plan = self.plan(target, time);
        let (connections, told) = (Rc::clone(self), Rc::clone(&opening));
        tokio::task::spawn_local(async move {
            let result = driver::open(plan).await;
            connections.opening.borrow_mut().take();
            let result = result.map(|connection| {
                connections.open.borrow_mut().push(Rc::new(connection));
            });
            told.result.set(Some(result));
            told.done.notify_waiters();
        });
        opening
    }

    fn plan(&self, target: &Target<'_>, time: Duration) -> driver::Plan {
        driver::Plan {
            address: target.address,
            host: target.host.cloned(),
            tls: target.tls.cloned(),
            time,
            wheel: Rc::clone(target.wheel),
            idle_time: target.idle_time,
            room: Rc::clone(&self.room),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// Closes connections that ended, or that carried no stream for the pool's idle time. To be
    /// called about once a second.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.open.borrow_mut().retain(|connection| {
            let state = &connection.state;
            let is_idle = state.streams.get() == 0;
            let expired = now.since(state.idle_since.get()) >= connection.idle_time;
            connection.is_usable() && !(is_idle && expired)
        });
    }

    /// Closes all connections as soon as their streams have ended: the server was removed.
    pub(crate) fn close(&self) {
        self.open.borrow_mut().clear();
    }
}

async fn within<T>(deadline: &Deadline, future: impl Future<Output = T>) -> Result<T, Reason> {
    deadline.within(future).await.map_err(|_elapsed| Reason::ConnectTimeout)
}

impl Opening {
    /// What becomes of it. Nothing can be told between the look and the wait, for both are one
    /// step of one thread.
    async fn end(self: Rc<Self>) -> Result<(), Reason> {
        loop {
            if let Some(result) = self.result.get() {
                return result;
            }
            self.done.notified().await;
        }
    }
}

impl Connection {
    /// False once it has ended, or the server said that it takes no more streams (GOAWAY).
    fn is_usable(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let sender = &mut self.sender.clone();
        !self.state.ended.get() && matches!(sender.poll_ready(&mut context), Poll::Ready(Ok(())))
    }

    fn has_room(&self) -> bool {
        let allowed = self.sender.current_max_send_streams();
        self.state.streams.get() < allowed.min(STREAMS_MAX as usize)
    }

    /// A pipe that drives what turns it into a stream, the only one if it is `alone`.
    fn open_stream(&self, reused: bool, alone: bool) -> ServerConnection {
        let (walk, end) = pipe::pipe();
        let fate: Fate = Rc::default();
        let slot = Slot::take(&self.state);
        let way = passage::Way {
            sender: self.sender.clone(),
            secure: self.secure,
            address: self.address,
            alone,
            fate: Rc::clone(&fate),
        };
        let stream = Stream::Pipe(walk.drive(|| passage::run(end, way, slot)));
        ServerConnection { stream, buffer: None, reused, fate: Some(fate) }
    }
}

impl State {
    fn new(room: Rc<Notify>) -> Rc<Self> {
        let now = clock::now();
        Rc::new(Self {
            streams: Cell::new(0),
            idle_since: Cell::new(now),
            heard: Cell::new(false),
            waiting_uploads: Cell::new(0),
            moved_at: Cell::new(now),
            ended: Cell::new(false),
            room,
        })
    }

    /// True while uploads wait and none has gone on for a while: it may be one that the server
    /// does not read, and that has used up the window which all of the connection share.
    fn is_clogged(&self, now: Timestamp) -> bool {
        self.waiting_uploads.get() > 0 && now.since(self.moved_at.get()) >= CLOGGED_AFTER
    }
}

impl Slot {
    fn take(state: &Rc<State>) -> Self {
        state.streams.set(state.streams.get() + 1);
        Self { state: Rc::clone(state) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let left = self.state.streams.get() - 1;
        self.state.streams.set(left);
        if left == 0 {
            self.state.idle_since.set(clock::now());
        }
        self.state.room.notify_one();
    }
}

/// What an error says about the request of a stream that ended with it.
fn cut_of(error: &h2::Error) -> Cut {
    let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    if error.is_remote() && error.is_go_away() {
        Cut::GoneAway
    } else if error.is_remote() && error.is_reset() && refused {
        Cut::Refused
    } else if error.is_library() {
        Cut::Malformed
    } else {
        Cut::Closed
    }
}

#[cfg(test)]
mod tests;
