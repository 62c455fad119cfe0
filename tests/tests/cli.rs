//! The command line of the real binary: exit codes, data on stdout, diagnostics on stderr, and
//! what a running door tells about itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use black_box::{Backend, Client, Setup, eventually, eventually_some, ok, tidegate};
use serde_json::Value;

const GOOD: &str = "[listen.web]\naddress = \"127.0.0.1:0\"\n\
    [pools.api]\nservers = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\ncheck = { path = \"/\" }\n\
    [routes.api]\npool = \"api\"\n[admin]\nsocket = false\n[door]\nstate = false\n";
const BAD: &str = "[listen.web]\naddres = \"127.0.0.1:0\"\n\
    [pools.api]\nservers = [\"127.0.0.1\"]\n[routes.api]\npool = \"ap\"\n";

/// A file of this content in a folder of its own.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let path = folder.path().join("tidegate.toml");
    std::fs::write(&path, text).expect("the folder is writable");
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn check_shows_every_mistake_at_once() {
    let (_folder, good) = file(GOOD);
    let finished = tidegate(&["check", &good]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("ready to run"), "{}", finished.stdout);
    let (_folder, bad) = file(BAD);
    let finished = tidegate(&["check", &bad]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    for text in ["addres", "did you mean", "`address`", ":2:1", "127.0.0.1", ":4:", ":6:", "`api`"]
    {
        assert!(finished.stdout.contains(text), "{text} is missing:\n{}", finished.stdout);
    }
    assert!(!finished.stdout.contains('\u{1b}'), "no colours where nobody looks");
    for arguments in [["check", "--json"], ["check", "--format=json"]] {
        let finished = tidegate(&[arguments[0], arguments[1], &bad]);
        assert_eq!(finished.code, Some(1));
        let findings: Value = serde_json::from_str(&finished.stdout).unwrap();
        assert!(findings.to_string().contains("addres"), "{findings}");
    }
    assert_eq!(tidegate(&["check", "/nowhere/tidegate.toml"]).code, Some(2));
}

#[test]
fn what_a_configuration_says_cannot_drive_a_terminal() {
    let (_folder, path) = file("[listen.web]\naddress = \"\\u001B[31m\"\n\"\\u001B]0;x\" = 1\n");
    for arguments in [["check", path.as_str()], ["run", &format!("-c{path}")]] {
        let finished = tidegate(&arguments);
        assert_ne!(finished.code, Some(0));
        let all = finished.stdout + &finished.stderr;
        assert!(!all.is_empty() && !all.contains('\u{1b}'), "{all:?}");
    }
}

#[test]
fn run_refuses_what_it_cannot_run() {
    let (_folder, bad) = file(BAD);
    for (path, words) in [(bad.as_str(), "did you mean"), ("/nowhere/tidegate.toml", "/nowhere")] {
        let finished = tidegate(&["run", "-c", path]);
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stdout.is_empty(), "{}", finished.stdout);
        assert!(finished.stderr.contains(words), "{}", finished.stderr);
    }
    // An address that is taken is a failed run.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_folder, path) = file(&GOOD.replace("127.0.0.1:0", &address));
    let finished = tidegate(&["run", "-c", &path]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains(&address), "{}", finished.stderr);
    // An admin address without a token is not opened to all.
    let open = GOOD.replace("socket = false", "address = \"127.0.0.1:0\"");
    let (_folder, path) = file(&open);
    let finished = tidegate(&["run", "-c", &path]);
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("token"), "{}", finished.stderr);
}

#[test]
fn usage() {
    for arguments in [&["nonsense"][..], &["run"], &["check"], &["status", "--nonsense"], &[]] {
        let finished = tidegate(arguments);
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.stdout.is_empty() && !finished.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let finished = tidegate(arguments);
        assert_eq!(finished.code, Some(0), "{arguments:?}");
        assert!(finished.stdout.contains("tidegate"), "{arguments:?}: {}", finished.stdout);
        assert!(finished.stderr.is_empty(), "{arguments:?}: {}", finished.stderr);
    }
}

#[test]
fn papers() {
    let schema: Value = serde_json::from_str(&tidegate(&["schema"]).stdout).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema"), "{schema}");
    for key in ["listen", "pools", "routes", "admin", "telemetry"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let finished = tidegate(&["completions", shell]);
        assert_eq!(finished.code, Some(0), "{shell}");
        assert!(finished.stdout.contains("sample-app"), "{shell}");
    }
    let man = tidegate(&["man"]);
    assert!(man.stdout.contains(".TH tidegate"), "{}", man.stdout);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("man1");
    assert_eq!(tidegate(&["man", "--out", &path.display().to_string()]).code, Some(0));
    for page in ["tidegate.1", "tidegate-run.1", "tidegate-check.1", "tidegate-status.1"] {
        assert!(path.join(page).is_file(), "{page}");
    }
}

/// `tidegate COMMAND... --socket SOCKET`.
fn ask(socket: &Path, arguments: &[&str]) -> black_box::Finished {
    let socket = socket.display().to_string();
    tidegate(&[arguments, &["--socket", &socket]].concat())
}

#[test]
fn status_of_a_running_door() {
    let backend = Backend::answering(ok("x"));
    let mut door = Setup::of(&[&backend]).start();
    let socket = door.socket();
    let mut client = Client::to(&door);
    assert_eq!(client.get("/").status, 200);
    let snapshot = eventually_some("a snapshot counts the connection", || {
        let finished = ask(&socket, &["status", "--json"]);
        let snapshot: Value = serde_json::from_str(&finished.stdout).ok()?;
        (snapshot["connections"] == 1).then_some(snapshot)
    });
    let server = &snapshot["pools"][0]["servers"][0];
    assert_eq!(server["address"], backend.address().to_string());
    assert_eq!(snapshot["routes"][0]["name"], "api");
    assert_eq!(snapshot["draining"], false);
    let text = ask(&socket, &["status"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.stdout.contains(&backend.address().to_string()), "{}", text.stdout);
    door.signal(rustix::process::Signal::TERM);
    assert_eq!(door.wait().code(), Some(0), "{}", door.log());
    let finished = ask(&socket, &["status"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("tidegate run"), "what to do: {}", finished.stderr);
}

#[test]
fn reload_says_what_came_of_it() {
    let backend = Backend::answering(ok("x"));
    let setup = Setup::of(&[&backend]);
    let door = setup.start();
    let before = door.status()["configuration"].clone();
    door.rewrite("[listen.web]\naddres = 1");
    let finished = ask(&door.socket(), &["reload"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("did you mean"), "{}", finished.stderr);
    assert_eq!(Client::to(&door).get("/").status, 200);
    door.rewrite(
        &setup.more("[routes.more]\npath = \"/more\"\nrespond = { body = \"more\" }").text(),
    );
    let finished = ask(&door.socket(), &["reload"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(Client::to(&door).get("/more").text(), "more");
    eventually("the version is another", || door.status()["configuration"] != before);
    assert!(door.metric("tidegate_configuration_reloads_total", &["rejected"]) > 0.5);
    assert!(door.metric("tidegate_configuration_reloads_total", &["applied"]) > 0.5);
}

/// Checks the form of an exposition: every sample belongs to a family declared once before it.
#[track_caller]
fn check_exposition(text: &str) -> Vec<String> {
    let mut families: Vec<String> = Vec::new();
    let mut series = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap_or_default().to_owned();
            assert!(!families.contains(&name), "{name} is declared twice");
            families.push(name);
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (told, value) = line.rsplit_once(' ').expect("a sample has a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = told.split('{').next().unwrap_or_default();
        let family = families.last().expect("a family comes before its samples");
        let suffix = name.strip_prefix(family.as_str());
        let known = ["", "_total", "_bucket", "_sum", "_count", "_info", "_created"];
        assert!(suffix.is_some_and(|suffix| known.contains(&suffix)), "{name} under {family}");
        assert!(!series.contains(&told.to_owned()), "{told} is repeated");
        series.push(told.to_owned());
    }
    families
}

#[test]
fn metrics_in_both_formats() {
    let backend = Backend::answering(ok("x"));
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 200);
    }
    let prometheus = check_exposition(&door.metrics());
    let answer = door.open_metrics();
    assert!(answer.head.contains("application/openmetrics-text"), "{}", answer.head);
    assert!(answer.body.ends_with("# EOF\n"));
    let open = check_exposition(&answer.body);
    assert_eq!(prometheus.len(), open.len());
    let near = |metric: &str, labels: &[&str], expected: f64| {
        let found = door.metric(metric, labels);
        assert!((found - expected).abs() < 0.1, "{metric} {labels:?}: {found}, not {expected}");
    };
    near("tidegate_requests_total", &["route=\"api\"", "status=\"200\""], 3.0);
    near("tidegate_server_requests_total", &["pool=\"api\""], 3.0);
    near("http_server_request_duration_seconds_count", &["route=\"api\""], 3.0);
    near("tidegate_connections", &[], 1.0);
    near("tidegate_connections_accepted_total", &[], 1.0);
    near("tidegate_response_body_bytes_total", &["route=\"api\""], 3.0);
    near("tidegate_server_connect_duration_seconds_count", &[], 1.0);
    assert!(door.metric("process_resident_memory_bytes", &[]) > 1_000_000.0);
    let head = door.admin("HEAD /metrics", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(door.admin("POST /metrics", "").status, 405);
    assert_eq!(door.admin("GET /v1/reload", "").status, 405);
}

#[test]
fn every_reason_is_counted() {
    let door = Setup::default()
        .more("[routes.one]\npath = { exact = \"/one\" }\nmethods = [\"GET\"]\nrespond = {}")
        .start();
    let attacks = [
        ("bad_request_line", "nonsense\r\n\r\n"),
        ("bad_version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
        ("bad_header", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        ("bare_line_end", "GET / HTTP/1.1\nHost: a\n\n"),
        ("bad_host", "GET / HTTP/1.1\r\n\r\n"),
        ("bad_target", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("bad_content_length", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"),
        ("bad_transfer_encoding", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n"),
        (
            "ambiguous_framing",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("bad_expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"),
        ("bad_connection_header", "GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n"),
        ("method_not_served", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no_route", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("method_not_allowed", "PUT /one HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
    ];
    for (reason, request) in attacks {
        let answer = Client::to(&door).ask(request);
        assert_eq!(answer.reason(), Some(reason), "{request:?}");
    }
    let metrics = door.metrics();
    for (reason, _) in attacks {
        let label = format!("reason=\"{reason}\"");
        let counted = door.metric("tidegate_answers_total", &[&label]);
        assert!((counted - 1.0).abs() < 0.1, "{reason} is counted {counted} times:\n{metrics}");
    }
    let by_status = door.metric("tidegate_requests_total", &["status=\"400\""]);
    assert!((by_status - 9.0).abs() < 0.1, "{by_status} of 9 with 400");
}

#[test]
fn the_admin_address_needs_its_token() {
    let (_folder, token) = file("correct-horse-battery-staple\n");
    let door = Setup::default()
        .more(&format!(
            "[routes.one]\nrespond = {{}}\n[admin]\nsocket = \"{{dir}}/admin.sock\"\n\
             address = \"127.0.0.1:0\"\ntoken_file = \"{token}\""
        ))
        .start();
    let log = door.log();
    let line = log.lines().find(|line| line.contains("admin interface")).unwrap_or_default();
    let (_, address) = line.split_once("address=").unwrap_or_else(|| panic!("{log}"));
    let address = address.split_whitespace().next().unwrap_or_default();
    for (lines, status) in [
        ("", 401),
        ("Authorization: Bearer wrong-horse-battery-staple\r\n", 401),
        ("Authorization: Bearer correct-horse-battery-staple\r\n", 200),
        ("Authorization: Bearer correct-horse-battery-staple\r\nOrigin: http://evil\r\n", 403),
    ] {
        assert_eq!(status_of(address, lines), status, "{lines:?}");
    }
    assert_eq!(door.admin("GET /health", "").status, 200, "the socket needs none");
}

/// Asks over TCP with these header lines; gives the status.
fn status_of(address: &str, lines: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("the admin address is open");
    write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{lines}\r\n")
        .expect("it takes a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("it has a status")
}
