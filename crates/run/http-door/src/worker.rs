//! A worker: one thread, one single-threaded runtime, its own listeners, its own idle
//! connections to the servers, its own buffers and deadlines.
//!
//! Workers share nothing that is written per request but the servers' atomics. Everything a
//! worker is told arrives over one bounded channel.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use admission::Buffers;
use balancing::{Dice, StateChange};
use model::configuration::Listener;
use model::fact::ServerState;
use model::{Name, Timestamp};
use net::buffer::{Buffer, BufferPool};
use net::clock;
use net::socket::Stream;
use net::timer::{Ticker, Wheel};
use net::tls::ServerTls;
use telemetry::{AccessLog, Arm, Arms, Recorder, Registry, ServerShard, WorkerShard};
use tokio::sync::mpsc;

use crate::accept;
use crate::addresses::AddressCounts;
use crate::authenticate::{Admitted, Hashing, Passwords};
use crate::challenges::Challenges;
use crate::coder::Coders;
use crate::date::Date;
use crate::exchange::Exchange;
use crate::idle::IdleClients;
use crate::leases::Leases;
use crate::live::{Live, LiveListener};
use crate::notes::Notes;
use crate::standing::Standings;
use crate::token;
pub use crate::trial::Candidate;
use crate::trial::Trial;
use crate::upstream::IdleConnections;
use crate::view::{IdleKey, View};
use crate::waiting::{Bells, Queue};

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
    pub(crate) bells: Bells,
    pub(crate) challenges: Arc<Challenges>,
    /// Compares passwords.
    pub(crate) hashing: Hashing,
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
    /// Serve this from now on. The candidate's own ends its trial: it is promoted. Any other
    /// leaves a trial as it is.
    Live(Arc<Live>),
    /// Try this candidate, in place of one that is tried; `None` ends the trial.
    Try(Option<Arc<Candidate>>),
    /// Accept on this socket too, as the listener of this name.
    Listen(Name, TcpListener),
    /// Accept nothing more, and end each connection with its next answer; idle ones stay for now.
    Retire,
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
        let connections = AtomicU32::new(0);
        let bells = Bells::new(registry.workers());
        let hashing = Hashing::new(registry.workers());
        Arc::new(Self {
            registry,
            log,
            connections,
            addresses,
            changes,
            bells,
            challenges: Arc::default(),
            hashing,
        })
    }

    /// Answers to an authority that is asked for a certificate.
    #[must_use]
    pub fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    /// Client connections open now.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A listener as one worker has it.
#[derive(Debug)]
pub(crate) struct ListenerCell {
    settings: RefCell<Rc<Listener>>,
    tls: RefCell<Option<Arc<ServerTls>>>,
    /// How often it changed which clients are let in.
    terms: Cell<u64>,
    pub(crate) connections: Arc<AtomicU32>,
    pub(crate) closing: Cell<bool>,
    /// Connections that wait for a request.
    pub(crate) idle: IdleClients,
    /// Wakes the accepting task when the listener closes.
    pub(crate) closed: tokio::sync::Notify,
}

impl ListenerCell {
    fn new(listener: &LiveListener) -> Rc<Self> {
        Rc::new(Self {
            settings: RefCell::new(own_settings(listener)),
            tls: RefCell::new(listener.tls.clone()),
            terms: Cell::new(0),
            connections: Arc::clone(&listener.connections),
            closing: Cell::new(false),
            idle: IdleClients::default(),
            closed: tokio::sync::Notify::new(),
        })
    }

    pub(crate) fn settings(&self) -> Rc<Listener> {
        Rc::clone(&self.settings.borrow())
    }

    pub(crate) fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.borrow().clone()
    }

    /// Uses what was read of its certificates, and whom it trusts, from now on.
    fn secure(&self, tls: Option<&Arc<ServerTls>>) {
        let before = self.tls.replace(tls.cloned());
        if !ServerTls::same_trust(before.as_deref(), tls.map(|tls| &**tls)) {
            self.terms.set(self.terms.get() + 1);
        }
    }

    /// The number of the terms on which clients are let in: as long as it is the same, they are.
    pub(crate) fn terms(&self) -> u64 {
        self.terms.get()
    }

    /// Whether the client at the other end of `stream` would be let in now, by its certificate.
    pub(crate) fn admits(&self, stream: &Stream) -> bool {
        ServerTls::admits(self.tls.borrow().as_deref(), stream)
    }

    fn close(&self) {
        self.closing.set(true);
        self.wake();
    }

    /// Lets the accepting tasks look whether they go on.
    fn wake(&self) {
        self.closed.notify_waiters();
        self.closed.notify_one();
    }
}

/// A copy for one worker: a count of references that all of them write would be shared.
fn own_settings(listener: &LiveListener) -> Rc<Listener> {
    Rc::new((*listener.settings).clone())
}

/// One worker's world.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<WorkerShard>,
    pub(crate) recorder: Recorder,
    pub(crate) buffers: Rc<BufferPool>,
    /// What all workers hold in buffers.
    pub(crate) account: Arc<Buffers>,
    /// What compresses responses.
    pub(crate) coders: Rc<Coders>,
    pub(crate) wheel: Rc<Wheel>,
    pub(crate) date: Date,
    /// Tokens that were verified, and whose they are.
    pub(crate) tokens: RefCell<token::Cache<usize>>,
    /// Tokens that were verified, and what they are worth on routes that ask for them.
    pub(crate) admitted: RefCell<token::Cache<Rc<Admitted>>>,
    pub(crate) passwords: Passwords,
    /// The lines at all pools, of every configuration that is still served.
    queues: RefCell<Vec<Weak<Queue>>>,
    pub(crate) dice: RefCell<Dice>,
    view: RefCell<Rc<View>>,
    pub(crate) standings: Standings,
    pub(crate) notes: Notes,
    trial: RefCell<Option<Trial>>,
    #[expect(clippy::vec_box, reason = "lent as they are, never moved out of their place")]
    exchanges: RefCell<Vec<Box<Exchange>>>,
    idle: RefCell<HashMap<IdleKey, Rc<IdleConnections>>>,
    pub(crate) listeners: RefCell<BTreeMap<Name, Rc<ListenerCell>>>,
    pub(crate) connections: Cell<u32>,
    retiring: Cell<bool>,
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
        // It outlives reloads.
        let account = Arc::clone(live.admission.buffers());
        let view = View::new(index, &shared, (live, None), &mut idle.borrow_mut());
        let queues = RefCell::new(view.queues().collect());
        let metrics = shared.registry.worker(index);
        Self {
            index,
            recorder: shared.registry.recorder(index),
            buffers: BufferPool::new(BUFFER_BYTES, STOCK_MAX, Leases::of(&account)),
            coders: Coders::new(Arc::clone(&account), Arc::clone(&metrics)),
            metrics,
            account,
            wheel: Wheel::new(clock::now()),
            date: Date::new(),
            tokens: RefCell::default(),
            admitted: RefCell::default(),
            passwords: Passwords::new(),
            queues,
            dice: RefCell::new(Dice::new(random.u64(..))),
            view: RefCell::new(Rc::new(view)),
            standings: Standings::default(),
            notes: Notes::default(),
            trial: RefCell::new(None),
            exchanges: RefCell::new(Vec::with_capacity(STOCK_MAX)),
            idle,
            listeners: RefCell::new(BTreeMap::new()),
            connections: Cell::new(0),
            retiring: Cell::new(false),
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
                () = self.shared.bells.heard(self.index) => self.call(clock::now()),
                ticked = ticker.tick() => {
                    ticked?;
                    let now = clock::now();
                    self.wheel.advance(now);
                    self.call(now);
                    self.notice_switches();
                    if now.since(swept) >= Duration::from_secs(1) {
                        swept = now;
                        self.sweep(now);
                    }
                }
            }
            let is_ending = self.draining.get() || self.retiring.get();
            if is_ending && self.connections.get() == 0 {
                return Ok(());
            }
        }
    }

    fn obey(self: &Rc<Self>, command: Command) {
        match command {
            Command::Live(live) => self.change(live),
            Command::Try(candidate) => self.try_out(candidate),
            Command::Listen(name, socket) => self.listen(&name, socket),
            Command::Retire => self.retire(),
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
            *cell.settings.borrow_mut() = own_settings(kept);
            cell.secure(kept.tls.as_ref());
            true
        });
        drop(listeners);
        self.trial.borrow_mut().take_if(|trial| Arc::ptr_eq(&trial.candidate.live, &live));
        self.serve(live);
        // Connections of a listener that is gone, or that trusts their clients no more, look up
        // and end when they are idle, or have no end of their own.
        self.standings.changed();
        self.wheel.wake_all();
    }

    /// Connections without an end of their own look up when clients were switched off.
    fn notice_switches(&self) {
        let switched = self.view.borrow().live.admission.clients().switched();
        if self.standings.switched(switched) {
            self.wheel.wake_all();
        }
    }

    /// Begins, replaces or ends a trial. Requests in flight end in the arm they began in.
    fn try_out(&self, candidate: Option<Arc<Candidate>>) {
        let trial = candidate.map(|candidate| {
            let arm = (Arm::Candidate, &*candidate.arms);
            let view = self.view_of(Arc::clone(&candidate.live), Some(arm));
            Trial { candidate, view }
        });
        *self.trial.borrow_mut() = trial;
        let live = Arc::clone(&self.view.borrow().live);
        self.serve(live);
        self.standings.changed();
        self.wheel.wake_all();
    }

    /// Serves `live` to the requests that no trial takes; compared with one, it is counted too.
    fn serve(&self, live: Arc<Live>) {
        let trial = self.trial.borrow();
        let arm = trial.as_ref().map(|trial| (Arm::Live, &*trial.candidate.arms));
        *self.view.borrow_mut() = self.view_of(live, arm);
    }

    fn view_of(&self, live: Arc<Live>, arm: Option<(Arm, &Arms)>) -> Rc<View> {
        let view = View::new(self.index, &self.shared, (live, arm), &mut self.idle.borrow_mut());
        let mut queues = self.queues.borrow_mut();
        queues.retain(|queue| queue.strong_count() > 0);
        queues.extend(view.queues());
        Rc::new(view)
    }

    /// Calls those who wait at any pool and whose turn it is, or whose time is over.
    fn call(&self, now: Timestamp) {
        for queue in self.queues.borrow().iter().filter_map(Weak::upgrade) {
            queue.call_own(now);
        }
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
                .or_insert_with(|| ListenerCell::new(listener)),
        );
        tokio::task::spawn_local(accept::run(Rc::clone(self), cell, socket));
    }

    fn retire(&self) {
        self.retiring.set(true);
        for cell in self.listeners.borrow().values() {
            cell.wake();
        }
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
            let in_use = Rc::strong_count(connections) > 1;
            if !in_use {
                connections.http2.close();
            }
            in_use || !connections.is_empty()
        });
    }

    pub(crate) fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    pub(crate) fn trial(&self) -> Ref<'_, Option<Trial>> {
        self.trial.borrow()
    }

    /// True when idle connections of this listener should end.
    pub(crate) fn is_closing(&self, listener: &ListenerCell) -> bool {
        self.draining.get() || listener.closing.get()
    }

    /// True when nothing more is accepted there.
    pub(crate) fn accepts_no_more(&self, listener: &ListenerCell) -> bool {
        self.retiring.get() || self.is_closing(listener)
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
