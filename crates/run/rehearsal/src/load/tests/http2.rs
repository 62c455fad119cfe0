//! The engine over HTTP/2 and gRPC.

use std::collections::BTreeSet;

use model::load::Protocol;

use super::http2_server::{Http2Server, Manner};
use super::*;

fn over(protocol: Protocol, stream: Stream) -> Stream {
    let requests = stream.requests.into_iter().map(|shape| match protocol {
        Protocol::Grpc => RequestShape { method: Name::from("POST"), ..shape },
        Protocol::Http1 | Protocol::Http2 => shape,
    });
    Stream { protocol, requests: requests.collect(), ..stream }
}

fn http2(target: &str, per_second: f64, duration: Duration) -> Stream {
    over(Protocol::Http2, open(target, per_second, duration))
}

#[test]
fn every_kind_of_answer_and_failure_has_its_name() {
    let check = |target: &str, statuses: &[u16], failures: &[&str]| {
        let server = Http2Server::start();
        let seen = run(http2(target, 200.0, 100 * MS), server.address());
        assert_eq!(seen.sent, 20, "{target}");
        assert_eq!(seen.by_status.keys().copied().collect::<Vec<_>>(), statuses, "{target}");
        assert_eq!(names(&seen.by_failure), failures, "{target}");
        assert_eq!((seen.tries, seen.retries), (20, 0), "{target}");
    };
    check("/ok", &[200], &[]);
    check("/large", &[200], &[]);
    check("/status/404", &[404], &[]);
    check("/status/204", &[204], &[]);
    check("/status/429", &[429], &["status 429"]);
    check("/status/503", &[503], &["status 503"]);
    check("/reset/2", &[], &["RST_STREAM INTERNAL_ERROR"]);
    check("/reset/8", &[], &["RST_STREAM CANCEL"]);
    check("/reset/7", &[], &["refused stream"]);
    check("/reset/999", &[], &["RST_STREAM unknown code"]);
    check("/cut", &[], &["RST_STREAM INTERNAL_ERROR"]);
    check("/goaway/11", &[], &["GOAWAY ENHANCE_YOUR_CALM"]);
}

#[test]
fn a_server_that_vanishes() {
    let server = Http2Server::start();
    let seen = run(http2("/vanish/now", 200.0, 100 * MS), server.address());
    assert_eq!((seen.sent, seen.failed), (20, 20));
    // Whether it had read everything by then decides what is seen of it.
    let named = ["closed without an answer", "reset"];
    assert!(names(&seen.by_failure).iter().all(|name| named.contains(name)), "{seen:?}");
}

#[test]
fn a_server_of_http_1_is_told_from_one_of_http_2() {
    let server = Server::start();
    let seen = run(http2("/garbage", 100.0, 50 * MS), server.address());
    assert_eq!(names(&seen.by_failure), ["not HTTP/2"]);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let seen = run(http2("/ok", 100.0, 50 * MS), gone);
    assert_eq!(names(&seen.by_failure), ["connect refused"]);
}

#[test]
fn an_open_model_shares_few_connections() {
    let ask = |streams_max, allowed, keep_alive| {
        let server = Http2Server::with(Manner { streams_max: allowed, ..Manner::default() });
        let stream = http2("/slow/200", 100.0, 200 * MS);
        run(Stream { streams_max, keep_alive, ..stream }, server.address())
    };
    let check = |streams_max, keep_alive, connects: std::ops::RangeInclusive<u64>| {
        let seen = ask(streams_max, None, keep_alive);
        assert_eq!(seen.ok, 20, "{streams_max}: {:?}", seen.by_failure);
        assert!(connects.contains(&seen.connects), "{streams_max}: {}", seen.connects);
    };
    check(100, true, 1..=1);
    check(5, true, 2..=4);
    check(100, false, 20..=20);
    // What the server allows, once it said so: until then more may go out, and are refused.
    let heeded = (0..20).any(|_| {
        let seen = ask(100, Some(5), true);
        let refused = seen.by_failure.get("refused stream").copied().unwrap_or_default();
        assert_eq!(seen.ok + refused, 20, "{:?}", seen.by_failure);
        refused == 0 && (2..=4).contains(&seen.connects)
    });
    assert!(heeded);
}

#[test]
fn what_is_asked_arrives() {
    let server = Http2Server::start();
    let posted = RequestShape {
        method: Name::from("POST"),
        headers: vec![(Name::from("X-Trace"), Name::from("k{key}"))],
        body: (*b"hello").into(),
        keys: Keys { count: 1_000, hot_share: 1.0 },
        ..shape("/echo/{key}?by={client}")
    };
    let clients =
        Clients { count: 2, key_header: Some(Name::from("x-api-key")), ..Clients::default() };
    let stream = Stream { requests: vec![posted], clients, ..http2("/", 100.0, 50 * MS) };
    let seen = run(stream, server.address());
    assert_eq!((seen.ok, names(&seen.by_server)), (5, vec!["test"]));
    let asked = server.asked();
    let clients: BTreeSet<_> = asked.iter().map(|one| one.fields["x-api-key"].clone()).collect();
    assert_eq!(clients.len(), 2);
    let first = asked.iter().find(|one| one.fields["x-api-key"] == "1").unwrap();
    assert_eq!(first.head, "POST http://load.test/echo/0?by=1");
    assert_eq!((first.fields["x-trace"].as_bytes(), &*first.body), (&b"k0"[..], &b"hello"[..]));
    assert_eq!(first.fields["content-length"], "5");
    // A log names its targets itself; what HTTP/2 has no words for is said so.
    let requests = [replay(MS, "/ok?1"), replay(2 * MS, "/ok<2>")];
    let arrivals = Arrivals::Replay { requests: requests.into() };
    let seen = run(Stream { arrivals, ..http2("/", 1.0, MS) }, server.address());
    assert_eq!((seen.ok, names(&seen.by_failure)), (1, vec!["cannot be sent over HTTP/2"]));
}

#[test]
fn percentiles_are_those_of_the_server() {
    // Of 200 answers 150 take 100 ms, 40 take 300 ms and 10 take 1 s: long enough that what a busy
    // machine adds is little of it.
    let delay = |number: u64| match number % 20 {
        0 => 1_000,
        number if number % 5 == 1 => 300,
        _ => 100,
    };
    let requests: Vec<_> = (0..200)
        .map(|number| {
            replay(Duration::from_millis(number * 3), &format!("/slow/{}", delay(number)))
        })
        .collect();
    let arrivals = Arrivals::Replay { requests: requests.into() };
    let mut found = Vec::new();
    // A busy machine makes answers late; none ever comes early.
    for _ in 0..20 {
        let server = Http2Server::start();
        let arrivals = arrivals.clone();
        let at_once = http2("/", 1.0, MS);
        let stream = Stream { arrivals, in_flight_max: 1_000, streams_max: 1_000, ..at_once };
        let seen = run(stream, server.address());
        assert_eq!((seen.ok, seen.connects), (200, 1), "{:?}", seen.by_failure);
        let quantile = |share| seen.latency.quantile(share).unwrap();
        let (p50, p90, p99) = (quantile(0.5), quantile(0.9), quantile(0.99));
        assert!(p50 >= 99_500 && p90 >= 298_500 && p99 >= 995_000, "{p50} {p90} {p99}");
        if p50 <= 115_000 && p90 <= 320_000 && p99 <= 1_030_000 {
            return;
        }
        found.push((p50, p90, p99));
    }
    panic!("{found:?}");
}

#[test]
fn what_a_server_left_undone_in_good_order_is_sent_again() {
    let server = Http2Server::with(Manner { leaves_first: true, ..Manner::default() });
    let mut posted = http2("/ok", 100.0, 50 * MS);
    posted.requests = vec![RequestShape { method: Name::from("POST"), ..shape("/ok") }];
    let seen = run(posted, server.address());
    // The first one was answered, all others came over a second connection; nobody retried.
    assert_eq!((seen.ok, seen.failed, seen.connects), (5, 0, 2), "{:?}", seen.by_failure);
    assert_eq!((seen.tries, seen.retries), (5, 0));
    assert!(server.asked().iter().all(|asked| asked.connection == 2));
}

#[test]
fn failures_are_retried() {
    let server = Http2Server::start();
    let retries = Retries { retries_max: 1, back_off: Some(MS), ..Retries::default() };
    let seen = run(Stream { retries, ..http2("/reset/7", 100.0, 50 * MS) }, server.address());
    assert_eq!((seen.failed, seen.tries, seen.retries), (5, 10, 5));
}

#[test]
fn no_answer_in_time_resets_the_stream_alone() {
    let server = Http2Server::start();
    let requests = [replay(MS, "/ok"), replay(20 * MS, "/hang"), replay(40 * MS, "/slow/50")];
    let late = [replay(1_100 * MS, "/ok"), replay(1_110 * MS, "/ok")];
    let requests = [&requests[..], &late].concat();
    let arrivals = Arrivals::Replay { requests: requests.into() };
    let stream = Stream { arrivals, timeout: 1_000 * MS, ..http2("/", 1.0, MS) };
    let seen = run(stream, server.address());
    assert_eq!((seen.ok, names(&seen.by_failure)), (4, vec!["timeout"]));
    // Something came meanwhile, so that the connection lives.
    assert_eq!(seen.connects, 1);
    let full = super::server::FullListener::start();
    let seen = run(Stream { timeout: 60 * MS, ..http2("/", 100.0, 50 * MS) }, full.address());
    assert_eq!(names(&seen.by_failure), ["connect timed out"]);
}

#[test]
fn users_and_sessions() {
    let server = Http2Server::start();
    let arrivals = Arrivals::Closed { users: 8, think: Duration::ZERO, duration: 200 * MS };
    let seen =
        run(Stream { arrivals, streams_max: 4, ..http2("/slow/10", 1.0, MS) }, server.address());
    assert_eq!((seen.failed, seen.connects), (0, 2), "{:?}", seen.by_failure);
    assert!((8..=160).contains(&seen.ok), "{}", seen.ok);
    let arrivals = sessions(5, Some(50 * MS), Reconnect::Never);
    let seen = run(Stream { arrivals, ..http2("/ok", 1.0, MS) }, server.address());
    assert_eq!((seen.connects, seen.lost), (5, 0));
    assert!((10..=40).contains(&seen.ok), "{}", seen.ok);
    // A session's connection is lost with each request.
    let arrivals = sessions(3, Some(20 * MS), Reconnect::AtOnce);
    let seen = run(Stream { arrivals, ..http2("/goaway/2", 1.0, MS) }, server.address());
    assert_eq!(seen.connects, seen.sent);
    assert!(seen.connects > 3, "{}", seen.connects);
    assert_eq!(names(&seen.by_failure), ["GOAWAY INTERNAL_ERROR"]);
}

#[test]
fn a_cut_ends_what_is_under_way() {
    let server = Http2Server::start();
    let running = begin(http2("/hang", 100.0, Duration::from_secs(60)), server.address());
    while server.asked().len() < 20 {
        std::thread::yield_now();
    }
    running.cut_connections("load");
    running.stop();
    let outcome = running.finish();
    assert_eq!(names(&total(&outcome).by_failure), ["cut"]);
}

#[test]
fn over_tls_by_alpn() {
    let check = |protocol, plan, expected: (u64, Vec<&str>)| {
        let server = Http2Server::with(Manner { tls: Some(protocol), ..Manner::default() });
        let roots = server.roots();
        let tls = TlsTarget { server_name: "load.test".to_owned(), roots, verify: true };
        let target =
            Target { address: server.address(), host: "load.test".to_owned(), tls: Some(tls) };
        let stream = over(plan, open("/large", 100.0, 50 * MS));
        let plan = LoadPlan { streams: vec![stream] };
        let outcome = start(plan, target, &Options::default()).unwrap().finish();
        let seen = total(&outcome);
        assert_eq!((seen.ok, names(&seen.by_failure)), expected);
    };
    check(b"h2", Protocol::Http2, (5, vec![]));
    check(b"http/1.1", Protocol::Http2, (0, vec!["not HTTP/2"]));
}

#[test]
fn the_outcome_of_grpc_is_its_status() {
    let check = |target: &str, messages: u64, failures: &[&str]| {
        let server = Http2Server::start();
        let mut stream = over(Protocol::Grpc, open(target, 100.0, 50 * MS));
        stream.requests[0].body = (*b"ask").into();
        let seen = run(stream, server.address());
        assert_eq!(names(&seen.by_failure), failures, "{target}");
        assert_eq!((seen.answered, seen.messages), (5, messages), "{target}");
        assert_eq!(seen.first_message.count(), if messages > 0 { 5 } else { 0 }, "{target}");
        for asked in server.asked() {
            let field = |name| asked.fields.get(name).and_then(|value| value.to_str().ok());
            assert_eq!(field("content-type"), Some("application/grpc"));
            assert_eq!((field("te"), field("content-length")), (Some("trailers"), None));
            assert_eq!(asked.body, b"\0\0\0\0\x03ask");
        }
    };
    check("/grpc.Unary/0", 5, &[]);
    check("/grpc.Streaming/0", 15, &[]);
    check("/grpc.Streaming/14", 15, &["grpc-14 UNAVAILABLE"]);
    check("/grpc.Unary/5", 5, &["grpc-5 NOT_FOUND"]);
    check("/grpc.Only/0", 0, &[]);
    check("/grpc.Only/14", 0, &["grpc-14 UNAVAILABLE"]);
    check("/grpc.Only/77", 0, &["grpc-2 UNKNOWN"]);
    check("/status/200", 0, &["no grpc-status"]);
    check("/status/404", 0, &["status 404"]);
}
