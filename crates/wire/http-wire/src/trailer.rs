//! Which fields may follow a chunked body: those that only describe what was sent.
//!
//! A trailer that a server merged into the head would change framing, routing or identity after
//! they were decided; such names are refused (RFC 9110, section 6.5.1).

use model::Reason;

use crate::bytes::{any_control, is_token};
use crate::kind::{HeaderKind, is_listed, is_look_alike};

/// Names without a kind that may not be trailers either, besides the protected ones.
const FORBIDDEN: &[&[u8]] = &[
    b"age",
    b"expires",
    b"max-forwards",
    b"pragma",
    b"retry-after",
    b"strict-transport-security",
    b"vary",
    b"warning",
];

/// Integrity fields that exist to be trailers, although their names begin like framing ones.
const ALLOWED: &[&[u8]] = &[b"content-digest", b"content-md5"];

/// Checks one trailer line, without its line end.
pub(crate) fn check_line(line: &[u8]) -> Result<(), Reason> {
    let colon = memchr::memchr(b':', line).ok_or(Reason::BadTrailer)?;
    let (name, value) = line.split_at_checked(colon).ok_or(Reason::BadTrailer)?;
    if is_token(name) && !any_control(value) && !is_forbidden(name) {
        Ok(())
    } else {
        Err(Reason::BadTrailer)
    }
}

fn is_forbidden(name: &[u8]) -> bool {
    let listed = |names: &[&[u8]]| names.iter().any(|listed| name.eq_ignore_ascii_case(listed));
    if listed(ALLOWED) {
        return false;
    }
    HeaderKind::of_name(name) != HeaderKind::Other
        || is_listed(name)
        || is_look_alike(name)
        || listed(FORBIDDEN)
}
