//! The door's own errors: their bodies, and the limits and timeouts that cause them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use black_box::{Backend, Broken, Client, Door, Gate, Response, Setup, eventually, ok};

/// An address where nobody listens.
fn closed_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it has an address")
}

#[track_caller]
fn refused(response: &Response, status: u16, reason: &str) {
    let found = (response.status, response.reason());
    assert_eq!(found, (status, Some(reason)), "{}", response.text());
}

/// The reason is counted, so that operators see it.
#[track_caller]
fn counted(door: &Door, reason: &str) {
    let label = format!("reason=\"{reason}\"");
    eventually(&format!("{reason} is counted"), || {
        door.metric("tidegate_answers_total", &[&label]) >= 1.0
    });
}

#[test]
fn a_refusal_is_a_problem_document() {
    let door = Setup::at(&[closed_address(), closed_address()])
        .route("host = \"dead.example\"")
        .pool("ejection = false")
        .start();
    let mut client = Client::to(&door);
    let version = door.status()["configuration"].as_str().unwrap().to_owned();
    for (host, status, reason, error, attempts, retryable) in [
        ("a", 404, "no_route", "destination_not_found", 0, false),
        ("dead.example", 502, "connect_failed", "connection_refused", 2, true),
    ] {
        let response = client.ask(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        refused(&response, status, reason);
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let told = response.header("proxy-status").unwrap();
        assert_eq!(told, format!("tidegate; error={error}; details=\"{reason}\""));
        let body = response.json();
        assert_eq!(body["type"], "about:blank");
        assert_eq!(body["title"], response.phrase.as_str());
        assert_eq!(body["status"], status);
        assert_eq!(body["reason"], reason);
        assert_eq!(body["retryable"], retryable);
        assert_eq!(body["request_id"].as_str(), response.header("x-request-id"));
        assert_eq!(body["configuration"], version.as_str());
        assert!(body["detail"].as_str().unwrap().ends_with('.'));
        assert_eq!(body["attempts"].as_array().unwrap().len(), attempts);
        assert!(!response.text().contains("127.0.0.1"), "nothing behind the door is told");
    }
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.response_to_head();
    refused(&response, 404, "no_route");
    assert!(response.header("content-length").unwrap().parse::<u64>().unwrap() > 100);
    refused(&client.get("/"), 404, "no_route");
    counted(&door, "connect_failed");
    counted(&door, "no_route");
}

#[test]
fn a_request_id_cannot_break_the_document() {
    let door = Setup::default()
        .listen("trusted_proxies = [\"127.0.0.1\"]")
        .more("[routes.none]\nhost = \"b\"\nrespond = {}")
        .start();
    let mut client = Client::to(&door);
    for id in ["a\"b\\c", "\",\"x\":\"", "<script>", "\\", "x".repeat(300).as_str()] {
        let response =
            client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n"));
        refused(&response, 404, "no_route");
        let body = response.json();
        assert_eq!(body["request_id"].as_str(), response.header("x-request-id"), "{id}");
        assert_eq!(body["x"], serde_json::Value::Null, "{id}");
        assert!(response.header("x-request-id").unwrap().len() <= 300);
    }
}

#[test]
fn refusals_in_plain_text() {
    let door = Setup::at(&[closed_address()])
        .listen("errors = \"text\"")
        .pool("retries = { attempts = 1 }")
        .start();
    let response = Client::to(&door).get("/");
    refused(&response, 502, "connect_failed");
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    let text = response.text();
    assert!(text.starts_with("502 Bad Gateway\n"), "{text}");
    let id = response.header("x-request-id").unwrap();
    let version = door.status()["configuration"].as_str().unwrap().to_owned();
    for line in [
        "reason: connect_failed".to_owned(),
        "retryable: true".to_owned(),
        format!("request id: {id}"),
        format!("configuration: {version}"),
        "attempts: connect_failed".to_owned(),
    ] {
        assert!(text.lines().any(|known| known == line), "{line} in {text}");
    }
}

/// RFC 9110: a 405 tells what is allowed (15.5.6), and who has a clock tells the time (6.6.1).
#[test]
fn own_answers_have_the_fields_they_must_have() {
    let door = Setup::default()
        .more(
            "[routes.fixed]\nhost = \"fixed\"\nmethods = [\"GET\"]\nrespond = {}\n\
             [routes.moved]\nhost = \"moved\"\nredirect = { location = \"/\" }",
        )
        .start();
    for (request, host, status) in [
        ("GET /", "fixed", 200),
        ("POST /", "fixed", 405),
        ("TRACE /", "fixed", 405),
        ("GET /", "moved", 302),
        ("GET /", "none", 404),
        ("GET /%", "none", 400),
    ] {
        let text = format!("{request} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        let answer = Client::to(&door).ask(text);
        assert_eq!(answer.status, status, "{request} {host}");
        assert_eq!(answer.headers.has("allow"), status == 405, "{request} {host}: {answer:?}");
        let date = answer.header("date").unwrap_or_default();
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{request} {host}: {answer:?}");
    }
}

#[test]
fn limits_on_what_a_client_sends() {
    let backend = Backend::answering(ok(""));
    let limits = "limits = { head = \"1KiB\", headers = 8, target = 64, body = 100 }";
    let door = Setup::of(&[&backend]).listen(limits).start();
    let head = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let post = |lines: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}");
    let target =
        |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "t".repeat(length - 1));
    let fields = |count: usize| head(&"A: b\r\n".repeat(count - 1));
    let sized = |length: usize| head(&format!("A: {}\r\n", "b".repeat(length - 32)));
    let chunks = |length: usize| {
        let body = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "c".repeat(length));
        post("Transfer-Encoding: chunked\r\n", &body)
    };
    let length =
        |length: usize| post(&format!("Content-Length: {length}\r\n"), &"c".repeat(length));
    assert_eq!(sized(1_024).len(), 1_024);
    for text in [fields(8), sized(1_024), target(64), chunks(100), length(100)] {
        assert_eq!(Client::to(&door).ask(&text).status, 200, "{text}");
    }
    let before = backend.received().len();
    for (text, status, reason) in [
        (fields(9), 431, "too_many_headers"),
        (sized(1_025), 431, "head_too_large"),
        (sized(100_000), 431, "head_too_large"),
        (target(65), 414, "target_too_long"),
        (target(5_000), 414, "target_too_long"),
        (length(101), 413, "body_too_large"),
        (post("Content-Length: 9223372036854775807\r\n", ""), 413, "body_too_large"),
        (chunks(101), 413, "body_too_large"),
        (chunks(0x7000), 413, "body_too_large"),
    ] {
        let start: String = text.chars().take(60).collect();
        let mut client = Client::to(&door);
        drop(client.try_send(&text));
        let response = client.response();
        assert_eq!((response.status, response.reason()), (status, Some(reason)), "{start:?}");
        assert_eq!(response.header("connection"), Some("close"), "{start:?}");
        client.expect_closed();
        counted(&door, reason);
    }
    assert_eq!(backend.received().len(), before, "nothing of it reached the server");
}

#[test]
fn a_chunked_body_that_grows_over_the_limit_is_cut() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).listen("limits = { body = 100 }").start();
    let mut client = Client::to(&door);
    let piece = format!("32\r\n{}\r\n", "c".repeat(50));
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{piece}"));
    eventually("the first piece passed", || backend.received_text().contains("ccc"));
    client.send(format!("{piece}1\r\nd\r\n0\r\n\r\n"));
    let response = client.response();
    refused(&response, 413, "body_too_large");
    client.expect_closed();
    eventually("the server's connection is closed", || backend.open() == 0);
    assert!(backend.requests().is_empty(), "the server never saw a whole request");
    counted(&door, "body_too_large");
}

#[test]
fn connections_of_one_address_are_limited() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).listen("limits = { connections_per_address = 2 }").start();
    let mut first = Client::to(&door);
    let mut second = Client::to(&door);
    assert_eq!((first.get("/").status, second.get("/").status), (200, 200));
    let mut third = Client::to(&door);
    let response = third.get("/");
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert!(response.text().contains("too_many_connections"), "{}", response.text());
    third.expect_closed();
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let mut stranger = Client::connect_from(other, door.first_address());
    assert_eq!(stranger.get("/").status, 200, "another address is not concerned");
    drop(first);
    eventually("the place is free again", || {
        let mut client = Client::to(&door);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.try_response(false).is_ok_and(|response| response.status == 200)
    });
    assert_eq!(second.get("/").status, 200);
    let label = ["reason=\"too_many_connections\""];
    assert!(door.metric("tidegate_connections_refused_total", &label) >= 1.0);
}

/// A server that answers `/held` once the gate is open, and everything else at once.
fn holding(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::start(move |request, peer| {
        if request.target == "/held" {
            gate.wait();
        }
        peer.send(ok(""));
    })
}

/// A client whose request the server holds.
fn held(door: &Door, backend: &Backend) -> Client {
    let before = backend.requests().len();
    let mut client = Client::to(door);
    client.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("the server has the request", || backend.requests().len() > before);
    client
}

#[test]
fn connections_of_a_listener_and_of_the_door_are_limited() {
    for (listen, door) in
        [("limits = { connections = 2 }", ""), ("", "[door]\nworkers = 1\nconnections = 2\n")]
    {
        let gate = Gate::closed();
        let backend = holding(&gate);
        let door = Setup::of(&[&backend]).listen(listen).more(door).start();
        let mut kept = [held(&door, &backend), held(&door, &backend)];
        let response = Client::to(&door).get("/");
        assert_eq!(response.status, 503, "{listen}");
        gate.open();
        for client in &mut kept {
            assert_eq!(client.response().status, 200, "{listen}");
        }
    }
}

#[test]
fn idle_connections_make_room_and_busy_ones_stay() {
    for (listen, door) in
        [("limits = { connections = 4 }", ""), ("", "[door]\nworkers = 1\nconnections = 4\n")]
    {
        let gate = Gate::closed();
        let backend = holding(&gate);
        let door = Setup::of(&[&backend]).listen(listen).more(door).start();
        let mut busy = held(&door, &backend);
        let mut idle = [Client::to(&door), Client::to(&door), Client::to(&door)];
        for client in &mut idle {
            assert_eq!(client.get("/").status, 200, "{listen}");
        }
        // Those that were used a moment ago are left alone: until then the new one is refused.
        eventually("a new client is served", || {
            let mut client = Client::to(&door);
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client.try_response(false).is_ok_and(|response| response.status == 200)
        });
        idle[0].expect_closed();
        let label = ["reason=\"too_many_connections\""];
        assert!(door.metric("tidegate_idle_connections_closed_total", &label) >= 1.0, "{listen}");
        gate.open();
        assert_eq!(busy.response().status, 200, "{listen}");
    }
}

#[test]
fn a_head_that_does_not_come() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).listen("timeouts = { head = \"100ms\" }").start();
    for start in ["G", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r"] {
        let mut client = Client::to(&door);
        let response = client.ask(start);
        refused(&response, 408, "head_timeout");
        client.expect_closed();
    }
    let mut client = Client::to(&door);
    assert_eq!(client.get("/").status, 200);
    refused(&client.ask("GET /again"), 408, "head_timeout");
    counted(&door, "head_timeout");
}

#[test]
fn an_idle_connection_is_closed_quietly() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).listen("timeouts = { keep_alive = \"500ms\" }").start();
    let mut client = Client::to(&door);
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 200);
    }
    client.expect_closed();
}

#[test]
fn a_body_that_makes_no_progress() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).listen("timeouts = { body = \"100ms\" }").start();
    for text in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ] {
        let mut client = Client::to(&door);
        let response = client.ask(text);
        refused(&response, 408, "body_timeout");
        client.expect_closed();
    }
    counted(&door, "body_timeout");
    eventually("the servers' connections are closed", || backend.open() == 0);
    assert!(backend.requests().is_empty(), "no server saw a whole request");
}

#[test]
fn a_client_that_leaves_within_its_body() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    eventually("the start passed", || backend.received_text().contains("abc"));
    drop(client);
    counted(&door, "client_closed");
    eventually("the server's connection is closed", || backend.open() == 0);
    assert!(backend.requests().is_empty());
}

#[test]
fn a_server_that_does_not_accept() {
    // A full backlog: the system drops further attempts without an answer.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _fillers: Vec<_> = (0..4)
        .map(|_| {
            let filler =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            drop(filler.connect(&address.into()));
            filler
        })
        .collect();
    let door = Setup::at(&[address])
        .pool("timeouts = { connect = \"100ms\" }\nretries = { attempts = 1 }")
        .start();
    refused(&Client::to(&door).get("/"), 504, "connect_timeout");
    counted(&door, "connect_timeout");
}

#[test]
fn a_server_that_does_not_answer() {
    let gate = Gate::closed();
    let backend = Backend::start({
        let gate = gate.clone();
        move |_, peer| {
            gate.wait();
            peer.close();
        }
    });
    for (pool, route, reason) in [
        ("timeouts = { first_byte = \"100ms\" }", "", "first_byte_timeout"),
        ("timeouts = { total = \"100ms\" }", "", "total_timeout"),
        ("timeouts = { total = \"1h\" }", "total_timeout = \"100ms\"", "total_timeout"),
        ("", "total_timeout = \"100ms\"", "total_timeout"),
    ] {
        let one = "retries = { attempts = 1 }";
        let door = Setup::of(&[&backend]).pool(pool).pool(one).route(route).start();
        let mut client = Client::to(&door);
        refused(&client.get("/"), 504, reason);
        counted(&door, reason);
    }
    gate.open();
    eventually("the door let go of the server", || backend.open() == 0);
}

#[test]
fn a_response_that_stalls_is_cut() {
    let gate = Gate::closed();
    let backend = Backend::start({
        let gate = gate.clone();
        move |_, peer| {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            gate.wait();
        }
    });
    for (pool, reason) in [
        ("timeouts = { progress = \"100ms\" }", "response_timeout"),
        ("timeouts = { total = \"100ms\" }", "total_timeout"),
    ] {
        let door = Setup::of(&[&backend]).pool(pool).start();
        let mut client = Client::to(&door);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        match client.try_response(false) {
            Err(Broken::Ended(response)) => assert_eq!(response.text(), "half"),
            other => panic!("{other:?}"),
        }
        counted(&door, reason);
    }
    gate.open();
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let backend = Backend::start(|_, peer| {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let piece = vec![b'x'; 1 << 20];
        while peer.try_send(&piece) {}
    });
    let door = Setup::of(&[&backend]).listen("timeouts = { body = \"200ms\" }").start();
    let mut client = Client::to(&door);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    counted(&door, "client_too_slow");
    eventually("the server's connection is closed", || backend.open() == 0);
    let rest = client.read_to_end();
    assert!(rest.len() < 100_000_000, "{} bytes", rest.len());
}

#[test]
fn no_server_may_take_the_request() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    assert_eq!(client.get("/").status, 200);
    let order = |drain: bool| {
        let server = backend.address();
        format!("{{\"pool\":\"api\",\"server\":\"{server}\",\"on\":{drain}}}")
    };
    assert_eq!(door.admin("POST /v1/servers/drain", &order(true)).status, 200);
    eventually("the only server is drained", || client.get("/").status != 200);
    let response = client.get("/");
    refused(&response, 503, "no_server");
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(response.json()["attempts"], serde_json::json!([]));
    counted(&door, "no_server");
    assert_eq!(door.admin("POST /v1/servers/drain", &order(false)).status, 200);
    eventually("the server is back", || client.get("/").status == 200);
}
