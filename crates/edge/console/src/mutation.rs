//! Carries out changes, one at a time, and leaves an audit line for each.
//!
//! A caller that hangs up drops its request, but not its order: the order is with the clerk, so
//! a reload is never cut in half and never unrecorded.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::Control;
use crate::guard::Caller;

/// Changes that may wait for the one being carried out.
const WAITING_MAX: usize = 16;

/// What may be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Read the configuration again.
    Reload,
    /// Take a server out of the rotation, or back in.
    Drain { pool: String, server: String, on: bool },
}

type Outcome = Result<String, String>;

/// A change, who wants it, and where its outcome goes.
pub(crate) struct Order {
    caller: Caller,
    change: Change,
    outcome: oneshot::Sender<Outcome>,
}

/// Where connections place their orders.
pub(crate) struct Orders(mpsc::Sender<Order>);

impl Orders {
    /// Places one order and waits for its outcome; `None` when too many wait or the clerk left.
    pub(crate) async fn place(&self, caller: Caller, change: Change) -> Option<Outcome> {
        let (outcome, answer) = oneshot::channel();
        self.0.try_send(Order { caller, change, outcome }).ok()?;
        answer.await.ok()
    }
}

/// The two ends: orders in, and the inbox for [`work`].
pub(crate) fn desk() -> (Orders, mpsc::Receiver<Order>) {
    let (sender, inbox) = mpsc::channel(WAITING_MAX);
    (Orders(sender), inbox)
}

/// Carries out orders until every [`Orders`] is gone.
pub(crate) async fn work(mut inbox: mpsc::Receiver<Order>, control: Arc<dyn Control>) {
    while let Some(Order { caller, change, outcome }) = inbox.recv().await {
        let result = carry_out(&*control, &change).await;
        audit(caller, &change, &result);
        // Only a caller that hung up no longer listens.
        drop(outcome.send(result));
    }
}

async fn carry_out(control: &dyn Control, change: &Change) -> Outcome {
    match change {
        Change::Reload => control.reload().await,
        Change::Drain { pool, server, on } => {
            control.drain_server(pool, server, *on)?;
            Ok(format!(
                "server {server} of pool {pool} is {}",
                if *on { "draining" } else { "back in rotation" }
            ))
        }
    }
}

/// Values are written with `Debug`, which escapes control characters: a name cannot forge a line.
fn audit(caller: Caller, change: &Change, result: &Outcome) {
    let who = caller.to_string();
    match result {
        Ok(text) => {
            tracing::info!(target: "audit", who, what = ?change, result = "done", detail = ?text, "the door was changed")
        }
        Err(text) => {
            tracing::warn!(target: "audit", who, what = ?change, result = "refused", detail = ?text, "a change was refused")
        }
    }
}
