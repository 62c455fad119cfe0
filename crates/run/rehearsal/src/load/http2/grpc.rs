//! gRPC over HTTP/2: how messages are framed, and what statuses mean.
//!
//! From the protocol's own description, "gRPC over HTTP2": each message has a byte that says
//! whether it is compressed and four of its length, and the status comes in the trailers, or with
//! the head when there is nothing else (Trailers-Only).

use http::HeaderMap;
use model::Timestamp;

use super::super::answer::Cause;

/// Bytes before each message.
const PREFIX_BYTES: usize = 5;
/// `UNKNOWN`: what a client makes of a status that it does not know.
const UNKNOWN: u8 = 2;

/// A message as it is sent, not compressed.
pub(super) fn frame(message: &[u8]) -> Vec<u8> {
    // Whoever makes shapes bounds their bodies far below 4 GiB.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(PREFIX_BYTES + message.len());
    framed.push(0);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// Counts the messages of an answer, however they were cut on the way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Messages {
    /// Those that are complete.
    pub(super) count: u64,
    /// When the first of them had arrived.
    pub(super) first_at: Option<Timestamp>,
    prefix: [u8; PREFIX_BYTES],
    /// How much of the prefix is there.
    prefixed: usize,
    /// Bytes of the message under way that are still to come.
    missing: usize,
}

impl Messages {
    /// Takes what had arrived then.
    pub(super) fn take(&mut self, mut bytes: &[u8], arrived: Timestamp) {
        while let [first, rest @ ..] = bytes {
            if self.prefixed < PREFIX_BYTES {
                if let Some(slot) = self.prefix.get_mut(self.prefixed) {
                    *slot = *first;
                }
                self.prefixed += 1;
                bytes = rest;
                let [_compressed, length @ ..] = self.prefix;
                self.missing = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            } else {
                let here = self.missing.min(bytes.len());
                self.missing -= here;
                bytes = bytes.get(here..).unwrap_or_default();
            }
            if self.prefixed == PREFIX_BYTES && self.missing == 0 {
                self.count += 1;
                self.first_at.get_or_insert(arrived);
                self.prefixed = 0;
            }
        }
    }

    /// Whether an answer may end here.
    pub(super) const fn is_whole(&self) -> bool {
        self.prefixed == 0
    }
}

/// The `grpc-status` among these fields.
pub(super) fn status(fields: &HeaderMap) -> Option<u8> {
    let value = fields.get("grpc-status")?;
    let code = value.to_str().ok().and_then(|text| text.trim().parse::<u8>().ok());
    Some(code.filter(|code| *code <= 16).unwrap_or(UNKNOWN))
}

/// What a complete answer came to; `None`: it is good.
pub(super) fn failure(http: u16, status: Option<u8>, messages: &Messages) -> Option<Cause> {
    match status {
        Some(0) if messages.is_whole() => None,
        Some(0) => Some(Cause::CutShort),
        Some(code) => Some(Cause::Grpc(code)),
        None if http == 200 => Some(Cause::NoGrpcStatus),
        None => Some(Cause::Status(http)),
    }
}

/// The name of a status, 0 to 16, as in the list of gRPC's status codes.
pub(in super::super) const fn status_name(code: u8) -> &'static str {
    match code {
        0 => "OK",
        1 => "CANCELLED",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        15 => "DATA_LOSS",
        16 => "UNAUTHENTICATED",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_were_cut() {
        let all = [frame(b""), frame(b"hello"), frame(&[7; 300])].concat();
        for size in 1..=all.len() {
            let mut messages = Messages::default();
            all.chunks(size).for_each(|piece| messages.take(piece, Timestamp::ZERO));
            assert!(messages.is_whole() && messages.count == 3, "in pieces of {size}");
        }
        let mut messages = Messages::default();
        messages.take(&all[..all.len() - 1], Timestamp::ZERO);
        assert!(!messages.is_whole() && messages.count == 2);
    }

    #[test]
    fn outcomes() {
        let check = |http, status: Option<&'static str>, expected: Option<&str>| {
            let mut fields = HeaderMap::new();
            if let Some(text) = status {
                fields.insert("grpc-status", http::HeaderValue::from_static(text));
            }
            let found = failure(http, super::status(&fields), &Messages::default());
            assert_eq!(found.map(|cause| cause.to_string()).as_deref(), expected, "{status:?}");
        };
        check(200, Some("0"), None);
        check(200, Some("14"), Some("grpc-14 UNAVAILABLE"));
        check(200, Some("99"), Some("grpc-2 UNKNOWN"));
        check(200, Some("x"), Some("grpc-2 UNKNOWN"));
        check(200, None, Some("no grpc-status"));
        check(503, None, Some("status 503"));
        check(503, Some("8"), Some("grpc-8 RESOURCE_EXHAUSTED"));
    }
}
