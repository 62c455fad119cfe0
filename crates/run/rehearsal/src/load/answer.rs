//! Reads answers: the head is understood, the body only counted off.
//!
//! Invariant: an answer is complete with its last byte, however it was cut on the way; what
//! follows it makes the connection unfit for another request.

use std::time::Duration;

use http_wire::{ChunkDecoder, Framing, HeadLimits, HeadScanner, Method, ResponseHead};
use model::Name;

use super::http2::{reason_name, status_name};
use super::second::KEYS_MAX;

/// A client takes larger heads than a door.
const LIMITS: HeadLimits = HeadLimits { bytes_max: 65_536, headers_max: 256, target_bytes_max: 0 };
/// Bytes of a server's name that are kept.
const SERVER_BYTES_MAX: usize = 64;
/// The longest `Retry-After` that is believed, seconds.
const RETRY_AFTER_MAX: u64 = 3_600;

/// Why a request did not get a good answer, in words of a bounded vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nobody listens there.
    Refused,
    /// No connection in time.
    ConnectTimedOut,
    /// The way there is closed.
    Unreachable,
    /// The peer reset the connection.
    Reset,
    /// The peer closed the connection before the first byte.
    ClosedWithoutAnswer,
    /// The peer closed the connection in the middle.
    CutShort,
    /// No complete answer in time.
    Timeout,
    /// What came is no HTTP answer.
    NotHttp,
    /// TLS failed for another reason than the next.
    Tls,
    /// The certificate was refused, and why.
    Certificate(&'static str),
    /// Its connection was cut by the rehearsal.
    Cut,
    /// No socket could be had for a retry.
    NoSocket,
    /// Anything else the system said.
    Socket,
    /// A complete answer that says it failed.
    Status(u16),
    /// What came is not HTTP/2, or TLS did not agree on it.
    NotHttp2,
    /// HTTP/2 cannot carry such a request.
    Unsendable,
    /// The server did not begin with the request: too many are under way.
    RefusedStream,
    /// The server gave up on the request, with this code.
    StreamReset(u32),
    /// The server gave up on the connection, with this code.
    GoAway(u32),
    /// What came breaks the rules of HTTP/2, as this code says.
    BrokenHttp2(u32),
    /// A complete answer of gRPC with this status, which is not 0.
    Grpc(u8),
    /// A complete answer of gRPC without a status.
    NoGrpcStatus,
}

impl Cause {
    /// Whether a complete answer came that says so.
    pub(super) const fn is_answer(self) -> bool {
        matches!(self, Self::Status(_) | Self::Grpc(_) | Self::NoGrpcStatus)
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Refused => "connect refused",
            Self::ConnectTimedOut => "connect timed out",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::ClosedWithoutAnswer => "closed without an answer",
            Self::CutShort => "answer cut short",
            Self::Timeout => "timeout",
            Self::NotHttp => "not HTTP",
            Self::Tls => "TLS failed",
            Self::Cut => "cut",
            Self::NoSocket => "no socket",
            Self::Socket => "socket error",
            Self::NotHttp2 => "not HTTP/2",
            Self::Unsendable => "cannot be sent over HTTP/2",
            Self::RefusedStream => "refused stream",
            Self::NoGrpcStatus => "no grpc-status",
            Self::StreamReset(code) => {
                return write!(formatter, "RST_STREAM {}", reason_name(*code));
            }
            Self::GoAway(code) => return write!(formatter, "GOAWAY {}", reason_name(*code)),
            Self::BrokenHttp2(code) => {
                return write!(formatter, "broken HTTP/2: {}", reason_name(*code));
            }
            Self::Grpc(code) => {
                let name = status_name(*code);
                return write!(formatter, "grpc-{code} {name}");
            }
            Self::Certificate(why) => return write!(formatter, "certificate refused: {why}"),
            Self::Status(status) => return write!(formatter, "status {status}"),
        })
    }
}

/// What all answers of a thread are read with.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) head: ResponseHead,
    server_header: Name,
    /// Every server seen: `none`, up to as many as a table has keys, `other`.
    servers: Vec<String>,
}

impl Reading {
    pub(super) fn new(server_header: &Name) -> Self {
        let servers = vec!["none".to_owned(), "other".to_owned()];
        Self { head: ResponseHead::default(), server_header: Name::clone(server_header), servers }
    }

    /// The name of a server by its number.
    pub(super) fn server(&self, number: usize) -> &str {
        self.servers.get(number).map_or("other", String::as_str)
    }

    /// The field that names the server.
    pub(super) fn server_header(&self) -> &str {
        &self.server_header
    }

    /// The seconds of a `Retry-After`; a date is not read.
    pub(super) fn retry_after(value: &[u8]) -> Option<Duration> {
        let seconds: u64 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds.min(RETRY_AFTER_MAX)))
    }

    /// The number of the server that an answer names.
    pub(super) fn number_server(&mut self, name: Option<&[u8]>) -> usize {
        let Some(name) = name else { return 0 };
        let name = name.get(..SERVER_BYTES_MAX).unwrap_or(name);
        if let Some(number) = self.servers.iter().position(|known| known.as_bytes() == name) {
            return number;
        }
        if self.servers.len() > KEYS_MAX {
            return 1;
        }
        self.servers.push(String::from_utf8_lossy(name).into_owned());
        self.servers.len() - 1
    }
}

/// One answer at a time of one connection.
#[derive(Debug, Default)]
pub(super) struct Answer {
    state: State,
    method: Method,
    scanner: HeadScanner,
    /// The begin of a head that is not complete yet.
    held: Vec<u8>,
    chunks: Option<Box<ChunkDecoder>>,
    begun: bool,
    status: u16,
    server: usize,
    retry_after: Option<Duration>,
    keep_alive: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing is asked.
    #[default]
    Idle,
    Head,
    Length(u64),
    Chunked,
    UntilClose,
    Complete,
}

impl Answer {
    /// A request goes out; its answer begins with the next byte.
    pub(super) fn expect(&mut self, method: Method) {
        self.state = State::Head;
        self.method = method;
        self.begun = false;
        self.scanner.reset();
        self.held.clear();
    }

    /// True once a byte of the answer came.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Of a complete answer.
    pub(super) const fn status(&self) -> u16 {
        self.status
    }

    /// Of a complete answer: the number of the server in [`Reading`].
    pub(super) const fn server(&self) -> usize {
        self.server
    }

    /// Of a complete answer that is a 429 or 503: how long to wait, if it says so in seconds.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Of a complete answer: whether its connection may be used again.
    pub(super) const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Takes what arrived; true when the answer is complete.
    pub(super) fn take(&mut self, bytes: &mut [u8], reading: &mut Reading) -> Result<bool, Cause> {
        self.begun |= !bytes.is_empty();
        if self.held.is_empty() {
            let used = self.advance(bytes, reading)?;
            self.held.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            let used = self.advance(&mut held, reading)?;
            held.drain(..used);
            self.held = held;
        }
        if self.held.is_empty() {
            // A connection at rest holds no memory for what it may read.
            self.held = Vec::new();
        }
        Ok(self.state == State::Complete)
    }

    /// The peer ended its side; `Ok` when that is how this answer ends.
    pub(super) fn end(&mut self) -> Result<(), Cause> {
        match self.state {
            State::UntilClose | State::Complete => {
                self.state = State::Complete;
                self.keep_alive = false;
                Ok(())
            }
            State::Idle | State::Head if !self.begun => Err(Cause::ClosedWithoutAnswer),
            State::Idle | State::Head | State::Length(_) | State::Chunked => Err(Cause::CutShort),
        }
    }

    /// The connection rests until the next request.
    pub(super) fn rest(&mut self) {
        self.state = State::Idle;
        self.held = Vec::new();
    }

    /// Goes on as far as the bytes allow; how many were used. Only of a head that is not complete
    /// are some left over.
    fn advance(&mut self, bytes: &mut [u8], reading: &mut Reading) -> Result<usize, Cause> {
        let mut used = 0;
        loop {
            let rest = bytes.get_mut(used..).unwrap_or_default();
            match self.state {
                State::Head => match self.read_head(rest, reading)? {
                    Some(length) => used += length,
                    None => return Ok(used),
                },
                State::Length(missing) => {
                    let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(missing);
                    // At most the length of a slice.
                    used += usize::try_from(here).unwrap_or(usize::MAX);
                    self.state = State::Length(missing - here);
                    if here < missing {
                        return Ok(used);
                    }
                    self.state = State::Complete;
                }
                State::Chunked => {
                    let chunks = self.chunks.get_or_insert_default();
                    let decoded = chunks.decode(rest).map_err(|_reason| Cause::NotHttp)?;
                    used += decoded.consumed;
                    if !decoded.finished {
                        return Ok(used);
                    }
                    self.state = State::Complete;
                }
                State::UntilClose => return Ok(used + rest.len()),
                State::Complete => {
                    // Bytes that nobody asked for.
                    self.keep_alive &= rest.is_empty();
                    return Ok(used + rest.len());
                }
                State::Idle => return Err(Cause::NotHttp),
            }
        }
    }

    /// Reads a head if it is complete: its length.
    fn read_head(&mut self, bytes: &[u8], reading: &mut Reading) -> Result<Option<usize>, Cause> {
        let scanned = self.scanner.scan(bytes, &LIMITS).map_err(|_reason| Cause::NotHttp)?;
        let Some(length) = scanned else { return Ok(None) };
        let head = bytes.get(..length).unwrap_or_default();
        let parsed = reading.head.parse(head, &LIMITS, self.method);
        parsed.map_err(|_reason| Cause::NotHttp)?;
        self.scanner.reset();
        if reading.head.is_interim() {
            return Ok(Some(length));
        }
        self.status = reading.head.status;
        self.keep_alive = reading.head.keep_alive && self.status != 101;
        self.server =
            reading.number_server(reading.head.header_named(head, &reading.server_header));
        let refused = matches!(self.status, 429 | 503);
        let told = if refused { reading.head.header_named(head, "retry-after") } else { None };
        self.retry_after = told.and_then(Reading::retry_after);
        self.state = match reading.head.framing {
            Framing::None | Framing::Length(0) => State::Complete,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => {
                if let Some(chunks) = &mut self.chunks {
                    chunks.reset();
                }
                State::Chunked
            }
            Framing::Close => State::UntilClose,
        };
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an answer cut into pieces of every size; `Ok`: its status, its server, and whether
    /// the connection may be used again.
    fn check(method: Method, text: &str, closed: bool, expected: Result<(u16, &str, bool), Cause>) {
        for size in 1..=text.len().max(1) {
            let mut reading = Reading::new(&Name::from("x-server"));
            let mut answer = Answer::default();
            answer.expect(method);
            let mut read = || {
                for piece in text.as_bytes().chunks(size) {
                    answer.take(&mut piece.to_vec(), &mut reading)?;
                }
                if closed { answer.end() } else { Ok(()) }
            };
            let read = read();
            let seen = read.map(|()| {
                assert_eq!(answer.state, State::Complete, "{text:?} in pieces of {size}");
                (answer.status, reading.server(answer.server), answer.keep_alive)
            });
            assert_eq!(seen, expected, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn answers() {
        let get = |text: &str, closed, expected| check(Method::Get, text, closed, expected);
        let ok = "HTTP/1.1 200 OK\r\nX-Server: a\r\nContent-Length: 3\r\n\r\nabc";
        get(ok, false, Ok((200, "a", true)));
        get(&format!("HTTP/1.1 100 Continue\r\n\r\n{ok}"), false, Ok((200, "a", true)));
        get("HTTP/1.1 204 No\r\n\r\n", false, Ok((204, "none", true)));
        get("HTTP/1.1 304 No\r\ncontent-length: 9\r\n\r\n", false, Ok((304, "none", true)));
        get(
            "HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
            false,
            Ok((503, "none", true)),
        );
        get("HTTP/1.0 200 OK\r\n\r\nabc", true, Ok((200, "none", false)));
        get(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            false,
            Ok((200, "none", false)),
        );
        check(
            Method::Head,
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",
            false,
            Ok((200, "none", true)),
        );
        get(&format!("{ok}HTTP"), false, Ok((200, "a", false)));
    }

    #[test]
    fn what_is_no_answer() {
        let get = |text, closed, cause| check(Method::Get, text, closed, Err(cause));
        get("", true, Cause::ClosedWithoutAnswer);
        get("HTTP/1.1 2", true, Cause::CutShort);
        get("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", true, Cause::CutShort);
        get(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            true,
            Cause::CutShort,
        );
        get("SSH-2.0-x\r\n\r\n", false, Cause::NotHttp);
        get("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", false, Cause::NotHttp);
    }

    #[test]
    fn servers_are_told_apart_up_to_a_bound() {
        let mut reading = Reading::new(&Name::from("x-server"));
        for number in 0..1_000 {
            let head = format!("HTTP/1.1 204 No\r\nX-Server: s{number}\r\n\r\n");
            reading.head.parse(head.as_bytes(), &LIMITS, Method::Get).unwrap();
            let name = reading.head.header_named(head.as_bytes(), "x-server");
            let known = reading.number_server(name);
            assert_eq!(reading.server(known) == "other", number >= KEYS_MAX - 1, "{number}");
        }
    }
}
