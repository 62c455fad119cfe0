//! The connections of one stream that take further requests, by where they come from.
//!
//! The one that got room last is used first, so that few are used and the others rest. Those that
//! are full or gone are found out when they are met.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::super::slots::{Slots, Token};
use super::Connection;

#[derive(Debug, Default)]
pub(in super::super) struct Rooms {
    by_source: BTreeMap<Option<Ipv4Addr>, Vec<Token>>,
}

impl Rooms {
    /// A connection that may have room.
    pub(in super::super) fn push(
        &mut self,
        token: Token,
        source: Option<Ipv4Addr>,
        connections: &mut Slots<Connection>,
    ) {
        let Some(connection) = connections.named(token) else { return };
        if std::mem::replace(&mut connection.listed, true) {
            return;
        }
        self.by_source.entry(source).or_default().push(token);
        if self.by_source.len() > 2 * connections.len() + 64 {
            self.by_source
                .retain(|_, tokens| tokens.iter().any(|token| connections.named(*token).is_some()));
        }
    }

    /// One that takes another request when at most so many may be under way.
    pub(in super::super) fn find(
        &mut self,
        source: Option<Ipv4Addr>,
        streams_max: usize,
        connections: &mut Slots<Connection>,
    ) -> Option<usize> {
        let tokens = self.by_source.get_mut(&source)?;
        while let Some(&token) = tokens.last() {
            match connections.named(token) {
                Some(connection) if connection.has_room(streams_max) => return Some(token.slot),
                Some(connection) => connection.listed = false,
                None => {}
            }
            tokens.pop();
        }
        self.by_source.remove(&source);
        None
    }
}
