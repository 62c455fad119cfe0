//! Finds the end of a head while it arrives, and refuses early what can never become one.
//!
//! Invariant: a byte is looked at once (twice for a CR that waits for its LF), however slowly the
//! head arrives, so that a client cannot make the door rescan.

use memchr::memchr_iter;
use model::Reason;

use crate::HeadLimits;
use crate::bytes::is_control;

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
        let fresh_start = self.looked;
        let fresh = bytes.get(fresh_start..).unwrap_or_default();
        for offset in memchr_iter(b'\n', fresh) {
            let line_feed = fresh_start + offset;
            if line_feed == 0 || bytes.get(line_feed - 1) != Some(&b'\r') {
                return Err(Reason::BareLineEnd);
            }
            let is_empty = line_feed == self.line_start + 1;
            self.looked = line_feed + 1;
            self.line_start = self.looked;
            if self.looked > limits.bytes_max {
                return Err(self.too_large());
            }
            match (is_empty, self.past_first_line) {
                (true, true) => {
                    self.check(bytes, fresh_start)?;
                    return Ok(Some(self.looked));
                }
                // A second empty line before the request line.
                (true, false) if line_feed > 1 => return Err(Reason::BadRequestLine),
                (true, false) => {}
                (false, _) => self.past_first_line = true,
            }
        }
        // What is left has no LF yet. A CR at its end waits for one, and is looked at again.
        self.looked = bytes.len() - usize::from(bytes.last() == Some(&b'\r') && !fresh.is_empty());
        self.check(bytes, fresh_start)?;
        if bytes.len() >= limits.bytes_max { Err(self.too_large()) } else { Ok(None) }
    }

    /// Starts over, for the next head.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Checks what was looked at since `start`, in one pass over all lines: no control bytes, and
    /// no CR without its LF (that every LF has its CR is known).
    #[inline]
    fn check(&self, bytes: &[u8], start: usize) -> Result<(), Reason> {
        // A CR is never the last byte of all: it waits for what follows it.
        let fresh = bytes.get(start..self.looked).unwrap_or_default();
        let followers = bytes.get(start + 1..).unwrap_or_default();
        let control = |byte: u8| is_control(byte) && byte != b'\r' && byte != b'\n';
        // Both are written without an early exit so that they vectorize.
        let bare_return = fresh
            .iter()
            .zip(followers)
            .fold(false, |found, (&byte, &next)| found | ((byte == b'\r') & (next != b'\n')));
        let any_control = fresh.iter().fold(false, |found, &byte| found | control(byte));
        if bare_return {
            return Err(Reason::BareLineEnd);
        }
        if any_control { Err(refusal_of_control(bytes, control)) } else { Ok(()) }
    }

    const fn too_large(&self) -> Reason {
        if self.past_first_line { Reason::HeadTooLarge } else { Reason::TargetTooLong }
    }
}

/// Says in which part of the head the first control byte is.
#[cold]
fn refusal_of_control(bytes: &[u8], control: impl Fn(u8) -> bool) -> Reason {
    let head = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let before = head.split(|&byte| control(byte)).next().unwrap_or_default();
    if before.contains(&b'\n') { Reason::BadHeader } else { Reason::BadRequestLine }
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
