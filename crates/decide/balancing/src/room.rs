//! Who has room for another request, and why nobody has.
//!
//! A server may hold what the configuration and what was measured of it allow, whichever is less.
//! Invariant: whoever waits because [`Inner::has_room`] said no can be helped by a request's end.

use crate::candidates::{Group, Zone};
use crate::pick::NoServer;
use crate::pool::Inner;
use crate::server::Standing;

impl Inner {
    /// What the server at `index` may hold, by configuration and by what was measured.
    pub(crate) fn limit(&self, index: usize) -> u32 {
        self.servers[index].learned.limit(self.in_flight_max)
    }

    pub(crate) fn has_room(&self) -> bool {
        let panics = self.view().panics();
        let group = |index| Group::of(self.standing(index));
        let mut takes_any = false;
        for &index in self.tables[Zone::Any.index()].indexes() {
            match group(index) {
                Some(Group::Healthy) => {}
                Some(Group::Unhealthy) if panics => {}
                Some(Group::Unhealthy) | None => continue,
            }
            takes_any = true;
            if self.servers[index].learned.has_room(self.limit(index)) {
                return true;
            }
        }
        !takes_any
    }

    /// Says why no server took a request.
    pub(crate) fn why_none(&self) -> NoServer {
        let taking = self.tables[Zone::Any.index()].indexes();
        if self.servers.is_empty() {
            NoServer::Empty
        } else if taking.is_empty() {
            NoServer::Draining
        } else if taking.iter().all(|&index| self.standing(index) == Standing::Unknown) {
            NoServer::Unchecked
        } else {
            NoServer::Full
        }
    }
}
