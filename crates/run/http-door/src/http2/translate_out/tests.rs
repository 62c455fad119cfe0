//! Requests to HTTP/2 and responses from it, by tables, and as the strict codec reads them back.

use http_wire::{ChunkDecoder, Framing, HeadLimits, ResponseHead};
use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits =
    HeadLimits { bytes_max: 1 << 20, headers_max: 256, target_bytes_max: 1 << 16 };

fn translated(text: &str, secure: bool) -> Result<Request<()>, Untranslatable> {
    let mut head = RequestHead::default();
    head.parse(text.as_bytes(), &LIMITS).unwrap();
    request(&head, &Bytes::copy_from_slice(text.as_bytes()), secure)
}

/// The request as `method uri`, then each field.
fn told(text: &str) -> Vec<String> {
    let request = translated(text, false).unwrap();
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
    std::iter::once(format!("{} {}", request.method(), request.uri())).chain(fields).collect()
}

#[test]
fn a_request_keeps_its_target_and_its_fields() {
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(told(text), expected, "{text}");
    }
    check(
        "GET /a/b?c=d&e HTTP/1.1\r\nHost: Example.org:81\r\nAccept: */*\r\nX-A: 1\r\nx-a: 2\r\n\r\n",
        &["GET http://Example.org:81/a/b?c=d&e", "accept: */*", "x-a: 1", "x-a: 2"],
    );
    check(
        "POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n",
        &["POST http://a/up", "content-length: 3", "expect: 100-continue"],
    );
    // What concerns the connection to the door ends there.
    check(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: x-b\r\nx-b: 1\r\nte: trailers\r\nkeep-alive: timeout=5\r\n\r\n",
        &["POST http://a/"],
    );
    check(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        &["GET http://a/"],
    );
    check(
        "POST /a.B/C HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-type: application/grpc+proto\r\n\r\n",
        &["POST http://a/a.B/C", "content-type: application/grpc+proto", "te: trailers"],
    );
    // HTTP/1.1 clients send more in a query than HTTP/2 has room for.
    check("GET /a?b=\"<{`|}>^ HTTP/1.1\r\nhost: a\r\n\r\n", &["GET http://a/a?b=%22%3C{`|}%3E^"]);
    check("OPTIONS / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", &["OPTIONS http://[::1]:80/"]);
    let secure = translated("GET / HTTP/1.1\r\nhost: a\r\n\r\n", true).unwrap();
    assert_eq!(secure.uri(), "https://a/");
}

#[test]
fn the_end_of_a_body_is_told_once() {
    fn check(
        (status, method): (u16, Method),
        length: Option<&'static str>,
        at_end: bool,
        framing: Framing,
    ) {
        let mut fields = HeaderMap::new();
        fields.extend(
            length.map(|length| (header::CONTENT_LENGTH, HeaderValue::from_static(length))),
        );
        let wire =
            if method == Method::HEAD { http_wire::Method::Head } else { http_wire::Method::Get };
        let status = StatusCode::from_u16(status).unwrap();
        let mut out = Vec::new();
        let end = body_end(status, &fields, wire, at_end);
        write_response(&mut out, status, &fields, end).unwrap();
        let mut head = ResponseHead::default();
        head.parse(&out, &LIMITS, wire).unwrap();
        assert_eq!(head.framing, framing, "{}", String::from_utf8_lossy(&out));
        assert_eq!(head.status, status.as_u16());
    }
    check((200, Method::GET), None, false, Framing::Chunked);
    check((200, Method::GET), None, true, Framing::Length(0));
    check((200, Method::GET), Some("5"), false, Framing::Length(5));
    check((200, Method::HEAD), Some("5"), true, Framing::None);
    check((200, Method::HEAD), None, true, Framing::None);
    check((204, Method::GET), None, true, Framing::None);
    check((204, Method::GET), Some("0"), true, Framing::None);
    check((304, Method::GET), Some("5"), true, Framing::None);
}

#[test]
fn what_no_response_may_say_is_refused() {
    fn check(status: u16, fields: &[(&'static str, &'static str)], expected: Result<(), ()>) {
        let fields: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        let written = write_response(&mut Vec::new(), status, &fields, BodyEnd::Chunks);
        assert_eq!(written.map_err(|_untranslatable| ()), expected, "{status} {fields:?}");
    }
    check(200, &[("server", "a")], Ok(()));
    check(103, &[("link", "</a>")], Ok(()));
    check(101, &[], Err(()));
    check(700, &[], Err(()));
    check(200, &[("connection", "close")], Err(()));
    check(200, &[("transfer-encoding", "chunked")], Err(()));
    check(200, &[("keep-alive", "timeout=5")], Err(()));
    check(200, &[("upgrade", "h2c")], Err(()));
}

#[test]
fn trailers_pass_both_ways_without_those_that_may_not_stand_there() {
    let trailers = request_trailers(b"A: b \r\ngrpc-status: 0\r\n").unwrap();
    assert_eq!(trailers.get("a").unwrap(), "b");
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    let mut fields = HeaderMap::new();
    for (name, value) in
        [("grpc-status", "5"), ("grpc-message", "not found "), ("set-cookie", "a=b"), ("x-a", "")]
    {
        fields.append(name, HeaderValue::from_static(value));
    }
    let mut out = Vec::new();
    write_trailers(&mut out, &fields).unwrap();
    assert_eq!(out, b"grpc-status: 5\r\ngrpc-message: not found\r\nx-a: \r\n");
}

/// Any byte that `http` lets into a value: more than a server should send.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => 0x20..0x7f_u8, 1 => 0x80..=0xff_u8, 1 => Just(b'\t')];
    prop::collection::vec(byte, 0..40)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z][a-z0-9!#$%&'*+.^_`|~-]{0,20}", 1 => "content-(type|encoding)|set-cookie|server"]
}

proptest! {
    #[test]
    fn a_response_is_read_back_as_it_was_told(
        status in prop_oneof![Just(200_u16), 200..600_u16],
        fields in prop::collection::vec((name(), value()), 0..20),
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in &fields {
            if !HeaderKind::of_name(name.as_bytes()).is_hop_by_hop() {
                let value = HeaderValue::from_bytes(value).unwrap();
                map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
        }
        let status = StatusCode::from_u16(status).unwrap();
        let end = body_end(status, &map, http_wire::Method::Get, false);
        let mut out = Vec::new();
        write_response(&mut out, status, &map, end).unwrap();
        let mut head = ResponseHead::default();
        prop_assert_eq!(head.parse(&out, &LIMITS, http_wire::Method::Get), Ok(()));
        prop_assert_eq!(head.status, status.as_u16());
        let read: Vec<_> = head
            .headers
            .iter()
            .filter(|field| field.kind != HeaderKind::TransferEncoding)
            .map(|field| (field.name.of(&out), field.value.of(&out)))
            .collect();
        let told: Vec<_> = map
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes().trim_ascii()))
            .collect();
        prop_assert_eq!(read, told);
    }

    #[test]
    fn trailers_are_read_back_as_they_were_told(
        fields in prop::collection::vec((name(), value()), 0..8),
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in &fields {
            if may_be_trailer(name.as_bytes()) {
                let value = HeaderValue::from_bytes(value).unwrap();
                map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
        }
        let mut out = b"0\r\n".to_vec();
        write_trailers(&mut out, &map).unwrap();
        out.extend_from_slice(b"\r\n");
        let mut decoder = ChunkDecoder::default();
        let decoded = decoder.decode(&mut out).unwrap();
        prop_assert!(decoded.finished && decoded.data == 0);
        let read = request_trailers(decoder.trailers()).unwrap();
        prop_assert_eq!(read.len(), map.len());
        for name in map.keys() {
            let told: Vec<_> = map.get_all(name).iter().map(|v| v.as_bytes().trim_ascii()).collect();
            let read: Vec<_> = read.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            prop_assert_eq!(read, told);
        }
    }

    /// Whatever a client may say, the server is asked for the same thing, or nothing at all.
    #[test]
    fn no_request_gains_a_line(target in "[!-~]{0,60}", value in value()) {
        let mut text = format!("GET /{target} HTTP/1.1\r\nhost: a\r\nx-a: ").into_bytes();
        text.extend_from_slice(&value);
        text.extend_from_slice(b"\r\n\r\n");
        let mut head = RequestHead::default();
        if head.parse(&text, &LIMITS).is_ok() {
            let request = request(&head, &Bytes::from(text), false).unwrap();
            prop_assert_eq!(request.headers().len(), 1);
            prop_assert_eq!(request.headers()["x-a"].as_bytes(), value.trim_ascii());
            prop_assert_eq!(request.uri().authority().unwrap().as_str(), "a");
            prop_assert!(request.uri().path().starts_with('/'));
        }
    }
}
