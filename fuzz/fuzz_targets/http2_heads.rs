//! Heads and trailers on their way between HTTP/2 and HTTP/1.1. What is let through is read by the
//! strict codec as the same method, target, host and fields, with one end of the body; nothing adds
//! a line; and on its way back it is what it was.
//!
//! The first byte chooses what the rest is. Messages of HTTP/2 are told in lines and, as the door's
//! library would, without what no such message may hold: names in upper case, fields of one
//! connection, a content-length that is none, and targets and hosts that are none.
#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri, uri};
use http_door::http2_mapping as mapping;
use http_wire::{
    ChunkDecoder, Framing, HeadLimits, HeadScanner, HeaderKind, RequestHead, ResponseHead,
    may_be_trailer,
};
use libfuzzer_sys::fuzz_target;

/// Larger than what is made of the largest input.
const LIMITS: HeadLimits =
    HeadLimits { bytes_max: 1 << 17, headers_max: 256, target_bytes_max: 1 << 16 };

/// The values of each name, in their order.
type Fields = BTreeMap<String, Vec<Vec<u8>>>;

fn add(fields: &mut Fields, name: &[u8], value: &[u8]) {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    fields.entry(name).or_default().push(value.trim_ascii().to_vec());
}

/// Fields that are written apart, or mean something to one side only.
fn without_apart(mut fields: Fields) -> Fields {
    fields.retain(|name, _| !matches!(name.as_str(), "host" | "te" | "http2-settings"));
    fields
}

/// Those of HTTP/2.
fn of_map(map: &HeaderMap) -> Fields {
    let mut fields = of_all(map);
    fields.retain(|name, _| !HeaderKind::of_name(name.as_bytes()).is_hop_by_hop());
    without_apart(fields)
}

/// Those of HTTP/1.1, likewise.
fn of_lines(headers: &[http_wire::Header], lines: &[u8]) -> Fields {
    let mut fields = Fields::new();
    for header in headers.iter().filter(|header| !header.hop_by_hop) {
        add(&mut fields, header.name.of(lines), header.value.of(lines));
    }
    without_apart(fields)
}

/// Crumbs of cookies become one field.
fn with_one_cookie(mut fields: Fields) -> Fields {
    if let Some(crumbs) = fields.get_mut("cookie") {
        *crumbs = vec![crumbs.join(&b"; "[..]).trim_ascii().to_vec()];
    }
    fields
}

/// Reads `name: value` from each line, as far as a message of HTTP/2 may have it.
fn read_fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines.take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let Ok(name) = HeaderName::from_lowercase(name) else { continue };
        let Ok(value) = HeaderValue::from_bytes(&value[1..]) else { continue };
        let refused = name == header::CONNECTION
            || name == header::TRANSFER_ENCODING
            || name == header::UPGRADE
            || name == "keep-alive"
            || name == "proxy-connection"
            || (name == header::TE && value != "trailers")
            || (name == header::CONTENT_LENGTH && !is_length(&fields, &value));
        if !refused {
            fields.append(name, value);
        }
    }
    fields
}

/// The library reads the first of them as a number.
fn is_length(fields: &HeaderMap, value: &HeaderValue) -> bool {
    let digits = value.as_bytes();
    fields.contains_key(header::CONTENT_LENGTH)
        || ((1..19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit))
}

/// Reads method, protocol, authority and target from the first four lines.
fn read_request<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Option<Request<()>> {
    let method = Method::from_bytes(lines.next()?).ok()?;
    let protocol = lines.next()?;
    let (authority, target) = (lines.next()?, lines.next()?);
    let mut parts = uri::Parts::default();
    if !authority.is_empty() {
        parts.authority = Some(uri::Authority::try_from(authority).ok()?);
        parts.scheme = Some(uri::Scheme::HTTP);
    }
    let is_extended = method == Method::CONNECT && !protocol.is_empty();
    if method == Method::CONNECT && !is_extended {
        parts.scheme = None;
    } else if target.is_empty() {
        return None;
    } else {
        parts.path_and_query = Some(uri::PathAndQuery::try_from(target).ok()?);
    }
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.method_mut() = method;
    if is_extended {
        let protocol = std::str::from_utf8(protocol).ok()?;
        request.extensions_mut().insert(Protocol::from(protocol));
    }
    *request.headers_mut() = read_fields(lines);
    Some(request)
}

/// One head, with one end, and no byte that some reader takes for another.
fn check_lines(lines: &[u8]) {
    assert!(lines.ends_with(b"\r\n\r\n") && !lines.contains(&0));
    let blank = lines.windows(4).filter(|window| window == b"\r\n\r\n").count();
    assert_eq!(blank, 1, "{}", lines.escape_ascii());
    let ends = |end: u8| lines.iter().filter(|byte| **byte == end).count();
    let whole = lines.windows(2).filter(|window| window == b"\r\n").count();
    assert!(ends(b'\r') == whole && ends(b'\n') == whole, "{}", lines.escape_ascii());
    if let Ok(length) = HeadScanner::default().scan(lines, &LIMITS) {
        assert_eq!(length, Some(lines.len()));
    }
}

fn check_request(request: &Request<()>, ends: bool) {
    let Some(lines) = mapping::request_to_lines(request, ends) else { return };
    check_lines(&lines);
    let mut head = RequestHead::default();
    if head.parse(&lines, &LIMITS).is_err() {
        return;
    }
    let protocol = request.extensions().get::<Protocol>().map(Protocol::as_str);
    let is_websocket = protocol == Some("websocket");
    assert!(request.method() != Method::CONNECT || is_websocket, "only these are served");
    let method = if is_websocket { "GET" } else { request.method().as_str() };
    assert_eq!(head.method_text.of(&lines), method.as_bytes());
    let target = request.uri().path_and_query().map_or("/", uri::PathAndQuery::as_str);
    assert_eq!(head.target.of(&lines), target.as_bytes());
    let hosts = request.headers().get_all(header::HOST);
    let host = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let mut hosts = host.into_iter().chain(hosts.iter().map(HeaderValue::as_bytes));
    let host = hosts.next().expect("there is no request without a host");
    assert!(hosts.all(|other| other.eq_ignore_ascii_case(host)), "two hosts");
    assert_eq!(head.authority.map(|host| host.of(&lines)), Some(host));
    let length = request.headers().get(header::CONTENT_LENGTH);
    match head.framing {
        Framing::None => assert!(length.is_none() && (ends || is_websocket)),
        Framing::Length(told) => {
            let length = length.expect("it was told").to_str().expect("digits");
            assert_eq!(length.parse(), Ok(told));
        }
        Framing::Chunked => assert!(length.is_none() && !ends && !is_websocket),
        Framing::Close => panic!("a request never ends with its connection"),
    }
    let mut read = of_lines(&head.headers, &lines);
    let mut told = with_one_cookie(of_map(request.headers()));
    if is_websocket {
        told.remove("sec-websocket-key");
        assert_eq!(read.remove("sec-websocket-key").map(|keys| keys.len()), Some(1));
        assert_eq!(head.upgrade.map(|upgrade| upgrade.of(&lines)), Some(&b"websocket"[..]));
    } else {
        told.remove("sec-websocket-key");
        assert!(head.upgrade.is_none());
    }
    assert_eq!(read, told);
    check_way_out(&head, &lines);
}

/// A request of HTTP/1.1, to a server that speaks HTTP/2, and back.
fn check_way_out(head: &RequestHead, lines: &[u8]) {
    let Some(request) = mapping::request_of_lines(head, lines) else { return };
    let told = of_lines(&head.headers, lines);
    assert_eq!(request.method().as_str().as_bytes(), head.method_text.of(lines));
    let authority = head.authority.expect("without one nothing is let through").of(lines);
    let uri = request.uri();
    assert_eq!(uri.authority().map(|known| known.as_str().as_bytes()), Some(authority));
    assert_eq!(of_map(request.headers()), told);
    let of_connection = ["connection", "transfer-encoding", "upgrade", "keep-alive", "host"];
    assert!(of_connection.iter().all(|name| !request.headers().contains_key(*name)));
    let ends = matches!(head.framing, Framing::None);
    let Some(again) = mapping::request_to_lines(&request, ends) else {
        panic!("there is no way back: {}", lines.escape_ascii());
    };
    check_lines(&again);
    let mut second = RequestHead::default();
    assert_eq!(second.parse(&again, &LIMITS), Ok(()), "{}", again.escape_ascii());
    assert_eq!(second.method, head.method);
    assert_eq!(second.path(), head.path(), "the path is another");
    let query = |head: &RequestHead| head.query().map(decoded);
    assert_eq!(query(&second), query(head), "the query is another");
    assert_eq!(second.framing, head.framing);
    let mut told = with_one_cookie(told);
    told.remove("sec-websocket-key");
    assert_eq!(of_lines(&second.headers, &again), told);
}

/// A query whose escapes are what they stand for: one that was added means the same.
fn decoded(query: &str) -> Vec<u8> {
    let hex = |at: usize| query.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(byte) = query.as_bytes().get(at) {
        match hex(at + 1).filter(|_| *byte == b'%') {
            Some(meant) => (out.push(meant), at += 3),
            None => (out.push(*byte), at += 1),
        };
    }
    out
}

fn check_response(status: StatusCode, fields: &HeaderMap, to: http_wire::Method, at_end: bool) {
    let Some(lines) = mapping::response_to_lines(status, fields, to, at_end) else { return };
    check_lines(&lines);
    let mut head = ResponseHead::default();
    if head.parse(&lines, &LIMITS, to).is_err() {
        return;
    }
    assert_eq!(head.status, status.as_u16());
    assert_ne!(head.framing, Framing::Close, "its end is told");
    let mut told = of_map(fields);
    let mut read = of_lines(&head.headers, &lines);
    // Written where there was none, left out where there is no body; equal ones become one.
    let one = |fields: &mut Fields| Some(fields.remove("content-length")?.swap_remove(0));
    let lengths = (one(&mut told), one(&mut read));
    assert!(lengths.0 == lengths.1 || status == 204 || (at_end && lengths.0.is_none()));
    assert_eq!(read, told);
    check_way_back(&head, &lines);
}

/// A response of HTTP/1.1 to a client that speaks HTTP/2.
fn check_way_back(head: &ResponseHead, lines: &[u8]) {
    let bytes = Bytes::copy_from_slice(lines);
    let Some(response) = mapping::response_of_lines(head, &bytes) else { return };
    let opens_tunnel = head.status == 101;
    assert_eq!(response.status().as_u16(), if opens_tunnel { 200 } else { head.status });
    let mut told = of_lines(&head.headers, lines);
    if opens_tunnel {
        told.remove("sec-websocket-accept");
        told.remove("content-length");
    }
    assert_eq!(of_map(response.headers()), told);
    for name in ["connection", "transfer-encoding", "upgrade", "keep-alive"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
}

fn check_trailers(trailers: &HeaderMap) {
    let read_end = |mut end: Vec<u8>| {
        let mut decoder = ChunkDecoder::default();
        let decoded = decoder.decode(&mut end).ok()?;
        assert!(decoded.finished && decoded.data == 0 && decoded.consumed == end.len());
        Some(decoder.trailers().to_vec())
    };
    let told = of_all(trailers);
    if let Some(lines) = mapping::trailers_to_body_end(trailers).and_then(read_end) {
        assert_eq!(mapping::request_trailers_of_lines(&lines).as_ref().map(of_all), Some(told));
    }
    if let Some(lines) = mapping::trailers_to_lines(trailers) {
        let mut told = of_all(trailers);
        told.retain(|name, _| may_be_trailer(name.as_bytes()));
        let read = read_end([b"0\r\n", &lines[..], b"\r\n"].concat());
        // The codec bounds them, and their names.
        if let Some(lines) = read {
            let read = mapping::response_trailers_of_lines(&lines);
            assert_eq!(read.as_ref().map(of_all), Some(told));
        }
    }
}

fn of_all(map: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in map {
        add(&mut fields, name.as_str().as_bytes(), value.as_bytes());
    }
    fields
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let flag = choice & 0x10 != 0;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    match choice & 7 {
        0 | 1 => {
            let Some(request) = read_request(lines) else { return };
            check_request(&request, flag);
        }
        2 => {
            let status = lines.next().and_then(|line| StatusCode::from_bytes(line).ok());
            let Some(status) = status else { return };
            let to =
                if choice & 0x20 != 0 { http_wire::Method::Head } else { http_wire::Method::Get };
            check_response(status, &read_fields(lines), to, flag);
        }
        3 => check_trailers(&read_fields(lines)),
        4 => {
            let mut head = RequestHead::default();
            if head.parse(bytes, &LIMITS).is_ok() {
                check_way_out(&head, bytes);
            }
        }
        _ => {
            let mut head = ResponseHead::default();
            if head.parse(bytes, &LIMITS, http_wire::Method::Get).is_ok() {
                check_way_back(&head, bytes);
            }
        }
    }
});
