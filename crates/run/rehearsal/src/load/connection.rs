//! One connection of the load: a socket, perhaps TLS, and at most one request under way.
//!
//! Edges only: output is tried at once and again when the socket says so, input is read until
//! there is no more. Invariant: no read or write ever waits.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use http_wire::Method;
use model::Timestamp;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, sockopt};

use super::answer::{Answer, Cause, Reading};
use super::dial::cause;
use super::inbox::Inbox;
use super::requests::Kind;
use super::tls::Tls;

/// A request under way: all that a retry needs to be the same request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) stream: usize,
    /// What is asked follows from it.
    pub(super) number: u64,
    pub(super) client: u32,
    /// What latency counts from.
    pub(super) due: Timestamp,
    /// The same for this try.
    pub(super) try_due: Timestamp,
    /// Tries before this one.
    pub(super) tries: u32,
    pub(super) asker: Asker,
    /// What became of its last try, while it waits for the next.
    pub(super) cause: Cause,
    /// Whether it was sent again because its first connection had been closed while it rested.
    pub(super) resent: bool,
}

impl Work {
    /// Whether any connection will do.
    pub(super) const fn asker_is_free(&self) -> bool {
        !matches!(self.asker, Asker::Session(_))
    }
}

/// Who waits for the end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// Nobody: the next is due whatever comes back.
    Nobody,
    User(usize),
    Session(usize),
}

/// How far a connection got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting,
    /// The answer is complete.
    Complete,
    Failed(Cause),
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: usize,
    pub(super) session: Option<usize>,
    pub(super) source: Option<Ipv4Addr>,
    /// The request under way; `None` while it rests.
    pub(super) work: Option<Work>,
    /// Since when it rests.
    pub(super) idle_since: Timestamp,
    /// Whether it rested so long before the request under way that its peer may have closed it.
    pub(super) may_be_stale: bool,
    pub(super) answer: Answer,
    pub(super) kind: Kind,
    socket: OwnedFd,
    connecting: bool,
    tls: Option<Box<Tls>>,
    /// What the socket did not take yet.
    output: Vec<u8>,
    sent: usize,
}

impl Connection {
    /// A connection that was begun for a request.
    pub(super) fn new(socket: OwnedFd, work: &Work, tls: Option<Tls>) -> Self {
        Self {
            stream: work.stream,
            session: match work.asker {
                Asker::Session(session) => Some(session),
                Asker::Nobody | Asker::User(_) => None,
            },
            source: None,
            work: None,
            idle_since: Timestamp::ZERO,
            may_be_stale: false,
            answer: Answer::default(),
            kind: Kind { method: Method::Get, repeatable: false },
            socket,
            connecting: true,
            tls: tls.map(Box::new),
            output: Vec::new(),
            sent: 0,
        }
    }

    pub(super) const fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    pub(super) const fn is_connecting(&self) -> bool {
        self.connecting
    }

    /// Sends a request, as far as the socket takes it.
    pub(super) fn send(&mut self, request: &[u8]) -> Result<(), Cause> {
        self.answer.expect(self.kind.method);
        let Some(tls) = &mut self.tls else {
            let taken = self.write(request)?;
            if taken < request.len() {
                self.output.extend_from_slice(request.get(taken..).unwrap_or_default());
            }
            return Ok(());
        };
        tls.write(request)?;
        self.flush()
    }

    /// An event: goes on as far as the socket allows.
    pub(super) fn go_on(
        &mut self,
        flags: EventFlags,
        inbox: &mut Inbox,
        reading: &mut Reading,
    ) -> Progress {
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if self.connecting {
            match sockopt::socket_error(&self.socket) {
                Ok(Err(error)) | Err(error) => return Progress::Failed(cause(error)),
                Ok(Ok(())) => self.connecting = !(ended || flags.contains(EventFlags::OUT)),
            }
        }
        let unsent = !self.output.is_empty() || self.tls.is_some();
        if flags.contains(EventFlags::OUT)
            && unsent
            && !ended
            && let Err(cause) = self.flush()
        {
            return self.receive_after(cause, inbox, reading);
        }
        if ended || flags.contains(EventFlags::IN) {
            self.receive(ended, inbox, reading)
        } else {
            Progress::Waiting
        }
    }

    /// A write failed: an answer that came before the peer closed still counts.
    pub(super) fn receive_after(
        &mut self,
        failed: Cause,
        inbox: &mut Inbox,
        reading: &mut Reading,
    ) -> Progress {
        match self.receive(true, inbox, reading) {
            Progress::Waiting | Progress::Failed(Cause::ClosedWithoutAnswer) => {
                Progress::Failed(failed)
            }
            other @ (Progress::Complete | Progress::Failed(_)) => other,
        }
    }

    /// Reads what came. `ended`: the peer ended its side, so that there is an end to read up to.
    fn receive(&mut self, ended: bool, inbox: &mut Inbox, reading: &mut Reading) -> Progress {
        loop {
            let bytes = match inbox.read(&self.socket) {
                Ok([]) => return self.end(),
                Ok(bytes) => bytes,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Progress::Waiting,
                Err(error) => return self.broken(cause(error)),
            };
            let count = bytes.len();
            let taken = match &mut self.tls {
                None => self.answer.take(bytes, reading),
                Some(tls) => tls.take(bytes, &mut self.answer, reading),
            };
            match taken {
                Err(cause) => return Progress::Failed(cause),
                Ok(true) => return Progress::Complete,
                Ok(false) => {}
            }
            if self.tls.is_some()
                && let Err(cause) = self.flush()
            {
                return Progress::Failed(cause);
            }
            if !inbox.is_full(count) && !ended {
                return Progress::Waiting;
            }
        }
    }

    fn end(&mut self) -> Progress {
        match self.answer.end() {
            Ok(()) => Progress::Complete,
            Err(cause) => Progress::Failed(cause),
        }
    }

    /// The connection broke: in the middle of an answer, that was cut short.
    fn broken(&self, cause: Cause) -> Progress {
        Progress::Failed(if self.answer.has_begun() { Cause::CutShort } else { cause })
    }

    /// Sends what is left.
    fn flush(&mut self) -> Result<(), Cause> {
        if let Some(tls) = &mut self.tls {
            tls.drain_into(&mut self.output)?;
        }
        while self.sent < self.output.len() {
            let output = std::mem::take(&mut self.output);
            let taken = self.write(output.get(self.sent..).unwrap_or_default());
            self.output = output;
            let taken = taken?;
            if taken == 0 {
                return Ok(());
            }
            self.sent += taken;
        }
        self.output = Vec::new();
        self.sent = 0;
        Ok(())
    }

    /// Writes at once; 0 when the socket takes nothing now.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Cause> {
        loop {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.connecting = false;
                    return Ok(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(0),
                Err(error) => return Err(cause(error)),
            }
        }
    }
}
