//! WebSockets that stay open and echo while a test does something to the door.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tungstenite::Message;

use crate::{PATIENCE, eventually};

/// WebSockets that echo without a pause until they are told to stop.
#[derive(Debug)]
pub struct Echoes {
    stop: Arc<AtomicBool>,
    echoed: Arc<AtomicU32>,
    threads: Vec<JoinHandle<()>>,
}

impl Echoes {
    /// Opens `count` of them to a door with a sample application behind it, and waits until
    /// they echo.
    #[must_use]
    #[track_caller]
    pub fn start(address: SocketAddr, count: u32) -> Self {
        let (stop, echoed) = <(Arc<AtomicBool>, Arc<AtomicU32>)>::default();
        let threads = (0..count)
            .map(|number| {
                let (stop, echoed) = (Arc::clone(&stop), Arc::clone(&echoed));
                std::thread::spawn(move || echo(address, number, &stop, &echoed))
            })
            .collect();
        let echoes = Self { stop, echoed, threads };
        eventually("the WebSockets echo", || echoes.echoed() >= count * 2);
        echoes
    }

    /// Messages that came back so far, of all of them.
    #[must_use]
    pub fn echoed(&self) -> u32 {
        self.echoed.load(Ordering::SeqCst)
    }

    /// How many have lost their connection or a message so far.
    #[must_use]
    pub fn cut(&self) -> usize {
        self.threads.iter().filter(|thread| thread.is_finished()).count()
    }

    /// Closes them.
    ///
    /// # Panics
    /// When one of them lost its connection or a message.
    pub fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("a WebSocket stayed open and echoed all");
        }
    }
}

fn echo(address: SocketAddr, number: u32, stop: &AtomicBool, echoed: &AtomicU32) {
    let stream = TcpStream::connect(address).expect("the door listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    let url = "ws://localhost/websocket";
    let (mut socket, _) = tungstenite::client(url, stream).expect("the upgrade is passed on");
    let mut count = 0_u32;
    while !stop.load(Ordering::SeqCst) {
        let message = Message::text(format!("{number}: {count}"));
        socket.send(message.clone()).expect("the connection is open");
        assert_eq!(socket.read().expect("the connection is open"), message);
        echoed.fetch_add(1, Ordering::SeqCst);
        count += 1;
        // A breath, so that all of them together leave the machine some time.
        std::thread::park_timeout(Duration::from_millis(10));
    }
    socket.close(None).expect("the connection is open");
    while socket.read().is_ok() {}
}
