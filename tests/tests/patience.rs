//! Who is waiting for whom: each timeout falls on the side that owes the next bytes, and what is
//! given up is let go.

use std::time::Duration;

use black_box::{Backend, Client, Door, Gate, Setup, eventually, ok};

#[track_caller]
fn counted(door: &Door, reason: &str) {
    let label = format!("reason=\"{reason}\"");
    eventually(&format!("{reason} is counted"), || {
        door.metric("tidegate_answers_total", &[&label]) >= 1.0
    });
}

/// A client that waits for `100 Continue` owes nothing: the server does.
#[test]
fn a_client_that_waits_for_100_continue_is_not_late() {
    let gate = Gate::closed();
    let backend = Backend::by_head({
        let gate = gate.clone();
        move |head, peer| {
            if head.target == "/waits" {
                gate.wait();
                peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            let mut request = head.clone();
            if peer.read_body(&mut request) {
                peer.send(ok("thanks"));
            }
        }
    });
    let door = Setup::of(&[&backend]).listen("timeouts = { body = \"200ms\" }").start();
    let mut waiting = Client::to(&door);
    waiting.send(
        "PUT /waits HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    );
    eventually("the request is there", || backend.received_text().contains("/waits"));
    // This client owes its body, and its timeout shows that the time has passed.
    let late = Client::to(&door).ask("PUT /late HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(late.reason(), Some("body_timeout"));
    gate.open();
    assert_eq!(waiting.response().status, 100);
    waiting.send("body");
    assert_eq!(waiting.response().text(), "thanks");
}

/// A server that stops reading owes the progress, not the client whose bytes it does not take.
#[test]
fn a_server_that_stops_reading_is_late() {
    let gate = Gate::closed();
    let backend = Backend::by_head({
        let gate = gate.clone();
        move |_, peer| {
            gate.wait();
            peer.close();
        }
    });
    let door = Setup::of(&[&backend])
        .listen("timeouts = { body = \"5s\" }")
        .pool("timeouts = { first_byte = \"200ms\" }\nretries = { attempts = 1 }")
        .start();
    let client = Client::to(&door);
    let mut sender = Client::over(client.socket().try_clone().unwrap());
    let mut client = client;
    let uploader = std::thread::spawn(move || {
        let piece = vec![b'x'; 1 << 16];
        sender.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n");
        while sender.try_send(&piece).is_ok() {}
    });
    let answer = client.response();
    assert_eq!((answer.status, answer.reason()), (504, Some("first_byte_timeout")));
    counted(&door, "first_byte_timeout");
    uploader.join().unwrap();
    gate.open();
}

/// An upload may take longer than the server has for its first byte: that time begins at its end.
#[test]
fn a_slow_upload_does_not_make_the_server_late() {
    let backend = Backend::start(|request, peer| peer.send(ok(&request.body.len().to_string())));
    let door = Setup::of(&[&backend]).pool("timeouts = { first_byte = \"300ms\" }").start();
    for framing in ["Content-Length: 25", "Transfer-Encoding: chunked"] {
        let is_chunked = framing.starts_with('T');
        let mut client = Client::to(&door);
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        for _ in 0..25 {
            std::thread::park_timeout(Duration::from_millis(20));
            client.send(if is_chunked { "1\r\nx\r\n" } else { "x" });
        }
        std::thread::park_timeout(Duration::from_millis(350));
        if is_chunked {
            client.send("0\r\n\r\n");
        }
        assert_eq!(client.response().text(), "25", "{framing}");
    }
}

/// A slow download may take longer than each of its timeouts, as long as it goes on.
#[test]
fn a_slow_response_that_goes_on_is_not_late() {
    let backend = Backend::start(|_, peer| {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
        for _ in 0..30 {
            std::thread::park_timeout(Duration::from_millis(20));
            peer.send("x");
        }
    });
    let door = Setup::of(&[&backend])
        .listen("timeouts = { body = \"400ms\", keep_alive = \"400ms\", head = \"400ms\" }")
        .pool("timeouts = { first_byte = \"400ms\", progress = \"400ms\" }")
        .start();
    assert_eq!(Client::to(&door).get("/").body.len(), 30);
}

/// A client that is gone leaves no work behind: its server is let go at once.
#[test]
fn a_client_that_leaves_while_the_server_works() {
    let gate = Gate::closed();
    let backend = Backend::start({
        let gate = gate.clone();
        move |_, peer| {
            gate.wait();
            peer.send(ok("too late"));
        }
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request is there", || backend.requests().len() == 1);
    client.reset();
    counted(&door, "client_closed");
    gate.open();
    eventually("the server is let go", || backend.open() == 0);
}

/// Whoever is refused and goes on sending is listened to for a while, not for ever.
#[test]
fn a_refused_client_cannot_stay() {
    let door = Setup::default().more("[routes.none]\nhost = \"b\"\nrespond = {}").start();
    let mut client = Client::to(&door);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    assert_eq!(client.response().reason(), Some("no_route"));
    let mut sent = 0;
    while client.try_send("x").is_ok() {
        sent += 1;
        assert!(sent < 1_500, "the door still listens after {sent} bytes");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    eventually("the connection is gone", || door.metric("tidegate_connections", &[]) < 0.5);
}

/// Heads of every size follow each other through the same buffer.
#[test]
fn heads_of_all_sizes_in_one_pipeline() {
    let backend = Backend::start(|request, peer| {
        let length = request.headers.get("x-fill").map_or(0, str::len);
        peer.send(ok(&format!("{} {length}", request.target)));
    });
    let door = Setup::of(&[&backend]).start();
    let client = Client::to(&door);
    let mut sender = Client::over(client.socket().try_clone().unwrap());
    let mut reader = client;
    let fill = |n: usize| (n * 769) % 16_000;
    let writer = std::thread::spawn(move || {
        for n in 0..400 {
            let value = "f".repeat(fill(n));
            sender.send(format!("GET /{n} HTTP/1.1\r\nHost: a\r\nX-Fill: {value}\r\n\r\n"));
        }
    });
    for n in 0..400 {
        assert_eq!(reader.response().text(), format!("/{n} {}", fill(n)));
    }
    writer.join().unwrap();
}

/// Responses of every size follow each other on the same connections.
#[test]
fn responses_of_all_sizes() {
    let size = |n: usize| (n * n * 97) % 300_000;
    let backend = Backend::start(move |request, peer| {
        let n: usize = request.target.trim_start_matches('/').parse().unwrap_or(0);
        let body = "r".repeat(size(n));
        let fill = "f".repeat((n * 331) % 12_000);
        peer.send(if n.is_multiple_of(2) {
            black_box::response(200, &format!("X-Fill: {fill}\r\n"), &body)
        } else {
            let pieces: Vec<&str> = body
                .as_bytes()
                .chunks(1_000)
                .filter_map(|piece| std::str::from_utf8(piece).ok())
                .collect();
            let text = black_box::chunked(&pieces);
            format!("HTTP/1.1 200 OK\r\nX-Fill: {fill}\r\nTransfer-Encoding: chunked\r\n\r\n{text}")
                .into_bytes()
        });
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    for n in 0..120 {
        let answer = client.get(&format!("/{n}"));
        assert_eq!(answer.body.len(), size(n), "{n}");
        assert_eq!(answer.header("x-fill").map(str::len), Some((n * 331) % 12_000), "{n}");
    }
    assert_eq!(backend.connections(), 1);
}

/// Once the response has begun, an upload that goes on does not shorten the server's time.
#[test]
fn a_server_that_answers_while_it_reads_keeps_its_time() {
    let gate = Gate::closed();
    let backend = Backend::by_head({
        let gate = gate.clone();
        move |head, peer| {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
            if peer.read_body(&mut head.clone()) {
                gate.wait();
                peer.send("cd");
            }
        }
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwx");
    let head = client.response_head().expect("the response begins at once");
    assert_eq!(head.status, 200);
    assert_eq!(client.read_exactly(2), b"ab");
    client.send("yz");
    eventually("the upload is there", || backend.received_text().contains("wxyz"));
    // Two whole seconds of the door pass while the server thinks.
    let uptime = || door.status()["uptime_seconds"].as_u64().unwrap_or(0);
    let before = uptime();
    eventually("time passes", || uptime() >= before + 2);
    gate.open();
    assert_eq!(client.read_exactly(2), b"cd");
}

/// When both directions stand still because the client owes its body, the client is late.
#[test]
fn a_client_that_stops_sending_while_it_is_answered_is_late() {
    let gate = Gate::closed();
    let backend = Backend::by_head({
        let gate = gate.clone();
        move |_, peer| {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
            gate.wait();
        }
    });
    let door = Setup::of(&[&backend]).listen("timeouts = { body = \"200ms\" }").start();
    let mut client = Client::to(&door);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwx");
    let answer = client.read_to_end();
    assert!(answer.ends_with(b"\r\n\r\nab"), "{:?}", String::from_utf8_lossy(&answer));
    counted(&door, "body_timeout");
    gate.open();
}
