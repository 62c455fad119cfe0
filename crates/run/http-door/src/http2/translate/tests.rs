//! Requests from HTTP/2 and responses to it, by tables, and as the strict codec reads them back.

use http::Uri;
use http_wire::{Framing, HeadLimits, RequestHead};
use proptest::prelude::*;

use super::*;

const KEY: u128 = 7;

fn request(method: &str, uri: &str, fields: &[(&str, &[u8])]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri.parse::<Uri>().unwrap());
    for (name, value) in fields {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    request.body(()).unwrap()
}

fn written(request: &Request<()>, ends: bool) -> Result<(String, Body), Untranslatable> {
    let mut out = Vec::new();
    let body = write_request(&mut out, request, ends, KEY)?;
    Ok((String::from_utf8(out).unwrap(), body))
}

#[test]
fn requests_become_lines() {
    fn check(request: &Request<()>, ends: bool, expected: (&str, Body)) {
        let (text, body) = written(request, ends).unwrap();
        assert_eq!((text.replace("\r\n", "|").as_str(), body), expected);
    }
    let plain = request("GET", "https://a.example/x?y=1", &[("te", b"trailers"), ("a", b"b")]);
    check(&plain, true, ("GET /x?y=1 HTTP/1.1|host: a.example|a: b||", Body::None));
    let sized = request("POST", "http://a/", &[("content-length", b"5")]);
    check(&sized, false, ("POST / HTTP/1.1|host: a|content-length: 5||", Body::Length));
    let open = request("POST", "http://a/", &[]);
    check(&open, false, ("POST / HTTP/1.1|host: a|transfer-encoding: chunked||", Body::Chunked));
    let crumbs =
        request("GET", "http://a/", &[("cookie", b"a=1"), ("b", b"c"), ("cookie", b"d=2")]);
    check(&crumbs, true, ("GET / HTTP/1.1|host: a|b: c|cookie: a=1; d=2||", Body::None));
    let same = request("GET", "http://a.example/", &[("host", b"A.Example")]);
    check(&same, true, ("GET / HTTP/1.1|host: a.example||", Body::None));
    let two = request("GET", "http://a/", &[("host", b"b")]);
    check(&two, true, ("GET / HTTP/1.1|host: a|host: b||", Body::None));
    let only = request("GET", "/", &[("host", b"b")]);
    check(&only, true, ("GET / HTTP/1.1|host: b||", Body::None));
    let mut socket = request("CONNECT", "https://a/chat", &[("sec-websocket-version", b"13")]);
    socket.extensions_mut().insert(Protocol::from_static("websocket"));
    let expected = "GET /chat HTTP/1.1|host: a|sec-websocket-version: 13|connection: upgrade|\
                    upgrade: websocket|sec-websocket-key: BwAAAAAAAAAAAAAAAAAAAA==||";
    check(&socket, false, (expected, Body::Tunnel));
    let mut other = request("CONNECT", "https://a/chat", &[]);
    other.extensions_mut().insert(Protocol::from_static("connect-udp"));
    check(
        &other,
        false,
        ("CONNECT / HTTP/1.1|host: a|transfer-encoding: chunked||", Body::Chunked),
    );
}

#[test]
fn what_no_request_may_hold_is_not_written() {
    for value in [&b" a"[..], b"a ", b"\ta", b"a\t"] {
        assert_eq!(
            written(&request("GET", "http://a/", &[("b", value)]), true),
            Err(Untranslatable)
        );
        let crumb = request("GET", "http://a/", &[("cookie", value)]);
        assert_eq!(written(&crumb, true), Err(Untranslatable));
    }
    let mut sized = request("CONNECT", "http://a/chat", &[("content-length", b"5")]);
    sized.extensions_mut().insert(Protocol::from_static("websocket"));
    assert_eq!(written(&sized, false), Err(Untranslatable));
    for text in [&b"a\r\nb: c"[..], b"a\nb", b"a\rb", b"a\0b"] {
        assert_eq!(check(text), Err(Untranslatable), "{text:?}");
    }
}

#[test]
fn responses_become_fields() {
    let text = "HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-accept: x\r\nsec-websocket-protocol: chat\r\n\r\n";
    let bytes = Bytes::from_static(text.as_bytes());
    let mut head = ResponseHead::default();
    head.parse(&bytes, &HeadLimits::default(), http_wire::Method::Get).unwrap();
    let told = response(&head, &bytes).unwrap();
    assert_eq!(told.status(), 200);
    let fields: Vec<_> = told.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    assert_eq!(fields, [("sec-websocket-protocol", &b"chat"[..])]);
    assert_eq!(trailers(b""), Ok(None));
    let told = trailers(b"Grpc-Status: 0\r\na:b\r\n").unwrap().unwrap();
    assert_eq!((told["grpc-status"].as_bytes(), told["a"].as_bytes()), (&b"0"[..], &b"b"[..]));
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,12}".prop_map(|name| format!("x{name}"))
}

/// Any bytes that the library lets into a field.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'\t'), 0x20_u8..0x7f, 0x80_u8..=0xff];
    proptest::collection::vec(byte, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What is written is read back as the same fields and no others, by the strict parser of the
    /// walk.
    #[test]
    fn no_value_adds_a_line(
        fields in proptest::collection::vec((name(), value()), 0..6),
        sized in any::<bool>(),
        ends in any::<bool>(),
    ) {
        let mut told: Vec<(&str, &[u8])> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        if sized {
            told.push(("content-length", b"3"));
        }
        let request = request("POST", "http://a.example/path", &told);
        let mut out = Vec::new();
        let padded = |value: &[u8]| value.trim_ascii() != value;
        match write_request(&mut out, &request, ends, KEY) {
            Err(Untranslatable) => prop_assert!(told.iter().any(|(_, value)| padded(value))),
            Ok(body) => {
                let mut head = RequestHead::default();
                // A name that looks like one that means something is refused there, as always.
                if head.parse(&out, &HeadLimits::default()).is_ok() {
                    let framing = match body {
                        Body::Length => Framing::Length(3),
                        Body::Chunked => Framing::Chunked,
                        Body::None if sized => Framing::Length(3),
                        Body::None | Body::Tunnel => Framing::None,
                    };
                    prop_assert_eq!(head.framing, framing);
                    let mut read: Vec<(Vec<u8>, Vec<u8>)> = head
                        .headers
                        .iter()
                        .map(|field| (field.name.of(&out).to_vec(), field.value.of(&out).to_vec()))
                        .filter(|(name, _)| name.starts_with(b"x"))
                        .collect();
                    let mut sent: Vec<(Vec<u8>, Vec<u8>)> = fields
                        .iter()
                        .map(|(name, value)| (name.as_bytes().to_vec(), value.clone()))
                        .collect();
                    read.sort();
                    sent.sort();
                    prop_assert_eq!(read, sent);
                }
            }
        }
    }
}
