//! Changes at scale: a thousand of them go unnoticed, and a crash in the middle of one leaves
//! exactly one whole generation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use black_box::load::{Load, Tally, now, show};
use black_box::{AdminAnswer, Client, Door, Echoes, Sample, Setup, ask_admin};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const APPLIES: u64 = 1_000;
const ROLLBACKS: u64 = 100;
/// Requests per second.
const RATE: u32 = 300;

/// The tests of this file run one after the other: each of them keeps the machine busy.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn addresses(samples: &[Sample]) -> Vec<SocketAddr> {
    samples.iter().map(Sample::address).collect()
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

/// Every generation that is kept, oldest first.
#[track_caller]
fn history(door: &Door) -> Vec<Value> {
    let mut newest_first: Vec<Value> = Vec::new();
    loop {
        let before = newest_first.last().map(|oldest| format!("&before={}", oldest["number"]));
        let path = format!("/v1/generations?limit=1000{}", before.unwrap_or_default());
        let page = read(door, &path);
        let page = page.as_array().expect("a list of generations");
        if page.is_empty() {
            newest_first.reverse();
            return newest_first;
        }
        newest_first.extend(page.iter().cloned());
    }
}

/// The history is numbered from 1 without gaps; gives it.
#[track_caller]
fn whole_history(door: &Door) -> Vec<Value> {
    let history = history(door);
    for (generation, expected) in history.iter().zip(1_u64..) {
        assert_eq!(generation["number"], expected, "a gap before {generation}");
    }
    history
}

#[test]
fn a_thousand_changes_go_unnoticed() {
    let _alone = alone();
    let mut samples = Sample::several(
        &["one", "two", "three", "drained"],
        &["--service-time", "1ms", "--concurrency", "200"],
    );
    samples.push(Sample::start("slow", &["--service-time", "30ms", "--concurrency", "200"]));
    // What is learned anew would show as a slow start, which here takes longer than any second.
    let setup = Setup::at(&addresses(&samples))
        .never_overloaded()
        .pool("slow_start = \"20s\"")
        .more("[door]\nworkers = 2\ndrain = \"5s\"")
        .more("[changes]\nhistory_max = 2000\nmove_max = 1.0");
    let door = setup.start();
    let drained = samples[3].address().to_string();
    let order = json!({ "pool": "api", "server": drained, "on": true });
    let answer = door.admin("POST /v1/servers/drain", &order.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let echoes = Echoes::start(door.first_address(), 20);
    let load = Load::start(door.first_address(), RATE);
    load.pass(1_000);
    let (from, echoed) = (load.mark(), echoes.echoed());
    let began = door.status()["uptime_seconds"].as_u64().expect("a number");
    let requests = door.metric("tidegate_server_requests_total", &[]);

    let longest = change_often(&door, &setup);

    let to = load.mark();
    load.pass(300);
    assert!(echoes.echoed() - echoed > 20 * 20, "the WebSockets went on");
    echoes.finish();
    let opened = load.opened();
    let shots = load.finish();
    let (before, during) =
        (Tally::between(&shots, Duration::ZERO, from), Tally::between(&shots, from, to));
    show(&format!(
        "{APPLIES} applies, {ROLLBACKS} rollbacks in {:?}, longest {longest:?}",
        to - from
    ));
    show(&format!("before  {}", before.row()));
    show(&format!("during  {}  {opened} connections opened for 64", during.row()));
    let all = Tally::of(&shots);
    assert_eq!(all.failed, 0, "{:?}", all.causes);
    assert_eq!(opened, 64, "a connection was closed");

    assert_learned_kept(&door, began, &drained, &samples[4].address().to_string());
    let share = (before.share("slow"), during.share("slow"));
    show(&format!("share of the slow server: {share:?}"));
    assert!(share.1 < share.0 * 1.5 + 0.03, "it is still known to be slow: {share:?}");
    assert!(door.metric("tidegate_server_requests_total", &[]) >= requests + f64::from(RATE));
    assert_history(&door);
}

/// Applies and rolls back; gives how long the longest of them took.
fn change_often(door: &Door, setup: &Setup) -> Duration {
    let mut longest = Duration::ZERO;
    for round in 0..APPLIES + ROLLBACKS {
        let began = now();
        let answer = if round % 11 == 10 {
            // The texts of neighbours differ.
            let order = json!({ "to": round - 1, "reason": format!("back in round {round}") });
            door.admin("POST /v1/rollback", &order.to_string())
        } else {
            let changed = match round % 3 {
                0 => setup.clone().pool(&format!("in_flight_max = {}", 5_000 + round)),
                1 => setup.clone().route(&format!("total_timeout = \"{}s\"", 2_000 + round)),
                _ => {
                    setup.clone().listen(&format!("limits = {{ headers = {} }}", 100 + round % 99))
                }
            };
            let text = door.complete(&changed.text());
            let order =
                json!({ "text": text, "reason": format!("round {round}"), "base": round + 1 });
            door.admin("POST /v1/apply", &order.to_string())
        };
        assert_eq!(parsed(&answer)["live"], round + 2, "{}", answer.body);
        longest = longest.max(began.elapsed());
    }
    longest
}

/// In no second since `began` did a server start anew, and what was drained stays drained.
#[track_caller]
fn assert_learned_kept(door: &Door, began: u64, drained: &str, slow: &str) {
    // In HTTP/1.0 the list comes whole, without chunks.
    let answer = ask_admin(&door.socket(), "GET /v1/history?seconds=3600 HTTP/1.0", "");
    let seconds = parsed(&answer.expect("the admin interface answers"));
    let since: Vec<&Value> = seconds
        .as_array()
        .expect("a list of seconds")
        .iter()
        .filter(|second| second["uptime_seconds"].as_u64() > Some(began))
        .collect();
    assert!(since.len() > 2, "only {} seconds", since.len());
    for second in since {
        let servers = second["pools"][0]["servers"].as_array().expect("a pool has servers");
        assert_eq!(servers.len(), 5, "{servers:?}");
        for server in servers {
            let state = if server["address"] == drained { "draining" } else { "up" };
            assert_eq!(server["state"], state, "{second}");
            let known = server["address"] != slow || server["ewma_us"].as_u64() > Some(5_000);
            assert!(known, "{second}");
        }
    }
}

/// All changes are there, by their reasons, and only the newest is live.
#[track_caller]
fn assert_history(door: &Door) {
    let history = whole_history(door);
    assert_eq!(history.len() as u64, 1 + APPLIES + ROLLBACKS);
    for (generation, round) in history.iter().skip(1).zip(0_u64..) {
        let (reason, kind) = match round % 11 {
            10 => (format!("back in round {round}"), "rollback"),
            _ => (format!("round {round}"), "apply"),
        };
        assert_eq!(generation["reason"], reason, "{generation}");
        assert_eq!(generation["origin"]["kind"], kind, "{generation}");
        assert_eq!(generation["base"], round + 1, "{generation}");
        assert!(generation["changes"].as_array().is_some_and(|c| !c.is_empty()), "{generation}");
    }
    let (newest, older) = history.split_last().expect("there are generations");
    assert_eq!(read(door, "/v1/configuration")["generation"], *newest);
    let open = older.iter().filter(|old| old["state"] == "watched").count();
    assert_eq!(open, 0, "one is watched at most");
}

#[test]
fn a_crash_leaves_one_whole_generation() {
    let _alone = alone();
    crash_often(40, 20_261_121);
}

#[test]
#[ignore = "long: 200 crashes take a minute or two"]
fn two_hundred_crashes_leave_one_whole_generation() {
    let _alone = alone();
    crash_often(200, 4_711);
}

/// What was asked for when the process was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// An apply that is watched, and stays.
    Apply,
    /// One that nobody confirmed: it never stays.
    ApplyUnconfirmed,
    RollBack,
}

/// A door whose live text says by its route which one it is.
struct Marked {
    door: Door,
    setup: Setup,
    /// The mark of each generation's text, by number from 1.
    marks: Vec<u64>,
    /// The mark of what is live.
    live: u64,
}

fn crash_often(moments: u64, seed: u64) {
    let samples = Sample::several(&["one", "two"], &["--service-time", "1ms"]);
    let setup = Setup::at(&addresses(&samples)).without_route();
    let door = Door::start(&marked(&setup, 0));
    let mut marked = Marked { door, setup, marks: vec![0], live: 0 };
    let typical = marked.typical_apply();
    let mut random = seed;
    let (mut lost, mut kept, mut told) = (0, 0, 0);
    for moment in 1..=moments {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let part = f64::from(u32::try_from(random >> 32).expect("32 bits")) / f64::from(u32::MAX);
        // Longer than an apply takes, also where the machine is busier than before: some end.
        let delay = typical.mul_f64(part * 2.5);
        let asked = match moment % 4 {
            0 => Asked::RollBack,
            2 => Asked::ApplyUnconfirmed,
            _ => Asked::Apply,
        };
        let (stayed, acknowledged) = marked.crash(asked, moment + 1_000, delay);
        told += u32::from(acknowledged);
        kept += u32::from(stayed);
        lost += u32::from(!stayed);
    }
    show(&format!(
        "{moments} crashes within {typical:?}: {told} changes were acknowledged, {kept} are live \
         after it, {lost} are not; {} generations",
        marked.marks.len()
    ));
    assert!(kept > 0 && lost > 0, "the moments are spread over the whole change");
}

fn marked(setup: &Setup, mark: u64) -> String {
    let route = format!("[routes.mark]\npath = \"/mark-{mark}\"\npool = \"api\"\n");
    setup.clone().more(&route).more("[changes]\nhistory_max = 2000\nmove_max = 1.0").text()
}

impl Marked {
    /// How long an apply takes that nothing disturbs.
    fn typical_apply(&mut self) -> Duration {
        let began = now();
        for mark in 1..=5 {
            let answer = ask(self.door.socket(), "apply", &self.apply(mark, false));
            assert_eq!(answer.expect("the door answers")["live"], mark + 1);
            self.marks.push(mark);
            self.live = mark;
        }
        began.elapsed() / 5
    }

    fn apply(&self, mark: u64, unconfirmed: bool) -> Value {
        let text = self.door.complete(&marked(&self.setup, mark));
        let mut order = json!({ "text": text, "reason": format!("mark {mark}") });
        if unconfirmed {
            order["confirm_within_seconds"] = json!(600);
        }
        order
    }

    /// Kills the door while it carries out a change, starts it again, and looks at what it
    /// serves: whether that is the change, and whether it was acknowledged.
    fn crash(&mut self, asked: Asked, mark: u64, delay: Duration) -> (bool, bool) {
        let before = self.live;
        // The newest generation with another text.
        let other = self.marks.iter().rposition(|known| *known != before).expect("marks differ");
        let (path, order, new) = match asked {
            Asked::Apply => ("apply", self.apply(mark, false), mark),
            Asked::ApplyUnconfirmed => ("apply", self.apply(mark, true), mark),
            Asked::RollBack => {
                let order = json!({ "to": other + 1, "reason": format!("mark {mark}") });
                ("rollback", order, self.marks[other])
            }
        };
        let acknowledged = self.kill_while(path, order, delay);
        self.door.crash();
        let live = self.whole();
        let says = format!("{asked:?} after {delay:?}, acknowledged: {acknowledged}");
        match asked {
            Asked::ApplyUnconfirmed => assert_eq!(live, before, "nobody confirmed it: {says}"),
            Asked::Apply | Asked::RollBack if acknowledged => assert_eq!(live, new, "{says}"),
            Asked::Apply | Asked::RollBack => {
                assert!([before, new].contains(&live), "{live} is neither: {says}");
            }
        }
        (live == new, acknowledged)
    }

    /// Asks for a change and kills the door after `delay`; whether the answer came before.
    fn kill_while(&self, path: &'static str, order: Value, delay: Duration) -> bool {
        let socket = self.door.socket();
        let asking: JoinHandle<Option<Value>> =
            std::thread::spawn(move || ask(socket, path, &order));
        let until = now() + delay;
        while let Some(left) = until.checked_duration_since(now()) {
            std::thread::park_timeout(left);
        }
        let pid = Pid::from_raw(i32::try_from(self.door.pid()).expect("a process id"));
        kill_process(pid.expect("a process id"), Signal::KILL).expect("the door runs");
        asking.join().expect("whoever asks does not fail").is_some()
    }

    /// Everything that tells which generation is live agrees; gives its mark.
    #[track_caller]
    fn whole(&mut self) -> u64 {
        let history = whole_history(&self.door);
        let live = read(&self.door, "/v1/configuration");
        let text = live["text"].as_str().expect("a text");
        let mark = text.split("/mark-").nth(1).and_then(|rest| rest.split('"').next());
        let mark: u64 = mark.and_then(|mark| mark.parse().ok()).expect("the text has a mark");
        assert_eq!(text, self.door.complete(&marked(&self.setup, mark)), "a mixture");
        let number = live["generation"]["number"].as_u64().expect("a number");
        let stored = read(&self.door, &format!("/v1/generations/{number}"));
        assert_eq!(stored, live, "the journal holds what is live");
        // It is the newest that was not undone, and nothing is left undecided.
        let standing = |generation: &&Value| generation["state"] != "rolled_back";
        let newest = history.iter().rfind(standing).expect("one stands");
        assert_eq!(newest["number"], number, "{history:?}");
        let undecided = ["canary", "unconfirmed", "watched"];
        let open = history.iter().find(|g| undecided.iter().any(|state| g["state"] == *state));
        assert_eq!(open, None);

        let mut client = Client::to(&self.door);
        assert_eq!(
            client.get(&format!("/mark-{mark}")).status,
            200,
            "the route is that of the text"
        );
        let refused = client.get("/mark");
        assert_eq!((refused.status, refused.json()["configuration"].as_str()), {
            (404, live["generation"]["version"].as_str())
        });
        self.remember(&history);
        self.live = mark;
        mark
    }

    /// The marks of generations that came about, by their texts.
    fn remember(&mut self, history: &[Value]) {
        for generation in history.iter().skip(self.marks.len()) {
            let back = generation["origin"]["to"].as_u64();
            let reason = generation["reason"].as_str().and_then(|r| r.strip_prefix("mark "));
            let mark = match back {
                Some(to) => self.marks[usize::try_from(to - 1).expect("a small number")],
                None => reason.and_then(|mark| mark.parse().ok()).expect("a mark"),
            };
            self.marks.push(mark);
        }
    }
}

/// Asks for a change; `None` when the answer did not come whole.
fn ask(socket: PathBuf, path: &str, order: &Value) -> Option<Value> {
    let head = format!("POST /v1/{path} HTTP/1.1");
    let answer = ask_admin(&socket, &head, &order.to_string()).ok()?;
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    assert_eq!(answer.status, 200, "{body}");
    Some(body)
}
