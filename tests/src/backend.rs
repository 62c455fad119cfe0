//! A server whose every answer is scripted, and that keeps every byte it received.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::message::{Ending, Fields, Request};

/// How long a connection may be idle, and a request may stall.
const IDLE: Duration = Duration::from_secs(30);

type Handler = dyn Fn(&Request, &mut Peer) + Send + Sync;

#[derive(Debug, Default)]
struct Shared {
    /// What each connection received, in the order they were accepted.
    received: Mutex<Vec<Vec<u8>>>,
    requests: Mutex<Vec<Request>>,
    sockets: Mutex<Vec<TcpStream>>,
    /// What the door sent and never should.
    complaints: Mutex<Vec<String>>,
    open: AtomicUsize,
    stopping: AtomicBool,
    /// Whether another proxy than the door may ask, in HTTP/1.0.
    takes_1_0: bool,
}

impl Shared {
    fn received(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A scripted server on `127.0.0.1` with a port of its own. It ends when dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Backend {
    /// A server that hands each request, with its whole body, to `handler`.
    #[must_use]
    pub fn start(handler: impl Fn(&Request, &mut Peer) + Send + Sync + 'static) -> Self {
        Self::by_head(move |head, peer| {
            let mut request = head.clone();
            if peer.read_body(&mut request) {
                peer.note(&request);
                handler(&request, peer);
            }
        })
    }

    /// As [`Backend::start`], for other proxies too: nginx asks in HTTP/1.0 unless it is told not
    /// to, and the connection ends with the answer then. The door must ask in HTTP/1.1.
    #[must_use]
    pub fn for_any_proxy(handler: impl Fn(&Request, &mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let shared = Shared { takes_1_0: true, ..Shared::default() };
        Self::sharing(listener, shared, move |head, peer| {
            let mut request = head.clone();
            if peer.read_body(&mut request) {
                peer.note(&request);
                handler(&request, peer);
            }
            if request.version == "HTTP/1.0" {
                peer.close();
            }
        })
    }

    /// A server that hands each request to `handler` once its head is there; the handler reads
    /// the body itself ([`Peer::read_body`]), or leaves it.
    #[must_use]
    pub fn by_head(handler: impl Fn(&Request, &mut Peer) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("loopback has free ports"), handler)
    }

    /// A server that answers everything with this response.
    #[must_use]
    pub fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |_, peer| peer.send(&response))
    }

    /// A server that answers everything with this response and closes the connection.
    #[must_use]
    pub fn answering_once(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |_, peer| {
            peer.send(&response);
            peer.close();
        })
    }

    /// A server on a socket that listens already.
    #[must_use]
    pub fn on(
        listener: TcpListener,
        handler: impl Fn(&Request, &mut Peer) + Send + Sync + 'static,
    ) -> Self {
        Self::sharing(listener, Shared::default(), handler)
    }

    fn sharing(
        listener: TcpListener,
        shared: Shared,
        handler: impl Fn(&Request, &mut Peer) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a listening socket has an address");
        let shared = Arc::new(shared);
        let handler: Arc<Handler> = Arc::new(handler);
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared, &handler)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every byte received, over all connections.
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        self.shared.received().concat()
    }

    /// Every byte received, as text.
    #[must_use]
    pub fn received_text(&self) -> String {
        String::from_utf8_lossy(&self.received()).into_owned()
    }

    /// Every byte received, for each connection, in the order they were accepted.
    #[must_use]
    pub fn conversations(&self) -> Vec<Vec<u8>> {
        self.shared.received().clone()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.received().len()
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The requests whose bodies were read whole, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last request.
    ///
    /// # Panics
    /// When there was none.
    #[must_use]
    #[track_caller]
    pub fn last(&self) -> Request {
        self.requests().pop().expect("a request reached the server")
    }

    /// Closes every connection that is open now; it goes on accepting.
    pub fn hang_up(&self) {
        let sockets = &self.shared.sockets;
        for socket in sockets.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            drop(socket.shutdown(Shutdown::Both));
        }
    }

    /// Stops accepting and closes everything; the port is free afterwards.
    pub fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
        self.hang_up();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
        let complaints = self.shared.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(complaints.is_empty() || std::thread::panicking(), "{complaints:?}");
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, handler: &Arc<Handler>) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (shared, handler) = (Arc::clone(shared), Arc::clone(handler));
        let index = {
            let mut received = shared.received();
            received.push(Vec::new());
            received.len() - 1
        };
        if let Ok(clone) = stream.try_clone() {
            shared.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(clone);
        }
        shared.open.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            let mut peer = Peer { stream, shared, index, buffer: Vec::new(), closed: false };
            peer.serve(&handler);
        });
    }
}

/// The door, as a server sees it: one connection.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    shared: Arc<Shared>,
    index: usize,
    /// Bytes received and not yet taken.
    buffer: Vec<u8>,
    closed: bool,
}

impl Peer {
    fn serve(&mut self, handler: &Arc<Handler>) {
        drop(self.stream.set_read_timeout(Some(IDLE)));
        drop(self.stream.set_nodelay(true));
        while !self.closed {
            let Some(head) = self.until(b"\r\n\r\n") else { return };
            let head = String::from_utf8_lossy(&head).into_owned();
            let request = match Request::parse(&head, self.shared.takes_1_0) {
                Ok(request) => request,
                Err(why) => {
                    let complaint = format!("the door sent a malformed head, {why}: {head:?}");
                    let complaints = &self.shared.complaints;
                    complaints.lock().unwrap_or_else(PoisonError::into_inner).push(complaint);
                    return;
                }
            };
            handler(&request, self);
        }
    }

    /// Which connection this is, counted from 0 in the order of acceptance.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Sends these bytes; a door that closed is not an error here.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if self.stream.write_all(bytes.as_ref()).is_err() {
            self.closed = true;
        }
    }

    /// Sends these bytes; false when the door closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.send(bytes);
        !self.closed
    }

    /// Ends the connection in an orderly way.
    pub fn close(&mut self) {
        self.closed = true;
        drop(self.stream.shutdown(Shutdown::Both));
    }

    /// Ends the sending side only.
    pub fn finish_sending(&mut self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Ends the connection with a reset (RST).
    pub fn reset(&mut self) {
        self.closed = true;
        let linger = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        linger.expect("a socket takes lingering");
        // The list's clone would keep the socket open.
        let mut sockets = self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.stream.peer_addr().ok();
        sockets.retain(|socket| socket.peer_addr().ok() != own);
    }

    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads the body of `request` into it; false when the connection ended before.
    pub fn read_body(&mut self, request: &mut Request) -> bool {
        let length = match request.ending() {
            Ending::Length(length) => length,
            Ending::Chunked => return self.read_chunks(request),
            Ending::Close => 0,
        };
        while self.buffer.len() < length {
            if !self.fill() {
                return false;
            }
        }
        request.body = self.buffer.drain(..length).collect();
        true
    }

    fn read_chunks(&mut self, request: &mut Request) -> bool {
        loop {
            let Some(line) = self.until(b"\r\n") else { return false };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let size = usize::from_str_radix(&line, 16).expect("the door writes plain sizes");
            if size == 0 {
                break;
            }
            while self.buffer.len() < size + 2 {
                if !self.fill() {
                    return false;
                }
            }
            request.body.extend(self.buffer.drain(..size));
            let end: Vec<u8> = self.buffer.drain(..2).collect();
            assert_eq!(end, b"\r\n", "the door ends its chunks");
        }
        let mut trailers = String::new();
        loop {
            let Some(line) = self.until(b"\r\n") else { return false };
            if line == b"\r\n" {
                break;
            }
            trailers.push_str(&String::from_utf8_lossy(&line));
        }
        request.trailers = Fields::parse(&trailers).expect("the door writes plain trailers");
        true
    }

    /// Waits for more bytes than were taken, whatever they are; `None` at the end.
    pub fn read_some(&mut self) -> Option<Vec<u8>> {
        if self.buffer.is_empty() && !self.fill() {
            return None;
        }
        Some(std::mem::take(&mut self.buffer))
    }

    /// Reads and keeps everything until the door ends the connection.
    pub fn read_to_end(&mut self) {
        while self.fill() {}
    }

    /// Counts `request` among those the backend received.
    pub fn note(&self, request: &Request) {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn fill(&mut self) -> bool {
        let mut room = vec![0; 64 * 1_024];
        loop {
            match self.stream.read(&mut room) {
                Ok(count) if count > 0 => {
                    self.buffer.extend_from_slice(&room[..count]);
                    self.shared.received()[self.index].extend_from_slice(&room[..count]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.closed = true;
                    return false;
                }
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
        let own = self.stream.peer_addr().ok();
        // A clone that stays in the list would keep the connection open.
        let mut sockets = self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if own.is_some() {
            sockets.retain(|socket| socket.peer_addr().ok() != own);
        }
    }
}
