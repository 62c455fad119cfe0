//! HTTP/1.0 and 1.1 through the door: framing, connections, interim responses, streaming.

use black_box::{Backend, Broken, Client, Gate, Setup, chunked, ok, response};

/// Answers with the method, the target, the body and the trailers it received.
fn echo() -> Backend {
    Backend::start(|request, peer| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        peer.send(ok(&format!("{} {} {body}", request.method, request.target)));
    })
}

#[test]
fn connections_go_on_by_the_rules_of_their_version() {
    let backend = echo();
    let door = Setup::of(&[&backend]).start();
    for (version, lines, told, goes_on) in [
        ("1.1", "", None, true),
        ("1.1", "Connection: keep-alive\r\n", None, true),
        ("1.1", "Connection: close\r\n", Some("close"), false),
        ("1.1", "Connection: keep-alive, CLOSE\r\n", Some("close"), false),
        ("1.1", "Connection: x-hop\r\nConnection: Close\r\n", Some("close"), false),
        ("1.0", "", Some("close"), false),
        ("1.0", "Connection: Keep-Alive\r\n", Some("keep-alive"), true),
        ("1.0", "Connection: keep-alive, close\r\n", Some("close"), false),
    ] {
        let request = format!("GET /a HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        let mut client = Client::to(&door);
        for _ in 0..2 {
            let response = client.ask(&request);
            assert_eq!((response.status, response.text()), (200, "GET /a ".to_owned()));
            assert_eq!(response.header("connection"), told, "{version} {lines:?}");
            if !goes_on {
                client.expect_closed();
                break;
            }
        }
    }
    assert_eq!(backend.connections(), 1, "one server connection is enough, one after another");
}

#[test]
fn http_10_needs_no_host() {
    let backend = echo();
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    assert_eq!(client.ask("GET /old HTTP/1.0\r\n\r\n").text(), "GET /old ");
    client.expect_closed();
    assert_eq!(backend.last().version, "HTTP/1.1");
    let body = "POST /old HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(Client::to(&door).ask(body).text(), "POST /old body");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = echo();
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    client.send(format!(
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
         POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}\
         GET /3 HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\r\n\
         GET /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
         GET /6 HTTP/1.1\r\nHost: a\r\n\r\n",
        chunked(&["tw", "o"])
    ));
    for expected in ["POST /1 one", "POST /2 two", "GET /3 ", "POST /4 ", "GET /5 "] {
        assert_eq!(client.response().text(), expected);
    }
    client.expect_closed();
    assert!(!backend.received_text().contains("/6"), "nothing is served after a close");
}

#[test]
fn many_pipelined_requests_in_one_packet() {
    let backend = echo();
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    let requests: String =
        (0..200).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(requests);
    for n in 0..200 {
        assert_eq!(client.response().text(), format!("GET /{n} "));
    }
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let backend = Backend::start(|request, peer| {
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Server-Timing\r\n\r\n\
             3;ext=1\r\nabc\r\n{:x}\r\n{}\r\n0\r\nServer-Timing: db;dur=5\r\n\r\n",
            request.body.len(),
            String::from_utf8_lossy(&request.body)
        ));
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    for _ in 0..2 {
        let response = client.ask(
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTrailer: Digest\r\n\r\n\
             5\r\nhello\r\n6;a=\"b\"\r\n world\r\n0\r\nX-Checksum: 1\r\nServer-Timing: a\r\n\r\n",
        );
        assert_eq!(response.text(), "abchello world");
        assert_eq!(response.header("transfer-encoding"), Some("chunked"));
        assert_eq!(response.header("content-length"), None);
        assert_eq!(response.trailers.get("server-timing"), Some("db;dur=5"));
        let request = backend.last();
        assert_eq!(request.body, b"hello world");
        assert_eq!(request.headers.get("transfer-encoding"), Some("chunked"));
        assert_eq!(request.headers.get("content-length"), None);
        assert_eq!(request.trailers.get("server-timing"), Some("a"));
    }
    assert!(!backend.received_text().contains("a=\"b\""), "chunk extensions end at the door");
}

#[test]
fn bytes_may_come_one_by_one() {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\nA-B: c\r\n\r\n";
    let backend = Backend::start(move |_, peer| {
        for byte in text.bytes() {
            peer.send([byte]);
        }
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    for _ in 0..2 {
        client.send_slowly(
            "POST /slow?a=b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             4\r\nbody\r\n2\r\n..\r\n0\r\nE-F: g\r\n\r\n",
        );
        let response = client.response();
        assert_eq!(
            (response.text(), response.trailers.get("a-b")),
            ("hello!".to_owned(), Some("c"))
        );
        let request = backend.last();
        assert_eq!(
            (request.target.as_str(), request.body.as_slice()),
            ("/slow?a=b", &b"body.."[..])
        );
        assert_eq!(request.trailers.get("e-f"), Some("g"));
    }
    let mut client = Client::to(&door);
    client.send_slowly("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.response().text(), "hello!");
    assert_eq!(backend.last().body, b"abc");
}

#[test]
fn head_has_no_body_whatever_its_head_says() {
    for (lines, length) in [
        ("Content-Length: 1000\r\n", Some("1000")),
        ("Transfer-Encoding: chunked\r\n", None),
        ("", None),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        let backend = Backend::answering(text);
        let door = Setup::of(&[&backend]).start();
        let mut client = Client::to(&door);
        for _ in 0..2 {
            client.send("HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n");
            let response = client.response_to_head();
            assert_eq!(response.header("content-length"), length, "{lines:?}");
            assert_eq!((response.status, response.header("connection")), (200, None), "{lines:?}");
        }
        assert_eq!(backend.connections(), 1, "{lines:?}");
    }
}

#[test]
fn statuses_without_body() {
    for (text, length) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n", Some("77")),
    ] {
        let backend = Backend::answering(text);
        let door = Setup::of(&[&backend]).start();
        let mut client = Client::to(&door);
        for _ in 0..2 {
            let response = client.get("/");
            assert_eq!(response.header("content-length"), length, "{text:?}");
            assert_eq!(response.header("transfer-encoding"), None, "{text:?}");
        }
        assert_eq!(backend.connections(), 1, "{text:?}");
    }
    // A 204 that announces a body may or may not send one: that connection is not used again.
    let backend = Backend::answering("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nHTTP/");
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.status, response.header("content-length")), (204, None));
    }
    assert_eq!(backend.connections(), 2);
}

#[test]
fn interim_responses_reach_those_who_know_them() {
    let backend = Backend::answering(
        [
            &b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"[..],
            b"HTTP/1.1 102 Processing\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n",
            &ok("done"),
        ]
        .concat(),
    );
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    for _ in 0..2 {
        let hints = client.get("/");
        assert_eq!((hints.status, hints.header("link")), (103, Some("</a.css>")));
        let processing = client.response();
        assert_eq!((processing.status, processing.header("x-hop")), (102, None));
        assert_eq!(client.response().text(), "done");
    }
    assert_eq!(Client::to(&door).ask("GET / HTTP/1.0\r\n\r\n").text(), "done");
}

#[test]
fn the_servers_100_continue_reaches_the_client() {
    let backend = Backend::by_head(|head, peer| {
        assert!(head.headers.has("expect"), "the server decides");
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        let mut request = head.clone();
        assert!(peer.read_body(&mut request));
        peer.send(ok(&String::from_utf8_lossy(&request.body)));
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    for framing in ["Content-Length: 4", "Transfer-Encoding: chunked"] {
        let interim = client.ask(format!(
            "PUT /up HTTP/1.1\r\nHost: a\r\n{framing}\r\nExpect: 100-continue\r\n\r\n"
        ));
        assert_eq!((interim.status, interim.body.len()), (100, 0));
        let is_chunked = framing.starts_with('T');
        client.send(if is_chunked { chunked(&["bo", "dy"]) } else { "body".to_owned() });
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "body".to_owned()));
    }
    // The body may come without waiting.
    let mut client = Client::to(&door);
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\nhi");
    assert_eq!(client.response().status, 100);
    assert_eq!(client.response().text(), "hi");
}

#[test]
fn a_final_status_instead_of_100_continue_ends_the_connection() {
    let backend = Backend::by_head(|_, peer| peer.send(response(413, "", "too large")));
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    let refused = client
        .ask("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!((refused.status, refused.text()), (413, "too large".to_owned()));
    assert_eq!(refused.header("connection"), Some("close"), "the body may or may not follow");
    client.expect_closed();
    let again = Client::to(&door).get("/");
    assert_eq!(again.status, 413);
    assert_eq!(backend.connections(), 2, "the server may still wait for the body on the first");
}

#[test]
fn a_body_that_ends_with_its_connection() {
    let backend = Backend::answering_once("HTTP/1.1 200 OK\r\nX-Y: z\r\n\r\nuntil the end");
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!(response.header("transfer-encoding"), Some("chunked"));
        assert_eq!(
            (response.text().as_str(), response.header("connection")),
            ("until the end", None)
        );
    }
    for keep_alive in ["", "Connection: keep-alive\r\n"] {
        let mut client = Client::to(&door);
        let response = client.ask(format!("GET / HTTP/1.0\r\n{keep_alive}\r\n"));
        assert_eq!(response.header("transfer-encoding"), None);
        assert_eq!(response.header("content-length"), None);
        assert_eq!(response.header("connection"), Some("close"));
        assert_eq!(response.text(), "until the end");
    }
}

#[test]
fn chunks_are_decoded_for_an_http_10_client() {
    let backend = Backend::answering(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        chunked(&["ab", "c"])
    ));
    let door = Setup::of(&[&backend]).start();
    let response = Client::to(&door).ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((response.text().as_str(), response.header("transfer-encoding")), ("abc", None));
}

#[test]
fn the_response_may_start_before_the_request_ends() {
    let backend = Backend::by_head(|head, peer| {
        let mut request = head.clone();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        assert!(peer.read_body(&mut request));
        let body = String::from_utf8_lossy(&request.body).into_owned();
        peer.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nre\r\n");
    let head = client.response_head().expect("the response starts");
    assert_eq!(head.status, 200);
    assert_eq!(client.read_exactly(10), b"5\r\nfirst\r\n");
    client.send("2\r\nst\r\n0\r\n\r\n");
    assert_eq!(client.read_to_end(), b"4\r\nrest\r\n0\r\n\r\n");
}

#[test]
fn bytes_pass_as_they_come() {
    let (first, second) = (Gate::closed(), Gate::closed());
    let backend = Backend::start({
        let (first, second) = (first.clone(), second.clone());
        move |_, peer| {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
            for (gate, piece) in [(&first, "one"), (&second, "twotwo")] {
                gate.wait();
                peer.send(piece);
            }
        }
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_head().expect("the head comes at once").status, 200);
    first.open();
    assert_eq!(client.read_exactly(3), b"one");
    second.open();
    assert_eq!(client.read_exactly(6), b"twotwo");
}

#[test]
fn an_answer_while_the_body_still_comes_is_passed_on() {
    let backend = Backend::by_head(|_, peer| {
        peer.send(response(401, "", "who are you"));
        peer.read_to_end();
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    let response = client.response();
    assert_eq!((response.status, response.text()), (401, "who are you".to_owned()));
    assert_eq!(response.header("connection"), Some("close"));
}

#[test]
fn what_a_server_may_not_say() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(200_000));
    let interims = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1_000);
    for (text, reason) in [
        ("nonsense\r\n\r\n", "bad_response"),
        ("HTTP/2.0 200 OK\r\n\r\n", "bad_response"),
        ("HTTP/1.1 99 Low\r\n\r\n", "bad_response"),
        ("HTTP/1.1 600 High\r\n\r\n", "bad_response"),
        ("HTTP/1.1 2000 Long\r\n\r\n", "bad_response"),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "bad_response"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
            "bad_response",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "bad_response"),
        ("HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc", "bad_response"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", "bad_response"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", "bad_response"),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "bad_response"),
        ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", "bad_response"),
        ("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "bad_response"),
        (&long, "bad_response"),
        (&interims, "bad_response"),
        ("", "server_closed"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "server_closed"),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", "server_closed"),
    ] {
        let backend = Backend::answering_once(text);
        let door = Setup::of(&[&backend]).pool("retries = { attempts = 1 }").start();
        let mut client = Client::to(&door);
        let mut response = client.get("/");
        while response.status < 200 {
            response = client.response();
        }
        let start: String = text.chars().take(60).collect();
        assert_eq!((response.status, response.reason()), (502, Some(reason)), "{start:?}");
        assert!(!response.text().contains("127.0.0.1"), "nothing behind the door is told");
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.response_head().is_ok(), "the client's connection goes on: {start:?}");
    }
}

#[test]
fn a_truncated_body_is_seen_as_truncated() {
    for (text, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "half"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "half"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n8\r\nx", ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", "half"),
    ] {
        let backend = Backend::answering_once(text);
        let door = Setup::of(&[&backend]).start();
        let mut client = Client::to(&door);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        match client.try_response(false) {
            Err(Broken::Ended(response)) => {
                assert_eq!(response.status, 200, "{text:?}");
                assert!(response.text().starts_with(body), "{text:?}: {:?}", response.text());
            }
            other => panic!("{text:?} gave {other:?}"),
        }
        client.expect_closed();
        let reason = door.metric("tidegate_answers_total", &["route=\"api\""]);
        assert!((reason - 1.0).abs() < 0.1, "the metrics say why:\n{}", door.metrics());
    }
}

#[test]
fn bytes_after_a_body_never_become_a_response() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let text = [ok("first").as_slice(), poison.as_bytes()].concat();
    let backend = Backend::answering(text);
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "first");
    }
    assert_eq!(backend.connections(), 5, "no such connection is used again");
}

#[test]
fn bytes_on_an_idle_connection_never_become_a_response() {
    let (ask, sent) = (Gate::closed(), Gate::closed());
    let backend = Backend::start({
        let (ask, sent) = (ask.clone(), sent.clone());
        move |_, peer| {
            peer.send(ok("true"));
            if peer.index() == 0 {
                ask.wait();
                peer.send(ok("poison"));
                sent.open();
            }
        }
    });
    let door = Setup::of(&[&backend])
        .more("[routes.own]\npath = \"/own\"\nrespond = { body = \"own\" }")
        .start();
    let mut client = Client::to(&door);
    assert_eq!(client.get("/").text(), "true");
    ask.open();
    sent.wait();
    // A turn: the worker that takes in a new connection has heard of all bytes before it.
    assert_eq!(Client::to(&door).get("/own").text(), "own");
    assert_eq!(client.get("/").text(), "true");
    assert_eq!(backend.connections(), 2);
}

#[test]
fn a_large_body_passes_both_ways_intact() {
    let body: String = (0..200_000).map(|n| format!("{n:x}\n")).collect();
    let backend = Backend::start(|request, peer| {
        peer.send(ok(&String::from_utf8_lossy(&request.body)));
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    let length = body.len();
    let response =
        client.ask(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"));
    assert!(response.text() == body, "{} of {length} bytes came back", response.body.len());
    let pieces: Vec<&str> = body.split_inclusive('7').collect();
    let text = chunked(&pieces);
    let response = client
        .ask(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{text}"));
    assert!(response.text() == body, "{} of {length} bytes came back", response.body.len());
}
