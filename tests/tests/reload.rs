//! Reloads, drains and the end of the process, under load: nobody who is connected notices.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use black_box::load::{Load, Plan, Shot, Tally, show};
use black_box::{
    Backend, Client, Door, Echoes, Gate, Sample, Setup, eventually, eventually_some, ok, response,
};
use rustix::process::Signal;

/// Requests per second.
const RATE: u32 = 500;

/// The tests under load run one after the other: each of them keeps the machine busy.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn samples(names: &[&str]) -> Vec<Sample> {
    Sample::several(names, &["--service-time", "1ms", "--concurrency", "200"])
}

fn addresses(samples: &[Sample]) -> Vec<SocketAddr> {
    samples.iter().map(Sample::address).collect()
}

fn setup(samples: &[Sample]) -> Setup {
    Setup::at(&addresses(samples))
        .never_overloaded()
        .pool("check = { path = \"/health\", interval = \"500ms\", timeout = \"400ms\" }")
        .more("[door]\nworkers = 2\ndrain = \"5s\"")
}

#[test]
fn two_hundred_reloads_go_unnoticed() {
    let _alone = alone();
    let samples = samples(&["one", "two", "three"]);
    let setup = setup(&samples);
    let door = setup.start();
    let echoes = Echoes::start(door.first_address(), 20);
    let load = Load::start(door.first_address(), RATE);
    load.pass(200);
    let before = echoes.echoed();
    for round in 0..200 {
        // Each is a real change, and each third time of something else.
        let changed = match round % 3 {
            0 => setup.clone().pool(&format!("in_flight_max = {}", 1_000 + round)),
            1 => setup.clone().route(&format!("total_timeout = \"{}s\"", 20 + round)),
            _ => setup.clone().listen(&format!("limits = {{ headers = {} }}", 50 + round)),
        };
        door.rewrite(&changed.text());
        if round % 2 == 0 {
            let answer = door.reload();
            assert_eq!(answer.status, 200, "{}", answer.body);
        } else {
            let done = "tidegate_configuration_reloads_total";
            let reloads = door.metric(done, &["applied"]);
            door.signal(Signal::HUP);
            eventually("the signal was obeyed", || door.metric(done, &["applied"]) > reloads);
        }
        load.pass(5);
    }
    load.pass(200);
    let echoed = echoes.echoed() - before;
    assert!(echoed > 20 * 20, "the WebSockets went on: {echoed}");
    echoes.finish();
    let opened = load.opened();
    let shots = load.finish();
    let all = Tally::of(&shots);
    show(&format!("200 reloads  {}", all.row()));
    show(&format!(
        "200 reloads  {opened} connections opened for 64; 20 WebSockets echoed {echoed}"
    ));
    assert_eq!(all.failed, 0, "{:?}", all.causes);
    assert_eq!(opened, 64, "a connection was closed");
    assert_eq!(door.metric("tidegate_configuration_reloads_total", &["rejected"]), 0.0);
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let backend = Backend::answering(ok("hello"));
    let setup = Setup::of(&[&backend]);
    let door = setup.start();
    let mut client = Client::to(&door);
    assert_eq!(client.get("/").status, 200);
    let version = door.status()["configuration"].clone();
    for (text, why) in [
        (setup.text().replace("pool = \"api\"", "pool = \"apy\""), "apy"),
        (setup.text() + "[pools.api2]\nserver = []\n", "server"),
        ("[listen.web\n".to_owned(), "listen"),
        (setup.clone().pool("balance = \"p3c\"").text(), "p3c"),
        (setup.clone().pool("tls = { roots = \"{dir}/none.pem\" }").text(), "none.pem"),
    ] {
        door.rewrite(&text);
        let answer = door.reload();
        assert_eq!(answer.status, 422, "{}", answer.body);
        assert!(answer.body.contains(why), "{why:?} is not in {}", answer.body);
        let logged = door.log();
        let logged = logged.split("stays as it was").last().unwrap_or_default();
        assert!(logged.contains(why), "{why:?} is not in the log: {logged}");
        let printed = black_box::tidegate(&[
            "reload",
            "--socket",
            door.socket().to_str().expect("paths of tests are text"),
        ]);
        assert_eq!(printed.code, Some(1), "{printed:?}");
        assert!(printed.stderr.contains(why), "{printed:?}");
        assert_eq!(client.get("/").status, 200, "the same connection is served");
    }
    let seconds = door.status()["uptime_seconds"].as_u64().unwrap();
    eventually("a second passes", || door.status()["uptime_seconds"].as_u64() > Some(seconds));
    assert_eq!(door.status()["configuration"], version);
    let reloads = |result: &str| door.metric("tidegate_configuration_reloads_total", &[result]);
    assert_eq!((reloads("applied"), reloads("rejected")), (0.0, 10.0));
    door.rewrite(&setup.text());
    assert_eq!(door.reload().status, 200);
    assert_eq!(reloads("applied"), 1.0);
}

#[test]
fn the_file_can_be_gone() {
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).start();
    std::fs::remove_file(door.configuration()).unwrap();
    let answer = door.reload();
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!(Client::to(&door).get("/").status, 200);
}

/// The facts of a server in the last second.
fn server(door: &Door, address: SocketAddr) -> serde_json::Value {
    let status = door.status();
    let servers = status["pools"][0]["servers"].as_array().expect("a pool has servers");
    let known = servers.iter().find(|server| server["address"] == address.to_string());
    known.unwrap_or_else(|| panic!("{address} is not in {servers:?}")).clone()
}

#[test]
fn what_was_learned_is_kept() {
    let samples = samples(&["one", "two"]);
    let setup = setup(&samples);
    let door = setup.start();
    let address = samples[0].address();
    samples[0].control("{\"service_time_ms\": 100}");
    let mut client = Client::to(&door);
    eventually("both were measured", || {
        client.get("/");
        let measured =
            |sample: &Sample| server(&door, sample.address())["ewma_us"].as_u64().unwrap_or(0);
        measured(&samples[0]) > 50_000 && measured(&samples[1]) > 0
    });
    let mut slow = Client::to(&door);
    slow.send("GET /delay/2500 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let in_flight = || door.metric("tidegate_server_active_requests", &[]);
    eventually("a request is in flight", || in_flight() == 1.0);
    let ewma = door.metric("tidegate_server_ewma_seconds", &[&address.to_string()]);
    assert!(ewma > 0.0, "what was measured fades, and is not forgotten");
    let requests = door.metric("tidegate_server_requests_total", &[]);
    door.rewrite(&setup.clone().pool("in_flight_max = 77").text());
    assert_eq!(door.reload().status, 200);
    let version = door.status()["configuration"].clone();
    assert_eq!(in_flight(), 1.0, "what is in flight is still counted");
    eventually("the new configuration was live for a second", || {
        door.status()["configuration"] != version || door.status()["configuration"].is_string()
    });
    let kept = door.metric("tidegate_server_ewma_seconds", &[&address.to_string()]);
    assert!(kept > ewma * 0.5 && kept <= ewma * 1.01, "{ewma} became {kept}");
    assert_eq!(server(&door, address)["state"], "up", "it does not start anew");
    assert!(door.metric("tidegate_server_requests_total", &[]) >= requests);
    assert_eq!(slow.response().status, 200);
    eventually("nothing is in flight", || in_flight() == 0.0);
}

#[test]
fn round_robin_goes_on_where_it_was() {
    let samples = samples(&["one", "two", "three"]);
    let setup = Setup::at(&addresses(&samples)).pool("balance = \"round-robin\"");
    let door = setup.start();
    let mut client = Client::to(&door);
    let mut asked = || client.get("/").header("x-server").unwrap().to_owned();
    let turn = [asked(), asked(), asked()];
    let mut expected = turn.iter().cycle();
    for round in 0..30 {
        door.rewrite(&setup.clone().pool(&format!("in_flight_max = {}", 100 + round)).text());
        assert_eq!(door.reload().status, 200);
        assert_eq!(asked(), *expected.next().unwrap(), "in round {round} of {turn:?}");
    }
}

/// Where the listener `name`, which was added by a reload, listens.
fn added(door: &Door, name: &str) -> SocketAddr {
    eventually_some("the listener is announced", || {
        let stdout = door.stdout();
        let line = stdout.lines().rfind(|line| line.ends_with(&format!("name={name}")))?;
        line.strip_prefix("listening on ")?.split(' ').next()?.parse().ok()
    })
}

#[test]
fn listeners_come_and_go() {
    let backend = Backend::answering(ok("hello"));
    let setup = Setup::of(&[&backend]);
    let door = setup.start();
    let mut old = Client::to(&door);
    assert_eq!(old.get("/").status, 200);
    door.rewrite(&setup.clone().more("[listen.more]\naddress = \"127.0.0.1:0\"").text());
    assert_eq!(door.reload().status, 200);
    let address = added(&door, "more");
    let mut new = Client::connect(address);
    assert_eq!(new.get("/").status, 200);
    let mut idle = Client::connect(address);
    assert_eq!(idle.get("/").status, 200);
    // A text that was replaced would be refused as stale: this one says that it is meant.
    door.rewrite(&setup.more("# without it again").text());
    assert_eq!(door.reload().status, 200);
    idle.expect_closed();
    eventually("the port is closed", || TcpStream::connect(address).is_err());
    assert_eq!(old.get("/").status, 200, "the other listener did not notice");
}

#[test]
fn a_request_in_flight_outlives_its_listener() {
    let gate = Gate::closed();
    let backend = Backend::start({
        let gate = gate.clone();
        move |_, peer| {
            gate.wait();
            peer.send(ok("late"));
        }
    });
    let setup = Setup::of(&[&backend]);
    let door = setup.clone().more("[listen.more]\naddress = \"127.0.0.1:0\"").start();
    let mut client = Client::connect(door.address("more"));
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("the request is in flight", || !backend.requests().is_empty());
    door.rewrite(&setup.text());
    assert_eq!(door.reload().status, 200);
    gate.open();
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "late"));
    client.expect_closed();
}

#[test]
fn servers_come_and_go() {
    let _alone = alone();
    let samples = samples(&["one", "two", "three"]);
    let few = setup(&samples[..2]);
    let many = setup(&samples).pool("slow_start = \"0s\"");
    let door = few.start();
    let load = Load::start(door.first_address(), RATE);
    load.pass(300);
    for round in 0..5 {
        // A text that was replaced would be refused as stale: each says that it is meant.
        let meant = format!("# round {round}");
        door.rewrite(&many.clone().more(&meant).text());
        assert_eq!(door.reload().status, 200);
        eventually("the new server is asked", || load.last(100).servers.contains_key("three"));
        load.pass(100);
        door.rewrite(&few.clone().more(&meant).text());
        assert_eq!(door.reload().status, 200);
        eventually("the server is left alone", || !load.last(100).servers.contains_key("three"));
    }
    let all = Tally::of(&load.finish());
    show(&format!("servers come and go  {}", all.row()));
    assert_eq!(all.failed, 0, "{:?}", all.causes);
}

#[test]
fn a_server_can_be_drained() {
    let _alone = alone();
    let samples = samples(&["one", "two", "three"]);
    let door = setup(&samples).start();
    let load = Load::start(door.first_address(), RATE);
    load.pass(300);
    let address = samples[0].address().to_string();
    let drain = |on: bool| {
        let body = format!("{{\"pool\": \"api\", \"server\": \"{address}\", \"on\": {on}}}");
        let answer = door.admin("POST /v1/servers/drain", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    drain(true);
    eventually("it is asked no more", || !load.last(200).servers.contains_key("one"));
    eventually("that is said", || server(&door, samples[0].address())["state"] == "draining");
    // A reload does not bring it back.
    door.rewrite(&setup(&samples).pool("in_flight_max = 500").text());
    assert_eq!(door.reload().status, 200);
    load.pass(300);
    assert_eq!(load.last(200).servers.get("one"), None);
    drain(false);
    eventually("it is asked again", || load.last(200).servers.contains_key("one"));
    let all = Tally::of(&load.finish());
    show(&format!("a server is drained  {}", all.row()));
    assert_eq!(all.failed, 0, "{:?}", all.causes);
    for wrong in [
        "{\"pool\": \"none\", \"server\": \"127.0.0.1:1\", \"on\": true}",
        "{\"pool\": \"api\", \"server\": \"127.0.0.1:1\", \"on\": true}",
    ] {
        let answer = door.admin("POST /v1/servers/drain", wrong);
        assert_eq!(answer.status, 409, "{}", answer.body);
    }
}

#[test]
fn what_is_in_flight_ends_well() {
    let samples = samples(&["one", "two"]);
    let mut door = setup(&samples).start();
    let mut idle: Vec<Client> = (0..20).map(|_| Client::to(&door)).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").status, 200);
    }
    let mut silent = Client::to(&door);
    let mut busy: Vec<Client> = (0..50).map(|_| Client::to(&door)).collect();
    for client in &mut busy {
        client.send("GET /delay/1500 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    let in_flight = || door.metric("http_server_active_requests", &[]);
    eventually("all are in flight", || in_flight() == 50.0);
    door.signal(Signal::TERM);
    for client in &mut idle {
        client.expect_closed();
    }
    eventually("the port is closed", || TcpStream::connect(door.first_address()).is_err());
    // The door never saw it: a connection is accepted with its first byte.
    drop(silent.try_send("GET / HTTP/1.1\r\n"));
    silent.expect_closed();
    for client in &mut busy {
        let response = client.response();
        assert_eq!(response.status, 200);
        assert_eq!(response.header("connection"), Some("close"));
        client.expect_closed();
    }
    assert_eq!(door.wait().code(), Some(0));
}

#[test]
fn the_end_under_load_loses_nothing_that_was_taken() {
    let _alone = alone();
    let reached = Arc::new(AtomicU32::new(0));
    let backend = Backend::start({
        let reached = Arc::clone(&reached);
        move |_, peer| {
            reached.fetch_add(1, Ordering::SeqCst);
            // Work, for long enough that some requests are always in flight.
            std::thread::park_timeout(Duration::from_millis(50));
            peer.send(ok("worked"));
        }
    });
    let setup = Setup::of(&[&backend]).more("[door]\nworkers = 2\ndrain = \"5s\"");
    let mut door = setup.never_overloaded().start();
    let plan = Plan::new(door.first_address(), RATE);
    let load = plan.start();
    load.pass(500);
    let mark = load.mark();
    door.signal(Signal::TERM);
    assert_eq!(door.wait().code(), Some(0));
    let shots = load.finish();
    // Not by when they were due: where the machine is busy, one may be sent much later than that.
    let (before, after): (Vec<Shot>, Vec<Shot>) =
        shots.iter().cloned().partition(|shot| shot.due + shot.latency < mark);
    let (before, after) = (Tally::of(&before), Tally::of(&after));
    show(&format!("SIGTERM before  {}", before.row()));
    show(&format!("SIGTERM after   {}", after.row()));
    assert_eq!(before.failed, 0, "{:?}", before.causes);
    // Nothing that was taken is lost: what reached the server reached the client.
    let answered = shots.len() - after.failed;
    assert_eq!(u32::try_from(answered), Ok(reached.load(Ordering::SeqCst)));
    // The others were refused, or met a connection that was idle and closed.
    let known = ["connect failed", "closed before the answer", "reset", "reset while sending"];
    assert!(after.causes.keys().all(|cause| known.contains(&cause.as_str())), "{:?}", after.causes);
    let closed: usize = ["closed before the answer", "reset", "reset while sending"]
        .iter()
        .filter_map(|cause| after.causes.get(*cause))
        .sum();
    assert!(closed <= 64, "each idle connection is closed once: {:?}", after.causes);
}

#[test]
fn the_drain_has_an_end() {
    let gate = Gate::closed();
    let backend = Backend::start({
        let gate = gate.clone();
        move |_, peer| {
            gate.wait();
            peer.send(ok("too late"));
        }
    });
    let mut door = Setup::of(&[&backend]).more("[door]\nworkers = 1\ndrain = \"300ms\"").start();
    let mut client = Client::to(&door);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("the request is in flight", || !backend.requests().is_empty());
    door.signal(Signal::TERM);
    assert_eq!(door.wait().code(), Some(0));
    client.expect_closed();
    assert!(door.log().contains("the drain time is over"), "{}", door.log());
    gate.open();
}

#[test]
fn new_limits_hold_for_open_connections() {
    let backend = Backend::answering(response(200, "", "hello"));
    let setup = Setup::of(&[&backend]);
    let door = setup.start();
    let mut client = Client::to(&door);
    let request = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(client.ask(request).status, 200);
    door.rewrite(&setup.clone().route("body_max = 4").text());
    assert_eq!(door.reload().status, 200);
    let response = client.ask(request);
    assert_eq!((response.status, response.reason()), (413, Some("body_too_large")));
}
