//! Consistent hashing with bounded load: the same key reaches the same server.
//!
//! Maglev: each server fills the slots of a prime-sized table in an order of its own, in turns
//! by weight. A server at 1.25 times its part of the requests in flight passes a key on to
//! another slot, which the key alone decides. Slots, orders and hashes depend on nothing but
//! addresses and weights, so every instance builds the same table (Envoy #20703), whatever the
//! order of its servers.
//! Zones do not count here: a key that follows its zone would not follow its server.
//! Invariant: no server is chosen with more in flight than its bound while another is below.

use std::net::{IpAddr, SocketAddr};

use crate::candidates::Candidates;
use crate::dice::Dice;
use crate::server::Server;

/// A prime, much larger than any pool. See Maglev (NSDI'16), section 3.4.
pub(crate) const SLOTS: usize = 65_537;
/// How far above its part of the requests in flight a server may go.
const BOUND: f64 = 1.25;
/// Slots looked at for a key before it is chosen for by load.
const SLOTS_TRIED_MAX: usize = 256;

/// What is added to a key's hash each time it is passed on; odd, so that it returns to no slot soon.
const PASSED_ON: u64 = 0xa076_1d64_78bd_642f;

/// Which server owns which slot.
#[derive(Debug, Default)]
pub(crate) struct Slots(Vec<u16>);

impl Slots {
    /// The slots of all servers that may take requests; none when there are no such servers.
    pub(crate) fn new(servers: &[Server]) -> Self {
        let mut order: Vec<usize> =
            (0..servers.len()).filter(|&index| servers[index].takes_requests()).collect();
        order.sort_by_key(|&index| servers[index].address());
        let Some(heaviest) = order.iter().map(|&index| servers[index].member.weight).max() else {
            return Self::default();
        };
        let mut turns: Vec<Turn> =
            order.iter().map(|&index| Turn::new(index, servers[index].address())).collect();
        let mut owners = vec![u16::MAX; SLOTS];
        let mut filled = 0;
        while filled < SLOTS {
            for turn in &mut turns {
                turn.credit += servers[turn.index].member.weight;
                if turn.credit >= heaviest && filled < SLOTS {
                    turn.credit -= heaviest;
                    let slot = turn.next_free(&owners);
                    owners[slot] = u16::try_from(turn.index).unwrap_or(u16::MAX - 1);
                    filled += 1;
                }
            }
        }
        Self(owners)
    }

    /// The server that owns a key's slot, if the table has any.
    pub(crate) fn owner(&self, hash: u64) -> Option<usize> {
        self.from(hash).next()
    }

    /// The owners of a key's slot and of those that it is passed on to, without end.
    fn from(&self, hash: u64) -> impl Iterator<Item = usize> {
        // Not the neighbouring slots: who follows whom there depends on the orders, not on the
        // weights, and one server could inherit another one's keys alone.
        let steps = (0_u64..).map(move |step| hash.wrapping_add(step.wrapping_mul(PASSED_ON)));
        // Keys may be hashed weakly; mixing spreads them over the slots.
        let slots = steps.map(|hash| usize::try_from(mixed(hash) % SLOTS as u64).unwrap_or(0));
        slots.map_while(|slot| self.0.get(slot)).map(|&owner| usize::from(owner))
    }
}

/// One server's walk over the slots.
struct Turn {
    index: usize,
    credit: u32,
    slot: usize,
    skip: usize,
}

impl Turn {
    fn new(index: usize, address: SocketAddr) -> Self {
        let hash = address_hash(address);
        let slot = usize::try_from(hash % SLOTS as u64).unwrap_or(0);
        let skip = usize::try_from(mixed(hash) % (SLOTS as u64 - 1)).unwrap_or(0) + 1;
        Self { index, credit: 0, slot, skip }
    }

    fn next_free(&mut self, owners: &[u16]) -> usize {
        // The skip is coprime to the prime size, so the walk meets every slot.
        while owners[self.slot] != u16::MAX {
            self.slot = (self.slot + self.skip) % SLOTS;
        }
        self.slot
    }
}

pub(crate) fn choose(candidates: &Candidates<'_>, hash: u64, dice: &mut Dice) -> Option<usize> {
    let pool = candidates.pool;
    let bounds = Bounds::new(candidates);
    let chosen = pool.slots.from(hash).take(SLOTS_TRIED_MAX).enumerate().find(|&(step, index)| {
        candidates.eligible(index)
            && bounds.allow(candidates, index)
            && is_warm_for(candidates, index, hash.wrapping_add(step as u64))
    });
    // Nobody below the bound near the slot: any server below it, then any at all.
    chosen
        .map(|(_, index)| index)
        .or_else(|| {
            candidates
                .walk(dice)
                .find(|&index| candidates.eligible(index) && bounds.allow(candidates, index))
        })
        .or_else(|| candidates.scan(dice))
}

/// The in-flight bound per weight, as of one pick.
struct Bounds {
    per_weight: f64,
}

impl Bounds {
    fn new(candidates: &Candidates<'_>) -> Self {
        let in_flight = candidates.pool.shared.hashed_in_flight() + 1;
        let weight = candidates.pool.view().weight_of(candidates.group).max(1);
        Self { per_weight: BOUND * in_flight as f64 / weight as f64 }
    }

    fn allow(&self, candidates: &Candidates<'_>, index: usize) -> bool {
        let server = candidates.server(index);
        f64::from(server.in_flight() + 1)
            <= (self.per_weight * f64::from(server.member.weight)).ceil()
    }
}

/// A warming server takes a part of its keys that only grows, so that no key moves to and fro.
fn is_warm_for(candidates: &Candidates<'_>, index: usize, chance: u64) -> bool {
    let warm = candidates.warm(index);
    warm >= 1.0
        || ((mixed(chance ^ 0x9e37_79b9_7f4a_7c15) >> 40) as f32) < warm * (1_u32 << 24) as f32
}

/// FNV-1a, then mixed: fixed for ever, unlike the standard library's hashers.
fn address_hash(address: SocketAddr) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = 0xcbf2_9ce4_8422_2325;
    let hash = match address.ip() {
        IpAddr::V4(ip) => ip.octets().iter().fold(seed, fold),
        IpAddr::V6(ip) => ip.octets().iter().fold(seed, fold),
    };
    mixed(address.port().to_be_bytes().iter().fold(hash, fold))
}

/// The finalizer of splitmix64.
const fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
