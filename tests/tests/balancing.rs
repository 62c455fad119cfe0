//! How the real binary spreads requests over servers: shares by weight, the same server for the
//! same key, the own zone first, and never more in flight than allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use black_box::load::{Load, Plan, Tally, show};
use black_box::{Backend, Client, Door, Gate, Sample, Setup, eventually, ok, response};

/// The tests under load run one after the other: each of them keeps the machine busy.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A configuration whose servers are tables with more than an address.
fn text(servers: &[(SocketAddr, String)], pool: &str, workers: u32) -> String {
    let servers: Vec<String> = servers
        .iter()
        .map(|(address, more)| format!("{{ address = \"{address}\"{more} }}"))
        .collect();
    let servers = servers.join(", ");
    format!(
        "[door]\nworkers = {workers}\ndrain = \"1s\"\n[listen.web]\naddress = \"127.0.0.1:0\"\n\
[pools.api]\nservers = [{servers}]\n{pool}\n[routes.api]\npath = \"/\"\npool = \"api\"\n"
    )
}

/// A server that answers at once with its name.
fn named(name: &str) -> Backend {
    Backend::answering(response(200, &format!("x-server: {name}\r\n"), "hello"))
}

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Servers of the weights 1, 2 and 3 take their shares, each within `band` of what is intended.
fn check_shares(balance: &str, rate: u32, service: &str, workers: u32, band: f64) {
    let _alone = alone();
    let samples = Sample::several(&NAMES, &["--service-time", service, "--concurrency", "500"]);
    let weights = [", weight = 1", ", weight = 2", ", weight = 3"];
    let servers: Vec<_> =
        samples.iter().zip(weights).map(|(s, more)| (s.address(), more.to_owned())).collect();
    let door = Door::start(&text(&servers, &format!("balance = {balance}"), workers));
    let plan = Plan {
        request: "GET / HTTP/1.1\r\nHost: localhost\r\nX-User: {number}\r\n\r\n".to_owned(),
        ..Plan::new(door.first_address(), rate)
    };
    let load = plan.start();
    // The first ones measure the servers.
    load.pass(300);
    let mark = load.mark();
    load.pass(1_800);
    let shots = load.finish();
    let all = Tally::between(&shots, mark, Duration::MAX);
    let shares = NAMES.map(|name| all.share(name));
    show(&format!(
        "{balance:<16} {rate}/s, {service:>4} each, {workers} workers: {:.1} % {:.1} % {:.1} % of 16.7 33.3 50.0",
        shares[0] * 100.0,
        shares[1] * 100.0,
        shares[2] * 100.0
    ));
    assert_eq!(all.failed, 0, "{:?}", all.causes);
    for (share, intended) in shares.iter().zip([1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0]) {
        assert!((share - intended).abs() <= band, "{balance}: {shares:?}");
    }
}

#[test]
fn round_robin_follows_weights_exactly() {
    check_shares("\"round-robin\"", 500, "1ms", 1, 0.01);
}

#[test]
fn round_robin_follows_weights_over_workers() {
    check_shares("\"round-robin\"", 500, "1ms", 2, 0.02);
}

#[test]
fn random_follows_weights() {
    check_shares("\"random\"", 500, "1ms", 1, 0.06);
}

#[test]
fn least_request_follows_weights() {
    check_shares("\"least-request\"", 500, "1ms", 1, 0.08);
}

#[test]
fn least_request_follows_weights_with_many_in_flight() {
    check_shares("\"least-request\"", 500, "60ms", 1, 0.08);
}

#[test]
fn p2c_follows_weights() {
    // One answer that the machine delayed makes a server of 5 ms look slow for seconds: that is
    // what a peak-sensitive average is for, so the band is wide.
    check_shares("\"p2c\"", 500, "5ms", 1, 0.2);
}

#[test]
fn p2c_follows_weights_with_many_in_flight() {
    check_shares("\"p2c\"", 500, "60ms", 2, 0.1);
}

#[test]
fn maglev_follows_weights() {
    // The bound on load passes keys on from light servers, which are full with one request.
    check_shares("{ maglev = { header = \"x-user\" } }", 500, "1ms", 2, 0.15);
}

/// Which server each of these users is sent to.
fn homes(client: &mut Client, request: impl Fn(usize) -> String) -> BTreeMap<usize, String> {
    (0..200)
        .map(|user| {
            let response = client.ask(request(user));
            (user, response.header("x-server").expect("servers tell their name").to_owned())
        })
        .collect()
}

/// The same key goes to the same server, whatever connection, worker and configuration; when a
/// server leaves, only its keys move.
fn check_affinity(key: &str, request: impl Fn(usize) -> String + Copy) {
    let backends = NAMES.map(named);
    let balance = format!("balance = {{ maglev = {key} }}");
    let setup = |backends: &[&Backend]| {
        Setup::of(backends).pool(&balance).more("[door]\nworkers = 2\ndrain = \"1s\"")
    };
    let [one, two, three] = &backends;
    let all = setup(&[one, two, three]);
    let door = all.start();
    let first = homes(&mut Client::to(&door), request);
    for _ in 0..5 {
        assert_eq!(homes(&mut Client::to(&door), request), first, "{key}");
    }
    for name in NAMES {
        let count = first.values().filter(|home| *home == name).count();
        assert!((30..120).contains(&count), "{name} has {count} of 200 for {key}");
    }
    door.rewrite(&all.clone().pool("in_flight_max = 500").text());
    assert_eq!(door.reload().status, 200);
    assert_eq!(homes(&mut Client::to(&door), request), first, "{key}: a reload moves nobody");
    door.rewrite(&setup(&[one, two]).text());
    assert_eq!(door.reload().status, 200);
    let without = homes(&mut Client::to(&door), request);
    let moved = first.iter().filter(|(user, home)| *home != "three" && without[user] != **home);
    let moved = moved.count();
    show(&format!("maglev {key}: {moved} of 200 keys moved needlessly when one of three left"));
    assert!(moved <= 20, "{moved} moved needlessly");
    assert!(without.values().all(|home| home != "three"));
}

#[test]
fn a_header_finds_its_server() {
    check_affinity("{ header = \"x-user\" }", |user| {
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-User: user-{user}\r\n\r\n")
    });
}

#[test]
fn a_cookie_finds_its_server() {
    check_affinity("{ cookie = \"session\" }", |user| {
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nCookie: a=b; session=s{user}; c=d\r\n\r\n")
    });
}

#[test]
fn a_path_finds_its_server() {
    check_affinity("\"path\"", |user| {
        format!("GET /users/{user}?at={user} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    });
}

#[test]
fn an_address_finds_its_server() {
    let backends = NAMES.map(named);
    let [one, two, three] = &backends;
    let door = Setup::of(&[one, two, three])
        .pool("balance = { maglev = \"client-address\" }")
        .listen("trusted_proxies = [\"127.0.0.1\"]")
        .start();
    let from = |address: &str| {
        let response = Client::to(&door).ask(format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\n\r\n"
        ));
        response.header("x-server").unwrap().to_owned()
    };
    let homes: BTreeSet<String> = (0..60)
        .map(|number| {
            let address = format!("192.0.2.{number}");
            let home = from(&address);
            assert_eq!(from(&address), home);
            home
        })
        .collect();
    assert_eq!(homes.len(), 3, "different clients go to different servers");
}

#[test]
fn the_own_zone_comes_first() {
    let _alone = alone();
    let mut samples = Sample::several(
        &["near-1", "near-2", "far-1", "far-2"],
        &["--service-time", "1ms", "--concurrency", "100"],
    );
    let servers: Vec<_> = samples
        .iter()
        .map(|sample| {
            let zone = sample.name().split('-').next().unwrap();
            (sample.address(), format!(", zone = \"{zone}\""))
        })
        .collect();
    let pool = "zone = \"near\"\nslow_start = \"0s\"\n\
check = { path = \"/health\", interval = \"1s\", timeout = \"900ms\", fall = 2 }";
    let door = Door::start(&text(&servers, pool, 1));
    let load = Load::start(door.first_address(), 300);
    load.pass(300);
    let both = load.last(200);
    assert_eq!(both.share("near-1") + both.share("near-2"), 1.0, "{:?}", both.servers);
    samples[0].kill();
    eventually("its share spills over", || {
        let last = load.last(200);
        last.share("far-1") > 0.05 && last.share("near-1") == 0.0
    });
    let spilled = load.last(200);
    assert!(spilled.share("near-2") > 0.4, "the zone keeps a part: {:?}", spilled.servers);
    samples[1].kill();
    eventually("the others take all", || {
        let last = load.last(200);
        last.share("far-1") + last.share("far-2") == 1.0
    });
    let all = Tally::of(&load.finish());
    show(&format!("zones: {}", all.row()));
    assert_eq!(all.failed, 0, "{:?}", all.causes);
}

/// A server that keeps requests until the gate opens, and knows how many it had at most.
fn holding(gate: &Gate) -> (Backend, Arc<AtomicU32>) {
    let (held, most) = <(Arc<AtomicU32>, Arc<AtomicU32>)>::default();
    let backend = Backend::start({
        let (gate, most) = (gate.clone(), Arc::clone(&most));
        move |_, peer| {
            let now = held.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            gate.wait();
            held.fetch_sub(1, Ordering::SeqCst);
            peer.send(ok("kept"));
        }
    });
    (backend, most)
}

#[test]
fn no_server_gets_more_than_it_may_have_in_flight() {
    for balance in ["p2c", "least-request", "round-robin", "random"] {
        let gate = Gate::closed();
        let (first, second) = (holding(&gate), holding(&gate));
        let door = Setup::of(&[&first.0, &second.0])
            .pool(&format!("balance = \"{balance}\"\nin_flight_max = 3"))
            .more("[door]\nworkers = 2\ndrain = \"1s\"")
            .start();
        let mut clients: Vec<Client> = (0..30).map(|_| Client::to(&door)).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        let refused = || door.metric("tidegate_answers_total", &[]);
        eventually("those that find no place are told", || refused() == 24.0);
        let most = [&first.1, &second.1];
        eventually("the others are at the servers", || {
            most.iter().all(|most| most.load(Ordering::SeqCst) == 3)
        });
        gate.open();
        let statuses: Vec<u16> =
            clients.iter_mut().map(|client| client.response().status).collect();
        let served = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(served, 6, "{balance}: {statuses:?}");
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        assert!(most.iter().all(|most| most.load(Ordering::SeqCst) == 3), "{balance}");
        assert_eq!(Client::to(&door).get("/").status, 200, "{balance}: places are free again");
    }
}

#[test]
fn nothing_overfills_under_load() {
    let _alone = alone();
    let sample =
        Sample::start("one", &["--service-time", "20ms", "--concurrency", "5", "--queue-max", "0"]);
    let second =
        Sample::start("two", &["--service-time", "20ms", "--concurrency", "5", "--queue-max", "0"]);
    let door = Setup::at(&[sample.address(), second.address()])
        .pool("in_flight_max = 5\nejection = { failures = 0 }")
        .more("[door]\nworkers = 2\ndrain = \"1s\"")
        .start();
    // Twice what both can do.
    let load = Load::start(door.first_address(), 1_000);
    load.pass(2_500);
    let shots = load.finish();
    let all = Tally::of(&shots);
    show(&format!("twice too much: {}", all.row()));
    assert_eq!(door.metric("tidegate_server_failures_total", &[]), 0.0, "no server was overfilled");
    let told = all.causes.keys().all(|cause| cause.starts_with("503 "));
    assert!(told && !all.causes.is_empty(), "the rest is told at once: {:?}", all.causes);
    assert!(all.requests - all.failed > all.requests / 5, "the servers stay busy");
}

#[test]
fn weight_zero_takes_nothing() {
    let backends = NAMES.map(named);
    let weights = [", weight = 0", "", ", drain = true"];
    let servers: Vec<_> =
        backends.iter().zip(weights).map(|(b, more)| (b.address(), more.to_owned())).collect();
    for balance in ["p2c", "least-request", "round-robin", "random"] {
        let allowed =
            "[[allow]]\nrule = \"one-active-server\"\nreason = \"it is what is tested\"\n";
        let text = text(&servers, &format!("balance = \"{balance}\""), 1) + allowed;
        let door = Door::start(&text);
        let mut client = Client::to(&door);
        for _ in 0..50 {
            assert_eq!(client.get("/").header("x-server"), Some("two"), "{balance}");
        }
    }
}

#[test]
fn a_name_is_resolved() {
    let backend = named("one");
    let port = backend.address().port();
    let door = Door::start(&format!(
        "[listen.web]\naddress = \"127.0.0.1:0\"\n[pools.api]\nservers = [\"localhost:{port}\"]\n\
check = {{ path = \"/health\", interval = \"200ms\" }}\n[routes.api]\npath = \"/\"\npool = \"api\"\n"
    ));
    let mut client = Client::to(&door);
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 200);
    }
    let status = door.status();
    let servers = status["pools"][0]["servers"].as_array().unwrap();
    assert!(servers.iter().all(|server| server["name"] == "localhost"), "{servers:?}");
    let address = format!("127.0.0.1:{port}");
    assert!(servers.iter().any(|server| server["address"] == address), "{servers:?}");
}

#[test]
fn a_name_nobody_knows_is_no_server_and_no_crash() {
    let backend = named("one");
    let address = backend.address();
    let door = Door::start(&format!(
        "[listen.web]\naddress = \"127.0.0.1:0\"\n[pools.api]\n\
servers = [\"{address}\", \"none.invalid:80\"]\n[pools.none]\nservers = [\"none.invalid:80\"]\n\
[routes.api]\npath = \"/\"\npool = \"api\"\n[routes.none]\npath = \"/none\"\npool = \"none\"\n"
    ));
    let mut client = Client::to(&door);
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
    let response = client.get("/none");
    assert_eq!((response.status, response.reason()), (503, Some("no_server")));
}
