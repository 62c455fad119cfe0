//! What gRPC says over HTTP: how long a call may take, and how a refusal reads.
//!
//! Everything else of a call passes like any other request: its messages are the body, its status
//! is a trailer. Formats: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, statuses:
//! <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>.
//!
//! Invariant: a call that the door refuses gets one answer that its client understands: a head that
//! carries the status, without a body.

use std::time::Duration;

use http_wire::{HeaderKind, Method, RequestHead};
use model::Reason;

/// The type of a gRPC message begins like this, whatever encodes its messages.
const GRPC: &[u8] = b"application/grpc";
const GRPC_WEB: &[u8] = b"application/grpc-web";

/// Statuses of gRPC that a refusal can have.
const DEADLINE_EXCEEDED: u8 = 4;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;

/// True for a content type of gRPC, or of gRPC-Web.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    starts_with(content_type, GRPC)
}

/// The content type of a refusal, when the request is a call.
pub(crate) fn answer_type(head: &RequestHead, bytes: &[u8]) -> Option<&'static str> {
    let asked = head.header(bytes, HeaderKind::ContentType).filter(|asked| is_grpc(asked))?;
    Some(if starts_with(asked, GRPC_WEB) { "application/grpc-web" } else { "application/grpc" })
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

/// The most time that the request may take: what is configured, or what its client says, if it is
/// a call and that is less.
pub(crate) fn total(
    configured: Option<Duration>,
    head: &RequestHead,
    bytes: &[u8],
) -> Option<Duration> {
    let is_call = head.method == Method::Post
        && head.header(bytes, HeaderKind::ContentType).is_some_and(is_grpc);
    let told = if is_call { head.header_named(bytes, "grpc-timeout") } else { None };
    let told = told.and_then(timeout);
    configured.into_iter().chain(told).min()
}

/// The value of `grpc-timeout`: at most eight digits and a unit. `None` for anything else: it is
/// for the server to complain.
fn timeout(value: &[u8]) -> Option<Duration> {
    let (&unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// What a refusal is to the caller. Clients try again what is `UNAVAILABLE`.
pub(crate) fn status(reason: Reason) -> u8 {
    match reason.status() {
        _ if reason == Reason::TooLate => DEADLINE_EXCEEDED,
        _ if reason == Reason::TooManyRetries => RESOURCE_EXHAUSTED,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        408 | 504 => DEADLINE_EXCEEDED,
        413 | 429 | 431 => RESOURCE_EXHAUSTED,
        502 | 503 if reason.retryable() => UNAVAILABLE,
        _ => INTERNAL,
    }
}

/// What the `grpc-status` of a response without messages says of the server, as a status of HTTP;
/// `None` when the server did its work, whatever came of it. A server that fails fast must not
/// look like one that is fast.
pub(crate) fn failure(status: &[u8]) -> Option<u16> {
    match status {
        // UNKNOWN is what becomes of an exception; INTERNAL and DATA_LOSS say it themselves.
        b"2" | b"13" | b"15" => Some(500),
        b"4" => Some(504),
        b"8" => Some(429),
        b"14" => Some(503),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        fn check(value: &str, expected: Option<Duration>) {
            assert_eq!(timeout(value.as_bytes()), expected, "{value:?}");
        }
        check("1H", Some(Duration::from_secs(3600)));
        check("2M", Some(Duration::from_secs(120)));
        check("3S", Some(Duration::from_secs(3)));
        check("250m", Some(Duration::from_millis(250)));
        check("99999999u", Some(Duration::from_micros(99_999_999)));
        check("0n", Some(Duration::ZERO));
        for refused in ["", "S", "1", "1s", "123456789S", "-1S", "1 S", "1.5S", "1SS"] {
            check(refused, None);
        }
    }

    #[test]
    fn the_shorter_time_counts_and_only_calls_have_their_own() {
        fn check(configured_s: Option<u64>, fields: &str, expected_s: Option<u64>) {
            let text = format!("POST /a.B/C HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
            let mut head = RequestHead::default();
            head.parse(text.as_bytes(), &http_wire::HeadLimits::default()).unwrap();
            let found = total(configured_s.map(Duration::from_secs), &head, text.as_bytes());
            assert_eq!(found, expected_s.map(Duration::from_secs), "{text}");
        }
        let call = "content-type: application/grpc+proto\r\ngrpc-timeout: 5S\r\n";
        check(None, call, Some(5));
        check(Some(9), call, Some(5));
        check(Some(3), call, Some(3));
        check(Some(9), "grpc-timeout: 5S\r\n", Some(9));
        check(None, "content-type: text/plain\r\ngrpc-timeout: 5S\r\n", None);
        check(None, "content-type: application/grpc\r\n", None);
    }

    #[test]
    fn only_failures_of_the_server_are_held_against_it() {
        for status in 0..=16 {
            let held = failure(status.to_string().as_bytes()).is_some();
            assert_eq!(held, [2, 4, 8, 13, 14, 15].contains(&status), "{status}");
        }
    }

    #[test]
    fn every_refusal_has_a_status_and_a_message() {
        for &reason in Reason::ALL {
            let (status, detail) = (status(reason), reason.detail());
            assert!((1..=16).contains(&status), "{reason}");
            // So that it need not be percent-encoded.
            assert!(detail.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'%'));
        }
        for (reason, expected) in [
            (Reason::NoServer, UNAVAILABLE),
            (Reason::ConnectFailed, UNAVAILABLE),
            (Reason::Shed, UNAVAILABLE),
            (Reason::Draining, UNAVAILABLE),
            (Reason::RateLimited, RESOURCE_EXHAUSTED),
            (Reason::BodyTooLarge, RESOURCE_EXHAUSTED),
            (Reason::TooManyRetries, RESOURCE_EXHAUSTED),
            (Reason::TotalTimeout, DEADLINE_EXCEEDED),
            (Reason::TooLate, DEADLINE_EXCEEDED),
            (Reason::ClientRoute, PERMISSION_DENIED),
            (Reason::NoRoute, UNIMPLEMENTED),
            (Reason::BadResponse, INTERNAL),
            (Reason::BadHeader, INTERNAL),
        ] {
            assert_eq!(status(reason), expected, "{reason}");
        }
    }
}
