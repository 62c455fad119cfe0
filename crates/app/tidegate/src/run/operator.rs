//! The operator: reacts to signals, requests, the servers' names, and the passing of seconds; it
//! alone tells the workers what they serve.
//!
//! Invariant: the workers are told only of what is ready to serve; everything that can fail was
//! done before.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use console::{ChangeOrder, What};
use http_door::check::Checks;
use http_door::live::{Known, Live};
use http_door::names::{self, Watch};
use http_door::worker::{Candidate, Command, ServerChange, Shared};
use model::fact::{PoolFacts, RouteFacts, Snapshot};
use model::{Configuration, Name, Timestamp};
use net::clock;
use net::notify::{self, Notifier};
use net::resolve::Resolver;
use telemetry::{AccessLog, ArmCollector, Collector};
use tokio::process::Child;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use super::admin::Admin;
use super::certificates::{self, Certificates};
use super::control::{Desk, Request};
use super::facts;
use super::handover::Copy;
use super::key_files::KeyFiles;
use super::open::Second;
use super::quotas::Quotas;
use super::sockets::{Opened, Sockets};
use super::stage::Prepared;
use super::successor;
use crate::commands::chain;

/// How often admission looks at what it learned.
const QUARTER: Duration = Duration::from_millis(250);

/// The running door as the operator sees it.
pub(super) struct Operator {
    pub(super) desk: Arc<Desk>,
    pub(super) shared: Arc<Shared>,
    pub(super) workers: Vec<mpsc::Sender<Command>>,
    pub(super) sockets: Sockets,
    /// Listeners by name, with the configured address they were bound for.
    pub(super) bound: HashMap<Name, SocketAddr>,
    /// Their sockets once more, for a process that takes over.
    pub(super) copies: Vec<Copy>,
    pub(super) admin: Option<Admin>,
    /// A process that was started to take over.
    pub(super) successor: Option<Child>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) collector: Collector,
    pub(super) log: Option<AccessLog>,
    pub(super) notifier: Notifier,
    pub(super) started: Timestamp,
    pub(super) draining: bool,
    /// Another process serves; this one ends what it has.
    pub(super) retiring: bool,
    /// When what is still open is cut; and idle connections, after another process serves.
    pub(super) ends: Pin<Box<Sleep>>,
    pub(super) gentle: Pin<Box<Sleep>>,
    pub(super) changes: mpsc::Sender<ServerChange>,
    pub(super) name_changes: mpsc::Sender<(Name, Vec<IpAddr>)>,
    pub(super) trial: Option<Trial>,
    pub(super) quotas: Quotas,
    pub(super) certificates: Certificates,
    /// What gets certificates from an authority, while this process is the one to do it.
    pub(super) obtaining: JoinSet<()>,
    pub(super) key_files: KeyFiles,
    pub(super) seconds: mpsc::Sender<Second>,
    pub(super) _checks: Checks,
    pub(super) _watch: Watch,
}

/// What is tried beside what is live.
pub(super) struct Trial {
    candidate: Arc<Candidate>,
    /// Reads what both do.
    collector: ArmCollector,
    _checks: Checks,
}

/// What arrives for the operator.
pub(super) struct Inbox {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) changes: mpsc::Receiver<ServerChange>,
    pub(super) names: mpsc::Receiver<(Name, Vec<IpAddr>)>,
    pub(super) ended: mpsc::Receiver<usize>,
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    pub(super) hang_up: Signal,
    pub(super) upgrade: Signal,
}

impl Operator {
    /// Works until all workers have ended.
    ///
    /// # Errors
    /// When a worker ended by itself.
    pub(super) async fn work(&mut self, inbox: &mut Inbox) -> anyhow::Result<()> {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut quarters = tokio::time::interval(QUARTER);
        quarters.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval(certificates::LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut watchdog =
            tokio::time::interval(notify::watchdog_interval().unwrap_or(Duration::from_secs(3600)));
        let mut left = self.workers.len();
        while left > 0 {
            tokio::select! {
                Some(_worker) = inbox.ended.recv() => {
                    anyhow::ensure!(self.draining || self.retiring, "a worker ended by itself");
                    left -= 1;
                }
                _ = inbox.terminate.recv() => self.drain().await,
                _ = inbox.interrupt.recv() => self.drain().await,
                _ = inbox.upgrade.recv() => self.start_successor(),
                ended = successor::ended(&mut self.successor) => self.lose_successor(ended),
                _ = inbox.hang_up.recv() => {
                    if let Some(log) = &self.log {
                        log.reopen();
                    }
                    self.order_reload();
                }
                Some(request) = inbox.requests.recv() => self.serve(request).await,
                () = self.gentle.as_mut(), if !self.draining && self.retiring => {
                    self.end_connections().await;
                }
                Some((host, addresses)) = inbox.names.recv() => {
                    tracing::info!(%host, ?addresses, "a server's addresses changed");
                    self.desk.learn(|known| drop(known.addresses.insert(host, addresses)));
                    self.rebuild().await;
                }
                Some(change) = inbox.changes.recv() => tell(&change),
                _ = seconds.tick() => self.second(),
                _ = quarters.tick() => self.desk.live().admission().tick(clock::now()),
                _ = looks.tick() => {
                    self.certificates.look(&self.desk.live());
                    self.key_files.look(&self.desk.live(), self.desk.kept());
                }
                Some(found) = self.certificates.found() => self.renew(found).await,
                Some(found) = self.key_files.found() => self.renew_files(found).await,
                _ = watchdog.tick() => self.notify(Notifier::watchdog),
                () = self.ends.as_mut() => {
                    let cut = self.shared.connections();
                    tracing::warn!(connections = cut, "the drain time is over; connections are cut");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn serve(&mut self, request: Request) {
        // Dropped, the answer says that the door is shutting down.
        if self.draining {
            return;
        }
        match request {
            Request::Listen(configuration, answer) => {
                let opened = self.open_new(&configuration).map_err(|error| format!("{error:#}"));
                // Whoever asked may be gone.
                drop(answer.send(opened));
            }
            Request::GoLive(prepared, answer) => {
                self.go_live(*prepared).await;
                done(answer);
            }
            Request::Try(prepared, share, answer) => {
                self.try_out(*prepared, share).await;
                done(answer);
            }
            Request::Promote(opened, answer) => {
                self.promote(opened).await;
                done(answer);
            }
            Request::EndTrial(answer) => {
                self.end_trial().await;
                done(answer);
            }
            Request::Rebuild => self.rebuild().await,
            // Whoever asked may be gone.
            Request::Copy(answer) => drop(answer.send(self.copy_sockets())),
            Request::Retire(answer) => {
                self.retire().await;
                done(answer);
            }
        }
    }

    /// SIGHUP: the changer reads the file again. What comes of it is in the log.
    fn order_reload(&self) {
        let (answer, _nobody_waits) = oneshot::channel();
        let order = ChangeOrder { author: "SIGHUP".to_owned(), what: What::Reload };
        if self.desk.orders.try_send((order, answer)).is_err() {
            tracing::error!("the configuration is not read again: too many changes wait");
        }
    }

    /// Swaps what all workers see.
    async fn go_live(&mut self, prepared: Prepared) {
        let Prepared { live, before, found, opened } = prepared;
        // Only what is new: a server may have been drained while the names were looked up.
        self.desk.learn(|known| known.addresses.extend(found));
        let current = self.desk.live();
        let live = if Arc::ptr_eq(&before, &current) {
            live
        } else {
            // A server's addresses changed since: what is prepared is built once more.
            let built = live.rebuilt(&self.desk.known(), &current, clock::now());
            built.map_or(live, Arc::new)
        };
        // The same text with its certificates read again: what is tried goes on, with its own.
        let again = live.configuration().version == current.configuration().version;
        if !again {
            self.end_trial().await;
        }
        self.swap(&live, opened).await;
        if again && self.trial.is_some() {
            self.rebuild().await;
        }
    }

    async fn swap(&mut self, live: &Arc<Live>, opened: Vec<Opened>) {
        let (from, to) = (self.desk.live(), live.configuration());
        warn_of_restart(from.configuration(), to);
        self.put_live(live).await;
        let (names, known) = (names::of(to), self.desk.known());
        self._watch = Watch::start(&self.resolver, &names, &known.addresses, &self.name_changes);
        self.bound.retain(|name, address| {
            to.listeners.iter().any(|l| l.name == *name && l.address == *address)
        });
        let bound = &self.bound;
        self.copies.retain(|copy| bound.get(&copy.name) == Some(&copy.configured));
        self.listen(opened).await;
    }

    /// Lets a share of the new requests see a candidate.
    async fn try_out(&mut self, prepared: Prepared, share: f64) {
        self.desk.learn(|known| known.addresses.extend(prepared.found));
        let candidate = Arc::new(Candidate::new(prepared.live, share));
        let collector = candidate.collector();
        self.put_on_trial(candidate, collector).await;
    }

    async fn put_on_trial(&mut self, candidate: Arc<Candidate>, collector: ArmCollector) {
        self.desk.switches.put_in_effect(candidate.live());
        self.tell_workers(|| Command::Try(Some(Arc::clone(&candidate)))).await;
        let _checks = Checks::start_new(candidate.live(), &self.desk.live(), &self.changes);
        self.trial = Some(Trial { candidate, collector, _checks });
    }

    /// Swaps what all workers see for the candidate.
    async fn promote(&mut self, opened: Vec<Opened>) {
        let Some(trial) = self.trial.take() else { return };
        self.swap(trial.candidate.live(), opened).await;
    }

    async fn end_trial(&mut self) {
        if self.trial.take().is_some() {
            self.tell_workers(|| Command::Try(None)).await;
            self.retain(&self.desk.live());
        }
    }

    /// Binds the listeners that were not there before.
    fn open_new(&mut self, configuration: &Configuration) -> anyhow::Result<Vec<Opened>> {
        let workers = self.workers.len();
        let mut opened = Vec::new();
        for listener in &configuration.listeners {
            if self.bound.get(&listener.name) != Some(&listener.address) {
                opened.push(self.sockets.open(listener, workers)?);
            }
        }
        Ok(opened)
    }

    /// Builds what is live, and what is tried, with what is known of the servers now.
    async fn rebuild(&mut self) {
        let built = |before: &Arc<Live>, known: &Known| {
            let built = before.rebuilt(known, before, clock::now());
            let told = |error| tracing::error!(error = %chain(&error), "nothing changed");
            built.map_err(told).ok().map(Arc::new)
        };
        let known = self.desk.known();
        if let Some(live) = built(&self.desk.live(), &known) {
            self.put_live(&live).await;
        }
        if let Some(Trial { candidate, collector, .. }) = self.trial.take() {
            let live = built(candidate.live(), &known);
            let rebuilt = live
                .map_or_else(|| Arc::clone(&candidate), |live| Arc::new(candidate.rebuilt(live)));
            self.put_on_trial(rebuilt, collector).await;
        }
    }

    pub(super) async fn put_live(&mut self, live: &Arc<Live>) {
        self.desk.switches.put_in_effect(live);
        self.tell_workers(|| Command::Live(Arc::clone(live))).await;
        self.desk.publish(live);
        self.quotas.follow(live);
        // A client may have been disabled while the workers were told.
        self.desk.switches.put_in_effect(live);
        self._checks = Checks::start(live, &self.changes);
        self.retain(live);
    }

    /// Keeps the metrics of what is live and of what is tried; others end in a while.
    fn retain(&self, live: &Live) {
        let (mut routes, mut servers) = live.names();
        if let Some(trial) = &self.trial {
            let (tried_routes, tried_servers) = trial.candidate.live().names();
            routes.extend(tried_routes);
            servers.extend(tried_servers);
        }
        self.desk.registry.retain(&routes, &servers);
        let listeners = live.configuration().listeners.iter();
        let listeners: Vec<Name> = listeners.map(|listener| listener.name.clone()).collect();
        self.desk.registry.retain_tcp(&listeners);
    }

    pub(super) async fn tell_workers(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            // A worker that has ended is noticed by the operator's own loop.
            drop(worker.send(command()).await);
        }
    }

    /// Hands each worker its socket of each listener, and says where the door listens.
    pub(super) async fn listen(&mut self, opened: Vec<Opened>) {
        for Opened { name, configured, bound } in opened {
            match bound.sockets.iter().map(TcpListener::try_clone).collect::<Result<_, _>>() {
                Ok(sockets) => {
                    self.copies.retain(|copy| copy.name != name);
                    self.copies.push(Copy { name: name.clone(), configured, sockets });
                }
                Err(error) => tracing::warn!(%error, "this listener cannot be handed over"),
            }
            for (worker, socket) in self.workers.iter().cycle().zip(bound.sockets) {
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

    async fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        let time = self.desk.live().configuration().door.drain;
        tracing::info!(connections = self.shared.connections(), ?time, "draining");
        self.desk.ready.store(false, Ordering::Relaxed);
        self.notify(Notifier::stopping);
        self.obtaining.abort_all();
        // A socket that is still open here would take connections that nobody serves.
        self.copies.clear();
        self.ends.as_mut().reset(tokio::time::Instant::now() + time);
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
        let status = Arc::clone(&self.desk.status.borrow());
        let pool = |index: usize| PoolFacts {
            queue: live.admission().gate(index).facts(now),
            ..live.pool(index).facts(now)
        };
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
            pools: (0..configuration.pools.len()).map(pool).collect(),
            tcp: facts::tcp(configuration),
            tried: self.trial.as_ref().map(|trial| trial.only(&live, now)).unwrap_or_default(),
            admission: live.admission().facts(),
            certificates: self.certificates.facts(),
            generation: status.live,
            change: status
                .open
                .as_ref()
                .map(|open| format!("generation {}: {}", open.number, status.progress)),
            ..Snapshot::default()
        };
        let mut snapshot = self.collector.collect(gauges);
        snapshot.invariants = facts::invariants(configuration, &snapshot.pools);
        self.desk.history.push(snapshot);
        let Some(snapshot) = self.desk.history.last() else { return };
        let arms = self.trial.as_mut().map(|trial| trial.collector.collect());
        // The changer is busy for as long as the seconds that fit; an older change is not judged
        // by what is lost.
        drop(self.seconds.try_send(Second { now, snapshot, arms }));
    }

    /// Says that the door serves, to the service manager and to whoever asks.
    pub(super) fn announce_ready(&self, took_over: bool) {
        self.notify(if took_over { Notifier::took_over } else { Notifier::ready });
        self.notify(|notifier| notifier.status("serving"));
        self.desk.ready.store(true, Ordering::Relaxed);
    }

    fn notify(&self, message: impl FnOnce(&Notifier) -> std::io::Result<()>) {
        if let Err(error) = message(&self.notifier) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

impl Trial {
    /// The servers that only the candidate has, by pool.
    fn only(&self, live: &Live, now: Timestamp) -> Vec<PoolFacts> {
        let (_, known) = live.names();
        let candidate = self.candidate.live();
        let pools = candidate.configuration().pools.iter().enumerate().map(|(index, pool)| {
            let mut facts = candidate.pool(index).facts(now);
            let known: Vec<String> = known
                .iter()
                .filter(|(name, _)| *name == pool.name)
                .map(|(_, address)| address.to_string())
                .collect();
            facts.servers.retain(|server| !known.contains(&server.address));
            facts
        });
        pools.filter(|pool| !pool.servers.is_empty()).collect()
    }
}

/// Tells whoever asked, if it is still there.
fn done(answer: oneshot::Sender<()>) {
    if answer.send(()).is_err() {
        tracing::debug!("nobody waits for this answer any more");
    }
}

fn warn_of_restart(from: &Configuration, to: &Configuration) {
    if from.door.workers != to.door.workers
        || from.door.state != to.door.state
        || from.admin != to.admin
        || from.telemetry != to.telemetry
    {
        tracing::warn!(
            "changes of [door] workers and state, [admin] and [telemetry] take effect at the next start"
        );
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
