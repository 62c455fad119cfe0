//! Connections without an end of their own end with the standing of their client: WebSockets over
//! HTTP/1.1 and HTTP/2, and connections of TCP listeners; those of others stay.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use black_box::certificates::{Authority, asking, client, connect, handshake_at, listen};
use black_box::frames::{DATA, END_STREAM, RST_STREAM};
use black_box::load::{now, show};
use black_box::streams::Streams;
use black_box::tcp::{self, check_echo};
use black_box::{Backend, Client, Door, Setup, TcpServer, eventually};
use rustls::ClientConfig;
use rustls_pki_types::UnixTime;
use serde_json::json;

/// In which a connection ends whose client is switched off.
const EFFECT_MAX: Duration = Duration::from_millis(100);
const LOG: &str = "[telemetry]\naccess_log = { file = \"{dir}/access\" }";

/// A server that agrees to every upgrade and echoes.
fn echo() -> Backend {
    Backend::by_head(|_, peer| {
        peer.send(
            "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: x\r\n\r\n",
        );
        while let Some(bytes) = peer.read_some() {
            peer.send(&bytes);
        }
        peer.close();
    })
}

/// Opens a WebSocket over HTTP/1.1 with these fields, and uses it.
#[track_caller]
fn websocket(mut client: Client, fields: &str) -> Client {
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: web.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{fields}\r\n"
    ));
    assert_eq!(client.response_head().expect("an answer").status, 101);
    check_tunnel(&mut client);
    client
}

#[track_caller]
fn check_tunnel(client: &mut Client) {
    client.send("echo");
    assert_eq!(client.read_exactly(4), b"echo");
}

/// The same in the first stream of a connection of HTTP/2.
#[track_caller]
fn websocket_stream(mut streams: Streams, fields: &[(&str, &str)]) -> Streams {
    let connect = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "web.test"),
        (":path", "/"),
        ("sec-websocket-version", "13"),
    ];
    streams.open(1, &[&connect, fields].concat(), false);
    assert_eq!(streams.status(1), 200);
    check_stream(&mut streams);
    streams
}

#[track_caller]
fn check_stream(streams: &mut Streams) {
    streams.send(DATA, 0, 1, b"echo");
    streams.wait(|frame| (frame.stream == 1 && frame.kind == DATA).then_some(()));
}

/// The first stream ends, one way or another.
#[track_caller]
fn expect_stream_ends(streams: &mut Streams) {
    streams.wait(|frame| {
        let ends = frame.kind == RST_STREAM || frame.kind == DATA && frame.flags & END_STREAM != 0;
        (frame.stream == 1 && ends).then_some(())
    });
}

#[track_caller]
fn switch(door: &Door, what: &str) {
    let body = json!({ "client": "partner", "reason": "a test" }).to_string();
    let answer = door.admin(&format!("POST /v1/clients/{what}"), &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// So many lines of the access log have this reason, and name the client.
#[track_caller]
fn check_log(door: &Door, reason: &str, name: Option<&str>, count: usize) {
    let line = |line: &String| -> serde_json::Value {
        serde_json::from_str(line).expect("a line is JSON")
    };
    eventually("the ends stand in the access log", || {
        let lines: Vec<_> = door.access_lines(count).iter().map(line).collect();
        let found = lines.iter().filter(|line| line["reason"] == reason);
        found.filter(|line| line["client_name"].as_str() == name).count() == count
    });
}

#[test]
fn websockets_of_a_client_that_is_disabled_end_at_once() {
    let backend = echo();
    let door = Setup::of(&[&backend])
        .more("[clients.partner]\nkey = { header = \"x-api-key\", value = \"key-of-the-partner\" }")
        .more("[door]\nworkers = 2")
        .more(LOG)
        .start();
    let key = ("x-api-key", "key-of-the-partner");
    let mut ends: Vec<Client> =
        (0..4).map(|_| websocket(Client::to(&door), "X-Api-Key: key-of-the-partner\r\n")).collect();
    let mut stream = websocket_stream(Streams::to(&door), &[key]);
    let mut kept = websocket(Client::to(&door), "");
    let mut kept_stream = websocket_stream(Streams::to(&door), &[]);
    let asked = now();
    switch(&door, "disable");
    ends.iter_mut().for_each(Client::expect_closed);
    expect_stream_ends(&mut stream);
    let took = now().saturating_duration_since(asked);
    show(&format!("five WebSockets of a client that was disabled ended within {took:?}"));
    check_tunnel(&mut kept);
    check_stream(&mut kept_stream);
    check_log(&door, "client_disabled", Some("partner"), 5);
    assert!(took <= EFFECT_MAX, "{took:?}");
    eventually("their servers are let go", || backend.open() == 2);
    switch(&door, "enable");
    websocket(Client::to(&door), "X-Api-Key: key-of-the-partner\r\n");
}

/// A door whose clients are known by these tables, and its setup.
fn known_by(backend: &Backend, clients: &str) -> Setup {
    Setup::of(&[backend])
        .more(clients)
        .more("[door]\nworkers = 2\n[changes]\nmove_max = 1.0")
        .more(LOG)
}

/// WebSockets of both kinds that were opened with a key.
fn both(door: &Door, key: &str) -> (Client, Streams) {
    let fields = format!("X-Api-Key: {key}\r\n");
    let stream = websocket_stream(Streams::to(door), &[("x-api-key", key)]);
    (websocket(Client::to(door), &fields), stream)
}

/// The configuration is replaced, and these WebSockets end with it.
#[track_caller]
fn reload_ends(door: &Door, setup: &Setup, what: &str, ends: &mut [(Client, Streams)]) {
    door.rewrite(&setup.text());
    assert_eq!(door.reload().status, 200);
    let changed = now();
    for (client, stream) in ends.iter_mut() {
        client.expect_closed();
        expect_stream_ends(stream);
    }
    let took = now().saturating_duration_since(changed);
    show(&format!("{} WebSockets, {what}: ended within {took:?}", 2 * ends.len()));
    assert!(took <= EFFECT_MAX, "{took:?}");
}

#[test]
fn websockets_end_whose_key_identifies_their_client_no_more() {
    let backend = echo();
    let key = |of: &str| format!("{{ header = \"x-api-key\", value = \"key-number-{of}\" }}");
    let clients = |first: &str| {
        let (first, second, other) = (key(first), key("two"), key("other"));
        format!("[clients.partner]\nkeys = [{first}, {second}]\n[clients.other]\nkey = {other}")
    };
    let door = known_by(&backend, &clients("one")).start();
    let mut ends = [both(&door, "key-number-one"), both(&door, "key-number-one")];
    let names = ["key-number-two", "key-number-other", "key-of-nobody"];
    let mut kept = names.map(|key| both(&door, key));
    let check_kept = |kept: &mut [(Client, Streams)]| {
        for (client, stream) in kept {
            check_tunnel(client);
            check_stream(stream);
        }
    };
    // Other things may change.
    let other = known_by(&backend, &(clients("one") + "\nrate = \"9/s\""));
    reload_ends(&door, &other, "a rate was added", &mut []);
    check_kept(&mut ends);
    reload_ends(&door, &known_by(&backend, &clients("three")), "a key was replaced", &mut ends);
    check_kept(&mut kept);
    check_log(&door, "client_unknown", Some("partner"), 4);
    both(&door, "key-number-three");

    // The same keys, but now they are somebody else's, whom each sender would be taken for.
    let renamed = clients("one").replace("partner", "somebody");
    reload_ends(&door, &known_by(&backend, &renamed), "a client was removed", &mut kept[..1]);
    check_kept(&mut kept[1..]);
}

/// A token of the client `partner` that this secret signs, and that ends at this time.
fn token(secret: &str, end_unix_s: u64) -> String {
    let encoded = |text: String| URL_SAFE_NO_PAD.encode(text);
    let head = encoded(json!({ "alg": "HS256", "typ": "JWT" }).to_string());
    let message =
        format!("{head}.{}", encoded(json!({ "sub": "partner", "exp": end_unix_s }).to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes())))
}

/// A token may end before what it opened, but whoever signed it has to be believed still.
#[test]
fn websockets_of_a_token_end_with_the_key_that_signed_it() {
    let backend = echo();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("issuer.secret");
    let [old, new] = ["a".repeat(32), "b".repeat(32)];
    std::fs::write(&file, &old).unwrap();
    let clients = format!(
        "[clients.partner]\nkey = {{ jwt_claim = \"sub\", value = \"partner\", secret_file = {file:?} }}\n\
         routes = [\"api\"]\n[routes.other]\npath = \"/other\"\nrespond = {{ status = 204 }}\n"
    );
    let door = known_by(&backend, &clients).start();
    // Clocks may differ by a minute, so that it is valid for ten more seconds.
    let field =
        format!("Authorization: Bearer {}\r\n", token(&old, UnixTime::now().as_secs() - 50));
    let mut socket = websocket(Client::to(&door), &field);
    let is_known = || {
        let asked = format!("GET /other HTTP/1.1\r\nHost: a\r\n{field}\r\n");
        Client::to(&door).ask(asked).status == 403
    };
    assert!(is_known());
    eventually("the token is over", || !is_known());
    let other = "[clients.other]\nkey = { header = \"x-api-key\", value = \"key-of-the-other\" }";
    door.rewrite(&known_by(&backend, &(clients + other)).text());
    assert_eq!(door.reload().status, 200);
    eventually("it is live", || door.status()["admission"]["clients"][1]["name"] == "other");
    check_tunnel(&mut socket);
    std::fs::write(&file, &new).unwrap();
    socket.expect_closed();
    check_log(&door, "client_unknown", Some("partner"), 1);
}

#[test]
fn connections_end_whose_address_identifies_their_client_no_more() {
    let server = TcpServer::start("");
    let address = server.address();
    let text = |network: &str| {
        format!(
            "[listen.tcp]\naddress = \"127.0.0.1:0\"\nmode = \"tcp\"\npool = \"servers\"\n\
             [pools.servers]\nservers = [\"{address}\"]\n[changes]\nmove_max = 1.0\n\
             [clients.partner]\nkey = {{ network = \"{network}\" }}\n{LOG}\n"
        )
    };
    let door = Door::start(&text("127.0.0.2/31"));
    let own = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
    let mut sockets = own.map(|own| {
        let client = Client::connect_from(own.parse().unwrap(), door.first_address());
        let mut socket = client.socket().try_clone().unwrap();
        check_echo(&mut socket, "one");
        socket
    });
    door.rewrite(&text("127.0.0.3/32"));
    assert_eq!(door.reload().status, 200);
    let [ends, kept @ ..] = &mut sockets;
    assert!(tcp::rest(ends).is_empty());
    kept.iter_mut().for_each(|socket| check_echo(socket, "two"));
    check_log(&door, "client_unknown", Some("partner"), 1);
}

#[test]
fn connections_of_a_network_that_is_disabled_end_at_once() {
    let server = TcpServer::start("");
    let address = server.address();
    let text = |enabled: bool| {
        format!(
            "[listen.tcp]\naddress = \"127.0.0.1:0\"\nmode = \"tcp\"\npool = \"servers\"\n\
             [pools.servers]\nservers = [\"{address}\"]\n[changes]\nmove_max = 1.0\n\
             [clients.partner]\nkey = {{ network = \"127.0.0.2/32\" }}\nenabled = {enabled}\n{LOG}\n"
        )
    };
    let door = Door::start(&text(true));
    let to = |own: &str| -> TcpStream {
        let client = Client::connect_from(own.parse().unwrap(), door.first_address());
        client.socket().try_clone().unwrap()
    };
    let (mut ends, mut kept) = (to("127.0.0.2"), to("127.0.0.1"));
    check_echo(&mut ends, "one");
    check_echo(&mut kept, "one");
    let asked = now();
    switch(&door, "disable");
    assert!(tcp::rest(&mut ends).is_empty());
    let took = now().saturating_duration_since(asked);
    assert!(took <= EFFECT_MAX, "{took:?}");
    assert!(tcp::rest(&mut to("127.0.0.2")).is_empty(), "another one is turned away");
    check_echo(&mut kept, "two");
    check_log(&door, "client_disabled", Some("partner"), 2);
    assert_eq!(server.connections(), 2);

    // The same by a change of the configuration.
    switch(&door, "enable");
    let mut ends = to("127.0.0.2");
    check_echo(&mut ends, "one");
    door.rewrite(&text(false));
    assert_eq!(door.reload().status, 200);
    assert!(tcp::rest(&mut ends).is_empty());
    check_echo(&mut kept, "three");
}

#[test]
fn connections_of_a_client_that_is_revoked_end() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    let (good, bad) = (authority.issue("good", &["a.test"]), authority.issue("bad", &["b.test"]));
    authority.revoke("list.crl", &[]);
    let list = authority.roots().with_file_name("list.crl");
    let more = format!(", revocation = [\"{}\"]", list.display());
    let (backend, server) = (echo(), TcpServer::start(""));
    let tls = listen(&[&web], &asking(&authority, &more));
    let door = Setup::of(&[&backend])
        .listen(&tls)
        .more(&format!(
            "[listen.raw]\naddress = \"127.0.0.1:0\"\nmode = \"tcp\"\npool = \"raw\"\n{tls}\n\
             [pools.raw]\nservers = [\"{}\"]\n{LOG}",
            server.address()
        ))
        .start();
    let (good, revoked) = (authority.client_showing(&good), authority.client_showing(&bad));
    let over_http1 = |config| websocket(client(connect(&door, config, "web.test")), "");
    let over_http2 = |config: &Arc<ClientConfig>| {
        let mut config = (**config).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let wire = connect(&door, &Arc::new(config), "web.test");
        websocket_stream(Streams::over(Box::new(wire), 65_535), &[])
    };
    let raw = |config| {
        let address = door.address("raw");
        let stream = handshake_at(address, config, "web.test");
        let mut client = client(stream.expect("it is let in"));
        check_tunnel(&mut client);
        client
    };
    let (mut ends, mut stream, mut ends_raw) =
        (over_http1(&revoked), over_http2(&revoked), raw(&revoked));
    let (mut kept, mut kept_stream, mut kept_raw) =
        (over_http1(&good), over_http2(&good), raw(&good));
    authority.revoke("list.crl", &[&bad]);
    ends.expect_closed();
    expect_stream_ends(&mut stream);
    stream.closed();
    ends_raw.expect_closed();
    check_tunnel(&mut kept);
    check_stream(&mut kept_stream);
    check_tunnel(&mut kept_raw);
    check_log(&door, "misdirected", None, 3);
}
