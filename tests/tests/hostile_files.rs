//! Mistyped, truncated, huge and hostile files: a clear error, in bounded memory and time.
//!
//! The bounds are generous, because many tests share the machine: what is unbounded passes any.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use black_box::load::{now, show};
use black_box::{Backend, Client, Setup, ask_admin_within, binary, ok};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Resident memory at its peak.
const MEMORY_MAX_BYTES: u64 = 512 << 20;
/// From start to end. The slowest is 10,000 servers in one pool, all of them tried.
const TIME_MAX: Duration = Duration::from_secs(60);
/// The largest text that is taken.
const TEXT_BYTES: usize = 4 << 20;

/// How a command ended, and what it took.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    took: Duration,
    peak_bytes: u64,
}

/// Runs the binary within the bounds; gives its outcome.
#[track_caller]
fn run(arguments: &[&str]) -> Ended {
    let mut child = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    let stdout = collect(child.stdout.take().expect("stdout is piped"));
    let stderr = collect(child.stderr.take().expect("stderr is piped"));
    let began = now();
    let mut peak_bytes = 0;
    let status = loop {
        if let Some(status) = child.try_wait().expect("an own process can be awaited") {
            break status;
        }
        peak_bytes = peak_bytes.max(peak(child.id()));
        if began.elapsed() > TIME_MAX || peak_bytes > MEMORY_MAX_BYTES {
            drop(child.kill());
            drop(child.wait());
            panic!("{arguments:?} took {:?} and {} MiB", began.elapsed(), peak_bytes >> 20);
        }
        std::thread::park_timeout(Duration::from_millis(2));
    };
    let text = |reader: std::thread::JoinHandle<String>| reader.join().expect("output is read");
    let (stdout, stderr) = (text(stdout), text(stderr));
    Ended { code: status.code(), stdout, stderr, took: began.elapsed(), peak_bytes }
}

fn collect(mut output: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).expect("output can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The most memory a process had, in bytes; 0 once it ended.
fn peak(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1_024
}

/// What is said when a file is refused: the words, a bounded number of them, and no panic.
#[track_caller]
fn assert_refused(name: &str, ended: &Ended, why: &str) {
    let Ended { code, stdout, stderr, took, peak_bytes } = ended;
    show(&format!("{name:<34} exit {code:?}  {took:>8.1?}  {:>4} MiB", peak_bytes >> 20));
    let all = format!("{stdout}{stderr}");
    let shown: String = all.chars().take(2_000).collect();
    assert!(matches!(code, Some(1 | 2)), "{name}: {code:?} {shown}");
    assert!(!all.contains("panicked"), "{name}: {shown}");
    assert!(all.contains(why), "{name}: {why:?} is not in {shown}");
    assert!(!all.contains('\u{1b}'), "{name}: control characters reach the terminal: {shown}");
}

const LISTEN: &str = "[listen.web]\naddress = \"127.0.0.1:8080\"\n";

/// So many pools, each with a route.
fn pools(count: usize) -> String {
    let pool = |n| {
        format!(
            "[pools.p{n}]\nservers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]\n\
             check = {{ path = \"/health\" }}\n[routes.r{n}]\npath = \"/p{n}\"\npool = \"p{n}\"\n"
        )
    };
    (0..count).map(pool).fold(LISTEN.to_owned(), |text, pool| text + &pool)
}

/// One pool of so many servers.
fn servers(count: usize) -> String {
    let address = |n: usize| format!("\"10.{}.{}.{}:80\"", n >> 16, (n >> 8) & 255, n & 255);
    let list: Vec<String> = (1..=count).map(address).collect();
    format!(
        "{LISTEN}[pools.a]\nservers = [{}]\ncheck = {{ path = \"/health\" }}\n\
         [routes.a]\npath = \"/\"\npool = \"a\"\n",
        list.join(", ")
    )
}

/// Texts that are no configuration, with a part of what is said about them.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let tables: String = (0_u32..).map(|n| format!("[t{n:x}]\n")).take(430_000).collect();
    let text = |name, text: String, why| (name, text.into_bytes(), why);
    vec![
        text("nested arrays", "a = ".to_owned() + &"[".repeat(TEXT_BYTES - 4), "not valid TOML"),
        text("nested tables", "a = ".to_owned() + &"{a=".repeat(1_000_000), "not valid TOML"),
        text("dotted keys", "a".to_owned() + &".a".repeat(2_000_000) + " = 1", "not valid TOML"),
        text("a million times one table", "[a]\n".repeat(1_000_000), "duplicate"),
        text("430,000 tables", tables, "unknown-key"),
        text("a key of 4 MB", "k".repeat(4_000_000) + " = 1", "unknown-key"),
        text("one byte too many", " ".repeat(TEXT_BYTES + 1), "larger than 4 MiB"),
        text("control characters", "\"\\u001b[31m\" = 1".to_owned(), "unknown-key"),
        text("raw control characters", "\u{1b}[2J = 1".to_owned(), "not valid TOML"),
        text("a misspelt key", LISTEN.replace("address", "adress"), "did you mean"),
        text("10,001 servers", servers(10_001), "10000"),
        text("nothing", String::new(), "listen"),
        ("no text", vec![0xFF; 1 << 20], "not UTF-8"),
        ("zeros", vec![0; TEXT_BYTES], "not valid TOML"),
    ]
}

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("the folder is writable");
    path
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folders can be made")
}

fn named(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn pipe(folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let (at, kind) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
    rustix::fs::mknodat(at, &path, kind, mode, 0).expect("the folder is writable");
    path
}

#[test]
fn check_and_plan_refuse_what_is_no_configuration() {
    let folder = folder();
    for (name, bytes, why) in hostile() {
        let path = file(&folder, "hostile.toml", &bytes);
        assert_refused(name, &run(&["check", named(&path)]), why);
    }
    // A plan reads the same way, before it asks a door.
    let path = file(&folder, "hostile.toml", &hostile()[0].1);
    assert_refused("plan: nested arrays", &run(&["plan", named(&path)]), "not valid TOML");
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = folder();
    let (toml, nginx) = (pipe(&folder, "pipe.toml"), pipe(&folder, "nginx.conf"));
    let haproxy = pipe(&folder, "haproxy.cfg");
    let ended = run(&["check", named(&toml)]);
    assert_refused("check: a named pipe", &ended, "named pipe");
    assert_refused("plan: a named pipe", &run(&["plan", named(&toml)]), "named pipe");
    for path in [nginx, haproxy] {
        let ended = run(&["import", named(&path)]);
        assert_refused("import: a named pipe", &ended, "not a regular file");
    }
    assert_refused("check: a device", &run(&["check", "/dev/zero"]), "larger than 4 MiB");
    let ended = run(&["import", "--from", "nginx", "/dev/zero"]);
    assert_refused("import: a device", &ended, "not a regular file");
    assert_refused("check: a folder", &run(&["check", named(folder.path())]), "directory");
}

/// Wherever a real configuration ends too early, the check says so or finds it whole.
#[test]
fn a_truncated_configuration_is_checked_like_any_other() {
    let folder = folder();
    let whole = servers(3)
        + "[routes.b]\nhost = \"b.example.org\"\npath = \"/b\"\npool = \"a\"\ntotal_timeout = \"20s\"\n\
           [door]\nworkers = 2\ndrain = \"5s\"\n[invariants]\nshare_max = 0.6\n\
           [changes]\nwatch = \"60s\"\nmove_max = 0.3\n\
           [[allow]]\nrule = \"single-server\"\nreason = \"a page that may be away\"\n";
    let mut refused = 0;
    // Such steps meet the middle of words, strings and tables alike.
    for end in (0..whole.len()).step_by(23) {
        let path = file(&folder, "truncated.toml", &whole.as_bytes()[..end]);
        let ended = run(&["check", named(&path)]);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(matches!(ended.code, Some(0 | 1)), "{end}: {said}");
        assert!(!said.contains("panicked") && said.contains("truncated.toml"), "{end}: {said}");
        refused += u32::from(ended.code == Some(1));
    }
    assert!(refused > 5, "most of it is no configuration: {refused}");
}

/// The largest configurations that are taken, 10,000 servers: each pool is tried in simulation.
#[test]
fn the_largest_configurations_are_checked_in_time() {
    let folder = folder();
    for (name, text) in [("5,000 pools", pools(5_000)), ("10,000 servers", servers(10_000))] {
        let path = file(&folder, "large.toml", text.as_bytes());
        let ended = run(&["check", named(&path)]);
        let Ended { code, took, peak_bytes, .. } = &ended;
        show(&format!("{name:<34} exit {code:?}  {took:>8.1?}  {:>4} MiB", peak_bytes >> 20));
        assert_eq!(*code, Some(0), "{}{}", ended.stdout, ended.stderr);
    }
}

#[test]
fn importers_refuse_what_they_cannot_read() {
    let folder = folder();
    file(&folder, "two.conf", b"include one.conf; include one.conf;\n");
    let own = b"events {}\nhttp { include itself.conf; server { listen 80; } }\n";
    let acls = format!("frontend f\n bind :80\n{}", " acl a path /x\n".repeat(200_000));
    for (kind, name, text, why) in [
        ("nginx", "itself.conf", &own[..], "include"),
        ("nginx", "one.conf", b"http { include two.conf; }\n", "include"),
        ("nginx", "deep.conf", "a { ".repeat(1_000_000).as_bytes(), "deep"),
        ("nginx", "open.conf", b"http { server_name \"never closed", "unexpected end"),
        ("nginx", "rubbish.conf", &[0xFE; 1 << 20], "longer than 4096 bytes"),
        ("nginx", "large.conf", &vec![b' '; 64 << 20], "larger"),
        ("haproxy", "large.cfg", &vec![b' '; 64 << 20], "larger"),
        ("haproxy", "acls.cfg", acls.as_bytes(), "more than 200000 directives"),
        ("haproxy", "rubbish.cfg", &[0xFE; 1 << 20], "before any section"),
    ] {
        let path = file(&folder, name, text);
        assert_refused(name, &run(&["import", "--from", kind, named(&path)]), why);
        // The same as JSON is one document.
        let ended = run(&["import", "--json", "--from", kind, named(&path)]);
        let document: Result<Value, _> = serde_json::from_str(&ended.stdout);
        assert!(document.is_ok(), "{name}: {}", ended.stderr);
    }
}

/// A running door refuses the same texts, and serves on.
#[test]
fn a_running_door_refuses_what_is_no_configuration() {
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    let before = door.admin("GET /v1/configuration", "").body;
    for (name, bytes, why) in hostile() {
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let order = json!({ "text": text, "reason": "hostile" }).to_string();
        let began = now();
        let answer = ask_admin_within(TIME_MAX, &door.socket(), "POST /v1/apply HTTP/1.1", &order);
        let took = began.elapsed();
        assert_eq!(client.get("/").status, 200, "{name}: the same connection is served");
        // What is larger than any text may be is not read to its end.
        let Ok(answer) = answer else {
            assert!(order.len() > 5 << 20, "{name}: no answer");
            continue;
        };
        let memory = peak(door.pid());
        show(&format!(
            "apply: {name:<27} {}  {took:>8.1?}  {:>4} MiB",
            answer.status,
            memory >> 20
        ));
        assert!(matches!(answer.status, 413 | 422), "{name}: {}", answer.body);
        assert!(answer.status == 413 || answer.body.contains(why), "{name}: {}", answer.body);
        assert!(answer.body.len() < 256 << 10, "{name}: {} bytes of answer", answer.body.len());
        assert!(memory < MEMORY_MAX_BYTES, "{name}: {memory}");
    }
    for body in ["", "{", "[]", "{\"text\": 1}", "{\"text\": \"\"}", "\u{0}"] {
        let answer = door.admin("POST /v1/apply", body);
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.body);
    }
    assert_eq!(door.admin("GET /v1/configuration", "").body, before);
}
