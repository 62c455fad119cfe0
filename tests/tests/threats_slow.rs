//! The threat list continued: too much, too slow, or both. Every cost stays bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use black_box::fort::{Fort, get};
use black_box::{Backend, Client, Door, Gate, Setup, eventually, ok};

const MEBIBYTE: u64 = 1 << 20;

/// What the door's memory may grow by under attack: a few buffers per connection, no bodies.
#[track_caller]
fn grew_at_most(door: &Door, before: u64, bytes: u64) {
    let grown = door.resident_bytes().saturating_sub(before);
    assert!(grown <= bytes, "memory grew by {grown} bytes, more than {bytes}");
}

#[test]
fn threat_28_limits_on_the_head() {
    let mut fort = Fort::new();
    let before = fort.door.resident_bytes();
    for count in [100, 1_000, 100_000] {
        let reason = if count * 6 < 16_000 { "too_many_headers" } else { "head_too_large" };
        fort.refuses(&get("/", &"A: b\r\n".repeat(count)), 431, reason);
    }
    for length in [16_384, 65_536, 4_000_000] {
        let value = "v".repeat(length);
        fort.refuses(&get("/", &format!("A: {value}\r\n")), 431, "head_too_large");
        fort.refuses(&get("/", &format!("{value}: a\r\n")), 431, "head_too_large");
        fort.refuses(&get(&format!("/{value}"), ""), 414, "target_too_long");
        fort.refuses(&get(&format!("/?{value}"), ""), 414, "target_too_long");
    }
    let method = "M".repeat(8_000);
    fort.refuses(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "bad_request_line");
    fort.told();
    grew_at_most(&fort.door, before, 8 * MEBIBYTE);
}

/// Many connections that send one byte now and then: each ends with its head's time.
#[test]
fn threat_29_slow_header() {
    let mut fort = Fort::new();
    fort.bystander();
    let before = fort.door.resident_bytes();
    let connections = 100;
    let ended = Arc::new(AtomicUsize::new(0));
    let attackers: Vec<_> = (0..connections)
        .map(|_| {
            let (mut client, ended) = (Client::to(&fort.door), Arc::clone(&ended));
            std::thread::spawn(move || {
                client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
                while client.try_send("x").is_ok() {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                ended.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    eventually("every slow connection is closed", || {
        fort.bystander();
        ended.load(Ordering::SeqCst) == connections
    });
    for attacker in attackers {
        attacker.join().expect("an attacker ends by itself");
    }
    let timeouts = fort.door.metric("tidegate_answers_total", &["reason=\"head_timeout\""]);
    assert!((timeouts - 100.0).abs() < 0.5, "{timeouts} timeouts");
    assert!(fort.backend.received().is_empty());
    grew_at_most(&fort.door, before, 100 * 100 * 1_024 + 4 * MEBIBYTE);
}

/// A body byte now and then is progress, but only as long as the request's total time.
#[test]
fn threat_29_slow_body() {
    let backend = Backend::answering(ok("reached"));
    let door = Setup::of(&[&backend])
        .listen("timeouts = { body = \"5s\" }")
        .route("total_timeout = \"300ms\"")
        .start();
    let mut client = Client::to(&door);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    while client.try_send("x").is_ok() {
        std::thread::park_timeout(Duration::from_millis(10));
    }
    eventually("it is counted", || {
        door.metric("tidegate_answers_total", &["reason=\"total_timeout\""]) >= 1.0
    });
    eventually("the server is let go", || backend.open() == 0);
    assert!(backend.requests().is_empty());
}

/// Clients that ask for much and read nothing: the server is held back, the door keeps little.
#[test]
fn threat_29_slow_reader() {
    let sent = Arc::new(AtomicUsize::new(0));
    let backend = Backend::start({
        let sent = Arc::clone(&sent);
        move |request, peer| {
            if request.target == "/bystander" {
                return peer.send(ok("calm"));
            }
            let piece = vec![b'x'; 64 * 1_024];
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 32));
            while peer.try_send(&piece) {
                sent.fetch_add(piece.len(), Ordering::SeqCst);
            }
        }
    });
    let door = Setup::of(&[&backend]).start();
    let mut bystander = Client::to(&door);
    assert_eq!(bystander.get("/bystander").text(), "calm");
    let before = door.resident_bytes();
    let mut readers: Vec<Client> = (0..20).map(|_| Client::to(&door)).collect();
    for reader in &mut readers {
        reader.send("GET /much HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let mut last = 0;
    let mut still = 0;
    eventually("the servers are held back", || {
        let now = sent.load(Ordering::SeqCst);
        still = if now == last && now > 0 { still + 1 } else { 0 };
        last = now;
        still >= 40
    });
    assert_eq!(bystander.get("/bystander").text(), "calm");
    // 64 KiB of buffer each; what is in sockets is the system's.
    grew_at_most(&door, before, 20 * 200 * 1_024 + 4 * MEBIBYTE);
    drop(readers);
    eventually("the servers are let go", || backend.open() <= 1);
}

/// A server that does not read the body: the client is held back, the door keeps little.
#[test]
fn threat_30_unbounded_body_buffering() {
    for framing in ["Content-Length: 1000000000", "Transfer-Encoding: chunked"] {
        let gate = Gate::closed();
        let backend = Backend::by_head({
            let gate = gate.clone();
            move |_, peer| {
                gate.wait();
                peer.close();
            }
        });
        let door = Setup::of(&[&backend]).listen("limits = { body = \"1GB\" }").start();
        let before = door.resident_bytes();
        let sent = Arc::new(AtomicUsize::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let uploader = {
            let (sent, over, mut client) =
                (Arc::clone(&sent), Arc::clone(&over), Client::to(&door));
            let is_chunked = framing.starts_with('T');
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
            std::thread::spawn(move || {
                let body = "x".repeat(0x1_0000);
                let piece = if is_chunked { format!("10000\r\n{body}\r\n") } else { body };
                while !over.load(Ordering::SeqCst) && client.try_send(&piece).is_ok() {
                    sent.fetch_add(piece.len(), Ordering::SeqCst);
                }
            })
        };
        let mut last = 0;
        let mut still = 0;
        eventually("the client is held back", || {
            let now = sent.load(Ordering::SeqCst);
            still = if now == last && now > 0 { still + 1 } else { 0 };
            last = now;
            still >= 40
        });
        assert!(last < 64 << 20, "{last} bytes were taken that nobody wanted");
        grew_at_most(&door, before, 4 * MEBIBYTE);
        over.store(true, Ordering::SeqCst);
        gate.open();
        uploader.join().expect("the client ends by itself");
    }
}

/// The smallest chunks there are cost no more than the bytes they are.
#[test]
fn threat_30_tiny_chunks() {
    let backend = Backend::start(|request, peer| {
        peer.send(ok(&request.body.len().to_string()));
    });
    let door = Setup::of(&[&backend]).start();
    let before = door.resident_bytes();
    let count = 200_000;
    let text = format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(count));
    let mut client = Client::to(&door);
    let response = client
        .ask(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{text}"));
    assert_eq!(response.text(), count.to_string());
    grew_at_most(&door, before, 4 * MEBIBYTE);
}

/// Many idle connections hold no buffers.
#[test]
fn threat_30_idle_connections_hold_nothing() {
    let backend = Backend::answering(ok("reached"));
    let door = Setup::of(&[&backend]).start();
    assert_eq!(Client::to(&door).get("/").status, 200);
    let before = door.resident_bytes();
    let mut clients: Vec<Client> = (0..300).map(|_| Client::to(&door)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    grew_at_most(&door, before, 300 * 4_096 + MEBIBYTE);
}
