//! Two doors share quotas over a real Redis, which is killed, wiped and made to stall meanwhile:
//! what is let in stays within the stated error, nothing fails, nothing waits.

use std::net::SocketAddr;
use std::time::Duration;

use black_box::load::{Load, Plan, Shot, Tally, show};
use black_box::{Backend, Client, Door, Redis, Setup, Valve, eventually, ok};

/// Of both doors together.
const RATE: u32 = 200;
const BURST: u32 = 40;
/// Per door: three times what there is to share.
const OFFERED: u32 = 300;
/// What a phase measures.
const PHASE: usize = 600;
/// What nine of ten requests stay within: more than a door takes on a busy machine, less than any
/// of them would wait for a server that does not answer.
const LATENCY_MAX: Duration = Duration::from_millis(50);

/// A door that shares a limit for all, one by header and the rate of a client.
fn setup(backend: &Backend, redis: SocketAddr) -> Setup {
    Setup::of(&[backend]).more(&format!(
        "[admission]\nshared = {{ url = \"redis://{redis}\", name = \"test\", timeout = \"100ms\" }}\n\
         [limits.all]\nby = \"all\"\nrate = \"{RATE}/s\"\nburst = {BURST}\nshared = true\n\
         [limits.tenant]\nby = {{ header = \"x-tenant\" }}\nrate = \"3/m\"\nburst = 3\nshared = true\n\
         [clients.partner]\nkey = {{ header = \"x-api-key\", value = \"key-of-the-partner\" }}\n\
         rate = \"4/m\"\nburst = 4\nshared = true"
    ))
}

fn state(door: &Door) -> (String, u64) {
    let shared = &door.status()["admission"]["shared"];
    let state = shared["state"].as_str().unwrap_or_default().to_owned();
    (state, shared["doors"].as_u64().unwrap_or_default())
}

#[track_caller]
fn become_of(doors: &[&Door], wanted: &str) {
    let count = doors.len() as u64;
    let wanted = (wanted.to_owned(), count);
    eventually(&format!("all are {wanted:?}"), || doors.iter().all(|door| state(door) == wanted));
}

/// Load on both doors at once.
struct Pressure(Vec<Load>);

impl Pressure {
    fn on(doors: &[(&Door, u32)]) -> Self {
        let load = |(door, rate): &(&Door, u32)| {
            Plan { connections: 16, ..Plan::new(door.first_address(), *rate) }.start()
        };
        Self(doors.iter().map(load).collect())
    }

    /// Lets a phase pass, which begins with an event and what comes of it.
    fn phase(&self, name: &'static str, event: impl FnOnce()) -> Phase {
        let marks = || self.0.iter().map(Load::mark).collect::<Vec<_>>();
        let from = marks();
        event();
        self.0[0].pass(PHASE);
        Phase { name, times: from.into_iter().zip(marks()).collect() }
    }

    fn finish(self) -> Vec<Vec<Shot>> {
        self.0.into_iter().map(Load::finish).collect()
    }
}

struct Phase {
    name: &'static str,
    times: Vec<(Duration, Duration)>,
}

/// What all doors did in a phase.
struct Seen {
    admitted: usize,
    errors: usize,
    seconds: f64,
    latency: Duration,
}

impl Phase {
    fn seen(&self, shots: &[Vec<Shot>]) -> Seen {
        let mut within: Vec<Shot> = Vec::new();
        for ((from, to), shots) in self.times.iter().zip(shots) {
            within.extend(shots.iter().filter(|s| (*from..*to).contains(&s.due)).cloned());
        }
        let tally = Tally::of(&within);
        let refused = tally.answered(429);
        let times = self.times.iter().map(|(from, to)| to.saturating_sub(*from).as_secs_f64());
        let seconds = times.fold(0.0, f64::max);
        let seen = Seen {
            admitted: tally.requests - tally.failed,
            errors: tally.failed - refused,
            seconds,
            latency: tally.latency(900),
        };
        let allowed = f64::from(RATE) * seconds;
        show(&format!(
            "{:<34} {:>5} requests {:>5} let in of {:>4.0} ({:+5.1} %) {} errors, p99 {:.1} ms",
            self.name,
            tally.requests,
            seen.admitted,
            allowed,
            (seen.admitted as f64 / allowed - 1.0) * 100.0,
            seen.errors,
            tally.latency(990).as_secs_f64() * 1e3
        ));
        seen
    }

    /// Nothing failed or waited; and not more was let in than the stated bound, with so many
    /// bursts above it, nor less than this part.
    #[track_caller]
    fn check(&self, shots: &[Vec<Shot>], bursts: u32, least: f64) {
        let Seen { admitted, errors, seconds, latency } = self.seen(shots);
        let fair = f64::from(RATE) * seconds;
        let most = fair + f64::from(BURST * bursts);
        assert_eq!(errors, 0, "{}", self.name);
        assert!(latency <= LATENCY_MAX, "{}: {latency:?}", self.name);
        assert!(admitted as f64 <= most, "{}: {admitted} > {most}", self.name);
        assert!(admitted as f64 >= fair * least, "{}: {admitted} of {fair}", self.name);
    }
}

#[test]
fn two_doors_share_and_lose_and_find_their_server() {
    let backend = Backend::start(|_, peer| peer.send(ok("hello")));
    let mut redis = Redis::start();
    let valve = Valve::before(redis.address());
    let doors = [valve.address(), valve.address()].map(|at| setup(&backend, at).start());
    let both = [&doors[0], &doors[1]];
    become_of(&both, "shared");
    let pressure = Pressure::on(&both.map(|door| (door, OFFERED)));
    let phases = [
        (pressure.phase("shared", || {}), 3),
        (
            pressure.phase("alone: the server was killed", || {
                redis.kill();
                become_of(&both, "alone");
            }),
            2,
        ),
        (
            pressure.phase("shared: restarted, empty", || {
                redis.revive();
                become_of(&both, "shared");
            }),
            2,
        ),
        (pressure.phase("shared: wiped, script gone", || redis.wipe()), 2),
        (
            pressure.phase("alone: the server stalls", || {
                valve.close();
                become_of(&both, "alone");
            }),
            2,
        ),
        (
            pressure.phase("shared: it answers again", || {
                valve.open();
                become_of(&both, "shared");
            }),
            2,
        ),
    ];
    let shots = pressure.finish();
    for (phase, bursts) in phases {
        phase.check(&shots, bursts, 0.9);
    }
    for door in both {
        let log = door.log();
        let told = |text: &str| log.matches(text).count();
        let (shared, alone) = (told("quotas are shared"), told("quotas are not shared"));
        assert!(alone >= 2 && shared == alone + 1, "{shared} {alone}: each change is told once");
    }
}

#[test]
fn a_question_that_nobody_waits_for_any_more_does_nothing() {
    let redis = Redis::start();
    let script = include_str!("../../crates/platform/quota/src/bank.lua");
    let ask = |latest: &str| {
        // A door that believes in two, and wants 3 of a burst of 40 at 200/s.
        let door = ["door", "2000000", "2", latest];
        redis.ask(
            &[&["EVAL", script, "2", "doors", "key"], &door[..], &["5000", "40", "0", "3"]]
                .concat(),
        )
    };
    assert_eq!(ask("1000000"), "*0\r\n", "a second after the start of 2023");
    assert_eq!(redis.ask(&["EXISTS", "doors", "key"]), ":0\r\n");
    let answer = ask("1e18");
    assert!(
        answer.starts_with("*4\r\n:") && answer.ends_with("\r\n:1\r\n:3\r\n:0\r\n"),
        "{answer}"
    );
    assert_eq!(redis.ask(&["EXISTS", "doors", "key"]), ":2\r\n");
}

#[test]
fn what_one_door_does_not_use_the_other_may() {
    let backend = Backend::start(|_, peer| peer.send(ok("hello")));
    let redis = Redis::start();
    let doors = [(); 2].map(|()| setup(&backend, redis.address()).start());
    become_of(&[&doors[0], &doors[1]], "shared");
    let pressure = Pressure::on(&[(&doors[0], OFFERED), (&doors[1], 1)]);
    let phase = pressure.phase("all at one door", || {});
    phase.check(&pressure.finish(), 3, 0.9);
}

#[test]
fn a_flood_of_keys_is_asked_for_and_nothing_waits() {
    let backend = Backend::start(|_, peer| peer.send(ok("hello")));
    let redis = Redis::start();
    let text = setup(&backend, redis.address()).text();
    let all = format!("rate = \"{RATE}/s\"\nburst = {BURST}");
    let door = Door::start(&text.replace(&all, "rate = \"100000/s\"\nburst = 100000"));
    become_of(&[&door], "shared");
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Tenant: {number}\r\n\r\n".to_owned();
    let plan = Plan { connections: 16, request, ..Plan::new(door.first_address(), 1_000) };
    let load = plan.start();
    load.pass(2_000);
    let tally = Tally::of(&load.finish());
    show(&format!("{} keys in 2 s: p99 {:?}", tally.requests, tally.latency(990)));
    assert_eq!(tally.failed, 0, "{:?}", tally.causes);
    assert!(tally.latency(900) <= LATENCY_MAX, "{:?}", tally.latency(900));
    assert_eq!(
        (state(&door), door.metric("tidegate_quota_failed_total", &[])),
        (("shared".into(), 1), 0.0)
    );
    assert!(door.metric("tidegate_quota_leased_total", &[]) >= 2_000.0);
}

#[test]
fn headers_and_clients_are_the_same_at_all_doors() {
    let backend = Backend::start(|_, peer| peer.send(ok("hello")));
    let redis = Redis::start();
    let doors = [(); 2].map(|()| setup(&backend, redis.address()).start());
    become_of(&[&doors[0], &doors[1]], "shared");
    let served = |door: &Door, header: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n");
        let mut client = Client::to(door);
        let response = client.ask(&request);
        if response.status == 429 {
            assert!(response.headers.get("retry-after").is_some(), "{response:?}");
        }
        response.status == 200
    };
    for (header, burst) in [("X-Tenant: a", 3), ("X-Api-Key: key-of-the-partner", 4)] {
        // The first uses all of it up, as soon as it has been told that it may.
        eventually("one door has used all of it up", || !served(&doors[0], header));
        let late = (0..2 * burst).filter(|_| served(&doors[1], header)).count();
        assert!(late <= burst / 2 + 1, "{header}: {late}");
        eventually("the other one knows", || !served(&doors[1], header));
    }
    assert!(served(&doors[0], "X-Tenant: b"), "another key is another quota");
}

#[test]
fn a_reload_begins_and_ends_sharing() {
    let backend = Backend::start(|_, peer| peer.send(ok("hello")));
    let redis = Redis::start();
    let door = Setup::of(&[&backend]).start();
    assert!(door.status()["admission"]["shared"].is_null());
    door.rewrite(&setup(&backend, redis.address()).text());
    assert_eq!(door.reload().status, 200);
    become_of(&[&door], "shared");
    door.rewrite(&Setup::of(&[&backend]).pool("queue_wait = \"90ms\"").text());
    assert_eq!(door.reload().status, 200);
    eventually("nothing is shared any more", || door.status()["admission"]["shared"].is_null());
    assert_eq!(Client::to(&door).get("/").status, 200);
}
