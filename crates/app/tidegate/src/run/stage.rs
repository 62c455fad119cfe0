//! Makes a configuration ready to serve, before anything of it is recorded or seen by a client:
//! its names are looked up, its certificates loaded, its new servers checked, its new listeners
//! bound.
//!
//! Invariant: what fails here leaves the door as it is.

use std::sync::Arc;

use http_door::check;
use http_door::live::{Addresses, Live};
use http_door::names;
use http_door::worker::ServerChange;
use model::Configuration;
use net::clock;
use net::resolve::Resolver;
use tokio::sync::{mpsc, oneshot};

use super::control::{Desk, Request};
use super::sockets::Opened;
use crate::commands::chain;

const SHUTTING_DOWN: &str = "the door is shutting down";

/// What the preparations need of the door.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) desk: Arc<Desk>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) changes: mpsc::Sender<ServerChange>,
}

/// A configuration that is ready to serve.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) live: Arc<Live>,
    /// What was live when it was built.
    pub(super) before: Arc<Live>,
    /// Addresses of names that were not known before.
    pub(super) found: Addresses,
    /// Listeners that were not there before.
    pub(super) opened: Vec<Opened>,
}

impl Stage {
    /// Makes `configuration` ready to replace what is live.
    ///
    /// # Errors
    /// In words, when it cannot be served.
    pub(super) async fn prepare(
        &self,
        configuration: &Arc<Configuration>,
    ) -> Result<Prepared, String> {
        let mut prepared = self.build(configuration).await?;
        prepared.opened = self.listen(configuration).await?;
        check::first_round(&prepared.live, Some(&prepared.before), &self.changes).await;
        Ok(prepared)
    }

    /// Makes `configuration` ready to be tried beside what is live, on its listeners.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub(super) async fn prepare_trial(
        &self,
        configuration: &Arc<Configuration>,
    ) -> Result<Prepared, String> {
        let prepared = self.build(configuration).await?;
        check::first_round(&prepared.live, Some(&prepared.before), &self.changes).await;
        Ok(prepared)
    }

    async fn build(&self, configuration: &Arc<Configuration>) -> Result<Prepared, String> {
        let mut known = self.desk.known();
        let mut new = names::of(configuration);
        new.retain(|host, _| !known.addresses.contains_key(host));
        let found = names::first_lookup(&self.resolver, &new).await;
        known.addresses.extend(found.clone());
        let before = self.desk.live();
        let built = {
            let (configuration, before) = (Arc::clone(configuration), Arc::clone(&before));
            // It reads certificates.
            tokio::task::spawn_blocking(move || {
                Live::build(&configuration, &known, Some(&before), clock::now())
            })
            .await
        };
        let live = built.map_err(|error| error.to_string())?.map_err(|error| chain(&error))?;
        Ok(Prepared { live: Arc::new(live), before, found, opened: Vec::new() })
    }

    /// Binds the listeners that were not there before; dropped, they close again.
    ///
    /// # Errors
    /// In words, when one cannot be bound.
    pub(super) async fn listen(
        &self,
        configuration: &Arc<Configuration>,
    ) -> Result<Vec<Opened>, String> {
        self.ask(|answer| Request::Listen(Arc::clone(configuration), answer)).await?
    }

    /// Everything sees the candidate from now on, with these listeners.
    pub(super) async fn promote(&self, opened: Vec<Opened>) -> Result<(), String> {
        self.ask(|answer| Request::Promote(opened, answer)).await
    }

    /// Everything sees it from now on.
    pub(super) async fn go_live(&self, prepared: Prepared) -> Result<(), String> {
        self.ask(|answer| Request::GoLive(Box::new(prepared), answer)).await
    }

    /// A share of the new requests sees it from now on.
    pub(super) async fn try_out(&self, prepared: Prepared, share: f64) -> Result<(), String> {
        self.ask(|answer| Request::Try(Box::new(prepared), share, answer)).await
    }

    /// Nothing but what is live is seen from now on.
    pub(super) async fn end_trial(&self) -> Result<(), String> {
        self.ask(Request::EndTrial).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, String> {
        let (answer, answered) = oneshot::channel();
        let sent = self.desk.requests.send(request(answer)).await;
        sent.map_err(|_closed| SHUTTING_DOWN.to_owned())?;
        answered.await.map_err(|_dropped| SHUTTING_DOWN.to_owned())
    }
}
