//! Opens all that the door needs, in an order in which a door that cannot start takes no
//! connection and records nothing; then lets the operator work.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http_door::check::{self, Checks};
use http_door::live::{Known, Live};
use http_door::names::{self, Watch};
use http_door::worker::{self, Command, ServerChange, Shared};
use model::{Configuration, Name};
use net::clock;
use net::notify::Notifier;
use net::resolve::Resolver;
use settings::Environment;
use telemetry::{AccessLog, AccessLogWriter, Collector, Registry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::certificates::Certificates;
use super::change::{Changer, ChangerInbox, Pause};
use super::control::{Desk, Request};
use super::handover::{Predecessor, Taken};
use super::key_files::KeyFiles;
use super::operator::{Inbox, Operator};
use super::quotas::Quotas;
use super::sockets::{Opened, Sockets};
use super::stage::Stage;
use super::start::Start;
use super::switches::Switches;

/// Messages that may wait in a channel between the operator and others.
const CHANNEL: usize = 1024;
/// Seconds that may wait for the changer.
const SECONDS: usize = 64;

/// Runs the door until it has drained.
///
/// # Errors
/// When it cannot start, or a worker ended by itself.
pub(super) async fn run(
    path: PathBuf,
    environment: Environment,
    start: Start,
    taken: Option<Taken>,
) -> anyhow::Result<()> {
    let configuration = Arc::new(start.configuration.clone());
    let (log, log_writer) = open_log(&configuration)?;
    let notifier = Notifier::from_environment().context("NOTIFY_SOCKET")?;
    let (Ways { requests, changes, names: name_changes, ended }, mut inbox) = ways()?;
    let (copies, from) = taken.map_or_else(Default::default, Taken::split);
    let claimed = super::admin::claim(&configuration, (copies.admin, copies.admin_tcp))?;
    let mut sockets = Sockets::take_over(copies.listeners)?;
    let first = open_all(&mut sockets, &configuration)?;
    let resolver = Arc::new(Resolver::system().context("name resolution")?);
    let names = names::of(&configuration);
    let known =
        Known { addresses: names::first_lookup(&resolver, &names).await, ..Known::default() };
    let live = Arc::new(Live::build(&configuration, &known, None, clock::now())?);
    check::first_round(&live, None, &changes).await;
    let switches = Switches::open(&start.book, &live)?;
    // Only what can be served becomes a generation.
    let (book, kept) = start.record()?;
    let registry = Arc::new(Registry::new(configuration.door.workers));
    let shared = Shared::new(Arc::clone(&registry), log.clone(), changes.clone());
    let (orders, changer_orders) = mpsc::channel(CHANNEL);
    let (seconds, changer_seconds) = mpsc::channel(SECONDS);
    let watch = Watch::start(&resolver, &names, &known.addresses, &name_changes);
    let records = (book, kept, switches);
    let desk = Desk::new(&registry, (&live, known), records, (requests, orders));
    let (at, names) = (Arc::clone(&desk), Arc::clone(&resolver));
    let stage = Stage { desk: at, resolver: names, changes: changes.clone() };
    let key_files = KeyFiles::new(path.clone(), environment.clone());
    let changer = Changer::new(stage, notifier.clone(), path, environment);
    let mut operator = Operator {
        workers: start_workers(configuration.door.workers, &shared, &live, &ended)?,
        sockets,
        bound: HashMap::new(),
        copies: Vec::new(),
        admin: None,
        successor: None,
        collector: Collector::new(registry),
        log,
        notifier,
        started: clock::now(),
        draining: false,
        retiring: false,
        ends: Box::pin(tokio::time::sleep(Duration::MAX)),
        gentle: Box::pin(tokio::time::sleep(Duration::MAX)),
        trial: None,
        quotas: Quotas::of(&live),
        certificates: Certificates::default(),
        obtaining: JoinSet::new(),
        key_files,
        seconds,
        _checks: Checks::start(&live, &changes),
        _watch: watch,
        resolver,
        changes,
        name_changes,
        desk,
        shared,
    };
    operator.admin = Some(super::admin::start(claimed, &operator.desk)?);
    let (pauses, changer_pauses) = mpsc::channel(CHANNEL);
    let changer_inbox =
        ChangerInbox { orders: changer_orders, seconds: changer_seconds, pauses: changer_pauses };
    let mut tasks = JoinSet::new();
    tasks.spawn(changer.work(changer_inbox));
    let result = serve(&mut operator, &mut inbox, (first, from, pauses)).await;
    close_log(log_writer);
    result
}

/// Serves from the first connection to the last, or until another process serves.
async fn serve(
    operator: &mut Operator,
    inbox: &mut Inbox,
    (first, from, pauses): (Vec<Opened>, Option<Predecessor>, mpsc::Sender<Pause>),
) -> anyhow::Result<()> {
    operator.sockets.warn_of_rest();
    operator.listen(first).await;
    operator.announce_ready(from.is_some());
    if let Some(from) = from {
        relieve(from).await;
    }
    operator.obtain_certificates();
    let office = operator.open_office(pauses);
    operator.work(inbox).await?;
    if let Some(office) = office.filter(|_| operator.retiring) {
        office.close().await;
    }
    Ok(())
}

/// Lets the door that ran before retire. This one serves, whatever becomes of that one.
async fn relieve(from: Predecessor) {
    match tokio::task::spawn_blocking(move || from.retire()).await {
        Ok(Ok(())) => tracing::info!("the door that ran before retires"),
        Ok(Err(error)) => tracing::warn!("the door that ran before does not retire: {error:#}"),
        Err(error) => tracing::error!(%error, "the door that ran before was not told"),
    }
}

/// The ways to the operator.
struct Ways {
    requests: mpsc::Sender<Request>,
    changes: mpsc::Sender<ServerChange>,
    names: mpsc::Sender<(Name, Vec<IpAddr>)>,
    ended: mpsc::Sender<usize>,
}

fn ways() -> anyhow::Result<(Ways, Inbox)> {
    let (requests, requests_receiver) = mpsc::channel(CHANNEL);
    let (changes, changes_receiver) = mpsc::channel(CHANNEL);
    let (names, names_receiver) = mpsc::channel(CHANNEL);
    let (ended, ended_receiver) = mpsc::channel(CHANNEL);
    let inbox = Inbox {
        requests: requests_receiver,
        changes: changes_receiver,
        names: names_receiver,
        ended: ended_receiver,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hang_up: signal(SignalKind::hangup())?,
        upgrade: signal(SignalKind::user_defined2())?,
    };
    Ok((Ways { requests, changes, names, ended }, inbox))
}

fn open_log(
    configuration: &Configuration,
) -> anyhow::Result<(Option<AccessLog>, Option<AccessLogWriter>)> {
    match &configuration.telemetry.access_log {
        Some(log) => {
            let (log, writer) = AccessLog::start(log).context("access log")?;
            Ok((Some(log), Some(writer)))
        }
        None => Ok((None, None)),
    }
}

fn close_log(writer: Option<AccessLogWriter>) {
    if let Some(writer) = writer
        && !writer.finish()
    {
        tracing::warn!("the last lines of the access log could not be written in time");
    }
}

fn open_all(sockets: &mut Sockets, configuration: &Configuration) -> anyhow::Result<Vec<Opened>> {
    let workers = configuration.door.workers;
    configuration.listeners.iter().map(|listener| sockets.open(listener, workers)).collect()
}

/// Tells the operator that a worker's thread has ended, by a panic too.
struct Ending {
    worker: usize,
    ended: mpsc::Sender<usize>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.ended.try_send(self.worker).is_err() {
            tracing::debug!(worker = self.worker, "the operator ended first");
        }
    }
}

fn start_workers(
    count: usize,
    shared: &Arc<Shared>,
    live: &Arc<Live>,
    ended: &mpsc::Sender<usize>,
) -> anyhow::Result<Vec<mpsc::Sender<Command>>> {
    let start = |index: usize| {
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let (shared, live) = (Arc::clone(shared), Arc::clone(live));
        let ending = Ending { worker: index, ended: ended.clone() };
        std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let _ending = ending;
            if let Err(error) = worker::run(index, shared, live, receiver) {
                tracing::error!(worker = index, %error, "a worker cannot run");
            }
        })?;
        Ok(sender)
    };
    (0..count).map(start).collect()
}
