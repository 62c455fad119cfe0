//! Weighted random: each pick independent of all others.
//!
//! Invariant: a server's chance is its weight times its warmth, over those that may be chosen.

use crate::candidates::Candidates;
use crate::dice::Dice;

pub(crate) fn choose(candidates: &Candidates<'_>, dice: &mut Dice) -> Option<usize> {
    let table = candidates.table();
    candidates
        .first_owner(dice, |dice| table.owner(dice.below(table.total())))
        .or_else(|| candidates.scan(dice))
}
