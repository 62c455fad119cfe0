//! Power of two choices on in-flight x peak EWMA: the default.
//!
//! A small pool is looked at as a whole, of a larger one two servers. The load of a server is
//! `in-flight x latency / (weight x warmth)`; see `choice` for the rule, and for the parameters
//! with what they were chosen by.
//! Invariant: of equally fast, equally heavy servers none gets a request while another that
//! was compared holds fewer.

use crate::candidates::Candidates;
use crate::choice;
use crate::dice::Dice;

/// All servers are compared up to this many.
const COMPARED_MAX: usize = 8;

pub(crate) fn choose(candidates: &Candidates<'_>, dice: &mut Dice) -> Option<usize> {
    choice::choose::<COMPARED_MAX>(candidates, true, dice)
}
