//! Peers that others wrote: curl, wrk, Python's http.client, urllib and requests as clients;
//! nginx and Python's http.server as servers.
//!
//! A peer that is missing fails its test and says what to install; `cargo xtask test` does.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use aws_lc_rs::digest::{SHA256, digest};
use black_box::load::show;
use black_box::{Client, Door, Sample, Setup, eventually, free_port};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// Runs a program to its end; it must succeed.
#[track_caller]
fn run(program: &str, package: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("{program} is missing: install it (Debian: apt-get install {package})")
        }
        Err(error) => panic!("{program} cannot be run: {error}"),
    };
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {stdout}\n{stderr}");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs curl, silent but for errors, and returns what it printed.
#[track_caller]
fn curl(arguments: &[&str]) -> String {
    let arguments = [&["-sS", "--max-time", "60", "--noproxy", "*"][..], arguments].concat();
    text(&run("curl", "curl", &arguments).stdout)
}

/// The Python that has what the scripts need: the system's first, as packages go there.
#[track_caller]
fn python(module: &str) -> &'static str {
    let has = |python: &&str| {
        let import = format!("import {module}");
        let status = Command::new(python)
            .args(["-c", &import])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let found = ["/usr/bin/python3", "python3"].into_iter().find(has);
    found.unwrap_or_else(|| {
        panic!("Python with {module} is missing (Debian: apt-get install python3 python3-requests)")
    })
}

fn hexadecimal_hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that do not repeat within a window, so that a wrong range shows.
fn bytes(size: usize) -> Vec<u8> {
    (0_u64..)
        .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(size)
        .collect()
}

fn sample() -> Sample {
    Sample::start("one", &["--service-time", "0ms", "--concurrency", "1000"])
}

/// A server of another kind, as a child process with a folder.
struct Peer {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Peer {
    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, name: &str) -> String {
        self.folder().join(name).display().to_string()
    }

    fn door(&self) -> Door {
        Setup::at(&[self.address]).listen("limits = { body = \"1GiB\" }").start()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[track_caller]
fn spawn(command: &mut Command, package: &str) -> Child {
    command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| {
        panic!("{command:?} cannot be run, {error} (Debian: apt-get install {package})")
    })
}

/// nginx serves the files of the folder `www`.
fn nginx() -> Peer {
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let www = folder.path().join("www");
    std::fs::create_dir(&www).expect("the folder is writable");
    write(&www.join("large.bin"), &bytes(50 * MIB));
    write(&www.join("empty.txt"), b"");
    write(&www.join("words.txt"), "the same words again and again\n".repeat(4_000).as_bytes());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let dir = folder.path().display();
    let configuration = format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  types {{ text/plain txt; }}
  gzip on; gzip_min_length 100; gzip_types text/plain; gzip_http_version 1.1;
  keepalive_requests 20;
  server {{
    listen {address};
    root {dir}/www;
    location = /moved {{ return 301 /words.txt; }}
    location = /nothing {{ return 204; }}
  }}
}}
"
    );
    write(&folder.path().join("nginx.conf"), configuration.as_bytes());
    let program = [PathBuf::from("/usr/sbin/nginx"), PathBuf::from("nginx")]
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from("nginx"));
    let mut command = Command::new(program);
    command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf"));
    let log = std::fs::File::create(folder.path().join("stderr")).expect("the folder is writable");
    let child = spawn(command.stderr(log), "nginx-light");
    let peer = Peer { child, address, folder };
    eventually("nginx listens", || TcpStream::connect(address).is_ok());
    peer
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("the folder is writable");
}

/// Python's http.server: files by `SimpleHTTPRequestHandler`, and answers without a length.
const PYTHON_SERVER: &str = r#"
import hashlib, http.server, sys

class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass
    def do_GET(self):
        if self.path != "/endless":
            return super().do_GET()
        # No length: the body ends with the connection.
        self.send_response(200)
        self.end_headers()
        for number in range(2000):
            self.wfile.write(b"%06d\n" % number)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        text = hashlib.sha256(body).hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

Handler.protocol_version = sys.argv[1]
with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
"#;

fn python_server(version: &str) -> Peer {
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    write(&folder.path().join("file.bin"), &bytes(3 * MIB));
    let mut command = Command::new(python("http.server"));
    command.args(["-c", PYTHON_SERVER, version]).current_dir(folder.path());
    let mut child = spawn(command.stdout(Stdio::piped()), "python3");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout is piped"))
        .read_line(&mut line)
        .expect("the server prints its port");
    let port = line.trim().parse().unwrap_or_else(|_| panic!("no port in {line:?}"));
    Peer { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), folder }
}

#[test]
fn curl_talks_to_a_sample() {
    let sample = sample();
    let door = Setup::at(&[sample.address()]).listen("limits = { body = \"1GiB\" }").start();
    let url = format!("http://{}", door.first_address());
    let format = ["-o", "/dev/null", "-w", "%{http_code} %{size_download} %{num_connects}\n"];
    assert_eq!(curl(&[&format[..], &[&url]].concat()), "200 100 1\n");
    // One connection for several addresses.
    let bytes_url = format!("{url}/bytes/1000");
    let several = [&format[..], &[&url], &format[..2], &[&bytes_url], &format[..2], &[&url]];
    assert_eq!(curl(&several.concat()), "200 100 1\n200 1000 0\n200 100 0\n");
    let head = curl(&["-I", &url]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.to_lowercase().contains("content-length: 100\r\n"), "{head}");
    let echoed = curl(&["-d", "some=form", "-X", "POST", &format!("{url}/echo?a=b%20c")]);
    let echoed: serde_json::Value = serde_json::from_str(&echoed).unwrap();
    assert_eq!((echoed["method"].as_str(), echoed["body_bytes"].as_u64()), (Some("POST"), Some(9)));
    assert_eq!(echoed["target"], "/echo?a=b%20c");
    let old = curl(&["--http1.0", "-i", &format!("{url}/bytes/5000?chunked")]);
    assert!(old.starts_with("HTTP/1.1 200") || old.starts_with("HTTP/1.0 200"), "{:.100}", old);
    assert!(!old.to_lowercase().contains("transfer-encoding"), "HTTP/1.0 knows no chunks");
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    for code in ["204", "304", "404", "500"] {
        assert_eq!(curl(&[&status[..], &[&format!("{url}/status/{code}")]].concat()), code);
    }
}

#[test]
fn curl_uploads_fifty_mebibytes() {
    let sample = sample();
    let door = Setup::at(&[sample.address()]).listen("limits = { body = \"1GiB\" }").start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.bin");
    let large = bytes(50 * MIB);
    write(&file, &large);
    let url = format!("http://{}/upload", door.first_address());
    let path = file.display().to_string();
    for arguments in [
        vec!["-T", &path],
        vec!["-T", &path, "-H", "Transfer-Encoding: chunked"],
        vec!["-X", "POST", "-T", &path, "-H", "Expect:"],
    ] {
        let answer = curl(&[&arguments[..], &[&url]].concat());
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["sha256"], hexadecimal_hash(&large), "{arguments:?}");
    }
}

#[test]
fn curl_reads_from_nginx() {
    let nginx = nginx();
    let door = nginx.door();
    let url = format!("http://{}", door.first_address());
    let large = bytes(50 * MIB);
    let out = nginx.path("out");
    let (large_url, words_url) = (format!("{url}/large.bin"), format!("{url}/words.txt"));
    curl(&["-o", &out, &large_url]);
    assert!(std::fs::read(&out).unwrap() == large, "the whole file");
    let format = "%{http_code}";
    assert_eq!(curl(&["-o", &out, "-w", format, "-r", "1000-1999", &large_url]), "206");
    assert!(std::fs::read(&out).unwrap() == large[1000..2000], "a range");
    assert_eq!(curl(&["-o", &out, "-w", format, "-r", "-500", &large_url]), "206");
    assert!(std::fs::read(&out).unwrap() == large[large.len() - 500..], "the last bytes");
    let parts =
        curl(&["-r", "0-9,100-109", "-o", "/dev/null", "-w", "%{content_type}", &large_url]);
    assert!(parts.starts_with("multipart/byteranges"), "{parts}");
    assert_eq!(curl(&["-o", "/dev/null", "-w", format, "-r", "99999999-", &large_url]), "416");
    curl(&["--http1.0", "-o", &out, &large_url]);
    assert!(std::fs::read(&out).unwrap() == large, "the whole file for HTTP/1.0");
    let words = std::fs::read_to_string(nginx.folder().join("www/words.txt")).unwrap();
    assert_eq!(curl(&[&words_url]), words);
    let packed = curl(&["--compressed", "-D", "-", &words_url]);
    let (head, body) = packed.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("content-encoding: gzip"), "{head}");
    assert_eq!(body, words, "compressed on the way");
    let tag = nginx.path("etag");
    curl(&["-o", "/dev/null", "--etag-save", &tag, &words_url]);
    let same = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}", "--etag-compare", &tag];
    assert_eq!(curl(&[&same[..], &[&words_url]].concat()), "304 0");
    assert_eq!(curl(&[&format!("{url}/empty.txt")]), "");
    assert_eq!(curl(&["-o", "/dev/null", "-w", format, &format!("{url}/nothing")]), "204");
    let moved = curl(&["-L", "-w", "%{num_redirects}", "-o", "/dev/null", &format!("{url}/moved")]);
    assert_eq!(moved, "1", "nginx's own redirect leads back through the door");
    let posted = curl(&["-d", "x", "-o", "/dev/null", "-w", format, &words_url]);
    assert_eq!(posted, "405");
    // nginx closes its connections after 20 requests: nobody sees that.
    let mut client = Client::to(&door);
    for round in 0..200 {
        assert_eq!(client.get("/words.txt").text().len(), words.len(), "in round {round}");
    }
}

#[test]
fn python_serves_in_both_versions() {
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let server = python_server(version);
        let door = server.door();
        let mut client = Client::to(&door);
        let file = client.get("/file.bin");
        assert_eq!((file.status, file.body == bytes(3 * MIB)), (200, true), "{version}");
        let body = "z".repeat(100_000);
        for _ in 0..5 {
            let response = client.ask(format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
            assert_eq!(response.text(), hexadecimal_hash(body.as_bytes()), "{version}");
        }
        client.send("HEAD /file.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let head = client.response_to_head();
        assert_eq!(head.header("content-length"), Some("3145728"));
        assert_eq!(client.get("/none").status, 404, "{version}");
        if version == "HTTP/1.0" {
            // The end of the server's connection becomes the last chunk for the client, whose
            // own connection stays open.
            for _ in 0..3 {
                let endless = client.get("/endless");
                assert_eq!(endless.header("transfer-encoding"), Some("chunked"));
                assert_eq!(endless.body.len(), 14_000);
                assert!(endless.text().ends_with("001998\n001999\n"));
            }
            let url = format!("http://{}/endless", door.first_address());
            assert_eq!(curl(&[&url]).len(), 14_000);
            assert_eq!(curl(&["--http1.0", &url]).len(), 14_000);
        }
    }
}

const PYTHON_CLIENT: &str = r#"
import hashlib, http.client, json, sys, urllib.error, urllib.request

host = sys.argv[1]
connection = http.client.HTTPConnection(host, timeout=30)

def ask(method, path, **more):
    connection.request(method, path, **more)
    response = connection.getresponse()
    return response, response.read()

for _ in range(3):
    response, body = ask("GET", "/")
    assert (response.status, len(body)) == (200, 100), (response.status, body)
socket = connection.sock
assert socket is not None, "the connection stays open"

response, body = ask("HEAD", "/")
assert (response.getheader("content-length"), body) == ("100", b""), response.getheaders()

data = bytes(range(256)) * 40000
expected = hashlib.sha256(data).hexdigest()
response, body = ask("POST", "/upload", body=data)
assert json.loads(body)["sha256"] == expected
pieces = (data[at:at + 70000] for at in range(0, len(data), 70000))
response, body = ask("PUT", "/upload", body=pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
assert json.loads(body)["sha256"] == expected

for query in ("", "?chunked"):
    response, body = ask("GET", "/bytes/5000000" + query)
    _, told = ask("GET", "/hash/5000000")
    assert hashlib.sha256(body).hexdigest() == json.loads(told)["sha256"]

response, body = ask("DELETE", "/status/204")
assert (response.status, body) == (204, b"")
assert connection.sock is socket, "it was one connection all along"

with urllib.request.urlopen("http://%s/echo?x=1" % host, data=b"a=b", timeout=30) as response:
    told = json.load(response)
    assert (told["method"], told["target"], told["body_bytes"]) == ("POST", "/echo?x=1", 3), told
try:
    urllib.request.urlopen("http://%s/status/503" % host, timeout=30)
    raise SystemExit("a 503 is an error")
except urllib.error.HTTPError as error:
    assert error.code == 503
print("done")
"#;

#[test]
fn python_clients_are_served() {
    let sample = sample();
    let door = Setup::at(&[sample.address()]).start();
    let host = door.first_address().to_string();
    let output = run(python("http.client"), "python3", &["-c", PYTHON_CLIENT, &host]);
    assert_eq!(text(&output.stdout), "done\n");
}

const PYTHON_REQUESTS: &str = r#"
import hashlib, io, sys, requests

url = sys.argv[1]
session = requests.Session()
session.trust_env = False

for _ in range(5):
    response = session.get(url + "/")
    assert (response.status_code, len(response.content)) == (200, 100)
    assert response.headers["x-server"] == "one"

data = bytes(range(256)) * 20000
expected = hashlib.sha256(data).hexdigest()
assert session.post(url + "/upload", data=data).json()["sha256"] == expected
assert session.put(url + "/upload", data=io.BytesIO(data)).json()["sha256"] == expected

def pieces():
    for at in range(0, len(data), 50000):
        yield data[at:at + 50000]
assert session.post(url + "/upload", data=pieces()).json()["sha256"] == expected

echoed = session.post(url + "/echo", params={"q": "a b&c"}, files={"file": ("n.txt", b"content")}).json()
assert echoed["target"] == "/echo?q=a+b%26c", echoed["target"]
assert echoed["body_bytes"] > 7
assert session.post(url + "/echo", json={"key": [1, 2]}).json()["body_bytes"] == 15

with session.get(url + "/bytes/5000000?chunked", stream=True) as response:
    got = hashlib.sha256()
    for piece in response.iter_content(40000):
        got.update(piece)
assert got.hexdigest() == session.get(url + "/hash/5000000").json()["sha256"]
assert session.head(url + "/").headers["content-length"] == "100"
assert session.get(url + "/status/404").status_code == 404
assert session.options(url + "/").status_code == 200
print("done")
"#;

#[test]
fn python_requests_is_served() {
    let sample = sample();
    let door = Setup::at(&[sample.address()]).start();
    let url = format!("http://{}", door.first_address());
    let output = run(python("requests"), "python3-requests", &["-c", PYTHON_REQUESTS, &url]);
    assert_eq!(text(&output.stdout), "done\n");
    assert!(
        door.metric("tidegate_connections_accepted_total", &[]) <= 2.0,
        "it kept its connection"
    );
}

/// Runs wrk for two seconds; every request must be answered with a 2xx.
#[track_caller]
fn wrk(what: &str, door: &Door, path: &str) {
    let url = format!("http://{}{path}", door.first_address());
    let output = run("wrk", "wrk", &["-t1", "-c32", "-d2s", "--latency", "--timeout", "5s", &url]);
    let output = text(&output.stdout);
    for bad in ["Socket errors", "Non-2xx"] {
        let metrics = door.metrics();
        let refused =
            metrics.lines().filter(|line| line.contains("refused") && !line.ends_with(" 0"));
        assert!(!output.contains(bad), "{output}{}", refused.collect::<Vec<_>>().join("\n"));
    }
    let line = output.lines().find(|line| line.starts_with("Requests/sec:"));
    let line = line.unwrap_or_else(|| panic!("no rate in {output}"));
    let rate: f64 = line.split_whitespace().nth(1).unwrap_or_default().parse().unwrap_or(0.0);
    assert!(rate > 50.0, "{output}");
    show(&format!("wrk to {what}: {rate:.0} requests/s, no error"));
}

#[test]
fn wrk_sees_no_error() {
    let sample = sample();
    let door = Setup::at(&[sample.address()]).more("[door]\nworkers = 2\ndrain = \"1s\"").start();
    wrk("a sample", &door, "/");
    let nginx = nginx();
    let door = nginx.door();
    wrk("nginx", &door, "/words.txt");
    eventually("nothing is in flight", || door.metric("http_server_active_requests", &[]) == 0.0);
    // What wrk had in flight at its end, it left; nothing else is to be told.
    let left = door.metric("tidegate_answers_total", &["reason=\"client_closed\""]);
    assert_eq!(door.metric("tidegate_answers_total", &[]), left, "{}", door.metrics());
}
