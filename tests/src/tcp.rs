//! A server of plain TCP that greets, echoes, and keeps what it received.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::PATIENCE;

/// Stacks of the threads that echo: there may be thousands.
const STACK_BYTES: usize = 128 * 1024;

#[derive(Debug, Default)]
struct Shared {
    /// What each connection sent, in the order they were accepted.
    received: Mutex<Vec<Vec<u8>>>,
    sockets: Mutex<Vec<TcpStream>>,
    open: AtomicUsize,
    stopping: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server on `127.0.0.1`. Every connection hears the greeting, then what it sends, until it ends
/// its side; then the server ends its own. It ends when dropped.
#[derive(Debug)]
pub struct TcpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl TcpServer {
    /// A server with this greeting.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(greeting: &str) -> Self {
        Self::on("127.0.0.1:0".parse().expect("an address"), greeting)
    }

    /// A server at this address.
    ///
    /// # Panics
    /// When it is taken.
    #[must_use]
    pub fn on(address: SocketAddr, greeting: &str) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("a listening socket has an address");
        let shared = Arc::new(Shared::default());
        let acceptor = std::thread::spawn({
            let (shared, greeting) = (Arc::clone(&shared), Arc::<str>::from(greeting));
            move || accept(&listener, &shared, &greeting)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What each connection sent so far, in the order they were accepted.
    #[must_use]
    pub fn received(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.received).clone()
    }

    /// All that was received, one connection after the other.
    #[must_use]
    pub fn received_text(&self) -> String {
        String::from_utf8_lossy(&self.received().concat()).into_owned()
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.shared.received).len()
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Stops listening and cuts every connection, as a process that is killed does.
    pub fn kill(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
        for socket in lock(&self.shared.sockets).drain(..) {
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, greeting: &Arc<str>) {
    for (index, socket) in listener.incoming().flatten().enumerate() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        lock(&shared.received).push(Vec::new());
        lock(&shared.sockets).extend(socket.try_clone());
        shared.open.fetch_add(1, Ordering::SeqCst);
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let spawned = thread.spawn({
            let (shared, greeting) = (Arc::clone(shared), Arc::clone(greeting));
            move || {
                echo(socket, index, &shared, &greeting);
                shared.open.fetch_sub(1, Ordering::SeqCst);
            }
        });
        drop(spawned);
    }
}

fn echo(mut socket: TcpStream, index: usize, shared: &Shared, greeting: &str) {
    if socket.write_all(greeting.as_bytes()).is_err() {
        return;
    }
    let mut bytes = [0; 16 * 1024];
    while let Ok(count) = socket.read(&mut bytes) {
        if count == 0 {
            drop(socket.shutdown(Shutdown::Write));
            return;
        }
        let part = &bytes[..count];
        if let Some(received) = lock(&shared.received).get_mut(index) {
            received.extend_from_slice(part);
        }
        if socket.write_all(part).is_err() {
            return;
        }
    }
}

/// A connection that fails loudly when nothing comes.
///
/// # Panics
/// When nobody listens.
#[must_use]
#[track_caller]
pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("somebody listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    socket.set_nodelay(true).expect("a socket takes no delay");
    socket
}

/// Sends `text` and reads as many bytes back.
///
/// # Panics
/// When they are others, or do not come.
#[track_caller]
pub fn check_echo(socket: &mut TcpStream, text: &str) {
    socket.write_all(text.as_bytes()).expect("the connection is open");
    assert_eq!(read(socket, text.len()), text);
}

/// Reads exactly so many bytes.
///
/// # Panics
/// When they do not come.
#[must_use]
#[track_caller]
pub fn read(socket: &mut TcpStream, count: usize) -> String {
    let mut bytes = vec![0; count];
    socket.read_exact(&mut bytes).expect("the bytes come");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until the other side ends; a reset is an end too.
///
/// # Panics
/// When it does not end.
#[must_use]
#[track_caller]
pub fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("the connection does not end: {error}"),
    }
}
