//! The servers of a trial: what a pool's configuration stands for without a resolver.
//!
//! A name stands for one made-up address, which follows from the name alone: the same name is
//! the same server in every configuration, and gets the same keys of a consistent hash.
//! Invariant: each address is there once, as in the door; of several entries the first counts.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};

use model::configuration::{self, ServerAddress};

use crate::server::Member;

/// Members and, for each configured server, which of them it is; `None` for a repeated one.
pub(super) fn members_of(settings: &configuration::Pool) -> (Vec<Member>, Vec<Option<usize>>) {
    let mut members: Vec<Member> = Vec::with_capacity(settings.servers.len());
    let mut known: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    let mut places = Vec::with_capacity(settings.servers.len());
    for server in &settings.servers {
        let (address, name) = match &server.address {
            ServerAddress::Socket(address) => (*address, None),
            ServerAddress::Name { host, port } => (made_up(host, *port), Some(host.clone())),
        };
        if known.contains_key(&address) {
            places.push(None);
            continue;
        }
        known.insert(address, members.len());
        places.push(Some(members.len()));
        members.push(Member {
            address,
            name,
            weight: server.weight,
            zone: server.zone.clone(),
            drain: server.drain,
        });
    }
    (members, places)
}

/// An address of the prefix for documentation (RFC 3849), by FNV-1a over the name.
fn made_up(host: &str, port: u16) -> SocketAddr {
    let hash = host.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let bits = (0x2001_0db8_u128 << 96) | u128::from(hash);
    SocketAddr::from((Ipv6Addr::from(bits), port))
}
