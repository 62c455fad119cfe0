//! The engine against a small server that misbehaves as its target says.

mod http2;
mod http2_server;
mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use model::Name;
use model::load::{
    Arrivals, Clients, Keys, LoadPlan, Reconnect, ReplayRequest, RequestShape, Retries, Spacing,
    Stage, Stream,
};
use net::clock;

use super::{Confession, Options, Outcome, Running, StreamSecond, Target, TlsTarget, start};
use server::Server;

const MS: Duration = Duration::from_millis(1);

/// Evenly spaced requests for one target.
fn open(target: &str, per_second: f64, duration: Duration) -> Stream {
    let stage = Stage { from_per_second: per_second, to_per_second: per_second, duration };
    Stream {
        arrivals: Arrivals::Open { stages: vec![stage], spacing: Spacing::Even },
        requests: vec![shape(target)],
        timeout: 20 * Duration::from_secs(1),
        // More than any test here has due in a second: none is dropped while the machine is busy.
        in_flight_max: 1_000,
        ..Stream::default()
    }
}

fn shape(target: &str) -> RequestShape {
    RequestShape { target: Name::from(target), ..RequestShape::default() }
}

fn replay(due: Duration, target: &str) -> ReplayRequest {
    ReplayRequest { due, method: Name::from("GET"), target: Name::from(target) }
}

fn begin(stream: Stream, address: SocketAddr) -> Running {
    let target = Target { address, host: "load.test".to_owned(), tls: None };
    start(LoadPlan { streams: vec![stream] }, target, &Options::default()).unwrap()
}

fn total(outcome: &Outcome) -> &StreamSecond {
    let total = &outcome.total[0];
    // What always holds, however a load went.
    assert_eq!(total.due, total.sent + total.dropped);
    assert_eq!(total.sent, total.ok + total.failed);
    assert_eq!(total.answered, total.by_status.values().sum::<u64>());
    assert_eq!(total.answered, total.by_server.values().sum::<u64>());
    assert_eq!(total.answered, total.latency_all.count());
    assert_eq!(total.failed, total.by_failure.values().sum::<u64>());
    assert_eq!((total.ok, total.sent), (total.latency.count(), total.lateness.count()));
    assert_eq!(total.in_flight, 0);
    let mut seconds = StreamSecond::default();
    outcome.seconds.iter().for_each(|second| seconds.append(&second.streams[0]));
    assert_eq!(&seconds, total);
    total
}

fn run(stream: Stream, address: SocketAddr) -> StreamSecond {
    total(&begin(stream, address).finish()).clone()
}

fn names(table: &BTreeMap<String, u64>) -> Vec<&str> {
    table.keys().map(String::as_str).collect()
}

#[test]
fn every_kind_of_answer_and_failure_has_its_name() {
    let check = |target: &str, statuses: &[u16], failures: &[&str]| {
        let server = Server::start();
        let seen = run(open(target, 200.0, 100 * MS), server.address());
        assert_eq!(seen.sent, 20, "{target}");
        assert_eq!(seen.by_status.keys().copied().collect::<Vec<_>>(), statuses, "{target}");
        assert_eq!(names(&seen.by_failure), failures, "{target}");
        assert_eq!((seen.tries, seen.retries), (20, 0), "{target}");
    };
    check("/ok", &[200], &[]);
    check("/chunked", &[200], &[]);
    check("/until-close", &[200], &[]);
    check("/close", &[200], &[]);
    check("/large", &[200], &[]);
    check("/status/404", &[404], &[]);
    check("/status/429", &[429], &["status 429"]);
    check("/status/503", &[503], &["status 503"]);
    check("/vanish", &[], &["closed without an answer"]);
    check("/cut", &[], &["answer cut short"]);
    check("/garbage", &[], &["not HTTP"]);
}

#[test]
fn a_server_that_is_not_there_refuses() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let seen = run(open("/", 200.0, 100 * MS), gone);
    assert_eq!((seen.sent, names(&seen.by_failure)), (20, vec!["connect refused"]));
    let users = Arrivals::Closed { users: 2, think: Duration::ZERO, duration: 200 * MS };
    let seen = run(Stream { arrivals: users, ..open("/", 1.0, MS) }, gone);
    // Two users who pause 10 ms after each failure, and never less.
    assert!((2..=42).contains(&seen.failed), "{}", seen.failed);
}

#[test]
fn connections_are_kept_or_not() {
    let server = Server::start();
    // One at a time: whoever comes while another one waits would need a connection of his own.
    let one = Stream { in_flight_max: 1, ..open("/ok", 100.0, 1_000 * MS) };
    let kept = run(one, server.address());
    assert_eq!((kept.connects, kept.ok > 1), (1, true), "{}", kept.ok);
    let closed = Stream { keep_alive: false, ..open("/ok", 100.0, 200 * MS) };
    let closed = run(closed, server.address());
    assert_eq!((closed.connects, closed.ok, closed.open), (20, 20, 0));
    assert_eq!(names(&closed.by_server), ["test"]);
}

#[test]
fn retries() {
    let check = |target: &str, retries_max, back_off, expected: (u64, u64, u64)| {
        let server = Server::start();
        let retries = Retries { retries_max, back_off, ..Retries::default() };
        let seen = run(Stream { retries, ..open(target, 100.0, 100 * MS) }, server.address());
        assert_eq!((seen.ok, seen.failed, seen.retries), expected, "{target} {retries:?}");
        assert_eq!(seen.tries, seen.sent + seen.retries);
    };
    check("/flaky/{client}", 0, None, (5, 5, 0));
    check("/status/503", 2, None, (0, 10, 20));
    check("/status/503", 1, Some(10 * MS), (0, 10, 10));
    check("/vanish", 1, None, (0, 10, 10));
    // Each target fails once.
    let server = Server::start();
    let targets: Vec<_> = (0..10).map(|number| format!("/flaky/{number}")).collect();
    let arrivals =
        Arrivals::Replay { requests: targets.iter().map(|target| replay(MS, target)).collect() };
    let retries = Retries { retries_max: 1, back_off: Some(MS), ..Retries::default() };
    let seen = run(Stream { retries, arrivals, ..open("/", 1.0, MS) }, server.address());
    assert_eq!((seen.ok, seen.failed, seen.retries), (10, 0, 10));
}

#[test]
fn retry_after_is_respected_by_those_who_are_told_to() {
    let check = |arrivals: Arrivals, respect_retry_after, expected: (u64, u64, u64, u64)| {
        let server = Server::start();
        let retries = Retries { retries_max: 1, back_off: None, respect_retry_after };
        let stream = Stream { retries, arrivals, ..open("/busy", 1.0, MS) };
        let seen = run(stream, server.address());
        assert_eq!((seen.ok, seen.failed, seen.retries, seen.connects), expected);
        let (fastest, second) = (seen.latency.quantile(0.0), Duration::from_secs(1));
        let waited = Duration::from_micros(fastest.unwrap_or_default()) >= second;
        assert_eq!(waited, respect_retry_after, "{fastest:?}");
    };
    // One after the other over one connection, of which the first answer is a refusal.
    let one = || open("/busy", 1.0, Duration::from_secs(1)).arrivals;
    check(one(), true, (1, 0, 1, 1));
    check(one(), false, (1, 0, 1, 1));
    // A session repeats over its own connection only what it is told to.
    check(sessions(3, None, Reconnect::Never), true, (3, 0, 3, 3));
    check(sessions(3, None, Reconnect::Never), false, (0, 3, 0, 3));
}

#[test]
fn no_answer_in_time() {
    let server = Server::start();
    let seen = run(Stream { timeout: 60 * MS, ..open("/hang", 100.0, 100 * MS) }, server.address());
    assert_eq!((seen.failed, names(&seen.by_failure)), (10, vec!["timeout"]));
    // A server that has no room for connections: its queue is full, and nobody accepts.
    let full = server::FullListener::start();
    let stream = Stream { timeout: 60 * MS, ..open("/", 100.0, 100 * MS) };
    let seen = run(stream, full.address());
    assert_eq!(names(&seen.by_failure), ["connect timed out"]);
}

#[test]
fn what_is_due_beyond_the_bound_is_dropped_and_confessed() {
    let server = Server::start();
    let stream = Stream { in_flight_max: 3, timeout: 300 * MS, ..open("/hang", 100.0, 200 * MS) };
    let outcome = begin(stream, server.address()).finish();
    let seen = total(&outcome);
    assert_eq!((seen.due, seen.sent, seen.dropped), (20, 3, 17));
    assert!(outcome.generator.generator_bound);
    assert!((outcome.generator.dropped_share - 0.85).abs() < 1e-9);
}

#[test]
fn a_confession_is_made_from_the_counts() {
    let check = |sent, late, dropped, bound| {
        let due = sent + dropped;
        let seen = StreamSecond { due, sent, late, dropped, ..StreamSecond::default() };
        assert_eq!(Confession::of([&seen]).generator_bound, bound, "{sent} {late} {dropped}");
    };
    check(0, 0, 0, false);
    check(1_000, 10, 0, false);
    check(1_000, 11, 0, true);
    check(990, 0, 10, false);
    check(980, 0, 20, true);
}

#[test]
fn clients_have_keys_and_addresses_of_their_own() {
    let server = Server::start();
    let clients = Clients {
        count: 4,
        key_header: Some(Name::from("x-api-key")),
        key: Name::from("key-{client}"),
        source: "127.9.0.0/29".parse().ok(),
    };
    let seen = run(Stream { clients, ..open("/ok", 400.0, 100 * MS) }, server.address());
    assert_eq!(seen.ok, 40);
    let mut sources: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in server.requests() {
        let of_key = sources.entry(request.field("x-api-key")).or_default();
        of_key.push(request.peer.ip().to_string());
    }
    for (client, (key, mut addresses)) in sources.into_iter().enumerate() {
        assert_eq!((key, addresses.len()), (format!("key-{client}"), 10));
        addresses.dedup();
        assert_eq!(addresses, [format!("127.9.0.{}", client + 1)]);
    }
}

#[test]
fn connections_of_many_addresses_stay_within_the_bound() {
    let server = Server::start();
    let clients = Clients { count: 50, source: "127.9.0.0/24".parse().ok(), ..Clients::default() };
    let stream = Stream { clients, in_flight_max: 8, ..open("/ok", 500.0, 200 * MS) };
    let seen = run(stream, server.address());
    assert!(seen.open <= 8, "{}", seen.open);
    assert!(seen.ok > 50);
}

#[test]
fn nothing_is_sent_before_it_is_due() {
    let server = Server::start();
    let requests: Vec<_> =
        (0..60_u32).map(|number| replay(number * 3 * MS, &format!("/ok?{number}"))).collect();
    let arrivals = Arrivals::Replay { requests: requests.clone().into() };
    let stream = Stream { arrivals, start: 5 * MS, ..open("/", 1.0, MS) };
    let running = begin(stream, server.address());
    let begun = running.shared.begin;
    total(&running.finish());
    let seen = server.requests();
    assert_eq!(seen.len(), requests.len());
    for request in seen {
        let planned = requests.iter().find(|planned| *planned.target == *request.target).unwrap();
        let due = begun + 5 * MS + planned.due;
        assert!(request.at >= due, "{} came {:?} early", request.target, due.since(request.at));
    }
}

#[test]
fn users_wait_for_their_answers() {
    let server = Server::start();
    let users = Arrivals::Closed { users: 4, think: 5 * MS, duration: 300 * MS };
    let seen = run(Stream { arrivals: users, ..open("/ok", 1.0, MS) }, server.address());
    assert!(seen.connects <= 4, "{}", seen.connects);
    assert!(seen.ok > 20, "{}", seen.ok);
    assert!(server.at_once() <= 4);
}

fn sessions(count: usize, ask_every: Option<Duration>, reconnect: Reconnect) -> Arrivals {
    Arrivals::Sessions { count, opening: 50 * MS, ask_every, duration: 400 * MS, reconnect }
}

#[test]
fn sessions_hold_their_connections_and_ask() {
    let server = Server::start();
    let stream = |arrivals| Stream { arrivals, ..open("/ok", 1.0, MS) };
    let seen = run(stream(sessions(5, None, Reconnect::Never)), server.address());
    assert_eq!((seen.ok, seen.connects, seen.lost), (5, 5, 0));
    let asking = stream(sessions(5, Some(50 * MS), Reconnect::Never));
    let seen = run(asking, server.address());
    // Each asks at its opening and every 50 ms until 400 ms: 8, 8, 8, 8 and 7 or 8 times.
    assert_eq!(seen.connects, 5);
    assert!((35..=40).contains(&seen.ok), "{}", seen.ok);
}

#[test]
fn sessions_connect_again_as_they_are_told_to() {
    let check = |reconnect, connects: std::ops::RangeInclusive<u64>| {
        let server = Server::start();
        let arrivals = sessions(3, Some(20 * MS), reconnect);
        // The server closes each connection with its first answer.
        let seen = run(Stream { arrivals, ..open("/close", 1.0, MS) }, server.address());
        assert!(connects.contains(&seen.connects), "{reconnect:?}: {}", seen.connects);
        assert_eq!((seen.ok, seen.lost), (seen.connects, seen.connects));
    };
    check(Reconnect::Never, 3..=3);
    check(Reconnect::AtOnce, 30..=u64::MAX);
    check(Reconnect::BackOff, 3..=u64::MAX);
}

#[test]
fn a_cut_ends_every_connection_and_what_is_under_way() {
    let server = Server::start();
    let arrivals = Arrivals::Sessions {
        count: 6,
        opening: Duration::ZERO,
        ask_every: None,
        duration: Duration::from_secs(60),
        reconnect: Reconnect::AtOnce,
    };
    let running = begin(Stream { arrivals, ..open("/ok", 1.0, MS) }, server.address());
    server.wait_for(|server| server.open() == 6 && server.requests().len() == 6);
    running.cut_connections("no such stream");
    running.cut_connections("load");
    server.wait_for(|server| server.open() == 6 && server.requests().len() == 12);
    running.stop();
    let outcome = running.finish();
    let seen = total(&outcome);
    // An answer may still have been on its way to the client when its connection was cut.
    assert_eq!((seen.connects, seen.sent, seen.lost + seen.failed), (12, 12, 6));
    let cut = begin(open("/hang", 100.0, Duration::from_secs(60)), server.address());
    server.wait_for(|server| server.requests().len() >= 20);
    cut.cut_connections("load");
    cut.stop();
    let outcome = cut.finish();
    assert_eq!(names(&total(&outcome).by_failure), ["cut"]);
}

#[test]
fn a_load_that_is_stopped_ends_soon_and_threads_share_it() {
    let server = Server::start();
    let hour = Duration::from_secs(3_600);
    let streams = vec![
        Stream { name: Name::from("one"), ..open("/ok", 300.0, hour) },
        Stream { name: Name::from("two"), ..open("/status/503", 100.0, hour) },
    ];
    let target = Target { address: server.address(), host: "load.test".to_owned(), tls: None };
    let options = Options { threads: 2, ..Options::default() };
    let running = start(LoadPlan { streams }, target, &options).unwrap();
    let mut seconds = Vec::new();
    while seconds.is_empty() {
        seconds = running.take();
        std::thread::yield_now();
    }
    let dues: Vec<_> = seconds[0].streams.iter().map(|stream| stream.due).collect();
    // The request that is due at the very end of the second is of the next.
    assert!((299..=300).contains(&dues[0]) && (99..=100).contains(&dues[1]), "{dues:?}");
    running.stop();
    let stopped = clock::now();
    let outcome = running.finish();
    assert!(clock::now().since(stopped) < Duration::from_secs(5));
    assert!(outcome.total[0].ok >= 299 && outcome.total[1].failed >= 99);
    assert!(outcome.cpu > Duration::ZERO && outcome.wall >= Duration::from_secs(1));
}

#[test]
fn a_request_that_crossed_the_close_of_a_resting_connection_is_sent_again() {
    let check = |pause: Duration, expected: (u64, u64, u64)| {
        let server = Server::start();
        // The server closes the connection when a second request comes.
        let requests = [Duration::ZERO, pause].map(|due| replay(due, "/first-only"));
        let arrivals = Arrivals::Replay { requests: requests.into() };
        let seen = run(Stream { arrivals, ..open("/", 1.0, MS) }, server.address());
        assert_eq!((seen.ok, seen.failed, seen.connects), expected, "{pause:?}");
        assert_eq!((seen.tries, seen.retries), (2, 0));
    };
    check(1_200 * MS, (2, 0, 2));
    check(300 * MS, (1, 1, 1));
}

#[test]
fn over_tls() {
    let server = Server::start_tls();
    let verify = |verify, roots, server_name: &str, keep_alive| {
        let tls = TlsTarget { server_name: server_name.to_owned(), roots, verify };
        let target =
            Target { address: server.address(), host: "load.test".to_owned(), tls: Some(tls) };
        let stream = Stream { keep_alive, ..open("/large", 100.0, 100 * MS) };
        let plan = LoadPlan { streams: vec![stream] };
        let outcome = start(plan, target, &Options::default()).unwrap().finish();
        let seen = total(&outcome);
        (seen.ok, names(&seen.by_failure).join(", "))
    };
    let roots = server.roots();
    assert_eq!(verify(false, None, "other.test", true), (10, String::new()));
    assert_eq!(verify(true, roots.clone(), "load.test", false), (10, String::new()));
    let refused = "certificate refused: it is for another name".to_owned();
    assert_eq!(verify(true, roots, "other.test", true), (0, refused));
}

#[test]
fn keys_and_bodies_arrive() {
    let server = Server::start();
    let posted = RequestShape {
        method: Name::from("POST"),
        body: (*b"hello").into(),
        keys: Keys { count: 1_000, hot_share: 1.0 },
        ..shape("/echo/{key}")
    };
    let seen =
        run(Stream { requests: vec![posted], ..open("/", 100.0, 50 * MS) }, server.address());
    assert_eq!(seen.ok, 5);
    for request in server.requests() {
        assert_eq!((&*request.target, &*request.body), ("/echo/0", "hello"));
        assert_eq!(request.field("host"), "load.test");
    }
}
