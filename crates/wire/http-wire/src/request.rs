//! The head of a request: read once, strictly, into one meaning.
//!
//! Invariant: after `Ok`, every span lies in the head that was parsed, framing is unambiguous, the
//! host is known to be valid, and the path is the canonical one, which is matched and forwarded.

use std::mem::MaybeUninit;

use model::Reason;

use crate::authority::Authority;
use crate::bytes::is_token;
use crate::fields::{Sender, Summary, collect};
use crate::path::canonicalise;
use crate::{Framing, HEADERS_MAX, HeadLimits, Header, HeaderKind, Span, Version};

/// A request method. `Connect` and `Trace` are known so that they can be refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the method of its name")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Connect,
    Trace,
    /// Any other token; its text is [`RequestHead::method_text`].
    Other,
}

/// The longest method.
const METHOD_BYTES_MAX: usize = 32;

impl Method {
    const NAMED: &[(&[u8], Self)] = &[
        (b"GET", Self::Get),
        (b"POST", Self::Post),
        (b"HEAD", Self::Head),
        (b"PUT", Self::Put),
        (b"DELETE", Self::Delete),
        (b"OPTIONS", Self::Options),
        (b"PATCH", Self::Patch),
        (b"CONNECT", Self::Connect),
        (b"TRACE", Self::Trace),
    ];

    /// True when repeating the request has the effect of one (RFC 9110, section 9.2.2).
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }

    /// True when the request only reads (RFC 9110, section 9.2.1).
    #[must_use]
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Methods are case-sensitive. One that is known but for its case is refused: a server that
    /// forgives the case would frame the response to `head` differently.
    fn parse(text: &[u8]) -> Result<Self, Reason> {
        for &(name, method) in Self::NAMED {
            if text == name {
                return Ok(method);
            }
        }
        let differs_in_case = Self::NAMED.iter().any(|(name, _)| text.eq_ignore_ascii_case(name));
        if differs_in_case || text.len() > METHOD_BYTES_MAX {
            Err(Reason::BadRequestLine)
        } else {
            Ok(Self::Other)
        }
    }
}

/// The head of a request. Keep it and parse the next head into it: it reuses its memory.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The method as written.
    pub method_text: Span,
    /// The target as written.
    pub target: Span,
    /// The version.
    pub version: Version,
    /// The fields, in order.
    pub headers: Vec<Header>,
    /// How the body is delimited; never `Close`.
    pub framing: Framing,
    /// True when the client wishes to keep the connection, by the rules of its version.
    pub keep_alive: bool,
    /// True when the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The one protocol the client wishes to change to; only on HTTP/1.1, without a body, and
    /// never `h2c`, which is not offered.
    pub upgrade: Option<Span>,
    /// The host without port and trailing dot, as written; brackets around IPv6 addresses stay.
    /// `None` only on HTTP/1.0.
    pub host: Option<Span>,
    /// The host with its port, as written.
    pub authority: Option<Span>,
    /// Canonical path and query, as forwarded.
    forwarded: String,
    path_length: usize,
    path_changed: bool,
    /// Memory of the canonicalisation.
    scratch: Vec<u8>,
}

/// The parts of a target, before the path is canonical.
struct Target<'a> {
    /// Empty when an absolute target has none.
    path: &'a [u8],
    /// Without the question mark.
    query: Option<&'a [u8]>,
    /// The authority of an absolute target, and the port its scheme implies.
    authority: Option<(Authority, u16)>,
}

impl RequestHead {
    /// Parses a whole head, as [`crate::HeadScanner`] delimits it, its blank line included.
    ///
    /// # Errors
    /// The [`Reason`] to answer with; the contents are then unspecified.
    #[inline]
    pub fn parse(&mut self, head: &[u8], limits: &HeadLimits) -> Result<(), Reason> {
        self.headers.clear();
        if head.len() > limits.bytes_max || u32::try_from(head.len()).is_err() {
            return Err(Reason::HeadTooLarge);
        }
        let text = head.strip_prefix(b"\r\n").unwrap_or(head);
        if !text.ends_with(b"\r\n\r\n") {
            return Err(Reason::BareLineEnd);
        }
        let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let slots = slots.get_mut(..limits.headers_max.min(HEADERS_MAX)).unwrap_or_default();
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(text, slots) {
            // A blank line before the end: what follows is not part of this head.
            Ok(httparse::Status::Complete(length)) if length == text.len() => {}
            Ok(_) => return Err(Reason::BadRequestLine),
            Err(error) => return Err(refusal(text, error)),
        }
        let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
            return Err(Reason::BadRequestLine);
        };
        self.take_request_line(head, method.as_bytes(), target.as_bytes())?;
        if target.len() > limits.target_bytes_max {
            return Err(Reason::TargetTooLong);
        }
        let summary = collect(head, parsed.headers, Sender::Client, &mut self.headers)?;
        self.take_framing(head, &summary)?;
        let target = self.take_target(head, target.as_bytes(), &summary)?;
        self.canonicalise(&target, head)
    }

    /// The canonical path. Begins with `/`, or is `*` for `OPTIONS *`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.forwarded.get(..self.path_length).unwrap_or_default()
    }

    /// The query as written, without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.forwarded.get(self.path_length + 1..)
    }

    /// The target to forward: the canonical path, and the query with its question mark.
    #[must_use]
    pub fn forwarded_target(&self) -> &str {
        &self.forwarded
    }

    /// True when [`RequestHead::forwarded_target`] differs from the target as written.
    #[must_use]
    pub const fn path_changed(&self) -> bool {
        self.path_changed
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

    /// Takes method, target and version, and checks the spaces and the line end between them,
    /// where httparse is lenient.
    fn take_request_line(
        &mut self,
        head: &[u8],
        method: &[u8],
        target: &[u8],
    ) -> Result<(), Reason> {
        self.method_text = Span::locate(method, head);
        self.target = Span::locate(target, head);
        let rest = Span { start: self.target.end, end: self.target.end.saturating_add(11) };
        self.version = match rest.of(head) {
            b" HTTP/1.1\r\n" => Version::Http11,
            b" HTTP/1.0\r\n" => Version::Http10,
            _ => return Err(Reason::BareLineEnd),
        };
        let starts_at = if head.starts_with(b"\r\n") { 2 } else { 0 };
        if self.method_text.start != starts_at
            || self.target.start != self.method_text.end.saturating_add(1)
        {
            return Err(Reason::BadRequestLine);
        }
        self.method = Method::parse(method)?;
        if matches!(self.method, Method::Connect | Method::Trace) {
            Err(Reason::MethodNotServed)
        } else {
            Ok(())
        }
    }

    /// Decides where the body ends, and what becomes of the connection.
    fn take_framing(&mut self, head: &[u8], summary: &Summary) -> Result<(), Reason> {
        let is_http11 = self.version == Version::Http11;
        self.framing = match (summary.chunked, summary.content_length) {
            (true, Some(_)) => return Err(Reason::AmbiguousFraming),
            (true, None) if !is_http11 => return Err(Reason::BadTransferEncoding),
            (true, None) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            // Some would read a body up to the end of the connection here (RFC 1945, section 8.3).
            (false, None)
                if !is_http11
                    && matches!(self.method, Method::Post | Method::Put | Method::Patch) =>
            {
                return Err(Reason::BadContentLength);
            }
            (false, None) => Framing::None,
        };
        let has_body = !matches!(self.framing, Framing::None | Framing::Length(0));
        self.keep_alive = !summary.close && (is_http11 || summary.keep_alive);
        self.expect_continue = match summary.expectation {
            Some(value) if !value.of(head).eq_ignore_ascii_case(b"100-continue") => {
                return Err(Reason::BadExpectation);
            }
            Some(_) => is_http11 && has_body,
            None => false,
        };
        self.upgrade = summary.upgrade().filter(|value| {
            let value = value.of(head);
            let mut parts = value.split(|&byte| byte == b'/');
            is_http11
                && !has_body
                && !value.eq_ignore_ascii_case(b"h2c")
                && parts.by_ref().take(2).all(is_token)
                && parts.next().is_none()
        });
        Ok(())
    }

    /// Splits the target, and decides which host is asked for.
    fn take_target<'a>(
        &mut self,
        head: &'a [u8],
        target: &'a [u8],
        summary: &Summary,
    ) -> Result<Target<'a>, Reason> {
        let target = match target {
            [b'/', ..] => split_query(target, None),
            b"*" if self.method == Method::Options => {
                Target { path: target, query: None, authority: None }
            }
            _ => split_absolute(head, target)?,
        };
        let host = match summary.host {
            Some(span) => Some(Authority::parse(head, span)?),
            None if self.version == Version::Http11 => return Err(Reason::BadHost),
            None => None,
        };
        if let (Some((authority, port)), Some(host)) = (&target.authority, &host)
            && !authority.agrees_with(host, head, *port)
        {
            return Err(Reason::BadHost);
        }
        let authority = target.authority.map(|(authority, _)| authority).or(host);
        self.host = authority.map(|authority| authority.host);
        self.authority = authority.map(|authority| authority.whole);
        Ok(target)
    }

    /// Writes what is forwarded: the canonical path and the query.
    fn canonicalise(&mut self, target: &Target<'_>, head: &[u8]) -> Result<(), Reason> {
        self.forwarded.clear();
        match (target.path, self.method) {
            // RFC 9112, section 3.2.4: this is how a client asks a proxy about the whole server.
            ([], Method::Options) if target.query.is_none() => self.forwarded.push('*'),
            ([], _) => self.forwarded.push('/'),
            (b"*", _) => self.forwarded.push('*'),
            (path, _) => canonicalise(path, &mut self.forwarded, &mut self.scratch)?,
        }
        self.path_length = self.forwarded.len();
        if let Some(query) = target.query {
            // The query is opaque: only what no URI may hold is refused.
            if query
                .iter()
                .fold(false, |bad, &byte| bad | !byte.is_ascii_graphic() | (byte == b'#'))
            {
                return Err(Reason::BadTarget);
            }
            self.forwarded.push('?');
            self.forwarded
                .push_str(std::str::from_utf8(query).map_err(|_not_ascii| Reason::BadTarget)?);
        }
        self.path_changed = self.forwarded.as_bytes() != self.target.of(head);
        Ok(())
    }
}

fn split_query<'a>(target: &'a [u8], authority: Option<(Authority, u16)>) -> Target<'a> {
    match memchr::memchr(b'?', target).and_then(|at| target.split_at_checked(at)) {
        Some((path, query)) => Target { path, query: query.get(1..), authority },
        None => Target { path: target, query: None, authority },
    }
}

/// Splits `http://host:port/path?query`.
fn split_absolute<'a>(head: &[u8], target: &'a [u8]) -> Result<Target<'a>, Reason> {
    let scheme = |name: &[u8]| {
        let (start, rest) = target.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then_some(rest)
    };
    let (rest, port) = match (scheme(b"http://"), scheme(b"https://")) {
        (Some(rest), _) => (rest, 80),
        (_, Some(rest)) => (rest, 443),
        _ => return Err(Reason::BadTarget),
    };
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\'))
        .unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).ok_or(Reason::BadTarget)?;
    let authority =
        Authority::parse(head, Span::locate(authority, head)).map_err(|_host| Reason::BadTarget)?;
    match rest {
        [] | [b'/' | b'?', ..] => Ok(split_query(rest, Some((authority, port)))),
        _ => Err(Reason::BadTarget),
    }
}

/// Why httparse refused the head.
#[cold]
fn refusal(text: &[u8], error: httparse::Error) -> Reason {
    match error {
        httparse::Error::TooManyHeaders => Reason::TooManyHeaders,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => {
            if has_bare_line_end(text) {
                Reason::BareLineEnd
            } else {
                Reason::BadHeader
            }
        }
        httparse::Error::NewLine => Reason::BareLineEnd,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => {
            refusal_of_line(text)
        }
    }
}

/// True when a CR or LF stands alone.
fn has_bare_line_end(text: &[u8]) -> bool {
    let mut previous = 0;
    text.iter().any(|&byte| {
        let bare = (byte == b'\n') != (previous == b'\r');
        previous = byte;
        bare
    })
}

/// A first line with one fault only, in the target or in the version, is told apart, for the
/// client's sake.
fn refusal_of_line(text: &[u8]) -> Reason {
    let line = text.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some([_, ..]), Some(version), None) if is_token(method) => match version {
            b"HTTP/1.1" | b"HTTP/1.0" => Reason::BadTarget,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..] => Reason::BadVersion,
            _ => Reason::BadRequestLine,
        },
        _ => Reason::BadRequestLine,
    }
}
