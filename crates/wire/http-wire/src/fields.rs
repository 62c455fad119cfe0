//! Header fields of requests and responses: their spans, and what they say together about framing
//! and about the connection.
//!
//! Invariant: a head that passes has one framing. `Content-Length` and `Transfer-Encoding` never
//! stand together, and neither has two readings.

use model::Reason;

use crate::Span;
use crate::bytes::{is_token, strict_decimal};
use crate::kind::{HeaderKind, is_look_alike, is_protected};

/// The protocol version of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// This many bytes, at most `2^63 - 1`.
    Length(u64),
    /// Chunks, see [`crate::ChunkDecoder`].
    Chunked,
    /// Everything up to the end of the connection; responses only.
    Close,
}

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name as written.
    pub name: Span,
    /// The value without surrounding white space.
    pub value: Span,
    /// What it is to the door.
    pub kind: HeaderKind,
    /// True when it must not be forwarded: by its kind, or nominated by `Connection`, or (in
    /// responses) a repeated, equal `Content-Length`.
    pub hop_by_hop: bool,
}

/// The most names `Connection` may nominate in one head; bounds the work they make.
const NOMINATED_MAX: usize = 32;

/// Which side sent the head: requests are read without any leniency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// What the fields of one head say together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) host: Option<Span>,
    pub(crate) content_length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) keep_alive_timeout_seconds: Option<u32>,
    pub(crate) expectation: Option<Span>,
    /// The value of `Upgrade`, with or without `Connection: upgrade`.
    pub(crate) upgrade: Option<Span>,
    upgrade_repeated: bool,
    upgrade_asked: bool,
    nominated: usize,
}

impl Summary {
    /// The one value of `Upgrade`, when `Connection` lists it too.
    pub(crate) fn upgrade(&self) -> Option<Span> {
        self.upgrade.filter(|_| self.upgrade_asked && !self.upgrade_repeated)
    }
}

/// Collects the fields that httparse found in `head` into `headers`, and sums them up.
pub(crate) fn collect(
    head: &[u8],
    parsed: &[httparse::Header<'_>],
    sender: Sender,
    headers: &mut Vec<Header>,
) -> Result<Summary, Reason> {
    let mut summary = Summary::default();
    headers.reserve(parsed.len());
    for field in parsed {
        let name = Span::locate(field.name.as_bytes(), head);
        // httparse takes a bare LF for a line end, even when no scanner ran before.
        if !follows_line_end(head, name) {
            return Err(Reason::BareLineEnd);
        }
        let value = match field.value {
            [] => Span { start: name.end.saturating_add(1), end: name.end.saturating_add(1) },
            value => Span::locate(value, head),
        };
        let kind = HeaderKind::of_name(field.name.as_bytes());
        let mut header = Header { name, value, kind, hop_by_hop: kind.is_hop_by_hop() };
        if kind == HeaderKind::Other {
            if sender == Sender::Client && is_look_alike(field.name.as_bytes()) {
                return Err(Reason::BadHeader);
            }
        } else {
            summary.note(&mut header, field.value, sender)?;
        }
        headers.push(header);
    }
    if summary.nominated > 0 {
        mark_nominated(head, headers);
    }
    Ok(summary)
}

/// True when CRLF stands before the span.
fn follows_line_end(head: &[u8], span: Span) -> bool {
    span.start
        .checked_sub(2)
        .is_some_and(|start| Span { start, end: span.start }.of(head) == b"\r\n")
}

impl Summary {
    /// Takes one field of a known kind into account.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other kinds say nothing about the message itself"
    )]
    #[inline]
    fn note(&mut self, header: &mut Header, value: &[u8], sender: Sender) -> Result<(), Reason> {
        match header.kind {
            HeaderKind::Host => set_once(&mut self.host, header.value, Reason::BadHost)?,
            HeaderKind::ContentLength => {
                let length = strict_decimal(value).ok_or(Reason::BadContentLength)?;
                if let Some(earlier) = self.content_length {
                    if sender == Sender::Client || earlier != length {
                        return Err(Reason::BadContentLength);
                    }
                    header.hop_by_hop = true;
                }
                self.content_length = Some(length);
            }
            HeaderKind::TransferEncoding => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Reason::BadTransferEncoding);
                }
                self.chunked = true;
            }
            HeaderKind::Connection => self.note_connection(value, sender)?,
            HeaderKind::KeepAlive => self.keep_alive_timeout_seconds = keep_alive_timeout(value),
            HeaderKind::Upgrade => {
                self.upgrade_repeated = self.upgrade.replace(header.value).is_some();
            }
            HeaderKind::Expect => {
                set_once(&mut self.expectation, header.value, Reason::BadExpectation)?
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the options of one `Connection` field into account.
    fn note_connection(&mut self, value: &[u8], sender: Sender) -> Result<(), Reason> {
        for option in options(value) {
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade_asked = true;
            } else {
                self.nominated += 1;
                let of_framing =
                    sender == Sender::Client && option.eq_ignore_ascii_case(b"transfer-encoding");
                if self.nominated > NOMINATED_MAX
                    || !is_token(option)
                    || of_framing
                    || is_protected(option)
                {
                    return Err(Reason::BadConnectionHeader);
                }
            }
        }
        Ok(())
    }
}

/// Keeps a value that may be sent once only.
fn set_once(slot: &mut Option<Span>, value: Span, reason: Reason) -> Result<(), Reason> {
    if slot.replace(value).is_some() { Err(reason) } else { Ok(()) }
}

/// The elements of a comma-separated list, without the empty ones (RFC 9110, section 5.6.1.2).
fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

/// Marks the fields that `Connection` nominates. At most [`NOMINATED_MAX`] names were let through.
fn mark_nominated(head: &[u8], headers: &mut [Header]) {
    for index in 0..headers.len() {
        let Some(connection) =
            headers.get(index).copied().filter(|header| header.kind == HeaderKind::Connection)
        else {
            continue;
        };
        for option in options(connection.value.of(head)) {
            for header in headers.iter_mut() {
                header.hop_by_hop |= header.name.of(head).eq_ignore_ascii_case(option);
            }
        }
    }
}

/// `timeout` of `Keep-Alive: timeout=5, max=100`, in seconds.
fn keep_alive_timeout(value: &[u8]) -> Option<u32> {
    options(value).find_map(|option| {
        let (name, seconds) = option.split_at_checked(8)?;
        let seconds = name.eq_ignore_ascii_case(b"timeout=").then_some(seconds)?;
        strict_decimal(seconds).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
    })
}
