//! What the admin interface may ask of the running door.
//!
//! It reads what the operator last published; what changes the door is sent to the operator and
//! answered when it is done.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use console::{Control, Reload};
use http_door::live::{Known, Live};
use model::Name;
use model::fact::Snapshot;
use telemetry::{ExpositionFormat, History, Registry};
use tokio::sync::{mpsc, oneshot};

/// What the operator is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    /// Read the configuration again and say what came of it.
    Reload(oneshot::Sender<Result<String, String>>),
    /// Build what is live anew: something known of the servers changed.
    Rebuild,
}

/// What the operator and the admin interface share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) registry: Arc<Registry>,
    pub(super) history: History,
    pub(super) live: Mutex<Arc<Live>>,
    pub(super) known: Mutex<Known>,
    pub(super) ready: AtomicBool,
    pub(super) requests: mpsc::Sender<Request>,
}

impl Desk {
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

    fn reload(&self) -> Reload {
        let requests = self.0.requests.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let gone = "the door is shutting down";
            requests.send(Request::Reload(answer)).await.map_err(|_closed| gone.to_owned())?;
            answered.await.map_err(|_dropped| gone.to_owned())?
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
