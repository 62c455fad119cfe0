//! A small name server on loopback UDP answers real queries of the real client.

use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME};
use hickory_resolver::proto::rr::{RData, Record};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What the server says about one question.
#[derive(Clone, Debug)]
enum Says {
    Records(Vec<(u32, &'static str)>),
    /// An alias with its TTL, then an address with its own.
    Alias(u32, u32, &'static str),
    Code(ResponseCode),
    Nothing,
}

type Script = Arc<Mutex<Box<dyn FnMut(&str, RecordType) -> Says + Send>>>;

/// A name server that lives as long as the test's runtime.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _task: tokio::task::JoinSet<()>,
}

async fn serve(script: impl FnMut(&str, RecordType) -> Says + Send + 'static) -> Server {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let script: Script = Arc::new(Mutex::new(Box::new(script)));
    let mut tasks = tokio::task::JoinSet::new();
    let log = Arc::clone(&asked);
    tasks.spawn(async move {
        let mut bytes = [0; 4096];
        loop {
            let (length, peer) = socket.recv_from(&mut bytes).await.unwrap();
            let query = Message::from_vec(&bytes[..length]).unwrap();
            let question = query.queries[0].clone();
            let name = question.name().to_string();
            log.lock().unwrap().push(format!("{} {name}", question.query_type()));
            let says = (script.lock().unwrap())(&name, question.query_type());
            let Some(answer) = reply(&query, question.name(), says) else { continue };
            socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    Server { address, asked, _task: tasks }
}

fn reply(query: &Message, name: &Name, says: Says) -> Option<Message> {
    let data = |text: &str| match text.parse().unwrap() {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    let mut message = Message::response(query.id, query.op_code);
    message.add_query(query.queries[0].clone());
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    match says {
        Says::Records(records) => message.add_answers(
            records
                .into_iter()
                .map(|(ttl, text)| Record::from_rdata(name.clone(), ttl, data(text))),
        ),
        Says::Alias(alias_ttl, ttl, text) => {
            let target = Name::from_ascii("target.example.").unwrap();
            let alias = RData::CNAME(CNAME(target.clone()));
            message.add_answers([
                Record::from_rdata(name.clone(), alias_ttl, alias),
                Record::from_rdata(target, ttl, data(text)),
            ])
        }
        Says::Code(code) => {
            message.metadata.response_code = code;
            &mut message
        }
        Says::Nothing => return None,
    };
    Some(message)
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn answer(texts: &[&str], ttl_s: u64, complete: bool) -> Answer {
    Answer { addresses: addresses(texts), ttl: Duration::from_secs(ttl_s), complete }
}

/// One lookup of `db.example`, with the server's word on A and on AAAA.
async fn check(v4: Says, v6: Says) -> Result<Answer, ResolveError> {
    let server =
        serve(move |_, kind| if kind == RecordType::A { v4.clone() } else { v6.clone() }).await;
    Resolver::with_nameserver(server.address).unwrap().lookup("db.example").await
}

fn records(records: &[(u32, &'static str)]) -> Says {
    Says::Records(records.to_vec())
}

#[tokio::test]
async fn answers_of_both_families_are_sorted_and_hold_for_the_shortest_ttl() {
    let none = Says::Records(Vec::new());
    let v4 = records(&[(60, "10.0.0.2"), (30, "10.0.0.1"), (60, "10.0.0.2")]);
    let v6 = records(&[(90, "fd00::2"), (90, "fd00::1")]);
    let both = answer(&["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"], 30, true);
    assert_eq!(check(v4, v6.clone()).await.unwrap(), both);
    assert_eq!(check(none.clone(), v6).await.unwrap(), answer(&["fd00::1", "fd00::2"], 90, true));
    let alias = Says::Alias(5, 300, "10.0.0.9");
    assert_eq!(check(alias, none.clone()).await.unwrap(), answer(&["10.0.0.9"], 5, true));
    let blocked = records(&[(60, "0.0.0.0"), (60, "224.0.0.1"), (60, "255.255.255.255")]);
    assert!(matches!(check(blocked, none).await.unwrap_err(), ResolveError::NotFound { .. }));
}

#[tokio::test]
async fn no_such_name_and_no_records_are_not_found() {
    for says in [Says::Code(ResponseCode::NXDomain), Says::Records(Vec::new())] {
        let error = check(says.clone(), says).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotFound { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_failure_of_one_family_leaves_the_other_and_of_both_is_an_error() {
    let broken = Says::Code(ResponseCode::ServFail);
    let good = records(&[(60, "10.0.0.1")]);
    assert_eq!(check(good, broken.clone()).await.unwrap(), answer(&["10.0.0.1"], 60, false));
    let error = check(Says::Records(Vec::new()), broken.clone()).await.unwrap_err();
    assert!(matches!(error, ResolveError::Failed { .. }), "{error:?}");
    let error = check(broken.clone(), broken).await.unwrap_err();
    assert!(matches!(error, ResolveError::Failed { .. }), "{error:?}");
}

/// The clock is the test's: it jumps to each timeout as soon as nothing else is to do.
#[tokio::test(start_paused = true)]
async fn a_silent_server_times_out_within_the_limit() {
    let start = tokio::time::Instant::now();
    let error = check(Says::Nothing, Says::Nothing).await.unwrap_err();
    assert!(matches!(error, ResolveError::Timeout { .. }), "{error:?}");
    assert!(start.elapsed() <= LOOKUP_WAIT_MAX + Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn every_lookup_asks_again_and_sees_changes() {
    let mut round = 0;
    let server = serve(move |_, kind| {
        if kind != RecordType::A {
            return Says::Records(Vec::new());
        }
        round += 1;
        match round {
            1 => records(&[(300, "10.0.0.1"), (300, "10.0.0.2")]),
            2 => records(&[(20, "10.0.0.2"), (20, "10.0.0.1")]),
            _ => records(&[(0, "10.0.0.3")]),
        }
    })
    .await;
    let resolver = Resolver::with_nameserver(server.address).unwrap();
    let first = resolver.lookup("db.example").await.unwrap();
    let second = resolver.lookup("db.example").await.unwrap();
    assert_eq!(first, answer(&["10.0.0.1", "10.0.0.2"], 300, true));
    assert_eq!(second.addresses, first.addresses, "the order of the answer does not matter");
    assert_eq!(second.ttl, Duration::from_secs(20));
    assert_eq!(resolver.lookup("db.example").await.unwrap(), answer(&["10.0.0.3"], 0, true));
    let asked = server.asked.lock().unwrap().iter().filter(|asked| asked.starts_with("A ")).count();
    assert_eq!(asked, 3, "nothing is cached, whatever the TTL");
}

/// Answers each A question of one connection with 300 addresses, highest first.
async fn serve_stream(mut stream: tokio::net::TcpStream) {
    while let Ok(length) = stream.read_u16().await {
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await.unwrap();
        let query = Message::from_vec(&bytes).unwrap();
        let name = query.queries[0].name().clone();
        let mut answer = reply(&query, &name, Says::Records(Vec::new())).unwrap();
        if query.queries[0].query_type() == RecordType::A {
            answer.add_answers((0..300u32).rev().map(|number| {
                let address = Ipv4Addr::from(0x0a00_0000 + number);
                Record::from_rdata(name.clone(), 60, RData::A(A(address)))
            }));
        }
        let bytes = answer.to_vec().unwrap();
        stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    }
}

/// One port that is free for both; the system chooses for one of them, so it may take a few tries.
async fn bind_both() -> (tokio::net::UdpSocket, tokio::net::TcpListener) {
    for _ in 0..64 {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = tokio::net::UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

/// A large answer does not fit a datagram: the client asks again over TCP.
#[tokio::test]
async fn a_large_answer_comes_over_tcp_and_is_capped() {
    let (udp, tcp) = bind_both().await;
    let address = udp.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut bytes = [0; 4096];
        loop {
            let (length, peer) = udp.recv_from(&mut bytes).await.unwrap();
            let query = Message::from_vec(&bytes[..length]).unwrap();
            let name = query.queries[0].name().clone();
            let mut answer = reply(&query, &name, Says::Records(Vec::new())).unwrap();
            answer.metadata.truncation = true;
            udp.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    tasks.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, _peer) = tcp.accept().await.unwrap();
            connections.spawn(serve_stream(stream));
        }
    });
    let resolver = Resolver::with_nameserver(address).unwrap();
    let answer = resolver.lookup("db.example").await.unwrap();
    let expected: Vec<IpAddr> =
        (0..256u32).map(|number| Ipv4Addr::from(0x0a00_0000 + number).into()).collect();
    assert_eq!(answer.addresses, expected);
}

#[tokio::test]
async fn literals_and_localhost_ask_nobody() {
    let server = serve(|_, _| Says::Nothing).await;
    let resolver = Resolver::with_nameserver(server.address).unwrap();
    for (host, expected) in [
        ("192.0.2.7", &["192.0.2.7"][..]),
        ("2001:db8::7", &["2001:db8::7"]),
        ("localhost", &["127.0.0.1", "::1"]),
        ("LOCALHOST.", &["127.0.0.1", "::1"]),
        ("web.localhost", &["127.0.0.1", "::1"]),
    ] {
        assert_eq!(resolver.lookup(host).await.unwrap().addresses, addresses(expected), "{host}");
    }
    let error = resolver.lookup(&"x".repeat(64)).await.unwrap_err();
    assert!(matches!(error, ResolveError::Invalid { .. }), "{error:?}");
    assert_eq!(*server.asked.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_search_domains_are_tried_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    std::fs::write(&path, "10.9.9.9 cache\n0.0.0.0 blocked\n").unwrap();
    let server = serve(|name, kind| match (name, kind) {
        ("db.two.example.", RecordType::AAAA) => Says::Records(Vec::new()),
        ("db.two.example.", _) => records(&[(60, "10.0.0.2")]),
        ("db.three.example.", _) => Says::Code(ResponseCode::ServFail),
        _ => Says::Code(ResponseCode::NXDomain),
    })
    .await;
    let mut resolver = Resolver::with_nameserver(server.address).unwrap();
    resolver.hosts = Some(HostsFile::new(path));
    let domain = |text| Name::from_ascii(text).unwrap();
    resolver.search = vec![domain("one.example."), domain("two.example.")];
    assert_eq!(resolver.lookup("cache").await.unwrap().addresses, addresses(&["10.9.9.9"]));
    assert_eq!(*server.asked.lock().unwrap(), Vec::<String>::new());
    assert_eq!(resolver.lookup("db").await.unwrap().addresses, addresses(&["10.0.0.2"]));
    // A failure is not "no such name": the next domain might hold another service's address.
    resolver.search.insert(0, domain("three.example."));
    let error = resolver.lookup("db").await.unwrap_err();
    assert!(matches!(error, ResolveError::Failed { .. }), "{error:?}");
}

#[test]
fn candidates_follow_the_dots() {
    fn check(name: &str, dots_min: usize, expected: &[&str]) {
        let domains = ["a.example.", "b.example.", "a.example."];
        let search: Vec<Name> = domains.map(|text| Name::from_ascii(text).unwrap()).into();
        let found = candidates(&Name::from_str_relaxed(name).unwrap(), &search, dots_min);
        let found: Vec<String> = found.iter().map(Name::to_string).collect();
        assert_eq!(found, expected, "{name}");
    }
    check("db", 1, &["db.a.example.", "db.b.example.", "db."]);
    check("db.c", 1, &["db.c.", "db.c.a.example.", "db.c.b.example."]);
    check("db.c", 5, &["db.c.a.example.", "db.c.b.example.", "db.c."]);
    check("db.", 5, &["db."]);
}

#[test]
fn at_most_256_addresses_and_always_the_same_ones() {
    let many: Vec<IpAddr> = (0..1_000u32).map(|n| Ipv4Addr::from(0x0a00_0000 + n).into()).collect();
    let mut turned = many.clone();
    turned.rotate_left(321);
    turned.reverse();
    let kept = tidy(turned);
    assert_eq!(kept, many[..ADDRESSES_MAX]);
}

#[test]
fn addresses_without_a_route_are_left_out_unless_all_are() {
    let both = addresses(&["10.0.0.1", "fd00::1"]);
    assert_eq!(leave_out(both.clone(), |address| address.is_ipv4()), addresses(&["10.0.0.1"]));
    assert_eq!(leave_out(both.clone(), |_| false), both);
    assert!(has_route(Ipv4Addr::LOCALHOST.into()));
}

#[test]
fn the_next_refresh_follows_the_ttl_and_backs_off() {
    fn check(result: Option<u64>, configured_s: u64, failures: u32, expected_s: u64) {
        let not_found = || ResolveError::NotFound { host: "db".to_owned() };
        let result = result.map(|ttl_s| answer(&["10.0.0.1"], ttl_s, true)).ok_or_else(not_found);
        let next = next_refresh(&result, Duration::from_secs(configured_s), failures);
        assert_eq!(next, Duration::from_secs(expected_s), "{result:?} {configured_s} {failures}");
    }
    check(Some(10), 30, 0, 10);
    check(Some(300), 30, 0, 30);
    check(Some(0), 30, 0, 1);
    check(Some(10), 0, 0, 1);
    check(None, 30, 1, 1);
    check(None, 30, 2, 2);
    check(None, 30, 5, 16);
    check(None, 30, 6, 30);
    check(None, 30, u32::MAX, 30);
    check(None, 0, 9, 1);
}

#[test]
fn a_bad_answer_takes_nothing_away() {
    fn check(last: &[&str], result: Result<Answer, ResolveError>, expected: &[&str]) {
        assert_eq!(keep_last_good(&addresses(last), &result), addresses(expected), "{result:?}");
    }
    let timeout = || Err(ResolveError::Timeout { host: "db".to_owned() });
    check(&["10.0.0.1", "fd00::1"], timeout(), &["10.0.0.1", "fd00::1"]);
    check(&[], timeout(), &[]);
    let last = &["10.0.0.1", "fd00::1"];
    check(last, Ok(answer(&["10.0.0.2"], 1, true)), &["10.0.0.2"]);
    check(last, Ok(answer(&["10.0.0.2"], 1, false)), &["10.0.0.2", "fd00::1"]);
    check(last, Ok(answer(&["fd00::2"], 1, false)), &["10.0.0.1", "fd00::2"]);
}

proptest! {
    #[test]
    fn an_answer_is_sorted_small_and_usable(bytes in prop::collection::vec(any::<[u8; 4]>(), 0..600)) {
        let tidied = tidy(bytes.iter().map(|&bytes| IpAddr::from(bytes)).collect());
        prop_assert!(tidied.len() <= ADDRESSES_MAX);
        prop_assert!(tidied.is_sorted_by(|a, b| a < b));
        prop_assert!(tidied.iter().all(|address| !address.is_unspecified()));
    }

    #[test]
    fn the_wait_is_always_within_its_bounds(ttl in any::<u32>(), configured in 0..86_400u64, failures in any::<u32>()) {
        let configured = Duration::from_secs(configured);
        let good = Ok(answer(&["10.0.0.1"], u64::from(ttl), true));
        let bad = Err(ResolveError::NotFound { host: String::new() });
        for result in [good, bad] {
            let next = next_refresh(&result, configured, failures);
            prop_assert!((REFRESH_MIN..=configured.max(REFRESH_MIN)).contains(&next));
        }
    }
}
