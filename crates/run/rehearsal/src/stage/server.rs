//! One server of a stage: a sample application that can be killed, stopped, told to behave
//! otherwise, and replaced.
//!
//! Invariant: its address never changes; one thing at a time is done to it, so that a kill
//! cannot come between the two halves of a deploy.

use std::net::SocketAddr;
use std::sync::{Mutex as Cell, PoisonError};
use std::time::Duration;

use model::Name;
use model::sample::SampleSettings;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::Mutex;

use super::ports::{free_address, is_taken};
use super::process::{Place, Process};
use crate::fault::watchdog::{LeaseId, Undo};
use crate::sample;

/// For a server to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// For a server that is told to end: its own grace is five seconds.
const END_TIMEOUT: Duration = Duration::from_secs(6);
/// Ports that are tried for a new server.
const STARTS_MAX: usize = 5;
/// How often a server is told something until it answers: one that pauses answers later.
const TELLS_MAX: usize = 5;
const TELL_PAUSE: Duration = Duration::from_millis(100);

/// One server behind the door.
#[derive(Debug)]
pub struct Server {
    name: Name,
    address: SocketAddr,
    /// The name of its process and log.
    label: String,
    place: Place,
    /// What it was last started with.
    deployed: Cell<SampleSettings>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    process: Option<Process>,
    /// While it is stopped.
    stopped: Option<LeaseId>,
    /// While it behaves otherwise than it was deployed.
    behaving: Option<LeaseId>,
}

impl Server {
    /// Starts it on a free port.
    pub(super) async fn raise(
        place: &Place,
        index: usize,
        settings: SampleSettings,
    ) -> Result<Self, String> {
        let label = format!("server-{index}");
        let mut tries = 1;
        let (address, process) = loop {
            let address = free_address()?;
            match launch(place, &label, address, &settings).await {
                Ok(process) => break (address, process),
                Err(why) if tries < STARTS_MAX && is_taken(&why) => tries += 1,
                Err(why) => return Err(format!("server {}: {why}", settings.name)),
            }
        };
        Ok(Self {
            name: Name::from(settings.name.as_str()),
            address,
            label,
            place: place.clone(),
            deployed: Cell::new(settings),
            state: Mutex::new(State { process: Some(process), stopped: None, behaving: None }),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Where it listens itself, behind any fault proxy.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was last started with, whatever it was told since.
    #[must_use]
    pub fn deployed(&self) -> SampleSettings {
        self.deployed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether its process runs; `None` while something is done to it.
    pub(super) fn is_alive(&self) -> Option<bool> {
        let mut state = self.state.try_lock().ok()?;
        Some(state.process.as_mut().is_some_and(|process| process.ended().is_none()))
    }

    /// SIGKILL; done when the process is gone. One that is gone already is left so.
    pub(super) async fn kill(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        let killed = match state.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        };
        let forgotten = self.forget(&mut state).await;
        killed.and(forgotten)
    }

    /// A new process at the old address, as it was last deployed. One that runs is left alone.
    pub(super) async fn start(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        self.start_locked(&mut state).await
    }

    async fn start_locked(&self, state: &mut State) -> Result<(), String> {
        if state.process.as_mut().is_some_and(|process| process.ended().is_none()) {
            return Ok(());
        }
        if let Some(gone) = state.process.take() {
            gone.kill().await?;
        }
        self.forget(state).await?;
        let settings = self.deployed();
        state.process = Some(launch(&self.place, &self.label, self.address, &settings).await?);
        Ok(())
    }

    /// SIGSTOP: it accepts and never answers.
    pub(super) async fn stop(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        if state.stopped.is_some() {
            return Ok(());
        }
        let process = state.process.as_ref().ok_or("it does not run")?;
        let pid = process.pid().ok_or("it does not run")?;
        let lease = self.lease(Undo::Continue { pid }).await?;
        let stopped = process.signal(Signal::STOP);
        state.stopped = Some(lease);
        stopped
    }

    /// SIGCONT. One that is not stopped is left alone.
    pub(super) async fn cont(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        let Some(lease) = state.stopped.take() else { return Ok(()) };
        let continued = match &state.process {
            Some(process) => process.signal(Signal::CONT),
            None => Ok(()),
        };
        let released = self.release(lease).await;
        continued.and(released)
    }

    /// It behaves like this from now on, until it is told otherwise or started anew.
    pub(super) async fn behave(&self, settings: &SampleSettings) -> Result<(), String> {
        let mut state = self.state.lock().await;
        if state.behaving.is_none() {
            let settings = json(&self.deployed())?;
            let lease = self.lease(Undo::SetSample { address: self.address, settings }).await?;
            state.behaving = Some(lease);
        }
        self.tell(settings).await
    }

    /// It behaves as it was deployed again; if it died of its behaviour, it is started.
    pub(super) async fn recover(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        let runs = state.process.as_mut().is_some_and(|process| process.ended().is_none());
        if !runs {
            return self.start_locked(&mut state).await;
        }
        self.tell(&self.deployed()).await?;
        match state.behaving.take() {
            Some(lease) => self.release(lease).await,
            None => Ok(()),
        }
    }

    /// SIGTERM and its grace, then a new process with these settings at the same address.
    pub(super) async fn deploy(&self, settings: SampleSettings) -> Result<(), String> {
        let mut state = self.state.lock().await;
        if let Some(process) = state.process.take() {
            process.end(END_TIMEOUT).await?;
        }
        *self.deployed.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        self.start_locked(&mut state).await
    }

    /// SIGTERM and its grace; nothing follows.
    pub(super) async fn end(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        let ended = match state.process.take() {
            Some(process) => process.end(END_TIMEOUT).await,
            None => Ok(()),
        };
        let forgotten = self.forget(&mut state).await;
        ended.and(forgotten)
    }

    async fn tell(&self, settings: &SampleSettings) -> Result<(), String> {
        let settings = json(settings)?;
        let mut told = Err(String::new());
        for _ in 0..TELLS_MAX {
            told = sample::control(self.address, Some(&settings)).await.map(drop);
            if told.is_ok() {
                break;
            }
            tokio::time::sleep(TELL_PAUSE).await;
        }
        told.map_err(|why| format!("it cannot be told how to behave: {why}"))
    }

    async fn lease(&self, undo: Undo) -> Result<LeaseId, String> {
        self.place.watchdog.lease(undo, None).await.map_err(|error| error.to_string())
    }

    async fn release(&self, lease: LeaseId) -> Result<(), String> {
        self.place.watchdog.release(lease).await.map(drop).map_err(|error| error.to_string())
    }

    /// What was done to a process that is gone needs no undoing.
    async fn forget(&self, state: &mut State) -> Result<(), String> {
        for lease in [state.stopped.take(), state.behaving.take()].into_iter().flatten() {
            self.release(lease).await?;
        }
        Ok(())
    }
}

fn json(settings: &SampleSettings) -> Result<serde_json::Value, String> {
    serde_json::to_value(settings).map_err(|error| error.to_string())
}

/// Starts a process and waits until it listens at `address`.
async fn launch(
    place: &Place,
    label: &str,
    address: SocketAddr,
    settings: &SampleSettings,
) -> Result<Process, String> {
    let settings = serde_json::to_string(settings).map_err(|error| error.to_string())?;
    let arguments =
        ["--log", "warn", "sample-app", "--listen", &address.to_string(), "--settings", &settings]
            .map(str::to_owned);
    let mut process = place.tidegate(label, &arguments).await?;
    let mut line = String::new();
    if let Some(stdout) = process.stdout() {
        // The first line is short; what is longer is no address.
        let mut first = BufReader::new(stdout.take(1_024));
        drop(tokio::time::timeout(START_TIMEOUT, first.read_line(&mut line)).await);
    }
    if line.starts_with("listening on ") {
        return Ok(process);
    }
    let why = process.wrong("it did not start");
    process.kill().await?;
    Err(why)
}
