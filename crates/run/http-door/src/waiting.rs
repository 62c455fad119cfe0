//! Requests that wait for a place at a pool: who of this worker's is called next, and who waits
//! at another worker and is rung.
//!
//! A worker calls its own line when a request gave its place back ([`Place`]) and on each tick of
//! its wheel; when nobody of its own is left to call, it rings a worker at which others wait. What
//! is decided here is nothing: `admission` says who is next, and who is refused.
//! Invariant: who was called and does not come, because the client left in that moment, gives the
//! place back like any other.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use admission::{Called, Gate, Line, Pass, Refusal, Ticket};
use model::{Reason, Timestamp};
use net::clock;
use tokio::sync::Notify;

use crate::connection::Client;
use crate::quota::Shown;
use crate::view::View;

/// The workers' bells, by worker.
#[derive(Debug)]
pub(crate) struct Bells {
    bells: Box<[Notify]>,
}

impl Bells {
    pub(crate) fn new(workers: usize) -> Self {
        Self { bells: (0..workers).map(|_| Notify::new()).collect() }
    }

    /// Waits until this worker is rung: requests wait there, and a place is free.
    pub(crate) async fn heard(&self, worker: usize) {
        match self.bells.get(worker) {
            Some(bell) => bell.notified().await,
            None => std::future::pending().await,
        }
    }

    fn ring(&self, worker: usize) {
        if let Some(bell) = self.bells.get(worker) {
            bell.notify_one();
        }
    }
}

/// One worker's line at one pool, of one configuration.
#[derive(Debug)]
pub(crate) struct Queue {
    worker: usize,
    pub(crate) line: RefCell<Line<Rc<Seat>>>,
    pub(crate) gate: Arc<Gate>,
    pool: Arc<balancing::Pool>,
}

/// What a waiting request is found by.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    told: RefCell<Option<Told>>,
    waker: RefCell<Option<Waker>>,
}

/// What a waiting request is told.
#[derive(Debug)]
struct Told {
    answer: Result<Pass, Refusal>,
    waited: Duration,
}

impl Queue {
    pub(crate) fn new(worker: usize, gate: &Arc<Gate>, pool: &Arc<balancing::Pool>) -> Rc<Self> {
        Rc::new(Self {
            worker,
            line: RefCell::new(Line::new(Arc::clone(gate), worker)),
            gate: Arc::clone(gate),
            pool: Arc::clone(pool),
        })
    }

    /// Whether anybody waits at the pool, here or at another worker.
    pub(crate) fn others_wait(&self) -> bool {
        !self.line.borrow().is_empty() || self.gate.waits_elsewhere(self.worker).is_some()
    }

    /// Tells everyone whose turn it is, or whose time is over, and rings whom the rest concerns.
    pub(crate) fn call(&self, bells: &Bells) {
        if !self.line.borrow().is_empty() {
            self.call_own(clock::now());
        }
        if let Some(other) = self.gate.waits_elsewhere(self.worker) {
            bells.ring(other);
        }
    }

    /// Tells everyone here whose turn it is, or whose time is over.
    pub(crate) fn call_own(&self, now: Timestamp) {
        // Who is called takes room at a server only later.
        let has_room = self.pool.has_room();
        loop {
            let called = self.line.borrow_mut().next(has_room, now);
            let (seat, answer, waited) = match called {
                Some(Called::Serve { token, pass, waited }) => (token, Ok(pass), waited),
                Some(Called::Refuse { token, refusal, waited }) => (token, Err(refusal), waited),
                None => return,
            };
            *seat.told.borrow_mut() = Some(Told { answer, waited });
            if let Some(waker) = seat.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

/// A place in flight; given back when dropped, to whoever waits for it.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pass: Pass,
    queue: Option<(&'a Queue, &'a Bells)>,
}

impl<'a> Place<'a> {
    pub(crate) const fn new(pass: Pass, queue: Option<(&'a Queue, &'a Bells)>) -> Self {
        Self { pass, queue }
    }

    /// Requests that were in flight at the pool when it was taken, itself included.
    pub(crate) fn in_flight(&self) -> u32 {
        self.pass.in_flight()
    }

    /// The rate that the response tells the client about.
    pub(crate) fn quota<'v>(&self, client: Option<usize>, view: &'v View) -> Option<Shown<'v>> {
        Shown::of_quota(&view.live.configuration, client, &self.pass.quota()?)
    }

    /// Whether anybody waits for such a place.
    pub(crate) fn is_wanted(&self) -> bool {
        self.queue.is_some_and(|(queue, _)| queue.others_wait())
    }

    /// Gives it back before the request has ended; what the client has in flight stays counted.
    pub(crate) fn leave(&mut self) {
        if self.pass.leave_pool()
            && let Some((queue, bells)) = self.queue
        {
            queue.call(bells);
        }
    }

    /// Takes it again, whether it is free or not: the request goes on at its server.
    pub(crate) fn rejoin(&mut self) {
        if let Some((queue, _)) = self.queue {
            queue.gate.rejoin(&mut self.pass);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A request that waits; forgotten by its line when dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    queue: &'a Queue,
    bells: &'a Bells,
    seat: Rc<Seat>,
    ticket: Ticket,
}

impl<'a> Waiting<'a> {
    pub(crate) const fn new(
        (queue, bells): (&'a Queue, &'a Bells),
        seat: Rc<Seat>,
        ticket: Ticket,
    ) -> Self {
        Self { queue, bells, seat, ticket }
    }

    /// Waits from `now` until it is called, or refused, or the client has left. Says how long it
    /// waited, if it did to its end.
    ///
    /// A door that drains lets it wait on: the line's own limits are far below the usual drain time.
    pub(crate) async fn called(
        self,
        client: &mut Client,
        now: Timestamp,
    ) -> (Result<Place<'a>, Refusal>, Option<Duration>) {
        // A place may have been free when it was told to wait.
        self.queue.call_own(now);
        let told = std::future::poll_fn(|context| self.poll(context, client)).await;
        let Ok(Told { answer, waited }) = told else {
            return (Err(Refusal::because(Reason::ClientClosed)), None);
        };
        let place = answer.map(|pass| Place::new(pass, Some((self.queue, self.bells))));
        (place, Some(waited))
    }

    fn poll(&self, context: &mut Context<'_>, client: &mut Client) -> Poll<Result<Told, Gone>> {
        if let Some(told) = self.seat.told.borrow_mut().take() {
            return Poll::Ready(Ok(told));
        }
        *self.seat.waker.borrow_mut() = Some(context.waker().clone());
        client.poll_left(context).map(|()| Err(Gone))
    }
}

/// The client left.
#[derive(Debug)]
struct Gone;

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waits = self.queue.line.borrow_mut().leave(self.ticket);
        // Called in the same moment: the place goes to the next.
        if !waits && let Some(Told { answer: Ok(pass), .. }) = self.seat.told.take() {
            drop(Place::new(pass, Some((self.queue, self.bells))));
        }
    }
}
