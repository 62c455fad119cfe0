//! Upgraded connections: a real WebSocket client and server with the door between them, and raw
//! bytes where the order of things matters.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use black_box::{
    Backend, Client, Door, Gate, PATIENCE, Peer, Request, Setup, eventually, response,
};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

/// A WebSocket server that echoes; `bye` makes it close, `die` makes it drop the connection.
struct EchoServer {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl EchoServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a listening socket has an address");
        let stopping = Arc::new(AtomicBool::new(false));
        let acceptor = std::thread::spawn({
            let stopping = Arc::clone(&stopping);
            move || accept(&listener, &stopping)
        });
        Self { address, stopping, acceptor: Some(acceptor) }
    }
}

fn accept(listener: &TcpListener, stopping: &AtomicBool) {
    for stream in listener.incoming().flatten() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        std::thread::spawn(move || echo(stream));
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

fn echo(stream: TcpStream) {
    drop(stream.set_read_timeout(Some(PATIENCE)));
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    while let Ok(message) = socket.read() {
        if message == Message::text("die") {
            drop(socket.get_ref().shutdown(Shutdown::Both));
            return;
        }
        if message == Message::text("bye") {
            let frame = CloseFrame { code: CloseCode::Away, reason: "told so".into() };
            drop(socket.close(Some(frame)));
        } else if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            return;
        }
    }
}

fn connect(door: &Door) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(door.first_address()).expect("the door listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    stream.set_nodelay(true).expect("a socket takes no delay");
    let (socket, response) =
        tungstenite::client("ws://localhost/chat", stream).expect("the upgrade is passed on");
    assert_eq!(response.status(), 101);
    socket
}

#[track_caller]
fn check_echo(socket: &mut WebSocket<TcpStream>, message: Message) {
    socket.send(message.clone()).expect("the tunnel is open");
    assert_eq!(socket.read().expect("the tunnel is open"), message);
}

/// Nothing is left of what went through the door.
#[track_caller]
fn nothing_left(door: &Door) {
    // Gauges of servers are those of the last whole second: one that began by now.
    let seconds = || door.status()["uptime_seconds"].as_u64();
    let now = seconds();
    eventually("a second passes", || seconds() > now);
    for gauge in
        ["tidegate_connections", "http_server_active_requests", "tidegate_server_active_requests"]
    {
        eventually(gauge, || door.metric(gauge, &[]) == 0.0);
    }
    assert_eq!(door.metric("tidegate_panics_total", &[]), 0.0);
}

#[test]
fn messages_pass_both_ways() {
    let server = EchoServer::start();
    let door = Setup::at(&[server.address]).start();
    let mut socket = connect(&door);
    check_echo(&mut socket, Message::text("hello"));
    check_echo(&mut socket, Message::text(""));
    check_echo(&mut socket, Message::binary(vec![7; 1 << 20]));
    for size in [1, 125, 126, 65_535, 65_536, 70_000] {
        check_echo(&mut socket, Message::binary(vec![3; size]));
    }
    socket.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("are you there".into()));
    let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    socket.close(Some(frame.clone())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(frame)));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    drop(socket);
    nothing_left(&door);
}

#[test]
fn the_server_may_close_first() {
    let server = EchoServer::start();
    let door = Setup::at(&[server.address]).start();
    let mut socket = connect(&door);
    socket.send(Message::text("bye")).unwrap();
    let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("a close is due") };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Away, "told so"));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    drop(socket);
    nothing_left(&door);
}

#[test]
fn a_server_that_dies_ends_the_tunnel() {
    let server = EchoServer::start();
    let door = Setup::at(&[server.address]).start();
    let mut socket = connect(&door);
    check_echo(&mut socket, Message::text("hello"));
    socket.send(Message::text("die")).unwrap();
    let error = socket.read().unwrap_err();
    assert!(matches!(error, Error::Protocol(_) | Error::Io(_)), "{error:?}");
    drop(socket);
    nothing_left(&door);
    check_echo(&mut connect(&door), Message::text("the next one works"));
}

#[test]
fn a_client_that_dies_ends_the_tunnel() {
    let server = EchoServer::start();
    let door = Setup::at(&[server.address]).start();
    let mut socket = connect(&door);
    check_echo(&mut socket, Message::text("hello"));
    let linger = socket2::SockRef::from(socket.get_ref()).set_linger(Some(Duration::ZERO));
    linger.unwrap();
    drop(socket);
    nothing_left(&door);
}

#[test]
fn a_hundred_at_once() {
    let server = EchoServer::start();
    let door = Setup::at(&[server.address]).start();
    let mut sockets: Vec<_> = (0..100).map(|_| connect(&door)).collect();
    eventually("all are open", || door.metric("tidegate_connections", &[]) == 100.0);
    for round in 0..5 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.send(Message::text(format!("{number} in {round}"))).unwrap();
        }
        for (number, socket) in sockets.iter_mut().enumerate() {
            assert_eq!(socket.read().unwrap(), Message::text(format!("{number} in {round}")));
        }
    }
    drop(sockets);
    nothing_left(&door);
}

#[test]
fn an_idle_tunnel_ends_and_a_busy_one_does_not() {
    let server = EchoServer::start();
    let door = Setup::at(&[server.address]).pool("timeouts = { tunnel_idle = \"1s\" }").start();
    let mut idle = connect(&door);
    let mut busy = connect(&door);
    check_echo(&mut idle, Message::text("hello"));
    let ended = std::thread::spawn(move || idle.read());
    let mut echoed = 0;
    while !ended.is_finished() {
        check_echo(&mut busy, Message::text("still here"));
        echoed += 1;
        assert!(echoed < 1_000, "the idle tunnel never ends");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(echoed > 10, "the idle tunnel ended at once");
    assert!(ended.join().unwrap().is_err());
    check_echo(&mut busy, Message::text("still here"));
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A server that switches protocols and leaves the rest to `then`.
fn switching(then: impl Fn(&mut Peer) + Send + Sync + 'static) -> Backend {
    Backend::by_head(move |request: &Request, peer: &mut Peer| {
        peer.note(request);
        peer.send(SWITCHING);
        then(peer);
        peer.close();
    })
}

fn upgraded(door: &Door) -> Client {
    let mut client = Client::to(door);
    client.send(UPGRADE);
    let head = client.response_head().expect("the upgrade is answered");
    assert_eq!((head.status, head.header("upgrade")), (101, Some("websocket")));
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client
}

#[test]
fn the_upgrade_reaches_the_server() {
    let backend = switching(|_| {});
    let door = Setup::of(&[&backend]).start();
    upgraded(&door).expect_closed();
    let headers = backend.last().headers;
    assert!(headers.get("connection").unwrap().eq_ignore_ascii_case("upgrade"), "{headers:?}");
    assert_eq!(headers.get("upgrade"), Some("websocket"));
    assert_eq!(headers.get("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    nothing_left(&door);
}

#[test]
fn a_client_that_has_sent_all_still_receives() {
    let backend = switching(|peer| {
        peer.read_to_end();
        peer.send("all of it");
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = upgraded(&door);
    client.send("something");
    client.finish_sending();
    assert_eq!(client.read_to_end(), b"all of it");
    eventually("the server received all", || backend.received_text().ends_with("something"));
    nothing_left(&door);
}

#[test]
fn a_server_that_has_sent_all_still_receives() {
    let backend = switching(|peer| {
        peer.send("all of it");
        peer.finish_sending();
        peer.read_to_end();
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = upgraded(&door);
    assert_eq!(client.read_to_end(), b"all of it");
    client.send("and something");
    client.finish_sending();
    eventually("the server received all", || backend.received_text().ends_with("and something"));
    nothing_left(&door);
}

#[test]
fn bytes_behind_the_switch_reach_the_client() {
    let backend = Backend::by_head(|_, peer| {
        peer.send(format!("{SWITCHING}first words"));
        peer.close();
    });
    let door = Setup::of(&[&backend]).start();
    assert_eq!(upgraded(&door).read_to_end(), b"first words");
}

#[test]
fn nothing_is_passed_on_before_the_switch() {
    let gate = Gate::closed();
    let backend = Backend::by_head({
        let gate = gate.clone();
        move |request, peer| {
            peer.note(request);
            gate.wait();
            peer.send(SWITCHING);
            peer.read_to_end();
        }
    });
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    client.send(format!("{UPGRADE}GET /smuggled HTTP/1.1\r\n\r\n"));
    eventually("the request arrived", || !backend.requests().is_empty());
    client.send("and more");
    // The facts of a later second: what the door had to pass on, it passed on by then.
    eventually("the request is in flight", || {
        door.metric("tidegate_server_active_requests", &[]) == 1.0
    });
    assert!(!backend.received_text().contains("smuggled"), "{}", backend.received_text());
    gate.open();
    assert_eq!(client.response_head().unwrap().status, 101);
    client.finish_sending();
    eventually("it arrives afterwards", || {
        backend.received_text().ends_with("GET /smuggled HTTP/1.1\r\n\r\nand more")
    });
}

#[test]
fn a_refused_upgrade_ends_the_connection() {
    for (status, body) in [(200, "no"), (426, "other"), (403, "never")] {
        let backend = Backend::answering(response(status, "", body));
        let door = Setup::of(&[&backend]).start();
        let mut client = Client::to(&door);
        client.send(format!("{UPGRADE}GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let answer = client.response();
        assert_eq!((answer.status, answer.text().as_str()), (status, body));
        assert_eq!(answer.header("connection"), Some("close"));
        client.expect_closed();
        assert!(!backend.received_text().contains("smuggled"), "{}", backend.received_text());
        nothing_left(&door);
    }
}

#[test]
fn a_switch_nobody_asked_for_is_refused() {
    let backend = Backend::answering_once(SWITCHING);
    let door = Setup::of(&[&backend]).start();
    let answer = Client::to(&door).get("/");
    assert_eq!((answer.status, answer.reason()), (502, Some("bad_response")));
    nothing_left(&door);
}

#[test]
fn a_client_that_does_not_read_costs_a_bounded_buffer() {
    const BLOCK: usize = 1 << 20;
    const BLOCKS: usize = 64;
    let backend = switching(|peer| {
        for _ in 0..BLOCKS {
            peer.send(vec![b'x'; BLOCK]);
        }
    });
    let door = Setup::of(&[&backend]).start();
    let before = door.resident_bytes();
    let mut client = upgraded(&door);
    // The server's sends stall once the sockets' buffers are full, long before the end.
    let moved = || client.socket().peek(&mut [0; 1]).is_ok_and(|count| count > 0);
    eventually("bytes wait", moved);
    let peak = door.resident_bytes();
    for _ in 0..BLOCKS {
        assert!(client.read_exactly(BLOCK).iter().all(|byte| *byte == b'x'));
        let grown = door.resident_bytes().max(peak).saturating_sub(before);
        assert!(grown < 16 << 20, "{grown} bytes more than at the start");
    }
    client.expect_closed();
}
