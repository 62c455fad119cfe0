//! TLS of one configuration: what each listener and each pool read from its files, and what became
//! of the files since.
//!
//! Invariant: what is in use was read whole and fits together. Files that cannot be used leave what
//! was read before in its place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::configuration::{Listener, Pool};
use model::{Configuration, Name};
use net::tls::{ClientTls, FileStatus, ServerTls, Stamps, TlsError};

use crate::live::{LiveError, client_alpn, server_alpn};

/// Whose files they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A listener's.
    Listener(Name),
    /// A pool's.
    Pool(Name),
}

impl Owner {
    /// `listener` or `pool`, and its name.
    #[must_use]
    pub fn words(&self) -> (&'static str, &Name) {
        match self {
            Self::Listener(name) => ("listener", name),
            Self::Pool(name) => ("pool", name),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.words();
        write!(f, "{kind} {name}")
    }
}

/// What all listeners and pools read; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Secured {
    listeners: BTreeMap<Name, Arc<ServerTls>>,
    pools: BTreeMap<Name, Arc<ClientTls>>,
}

impl Secured {
    /// Reads the files of `configuration`. Sessions that clients began with what was read
    /// `before` can still be resumed. It waits for the disk.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(crate) fn load(
        configuration: &Configuration,
        before: Option<&Self>,
    ) -> Result<Self, LiveError> {
        let mut secured = before.cloned().unwrap_or_default();
        secured.listeners.retain(|name, _| {
            configuration.listeners.iter().any(|now| now.name == *name && now.tls.is_some())
        });
        secured.pools.clear();
        for listener in &configuration.listeners {
            secured.load_listener(listener).map_err(|source| LiveError::ListenerTls {
                listener: listener.name.clone(),
                source,
            })?;
        }
        for pool in &configuration.pools {
            secured
                .load_pool(pool)
                .map_err(|source| LiveError::PoolTls { pool: pool.name.clone(), source })?;
        }
        Ok(secured)
    }

    fn load_listener(&mut self, listener: &Listener) -> Result<(), TlsError> {
        let Some(tls) = &listener.tls else { return Ok(()) };
        let alpn = server_alpn(listener);
        let loaded = match self.listeners.get(&listener.name) {
            Some(before) => before.reload(tls, alpn)?,
            None => ServerTls::load(tls, alpn)?,
        };
        self.listeners.insert(listener.name.clone(), Arc::new(loaded));
        Ok(())
    }

    fn load_pool(&mut self, pool: &Pool) -> Result<(), TlsError> {
        let Some(tls) = &pool.tls else { return Ok(()) };
        let loaded = ClientTls::load(tls, client_alpn(pool))?;
        self.pools.insert(pool.name.clone(), Arc::new(loaded));
        Ok(())
    }

    /// Reads the files of `owner` again. It waits for the disk.
    ///
    /// # Errors
    /// When one cannot be used; what was read before stays.
    pub fn renew(&mut self, configuration: &Configuration, owner: &Owner) -> Result<(), TlsError> {
        match owner {
            Owner::Listener(name) => {
                let listener = configuration.listeners.iter().find(|found| found.name == *name);
                listener.map_or(Ok(()), |listener| self.load_listener(listener))
            }
            Owner::Pool(name) => {
                let pool = configuration.pools.iter().find(|found| found.name == *name);
                pool.map_or(Ok(()), |pool| self.load_pool(pool))
            }
        }
    }

    /// What the system said of each owner's files when they were read.
    pub fn stamps(&self) -> impl Iterator<Item = (Owner, &Stamps)> {
        let listeners = self.listeners.iter();
        let listeners = listeners.map(|(name, tls)| (Owner::Listener(name.clone()), tls.stamps()));
        let pools = self.pools.iter();
        listeners.chain(pools.map(|(name, tls)| (Owner::Pool(name.clone()), tls.stamps())))
    }

    /// What the files in use say about themselves.
    pub fn files(&self) -> impl Iterator<Item = (Owner, &FileStatus)> {
        let listeners = self.listeners.iter().flat_map(|(name, tls)| {
            tls.files().iter().map(|file| (Owner::Listener(name.clone()), file))
        });
        listeners.chain(self.pools.iter().flat_map(|(name, tls)| {
            tls.files().iter().map(|file| (Owner::Pool(name.clone()), file))
        }))
    }

    pub(crate) fn listener(&self, name: &Name) -> Option<&Arc<ServerTls>> {
        self.listeners.get(name)
    }

    pub(crate) fn pool(&self, name: &Name) -> Option<&Arc<ClientTls>> {
        self.pools.get(name)
    }
}
