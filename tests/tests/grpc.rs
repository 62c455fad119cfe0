//! gRPC through the door, whole: calls of all shapes between clients and servers of grpcio
//! (Python), deadlines, refusals, health, and which server takes which call.
//!
//! A peer that is missing fails its test and says what to install; `cargo xtask test` does.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use black_box::{Client, Door, Setup, eventually, eventually_some};
use serde_json::{Value, json};

const SERVER: &str = include_str!("../peers/grpc_server.py");
const CLIENT: &str = include_str!("../peers/grpc_client.py");
const POOL: &str = "protocol = \"http2\"";

/// The Python that has grpcio: the system's first, as packages go there.
#[track_caller]
fn python() -> Command {
    let has = |python: &&str| {
        let mut command = Command::new(python);
        command.args(["-c", "import grpc"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found = ["/usr/bin/python3", "python3"].into_iter().find(has);
    Command::new(found.unwrap_or_else(|| {
        panic!("Python with grpcio is missing (Debian: apt-get install python3-grpcio)")
    }))
}

/// A program in Python, with what it printed.
struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Program {
    #[track_caller]
    fn start(script: &str, arguments: &[&str]) -> Self {
        let mut child = python()
            .args(["-c", script])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python can be run");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("stdout is piped"));
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { child, stdin, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[track_caller]
    fn prints(&self, wanted: &str) {
        eventually(&format!("{wanted:?} is printed"), || {
            self.lines().iter().any(|line| line == wanted)
        });
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A server of grpcio.
struct Server {
    program: Program,
    address: SocketAddr,
}

impl Server {
    #[track_caller]
    fn start(name: &str) -> Self {
        let program = Program::start(SERVER, &[name]);
        let port = eventually_some("the server prints its port", || {
            program.lines().first().and_then(|line| line.parse().ok())
        });
        Self { program, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) }
    }

    fn door(&self, pool: &str) -> Door {
        Setup::at(&[self.address]).pool(POOL).pool(pool).start()
    }
}

/// Runs one of the client's functions to its end; what it found.
#[track_caller]
fn client(door: &Door, what: &str) -> Value {
    let output = python()
        .args(["-c", CLIENT, &door.first_address().to_string(), what])
        .stdin(Stdio::null())
        .output()
        .expect("Python can be run");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error} in {output:?}");
    })
}

/// A call of one message, over HTTP/1.1: a client that has no deadline of its own.
fn call(method: &str, fields: &str) -> String {
    format!(
        "POST /shop.v1.Cart/{method} HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\n\
         {fields}content-length: 7\r\n\r\n\0\0\0\0\x02hi"
    )
}

#[test]
fn calls_of_all_four_shapes_pass() {
    let server = Server::start("one");
    let door = server.door("");
    let expected = json!({
        "unary": ["one:hello", "one", "True"],
        // A call without a deadline reaches the server without one.
        "empty": ["one:", "one", "False"],
        "large": "one:".len() + 3_000_000,
        "server": ["0", "1", "2", "3", "4"],
        "many": 20_000,
        "client": ["499500"],
        "both": ["<0>", "<1>", "<2>", "<3>", "<4>"],
        "fail": ["NOT_FOUND", "no such thing: 100 % \u{e9}"],
        "unknown": "UNIMPLEMENTED",
    });
    assert_eq!(client(&door, "shapes"), expected);
}

#[test]
fn calls_pass_between_versions() {
    let server = Server::start("one");
    let door = server.door("");
    let response = Client::to(&door).ask(call("Unary", ""));
    assert_eq!(response.status, 200);
    assert_eq!(response.body, b"\0\0\0\0\x06one:hi");
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert!(response.trailers.has("grpc-status"), "{:?}", response.trailers);
}

#[test]
fn calls_of_one_connection_are_spread_over_the_servers() {
    let servers = ["one", "two", "three"].map(Server::start);
    let addresses = servers.each_ref().map(|server| server.address);
    let setup = Setup::at(&addresses).pool(POOL);
    let door = setup.clone().pool("balance = \"round-robin\"").start();
    assert_eq!(client(&door, "many"), json!({ "one": 100, "two": 100, "three": 100 }));
    // So they are by load, though not to the call.
    let door = setup.start();
    let served = client(&door, "many");
    for name in ["one", "two", "three"] {
        let count = served[name].as_u64().unwrap_or_default();
        assert!((40..=180).contains(&count), "{served}");
    }
}

#[test]
fn a_call_ends_at_its_deadline() {
    let server = Server::start("one");
    let door = server.door("");
    let response = Client::to(&door).ask(call("Hang", "grpc-timeout: 300m\r\n"));
    // The server and the door know it, and whoever is first says so.
    let status = response.header("grpc-status").or(response.trailers.get("grpc-status"));
    assert_eq!((response.status, status), (200, Some("4")), "DEADLINE_EXCEEDED");
    server.program.prints("was left");
    assert_eq!(client(&door, "late")[0], "DEADLINE_EXCEEDED");
}

#[test]
fn a_call_may_be_silent_once_it_is_answered() {
    let server = Server::start("one");
    let door = Setup::at(&[server.address])
        .listen("timeouts = { body = \"200ms\" }")
        .pool(POOL)
        .pool("timeouts = { progress = \"200ms\" }")
        .start();
    assert_eq!(client(&door, "pause"), json!(["<before>", "<after>"]));
}

#[test]
fn a_caller_that_leaves_ends_its_call() {
    let server = Server::start("one");
    let door = server.door("");
    let mut caller = Program::start(CLIENT, &[&door.first_address().to_string(), "leave"]);
    server.program.prints("hangs");
    let mut stdin = caller.stdin.take().expect("stdin is piped");
    stdin.write_all(b"now\n").expect("the caller reads");
    caller.prints("true");
    server.program.prints("was left");
}

#[test]
fn refusals_are_answers_that_callers_understand() {
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let nobody = unused.local_addr().expect("a listening socket has an address");
    drop(unused);
    let door = Setup::at(&[nobody]).pool(POOL).start();
    assert_eq!(client(&door, "one"), json!(["UNAVAILABLE", "The server could not be reached."]));
    let response = Client::to(&door).ask(call("Unary", ""));
    assert_eq!((response.status, response.body.len()), (200, 0));
    assert_eq!(response.header("content-type"), Some("application/grpc"));
    assert_eq!(response.header("grpc-status"), Some("14"));
    assert_eq!(response.reason(), Some("connect_failed"));
    // It is counted as what it is.
    let (name, class) = ("http_server_request_duration_seconds_count", "class=\"5xx\"");
    eventually("both are counted", || door.metric(name, &[class]) == 2.0);
    let door = Setup::at(&[nobody]).pool(POOL).route("host = \"elsewhere.test\"").start();
    assert_eq!(client(&door, "one")[0], "UNIMPLEMENTED");
    // What is no call gets the usual answer.
    let refused = Client::to(&door).get("/");
    assert_eq!((refused.status, refused.reason()), (404, Some("no_route")));
    assert_eq!(refused.header("grpc-status"), None);
}

#[test]
fn health_is_what_the_health_service_says() {
    let server = Server::start("one");
    let state = |door: &Door, wanted: &str| {
        eventually(&format!("the server is {wanted}"), || {
            door.status()["pools"][0]["servers"][0]["state"] == wanted
        });
    };
    let check = |service: &str| {
        server.door(&format!("check = {{ grpc = {service}, interval = \"50ms\", fall = 1 }}"))
    };
    let door = check("true");
    state(&door, "up");
    server.program.prints("asked after ''");
    let by_name = check("\"shop.v1.Cart\"");
    state(&by_name, "up");
    server.program.prints("asked after 'shop.v1.Cart'");
    state(&check("\"shop.v1.Other\""), "down");
    assert_eq!(client(&door, "unwell")[0], "");
    state(&door, "down");
    state(&by_name, "down");
}
