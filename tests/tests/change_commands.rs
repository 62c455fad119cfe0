//! The commands that change a running door, as people and pipelines type them.

use black_box::load::Load;
use black_box::{Client, Door, Finished, Sample, tidegate};
use serde_json::Value;

/// A door in front of two servers, watched for a second; `weight` is that of the first.
fn text(samples: &[Sample], weight: u32) -> String {
    format!(
        "[listen.web]\naddress = \"127.0.0.1:0\"\n[pools.api]\nservers = [\
         {{ address = \"{}\", weight = {weight} }}, {{ address = \"{}\" }}]\n\
         [routes.api]\npath = \"/\"\npool = \"api\"\n[changes]\nwatch = \"1s\"\n",
        samples[0].address(),
        samples[1].address(),
    )
}

struct Stage {
    samples: Vec<Sample>,
    door: Door,
}

impl Stage {
    fn raise() -> Self {
        let arguments = ["--service-time", "1ms", "--concurrency", "200"];
        let samples = Sample::several(&["one", "two"], &arguments);
        let door = Door::start(&text(&samples, 1));
        Self { samples, door }
    }

    /// A file with this weight.
    fn file(&self, weight: u32) -> String {
        let path = self.door.folder().join(format!("weight-{weight}.toml"));
        let whole = self.door.complete(&text(&self.samples, weight));
        std::fs::write(&path, whole).expect("the folder is writable");
        path.display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        let socket = self.door.socket().display().to_string();
        tidegate(&[arguments, &["--socket", &socket]].concat())
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let finished = self.run(arguments);
        assert_eq!(finished.code, Some(code), "{arguments:?}: {finished:?}");
        for part in parts {
            let said = finished.stdout.contains(part) || finished.stderr.contains(part);
            assert!(said, "{arguments:?}: {part:?} is missing: {finished:?}");
        }
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let finished = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| {
            panic!("{arguments:?}: {error}: {finished:?}");
        })
    }
}

#[test]
fn keys_of_clients_are_not_shown() {
    let stage = Stage::raise();
    let file = |key: &str| {
        let client =
            format!("[clients.partner]\nkey = {{ header = \"x-api-key\", value = \"{key}\" }}\n");
        let path = stage.door.folder().join(format!("{key}.toml"));
        std::fs::write(&path, stage.door.complete(&(text(&stage.samples, 1) + &client)))
            .expect("the folder is writable");
        path.display().to_string()
    };
    let (first, second) = (file("plain-secret-1"), file("plain-secret-2"));
    stage.check(&["apply", &first, "--reason", "a partner"], 0, &["client partner"]);
    stage.check(&["show"], 0, &["value = \"…\" }", "`--text` prints the text as it was applied"]);
    assert_eq!(stage.json(&["show"])["masked"], true);
    for arguments in [
        vec!["show"],
        vec!["show", "--json"],
        vec!["history"],
        vec!["diff", "1", "2"],
        vec!["diff", "live", &second],
        vec!["plan", &second],
    ] {
        let finished = stage.run(&arguments);
        let said = finished.stdout + &finished.stderr;
        let shown = said.replace(&first, "").replace(&second, "");
        assert!(!shown.contains("plain-secret"), "{arguments:?}: {shown}");
    }
    // A new key is a difference, though not told.
    stage.check(&["diff", "live", &second], 0, &["client partner"]);
    let whole = stage.run(&["show", "--text"]).stdout;
    assert_eq!(whole, std::fs::read_to_string(&first).unwrap());
}

#[test]
fn a_change_is_planned_applied_shown_and_taken_back() {
    let stage = Stage::raise();
    let (two, three) = (stage.file(2), stage.file(3));
    let words = "weight of";
    stage.check(&["plan", &two], 0, &["what would change", words, "no recorded traffic"]);
    stage.check(
        &["apply", &two, "--reason", "more for one"],
        0,
        &["confirmed", words, "nothing broke"],
    );
    let history = stage.json(&["history"]);
    assert_eq!(history[0]["reason"], "more for one", "{history}");
    assert_eq!((&history[0]["number"], &history[1]["number"]), (&2.into(), &1.into()));
    stage.check(&["history"], 0, &["GENERATION", "more for one", "start"]);
    stage.check(&["show", "2"], 0, &["generation 2", "more for one", "[pools.api]"]);
    let live = stage.run(&["show", "--text"]).stdout;
    assert_eq!(live, std::fs::read_to_string(&two).unwrap());
    stage.check(&["diff", "1", "2"], 0, &["from 1 to 2"]);
    stage.check(&["diff", "2", "1"], 0, &["from 2 to 1"]);
    stage.check(&["diff", "live", &two], 0, &["no difference"]);
    let late = ["apply", &three, "--reason", "late", "--base", "1"];
    stage.check(&late, 1, &["nothing was changed", "2 is live", "more for one"]);
    stage.check(&["rollback", "--reason", "too much"], 0, &["from 2 to 1"]);
    assert_eq!(stage.json(&["show"])["generation"]["origin"]["kind"], "rollback");
    stage.check(&["show", "9"], 1, &["9"]);
    assert_eq!(Client::to(&stage.door).get("/").status, 200);
}

#[test]
fn a_change_that_empties_a_server_breaches_the_gate() {
    let stage = Stage::raise();
    let load = Load::start(stage.door.first_address(), 300);
    load.pass(600);
    let lopsided = stage.file(1_000);
    let planned = stage.run(&["plan", &lopsided]);
    assert_eq!(planned.code, Some(1), "{planned:?}");
    for part in ["replayed through both", "lopsided-distribution", "would break:"] {
        assert!(planned.stdout.contains(part), "{part:?} is missing: {}", planned.stdout);
    }
    let apply = ["apply", &lopsided, "--reason", "in a hurry"];
    stage.check(&apply, 1, &["nothing was changed", "lopsided-distribution", " %"]);
    let forced = [&apply[..], &["--force"]].concat();
    stage.check(&forced, 3, &["rolled back", "forced", "lopsided-distribution"]);
    let newest = &stage.json(&["history"])[0];
    assert_eq!(newest["origin"]["kind"], "automatic_rollback", "{newest}");
    assert_eq!(newest["origin"]["to"], 1, "{newest}");
    drop(load);
}

#[test]
fn a_canary_and_what_awaits_a_word() {
    let stage = Stage::raise();
    let two = stage.file(2);
    let quiet = ["apply", &two, "--reason", "try", "--canary", "50%", "--for", "1s"];
    stage.check(&quiet, 3, &["not enough requests"]);
    let unsaid = ["apply", &two, "--reason", "careful", "--confirm-within", "1m"];
    stage.check(&unsaid, 0, &["unconfirmed", "tidegate confirm 3"]);
    stage.check(&["apply", &stage.file(3), "--reason", "no"], 1, &["generation 3 is not decided"]);
    stage.check(&["confirm", "3"], 0, &["3"]);
    assert_eq!(stage.json(&["show", "3"])["generation"]["state"], "confirmed");
    stage.check(&["apply", &two, "--reason", "again"], 0, &["live again"]);
    stage.check(&["apply", &two, "--reason", "x", "--canary", "0"], 2, &["0 and 100 %"]);
    stage.check(&["apply", "/nowhere/t.toml", "--reason", "x"], 2, &["/nowhere/t.toml"]);
}
