//! Whether the client of a connection that has no end of its own may go on: a tunnel, or one whose
//! bytes are passed on unread.
//!
//! What has an end is left to it: requests are asked about when they begin. What has none is asked
//! about again whenever its worker is told that it may have changed who is let in, and so wakes
//! everything that waits. Who it is was settled when it began; since then it can be switched off,
//! by hand or by the configuration, or its certificate can cease to count.

use std::cell::Cell;
use std::rc::Rc;

use model::{Name, Reason};
use net::socket::Stream;

use crate::connection::Origin;
use crate::view::View;
use crate::worker::{ListenerCell, Worker};

/// What a worker knows of changes that decide who may go on.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    changes: Cell<u64>,
    /// Switches of clients that are among them.
    switches: Cell<u64>,
}

impl Standings {
    /// As long as it is the same, whoever could may go on.
    fn count(&self) -> u64 {
        self.changes.get()
    }

    /// Something changed.
    pub(crate) fn changed(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// Clients were switched so often; whether that is a change.
    pub(crate) fn switched(&self, switches: u64) -> bool {
        let is_new = self.switches.replace(switches) != switches;
        if is_new {
            self.changed();
        }
        is_new
    }
}

/// The standing of one client on one connection.
#[derive(Debug)]
pub(crate) struct Standing {
    worker: Rc<Worker>,
    listener: Rc<ListenerCell>,
    origin: Rc<Origin>,
    /// The registered client that it is, if it is one.
    client: Option<Name>,
    /// What the worker counted when it was last asked about; at first nothing it can have counted.
    looked: u64,
}

impl Standing {
    /// Of a client by its index in the configuration of `view`.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        (listener, origin): (&Rc<ListenerCell>, &Rc<Origin>),
        client: Option<usize>,
        view: &View,
    ) -> Self {
        let client = client.and_then(|index| view.live.configuration.clients.get(index));
        Self {
            worker: Rc::clone(worker),
            listener: Rc::clone(listener),
            origin: Rc::clone(origin),
            client: client.map(|client| client.name.clone()),
            looked: u64::MAX,
        }
    }

    /// Why it may not go on; `None` while it may. `stream` is its own, or that of one stream of
    /// HTTP/2, of whose connection `origin` knows.
    ///
    /// # Errors
    /// `Misdirected`: its certificate counts no more. `ClientDisabled`.
    pub(crate) fn look(&mut self, stream: &Stream) -> Result<(), Reason> {
        let is_admitted = match stream {
            Stream::Pipe(_) => self.origin.is_trusted(),
            Stream::Tcp(_) | Stream::Tls(_) => self.origin.is_admitted(&self.listener, stream),
        };
        if !is_admitted {
            return Err(Reason::Misdirected);
        }
        let looked = std::mem::replace(&mut self.looked, self.worker.standings.count());
        let Some(name) = self.client.as_deref().filter(|_| looked != self.looked) else {
            return Ok(());
        };
        let view = self.worker.view();
        let clients = view.live.admission.clients();
        match clients.find(name) {
            Some(client) if !clients.is_enabled(client) => Err(Reason::ClientDisabled),
            Some(_) | None => Ok(()),
        }
    }

    /// Who it is, for the log.
    pub(crate) fn client(&self) -> Option<&Name> {
        self.client.as_ref()
    }
}
