//! Changes of a running door: refused, tried, watched, undone, and what a restart makes of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use black_box::load::{Load, Tally, now, show};
use black_box::{AdminAnswer, Client, Door, PATIENCE, Sample, eventually, eventually_some};
use serde_json::{Value, json};

/// Short times, so that no test waits long.
const QUICK: &str = "[changes]\nwatch = \"3s\"\nrequests_min = 50\nmove_max = 1.0\n";

fn samples(names: &[&str]) -> Vec<Sample> {
    Sample::several(names, &["--service-time", "1ms", "--concurrency", "200"])
}

/// A door in front of servers with these weights; `more` are further tables. Nothing here is
/// about overload, for which a busy machine would be taken.
fn text(servers: &[(SocketAddr, u32)], more: &str) -> String {
    let servers: Vec<String> = servers
        .iter()
        .map(|(address, weight)| format!("{{ address = \"{address}\", weight = {weight} }}"))
        .collect();
    format!(
        "[listen.web]\naddress = \"127.0.0.1:0\"\n[pools.api]\nservers = [{}]\nadaptive = false\n\
         [routes.api]\npath = \"/\"\npool = \"api\"\n{more}",
        servers.join(", ")
    )
}

fn pair(samples: &[Sample], weights: (u32, u32), more: &str) -> String {
    let (first, second) = (samples[0].address(), samples[1].address());
    text(&[(first, weights.0), (second, weights.1)], more)
}

/// Applies a text; `more` are further keys of the order.
#[track_caller]
fn apply(door: &Door, text: &str, more: Value) -> AdminAnswer {
    let mut order = json!({ "text": door.complete(text), "reason": "a test" });
    for (key, value) in more.as_object().expect("keys") {
        order[key] = value.clone();
    }
    door.admin("POST /v1/apply", &order.to_string())
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

/// Generation `number` as it is recorded.
#[track_caller]
fn generation(door: &Door, number: u64) -> Value {
    read(door, &format!("/v1/generations/{number}"))["generation"].clone()
}

/// Generation `number` once its state is `state`; gives up after `patience`.
#[track_caller]
fn once(door: &Door, number: u64, state: &str, patience: Duration) -> Value {
    let until: Instant = now() + patience;
    loop {
        read(door, &format!("/v1/changes/wait?generation={number}&seconds=1"));
        let found = generation(door, number);
        if found["state"] == state {
            return found;
        }
        assert!(now() < until, "not {state}: {found}\n{}", read(door, "/v1/changes"));
    }
}

fn live(door: &Door) -> u64 {
    read(door, "/v1/changes")["live"].as_u64().expect("a number")
}

#[test]
fn an_applied_text_is_a_generation() {
    let samples = samples(&["one", "two"]);
    let mut door = Door::start(&pair(&samples, (1, 1), QUICK));
    let first = generation(&door, 1);
    assert_eq!((&first["state"], &first["origin"]["kind"]), (&json!("confirmed"), &json!("start")));
    let better = pair(&samples, (2, 1), QUICK);
    let answer = parsed(&apply(&door, &better, json!({ "author": "ci-bot", "base": 1 })));
    let made = &answer["generation"];
    assert_eq!((&made["number"], &made["state"]), (&json!(2), &json!("watched")), "{answer}");
    assert_eq!((&made["base"], &made["reason"]), (&json!(1), &json!("a test")), "{answer}");
    let author = made["author"].as_str().unwrap();
    assert!(author.starts_with("ci-bot (") && author.len() > 9, "{author}");
    assert!(made["changes"].to_string().contains("weight"), "{made}");
    assert_eq!(read(&door, "/v1/configuration")["text"], door.complete(&better));
    eventually("the file is seen to differ", || {
        read(&door, "/v1/changes")["drift"].to_string().contains("weight")
    });
    eventually("the snapshot says it", || door.status()["generation"] == 2);
    once(&door, 2, "confirmed", PATIENCE);

    // Nobody touched the file since: a restart serves what went live.
    door.crash();
    assert_eq!(live(&door), 2);
    assert_eq!(read(&door, "/v1/configuration")["text"], door.complete(&better));
    assert_eq!(Client::to(&door).get("/").status, 200);
}

#[test]
fn a_stale_base_is_refused() {
    let samples = samples(&["one", "two"]);
    let door = Door::start(&pair(&samples, (1, 1), QUICK));
    parsed(&apply(&door, &pair(&samples, (2, 1), QUICK), json!({ "base": 1 })));
    let late = apply(&door, &pair(&samples, (1, 2), QUICK), json!({ "base": 1 }));
    assert_eq!(late.status, 409, "{}", late.body);
    for part in ["\"stale\"", "from generation 1", "2 is live", "a test"] {
        assert!(late.body.contains(part), "{part} is not in {}", late.body);
    }
    assert_eq!(live(&door), 2);
}

#[test]
fn a_lopsided_change_is_refused_and_forced_it_is_undone() {
    let samples = samples(&["one", "two"]);
    let door = Door::start(&pair(&samples, (1, 1), ""));
    let load = Load::start(door.first_address(), 300);
    load.pass(1_000);
    let lopsided = pair(&samples, (1000, 1), "");
    let refused = apply(&door, &lopsided, json!({}));
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.body.contains(" %"), "the share is said: {}", refused.body);
    assert_eq!(live(&door), 1);
    let forced = parsed(&apply(&door, &lopsided, json!({ "force": true })));
    assert_eq!(forced["generation"]["forced"], true, "{forced}");
    let began = now();
    let undone = once(&door, 2, "rolled_back", Duration::from_secs(10));
    show(&format!("a forced lopsided change: undone after {:?}: {undone}", began.elapsed()));
    assert!(undone["verdict"].to_string().contains('%'), "{undone}");
    let back = generation(&door, 3);
    assert_eq!(back["origin"], json!({ "kind": "automatic_rollback", "to": 1 }), "{back}");
    assert_eq!(live(&door), 3);
    load.pass(200);
    let all = Tally::of(&load.finish());
    assert_eq!(all.failed, 0, "{:?}", all.causes);
}

#[test]
fn a_canary_is_promoted_or_undone() {
    let samples = samples(&["one", "two"]);
    let door = Door::start(&pair(&samples, (1, 1), QUICK));
    let load = Load::start(door.first_address(), 400);
    load.pass(200);
    let trial = json!({ "canary": 0.3, "for_seconds": 2 });
    let good = parsed(&apply(&door, &pair(&samples, (3, 2), QUICK), trial.clone()));
    assert_eq!(good["generation"]["state"], "canary", "{good}");
    assert_eq!(good["live"], 1, "{good}");
    let other = apply(&door, &pair(&samples, (2, 3), QUICK), json!({}));
    assert_eq!(other.status, 409, "one change at a time: {}", other.body);
    once(&door, 2, "confirmed", Duration::from_secs(20));
    assert_eq!(live(&door), 2);

    // The bad one sends everything to a port that nobody listens on.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bad = text(&[(nobody, 1)], QUICK);
    parsed(&apply(&door, &bad, json!({ "canary": 0.1, "for_seconds": 60, "force": true })));
    let undone = once(&door, 3, "rolled_back", Duration::from_secs(20));
    show(&format!("a bad canary: {undone}"));
    assert_eq!(live(&door), 2);
    load.pass(200);
    drop(load.finish());
}

#[test]
fn without_requests_a_canary_is_undecided() {
    let samples = samples(&["one", "two"]);
    let door = Door::start(&pair(&samples, (1, 1), QUICK));
    let trial = json!({ "canary": 0.5, "for_seconds": 1 });
    parsed(&apply(&door, &pair(&samples, (3, 2), QUICK), trial));
    let undone = once(&door, 2, "rolled_back", PATIENCE);
    assert!(undone["verdict"].to_string().contains("not enough requests"), "{undone}");
    assert_eq!(live(&door), 1);
}

#[test]
fn what_nobody_confirms_is_undone() {
    let samples = samples(&["one", "two"]);
    let mut door = Door::start(&pair(&samples, (1, 1), QUICK));
    let within = |seconds: f64| json!({ "confirm_within_seconds": seconds });
    let made = parsed(&apply(&door, &pair(&samples, (3, 2), QUICK), within(1.0)));
    assert_eq!(made["generation"]["state"], "unconfirmed", "{made}");
    let undone = once(&door, 2, "rolled_back", PATIENCE);
    assert!(undone["verdict"].to_string().contains("confirmed"), "{undone}");
    assert_eq!(live(&door), 3);

    parsed(&apply(&door, &pair(&samples, (3, 2), QUICK), within(600.0)));
    let wrong = door.admin("POST /v1/confirm", r#"{"generation": 3}"#);
    assert_eq!(wrong.status, 409, "{}", wrong.body);
    parsed(&door.admin("POST /v1/confirm", r#"{"generation": 4}"#));
    assert_eq!(generation(&door, 4)["state"], "confirmed");

    // A crash is no confirmation.
    parsed(&apply(&door, &pair(&samples, (2, 3), QUICK), within(600.0)));
    assert_eq!(live(&door), 5);
    door.crash();
    assert_eq!(live(&door), 4);
    assert_eq!(generation(&door, 5)["state"], "rolled_back");
}

#[test]
fn a_person_goes_back_and_further_back() {
    let samples = samples(&["one", "two"]);
    let door = Door::start(&pair(&samples, (1, 1), "[changes]\nwatch = \"0s\"\nmove_max = 1.0\n"));
    let quiet = "[changes]\nwatch = \"0s\"\nmove_max = 1.0\n";
    for weights in [(2, 1), (1, 2)] {
        let made = parsed(&apply(&door, &pair(&samples, weights, quiet), json!({})));
        assert_eq!(made["generation"]["state"], "confirmed", "{made}");
    }
    let back = |order: Value| door.admin("POST /v1/rollback", &order.to_string());
    for (expected, to) in [(4, 2), (5, 1)] {
        let made = parsed(&back(json!({ "reason": "too slow" })));
        assert_eq!(made["generation"]["number"], expected, "{made}");
        assert_eq!(made["generation"]["origin"], json!({ "kind": "rollback", "to": to }), "{made}");
    }
    let none = back(json!({ "reason": "further" }));
    assert_eq!(none.status, 404, "{}", none.body);
    let same = back(json!({ "reason": "again", "to": 1 }));
    assert_eq!(same.status, 409, "{}", same.body);
    parsed(&back(json!({ "reason": "forward", "to": 3 })));
    assert_eq!(live(&door), 6);
}

#[test]
fn a_file_from_the_past_is_not_taken() {
    let samples = samples(&["one", "two"]);
    let old = pair(&samples, (1, 1), QUICK);
    let mut door = Door::start(&old);
    door.rewrite(&pair(&samples, (2, 1), QUICK));
    assert_eq!(door.reload().status, 200);
    assert_eq!(generation(&door, 2)["origin"]["kind"], "reload");
    door.rewrite(&old);
    let stale = door.reload();
    assert_eq!(stale.status, 409, "{}", stale.body);
    assert!(stale.body.contains("tidegate rollback 1"), "{}", stale.body);
    door.crash();
    assert_eq!(live(&door), 2);
    assert!(door.log().contains("tidegate rollback 1"), "{}", door.log());
    // One with mistakes does not undo what is live either.
    door.rewrite("[listen.web\n");
    door.crash();
    assert_eq!(live(&door), 2);
    // A new text is a change.
    door.rewrite(&pair(&samples, (1, 2), QUICK));
    door.crash();
    assert_eq!(live(&door), 3);
    assert_eq!(generation(&door, 3)["origin"]["kind"], "start");
    assert_eq!(Client::to(&door).get("/").status, 200);
}

#[test]
fn invariants_are_facts() {
    let samples = samples(&["one", "two"]);
    let door = Door::start(&pair(&samples, (1, 1), QUICK));
    let fact = eventually_some("the facts are there", || {
        let status = door.status();
        status["invariants"].as_array().and_then(|facts| facts.first().cloned())
    });
    assert_eq!((&fact["name"], &fact["holds"]), (&json!("share_max"), &json!(true)), "{fact}");
}
