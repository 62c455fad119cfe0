//! The walk of a connection whose bytes are passed on as they are: name, pick, connect, pass,
//! record.
//!
//! Servers are chosen, checked, limited and set aside as for requests; what stands for a request in
//! flight is an open connection. How much of that a server takes cannot be measured without knowing
//! what is said, so no limit is found here: `in_flight_max` holds, and who finds all servers full
//! waits as long as `queue_wait` says. A connection that could not be opened is tried at another
//! server; from then on it can only be passed on or cut.
//!
//! Who is registered by a network or by a certificate, and switched off, is turned away, and cut if
//! it was let in before.
//!
//! Invariant: a connection is counted out and logged once, however it ends ([`Visit`]).

pub(crate) mod hello;
pub(crate) mod proxied;
mod record;

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use balancing::{FailureCause, NoServer, Outcome, Pick, PickRequest};
use http_wire::write_proxy_header;
use model::configuration::{
    Balance, HashKey, HostPattern, ListenerProtocol, Pool as PoolSettings, TcpForward,
};
use model::{Reason, Timestamp};
use net::buffer::Buffer;
use net::clock;
use net::socket::Stream;
use net::timer::{Deadline, TICK};
use telemetry::{AttemptSample, TcpShard};

use crate::connection::Origin;
use crate::half::Half;
use crate::live::LivePool;
use crate::pump::Side;
use crate::record::hash_address;
use crate::standing::Standing;
use crate::upstream::{self, Opening};
use crate::view::{ServerView, View};
use crate::worker::{ListenerCell, Worker};

pub(crate) use record::refused;

/// What stands for a server's latency: the same for all, so that latency-aware balancing goes by
/// open connections alone. How long the connection took to open says nothing about the rest of it.
const LATENCY: Duration = Duration::from_millis(1);

/// One connection on its way; dropped, it is counted out and written down.
#[derive(Debug)]
struct Visit {
    worker: Rc<Worker>,
    view: Rc<View>,
    metrics: Arc<TcpShard>,
    origin: Rc<Origin>,
    standing: Standing,
    deadline: Deadline,
    began: Timestamp,
    server_name: Option<String>,
    pool: Option<usize>,
    /// Servers tried, by index in the pool.
    tried: Vec<usize>,
    waited: Option<Duration>,
    connect: Option<Duration>,
    bytes_in: u64,
    bytes_out: u64,
    reason: Option<Reason>,
}

/// Passes one connection on to its end.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Rc<ListenerCell>,
    mut stream: Stream,
    origin: Origin,
) {
    let view = worker.view();
    let settings = listener.settings();
    // Looked up by name: the pools' indices are those of this view's configuration only.
    let known = view.live.listeners.iter().find(|known| known.settings.name == settings.name);
    let forward = known.and_then(|known| match &known.settings.protocol {
        ListenerProtocol::Tcp(forward) => Some(forward.clone()),
        ListenerProtocol::Http { .. } => None,
    });
    let (Some(forward), Some(metrics)) = (forward, view.tcp.get(&settings.name)) else {
        // The listener was taken away, or became another, in this moment.
        return refused(&worker, &origin, Reason::Draining);
    };
    let origin = Rc::new(origin);
    let standing = standing(&worker, &listener, &origin, &view);
    let mut visit = Visit::new((&worker, &view), Arc::clone(metrics), origin, standing);
    let hello_time = settings.timeouts.handshake;
    let walked = visit.walk(&mut stream, &forward, hello_time).await;
    visit.reason = walked.err();
}

/// Who is at the other end, as far as that is known without anything it says.
fn standing(
    worker: &Rc<Worker>,
    listener: &Rc<ListenerCell>,
    origin: &Rc<Origin>,
    view: &View,
) -> Standing {
    let identities = view.live.identities.as_ref();
    let client = identities.and_then(|identities| identities.of_origin(origin));
    Standing::new(worker, (listener, origin), client, view)
}

impl Visit {
    fn new(
        (worker, view): (&Rc<Worker>, &Rc<View>),
        metrics: Arc<TcpShard>,
        origin: Rc<Origin>,
        standing: Standing,
    ) -> Self {
        metrics.opened();
        Self {
            worker: Rc::clone(worker),
            view: Rc::clone(view),
            metrics,
            origin,
            standing,
            deadline: worker.wheel.deadline(),
            began: clock::now(),
            server_name: None,
            pool: None,
            tried: Vec::new(),
            waited: None,
            connect: None,
            bytes_in: 0,
            bytes_out: 0,
            // What a panic leaves.
            reason: Some(Reason::Internal),
        }
    }

    async fn walk(
        &mut self,
        stream: &mut Stream,
        forward: &TcpForward,
        hello_time: Duration,
    ) -> Result<(), Reason> {
        if self.worker.account.is_full() {
            return Err(Reason::BuffersFull);
        }
        self.standing.look(stream, None)?;
        let mut first = None;
        if !forward.sni.is_empty() {
            let worker = Rc::clone(&self.worker);
            let hello = hello::read(&worker, stream, &self.deadline, hello_time).await?;
            (first, self.server_name) = (hello.bytes, hello.server_name);
        }
        let index = pool_for(forward, self.server_name.as_deref())?;
        self.pool = Some(index);
        let (pick, server) = self.connect(stream, index).await?;
        let passed = self.pass((stream, server), first).await;
        drop(pick);
        passed
    }

    /// Opens a connection to a server of the pool, to another one if that fails.
    async fn connect(
        &mut self,
        stream: &mut Stream,
        index: usize,
    ) -> Result<(Pick, Stream), Reason> {
        let view = Rc::clone(&self.view);
        let pool = &view.live.pools[index];
        let settings = &view.live.configuration.pools[index];
        pool.balance.retries().deposit();
        loop {
            let pick = match self.pick(stream, pool, settings).await {
                Ok(pick) => pick,
                Err(reason) => return Err(reason),
            };
            self.tried.push(pick.index());
            let server = &view.pools[index].servers[pick.index()];
            let reason = match self.open((pool, settings), server).await {
                Ok(opened) => {
                    self.tell(&pick, (settings, server), None);
                    return Ok((pick, opened));
                }
                Err(reason) => reason,
            };
            self.tell(&pick, (settings, server), Some(reason));
            drop(pick);
            let worthwhile = self.tried.len() < pool.balance.len()
                && self.tried.len() < settings.retries.attempts_max as usize;
            if !worthwhile {
                return Err(reason);
            }
            if !pool.balance.retries().withdraw(clock::now()) {
                server.metrics.retry_refused();
                return Err(reason);
            }
        }
    }

    /// Picks a server. When all that may be picked are full it waits for a place, no longer than
    /// the pool's requests may wait.
    async fn pick(
        &mut self,
        stream: &mut Stream,
        pool: &LivePool,
        settings: &PoolSettings,
    ) -> Result<Pick, Reason> {
        let hash = match &settings.balance {
            Balance::Maglev(HashKey::ClientAddress) => {
                Some(hash_address(self.origin.peer.ip().to_canonical()))
            }
            Balance::Maglev(HashKey::Path | HashKey::Header(_) | HashKey::Cookie(_))
            | Balance::P2c
            | Balance::LeastRequest
            | Balance::RoundRobin
            | Balance::Random => None,
        };
        let began = clock::now();
        let mut now = began;
        loop {
            let wanted = PickRequest { hash, tried: &self.tried };
            let picked = pool.balance.pick(&wanted, now, &mut self.worker.dice.borrow_mut());
            match picked {
                Ok(pick) => return Ok(pick),
                Err(NoServer::Full) => {}
                Err(NoServer::Empty | NoServer::Draining | NoServer::Unchecked) => {
                    return Err(Reason::NoServer);
                }
            }
            if now.since(began) >= settings.admission.wait_max {
                return Err(Reason::QueueTimeout);
            }
            self.deadline.set(TICK);
            let left = std::future::poll_fn(|context| stream.poll_reset(context));
            if self.deadline.within(left).await.is_ok() {
                return Err(Reason::ClientClosed);
            }
            now = clock::now();
            self.waited = Some(now.since(began));
        }
    }

    async fn open(
        &mut self,
        (pool, settings): (&LivePool, &PoolSettings),
        server: &ServerView,
    ) -> Result<Stream, Reason> {
        let began = clock::now();
        let mut preface = Vec::new();
        if let Some(version) = settings.proxy_protocol {
            write_proxy_header(&mut preface, version, Some(&self.origin.endpoints()));
        }
        let tls = pool.tls.as_ref().map(|tls| (tls, server.host.as_ref()));
        let opening = Opening { address: server.address, tls, preface: &preface };
        let time = settings.timeouts.connect;
        let opened = upstream::open(opening, &self.deadline, time).await;
        self.connect = Some(clock::now().since(began));
        opened.map(|connection| connection.stream)
    }

    /// Tells balancing and the metrics whether the server took the connection. Said when it is
    /// open and not when it ends, so that shares and health are those of now.
    fn tell(
        &self,
        pick: &Pick,
        (settings, server): (&PoolSettings, &ServerView),
        failure: Option<Reason>,
    ) {
        let took = self.connect.unwrap_or_default();
        server.metrics.attempt(&AttemptSample {
            status: None,
            failure,
            connect: self.connect,
            first_byte: None,
            total: took,
            retried: self.tried.len() > 1,
        });
        let outcome = failure.map_or(Outcome::Success { latency: LATENCY }, |reason| {
            Outcome::Failure { latency: took, cause: cause_of(reason) }
        });
        if let Some(change) = pick.report(outcome, clock::now()) {
            self.worker.state_changed(&settings.name, &server.metrics, change);
        }
    }

    /// Passes bytes both ways until both sides have ended, one broke, or nothing moves.
    async fn pass(
        &mut self,
        (client, mut server): (&mut Stream, Stream),
        first: Option<Buffer>,
    ) -> Result<(), Reason> {
        let Some(index) = self.pool else { return Err(Reason::Internal) };
        let idle_time = self.view.live.configuration.pools[index].timeouts.tunnel_idle;
        let worker = Rc::clone(&self.worker);
        let (mut up, mut down) = (Half::new(first), Half::new(None));
        self.deadline.set(idle_time);
        std::future::poll_fn(|context| {
            loop {
                self.standing.look(client, None)?;
                let up_done = up.poll(context, (client, &mut server), &worker.buffers);
                let down_done = down.poll(context, (&mut server, client), &worker.buffers);
                self.count(up.bytes, down.bytes);
                let up_done = up_done.map_err(broken_upwards)?;
                let down_done = down_done.map_err(broken_downwards)?;
                if up_done && down_done {
                    return Poll::Ready(Ok(()));
                }
                if up.take_progress() | down.take_progress() {
                    self.deadline.set(idle_time);
                    continue;
                }
                return self.deadline.poll(context).map(|_elapsed| Err(Reason::IdleTimeout));
            }
        })
        .await
    }

    /// Counts the bytes that passed since the last call.
    fn count(&mut self, bytes_in: u64, bytes_out: u64) {
        self.metrics.passed(bytes_in - self.bytes_in, bytes_out - self.bytes_out);
        (self.bytes_in, self.bytes_out) = (bytes_in, bytes_out);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let duration = clock::now().since(self.began);
        self.metrics.closed(duration, self.reason);
        record::passed(self, duration);
    }
}

/// The pool for connections of this server name.
fn pool_for(forward: &TcpForward, server_name: Option<&str>) -> Result<usize, Reason> {
    let named = server_name.and_then(|name| {
        let matches = |host: &HostPattern| match host {
            HostPattern::Exact(exact) => **exact == *name,
            // Exactly one label stands before the suffix.
            HostPattern::Wildcard(suffix) => name
                .strip_suffix(&**suffix)
                .is_some_and(|label| !label.is_empty() && !label.contains('.')),
        };
        forward.sni.iter().find(|route| matches(&route.host)).map(|route| route.pool)
    });
    named.or(forward.pool).ok_or(Reason::UnknownServerName)
}

/// What a server's failure to take a connection is to `balancing`.
fn cause_of(reason: Reason) -> FailureCause {
    if reason == Reason::ServerTls {
        FailureCause::Tls
    } else if reason == Reason::ConnectTimeout {
        FailureCause::Timeout
    } else {
        FailureCause::Connect
    }
}

const fn broken_upwards(side: Side) -> Reason {
    match side {
        Side::Source => Reason::ClientClosed,
        Side::Sink => Reason::ServerClosed,
    }
}

const fn broken_downwards(side: Side) -> Reason {
    match side {
        Side::Source => Reason::ServerClosed,
        Side::Sink => Reason::ClientClosed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::configuration::SniRoute;

    #[test]
    fn a_name_leads_to_its_pool() {
        let exact = |name: &str| HostPattern::Exact(name.into());
        let wildcard = |suffix: &str| HostPattern::Wildcard(suffix.into());
        let sni = [exact("a.example.com"), wildcard(".example.com"), wildcard(".a.example.com")];
        let sni: Vec<_> =
            sni.into_iter().zip(1..).map(|(host, pool)| SniRoute { host, pool }).collect();
        let strict = TcpForward { pool: None, sni };
        let lenient = TcpForward { pool: Some(0), ..strict.clone() };
        let check = |name: Option<&str>, expected: Option<usize>| {
            assert_eq!(pool_for(&strict, name).ok(), expected, "{name:?}");
            assert_eq!(pool_for(&lenient, name).ok(), expected.or(Some(0)), "{name:?}");
        };
        check(Some("a.example.com"), Some(1));
        check(Some("b.example.com"), Some(2));
        check(Some("b.a.example.com"), Some(3));
        check(Some("example.com"), None);
        check(Some(".example.com"), None);
        check(Some("b.c.example.com"), None);
        check(Some("xa.example.com.evil"), None);
        check(None, None);
    }
}
