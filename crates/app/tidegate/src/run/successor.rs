//! The operator's part when another process takes over: it starts one when it is told to, hands
//! out copies of its sockets, and retires.

use std::net::TcpListener;
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_door::worker::Command;
use net::notify::Notifier;
use tokio::process::Child;
use tokio::sync::mpsc;

use super::admin::Admin;
use super::change::Pause;
use super::handover::{self, Copies, Copy, Office};
use super::operator::Operator;

/// How long connections that idle are left to their clients when another process serves.
const GENTLE: Duration = Duration::from_secs(5);

impl Operator {
    /// SIGUSR2: the program as it is installed now takes over.
    pub(super) fn start_successor(&mut self) {
        let Some(path) = self.admin.as_ref().and_then(Admin::path) else {
            tracing::error!(
                "no process can take over: that needs an admin socket (`[admin] socket`)"
            );
            return;
        };
        if self.successor.is_some() {
            tracing::warn!("another process is taking over already");
            return;
        }
        match handover::start_successor(path) {
            Ok(child) => {
                tracing::info!(process = child.id(), "another process is started to take over");
                self.successor = Some(child);
            }
            Err(error) => tracing::error!("nobody takes over: {error:#}"),
        }
    }

    /// It ended before it took over; what it had to say it has said itself.
    pub(super) fn lose_successor(&mut self, ended: std::io::Result<ExitStatus>) {
        self.successor = None;
        tracing::error!(?ended, "the process that was to take over ended; this one goes on");
    }

    /// From now on another process may take over; without an admin socket none can.
    pub(super) fn open_office(&self, pauses: mpsc::Sender<Pause>) -> Option<Office> {
        let path = self.admin.as_ref()?.path()?;
        let opened = handover::open(path, &self.desk, pauses);
        opened.map_err(|error| tracing::warn!("no process can take over: {error:#}")).ok()
    }

    pub(super) fn copy_sockets(&self) -> std::io::Result<Copies> {
        let copy = |copy: &Copy| {
            let sockets = copy.sockets.iter().map(TcpListener::try_clone).collect::<Result<_, _>>();
            sockets.map(|sockets| Copy { name: copy.name.clone(), sockets, ..*copy })
        };
        let listeners = self.copies.iter().map(copy).collect::<Result<_, _>>()?;
        let (admin, admin_tcp) = match &self.admin {
            Some(admin) => admin.copies()?,
            None => (None, None),
        };
        Ok(Copies { listeners, admin, admin_tcp })
    }

    /// Another process serves on the same sockets. Connections end with their next answer, so that
    /// no client finds one closed that it was about to use; idle ones after a while.
    pub(super) async fn retire(&mut self) {
        self.retiring = true;
        // The other one begins with it when this is done.
        self.obtaining.shutdown().await;
        // The service manager hears from the other one from now on.
        self.notifier = Notifier::silent();
        self.desk.ready.store(false, Ordering::Relaxed);
        self.copies.clear();
        if let Some(admin) = self.admin.take() {
            admin.leave();
        }
        let time = self.desk.live().configuration().door.drain;
        tracing::info!(
            connections = self.shared.connections(),
            ?time,
            "another process serves; this one ends what it has"
        );
        let now = tokio::time::Instant::now();
        self.ends.as_mut().reset(now + time);
        self.gentle.as_mut().reset(now + GENTLE.min(time / 2));
        self.tell_workers(|| Command::Retire).await;
    }

    pub(super) async fn end_connections(&mut self) {
        self.draining = true;
        self.tell_workers(|| Command::Drain).await;
    }
}

/// The end of the process that was to take over; never, if there is none.
pub(super) async fn ended(successor: &mut Option<Child>) -> std::io::Result<ExitStatus> {
    match successor {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}
