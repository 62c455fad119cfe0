//! What clients and servers do that is allowed, or nearly: the door copes, and stays in step.

use std::net::TcpListener;
use std::time::Duration;

use black_box::{Backend, Broken, Client, Gate, Setup, chunked, eventually, ok};

/// Answers with the method, the target and the body.
fn echo() -> Backend {
    Backend::start(|request, peer| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        peer.send(ok(&format!("{} {} {body}", request.method, request.target)));
    })
}

#[test]
fn a_client_may_end_its_side_after_the_request() {
    let backend = echo();
    let door = Setup::of(&[&backend]).start();
    for text in [
        "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        "GET /a HTTP/1.0\r\n\r\n",
    ] {
        let mut client = Client::to(&door);
        client.send(text);
        client.finish_sending();
        assert!(client.response().text().contains("/a"), "{text:?}");
        client.expect_closed();
    }
}

#[test]
fn a_client_that_leaves_within_its_head_gets_nothing() {
    let backend = echo();
    let door = Setup::of(&[&backend]).start();
    for text in ["G", "GET / HTTP/1.1\r\nHost: a\r\n", "\r\n"] {
        let mut client = Client::to(&door);
        client.send(text);
        client.finish_sending();
        client.expect_closed();
    }
    assert!(backend.received().is_empty());
}

#[test]
fn any_method_may_have_a_body() {
    let backend = echo();
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    for method in ["GET", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "x-own"] {
        let text = format!("{method} /m HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.ask(text).text(), format!("{method} /m body"));
        let text = format!(
            "{method} /m HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            chunked(&["bo", "dy"])
        );
        assert_eq!(client.ask(text).text(), format!("{method} /m body"));
    }
}

#[test]
fn a_bad_request_ends_a_pipeline_and_not_before() {
    let backend = echo();
    let door = Setup::of(&[&backend]).start();
    let good = "GET /good HTTP/1.1\r\nHost: a\r\n\r\n";
    for bad in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", "\0\0\0\r\n\r\n"]
    {
        let mut client = Client::to(&door);
        client.send([good, good, bad, good].concat());
        assert_eq!(client.response().text(), "GET /good ");
        assert_eq!(client.response().text(), "GET /good ");
        assert_eq!(client.response().status, 400, "{bad:?}");
        client.expect_closed();
    }
    assert_eq!(backend.requests().len(), 6);
}

#[test]
fn a_long_pipeline_with_bodies_stays_in_order() {
    let backend = echo();
    let door = Setup::of(&[&backend]).start();
    let client = Client::to(&door);
    let mut sender = Client::over(client.socket().try_clone().unwrap());
    let mut reader = client;
    let body = |n: usize| format!("{n}-").repeat(n * 400 + 1);
    let writer = std::thread::spawn(move || {
        for n in 0..60 {
            let body = body(n);
            let text = if n % 2 == 0 {
                format!("Content-Length: {}\r\n\r\n{body}", body.len())
            } else {
                let pieces: Vec<&str> = body.split_inclusive('-').collect();
                format!("Transfer-Encoding: chunked\r\n\r\n{}", chunked(&pieces))
            };
            sender.send(format!("POST /{n} HTTP/1.1\r\nHost: a\r\n{text}"));
        }
    });
    for n in 0..60 {
        let text = reader.response().text();
        assert!(text == format!("POST /{n} {}", body(n)), "{n}: {} bytes", text.len());
    }
    writer.join().unwrap();
}

#[test]
fn what_servers_may_say() {
    let cookies = "Set-Cookie: a=b; Path=/; HttpOnly\r\n".repeat(60);
    let policy = format!("Content-Security-Policy: {}\r\n", "x".repeat(30_000));
    let cookies = cookies + &policy;
    let big = format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: 2\r\n\r\nok");
    for (text, phrase) in [
        ("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", ""),
        ("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", ""),
        ("HTTP/1.1 200 All is well!\r\nContent-Length: 2\r\n\r\nok", "All is well!"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "OK"),
        ("HTTP/1.0 200 OK\r\n\r\nok", "OK"),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", "OK"),
        ("HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nok", "OK"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "OK"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n002\r\nok\r\n0;x\r\n\r\n", "OK"),
        (big.as_str(), "OK"),
    ] {
        let backend = Backend::answering_once(text);
        let door = Setup::of(&[&backend]).start();
        let mut client = Client::to(&door);
        let start: String = text.chars().take(80).collect();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!((answer.status, answer.text()), (200, "ok".to_owned()), "{start:?}");
            assert_eq!(answer.phrase, phrase, "{start:?}");
            assert_eq!(answer.version, "HTTP/1.1");
        }
    }
}

#[test]
fn trailers_that_servers_send() {
    for line in ["ETag: \"1\"", "Digest: x", "Server-Timing: db", "grpc-status: 0", "X-Checksum: 1"]
    {
        let backend = Backend::answering(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{line}\r\n\r\n"
        ));
        let door = Setup::of(&[&backend]).start();
        let answer = Client::to(&door).get("/");
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(answer.trailers.get(name), Some(value), "{line}");
        let old = Client::to(&door).ask("GET / HTTP/1.0\r\n\r\n");
        assert_eq!(old.text(), "ok", "an HTTP/1.0 client gets no trailers");
    }
}

#[test]
fn server_connections_are_reused_only_when_they_may() {
    for (text, connections) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 1),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", 1),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=30\r\n\r\nok", 1),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", 3),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\nX: y\r\n\r\nok", 3),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 3),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok", 1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1),
    ] {
        let backend = Backend::answering(text);
        let door = Setup::of(&[&backend]).start();
        let mut client = Client::to(&door);
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "ok", "{text:?}");
        }
        assert_eq!(backend.connections(), connections, "{text:?}");
    }
    let backend = Backend::answering(ok("ok"));
    let door = Setup::of(&[&backend]).pool("idle_max = 0").start();
    let mut client = Client::to(&door);
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(backend.connections(), 3, "none is kept where none may be");
}

#[test]
fn idle_server_connections_are_closed_in_time() {
    let backend = Backend::answering(ok("ok"));
    let door = Setup::of(&[&backend]).pool("timeouts = { idle = \"100ms\" }").start();
    let mut client = Client::to(&door);
    assert_eq!(client.get("/").text(), "ok");
    eventually("the idle connection is closed", || backend.open() == 0);
    assert_eq!(client.get("/").text(), "ok");
}

#[test]
fn a_server_that_trickles_its_head_is_late() {
    let backend = Backend::start(|_, peer| {
        peer.send("HTTP/1.1 200 OK\r\nX: ");
        while peer.try_send("x") {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    });
    let door = Setup::of(&[&backend])
        .pool("timeouts = { first_byte = \"200ms\" }\nretries = { attempts = 1 }")
        .start();
    let answer = Client::to(&door).get("/");
    assert_eq!((answer.status, answer.reason()), (504, Some("first_byte_timeout")));
}

#[test]
fn endless_chunk_lines_and_trailers_of_a_server_are_cut() {
    for rest in [
        "0".repeat(1_000_000),
        format!("1;{}", "a".repeat(1_000_000)),
        format!("0\r\nA: {}", "b".repeat(1_000_000)),
        format!("0\r\n{}", "A: b\r\n".repeat(100_000)),
    ] {
        let backend = Backend::answering_once(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n{rest}"
        ));
        let door = Setup::of(&[&backend]).start();
        let mut client = Client::to(&door);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        match client.try_response(false) {
            Err(Broken::Ended(answer)) => assert!("ok".starts_with(&answer.text())),
            other => panic!("{other:?}"),
        }
        let reason = ["reason=\"bad_response\""];
        eventually("it is counted", || door.metric("tidegate_answers_total", &reason) > 0.5);
    }
}

#[test]
fn a_server_that_resets_within_its_body() {
    let backend = Backend::start(|_, peer| {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        peer.reset();
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // The reset may overtake the bytes before it; a whole response it is never.
    match client.try_response(false) {
        Err(Broken::Ended(answer)) => assert!("half".starts_with(&answer.text())),
        Ok(answer) => assert_eq!((answer.status, answer.reason()), (502, Some("server_closed"))),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_upload_can_still_be_read_by_its_client() {
    let backend = echo();
    let door = Setup::of(&[&backend]).listen("limits = { body = 1000 }").start();
    for length in [2_000, 100_000, 3_000_000] {
        let mut client = Client::to(&door);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        drop(client.try_send(head));
        drop(client.try_send("x".repeat(length)));
        assert_eq!(client.response().reason(), Some("body_too_large"), "{length}");
        client.expect_closed();
    }
}

#[test]
fn several_listeners_each_by_its_own_rules() {
    let backend = echo();
    let door = Setup::of(&[&backend])
        .more(
            "[listen.text]\naddress = \"127.0.0.1:0\"\nerrors = \"text\"\nlimits = { target = 64 }",
        )
        .start();
    let long = format!("/{}", "x".repeat(100));
    assert_eq!(Client::connect(door.address("web")).get(&long).status, 200);
    let answer = Client::connect(door.address("text")).get(&long);
    assert_eq!((answer.status, answer.reason()), (414, Some("target_too_long")));
    assert!(answer.text().starts_with("414 "), "{}", answer.text());
}

#[test]
fn ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let backend = Backend::on(listener, |request, peer| {
        peer.note(request);
        peer.send(ok("six"));
    });
    let address = backend.address();
    let door = Setup::default()
        .more(&format!(
            "[listen.six]\naddress = \"[::1]:0\"\nforwarded = \"both\"\n[pools.six]\nservers = [\"{address}\"]\n[routes.six]\npool = \"six\""
        ))
        .start();
    let answer = Client::connect(door.address("six")).get("/");
    assert_eq!(answer.text(), "six");
    let request = backend.last();
    assert_eq!(request.headers.get("x-forwarded-for"), Some("::1"));
    let forwarded = request.headers.get("forwarded").unwrap_or_default();
    assert!(forwarded.starts_with("for=\"[::1]\";"), "{forwarded}");
}

#[test]
fn limits_hold_over_all_workers() {
    for limit in ["limits = { connections_per_address = 8 }", "limits = { connections = 8 }"] {
        let gate = Gate::closed();
        let backend = Backend::start({
            let gate = gate.clone();
            move |_, peer| {
                gate.wait();
                peer.send(ok(""));
            }
        });
        let door = Setup::of(&[&backend]).listen(limit).more("[door]\nworkers = 4").start();
        // Busy ones: an idle one would make room.
        let mut kept: Vec<Client> = (0..8).map(|_| Client::to(&door)).collect();
        for client in &mut kept {
            client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        eventually("the server has all requests", || backend.requests().len() == 8);
        assert_eq!(Client::to(&door).get("/").status, 503, "{limit}: the ninth of 8");
        gate.open();
        for client in &mut kept {
            assert_eq!(client.response().status, 200, "{limit}");
        }
    }
}

/// A small generator of numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// A request that may be fine, or wrong in its framing, line ends or fields.
    fn request(&mut self) -> String {
        let method = self.one_of(&["GET", "POST", "PUT", "HEAD", "DELETE"]);
        let version = self.one_of(&["1.1", "1.1", "1.1", "1.0"]);
        let framing = self.one_of(&[
            "",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Content-Length: 5\nX: y\r\n",
            "Content-Length: 05\r\n",
            "Content-Length: 0\r\n",
            "Connection: Content-Length\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: \tchunked \r\n",
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
            "Connection: keep-alive\r\n",
            "X: y\r\n Content-Length: 5\r\n",
        ]);
        let body = self.one_of(&[
            "",
            "hello",
            "5\r\nhello\r\n0\r\n\r\n",
            "0\r\n\r\n",
            "5;a=b\r\nhello\r\n0\r\nT: u\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "05\r\nhello\r\n00\r\n\r\n",
            "\r\n",
            "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        ]);
        let mut text = format!("{method} /r HTTP/{version}\r\nHost: a\r\n{framing}\r\n{body}");
        if self.below(4) == 0 {
            let at = self.below(text.len());
            let byte = self.one_of(&["\r", "\n", " ", "\0", ":", "\t", "0", "\r\n", ";", "-"]);
            text.insert_str(at, byte);
        }
        text
    }
}

/// However requests are written, the client gets one answer for each request that reached the
/// server, and the server reads exactly what the door meant: they never fall out of step.
#[test]
fn no_mutation_puts_client_and_server_out_of_step() {
    let backend = echo();
    let door = Setup::of(&[&backend])
        .listen("timeouts = { head = \"50ms\", body = \"50ms\", keep_alive = \"50ms\" }")
        .start();
    let mut dice = Dice(1);
    for round in 0..600 {
        let text: String = (0..1 + dice.below(3)).map(|_| dice.request()).collect();
        let before = backend.requests().len();
        let mut client = Client::to(&door);
        drop(client.try_send(&text));
        drop(client.socket().shutdown(std::net::Shutdown::Write));
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        let served = backend.requests().split_off(before);
        let good = answer.matches("HTTP/1.1 200 OK\r\n").count()
            + answer.matches("HTTP/1.1 200 Status\r\n").count();
        assert!(good <= served.len(), "round {round}: {text:?}\n{answer}\n{served:?}");
        // A last answer may be lost to a client that was cut off, but no more.
        assert!(served.len() <= good + 1, "round {round}: {text:?}\n{answer}\n{served:?}");
        for request in &served {
            let fits = request.target.starts_with('/') && request.headers.all("host") == ["a"];
            assert!(fits || request.headers.get("host") == Some(""), "round {round}: {request:?}");
        }
    }
    let served = backend.requests().len();
    assert!(served > 200, "only {served} of them were fine");
    assert!(!door.log().contains("panicked"));
    assert!(door.metric("tidegate_panics_total", &[]) < 0.5);
    assert_eq!(Client::to(&door).get("/").status, 200);
}
