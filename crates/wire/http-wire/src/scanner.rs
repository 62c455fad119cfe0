//! Finds the end of a head while it arrives, and refuses early what can never become one.
//!
//! Invariant: a byte is looked at once (twice for a CR that waits for its LF), however slowly the
//! head arrives, so that a client cannot make the door rescan.

use model::Reason;

use crate::HeadLimits;

/// Finds the end of one head, request or response. Call [`HeadScanner::reset`] before the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    /// Bytes before this were looked at.
    looked: usize,
    /// Where the current line begins.
    line_start: usize,
    /// True once the request or status line is complete.
    past_first_line: bool,
}

impl HeadScanner {
    /// Looks at the bytes that are new since the last call; `bytes` always begins where the head
    /// does. `Some(length)`: `bytes[..length]` is a whole head, its blank line included. One CRLF
    /// before the first line is tolerated and counted in the length (RFC 9112, section 2.2).
    ///
    /// # Errors
    /// [`Reason::BareLineEnd`] for a bare CR or LF, [`Reason::BadRequestLine`] or
    /// [`Reason::BadHeader`] for a control byte, [`Reason::HeadTooLarge`] (or
    /// [`Reason::TargetTooLong`] while still in the first line) above `limits.bytes_max`.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Reason> {
        while let Some(at) = control_from(bytes, self.looked) {
            match (bytes.get(at), bytes.get(at + 1)) {
                (Some(b'\t'), _) => self.looked = at + 1,
                (Some(b'\r'), Some(b'\n')) => {
                    if self.end_line(at, limits)? {
                        return Ok(Some(self.looked));
                    }
                }
                // It waits for its LF, and is looked at again.
                (Some(b'\r'), None) => {
                    self.looked = at;
                    return self.unfinished(bytes, limits);
                }
                (Some(b'\r' | b'\n'), _) => return Err(Reason::BareLineEnd),
                _ if self.past_first_line => return Err(Reason::BadHeader),
                _ => return Err(Reason::BadRequestLine),
            }
        }
        self.looked = bytes.len();
        self.unfinished(bytes, limits)
    }

    /// A line ends with the CRLF at `at`; true when it ends the head.
    #[inline]
    fn end_line(&mut self, at: usize, limits: &HeadLimits) -> Result<bool, Reason> {
        let is_empty = at == self.line_start;
        self.looked = at + 2;
        self.line_start = self.looked;
        if self.looked > limits.bytes_max {
            return Err(self.too_large());
        }
        // A second empty line before the request line.
        if is_empty && !self.past_first_line && at > 0 {
            return Err(Reason::BadRequestLine);
        }
        let ends_head = is_empty && self.past_first_line;
        self.past_first_line |= !is_empty;
        Ok(ends_head)
    }

    fn unfinished(&self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Reason> {
        if bytes.len() >= limits.bytes_max { Err(self.too_large()) } else { Ok(None) }
    }

    /// Starts over, for the next head.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    const fn too_large(&self) -> Reason {
        if self.past_first_line { Reason::HeadTooLarge } else { Reason::TargetTooLong }
    }
}

/// Where the first control byte is at or after `from`: a line end, a tab, or one that no line may
/// hold. Heads have few of them, so eight bytes are looked at together.
#[inline]
fn control_from(bytes: &[u8], from: usize) -> Option<usize> {
    let (words, rest) = bytes.get(from..)?.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let found = controls(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(from + index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| byte.is_ascii_control())?;
    Some(from + words.len() * 8 + at)
}

/// The lowest bit that is set is the highest of the first byte that is a control byte; 0 when none
/// is. (Bit Twiddling Hacks, "Determine if a word has a byte less than n": a borrow can set bits of
/// later bytes only.)
#[inline]
const fn controls(word: u64) -> u64 {
    const EACH: u64 = u64::MAX / 0xff;
    let below_space = word.wrapping_sub(EACH * 0x20) & !word;
    let apart = word ^ (EACH * 0x7f);
    let delete = apart.wrapping_sub(EACH) & !apart;
    (below_space | delete) & (EACH * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_become_a_head_is_refused_while_it_arrives() {
        fn check(text: &str, expected: Result<Option<usize>, Reason>) {
            let limits = HeadLimits { bytes_max: 64, ..HeadLimits::default() };
            assert_eq!(HeadScanner::default().scan(text.as_bytes(), &limits), expected, "{text:?}");
        }
        check("", Ok(None));
        check("GET / HTTP/1.1\r", Ok(None));
        check("\r", Ok(None));
        check("GET / HTTP/1.1\r\nA: b\r\n\r", Ok(None));
        check("GET / HTTP/1.1\r\n\r\n", Ok(Some(18)));
        check("\r\nGET / HTTP/1.1\r\n\r\n", Ok(Some(20)));
        // What follows the head is not looked at.
        check("GET / HTTP/1.1\r\n\r\n\u{0}\r\n\n\r", Ok(Some(18)));
        check("GET /\rx", Err(Reason::BareLineEnd));
        check("GET / HTTP/1.1\r\nA: b\rc", Err(Reason::BareLineEnd));
        check("GET / HTTP/1.1\r\nA: b\r\r", Err(Reason::BareLineEnd));
        check("GET / HTTP/1.1\r\nA: b\r\r\n\r\n", Err(Reason::BareLineEnd));
        check("GET / HTTP/1.1\r\nA: b\n", Err(Reason::BareLineEnd));
        check("\n", Err(Reason::BareLineEnd));
        check("\r\n\r\n", Err(Reason::BadRequestLine));
        check("\u{16}\u{3}\u{1}", Err(Reason::BadRequestLine));
        check("GET / HTTP/1.1\r\nA: \u{0}", Err(Reason::BadHeader));
        check("GET /\u{7f}", Err(Reason::BadRequestLine));
        check(&format!("GET /{}", "a".repeat(60)), Err(Reason::TargetTooLong));
        check(&format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(60)), Err(Reason::HeadTooLarge));
    }
}
