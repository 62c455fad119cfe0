//! Smooth weighted round robin, shared by all workers through one atomic position.
//!
//! The rotation is fixed for a pool. A position whose server may not be chosen is skipped, not
//! handed to a neighbour: in each turn the others still have exactly their weights, so a lost
//! server's share spreads over all of them. The position outlives a rebuild, so a reload does
//! not begin at the first server again (HAProxy #1282).
//! A retry is no turn: it is drawn by weight, so that what failed does not shift the others.
//! Invariant: over whole turns, shares follow weights exactly, however the workers interleave.

use crate::candidates::Candidates;
use crate::dice::Dice;
use crate::random;

pub(crate) fn choose(candidates: &Candidates<'_>, dice: &mut Dice) -> Option<usize> {
    if !candidates.tried.is_empty() {
        return random::choose(candidates, dice);
    }
    let table = candidates.table();
    candidates
        .first_owner(dice, |_| table.at(candidates.next_position()))
        .or_else(|| candidates.scan(dice))
}
