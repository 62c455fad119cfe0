//! Registered clients: the switch that turns one off, what is said of those who send, and what of
//! it outlives restarts and reloads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use black_box::load::{now, show};
use black_box::{
    Backend, Client, Door, Finished, Setup, eventually, eventually_some, ok, tidegate,
};
use serde_json::{Value, json};

const PARTNER: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: key-of-the-partner\r\n\r\n";
const STRANGER: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const REGISTERED: &str =
    "[clients.partner]\nkey = { header = \"x-api-key\", value = \"key-of-the-partner\" }\n";
/// In which a client that is disabled is refused.
const EFFECT_MAX: Duration = Duration::from_millis(100);
/// In which the sender of a flood is named.
const NAMED_WITHIN: Duration = Duration::from_secs(5);

fn backend() -> Backend {
    Backend::start(|_, peer| peer.send(ok("hello")))
}

fn setup(backend: &Backend) -> Setup {
    Setup::of(&[backend]).more("[door]\nworkers = 2\ndrain = \"1s\"")
}

/// The status of one request on a connection of its own.
#[track_caller]
fn status(door: &Door, request: &str) -> u16 {
    Client::to(door).ask(request).status
}

fn run(door: &Door, arguments: &[&str]) -> Finished {
    let socket = door.socket().display().to_string();
    tidegate(&[arguments, &["--socket", &socket]].concat())
}

/// Runs a command and looks for these parts in what it says.
#[track_caller]
fn check(door: &Door, arguments: &[&str], code: i32, parts: &[&str]) {
    let finished = run(door, arguments);
    assert_eq!(finished.code, Some(code), "{arguments:?}: {finished:?}");
    for part in parts {
        let said = finished.stdout.contains(part) || finished.stderr.contains(part);
        assert!(said, "{arguments:?}: {part:?} is missing: {finished:?}");
    }
}

#[track_caller]
fn json_of(door: &Door, arguments: &[&str]) -> Value {
    let finished = run(door, &[arguments, &["--json"]].concat());
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| {
        panic!("{arguments:?}: {error}: {finished:?}");
    })
}

/// Switches over the admin interface.
#[track_caller]
fn switch(door: &Door, what: &str) {
    let body = json!({ "client": "partner", "reason": "a test" }).to_string();
    let answer = door.admin(&format!("POST /v1/clients/{what}"), &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Asks on one connection until told to stop: when each request was sent, and its status.
fn ask_often(door: &Door, stop: &AtomicBool) -> Vec<(Instant, u16)> {
    let mut client = Client::to(door);
    let mut answers = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let sent = now();
        answers.push((sent, client.ask(PARTNER).status));
    }
    answers
}

#[test]
fn a_disabled_client_is_refused_at_once() {
    let backend = backend();
    let door = setup(&backend).more(REGISTERED).start();
    let mut stranger = Client::to(&door);
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let stop = AtomicBool::new(false);
        let (asked, answered, shots) = std::thread::scope(|scope| {
            // One connection for each worker, or more.
            let askers: Vec<_> = (0..4).map(|_| scope.spawn(|| ask_often(&door, &stop))).collect();
            eventually("all ask", || status(&door, PARTNER) == 200);
            let asked = now();
            switch(&door, "disable");
            let answered = now();
            assert_eq!(status(&door, PARTNER), 403);
            assert_eq!(stranger.ask(STRANGER).status, 200, "others are served");
            stop.store(true, Ordering::SeqCst);
            let shots = askers.into_iter().flat_map(|asker| asker.join().expect("it asks"));
            (asked, answered, shots.collect::<Vec<_>>())
        });
        let served = shots.iter().filter(|(_, status)| *status == 200).map(|(sent, _)| *sent);
        let last = served.max().unwrap_or(asked);
        longest = longest.max(last.saturating_duration_since(asked));
        assert!(last <= answered, "a request was served that was sent after the answer");
        assert!(shots.iter().all(|(_, status)| matches!(status, 200 | 403)), "{shots:?}");
        switch(&door, "enable");
        assert_eq!(status(&door, PARTNER), 200);
    }
    show(&format!("20 times disabled: the last request served was sent {longest:?} later"));
    assert!(longest <= EFFECT_MAX, "{longest:?}");
}

#[test]
fn what_is_disabled_by_hand_stays_disabled() {
    let backend = backend();
    let setup = setup(&backend).more("[changes]\nwatch = \"1s\"");
    let mut door = setup.clone().more(REGISTERED).start();
    switch(&door, "disable");
    door.crash();
    assert_eq!(status(&door, PARTNER), 403, "after a crash");
    let other = format!("{REGISTERED}rate = \"50/s\"\n");
    door.rewrite(&setup.clone().more(&other).text());
    assert_eq!(door.reload().status, 200);
    assert_eq!(status(&door, PARTNER), 403, "after a reload");
    switch(&door, "enable");
    assert_eq!(status(&door, PARTNER), 200);
    door.crash();
    assert_eq!(status(&door, PARTNER), 200, "enabled, and after a crash");

    // What leaves the configuration, and stays away, is forgotten.
    switch(&door, "disable");
    door.rewrite(&setup.text());
    assert_eq!(door.reload().status, 200);
    assert_eq!(status(&door, PARTNER), 200, "it is a stranger now");
    eventually("the change is confirmed, and the client forgotten", || {
        let switches = door.admin("GET /v1/switches?limit=1", "").body;
        switches.contains("no longer in the configuration")
    });
    door.rewrite(&setup.more(&format!("{REGISTERED}rate = \"60/s\"\n")).text());
    assert_eq!(door.reload().status, 200);
    assert_eq!(status(&door, PARTNER), 200, "it is registered again");
}

#[test]
fn the_commands_say_who_why_and_the_way_back() {
    let backend = backend();
    let off = "[clients.off]\nkey = { network = [\"192.0.2.0/24\"] }\nenabled = false\n";
    let door = setup(&backend).more(REGISTERED).more(off).start();
    check(&door, &["client", "list"], 0, &["partner", "enabled", "off", "disabled"]);
    check(&door, &["client", "disable", "partner"], 2, &["--reason"]);
    check(&door, &["client", "disable", "nobody", "--reason", "x"], 1, &["client list"]);
    check(&door, &["client", "show", "nobody"], 1, &["client list"]);
    let disable = ["client", "disable", "partner", "--reason", "a flood", "--author", "ada"];
    check(&door, &disable, 0, &["partner is disabled", "tidegate client enable partner"]);
    check(&door, &disable, 0, &["disabled already", "ada (", "a flood"]);
    check(&door, &["client", "list"], 0, &["disabled", "by ada (", "a flood"]);
    check(&door, &["client", "show", "partner"], 0, &["a flood", "client enable partner"]);
    check(&door, &["history"], 0, &["GENERATION", "SWITCHED", "a flood"]);
    check(&door, &["client", "enable", "off", "--reason", "x"], 1, &["enabled = false"]);
    let enabled = json_of(&door, &["client", "enable", "partner", "--reason", "it stopped"]);
    assert!(
        enabled["result"].as_str().is_some_and(|told| told.contains("is enabled")),
        "{enabled}"
    );
    let shown = json_of(&door, &["client", "show", "partner"]);
    let switches: Vec<_> = ["it stopped", "a flood"].into_iter().map(Value::from).collect();
    let told: Vec<_> = shown["switches"].as_array().into_iter().flatten().collect();
    let reasons: Vec<_> = told.iter().map(|switch| switch["reason"].clone()).collect();
    assert_eq!((reasons, &shown["client"]["enabled"]), (switches, &Value::from(true)));
    let listed = json_of(&door, &["client", "list"]);
    let names: Vec<_> = listed.as_array().into_iter().flatten().map(|c| &c["name"]).collect();
    assert_eq!(names, ["partner", "off"]);
}

#[test]
fn refusals_are_in_the_log_the_metrics_and_the_status() {
    let backend = backend();
    let registered = format!("{REGISTERED}class = \"important\"\n");
    let log = "[telemetry]\naccess_log = { file = \"{dir}/access\" }";
    let door = setup(&backend).more(&registered).more(log).start();
    assert_eq!((status(&door, PARTNER), status(&door, STRANGER)), (200, 200));
    switch(&door, "disable");
    assert_eq!(status(&door, PARTNER), 403);
    let lines: Vec<Value> = door
        .access_lines(3)
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    let told = |of: &dyn Fn(&Value) -> bool| lines.iter().filter(|line| of(line)).count();
    let partner = |line: &Value| line["client_name"] == "partner" && line["class"] == "important";
    assert_eq!(told(&partner), 2, "{lines:?}");
    assert_eq!(told(&|line| line["reason"] == "client_disabled"), 1, "{lines:?}");
    let metric = |name: &str, label: &str| door.metric(name, &[label]);
    let refused = "reason=\"client_disabled\"";
    eventually("a second has passed", || {
        metric("tidegate_admission_refused_total", refused) >= 1.0
    });
    let partner = "client=\"partner\"";
    assert!(metric("tidegate_client_requests_total", partner) >= 2.0);
    assert!(metric("tidegate_client_refused_total", partner) >= 1.0);
    assert!(metric("tidegate_client_enabled", partner) < 0.5);
    check(&door, &["status"], 0, &["CLIENT", "partner", "disabled"]);
}

#[test]
fn what_is_only_observed_is_counted_and_served() {
    let backend = backend();
    let registered = format!("{REGISTERED}routes = [\"other\"]\n");
    let other = "[routes.other]\npath = \"/other\"\npool = \"api\"\n";
    let observe = "[admission]\nobserve = true\n";
    let door = setup(&backend).more(&registered).more(other).more(observe).start();
    assert_eq!(status(&door, PARTNER), 200);
    let reason = "reason=\"client_route\"";
    eventually("a second has passed", || {
        door.metric("tidegate_admission_observed_total", &[reason]) >= 1.0
    });
    assert!(door.metric("tidegate_admission_refused_total", &[reason]) < 0.5);
    switch(&door, "disable");
    assert_eq!(status(&door, PARTNER), 403, "the switch works all the same");
}

/// Floods the door on one connection from 127.0.0.2 until told to stop.
fn flood(door: &Door, request: &str, stop: &AtomicBool) {
    let own = "127.0.0.2".parse().expect("an address");
    let mut client = Client::connect_from(own, door.first_address());
    while !stop.load(Ordering::SeqCst) {
        client.ask(request);
    }
}

/// Whoever sends `request` in a flood is called `name` by `status`, in time.
#[track_caller]
fn check_named(request: &str, name: &str) {
    let backend = backend();
    let door = setup(&backend).more(REGISTERED).start();
    let mut polite = Client::to(&door);
    let stop = AtomicBool::new(false);
    let named = std::thread::scope(|scope| {
        let floods: Vec<_> = (0..2).map(|_| scope.spawn(|| flood(&door, request, &stop))).collect();
        let began = now();
        let named = eventually_some("the flood is named", || {
            polite.ask(STRANGER);
            let first = &door.status()["admission"]["talkers"][0];
            let most = first["share"].as_f64().is_some_and(|share| share > 0.5);
            (first["name"] == name && most).then(|| began.elapsed())
        });
        check(&door, &["status"], 0, &["WHO SENDS THE MOST", name]);
        stop.store(true, Ordering::SeqCst);
        floods.into_iter().for_each(|flood| flood.join().expect("it floods"));
        named
    });
    show(&format!("{name} is named after {named:?}"));
    assert!(named <= NAMED_WITHIN, "{named:?}");
}

#[test]
fn the_sender_of_a_flood_is_named() {
    check_named(STRANGER, "127.0.0.2");
    check_named(PARTNER, "partner");
}
