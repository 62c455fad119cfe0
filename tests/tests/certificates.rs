//! Certificates of clients, and certificates that change while the door runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use black_box::certificates::{
    Authority, Issued, asking, certificate, client, connect, get, handshake, listen, write,
};
use black_box::frames::GOAWAY;
use black_box::streams::{self, Streams, code};
use black_box::{Backend, Client, Door, Gate, Setup, eventually, ok, tidegate};
use rustls::ClientConfig;

/// Whether a request of this client is served.
fn is_served(door: &Door, config: &Arc<ClientConfig>) -> bool {
    let Ok(stream) = handshake(door, config, "web.test") else { return false };
    let mut client = client(stream);
    client.try_send(get("web.test")).is_ok()
        && client.try_response(false).is_ok_and(|response| response.status == 200)
}

const LOG: &str = "[telemetry]\naccess_log = { file = \"{dir}/access\" }";

#[test]
fn a_client_is_known_by_its_certificate() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    let partner = authority.issue_for("partner", &["spiffe://example/billing"]);
    let stranger = authority.issue("stranger", &["stranger.test"]);
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend])
        .listen(&listen(&[&web], &asking(&authority, ", required = false")))
        .more("[clients.billing]\nkey = { certificate = \"spiffe://example/billing\" }")
        .more(LOG)
        .start();
    let shown = |config: &Arc<ClientConfig>| {
        let mut client = client(connect(&door, config, "web.test"));
        let forged = "GET / HTTP/1.1\r\nHost: web.test\r\nClient-Cert: :Zm9yZ2Vk:\r\n\
                      CLIENT-CERT-CHAIN: :Zm9yZ2Vk:\r\n\r\n";
        assert_eq!(client.ask(forged).status, 200);
        backend.last().headers.get("client-cert").map(str::to_owned)
    };
    let field = |issued: &Issued| format!(":{}:", issued.base64());
    assert_eq!(shown(&authority.client_showing(&partner)), Some(field(&partner)));
    assert_eq!(shown(&authority.client_showing(&stranger)), Some(field(&stranger)));
    assert_eq!(shown(&authority.client(&[])), None);
    assert!(!backend.received_text().contains("Zm9yZ2Vk"), "{}", backend.received_text());
    let lines: Vec<serde_json::Value> = door
        .access_lines(3)
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    let said = |line: &serde_json::Value| (line["client_name"].clone(), line["tls_client"].clone());
    let known = ("billing".into(), "spiffe://example/billing".into());
    assert_eq!(said(&lines[0]), known);
    assert_eq!(said(&lines[1]), (serde_json::Value::Null, "stranger.test".into()));
    assert_eq!(said(&lines[2]), (serde_json::Value::Null, serde_json::Value::Null));
}

#[test]
fn clients_are_refused_as_the_listener_says() {
    let authority = Authority::new();
    let foreign = Authority::named("Another").issue("foreign", &["partner.test"]);
    let web = authority.issue("web", &["web.test"]);
    let partner = authority.issue("partner", &["partner.test"]);
    let backend = Backend::answering(ok("hello"));
    let setup = Setup::of(&[&backend]);
    for (more, nobody) in [("", false), (", required = false", true)] {
        let door = setup.clone().listen(&listen(&[&web], &asking(&authority, more))).start();
        assert!(is_served(&door, &authority.client_showing(&partner)));
        assert_eq!(is_served(&door, &authority.client(&[])), nobody, "{more}");
        assert!(!is_served(&door, &authority.client_showing(&foreign)), "{more}");
    }
}

#[test]
fn a_client_that_is_revoked_is_refused_within_a_moment() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    let (good, bad) = (authority.issue("good", &["a.test"]), authority.issue("bad", &["b.test"]));
    authority.revoke("list.crl", &[]);
    let list = authority.roots().with_file_name("list.crl");
    let more = format!(", revocation = [\"{}\"]", list.display());
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).listen(&listen(&[&web], &asking(&authority, &more))).start();
    let (good, bad_client) = (authority.client_showing(&good), authority.client_showing(&bad));
    assert!(is_served(&door, &good) && is_served(&door, &bad_client));
    authority.revoke("list.crl", &[&bad]);
    // It has a session to resume, which would not be verified again.
    eventually("it is refused", || !is_served(&door, &bad_client));
    assert!(is_served(&door, &good));
}

/// What a listener trusts changes: connections of clients that it trusts no more serve no further
/// request, and what they had asked is answered; those of others stay.
#[test]
fn connections_of_a_client_that_is_revoked_end_with_what_they_do() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    let (good, bad) = (authority.issue("good", &["a.test"]), authority.issue("bad", &["b.test"]));
    authority.revoke("list.crl", &[]);
    let list = authority.roots().with_file_name("list.crl");
    let more = format!(", revocation = [\"{}\"]", list.display());
    let gate = Gate::closed();
    let waits = gate.clone();
    let backend = Backend::start(move |request, peer| {
        if request.target == "/slow" {
            waits.wait();
        }
        peer.send(ok("hello"));
    });
    let door = Setup::of(&[&backend]).listen(&listen(&[&web], &asking(&authority, &more))).start();
    let (good, bad_config) = (authority.client_showing(&good), authority.client_showing(&bad));
    let over_http2 = |config: &Arc<ClientConfig>| {
        let mut config = (**config).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut streams =
            Streams::over(Box::new(connect(&door, &Arc::new(config), "web.test")), 65_535);
        let mut asked = streams::get("/");
        asked[2].1 = "web.test";
        streams.open(1, &asked, true);
        assert_eq!(streams.response(1).0, 200);
        streams
    };
    let over_http1 = |config: &Arc<ClientConfig>| {
        let mut client = client(connect(&door, config, "web.test"));
        assert_eq!(client.ask(get("web.test")).status, 200);
        client
    };
    let (mut idle, mut idle_streams) = (over_http1(&bad_config), over_http2(&bad_config));
    let (mut busy, mut busy_streams) = (over_http1(&bad_config), over_http2(&bad_config));
    let (mut kept, mut kept_streams) = (over_http1(&good), over_http2(&good));
    let slow = |path| {
        vec![(":method", "GET"), (":scheme", "https"), (":authority", "web.test"), (":path", path)]
    };
    busy.send("GET /slow HTTP/1.1\r\nHost: web.test\r\n\r\n");
    busy_streams.open(3, &slow("/slow"), true);
    let slow_ones = || backend.requests().iter().filter(|asked| asked.target == "/slow").count();
    eventually("both have reached the server", || slow_ones() == 2);
    authority.revoke("list.crl", &[&bad]);
    idle.expect_closed();
    assert_eq!(idle_streams.goaway(), code::NO_ERROR);
    // Told to leave, it asks once more.
    busy_streams.wait(|frame| (frame.kind == GOAWAY).then_some(()));
    busy_streams.open(5, &slow("/more"), true);
    assert_eq!(busy_streams.reset(5), code::REFUSED_STREAM);
    gate.open();
    let last = busy.response();
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    busy.expect_closed();
    assert_eq!(busy_streams.response(3), (200, b"hello".to_vec()));
    busy_streams.closed();
    assert_eq!(kept.ask(get("web.test")).status, 200);
    kept_streams.open(3, &slow("/"), true);
    assert_eq!(kept_streams.response(3).0, 200);
    assert!(!backend.requests().iter().any(|asked| asked.target == "/more"));
    // Another authority in place of theirs.
    write(&authority.roots(), &Authority::named("Another").issuer.pem());
    kept.expect_closed();
    assert_eq!(kept_streams.goaway(), code::NO_ERROR);
    assert!(door.log().contains("a client's certificate counts no more"), "{}", door.log());
}

/// Under load, 50 new certificates one after the other: each is shown soon, nobody is refused.
#[test]
fn certificates_are_renewed_without_a_restart() {
    let authority = Authority::new();
    let first = authority.issue("web", &["web.test"]);
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).listen(&listen(&[&first], "")).start();
    let (ended, served, failed) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let ask = || {
        let config = authority.client(&[]);
        while !ended.load(Ordering::SeqCst) {
            let counter = if is_served(&door, &config) { &served } else { &failed };
            counter.fetch_add(1, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(ask);
        }
        let config = authority.client(&[]);
        for _ in 0..50 {
            let new = authority.issue("web", &["web.test"]);
            eventually("the new certificate is shown", || {
                certificate(&connect(&door, &config, "web.test")) == new.der
            });
        }
        ended.store(true, Ordering::SeqCst);
    });
    assert_eq!(failed.into_inner(), 0);
    assert!(served.into_inner() > 100);
    assert!(door.log().contains("web.pem"), "{}", door.log());
}

#[test]
fn a_torn_file_changes_nothing_and_is_told_once() {
    let authority = Authority::new();
    let old = authority.issue("web", &["web.test"]);
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).listen(&listen(&[&old], "")).start();
    let config = authority.client(&[]);
    let key = std::fs::read_to_string(old.folder.join("web.key")).unwrap();
    write(&old.folder.join("web.key"), "no key\n");
    let told = || door.log().matches("certificates cannot be read again").count();
    eventually("it is told", || told() == 1);
    let troubled = || door.metric("tidegate_certificate_troubled", &["kind=\"certificate\""]);
    eventually("it is counted", || troubled() == 1.0);
    let trouble = door.status()["certificates"][0]["trouble"].to_string();
    assert!(trouble.contains("web.key"), "{trouble}");
    assert_eq!(certificate(&connect(&door, &config, "web.test")), old.der);
    // Names of servers, weights and what else is rebuilt go on with what was read before.
    write(&old.folder.join("web.key"), &key);
    eventually("all is well again", || troubled() == 0.0);
    let new = authority.issue("web", &["web.test"]);
    eventually("the new certificate is shown", || {
        certificate(&connect(&door, &config, "web.test")) == new.der
    });
    assert_eq!(told(), 1);
}

#[test]
fn when_certificates_end_is_a_fact() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test", "*.wild.test"]);
    let ended = authority.issue_until("ended", &["ended.test"], 2020);
    let backend = Backend::answering(ok("hello"));
    let door =
        Setup::of(&[&backend]).listen(&listen(&[&web, &ended], &asking(&authority, ""))).start();
    let expiry = "tidegate_certificate_expiry_timestamp_seconds";
    let path = ended.folder.join("ended.pem");
    let file = format!("file=\"{}\"", path.display());
    // 2020-01-01T00:00:00Z.
    eventually("it is measured", || door.metric(expiry, &[&file]) == 1_577_836_800.0);
    let facts = &door.status()["certificates"];
    assert_eq!(facts.as_array().map(Vec::len), Some(3), "{facts}");
    assert_eq!(facts[0]["hosts"], serde_json::json!(["web.test", "*.wild.test"]));
    assert!(facts[0]["days_left"].as_i64() > Some(365_000), "{facts}");
    assert!(facts[1]["days_left"].as_i64() < Some(0), "{facts}");
    assert!(facts[1]["trouble"].to_string().contains("has expired"), "{facts}");
    assert_eq!(facts[2]["kind"], "roots");
    let shown = tidegate(&["status", "--socket", &door.socket().display().to_string()]);
    assert!(shown.stdout.contains("ended.pem"), "{}", shown.stdout);
    eventually("it is told once", || door.log().matches("it has expired").count() == 1);
}

/// Which certificate a connection showed decides which hosts it may ask for.
#[test]
fn threat_43_a_host_of_another_certificate() {
    let authority = Authority::new();
    let web = authority.issue("web", &["example.test", "*.example.test", "127.0.0.1"]);
    let bank = authority.issue("bank", &["bank.example.test"]);
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).listen(&listen(&[&web, &bank], "")).start();
    let config = authority.client(&[]);
    let check = |server_name: &str, host: &str, expected: u16| {
        let mut client = client(connect(&door, &config, server_name));
        let before = backend.requests().len();
        let response = client.ask(get(host));
        assert_eq!(response.status, expected, "{server_name} {host}");
        assert_eq!(backend.requests().len() - before, usize::from(expected == 200));
        if expected == 421 {
            assert!(response.text().contains("misdirected"), "{}", response.text());
            // The connection itself is sound.
            assert_eq!(client.ask(get(server_name)).status, 200);
        }
    };
    check("www.example.test", "www.example.test", 200);
    check("www.example.test", "WWW.Example.Test.", 200);
    check("www.example.test", "www.example.test:8443", 200);
    check("www.example.test", "other.example.test", 200);
    check("www.example.test", "example.test", 200);
    check("www.example.test", "bank.example.test", 421);
    check("www.example.test", "a.b.example.test", 421);
    check("www.example.test", "elsewhere.test", 421);
    check("bank.example.test", "www.example.test", 421);
    // No server name: what no certificate names, and what the first one does.
    check("127.0.0.1", "127.0.0.1", 200);
    check("127.0.0.1", "www.example.test", 200);
    check("127.0.0.1", "bank.example.test", 421);
}

/// Handshakes that stall hold a place for a bounded time, and keep nobody else out.
#[test]
fn threat_44_handshakes_that_stall() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend])
        .listen(&listen(&[&web], ""))
        .listen("timeouts = { handshake = \"500ms\" }")
        .start();
    // Nothing, the beginning of a record, a record that announces more than comes, a whole record
    // with part of a ClientHello.
    let starts: [&[u8]; 4] =
        [&[], &[22, 3, 1], &[22, 3, 1, 64, 0, 1], &[22, 3, 1, 0, 4, 1, 0, 2, 0]];
    let mut stalled: Vec<Client> = Vec::new();
    for start in starts.iter().cycle().take(200) {
        let mut client = Client::to(&door);
        client.send(start);
        stalled.push(client);
    }
    assert!(is_served(&door, &authority.client(&[])));
    for mut client in stalled {
        client.expect_closed();
    }
    eventually("all are counted, and gone", || {
        let failed = door.metric("tidegate_tls_handshakes_total", &["result=\"failed\""]);
        (failed, door.metric("tidegate_connections", &[])) == (200.0, 0.0)
    });
    assert_eq!(backend.requests().len(), 1);
}

/// Options that contradict each other, or files that cannot be used, never make a weaker door.
#[test]
fn threat_45_conflicting_options_do_not_fall_open() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    let roots = authority.roots().display().to_string();
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let check = |listener: &str, pool: &str, expected: &str| {
        let text = Setup::at(&["127.0.0.1:9".parse().expect("an address")])
            .listen(&listen(&[&web], listener))
            .pool(pool)
            .text();
        let path = folder.path().join("tidegate.toml");
        write(&path, &text);
        let path = path.display().to_string();
        let run = tidegate(&["run", "--config", &path]);
        assert_eq!(run.code, Some(2), "{listener} {pool}: {}", run.stderr);
        assert!(run.stderr.contains(expected), "{listener} {pool}: {}", run.stderr);
    };
    check(", clients = { required = true }", "", "`clients` needs `roots`");
    check(", clients = { required = false }", "", "`clients` needs `roots`");
    check(", clients = true", "", "clients");
    check(&format!(", clients = {{ roots = \"{roots}\", revocation = [] }}"), "", "revocation");
    check(", clients = { roots = \"/nonexistent.pem\" }", "", "nonexistent");
    check("", "tls = { certificate = { certificate = \"/none.pem\", key = \"/n.key\" } }", "none");
}

/// What asks clients for certificates goes on asking when its files are torn or taken away.
#[test]
fn threat_45_torn_files_of_clients_do_not_fall_open() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    let partner = authority.issue("partner", &["partner.test"]);
    let (own, door_authority) = (Authority::named("Of clients"), &authority);
    let shown = own.issue("shown", &["shown.test"]);
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).listen(&listen(&[&web], &asking(&own, ""))).start();
    let config = door_authority.client_showing(&shown);
    assert!(is_served(&door, &config));
    for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let before = door.log().matches("certificates cannot be read again").count();
        write(&own.roots(), text);
        eventually("it is told", || {
            door.log().matches("certificates cannot be read again").count() > before
        });
        assert!(is_served(&door, &config));
        assert!(!is_served(&door, &door_authority.client(&[])));
        assert!(!is_served(&door, &door_authority.client_showing(&partner)));
    }
}
