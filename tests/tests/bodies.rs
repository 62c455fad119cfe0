//! Bodies up to 200 MiB both ways, with hashes at both ends; what slow readers cost; and that
//! nothing is left of exchanges that were cut off anywhere.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use black_box::load::{now, show};
use black_box::{Backend, Client, Door, Peer, Sample, Setup, chunked, eventually, ok};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const SIZES: [usize; 5] = [0, 1, 16 * KIB, MIB, 200 * MIB];
/// Bytes written or read at once.
const BLOCK: usize = 64 * KIB;

fn sample() -> Sample {
    Sample::start("one", &["--service-time", "0ms", "--concurrency", "1000"])
}

fn setup(sample: &Sample) -> Setup {
    Setup::at(&[sample.address()]).listen("limits = { body = \"1GiB\" }")
}

fn door(sample: &Sample) -> Door {
    setup(sample).start()
}

fn hexadecimal(hash: Context) -> String {
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A block whose bytes depend on its number, so that a lost or swapped one changes the hash.
fn block(number: usize, size: usize) -> Vec<u8> {
    let seed = u8::try_from(number % 251).expect("a remainder of 251 fits");
    (0..=u8::MAX).map(|byte| byte.wrapping_mul(31) ^ seed).cycle().take(size).collect()
}

/// Uploads `size` bytes and compares what the server counted and hashed.
#[track_caller]
fn upload(client: &mut Client, size: usize, in_chunks: bool) {
    let framing = if in_chunks {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {size}")
    };
    client.send(format!("POST /upload HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"));
    let mut hash = Context::new(&SHA256);
    let mut left = size;
    for number in 0..size.div_ceil(BLOCK) {
        let bytes = block(number, left.min(BLOCK));
        hash.update(&bytes);
        left -= bytes.len();
        if in_chunks {
            client.send(format!("{:x}\r\n", bytes.len()));
            client.send(&bytes);
            client.send("\r\n");
        } else {
            client.send(&bytes);
        }
    }
    if in_chunks {
        client.send("0\r\n\r\n");
    }
    let response = client.response();
    assert_eq!(response.status, 200, "{}", response.text());
    let told = response.json();
    assert_eq!(told["bytes"].as_u64(), u64::try_from(size).ok(), "in chunks: {in_chunks}");
    assert_eq!(told["sha256"], hexadecimal(hash), "{size} bytes, in chunks: {in_chunks}");
}

/// Downloads `size` bytes and compares their hash with the server's own.
#[track_caller]
fn download(client: &mut Client, size: usize, in_chunks: bool) {
    let expected = client.get(&format!("/hash/{size}")).json();
    let query = if in_chunks { "?chunked" } else { "" };
    client.send(format!("GET /bytes/{size}{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let mut hash = Context::new(&SHA256);
    if in_chunks && size > 0 {
        let response = client.response();
        assert_eq!(response.header("transfer-encoding"), Some("chunked"));
        assert_eq!(response.body.len(), size);
        hash.update(&response.body);
    } else {
        let head = client.response_head().expect("the download begins");
        if !in_chunks {
            assert_eq!(head.header("content-length"), Some(size.to_string().as_str()));
        }
        let mut left = size;
        while left > 0 {
            let bytes = client.read_exactly(left.min(BLOCK));
            left -= bytes.len();
            hash.update(&bytes);
        }
        if head.header("transfer-encoding").is_some() {
            assert_eq!(client.read_exactly(5), b"0\r\n\r\n");
        }
    }
    assert_eq!(expected["sha256"], hexadecimal(hash), "{size} bytes, in chunks: {in_chunks}");
}

#[test]
fn uploads_arrive_whole() {
    let sample = sample();
    let door = door(&sample);
    let mut client = Client::to(&door);
    for size in SIZES {
        for in_chunks in [false, true] {
            let began = now();
            upload(&mut client, size, in_chunks);
            show(&format!(
                "upload   {size:>9} bytes, chunked: {in_chunks:5}  {:>7.1} ms",
                began.elapsed().as_secs_f64() * 1e3
            ));
        }
    }
    assert_eq!(door.metric("tidegate_connections_accepted_total", &[]), 1.0, "one connection");
}

#[test]
fn downloads_arrive_whole() {
    let sample = sample();
    let door = door(&sample);
    let mut client = Client::to(&door);
    for size in SIZES {
        for in_chunks in [false, true] {
            let began = now();
            download(&mut client, size, in_chunks);
            show(&format!(
                "download {size:>9} bytes, chunked: {in_chunks:5}  {:>7.1} ms",
                began.elapsed().as_secs_f64() * 1e3
            ));
        }
    }
    assert_eq!(door.metric("tidegate_connections_accepted_total", &[]), 1.0, "one connection");
}

#[test]
fn fifty_transfers_at_once() {
    let sample = sample();
    // Fifty at once are more than a server that is not known yet would be given.
    let door = setup(&sample).pool("adaptive = false").start();
    std::thread::scope(|scope| {
        for number in 0..50 {
            let door = &door;
            scope.spawn(move || {
                let mut client = Client::to(door);
                for size in [MIB, 3 * MIB + number] {
                    upload(&mut client, size, number % 2 == 0);
                    download(&mut client, size, number % 2 == 1);
                }
            });
        }
    });
    nothing_left(&door);
}

/// Nothing is in flight, nobody is connected, and nothing panicked.
#[track_caller]
fn nothing_left(door: &Door) {
    // Gauges of servers are those of the last whole second: one that began by now.
    let seconds = || door.status()["uptime_seconds"].as_u64();
    let now = seconds();
    eventually("a second passes", || seconds() > now);
    for gauge in
        ["tidegate_connections", "http_server_active_requests", "tidegate_server_active_requests"]
    {
        eventually(gauge, || door.metric(gauge, &[]) == 0.0);
    }
    assert_eq!(door.metric("tidegate_panics_total", &[]), 0.0);
}

#[test]
fn a_response_may_begin_before_its_request_ends() {
    let backend = Backend::by_head(|_, peer| {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n");
        let mut echoed = 0;
        while echoed < 50 {
            let Some(bytes) = peer.read_some() else { return };
            echoed += bytes.len();
            peer.send(bytes);
        }
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n");
    assert_eq!(client.response_head().expect("the answer begins").status, 200);
    for round in 0..5 {
        let piece = format!("piece {round:>4}");
        client.send(piece.as_bytes());
        assert_eq!(client.read_exactly(10), piece.as_bytes(), "in round {round}");
    }
    drop(client);
    nothing_left(&door);
}

#[test]
fn an_answer_before_the_end_of_the_upload_arrives() {
    let backend = Backend::by_head(|_, peer| {
        peer.send(
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
        );
        peer.close();
    });
    let door = Setup::of(&[&backend]).start();
    for _ in 0..20 {
        let mut client = Client::to(&door);
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MIB}\r\n\r\n"));
        // The door may stop reading at any time.
        drop(client.try_send(vec![b'x'; MIB]));
        let response = client.response();
        assert!([413, 502].contains(&response.status), "{response:?}");
    }
    nothing_left(&door);
}

/// A server that sends `blocks` blocks as an answer and counts what it got rid of.
fn sender(blocks: usize) -> (Backend, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let backend = Backend::start({
        let sent = Arc::clone(&sent);
        move |_, peer: &mut Peer| {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blocks * BLOCK));
            for number in 0..blocks {
                if !peer.try_send(block(number, BLOCK)) {
                    return;
                }
                sent.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (backend, sent)
}

/// Waits until `count` has been the same for a while and above zero.
#[track_caller]
fn stalls(count: &AtomicU64) -> u64 {
    let (mut last, mut looks) = (0, 0);
    eventually("the transfer stalls", || {
        let seen = count.load(Ordering::SeqCst);
        looks = if seen == last && seen > 0 { looks + 1 } else { 0 };
        last = seen;
        looks > 60
    });
    last
}

#[test]
fn slow_readers_cost_a_bounded_buffer_each() {
    const BLOCKS: usize = 200 * MIB / BLOCK;
    const CLIENTS: u64 = 20;
    let (backend, sent) = sender(BLOCKS);
    let door = Setup::of(&[&backend]).start();
    assert_eq!(door.admin("GET /health", "").status, 200);
    let before = door.resident_bytes();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::to(&door)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    let stalled = stalls(&sent);
    let grown = door.resident_bytes().saturating_sub(before) / CLIENTS;
    show(&format!(
        "slow readers: {CLIENTS} x 200 MiB wait, {} MiB were sent; {} KiB of memory each",
        stalled * 64 / 1024,
        grown / 1024
    ));
    assert!(grown < 512 * 1024, "{grown} bytes for each slow reader");
    let mut client = clients.swap_remove(0);
    drop(clients);
    assert_eq!(client.response_head().expect("the answer began").status, 200);
    let (mut received, mut expected) = (Context::new(&SHA256), Context::new(&SHA256));
    for number in 0..BLOCKS {
        received.update(&client.read_exactly(BLOCK));
        expected.update(&block(number, BLOCK));
    }
    assert_eq!(hexadecimal(received), hexadecimal(expected));
    drop(client);
    nothing_left(&door);
}

#[test]
fn a_slow_server_costs_a_bounded_buffer() {
    let gate = black_box::Gate::closed();
    let backend = Backend::by_head({
        let gate = gate.clone();
        move |_, peer| {
            gate.wait();
            peer.send(ok("enough"));
            peer.read_to_end();
        }
    });
    let door = Setup::of(&[&backend]).start();
    assert_eq!(door.admin("GET /health", "").status, 200);
    let before = door.resident_bytes();
    let client = Client::to(&door);
    let mut socket = client.socket().try_clone().unwrap();
    let size = 64 * MIB;
    let sent = Arc::new(AtomicU64::new(0));
    let writer = std::thread::spawn({
        let sent = Arc::clone(&sent);
        move || {
            let head =
                format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n");
            drop(socket.write_all(head.as_bytes()));
            while socket.write_all(&block(0, BLOCK)).is_ok() {
                sent.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    stalls(&sent);
    let grown = door.resident_bytes().saturating_sub(before);
    show(&format!("slow server: {} KiB of memory", grown / 1024));
    assert!(grown < 2 << 20, "{grown} bytes for an upload that waits");
    client.socket().shutdown(Shutdown::Both).unwrap();
    gate.open();
    writer.join().unwrap();
    drop(client);
    nothing_left(&door);
}

fn open_files(door: &Door) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", door.pid())).expect("the door runs").count()
}

/// A small generator: cut-offs are spread, and the same on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits fit") % bound
    }
}

#[test]
fn nothing_is_left_of_what_was_cut_off() {
    let message = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        chunked(&["x".repeat(200).as_str(); 20])
    );
    // The path says after how many bytes the server cuts its answer, and how.
    let backend = Backend::start({
        let message = message.clone();
        move |request, peer| {
            let (how, at) = request.target.strip_prefix('/').unwrap().split_once('/').unwrap();
            let at = at.parse::<usize>().unwrap().min(message.len());
            peer.send(&message.as_bytes()[..at]);
            match how {
                "reset" => peer.reset(),
                "close" => peer.close(),
                _ => {}
            }
        }
    });
    let door = Setup::of(&[&backend])
        .pool("ejection = { failures = 0 }")
        .pool("timeouts = { idle = \"200ms\" }")
        .start();
    assert_eq!(Client::to(&door).get("/whole/99999").status, 200);
    nothing_left(&door);
    let start = open_files(&door);
    let mut dice = Dice(7);
    for round in 0..600 {
        let body = chunked(&["y".repeat(100).as_str(); 10]);
        let how = ["whole", "reset", "close"][dice.below(3)];
        let answer_at = if how == "whole" { 99_999 } else { dice.below(message.len()) };
        let request = format!(
            "POST /{how}/{answer_at} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        );
        let mut client = Client::to(&door);
        match round % 4 {
            // The client goes in the middle of its request, in order or not.
            0 | 1 => {
                let cut = dice.below(request.len());
                client.send(&request.as_bytes()[..cut]);
                if round % 4 == 0 {
                    client.reset();
                }
            }
            // The client goes in the middle of the answer.
            2 => {
                client.send(&request);
                if client.response_head().is_ok() {
                    client.reset();
                }
            }
            // The client stays; only the server cuts.
            _ => {
                client.send(&request);
                let whole = client.try_response(false);
                let complete = whole.is_ok_and(|response| response.status == 200);
                assert_eq!(
                    complete,
                    how == "whole",
                    "/{how}/{answer_at}: a cut answer looks whole"
                );
            }
        }
    }
    nothing_left(&door);
    eventually("the file descriptors are back", || open_files(&door) <= start);
    assert_eq!(Client::to(&door).get("/whole/99999").body.len(), 4_000);
}
