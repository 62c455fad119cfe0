//! How many bytes all connections hold in buffers, by the door's own account.
//!
//! What the system says of the process's memory is no signal: an allocator keeps what was freed,
//! so an overload judged by it never ends (Envoy #39006).
//! Invariant: what is held by a [`BufferHold`] is counted until it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Relaxed};

/// The account of one process; outlives reloads.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Buffers {
    held: AtomicU64,
    bytes_max: AtomicU64,
}

/// Bytes that are held; given back when it is dropped.
#[derive(Debug)]
#[must_use = "the bytes are given back as soon as this is dropped"]
pub struct BufferHold {
    buffers: Arc<Buffers>,
    bytes: u64,
}

impl Buffers {
    pub(crate) fn set_max(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Relaxed);
    }

    /// Counts bytes that are held from now on; they are held whether there is room or not.
    pub fn hold(self: &Arc<Self>, bytes: u64) -> BufferHold {
        self.held.fetch_add(bytes, AcqRel);
        BufferHold { buffers: Arc::clone(self), bytes }
    }

    /// Bytes that are held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    /// Whether as much is held as may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.held() >= self.bytes_max.load(Relaxed)
    }
}

impl Drop for BufferHold {
    fn drop(&mut self) {
        self.buffers.held.fetch_sub(self.bytes, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let buffers = Arc::new(Buffers::default());
        buffers.set_max(100);
        let (first, second) = (buffers.hold(60), buffers.hold(40));
        assert!(buffers.is_full());
        drop(first);
        assert_eq!((buffers.held(), buffers.is_full()), (40, false));
        drop(second);
        assert_eq!(buffers.held(), 0);
    }
}
