//! Floods: many keys, many connections, many slow clients. Memory stays flat, and clients who have
//! nothing to do with it notice nothing.
//!
//! The same at full size, which takes minutes and nearly all open files of a process, with the
//! memory and the latencies printed: `cargo build --release -p tidegate`, then
//! `cargo test -p black-box --test floods -- --ignored --nocapture --test-threads 1`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use black_box::load::{Load, Plan, Tally, show};
use black_box::{Client, Door, Sample, Setup, eventually};

const MEBIBYTE: u64 = 1 << 20;
/// Where floods come from; everybody else is 127.0.0.1.
const FLOODER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
/// Requests that are sent before their answers are read.
const BATCH: usize = 50;
/// Connections of a flood of requests.
const LANES: u64 = 4;

/// A server for everybody, fast and with room for all.
fn server() -> Sample {
    Sample::start("a", &["--concurrency", "1000", "--service-time", "2ms"])
}

/// Others, who send 100 requests a second.
struct Others(Load);

impl Others {
    fn to(door: &Door) -> Self {
        let load = Plan { connections: 8, ..Plan::new(door.first_address(), 100) }.start();
        load.pass(20);
        Self(load)
    }

    /// They were all served, each within the 5 s that they wait; how soon depends on what else
    /// the machine does, so it is printed.
    #[track_caller]
    fn noticed_nothing(self, what: &str) {
        let tally = Tally::of(&self.0.finish());
        show(&format!("{what}: others {}", tally.row()));
        assert_eq!(tally.failed, 0, "{:?}", tally.causes);
    }
}

/// Prints what memory became, and holds it to a bound.
#[track_caller]
fn grew_at_most(door: &Door, before: u64, bytes: u64, what: &str) {
    let after = door.resident_bytes();
    let grown = after.saturating_sub(before);
    let mebibytes =
        |bytes: u64| format!("{}.{} MiB", bytes / MEBIBYTE, bytes % MEBIBYTE * 10 / MEBIBYTE);
    show(&format!(
        "{what}: memory {} before, {} after, grown {} of at most {}",
        mebibytes(before),
        mebibytes(after),
        mebibytes(grown),
        mebibytes(bytes)
    ));
    assert!(grown <= bytes, "memory grew by {grown} bytes, more than {bytes}");
}

/// Sends `keys` requests, each with a key of its own; how many were let in.
fn flood_of_keys(door: &Door, from: u64, keys: u64) -> u64 {
    let lane = |lane: u64| {
        let first = from + lane * (keys / LANES);
        move || {
            let mut client = Client::connect_from(FLOODER, door.first_address());
            let firsts = (first..first + keys / LANES).step_by(BATCH);
            firsts.map(|key| batch(&mut client, key)).sum::<u64>()
        }
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(lane(number))).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane ends by itself")).sum()
    })
}

/// Sends a batch of requests with keys from `first` on; how many were let in.
fn batch(client: &mut Client, first: u64) -> u64 {
    let request = |key| format!("GET /flood HTTP/1.1\r\nHost: a\r\nX-Key: key-{key}\r\n\r\n");
    let keys = first..first + wide(BATCH);
    client.send(keys.clone().map(request).collect::<String>());
    wide(keys.filter(|_| client.response().status == 200).count())
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A flood in which no key comes twice; each is limited by itself, and known as a flow.
#[track_caller]
fn keys(table: u64, flood: u64, memory_max: u64) {
    let server = server();
    let door = Setup::at(&[server.address()])
        .more(&format!(
            "[routes.flood]\npath = \"/flood\"\nrespond = {{ status = 200, body = \"in\" }}\n\
             [admission]\nkeys = {table}\nflow = {{ header = \"x-key\" }}\n\
             [limits.each]\nby = {{ header = \"x-key\" }}\nrate = \"1/h\"\nroutes = [\"flood\"]\n"
        ))
        .start();
    let others = Others::to(&door);
    // What the door makes once for each lane is no memory per key.
    flood_of_keys(&door, u64::MAX / 2, LANES * wide(BATCH));
    let before = door.resident_bytes();
    let admitted = flood_of_keys(&door, 0, flood);
    let what = format!("{flood} keys in a table for {table}");
    show(&format!("{what}: {admitted} let in"));
    grew_at_most(&door, before, memory_max, &what);
    // A key that is forgotten is a key that may: nobody is refused for another's sake.
    assert!(admitted >= flood / 100 * 99, "only {admitted} of {flood} new keys were let in");
    others.noticed_nothing(&what);
}

#[test]
fn a_flood_of_keys_takes_no_memory() {
    keys(2_000, 20_000, 2 * MEBIBYTE);
}

#[test]
#[ignore = "long: ten million requests, twice"]
fn a_flood_of_ten_million_keys_takes_no_memory() {
    keys(1_000_000, 10_000_000, 16 * MEBIBYTE + 4 * MEBIBYTE);
    keys(10_000_000, 10_000_000, 128 * MEBIBYTE + 4 * MEBIBYTE);
}

/// Connections of one address that say nothing, half of them after a request.
#[track_caller]
fn idle(count: usize, held: usize) {
    let server = server();
    let door = Setup::at(&[server.address()])
        .listen(&format!("limits = {{ connections_per_address = {held} }}"))
        .more("[door]\nworkers = 2\nconnections = 10000")
        .start();
    let others = Others::to(&door);
    let before = door.resident_bytes();
    let mut clients = Vec::with_capacity(count);
    for index in 0..count {
        let mut client = Client::connect_from(FLOODER, door.first_address());
        if index % 2 == 0 && index < held {
            assert_eq!(client.get("/").status, 200, "connection {index}");
        }
        clients.push(client);
    }
    let open = || door.status()["connections"].as_u64().unwrap_or(0);
    eventually("all that may are held", || open() >= wide(held.min(count)));
    let what = format!("{count} idle connections, {held} allowed");
    show(&format!("{what}: {} held", open()));
    let each = 4_096 * wide(held.min(count));
    grew_at_most(&door, before, each + 4 * MEBIBYTE, &what);
    others.noticed_nothing(&what);
}

#[test]
fn idle_connections_cost_little() {
    idle(1_000, 900);
}

/// The files of one process end at 20,000 here, and a door takes half of them for clients.
#[test]
#[ignore = "nearly all open files of a process: 15,000 connections"]
fn fifteen_thousand_idle_connections_cost_little() {
    idle(15_000, 9_000);
}

/// What a slow client is slow at.
#[derive(Clone, Copy, Debug)]
enum Slow {
    Head,
    Body,
    Reader,
}

impl Slow {
    fn begin(self) -> &'static str {
        match self {
            Self::Head => "GET / HTTP/1.1\r\nHost: a\r\nX: ",
            Self::Body => "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
            Self::Reader => "GET /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n",
        }
    }
}

/// Slow clients of one address; each moves a byte now and then, which is progress.
#[track_caller]
fn slow(slow: Slow, count: usize) {
    let server = server();
    let door =
        Setup::at(&[server.address()]).more("[door]\nworkers = 2\nconnections = 10000").start();
    let others = Others::to(&door);
    let before = door.resident_bytes();
    let over = Arc::new(AtomicBool::new(false));
    let mut clients: Vec<Client> = (0..count)
        .map(|_| {
            // A response that is far larger than this and what the door leaves to the kernel, and
            // no larger: the server's work for gigabytes would be another attack.
            let mut client = Client::connect_narrow(FLOODER, door.first_address(), 16 * 1_024);
            client.send(slow.begin());
            client
        })
        .collect();
    let trickle = {
        let over = Arc::clone(&over);
        // Who reads slowly does not read at all.
        let byte: &[u8] = if matches!(slow, Slow::Reader) { b"" } else { b"x" };
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                // Some are refused or cut off in the meantime: that is what a door may do.
                clients.iter_mut().for_each(|client| drop(client.try_send(byte)));
                std::thread::park_timeout(Duration::from_millis(100));
            }
        })
    };
    let mark = others.0.mark();
    others.0.pass(300);
    let what = format!("{count} clients with a slow {slow:?}");
    show(&format!("{what}: for {:.1} s", (others.0.mark() - mark).as_secs_f64()));
    // A head or a piece of a body may be held for each; what is in sockets is the system's.
    let each = 100 * 1_024 * wide(count);
    grew_at_most(&door, before, each + 4 * MEBIBYTE, &what);
    others.noticed_nothing(&what);
    over.store(true, Ordering::Relaxed);
    trickle.join().expect("it ends by itself");
}

#[test]
fn slow_heads_harm_nobody() {
    slow(Slow::Head, 200);
}

#[test]
fn slow_bodies_harm_nobody() {
    slow(Slow::Body, 200);
}

#[test]
fn slow_readers_harm_nobody() {
    slow(Slow::Reader, 200);
}

#[test]
#[ignore = "large: 2,000 slow clients of each form"]
fn thousands_of_slow_clients_harm_nobody() {
    slow(Slow::Head, 2_000);
    slow(Slow::Body, 2_000);
    slow(Slow::Reader, 2_000);
}
