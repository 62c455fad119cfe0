//! Connections that are passed on unread: both ways, to the servers that are well, within limits,
//! through reloads and kills.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use black_box::tcp::{check_echo, connect, read, rest};
use black_box::{Door, Redis, TcpServer, eventually};
use rustix::process::Signal;

/// The configuration of a door that passes connections on to these servers.
fn text(servers: &[SocketAddr], listen: &str, pool: &str) -> String {
    let servers: Vec<String> = servers.iter().map(|address| format!("\"{address}\"")).collect();
    let servers = servers.join(", ");
    format!(
        "[listen.tcp]\naddress = \"127.0.0.1:0\"\nmode = \"tcp\"\npool = \"servers\"\n{listen}\n\
         [pools.servers]\nservers = [{servers}]\n{pool}\n\
         [changes]\nmove_max = 1.0\n\
         [telemetry]\naccess_log = {{ file = \"{{dir}}/access\" }}\n"
    )
}

fn addresses(servers: &[TcpServer]) -> Vec<SocketAddr> {
    servers.iter().map(TcpServer::address).collect()
}

fn servers(names: &[&str]) -> Vec<TcpServer> {
    names.iter().map(|name| TcpServer::start(name)).collect()
}

fn door(servers: &[TcpServer], listen: &str, pool: &str) -> Door {
    Door::start(&text(&addresses(servers), listen, pool))
}

/// Nothing is left of what went through the door.
#[track_caller]
fn nothing_left(door: &Door) {
    for gauge in ["tidegate_connections", "tidegate_tcp_connections"] {
        eventually(gauge, || door.metric(gauge, &[]) == 0.0);
    }
    assert_eq!(door.metric("tidegate_panics_total", &[]), 0.0);
}

/// The last line of the access log, of `count` in all.
#[track_caller]
fn last_line(door: &Door, count: usize) -> serde_json::Value {
    let lines = door.access_lines(count);
    assert_eq!(lines.len(), count, "{lines:#?}");
    serde_json::from_str(&lines[count - 1]).expect("a line is JSON")
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a listening socket has an address")
}

#[test]
fn bytes_pass_both_ways_and_each_side_ends_by_itself() {
    let servers = servers(&["hello\n"]);
    let door = door(&servers, "", "");
    // The server speaks first.
    let mut client = connect(door.first_address());
    assert_eq!(read(&mut client, 6), "hello\n");
    check_echo(&mut client, "one");
    let large: String = "0123456789abcdef".repeat(64 * 1024);
    let mut writer = client.try_clone().unwrap();
    let sent = large.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(sent.as_bytes()).unwrap();
        // Only this side ends: what is on its way still comes.
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert!(rest(&mut client) == large.as_bytes(), "other bytes came back");
    writing.join().unwrap();

    let line = last_line(&door, 1);
    assert_eq!((&line["protocol"], &line["status"]), (&"TCP".into(), &0.into()));
    assert_eq!(line["bytes_in"], large.len() + 3);
    assert_eq!(line["bytes_out"], large.len() + 9);
    assert_eq!(line["server"], servers[0].address().to_string());
    assert_eq!((&line["pool"], &line["attempts"]), (&"servers".into(), &1.into()));
    assert_eq!(line["reason"], serde_json::Value::Null);
    assert!(line["connect_us"].is_u64() && line["total_us"].is_u64(), "{line}");
    let listener = ["listener=\"tcp\""];
    assert_eq!(door.metric("tidegate_tcp_connections_opened_total", &listener), 1.0);
    let bytes = (large.len() + 3) as f64;
    assert_eq!(door.metric("tidegate_tcp_received_bytes_total", &listener), bytes);
    assert_eq!(door.metric("tidegate_tcp_sent_bytes_total", &listener), bytes + 6.0);
    nothing_left(&door);
}

#[test]
fn a_slow_reader_costs_a_bounded_buffer() {
    let servers = servers(&[""]);
    let door = door(&servers, "", "");
    let mut client = connect(door.first_address());
    check_echo(&mut client, "x");
    let before = door.resident_bytes();
    // It sends and never reads: the kernel's buffers fill, then the door's, then it must wait.
    client.set_nonblocking(true).unwrap();
    let part = vec![7; 1 << 20];
    let mut sent = 0;
    let mut refused = 0;
    eventually("the client has to wait", || {
        match client.write(&part) {
            Ok(count) => (sent, refused) = (sent + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
            }
        }
        refused > 50
    });
    assert!(sent < 100 << 20, "{sent} bytes were taken");
    let grown = door.resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes for one connection");
}

#[test]
fn connections_spread_and_those_of_a_killed_server_end_alone() {
    let mut servers = servers(&["a", "b", "c"]);
    let door = door(&servers, "", "slow_start = \"0s\"");
    let mut clients: Vec<(String, TcpStream)> = (0..90)
        .map(|_| {
            let mut client = connect(door.first_address());
            (read(&mut client, 1), client)
        })
        .collect();
    for (server, name) in servers.iter().zip(["a", "b", "c"]) {
        let count = clients.iter().filter(|(of, _)| of == name).count();
        assert!((25..=35).contains(&count), "{count} of 90 went to {name}");
        assert_eq!(count, server.open());
    }
    servers[0].kill();
    for (name, client) in &mut clients {
        if name == "a" {
            assert_eq!(rest(client), b"");
        } else {
            check_echo(client, "still here");
        }
    }
    // New ones find the others, though the first is tried now and then.
    for _ in 0..30 {
        let mut client = connect(door.first_address());
        assert_ne!(read(&mut client, 1), "a");
        check_echo(&mut client, "well");
    }
    drop(clients);
    nothing_left(&door);
}

#[test]
fn a_server_that_takes_no_connection_is_set_aside() {
    let well = TcpServer::start("a");
    let door =
        Door::start(&text(&[nobody(), well.address()], "", "ejection = { pause = \"30s\" }"));
    for _ in 0..40 {
        assert_eq!(read(&mut connect(door.first_address()), 1), "a");
    }
    eventually("it is set aside", || door.metric("tidegate_server_ejections_total", &[]) == 1.0);
    let failures = door.metric("tidegate_server_failures_total", &["reason=\"connect_failed\""]);
    assert_eq!(failures, 5.0, "each was tried at the other server, at no cost to the client");
    assert_eq!(well.connections(), 40);
    assert_eq!(door.metric("tidegate_tcp_connections_ended_total", &[]), 0.0);
}

#[test]
fn a_connection_that_no_server_takes_is_closed() {
    let door = Door::start(&text(&[nobody(), nobody()], "", ""));
    assert_eq!(rest(&mut connect(door.first_address())), b"");
    let line = last_line(&door, 1);
    assert_eq!((&line["reason"], &line["attempts"]), (&"connect_failed".into(), &2.into()));
    nothing_left(&door);
}

#[test]
fn a_full_server_makes_connections_wait() {
    let servers = servers(&["a"]);
    let door = door(&servers, "", "in_flight_max = 2\nqueue_wait = \"5s\"");
    let mut first = connect(door.first_address());
    let mut second = connect(door.first_address());
    assert_eq!((read(&mut first, 1), read(&mut second, 1)), ("a".into(), "a".into()));
    let mut third = connect(door.first_address());
    eventually("it is there", || door.metric("tidegate_tcp_connections", &[]) == 3.0);
    assert_eq!(servers[0].connections(), 2);
    drop(first);
    assert_eq!(read(&mut third, 1), "a");
    check_echo(&mut second, "undisturbed");

    door.rewrite(&text(&addresses(&servers), "", "in_flight_max = 2\nqueue_wait = \"10ms\""));
    assert_eq!(door.reload().status, 200);
    assert_eq!(rest(&mut connect(door.first_address())), b"");
    assert_eq!(
        door.metric("tidegate_tcp_connections_ended_total", &["reason=\"queue_timeout\""]),
        1.0
    );
}

#[test]
fn limits_on_connections_hold() {
    let servers = servers(&["a"]);
    let door = door(&servers, "limits = { connections = 10, connections_per_address = 2 }", "");
    let held: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut client = connect(door.first_address());
            assert_eq!(read(&mut client, 1), "a");
            client
        })
        .collect();
    assert_eq!(rest(&mut connect(door.first_address())), b"", "no HTTP is spoken here");
    let refused = ["reason=\"too_many_connections\""];
    assert_eq!(door.metric("tidegate_connections_refused_total", &refused), 1.0);
    assert_eq!(last_line(&door, 1)["reason"], "too_many_connections");
    drop(held);
    nothing_left(&door);
    assert_eq!(read(&mut connect(door.first_address()), 1), "a");
}

#[test]
fn an_idle_connection_ends() {
    let servers = servers(&[""]);
    let door = door(&servers, "", "timeouts = { tunnel_idle = \"200ms\" }");
    let mut client = connect(door.first_address());
    check_echo(&mut client, "x");
    assert_eq!(rest(&mut client), b"");
    assert_eq!(last_line(&door, 1)["reason"], "idle_timeout");
    eventually("the server's side has ended", || servers[0].open() == 0);
}

#[test]
fn a_check_keeps_connections_from_a_server_that_is_down() {
    let well = TcpServer::start("a");
    let check = "check = { tcp = true, interval = \"50ms\", fall = 1, rise = 1 }";
    let door = Door::start(&text(&[nobody(), well.address()], "", check));
    eventually("the check has failed", || {
        door.metric("tidegate_server_state", &["state=\"down\""]) == 1.0
    });
    for _ in 0..20 {
        assert_eq!(read(&mut connect(door.first_address()), 1), "a");
    }
    assert_eq!(door.metric("tidegate_server_failures_total", &[]), 0.0);
}

#[test]
fn reloads_leave_connections_alone() {
    let servers = servers(&["a", "b"]);
    let (one, other) = servers.split_at(1);
    let door = door(one, "", "");
    let mut clients: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut client = connect(door.first_address());
            assert_eq!(read(&mut client, 1), "a");
            client
        })
        .collect();
    // Another server; the pool under another name; another way to choose; the listener gone.
    for changed in [
        text(&addresses(other), "", ""),
        text(&addresses(other), "", "balance = \"round-robin\"")
            .replace("servers\"", "all\"")
            .replace("[pools.servers]", "[pools.all]"),
        text(&addresses(one), "", "").replace("listen.tcp", "listen.other"),
    ] {
        door.rewrite(&changed);
        let answer = door.reload();
        assert_eq!(answer.status, 200, "{}", answer.body);
        clients.iter_mut().for_each(|client| check_echo(client, "through it"));
    }
    assert!(TcpStream::connect(door.first_address()).is_err(), "the listener is gone");
    drop(clients);
    nothing_left(&door);
}

#[test]
fn a_door_that_ends_gives_connections_its_drain_time() {
    let servers = servers(&["a"]);
    let mut door = door(&servers, "", "");
    let mut client = connect(door.first_address());
    assert_eq!(read(&mut client, 1), "a");
    door.signal(Signal::TERM);
    eventually("nothing new is accepted", || TcpStream::connect(door.first_address()).is_err());
    check_echo(&mut client, "one more thing");
    drop(client);
    assert!(door.wait().success());
}

#[test]
fn two_thousand_connections_echo_at_once() {
    const CONNECTIONS: usize = 2_000;
    let servers = servers(&["", ""]);
    let door = door(&servers, "", "slow_start = \"0s\"");
    let mut clients: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| connect(door.first_address())).collect();
    for round in 0..3 {
        let text = |number: usize| format!("{round}/{number:04}");
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(text(number).as_bytes()).unwrap();
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(read(client, 6), text(number));
        }
    }
    assert_eq!(door.metric("tidegate_tcp_connections", &[]), CONNECTIONS as f64);
    for server in &servers {
        assert!((900..=1_100).contains(&server.open()), "{} of {CONNECTIONS}", server.open());
    }
    let resident = door.resident_bytes();
    assert!(resident < 100 << 20, "{resident} bytes");
    drop(clients);
    nothing_left(&door);
    eventually("the servers' connections have ended", || servers.iter().all(|s| s.open() == 0));
    let status = door.status();
    assert_eq!(status["tcp"][0]["name"], "tcp");
}

#[test]
fn a_real_redis_behind_it_notices_nothing() {
    let redis = Redis::start();
    let door = Door::start(&text(&[redis.address()], "", ""));
    let mut client = connect(door.first_address());
    client.write_all(b"SET tide high\r\n").unwrap();
    assert_eq!(read(&mut client, 5), "+OK\r\n");
    let commands = "PING\r\n".repeat(1_000);
    client.write_all(commands.as_bytes()).unwrap();
    assert_eq!(read(&mut client, 7_000), "+PONG\r\n".repeat(1_000));
    client.write_all(b"GET tide\r\nQUIT\r\n").unwrap();
    assert_eq!(String::from_utf8_lossy(&rest(&mut client)), "$4\r\nhigh\r\n+OK\r\n");
}

#[test]
fn a_client_that_breaks_off_leaves_nothing() {
    let servers = servers(&["a"]);
    let door = door(&servers, "", "");
    for _ in 0..20 {
        let mut client = connect(door.first_address());
        assert_eq!(read(&mut client, 1), "a");
        // Unread bytes on its side turn the end into a reset.
        client.write_all(&vec![1; 200_000]).unwrap();
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
    }
    nothing_left(&door);
    eventually("the server's side has ended", || servers[0].open() == 0);
}
