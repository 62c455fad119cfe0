//! Brings a worker's buffers into the account of all workers, a lease at a time.

use std::cell::RefCell;
use std::sync::Arc;

use admission::{BufferHold, Buffers};
use net::buffer::{Account, LEASE};

/// The leases that one worker's buffers hold.
#[derive(Debug)]
pub(crate) struct Leases {
    buffers: Arc<Buffers>,
    held: RefCell<Vec<BufferHold>>,
}

impl Leases {
    pub(crate) fn of(buffers: &Arc<Buffers>) -> Box<dyn Account> {
        Box::new(Self { buffers: Arc::clone(buffers), held: RefCell::default() })
    }
}

impl Account for Leases {
    fn lease(&self, leases: usize) {
        let mut held = self.held.borrow_mut();
        held.extend((0..leases).map(|_| self.buffers.hold(LEASE as u64)));
    }

    fn give_back(&self, leases: usize) {
        let mut held = self.held.borrow_mut();
        let kept = held.len().saturating_sub(leases);
        held.truncate(kept);
    }
}
