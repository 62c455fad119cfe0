//! Whether the client of a connection that has no end of its own may go on: a tunnel, or one whose
//! bytes are passed on unread.
//!
//! What has an end is left to it: requests are asked about when they begin. What has none is asked
//! about again whenever its worker is told that it may have changed who is let in, and so wakes
//! everything that waits. Who it is was settled when it began; since then it can be switched off,
//! by hand or by the configuration, its certificate can cease to count, or what it showed can cease to
//! be what its client is known by. To tell the last nothing is kept: the head that it began with
//! stays where it is anyway, for the record, and is looked up in the new table of clients.

use std::cell::Cell;
use std::rc::Rc;

use model::{Name, Reason};
use net::socket::Stream;

use crate::admit;
use crate::connection::Origin;
use crate::identify::{Identities, Known, Sender};
use crate::live::Live;
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
    /// The table of clients that said so last.
    table: Option<u64>,
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
        let table = view.live.identities.as_ref().map(|identities| identities.number());
        Self {
            worker: Rc::clone(worker),
            listener: Rc::clone(listener),
            origin: Rc::clone(origin),
            client: client.map(|client| client.name.clone()),
            table,
            looked: u64::MAX,
        }
    }

    /// Why it may not go on; `None` while it may. `stream` is its own, or that of one stream of
    /// HTTP/2, of whose connection `origin` knows; `sender` what it began with, if that was a request.
    ///
    /// # Errors
    /// `Misdirected`: its certificate counts no more. `ClientUnknown`: what it showed is nothing that
    /// its client is known by now. `ClientDisabled`.
    pub(crate) fn look(
        &mut self,
        stream: &Stream,
        sender: Option<Sender<'_>>,
    ) -> Result<(), Reason> {
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
        if clients.find(name).is_some_and(|client| !clients.is_enabled(client)) {
            return Err(Reason::ClientDisabled);
        }
        // While a change is tried, whom either of the two knows may go on.
        let trial = self.worker.trial();
        let tried = trial.as_ref().map(|trial| &*trial.view.live);
        let by = [Some(&*view.live), tried].into_iter().flatten();
        self.table = by.filter_map(|live| self.known_by(live, name, sender)).next();
        if self.table.is_some() { Ok(()) } else { Err(Reason::ClientUnknown) }
    }

    /// The table of clients by which `live` takes it for the client of this name still.
    fn known_by(&self, live: &Live, name: &str, sender: Option<Sender<'_>>) -> Option<u64> {
        let identities = live.identities.as_ref()?;
        let table = identities.number();
        if self.table == Some(table) {
            return self.table;
        }
        let client = self.find(identities, sender)?;
        (*live.configuration.clients.get(client)?.name == *name).then_some(table)
    }

    fn find(&self, identities: &Identities, sender: Option<Sender<'_>>) -> Option<usize> {
        let origin = &*self.origin;
        let Some(sender) = sender else { return identities.of_origin(origin) };
        // What its connection remembers is for the requests that come on it.
        let memory = (&mut Known::default(), &mut *self.worker.tokens.borrow_mut());
        admit::client_of(identities, sender, memory, (origin, &self.listener.settings()))
    }

    /// Who it is, for the log.
    pub(crate) fn client(&self) -> Option<&Name> {
        self.client.as_ref()
    }
}
