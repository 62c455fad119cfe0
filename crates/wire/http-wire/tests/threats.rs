//! The HTTP/1 cases that must not get through, one test for each line of the threat list (1 to
//! 28), as far as a codec can decide them: the input is refused, with the reason that is true.

use http_wire::{
    ChunkDecoder, ChunkLimits, Framing, HeadLimits, HeadScanner, HeaderKind, Method, RequestHead,
    ResponseHead, canonical_path,
};
use model::Reason;

/// Scans and parses a request, as a connection would.
fn parse(text: &str) -> Result<RequestHead, Reason> {
    let limits = HeadLimits::default();
    let length = HeadScanner::default()
        .scan(text.as_bytes(), &limits)?
        .expect("the test writes whole heads");
    assert_eq!(length, text.len(), "the test writes one head: {text:?}");
    let mut head = RequestHead::default();
    head.parse(text.as_bytes(), &limits).map(|()| head)
}

/// A request with these further lines is refused for this reason, and so it is without a scanner.
fn refused(lines: &str, reason: Reason) {
    whole_refused(&format!("POST /upload HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n"), reason);
}

fn whole_refused(text: &str, reason: Reason) {
    assert_eq!(parse(text).err(), Some(reason), "{text:?}");
    let unscanned = RequestHead::default().parse(text.as_bytes(), &HeadLimits::default());
    assert!(unscanned.is_err(), "{text:?} passed without a scanner");
}

fn accepted(text: &str) -> RequestHead {
    parse(text).unwrap_or_else(|reason| panic!("{reason}: {text:?}"))
}

fn accepted_lines(lines: &str) -> RequestHead {
    accepted(&format!("POST /upload HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n"))
}

fn response(text: &str, method: Method) -> Result<ResponseHead, Reason> {
    let mut head = ResponseHead::default();
    head.parse(text.as_bytes(), &HeadLimits::default(), method).map(|()| head)
}

fn response_refused(text: &str) {
    assert_eq!(response(text, Method::Get).err(), Some(Reason::BadResponse), "{text:?}");
}

/// Decodes a body that arrives at once, and again byte by byte: data, trailers, bytes left.
fn decode(text: &[u8]) -> Result<(Vec<u8>, Vec<u8>, usize), Reason> {
    let mut bytes = text.to_vec();
    let mut decoder = ChunkDecoder::new(ChunkLimits::default());
    let whole = decoder.decode(&mut bytes);
    let mut slow = ChunkDecoder::new(ChunkLimits::default());
    let last = text.iter().map(|&byte| slow.decode(&mut [byte])).find(|step| step.is_err());
    match whole {
        Ok(decoded) => {
            assert!(last.is_none(), "cut into bytes, this is refused: {text:?}");
            assert!(decoded.finished, "the test writes whole bodies: {text:?}");
            let data = bytes.get(..decoded.data).expect("data is in the input").to_vec();
            Ok((data, decoder.trailers().to_vec(), text.len() - decoded.consumed))
        }
        Err(reason) => {
            assert_eq!(last, Some(Err(reason)), "cut into bytes: {text:?}");
            Err(reason)
        }
    }
}

fn chunks_refused(text: &str, reason: Reason) {
    assert_eq!(decode(text.as_bytes()).err(), Some(reason), "{text:?}");
}

fn path_of(target: &str) -> Result<String, Reason> {
    parse(&format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"))
        .map(|head| head.path().to_owned())
}

fn paths(table: &[(&str, &str)]) {
    for (target, canonical) in table {
        assert_eq!(path_of(target).as_deref(), Ok(*canonical), "{target:?}");
    }
}

/// A path that the door has put together goes the way of one that a client asks for.
#[test]
fn paths_put_together_are_made_canonical() {
    let mut out = "left over".to_owned();
    let mut canonical =
        |path: &str| canonical_path(path.as_bytes(), &mut out).map(|()| out.clone());
    for (path, expected) in
        [("", "/"), ("a/../b", "/b"), ("/a/./b%2f%7e", "/a/b%2F~"), ("//a", "//a"), ("/a/..", "/")]
    {
        assert_eq!(canonical(path).as_deref(), Ok(expected), "{path:?}");
    }
    for path in ["..", "/../a", "/a/..;b", "/a/..%2Fb", "/a%2", "/a?b", "/a#b", "/a b", "/a\\b"] {
        assert_eq!(canonical(path), Err(Reason::BadTarget), "{path:?}");
    }
}

fn targets_refused(targets: &[&str]) {
    for target in targets {
        assert_eq!(path_of(target), Err(Reason::BadTarget), "{target:?}");
    }
}

#[test]
fn threat_01_content_length_with_transfer_encoding() {
    refused("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Reason::AmbiguousFraming);
    refused("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Reason::AmbiguousFraming);
    refused("content-length: 0\r\nTRANSFER-ENCODING: Chunked\r\n", Reason::AmbiguousFraming);
    whole_refused(
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        Reason::AmbiguousFraming,
    );
    response_refused("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
    response_refused(
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(accepted_lines("Content-Length: 5\r\n").framing, Framing::Length(5));
    assert_eq!(accepted_lines("Transfer-Encoding: CHUNKED\r\n").framing, Framing::Chunked);
    assert_eq!(accepted_lines("").framing, Framing::None);
}

#[test]
fn threat_02_duplicate_or_list_content_length() {
    refused("Content-Length: 5\r\nContent-Length: 5\r\n", Reason::BadContentLength);
    refused("Content-Length: 5\r\ncontent-length: 6\r\n", Reason::BadContentLength);
    refused("Content-Length: 5, 5\r\n", Reason::BadContentLength);
    refused("Content-Length: 5,6\r\n", Reason::BadContentLength);
    response_refused("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n");
    response_refused("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n");
    let equal =
        response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Method::Get)
            .expect("equal lengths are one length");
    assert_eq!(equal.framing, Framing::Length(5));
    let forwarded: Vec<bool> = equal.headers.iter().map(|header| !header.hop_by_hop).collect();
    assert_eq!(forwarded, [true, false], "only one of them is forwarded");
}

#[test]
fn threat_03_content_length_that_is_no_plain_number() {
    for value in [
        "+5",
        "-5",
        "0x5",
        "010",
        "5 5",
        "5;",
        "5.0",
        "",
        "five",
        "1_0",
        "18446744073709551616",
        "9223372036854775808",
        "99999999999999999999999",
        "\u{665}",
    ] {
        refused(&format!("Content-Length: {value}\r\n"), Reason::BadContentLength);
        response_refused(&format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\n"));
    }
    assert_eq!(accepted_lines("Content-Length:  5 \t\r\n").framing, Framing::Length(5));
}

#[test]
fn threat_04_transfer_encoding_with_control_bytes() {
    for value in ["\u{b}chunked", "chunked\u{b}", "\u{0}chunked", "chunked\u{c}", "chu\u{7f}nked"] {
        refused(&format!("Transfer-Encoding: {value}\r\n"), Reason::BadHeader);
        response_refused(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {value}\r\n\r\n"));
    }
    for value in [
        "xchunked",
        "chunkedx",
        "chunke",
        "",
        "\"chunked\"",
        "chunked,",
        ",chunked",
        "\u{a0}chunked",
    ] {
        refused(&format!("Transfer-Encoding: {value}\r\n"), Reason::BadTransferEncoding);
        response_refused(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {value}\r\n\r\n"));
    }
    refused("Transfer-Encoding:\r\n chunked\r\n", Reason::BadHeader);
    refused("Transfer-Encoding: chunked\r\n\tX: y\r\n", Reason::BadHeader);
    response_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n");
}

#[test]
fn threat_05_duplicate_transfer_encoding() {
    refused(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        Reason::BadTransferEncoding,
    );
    refused("Transfer-Encoding: chunked, chunked\r\n", Reason::BadTransferEncoding);
    refused(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        Reason::BadTransferEncoding,
    );
    response_refused(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
}

#[test]
fn threat_06_chunked_is_not_the_final_coding() {
    for value in ["chunked, gzip", "chunked, identity", "identity", "gzip", "gzip, chunked"] {
        refused(&format!("Transfer-Encoding: {value}\r\n"), Reason::BadTransferEncoding);
        response_refused(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {value}\r\n\r\n"));
    }
}

#[test]
fn threat_07_transfer_encoding_or_close_delimited_request_on_http_10() {
    whole_refused(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        Reason::BadTransferEncoding,
    );
    whole_refused(
        "GET / HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n",
        Reason::BadTransferEncoding,
    );
    whole_refused("POST / HTTP/1.0\r\nHost: a\r\n\r\n", Reason::BadContentLength);
    whole_refused("PUT / HTTP/1.0\r\nHost: a\r\n\r\n", Reason::BadContentLength);
    response_refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let old = accepted("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((old.framing, old.keep_alive, old.host), (Framing::None, false, None));
    assert!(accepted("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
}

#[test]
fn threat_08_chunked_with_a_parameter() {
    for value in ["chunked;ext=val", "chunked; q=1", "chunked;"] {
        refused(&format!("Transfer-Encoding: {value}\r\n"), Reason::BadTransferEncoding);
        response_refused(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {value}\r\n\r\n"));
    }
}

#[test]
fn threat_09_bare_line_end_in_a_chunk_extension() {
    for text in [
        "5;\nxx\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a=b\rc\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\n\"\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;\u{0}\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\u{1}\"\r\nhello\r\n0\r\n\r\n",
    ] {
        chunks_refused(text, Reason::BadChunk);
    }
    let (data, trailers, left) = decode(b"5;a;b=c;d=\"e \\\" f\"\r\nhello\r\n0;last\r\n\r\nGET")
        .expect("valid extensions are dropped");
    assert_eq!((data.as_slice(), trailers.as_slice(), left), (&b"hello"[..], &b""[..], 3));
}

#[test]
fn threat_10_chunk_size_that_is_no_plain_number() {
    for size in [
        "-5",
        "+5",
        "0x5",
        "0X5",
        "5_0",
        "5 ",
        " 5",
        "\t5",
        "",
        "g",
        "5h",
        "8000000000000000",
        "10000000000000005",
        "00000000000000005",
        "fffffffffffffffff",
        ";a",
        "\u{665}",
    ] {
        chunks_refused(&format!("{size}\r\nhello\r\n0\r\n\r\n"), Reason::BadChunk);
    }
    assert_eq!(
        decode(b"0005\r\nhello\r\n000\r\n\r\n").map(|(data, ..)| data).as_deref(),
        Ok(&b"hello"[..])
    );
    assert_eq!(
        decode(b"a\r\n0123456789\r\n0\r\n\r\n").map(|(data, ..)| data).as_deref(),
        Ok(&b"0123456789"[..])
    );
}

#[test]
fn threat_11_overlong_chunk_size_line() {
    chunks_refused(&format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(100_000)), Reason::BadChunk);
    chunks_refused(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(256)), Reason::BadChunk);
    assert!(decode(format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(255)).as_bytes()).is_ok());
    let two = format!("1;{}\r\nx\r\n", "a".repeat(200)).repeat(2);
    assert!(
        decode(format!("{two}0\r\n\r\n").as_bytes()).is_ok(),
        "the limit of a chunk is of one chunk"
    );
    // Short extensions on very many small chunks are limited in all.
    let many = format!("1;{}\r\nx\r\n", "a".repeat(200)).repeat(100);
    chunks_refused(&format!("{many}0\r\n\r\n"), Reason::BadChunk);
}

#[test]
fn threat_12_chunk_spill() {
    for text in [
        "5\r\nhello6\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\rX0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
    ] {
        chunks_refused(text, Reason::BadChunk);
    }
}

#[test]
fn threat_13_forbidden_trailers() {
    for name in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Authorization",
        "Cookie",
        "Set-Cookie",
        "Content-Type",
        "Content-Encoding",
        "Content-Range",
        "Connection",
        "Trailer",
        "TE",
        "Upgrade",
        "Expect",
        "X-Forwarded-For",
        "x-forwarded-user",
        "Forwarded",
        "X-Request-Id",
        "Traceparent",
        "Via",
        "Proxy-Authorization",
        "WWW-Authenticate",
        "Cache-Control",
        "If-Match",
        "Range",
        "Content_Length",
        "x_forwarded_for",
        "Vary",
    ] {
        chunks_refused(&format!("0\r\n{name}: x\r\n\r\n"), Reason::BadTrailer);
    }
    for line in
        [": x", "a b: x", "a : x", " a: x", "a", "a: b\u{0}", "a: \u{b}b", "a: b\n", "a: b\rc"]
    {
        chunks_refused(&format!("0\r\n{line}\r\n\r\n"), Reason::BadTrailer);
    }
    chunks_refused(&format!("0\r\n{}\r\n", "a: b\r\n".repeat(33)), Reason::BadTrailer);
    chunks_refused(&format!("0\r\na: {}\r\n\r\n", "b".repeat(8_192)), Reason::BadTrailer);
    let (data, trailers, left) =
        decode(b"2\r\nhi\r\n0\r\nServer-Timing: db;dur=5\r\nContent-Digest: x\r\n\r\n")
            .expect("harmless trailers");
    assert_eq!((data.as_slice(), left), (&b"hi"[..], 0));
    assert_eq!(trailers, b"Server-Timing: db;dur=5\r\nContent-Digest: x\r\n");
}

#[test]
fn threat_14_upgrade_is_asked_for_plainly_or_not_at_all() {
    let upgrade = |version: &str, lines: &str| {
        let text = format!("GET /chat HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        accepted(&text)
            .upgrade
            .map(|span| String::from_utf8_lossy(span.of(text.as_bytes())).into_owned())
    };
    let ask = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(upgrade("1.1", ask).as_deref(), Some("websocket"));
    assert_eq!(upgrade("1.0", ask), None);
    assert_eq!(upgrade("1.1", "Upgrade: websocket\r\n"), None);
    assert_eq!(upgrade("1.1", "Connection: Upgrade\r\n"), None);
    assert_eq!(upgrade("1.1", &format!("{ask}Content-Length: 5\r\n")), None);
    assert_eq!(upgrade("1.1", &format!("{ask}Transfer-Encoding: chunked\r\n")), None);
    assert_eq!(upgrade("1.1", &format!("{ask}Upgrade: websocket\r\n")), None);
    assert_eq!(upgrade("1.1", "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n"), None);
    assert_eq!(upgrade("1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"), None);
}

#[test]
fn threat_15_only_101_changes_the_protocol() {
    let lines = "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switched = response(&format!("HTTP/1.1 101 Switching Protocols\r\n{lines}"), Method::Get)
        .expect("a plain 101");
    assert!(switched.upgrade.is_some() && !switched.is_interim());
    let not =
        response(&format!("HTTP/1.1 200 OK\r\n{lines}"), Method::Get).expect("a plain response");
    assert_eq!((not.upgrade, not.framing), (None, Framing::Close));
    response_refused("HTTP/1.1 101 Switching Protocols\r\n\r\n");
    response_refused("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
}

#[test]
fn threat_16_expectation() {
    for value in ["100-continue, 100-continue", "", "200-ok", "100-continue;a", "y 100-continue"] {
        refused(&format!("Content-Length: 5\r\nExpect: {value}\r\n"), Reason::BadExpectation);
    }
    refused(
        "Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n",
        Reason::BadExpectation,
    );
    assert!(accepted_lines("Content-Length: 5\r\nExpect: 100-Continue\r\n").expect_continue);
    assert!(
        !accepted_lines("Expect: 100-continue\r\n").expect_continue,
        "there is no body to wait with"
    );
    assert!(!accepted_lines("Content-Length: 0\r\nExpect: 100-continue\r\n").expect_continue);
    let old = accepted("POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert!(!old.expect_continue, "HTTP/1.0 has no interim responses");
    let interim =
        response("HTTP/1.1 100 Continue\r\n\r\n", Method::Post).expect("an interim response");
    assert!(interim.is_interim() && interim.framing == Framing::None && interim.keep_alive);
}

#[test]
fn threat_17_headers_nominated_by_connection() {
    for name in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Authorization",
        "Cookie",
        "X-Forwarded-For",
        "x-forwarded-user",
        "Forwarded",
        "X-Request-Id",
        "Via",
        "traceparent",
        "X-Real-IP",
        "Content-Type",
        "x_forwarded_for",
        "X-Remote-User",
        "Origin",
        "a b",
        "\"x\"",
    ] {
        refused(&format!("Connection: close, {name}\r\n"), Reason::BadConnectionHeader);
    }
    response_refused("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Content-Length\r\n\r\n");
    // Some servers do nominate it; it is never forwarded as it is.
    let text =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n\r\n";
    assert_eq!(response(text, Method::Get).map(|head| head.framing).ok(), Some(Framing::Chunked));
    let many: Vec<String> = (0..40).map(|number| format!("x{number}")).collect();
    refused(&format!("Connection: {}\r\n", many.join(",")), Reason::BadConnectionHeader);
    let text = "GET / HTTP/1.1\r\nHost: a\r\nHop: 1\r\nTE: trailers\r\nStay: 1\r\nConnection: TE, , hop\r\nHOP: 2\r\n\r\n";
    let removed: Vec<&[u8]> = accepted(text)
        .headers
        .iter()
        .filter(|h| h.hop_by_hop)
        .map(|h| h.name.of(text.as_bytes()))
        .collect();
    assert_eq!(removed, [&b"Hop"[..], b"TE", b"Connection", b"HOP"]);
}

#[test]
fn threat_18_look_alike_headers() {
    for name in [
        "X_Forwarded_For",
        "x_forwarded-for",
        "X_Real_IP",
        "Content_Length",
        "content_length",
        "Transfer_Encoding",
        "x_request_id",
        "X.Forwarded.For",
        "X-Forwarded!Proto",
        "X_Forwarded_User",
        "x_remote_user",
        "Remote_User",
        "SSL_CLIENT_CERT",
        "User_Agent",
        "x_auth_request_email",
    ] {
        refused(&format!("{name}: 1\r\n"), Reason::BadHeader);
    }
    let text = "GET / HTTP/1.1\r\nHost: a\r\nmy_header: 1\r\n\r\n";
    assert_eq!(accepted(text).header_named(text.as_bytes(), "my_header"), Some(&b"1"[..]));
}

#[test]
fn threat_19_identity_headers_in_any_form_are_known() {
    for (name, kind) in [
        ("X-FORWARDED-FOR", HeaderKind::XForwardedFor),
        ("x-forwarded-for", HeaderKind::XForwardedFor),
        ("x-Forwarded-Proto", HeaderKind::XForwardedProto),
        ("X-Forwarded-Host", HeaderKind::XForwardedHost),
        ("X-Forwarded-Port", HeaderKind::XForwardedPort),
        ("X-Forwarded-User", HeaderKind::XForwardedOther),
        ("FORWARDED", HeaderKind::Forwarded),
        ("x-real-IP", HeaderKind::XRealIp),
    ] {
        let head = accepted_lines(&format!("{name}: 1\r\n"));
        assert_eq!(head.headers.last().map(|header| header.kind), Some(kind), "{name}");
        assert!(kind.is_forwarding(), "{name}");
    }
    for name in [
        "X-Forwarded-For\u{a0}",
        "X-Forwarded-For\u{0}",
        "\u{feff}X-Forwarded-For",
        "X Forwarded-For",
    ] {
        refused(&format!("{name}: 1\r\n"), Reason::BadHeader);
    }
}

#[test]
fn threat_20_empty_header_name() {
    refused(": empty\r\n", Reason::BadHeader);
    refused(":\r\n", Reason::BadHeader);
    refused("no colon\r\n", Reason::BadHeader);
    response_refused("HTTP/1.1 200 OK\r\n: empty\r\n\r\n");
}

#[test]
fn threat_21_space_before_the_colon() {
    refused("Content-Length : 5\r\n", Reason::BadHeader);
    refused("Transfer-Encoding\t: chunked\r\n", Reason::BadHeader);
    refused(" Content-Length: 5\r\n", Reason::BadHeader);
    whole_refused("GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n", Reason::BadHeader);
    response_refused("HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n");
}

#[test]
fn threat_22_bare_line_ends() {
    for text in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\n",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\nContent-Length: 5\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        whole_refused(text, Reason::BareLineEnd);
    }
    whole_refused("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine);
    assert_eq!(accepted("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").path(), "/");
    for text in [
        "HTTP/1.1 200 OK\nA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n\n",
        "HTTP/1.1 200 O\rK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        response_refused(text);
    }
}

#[test]
fn threat_23_target_against_host() {
    for text in [
        "GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n",
        "GET http://a.example:81/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET https://a.example/ HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ] {
        whole_refused(text, Reason::BadHost);
    }
    for target in [
        "http://user@a.example/",
        "http://a.example:x/",
        "http:///",
        "http://",
        "ftp://a.example/",
        "http:/a",
        "a.example:80",
        "http://a.example\\@b/",
        "http://a.example#b",
        "*",
        "/a#b",
        "#",
        "javascript:alert(1)",
        "a",
    ] {
        targets_refused(&[target]);
    }
    let text = "GET HTTP://A.example:80?x=1 HTTP/1.1\r\nHost: a.example.\r\n\r\n";
    let head = accepted(text);
    assert_eq!((head.path(), head.query(), head.path_changed()), ("/", Some("x=1"), true));
    assert_eq!(head.host.map(|host| host.of(text.as_bytes())), Some(&b"A.example"[..]));
    assert_eq!(head.authority.map(|host| host.of(text.as_bytes())), Some(&b"A.example:80"[..]));
    assert_eq!(accepted("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").forwarded_target(), "*");
    assert_eq!(accepted("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n").forwarded_target(), "*");
    whole_refused("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Reason::MethodNotServed);
    whole_refused("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::MethodNotServed);
    for method in ["head", "Get", "cOnnect"] {
        whole_refused(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"), Reason::BadRequestLine);
    }
}

#[test]
fn threat_24_dot_segments_with_parameters() {
    targets_refused(&[
        "/..;a=b/admin",
        "/..;/admin",
        "/a/..;/admin",
        "/a/.;/admin",
        "/a/..%3b/admin",
        "/a/..%3Bx=y/admin",
        "/%2e%2e;a=b/admin",
        "/a/%2e%2e%3b/admin",
        "/a/..%253b/admin",
        "/.;",
    ]);
    paths(&[
        ("/a;b=c/d", "/a;b=c/d"),
        ("/a..;b/c", "/a..;b/c"),
        ("/a;/..b", "/a;/..b"),
        ("/...;a/b", "/...;a/b"),
    ]);
}

#[test]
fn threat_25_percent_encoding_in_any_case() {
    paths(&[
        ("/%61dmin", "/admin"),
        ("/%41dmin", "/Admin"),
        ("/%7euser", "/~user"),
        ("/%7Euser", "/~user"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%2Fb", "/a%2Fb"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%20b", "/a%20b"),
        ("/100%25", "/100%25"),
        ("/a|b^c{d}", "/a%7Cb%5Ec%7Bd%7D"),
        ("/%7b", "/%7B"),
    ]);
    targets_refused(&["/%", "/%4", "/%4g", "/%g4", "/a%", "/%%41", "/%u0061", "/%+1"]);
}

#[test]
fn threat_26_dot_segments_never_reach_a_stripped_path() {
    paths(&[
        ("/api/../admin", "/admin"),
        ("/api/%2e%2e/admin", "/admin"),
        ("/api/.%2E/admin", "/admin"),
        ("/api/./x", "/api/x"),
        ("/api/.", "/api/"),
        ("/api/..", "/"),
        ("/api/x/..", "/api/"),
        ("/a/b/../../c", "/c"),
        ("/api//x", "/api//x"),
        ("/a//../b", "/a/b"),
        ("/./", "/"),
        ("/.", "/"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a..", "/a.."),
    ]);
    targets_refused(&[
        "/..",
        "/../",
        "/a/../..",
        "/a/../../b",
        "/%2e%2e",
        "/api/..%2fadmin",
        "/api/%2e%2e%2fadmin",
        "/api%2f..%2fadmin",
        "/api%2f../admin%2f..",
        "/api/%252e%252e/admin",
        "/api/%25252e%25252e/admin",
        "/api/..%252fadmin",
        "/api/..%255cadmin",
        "/api/.%2fx",
        "/a/%2f..",
    ]);
}

#[test]
fn threat_27_overlong_utf8_backslash_and_nul() {
    targets_refused(&[
        "/%c0%ae%c0%ae/admin",
        "/%c0%af",
        "/%e0%80%af",
        "/%f0%80%80%af",
        "/%c1%9c",
        "/%ff",
        "/%80",
        "/%c3",
        "/%c3/x",
        "/%c3a9",
        "/%ed%a0%80",
        "/%f4%90%80%80",
        "/a\\b",
        "/..\\admin",
        "/a%5cb",
        "/a%5Cb",
        "/a%255c..",
        "/%00",
        "/a%00.txt",
        "/%0d%0aSet-Cookie:x",
        "/%09",
        "/%1b[31m",
        "/%7f",
        "/%2500",
        "/%25c0%25ae",
        "/é",
    ]);
    whole_refused("GET /a\u{0} HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine);
    whole_refused("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine);
    whole_refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine);
    whole_refused("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine);
    for (query, fine) in
        [("a=%00", true), ("a=../..&b=|", true), ("a=%zz", true), ("a#b", false), ("é", false)]
    {
        assert_eq!(path_of(&format!("/?{query}")).is_ok(), fine, "{query:?}");
    }
}

#[test]
fn threat_28_limits() {
    let limits = HeadLimits { bytes_max: 1_024, headers_max: 8, target_bytes_max: 64 };
    let check = |text: &str, expected: Result<(), Reason>| {
        let scanned = HeadScanner::default().scan(text.as_bytes(), &limits);
        let outcome = scanned.and_then(|_| RequestHead::default().parse(text.as_bytes(), &limits));
        assert_eq!(outcome, expected, "{} bytes", text.len());
    };
    let with_headers =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(count - 1));
    check(&with_headers(8), Ok(()));
    check(&with_headers(9), Err(Reason::TooManyHeaders));
    let with_target =
        |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length - 1));
    check(&with_target(64), Ok(()));
    check(&with_target(65), Err(Reason::TargetTooLong));
    check(&with_target(2_000), Err(Reason::TargetTooLong));
    let with_bytes = |length: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nb: \r\n\r\n";
        rest.replace("b: ", &format!("b: {}", "c".repeat(length - rest.len())))
    };
    check(&with_bytes(1_024), Ok(()));
    check(&with_bytes(1_025), Err(Reason::HeadTooLarge));
    // An endless head is refused while it arrives, as soon as it cannot fit.
    let endless = format!("GET / HTTP/1.1\r\nb: {}", "c".repeat(2_000));
    let mut scanner = HeadScanner::default();
    let refused_at = (0..endless.len()).find(|&length| {
        scanner.scan(endless.as_bytes().get(..length).unwrap_or_default(), &limits).is_err()
    });
    assert_eq!(refused_at, Some(1_024));
}

#[test]
fn versions_and_responses() {
    whole_refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Reason::BadVersion);
    whole_refused("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Reason::BadVersion);
    whole_refused("PRI * HTTP/2.0\r\n\r\n", Reason::BadVersion);
    assert!(RequestHead::default().parse(b"GET /\r\n\r\n", &HeadLimits::default()).is_err());
    for (text, method, framing, keep_alive) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::Get, Framing::Length(5), true),
        ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", Method::Get, Framing::Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::Head, Framing::None, true),
        ("HTTP/1.1 200 OK\r\n\r\n", Method::Head, Framing::None, true),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            Method::Get,
            Framing::None,
            true,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", Method::Get, Framing::None, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Method::Get, Framing::None, false),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            Method::Get,
            Framing::Chunked,
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", Method::Get, Framing::Close, false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Method::Get, Framing::Length(5), false),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
            Method::Get,
            Framing::Length(5),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
            Method::Get,
            Framing::Length(5),
            false,
        ),
    ] {
        let head = response(text, method).unwrap_or_else(|reason| panic!("{reason}: {text:?}"));
        assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{text:?}");
    }
    for line in [
        "HTTP/1.1 099 x",
        "HTTP/1.1 600 x",
        "HTTP/1.1 20 x",
        "HTTP/1.1 2000 x",
        "HTTP/2.0 200 x",
        "HTTP/1.1  200 x",
    ] {
        response_refused(&format!("{line}\r\n\r\n"));
    }
    let text = "HTTP/1.1 200 Fine\r\nKeep-Alive: max=9, timeout=5\r\nContent-Length: 0\r\n\r\n";
    let head = response(text, Method::Get).expect("a plain response");
    assert_eq!((head.status, head.keep_alive_timeout_seconds), (200, Some(5)));
    assert_eq!(head.reason_phrase.of(text.as_bytes()), b"Fine");
}
