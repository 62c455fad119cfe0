//! Certificates that the door obtains by itself, from an authority that checks everything.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use black_box::acme::AcmeServer;
use black_box::certificates::{Authority, Issued, certificate, handshake_at};
use black_box::{
    Backend, Client, Door, Gate, Setup, eventually, eventually_some, free_port, ok, tidegate,
};
use rustls::ClientConfig;

const DAY: Duration = Duration::from_secs(86_400);
const HOSTS: &[&str] = &["www.example.test", "example.test"];

/// A door with a plain listener and one whose certificate it obtains.
fn setup(backend: &Backend, lines: &str) -> String {
    Setup::of(&[backend])
        .more(&format!("[listen.secure]\naddress = \"127.0.0.1:0\"\n{lines}"))
        .more("[door]\nworkers = 1\nstate = \"{dir}/state\"")
        .text()
}

fn start(server: &AcmeServer, backend: &Backend, challenge: &str) -> Door {
    let door = Door::start(&setup(backend, &server.lines(HOSTS, challenge)));
    server.look_at(door.address("web"), door.address("secure"));
    door
}

/// Whether a client that trusts only the authority is served.
fn is_trusted(door: &Door, config: &Arc<ClientConfig>, host: &str) -> bool {
    handshake_at(door.address("secure"), config, host).is_ok()
}

fn rights(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_certificate_is_obtained_and_kept() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let server = AcmeServer::start(90 * DAY);
        let backend = Backend::answering(ok("hello"));
        let mut door = start(&server, &backend, challenge);
        let config = server.authority().client(&[]);
        eventually("it is shown", || {
            let said = door.log();
            assert!(!said.contains("no certificate could be obtained"), "{said}");
            is_trusted(&door, &config, "www.example.test")
        });
        assert!(is_trusted(&door, &config, "example.test"), "{challenge}");
        assert_eq!(server.refused(), [""; 0], "{challenge}");
        assert_eq!((server.accounts(), server.orders()), (1, 1), "{challenge}");
        // Nothing is answered any longer, and nothing of it reached a server.
        let path = "/.well-known/acme-challenge/x";
        assert_eq!(Client::connect(door.address("web")).get(path).text(), "hello");
        assert_eq!(backend.requests().len(), 1, "{challenge}");
        let folder = door.folder().join("state/acme");
        assert_eq!((rights(&folder), rights(&folder.join("www.example.test"))), (0o700, 0o700));
        assert_eq!(rights(&folder.join("www.example.test/key.pem")), 0o600);
        let accounts = std::fs::read_dir(&folder).unwrap().flatten();
        let accounts: Vec<_> = accounts.map(|file| file.path()).filter(|p| p.is_file()).collect();
        assert_eq!(accounts.iter().map(|path| rights(path)).collect::<Vec<_>>(), [0o600]);
        // Another process goes on with both.
        door.crash();
        assert!(is_trusted(&door, &config, "www.example.test"), "{challenge}");
        assert_eq!((server.accounts(), server.orders()), (1, 1), "{challenge}");
    }
}

#[test]
fn a_certificate_is_renewed_before_it_ends() {
    let server = AcmeServer::start(90 * DAY);
    let backend = Backend::answering(ok("hello"));
    let text = setup(&backend, &server.lines(HOSTS, "http-01"));
    // One that has most of its life behind it lies there already.
    let folder = tempfile::tempdir().unwrap();
    let old = server.authority().issue_until("old", HOSTS, 2030);
    put(folder.path(), &old);
    let text = text.replace("{dir}/state", &folder.path().display().to_string());
    let door = Door::start(&text);
    let config = server.authority().client(&[]);
    let shown = || {
        let stream = handshake_at(door.address("secure"), &config, "example.test");
        certificate(&stream.expect("it is trusted all the time"))
    };
    assert_eq!(shown(), old.der);
    server.look_at(door.address("web"), door.address("secure"));
    eventually("the new one is shown", || shown() != old.der);
    assert_eq!(server.orders(), 1);
}

#[test]
fn what_cannot_be_obtained_is_told_and_takes_nothing_away() {
    let server = AcmeServer::start(90 * DAY);
    let backend = Backend::answering(ok("hello"));
    let door = Door::start(&setup(&backend, &server.lines(HOSTS, "http-01")));
    // The authority finds nobody under the name.
    let nowhere = "127.0.0.1:1".parse().unwrap();
    server.look_at(nowhere, nowhere);
    eventually("it is told", || door.log().contains("no certificate could be obtained"));
    assert_eq!(Client::connect(door.address("web")).get("/").status, 200);
    // What stands in for it is trusted by nobody, and says so.
    let config = server.authority().client(&[]);
    assert!(!is_trusted(&door, &config, "www.example.test"));
    eventually("it is a fact", || {
        door.status()["certificates"][0]["trouble"].to_string().contains("has expired")
    });
    let obtaining = eventually_some("what failed is a fact", || {
        let found = door.status()["certificates"][0]["obtaining"].clone();
        (found["failures"] == 1).then_some(found)
    });
    assert!(obtaining["reason"].to_string().contains("Invalid"), "{obtaining}");
    let [failed, next] =
        ["failed_at_unix_s", "next_at_unix_s"].map(|of| obtaining[of].as_i64().expect("a time"));
    assert!((60..=72).contains(&(next - failed)), "{obtaining}");
    let words = tidegate(&["status", "--socket", &door.socket().display().to_string()]).stdout;
    assert!(words.contains("no certificate could be obtained, 1 in a row, last at 2"), "{words}");
    assert!((door.metric("tidegate_certificate_failed_attempts", &[]) - 1.0).abs() < 0.1);
    let metric = door.metric("tidegate_certificate_next_attempt_timestamp_seconds", &[]);
    assert!((metric - next as f64).abs() < 0.1, "{metric} {next}");
    assert_eq!(server.orders(), 1, "the next attempt waits");
}

/// A door that ends what it has leaves the authority to the one that took over.
#[test]
fn a_door_that_retires_orders_nothing() {
    let server = AcmeServer::start(90 * DAY);
    let gate = Gate::closed();
    let backend = Backend::start({
        let gate = gate.clone();
        move |request, peer| {
            if request.target == "/wait" {
                gate.wait();
            }
            peer.send(ok("hello"));
        }
    });
    let state = tempfile::tempdir().unwrap();
    put(state.path(), &server.authority().issue_until("good", HOSTS, 4_000));
    let text = setup(&backend, &server.lines(HOSTS, "http-01")) + "drain = \"120s\"\n";
    let mut door = Door::start(&text.replace("{dir}/state", &state.path().display().to_string()));
    let mut kept = Client::connect(door.address("web"));
    kept.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request is there", || backend.requests().len() == 1);
    door.upgrade();
    // Both see that it is due, and look at what is due once a second.
    put(state.path(), &server.authority().issue_until("old", HOSTS, 2030));
    let renewed = || door.log().matches("certificates changed").count();
    eventually("both have read it", || renewed() >= 2);
    let uptime = || door.status()["uptime_seconds"].as_u64().expect("a number");
    let read = uptime();
    eventually("three seconds have passed", || uptime() >= read + 3);
    server.look_at(door.address("web"), door.address("secure"));
    eventually("both have read another one", || renewed() >= 4);
    assert_eq!((server.orders(), door.retiring()), (1, 1), "{}", door.log());
    gate.open();
    assert_eq!(kept.response().text(), "hello");
}

/// What is under way when another process takes over is begun anew there, where the authority
/// finds its answers.
#[test]
fn an_order_does_not_outlive_its_door() {
    let server = AcmeServer::start(90 * DAY);
    let backend = Backend::answering(ok("hello"));
    let mut door = Door::start(&setup(&backend, &server.lines(HOSTS, "http-01")));
    eventually("it is under way", || server.orders() == 1);
    eventually("it is a fact", || {
        door.status()["certificates"][0]["obtaining"]["underway"] == true
    });
    door.upgrade();
    eventually("it is begun anew", || server.orders() == 2);
    server.look_at(door.address("web"), door.address("secure"));
    let config = server.authority().client(&[]);
    eventually("it is obtained", || is_trusted(&door, &config, "www.example.test"));
    assert!(!door.log().contains("no certificate could be obtained"), "{}", door.log());
    eventually("nothing more is due", || {
        let obtaining = &door.status()["certificates"][0]["obtaining"];
        obtaining["underway"] == false && obtaining["failures"] == 0
    });
    assert_eq!(server.orders(), 2);
}

/// Puts a certificate where the door keeps what it obtains.
fn put(state: &Path, issued: &Issued) {
    let own = state.join("acme/www.example.test");
    std::fs::create_dir_all(&own).expect("it is writable");
    for (from, to) in [("key", "key.pem"), ("pem", "certificate.pem")] {
        let from = issued.folder.join(format!("{}.{from}", issued.file));
        std::fs::copy(from, own.join(to)).expect("both are files");
    }
}

/// Let's Encrypt's own server for tests (Debian: `pebble`), ended when dropped.
struct Pebble {
    child: std::process::Child,
    port: u16,
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Pebble {
    /// Looks for answers at these ports of this machine.
    fn start(plain: u16, tls: u16) -> Self {
        let authority = Authority::named("Of the directory");
        let own = authority.issue("pebble", &["localhost"]);
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let port = free_port();
        let file = |name: &str| own.folder.join(name).display().to_string();
        let settings = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{}", free_port()),
            "certificate": file("pebble.pem"),
            "privateKey": file("pebble.key"),
            "httpPort": plain,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        } });
        let path = folder.path().join("pebble.json");
        std::fs::write(&path, settings.to_string()).expect("it is writable");
        let child = std::process::Command::new("pebble")
            .args(["-strict", "-config"])
            .arg(&path)
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("pebble is installed (Debian: `apt-get install pebble`)");
        let server = Self { child, port, folder, authority };
        eventually("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The same against a server that is not of this project.
#[test]
fn pebble_issues_a_certificate() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let (plain, tls) = (free_port(), free_port());
        let server = Pebble::start(plain, tls);
        let backend = Backend::answering(ok("hello"));
        let lines = format!(
            "tls = {{ acme = {{ hosts = [\"localhost\"], challenge = \"{challenge}\", contact = \
             \"mailto:ops@example.test\", directory = \"https://localhost:{}/dir\", roots = \"{}\" }} }}",
            server.port,
            server.authority.roots().display()
        );
        let text = format!(
            "[listen.web]\naddress = \"127.0.0.1:{plain}\"\n[listen.secure]\naddress = \
             \"127.0.0.1:{tls}\"\n{lines}\n[pools.api]\nservers = [\"{}\"]\n[routes.api]\npool = \
             \"api\"\n[door]\nworkers = 1\nstate = \"{{dir}}/state\"\n",
            backend.address()
        );
        let door = Door::start(&text);
        let path = door.folder().join("state/acme/localhost/certificate.pem");
        eventually("a chain is there", || {
            let said = door.log();
            assert!(!said.contains("no certificate could be obtained"), "{said}");
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            text.matches("BEGIN CERTIFICATE").count() >= 2
        });
        eventually("it is in use", || {
            door.status()["certificates"][0]["days_left"].as_i64() > Some(30)
        });
        assert!(server.folder.path().exists());
    }
}
