//! Takes in connections: counts them against their limits, completes TLS, serves them.
//!
//! A connection over a limit is told so in one write where that is free (plain HTTP), and
//! closed. Invariant: what was counted is given back however the connection ends ([`Place`]).

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use http_wire::HeadScanner;
use model::Reason;
use net::clock;
use net::socket::{LazyTcp, Stream};
use tokio_rustls::TlsAcceptor;

use crate::addresses::Held;
use crate::connection::{Client, Origin};
use crate::identify::Known;
use crate::serve;
use crate::worker::{ListenerCell, Worker};

/// Connections accepted in a row before others get their turn.
const BURST: usize = 64;
/// The answer to a connection over the limit; nothing was read, so nothing is echoed.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\n\
content-length: 49\r\nretry-after: 1\r\nproxy-status: tidegate; error=connection_limit_reached\r\n\
connection: close\r\n\r\nreason: too_many_connections; try again later...\n";

/// The places a connection holds until it ends.
#[derive(Debug)]
struct Place {
    worker: Rc<Worker>,
    listener: Rc<ListenerCell>,
    _address: Held,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.listener.connections.fetch_sub(1, Ordering::Relaxed);
        self.worker.connections.set(self.worker.connections.get() - 1);
        self.worker.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.worker.metrics.connection_closed();
        if std::thread::panicking() {
            self.worker.metrics.panic();
        }
    }
}

/// Accepts on `socket` until the listener closes.
pub(crate) async fn run(worker: Rc<Worker>, listener: Rc<ListenerCell>, socket: TcpListener) {
    let socket = match net::listen::watch(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "cannot register a listening socket");
            return;
        }
    };
    while !worker.is_closing(&listener) {
        tokio::select! {
            ready = socket.readable() => {
                let Ok(mut ready) = ready else { return };
                if accept_burst(&worker, &listener, &mut ready) == Burst::OutOfFiles {
                    // The socket stays readable; waiting is all that helps.
                    tokio::time::sleep(net::timer::TICK).await;
                }
            }
            () = listener.closed.notified() => {}
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Burst {
    Done,
    OutOfFiles,
}

fn accept_burst(
    worker: &Rc<Worker>,
    listener: &Rc<ListenerCell>,
    ready: &mut tokio::io::unix::AsyncFdReadyGuard<'_, TcpListener>,
) -> Burst {
    for _ in 0..BURST {
        match ready.try_io(|socket| net::listen::accept(socket.get_ref())) {
            Ok(Ok((stream, peer))) => take_in(worker, listener, stream, peer),
            Ok(Err(error)) if net::listen::is_out_of_files(&error) => {
                tracing::warn!(%error, "no file descriptor is free for a new connection");
                return Burst::OutOfFiles;
            }
            // The client gave up before it was accepted.
            Ok(Err(error)) => tracing::debug!(%error, "accept failed"),
            Err(_would_block) => return Burst::Done,
        }
    }
    Burst::Done
}

fn take_in(worker: &Rc<Worker>, listener: &Rc<ListenerCell>, stream: TcpStream, peer: SocketAddr) {
    let Some(place) = place(worker, listener, peer) else {
        worker.metrics.connection_refused(Reason::TooManyConnections);
        if listener.tls().is_none() {
            // One attempt to say why; the socket is nonblocking and closed at once.
            drop((&stream).write(TOO_MANY));
        }
        return;
    };
    worker.metrics.connection_accepted();
    tokio::task::spawn_local(connection(place, Stream::accepted(stream), peer));
}

fn place(worker: &Rc<Worker>, listener: &Rc<ListenerCell>, peer: SocketAddr) -> Option<Place> {
    let limits = listener.settings().limits;
    let shared = &worker.shared;
    let per_address = limits.connections_per_address_max;
    let address = shared.addresses.hold(peer.ip(), per_address)?;
    let connections_max = worker.view().live.configuration.door.connections_max;
    if !count(&listener.connections, limits.connections_max) {
        return None;
    }
    if !count(&shared.connections, connections_max) {
        listener.connections.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    worker.connections.set(worker.connections.get() + 1);
    Some(Place { worker: Rc::clone(worker), listener: Rc::clone(listener), _address: address })
}

/// Counts one more, unless `limit` are counted already.
fn count(counter: &AtomicU32, limit: u32) -> bool {
    let counted = counter.fetch_add(1, Ordering::Relaxed) < limit;
    if !counted {
        counter.fetch_sub(1, Ordering::Relaxed);
    }
    counted
}

async fn connection(place: Place, stream: Stream, peer: SocketAddr) {
    let (worker, listener) = (Rc::clone(&place.worker), Rc::clone(&place.listener));
    let tls = listener.tls();
    let stream = match (&tls, stream) {
        (Some(tls), Stream::Tcp(tcp)) => {
            match Box::pin(handshake(&worker, &listener, tls.config(), tcp)).await {
                Some(stream) => stream,
                None => return,
            }
        }
        (_, stream) => stream,
    };
    let origin = Origin::new(peer, tls.is_some(), &listener.settings());
    drop(tls);
    let client = Client {
        stream,
        buffer: None,
        deadline: worker.wheel.deadline(),
        scanner: HeadScanner::default(),
        head_began: None,
        origin,
        known: Known::default(),
        listener,
    };
    serve::serve(worker, client).await;
}

async fn handshake(
    worker: &Rc<Worker>,
    listener: &Rc<ListenerCell>,
    config: std::sync::Arc<rustls::ServerConfig>,
    tcp: LazyTcp,
) -> Option<Stream> {
    let began = clock::now();
    let deadline = worker.wheel.deadline();
    deadline.set(listener.settings().timeouts.handshake);
    let accepted = deadline.within(TlsAcceptor::from(config).accept(tcp.into_tokio().ok()?)).await;
    let duration = clock::now().since(began);
    worker.metrics.tls_handshake(duration, matches!(accepted, Ok(Ok(_))));
    match accepted {
        Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream.into()))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("TLS handshake timed out");
            None
        }
    }
}
