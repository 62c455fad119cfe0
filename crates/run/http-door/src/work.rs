//! While the server works on an attempt: how long it may be silent, who watches the client
//! meanwhile, and what the place in flight is held for.
//!
//! A place stands for work of the server. It is given to others while the client owes its body,
//! and once the answer is there: a stream, a tunnel or a slow reader is no work. A server's silence
//! is looked at after 100 ms, after a second, and at its end.
//! Invariant: the limiter is told of an attempt once, and of nothing but the server's work.

use std::task::{Context, Poll};
use std::time::Duration;

use admission::{Ending, LimiterSample};
use balancing::{FailureCause, Outcome};
use model::Timestamp;
use net::clock;
use net::timer::{Deadline, Elapsed};

use crate::attempt::Attempt;
use crate::connection::Client;

/// A server that has not answered by then keeps its client waiting; most answer sooner, and
/// need not pay for the watch.
pub(crate) const WATCH_AFTER: Duration = Duration::from_millis(100);
/// A response that takes longer than this, or stands still for so long, is a stream.
pub(crate) const STREAM_AFTER: Duration = Duration::from_secs(1);

/// How busy the servers were when an attempt began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) began: Timestamp,
    /// Requests in flight at the server, this one included.
    pub(crate) at_server: u32,
}

/// What an attempt's outcome is to the limiter.
pub(crate) const fn ending_of(outcome: Outcome) -> Ending {
    match outcome {
        Outcome::Success { .. } => Ending::Answered,
        Outcome::Failure { cause: FailureCause::Timeout, .. } => Ending::TimedOut,
        Outcome::Failure { .. } => Ending::Failed,
        Outcome::Neutral => Ending::Left,
    }
}

impl Attempt<'_, '_> {
    /// Tells the limiters of the pool and of the server how the server did its work, once.
    pub(crate) fn tell_limiter(&mut self, ending: Ending, at: Timestamp) {
        let Some(load) = self.load.take() else { return };
        let in_flight = self.place.in_flight();
        let sample = LimiterSample { began: load.began, ended: at, in_flight, ending };
        let (pool, index) = (&self.view.live.pools[self.pool_index], self.pick.index());
        if let Some(limit) = pool.gate.record(index, &sample, load.at_server) {
            pool.balance.limit_server(index, limit);
        }
    }

    /// The server has done its work, and what remains is a stream, a tunnel or a slow reader: its
    /// place is free for others. Twenty clients that listen for events would otherwise keep all
    /// others out.
    /// The limiter is told when the answer began: how long it then took is the client's doing.
    pub(crate) fn release(&mut self) {
        if self.load.is_some() {
            self.tell_limiter(Ending::Answered, self.answered_at.unwrap_or_else(clock::now));
            self.pick.detach();
            self.place.leave();
        }
    }

    /// Whether requests wait for a place at the pool.
    pub(crate) fn others_wait_now(&self) -> bool {
        self.load.is_some() && self.view.live.pools[self.pool_index].gate.has_waiting()
    }

    /// The client takes its time to send its body, so the server does no work yet: others get the
    /// place. Else twenty clients that send a byte now and then would keep all others out.
    pub(crate) fn suspend(&mut self) {
        if self.load.take().is_some() {
            self.suspended = true;
            self.pick.detach();
            self.place.leave();
        }
    }

    /// The body is there: the server gets to work, and is reckoned with from now on.
    pub(crate) fn resume(&mut self) {
        if std::mem::take(&mut self.suspended) {
            self.place.rejoin();
            self.pick.attach();
            let pool = &self.view.live.pools[self.pool_index].balance;
            let at_server = pool.servers()[self.pick.index()].in_flight();
            self.load = Some(Load { began: clock::now(), at_server });
        }
    }

    /// Ready once the client has left: nobody waits for the answer, so its place is free at once.
    pub(crate) fn poll_client_left(
        &self,
        context: &mut Context<'_>,
        client: &mut Client,
    ) -> Poll<()> {
        if self.upload.is_finished() {
            return client.poll_left(context);
        }
        // The upload itself reads, and sees the end of what is sent.
        client.stream.poll_reset(context)
    }

    /// The server's time begins anew: to begin its answer, or to go on with it.
    pub(crate) fn await_server(&mut self, deadline: &Deadline) {
        self.watches_client = self.others_wait;
        self.silent_until = Duration::ZERO;
        self.wait_on(deadline);
    }

    /// Ready once the server's time, or that of the whole request, has passed.
    pub(crate) fn poll_server_time(
        &mut self,
        context: &mut Context<'_>,
        deadline: &Deadline,
    ) -> Poll<Elapsed> {
        loop {
            let elapsed = deadline.poll(context);
            if elapsed != Poll::Ready(Elapsed::Phase) || self.silent_until >= self.server_time() {
                return elapsed;
            }
            // The server takes a while: from now on a client that leaves is noticed.
            if !self.watches_client {
                self.watches_client = true;
                context.waker().wake_by_ref();
            }
            if self.client_owes_body() {
                self.suspend();
            }
            if self.answered_at.is_some() && self.silent_until >= STREAM_AFTER {
                self.release();
            }
            self.wait_on(deadline);
        }
    }

    /// Waits until there is something to do about a silent server: after 100 ms, after a second,
    /// and when its time has passed.
    fn wait_on(&mut self, deadline: &Deadline) {
        let waited = self.silent_until;
        let next = if waited < WATCH_AFTER && !self.watches_client {
            WATCH_AFTER
        } else if waited < STREAM_AFTER && self.answered_at.is_some() {
            STREAM_AFTER
        } else {
            Duration::MAX
        };
        self.silent_until = next.min(self.server_time());
        deadline.set(self.silent_until.saturating_sub(waited));
    }

    fn server_time(&self) -> Duration {
        let timeouts = &self.settings.timeouts;
        match self.answered_at {
            None => timeouts.first_byte,
            Some(_) if self.is_call => timeouts.progress.max(timeouts.tunnel_idle),
            Some(_) => timeouts.progress,
        }
    }

    /// How long the client may take to go on. A gRPC call that the server has begun to answer is
    /// like a tunnel: both sides may have nothing to say for a while.
    pub(crate) fn client_time(&self, client: &Client) -> Duration {
        let body = client.listener.settings().timeouts.body;
        if self.is_call { body.max(self.settings.timeouts.tunnel_idle) } else { body }
    }
}
