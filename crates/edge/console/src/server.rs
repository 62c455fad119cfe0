//! The console's two sockets: accept, limit, serve, and end in time.
//!
//! Invariant: at most 64 connections per socket, each of which must send its head within 10 s and
//! is renewed after 5 minutes; a 65th is told so and closed, so that idle peers cannot make the
//! operator wait.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::answer::{APPLIES_MAX, Desk, answer};
use crate::guard::{Admission, Caller};
use crate::look::WaitingRoom;
use crate::token::Token;
use crate::{Control, mutation};

/// Connections per socket.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request head.
const HEAD_BYTES_MAX: usize = 16 * 1_024;
/// Header fields of a request.
const HEADERS_MAX: usize = 64;
/// For a head, and for an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// After this a connection ends with its current answer.
const LIFETIME: Duration = Duration::from_secs(300);
/// For the answers under way when a connection's lifetime, or the console, ends.
const GRACE: Duration = Duration::from_secs(5);
/// After an accept that failed, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the Unix socket until `shutdown` ends; admits root and this process's user only.
///
/// # Errors
/// When the listener cannot be handed to the runtime.
pub async fn serve_unix(
    listener: std::os::unix::net::UnixListener,
    control: Arc<dyn Control>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let door = UnixDoor(tokio::net::UnixListener::from_std(listener)?);
    let own = rustix::process::geteuid().as_raw();
    serve(door, Admission::User(own), control, shutdown).await;
    Ok(())
}

/// Serves a TCP address until `shutdown` ends; admits whoever presents `token`, on every endpoint.
///
/// # Errors
/// When the listener cannot be handed to the runtime.
pub async fn serve_tcp(
    listener: std::net::TcpListener,
    token: Token,
    control: Arc<dyn Control>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let door = TcpDoor(tokio::net::TcpListener::from_std(listener)?);
    serve(door, Admission::Token(token), control, shutdown).await;
    Ok(())
}

trait Door {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Caller)>> + Send;
}

struct UnixDoor(tokio::net::UnixListener);

impl Door for UnixDoor {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Caller)> {
        let (stream, _) = self.0.accept().await?;
        let user = stream.peer_cred().ok().map(|credentials| credentials.uid());
        Ok((stream, Caller::User(user)))
    }
}

struct TcpDoor(tokio::net::TcpListener);

impl Door for TcpDoor {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Caller)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((stream, Caller::Network(peer)))
    }
}

async fn serve(
    door: impl Door,
    admission: Admission,
    control: Arc<dyn Control>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (orders, inbox) = mutation::desk();
    let (switches, switches_inbox) = mutation::desk();
    let mut clerks = JoinSet::new();
    clerks.spawn(mutation::work(inbox, Arc::clone(&control)));
    clerks.spawn(mutation::work(switches_inbox, Arc::clone(&control)));
    let waiting_room = WaitingRoom::default();
    let applies = Semaphore::new(APPLIES_MAX);
    let desk = Arc::new(Desk { control, admission, orders, switches, waiting_room, applies });
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = door.accept() => match accepted {
                Ok((stream, caller)) if connections.len() < CONNECTIONS_MAX => {
                    connections.spawn(converse(stream, caller, Arc::clone(&desk), stopped.clone()));
                }
                Ok((stream, caller)) => turn_away(stream, caller).await,
                Err(error) => {
                    tracing::warn!(%error, "the admin interface could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => report(ended),
        }
    }
    stop.send_replace(true);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
    drop(desk);
    if tokio::time::timeout(GRACE, clerks.join_all()).await.is_err() {
        tracing::warn!("a change was still under way when the admin interface ended");
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection of the admin interface failed");
    }
}

/// One connection, from its first byte to its end.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    caller: Caller,
    desk: Arc<Desk>,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(answer(&desk, caller, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // Its errors are the peer's (a reset, a malformed head): nothing here can act on them.
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = tokio::time::sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(tokio::time::timeout(GRACE, connection).await);
}

/// Tells the 65th peer that all places are taken.
async fn turn_away(mut stream: impl AsyncWrite + Unpin, caller: Caller) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    tracing::warn!(%caller, "all {CONNECTIONS_MAX} admin connections are taken; one more was turned away");
    // A fresh socket's send buffer holds these few bytes: the write cannot make the others wait.
    drop(stream.write_all(ANSWER).await);
}
