//! What HAProxy serves and what the door serves with the same configuration, imported: the same.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use black_box::{Backend, Client, Door, eventually_some, tidegate};
use socket2::{Domain, Socket, Type};

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
    fn start(file: &Path, port: u16) -> Self {
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
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        eventually_some("HAProxy listens", || std::net::TcpStream::connect(address).ok());
        haproxy
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Status, location, and which back end answered.
type Answer = (u16, Option<String>, Option<String>);

/// Asks in the way `METHOD HOST TARGET`, perhaps with header lines behind.
fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut words = request.splitn(4, ' ');
    let mut next = || words.next().unwrap_or_default();
    let (method, host, target, lines) = (next(), next(), next(), next());
    let lines = if lines.is_empty() { String::new() } else { format!("{lines}\r\n") };
    let mut client = Client::connect(address);
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
    let answer = if method == "HEAD" {
        client.send(head);
        client.response_to_head()
    } else {
        client.ask(head)
    };
    let server = answer.header("x-server").map(str::to_owned);
    (answer.status, answer.header("location").map(str::to_owned), server)
}

/// Serves `text` by HAProxy and, imported, by the door, and compares their answers. In the text
/// `{listen}` is the address to listen on, and `{a}`, `{b}`, `{c}` are servers.
fn check(text: &str, requests: &[&str]) {
    let servers: Vec<Backend> = ["a", "b", "c"]
        .iter()
        .map(|name| {
            Backend::answering(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Server: {name}\r\n\r\n"
            ))
        })
        .collect();
    let (_held, port) = held_port();
    let mut text = text.replace("{listen}", &format!("127.0.0.1:{port}"));
    for (name, server) in ["{a}", "{b}", "{c}"].iter().zip(&servers) {
        text = text.replace(name, &server.address().to_string());
    }
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, &text).expect("the folder is writable");
    let _haproxy = Haproxy::start(&file, port);

    let imported = tidegate(&["import", &file.display().to_string()]);
    assert_eq!(imported.code, Some(0), "everything is carried over: {}", imported.stderr);
    let own = imported.stdout.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0");
    let door = Door::start(&own);
    for request in requests {
        let theirs = ask(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), request);
        let ours = ask(door.first_address(), request);
        assert_eq!(ours, theirs, "{request}\n{own}");
    }
}

const DEFAULTS: &str = "\
global
    maxconn 100
defaults
    mode http
    timeout connect 3s
    timeout client 30s
    timeout server 30s
    timeout http-request 10s
";

#[test]
fn a_site_with_hosts_paths_and_an_api() {
    let text = format!(
        "{DEFAULTS}
frontend web
    bind {{listen}}
    monitor-uri /haproxy-health
    acl is_api path_beg /api/
    acl is_static path_beg /static/ /images/
    acl is_shop hdr(host) -i shop.example.com
    acl is_shop hdr(host) -i store.example.com
    acl writes method POST PUT DELETE
    http-request deny if {{ path_beg /internal/ }}
    http-request deny deny_status 405 if is_static writes
    http-request redirect code 301 location https://www.example.com/ if {{ path /old }}
    use_backend static if is_static
    use_backend api if is_api !is_shop
    use_backend shop if is_shop
    default_backend static
backend static
    balance random
    server c {{c}} check
backend api
    balance leastconn
    server a {{a}} check inter 1s weight 10
backend shop
    server b {{b}}
"
    );
    check(
        &text,
        &[
            "GET www.example.com /",
            "GET www.example.com /haproxy-health",
            "GET www.example.com /haproxy-health/x",
            "GET www.example.com /api",
            "GET www.example.com /api/",
            "GET www.example.com /api/users?id=1",
            "GET shop.example.com /api/users",
            "GET SHOP.example.com /",
            "GET store.example.com /cart",
            "GET shop.example.com /static/app.js",
            "POST shop.example.com /static/app.js",
            "POST shop.example.com /cart",
            "DELETE www.example.com /images/1",
            "HEAD www.example.com /static/app.js",
            "GET www.example.com /internal/x",
            "GET www.example.com /internal",
            "GET shop.example.com /internal/x",
            "GET www.example.com /old",
            "GET shop.example.com /old?x=1",
            "GET www.example.com /older",
        ],
    );
}

#[test]
fn rules_whose_order_is_not_that_of_specificity() {
    let text = format!(
        "{DEFAULTS}
frontend web
    bind {{listen}}
    acl wide path_beg /a/
    acl deep path_beg /a/b/
    acl host hdr(host) -i one.test
    acl beta req.hdr(X-Kind) beta
    use_backend one if wide !beta
    use_backend two if host METH_GET or deep beta
    use_backend three if {{ req.hdr(X-Flag) -m found }}
    default_backend two
backend one
    http-request deny if {{ path /a/secret }}
    server a {{a}}
backend two
    http-request redirect prefix https://two.test code 307 if {{ path_beg /moved/ }}
    server b {{b}}
backend three
    http-request return status 200 content-type text/plain string three if {{ method OPTIONS }}
    server c {{c}}
"
    );
    check(
        &text,
        &[
            "GET x.test /a/1",
            "GET x.test /a",
            "GET one.test /a/b/1",
            "GET one.test /a/b/1 X-Kind: beta",
            "POST x.test /a/b/1 X-Kind: beta\r\nContent-Length: 0",
            "POST x.test /a/c X-Kind: beta\r\nContent-Length: 0\r\nX-Flag: 1",
            "GET x.test /a/c X-Kind: beta\r\nX-Flag: 1",
            "GET one.test /a/c X-Kind: beta\r\nX-Flag: 1",
            "HEAD one.test /",
            "POST one.test / Content-Length: 0\r\nX-Flag: 1",
            "OPTIONS one.test / X-Flag: 1",
            "GET x.test /a/secret",
            "GET x.test /a/secret X-Kind: beta",
            "GET x.test /moved/1?x=2",
            "GET x.test /moved/1 X-Flag: 1",
            "GET one.test /moved/1?x=2 X-Flag: 1",
            "GET x.test /moved",
        ],
    );
}

#[test]
fn a_listen_section_with_rules_of_its_own() {
    let text = format!(
        "{DEFAULTS}
defaults inner
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
    retries 2
    option redispatch
listen app from inner
    bind {{listen}} maxconn 50
    acl www hdr(host) www.app.test
    acl known hdr(host) -i app.test www.app.test api.app.test
    http-request allow if {{ path /robots.txt }}
    http-request deny deny_status 404 unless known
    redirect scheme https code 301 if www !{{ path_reg ^/\\.well-known/ }}
    use_backend api if {{ hdr(host) -i api.app.test }}
    balance roundrobin
    default-server inter 1s fall 2 rise 1 slowstart 0
    server a {{a}} check weight 5
backend api from inner
    balance uri
    hash-type consistent
    server b {{b}} check
    server spare {{c}} check disabled
"
    );
    check(
        &text,
        &[
            "GET app.test /",
            "GET app.test /x?y=z",
            "GET other.test /",
            "GET other.test /robots.txt",
            "GET www.app.test /robots.txt",
            "GET www.app.test /page?q=1",
            "GET www.app.test /.well-known/acme",
            "GET api.app.test /v1/things",
            "POST api.app.test /v1/things Content-Length: 0",
            "GET API.app.test /robots.txt",
        ],
    );
}
