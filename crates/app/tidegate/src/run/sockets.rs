//! The listening sockets: handed over by the service manager, or bound here, one per worker.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context as _;
use model::Name;
use model::configuration::{Listener, ListenerProtocol};
use net::listen::{self, Inherited, InheritedSocket, ListenOptions};

use super::handover::Copy;

/// The kernel hands over a connection with its first bytes, or after this time without.
const DEFER_ACCEPT: Duration = Duration::from_secs(5);

/// A listener that was bound and is not served yet.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) name: Name,
    /// The address as configured.
    pub(super) configured: SocketAddr,
    pub(super) bound: Bound,
}

/// A listener's sockets, at least one per worker.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) sockets: Vec<TcpListener>,
}

/// The sockets that were handed over, by the service manager or by the door that ran before, and
/// that nobody took yet.
pub(super) struct Sockets {
    inherited: Vec<Inherited>,
    taken: Vec<Copy>,
}

impl Sockets {
    /// Takes over what `LISTEN_FDS` names, and what another door listened on.
    ///
    /// # Errors
    /// When the variables or the descriptors are of no use.
    pub(super) fn take_over(taken: Vec<Copy>) -> anyhow::Result<Self> {
        Ok(Self { inherited: listen::inherited().context("socket activation")?, taken })
    }

    /// `listener`, bound and ready to be served by `workers`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(super) fn open(&mut self, listener: &Listener, workers: usize) -> anyhow::Result<Opened> {
        let bound = self.bind(listener, workers)?;
        Ok(Opened { name: listener.name.clone(), configured: listener.address, bound })
    }

    /// The sockets of `listener`: an inherited one of its name or address, or newly bound ones.
    ///
    /// # Errors
    /// When the address cannot be bound.
    fn bind(&mut self, listener: &Listener, workers: usize) -> anyhow::Result<Bound> {
        let taken = |copy: &Copy| copy.configured == listener.address;
        if let Some(at) = self.taken.iter().position(taken) {
            let mut sockets = self.taken.remove(at).sockets;
            // More workers than before share; fewer take several.
            for index in 0..workers.saturating_sub(sockets.len()) {
                sockets.push(sockets[index].try_clone()?);
            }
            let first = sockets.first().context("no socket")?;
            return Ok(Bound { address: first.local_addr()?, sockets });
        }
        let named = |inherited: &Inherited| match &inherited.socket {
            InheritedSocket::Tcp(_, address) => {
                inherited.name == *listener.name || *address == listener.address
            }
            InheritedSocket::Unix(..) => false,
        };
        let sockets = match self.inherited.iter().position(named) {
            Some(at) => match self.inherited.remove(at).socket {
                InheritedSocket::Tcp(socket, _) => listen::share(socket, workers)?,
                InheritedSocket::Unix(..) => Vec::new(),
            },
            None => {
                // What is passed on unread may be a protocol in which the server speaks first.
                let waits = match &listener.protocol {
                    ListenerProtocol::Http { .. } => true,
                    ListenerProtocol::Tcp(forward) => !forward.sni.is_empty(),
                };
                let defer_accept = (waits || listener.proxy_protocol).then_some(DEFER_ACCEPT);
                let options = ListenOptions { defer_accept, ..ListenOptions::default() };
                listen::bind_group(listener.address, workers, &options)
                    .with_context(|| format!("listener {:?}", listener.name))?
            }
        };
        let first = sockets.first().context("no socket")?;
        Ok(Bound { address: first.local_addr()?, sockets })
    }

    /// Says which of the inherited sockets no listener wanted.
    pub(super) fn warn_of_rest(&mut self) {
        // Nobody listens there any more; what still waits there is cut when the old door ends.
        self.taken.clear();
        for unused in &self.inherited {
            tracing::warn!(
                name = unused.name,
                "an inherited socket fits no listener and is unused"
            );
        }
    }
}
