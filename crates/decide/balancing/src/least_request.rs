//! Fewest requests in flight per weight, whatever the servers' latency.
//!
//! Up to 32 servers are compared, of more two: the load is `in-flight / (weight x warmth)`;
//! see `choice` for the rule.
//! Invariant: of equally heavy servers none gets a request while another that was compared
//! holds fewer.

use crate::candidates::Candidates;
use crate::choice;
use crate::dice::Dice;

/// All servers are compared up to this many.
const COMPARED_MAX: usize = 32;

pub(crate) fn choose(candidates: &Candidates<'_>, dice: &mut Dice) -> Option<usize> {
    choice::choose::<COMPARED_MAX>(candidates, false, dice)
}
