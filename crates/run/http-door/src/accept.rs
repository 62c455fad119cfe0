//! Takes in connections: counts them against their limits, completes TLS, serves them.
//!
//! A connection over a limit is told so in one write where that is free (plain HTTP), and
//! closed. Invariant: what was counted is given back however the connection ends ([`Place`]).

use std::cell::RefCell;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http_wire::HeadScanner;
use model::Reason;
use model::configuration::ListenerProtocol;
use net::clock;
use net::socket::{LazyTcp, Stream};
use net::tls::{ACME_ALPN, ServerTls, now_unix_s};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use crate::addresses::Held;
use crate::connection::{Client, Origin};
use crate::http2;
use crate::identify::Known;
use crate::serve;
use crate::session::{Expired, Session};
use crate::tcp;
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
    /// Absent while it is not known yet whose connection it is.
    address: Option<Held>,
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
    while !worker.accepts_no_more(&listener) {
        tokio::select! {
            ready = socket.readable() => {
                let Ok(mut ready) = ready else { return };
                match accept_burst(&worker, &listener, &mut ready) {
                    Burst::Done => {}
                    // The socket stays readable; waiting is all that helps.
                    Burst::OutOfFiles => tokio::time::sleep(net::timer::TICK).await,
                    Burst::MadeRoom(stream, peer) => {
                        // The connection that goes is gone when its task has run.
                        tokio::task::yield_now().await;
                        take_in(&worker, &listener, stream, peer);
                    }
                }
            }
            () = listener.closed.notified() => {}
        }
    }
}

#[derive(Debug)]
enum Burst {
    Done,
    OutOfFiles,
    /// An idle connection was told to go, so that this one has room.
    MadeRoom(TcpStream, SocketAddr),
}

fn accept_burst(
    worker: &Rc<Worker>,
    listener: &Rc<ListenerCell>,
    ready: &mut tokio::io::unix::AsyncFdReadyGuard<'_, TcpListener>,
) -> Burst {
    for _ in 0..BURST {
        match ready.try_io(|socket| net::listen::accept(socket.get_ref())) {
            Ok(Ok((stream, peer))) if makes_room(worker, listener, peer) => {
                return Burst::MadeRoom(stream, peer);
            }
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

/// Near a limit on connections, tells the one to go that has been idle for longest: one for each
/// that comes, so that idle ones never keep others out. None goes for a peer that is not let in
/// anyway; one that may have all places of the listener is let in.
fn makes_room(worker: &Worker, listener: &ListenerCell, peer: SocketAddr) -> bool {
    let settings = listener.settings();
    let door_max = worker.view().live.configuration.door.connections_max;
    let own = is_nearly(&listener.connections, settings.limits.connections_max);
    if !own && !is_nearly(&worker.shared.connections, door_max) {
        return false;
    }
    let is_let_in = if settings.proxy_protocol {
        Origin::new(peer, false, &settings).trusted
    } else {
        let limits = &settings.limits;
        let most = limits.connections_per_address_max;
        most >= limits.connections_max || worker.shared.addresses.has_room(peer.ip(), most)
    };
    is_let_in && worker.make_room(own.then_some(listener))
}

/// Whether one more is above nine tenths of the limit.
fn is_nearly(counter: &AtomicU32, limit: u32) -> bool {
    let counted = u64::from(counter.load(Ordering::Relaxed)) + 1;
    counted * 10 > u64::from(limit) * 9
}

fn take_in(worker: &Rc<Worker>, listener: &Rc<ListenerCell>, stream: TcpStream, peer: SocketAddr) {
    let settings = listener.settings();
    if settings.proxy_protocol {
        let origin = Origin::new(peer, false, &settings);
        if !origin.trusted {
            return tcp::refused(worker, &origin, Reason::ProxyUntrusted);
        }
    }
    let Some(place) = place(worker, listener, peer) else {
        let speaks_http = matches!(settings.protocol, ListenerProtocol::Http { .. });
        if !speaks_http {
            let origin = Origin::new(peer, false, &settings);
            return tcp::refused(worker, &origin, Reason::TooManyConnections);
        }
        worker.metrics.connection_refused(Reason::TooManyConnections);
        if listener.tls().is_none() && !settings.proxy_protocol {
            // One attempt to say why; the socket is nonblocking and closed at once.
            drop((&stream).write(TOO_MANY));
        }
        return;
    };
    worker.metrics.connection_accepted();
    tokio::task::spawn_local(connection(place, Stream::accepted(stream), peer));
}

fn place(worker: &Rc<Worker>, listener: &Rc<ListenerCell>, peer: SocketAddr) -> Option<Place> {
    let settings = listener.settings();
    let limits = settings.limits;
    let shared = &worker.shared;
    // A proxy has the connections of all its clients: each counts as its own, once it is known.
    let address = match settings.proxy_protocol {
        true => None,
        false => Some(shared.addresses.hold(peer.ip(), limits.connections_per_address_max)?),
    };
    let connections_max = worker.view().live.configuration.door.connections_max;
    if !count(&listener.connections, limits.connections_max) {
        return None;
    }
    if !count(&shared.connections, connections_max) {
        listener.connections.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    worker.connections.set(worker.connections.get() + 1);
    Some(Place { worker: Rc::clone(worker), listener: Rc::clone(listener), address })
}

/// Counts one more, unless `limit` are counted already.
fn count(counter: &AtomicU32, limit: u32) -> bool {
    let counted = counter.fetch_add(1, Ordering::Relaxed) < limit;
    if !counted {
        counter.fetch_sub(1, Ordering::Relaxed);
    }
    counted
}

async fn connection(mut place: Place, mut stream: Stream, peer: SocketAddr) {
    let (worker, listener) = (Rc::clone(&place.worker), Rc::clone(&place.listener));
    let Some((peer, local)) = Box::pin(ends(&mut place, &mut stream, peer)).await else { return };
    let (tls, terms) = (listener.tls(), listener.terms());
    let (stream, session) = match (tls, stream) {
        (Some(tls), Stream::Tcp(tcp)) => {
            match Box::pin(handshake(&worker, &listener, tls, tcp)).await {
                Some((stream, session)) => (stream, Some(session)),
                None => return,
            }
        }
        (_, stream) => (stream, None),
    };
    let origin = Origin::new(peer, session.is_some(), &listener.settings());
    let origin = origin.with_session(session, terms).with_local(local);
    if matches!(listener.settings().protocol, ListenerProtocol::Tcp(_)) {
        return Box::pin(tcp::serve(worker, listener, stream, origin)).await;
    }
    let is_http2 = http2::inbound::was_negotiated(&stream);
    let client = Client {
        stream,
        buffer: None,
        deadline: worker.wheel.deadline(),
        scanner: HeadScanner::default(),
        head_began: None,
        origin: Rc::new(origin),
        known: Rc::<RefCell<Known>>::default(),
        listener,
        over_http2: false,
    };
    if is_http2 {
        Box::pin(http2::inbound::serve(worker, client)).await;
    } else {
        serve::serve(worker, client).await;
    }
}

/// The client's address and the one that it connected to: the socket's own, or what a proxy says
/// before all else. `None`: the connection was refused.
async fn ends(
    place: &mut Place,
    stream: &mut Stream,
    peer: SocketAddr,
) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let Stream::Tcp(socket) = stream else { return Some((peer, None)) };
    let worker = Rc::clone(&place.worker);
    let settings = place.listener.settings();
    let mut ends = (peer, None);
    if settings.proxy_protocol {
        let (deadline, time) = (worker.wheel.deadline(), settings.timeouts.handshake);
        let refused = |peer, reason| {
            tcp::refused(&worker, &Origin::new(peer, false, &settings), reason);
        };
        match tcp::proxied::read(socket, &deadline, time).await {
            Ok(Some(told)) => ends = (told.source, Some(told.destination)),
            // The proxy's own connection: a check of its own, as a rule.
            Ok(None) => {}
            Err(reason) => {
                refused(peer, reason);
                return None;
            }
        }
        let per_address = settings.limits.connections_per_address_max;
        place.address = worker.shared.addresses.hold(ends.0.ip(), per_address);
        if place.address.is_none() {
            refused(ends.0, Reason::TooManyConnections);
            return None;
        }
    }
    if ends.1.is_none() && worker.view().live.tells_clients() {
        ends.1 = socket.local_address().ok();
    }
    Some(ends)
}

async fn handshake(
    worker: &Rc<Worker>,
    listener: &Rc<ListenerCell>,
    tls: Arc<ServerTls>,
    tcp: LazyTcp,
) -> Option<(Stream, Rc<Session>)> {
    let began = clock::now();
    let deadline = worker.wheel.deadline();
    deadline.set(listener.settings().timeouts.handshake);
    let accepted = deadline.within(accept(worker, tls.config(), tcp.into_tokio().ok()?)).await;
    let why = match accepted {
        // It asked for the answer to a challenge, and has it.
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ACME_ALPN) => {
            worker.metrics.tls_handshake(clock::now().since(began), true);
            return None;
        }
        Ok(Ok(stream)) => match Session::of(stream.get_ref().1, tls, now_unix_s()) {
            Ok(session) => {
                worker.metrics.tls_handshake(clock::now().since(began), true);
                return Some((Stream::Tls(Box::new(stream.into())), session));
            }
            Err(Expired) => "the client's certificate has expired".to_owned(),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => "timed out".to_owned(),
    };
    worker.metrics.tls_handshake(clock::now().since(began), false);
    tracing::debug!(why, "TLS handshake failed");
    None
}

/// Completes a handshake: with `config`, or with the answer to a challenge, if one is open and asked
/// for.
async fn accept(
    worker: &Worker,
    config: Arc<rustls::ServerConfig>,
    tcp: tokio::net::TcpStream,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let challenges = &worker.shared.challenges;
    if !challenges.is_open() {
        return TlsAcceptor::from(config).accept(tcp).await;
    }
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp).await?;
    let hello = start.client_hello();
    let asks = hello.alpn().is_some_and(|mut offered| offered.any(|name| name == ACME_ALPN));
    let answer = hello.server_name().filter(|_| asks).and_then(|name| challenges.handshake(name));
    start.into_stream(answer.unwrap_or(config)).await
}
