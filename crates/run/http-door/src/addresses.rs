//! How many connections each client address holds, in fixed memory and without locks.
//!
//! A count-min table (Cormode and Muthukrishnan, 2005): an address counts in one cell of each
//! of two rows, and its count is read as the smaller. It is never read too low, so the limit
//! holds; it is read too high only where both cells are shared.
//!
//! Invariant: what was added under a key is taken away under the same key ([`Held`]).

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const CELLS: usize = 1 << 15;

/// Connections per address; 256 KiB.
#[derive(Debug)]
pub(crate) struct AddressCounts {
    rows: [Box<[AtomicU32]>; 2],
    hashers: [RandomState; 2],
}

/// One counted connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    counts: Arc<AddressCounts>,
    cells: [usize; 2],
}

impl AddressCounts {
    pub(crate) fn new() -> Arc<Self> {
        let row = || (0..CELLS).map(|_| AtomicU32::new(0)).collect();
        Arc::new(Self { rows: [row(), row()], hashers: [RandomState::new(), RandomState::new()] })
    }

    /// Counts one more connection of `address`; `None` when it already holds `limit`.
    pub(crate) fn hold(self: &Arc<Self>, address: IpAddr, limit: u32) -> Option<Held> {
        let key = key_of(address);
        let cells = [self.cell(0, key), self.cell(1, key)];
        let counted = |row: usize| self.rows[row][cells[row]].fetch_add(1, Ordering::Relaxed);
        let before = counted(0).min(counted(1));
        let held = Held { counts: Arc::clone(self), cells };
        (before < limit).then_some(held)
    }

    /// Whether `address` may hold one more connection.
    pub(crate) fn has_room(&self, address: IpAddr, limit: u32) -> bool {
        let key = key_of(address);
        let counted = |row: usize| self.rows[row][self.cell(row, key)].load(Ordering::Relaxed);
        counted(0).min(counted(1)) < limit
    }

    fn cell(&self, row: usize, key: u128) -> usize {
        usize::try_from(self.hashers[row].hash_one(key) % CELLS as u64).unwrap_or(0)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for (row, cell) in self.counts.rows.iter().zip(self.cells) {
            row[cell].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// IPv4 by the whole address, IPv6 by its /64: one customer usually has a whole /64.
fn key_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) | (1 << 127),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_and_places_come_back() {
        let counts = AddressCounts::new();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let held: Vec<_> = (0..3).map(|_| counts.hold(address, 3)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(!counts.has_room(address, 3) && counts.has_room(address, 4));
        assert!(counts.hold(address, 3).is_none());
        assert!(counts.hold("192.0.2.2".parse().unwrap(), 3).is_some());
        drop(held);
        assert!(counts.hold(address, 1).is_some());
    }

    #[test]
    fn a_v6_network_is_one_client() {
        let counts = AddressCounts::new();
        let first = counts.hold("2001:db8::1".parse().unwrap(), 1);
        assert!(first.is_some());
        assert!(counts.hold("2001:db8::2".parse().unwrap(), 1).is_none());
        assert!(counts.hold("2001:db8:0:1::1".parse().unwrap(), 1).is_some());
    }
}
