//! The PROXY protocol: whose connection it is, as a proxy in front says, and as servers are told;
//! also by HAProxy and nginx.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use black_box::tcp::{check_echo, connect, read, rest};
use black_box::{Backend, Client, Door, Response, Setup, TcpServer, eventually, ok};
use tempfile::TempDir;

const TRUSTING: &str = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]";
const LOG: &str = "[telemetry]\naccess_log = { file = \"{dir}/access\" }";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A version 2 header of a connection from 192.0.2.7:1000 to 198.51.100.1:443.
fn v2() -> Vec<u8> {
    [&SIGNATURE[..], &[0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 3, 232, 1, 187]].concat()
}

/// Answers with whom it is told that the request is from.
fn told() -> Backend {
    Backend::start(|request, peer| {
        peer.send(ok(request.headers.get("x-forwarded-for").unwrap_or("-")));
    })
}

fn after(door: &Door, header: &[u8]) -> Response {
    Client::to(door).ask([header, GET].concat())
}

#[test]
fn the_address_in_the_header_is_the_clients() {
    let backend = told();
    let limit = "[limits.per-address]\nby = \"address\"\nrate = \"1/m\"\nburst = 3";
    let door = Setup::of(&[&backend])
        .listen(TRUSTING)
        .listen("limits = { connections_per_address = 2 }")
        .more(&format!("{LOG}\n{limit}"))
        .start();
    for (header, client) in [
        (&v2()[..], "192.0.2.7"),
        (b"PROXY TCP4 192.0.2.8 198.51.100.1 1000 443\r\n", "192.0.2.8"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 1000 443\r\n", "2001:db8::9"),
        // The proxy's own connections.
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "127.0.0.1"),
    ] {
        let answer = after(&door, header);
        assert_eq!((answer.status, answer.text().as_str()), (200, client));
    }
    let lines = door.access_lines(5);
    assert!(lines[0].contains("\"client\":\"192.0.2.7\""), "{lines:?}");
    assert!(lines[0].contains("\"peer\":\"192.0.2.7:1000\""), "{lines:?}");
    // In pieces, as it may come.
    let mut client = Client::to(&door);
    client.send_slowly(v2());
    assert_eq!(client.get("/").text(), "192.0.2.7");
    assert_eq!(client.get("/").status, 200);
    // The rate is the client's, and not the proxy's.
    assert_eq!(client.get("/").reason(), Some("rate_limited"));
    assert_eq!(after(&door, b"PROXY TCP4 192.0.2.10 192.0.2.1 1 2\r\n").status, 200);
    // So are the connections that it may have.
    let mut second = Client::to(&door);
    second.send([&v2()[..], GET].concat());
    assert_eq!(second.response().status, 429);
    let mut third = Client::to(&door);
    third.send(v2());
    third.expect_closed();
    let refused = ["reason=\"too_many_connections\""];
    assert_eq!(door.metric("tidegate_connections_refused_total", &refused), 1.0);
    assert_eq!(after(&door, b"PROXY TCP4 192.0.2.11 192.0.2.1 1 2\r\n").status, 200);
}

/// A refusal: closed without a word, counted, logged, and nothing reached the server.
#[track_caller]
fn refused(door: &Door, backend: &Backend, bytes: &[u8], reason: &str) {
    let label = format!("reason=\"{reason}\"");
    let count = || door.metric("tidegate_connections_refused_total", &[&label]);
    let before = count();
    let lines = door.folder().join("access");
    let lines = || std::fs::read_to_string(&lines).unwrap_or_default().matches(reason).count();
    let logged = lines();
    let mut client = connect(door.first_address());
    drop(client.write_all(bytes));
    assert_eq!(rest(&mut client), b"", "{reason}: {bytes:?}");
    eventually("it is counted", || count() == before + 1.0);
    eventually("it is logged", || lines() == logged + 1);
    assert_eq!(backend.connections(), 0, "{reason}: {bytes:?}");
}

#[test]
fn threat_31_a_header_from_an_untrusted_peer() {
    let backend = told();
    let trusting = "proxy_protocol = true\ntrusted_proxies = [\"192.0.2.0/24\"]";
    let door = Setup::of(&[&backend]).listen(trusting).more(LOG).start();
    for header in [&v2()[..], b"PROXY TCP4 192.0.2.8 198.51.100.1 1000 443\r\n", b""] {
        refused(&door, &backend, &[header, GET].concat(), "proxy_untrusted");
    }
    // Where none is expected a header is no request.
    let door = Setup::of(&[&backend]).more(LOG).start();
    assert_eq!(after(&door, b"PROXY TCP4 192.0.2.8 198.51.100.1 1000 443\r\n").status, 400);
    assert_eq!(after(&door, &v2()).status, 400);
    assert_eq!(backend.connections(), 0);
}

#[test]
fn threat_31_a_header_that_is_truncated_or_garbled() {
    let backend = told();
    let door = Setup::of(&[&backend])
        .listen(TRUSTING)
        .listen("timeouts = { handshake = \"100ms\" }")
        .more(LOG)
        .start();
    let v2 = v2();
    for header in [
        &b""[..],
        b"PROXY TCP4 192.0.2.8 198.51.100.1 1000\r\n",
        b"PROXY TCP4 192.0.2.8 198.51.100.1 1000 443\n",
        b"PROXY TCP4 192.0.2.8 198.51.100.1 1000 443 \r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b",
        b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        refused(&door, &backend, &[header, GET].concat(), "bad_proxy_header");
    }
    for length in [1, 12, 13, 15, 16, v2.len() - 1] {
        refused(&door, &backend, &v2[..length], "hello_timeout");
        let mut client = connect(door.first_address());
        client.write_all(&v2[..length]).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest(&mut client), b"");
    }
    // A length that says more than comes takes the request with it, and ends in time.
    let mut long = v2.clone();
    long[15] = 200;
    refused(&door, &backend, &[&long[..], GET].concat(), "hello_timeout");
    assert_eq!(after(&door, &v2).status, 200);
}

/// What a server heard before the request.
fn header_of(conversation: &[u8]) -> String {
    let at = conversation.windows(4).position(|bytes| bytes == b"GET ").unwrap_or_default();
    String::from_utf8_lossy(&conversation[..at]).into_owned()
}

/// What servers heard, connection by connection.
type Heard = std::sync::Arc<std::sync::Mutex<Vec<String>>>;

fn note(heard: &Heard, what: String) {
    heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(what);
}

/// A server that takes a PROXY v1 line before HTTP, and keeps the connection.
fn behind_v1() -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    let heard = Heard::default();
    let noted = std::sync::Arc::clone(&heard);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let noted = std::sync::Arc::clone(&noted);
            std::thread::spawn(move || answer_v1(socket, &noted));
        }
    });
    (address, heard)
}

fn answer_v1(mut socket: std::net::TcpStream, heard: &Heard) {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = socket.read(&mut part) {
        bytes.extend_from_slice(&part[..count]);
        if bytes.ends_with(b"\r\n\r\n") {
            note(heard, header_of(&bytes));
            bytes.clear();
            drop(socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
        }
    }
    if !bytes.is_empty() {
        note(heard, String::from_utf8_lossy(&bytes).into_owned());
    }
}

#[test]
fn requests_of_different_clients_share_no_connection() {
    let (address, heard) = behind_v1();
    let door = Setup::at(&[address]).pool("proxy_protocol = \"v1\"").start();
    let (mut one, mut other) = (Client::to(&door), Client::to(&door));
    for client in [&mut one, &mut other] {
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "ok");
        }
    }
    assert_eq!(one.get("/").text(), "ok");
    let heard = heard.lock().unwrap().clone();
    let of = |client: &Client| {
        let (own, door) = (client.address(), door.first_address());
        format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), door.port())
    };
    // A request without a header before it came over a connection that had one.
    let expected = [
        of(&one),
        String::new(),
        String::new(),
        of(&other),
        String::new(),
        String::new(),
        String::new(),
    ];
    assert_eq!(heard, expected);
}

#[test]
fn checks_are_the_doors_own_connections() {
    let (address, heard) = behind_v1();
    let pool = "proxy_protocol = \"v1\"\ncheck = { path = \"/\", interval = \"50ms\" }";
    let door = Setup::at(&[address]).pool(pool).start();
    assert_eq!(Client::to(&door).get("/").text(), "ok");
    eventually("checks were heard", || {
        let heard = heard.lock().unwrap();
        heard.iter().filter(|header| *header == "PROXY UNKNOWN\r\n").count() >= 2
    });
}

#[test]
fn who_came_by_proxy_is_passed_on_by_proxy() {
    let server = TcpServer::start("");
    let text = |version: &str| {
        format!(
            "[listen.tcp]\naddress = \"127.0.0.1:0\"\nmode = \"tcp\"\npool = \"one\"\n{TRUSTING}\n\
             [pools.one]\nservers = [\"{}\"]\nproxy_protocol = \"{version}\"\n",
            server.address()
        )
    };
    let header = "PROXY TCP4 192.0.2.7 198.51.100.1 1000 443\r\n";
    let door = Door::start(&text("v1"));
    let mut client = connect(door.first_address());
    client.write_all(&v2()).unwrap();
    assert_eq!(read(&mut client, header.len()), header, "it is the first thing that comes");
    check_echo(&mut client, "and the rest as it is");
    let door = Door::start(&text("v2"));
    let mut client = connect(door.first_address());
    client.write_all(header.as_bytes()).unwrap();
    let mut echoed = vec![0; v2().len()];
    client.read_exact(&mut echoed).unwrap();
    assert_eq!(echoed, v2());
}

/// Another proxy, as a child process with a folder.
struct Other {
    child: Child,
    _folder: TempDir,
}

impl Other {
    #[track_caller]
    fn start(program: &str, package: &str, configuration: &str, address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let file = folder.path().join("proxy.conf");
        let text = configuration.replace("{dir}", &folder.path().display().to_string());
        std::fs::write(&file, text).expect("the folder is writable");
        let own = PathBuf::from("/usr/sbin").join(program);
        let mut command = Command::new(if own.is_file() { own } else { program.into() });
        let command = match program {
            "nginx" => command.arg("-p").arg(folder.path()).arg("-c").arg(&file),
            _ => command.arg("-db").arg("-f").arg(&file),
        };
        let log = std::fs::File::create(folder.path().join("log")).expect("it is writable");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("{program} cannot be run, {error} (Debian: apt-get install {package})")
        });
        let other = Self { child, _folder: folder };
        eventually("it listens", || TcpStream::connect(address).is_ok());
        other
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free() -> SocketAddr {
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    unused.local_addr().expect("it is bound")
}

#[test]
fn haproxy_sends_and_receives_it() {
    for (sends, accepts) in [("send-proxy", "v2"), ("send-proxy-v2", "v1")] {
        let (front, behind) = (free(), free());
        let backend = told();
        let door = Setup::at(&[behind])
            .listen(TRUSTING)
            .pool(&format!("proxy_protocol = \"{accepts}\""))
            .start();
        let configuration = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
             listen front\n bind {front}\n mode tcp\n server door {} {sends}\n\
             listen behind\n bind {behind} accept-proxy\n http-request set-header x-source %[src]:%[src_port]\n server own {}\n",
            door.first_address(),
            backend.address()
        );
        let _haproxy = Other::start("haproxy", "haproxy", &configuration, front);
        let mut client = Client::connect(front);
        assert_eq!(client.get("/").status, 200);
        let own = client.address().to_string();
        assert_eq!(backend.last().headers.get("x-source"), Some(&*own), "{sends}, {accepts}");
    }
}

#[test]
fn nginx_receives_it() {
    let behind = free();
    let door = Setup::at(&[behind]).pool("proxy_protocol = \"v2\"").start();
    let configuration = format!(
        "daemon off; master_process off; pid {{dir}}/pid; error_log {{dir}}/error.log;\n\
         events {{ worker_connections 64; }}\nhttp {{ access_log off;\n\
         client_body_temp_path {{dir}}/b; proxy_temp_path {{dir}}/p; fastcgi_temp_path {{dir}}/f;\n\
         uwsgi_temp_path {{dir}}/u; scgi_temp_path {{dir}}/s;\n\
         server {{ listen {behind} proxy_protocol;\n\
         return 200 \"$proxy_protocol_addr:$proxy_protocol_port\"; }} }}\n"
    );
    let _nginx = Other::start("nginx", "nginx-light", &configuration, behind);
    let mut client = Client::to(&door);
    assert_eq!(client.get("/").text(), client.address().to_string());
    let mut other = Client::to(&door);
    assert_eq!(other.get("/").text(), other.address().to_string());
    assert_eq!(client.get("/").text(), client.address().to_string());
}
