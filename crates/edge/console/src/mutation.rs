//! Carries out changes, one at a time, and leaves an audit line for each.
//!
//! A caller that hangs up drops its request, but not its order: the order is with the clerk, so
//! a change is never cut in half and never unrecorded.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::change::{ChangeOrder, Changed, Refusal, What};
use crate::guard::Caller;
use crate::{Control, RefusalKind, SwitchOrder, SwitchRequest, user};

/// Changes that may wait for the one being carried out.
const WAITING_MAX: usize = 16;

/// What is ordered.
#[derive(Debug)]
pub(crate) enum Order {
    /// A change of the configuration.
    Change(What),
    /// Take a server out of the rotation, or back in.
    Drain { pool: String, server: String, on: bool },
    /// Disable a registered client, or enable it again.
    Switch { request: SwitchRequest, enabled: bool },
}

/// What came of it: words for a drain and a switch are in `result` alone.
type Outcome = Result<Changed, Refusal>;

/// An order, who gave it, and where its outcome goes.
pub(crate) struct Placed {
    caller: Caller,
    order: Order,
    outcome: oneshot::Sender<Outcome>,
}

/// Where connections place their orders.
pub(crate) struct Orders(mpsc::Sender<Placed>);

impl Orders {
    /// Places one order and waits for its outcome.
    pub(crate) async fn place(&self, caller: Caller, order: Order) -> Outcome {
        let (outcome, answer) = oneshot::channel();
        let placed = self.0.try_send(Placed { caller, order, outcome });
        let busy = || {
            let detail = "Too many changes wait, or the door is shutting down; try again.";
            Refusal::new(RefusalKind::Busy, detail)
        };
        placed.map_err(|_full_or_closed| busy())?;
        answer.await.map_err(|_closed| busy())?
    }
}

/// The two ends: orders in, and the inbox for [`work`].
pub(crate) fn desk() -> (Orders, mpsc::Receiver<Placed>) {
    let (sender, inbox) = mpsc::channel(WAITING_MAX);
    (Orders(sender), inbox)
}

/// Carries out orders until every [`Orders`] is gone.
pub(crate) async fn work(mut inbox: mpsc::Receiver<Placed>, control: Arc<dyn Control>) {
    while let Some(Placed { caller, order, outcome }) = inbox.recv().await {
        let (what, reason) = described(&order);
        // Looked up here, not by the connection: a caller that hangs up takes no order back.
        let author = match &order {
            Order::Change(what) => user::author(caller, what.author()).await,
            Order::Switch { request, .. } => user::author(caller, request.author.as_deref()).await,
            Order::Drain { .. } => String::new(),
        };
        let result = carry_out(&*control, order, &author).await;
        let who = caller.to_string();
        audit(&Line { who, author, what, reason }, &result);
        // Only a caller that hung up no longer listens.
        drop(outcome.send(result));
    }
}

async fn carry_out(control: &dyn Control, order: Order, author: &str) -> Outcome {
    match order {
        Order::Change(what) => {
            control.change(ChangeOrder { author: author.to_owned(), what }).await
        }
        Order::Drain { pool, server, on } => {
            let drained = control.drain_server(&pool, &server, on);
            drained.map_err(|why| Refusal::new(RefusalKind::Unknown, why))?;
            let now = if on { "draining" } else { "back in rotation" };
            let result = format!("server {server} of pool {pool} is {now}");
            Ok(Changed { result, ..Changed::default() })
        }
        Order::Switch { request: SwitchRequest { client, reason, .. }, enabled } => {
            let order = SwitchOrder { author: author.to_owned(), client, enabled, reason };
            let result = control.switch(order).await?;
            Ok(Changed { result, ..Changed::default() })
        }
    }
}

/// What the audit line says of an order: what, and why.
fn described(order: &Order) -> (String, String) {
    match order {
        Order::Change(what) => (what.to_string(), what.reason().to_owned()),
        Order::Drain { .. } => (format!("{order:?}"), String::new()),
        Order::Switch { request, enabled } => {
            let what = if *enabled { "enable" } else { "disable" };
            (format!("{what} client {}", request.client), request.reason.clone())
        }
    }
}

struct Line {
    who: String,
    author: String,
    what: String,
    reason: String,
}

/// Values are written with `Debug`, which escapes control characters: a name cannot forge a line.
fn audit(line: &Line, result: &Outcome) {
    let Line { who, author, what, reason } = line;
    match result {
        Ok(Changed { result: detail, .. }) => {
            tracing::info!(target: "audit", ?who, ?author, ?what, ?reason, result = "done", ?detail, "the door was changed")
        }
        Err(Refusal { detail, .. }) => {
            tracing::warn!(target: "audit", ?who, ?author, ?what, ?reason, result = "refused", ?detail, "a change was refused")
        }
    }
}
