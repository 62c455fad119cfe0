//! The connections of a thread, by number, and which of them rest.
//!
//! A number is used again, so that a token carries a generation as well: an event or an idle
//! entry for a connection that is gone finds nobody.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;

use super::connection::Connection;

/// Names a connection for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) slot: usize,
    generation: u32,
}

impl Token {
    /// As the poller carries it.
    pub(super) fn to_bits(self) -> u64 {
        // Far fewer than 2^32 connections: the limit of open files sees to it.
        u64::from(self.generation) << 32 | u64::try_from(self.slot).unwrap_or(u64::MAX)
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        let [a, b, c, d, slot @ ..] = bits.to_be_bytes();
        let slot = usize::try_from(u32::from_be_bytes(slot)).unwrap_or(usize::MAX);
        Self { slot, generation: u32::from_be_bytes([a, b, c, d]) }
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// All connections of a thread, or whatever else it has many of.
#[derive(Debug)]
pub(super) struct Slots<T = Connection> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, value: T) -> Token {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, value: None });
            self.slots.len() - 1
        });
        let entry = &mut self.slots[slot];
        entry.value = Some(value);
        Token { slot, generation: entry.generation }
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<T> {
        let entry = self.slots.get_mut(slot)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        Some(value)
    }

    pub(super) fn get(&mut self, slot: usize) -> Option<&mut T> {
        self.slots.get_mut(slot)?.value.as_mut()
    }

    /// What the token names, if it is still there.
    pub(super) fn named(&mut self, token: Token) -> Option<&mut T> {
        let entry = self.slots.get_mut(token.slot)?;
        if entry.generation == token.generation { entry.value.as_mut() } else { None }
    }

    pub(super) fn token(&self, slot: usize) -> Option<Token> {
        let entry = self.slots.get(slot).filter(|entry| entry.value.is_some())?;
        Some(Token { slot, generation: entry.generation })
    }

    /// How many slots there are, used or not.
    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slot that the next one gets.
    pub(super) fn vacant(&self) -> usize {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    /// The slots of those that are so.
    pub(super) fn that(&self, is_so: impl Fn(&T) -> bool) -> impl Iterator<Item = usize> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(move |(slot, entry)| {
            entry.value.as_ref().filter(|it| is_so(it)).map(|_| slot)
        })
    }
}

impl Slots<Connection> {
    /// The slots of a stream's connections.
    pub(super) fn of_stream(&self, stream: usize) -> Vec<usize> {
        self.that(|connection| connection.stream == stream).collect()
    }

    fn rests(&mut self, token: Token) -> bool {
        self.named(token).is_some_and(|connection| connection.work.is_none())
    }
}

/// The resting connections of one stream; those that are gone are found out when they are met.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// The one that rested shortest is used first, so that the others may be closed.
    any: Vec<Token>,
    by_source: HashMap<Ipv4Addr, Vec<Token>>,
    /// Those of `by_source`, those that rested longest first.
    oldest: VecDeque<Token>,
}

impl Idle {
    pub(super) fn push(&mut self, token: Token, source: Option<Ipv4Addr>, slots: &mut Slots) {
        let Some(source) = source else {
            self.any.push(token);
            if self.any.len() > 2 * slots.slots.len() + 64 {
                self.any.retain(|&token| slots.rests(token));
            }
            return;
        };
        if self.by_source.len() > 2 * slots.slots.len() + 64 {
            self.by_source.retain(|_, tokens| tokens.iter().any(|&token| slots.rests(token)));
        }
        self.by_source.entry(source).or_default().push(token);
        self.oldest.push_back(token);
        if self.oldest.len() > 2 * slots.slots.len() + 64 {
            let mut seen = std::collections::HashSet::new();
            self.oldest.retain(|&token| slots.rests(token) && seen.insert(token.slot));
        }
    }

    /// Takes one that may be used from this source.
    pub(super) fn pop(&mut self, source: Option<Ipv4Addr>, slots: &mut Slots) -> Option<usize> {
        let Some(source) = source else { return pop_resting(&mut self.any, slots) };
        let of_source = self.by_source.get_mut(&source)?;
        let found = pop_resting(of_source, slots);
        if of_source.is_empty() {
            self.by_source.remove(&source);
        }
        found
    }

    /// Takes the one that rested longest, of any source, to be closed.
    pub(super) fn pop_oldest(&mut self, slots: &mut Slots) -> Option<usize> {
        while let Some(token) = self.oldest.pop_front() {
            if slots.rests(token) {
                return Some(token.slot);
            }
        }
        None
    }
}

fn pop_resting(tokens: &mut Vec<Token>, slots: &mut Slots) -> Option<usize> {
    while let Some(token) = tokens.pop() {
        if slots.rests(token) {
            return Some(token.slot);
        }
    }
    None
}
