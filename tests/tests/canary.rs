//! A candidate beside what is live: both serve as one door, and nobody notices how a trial ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use black_box::load::{Load, Tally, now, show};
use black_box::{
    AdminAnswer, Backend, Client, Door, Echoes, Sample, Setup, eventually, eventually_some, ok,
};
use serde_json::{Value, json};

/// What is promoted is not watched: these tests are about the trial.
const CHANGES: &str = "[changes]\nwatch = \"0s\"\nrequests_min = 50\nmove_max = 1.0\n";
const ACCESS_LOG: &str = "[telemetry]\naccess_log = { file = \"{dir}/access\" }\n";
/// A test of chance fails wrongly less often than this.
const CHANCE: f64 = 1e-9;

/// The tests under load run one after the other: each of them keeps the machine busy.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[track_caller]
fn parsed(answer: &AdminAnswer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).expect("the answer is JSON")
}

#[track_caller]
fn read(door: &Door, path: &str) -> Value {
    parsed(&door.admin(&format!("GET {path}"), ""))
}

#[track_caller]
fn generation(door: &Door, number: u64) -> Value {
    read(door, &format!("/v1/generations/{number}"))["generation"].clone()
}

fn live(door: &Door) -> u64 {
    read(door, "/v1/changes")["live"].as_u64().expect("a number")
}

/// The version of generation `number`: what the door names in its log and its errors.
#[track_caller]
fn version(door: &Door, number: u64) -> String {
    generation(door, number)["version"].as_str().expect("a version").to_owned()
}

/// Begins a trial on this share of the requests, which ends by itself after ten minutes; gives
/// its generation.
#[track_caller]
fn try_out(door: &Door, text: &str, share: f64) -> u64 {
    let order = json!({
        "text": door.complete(text), "reason": "a test", "canary": share, "for_seconds": 600,
    });
    let answer = parsed(&door.admin("POST /v1/apply", &order.to_string()));
    assert_eq!(answer["generation"]["state"], "canary", "{answer}");
    answer["generation"]["number"].as_u64().expect("a number")
}

/// Ends the open trial as a person does.
#[track_caller]
fn end(door: &Door) {
    let answer = parsed(&door.admin("POST /v1/rollback", r#"{"reason": "enough seen"}"#));
    assert_eq!(answer["generation"]["state"], "rolled_back", "{answer}");
}

/// Promotes the open trial at once.
#[track_caller]
fn promote(door: &Door, number: u64) {
    let order = json!({ "generation": number });
    let answer = parsed(&door.admin("POST /v1/confirm", &order.to_string()));
    assert_eq!(answer["live"], number, "{answer}");
}

/// Waits until the door has undone generation `number` by itself; gives it.
#[track_caller]
fn undone(door: &Door, number: u64) -> Value {
    let until = now() + Duration::from_secs(12);
    loop {
        read(door, &format!("/v1/changes/wait?generation={number}&seconds=1"));
        let found = generation(door, number);
        if found["state"] == "rolled_back" {
            return found;
        }
        assert!(now() < until, "not rolled back: {found}\n{}", read(door, "/v1/changes"));
    }
}

/// Soon, and then always, these are the answers: the workers are told of a change before whoever
/// asked for it is, and obey when it is their turn.
#[track_caller]
fn soon_only(client: &mut Client, body: &str) {
    let mut all = |count: u32| (0..count).all(|_| client.get("/").text() == body);
    eventually("the workers obey", || all(10));
    assert!(all(300), "not every answer is {body:?}");
}

/// The probability of at most `hits` of `all`, when each hits with `chance`.
fn at_most(hits: u32, all: u32, chance: f64) -> f64 {
    let mut term = f64::from(all) * (1.0 - chance).ln();
    let mut sum = term.exp();
    for hit in 1..=hits {
        let odds = f64::from(all - hit + 1) / f64::from(hit) * chance / (1.0 - chance);
        term += odds.ln();
        sum += term.exp();
    }
    sum
}

/// The share of these is as if each had been chosen with `chance`.
#[track_caller]
fn assert_share(hits: u32, all: u32, chance: f64) {
    let few = at_most(hits, all, chance);
    let many = at_most(all - hits, all, 1.0 - chance);
    show(&format!("{hits} of {all} where {chance} is asked for"));
    assert!(few.min(many) > CHANCE, "{hits} of {all} are not {chance}");
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("tests count few things")
}

/// An address where nobody listens.
fn dead() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it has an address")
}

/// The lines of the access log, by target.
#[track_caller]
fn logged(door: &Door, at_least: usize) -> BTreeMap<String, Value> {
    let lines = door.access_lines(at_least);
    let parsed = lines.iter().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        (line["target"].as_str().expect("a target").to_owned(), line)
    });
    parsed.collect()
}

#[test]
fn a_share_is_served_by_the_candidate_and_says_so() {
    let (old, new) = (Backend::answering(ok("old")), Backend::answering(ok("new")));
    let setup = |backend: &Backend| {
        let setup = Setup::of(&[backend]).route("host = \"localhost\"").more(CHANGES);
        setup.more(ACCESS_LOG).text()
    };
    let door = Door::start(&setup(&old));
    let number = try_out(&door, &setup(&new), 0.3);
    let (first, second) = (version(&door, 1), version(&door, number));
    let mut client = Client::to(&door);
    // By target.
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    let (mut served, mut refused) = (0, 0);
    for request in 0..1_500 {
        let target = format!("/served/{request}");
        let tried = match client.get(&target).text().as_str() {
            "old" => &first,
            "new" => &second,
            other => panic!("nobody says {other:?}"),
        };
        served += u32::from(*tried == second);
        expected.insert(target, tried.clone());
        let target = format!("/refused/{request}");
        let refusal = client.ask(format!("GET {target} HTTP/1.1\r\nHost: other\r\n\r\n"));
        assert_eq!(refusal.status, 404);
        let told = refusal.json()["configuration"].as_str().expect("a version").to_owned();
        assert!([&first, &second].contains(&&told), "{told}");
        refused += u32::from(told == second);
        expected.insert(target, told);
    }
    assert_share(served, 1_500, 0.3);
    assert_share(refused, 1_500, 0.3);
    let lines = logged(&door, expected.len());
    for (target, told) in &expected {
        assert_eq!(lines[target]["configuration"], told.as_str(), "{}", lines[target]);
    }
    // What only the candidate has shows like the rest, while it is tried.
    let shown =
        || door.metric("tidegate_server_weight", &[&format!("server=\"{}\"", new.address())]);
    eventually("the candidate's server is among the metrics", || shown() > 0.5);
    end(&door);
    soon_only(&mut client, "old");
    eventually("it is no longer", || shown() < 0.5);
}

fn with_session(number: usize) -> String {
    format!("GET / HTTP/1.1\r\nHost: localhost\r\nCookie: sid={number}\r\n\r\n")
}

#[test]
fn a_session_stays_in_its_arm() {
    let (old, new) = (Backend::answering(ok("old")), Backend::answering(ok("new")));
    let setup = |backend: &Backend| {
        let setup = Setup::of(&[backend]).pool("balance = { maglev = { cookie = \"sid\" } }");
        setup.more(CHANGES).more("[door]\nworkers = 2").text()
    };
    let door = Door::start(&setup(&old));
    try_out(&door, &setup(&new), 0.3);
    // So many that both workers have some.
    let mut clients: Vec<Client> = (0..16).map(|_| Client::to(&door)).collect();
    for client in &mut clients {
        let mut other = 1_000;
        eventually("its worker has the candidate", || {
            other += 1;
            client.ask(with_session(other)).text() == "new"
        });
    }
    let mut tried = 0;
    for session in 0..500 {
        let ask = with_session(session);
        let answers: BTreeSet<String> =
            (0..4).map(|turn| clients[(session + turn * 5) % 16].ask(&ask).text()).collect();
        assert_eq!(answers.len(), 1, "session {session} is in both arms");
        tried += u32::from(answers.contains("new"));
    }
    assert_share(tried, 500, 0.3);
}

/// Asks until both arms have answered; every answer is checked, with the version that it is of.
#[track_caller]
fn in_both_arms(versions: [&str; 2], mut ask: impl FnMut() -> String) {
    let mut seen = BTreeSet::new();
    // With a half of the requests for each, all of them in one arm is beyond chance.
    for _ in 0..60 {
        let version = ask();
        assert!(versions.contains(&version.as_str()), "{version} is neither of {versions:?}");
        seen.insert(version);
        if seen.len() == 2 {
            return;
        }
    }
    panic!("one arm only: {seen:?}");
}

#[test]
fn both_arms_retry_and_answer_by_themselves() {
    let backend = Backend::answering(ok("hello"));
    let drained = Backend::answering(ok("never"));
    let text = |in_flight_max: u32| {
        format!(
            "[listen.web]\naddress = \"127.0.0.1:0\"\n\
             [pools.api]\nservers = [\"{}\", \"{}\"]\nbalance = \"round-robin\"\n\
             ejection = false\nin_flight_max = {in_flight_max}\n\
             [pools.none]\nservers = [\"{}\"]\n\
             [routes.api]\npath = \"/api\"\npool = \"api\"\n\
             [routes.item]\npath = \"/item\"\npool = \"api\"\nmethods = [\"GET\"]\n\
             [routes.none]\npath = \"/none\"\npool = \"none\"\n{CHANGES}{ACCESS_LOG}",
            backend.address(),
            dead(),
            drained.address()
        )
    };
    // The dead address must be the same one in both texts.
    let first = text(500);
    let door = Door::start(&first);
    let order = json!({ "pool": "none", "server": drained.address().to_string(), "on": true });
    let answer = door.admin("POST /v1/servers/drain", &order.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let second = first.replace("in_flight_max = 500", "in_flight_max = 600");
    let number = try_out(&door, &second, 0.5);
    let versions = [&*version(&door, 1), &*version(&door, number)];
    let mut client = Client::to(&door);
    let mut told = |method: &str, target: &str, status: u16, reason: &str| {
        let answer = client.ask(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((answer.status, answer.reason()), (status, Some(reason)), "{answer:?}");
        if status == 405 {
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
        answer.json()["configuration"].as_str().expect("a version").to_owned()
    };
    in_both_arms(versions, || told("POST", "/item", 405, "method_not_allowed"));
    in_both_arms(versions, || told("GET", "/other", 404, "no_route"));
    in_both_arms(versions, || told("GET", "/none", 503, "no_server"));
    assert!(drained.requests().is_empty(), "what is drained is so for the candidate too");
    // Each second request of an arm meets the dead server first.
    let mut asked = 0;
    let mut client = Client::to(&door);
    in_both_arms(versions, || {
        loop {
            asked += 1;
            let target = format!("/api/{asked}");
            assert_eq!(client.get(&target).status, 200, "another server was asked");
            let line = eventually_some("it is logged", || logged(&door, 1).remove(&target));
            if line["attempts"] == 2 {
                return line["configuration"].as_str().expect("a version").to_owned();
            }
        }
    });
}

fn samples(names: &[&str]) -> Vec<Sample> {
    Sample::several(names, &["--service-time", "1ms", "--concurrency", "200"])
}

/// So many WebSockets have ended, and they were opened in the arms of these generations.
#[track_caller]
fn assert_tunnels(door: &Door, expected: usize, generations: &[u64]) {
    let arms: BTreeSet<String> = generations.iter().map(|number| version(door, *number)).collect();
    let mut tunnels = Vec::new();
    eventually("all WebSockets are logged", || {
        let lines = door.access_lines(expected);
        tunnels = lines.into_iter().filter(|line| line.contains("/websocket")).collect();
        tunnels.len() == expected
    });
    let mut found = BTreeSet::new();
    for line in &tunnels {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        assert_eq!((&line["status"], &line["reason"]), (&json!(101), &Value::Null), "{line}");
        found.insert(line["configuration"].as_str().expect("a version").to_owned());
    }
    assert_eq!(found, arms);
}

#[test]
fn trials_come_and_go_unnoticed() {
    const TRIALS: u64 = 100;
    let _alone = alone();
    let samples = samples(&["old", "new"]);
    let setup = |sample: usize| {
        let setup = Setup::at(&[samples[sample].address()]).never_overloaded();
        setup.more("[door]\nworkers = 2").more(CHANGES).more(ACCESS_LOG)
    };
    let door = setup(0).start();
    let first = try_out(&door, &setup(1).text(), 0.5);
    // So many that both arms have some; those of the candidate outlive it.
    let tried = Echoes::start(door.first_address(), 40);
    let load = Load::start(door.first_address(), 300);
    load.pass(100);
    end(&door);
    let before = tried.echoed();
    let began = now();
    for trial in 1..=TRIALS {
        let candidate = setup(1).pool(&format!("in_flight_max = {}", 1_000 + trial));
        let number = try_out(&door, &candidate.text(), 0.5);
        assert_eq!(number, first + trial);
        load.pass(2);
        end(&door);
    }
    show(&format!("{TRIALS} trials in {:?}", began.elapsed()));
    assert!(tried.echoed() > before + 40 * 5, "the WebSockets went on");

    // Of the last trial, too, and over its promotion.
    let last = try_out(&door, &setup(1).text(), 0.5);
    let promoted = Echoes::start(door.first_address(), 40);
    promote(&door, last);
    let before = (tried.echoed(), promoted.echoed());
    let mark = load.pass(200);
    assert!(tried.echoed() > before.0 && promoted.echoed() > before.1, "they went on");
    tried.finish();
    assert_tunnels(&door, 40, &[1, first]);
    promoted.finish();
    assert_tunnels(&door, 80, &[1, first, last]);
    load.pass(100);
    let opened = load.opened();
    let shots = load.finish();
    let all = Tally::of(&shots);
    show(&format!("trials come and go  {}", all.row()));
    assert_eq!(all.failed, 0, "{:?}", all.causes);
    assert_eq!(opened, 64, "a connection was closed");
    assert!(all.servers["new"] > 50 && all.servers["old"] > 50, "{:?}", all.servers);
    let after = Tally::between(&shots, mark, Duration::MAX);
    assert_eq!(after.servers.get("old"), None, "what was promoted serves all");
    assert_eq!(live(&door), last);
    for number in first..last {
        let generation = generation(&door, number);
        assert_eq!(generation["state"], "rolled_back", "{generation}");
        assert!(generation["verdict"].to_string().contains("enough seen"), "{generation}");
    }
}

/// Where the listener `name`, which came later, listens.
fn announced(door: &Door, name: &str) -> Option<SocketAddr> {
    let stdout = door.stdout();
    let line = stdout.lines().rfind(|line| line.ends_with(&format!(" name={name}")))?;
    line.strip_prefix("listening on ")?.split(' ').next()?.parse().ok()
}

#[test]
fn listeners_change_at_the_promotion() {
    let (old, new) = (Backend::answering(ok("old")), Backend::answering(ok("new")));
    let before = Setup::of(&[&old]).more("[listen.less]\naddress = \"127.0.0.1:0\"").more(CHANGES);
    let after = Setup::of(&[&new]).more("[listen.more]\naddress = \"127.0.0.1:0\"").more(CHANGES);
    let door = before.start();
    let less = door.address("less");
    let mut old_connection = Client::connect(less);
    let number = try_out(&door, &after.text(), 0.5);
    let mut both = |mut client: Client| {
        let arms = ["old", "new"];
        in_both_arms(arms, || client.get("/").text());
        // The open connection is served by both, too.
        in_both_arms(arms, || old_connection.get("/").text());
    };
    both(Client::connect(less));
    both(Client::to(&door));
    assert_eq!(announced(&door, "more"), None, "a trial opens nothing");
    promote(&door, number);
    let more = eventually_some("the listener is announced", || announced(&door, "more"));
    assert_eq!(Client::connect(more).get("/").text(), "new");
    eventually("the port is closed", || TcpStream::connect(less).is_err());
    old_connection.expect_closed();
}

#[test]
fn what_cannot_listen_is_not_promoted() {
    let (old, new) = (Backend::answering(ok("old")), Backend::answering(ok("new")));
    let door = Setup::of(&[&old]).more(CHANGES).start();
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = taken.local_addr().expect("it has an address");
    let listener = format!("[listen.more]\naddress = \"{address}\"");
    let number = try_out(&door, &Setup::of(&[&new]).more(&listener).more(CHANGES).text(), 0.5);
    let order = json!({ "generation": number });
    let answer = door.admin("POST /v1/confirm", &order.to_string());
    assert_eq!(answer.status, 422, "{}", answer.body);
    let generation = generation(&door, number);
    assert_eq!(generation["state"], "rolled_back", "{generation}");
    for part in ["cannot be promoted", &address.to_string()] {
        assert!(generation["verdict"].to_string().contains(part), "{part}: {generation}");
    }
    assert_eq!(live(&door), 1);
    soon_only(&mut Client::to(&door), "old");
}

/// Tries `candidate` on a share of the load until the door undoes it; gives its generation, the
/// requests since the trial began, and those since its end.
#[track_caller]
fn harmful(door: &Door, candidate: &Setup, share: f64) -> (Value, Tally, Tally) {
    let load = Load::start(door.first_address(), 300);
    load.pass(300);
    let from = load.mark();
    let number = try_out(door, &candidate.text(), share);
    let began = now();
    let generation = undone(door, number);
    show(&format!("undone after {:?}: {}", began.elapsed(), generation["verdict"]));
    // What is in flight ends in the arm it began in.
    let to = load.pass(20);
    load.pass(200);
    let shots = load.finish();
    let (during, after) =
        (Tally::between(&shots, from, to), Tally::between(&shots, to, Duration::MAX));
    show(&format!("during  {}", during.row()));
    show(&format!("after   {}", after.row()));
    assert_eq!(live(door), 1);
    (generation, during, after)
}

#[test]
fn a_candidate_that_fails_is_undone() {
    let _alone = alone();
    let samples = samples(&["one", "two", "failing"]);
    samples[2].control("{\"error_rate\": 0.3}");
    let before = Setup::at(&[samples[0].address(), samples[1].address()]);
    let before = before.never_overloaded().more(CHANGES);
    // The added server gets all that the candidate serves: beside others, the pool itself would
    // soon avoid it, and hide how soon the trial ends.
    let added =
        format!("[pools.added]\nservers = [\"{}\"]\nadaptive = false\n", samples[2].address());
    let route = "[routes.added]\npath = \"/\"\nhost = \"localhost\"\npool = \"added\"\n";
    let door = before.start();
    let (generation, during, after) = harmful(&door, &before.more(&added).more(route), 0.3);
    let verdict = generation["verdict"].to_string();
    assert!(verdict.contains("failed, of the live generation"), "{verdict}");
    let (failed, all) = (count(during.failed), count(during.requests));
    let beyond = at_most(all - failed, all, 1.0 - 0.3 * 0.3);
    assert!(failed > 0 && beyond > CHANCE, "{failed} of {all} failed");
    assert_eq!((after.failed, after.servers.get("failing")), (0, None), "{:?}", after.causes);
}

#[test]
fn a_candidate_that_loses_a_route_is_undone() {
    let _alone = alone();
    let samples = samples(&["one", "two"]);
    let before = Setup::at(&[samples[0].address(), samples[1].address()]);
    let before = before.never_overloaded().more(CHANGES);
    let door = before.start();
    let candidate = before.clone().route("host = \"moved.example\"");
    let (generation, _, after) = harmful(&door, &candidate, 0.3);
    let verdict = generation["verdict"].to_string();
    assert!(verdict.contains("failed, of the live generation"), "{verdict}");
    assert_eq!(after.failed, 0, "{:?}", after.causes);
}

#[test]
fn a_candidate_that_is_slow_is_undone() {
    let _alone = alone();
    let arguments = |time| ["--service-time", time, "--concurrency", "200"];
    let quick = Sample::several(&["one", "two"], &arguments("10ms"));
    let slow = Sample::several(&["slow", "slower"], &arguments("30ms"));
    let setup = |servers: &[Sample]| {
        let addresses: Vec<SocketAddr> = servers.iter().map(Sample::address).collect();
        Setup::at(&addresses).never_overloaded().more(CHANGES)
    };
    let door = setup(&quick).start();
    let (generation, during, after) = harmful(&door, &setup(&slow), 0.2);
    let verdict = generation["verdict"].to_string();
    assert!(verdict.contains("of the live generation") && verdict.contains("p9"), "{verdict}");
    let slow =
        during.servers.get("slow").unwrap_or(&0) + during.servers.get("slower").unwrap_or(&0);
    assert!(slow > 0, "it was tried");
    // The marks are a moment off the trial: fewer than asked for prove nothing.
    let (slow, all) = (count(slow), count(during.requests));
    assert!(at_most(all - slow, all, 0.8) > CHANCE, "{slow} of {all} were slow");
    assert_eq!((during.failed, after.failed), (0, 0));
    assert_eq!(after.servers.get("slow"), None);
}

/// The recording's numbers add up for `requests` requests.
#[track_caller]
fn assert_adds_up(recording: &Value, requests: u64) {
    assert_eq!(recording["requests"], requests, "all are counted");
    let kept = recording["kept"].as_array().expect("a list");
    let span = recording["span_ms"].as_u64().expect("a number");
    let number = |request: &Value, key: &str| request[key].as_u64().expect("a number");
    let weights: u64 = kept.iter().map(|request| number(request, "w")).sum();
    // One worker keeps 65,536 requests of 300 seconds. A second's weights are off by less than
    // its last run, which is at most twice what the second needed.
    let share = 65_536 / 300;
    let off_max =
        if requests <= share { 0 } else { (span / 1_000 + 2) * (2 * requests / share + 1) };
    show(&format!("{} of {requests} kept, weights {weights}", kept.len()));
    assert!(weights.abs_diff(requests) <= off_max, "{weights} of {requests}, {off_max} allowed");
    let times: Vec<u64> = kept.iter().map(|request| number(request, "t")).collect();
    assert!(times.is_sorted() && times.last().is_none_or(|last| *last <= span), "{times:?}");
}

/// The recording once it has this many requests, which add up.
#[track_caller]
fn recording(door: &Door, requests: u64) -> Value {
    let recording = eventually_some("all have ended", || {
        let recording = read(door, "/v1/recording");
        (recording["requests"] == requests).then_some(recording)
    });
    assert_adds_up(&recording, requests);
    recording
}

/// What is said of each request is plausible; gives their number for each server.
#[track_caller]
fn requests_by_server(recording: &Value) -> BTreeMap<String, usize> {
    let name = |list: &str, index: &Value| -> Value {
        let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
        recording[list][index.expect("an index")].clone()
    };
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    for request in recording["kept"].as_array().expect("a list") {
        let (route, server) = (name("routes", &request["r"]), name("servers", &request["s"]));
        assert_eq!(server[0], route, "each route has the pool of its name");
        let bytes = if route == "slow" { 6 } else { 5 };
        assert_eq!((&request["w"], &request["b"]), (&json!(1), &json!(bytes)), "{request}");
        let us = request["u"].as_u64().expect("a number");
        assert!(us > 0 && (route != "slow" || us >= 20_000), "{request}");
        assert!(us / 1_000 <= recording["span_ms"].as_u64().expect("a number"), "{request}");
        keys.insert(request["k"].as_u64().expect("a number"));
        *found.entry(server[1].as_str().expect("an address").to_owned()).or_default() += 1;
    }
    assert_eq!(keys.len(), 1, "there is one client");
    found
}

#[test]
fn the_recording_tells_what_was_asked() {
    let slow = Backend::start(|_, peer| {
        let until = now() + Duration::from_millis(20);
        while let Some(left) = until.checked_duration_since(now()) {
            std::thread::park_timeout(left);
        }
        peer.send(ok("slowly"));
    });
    let quick = [Backend::answering(ok("quick")), Backend::answering(ok("quick"))];
    let text = format!(
        "[listen.web]\naddress = \"127.0.0.1:0\"\n\
         [pools.quick]\nservers = [\"{}\", \"{}\"]\n[pools.slow]\nservers = [\"{}\"]\n\
         [routes.quick]\npath = \"/quick\"\npool = \"quick\"\n\
         [routes.slow]\npath = \"/slow\"\npool = \"slow\"\n\
         [routes.own]\npath = \"/own\"\nrespond = {{ status = 200 }}\n",
        quick[0].address(),
        quick[1].address(),
        slow.address()
    );
    let door = Door::start(&text);
    assert_eq!(recording(&door, 0)["kept"], json!([]));
    let mut client = Client::to(&door);
    for _ in 0..30 {
        for target in ["/slow", "/quick", "/quick", "/quick", "/own"] {
            assert_eq!(client.get(target).status, 200);
        }
    }
    // So few are all kept; what the door answers by itself is not recorded.
    let mut found = requests_by_server(&recording(&door, 120));
    for backend in quick.iter().chain([&slow]) {
        let counted = found.remove(&backend.address().to_string()).unwrap_or(0);
        assert_eq!(counted, backend.requests().len());
    }
    assert!(found.is_empty(), "{found:?}");

    // More than a second may keep: a fair sample of them.
    let mut clients: Vec<Client> = (0..8).map(|_| Client::to(&door)).collect();
    for _ in 0..750 {
        for client in &mut clients {
            client.send("GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.response().status, 200);
        }
    }
    let kept = recording(&door, 6_120)["kept"].as_array().map_or(0, Vec::len);
    assert!(kept < 4_000, "{kept} are kept");
}

#[test]
fn a_rollback_to_a_number_ends_a_trial_too() {
    let backends = ["first", "second", "third"].map(|name| Backend::answering(ok(name)));
    let text = |index: usize| Setup::of(&[&backends[index]]).more(CHANGES).text();
    let door = Door::start(&text(0));
    let applied = json!({ "text": door.complete(&text(1)), "reason": "a test" });
    parsed(&door.admin("POST /v1/apply", &applied.to_string()));
    let back = |to: u64| {
        let order = json!({ "to": to, "reason": "enough seen" });
        door.admin("POST /v1/rollback", &order.to_string())
    };
    let mut client = Client::to(&door);
    soon_only(&mut client, "second");

    assert_eq!(try_out(&door, &text(2), 0.5), 3);
    let unknown = back(99);
    assert_eq!(unknown.status, 404, "{}", unknown.body);
    assert_eq!(generation(&door, 3)["state"], "canary", "what is refused changes nothing");
    in_both_arms(["second", "third"], || client.get("/").text());
    let ended = parsed(&back(2));
    assert_eq!((&ended["live"], &ended["generation"]["number"]), (&json!(2), &json!(3)));
    assert_eq!(generation(&door, 3)["state"], "rolled_back");
    soon_only(&mut client, "second");

    assert_eq!(try_out(&door, &text(2), 0.5), 4);
    let made = parsed(&back(1));
    assert_eq!((&made["live"], &made["open"]), (&json!(5), &Value::Null), "{made}");
    let states = [2, 4, 5].map(|number| generation(&door, number)["state"].clone());
    assert_eq!(states, ["rolled_back", "rolled_back", "confirmed"]);
    soon_only(&mut client, "first");
}

#[test]
fn a_reload_of_the_same_file_leaves_a_trial_as_it_is() {
    let (old, new) = (Backend::answering(ok("old")), Backend::answering(ok("new")));
    let door = Setup::of(&[&old]).more(CHANGES).start();
    let number = try_out(&door, &Setup::of(&[&new]).more(CHANGES).text(), 0.5);
    let mut client = Client::to(&door);
    for _ in 0..3 {
        // Certificates may have to be read again at any time.
        let answer = door.reload();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(generation(&door, number)["state"], "canary");
        in_both_arms(["old", "new"], || client.get("/").text());
    }
    door.rewrite(&Setup::of(&[&old, &new]).more(CHANGES).text());
    let refused = door.reload();
    assert_eq!(refused.status, 409, "{}", refused.body);
    let progress = || read(&door, "/v1/changes")["progress"].to_string();
    let before = progress();
    eventually("its seconds are still judged", || progress() != before);
    promote(&door, number);
    soon_only(&mut client, "new");
}

#[test]
fn a_crash_ends_a_trial() {
    let (old, new) = (Backend::answering(ok("old")), Backend::answering(ok("new")));
    let mut door = Setup::of(&[&old]).more(CHANGES).start();
    let number = try_out(&door, &Setup::of(&[&new]).more(CHANGES).text(), 0.5);
    let mut client = Client::to(&door);
    in_both_arms(["old", "new"], || client.get("/").text());
    door.crash();
    assert_eq!(live(&door), 1);
    let generation = generation(&door, number);
    assert_eq!(generation["state"], "rolled_back", "{generation}");
    assert!(generation["verdict"].as_str().is_some_and(|why| !why.is_empty()), "{generation}");
    assert_eq!(read(&door, "/v1/changes")["open"], Value::Null);
    let before = new.requests().len();
    let mut client = Client::to(&door);
    for _ in 0..60 {
        assert_eq!(client.get("/").text(), "old");
    }
    assert_eq!(new.requests().len(), before);
    // The door takes the next one.
    let next = try_out(&door, &Setup::of(&[&new]).more(CHANGES).text(), 0.5);
    assert_eq!(next, number + 1);
    promote(&door, next);
    soon_only(&mut client, "new");
}
