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
    let (name, value) = split(line).ok_or(Reason::BadTrailer)?;
    if is_token(name) && !any_control(value) && may_be_trailer(name) {
        Ok(())
    } else {
        Err(Reason::BadTrailer)
    }
}

/// Names and values of the lines that [`crate::ChunkDecoder::trailers`] hands out, in order.
pub fn trailer_fields(trailers: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = trailers.split(|&byte| byte == b'\n');
    lines.filter_map(split).map(|(name, value)| (name, value.trim_ascii()))
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
    Some((name, value.get(1..)?))
}

/// True when a field of this name, in any case, may follow a body. A [`crate::ChunkDecoder`]
/// refuses all others.
#[must_use]
pub fn may_be_trailer(name: &[u8]) -> bool {
    let listed = |names: &[&[u8]]| names.iter().any(|listed| name.eq_ignore_ascii_case(listed));
    let forbidden = HeaderKind::of_name(name) != HeaderKind::Other
        || is_listed(name)
        || is_look_alike(name)
        || listed(FORBIDDEN);
    !forbidden || listed(ALLOWED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_one_by_one() {
        fn check(trailers: &str, expected: &[(&str, &str)]) {
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect();
            let found = trailer_fields(trailers.as_bytes());
            let found: Vec<_> =
                found.map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            assert_eq!(found, expected, "{trailers:?}");
        }
        check("", &[]);
        check("a: b\r\n", &[("a", "b")]);
        check("A:\t b:c \r\nempty:\r\n", &[("A", "b:c"), ("empty", "")]);
    }
}
