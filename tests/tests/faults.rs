//! Servers that die, stop, refuse, reset, slow down or fail at once under 500 requests a second.
//!
//! Three servers stand behind one door. Counts and shares are judged; latencies are only told,
//! since they depend on the machine. Run with `--nocapture` for the figures.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use black_box::load::{Load, Shot, Tally, show};
use black_box::{Backend, Door, Sample, Setup, eventually, response};
use rustix::process::Signal;

/// Requests per second.
const RATE: u32 = 500;
/// Requests before a fault: one second.
const BEFORE: usize = 500;
/// Requests after a fault: four seconds.
const AFTER: usize = 2_000;

/// The tests run one after the other: each of them keeps the machine busy.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn door(addresses: &[SocketAddr]) -> Door {
    Setup::at(addresses)
        .never_overloaded()
        .pool("balance = \"p2c\"")
        .pool("check = { path = \"/health\", interval = \"500ms\", timeout = \"400ms\" }")
        .pool("timeouts = { connect = \"500ms\", first_byte = \"500ms\" }")
        .pool("slow_start = \"2s\"")
        .start()
}

fn samples() -> Vec<Sample> {
    Sample::several(&["one", "two", "three"], &["--service-time", "1ms", "--concurrency", "100"])
}

fn addresses(samples: &[Sample]) -> Vec<SocketAddr> {
    samples.iter().map(Sample::address).collect()
}

fn tell(fault: &str, phase: &str, tally: &Tally, server: &str) {
    show(&format!(
        "{fault:<12} {phase:<8} {}  share {:.1} %",
        tally.row(),
        tally.share(server) * 100.0
    ));
}

/// Tells the phases before and after the mark, and returns the tally of everything.
fn judge(fault: &str, shots: &[Shot], mark: Duration, server: &str) -> Tally {
    tell(fault, "before", &Tally::between(shots, Duration::ZERO, mark), server);
    tell(fault, "after", &Tally::between(shots, mark, Duration::MAX), server);
    Tally::of(shots)
}

#[track_caller]
fn none_failed(tally: &Tally) {
    assert_eq!(tally.failed, 0, "{:?}", tally.causes);
}

#[test]
fn a_killed_server_costs_no_request() {
    let _alone = alone();
    let mut samples = samples();
    let door = door(&addresses(&samples));
    let load = Load::start(door.first_address(), RATE);
    load.pass(BEFORE);
    let mark = load.mark();
    samples[0].kill();
    load.pass(AFTER);
    let shots = load.finish();
    none_failed(&judge("kill -9", &shots, mark, "one"));
    let later = Tally::between(&shots, mark + Duration::from_millis(100), Duration::MAX);
    assert_eq!(later.servers.get("one"), None);
}

#[test]
fn servers_killed_one_after_the_other_cost_no_request() {
    let _alone = alone();
    let mut samples = samples();
    let door = door(&addresses(&samples));
    let load = Load::start(door.first_address(), RATE);
    load.pass(BEFORE);
    let mark = load.mark();
    for victim in &mut samples {
        victim.kill();
        load.pass(300);
        victim.revive();
        eventually("the server is back", || load.last(100).servers.contains_key(victim.name()));
        load.pass(300);
    }
    let shots = load.finish();
    none_failed(&judge("kill in turn", &shots, mark, "one"));
}

#[test]
fn a_stopped_server_delays_few_requests() {
    let _alone = alone();
    let samples = samples();
    let door = door(&addresses(&samples));
    let load = Load::start(door.first_address(), RATE);
    load.pass(BEFORE);
    let mark = load.mark();
    samples[0].signal(Signal::STOP);
    load.pass(AFTER);
    let shots = load.finish();
    samples[0].signal(Signal::CONT);
    let all = judge("SIGSTOP", &shots, mark, "one");
    assert!(all.failed <= 5, "{:?}", all.causes);
    let long = shots.iter().filter(|shot| shot.latency >= Duration::from_millis(450)).count();
    show(&format!("SIGSTOP      {long} requests took 450 ms or longer"));
    // By what the door counted: a busy machine delays others as well.
    let stopped = format!("server=\"{}\"", samples[0].address());
    let waited = door.metric("tidegate_server_failures_total", &[&stopped]);
    assert!((1.0..=60.0).contains(&waited), "{waited} requests waited for the stopped server");
    let later = Tally::between(&shots, mark + Duration::from_secs(2), Duration::MAX);
    none_failed(&later);
    assert_eq!(later.servers.get("one"), None);
}

#[test]
fn a_server_that_refuses_costs_no_request() {
    let _alone = alone();
    let mut samples = samples();
    let door = door(&addresses(&samples));
    let load = Load::start(door.first_address(), RATE);
    load.pass(BEFORE);
    let mark = load.mark();
    // Its port closes, its connections end after their answers.
    samples[0].signal(Signal::TERM);
    load.pass(AFTER);
    samples[0].kill();
    none_failed(&judge("refuse", &load.finish(), mark, "one"));
}

#[test]
fn a_server_that_never_was_costs_no_request() {
    let _alone = alone();
    let samples = samples();
    let mut addresses = addresses(&samples[..2]);
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    addresses.push(unused.local_addr().unwrap());
    drop(unused);
    // Without checks: the requests themselves find out.
    let door = Setup::at(&addresses).never_overloaded().start();
    let load = Load::start(door.first_address(), RATE);
    load.pass(AFTER);
    none_failed(&judge("no server", &load.finish(), Duration::ZERO, "one"));
}

/// A server that is healthy when asked, and does as `misbehave` says from the signal on.
struct Liar {
    server: Backend,
    misbehaves: Arc<AtomicBool>,
    /// Requests that reached it since the signal; health checks do not count.
    reached: Arc<AtomicUsize>,
}

impl Liar {
    fn start(misbehave: impl Fn(&mut black_box::Peer) + Send + Sync + 'static) -> Self {
        let (misbehaves, reached) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let server = Backend::start({
            let (misbehaves, reached) = (Arc::clone(&misbehaves), Arc::clone(&reached));
            move |request, peer| {
                if request.target == "/health" || !misbehaves.load(Ordering::SeqCst) {
                    peer.send(response(200, "x-server: liar\r\n", "well"));
                } else {
                    reached.fetch_add(1, Ordering::SeqCst);
                    misbehave(peer);
                }
            }
        });
        Self { server, misbehaves, reached }
    }
}

#[test]
fn a_server_that_resets_costs_no_request() {
    let _alone = alone();
    let samples = samples();
    let liar = Liar::start(black_box::Peer::reset);
    let mut addresses = addresses(&samples[..2]);
    addresses.push(liar.server.address());
    let door = door(&addresses);
    let load = Load::start(door.first_address(), RATE);
    load.pass(BEFORE);
    let mark = load.mark();
    liar.misbehaves.store(true, Ordering::SeqCst);
    load.pass(AFTER);
    let shots = load.finish();
    show(&format!("reset        reached it: {}", liar.reached.load(Ordering::SeqCst)));
    none_failed(&judge("reset", &shots, mark, "liar"));
}

#[test]
fn a_slow_server_gets_less() {
    let _alone = alone();
    let samples = samples();
    let door = door(&addresses(&samples));
    let load = Load::start(door.first_address(), RATE);
    load.pass(BEFORE);
    let mark = load.mark();
    samples[0].control("{\"service_time_ms\": 50}");
    load.pass(AFTER);
    let shots = load.finish();
    none_failed(&judge("50 x slower", &shots, mark, "one"));
    let before = Tally::between(&shots, Duration::ZERO, mark).share("one");
    let later = Tally::between(&shots, mark + Duration::from_secs(1), Duration::MAX).share("one");
    show(&format!("50 x slower  share {:.1} % -> {:.1} %", before * 100.0, later * 100.0));
    assert!(later < before / 2.0, "its share falls: {before} to {later}");
    assert!(later < 0.15, "a slow server keeps {later}");
}

#[test]
fn a_hiccup_is_forgiven() {
    let _alone = alone();
    let samples = samples();
    let door = door(&addresses(&samples));
    let load = Load::start(door.first_address(), RATE);
    load.pass(BEFORE);
    let mark = load.mark();
    samples[0].control("{\"service_time_ms\": 100}");
    load.pass(50);
    samples[0].control("{\"service_time_ms\": 1}");
    load.pass(3_000);
    let shots = load.finish();
    none_failed(&judge("hiccup", &shots, mark, "one"));
    let mut shares = Vec::new();
    for second in 0..6_u32 {
        let from = mark + Duration::from_secs(1) * second;
        let window = Tally::between(&shots, from, from + Duration::from_secs(1));
        shares.push(window.share("one"));
    }
    let told: Vec<String> = shares.iter().map(|share| format!("{:.1} %", share * 100.0)).collect();
    show(&format!("hiccup       share in each second: {}", told.join(", ")));
    // A pause of a tenth of a second, as any runtime makes, is no reason to go without a server.
    assert!(shares[5] > 0.15, "it is still avoided: {shares:?}");
}

/// `misbehave` answers at once; less than 1 % of the traffic after the first second reaches it.
fn fails_fast(fault: &str, misbehave: impl Fn(&mut black_box::Peer) + Send + Sync + 'static) {
    let _alone = alone();
    let samples = samples();
    let liar = Liar::start(misbehave);
    let mut addresses = addresses(&samples[..2]);
    addresses.push(liar.server.address());
    let door = door(&addresses);
    let load = Load::start(door.first_address(), RATE);
    load.pass(BEFORE);
    let mark = load.mark();
    liar.misbehaves.store(true, Ordering::SeqCst);
    eventually("a second has passed", || load.mark() >= mark + Duration::from_secs(1));
    let early = liar.reached.load(Ordering::SeqCst);
    let sent = load.last(usize::MAX).requests;
    load.pass(AFTER);
    let late = liar.reached.load(Ordering::SeqCst) - early;
    let sent = load.last(usize::MAX).requests - sent;
    let all = judge(fault, &load.finish(), mark, "liar");
    let failed = all.failed;
    show(&format!(
        "{fault:<12} reached it: {early} in the first second, then {late} of {sent}; clients saw {failed} failures"
    ));
    assert!(late * 100 < sent, "{late} of {sent} requests went to a server that fails at once");
    assert!(failed <= early + late, "{failed} failures of {early} + {late}");
}

#[test]
fn a_server_that_fails_at_once_gets_nearly_nothing() {
    fails_fast("500 at once", |peer| {
        peer.send(response(500, "x-server: liar\r\n", "no"));
    });
}

#[test]
fn a_server_that_is_overloaded_at_once_gets_nearly_nothing() {
    fails_fast("503 at once", |peer| {
        peer.send(response(503, "x-server: liar\r\n", "no"));
    });
}

#[test]
fn a_server_that_comes_back_gets_its_share_slowly() {
    let _alone = alone();
    let mut samples = samples();
    let door = door(&addresses(&samples));
    let load = Load::start(door.first_address(), RATE);
    load.pass(BEFORE);
    samples[0].kill();
    load.pass(1_000);
    samples[0].revive();
    let back = load.mark();
    let again = load.mark() + Duration::from_secs(8);
    eventually("it has its share again", || {
        load.last(500).share("one") > 0.25 || load.mark() > again
    });
    load.pass(2_000);
    let shots = load.finish();
    none_failed(&judge("recovery", &shots, back, "one"));
    let first = shots.iter().find(|shot| shot.due >= back && shot.server == "one");
    let first = first.expect("it was asked again").due;
    let shares: Vec<f64> = (0..8_u32)
        .map(|half| {
            let from = first + Duration::from_millis(500) * half;
            Tally::between(&shots, from, from + Duration::from_millis(500)).share("one")
        })
        .collect();
    let told: Vec<String> = shares.iter().map(|share| format!("{:.1} %", share * 100.0)).collect();
    show(&format!("recovery     share in each half second: {}", told.join(", ")));
    assert!(door.log().contains("to=SlowStart"), "it starts slowly");
    assert!(shares[0] < 1.0 / 3.0, "it starts slowly: {shares:?}");
    assert!(shares.iter().all(|share| *share < 0.6), "nobody stampedes: {shares:?}");
    let last = Tally::of(&shots[shots.len().saturating_sub(500)..]).share("one");
    assert!(last > 0.25, "it has its share again: {last}");
}

#[test]
fn the_door_outlives_every_server() {
    let _alone = alone();
    let mut samples = samples();
    let door = door(&addresses(&samples));
    let load = Load::start(door.first_address(), RATE);
    load.pass(BEFORE);
    for sample in &mut samples {
        sample.kill();
    }
    load.pass(500);
    let meanwhile = load.last(300);
    for sample in &mut samples {
        sample.revive();
    }
    eventually("requests are served again", || load.last(200).failed == 0);
    let shots = load.finish();
    tell("all killed", "all", &Tally::of(&shots), "one");
    // Each of them was answered by the door itself: nothing was reset or left waiting.
    let told = meanwhile.answered(502) + meanwhile.answered(503);
    assert_eq!((told, meanwhile.failed), (300, 300), "{:?}", meanwhile.causes);
}

#[test]
fn a_request_that_may_not_be_repeated_is_not() {
    let _alone = alone();
    let samples = samples();
    let liar = Liar::start(black_box::Peer::reset);
    let mut addresses = addresses(&samples[..2]);
    addresses.push(liar.server.address());
    let door = door(&addresses);
    liar.misbehaves.store(true, Ordering::SeqCst);
    let mut failures = 0;
    for _ in 0..60 {
        let mut client = black_box::Client::to(&door);
        let response =
            client.ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
        if response.status != 200 {
            assert_eq!((response.status, response.reason()), (502, Some("server_closed")));
            failures += 1;
        }
    }
    assert!(failures > 0, "it was asked");
    assert_eq!(
        failures,
        liar.reached.load(Ordering::SeqCst),
        "each failed once, none was repeated"
    );
}
