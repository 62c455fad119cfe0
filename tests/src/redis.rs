//! A Redis server that a test can kill, wipe and bring back, and a valve in front of it.
//!
//! Invariant: it keeps nothing on disk, so what comes back is empty; dropped, it is gone.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::{free_port, wait};

/// A running server.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Redis {
    /// Starts a server on a free port.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        // It cannot choose a port by itself, and a free one may be taken before it gets it.
        for _ in 0..5 {
            let folder = tempfile::tempdir().expect("temporary folders can be made");
            let address = free_address();
            let mut redis = Self { child: run(address, &folder), address, folder };
            if redis.listens() {
                return redis;
            }
        }
        panic!("no redis-server listens");
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("an own process can be killed");
        self.child.wait().expect("an own process can be awaited");
    }

    /// Starts it again at the same address, after [`Redis::kill`]; it has forgotten everything.
    ///
    /// # Panics
    /// When it does not listen.
    #[track_caller]
    pub fn revive(&mut self) {
        self.child = run(self.address, &self.folder);
        assert!(self.listens(), "redis-server does not listen again");
    }

    /// Makes it forget everything, its scripts too.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn wipe(&self) {
        for command in ["FLUSHALL\r\n", "SCRIPT FLUSH\r\n"] {
            assert_eq!(ask(self.address, command).as_deref(), Some("+OK\r\n"), "{command}");
        }
    }

    /// Sends a command of these words and returns what comes first, up to 64 bytes.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn ask(&self, words: &[&str]) -> String {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        ask(self.address, &command).expect("the server answers")
    }

    fn listens(&mut self) -> bool {
        let (child, address) = (&mut self.child, self.address);
        let found = wait::look(|| {
            let ended = !matches!(child.try_wait(), Ok(None));
            let listens = ask(address, "PING\r\n").as_deref() == Some("+PONG\r\n");
            (ended || listens).then_some(listens && !ended)
        });
        found.unwrap_or(false)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

fn run(address: SocketAddr, folder: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed: `cargo xtask test` does it")
}

fn ask(address: SocketAddr, command: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(command.as_bytes()).ok()?;
    let mut room = [0; 64];
    let count = stream.read(&mut room).ok()?;
    Some(String::from_utf8_lossy(&room[..count]).into_owned())
}

/// Stands between doors and a server; closed, it lets nothing through and breaks nothing off.
#[derive(Debug)]
pub struct Valve {
    address: SocketAddr,
    shared: Arc<Pipes>,
}

#[derive(Debug, Default)]
struct Pipes {
    closed: AtomicBool,
    ended: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Valve {
    /// An open valve in front of `server`.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Pipes::default());
        let pipes = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if pipes.ended.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(server) = TcpStream::connect(server) {
                    pipe(&pipes, &client, &server);
                    pipe(&pipes, &server, &client);
                }
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nothing through from now on; connections stay open.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
    }

    /// Lets everything through again, what came meanwhile first.
    pub fn open(&self) {
        self.shared.closed.store(false, Ordering::SeqCst);
    }
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.open();
        for stream in self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            drop(stream.shutdown(Shutdown::Both));
        }
        // The thread that accepts looks at the end once more.
        drop(TcpStream::connect(self.address));
    }
}

fn pipe(pipes: &Arc<Pipes>, from: &TcpStream, to: &TcpStream) {
    let clone = |stream: &TcpStream| stream.try_clone().expect("sockets can be shared");
    let (mut from, mut to) = (clone(from), clone(to));
    pipes.streams.lock().unwrap_or_else(PoisonError::into_inner).push(clone(&from));
    let pipes = Arc::clone(pipes);
    std::thread::spawn(move || {
        let mut room = [0; 16 * 1_024];
        while let Ok(count) = from.read(&mut room) {
            while pipes.closed.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            if count == 0 || to.write_all(&room[..count]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
    });
}
