//! The stage of a drill: the processes behind and at the front door, and how they are told things.
//!
//! Invariant: whatever is started is leased with the watchdog at once, so that nothing outlives
//! the drill, however it ends.

mod ask;
mod door;
mod haproxy;
mod look;
mod nginx;
mod plan;
mod ports;
pub mod postgres;
mod process;
mod server;
mod setup;
mod tidegate;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::drill::{Database, DoorSetup, Event, Link, NetworkConditions};
use model::sample::SampleSettings;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::fault::proxy::Proxy;
use crate::fault::watchdog::{FOLDER_PREFIX, LeaseId, Undo, Watchdog};
use door::Door;
use postgres::Postgres;
use process::Place;

pub use look::{Gauges, Look, ServerLook};
pub use server::Server;
pub use setup::{Answer, Applied, FrontDoor, NotApplied, Setup, TidegateTools};

/// Where stages make their folders: what a watchdog is told as its scratch folder.
#[must_use]
pub fn scratch() -> PathBuf {
    std::env::temp_dir()
}

/// A stage on which everything runs.
///
/// Needs a tokio runtime whose threads live as long as this value: the kernel ends a process
/// when the thread that started it ends. Dropped without [`Stage::end`], its processes are
/// killed, and the watchdog does the rest.
#[derive(Debug)]
pub struct Stage {
    door: Door,
    servers: Vec<Server>,
    database: Option<Cluster>,
    proxies: Vec<(Link, Proxy)>,
    /// What every server is told besides its own settings.
    equipment: Equipment,
    watchdog: Arc<Watchdog>,
    folder: TempDir,
    folder_lease: LeaseId,
}

#[derive(Debug)]
struct Cluster {
    postgres: Postgres,
    lease: LeaseId,
}

#[derive(Debug)]
struct Equipment {
    database: Option<String>,
    seed: u64,
}

impl Equipment {
    /// The settings with the database of the stage, and with random numbers of its own.
    fn of(&self, index: usize, settings: &SampleSettings) -> SampleSettings {
        let mut settings = settings.clone();
        settings.database.clone_from(&self.database);
        if settings.seed == 0 {
            let index = u64::try_from(index).unwrap_or(u64::MAX);
            // An odd factor keeps seeds of neighbours apart; zero would mean a new one each time.
            settings.seed = self.seed.wrapping_add(index).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        }
        settings
    }
}

impl Stage {
    /// Starts everything, and waits until the front door serves.
    ///
    /// # Errors
    /// In words, with the end of the log of the process that failed; nothing is left then.
    pub async fn raise(
        setup: Setup<'_>,
        tools: Arc<dyn TidegateTools>,
        watchdog: Arc<Watchdog>,
    ) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix(FOLDER_PREFIX)
            .tempdir_in(scratch())
            .map_err(|error| format!("no temporary folder: {error}"))?;
        let path = folder.path().to_owned();
        let folder_lease = lease(&watchdog, Undo::RemoveFolder { path: path.clone() }).await?;
        let drill = setup.drill;
        let mut proxies =
            Proxies { links: links(&drill.events), seed: setup.seed, running: vec![] };
        let database = match &drill.stack.database {
            Some(database) => Some(Cluster::raise(&path, database, &watchdog).await?),
            None => None,
        };
        let database_url = match &database {
            Some(Cluster { postgres, .. }) => {
                let (own, url) = (postgres.address(), postgres.url());
                let reached = proxies.reach(&Link::Database, own)?;
                Some(url.replacen(&own.to_string(), &reached.to_string(), 1))
            }
            None => None,
        };
        let equipment = Equipment { database: database_url, seed: setup.seed };
        let place = Place {
            executable: setup.executable.to_owned(),
            folder: path,
            watchdog: Arc::clone(&watchdog),
        };
        let mut servers = Vec::new();
        let mut reached = Vec::new();
        for (index, settings) in drill.stack.servers.iter().enumerate() {
            let server = Server::raise(&place, index, equipment.of(index, settings)).await?;
            let name = server.name().clone();
            let address = proxies.reach(&Link::Server(name.clone()), server.address())?;
            servers.push(server);
            reached.push((name, address));
        }
        let kind = (setup.front, setup.guard);
        let door = Door::raise(kind, place, tools, reached, &drill.door).await?;
        proxies.reach(&Link::Clients, door.address())?;
        let proxies = proxies.running;
        Ok(Self { door, servers, database, proxies, equipment, watchdog, folder, folder_lease })
    }

    /// Where clients connect to: the front door, or the fault proxy in front of it.
    #[must_use]
    pub fn door_address(&self) -> SocketAddr {
        self.proxy(&Link::Clients).map_or(self.door.address(), Proxy::address)
    }

    /// Where its configuration, sockets and logs are; every process of the stage works in it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the front door says its version is.
    #[must_use]
    pub fn front_version(&self) -> &str {
        self.door.version()
    }

    /// The servers, in the order of the drill's stack.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Kills a server as `kill -9` does. One that is gone already is left so.
    ///
    /// # Errors
    /// In words: there is no such server, or it does not die.
    pub async fn kill(&self, server: &str) -> Result<(), String> {
        named(server, self.server(server)?.1.kill().await)
    }

    /// Starts a server at its old address as it was last deployed, unless it runs.
    ///
    /// # Errors
    /// In words, with the end of its log.
    pub async fn start(&self, server: &str) -> Result<(), String> {
        named(server, self.server(server)?.1.start().await)
    }

    /// Stops a server with SIGSTOP: it accepts and never answers.
    ///
    /// # Errors
    /// In words: there is no such server, or it does not run.
    pub async fn stop(&self, server: &str) -> Result<(), String> {
        named(server, self.server(server)?.1.stop().await)
    }

    /// Lets a stopped server go on.
    ///
    /// # Errors
    /// In words: there is no such server.
    pub async fn cont(&self, server: &str) -> Result<(), String> {
        named(server, self.server(server)?.1.cont().await)
    }

    /// Makes a server behave like this, until [`Stage::recover`] or a new start.
    ///
    /// # Errors
    /// In words: there is no such server, or it does not answer.
    pub async fn behave(&self, server: &str, settings: &SampleSettings) -> Result<(), String> {
        let (index, found) = self.server(server)?;
        named(server, found.behave(&self.equipment.of(index, settings)).await)
    }

    /// Makes a server behave as it was deployed; one that died of its behaviour is started.
    ///
    /// # Errors
    /// In words: there is no such server, it does not answer, or does not start.
    pub async fn recover(&self, server: &str) -> Result<(), String> {
        named(server, self.server(server)?.1.recover().await)
    }

    /// Ends a server politely and starts it with these settings at its old address.
    ///
    /// # Errors
    /// In words, with the end of its log.
    pub async fn deploy(&self, server: &str, settings: &SampleSettings) -> Result<(), String> {
        let (index, found) = self.server(server)?;
        named(server, found.deploy(self.equipment.of(index, settings)).await)
    }

    /// Ends a server politely and starts it as it was last deployed.
    ///
    /// # Errors
    /// In words, with the end of its log.
    pub async fn restart(&self, server: &str) -> Result<(), String> {
        let (_, found) = self.server(server)?;
        named(server, found.deploy(found.deployed()).await)
    }

    /// Makes the network of a link like this; the default makes it whole again.
    ///
    /// # Errors
    /// When no event of the drill is about this link, so that it has no fault proxy.
    pub fn network(&self, link: &Link, conditions: NetworkConditions) -> Result<(), String> {
        self.proxy(link)
            .map(|proxy| proxy.set(conditions))
            .ok_or_else(|| format!("there is no fault proxy at {link:?}"))
    }

    /// Gives the front door another configuration, as its operator would: with the guard on it is
    /// checked first. Waits until it is live.
    ///
    /// # Errors
    /// The front door refused it, or it could not be carried out; the old one goes on then.
    pub async fn configure(&self, door: &DoorSetup) -> Result<Applied, NotApplied> {
        self.door.configure(door).await
    }

    /// Looks at everything at once, for a fifth of a second at most.
    ///
    /// # Errors
    /// When the front door ended: nothing is left to rehearse.
    pub async fn look(&self) -> Result<Look, String> {
        self.door.runs()?;
        let at = net::clock::now();
        let mut asked = JoinSet::new();
        for (index, server) in self.servers.iter().enumerate() {
            let address = server.address();
            asked.spawn(async move { (index, look::gauges(address).await) });
        }
        let (seen, rollbacks) = self.door.look().await;
        let mut gauges = vec![None; self.servers.len()];
        while let Some(answered) = asked.join_next().await {
            if let Ok((index, answer)) = answered
                && let Some(slot) = gauges.get_mut(index)
            {
                *slot = answer;
            }
        }
        let all = self.servers.iter().zip(gauges).zip(seen);
        let servers = all.map(|((server, gauges), seen)| ServerLook {
            name: server.name().clone(),
            alive: server.is_alive().unwrap_or(gauges.is_some()),
            gauges,
            wrong: seen.as_ref().map(|seen| seen.wrong),
            state_seen_by_door: seen.map(|seen| seen.state),
        });
        Ok(Look { at, servers: servers.collect(), rollbacks })
    }

    /// Ends everything in order: the front door, the servers, the database, the folder.
    ///
    /// # Errors
    /// In words, everything that did not end as it should; the watchdog ends that.
    pub async fn end(self) -> Result<(), String> {
        let mut wrong: Vec<String> = self.door.end().await.err().into_iter().collect();
        let mut ending = JoinSet::new();
        for server in self.servers {
            ending.spawn(async move { named(&server.name().clone(), server.end().await) });
        }
        while let Some(ended) = ending.join_next().await {
            wrong.extend(ended.map_err(|error| error.to_string()).flatten().err());
        }
        drop(self.proxies);
        if let Some(database) = self.database {
            wrong.extend(database.end(&self.watchdog).await.err());
        }
        match self.folder.close() {
            Ok(()) => wrong.extend(release(&self.watchdog, self.folder_lease).await.err()),
            Err(error) => wrong.push(format!("the folder of the stage cannot be removed: {error}")),
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    fn server(&self, name: &str) -> Result<(usize, &Server), String> {
        let mut servers = self.servers.iter().enumerate();
        servers
            .find(|(_, server)| &**server.name() == name)
            .ok_or_else(|| format!("there is no server {name}"))
    }

    fn proxy(&self, link: &Link) -> Option<&Proxy> {
        self.proxies.iter().find(|(at, _)| at == link).map(|(_, proxy)| proxy)
    }
}

impl Cluster {
    async fn raise(
        folder: &Path,
        database: &Database,
        watchdog: &Watchdog,
    ) -> Result<Self, String> {
        let (folder, database) = (folder.to_owned(), database.clone());
        let started = tokio::task::spawn_blocking(move || Postgres::start(&folder, &database));
        let postgres = started.await.map_err(|error| format!("PostgreSQL: {error}"))??;
        let undo = Undo::EndProcess { pid: postgres.pid(), group: false };
        let lease = lease(watchdog, undo).await?;
        Ok(Self { postgres, lease })
    }

    async fn end(self, watchdog: &Watchdog) -> Result<(), String> {
        let ended = tokio::task::spawn_blocking(move || self.postgres.end()).await;
        ended.map_err(|error| format!("PostgreSQL: {error}"))?;
        release(watchdog, self.lease).await
    }
}

/// Fault proxies while a stage is raised.
struct Proxies {
    links: Vec<Link>,
    seed: u64,
    running: Vec<(Link, Proxy)>,
}

impl Proxies {
    /// How the other side of `link` is reached: directly, unless the drill has faults for it.
    fn reach(&mut self, link: &Link, target: SocketAddr) -> Result<SocketAddr, String> {
        if !self.links.contains(link) {
            return Ok(target);
        }
        let proxy = Proxy::start(target, self.seed)
            .map_err(|error| format!("no fault proxy in front of {target}: {error}"))?;
        let address = proxy.address();
        self.running.push((link.clone(), proxy));
        Ok(address)
    }
}

/// The links that faults of these events are about.
fn links(events: &[Event]) -> Vec<Link> {
    events.iter().filter_map(|event| event.fault.link().cloned()).collect()
}

async fn lease(watchdog: &Watchdog, undo: Undo) -> Result<LeaseId, String> {
    watchdog.lease(undo, None).await.map_err(|error| error.to_string())
}

async fn release(watchdog: &Watchdog, lease: LeaseId) -> Result<(), String> {
    watchdog.release(lease).await.map(drop).map_err(|error| error.to_string())
}

fn named(server: &str, outcome: Result<(), String>) -> Result<(), String> {
    outcome.map_err(|why| format!("server {server}: {why}"))
}
