//! Requests that wait for a place: who gets it, and what becomes of those who leave.

use std::io::Read;
use std::net::TcpStream;

use model::configuration::Balance;
use model::fact::QueueFacts;
use net::clock;

use crate::harness::{Door, Origin, SECONDS, Setup, get, receive, send};

/// A door of two workers before a server that is given one request at a time.
fn door() -> (Door, Origin) {
    let origin = Origin::start("a");
    let server = origin.address;
    let (methods, balance) = (Vec::new(), Balance::RoundRobin);
    let door =
        Door::start(Setup { version: "one", server, methods, balance, workers: 2, key: None });
    door.live.pool(0).limit_server(0, 1);
    (door, origin)
}

/// Waits until the pool is as `wanted` says.
#[track_caller]
fn until(door: &Door, wanted: impl Fn(&QueueFacts) -> bool) {
    let end = clock::now() + SECONDS;
    loop {
        let facts = door.live.admission().gate(0).facts(clock::now());
        if wanted(&facts) {
            return;
        }
        assert!(clock::now() < end, "{facts:?}");
        std::thread::yield_now();
    }
}

/// A client of this worker whose request is at the server, and stays there.
fn working(door: &Door, origin: &Origin, worker: usize) -> TcpStream {
    let mut client = door.connect_to(worker);
    send(&mut client, "GET", "/wait", "");
    origin.has_request_waiting();
    client
}

/// A client of this worker whose request waits, as the only one.
fn waiting(door: &Door, worker: usize, path: &str) -> TcpStream {
    let mut client = door.connect_to(worker);
    send(&mut client, "GET", path, "");
    until(door, |facts| facts.waiting == 1);
    client
}

fn answered(client: &mut TcpStream) {
    assert_eq!(receive(client), (200, "a".to_owned()));
}

#[test]
fn a_place_that_becomes_free_goes_to_who_waits_at_any_worker() {
    for worker in [0, 1] {
        let (door, origin) = door();
        let mut first = working(&door, &origin, 0);
        let mut second = waiting(&door, worker, "/");
        origin.release();
        answered(&mut first);
        answered(&mut second);
        until(&door, |facts| (facts.waiting, facts.in_flight) == (0, 0));
    }
}

#[test]
fn who_leaves_while_waiting_never_reaches_a_server() {
    let (door, origin) = door();
    let mut first = working(&door, &origin, 0);
    drop(waiting(&door, 0, "/wait"));
    until(&door, |facts| facts.waiting == 0);
    let mut third = waiting(&door, 0, "/");
    origin.release();
    answered(&mut first);
    answered(&mut third);
    origin.has_no_request_waiting();
}

#[test]
fn who_leaves_while_the_server_works_gives_its_place_to_the_next() {
    for worker in [0, 1] {
        let (door, origin) = door();
        let first = working(&door, &origin, 0);
        let mut second = waiting(&door, worker, "/");
        // The server is still at work for the first one: it is never released.
        drop(first);
        answered(&mut second);
    }
}

#[test]
fn who_ends_only_its_sending_side_is_gone_too() {
    let (door, origin) = door();
    let mut first = working(&door, &origin, 0);
    let mut second = waiting(&door, 0, "/");
    first.shutdown(std::net::Shutdown::Write).unwrap();
    answered(&mut second);
    let mut answer = String::new();
    first.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 499 ") && answer.contains("client_closed"), "{answer}");
}

#[test]
fn what_is_sent_while_waiting_is_kept_for_later() {
    let (door, origin) = door();
    let mut first = working(&door, &origin, 0);
    let mut second = waiting(&door, 1, "/");
    send(&mut second, "GET", "/", "");
    send(&mut second, "GET", "/", "");
    until(&door, |facts| facts.waiting == 1);
    origin.release();
    answered(&mut first);
    answered(&mut second);
    answered(&mut second);
    answered(&mut second);
}

#[test]
fn a_stream_of_events_keeps_no_place() {
    let (door, _origin) = door();
    let mut listener = door.connect_to(0);
    send(&mut listener, "GET", "/events", "");
    let (mut text, mut bytes) = (String::new(), [0; 1024]);
    while !text.contains("data: 1") {
        let count = listener.read(&mut bytes).unwrap();
        assert!(count > 0, "{text}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    assert_eq!(get(&mut door.connect_to(1), "/", ""), (200, "a".to_owned()));
}

#[test]
fn a_drain_lets_who_waits_be_served() {
    let (door, origin) = door();
    let mut first = working(&door, &origin, 0);
    let mut second = waiting(&door, 0, "/");
    door.tell(http_door::worker::Command::Drain);
    origin.release();
    answered(&mut first);
    answered(&mut second);
}
