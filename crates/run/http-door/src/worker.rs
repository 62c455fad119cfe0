//! A worker: one thread, one single-threaded runtime, its own listeners, its own idle
//! connections to the servers, its own buffers and deadlines.
//!
//! Workers share nothing that is written per request but the servers' atomics. Everything a
//! worker is told arrives over one bounded channel.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use balancing::{Dice, StateChange};
use model::configuration::Listener;
use model::fact::ServerState;
use model::{Name, Timestamp};
use net::buffer::{Buffer, BufferPool};
use net::clock;
use net::timer::{Ticker, Wheel};
use net::tls::ServerTls;
use telemetry::{AccessLog, Registry, RouteShard, ServerShard, WorkerShard};
use tokio::sync::mpsc;

use crate::accept;
use crate::addresses::AddressCounts;
use crate::exchange::Exchange;
use crate::live::{Live, LiveListener};
use crate::upstream::IdleConnections;

/// Room for a whole head of the largest size with body bytes behind it.
const BUFFER_BYTES: usize = 64 * 1024 + 2048;
/// How much longer a response's head usually gets at most: a request id, a framing field.
const HEAD_GROWTH: usize = 256;
/// Returned buffers and exchanges that a worker keeps for the next requests.
const STOCK_MAX: usize = 256;

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    pub(crate) registry: Arc<Registry>,
    pub(crate) log: Option<AccessLog>,
    pub(crate) connections: AtomicU32,
    pub(crate) addresses: Arc<AddressCounts>,
    pub(crate) changes: mpsc::Sender<ServerChange>,
}

/// A server's state changed.
#[derive(Clone, Debug)]
pub struct ServerChange {
    /// The pool.
    pub pool: Name,
    /// What changed.
    pub change: StateChange,
}

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// Serve this from now on.
    Live(Arc<Live>),
    /// Accept on this socket too, as the listener of this name.
    Listen(Name, TcpListener),
    /// Accept nothing more, end idle connections, and stop once all others have ended.
    Drain,
}

impl Shared {
    /// `changes` receives what happens to servers; what does not fit is dropped.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        log: Option<AccessLog>,
        changes: mpsc::Sender<ServerChange>,
    ) -> Arc<Self> {
        let addresses = AddressCounts::new();
        Arc::new(Self { registry, log, connections: AtomicU32::new(0), addresses, changes })
    }

    /// Client connections open now.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A listener's settings and the version of the configuration they are from.
#[derive(Debug)]
pub(crate) struct ListenerSettings {
    pub(crate) version: Name,
    listener: Listener,
}

impl std::ops::Deref for ListenerSettings {
    type Target = Listener;

    fn deref(&self) -> &Listener {
        &self.listener
    }
}

impl ListenerSettings {
    fn new(listener: &LiveListener, live: &Live) -> Rc<Self> {
        let version = live.configuration.version.clone();
        Rc::new(Self { version, listener: (*listener.settings).clone() })
    }
}

/// A listener as one worker has it.
#[derive(Debug)]
pub(crate) struct ListenerCell {
    settings: RefCell<Rc<ListenerSettings>>,
    tls: RefCell<Option<Arc<ServerTls>>>,
    pub(crate) connections: Arc<AtomicU32>,
    pub(crate) closing: Cell<bool>,
    /// Wakes the accepting task when the listener closes.
    pub(crate) closed: tokio::sync::Notify,
}

impl ListenerCell {
    fn new(listener: &LiveListener, live: &Live) -> Rc<Self> {
        Rc::new(Self {
            settings: RefCell::new(ListenerSettings::new(listener, live)),
            tls: RefCell::new(listener.tls.clone()),
            connections: Arc::clone(&listener.connections),
            closing: Cell::new(false),
            closed: tokio::sync::Notify::new(),
        })
    }

    pub(crate) fn settings(&self) -> Rc<ListenerSettings> {
        Rc::clone(&self.settings.borrow())
    }

    pub(crate) fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.borrow().clone()
    }

    fn close(&self) {
        self.closing.set(true);
        self.closed.notify_waiters();
        self.closed.notify_one();
    }
}

/// What a worker serves now, with its own counters and idle connections.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) live: Arc<Live>,
    pub(crate) routes: Vec<Arc<RouteShard>>,
    pub(crate) pools: Vec<PoolView>,
}

#[derive(Debug)]
pub(crate) struct PoolView {
    pub(crate) servers: Vec<ServerView>,
}

#[derive(Debug)]
pub(crate) struct ServerView {
    pub(crate) address: SocketAddr,
    pub(crate) host: Option<Name>,
    pub(crate) idle: Rc<IdleConnections>,
    pub(crate) metrics: Arc<ServerShard>,
}

/// One worker's world.
#[derive(Debug)]
pub(crate) struct Worker {
    index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<WorkerShard>,
    pub(crate) buffers: Rc<BufferPool>,
    pub(crate) wheel: Rc<Wheel>,
    pub(crate) dice: RefCell<Dice>,
    view: RefCell<Rc<View>>,
    #[expect(clippy::vec_box, reason = "lent as they are, never moved out of their place")]
    exchanges: RefCell<Vec<Box<Exchange>>>,
    idle: RefCell<HashMap<(Name, SocketAddr), Rc<IdleConnections>>>,
    listeners: RefCell<BTreeMap<Name, Rc<ListenerCell>>>,
    pub(crate) connections: Cell<u32>,
    draining: Cell<bool>,
    random: RefCell<fastrand::Rng>,
}

/// Runs a worker until it has drained; its listeners come as commands.
///
/// # Errors
/// When the runtime cannot be started.
pub fn run(
    index: usize,
    shared: Arc<Shared>,
    live: Arc<Live>,
    commands: mpsc::Receiver<Command>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker::new(index, shared, live));
        worker.work(commands).await
    })
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>, live: Arc<Live>) -> Self {
        let mut random = fastrand::Rng::new();
        let idle = RefCell::new(HashMap::new());
        let view = View::new(index, &shared, live, &mut idle.borrow_mut());
        Self {
            index,
            metrics: shared.registry.worker(index),
            buffers: BufferPool::new(BUFFER_BYTES, STOCK_MAX),
            wheel: Wheel::new(clock::now()),
            dice: RefCell::new(Dice::new(random.u64(..))),
            view: RefCell::new(Rc::new(view)),
            exchanges: RefCell::new(Vec::with_capacity(STOCK_MAX)),
            idle,
            listeners: RefCell::new(BTreeMap::new()),
            connections: Cell::new(0),
            draining: Cell::new(false),
            random: RefCell::new(random),
            shared,
        }
    }

    /// Obeys commands and turns the wheel until the worker has drained.
    async fn work(self: Rc<Self>, mut commands: mpsc::Receiver<Command>) -> std::io::Result<()> {
        let ticker = Ticker::start()?;
        let mut swept = clock::now();
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    // Nobody is left to tell it anything: the process ends.
                    None => self.drain(),
                },
                ticked = ticker.tick() => {
                    ticked?;
                    let now = clock::now();
                    self.wheel.advance(now);
                    if now.since(swept) >= Duration::from_secs(1) {
                        swept = now;
                        self.sweep(now);
                    }
                }
            }
            if self.draining.get() && self.connections.get() == 0 {
                return Ok(());
            }
        }
    }

    fn obey(self: &Rc<Self>, command: Command) {
        match command {
            Command::Live(live) => self.change(live),
            Command::Listen(name, socket) => self.listen(&name, socket),
            Command::Drain => self.drain(),
        }
    }

    /// Swaps in another configuration. Requests in flight end under the one they began with.
    fn change(self: &Rc<Self>, live: Arc<Live>) {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|name, cell| {
            let Some(kept) = live.listeners.iter().find(|listener| listener.settings.name == *name)
            else {
                cell.close();
                return false;
            };
            if cell.settings.borrow().address != kept.settings.address {
                cell.close();
                return false;
            }
            *cell.settings.borrow_mut() = ListenerSettings::new(kept, &live);
            cell.tls.borrow_mut().clone_from(&kept.tls);
            true
        });
        drop(listeners);
        let view = View::new(self.index, &self.shared, live, &mut self.idle.borrow_mut());
        *self.view.borrow_mut() = Rc::new(view);
        // Connections of a listener that is gone look up and end when they are idle.
        self.wheel.wake_all();
    }

    fn listen(self: &Rc<Self>, name: &Name, socket: TcpListener) {
        let view = self.view();
        let Some(listener) = view.live.listeners.iter().find(|known| known.settings.name == *name)
        else {
            return;
        };
        let cell = Rc::clone(
            self.listeners
                .borrow_mut()
                .entry(name.clone())
                .or_insert_with(|| ListenerCell::new(listener, &view.live)),
        );
        tokio::task::spawn_local(accept::run(Rc::clone(self), cell, socket));
    }

    fn drain(&self) {
        if !self.draining.replace(true) {
            for cell in std::mem::take(&mut *self.listeners.borrow_mut()).values() {
                cell.close();
            }
            self.wheel.wake_all();
        }
    }

    fn sweep(&self, now: Timestamp) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, connections| {
            connections.sweep(now);
            // Servers that left stay only while a request in flight may still use the list.
            Rc::strong_count(connections) > 1 || !connections.is_empty()
        });
    }

    pub(crate) fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    /// True when idle connections of this listener should end.
    pub(crate) fn is_closing(&self, listener: &ListenerCell) -> bool {
        self.draining.get() || listener.closing.get()
    }

    /// A buffer with room in front, so that a head that grew still fits before its body.
    pub(crate) fn lend_for_response(&self) -> Buffer {
        let mut buffer = self.buffers.lend();
        buffer.set_bounds(HEAD_GROWTH, HEAD_GROWTH);
        buffer
    }

    pub(crate) fn lend_exchange(&self) -> Box<Exchange> {
        let known = self.exchanges.borrow_mut().pop();
        known.unwrap_or_else(|| Box::new(Exchange::new(self.wheel.deadline())))
    }

    pub(crate) fn take_back_exchange(&self, mut exchange: Box<Exchange>) {
        let mut exchanges = self.exchanges.borrow_mut();
        if exchanges.len() < STOCK_MAX {
            exchange.reset();
            exchanges.push(exchange);
        }
    }

    pub(crate) fn random_id(&self) -> u128 {
        self.random.borrow_mut().u128(..)
    }

    /// Tells the rest of the process that a server's state changed.
    pub(crate) fn state_changed(&self, pool: &Name, metrics: &ServerShard, change: StateChange) {
        if change.to == ServerState::Ejected {
            metrics.ejected();
        }
        // A full channel means that thousands of changes wait to be told; one more adds nothing.
        drop(self.shared.changes.try_send(ServerChange { pool: pool.clone(), change }));
    }
}

impl View {
    fn new(
        worker: usize,
        shared: &Shared,
        live: Arc<Live>,
        idle: &mut HashMap<(Name, SocketAddr), Rc<IdleConnections>>,
    ) -> Self {
        let registry = &shared.registry;
        let routes = live.router.routes().iter();
        let routes = routes.map(|route| registry.route(worker, &route.name)).collect();
        let pools = live.configuration.pools.iter().zip(&live.pools);
        let pools = pools.map(|(settings, pool)| PoolView {
            servers: pool
                .members
                .iter()
                .map(|member| ServerView {
                    address: member.address,
                    host: member.name.clone(),
                    idle: Rc::clone(
                        idle.entry((settings.name.clone(), member.address)).or_default(),
                    ),
                    metrics: registry.server(worker, &settings.name, member.address),
                })
                .collect(),
        });
        let pools = pools.collect();
        Self { live, routes, pools }
    }
}
