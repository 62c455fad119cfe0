//! Puts together the path that a server is asked for in place of the request's.
//!
//! What comes out is not canonical yet: dot segments may come about where two parts meet.

use model::Reason;
use model::configuration::PathPart;
use regex::bytes::Captures;

/// Bytes of a path that is put together, at most: as long as a request's target may ever be.
const PATH_BYTES_MAX: usize = 65_536;

/// The replacement of a path's beginning, then the rest of it.
pub(super) fn beginning(out: &mut Vec<u8>, replacement: &str, rest: &[u8]) {
    out.extend_from_slice(replacement.as_bytes());
    // Where the rest begins with the slash that ended a prefix, one is enough.
    let doubled = replacement.ends_with('/');
    out.extend_from_slice(if doubled { rest.strip_prefix(b"/").unwrap_or(rest) } else { rest });
}

/// The parts of a whole path, with what the groups of its route's regular expression matched.
///
/// # Errors
/// [`Reason::TargetTooLong`] for more than 64 KiB: a group may stand in it many times.
pub(super) fn whole(
    out: &mut Vec<u8>,
    parts: &[PathPart],
    captures: &Captures<'_>,
) -> Result<(), Reason> {
    for part in parts {
        let bytes = match part {
            PathPart::Text(text) => text.as_bytes(),
            PathPart::Group(number) => {
                captures.get(*number).map_or(&[][..], |group| group.as_bytes())
            }
        };
        if out.len() + bytes.len() > PATH_BYTES_MAX {
            return Err(Reason::TargetTooLong);
        }
        out.extend_from_slice(bytes);
    }
    Ok(())
}
