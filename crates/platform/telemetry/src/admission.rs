//! The counters of admission, added up from the facts of each second.
//!
//! Admission itself counts only what one second needs; the sums over the life of the process,
//! which metrics are made of, are kept here. Invariant: at most as many names are held as the
//! last second had, so that reloads cannot make them grow; who comes back begins at zero.

use std::collections::BTreeMap;

use model::Reason;
use model::fact::{ReasonCount, Snapshot};

/// Sums since the process started, or since a name came into the configuration.
#[derive(Clone, Debug)]
pub(crate) struct AdmissionTotals {
    /// Requests that were not let in, by [`Reason::index`].
    pub(crate) refused: Vec<u64>,
    /// Requests that were let in only because admission observes, by [`Reason::index`].
    pub(crate) observed: Vec<u64>,
    pub(crate) clients: BTreeMap<String, Asked>,
    pub(crate) limits: BTreeMap<String, Asked>,
    pub(crate) pools: BTreeMap<String, Waits>,
    /// Shared quotas: tokens leased, requests decided without a lease, calls that failed.
    pub(crate) leased: u64,
    pub(crate) alone: u64,
    pub(crate) failed: u64,
}

/// Requests, and those of them that were refused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) requests: u64,
    pub(crate) refused: u64,
}

/// Requests that waited in a pool's queue, and for how long together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waits {
    pub(crate) count: u64,
    pub(crate) us: u64,
}

impl Default for AdmissionTotals {
    fn default() -> Self {
        Self {
            refused: vec![0; Reason::ALL.len()],
            observed: vec![0; Reason::ALL.len()],
            clients: BTreeMap::new(),
            limits: BTreeMap::new(),
            pools: BTreeMap::new(),
            leased: 0,
            alone: 0,
            failed: 0,
        }
    }
}

impl AdmissionTotals {
    /// Adds one whole second.
    pub(crate) fn add(&mut self, second: &Snapshot) {
        let admission = &second.admission;
        add_reasons(&mut self.refused, &second.reasons);
        add_reasons(&mut self.observed, &admission.observed);
        let asked = admission.clients.iter().map(|c| (&c.name, c.requests, c.refused));
        self.clients = added(&self.clients, asked);
        let asked = admission.limits.iter().map(|l| (&l.name, l.requests, l.refused));
        self.limits = added(&self.limits, asked);
        let pools = second.pools.iter().map(|pool| {
            let waits = self.pools.get(&pool.name).copied().unwrap_or_default();
            let us = waits.us.saturating_add(pool.queue.waited.saturating_mul(pool.queue.wait_us));
            (pool.name.clone(), Waits { count: waits.count + pool.queue.waited, us })
        });
        self.pools = pools.collect();
        if let Some(shared) = &admission.shared {
            self.leased += shared.leased;
            self.alone += shared.alone;
            self.failed += shared.failed;
        }
    }
}

fn add_reasons(sums: &mut [u64], second: &[ReasonCount]) {
    for reason in Reason::ADMISSION {
        let found = second.iter().find(|counted| counted.code == reason.code());
        if let (Some(sum), Some(found)) = (sums.get_mut(reason.index()), found) {
            *sum += found.count;
        }
    }
}

/// The sums of the names of this second, with this second added.
fn added<'a>(
    before: &BTreeMap<String, Asked>,
    second: impl Iterator<Item = (&'a String, u64, u64)>,
) -> BTreeMap<String, Asked> {
    let sum = |(name, requests, refused): (&String, u64, u64)| {
        let sum = before.get(name).copied().unwrap_or_default();
        let (requests, refused) = (sum.requests + requests, sum.refused + refused);
        (name.clone(), Asked { requests, refused })
    };
    second.map(sum).collect()
}

#[cfg(test)]
mod tests {
    use model::fact::{AdmissionFacts, ClientFacts};

    use super::*;

    fn second(clients: &[(&str, u64)]) -> Snapshot {
        let client = |&(name, requests): &(&str, u64)| ClientFacts {
            name: name.to_owned(),
            requests,
            ..ClientFacts::default()
        };
        let clients = clients.iter().map(client).collect();
        let admission = AdmissionFacts { clients, ..AdmissionFacts::default() };
        Snapshot { admission, ..Snapshot::default() }
    }

    #[test]
    fn names_that_left_are_not_kept() {
        let mut totals = AdmissionTotals::default();
        let mut check = |clients: &[(&str, u64)], expected: &[(&str, u64)]| {
            totals.add(&second(clients));
            let sums: Vec<_> =
                totals.clients.iter().map(|(n, s)| (n.as_str(), s.requests)).collect();
            assert_eq!(sums, expected);
        };
        check(&[("a", 1), ("b", 5)], &[("a", 1), ("b", 5)]);
        check(&[("a", 2)], &[("a", 3)]);
        check(&[("a", 0), ("b", 1)], &[("a", 3), ("b", 1)]);
    }
}
