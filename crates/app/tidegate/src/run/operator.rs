//! The operator: starts the workers, and from then on reacts to signals, requests, the servers'
//! names, and the passing of seconds.
//!
//! Invariant: a configuration that cannot go live changes nothing; what was live stays so.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use http_door::check::{self, Checks};
use http_door::live::{Known, Live};
use http_door::names::{self, Watch};
use http_door::worker::{self, Command, ServerChange, Shared};
use model::fact::{RouteFacts, Snapshot};
use model::{Configuration, Name, Timestamp};
use net::clock;
use net::notify::{self, Notifier};
use net::resolve::Resolver;
use settings::Environment;
use telemetry::{AccessLog, AccessLogWriter, Collector, History, Registry};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::control::{Desk, Request};
use super::sockets::{Bound, Sockets};

/// Messages that may wait in a channel between the operator and others.
const CHANNEL: usize = 1024;

/// The running door as the operator sees it.
struct Operator {
    path: PathBuf,
    environment: Environment,
    desk: Arc<Desk>,
    shared: Arc<Shared>,
    workers: Vec<mpsc::Sender<Command>>,
    sockets: Sockets,
    /// Listeners by name, with the configured address they were bound for.
    bound: HashMap<Name, SocketAddr>,
    resolver: Arc<Resolver>,
    collector: Collector,
    log: Option<AccessLog>,
    notifier: Notifier,
    started: Timestamp,
    draining: bool,
    changes: mpsc::Sender<ServerChange>,
    name_changes: mpsc::Sender<(Name, Vec<IpAddr>)>,
    _checks: Checks,
    _watch: Watch,
}

/// What arrives for the operator.
struct Inbox {
    requests: mpsc::Receiver<Request>,
    changes: mpsc::Receiver<ServerChange>,
    names: mpsc::Receiver<(Name, Vec<IpAddr>)>,
    ended: mpsc::Receiver<usize>,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// Runs the door until it has drained.
///
/// # Errors
/// When it cannot start, or a worker ended by itself.
pub(super) async fn run(
    path: PathBuf,
    environment: Environment,
    configuration: Configuration,
) -> anyhow::Result<()> {
    let configuration = Arc::new(configuration);
    let (log, log_writer) = open_log(&configuration)?;
    let (ended, ended_receiver) = mpsc::channel(CHANNEL);
    let (requests, requests_receiver) = mpsc::channel(CHANNEL);
    let (changes, changes_receiver) = mpsc::channel(CHANNEL);
    let (name_changes, names_receiver) = mpsc::channel(CHANNEL);
    let mut inbox = Inbox {
        requests: requests_receiver,
        changes: changes_receiver,
        names: names_receiver,
        ended: ended_receiver,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hang_up: signal(SignalKind::hangup())?,
    };
    let claimed = super::admin::claim(&configuration)?;
    let mut sockets = Sockets::take_over()?;
    let first = bind_all(&mut sockets, &configuration)?;
    let resolver = Arc::new(Resolver::system().context("name resolution")?);
    let names = names::of(&configuration);
    let addresses = names::first_lookup(&resolver, &names).await;
    let known = Known { addresses, ..Known::default() };
    let live = Arc::new(Live::build(&configuration, &known, None, clock::now())?);
    check::first_round(&live, None, &changes).await;
    let workers = configuration.door.workers;
    let registry = Arc::new(Registry::new(workers));
    let shared = Shared::new(Arc::clone(&registry), log.clone(), changes.clone());
    let desk = Arc::new(Desk {
        registry: Arc::clone(&registry),
        history: History::new(),
        live: Mutex::new(Arc::clone(&live)),
        known: Mutex::new(known.clone()),
        ready: AtomicBool::new(false),
        requests,
    });
    let mut operator = Operator {
        path,
        environment,
        workers: start_workers(workers, &shared, &live, &ended)?,
        sockets,
        bound: HashMap::new(),
        collector: Collector::new(registry),
        log,
        notifier: Notifier::from_environment().context("NOTIFY_SOCKET")?,
        started: clock::now(),
        draining: false,
        _checks: Checks::start(&live, &changes),
        _watch: Watch::start(&resolver, &names, &known.addresses, &name_changes),
        resolver,
        changes,
        name_changes,
        desk,
        shared,
    };
    let _admin = super::admin::start(claimed, &operator.desk)?;
    operator.sockets.warn_of_rest();
    operator.listen(first).await;
    operator.announce("serving");
    operator.desk.ready.store(true, Ordering::Relaxed);
    let result = operator.work(&mut inbox).await;
    if let Some(writer) = log_writer
        && !writer.finish()
    {
        tracing::warn!("the last lines of the access log could not be written in time");
    }
    result
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

fn bind_all(
    sockets: &mut Sockets,
    configuration: &Configuration,
) -> anyhow::Result<Vec<(Name, SocketAddr, Bound)>> {
    let workers = configuration.door.workers;
    let listeners = configuration.listeners.iter();
    listeners
        .map(|listener| {
            let bound = sockets.bind(listener, workers)?;
            Ok((listener.name.clone(), listener.address, bound))
        })
        .collect()
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

impl Operator {
    async fn work(&mut self, inbox: &mut Inbox) -> anyhow::Result<()> {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut watchdog =
            tokio::time::interval(notify::watchdog_interval().unwrap_or(Duration::from_secs(3600)));
        let mut left = self.workers.len();
        let mut deadline = std::pin::pin!(tokio::time::sleep(Duration::MAX));
        while left > 0 {
            tokio::select! {
                Some(_worker) = inbox.ended.recv() => {
                    anyhow::ensure!(self.draining, "a worker ended by itself");
                    left -= 1;
                }
                _ = inbox.terminate.recv() => self.drain(deadline.as_mut()).await,
                _ = inbox.interrupt.recv() => self.drain(deadline.as_mut()).await,
                _ = inbox.hang_up.recv() => {
                    if let Some(log) = &self.log {
                        log.reopen();
                    }
                    // What came of it is in the log.
                    drop(self.reload().await);
                }
                Some(request) = inbox.requests.recv() => self.serve(request).await,
                Some((host, addresses)) = inbox.names.recv() => {
                    tracing::info!(%host, ?addresses, "a server's addresses changed");
                    self.desk.learn(|known| drop(known.addresses.insert(host, addresses)));
                    self.rebuild().await;
                }
                Some(change) = inbox.changes.recv() => tell(&change),
                _ = seconds.tick() => self.second(),
                _ = watchdog.tick() => self.notify(Notifier::watchdog),
                () = deadline.as_mut() => {
                    let cut = self.shared.connections();
                    tracing::warn!(connections = cut, "the drain time is over; connections are cut");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Reload(answer) => {
                let result = self.reload().await;
                // Whoever asked may have hung up.
                drop(answer.send(result));
            }
            Request::Rebuild => self.rebuild().await,
        }
    }

    /// Reads the configuration again; a bad one changes nothing and says why.
    async fn reload(&mut self) -> Result<String, String> {
        self.notify(Notifier::reloading);
        let result = self.try_reload().await;
        self.notify(Notifier::ready);
        self.desk.registry.configuration_reloaded(result.is_ok());
        match &result {
            Ok(what) => tracing::info!("{what}"),
            Err(why) => tracing::error!("the configuration stays as it was: {why}"),
        }
        result
    }

    async fn try_reload(&mut self) -> Result<String, String> {
        if self.draining {
            return Err("the door is shutting down".to_owned());
        }
        let configuration = Arc::new(super::load(&self.path, &self.environment)?);
        let before = self.desk.live();
        let (from, to) = (before.configuration(), &configuration);
        if from.door.workers != to.door.workers
            || from.admin != to.admin
            || from.telemetry != to.telemetry
        {
            tracing::warn!(
                "changes of [door] workers, [admin] and [telemetry] take effect at the next start"
            );
        }
        let names = names::of(&configuration);
        let mut known = self.desk.known();
        let new = names.iter().filter(|(host, _)| !known.addresses.contains_key(*host));
        let new = new.map(|(host, interval)| (host.clone(), *interval)).collect();
        let found = names::first_lookup(&self.resolver, &new).await;
        known.addresses.extend(found.clone());
        let live = Live::build(&configuration, &known, Some(&before), clock::now());
        let live = Arc::new(live.map_err(|error| crate::commands::chain(&error))?);
        let opened = self.open_new(&configuration).map_err(|error| format!("{error:#}"))?;
        // Only what is new: a server may have been drained while the names were looked up.
        self.desk.learn(|current| current.addresses.extend(found));
        check::first_round(&live, Some(&before), &self.changes).await;
        self.put_live(&live).await;
        self._watch = Watch::start(&self.resolver, &names, &known.addresses, &self.name_changes);
        self.bound.retain(|name, address| {
            configuration.listeners.iter().any(|l| l.name == *name && l.address == *address)
        });
        self.listen(opened).await;
        Ok(if to.version == from.version {
            format!("configuration {} is live again: its text is unchanged", to.version)
        } else {
            format!("configuration {} is live, in place of {}", to.version, from.version)
        })
    }

    /// Binds the listeners that were not there before.
    fn open_new(
        &mut self,
        configuration: &Configuration,
    ) -> anyhow::Result<Vec<(Name, SocketAddr, Bound)>> {
        let workers = self.workers.len();
        let mut opened = Vec::new();
        for listener in &configuration.listeners {
            if self.bound.get(&listener.name) != Some(&listener.address) {
                let bound = self.sockets.bind(listener, workers)?;
                opened.push((listener.name.clone(), listener.address, bound));
            }
        }
        Ok(opened)
    }

    async fn rebuild(&mut self) {
        let before = self.desk.live();
        let known = self.desk.known();
        match Live::build(before.configuration(), &known, Some(&before), clock::now()) {
            Ok(live) => self.put_live(&Arc::new(live)).await,
            Err(error) => {
                tracing::error!(error = %crate::commands::chain(&error), "nothing changed")
            }
        }
    }

    async fn put_live(&mut self, live: &Arc<Live>) {
        for worker in &self.workers {
            // A worker that has ended is noticed by the operator's own loop.
            drop(worker.send(Command::Live(Arc::clone(live))).await);
        }
        self.desk.publish(live);
        self._checks = Checks::start(live, &self.changes);
        let (routes, servers) = live.names();
        self.desk.registry.retain(&routes, &servers);
    }

    /// Hands each worker its socket of each listener, and says where the door listens.
    async fn listen(&mut self, opened: Vec<(Name, SocketAddr, Bound)>) {
        for (name, configured, bound) in opened {
            for (worker, socket) in self.workers.iter().zip(bound.sockets) {
                drop(worker.send(Command::Listen(name.clone(), socket)).await);
            }
            tracing::info!(listener = %name, address = %bound.address, "listening");
            let line = format!("listening on {} name={name}\n", bound.address);
            if let Err(error) = crate::output::print(&line) {
                tracing::debug!(%error, "stdout cannot be written");
            }
            self.bound.insert(name, configured);
        }
    }

    async fn drain(&mut self, deadline: std::pin::Pin<&mut tokio::time::Sleep>) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        let time = self.desk.live().configuration().door.drain;
        tracing::info!(connections = self.shared.connections(), ?time, "draining");
        self.desk.ready.store(false, Ordering::Relaxed);
        self.notify(Notifier::stopping);
        deadline.reset(tokio::time::Instant::now() + time);
        for worker in &self.workers {
            drop(worker.send(Command::Drain).await);
        }
    }

    /// Closes the books of one second.
    fn second(&mut self) {
        let live = self.desk.live();
        let now = clock::now();
        let configuration = live.configuration();
        let routes = configuration.routes.iter();
        let gauges = Snapshot {
            at: telemetry::rfc3339(clock::wall()),
            uptime_seconds: now.since(self.started).as_secs(),
            configuration: configuration.version.to_string(),
            connections: u64::from(self.shared.connections()),
            draining: self.draining,
            log_lines_lost: self.log.as_ref().map_or(0, AccessLog::lost),
            routes: routes
                .map(|route| RouteFacts { name: route.name.to_string(), ..RouteFacts::default() })
                .collect(),
            pools: (0..configuration.pools.len()).map(|pool| live.pool(pool).facts(now)).collect(),
            ..Snapshot::default()
        };
        self.desk.history.push(self.collector.collect(gauges));
    }

    fn announce(&self, status: &str) {
        self.notify(Notifier::ready);
        self.notify(|notifier| notifier.status(status));
    }

    fn notify(&self, message: impl FnOnce(&Notifier) -> std::io::Result<()>) {
        if let Err(error) = message(&self.notifier) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

fn tell(change: &ServerChange) {
    let ServerChange { pool, change } = change;
    tracing::info!(
        %pool,
        server = %change.address,
        from = ?change.from,
        to = ?change.to,
        why = %change.why,
        "a server's state changed"
    );
}
