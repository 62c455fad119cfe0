//! What the admin interface may ask of the running door.
//!
//! It reads what the operator and the changer last published; a change is sent to the changer and
//! answered when it is done.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use console::{
    Answer, ChangeOrder, Changed, Control, Kept, Refusal, RefusalKind, RegisteredClient,
    SwitchOrder,
};
use http_door::live::{Known, Live};
use model::fact::Snapshot;
use model::generation::{ChangeStatus, Generation};
use model::recording::Recording;
use model::switch::Switch;
use model::{Configuration, Name};
use net::clock;
use telemetry::{ExpositionFormat, History, Registry};
use tokio::sync::{mpsc, oneshot, watch};

use super::acme::Obtaining;
use super::book::Book;
use super::handover::Copies;
use super::sockets::Opened;
use super::stage::Prepared;
use super::switches::{self, At, Switches};

/// What the operator is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    /// Bind the listeners that were not there before.
    Listen(Arc<Configuration>, oneshot::Sender<Result<Vec<Opened>, String>>),
    /// Swap what all workers see.
    GoLive(Box<Prepared>, oneshot::Sender<()>),
    /// Let this share of the new requests see it.
    Try(Box<Prepared>, f64, oneshot::Sender<()>),
    /// Swap what all workers see for the candidate, with these listeners.
    Promote(Vec<Opened>, oneshot::Sender<()>),
    /// Nobody sees the candidate any more.
    EndTrial(oneshot::Sender<()>),
    /// Build what is live anew: something known of the servers changed.
    Rebuild,
    /// Copy the listening sockets for another process.
    Copy(oneshot::Sender<std::io::Result<Copies>>),
    /// Another process serves: accept nothing more, and end what is there without haste.
    Retire(oneshot::Sender<()>),
}

/// A change, and where its outcome goes.
pub(super) type Order = (ChangeOrder, oneshot::Sender<Result<Changed, Refusal>>);

/// What the operator, the changer and the admin interface share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) registry: Arc<Registry>,
    pub(super) history: History,
    pub(super) live: Mutex<Arc<Live>>,
    pub(super) known: Mutex<Known>,
    pub(super) ready: AtomicBool,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) status: watch::Sender<Arc<ChangeStatus>>,
    pub(super) kept: Mutex<Arc<Kept>>,
    pub(super) book: Book,
    pub(super) switches: Switches,
    obtaining: Mutex<Arc<Obtaining>>,
}

impl Desk {
    /// The desk of a door that begins to serve `live`.
    pub(super) fn new(
        registry: &Arc<Registry>,
        (live, known): (&Arc<Live>, Known),
        (book, kept, switches): (Book, Kept, Switches),
        (requests, orders): (mpsc::Sender<Request>, mpsc::Sender<Order>),
    ) -> Arc<Self> {
        Arc::new(Self {
            registry: Arc::clone(registry),
            history: History::new(),
            live: Mutex::new(Arc::clone(live)),
            known: Mutex::new(known),
            ready: AtomicBool::new(false),
            requests,
            orders,
            status: watch::Sender::default(),
            kept: Mutex::new(Arc::new(kept)),
            book,
            switches,
            obtaining: Mutex::default(),
        })
    }

    pub(super) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn publish(&self, live: &Arc<Live>) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(live);
    }

    pub(super) fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn learn(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How the certificates that the door obtains by itself come along.
    pub(super) fn obtaining(&self) -> Arc<Obtaining> {
        Arc::clone(&self.obtaining.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn tell_obtaining(&self, told: Obtaining) {
        *self.obtaining.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(told);
    }

    /// The live generation.
    pub(super) fn kept(&self) -> Arc<Kept> {
        Arc::clone(&self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn keep(&self, kept: &Arc<Kept>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(kept);
    }
}

/// The admin interface's side of the desk.
#[derive(Debug)]
pub(super) struct Counter(pub(super) Arc<Desk>);

impl Control for Counter {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.0.history.last()
    }

    fn history(&self, seconds: usize) -> Vec<Arc<Snapshot>> {
        let all = self.0.history.since(0);
        let skipped = all.len().saturating_sub(seconds);
        all.into_iter().skip(skipped).map(|(_, snapshot)| snapshot).collect()
    }

    fn metrics(&self, accept: &str) -> (String, &'static str) {
        let format = ExpositionFormat::negotiate(Some(accept));
        let snapshot = self.0.history.last().unwrap_or_default();
        (telemetry::exposition(&self.0.registry, &snapshot, format), format.content_type())
    }

    fn change(&self, order: ChangeOrder) -> Answer<Changed> {
        let orders = self.0.orders.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let gone = || Refusal::new(RefusalKind::Busy, "the door is shutting down");
            orders.send((order, answer)).await.map_err(|_closed| gone())?;
            answered.await.map_err(|_dropped| gone())?
        })
    }

    fn changes(&self) -> watch::Receiver<Arc<ChangeStatus>> {
        self.0.status.subscribe()
    }

    fn generations(&self, limit: usize, before: Option<u64>) -> Answer<Vec<Generation>> {
        let book = self.0.book.clone();
        Box::pin(async move { book.ask(move |journal| journal.list(limit, before)).await })
    }

    fn generation(&self, number: u64) -> Answer<Kept> {
        let book = self.0.book.clone();
        Box::pin(async move { book.get(number).await })
    }

    fn configuration(&self) -> Arc<Kept> {
        self.0.kept()
    }

    fn recording(&self) -> Recording {
        self.0.registry.recording(clock::now())
    }

    fn clients(&self) -> Vec<RegisteredClient> {
        let (live, second) = (self.0.live(), self.0.history.last());
        self.0.switches.clients(live.configuration(), second.as_deref())
    }

    fn switches(&self, limit: usize, before: Option<u64>) -> Answer<Vec<Switch>> {
        let book = self.0.book.clone();
        Box::pin(async move { book.ask(move |journal| journal.switches(limit, before)).await })
    }

    fn switch(&self, order: SwitchOrder) -> Answer<String> {
        let desk = Arc::clone(&self.0);
        Box::pin(async move {
            let live = || desk.live();
            let at = At { switches: &desk.switches, book: &desk.book, live: &live };
            switches::switch(&at, order).await
        })
    }

    fn ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }

    fn drain_server(&self, pool: &str, server: &str, on: bool) -> Result<(), String> {
        let live = self.0.live();
        let pools = &live.configuration().pools;
        let index = pools
            .iter()
            .position(|known| *known.name == *pool)
            .ok_or_else(|| format!("there is no pool {pool:?}"))?;
        let member = live.members(index).iter().find(|member| member.address.to_string() == server);
        let member = member.ok_or_else(|| format!("pool {pool:?} has no server {server:?}"))?;
        let key: (Name, _) = (pools[index].name.clone(), member.address);
        self.0.learn(|known| {
            if on {
                known.drained.insert(key);
            } else {
                known.drained.remove(&key);
            }
        });
        self.0
            .requests
            .try_send(Request::Rebuild)
            .map_err(|_full| "the door is busy with other changes; try again".to_owned())
    }
}
