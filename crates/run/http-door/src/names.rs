//! Resolves the servers' names again when their time has come.
//!
//! One task per name; a change of its addresses is told to whoever rebuilds what is live. An
//! answer that fails or is empty changes nothing: the last good addresses stay.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::configuration::ServerAddress;
use model::{Configuration, Name};
use net::resolve::{self, Resolver};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::live::Addresses;

/// How long the start waits for all names together.
const FIRST_LOOKUP: Duration = Duration::from_secs(5);

/// The names in a configuration, with the shortest interval asked for each.
#[must_use]
pub fn of(configuration: &Configuration) -> BTreeMap<Name, Duration> {
    let mut names = BTreeMap::new();
    for pool in &configuration.pools {
        for server in &pool.servers {
            if let ServerAddress::Name { host, .. } = &server.address {
                let interval = names.entry(host.clone()).or_insert(pool.resolve);
                *interval = pool.resolve.min(*interval);
            }
        }
    }
    names
}

/// Looks all names up once; those without an answer in time are absent.
pub async fn first_lookup(resolver: &Arc<Resolver>, names: &BTreeMap<Name, Duration>) -> Addresses {
    let mut tasks = JoinSet::new();
    for host in names.keys() {
        let (resolver, host) = (Arc::clone(resolver), host.clone());
        tasks.spawn(async move {
            let answer = tokio::time::timeout(FIRST_LOOKUP, resolver.lookup(&host)).await;
            (host, answer)
        });
    }
    let mut addresses = Addresses::new();
    for (host, answer) in tasks.join_all().await {
        match answer {
            Ok(Ok(answer)) => drop(addresses.insert(host, answer.addresses)),
            Ok(Err(error)) => tracing::warn!(%host, %error, "cannot resolve a server's name"),
            Err(_) => tracing::warn!(%host, "resolving a server's name takes too long"),
        }
    }
    addresses
}

/// The running lookups of one configuration; they end when this is dropped.
#[derive(Debug)]
pub struct Watch {
    _tasks: JoinSet<()>,
}

impl Watch {
    /// Resolves `names` again and again; each change of `known` goes to `changes`. Must be
    /// called on a tokio runtime.
    #[must_use]
    pub fn start(
        resolver: &Arc<Resolver>,
        names: &BTreeMap<Name, Duration>,
        known: &Addresses,
        changes: &mpsc::Sender<(Name, Vec<IpAddr>)>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        for (host, interval) in names {
            let last = known.get(host).cloned().unwrap_or_default();
            let lookups = Lookups { resolver: Arc::clone(resolver), host: host.clone(), last };
            tasks.spawn(lookups.run(*interval, changes.clone()));
        }
        Self { _tasks: tasks }
    }
}

struct Lookups {
    resolver: Arc<Resolver>,
    host: Name,
    last: Vec<IpAddr>,
}

impl Lookups {
    async fn run(mut self, interval: Duration, changes: mpsc::Sender<(Name, Vec<IpAddr>)>) {
        let mut failures = 0;
        loop {
            let result = self.resolver.lookup(&self.host).await;
            failures = if result.is_ok() { 0 } else { failures + 1 };
            if let Err(error) = &result {
                tracing::warn!(host = %self.host, %error, "cannot resolve a server's name");
            }
            let addresses = resolve::keep_last_good(&self.last, &result);
            if addresses != self.last {
                self.last.clone_from(&addresses);
                if changes.send((self.host.clone(), addresses)).await.is_err() {
                    return;
                }
            }
            let pause = resolve::next_refresh(&result, interval, failures);
            tokio::time::sleep(pause.mul_f64(0.9 + 0.1 * fastrand::f64())).await;
        }
    }
}
