//! Read buffers that belong to a worker and are lent to a connection while it has bytes.
//!
//! An idle keep-alive connection holds none: with 10,000 of them that is the difference
//! between 1.7 KB and 18.7 KB each. The most recently returned buffer is lent first, as it is
//! still in the cache.
//!
//! What is lent is counted in an [`Account`] that several pools may share.
//!
//! Invariants: `start <= end <= bytes.len()`; `bytes[start..end]` was read and not yet consumed.
//! What a pool has leased in its account covers what it has lent, and exceeds it by less than two
//! [`LEASE`]s.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Bytes that a pool accounts for at once, so that a count that workers share is not written with
/// every buffer.
pub const LEASE: usize = 256 * 1024;

/// Where pools account for what they lend.
pub trait Account: std::fmt::Debug {
    /// So many [`LEASE`]s more are lent.
    fn lease(&self, leases: usize);

    /// So many [`LEASE`]s less are lent.
    fn give_back(&self, leases: usize);
}

/// Nobody counts.
impl Account for () {
    fn lease(&self, _leases: usize) {}

    fn give_back(&self, _leases: usize) {}
}

/// A worker's stock of buffers of one size.
#[derive(Debug)]
pub struct BufferPool {
    free: RefCell<Vec<Box<[u8]>>>,
    size: usize,
    free_max: usize,
    account: Box<dyn Account>,
    /// Bytes.
    lent: Cell<usize>,
    leases: Cell<usize>,
}

impl BufferPool {
    /// A pool of buffers of `size` bytes that keeps at most `free_max` returned ones, and counts
    /// what it lends in `account`.
    #[must_use]
    pub fn new(size: usize, free_max: usize, account: Box<dyn Account>) -> Rc<Self> {
        Rc::new(Self {
            free: RefCell::new(Vec::with_capacity(free_max)),
            size,
            free_max,
            account,
            lent: Cell::new(0),
            leases: Cell::new(0),
        })
    }

    /// Lends an empty buffer.
    #[must_use]
    pub fn lend(self: &Rc<Self>) -> Buffer {
        let bytes = self.take();
        self.count(bytes.len(), 0);
        Buffer { bytes, start: 0, end: 0, pool: Rc::clone(self) }
    }

    fn take(&self) -> Box<[u8]> {
        self.free.borrow_mut().pop().unwrap_or_else(|| vec![0; self.size].into_boxed_slice())
    }

    fn take_back(&self, bytes: Box<[u8]>) {
        let mut free = self.free.borrow_mut();
        if bytes.len() == self.size && free.len() < self.free_max {
            free.push(bytes);
        }
    }

    /// Counts what is lent from now on, and what no longer is.
    fn count(&self, lent: usize, returned: usize) {
        let now = (self.lent.get() + lent).saturating_sub(returned);
        self.lent.set(now);
        let (needed, leases) = (now.div_ceil(LEASE), self.leases.get());
        if needed > leases {
            self.account.lease(needed - leases);
            self.leases.set(needed);
        } else if leases > needed + 1 {
            self.account.give_back(leases - needed);
            self.leases.set(needed);
        }
    }
}

impl Drop for BufferPool {
    fn drop(&mut self) {
        self.account.give_back(self.leases.get());
    }
}

/// A lent buffer; it returns to its pool when dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    pool: Rc<BufferPool>,
}

impl Buffer {
    /// Bytes read and not yet consumed.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// True when nothing unread is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Where the unread bytes begin and end in [`Buffer::bytes`].
    #[must_use]
    pub fn bounds(&self) -> (usize, usize) {
        (self.start, self.end)
    }

    /// The whole memory.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole memory, writable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The room after the unread bytes.
    pub fn spare(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Marks `count` bytes of the spare room as read.
    pub fn advance(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Marks `count` unread bytes as consumed.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Declares that the unread bytes are those from `start` to `end`.
    pub fn set_bounds(&mut self, start: usize, end: usize) {
        debug_assert!(start <= end && end <= self.bytes.len(), "bounds outside the buffer");
        self.end = end.min(self.bytes.len());
        self.start = start.min(self.end);
    }

    /// Keeps all up to the end of the unread bytes, where it is, in memory of its own size, until
    /// [`Buffer::grow`]: whoever sends byte by byte, or waits for long, holds what he sent and no
    /// more.
    pub fn shrink(&mut self) {
        if self.bytes.len() == self.end {
            return;
        }
        let kept: Box<[u8]> = self.bytes.get(..self.end).unwrap_or_default().into();
        self.pool.count(kept.len(), self.bytes.len());
        self.pool.take_back(std::mem::replace(&mut self.bytes, kept));
    }

    /// Gives a buffer that was shrunk all its room again.
    pub fn grow(&mut self) {
        if self.bytes.len() >= self.pool.size {
            return;
        }
        let mut bytes = self.pool.take();
        if let Some(front) = bytes.get_mut(..self.bytes.len()) {
            front.copy_from_slice(&self.bytes);
        }
        self.pool.count(bytes.len(), self.bytes.len());
        self.bytes = bytes;
    }

    /// Moves the unread bytes to the front, so that all the room is behind them.
    pub fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.count(0, self.bytes.len());
        self.pool.take_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leases.
    #[derive(Clone, Debug, Default)]
    struct Counted(Rc<Cell<usize>>);

    impl Account for Counted {
        fn lease(&self, leases: usize) {
            self.0.set(self.0.get() + leases);
        }

        fn give_back(&self, leases: usize) {
            self.0.set(self.0.get() - leases);
        }
    }

    #[test]
    fn the_last_returned_is_lent_first_and_the_stock_is_bounded() {
        let pool = BufferPool::new(8, 1, Box::new(()));
        let (mut first, second) = (pool.lend(), pool.lend());
        first.spare()[..3].copy_from_slice(b"abc");
        first.advance(3);
        first.consume(1);
        assert_eq!(first.filled(), b"bc");
        first.compact();
        assert_eq!((first.bounds(), first.filled()), ((0, 2), &b"bc"[..]));
        drop(second);
        drop(first);
        assert_eq!(pool.free.borrow().len(), 1);
        let again = pool.lend();
        assert!(again.is_empty() && pool.free.borrow().is_empty());
    }

    #[test]
    fn a_shrunk_buffer_holds_what_was_read_and_grows_again() {
        let pool = BufferPool::new(64, 4, Box::new(()));
        let mut buffer = pool.lend();
        buffer.spare()[..5].copy_from_slice(b"abcde");
        buffer.advance(5);
        buffer.consume(2);
        for _ in 0..2 {
            buffer.shrink();
            assert_eq!((buffer.bounds(), buffer.bytes()), ((2, 5), &b"abcde"[..]));
            assert_eq!((pool.lent.get(), pool.free.borrow().len()), (5, 1));
            assert!(buffer.spare().is_empty());
        }
        for _ in 0..2 {
            buffer.grow();
            assert_eq!((buffer.filled(), &buffer.bytes()[..5]), (&b"cde"[..], &b"abcde"[..]));
            assert_eq!((pool.lent.get(), buffer.bytes().len()), (64, 64));
        }
        buffer.shrink();
        drop(buffer);
        assert_eq!((pool.lent.get(), pool.free.borrow().len()), (0, 1));
    }

    #[test]
    fn an_account_covers_what_is_lent() {
        let account = Counted::default();
        let size = LEASE / 4;
        let pool = BufferPool::new(size, 4, Box::new(account.clone()));
        let mut held: Vec<Buffer> = Vec::new();
        let script = (0..20).map(|_| true).chain((0..20).map(|_| false));
        for lends in script.chain([true, false, true, false]) {
            if lends {
                held.push(pool.lend())
            } else {
                held.truncate(held.len() - 1)
            }
            let (lent, leased) = (held.len() * size, account.0.get() * LEASE);
            assert!((lent..lent + 2 * LEASE).contains(&leased), "{lent} {leased}");
        }
        drop((held, pool));
        assert_eq!(account.0.get(), 0);
    }
}
