//! Drills as a person plays them: listed, shown, played against the real binary, judged, broken off.
//!
//! Verdicts are judged, numbers are not: they depend on the machine. A machine that is too busy for
//! an honest load says so itself, and then nothing else is claimed of that run.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use black_box::{Finished, binary, eventually, tidegate};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How often a drill is played until its load was honest.
const TRIES: usize = 5;

/// The tests that play drills run one after the other, so that they do not disturb each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Four seconds: one of two servers is killed and comes back.
const TINY: &str = r#"
title = "One of two"
duration = "4s"

[stack]
servers = 2
server = { service_time_ms = 2, concurrency = 10 }

[load.users]
rate = "20/s"

[[event]]
at = "1s"
for = "2s"
do = "kill"
server = "b"

[[symptom]]
share = "b"
from = "2s"
to = "3s"
at_most = 0
"#;

/// A drill file in a folder of its own.
fn file(expectations: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let path = folder.path().join("tiny.toml");
    std::fs::write(&path, format!("{TINY}{expectations}")).expect("the folder is writable");
    let path = path.display().to_string();
    (folder, path)
}

/// Plays [`TINY`] with these expectations, and gives the code and the only run.
#[track_caller]
fn played(expectations: &str) -> (Option<i32>, Value) {
    let (_folder, path) = file(expectations);
    let mut last = None;
    for _ in 0..TRIES {
        let finished = tidegate(&["drill", "run", &path, "--json", "--seed", "7"]);
        let document: Value = serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error}: {finished:?}"));
        let run = document["runs"][0].clone();
        let honest = run["generator"]["generator_bound"] == false;
        last = Some((finished.code, run));
        if honest {
            break;
        }
    }
    last.expect("it was tried")
}

/// The verdict of the only expectation and the exit code, if the load was honest.
#[track_caller]
fn check(expectation: &str, verdict: &str, code: i32) {
    let (found, run) = played(expectation);
    let judged = &run["expectations"][0]["verdict"];
    if run["generator"]["generator_bound"] == true {
        assert_eq!((judged.as_str(), found), (Some("generator-bound"), Some(3)), "{run:#}");
        return;
    }
    assert_eq!((judged.as_str(), found), (Some(verdict), Some(code)), "{run:#}");
}

#[test]
fn a_drill_that_holds_tells_what_happened() {
    let _alone = alone();
    let (code, run) = played("[[expect]]\nsuccess = \"users\"\nat_least = 0.5\n");
    assert_eq!((run["drill"].as_str(), run["front"].as_str()), (Some("tiny"), Some("tidegate")));
    assert_eq!((run["guard"].as_bool(), run["seed"].as_u64()), (Some(true), Some(7)));
    let entries = run["timeline"].as_array().expect("there is a timeline");
    let of = |kind: &str| {
        entries.iter().find(|entry| entry["kind"] == kind).unwrap_or_else(|| panic!("{entries:#?}"))
    };
    assert!(of("fault")["words"].as_str().is_some_and(|words| words.contains("b killed")));
    assert_eq!(of("undo")["outcome"]["outcome"], "ok");
    assert_eq!(run["seconds"].as_array().map(Vec::len), Some(4), "one row a second");
    if run["generator"]["generator_bound"] == false {
        assert_eq!(run["symptoms"][0]["verdict"], "held", "{run:#}");
        assert_eq!(run["expectations"][0]["verdict"], "held", "{run:#}");
        assert_eq!(code, Some(0), "{run:#}");
    }
}

#[test]
fn what_is_missed_breaches_the_gate() {
    let _alone = alone();
    check("[[expect]]\np99_ms = \"users\"\nat_most = 0.001\n", "missed", 3);
}

#[test]
fn what_is_pending_and_holds_breaches_the_gate() {
    let _alone = alone();
    let pending = "[[expect]]\nsuccess = \"users\"\nat_least = 0.5\npending = \"why not\"\n";
    check(pending, "pending-holds", 3);
}

#[test]
fn reports_and_repetitions() {
    let _alone = alone();
    let (folder, path) = file("[[expect]]\nsuccess = \"users\"\nat_least = 0.5\n");
    let in_folder = |name: &str| folder.path().join(name).display().to_string();
    let (page, junit) = (in_folder("report.html"), in_folder("junit.xml"));
    let arguments = ["drill", "run", &path, "--repeat", "2", "--report", &page, "--junit", &junit];
    let finished = tidegate(&arguments);
    assert!(matches!(finished.code, Some(0 | 3)), "{finished:?}");
    for part in ["b killed", "success of users", "2 runs, "] {
        assert!(finished.stdout.contains(part), "{part:?} is missing:\n{}", finished.stdout);
    }
    assert!(finished.stderr.contains("run 2 of 2") && finished.stderr.contains("b killed"));
    assert!(
        !(finished.stdout + &finished.stderr).contains('\u{1b}'),
        "no colours where nobody looks"
    );
    let page = std::fs::read_to_string(page).expect("the page was written");
    assert!(page.contains("One of two") && !page.contains("<script"));
    let junit = std::fs::read_to_string(junit).expect("the verdicts were written");
    assert_eq!(junit.matches("<testsuite ").count(), 2, "{junit}");
}

#[test]
fn drills_are_listed_shown_and_described() {
    let listed = tidegate(&["drill", "list", "--json"]);
    let drills: Value = serde_json::from_str(&listed.stdout).unwrap();
    let drills = drills.as_array().unwrap();
    let founding = |drill: &&Value| drill["founding"] == true;
    assert_eq!(drills.iter().take(5).filter(founding).count(), 5, "they come first");
    assert_eq!((drills.iter().filter(founding).count(), drills.len()), (5, 18));
    let text = tidegate(&["drill", "list"]).stdout;
    for drill in drills {
        let name = drill["name"].as_str().unwrap();
        assert!(text.contains(name), "{name} is missing:\n{text}");
        let shown = tidegate(&["drill", "show", name]);
        assert!(shown.stdout.contains("title = "), "{name}: {shown:?}");
        assert!(drill["duration_seconds"].as_f64().unwrap() > 0.0, "{drill}");
    }
    let schema: Value = serde_json::from_str(&tidegate(&["drill", "schema"]).stdout).unwrap();
    for key in ["stack", "load", "event", "expect"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn a_wrong_drill_is_not_played() {
    let check = |finished: Finished, words: &str| {
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stdout.is_empty() && finished.stderr.contains(words), "{finished:?}");
    };
    let (_folder, path) = file("[[expect]]\nsucces = \"users\"\nat_least = 0.5\n");
    check(tidegate(&["drill", "run", &path]), "did you mean");
    check(tidegate(&["drill", "run", "kill-on"]), "did you mean `kill-one`?");
    check(tidegate(&["drill", "show", "nonsense"]), "tidegate drill list");
    check(tidegate(&["drill", "run", "/nowhere/drill.toml"]), "/nowhere/drill.toml");
    check(
        tidegate(&["drill", "run", "kill-one", "--report", "/nowhere/r.html"]),
        "/nowhere/r.html",
    );
    check(tidegate(&["drill", "run", "kill-one", "--against", "apache"]), "haproxy");
    check(tidegate(&["drill", "run"]), "NAME|FILE");
}

/// Processes that were started with temporary files in this folder, the runner left out.
fn processes(folder: &Path, runner: u32) -> Vec<String> {
    let wanted = folder.display().to_string();
    let others = std::fs::read_dir("/proc").expect("there is /proc").flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_str().and_then(|name| name.parse().ok()).is_some_and(|pid: u32| pid != runner)
    });
    let mentions = |path: &Path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(&wanted)
    };
    others
        .map(|entry| entry.path())
        .filter(|path| mentions(&path.join("environ")) || mentions(&path.join("cmdline")))
        .map(|path| path.display().to_string())
        .collect()
}

/// Breaks a drill off while a server is stopped; nothing may be left of it.
fn check_broken_off(signal: Signal, code: Option<i32>) {
    let _alone = alone();
    let (_file_folder, path) = file("");
    let stopped = std::fs::read_to_string(&path).expect("it was written");
    let stopped = stopped.replace("\"4s\"", "\"60s\"").replace("for = \"2s\"", "for = \"50s\"");
    std::fs::write(&path, stopped.replace("do = \"kill\"", "do = \"stop\"")).expect("writable");
    let scratch = tempfile::tempdir().expect("temporary folders can be made");
    let mut runner = Command::new(binary())
        .args(["drill", "run", &path])
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    let stderr = runner.stderr.take().expect("stderr is piped");
    let mut told = String::new();
    let broken = BufReader::new(stderr).lines().map_while(Result::ok).any(|line| {
        told.push_str(&line);
        told.push('\n');
        line.contains("b stopped")
    });
    assert!(broken, "the fault never came:\n{told}");
    let alive = processes(scratch.path(), runner.id());
    assert!(alive.len() >= 4, "two servers, a door and a watchdog: {alive:?}");
    kill_process(Pid::from_child(&runner), signal).expect("the runner runs");
    let status = runner.wait().expect("an own process can be awaited");
    assert_eq!(status.code(), code, "{told}");
    eventually("every process is gone", || processes(scratch.path(), runner.id()).is_empty());
    eventually("every file is gone", || {
        scratch.path().read_dir().is_ok_and(|mut entries| entries.next().is_none())
    });
}

#[test]
fn a_drill_that_is_interrupted_leaves_nothing() {
    check_broken_off(Signal::TERM, Some(1));
}

#[test]
fn a_drill_that_is_killed_leaves_nothing() {
    check_broken_off(Signal::KILL, None);
}
