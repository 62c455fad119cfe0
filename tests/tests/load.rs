//! `tidegate load`: what its reports say, when it fails, and what it finds.
//!
//! A machine that is busy makes the generator late, and then it says so instead of passing. So
//! rates are low, and a test that is about something else tries again when that happens.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use black_box::{Backend, Finished, Sample, Setup, binary, eventually, free_port, ok, tidegate};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How often a run is tried again that says it was generator-bound.
const TRIES: u32 = 12;

/// Runs until the generator kept up.
#[track_caller]
fn load(arguments: &[&str]) -> Finished {
    for _ in 0..TRIES {
        let finished = tidegate(&[&["load", "run"], arguments].concat());
        if !finished.stdout.contains("generator-bound") {
            return finished;
        }
    }
    panic!("{arguments:?} was generator-bound {TRIES} times");
}

#[track_caller]
fn json(finished: &Finished) -> Value {
    let read = serde_json::from_str(&finished.stdout);
    read.unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/")
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("the file is there")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folders can be made")
}

fn in_folder(folder: &TempDir, name: &str) -> (PathBuf, String) {
    let path = folder.path().join(name);
    let shown = path.display().to_string();
    (path, shown)
}

#[test]
fn every_report_says_the_same() {
    let sample = Sample::start("one", &["--service-time", "2ms"]);
    let folder = folder();
    let ((html, html_path), (junit, junit_path)) =
        (in_folder(&folder, "r.html"), in_folder(&folder, "r.xml"));
    let url = url(sample.address());
    let common = [&url, "--rate", "20/s", "--for", "2s", "--fail-if", "p99 > 5s"];
    let files = ["--json", "--html", &html_path, "--junit", &junit_path];
    let finished = load(&[&common[..], &files].concat());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let report = json(&finished);
    for (pointer, expected) in [
        ("/verdict", Value::from("passed")),
        ("/url", Value::from(url.as_str())),
        ("/interrupted", Value::from(false)),
        ("/all/due", Value::from(40)),
        ("/all/ok", Value::from(40)),
        ("/all/failed", Value::from(0)),
        ("/all/statuses/200", Value::from(40)),
        ("/all/servers/one", Value::from(40)),
        ("/thresholds/0/fail_if", Value::from("p99 > 5s")),
        ("/thresholds/0/breached", Value::from(false)),
        ("/generator/bound", Value::from(false)),
    ] {
        assert_eq!(report.pointer(pointer), Some(&expected), "{pointer}: {report:#}");
    }
    let p50 = report.pointer("/all/latency/p50_ms").and_then(Value::as_f64);
    assert!(p50.is_some_and(|p50| p50 >= 2.0), "{p50:?}");

    let html = text(&html);
    assert!(html.starts_with("<!doctype html>") && html.contains("<svg"), "{html}");
    assert!(html.contains("passed: the threshold held") && !html.contains("<script"), "{html}");
    let junit = text(&junit);
    assert!(junit.contains("failures=\"0\"") && junit.contains("not p99 &gt; 5s"), "{junit}");

    let finished = load(&common);
    let first = finished.stdout.lines().next();
    assert_eq!(first, Some("passed: the threshold held"), "{finished:?}");
    assert_eq!(finished.stderr, "", "silent when nobody watches");
}

#[test]
fn a_breached_threshold_has_its_own_exit_code() {
    let sample = Sample::start("one", &["--service-time", "1ms"]);
    let folder = folder();
    let (junit, junit_path) = in_folder(&folder, "r.xml");
    let url = url(sample.address());
    let gates = ["--fail-if", "errors > 1%", "--fail-if", "share(one) > 60%"];
    let run = [&url, "--rate", "20/s", "--for", "1s", "--junit", &junit_path];
    let finished = load(&[&run[..], &gates].concat());
    assert_eq!(finished.code, Some(3), "{finished:?}");
    let first = finished.stdout.lines().next();
    assert_eq!(first, Some("failed: share(one) > 60% (100 %)"));
    assert!(text(&junit).contains("<failure message=\"share(one) &gt; 60%: 100 %\"/>"));
}

#[test]
fn a_generator_that_cannot_keep_up_confesses() {
    let sample = Sample::start("slow", &["--service-time", "400ms"]);
    let url = url(sample.address());
    let run = ["load", "run", &url, "--rate", "20/s", "--for", "2s", "--in-flight-max", "1"];
    let finished = tidegate(&[&run[..], &["--fail-if", "p99 > 10s", "--json"]].concat());
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let report = json(&finished);
    assert_eq!(report["verdict"], "generator-bound");
    assert_eq!(report["thresholds"][0]["breached"], false, "held, and yet no pass: {report:#}");
    assert!(report["all"]["dropped"].as_u64().is_some_and(|dropped| dropped >= 30), "{report:#}");
}

#[test]
fn nothing_answered_is_a_failed_run() {
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let address = unused.local_addr().expect("a listening socket has an address");
    drop(unused);
    let finished = load(&[&url(address), "--rate", "10/s", "--for", "1s"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stdout.starts_with("failed: nothing was answered\n"), "{finished:?}");
}

#[test]
fn wrong_usage_is_told_with_its_place() {
    let check = |arguments: &[&str], expected: &str| {
        let finished = tidegate(&[&["load"], arguments].concat());
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains(expected), "{expected}: {finished:?}");
        assert_eq!(finished.stdout, "");
    };
    let here = "http://127.0.0.1:9/";
    check(&["run", here, "--fail-if", "p99 >> 2ms"], "  p99 >> 2ms\n       ^");
    check(&["run", "http://192.0.2.1/"], "--yes-i-may-load-this-host 192.0.2.1");
    check(
        &["run", "http://192.0.2.1/", "--yes-i-may-load-this-host", "192.0.2.2"],
        "not this host",
    );
    check(&["capacity", "http://192.0.2.1/"], "--yes-i-may-load-this-host 192.0.2.1");
    check(&["run", here, "--rate", "1/s", "--users", "2"], "cannot be used with");
    check(&["run", here, "--stage", "1/s"], "100/s..1000/s:30s");
    check(&["run", here, "--request", "GET a"], "begin with /");
    check(&["run", "127.0.0.1:9/b", "--request", "GET /a"], "the URL says /b");
    check(&["run", here, "--sources", "10.0.0.0/8"], "127.0.0.0/8");
    check(&["run", here, "--grpc", "--message", "0a05"], "neither hex: nor base64:");
    check(&["run", here, "--grpc", "--request", "GET /a.B/C"], "gRPC asks with POST alone");
    check(&["run", here, "--message", "hex:0a"], "--grpc");
    check(&["run", here, "--plan", "/nowhere.toml"], "cannot read /nowhere.toml");
    check(&["run", here, "--html", "/nowhere/r.html"], "/nowhere/r.html cannot be written");
    check(&["capacity", here, "--from", "9/s", "--to", "8/s"], "--from must not be above --to");
}

#[test]
fn a_log_is_asked_again() {
    let backend = Backend::answering(ok("x"));
    let folder = folder();
    let (log, log_path) = in_folder(&folder, "access.log");
    let line = |second: u32, request: &str| {
        format!("::1 - - [02/Jan/2026:03:04:{second:02} +0000] \"{request} HTTP/1.1\" 200 1\n")
    };
    let lines = [
        line(5, "GET /first?a=b"),
        line(7, "HEAD /third"),
        line(6, "GET /second"),
        line(6, "POST /order"),
        "no access log\n".to_owned(),
    ];
    std::fs::write(&log, lines.concat()).expect("the folder is writable");
    let url = url(backend.address());
    let finished = load(&[&url, "--replay", &log_path, "--speed", "4", "--json"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let report = json(&finished);
    assert_eq!((&report["all"]["due"], &report["all"]["ok"]), (&Value::from(3), &Value::from(3)));
    assert_eq!(report["seconds"], 0.5, "two seconds at four times the speed");
    let notes = report["notes"].to_string();
    assert!(notes.contains("skipped 1 line of the log: in no known format"), "{notes}");
    assert!(notes.contains("may change something"), "{notes}");
    let asked: Vec<String> = backend
        .requests()
        .iter()
        .rev()
        .take(3)
        .map(|request| format!("{} {}", request.method, request.target))
        .collect();
    assert_eq!(asked, ["HEAD /third", "GET /second", "GET /first?a=b"]);
}

#[test]
fn a_certificate_that_is_not_trusted_is_told() {
    let folder = folder();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("keys can be made");
    let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
    let key = KeyPair::generate().expect("keys can be made");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("it is a name");
    let certificate = params.signed_by(&key, &issuer).expect("the issuer signs");
    let write = |name: &str, text: &str| {
        let (file, path) = in_folder(&folder, name);
        std::fs::write(file, text).expect("the folder is writable");
        path
    };
    let ca = write("ca.pem", &issuer.pem());
    let (pem, key) = (write("c.pem", &certificate.pem()), write("k.pem", &key.serialize_pem()));
    let backend = Backend::answering(ok("x"));
    let tls =
        format!("tls = {{ certificates = [{{ certificate = \"{pem}\", key = \"{key}\" }}] }}");
    let door = Setup::of(&[&backend]).listen(&tls).start();
    let url = format!("https://{}/", door.first_address());
    let target = [&*url, "--rate", "10/s", "--for", "1s", "--json"];
    for trusted in [&["--ca", &*ca][..], &["--insecure"]] {
        let report = json(&load(&[&target, trusted].concat()));
        assert_eq!(report["all"]["ok"], 10, "{trusted:?}: {report:#}");
    }
    let report = json(&load(&target));
    let why = "certificate refused: unknown issuer (--ca names one to trust)";
    assert_eq!(report["all"]["failures"][why], 10, "{report:#}");
}

#[test]
fn a_plan_has_several_kinds_of_clients() {
    let sample = Sample::start("one", &["--service-time", "1ms"]);
    let folder = folder();
    let (plan, plan_path) = in_folder(&folder, "plan.toml");
    let tables = "[load.browsers]\nrate = \"10/s\"\nfor = \"1s\"\n\
                  [load.staff]\nusers = 2\nthink = \"200ms\"\nfor = \"1s\"\n";
    std::fs::write(&plan, tables).expect("the folder is writable");
    let report = json(&load(&[&url(sample.address()), "--plan", &plan_path, "--json"]));
    let names: Vec<&str> = report["streams"]
        .as_array()
        .expect("streams are a list")
        .iter()
        .filter_map(|stream| stream["name"].as_str())
        .collect();
    assert_eq!(names, ["browsers", "staff"]);
    assert_eq!(report["streams"][0]["due"], 10);
    assert!(report["streams"][1]["ok"].as_u64().is_some_and(|ok| ok >= 2), "{report:#}");
}

#[test]
fn ctrl_c_ends_with_the_result_so_far() {
    let backend = Backend::answering(ok("x"));
    let child = Command::new(binary())
        .args(["load", "run", &url(backend.address()), "--rate", "20/s", "--for", "5m", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    eventually("requests arrive", || backend.requests().len() >= 3);
    kill_process(Pid::from_child(&child), Signal::INT).expect("the load runs");
    let output = child.wait_with_output().expect("the output can be read");
    let report: Value = serde_json::from_slice(&output.stdout).expect("the result is JSON");
    assert_eq!(report["interrupted"], true, "{report:#}");
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds < 60.0), "{report:#}");
    assert_eq!(report["all"]["ok"], backend.requests().len(), "{report:#}");
}

/// nginx at two addresses; ends when dropped.
struct Nginx {
    child: Child,
    addresses: [SocketAddr; 2],
    _folder: TempDir,
}

impl Nginx {
    /// Serves a file, and lets through 200 requests a second over both addresses.
    fn limiting() -> Self {
        Self::start(|dir, [one, two]| {
            format!(
                "limit_req_zone $binary_remote_addr zone=all:1m rate=200r/s;
  server {{
    listen {one};
    listen {two};
    location / {{ limit_req zone=all burst=8 nodelay; root {dir}; try_files /nginx.conf =404; }}
  }}"
            )
        })
    }

    /// Speaks HTTP/2 alone, in the clear at the first address and over TLS at the second; each
    /// connection is closed in good order after ten requests.
    fn over_http2() -> Self {
        Self::start(|dir, [one, two]| {
            format!(
                "keepalive_requests 10;
  server {{
    listen {one} http2;
    listen {two} ssl http2;
    ssl_certificate {dir}/c.pem;
    ssl_certificate_key {dir}/k.pem;
    location / {{ root {dir}; try_files /nginx.conf =404; }}
    location /busy.Service/ {{ add_header grpc-status 14; return 200; }}
  }}"
            )
        })
    }

    fn start(servers: impl FnOnce(&str, [SocketAddr; 2]) -> String) -> Self {
        let folder = folder();
        let addresses = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let dir = folder.path().display().to_string();
        let (certificate, key) = own_certificate();
        for (name, text) in [("c.pem", certificate), ("k.pem", key)] {
            std::fs::write(in_folder(&folder, name).0, text).expect("the folder is writable");
        }
        let servers = servers(&dir, addresses);
        let configuration = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log crit;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  {servers}
}}
"
        );
        let (file, path) = in_folder(&folder, "nginx.conf");
        std::fs::write(file, configuration).expect("the folder is writable");
        let system = PathBuf::from("/usr/sbin/nginx");
        let program = if system.is_file() { system } else { PathBuf::from("nginx") };
        let child = Command::new(program)
            .args(["-p", &dir, "-c", &path])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (Debian: apt-get install nginx-light)");
        let nginx = Self { child, addresses, _folder: folder };
        eventually("nginx listens", || TcpStream::connect(addresses[1]).is_ok());
        nginx
    }
}

/// A certificate for this machine that nobody else signed, and its key, as PEM.
fn own_certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let made = made.expect("certificates can be made");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn nginx_is_asked_over_http2() {
    let nginx = Nginx::over_http2();
    let [clear, tls] = nginx.addresses;
    let load = |url: &str, more: &[&str]| {
        let common = [url, "--http2", "--rate", "10/s", "--for", "2s", "--json"];
        json(&load(&[&common[..], more].concat()))
    };
    for report in [
        load(&url(clear), &[]),
        load(&format!("https://{tls}/"), &["--insecure"]),
        load(&url(clear), &["--streams", "1"]),
    ] {
        assert_eq!(report["all"]["ok"], 20, "{report:#}");
        let connects = report["all"]["connects"].as_u64();
        assert!(connects.is_some_and(|connects| (2..=20).contains(&connects)), "{report:#}");
    }
    let report = load(&url(clear), &["--body", "a=b"]);
    assert_eq!(report["all"]["statuses"]["405"], 20, "{report:#}");
}

#[test]
fn the_status_of_grpc_is_the_outcome() {
    let nginx = Nginx::over_http2();
    let url = format!("http://{}/busy.Service/Ask", nginx.addresses[0]);
    let run = [&*url, "--grpc", "--message", "hex:0a01", "--rate", "20/s", "--for", "1s"];
    let finished = load(&[&run[..], &["--json", "--fail-if", "errors > 1%"]].concat());
    assert_eq!(finished.code, Some(3), "{finished:?}");
    let report = json(&finished);
    assert_eq!(report["all"]["failures"]["grpc-14 UNAVAILABLE"], 20, "{report:#}");
    let folder = folder();
    let (plan, plan_path) = in_folder(&folder, "plan.toml");
    let table = "[load.asks]\nprotocol = \"grpc\"\nstreams = 10\nrate = \"20/s\"\nfor = \"1s\"\n\
                 requests = [{ target = \"/busy.Service/Ask\", message = \"base64:CgE=\" }]\n";
    std::fs::write(&plan, table).expect("the folder is writable");
    let url = format!("http://{}/", nginx.addresses[0]);
    let report = json(&load(&[&url, "--plan", &plan_path, "--json"]));
    assert_eq!(report["all"]["failures"]["grpc-14 UNAVAILABLE"], 20, "{report:#}");
}

#[test]
fn the_limit_of_nginx_servers_is_found_through_the_door() {
    let nginx = Nginx::limiting();
    // A refused request is neither tried again nor a reason to leave a server out.
    let pool = "retries = { attempts = 1 }\nejection = false";
    let door = Setup::at(&nginx.addresses).pool(pool).start();
    let folder = folder();
    let (written, written_path) = in_folder(&folder, "capacity.json");
    let url = url(door.first_address());
    let search = ["--from", "150/s", "--to", "1000/s", "--step", "2s", "--band", "3%"];
    // The bound is far away: latency is not what this is about, on whatever machine.
    let rest = ["--p99", "2s", "--json", "--write", &written_path, "--pool", "web"];
    let run = || tidegate(&[&["load", "capacity", &url][..], &search, &rest].concat());
    let finished = (0..TRIES).map(|_| run()).find(|finished| finished.code == Some(0));
    let found = json(&finished.expect("the generator kept up once"));
    assert_eq!((&found["bound_by"], &found["confirmed"]), (&"failures".into(), &true.into()));
    let number = |document: &Value, key: &str| {
        document[key].as_f64().unwrap_or_else(|| panic!("no {key} in {document:#}"))
    };
    let rate = number(&found, "per_second");
    assert!((190.0..=210.0).contains(&rate), "within 5 % of 200: {found:#}");
    let capacity: Value = serde_json::from_str(&text(&written)).expect("it is JSON");
    assert_eq!(number(&capacity, "per_second"), rate);
    assert_eq!((&capacity["pool"], &capacity["url"]), (&"web".into(), &url.as_str().into()));
    let high = number(&capacity, "high_per_second");
    assert!(high > rate && high <= rate * 1.031, "{capacity:#}");
}
