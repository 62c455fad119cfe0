//! The same crafted requests through the door to servers that others wrote: nginx, HAProxy's
//! parser, Python and Node. None of them may see a request that the door did not mean to send, or
//! see its end or its target elsewhere.
//!
//! Each server writes a line per request that it believes to have read: the id that the door gave
//! it, method, target and, where it can, the length of the body. The door's access log has the
//! same of what it forwarded, with the target as it came, of which the server must have got the
//! canonical form. What a server reads out of the rest of another request has no id, or one twice.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use black_box::load::show;
use black_box::{Client, Setup, eventually};
use http_wire::{HeadLimits, RequestHead};
use serde_json::Value;
use tempfile::TempDir;

/// Crafted requests for each server.
const ROUNDS: u32 = 1_500;

const PYTHON: &str = r#"
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def serve(self):
        length = 0
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while True:
                line = self.rfile.readline()
                if not line.endswith(b"\r\n"): return self.cut()
                size = int(line, 16)
                if size == 0:
                    while self.rfile.readline() not in (b"\r\n", b"\n", b""): pass
                    break
                length += len(self.rfile.read(size))
                if self.rfile.readline() != b"\r\n": return self.cut()
        else:
            wanted = int(self.headers.get("Content-Length") or 0)
            length = len(self.rfile.read(wanted))
            if length < wanted: return self.cut()
        # What came: `self.path` has two slashes at the beginning made into one.
        target = self.requestline.split(" ")[1]
        print(self.headers.get("X-Request-Id"), self.command, target, length, file=log, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def cut(self):
        # The door ends the connection where its client did not send the rest.
        self.close_connection = True
    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_OPTIONS = do_PATCH = serve
    def log_message(self, *arguments): pass
    def log_error(self, *arguments): print("-", "error", *arguments, file=log, flush=True)
log = open(sys.argv[2], "a")
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

const NODE: &str = r#"
const http = require("http"), fs = require("fs");
const log = line => fs.appendFileSync(process.argv[3], line + "\n");
const server = http.createServer((request, response) => {
  let length = 0;
  request.on("data", part => length += part.length);
  request.on("end", () => {
    log([request.headers["x-request-id"], request.method, request.url, length].join(" "));
    response.setHeader("Content-Length", "0");
    response.end();
  });
});
server.on("clientError", (error, socket) => {
  // The door ends the connection where its client did not send the rest.
  if (error.code !== "ECONNRESET" && error.code !== "HPE_INVALID_EOF_STATE") log("- error " + error.code);
  socket.destroy();
});
server.keepAliveTimeout = 60000;
server.listen(Number(process.argv[2]), "127.0.0.1");
"#;

const NGINX: &str = "daemon off;
master_process off;
pid {dir}/pid;
error_log {dir}/error;
events {}
http {
  log_format seen escape=none '$http_x_request_id $request_method $request_uri';
  access_log {log} seen;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  keepalive_requests 1000000;
  server { listen 127.0.0.1:{port}; location / { return 200; } }
}
";

const HAPROXY: &str = "global
  log stdout format raw daemon
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
frontend seen
  bind 127.0.0.1:{port}
  log global
  capture request header x-request-id len 64
  log-format \"%[capture.req.hdr(0)] %HM %HU\"
  http-request return status 200
";

/// A server that others wrote.
struct Peer {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Peer {
    #[track_caller]
    fn start(program: &str, arguments: &[&str], script: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let (dir, log) = (folder.path(), folder.path().join("log"));
        std::fs::write(&log, "").expect("the folder is writable");
        let fill = |text: &str| {
            text.replace("{dir}", &dir.display().to_string())
                .replace("{log}", &log.display().to_string())
                .replace("{port}", &address.port().to_string())
        };
        let file = dir.join("script");
        std::fs::write(&file, fill(script)).expect("the folder is writable");
        let file = file.display().to_string();
        let stdout = std::fs::File::options().append(true).open(&log).expect("it was just made");
        let child = Command::new(program)
            .args(arguments.iter().map(|argument| fill(&argument.replace("{script}", &file))))
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(std::fs::File::create(dir.join("stderr")).expect("the folder is writable"))
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("{program} is missing: `cargo xtask test` installs it")
            }
            Err(error) => panic!("{program} cannot be run: {error}"),
        };
        let peer = Self { child, address, folder };
        eventually(program, || TcpStream::connect(address).is_ok());
        peer
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        // HAProxy tells of a connection that was opened and not used: that is no request.
        let told =
            text.lines().filter(|line| !line.ends_with("<BADREQ> <BADREQ>") || line.len() > 20);
        told.map(str::to_owned).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Targets that some server may read in another way, or that are no targets.
const TARGETS: &[&str] = &[
    "/r?a=b",
    "/a/../r",
    "/a/./r",
    "/a/%2e%2e/r",
    "/%2E/r",
    "/r/.",
    "/r/..",
    "/..",
    "//r",
    "///",
    "/a//../r",
    "/r//x/",
    "/r%2fx",
    "/r%2Fx/%2e",
    "/r%20x",
    "/%72",
    "/%7er",
    "/r%c3%a9",
    "/r%",
    "/r%zz",
    "/r%00",
    "/r%5cx",
    "/r%3fx",
    "/r%23x",
    "/r%252e%252e/x",
    "http://a/r",
    "http://a",
    "http://a?x=y",
    "HTTP://A/r",
    "http://a:80/../r",
    "http://b/r",
    "https://a//r",
    "http://u@a/r",
    "*",
    "/r;a=b",
    "/..;/r",
    "/r;a/../x",
    "/r;%2e%2e/x",
    "/r#x",
    "/r\\x",
    "/r\"<x>",
    "/r[{x|y}]^`",
    "/r?%0d%0aX:%20y",
    "/r?a=/../b",
    "/r?a?b;c",
    "/r?%zz",
    "/r?a=\"{b}\\",
];

/// A small generator of numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// One to three requests in a row, which may be fine, and up to two changes of their bytes.
    fn text(&mut self) -> Vec<u8> {
        let count = 1 + self.below(3);
        let mut bytes: Vec<u8> = (0..count).flat_map(|_| self.request().into_bytes()).collect();
        for _ in 0..self.below(3).saturating_sub(self.below(2)) {
            let at = self.below(bytes.len());
            let piece = self.one_of(&[
                "\r",
                "\n",
                " ",
                "\0",
                ":",
                "\t",
                "0",
                "\r\n",
                ";",
                "-",
                "\r\n\r\n",
                "\u{b}",
                ",",
                "chunked",
                "Transfer-Encoding: chunked\r\n",
                "Content-Length: 3\r\n",
                "%0d%0a",
                "\u{80}",
            ]);
            match self.below(3) {
                0 => drop(bytes.splice(at..at, piece.bytes())),
                1 => drop(bytes.splice(at..=at, piece.bytes())),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    fn request(&mut self) -> String {
        let method =
            self.one_of(&["GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"]);
        let target = if self.below(3) == 0 { "/r" } else { self.one_of(TARGETS) };
        let version = self.one_of(&["1.1", "1.1", "1.1", "1.1", "1.0"]);
        let framing = self.one_of(&[
            "",
            "Content-Length: 5\r\n",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding: identity, chunked\r\n",
            "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n",
            "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\nX: y\r\n",
            "Content-Length: 05\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 0\r\n",
            "Connection: Content-Length\r\nContent-Length: 5\r\n",
            "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: \tchunked \r\n",
            "Transfer-Encoding\t: chunked\r\n",
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
            "Connection: keep-alive\r\n",
            "X: y\r\n Content-Length: 5\r\n",
            "X-Request-Id: of-the-client\r\nContent-Length: 5\r\n",
            "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n",
        ]);
        let body = self.one_of(&[
            "",
            "hello",
            "hello",
            "5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "0\r\n\r\n",
            "5;a=b\r\nhello\r\n0\r\nT: u\r\n\r\n",
            "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "05\r\nhello\r\n00\r\n\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "\r\n",
            "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            "2c\r\nGET /hidden HTTP/1.1\r\nHost: a\r\nX: yyyyyyyyy\r\n\r\n0\r\n\r\n",
        ]);
        format!("{method} {target} HTTP/{version}\r\nHost: a\r\n{framing}\r\n{body}")
    }
}

/// What the door says that it sent, by the id that it gave.
struct Meant {
    method: String,
    target: String,
    attempts: u64,
    body_bytes: u64,
    /// The server answered 400.
    refused: bool,
}

impl Meant {
    /// True for what the door forwards: the canonical form of what came, by the codec's own rule.
    fn is_sent_as(&self, target: &str) -> bool {
        let text = format!("{} {} HTTP/1.1\r\nHost: a\r\n\r\n", self.method, self.target);
        let mut head = RequestHead::default();
        // A target in absolute form names its host itself.
        let parsed = head.parse(text.as_bytes(), &HeadLimits::default());
        parsed == Ok(()) && head.forwarded_target() == target
    }
}

/// A target as it was before a server wrote it into its log. No target has a `#`.
fn plain(what: &str, target: &str) -> String {
    match what {
        "HAProxy" => target.replace("#22", "\"").replace("\\\\", "\\"),
        _ => target.to_owned(),
    }
}

fn meant(access: &Path) -> BTreeMap<String, Meant> {
    let text = std::fs::read_to_string(access).expect("the door writes a log");
    let entry = |line: &str| {
        let record: Value = serde_json::from_str(line).expect("a line is JSON");
        let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| record[key].as_u64().unwrap_or_default();
        let meant = Meant {
            method: text("method"),
            target: text("target"),
            attempts: number("attempts"),
            body_bytes: number("bytes_in"),
            refused: record["status"] == 400 && record["reason"].is_null(),
        };
        (text("request_id"), meant)
    };
    text.lines().map(entry).collect()
}

/// Sends all of it to the end of the answers; what else is said does not matter.
fn throw(address: SocketAddr, bytes: &[u8]) {
    let mut client = TcpStream::connect(address).expect("the door listens");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket takes a timeout");
    drop(client.write_all(bytes));
    let mut room = [0; 4_096];
    while matches!(client.read(&mut room), Ok(count) if count > 0) {}
}

#[track_caller]
fn agree(what: &str, peer: &Peer, tells_length: bool) {
    let door = Setup::at(&[peer.address])
        .listen("timeouts = { head = \"40ms\", body = \"40ms\", keep_alive = \"40ms\" }")
        // Servers refuse methods that they do not know, which says nothing about framing.
        .route(
            "methods = [\"GET\", \"POST\", \"PUT\", \"HEAD\", \"DELETE\", \"OPTIONS\", \"PATCH\"]",
        )
        .more("[telemetry]\naccess_log = { file = \"{dir}/access\" }")
        .start();
    let mut dice = Dice(4);
    for round in 0..ROUNDS {
        throw(door.first_address(), &dice.text());
        // Over the connection that the server got those requests on, if it is still there.
        let response = Client::to(&door).get(&format!("/check/{round}"));
        assert_eq!(response.status, 200, "{what}, round {round}: {response:?}");
    }
    let expected = usize::try_from(ROUNDS).unwrap_or_default();
    let checks = |lines: &[String]| lines.iter().filter(|line| line.contains(" /check/")).count();
    eventually("the server has told all", || checks(&peer.lines()) == expected);
    let known = door.access_lines(expected);
    eventually("the door has told all", || {
        let text = std::fs::read_to_string(door.folder().join("access")).unwrap_or_default();
        text.matches("\"/check/").count() == expected && text.ends_with('\n')
    });
    drop(known);
    let mut meant = meant(&door.folder().join("access"));
    let lines = peer.lines();
    let mut rewritten = 0;
    for line in &lines {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, method, target, ..] = words[..] else { panic!("{what}: {line:?}") };
        let target = &plain(what, target);
        // A server that refuses a field (an empty Host, for nginx) has not come to the id: then it is
        // one of those that the door has a 400 of.
        let of_door = match meant.get_mut(id) {
            None => meant.values_mut().find(|of_door| {
                of_door.refused
                    && of_door.attempts > 0
                    && of_door.method == method
                    && of_door.is_sent_as(target)
            }),
            known => known,
        };
        let Some(of_door) = of_door else {
            panic!("{what} read what the door never sent: {line:?}")
        };
        assert!(of_door.attempts > 0, "{what} read a request twice: {line:?}");
        of_door.attempts -= 1;
        assert_eq!(of_door.method, method, "{what}: {line:?}");
        assert!(of_door.is_sent_as(target), "{what}: {} and {line:?}", of_door.target);
        rewritten += usize::from(of_door.target != *target);
        if tells_length {
            let length = words.last().and_then(|word| word.parse().ok());
            assert_eq!(length, Some(of_door.body_bytes), "{what}: {line:?}");
        }
    }
    let served = lines.len() - expected;
    show(&format!(
        "{what:<8} {ROUNDS} crafted texts, {served} requests in them that the server read, as the door meant them; \
         the target of {rewritten} was not canonical"
    ));
    assert!(rewritten > 20, "only {rewritten} were written anew");
    assert!(served > expected / 5, "only {served} of them were fine");
    assert!(!door.log().contains("panicked"));
}

#[test]
fn nginx_and_the_door_agree() {
    agree("nginx", &Peer::start("nginx", &["-p", "{dir}", "-c", "{script}"], NGINX), false);
}

#[test]
fn haproxy_and_the_door_agree() {
    agree("HAProxy", &Peer::start("haproxy", &["-db", "-f", "{script}"], HAPROXY), false);
}

#[test]
fn python_and_the_door_agree() {
    let peer = Peer::start("python3", &["{script}", "{port}", "{log}"], PYTHON);
    agree("Python", &peer, true);
}

#[test]
fn node_and_the_door_agree() {
    let peer = Peer::start("node", &["{script}", "{port}", "{log}"], NODE);
    agree("Node", &peer, true);
}
