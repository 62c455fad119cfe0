//! Rates that several doors share: brings what admission asks to the server that holds them.
//!
//! Invariant: there is one task at most, and it asks the server that the live configuration names.

use std::sync::Arc;

use admission::{Ask, Asks, Leases};
use http_door::live::Live;
use model::configuration::SharedQuotas;
use net::clock;
use quota::{Grant, Shares, Want};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// Questions that may wait; what does not fit is asked with a later request.
const QUEUE: usize = 4_096;

/// The way from admission to the server.
pub(super) struct Quotas {
    asks: Arc<dyn Asks>,
    /// Held by the task that asks.
    questions: Arc<Mutex<mpsc::Receiver<Ask>>>,
    /// What the task works with.
    current: Option<(SharedQuotas, Arc<Leases>)>,
    task: JoinSet<()>,
}

#[derive(Debug)]
struct Queue(mpsc::Sender<Ask>);

impl Asks for Queue {
    fn push(&self, ask: Ask) -> bool {
        self.0.try_send(ask).is_ok()
    }
}

struct Answers(Arc<Leases>);

impl Shares for Answers {
    type Ask = Ask;

    fn want(&self, ask: &Ask) -> Want {
        Want {
            key: format!("{}:{:032x}", ask.name, ask.key),
            rate: ask.rate,
            burst: ask.burst,
            charge: ask.charge,
            tokens: ask.tokens,
        }
    }

    fn answer(&self, ask: &Ask, grant: Grant) {
        self.0.answer(ask, grant.tokens, grant.wait, clock::now());
    }

    fn unanswered(&self, ask: &Ask) {
        self.0.unanswered(ask);
    }

    fn shared(&self, doors: u32) {
        self.0.set_shared(doors);
    }

    fn alone(&self) {
        self.0.set_alone();
        self.0.count_failed();
    }
}

impl Quotas {
    /// Asks the server that `live` names, if it names one. Must be called on a tokio runtime.
    pub(super) fn of(live: &Live) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut quotas = Self {
            asks: Arc::new(Queue(sender)),
            questions: Arc::new(Mutex::new(receiver)),
            current: None,
            task: JoinSet::new(),
        };
        quotas.follow(live);
        quotas
    }

    /// Asks the server that `live` names from now on, as [`Quotas::of`].
    pub(super) fn follow(&mut self, live: &Live) {
        let settings = live.configuration().admission.shared.clone();
        let wanted = settings.zip(live.admission().limits().leases().cloned());
        let same = match (&self.current, &wanted) {
            (Some((one, leases)), Some((other, wanted))) => {
                one == other && Arc::ptr_eq(leases, wanted)
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if same {
            return;
        }
        // Dropped, the former task ends.
        self.task = JoinSet::new();
        if let Some((_, leases)) = &self.current {
            leases.set_alone();
        }
        if let Some((settings, leases)) = wanted.clone() {
            leases.ask_by(&self.asks);
            let questions = Arc::clone(&self.questions);
            self.task.spawn(async move {
                let mut questions = questions.lock().await;
                quota::work(&settings, &Answers(leases), &mut questions).await;
            });
        }
        self.current = wanted;
    }
}
