//! A network that gets worse on demand, between any two parts that speak TCP.
//!
//! Whoever is to suffer connects to [`Proxy::address`] instead of the target. Conditions change
//! while connections are open, and concern them at once. Bytes keep their order and none is lost:
//! what a network loses, TCP repeats, so loss shows as time without progress, or as a reset.
//!
//! Invariant: connections, and what one holds back in each direction, are bounded; a side that
//! does not read makes the other wait. Nothing of it outlives the [`Proxy`].

mod connection;
mod pace;
mod pipe;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use model::drill::NetworkConditions;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use connection::{converse, reset};

/// Connections at once; further ones wait in the listener's backlog.
pub const CONNECTIONS_MAX: usize = 10_000;
/// After an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection watches.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    conditions: NetworkConditions,
    /// How often all connections were cut.
    cuts: u64,
}

/// A running fault proxy. Dropped, it closes its port and every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    open: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy to `target` on a free port of 127.0.0.1, without any fault as yet. What it
    /// draws comes from `seed`. Needs a tokio runtime with I/O and time, which it runs on.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let (state, watched) = watch::channel(State::default());
        let open = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let entrance = Entrance {
            listener,
            target,
            state: watched,
            random: Rng::with_seed(seed),
            open: Arc::clone(&open),
        };
        tasks.spawn(entrance.serve());
        Ok(Self { address, state, open, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the conditions, also for the connections that are open. The default ends every fault.
    pub fn set(&self, conditions: NetworkConditions) {
        self.state.send_modify(|state| state.conditions = conditions);
    }

    /// Resets every connection that is open.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// The one task that accepts; its connections end with it.
struct Entrance {
    listener: TcpListener,
    target: SocketAddr,
    state: watch::Receiver<State>,
    random: Rng,
    open: Arc<AtomicUsize>,
}

impl Entrance {
    async fn serve(mut self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                    match accepted {
                        Ok((client, peer)) => self.take(client, peer, &mut connections),
                        Err(error) => {
                            tracing::warn!(%error, "a fault proxy could not accept a connection");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
                Some(_ended) = connections.join_next() => {}
            }
        }
    }

    fn take(&mut self, client: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        // Those that ended must not count against the newcomer.
        while connections.try_join_next().is_some() {}
        let conditions = self.state.borrow().conditions;
        if conditions.connections_max.is_some_and(|max| connections.len() >= max) {
            reset(&client);
            return;
        }
        let open = Open::begin(&self.open);
        let conversation =
            converse(client, peer, self.target, self.state.clone(), self.random.fork());
        connections.spawn(async move {
            conversation.await;
            drop(open);
        });
    }
}

/// Counts one open connection, however it ends.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
