//! How much traffic stays in the door's own zone.
//!
//! Zones are taken to send equal parts of the traffic, so a zone's fair part of the servers is
//! one in as many as there are zones. While at least half of the own zone's weight takes
//! requests, the zone keeps what its servers can carry without going above that fair part:
//! `zones x own weight / weight of all`, at most everything; the rest spills to the others.
//! With less than half left there is no preference.
//! Invariant: no server gets more than `zones` times the share it would have without zones.

/// Weights that decide the preference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ZoneWeights {
    /// Different zones in the pool; servers without one form a zone.
    pub(crate) zones: u32,
    /// The weight of the own zone, whatever its servers' state.
    pub(crate) own: u64,
    /// The weight of the own zone's servers that take requests.
    pub(crate) own_eligible: u64,
    /// The weight of all servers that take requests.
    pub(crate) eligible: u64,
}

/// The part of the traffic that stays in the own zone, 0 to 1; `None` without a preference.
pub(crate) fn part_kept(weights: ZoneWeights) -> Option<f64> {
    let ZoneWeights { zones, own, own_eligible, eligible } = weights;
    if own_eligible == 0 || own_eligible == eligible || own_eligible * 2 < own {
        return None;
    }
    Some((f64::from(zones) * own_eligible as f64 / eligible as f64).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(zones: u32, own: u64, own_eligible: u64, eligible: u64, expected: Option<f64>) {
        assert_eq!(part_kept(ZoneWeights { zones, own, own_eligible, eligible }), expected);
    }

    #[test]
    fn the_own_zone_keeps_its_fair_part() {
        check(2, 3, 3, 6, Some(1.0));
        // One of three is gone: the two left carry 0.4 each, the others take the rest.
        check(2, 3, 2, 5, Some(0.8));
        // Less than half is left: no preference.
        check(2, 3, 1, 4, None);
        // A small zone does not take all of the door's traffic.
        check(2, 1, 1, 10, Some(0.2));
        // Nobody else is left, or nobody here.
        check(2, 3, 3, 3, None);
        check(2, 3, 0, 3, None);
    }
}
