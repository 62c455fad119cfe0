//! What is chosen for which request and response.

use http_wire::HeadLimits;
use model::Name;

use super::*;

fn settings() -> Compression {
    Compression {
        codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
        level: 4,
        bytes_min: 1000,
        types: ["text/*", "application/json", "application/*"].map(Name::from).to_vec(),
    }
}

fn choice(request: &str, response: &str) -> Choice {
    let (line, fields) = request.split_once('|').unwrap_or((request, ""));
    let request_text = format!("{line}\r\nHost: a\r\n{}\r\n", fields.replace('|', "\r\n"));
    let mut request = RequestHead::default();
    request.parse(request_text.as_bytes(), &HeadLimits::default()).unwrap();
    let response_text = format!("HTTP/1.1 {}\r\n\r\n", response.replace('|', "\r\n"));
    let mut head = ResponseHead::default();
    head.parse(response_text.as_bytes(), &HeadLimits::default(), request.method).unwrap();
    of_response(&settings(), (&request, request_text.as_bytes()), (&head, response_text.as_bytes()))
}

/// The coding for a client that sends these fields.
#[track_caller]
fn asked(fields: &str, expected: &str) {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}|") };
    let choice = choice(&format!("GET / HTTP/1.1|{fields}"), "200 OK|Content-Type: text/html");
    assert_eq!(choice.coding.map_or("", Coding::name), expected, "{fields}");
    assert!(choice.varies, "{fields}");
}

#[test]
fn the_client_says_what_it_likes() {
    asked("", "");
    asked("Accept-Encoding:", "");
    asked("Accept-Encoding: identity", "");
    asked("Accept-Encoding: deflate, compress", "");
    asked("Accept-Encoding: gzip", "gzip");
    asked("Accept-Encoding: GZip", "gzip");
    asked("Accept-Encoding: x-gzip", "gzip");
    asked("Accept-Encoding: gzip, deflate, br", "br");
    asked("Accept-Encoding: gzip, deflate, br, zstd", "zstd");
    asked("Accept-Encoding: gzip|Accept-Encoding: br", "br");
    asked("Accept-Encoding: *", "zstd");
    asked("Accept-Encoding: *;q=0", "");
    asked("Accept-Encoding: zstd;q=0, *", "br");
    asked("Accept-Encoding: gzip, *;q=0", "gzip");
    asked("Accept-Encoding: identity;q=0", "");
    asked("Accept-Encoding: identity;q=0, gzip;q=0.001", "gzip");
}

#[test]
fn weights_come_before_the_configured_order() {
    asked("Accept-Encoding: zstd;q=0.5, br;q=0.5, gzip;q=0.9", "gzip");
    asked("Accept-Encoding: zstd;q=0.5, br;q=0.501, gzip;q=0.499", "br");
    asked("Accept-Encoding: zstd;q=0.5, br;q=0.500, gzip;q=0.5", "zstd");
    asked("Accept-Encoding: gzip;q=1.000 , br ; Q=0.9", "gzip");
    asked("Accept-Encoding: gzip;q=0.5, identity", "");
    asked("Accept-Encoding: gzip;q=0.5, identity;q=0.5", "gzip");
    asked("Accept-Encoding: gzip;q=0.3, zstd;q=0, br;q=0, *;q=0.8", "");
}

#[test]
fn what_cannot_be_read_is_not_wanted() {
    for weight in ["q=2", "q=1.001", "q=0.0001", "q=", "q", "q=.5", "q=-1", "x=1", "q=0,5", ""] {
        asked(&format!("Accept-Encoding: gzip;{weight}"), "");
    }
}

#[test]
fn some_requests_are_left_alone_but_caches_learn_of_it() {
    for (request, expected) in [
        ("GET / HTTP/1.1|Accept-Encoding: br|", Some(Coding::Brotli)),
        ("POST / HTTP/1.1|Content-Length: 1|Accept-Encoding: br|", Some(Coding::Brotli)),
        ("HEAD / HTTP/1.1|Accept-Encoding: br|", None),
        ("GET / HTTP/1.0|Accept-Encoding: br|", None),
        ("GET / HTTP/1.1|Connection: upgrade|Upgrade: x|Accept-Encoding: br|", None),
        ("GET / HTTP/1.1|Cache-Control: max-age=0, No-Transform|Accept-Encoding: br|", None),
    ] {
        let choice = choice(request, "200 OK|Content-Type: text/html|Content-Length: 1000");
        assert_eq!(choice, Choice { coding: expected, varies: true }, "{request}");
    }
}

/// Whether this response is compressed for those who like it.
#[track_caller]
fn compressed(response: &str, expected: bool) {
    let choice = choice("GET / HTTP/1.1|Accept-Encoding: br|", response);
    let coding = expected.then_some(Coding::Brotli);
    assert_eq!(choice, Choice { coding, varies: expected }, "{response}");
}

#[test]
fn some_responses_are_left_alone() {
    compressed("200 OK|Content-Type: text/html", true);
    compressed("404 Not Found|Content-Type: TEXT/HTML ; charset=utf-8|Content-Length: 1000", true);
    compressed("200 OK|Content-Type: application/json|Transfer-Encoding: chunked", true);
    compressed("200 OK|Content-Type: text/event-stream", true);
    compressed("200 OK|Content-Type: application/x-new", true);
    compressed("200 OK|Content-Type: image/png", false);
    compressed("200 OK|Content-Type: textual/html", false);
    compressed("200 OK", false);
    compressed("200 OK|Content-Type: application/grpc+proto", false);
    compressed("200 OK|Content-Type: text/html|Content-Length: 999", false);
    compressed("200 OK|Content-Type: text/html|Content-Encoding: gzip", false);
    compressed("200 OK|Content-Type: text/html|Content-Encoding: identity", false);
    compressed("200 OK|Content-Type: text/html|Cache-Control: public, no-transform", false);
    compressed(
        "200 OK|Content-Type: text/html|Cache-Control: a|Cache-Control: no-transform",
        false,
    );
    compressed("204 No Content|Content-Type: text/html", false);
    compressed(
        "206 Partial Content|Content-Type: text/html|Content-Range: bytes 0-9999/20000",
        false,
    );
    compressed("304 Not Modified|Content-Type: text/html", false);
}

#[test]
fn fields_are_true_of_the_compressed_body() {
    let gzip = Choice { coding: Some(Coding::Gzip), varies: true };
    for (name, value, expected) in [
        ("ETag", "\"a\"", Some("ETag: W/\"a\"\r\n")),
        ("etag", "W/\"a\"", None),
        ("Accept-Ranges", "bytes", Some("")),
        ("Content-MD5", "x", Some("")),
        ("Digest", "x", Some("")),
        ("Repr-Digest", "x", Some("")),
        ("Content-Digest", "x", Some("")),
        ("Content-Language", "de", None),
    ] {
        let mut out = Vec::new();
        let rewritten = gzip.rewrites(&mut out, name.as_bytes(), value.as_bytes());
        let expected_text = expected.unwrap_or_default();
        assert_eq!((rewritten, &*out), (expected.is_some(), expected_text.as_bytes()), "{name}");
        assert!(!Choice::default().rewrites(&mut out, name.as_bytes(), value.as_bytes()));
    }
}

#[test]
fn vary_is_said_once() {
    for (there, expected) in [
        (&[][..], "vary: accept-encoding\r\n"),
        (&["Origin"], "vary: accept-encoding\r\n"),
        (&["Origin, Accept-Encoding"], ""),
        (&["Origin", "accept-encoding"], ""),
        (&["*"], ""),
    ] {
        let mut out = Vec::new();
        let choice = Choice { coding: None, varies: true };
        choice.write(&mut out, there.iter().map(|value| value.as_bytes()));
        assert_eq!(out, expected.as_bytes(), "{there:?}");
    }
}
