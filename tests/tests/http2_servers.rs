//! Pools whose servers speak HTTP/2: nginx with and without TLS, and servers that refuse streams,
//! go away, break off or lie.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use black_box::{Client, Door, PATIENCE, Setup, eventually, free_port};
use bytes::Bytes;
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::SendResponse;
use http::Request;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

const POOL: &str = "protocol = \"http2\"";

/// nginx with this in its `server` block besides where it listens.
struct Nginx {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Nginx {
    /// `listens` stands behind the address in `listen`.
    #[track_caller]
    fn start(listens: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let dir = folder.path().display().to_string();
        let key = KeyPair::generate().expect("a key can be made");
        let parameters = CertificateParams::new(["localhost".to_owned()]).expect("it is a name");
        let certificate = parameters.self_signed(&key).expect("it can be signed");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let configuration = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log {dir}/access.log;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
  client_max_body_size 100m;
  server {{
    listen {address} {listens};
    root {dir}/www;
    location = /told {{ return 200 \"$request_method $host $uri $args $server_protocol $http_x_a\"; }}
    location = /nothing {{ return 204; }}
    location = /moved {{ return 301 /elsewhere; }}
  }}
}}
"
        );
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).expect("the folder is writable");
        };
        std::fs::create_dir(folder.path().join("www")).expect("the folder is writable");
        write("www/large.bin", &bytes(20_000_000));
        write("cert.pem", certificate.pem().as_bytes());
        write("key.pem", key.serialize_pem().as_bytes());
        write("nginx.conf", configuration.as_bytes());
        let program = ["/usr/sbin/nginx", "nginx"];
        let program = program.into_iter().find(|file| std::path::Path::new(file).is_file());
        let child = Command::new(program.unwrap_or("nginx"))
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("nginx cannot be run, {error} (Debian: apt-get install nginx-light)")
            });
        eventually("nginx listens", || TcpStream::connect(address).is_ok());
        Self { child, address, folder }
    }

    fn door(&self, pool: &str) -> Door {
        Setup::at(&[self.address]).pool(POOL).pool(pool).start()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn bytes(size: usize) -> Vec<u8> {
    (0_u64..)
        .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(size)
        .collect()
}

/// Everything that a client of HTTP/1.1 can ask of nginx over HTTP/2.
#[track_caller]
fn check_nginx(nginx: &Nginx, pool: &str) {
    let door = nginx.door(pool);
    let mut client = Client::to(&door);
    let told = client.ask("GET /told?a=b%20c HTTP/1.1\r\nhost: web.test:81\r\nx-a: 1\r\n\r\n");
    assert_eq!(told.text(), "GET web.test /told a=b%20c HTTP/2.0 1");
    assert_eq!(told.version, "HTTP/1.1");
    assert_eq!(client.get("/nothing").status, 204);
    assert_eq!(client.get("/missing").status, 404);
    let moved = client.get("/moved");
    assert_eq!(moved.status, 301);
    assert!(moved.header("location").is_some_and(|to| to.ends_with("/elsewhere")));
    let whole = client.get("/large.bin");
    assert_eq!(whole.header("content-length"), Some("20000000"));
    assert!(whole.body == bytes(20_000_000), "the file is another one");
    let part = "GET /large.bin HTTP/1.1\r\nhost: a\r\nrange: bytes=10-19\r\n\r\n";
    let part = client.ask(part);
    assert_eq!((part.status, part.body), (206, bytes(20)[10..].to_vec()));
    client.send("HEAD /large.bin HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response_to_head().header("content-length"), Some("20000000"));
    // One connection carried all of it.
    let log = std::fs::read_to_string(nginx.folder.path().join("access.log")).unwrap_or_default();
    assert!(log.lines().all(|line| line.contains("HTTP/2.0")), "{log}");
    // A client of HTTP/1.0 need not name a host.
    let old = Client::to(&door).ask("GET /told HTTP/1.0\r\n\r\n");
    assert_eq!((old.status, old.header("connection")), (200, Some("close")));
}

#[test]
fn nginx_serves_over_http2_without_tls() {
    check_nginx(&Nginx::start("http2"), "");
}

#[test]
fn nginx_serves_over_http2_with_tls() {
    let nginx = Nginx::start("ssl http2");
    check_nginx(&nginx, "tls = { verify = false }\ncheck = { path = \"/nothing\" }");
}

#[test]
fn a_head_that_is_too_large_for_a_server_cuts_nobody_else() {
    // nginx ends the connection for it.
    let nginx = Nginx::start("http2");
    let setup = Setup::at(&[nginx.address]).pool(POOL).listen("limits = { head = \"64KiB\" }");
    let door = setup.start();
    let mut slow = Client::to(&door);
    slow.send("GET /large.bin HTTP/1.1\r\nhost: a\r\n\r\n");
    let head = slow.response_head().expect("it begins");
    let large = "a".repeat(40_000);
    for _ in 0..3 {
        let request = format!("GET /told HTTP/1.1\r\nhost: a\r\nx-a: {large}\r\n\r\n");
        let refused = Client::to(&door).ask(request);
        assert_eq!((refused.status, refused.reason()), (431, Some("head_too_large")));
    }
    assert!(slow.rest_of(head, false).body == bytes(20_000_000), "another client's file was cut");
}

#[test]
fn a_server_that_does_not_choose_http2_fails_its_handshake() {
    let nginx = Nginx::start("ssl");
    let door = nginx.door("tls = { verify = false }");
    let refused = Client::to(&door).get("/told");
    assert_eq!((refused.status, refused.reason()), (502, Some("server_tls")));
    assert!(door.log().contains("ALPN") || door.log().contains("TLS to the server failed"));
}

#[test]
fn a_server_without_http2_is_told_of_in_the_log() {
    let nginx = Nginx::start("");
    let door = nginx.door("");
    let refused = Client::to(&door).get("/told");
    assert_eq!((refused.status, refused.reason()), (502, Some("connect_failed")));
    assert!(door.log().contains("the server does not speak HTTP/2"), "{}", door.log());
}

type Answer = SendResponse<Bytes>;

/// A server over HTTP/2 without TLS whose every answer is scripted.
struct Scripted {
    address: SocketAddr,
    /// Requests so far, as `METHOD path`.
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

/// What a scripted server does to its connection after a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Stay,
    /// Says GOAWAY, with the requests so far served.
    GoAway,
    /// Breaks off.
    Break,
}

impl Scripted {
    /// `answer` gets the number of the request, from 0, over all connections.
    fn start(answer: impl Fn(usize, Request<RecvStream>, Answer) -> Then + Send + 'static) -> Self {
        Self::speaking(false, answer)
    }

    /// The same; with `websocket` it takes an extended CONNECT too.
    fn speaking(
        websocket: bool,
        answer: impl Fn(usize, Request<RecvStream>, Answer) -> Then + Send + 'static,
    ) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let address = socket.local_addr().expect("a listening socket has an address");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (connections, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let script = Script {
            answer: Box::new(answer),
            speaks_websocket: websocket,
            asked: Arc::clone(&asked),
            connections: Arc::clone(&connections),
            open: Arc::clone(&open),
        };
        std::thread::spawn(move || {
            let options = tokio::runtime::LocalOptions::default();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build_local(options);
            runtime.expect("a runtime can be made").block_on(script.serve(socket));
        });
        Self { address, asked, connections, open }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Script {
    answer: Box<dyn Fn(usize, Request<RecvStream>, Answer) -> Then + Send>,
    speaks_websocket: bool,
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Script {
    async fn serve(self, socket: TcpListener) {
        socket.set_nonblocking(true).expect("a socket can be nonblocking");
        let socket = tokio::net::TcpListener::from_std(socket).expect("it can be registered");
        let script = std::rc::Rc::new(self);
        while let Ok((tcp, _)) = socket.accept().await {
            let script = std::rc::Rc::clone(&script);
            tokio::task::spawn_local(async move {
                script.connections.fetch_add(1, Ordering::Relaxed);
                script.open.fetch_add(1, Ordering::Relaxed);
                script.connection(tcp).await;
                script.open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    async fn connection(&self, tcp: tokio::net::TcpStream) {
        let mut builder = h2::server::Builder::new();
        if self.speaks_websocket {
            builder.enable_connect_protocol();
        }
        let Ok(mut connection) = builder.handshake(tcp).await else { return };
        while let Some(Ok((request, answer))) = connection.accept().await {
            let number = {
                let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
                asked.push(format!("{} {}", request.method(), request.uri().path()));
                asked.len() - 1
            };
            match (self.answer)(number, request, answer) {
                Then::Stay => {}
                Then::GoAway => connection.graceful_shutdown(),
                Then::Break => return,
            }
        }
    }
}

fn says(mut answer: Answer, text: &'static str) -> Then {
    let mut stream = answer.send_response(http::Response::new(()), false).expect("it is open");
    stream.send_data(Bytes::from_static(text.as_bytes()), true).expect("it is open");
    Then::Stay
}

/// Sends back what comes, then says `bye`, as the protocol of the stream has it.
fn echoes(request: Request<RecvStream>, mut answer: Answer) -> Then {
    let is_websocket =
        request.extensions().get::<Protocol>().is_some_and(|p| p.as_str() == "websocket");
    if request.uri().path() == "/no" || !is_websocket {
        let mut refused = http::Response::new(());
        *refused.status_mut() = http::StatusCode::FORBIDDEN;
        answer.send_response(refused, true).expect("it is open");
        return Then::Stay;
    }
    assert!(request.headers().get("sec-websocket-key").is_none());
    let fields = request.headers().clone();
    let mut response = http::Response::new(());
    response.headers_mut().extend(
        fields
            .get("sec-websocket-protocol")
            .cloned()
            .map(|known| (http::header::SEC_WEBSOCKET_PROTOCOL, known)),
    );
    let mut stream = answer.send_response(response, false).expect("it is open");
    let mut body = request.into_body();
    tokio::task::spawn_local(async move {
        while let Some(Ok(bytes)) = body.data().await {
            body.flow_control().release_capacity(bytes.len()).expect("it came");
            stream.send_data(bytes, false).expect("it is open");
        }
        stream.send_data(Bytes::from_static(b"bye"), true).expect("it is open");
    });
    Then::Stay
}

const UPGRADE: &str = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

#[test]
fn a_websocket_is_a_tunnel_in_a_stream() {
    let server = Scripted::speaking(true, |_, request, answer| echoes(request, answer));
    let door = Setup::at(&[server.address]).pool(POOL).start();
    let refused = Client::to(&door).ask(format!("GET /no HTTP/1.1\r\n{UPGRADE}"));
    assert_eq!(refused.status, 403);
    let mut socket = TcpStream::connect(door.first_address()).expect("the door listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    socket
        .write_all(format!("GET /chat HTTP/1.1\r\n{UPGRADE}one ").as_bytes())
        .expect("it is open");
    let mut text = Vec::new();
    let mut until = |end: &str| {
        while !text.ends_with(end.as_bytes()) {
            let mut room = [0; 1_024];
            let count = socket.read(&mut room).expect("the door stays");
            assert!(
                count > 0,
                "the door has closed: {} {:?}",
                String::from_utf8_lossy(&text),
                server.asked()
            );
            text.extend_from_slice(&room[..count]);
        }
        socket.write_all(b"two ").expect("it is open");
        String::from_utf8_lossy(&text).into_owned()
    };
    let head = until("one ");
    until("two ");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The answer to this key is RFC 6455's own example.
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    assert!(head.contains("sec-websocket-protocol: chat\r\n"), "{head}");
    socket.shutdown(Shutdown::Write).expect("it is open");
    let mut rest = String::new();
    socket.read_to_string(&mut rest).expect("the door ends it properly");
    assert_eq!(rest, "two bye");
    assert_eq!(server.asked(), ["CONNECT /no", "CONNECT /chat"]);
}

#[test]
fn a_server_that_knows_no_websockets_is_asked_without() {
    let server = Scripted::start(|_, request, answer| echoes(request, answer));
    let door = Setup::at(&[server.address]).pool(POOL).start();
    let refused = Client::to(&door).ask(format!("GET /chat HTTP/1.1\r\n{UPGRADE}"));
    assert_eq!(refused.status, 403);
    assert_eq!(server.asked(), ["GET /chat"]);
}

const POST: &str = "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

#[test]
fn a_refused_request_is_repeated_elsewhere_even_if_it_may_change_something() {
    let full = Scripted::start(|_, _, mut answer| {
        answer.send_reset(h2::Reason::REFUSED_STREAM);
        Then::Stay
    });
    let free = Scripted::start(|_, _, answer| says(answer, "done"));
    let setup = Setup::at(&[full.address, free.address]).pool(POOL);
    let door = setup.pool("balance = \"round-robin\"\nejection = false").start();
    let mut client = Client::to(&door);
    for _ in 0..4 {
        assert_eq!(client.ask(POST).text(), "done");
    }
    assert_eq!((free.asked().len(), full.asked().len()), (4, 2));
}

#[test]
fn a_request_that_may_have_begun_is_repeated_only_if_that_does_no_harm() {
    let breaking = |number: usize, _, mut answer: Answer| {
        if number == 0 {
            answer.send_reset(h2::Reason::INTERNAL_ERROR);
            return Then::Stay;
        }
        says(answer, "done")
    };
    let server = Scripted::start(breaking);
    let door = Setup::at(&[server.address]).pool(POOL).start();
    let failed = Client::to(&door).ask(POST);
    assert_eq!((failed.status, failed.reason()), (502, Some("server_closed")));
    assert_eq!(server.asked(), ["POST /a"]);
    let server = Scripted::start(breaking);
    let door = Setup::at(&[server.address]).pool(POOL).start();
    assert_eq!(Client::to(&door).get("/a").text(), "done");
    assert_eq!(server.asked(), ["GET /a", "GET /a"]);
}

#[test]
fn nobody_sees_a_connection_that_goes_away() {
    let server = Scripted::start(|number, _, answer| {
        says(answer, "done");
        if number % 3 == 2 { Then::GoAway } else { Then::Stay }
    });
    let door = Setup::at(&[server.address]).pool(POOL).pool("retries = { attempts = 1 }").start();
    let mut client = Client::to(&door);
    for _ in 0..30 {
        assert_eq!(client.ask(POST).text(), "done");
    }
    assert_eq!(server.asked().len(), 30, "no request was sent twice");
    assert!(server.connections.load(Ordering::Relaxed) >= 10);
}

#[test]
fn a_broken_connection_cuts_the_response_visibly() {
    let server = Scripted::start(|_, _, mut answer| {
        let mut stream = answer.send_response(http::Response::new(()), false).expect("it is open");
        stream.send_data(Bytes::from_static(b"half"), false).expect("it is open");
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
        // What was queued before a reset is sent before it, or not at all: both are cuts.
        Then::Stay
    });
    let door = Setup::at(&[server.address]).pool(POOL).start();
    let mut client = Client::to(&door);
    client.send(POST);
    match client.try_response(false) {
        Ok(response) => assert_eq!(response.reason(), Some("server_closed"), "{response:?}"),
        Err(broken) => eventually(&format!("it is counted, {broken:?}"), || {
            door.metric("tidegate_reasons_total", &["reason=\"server_closed\""]) >= 1.0
        }),
    }
    let gone = Scripted::start(|_, _, _| Then::Break);
    let door = Setup::at(&[gone.address]).pool(POOL).start();
    let failed = Client::to(&door).ask(POST);
    assert_eq!((failed.status, failed.reason()), (502, Some("server_closed")));
}

#[test]
fn a_server_that_does_not_answer_runs_out_of_time() {
    let kept = Mutex::new(Vec::new());
    let server = Scripted::start(move |_, request, answer| {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push((request, answer));
        Then::Stay
    });
    let setup = Setup::at(&[server.address]).pool(POOL);
    let door = setup.clone().pool("timeouts = { first_byte = \"100ms\" }").start();
    let late = Client::to(&door).ask(POST);
    assert_eq!((late.status, late.reason()), (504, Some("first_byte_timeout")));
    // A call says itself how long it may take, and is answered in its own way.
    let door = setup.start();
    let call = "POST /a.B/C HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\n\
        grpc-timeout: 200m\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0";
    let late = Client::to(&door).ask(call);
    assert_eq!((late.status, late.reason()), (200, Some("total_timeout")));
    assert_eq!(late.header("grpc-status"), Some("4"), "DEADLINE_EXCEEDED");
}

#[test]
fn a_server_whose_calls_fail_is_set_aside() {
    let failing = Scripted::start(|_, _, mut answer| {
        let unavailable = http::Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "14")
            .body(());
        answer.send_response(unavailable.expect("it is sound"), true).expect("it is open");
        Then::Stay
    });
    let sound = Scripted::start(|_, _, answer| says(answer, "done"));
    let setup = Setup::at(&[failing.address, sound.address]).pool(POOL);
    let door = setup.pool("balance = \"round-robin\"\nejection = { pause = \"30s\" }").start();
    let mut client = Client::to(&door);
    let call = "POST /a.B/C HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\n\
        content-length: 5\r\n\r\n\0\0\0\0\0";
    for _ in 0..30 {
        assert_eq!(client.ask(call).status, 200);
    }
    assert_eq!(failing.asked().len(), 5, "after five failures in a row it gets no more");
}

#[test]
fn a_server_that_left_the_pool_is_left_alone() {
    let one = Scripted::start(|_, _, answer| says(answer, "one"));
    let other = Scripted::start(|_, _, answer| says(answer, "other"));
    let both = Setup::at(&[one.address, other.address]).pool(POOL);
    let door = both.pool("balance = \"round-robin\"").start();
    let mut client = Client::to(&door);
    drop((client.get("/"), client.get("/")));
    assert_eq!((one.open.load(Ordering::Relaxed), one.asked().len()), (1, 1));
    door.rewrite(&Setup::at(&[other.address]).pool(POOL).text());
    let reloaded = door.reload();
    assert_eq!(reloaded.status, 200, "{}", reloaded.body);
    assert_eq!(client.get("/").text(), "other");
    eventually("its connection is closed", || one.open.load(Ordering::Relaxed) == 0);
}

/// A server that answers the first stream of each connection with this header block, whatever it
/// was asked. `block` is HPACK; small enough for one frame.
fn lying(block: Vec<u8>) -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let address = socket.local_addr().expect("a listening socket has an address");
    std::thread::spawn(move || {
        for mut tcp in socket.incoming().flatten() {
            let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            let acknowledged = [0, 0, 0, 4, 1, 0, 0, 0, 0];
            let length = u8::try_from(block.len()).expect("the block is short");
            // HEADERS with END_STREAM and END_HEADERS, on stream 1.
            let head = [0, 0, length, 1, 5, 0, 0, 0, 1];
            let mut preface = [0; 24];
            if tcp.read_exact(&mut preface).is_err() || tcp.write_all(&settings).is_err() {
                continue;
            }
            // Waits for the request's frame, then answers.
            let mut frame = [0; 9];
            while tcp.read_exact(&mut frame).is_ok() {
                let length = usize::from(frame[1]) * 256 + usize::from(frame[2]);
                let mut payload = vec![0; length];
                if tcp.read_exact(&mut payload).is_err() {
                    break;
                }
                match frame[3] {
                    4 if frame[4] & 1 == 0 => drop(tcp.write_all(&acknowledged)),
                    1 => drop(tcp.write_all(&head).and_then(|()| tcp.write_all(&block))),
                    _ => {}
                }
            }
        }
    });
    address
}

/// A field without indexing, its name and value as they are (RFC 7541, section 6.2.2).
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |text: &[u8]| u8::try_from(text.len()).expect("it is short");
    [&[0, length(name)], name, &[length(value)], value].concat()
}

/// `:status: 200` is the eighth field of the static table.
const STATUS_200: u8 = 0x88;

#[test]
fn threat_39_and_40_no_field_of_a_server_becomes_a_line() {
    #[track_caller]
    fn check(name: &str, value: &[u8], status: u16) {
        let block = [vec![STATUS_200], literal(name.as_bytes(), value)].concat();
        let door = Setup::at(&[lying(block)]).pool(POOL).start();
        let mut client = Client::to(&door);
        let response = client.get("/");
        assert_eq!(response.status, status, "{name}: {value:?}");
        assert!(!response.headers.has("x-evil"), "{response:?}");
        if status == 502 {
            assert_eq!(response.reason(), Some("bad_response"));
        }
    }
    check("x-a", b"1", 200);
    check("x-a", b"1\r\nx-evil: 2", 502);
    check("x-a", b"1\nx-evil: 2", 502);
    check("x-a", b"1\0", 502);
    check("x-a: 1\r\nx-evil", b"2", 502);
    check("X-Upper", b"1", 502);
    check("x evil", b"1", 502);
    check("", b"1", 502);
    check("connection", b"x-evil", 502);
    check("transfer-encoding", b"chunked", 502);
    check("content-length", b"5", 502);
}
