//! Makes a path canonical: the one form that is both matched and forwarded.
//!
//! Whoever guards `/admin` must see every spelling of it, so: unreserved characters are decoded,
//! other escapes written in upper case, bytes that RFC 3986 does not allow raw are escaped, dot
//! segments removed. What a server might still read as a dot segment, after decoding again, after
//! taking `%2F` or `\` for a separator, or after cutting `;parameters`, is refused. Empty segments
//! (`//`) stay, since they are distinct resources to RFC 3986; so does `%2F`.
//!
//! Invariant: the result is canonical again (idempotent), is ASCII, begins with `/`, and never has
//! a dot segment at any depth of decoding.

use model::Reason;

use crate::bytes::{hex_digit, hex_value, is_control};

/// May stand in a path as it is.
const PLAIN: u8 = 0;
/// Begins an escape.
const ESCAPE: u8 = 1;
/// Printable, but only allowed escaped.
const RAW: u8 = 2;
/// May cut a segment short: `;`.
const PARAMETER: u8 = 4;
/// May not stand in a target.
const REFUSED: u8 = 8;

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled, and a byte is below 256")]
const CLASSES: [u8; 256] = {
    let mut classes = [REFUSED; 256];
    let mut remaining: &[u8] = b"/-._~!$&'()*+,=:@\
        ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    while let [byte, rest @ ..] = remaining {
        classes[*byte as usize] = PLAIN;
        remaining = rest;
    }
    let mut remaining: &[u8] = b"\"<>[]^`{|}";
    while let [byte, rest @ ..] = remaining {
        classes[*byte as usize] = RAW;
        remaining = rest;
    }
    classes[b'%' as usize] = ESCAPE;
    classes[b';' as usize] = PARAMETER;
    classes
};

#[inline]
fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(REFUSED)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Writes the canonical form of a path that the door itself has put together, after a slash if it
/// has none, to `out`; what was there is gone.
///
/// # Errors
/// The [`Reason`] to refuse the request with: it holds what no target may, or what a server might
/// read as a dot segment, or leads above the root. The contents of `out` are then unspecified.
pub fn canonical_path(path: &[u8], out: &mut String) -> Result<(), Reason> {
    out.clear();
    if path.first() == Some(&b'/') {
        return canonicalise(path, out, &mut Vec::new());
    }
    canonicalise(&[b"/", path].concat(), out, &mut Vec::new())
}

/// Appends the canonical form of `path`, which begins with `/`, to `out`, which is empty.
#[inline]
pub(crate) fn canonicalise(
    path: &[u8],
    out: &mut String,
    scratch: &mut Vec<u8>,
) -> Result<(), Reason> {
    let mut classes = PLAIN;
    let mut dotted = false;
    let mut previous = 0;
    for &byte in path {
        classes |= class(byte);
        dotted |= previous == b'/' && byte == b'.';
        previous = byte;
    }
    if classes & REFUSED != 0 {
        return Err(Reason::BadTarget);
    }
    if classes & (ESCAPE | RAW) == 0 && !dotted {
        // No dot begins a segment, so neither `..` nor `..;x` can be one.
        out.push_str(std::str::from_utf8(path).map_err(|_not_ascii| Reason::BadTarget)?);
        return Ok(());
    }
    let rest = path.strip_prefix(b"/").ok_or(Reason::BadTarget)?;
    out.push('/');
    Rewriter { segment: 1, character: Character::default(), out, scratch }.run(rest)
}

/// Writes the canonical form segment by segment.
struct Rewriter<'a> {
    out: &'a mut String,
    /// Where the current segment begins in `out`.
    segment: usize,
    /// The bytes of an escaped character that is not complete.
    character: Character,
    scratch: &'a mut Vec<u8>,
}

impl Rewriter<'_> {
    fn run(mut self, mut rest: &[u8]) -> Result<(), Reason> {
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            if byte == b'%' {
                let (&[high, low], after) = rest.split_first_chunk().ok_or(Reason::BadTarget)?;
                rest = after;
                let (Some(high), Some(low)) = (hex_value(high), hex_value(low)) else {
                    return Err(Reason::BadTarget);
                };
                self.push_decoded(high << 4 | low)?;
                continue;
            }
            self.character.end()?;
            if byte == b'/' {
                if self.end_segment()? {
                    self.out.push('/');
                }
                self.segment = self.out.len();
            } else if class(byte) == RAW {
                self.push_escape(byte);
            } else {
                self.out.push(char::from(byte));
            }
        }
        self.character.end()?;
        self.end_segment().map(|_kept| ())
    }

    /// Writes a byte that was escaped.
    fn push_decoded(&mut self, byte: u8) -> Result<(), Reason> {
        if is_control(byte) || byte == b'\t' || byte == b'\\' {
            return Err(Reason::BadTarget);
        }
        self.character.push(byte)?;
        if is_unreserved(byte) {
            self.out.push(char::from(byte));
        } else {
            self.push_escape(byte);
        }
        Ok(())
    }

    fn push_escape(&mut self, byte: u8) {
        for unit in [b'%', hex_digit(byte >> 4), hex_digit(byte)] {
            self.out.push(char::from(unit));
        }
    }

    /// Ends a segment: removes a dot segment, up to a slash that then stands for the one that
    /// follows, and refuses a hidden one. True when the segment stays.
    fn end_segment(&mut self) -> Result<bool, Reason> {
        let segment = self.out.as_bytes().get(self.segment..).unwrap_or_default();
        match segment {
            b"." => self.out.truncate(self.segment),
            b".." => {
                let parent =
                    self.out.as_bytes().get(..self.segment.saturating_sub(1)).unwrap_or_default();
                let slash = memchr::memrchr(b'/', parent).ok_or(Reason::BadTarget)?;
                self.out.truncate(slash + 1);
            }
            _ => {
                check_hidden_dots(segment, self.scratch)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Refuses a segment that, decoded to the end, holds a dot segment, with or without parameters,
/// behind any separator; or a control byte; or bytes that are not UTF-8.
fn check_hidden_dots(segment: &[u8], decoded: &mut Vec<u8>) -> Result<(), Reason> {
    if memchr::memchr2(b'%', b';', segment).is_none() {
        return Ok(());
    }
    decoded.clear();
    for &byte in segment {
        decoded.push(byte);
        // Each decoded byte may complete another escape (`%252e`); every round removes two bytes,
        // so that the work is linear however deep the escapes are nested.
        while let [.., b'%', high, low] = decoded.as_slice()
            && let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low))
        {
            decoded.truncate(decoded.len() - 3);
            decoded.push(high << 4 | low);
        }
    }
    if decoded.iter().any(|&byte| is_control(byte)) || std::str::from_utf8(decoded).is_err() {
        return Err(Reason::BadTarget);
    }
    for part in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        if let Some(b"." | b"..") = part.split(|&byte| byte == b';').next() {
            return Err(Reason::BadTarget);
        }
    }
    Ok(())
}

/// The bytes of one escaped character, which must be well-formed UTF-8 (never overlong).
#[derive(Default)]
struct Character {
    bytes: [u8; 4],
    length: usize,
}

impl Character {
    /// Takes the next escaped byte.
    fn push(&mut self, byte: u8) -> Result<(), Reason> {
        if byte.is_ascii() {
            return self.end();
        }
        *self.bytes.get_mut(self.length).ok_or(Reason::BadTarget)? = byte;
        self.length += 1;
        // What is not well formed never becomes so, and is refused when it ends or has no room.
        if std::str::from_utf8(self.bytes.get(..self.length).unwrap_or_default()).is_ok() {
            self.length = 0;
        }
        Ok(())
    }

    /// A character must be complete before anything else.
    const fn end(&self) -> Result<(), Reason> {
        if self.length == 0 { Ok(()) } else { Err(Reason::BadTarget) }
    }
}
