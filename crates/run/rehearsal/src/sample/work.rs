//! What the requests of one sample application share, and the walk of one of them through it.
//!
//! A place, then the route's cost in this order: cache, waiting, CPU, lock, queries. Contention
//! stretches all that the application itself does by the number of requests at work.
//! Invariant: each piece of work that ends is counted once, as served or as failed.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::sample::{RouteCost, SampleSettings};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::database::{Database, QueryError};
use super::gate::Gate;
use super::processor::{Processor, World};

/// What `GET /_control` shows besides the settings: requests at work and waiting, counts of work that ended
/// well and otherwise, counts of queries tried and failed, and memory that is lost.
pub const GAUGES: [&str; 7] = [
    "busy",
    "waiting",
    "served",
    "failed",
    "database_attempts",
    "database_failures",
    "leaked_bytes",
];

/// How work ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worked {
    /// The route has no cache.
    Whole,
    /// The cache did not have it.
    Miss,
    /// The cache had it.
    Hit,
}

/// Why work failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WorkError {
    /// As many requests wait as may.
    QueueFull,
    /// As often as it was told to.
    AsTold,
    /// What the database did.
    Query(QueryError),
}

/// What the connections of one sample application share.
#[derive(Debug)]
pub(super) struct Sample {
    settings: watch::Sender<Arc<SampleSettings>>,
    gate: Gate,
    pub(super) world: Arc<World>,
    processor: Processor,
    lock: tokio::sync::Mutex<()>,
    database: Database,
    random: Mutex<fastrand::Rng>,
    served: AtomicU64,
    failed: AtomicU64,
    pub(super) leaked_bytes: AtomicUsize,
    tunnels: Mutex<JoinSet<()>>,
}

impl Sample {
    /// # Errors
    /// When there is no thread for its processor.
    pub(super) fn new(settings: SampleSettings) -> io::Result<Self> {
        let world = Arc::new(World::default());
        Ok(Self {
            gate: Gate::new(settings.concurrency),
            processor: Processor::start(Arc::clone(&world))?,
            world,
            lock: tokio::sync::Mutex::new(()),
            database: Database::new(settings.database_connections_max),
            random: Mutex::new(random(settings.seed)),
            served: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            leaked_bytes: AtomicUsize::new(0),
            tunnels: Mutex::new(JoinSet::new()),
            settings: watch::Sender::new(Arc::new(settings)),
        })
    }

    pub(super) fn settings(&self) -> Arc<SampleSettings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The settings now and as they change.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<SampleSettings>> {
        self.settings.subscribe()
    }

    /// Replaces the settings that a JSON object names.
    ///
    /// # Errors
    /// One sentence; then nothing has changed.
    pub(super) fn change(&self, change: &[u8]) -> Result<(), String> {
        let mut outcome = Ok(());
        self.settings.send_if_modified(|settings| match settings.changed(change) {
            Ok(changed) => {
                self.gate.set_limit(changed.concurrency);
                self.database.set_limit(changed.database_connections_max);
                if changed.seed != settings.seed {
                    *self.random.lock().unwrap_or_else(PoisonError::into_inner) =
                        random(changed.seed);
                }
                *settings = Arc::new(changed);
                true
            }
            Err(why) => {
                outcome = Err(why);
                false
            }
        });
        outcome
    }

    /// The settings and the [gauges](GAUGES), as one object.
    pub(super) fn described(&self) -> Value {
        let mut described = json!(*self.settings());
        let gauges: [Value; GAUGES.len()] = [
            self.gate.taken().into(),
            self.gate.waiting().into(),
            self.served.load(Ordering::Relaxed).into(),
            self.failed.load(Ordering::Relaxed).into(),
            self.database.attempts().into(),
            self.database.failures().into(),
            self.leaked_bytes.load(Ordering::Relaxed).into(),
        ];
        for (name, value) in GAUGES.into_iter().zip(gauges) {
            described[name] = value;
        }
        described
    }

    /// Waits for a place, pays what `path` costs, and fails as often as set.
    pub(super) async fn work(
        &self,
        settings: &SampleSettings,
        path: &str,
    ) -> Result<Worked, WorkError> {
        let outcome = self.uncounted(settings, path).await;
        let count = if outcome.is_ok() { &self.served } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    async fn uncounted(&self, settings: &SampleSettings, path: &str) -> Result<Worked, WorkError> {
        let place = self.gate.enter(settings.queue_max).await;
        let _place = place.ok_or(WorkError::QueueFull)?;
        let cost = settings.cost(path);
        let (fails, cached, waiting) = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            // These two are drawn whether they are needed or not, so that a seed replays.
            let draws = (random.f64(), random.f64());
            let time = settings.service_time(cost.service_time_ms, || random.f64());
            (draws.0 < settings.error_rate, draws.1 < cost.cache_hit_share, time)
        };
        if fails && settings.fast_errors {
            return Err(WorkError::AsTold);
        }
        if !cached {
            self.pay(settings, &cost, waiting).await?;
        } else {
            self.processor.burn(Duration::ZERO).await;
        }
        match (fails, cached, cost.cache_hit_share > 0.0) {
            (true, _, _) => Err(WorkError::AsTold),
            (false, true, _) => Ok(Worked::Hit),
            (false, false, true) => Ok(Worked::Miss),
            (false, false, false) => Ok(Worked::Whole),
        }
    }

    async fn pay(
        &self,
        settings: &SampleSettings,
        cost: &RouteCost,
        waiting: Duration,
    ) -> Result<(), WorkError> {
        let contended = |ms: f64| settings.contended(ms, self.gate.taken());
        let waiting = contended(waiting.as_secs_f64() * 1_000.0);
        if !waiting.is_zero() {
            sleep(waiting).await;
        }
        self.processor.burn(contended(cost.cpu_ms)).await;
        if cost.lock_ms > 0.0 {
            let _held = self.lock.lock().await;
            // Counted with those who wait for it now: each of them makes it slower for all.
            sleep(contended(cost.lock_ms)).await;
        }
        if cost.queries > 0 {
            let asked = self.database.ask(settings, cost.queries, cost.query_ms);
            asked.await.map_err(WorkError::Query)?;
        }
        Ok(())
    }

    /// Waits until those who burn CPU let one through, as everything else in the process does.
    pub(super) async fn turn(&self) {
        self.processor.burn(Duration::ZERO).await;
    }

    /// Keeps a tunnel until it ends or the application does.
    pub(super) fn keep(&self, tunnel: impl Future<Output = ()> + Send + 'static) {
        let mut tunnels = self.tunnels.lock().unwrap_or_else(PoisonError::into_inner);
        while tunnels.try_join_next().is_some() {}
        tunnels.spawn(tunnel);
    }

    /// Ends every tunnel.
    pub(super) fn end_tunnels(&self) {
        self.tunnels.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

fn random(seed: u64) -> fastrand::Rng {
    match seed {
        0 => fastrand::Rng::new(),
        seed => fastrand::Rng::with_seed(seed),
    }
}
