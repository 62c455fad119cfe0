//! Drill files: what is wrong with them, what they mean, and what is said of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::drill::{DoorBalance, Drill, Fault, Measure};
use model::load::{Arrivals, Protocol, Reconnect, Spacing};
use model::sample::Distribution;
use proptest::prelude::*;
use serde_json::Value;
use settings::{CheckedDrill, Severity, Source};

use crate::line;

const EXAMPLE: &str = include_str!("drill.toml");

fn source(text: &str) -> Source {
    let name = "drills/every-key.toml".to_owned();
    Source { name, text: text.to_owned(), folder: PathBuf::from("/nonexistent") }
}

fn check(text: &str) -> CheckedDrill {
    settings::check_drill(&source(text))
}

fn lines(text: &str) -> Vec<String> {
    check(text).findings.iter().map(line).collect()
}

fn example() -> Drill {
    let checked = check(EXAMPLE);
    checked.drill.unwrap_or_else(|| panic!("{:#?}", lines(EXAMPLE)))
}

/// Checks `body` beside what every drill needs, and expects these findings, by the lines of `body`.
fn finds(body: &str, expected: &[&str]) {
    let mut text = String::new();
    let (head, tables) = body.split_at(body.find('[').unwrap_or(body.len()));
    text.push_str(head);
    for (key, sound) in [("title", "title = 'a'; "), ("duration", "duration = '20s'; ")] {
        if !head.contains(key) {
            // In the first line and before everything else, so that lines stay those of `body`.
            text.insert_str(0, &sound.replace("; ", "\n"));
        }
    }
    let shift = text.lines().count() - head.lines().count();
    text.push_str(tables);
    text.push('\n');
    for (table, sound) in
        [("[stack]", "[stack]\nservers = 3\n"), ("[load.", "[load.users]\nrate = '10/s'\n")]
    {
        if !body.contains(table) {
            text.push_str(sound);
        }
    }
    let checked = check(&text);
    let found = checked.findings.iter().map(|finding| {
        let line_in_body = finding.line.saturating_sub(shift);
        line(&settings::Finding { line: line_in_body, ..finding.clone() })
    });
    assert_eq!(found.collect::<Vec<_>>(), expected, "{text}");
    assert_eq!(checked.drill.is_none(), !expected.is_empty(), "{text}");
}

fn event(body: &str, expected: &[&str]) {
    finds(&format!("[[event]]\nat = '5s'\n{body}"), expected);
}

fn expectation(body: &str, expected: &[&str]) {
    finds(&format!("[[expect]]\n{body}"), expected);
}

fn stream(body: &str, expected: &[&str]) {
    finds(&format!("[load.users]\n{body}"), expected);
}

#[test]
fn built_in_drills_are_sound_and_named_after_their_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../drills");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let checked = settings::check_drill(&settings::read(&path).unwrap());
        let found: Vec<String> = checked.findings.iter().map(line).collect();
        assert_eq!(found, Vec::<String>::new(), "{}", path.display());
        let drill = checked.drill.unwrap();
        assert_eq!(Some(drill.name.as_ref()), path.file_stem().and_then(|stem| stem.to_str()));
        assert!(!drill.symptoms.is_empty() && !drill.expectations.is_empty(), "{}", drill.name);
        count += 1;
    }
    assert_eq!(count, 18);
}

#[test]
fn nothing_at_all() {
    assert_eq!(
        lines(""),
        [
            "error[missing-key] 1:1 `the drill` needs `title` (`title` is missing) help: add `title = \"A server is killed\"`",
            "error[missing-key] 1:1 `the drill` needs `duration` (`duration` is missing) help: add `duration = \"20s\"`",
            "error[missing-key] 1:1 `the drill` needs `stack` (`stack` is missing) help: add `stack = { servers = 3 }`",
            "error[missing-key] 1:1 the drill has no stream of requests (no `[load.NAME]`) () help: add `[load.users]` with `rate = \"100/s\"`",
        ]
    );
}

#[test]
fn names_resolve() {
    finds("", &[]);
    finds(
        "[servers.bb]\nconcurrency = 1",
        &[
            "error[unknown-server] 1:10 unknown server `bb` (not in this drill) help: use `a`, `b` or `c`",
        ],
    );
    finds(
        "[door]\nweights = { a = 1, d = 1 }",
        &[
            "error[unknown-server] 2:20 unknown server `d` (not in this drill) help: use `a`, `b` or `c`",
        ],
    );
    event(
        "do = 'kill'\nservers = ['a', 'x1']",
        &[
            "error[unknown-server] 4:17 unknown server `x1` (not in this drill) help: use `a`, `b` or `c`",
        ],
    );
    event(
        "do = 'cut-clients'\nstream = 'user'",
        &[
            "error[unknown-stream] 4:10 unknown stream `user` (not in this drill) help: did you mean `users`?",
        ],
    );
    event(
        "do = 'network'\nlink = 'client'\nlatency = '1s'",
        &[
            "error[unknown-server] 4:8 unknown link `client` (not in this drill) help: did you mean `clients`?",
        ],
    );
    expectation(
        "success = 'partner'\nat_least = 0.5",
        &[
            "error[unknown-stream] 2:11 unknown stream `partner` (not in this drill) help: use `users`",
        ],
    );
    finds(
        "[stack]\nservers = ['a', 'a']\n[door]\nweights = { b = 1 }",
        &[
            "error[duplicate-name] 2:17 server `a` is listed twice (not valid here) help: give each server its own name",
        ],
    );
}

#[test]
fn times_are_inside_the_drill() {
    event(
        "for = '16s'\ndo = 'kill'\nserver = 'a'",
        &[
            "error[after-the-end] 3:7 `for` ends at 21s, after the drill (20s) (after the end) help: make it shorter, or the drill longer",
        ],
    );
    expectation(
        "success = 'users'\nfrom = '5s'\nto = '5s'\nat_least = 0.5",
        &[
            "error[empty-window] 4:6 `to` must be a second or more after `from` (no whole second is inside)",
        ],
    );
    stream(
        "stages = [{ rate = '1/s', for = '21s' }]",
        &[
            "error[after-the-end] 2:10 `stages` ends at 21s, after the drill (20s) (after the end) help: make it shorter, or the drill longer",
        ],
    );
    stream(
        "rate = '1/s'\nstart = '20s'",
        &[
            "error[after-the-end] 3:9 `start` leaves the stream no time (not valid here) help: begin before the end of the drill",
        ],
    );
    event(
        "do = 'stale'",
        &[
            "error[nothing-stale] 1:1 `stale` needs a `configure` before it (nothing to go back to) help: add an event with `do = \"configure\"` that happens earlier",
        ],
    );
}

#[test]
fn keys_belong_to_their_kind() {
    event(
        "do = 'kil'",
        &[
            "error[unknown-value] 3:6 unknown value `kil` for `do` (not known) help: did you mean `kill`?",
        ],
    );
    event(
        "do = 'kill'\nserver = 'a'\nshare = 0.5",
        &[
            "error[unknown-key] 5:1 unknown key `share` in `event` (not known here) help: known keys are `at`, `do`, `for`, `server` and `servers`",
        ],
    );
    event(
        "do = 'slow'\nserver = 'a'\nservers = 'all'",
        &[
            "error[missing-key] 1:1 `event` needs `service_time_ms` (`service_time_ms` is missing) help: add `service_time_ms = 500`",
            "error[conflicting-keys] 5:11 `server` and `servers` exclude each other (not valid here) help: remove one of them",
        ],
    );
    event(
        "do = 'rolling-restart'\nfor = '1s'",
        &[
            "error[conflicting-keys] 4:7 `for` has no meaning with `what is not undone` (not valid here) help: remove one of them",
        ],
    );
    event(
        "do = 'network'\nlink = 'a'",
        &[
            "error[no-fault] 1:1 this network is as good as before (nothing changes) help: say what gets worse, such as `latency = \"100ms\"`",
        ],
    );
    finds(
        "[[symptom]]\nsuccess = 'users'\nat_most = 0.5\npending = 'x'",
        &[
            "error[unknown-key] 4:1 unknown key `pending` in `symptom` (not known here) help: known keys are `success`, `answered`, `goodput`, `p50_ms`, `p99_ms`, `share`, `saturated`, `attempts_per_request`, `connects_per_second`, `database_failures`, `recovery_seconds`, `detect_seconds`, `change_refused`, `cause_seconds`, `action_seconds`, `from`, `to`, `at_least` and `at_most`",
        ],
    );
}

#[test]
fn expectations_measure_one_thing_and_have_a_bound() {
    expectation(
        "success = 'users'\nanswered = 'users'\nat_least = 0.5",
        &[
            "error[conflicting-keys] 3:12 `success` and `answered` exclude each other (not valid here) help: remove one of them",
        ],
    );
    expectation(
        "share = 'most'",
        &[
            "error[missing-key] 1:1 `expect` has no bound (every number would do) help: add `at_least = ...`, `at_most = ...` or both",
        ],
    );
    expectation(
        "share = 'a'\nat_least = 2",
        &["error[out-of-range] 3:12 `at_least` must be from 0 to 1 (out of range)"],
    );
    expectation(
        "p99_ms = 'users'\nat_least = 2\nat_most = 1",
        &[
            "error[out-of-range] 4:11 `at_most` is less than `at_least` (not valid here) help: no number is between them",
        ],
    );
    expectation(
        "database_failures = true\nat_most = 0",
        &[
            "error[no-database] 2:21 `database_failures` needs a database, and the stack has none (not valid here) help: add `database = {}` to `[stack]`",
        ],
    );
    expectation(
        "attempts_per_request = false\nat_most = 2",
        &[
            "error[invalid-value] 2:24 `attempts_per_request` can only be `true` (not valid here) help: write `true`, or leave the whole table out",
        ],
    );
}

#[test]
fn streams() {
    stream(
        "rate = '200'",
        &[
            "error[invalid-unit] 2:8 `200` is not a rate (a number without a unit) help: write it like \"200/s\" or \"0.5/s\"",
        ],
    );
    stream(
        "users = 5\nrate = '1/s'",
        &[
            "error[conflicting-keys] 2:9 `rate` and `users` exclude each other (not valid here) help: remove one of them",
        ],
    );
    stream(
        "rate = '1/s'\nthink = '1s'",
        &[
            "error[conflicting-keys] 3:9 `think` has no meaning with `rate` (not valid here) help: remove one of them",
        ],
    );
    stream(
        "timeout = '1s'",
        &[
            "error[missing-key] 1:1 `users` needs one of `rate`, `stages`, `users` or `sessions` (none of them is given) help: add `rate = \"100/s\"`",
        ],
    );
    stream(
        "rate = '1/s'\nrequests = ['GET', { target = '/a', keys = 5 }]",
        &[
            "error[invalid-target] 3:13 `GET` is not a request (not valid here) help: write a method and a target, as in \"GET /item/{key}\"",
            "error[unused-keys] 3:37 `keys` has no effect: the request names no `{key}` (not used) help: write it into the target or a header, as in \"/item/{key}\"",
        ],
    );
    stream(
        "rate = '1/s'\nstreams = 10",
        &[
            "error[conflicting-keys] 3:11 `streams` has no meaning with `http1` (not valid here) help: remove one of them",
        ],
    );
    stream(
        "rate = '1/s'\nprotocol = 'grpc'",
        &[
            "error[missing-key] 1:1 `users` needs `requests` (`requests` is missing) help: add `requests = [\"/package.Service/Method\"]`",
        ],
    );
    stream(
        "rate = '1/s'\nprotocol = 'grpc'\nrequests = [{ target = '/a.B/C', message = '0a' }]",
        &[
            "error[invalid-message] 4:44 `0a` is no message: it begins with neither hex: nor base64: (not valid here) help: write \"hex:0a05\" or \"base64:CgU=\"",
        ],
    );
    stream(
        "rate = '1/s'\nprotocol = 'grpc'\nrequests = ['GET /a.B/C']",
        &[
            "error[invalid-stream] 1:7 stream \"users\": gRPC asks with POST alone, and no log can be replayed over it (this stream)",
        ],
    );
    stream(
        "rate = '1/s'\nrequests = [{ target = '/a', message = 'hex:0a' }]",
        &[
            "error[conflicting-keys] 3:40 `message` has no meaning with `no gRPC` (not valid here) help: remove one of them",
        ],
    );
    stream(
        "rate = '1/s'\nsource = '10.0.0.0/8'",
        &[
            "error[invalid-network] 3:10 `10.0.0.0/8` is no network of this machine (not valid here) help: use one inside 127.0.0.0/8: \"127.0.1.0/24\"",
        ],
    );
}

#[test]
fn an_event_changes_what_it_says_and_nothing_else() {
    let drill = example();
    let at = |seconds| {
        let event = drill.events.iter().find(|event| event.at == Duration::from_secs(seconds));
        &event.unwrap().fault
    };
    // In the order they happen, whatever the order in the file.
    assert!(matches!(&drill.events[0].fault, Fault::Behave { kind: "lying-check", .. }));
    assert_eq!(drill.events[1].lasting, Some(Duration::from_secs(2)));

    let Fault::Behave { kind: "slow", servers } = at(2) else { panic!("{:?}", at(2)) };
    let seen: Vec<_> =
        servers.iter().map(|s| (&*s.name, s.service_time_ms, s.concurrency)).collect();
    assert_eq!(seen, [("a", 500.0, 8), ("b", 500.0, 4)]);
    assert!(servers.iter().all(|server| server.distribution == Distribution::Fixed));

    let Fault::Behave { kind: "behave", servers } = at(8) else { panic!("{:?}", at(8)) };
    let seen: Vec<_> = servers.iter().map(|s| (&*s.name, s.error_rate, s.concurrency)).collect();
    assert_eq!(seen, [("a", 0.5, 8), ("b", 0.5, 4)]);

    let Fault::Behave { servers, .. } = at(6) else { panic!("{:?}", at(6)) };
    let costs = &servers[0].routes;
    assert_eq!((costs.len(), costs[0].cpu_ms, costs[0].queries), (2, 20.0, 3));

    let Fault::Configure { door } = at(10) else { panic!("{:?}", at(10)) };
    assert_eq!(door.weights, [("a".into(), 1)]);
    assert_eq!(door.balance, DoorBalance::HashHeader("x-user".into()));
    assert_eq!(drill.door.weights, [("a".into(), 3), ("b".into(), 1)]);
}

#[test]
fn a_stream_lasts_to_the_end_of_the_drill() {
    let drill = example();
    let [users, surge, staff, devices] = drill.load.streams.as_slice() else { panic!() };
    let Arrivals::Open { stages, spacing: Spacing::Poisson } = &users.arrivals else { panic!() };
    assert_eq!((stages[0].from_per_second, users.arrivals.duration().as_secs()), (12.5, 30));
    assert_eq!(users.requests[1].headers, [("x-shop".into(), "shop {key}".into())]);
    assert_eq!((&*users.requests[1].method, users.requests[1].body.len()), ("POST", 100));
    assert_eq!(surge.arrivals.duration().as_secs(), 15);
    assert_eq!(staff.arrivals.duration().as_secs(), 60);
    let Arrivals::Sessions { reconnect: Reconnect::AtOnce, .. } = devices.arrivals else {
        panic!()
    };
    assert_eq!((devices.protocol, devices.streams_max), (Protocol::Grpc, 20));
    let sync = &devices.requests[0];
    assert_eq!((&*sync.method, &*sync.body), ("POST", &b"\n\x05hello"[..]));
}

#[test]
fn a_refused_change_is_its_own_bound() {
    let drill = example();
    let refused = drill.expectations.iter().find(|e| e.measure == Measure::ChangeRefused).unwrap();
    assert_eq!((refused.at_least, refused.at_most), (Some(1.0), Some(1.0)));
    assert_eq!((refused.from.as_secs(), refused.to.as_secs()), (10, 60));
}

#[test]
fn plans_in_the_guide_are_sound() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/guides/load.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let blocks: Vec<&str> = guide
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block)
        .collect();
    assert!(!blocks.is_empty(), "the guide shows no plan");
    for block in blocks {
        assert_eq!(settings::load_plan(&source(block)).findings, [], "{block}");
    }
}

#[test]
fn a_load_alone() {
    let plan = |text| settings::load_plan(&source(text));
    let sound = plan("[load.users]\nrate = '10/s'\nfor = '5s'\n");
    assert_eq!(sound.findings, []);
    assert_eq!(sound.plan.unwrap().duration(), Duration::from_secs(5));
    let found: Vec<String> =
        plan("[load.users]\nrate = '10/s'\n[stack]\n").findings.iter().map(line).collect();
    assert_eq!(
        found,
        [
            "error[missing-key] 1:1 `users` needs `for` (`for` is missing) help: add `for = \"30s\"`",
            "error[unknown-key] 3:2 unknown key `stack` in `the load` (not known here) help: known keys are `load`",
        ]
    );
}

/// The tables of the schema of a value, through arrays and choices.
fn tables(schema: &Value) -> Vec<&Value> {
    if schema.get("properties").is_some() {
        return vec![schema];
    }
    let forms = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    forms.chain(schema.get("items")).flat_map(tables).collect()
}

/// Every path of keys, with `NAME` where the key is the user's.
fn paths(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for table in tables(schema) {
        for (key, property) in table["properties"].as_object().expect("a table") {
            let path = format!("{path}.{key}");
            let entry = property.get("additionalProperties").filter(|entry| entry.is_object());
            let elsewhere = property.get("x-described-at").is_some();
            match entry {
                // A behaviour or a door in another place: once is enough.
                _ if elsewhere => {}
                Some(entry) => paths(entry, &format!("{path}.NAME"), found),
                None => paths(property, &path, found),
            }
            assert!(property["description"].is_string(), "{path}");
            found.insert(path);
        }
    }
}

/// The example's paths of keys, in the same way.
fn used(value: &toml::de::DeValue<'_>, path: &str, found: &mut BTreeSet<String>) {
    use toml::de::DeValue;
    if let DeValue::Array(array) = value {
        array.iter().for_each(|element| used(element.get_ref(), path, found));
    }
    let DeValue::Table(table) = value else { return };
    for (key, value) in table {
        let is_named =
            [".servers", ".load", ".door.weights"].contains(&path) || path.ends_with(".headers");
        let key = if is_named { "NAME" } else { key.get_ref() };
        let path = format!("{path}.{key}");
        used(value.get_ref(), &path, found);
        found.insert(path);
    }
}

#[test]
fn every_key_of_the_schema_is_accepted() {
    let (mut written, mut tried) = (BTreeSet::new(), BTreeSet::new());
    paths(&settings::drill_schema(), "", &mut written);
    let document = toml::de::DeTable::parse(EXAMPLE).unwrap();
    used(&toml::de::DeValue::Table(document.into_inner()), "", &mut tried);
    assert_eq!(lines(EXAMPLE), Vec::<String>::new());
    let untried: Vec<_> =
        written.difference(&tried).filter(|path| !path.ends_with("NAME")).collect();
    assert_eq!(untried, Vec::<&String>::new());
}

#[test]
fn the_reader_knows_no_other_keys() {
    let mut written = BTreeSet::new();
    paths(&settings::drill_schema(), "", &mut written);
    let written: BTreeSet<&str> =
        written.iter().filter_map(|path| path.rsplit('.').next()).chain(["NAME"]).collect();
    let mut tables = 0;
    // An unknown key at the begin of each table: the help then lists the keys the reader knows.
    for open in EXAMPLE.match_indices(['{', ']']).map(|(index, _)| index + 1) {
        let (before, after) = EXAMPLE.split_at(open);
        let inline = before.ends_with('{');
        let pair = if inline { " frobnicate-it = 1," } else { "\nfrobnicate-it = 1\n" };
        let checked = check(&format!("{before}{pair}{after}"));
        let unknown = checked.findings.iter().filter(|finding| finding.rule == "unknown-key");
        for finding in unknown {
            let help = finding.help.as_deref().unwrap();
            let known = help.split('`').skip(1).step_by(2);
            let hidden: Vec<&str> = known.filter(|key| !written.contains(key)).collect();
            assert_eq!(hidden, Vec::<&str>::new());
            tables += 1;
        }
    }
    assert!(tables > 40, "only {tables} tables were tried");
}

#[test]
fn every_default_of_the_schema_is_the_readers() {
    let schema = settings::drill_schema();
    let server = &schema["properties"]["stack"]["properties"]["server"]["properties"];
    let door = &schema["properties"]["door"]["properties"];
    let stream = &schema["properties"]["load"]["additionalProperties"]["properties"];
    let plain = "title = 'a'\nduration = '20s'\n[stack]\nservers = 1\n[load.users]\nrate = '1/s'\n";
    let expected = check(plain).drill.unwrap();
    let mut count = 0;
    for (table, properties) in [("[stack.server]", server), ("[door]", door), ("", stream)] {
        for (key, property) in properties.as_object().unwrap() {
            let Some(default) = property.get("default") else { continue };
            // Of another kind of arrivals, or of no use without another key.
            if ["think", "opening", "reconnect", "key", "streams"].contains(&key.as_str()) {
                continue;
            }
            let text = format!("{plain}{table}\n{key} = {default}\n");
            assert_eq!(check(&text).drill.as_ref(), Some(&expected), "{text}");
            count += 1;
        }
    }
    assert!(count > 30, "only {count} defaults were tried");
}

/// What must be run when one of the next two tests fails.
const GENERATE: &str = "run `cargo run -p settings --example generate`";

#[test]
fn the_reference_is_up_to_date() {
    let file = include_str!("../../../../../docs/reference/drills.md");
    assert!(file == settings::drill_reference(), "{GENERATE}");
}

#[test]
fn the_schema_file_is_up_to_date() {
    let file = include_str!("../../../../../docs/reference/drill.schema.json");
    let schema = serde_json::to_string_pretty(&settings::drill_schema()).unwrap() + "\n";
    assert!(file == schema, "{GENERATE}");
}

/// Whatever the text: an answer, places inside it, and a drill exactly when nothing is wrong.
fn survives(text: &str) {
    let source = source(text);
    let checked = settings::check_drill(&source);
    for finding in &checked.findings {
        assert!(text.get(finding.span.clone()).is_some(), "{finding:?} is outside {text:?}");
    }
    let refused = checked.findings.iter().any(|finding| finding.severity == Severity::Error);
    assert_eq!(checked.drill.is_none(), refused, "{text}\n{:#?}", checked.findings);
    let plan = settings::load_plan(&source);
    let refused = plan.findings.iter().any(|finding| finding.severity == Severity::Error);
    assert_eq!(plan.plan.is_none(), refused, "{text}\n{:#?}", plan.findings);
    let rendered = settings::render_text(&checked.findings, std::slice::from_ref(&source), false);
    assert_eq!(rendered.is_empty(), checked.findings.is_empty());
}

/// What is put in the place of a part of the example.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "",
        "\n",
        "=",
        "[",
        "]",
        "[[event]]",
        "[load.x]",
        "{",
        "}",
        ",",
        "'",
        "\"",
        "'a'",
        "'all'",
        "0",
        "-1",
        "1e300",
        "nan",
        "inf",
        "9999999999999999999999",
        "'0s'",
        "'1000h'",
        "'0/s'",
        "'99999999999999999999/s'",
        "'1TiB'",
        "true",
        "[]",
        "{}",
        "'stale'",
        "'users'",
        "'\\u0000'",
        "\u{1b}",
        "ä",
        "1979-05-27",
        "server",
        "rate",
        "do",
        "door",
    ];
    prop_oneof![
        4 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text(text: String) {
        survives(&text);
    }

    #[test]
    fn the_example_with_changes(
        changes in prop::collection::vec((0..EXAMPLE.len(), 0..12_usize, piece()), 1..4),
    ) {
        let mut text = EXAMPLE.to_owned();
        for (position, length, piece) in changes {
            let start = text.floor_char_boundary(position);
            let end = text.ceil_char_boundary((position + length).min(text.len()));
            text.replace_range(start.min(end)..end, &piece);
        }
        survives(&text);
    }

    /// Whole values, so that texts stay valid TOML and reach the rules behind the types.
    #[test]
    fn the_example_with_another_value(line in 0..EXAMPLE.lines().count(), piece in piece()) {
        let change = |(index, text): (usize, &str)| match text.split_once(" = ") {
            Some((key, _)) if index == line => format!("{key} = {piece}\n"),
            _ => format!("{text}\n"),
        };
        survives(&EXAMPLE.lines().enumerate().map(change).collect::<String>());
    }
}
