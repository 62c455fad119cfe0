//! TLS on both sides of the door, with certificates made for the test and rustls as the peer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use black_box::certificates::{
    Authority, Issued, certificate, client, connect, get, handshake, listen, write,
};
use black_box::{Backend, Client, PATIENCE, Setup, eventually, ok};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;

#[test]
fn the_certificate_follows_the_name() {
    let authority = Authority::new();
    let first = authority.issue("first", &["first.test"]);
    let wild = authority.issue("wild", &["*.wild.test"]);
    let exact = authority.issue("exact", &["exact.wild.test", "other.test"]);
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).listen(&listen(&[&first, &wild, &exact], "")).start();
    let config = authority.client(&["http/1.1"]);
    for (name, expected) in [
        ("first.test", &first),
        ("any.wild.test", &wild),
        ("exact.wild.test", &exact),
        ("other.test", &exact),
    ] {
        let stream = connect(&door, &config, name);
        assert_eq!(certificate(&stream), expected.der, "{name}");
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        let response = client(stream).ask(get(name));
        assert_eq!((response.status, response.text().as_str()), (200, "hello"), "{name}");
    }
    assert_eq!(backend.last().headers.get("x-forwarded-proto"), Some("https"));
    // Nobody's name: the first certificate, which the client then does not accept.
    for name in ["none.test", "a.b.wild.test"] {
        let refused = handshake(&door, &config, name).unwrap_err();
        assert!(refused.to_string().contains("not valid for name"), "{name}: {refused}");
    }
}

#[test]
fn without_a_name_the_first_certificate_is_shown() {
    let authority = Authority::new();
    let first = authority.issue("first", &["first.test", "127.0.0.1"]);
    let second = authority.issue("second", &["second.test"]);
    let backend = Backend::answering(ok("hello"));
    let setup = Setup::of(&[&backend]);
    let door = setup.clone().listen(&listen(&[&first, &second], "")).start();
    let config = authority.client(&[]);
    let stream = connect(&door, &config, "127.0.0.1");
    assert_eq!(certificate(&stream), first.der);
    assert_eq!(stream.conn.alpn_protocol(), None);
    assert_eq!(client(stream).ask(get("127.0.0.1")).status, 200);
    let strict = setup.listen(&listen(&[&first, &second], ", strict_sni = true")).start();
    assert!(handshake(&strict, &config, "127.0.0.1").is_err());
    assert!(handshake(&strict, &config, "none.test").is_err());
    assert_eq!(
        client(connect(&strict, &config, "second.test")).ask(get("second.test")).status,
        200
    );
}

#[test]
fn only_http_1_is_agreed_on_where_the_other_is_off() {
    let authority = Authority::new();
    let issued = authority.issue("web", &["web.test"]);
    let backend = Backend::answering(ok("hello"));
    let door =
        Setup::of(&[&backend]).listen(&listen(&[&issued], "")).listen("http2 = false").start();
    let both = connect(&door, &authority.client(&["h2", "http/1.1"]), "web.test");
    assert_eq!(both.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let refused = handshake(&door, &authority.client(&["h2"]), "web.test").unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

#[test]
fn sessions_resume() {
    let authority = Authority::new();
    let issued = authority.issue("web", &["web.test"]);
    let backend = Backend::answering(ok("hello"));
    let setup = Setup::of(&[&backend])
        .listen(&listen(&[&issued], ""))
        .more("[door]\nworkers = 2\ndrain = \"1s\"");
    let door = setup.start();
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let config = authority.client_speaking(&[], versions);
        let kind = || {
            let stream = connect(&door, &config, "web.test");
            let kind = stream.conn.handshake_kind();
            assert_eq!(client(stream).ask(get("web.test")).status, 200);
            kind
        };
        assert_eq!(kind(), Some(HandshakeKind::Full));
        // Whichever worker takes the connection, and after a reload too.
        for round in 0..20 {
            assert_eq!(kind(), Some(HandshakeKind::Resumed), "{versions:?}, round {round}");
            if round == 10 {
                door.rewrite(&setup.clone().pool("in_flight_max = 50").text());
                assert_eq!(door.reload().status, 200);
                door.rewrite(&setup.text());
            }
        }
    }
}

#[test]
fn the_oldest_version_is_a_setting() {
    let authority = Authority::new();
    let issued = authority.issue("web", &["web.test"]);
    let backend = Backend::answering(ok("hello"));
    let setup = Setup::of(&[&backend]);
    let old = authority.client_speaking(&[], &[&rustls::version::TLS12]);
    let both = setup.clone().listen(&listen(&[&issued], "")).start();
    assert_eq!(client(connect(&both, &old, "web.test")).ask(get("web.test")).status, 200);
    let new = setup.listen(&listen(&[&issued], ", version_min = \"1.3\"")).start();
    assert!(handshake(&new, &old, "web.test").is_err());
    assert_eq!(
        client(connect(&new, &authority.client(&[]), "web.test")).ask(get("web.test")).status,
        200
    );
}

#[test]
fn strangers_are_told_apart() {
    let (authority, stranger) = (Authority::new(), Authority::named("A stranger"));
    let issued = authority.issue("web", &["web.test"]);
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).listen(&listen(&[&issued], "")).start();
    let refused = handshake(&door, &stranger.client(&[]), "web.test").unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    // Plain HTTP is not answered with HTTP, and not served.
    let mut plain = Client::to(&door);
    plain.send(get("web.test"));
    let answer = plain.read_to_end();
    assert!(!answer.starts_with(b"HTTP"), "{:?}", String::from_utf8_lossy(&answer));
    assert_eq!(backend.connections(), 0);
    eventually("both are counted", || {
        let handshakes = "tidegate_tls_handshakes_total";
        let all = door.metric(handshakes, &[]);
        (all, door.metric(handshakes, &["result=\"ok\""])) == (2.0, 0.0)
    });
    eventually("both are gone", || door.metric("tidegate_connections", &[]) == 0.0);
    assert_eq!(
        client(connect(&door, &authority.client(&[]), "web.test")).ask(get("web.test")).status,
        200
    );
}

#[test]
fn a_handshake_takes_no_longer_than_allowed() {
    let authority = Authority::new();
    let issued = authority.issue("web", &["web.test"]);
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend])
        .listen(&listen(&[&issued], ""))
        .listen("timeouts = { handshake = \"300ms\" }")
        .start();
    let mut client = Client::to(&door);
    // The beginning of a record that never goes on.
    client.send([0x16, 0x03, 0x01]);
    client.expect_closed();
    eventually("nobody is connected", || door.metric("tidegate_connections", &[]) == 0.0);
}

#[test]
fn a_new_certificate_needs_no_new_connection() {
    let authority = Authority::new();
    let old = authority.issue("web", &["web.test"]);
    let backend = Backend::answering(ok("hello"));
    let setup = Setup::of(&[&backend]).listen(&listen(&[&old], ""));
    let door = setup.start();
    let stream = connect(&door, &authority.client(&[]), "web.test");
    assert_eq!(certificate(&stream), old.der);
    let mut kept = client(stream);
    assert_eq!(kept.ask(get("web.test")).status, 200);
    // A broken file changes nothing.
    let folder = &old.folder;
    let key = std::fs::read_to_string(folder.join("web.key")).unwrap();
    write(&folder.join("web.key"), "no key\n");
    let answer = door.reload();
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert!(answer.body.contains("web.key"), "{}", answer.body);
    write(&folder.join("web.key"), &key);
    let stream = connect(&door, &authority.client(&[]), "web.test");
    assert_eq!(certificate(&stream), old.der);
    // The same text, other files.
    let new = authority.issue("web", &["web.test"]);
    assert_eq!(door.reload().status, 200);
    let stream = connect(&door, &authority.client(&[]), "web.test");
    assert_eq!(certificate(&stream), new.der);
    assert_ne!(new.der, old.der);
    assert_eq!(client(stream).ask(get("web.test")).status, 200);
    assert_eq!(kept.ask(get("web.test")).status, 200, "the old connection goes on");
}

#[test]
fn large_bodies_pass_through_tls() {
    let authority = Authority::new();
    let issued = authority.issue("web", &["web.test"]);
    let body: String = (0..400_000).map(|number| format!("{number:>10}")).collect();
    let backend = Backend::start(move |request, peer| {
        peer.send(ok(body.get(..request.body.len()).expect("the body is ASCII and longer")));
    });
    let door = Setup::of(&[&backend]).listen(&listen(&[&issued], "")).start();
    let mut client = client(connect(&door, &authority.client(&[]), "web.test"));
    for size in [0, 1, 16_384, 4_000_000] {
        client.send(format!("POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: {size}\r\n\r\n"));
        client.send(vec![b'u'; size]);
        let response = client.response();
        assert_eq!((response.status, response.body.len()), (200, size));
        assert!(response.body.ends_with(&response.body[size.saturating_sub(10)..]));
        assert!(backend.last().body.iter().all(|byte| *byte == b'u'));
    }
}

/// A server that speaks TLS and answers with the name it was asked for.
struct TlsServer {
    address: SocketAddr,
    handshakes: Arc<Mutex<Vec<Option<String>>>>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl TlsServer {
    fn start(issued: &Issued) -> Self {
        Self::with(issued, WebPkiClientVerifier::no_client_auth())
    }

    /// One that serves only those with a certificate of this authority.
    fn asking(issued: &Issued, authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).expect("the authority is well-formed");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        Self::with(issued, verifier.build().expect("there are roots"))
    }

    fn with(issued: &Issued, verifier: Arc<dyn ClientCertVerifier>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(issued.key.clone()).expect("a key is a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks these")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![issued.der.clone()], key)
            .expect("key and certificate fit");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a listening socket has an address");
        let (handshakes, stopping) = <(Arc<Mutex<Vec<_>>>, Arc<AtomicBool>)>::default();
        let acceptor = std::thread::spawn({
            let (handshakes, stopping) = (Arc::clone(&handshakes), Arc::clone(&stopping));
            move || accept(&listener, &config, &handshakes, &stopping)
        });
        Self { address, handshakes, stopping, acceptor: Some(acceptor) }
    }

    fn handshakes(&self) -> Vec<Option<String>> {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn accept(
    listener: &TcpListener,
    config: &Arc<ServerConfig>,
    handshakes: &Arc<Mutex<Vec<Option<String>>>>,
    stopping: &AtomicBool,
) {
    for stream in listener.incoming().flatten() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let (config, handshakes) = (Arc::clone(config), Arc::clone(handshakes));
        std::thread::spawn(move || answer(stream, config, &handshakes));
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

fn answer(socket: TcpStream, config: Arc<ServerConfig>, handshakes: &Mutex<Vec<Option<String>>>) {
    drop(socket.set_read_timeout(Some(PATIENCE)));
    let Ok(connection) = ServerConnection::new(config) else { return };
    let mut stream = StreamOwned::new(connection, socket);
    let mut text = Vec::new();
    let mut room = [0; 4_096];
    let mut known = false;
    while let Ok(count @ 1..) = stream.read(&mut room) {
        if !known {
            let name = stream.conn.server_name().map(str::to_owned);
            handshakes.lock().unwrap_or_else(PoisonError::into_inner).push(name);
            known = true;
        }
        text.extend_from_slice(&room[..count]);
        if text.ends_with(b"\r\n\r\n") {
            text.clear();
            // A door that has left needs no answer; the next read tells.
            drop(stream.write_all(&ok("secret")));
        }
    }
}

#[test]
fn servers_see_the_certificate_of_the_door() {
    let authority = Authority::new();
    let server = TlsServer::asking(&authority.issue("server", &["server.test"]), &authority);
    let door_is = authority.issue("door", &["door.test"]);
    let tls = |more: &str| {
        let roots = authority.roots();
        format!("tls = {{ server_name = \"server.test\", roots = \"{}\"{more} }}", roots.display())
    };
    let folder = door_is.folder.display();
    let shown = format!(
        ", certificate = {{ certificate = \"{folder}/door.pem\", key = \"{folder}/door.key\" }}"
    );
    for (more, expected) in [(&*shown, 200), ("", 502)] {
        let door = Setup::at(&[server.address]).pool(&tls(more)).start();
        assert_eq!(Client::to(&door).get("/").status, expected, "{more}");
    }
    // A new one is shown as soon as its files are there: one that the server does not know.
    let door = Setup::at(&[server.address]).pool(&tls(&shown)).pool("idle_max = 0").start();
    assert_eq!(Client::to(&door).get("/").status, 200);
    let others = Authority::named("A stranger");
    let stranger = others.issue("door", &["door.test"]);
    for file in ["door.pem", "door.key"] {
        std::fs::copy(stranger.folder.join(file), door_is.folder.join(file)).unwrap();
    }
    eventually("the server refuses it", || Client::to(&door).get("/").status == 502);
}

#[test]
fn servers_are_verified() {
    let (authority, stranger) = (Authority::new(), Authority::named("A stranger"));
    let issued = authority.issue("server", &["server.test", "127.0.0.1"]);
    let server = TlsServer::start(&issued);
    let roots = authority.roots().display().to_string();
    let strange = stranger.roots().display().to_string();
    for (tls, expected) in [
        (format!("{{ roots = \"{roots}\", server_name = \"server.test\" }}"), 200),
        (format!("{{ roots = \"{roots}\" }}"), 200),
        (format!("{{ roots = \"{roots}\", server_name = \"other.test\" }}"), 502),
        (format!("{{ roots = \"{strange}\", server_name = \"server.test\" }}"), 502),
        // The system's roots do not hold the test's authority.
        ("{ server_name = \"server.test\" }".to_owned(), 502),
        ("{ verify = false }".to_owned(), 200),
    ] {
        let door = Setup::at(&[server.address]).pool(&format!("tls = {tls}")).start();
        let mut client = Client::to(&door);
        for _ in 0..3 {
            let response = client.get("/");
            assert_eq!(response.status, expected, "{tls}: {}", response.text());
            if expected == 200 {
                assert_eq!(response.text(), "secret");
            } else {
                assert_eq!(response.reason(), Some("server_tls"), "{tls}");
                client = Client::to(&door);
            }
        }
    }
    let names = server.handshakes();
    assert_eq!(names.len(), 3, "one connection for each door that accepts it: {names:?}");
    assert_eq!(names[..2], [Some("server.test".to_owned()), None], "an address is no server name");
}

#[test]
fn a_server_without_tls_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = vec![0; 4_096];
        let count = stream.read(&mut received).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        received.truncate(count);
        received
    });
    let door =
        Setup::at(&[address]).pool("tls = { verify = false }\nretries = { attempts = 1 }").start();
    let response = Client::to(&door).get("/");
    assert_eq!((response.status, response.reason()), (502, Some("server_tls")));
    let received = server.join().unwrap();
    assert!(!received.windows(4).any(|window| window == b"GET "), "nothing is said in the clear");
}

#[test]
fn a_server_that_never_answers_the_handshake_is_given_up() {
    let backend = Backend::answering(ok("plain"));
    let door = Setup::of(&[&backend])
        .pool("tls = { verify = false }\ntimeouts = { connect = \"300ms\" }")
        .start();
    let response = Client::to(&door).get("/");
    assert_eq!((response.status, response.reason()), (504, Some("connect_timeout")));
}

#[test]
fn checks_speak_tls_too() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority.issue("server", &["server.test"]));
    let roots = authority.roots().display().to_string();
    let door = Setup::at(&[server.address])
        .pool(&format!("tls = {{ roots = \"{roots}\", server_name = \"server.test\" }}"))
        .pool("check = { path = \"/health\", interval = \"100ms\" }")
        .start();
    eventually("it is up", || door.status()["pools"][0]["servers"][0]["state"] == "up");
    assert_eq!(Client::to(&door).get("/").text(), "secret");
}
