//! HAProxy beside the door: both serve one site, the door after an import.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use socket2::{Domain, Socket, Type};

use crate::compared::{Seen, ask, named};
use crate::{Backend, Door, Finished, eventually_some, tidegate};

/// A port that nobody else is given: held by a socket that is bound and never listens. HAProxy
/// shares it with SO_REUSEPORT.
fn held_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("sockets can be made");
    socket.set_reuse_port(true).expect("a socket takes options");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("loopback has ports");
    let address = socket.local_addr().expect("a bound socket has an address");
    let port = address.as_socket().expect("it is an IP socket").port();
    (socket, port)
}

/// A running HAProxy; it ends when dropped.
struct Haproxy(Child);

impl Haproxy {
    fn start(file: &Path, ports: [u16; 2], text: &str) -> Self {
        let child = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("HAProxy is installed");
        let haproxy = Self(child);
        for port in ports.iter().filter(|port| text.contains(&format!(":{port}"))) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            eventually_some("HAProxy listens", || std::net::TcpStream::connect(address).ok());
        }
        haproxy
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The name of the listener that has this port in an imported configuration.
fn listener(own: &str, port: u16) -> String {
    let address = format!("\"127.0.0.1:{port}\"");
    let table = own.split("[listen.").find(|table| table.contains(&address));
    table.and_then(|table| table.split(']').next()).expect("every port is imported").to_owned()
}

/// What a site begins with.
pub const DEFAULTS: &str = "\
global
    maxconn 100
defaults
    mode http
    timeout connect 3s
    timeout client 30s
    timeout server 30s
    timeout http-request 10s
";

/// A site that both serve.
struct Site {
    _haproxy: Haproxy,
    door: Door,
    ports: [u16; 2],
    /// What the import says, and what it writes.
    imported: Finished,
    _held: [(Socket, u16); 2],
    _folder: tempfile::TempDir,
    _servers: [Backend; 3],
}

impl Site {
    fn start(text: &str) -> Self {
        let servers = ["a", "b", "c"].map(named);
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let pem = folder.path().join("site.pem");
        let made =
            rcgen::generate_simple_self_signed(["site.test".to_owned()]).expect("keys are made");
        let both = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
        std::fs::write(&pem, both).expect("the folder is writable");
        let held = [held_port(), held_port()];
        let ports = [held[0].1, held[1].1];
        let mut text = text.replace("{pem}", &pem.display().to_string());
        for (name, port) in ["{listen}", "{more}"].iter().zip(ports) {
            text = text.replace(name, &format!("127.0.0.1:{port}"));
        }
        for (name, server) in ["{a}", "{b}", "{c}"].iter().zip(&servers) {
            text = text.replace(name, &server.address().to_string());
        }
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, &text).expect("the folder is writable");
        let haproxy = Haproxy::start(&file, ports, &text);
        let imported = tidegate(&["import", &file.display().to_string()]);
        let mut own = imported.stdout.clone();
        for port in ports {
            own = own.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0");
        }
        let door = Door::start(&own);
        Self {
            _haproxy: haproxy,
            door,
            ports,
            imported,
            _held: held,
            _folder: folder,
            _servers: servers,
        }
    }

    /// The answers of the door and of HAProxy.
    fn ask(&self, request: &str) -> (Seen, Seen) {
        let more = request.strip_prefix("more ");
        let port = self.ports[usize::from(more.is_some())];
        let request = more.unwrap_or(request);
        let theirs = ask(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), request);
        (ask(self.door.address(&listener(&self.imported.stdout, port)), request), theirs)
    }
}

/// Serves `text` by HAProxy and, imported, by the door, and compares their answers. In the text
/// `{listen}` and `{more}` are addresses to listen on, `{a}`, `{b}`, `{c}` are servers, and `{pem}`
/// is a certificate with its key. A request that begins with `more` goes to the second address.
///
/// # Panics
/// When anything is not carried over, or an answer differs.
#[track_caller]
pub fn check(text: &str, requests: &[&str]) {
    let site = Site::start(text);
    let imported = &site.imported;
    assert_eq!(imported.code, Some(0), "everything is carried over: {}", imported.stderr);
    for request in requests {
        let (ours, theirs) = site.ask(request);
        assert_eq!(ours, theirs, "{request}\n{}", imported.stdout);
    }
}

/// The same of a site that is not carried over as a whole: what is in `same` is answered as by
/// HAProxy, what is in `closed` is refused without asking a server.
///
/// # Panics
/// When it is not so, or the import does not say that something was left out.
#[track_caller]
pub fn check_closed(text: &str, same: &[&str], closed: &[&str]) {
    let site = Site::start(text);
    let imported = &site.imported;
    assert_eq!(imported.code, Some(1), "something is left out: {}", imported.stderr);
    for request in same {
        let (ours, theirs) = site.ask(request);
        assert_eq!(ours, theirs, "{request}\n{}", imported.stdout);
    }
    for request in closed {
        let (ours, _) = site.ask(request);
        assert!(ours.status >= 400, "{request} is answered {}\n{}", ours.status, imported.stdout);
        assert_eq!(ours.server, None, "{request}\n{}", imported.stdout);
    }
}
