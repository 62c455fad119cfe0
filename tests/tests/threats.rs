//! The HTTP/1 cases that must not get through, one test for each line of the threat list, over
//! real sockets: refused with the true reason, connection closed, zero bytes at the server,
//! nobody else disturbed, and one log line that says why. The lines about paths, identity,
//! limits and slowness are in `threats_paths` and `threats_slow`.

use black_box::fort::{Fort, chunks, post};
use black_box::{Backend, Client, Gate, Setup, eventually, ok};

#[test]
fn threat_01_content_length_with_transfer_encoding() {
    let mut fort = Fort::new();
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nA: b\r\ncontent-length: 0\r\n",
        "content-length: 5\r\nTRANSFER-ENCODING: Chunked\r\n",
    ] {
        for body in ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello", ""] {
            fort.refuses(&post(lines, body), 400, "ambiguous_framing");
        }
    }
    fort.refuses(
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "ambiguous_framing",
    );
    fort.told();
}

#[test]
fn threat_02_duplicate_or_list_content_length() {
    let mut fort = Fort::new();
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 6\r\n",
        "Content-Length: 0\r\nA: b\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,6\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: ,5\r\n",
    ] {
        fort.refuses(&post(lines, "hello"), 400, "bad_content_length");
    }
    fort.told();
}

#[test]
fn threat_03_content_length_that_is_no_plain_number() {
    let mut fort = Fort::new();
    for value in [
        "+5",
        "-5",
        "-0",
        "0x5",
        "0o5",
        "05",
        "5 5",
        "5\t5",
        "5;",
        "5.0",
        "5e0",
        "",
        "\"5\"",
        "five",
        "1_0",
        "18446744073709551616",
        "18446744073709551621",
        "9223372036854775808",
        "99999999999999999999999",
        "\u{665}",
    ] {
        let lines = format!("Content-Length: {value}\r\n");
        fort.refuses(&post(&lines, "hello"), 400, "bad_content_length");
    }
    for value in ["\u{b}5", "5\u{0}", "5\u{c}"] {
        let lines = format!("Content-Length: {value}\r\n");
        fort.refuses(&post(&lines, "hello"), 400, "bad_header");
    }
    fort.told();
}

#[test]
fn threat_04_transfer_encoding_in_disguise() {
    let mut fort = Fort::new();
    for value in ["\u{b}chunked", "chunked\u{b}", "\u{0}chunked", "chunked\u{c}", "chu\u{7f}nked"] {
        let lines = format!("Transfer-Encoding: {value}\r\n");
        fort.refuses(&post(&lines, "0\r\n\r\n"), 400, "bad_header");
    }
    for value in [
        "xchunked",
        "chunkedx",
        "chunke",
        "x chunked",
        "",
        "\"chunked\"",
        "'chunked'",
        "chunked,",
        ",chunked",
        "\u{a0}chunked",
    ] {
        let lines = format!("Transfer-Encoding: {value}\r\n");
        fort.refuses(&post(&lines, "0\r\n\r\n"), 400, "bad_transfer_encoding");
    }
    for lines in [
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding: chunked\r\n\tX: y\r\n",
        "Content-Length: 5\r\nTransfer-Encoding:\r\n\tchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer_Encoding: chunked\r\n",
    ] {
        fort.refuses(&post(lines, "0\r\n\r\n"), 400, "bad_header");
    }
    fort.told();
}

#[test]
fn threat_05_duplicate_transfer_encoding() {
    let mut fort = Fort::new();
    for lines in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\ntransfer-encoding: x\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked,chunked,chunked\r\n",
    ] {
        fort.refuses(&post(lines, "0\r\n\r\n"), 400, "bad_transfer_encoding");
    }
    fort.told();
}

#[test]
fn threat_06_chunked_is_not_the_final_coding() {
    let mut fort = Fort::new();
    for value in
        ["chunked, gzip", "chunked, identity", "identity", "gzip", "gzip, chunked", "deflate", "br"]
    {
        let lines = format!("Transfer-Encoding: {value}\r\n");
        fort.refuses(&post(&lines, "0\r\n\r\n"), 400, "bad_transfer_encoding");
    }
    fort.told();
}

#[test]
fn threat_07_bodies_of_http_10() {
    let mut fort = Fort::new();
    for text in [
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n",
    ] {
        fort.refuses(text, 400, "bad_transfer_encoding");
    }
    for method in ["POST", "PUT", "PATCH"] {
        let text = format!("{method} / HTTP/1.0\r\nHost: a\r\n\r\neverything up to the end");
        fort.refuses(&text, 400, "bad_content_length");
    }
    fort.refuses(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
        "ambiguous_framing",
    );
    fort.told();
}

#[test]
fn threat_08_chunked_with_a_parameter() {
    let mut fort = Fort::new();
    for value in ["chunked;ext=val", "chunked; q=1", "chunked;", "chunked ;a", "chunked;a=\"b\""] {
        let lines = format!("Transfer-Encoding: {value}\r\n");
        fort.refuses(&post(&lines, "0\r\n\r\n"), 400, "bad_transfer_encoding");
    }
    fort.told();
}

#[test]
fn threat_09_bare_line_end_in_a_chunk_extension() {
    let mut fort = Fort::new();
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
        "2\r\nhi\r\n0;\n\r\n\r\n",
        "0;a\n\r\n\r\n",
    ] {
        fort.refuses(&chunks(text), 400, "bad_chunk");
    }
    fort.told();
}

#[test]
fn threat_10_chunk_size_that_is_no_plain_number() {
    let mut fort = Fort::new();
    for size in [
        "-5",
        "+5",
        "-0",
        "0x5",
        "0X5",
        "5_0",
        "5 ",
        " 5",
        "\t5",
        "",
        "g",
        "5h",
        "5,5",
        "8000000000000000",
        "ffffffffffffffff",
        "10000000000000005",
        "00000000000000005",
        "fffffffffffffffff",
        ";a",
        "\u{665}",
    ] {
        fort.refuses(&chunks(&format!("{size}\r\nhello\r\n0\r\n\r\n")), 400, "bad_chunk");
    }
    fort.told();
}

#[test]
fn threat_11_overlong_chunk_size_line() {
    let mut fort = Fort::new();
    let zeros = "0".repeat(100_000);
    fort.refuses(&chunks(&format!("{zeros}5\r\nhello\r\n0\r\n\r\n")), 400, "bad_chunk");
    let extension = "a".repeat(1_000_000);
    fort.refuses(&chunks(&format!("5;{extension}\r\nhello\r\n0\r\n\r\n")), 400, "bad_chunk");
    fort.refuses(&chunks(&format!("5;a=\"{extension}\"\r\nhello\r\n0\r\n\r\n")), 400, "bad_chunk");
    // Each extension is short, all of them together are not; the first chunks may have passed.
    let many = format!("1;{}\r\nx\r\n", "a".repeat(200)).repeat(10_000);
    let mut client = Client::to(&fort.door);
    drop(client.try_send(chunks(&many)));
    let response = client.response();
    assert_eq!((response.status, response.reason()), (400, Some("bad_chunk")));
    client.expect_closed();
    eventually("the server is let go", || fort.backend.open() == 0);
    assert!(fort.backend.requests().is_empty(), "the server never saw a whole request");
    fort.bystander();
}

#[test]
fn threat_12_chunk_spill() {
    let mut fort = Fort::new();
    for (text, reason) in [
        ("5\r\nhello6\r\n0\r\n\r\n", "bad_chunk"),
        ("5\r\nhello\n0\r\n\r\n", "bad_chunk"),
        ("5\r\nhello\rX0\r\n\r\n", "bad_chunk"),
        ("5\r\nhelloX\r\n0\r\n\r\n", "bad_chunk"),
        ("5\r\nhello0\r\n\r\n", "bad_chunk"),
        ("4\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("5\r\nhello\r\n\r\n0\r\n\r\n", "bad_chunk"),
        ("5\r\nhello\r\n0\r\n\rX", "bad_trailer"),
        ("5\r\nhello\r\n0\r\n\n", "bad_trailer"),
    ] {
        fort.refuses(&chunks(text), 400, reason);
    }
    fort.told();
}

/// What begins well and goes wrong later cannot be held back, but never becomes a whole request.
#[test]
fn threat_12_a_late_spill_never_becomes_a_request() {
    let fort = Fort::new();
    for (late, reason) in [
        ("zz\r\n", "bad_chunk"),
        ("5\r\nhelloX\r\n0\r\n\r\n", "bad_chunk"),
        ("0\r\nHost: evil\r\n\r\n", "bad_trailer"),
    ] {
        let mut client = Client::to(&fort.door);
        client.send(chunks("7\r\npresent\r\n"));
        eventually("the first chunk passed", || fort.backend.received_text().contains("present"));
        client.send(format!("{late}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.status, response.reason()), (400, Some(reason)), "{late:?}");
        client.expect_closed();
        eventually("the server is let go", || fort.backend.open() == 0);
        assert!(fort.backend.requests().is_empty(), "the server never saw a whole request");
        assert!(!fort.backend.received_text().contains("smuggled"), "{late:?}");
    }
}

#[test]
fn threat_13_forbidden_trailers() {
    let mut fort = Fort::new();
    for name in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "transfer-encoding",
        "Authorization",
        "AUTHORIZATION",
        "Cookie",
        "Content-Type",
        "Connection",
        "Trailer",
        "TE",
        "Upgrade",
        "Expect",
        "X-Forwarded-For",
        "x-forwarded-user",
        "Forwarded",
        "X-Real-IP",
        "X-Request-Id",
        "Traceparent",
        "Content_Length",
        "x_forwarded_for",
    ] {
        fort.refuses(&chunks(&format!("2\r\nhi\r\n0\r\n{name}: 5\r\n\r\n")), 400, "bad_trailer");
    }
    for line in [": x", "a b: x", "a : x", " a: x", "a", "a: b\u{0}", "a: b\nc: d", "a: b\rc"] {
        fort.refuses(&chunks(&format!("0\r\n{line}\r\n\r\n")), 400, "bad_trailer");
    }
    fort.refuses(&chunks(&format!("0\r\n{}\r\n", "a: b\r\n".repeat(1_000))), 400, "bad_trailer");
    fort.refuses(&chunks(&format!("0\r\na: {}\r\n\r\n", "b".repeat(60_000))), 400, "bad_trailer");
    fort.told();
}

const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn threat_14_bytes_wait_until_an_upgrade_is_accepted() {
    for (answer, accepted) in [
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            true,
        ),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", false),
        (
            "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno",
            false,
        ),
    ] {
        let gate = Gate::closed();
        let backend = Backend::by_head({
            let gate = gate.clone();
            move |_, peer| {
                gate.wait();
                peer.send(answer);
                if accepted {
                    peer.read_to_end();
                }
            }
        });
        let door = Setup::of(&[&backend]).start();
        let mut client = Client::to(&door);
        client.send([UPGRADE, SMUGGLED].concat());
        eventually("the request is there", || backend.received().ends_with(b"\r\n\r\n"));
        client.send(SMUGGLED);
        // Another request passes the door afterwards, so the bytes had their chance.
        assert_eq!(Client::to(&door).ask("GET / HTTP/1.1\r\nHost:\r\n\r\n").status, 400);
        assert!(!backend.received_text().contains("smuggled"), "{}", backend.received_text());
        gate.open();
        let response = client.response();
        if accepted {
            assert_eq!(response.status, 101);
            eventually("the bytes follow", || {
                backend.received_text().matches("smuggled").count() == 2
            });
        } else {
            assert_eq!(response.text(), "no");
            assert_eq!(response.header("connection"), Some("close"));
            client.expect_closed();
            assert_eq!(Client::to(&door).get("/next").text(), "no");
            assert!(!backend.received_text().contains("smuggled"));
        }
    }
}

#[test]
fn threat_15_only_101_opens_a_tunnel() {
    // 200 in answer to an Upgrade is a response like any other.
    let upgraded = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let backend = Backend::by_head(move |_, peer| {
        peer.send(format!("HTTP/1.1 200 OK\r\n{upgraded}Content-Length: 2\r\n\r\nok"));
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    let response = client.ask(UPGRADE);
    assert_eq!((response.status, response.text()), (200, "ok".to_owned()));
    assert_eq!(response.headers.get("upgrade"), None);
    drop(client.try_send(SMUGGLED));
    client.expect_closed();
    assert_eq!(Client::to(&door).get("/next").text(), "ok");
    assert!(!backend.received_text().contains("smuggled"));
    // A 101 that nobody asked for, or that does not say to what, is no response.
    for (request, answer) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", format!("HTTP/1.1 101 Switching\r\n{upgraded}\r\n")),
        (UPGRADE, "HTTP/1.1 101 Switching\r\n\r\n".to_owned()),
        (
            UPGRADE,
            "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".to_owned(),
        ),
    ] {
        let backend = Backend::answering([answer.as_bytes(), ok("poison").as_slice()].concat());
        let door = Setup::of(&[&backend]).pool("retries = { attempts = 1 }").start();
        let response = Client::to(&door).ask(request);
        assert_eq!((response.status, response.reason()), (502, Some("bad_response")), "{answer:?}");
    }
}

#[test]
fn threat_16_expectations() {
    let mut fort = Fort::new();
    for value in ["100-continue, 100-continue", "", "200-ok", "100-continue;a", "y 100-continue"] {
        let lines = format!("Content-Length: 5\r\nExpect: {value}\r\n");
        fort.refuses(&post(&lines, "hello"), 417, "bad_expectation");
    }
    let twice = "Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n";
    fort.refuses(&post(twice, "hello"), 417, "bad_expectation");
    fort.told();
    // The server answers at once; the body that comes all the same is never a request.
    let backend = Backend::by_head(|_, peer| peer.send(ok("early")));
    let door = Setup::of(&[&backend]).start();
    for method in ["POST", "GET", "HEAD"] {
        let mut client = Client::to(&door);
        let length = SMUGGLED.len();
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"));
        let response = if method == "HEAD" { client.response_to_head() } else { client.response() };
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        drop(client.try_send(SMUGGLED));
        assert!(client.read_to_end().len() <= 5, "one response, no more");
        assert!(!backend.received_text().contains("smuggled"), "{method}");
    }
}
