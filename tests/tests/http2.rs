//! HTTP/2 from clients: curl and nghttp as they are, and raw frames where the order of things
//! matters. What is behind the door sees HTTP/1.1 and nothing else.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use black_box::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PREFACE, PRIORITIZED, PRIORITY,
    RST_STREAM, frame,
};
use black_box::streams::{Streams, block, code, get, number, post};
use black_box::{Backend, Client, Door, Gate, Setup, chunked, eventually, ok, response};
use rustix::process::Signal;

/// Runs a client to its end and gives what it printed.
#[track_caller]
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let mut stdin = child.stdin.take().expect("it has one");
    let input = input.to_vec();
    // A server may answer before all of it was read.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it ends with its reader");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    output.stdout
}

#[track_caller]
fn curl(arguments: &[&str]) -> String {
    let arguments = [&["-sS", "-k", "--max-time", "10"], arguments].concat();
    String::from_utf8(run("curl", &arguments, b"")).expect("it is text")
}

fn url(door: &Door, scheme: &str, path: &str) -> String {
    format!("{scheme}://{}{path}", door.first_address())
}

/// A server that sends back what it got, in chunks.
fn echo() -> Backend {
    Backend::start(|request, peer| {
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in request.body.chunks(40_000) {
            peer.send(format!("{:x}\r\n", piece.len()));
            peer.send(piece);
            peer.send("\r\n");
        }
        peer.send(format!("0\r\nx-bytes: {}\r\n\r\n", request.body.len()));
    })
}

/// Bytes that no two places share.
fn noise(count: usize) -> Vec<u8> {
    let step = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(state.to_be_bytes()[0])
    };
    std::iter::successors(Some(1_u32), |state| Some(state.wrapping_add(1)))
        .scan(7, |state, _| step(state))
        .take(count)
        .collect()
}

const LOG: &str = "[telemetry]\naccess_log = { file = \"{dir}/access\" }";
const VERSION: [&str; 4] = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}"];

/// A self-signed certificate in the folder of the configuration's text.
fn tls(folder: &std::path::Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("certificates can be made");
    let (certificate, key) = (folder.join("a.pem"), folder.join("a.key"));
    std::fs::write(&certificate, made.cert.pem()).expect("the folder is writable");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("the folder is writable");
    format!("tls = {{ certificates = [{{ certificate = {certificate:?}, key = {key:?} }}] }}")
}

#[test]
fn the_version_is_agreed_on() {
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).more(LOG).start();
    let plain = url(&door, "http", "/");
    assert_eq!(curl(&[&["--http2-prior-knowledge"], &VERSION[..], &[&plain]].concat()), "2 200");
    assert_eq!(curl(&[&VERSION[..], &[&plain]].concat()), "1.1 200");
    // An upgrade from HTTP/1.1 is not offered any more (RFC 9113, section 3.1).
    assert_eq!(curl(&[&["--http2"], &VERSION[..], &[&plain]].concat()), "1.1 200");
    let lines = door.access_lines(3);
    let versions = ["\"protocol\":\"HTTP/2\"", "\"protocol\":\"HTTP/1.1\""];
    assert!(lines[0].contains(versions[0]) && lines[1].contains(versions[1]), "{lines:?}");
    assert!(!backend.received_text().contains("HTTP/2"));
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let secure = Setup::of(&[&backend]).listen(&tls(folder.path()));
    let door = secure.clone().start();
    let page = url(&door, "https", "/");
    assert_eq!(curl(&[&["--http2"], &VERSION[..], &[&page]].concat()), "2 200");
    assert_eq!(curl(&[&["--http1.1"], &VERSION[..], &[&page]].concat()), "1.1 200");
    assert!(backend.last().headers.get("x-forwarded-proto") == Some("https"));
    let door = secure.listen("http2 = false").start();
    let page = url(&door, "https", "/");
    assert_eq!(curl(&[&["--http2"], &VERSION[..], &[&page]].concat()), "1.1 200");
    let door = Setup::of(&[&backend]).listen("http2 = false").start();
    let refused = Client::to(&door).ask("PRI * HTTP/2.0\r\n\r\n");
    assert_eq!(refused.reason(), Some("bad_version"));
}

#[test]
fn bodies_pass_both_ways() {
    let backend = echo();
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let plain = Setup::of(&[&backend]).start();
    let secure = Setup::of(&[&backend]).listen(&tls(folder.path())).start();
    let sent = noise(3_000_000);
    for (door, scheme) in [(&plain, "http"), (&secure, "https")] {
        let page = url(door, scheme, "/");
        for length in ["transfer-encoding: chunked", "content-length: 3000000"] {
            let version = if scheme == "http" { "--http2-prior-knowledge" } else { "--http2" };
            let arguments =
                ["-sSk", version, "-H", length, "-H", "expect:", "-X", "POST", "-T", "-", &page];
            assert!(run("curl", &arguments, &sent) == sent, "{scheme}, {length}");
        }
    }
    let file = folder.path().join("sent");
    std::fs::write(&file, &sent).expect("the folder is writable");
    let (file, page) = (file.display().to_string(), url(&plain, "http", "/"));
    assert!(run("nghttp", &["-d", &file, &page], b"") == sent, "nghttp");
    let told =
        String::from_utf8_lossy(&run("nghttp", &["-nv", "-d", &file, &page], b"")).into_owned();
    assert!(told.contains("x-bytes: 3000000"), "its trailer: {told}");
}

#[test]
fn responses_without_a_body() {
    let backend = Backend::start(|request, peer| {
        peer.send(match request.target.as_str() {
            "/204" => "HTTP/1.1 204 No\r\n\r\n",
            "/304" => "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n",
            "/empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n",
        });
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Streams::to(&door);
    for (stream, path, status) in [(1, "/204", 204), (5, "/304", 304), (9, "/empty", 200)] {
        client.open(stream, &get(path), true);
        let head = client.wait(|frame| (frame.stream == stream).then(|| frame.clone()));
        assert_eq!((head.kind, head.flags & END_STREAM), (HEADERS, END_STREAM), "{path}");
        client.open(stream + 2, &get(path), true);
        assert_eq!(client.response(stream + 2), (status, vec![]), "{path}");
    }
    let told = curl(&["--http2-prior-knowledge", "-I", &url(&door, "http", "/large")]);
    assert!(told.starts_with("HTTP/2 200") && told.contains("content-length: 12345"), "{told}");
    assert_eq!(backend.last().method, "HEAD");
}

#[test]
fn many_streams_at_once_over_one_connection() {
    let gate = Arc::new(Gate::default());
    let backend = Backend::start({
        let gate = Arc::clone(&gate);
        move |request, peer| {
            gate.wait();
            peer.send(ok(&request.target));
        }
    });
    let door = Setup::of(&[&backend])
        .listen("http2 = { streams_max = 50 }")
        .pool("adaptive = false")
        .start();
    let mut client = Streams::to(&door);
    let streams = || (1..100).step_by(2);
    for stream in streams() {
        client.open(stream, &get(&format!("/{stream}")), true);
    }
    client.open(101, &get("/one-too-many"), true);
    assert_eq!(client.reset(101), code::REFUSED_STREAM);
    eventually("all are on their way", || backend.requests().len() == 50);
    assert!((door.metric("tidegate_connections", &[]) - 1.0).abs() < 0.5);
    gate.open();
    let mut bodies = std::collections::BTreeMap::new();
    while bodies.len() < 50 {
        let frame = client.read().expect("the door stays");
        if frame.kind == DATA && !frame.payload.is_empty() {
            bodies.insert(frame.stream, String::from_utf8_lossy(&frame.payload).into_owned());
        }
    }
    assert!(streams().all(|stream| bodies[&stream] == format!("/{stream}")), "{bodies:?}");
}

#[test]
fn trailers_pass_to_the_server() {
    let backend = echo();
    let door = Setup::of(&[&backend]).start();
    let mut client = Streams::to(&door);
    client.open(1, &post("/"), false);
    client.send(DATA, 0, 1, b"abc");
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-sum", "3")]));
    assert_eq!(client.response(1), (200, b"abc".to_vec()));
    assert_eq!(backend.last().trailers.get("x-sum"), Some("3"));
    for (stream, name) in [(3, "host"), (5, "content-length"), (7, "authorization")] {
        client.open(stream, &post("/"), false);
        client.send(DATA, 0, stream, b"abc");
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[(name, "3")]));
        assert_eq!(client.status(stream), 400, "{name}");
    }
    eventually("the server is let go", || backend.open() <= 1);
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn an_early_answer_ends_the_upload() {
    let backend = Backend::by_head(|_, peer| {
        peer.send(response(200, "Connection: close\r\n", "enough"));
        peer.close();
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Streams::to(&door);
    for stream in [1, 3] {
        client.open(stream, &post("/"), false);
        client.send(DATA, 0, stream, &[0; 1_000]);
        assert_eq!(client.response(stream), (200, b"enough".to_vec()));
        assert_eq!(client.reset(stream), code::NO_ERROR);
    }
    assert!(client.ping(), "the connection stays");
}

#[test]
fn a_client_that_resets_is_gone() {
    let left = Arc::new(Gate::default());
    let backend = Backend::by_head({
        let left = Arc::clone(&left);
        move |_, peer| {
            peer.read_to_end();
            left.open();
        }
    });
    let door = Setup::of(&[&backend]).more(LOG).start();
    let mut client = Streams::to(&door);
    client.open(1, &get("/"), true);
    eventually("it is on its way", || backend.open() == 1);
    client.send(RST_STREAM, 0, 1, &code::CANCEL.to_be_bytes());
    left.wait();
    assert!(door.access_lines(1)[0].contains("client_closed"));
    assert!(client.ping(), "the connection stays");
}

#[test]
fn a_response_that_is_cut_is_reset() {
    let backend = Backend::answering_once("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    let door = Setup::of(&[&backend]).start();
    let mut client = Streams::to(&door);
    client.open(1, &get("/"), true);
    assert_eq!(client.reset(1), code::INTERNAL_ERROR);
    assert!(client.ping(), "the connection stays");
}

#[test]
fn a_slow_reader_holds_up_nobody_else() {
    let large = noise(4_000_000);
    let backend = Backend::start({
        let large = large.clone();
        move |request, peer| {
            if request.target == "/small" {
                peer.send(ok("small"));
                return;
            }
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", large.len()));
            peer.send(&large);
        }
    });
    let door = Setup::of(&[&backend]).listen("timeouts = { body = \"1s\" }").start();
    let mut client = Streams::with_window(&door, 1_000);
    client.open(1, &get("/large"), true);
    assert_eq!(client.status(1), 200);
    for stream in [3, 5, 7] {
        client.open(stream, &get("/small"), true);
        assert_eq!(client.response(stream), (200, b"small".to_vec()));
    }
    assert_eq!(client.reset(1), code::CANCEL, "in the end it is given up");
    let (file, page) = ("--http2-prior-knowledge", url(&door, "http", "/large"));
    assert!(run("curl", &["-sS", "--limit-rate", "20M", file, &page], b"") == large);
}

#[test]
fn limits_are_those_of_http_1() {
    let backend = echo();
    let door = Setup::of(&[&backend]).listen("limits = { body = \"1KiB\" }").more(LOG).start();
    let mut client = Streams::to(&door);
    let mut told = Vec::new();
    let (long, wide) = (format!("/{}", "a".repeat(9_000)), "b".repeat(17_000));
    let many: Vec<(String, &str)> = (0..150).map(|index| (format!("x-{index}"), "y")).collect();
    let many = many.iter().map(|(name, value)| (name.as_str(), *value));
    for (stream, fields, status, reason) in [
        (1, get(&long), 414, "target_too_long"),
        (3, [get("/"), vec![("a", wide.as_str())]].concat(), 431, "head_too_large"),
        (5, get("/").into_iter().chain(many).collect(), 431, "too_many_headers"),
        (7, [post("/"), vec![("content-length", "2000")]].concat(), 413, "body_too_large"),
        (9, post("/"), 413, "body_too_large"),
        (11, vec![(":method", "CONNECT"), (":authority", "a:80")], 405, "method_not_served"),
        (13, [get("/"), vec![("host", "b")]].concat(), 400, "bad_host"),
        (15, get("/a/../../b%00"), 400, "bad_target"),
    ] {
        let has_body = matches!(stream, 7 | 9);
        client.open(stream, &fields, !has_body);
        if has_body {
            client.send(DATA, END_STREAM, stream, &[0; 2_000]);
        }
        assert_eq!(client.response(stream).0, status, "{reason}");
        told.push(reason);
    }
    let lines = door.access_lines(told.len());
    for (line, reason) in lines.iter().zip(told) {
        assert!(line.contains(reason) && line.contains("HTTP/2"), "{reason}: {line}");
    }
    assert!(backend.requests().is_empty());
}

#[test]
fn fields_reach_the_server_as_http_1_has_them() {
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).start();
    let mut client = Streams::to(&door);
    let more = [
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("cookie", "b=2"),
        ("priority", "u=1"),
        ("host", "A"),
        ("x-empty", ""),
    ];
    let fields = [get("/x?y=%20"), more.to_vec()].concat();
    // Priorities of the old kind are passed over.
    client.send(PRIORITY, 0, 1, &[0, 0, 0, 0, 200]);
    let payload = [&[0, 0, 0, 0, 200], block(&fields).as_slice()].concat();
    client.send(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, &payload);
    assert_eq!(client.response(1), (200, b"hello".to_vec()));
    let request = backend.last();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/x?y=%20"));
    for (name, expected) in [
        ("host", Some("a")),
        ("cookie", Some("a=1; b=2")),
        ("priority", Some("u=1")),
        ("te", None),
        ("x-empty", Some("")),
        ("transfer-encoding", None),
        ("x-forwarded-proto", Some("http")),
    ] {
        assert_eq!(request.headers.get(name), expected, "{name}");
    }
}

#[test]
fn malformed_requests_reach_nobody() {
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).start();
    for fields in [
        [get("/"), vec![("connection", "close")]].concat(),
        [get("/"), vec![("transfer-encoding", "chunked")]].concat(),
        [get("/"), vec![("upgrade", "websocket")]].concat(),
        [get("/"), vec![("keep-alive", "1")]].concat(),
        [get("/"), vec![("proxy-connection", "close")]].concat(),
        [get("/"), vec![("te", "gzip")]].concat(),
        [get("/"), vec![("Upper", "case")]].concat(),
        [get("/"), vec![("a b", "c")]].concat(),
        [get("/"), vec![("a", " b")]].concat(),
        [get("/"), vec![("a", "b ")]].concat(),
        [get("/"), vec![("", "b")]].concat(),
        [get("/"), vec![(":path", "/b")]].concat(),
        [get("/"), vec![(":status", "200")]].concat(),
        [get("/"), vec![(":other", "b")]].concat(),
        [vec![("a", "b")], get("/")].concat(),
        [get("/"), vec![("content-length", "5")]].concat(),
        [get("/"), vec![("content-length", "0"), ("content-length", "0")]].concat(),
        [get("/"), vec![("x_forwarded_for", "b")]].concat(),
        get(""),
        get("x"),
        get("http://a/"),
        get("/a b"),
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "a")],
        vec![(":method", "GET"), (":path", "/"), (":authority", "a")],
        vec![(":scheme", "http"), (":path", "/"), (":authority", "a")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/")],
        vec![(":method", "get"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "u@a"), (":path", "/")],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", ""), (":path", "/")],
    ] {
        let mut client = Streams::to(&door);
        client.open(1, &fields, true);
        client.refused();
        assert!(backend.received().is_empty(), "{fields:?}: {}", backend.received_text());
    }
    // Bodies that are longer or shorter than was said.
    for (length, sent) in [("5", 4_usize), ("5", 6)] {
        let mut client = Streams::to(&door);
        client.open(1, &[post("/"), vec![("content-length", length)]].concat(), false);
        client.send(DATA, END_STREAM, 1, &vec![0; sent]);
        client.refused();
    }
    eventually("the server is let go", || backend.open() == 0);
    assert!(backend.requests().is_empty());
}

#[test]
fn interim_responses_pass() {
    let backend = Backend::by_head(|head, peer| {
        let mut request = head.clone();
        peer.send("HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        peer.read_body(&mut request);
        peer.send(ok(&format!("{}", request.body.len())));
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Streams::to(&door);
    client.open(1, &[post("/"), vec![("expect", "100-continue")]].concat(), false);
    assert_eq!((client.status(1), client.status(1)), (103, 100));
    client.send(DATA, END_STREAM, 1, b"hello");
    assert_eq!(client.response(1), (200, b"5".to_vec()));
}

#[test]
fn a_websocket_is_a_tunnel_in_a_stream() {
    let backend = Backend::by_head(|request, peer| {
        if request.target == "/no" {
            peer.send(response(403, "", "no"));
            return;
        }
        assert_eq!(request.headers.get("sec-websocket-key").map(str::len), Some(24));
        peer.send(
            "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: x\r\n\r\nhello ",
        );
        while let Some(bytes) = peer.read_some() {
            peer.send(&bytes);
        }
        peer.send(" bye");
        peer.close();
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Streams::to(&door);
    let connect = |path| {
        vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", path),
            ("sec-websocket-version", "13"),
        ]
    };
    client.open(1, &connect("/no"), false);
    assert_eq!(client.response(1), (403, b"no".to_vec()));
    client.open(3, &connect("/chat"), false);
    // What comes before the answer waits for it.
    client.send(DATA, 0, 3, b"one ");
    assert_eq!(client.status(3), 200);
    client.send(DATA, 0, 3, b"two");
    client.send(DATA, END_STREAM, 3, b"");
    let (mut said, mut ended) = (Vec::new(), false);
    while !ended {
        let frame = client.read().expect("the door stays");
        if frame.stream == 3 {
            assert_eq!(frame.kind, DATA, "{frame:?}");
            said.extend_from_slice(&frame.payload);
            ended = frame.flags & END_STREAM != 0;
        }
    }
    assert_eq!(String::from_utf8_lossy(&said), "hello one two bye");
    let sent = backend.received_text();
    assert!(sent.contains("GET /chat HTTP/1.1\r\n") && !sent.contains("CONNECT"), "{sent}");
    client.open(5, &[(":method", "CONNECT"), (":protocol", "udp")], true);
    client.refused();
}

#[test]
fn a_drain_lets_streams_end() {
    let gate = Arc::new(Gate::default());
    let backend = Backend::start({
        let gate = Arc::clone(&gate);
        move |_, peer| {
            gate.wait();
            peer.send(ok("done"));
        }
    });
    let mut door = Setup::of(&[&backend]).more("[door]\nworkers = 1\ndrain = \"10s\"").start();
    let mut idle = Streams::to(&door);
    let mut client = Streams::to(&door);
    client.open(1, &get("/"), true);
    eventually("it is on its way", || backend.requests().len() == 1);
    door.signal(Signal::TERM);
    let told = client.wait(|frame| (frame.kind == GOAWAY).then(|| number(frame, 4)));
    assert_eq!(told, code::NO_ERROR);
    assert_eq!(idle.goaway(), code::NO_ERROR);
    gate.open();
    assert_eq!(client.response(1), (200, b"done".to_vec()));
    client.closed();
    eventually("the door ends", || !door.is_running());
}

#[test]
fn an_upgrade_sends_clients_to_the_new_process() {
    let backend = Backend::answering(ok("hello"));
    let mut door = Setup::of(&[&backend]).start();
    let mut client = Streams::to(&door);
    client.open(1, &get("/"), true);
    assert_eq!(client.response(1).0, 200);
    door.upgrade();
    // The connection is the old process's still, and so is what is asked on it.
    client.open(3, &get("/"), true);
    assert_eq!(client.response(3), (200, b"hello".to_vec()));
    assert_eq!(client.goaway(), code::NO_ERROR);
    let mut client = Streams::to(&door);
    client.open(1, &get("/"), true);
    assert_eq!(client.response(1).0, 200);
}

#[test]
fn an_idle_connection_ends_in_time() {
    let backend = Backend::answering(ok("hello"));
    let times = "timeouts = { keep_alive = \"300ms\", head = \"300ms\" }";
    let door = Setup::of(&[&backend]).listen(times).start();
    let mut client = Streams::to(&door);
    client.open(1, &get("/"), true);
    assert_eq!(client.response(1).0, 200);
    assert_eq!(client.goaway(), code::NO_ERROR);
    // One that never comes to its point: no settings, and half a frame.
    let mut client = Frames::bare(door.first_address());
    client.send(&PREFACE[..20]);
    while client.receive().is_some() {}
    let mut client = Streams::to(&door);
    client.raw(&frame(HEADERS, END_HEADERS, 1, &block(&get("/")))[..20]);
    client.closed();
}

#[test]
fn idle_connections_make_room() {
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).listen("limits = { connections = 2 }").start();
    let mut idle = [Streams::to(&door), Streams::to(&door)];
    eventually("a new client is served", || {
        let mut client = Client::to(&door);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.try_response(false).is_ok_and(|response| response.status == 200)
    });
    assert_eq!(idle[0].goaway(), code::NO_ERROR);
}

#[test]
fn chunks_of_a_server_become_data() {
    let backend = Backend::answering(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        chunked(&["one ", "two ", "three"])
    ));
    let door = Setup::of(&[&backend]).start();
    let mut client = Streams::to(&door);
    client.open(1, &get("/"), true);
    assert_eq!(client.response(1), (200, b"one two three".to_vec()));
}
