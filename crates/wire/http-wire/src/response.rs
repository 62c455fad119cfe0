//! The head of a server's response, read as strictly as a request where framing is concerned.
//!
//! Servers are more trusted than clients, but a response read in two ways poisons the connection
//! for the next request. Invariant: after `Ok` the framing is the only one possible.

use std::mem::MaybeUninit;

use model::Reason;

use crate::fields::{Sender, Summary, collect};
use crate::{Framing, HEADERS_MAX, HeadLimits, Header, HeaderKind, Method, Span, Version};

/// The head of a response. Keep it and parse the next head into it: it reuses its memory.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// 100 to 599.
    pub status: u16,
    /// The reason phrase as written; may be empty.
    pub reason_phrase: Span,
    /// The version.
    pub version: Version,
    /// The fields, in order.
    pub headers: Vec<Header>,
    /// How the body is delimited, the request's method taken into account.
    pub framing: Framing,
    /// True when the connection may be used again once the body ended.
    pub keep_alive: bool,
    /// `timeout` of `Keep-Alive`: the server closes the idle connection after this long.
    pub keep_alive_timeout_seconds: Option<u32>,
    /// The protocol a 101 changes to; `None` for every other status.
    pub upgrade: Option<Span>,
    /// The declared length, even where there is no body (HEAD, 304).
    pub content_length: Option<u64>,
}

impl ResponseHead {
    /// Parses a whole head, its blank line included.
    ///
    /// # Errors
    /// [`Reason::BadResponse`] for everything; the contents are then unspecified.
    #[inline]
    pub fn parse(
        &mut self,
        head: &[u8],
        limits: &HeadLimits,
        request_method: Method,
    ) -> Result<(), Reason> {
        self.headers.clear();
        let plausible = head.starts_with(b"HTTP/1.") && head.ends_with(b"\r\n\r\n");
        if !plausible || head.len() > limits.bytes_max || u32::try_from(head.len()).is_err() {
            return Err(Reason::BadResponse);
        }
        let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let slots = slots.get_mut(..limits.headers_max.min(HEADERS_MAX)).unwrap_or_default();
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut parsed, head, slots) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) | Err(_) => return Err(Reason::BadResponse),
        }
        self.take_status_line(head)?;
        let collected = collect(head, parsed.headers, Sender::Server, &mut self.headers);
        let summary = collected.map_err(|_reason_of_requests| Reason::BadResponse)?;
        self.take_framing(&summary, request_method)
    }

    /// True for 1xx other than 101: another response follows.
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        self.status >= 100 && self.status < 200 && self.status != 101
    }

    /// The value of the first field of this kind.
    #[must_use]
    pub fn header<'a>(&self, head: &'a [u8], kind: HeaderKind) -> Option<&'a [u8]> {
        self.headers.iter().find(|header| header.kind == kind).map(|header| header.value.of(head))
    }

    /// The value of the first field of this name, which is given in lower case.
    #[must_use]
    pub fn header_named<'a>(&self, head: &'a [u8], lower_case_name: &str) -> Option<&'a [u8]> {
        let wanted = lower_case_name.as_bytes();
        let found =
            self.headers.iter().find(|header| header.name.of(head).eq_ignore_ascii_case(wanted));
        found.map(|header| header.value.of(head))
    }

    /// Takes `HTTP/1.x NNN phrase`, and checks the line end, where httparse is lenient.
    fn take_status_line(&mut self, head: &[u8]) -> Result<(), Reason> {
        let end = memchr::memchr(b'\n', head).ok_or(Reason::BadResponse)?;
        let line =
            head.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Reason::BadResponse)?;
        let (version, rest) = line.split_at_checked(9).ok_or(Reason::BadResponse)?;
        self.version = match version {
            b"HTTP/1.1 " => Version::Http11,
            b"HTTP/1.0 " => Version::Http10,
            _ => return Err(Reason::BadResponse),
        };
        let (&digits, phrase) = rest.split_first_chunk::<3>().ok_or(Reason::BadResponse)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Reason::BadResponse);
        }
        self.status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        let phrase = match phrase {
            [] => phrase,
            [b' ', phrase @ ..] => phrase,
            _ => return Err(Reason::BadResponse),
        };
        self.reason_phrase = Span::locate(phrase, head);
        if (100..600).contains(&self.status) { Ok(()) } else { Err(Reason::BadResponse) }
    }

    /// Decides where the body ends, and what becomes of the connection (RFC 9112, section 6.3).
    fn take_framing(&mut self, summary: &Summary, request_method: Method) -> Result<(), Reason> {
        let is_http11 = self.version == Version::Http11;
        if summary.chunked && (summary.content_length.is_some() || !is_http11) {
            return Err(Reason::BadResponse);
        }
        let never_has_body = self.status < 200 || self.status == 204;
        self.framing = match (summary.chunked, summary.content_length) {
            _ if never_has_body || self.status == 304 || request_method == Method::Head => {
                Framing::None
            }
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::Close,
        };
        self.content_length = summary.content_length;
        self.keep_alive_timeout_seconds = summary.keep_alive_timeout_seconds;
        self.keep_alive =
            !summary.close && (is_http11 || summary.keep_alive) && self.framing != Framing::Close;
        if never_has_body
            && (summary.chunked || summary.content_length.is_some_and(|length| length > 0))
        {
            // The server announces a body that cannot be: it may send it, so nothing may follow.
            self.keep_alive = false;
        }
        self.upgrade = None;
        if self.status == 101 {
            self.upgrade = Some(summary.upgrade().ok_or(Reason::BadResponse)?);
        }
        Ok(())
    }
}
