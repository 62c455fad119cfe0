//! What nginx serves and what the door serves with the same configuration, imported: the same.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use black_box::{Backend, Client, Door, eventually, response, tidegate};

/// Ports that nobody uses: all are bound at the same time, so that they differ.
fn free_ports() -> [u16; 2] {
    let unused = [0, 0].map(|port: u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("loopback has free ports")
    });
    unused.map(|unused| unused.local_addr().expect("a listening socket has an address").port())
}

/// A running nginx; it ends when dropped.
struct Nginx(Child);

impl Nginx {
    fn start(folder: &Path, ports: [u16; 2]) -> Self {
        let program = PathBuf::from("/usr/sbin/nginx");
        let program = if program.is_file() { program } else { PathBuf::from("nginx") };
        let mut command = Command::new(program);
        command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
        let log = std::fs::File::create(folder.join("stderr")).expect("the folder is writable");
        let child = command.stdin(Stdio::null()).stderr(log).spawn();
        let nginx = Self(child.expect("nginx is installed (Debian: apt-get install nginx-light)"));
        for port in ports {
            eventually("nginx listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A server that says who it is and which path it saw.
fn named(name: &'static str) -> Backend {
    Backend::start(move |request, peer| {
        let lines = format!("X-Server: {name}\r\nX-Path: {}\r\n", request.target);
        peer.send(response(200, &lines, ""));
    })
}

/// Status, location, body, which server answered, and which path it saw.
type Answer = (u16, Option<String>, String, Option<String>, Option<String>);

/// Asks `METHOD HOST TARGET`. A location on the same host is compared by its path: nginx writes
/// its own address into it.
fn ask(address: SocketAddr, request: &str) -> Answer {
    let words: Vec<&str> = request.split(' ').collect();
    let [method, host, target] = words[..] else { panic!("{request} is METHOD HOST TARGET") };
    let mut client = Client::connect(address);
    let answer = client.ask(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let header = |name: &str| answer.header(name).map(str::to_owned);
    let location = header("location").map(|location| {
        let own = [format!("http://{host}:{}", address.port()), format!("http://{host}")];
        let path = own.iter().find_map(|own| location.strip_prefix(own.as_str()));
        path.filter(|path| path.starts_with('/')).map_or(location.clone(), str::to_owned)
    });
    // Only what the configuration says is compared: pages of errors are each one's own.
    let is_own = answer.status == 200 && header("x-server").is_none();
    let body = if is_own { answer.text() } else { String::new() };
    (answer.status, location, body, header("x-server"), header("x-path"))
}

/// Serves `http`, the content of a block `http`, by nginx and, imported, by the door, and compares
/// their answers. In the text `{one}` and `{two}` are addresses to listen on, and `{a}`, `{b}`,
/// `{c}` are servers. A request begins with the number of the address it goes to.
fn check(http: &str, requests: &[&str]) {
    let servers = ["a", "b", "c"].map(named);
    let ports = free_ports();
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let dir = folder.path().display();
    let mut http = http.to_owned();
    for (name, port) in ["{one}", "{two}"].iter().zip(ports) {
        http = http.replace(name, &format!("127.0.0.1:{port}"));
    }
    for (name, server) in ["{a}", "{b}", "{c}"].iter().zip(&servers) {
        http = http.replace(name, &server.address().to_string());
    }
    let text = format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  proxy_http_version 1.1; proxy_set_header Connection '';
  include sites/*.conf;
}}
"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::create_dir(folder.path().join("sites")).expect("the folder is writable");
    std::fs::write(&file, &text).expect("the folder is writable");
    std::fs::write(folder.path().join("sites/site.conf"), http).expect("the folder is writable");
    let _nginx = Nginx::start(folder.path(), ports);

    let imported = tidegate(&["import", &file.display().to_string()]);
    assert_eq!(imported.code, Some(0), "everything is carried over: {}", imported.stderr);
    let mut own = imported.stdout;
    for port in ports {
        own = own.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0");
    }
    let door = Door::start(&own);
    for request in requests {
        let (number, request) = request.split_once(' ').expect("a request begins with a number");
        let port = ports[usize::from(number == "2")];
        let theirs = ask(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), request);
        let ours = ask(door.address(&format!("port-{port}")), request);
        assert_eq!(ours, theirs, "{request}\n{own}");
    }
}

#[test]
fn an_application_with_an_api_and_moved_paths() {
    let http = "
        upstream app { server {a}; server {b} down; keepalive 8; }
        map $http_upgrade $connection_upgrade { default upgrade; '' close; }
        server {
            listen {one} default_server;
            listen {two};
            server_name app.test;
            client_max_body_size 1k;
            location / { proxy_pass http://app; proxy_set_header Host $host;
                proxy_http_version 1.1; proxy_set_header Connection $connection_upgrade; }
            location /api/ { proxy_pass http://{b}/v1/; client_max_body_size 10m;
                location /api/deep/ { proxy_pass http://{c}; } }
            location /plain { proxy_pass http://{b}/other; }
            location /cut/ { rewrite ^/cut/(.*)$ /$1 break; proxy_pass http://{c}; }
            location = /health { default_type text/plain; return 200 \"fine\\n\"; }
            location = /exact/ { proxy_pass http://{b}; }
            location ~ ^/(media|static)/ { proxy_pass http://{c}; }
            location ~ ^/users/([^/]+)$ { proxy_pass http://{b}; }
            location /old/ { return 301 /new/; }
            location /moved { return 308 https://$host$request_uri; }
            location /inner { internal; proxy_pass http://app; }
            location /gone { return 410; }
        }";
    check(
        http,
        &[
            "1 GET app.test /",
            "2 GET app.test /index?a=b&c=d",
            "1 GET other.test /x",
            "1 GET app.test /api",
            "1 GET app.test /api?x=1",
            "1 GET app.test /api/",
            "1 GET app.test /api/users?id=7",
            "1 GET app.test /api/deep/er",
            "1 GET app.test /api/deep",
            "1 GET app.test /plain",
            "1 GET app.test /plain/x?y",
            "1 GET app.test /cut/a/b?c=d",
            "1 GET app.test /cut/",
            "1 GET app.test /health",
            "1 GET app.test /health/",
            "1 GET app.test /exact/",
            "1 GET app.test /exact",
            "1 GET app.test /media/a.png",
            "1 GET app.test /static/",
            "1 GET app.test /media",
            "1 GET app.test /users/7",
            "1 GET app.test /users/7/posts",
            "1 GET app.test /users/",
            "1 GET app.test /old/thing",
            "1 GET app.test /old",
            "1 GET app.test /moved?x=1",
            "1 GET app.test /inner",
            "1 GET app.test /gone",
        ],
    );
}

#[test]
fn many_hosts_on_two_addresses() {
    let http = "
        server { listen {one} default_server; server_name _; return 404; }
        server { listen {one}; server_name shop.test www.shop.test;
            if ($host = www.shop.test) { return 301 https://shop.test$request_uri; }
            location / { proxy_pass http://{a}; }
            location /admin { deny all; } }
        server { listen {one}; server_name *.apps.test; location / { proxy_pass http://{b}; } }
        server { listen {one}; server_name special.apps.test; location / { proxy_pass http://{c}; } }
        server { listen {one}; server_name .both.test; return 302 https://both.test/; }
        server { listen {one}; server_name shop.test; location / { proxy_pass http://{c}; } }
        server { listen {two}; server_name first.test; location / { proxy_pass http://{a}; } }
        server { listen {two}; server_name shop.test; location / { proxy_pass http://{b}; }
            location /only/ { proxy_pass http://{c}; } }
        server { listen {two}; server_name bare.test; location /there/ { proxy_pass http://{c}; } }";
    check(
        http,
        &[
            "1 GET shop.test /",
            "1 GET SHOP.test /x",
            "1 GET www.shop.test /x?y=1",
            "1 GET www.shop.test /admin",
            "1 GET shop.test /admin/x",
            "1 GET one.apps.test /",
            "1 GET special.apps.test /",
            "1 GET apps.test /",
            "1 GET both.test /x",
            "1 GET www.both.test /x",
            "1 GET unknown.test /",
            "1 GET first.test /",
            "2 GET first.test /",
            "2 GET unknown.test /x",
            "2 GET shop.test /",
            "2 GET shop.test /only/x",
            "2 GET www.shop.test /",
            "2 GET bare.test /there/x",
            "2 GET bare.test /elsewhere",
        ],
    );
}

#[test]
fn a_redirecting_address_beside_the_site() {
    let http = "
        server { listen {one}; server_name site.test www.site.test;
            location /.well-known/ { proxy_pass http://{c}; }
            location / { return 301 https://$host$request_uri; } }
        server { listen {two}; server_name www.site.test;
            rewrite ^/(.*)$ http://site.test/$1 permanent; }
        server { listen {two}; server_name site.test;
            set $target http://{a};
            proxy_read_timeout 5s; proxy_next_upstream error timeout http_502;
            proxy_next_upstream_tries 2;
            location / { proxy_pass $target; }
            location ^~ /firm/ { proxy_pass http://{b}; }
            location /two { proxy_pass http://{b}; }
            location /two/ { proxy_pass http://{c}/2/; }
            location \"/a b\" { return 204; } }";
    check(
        http,
        &[
            "1 GET site.test /x?y=1",
            "1 GET www.site.test /",
            "1 GET site.test /.well-known/acme",
            "2 GET www.site.test /a/b",
            "2 GET www.site.test /a?b=c",
            "2 GET www.site.test /",
            "2 GET site.test /?q",
            "2 GET site.test /firm/x",
            "2 GET site.test /two",
            "2 GET site.test /two/",
            "2 GET site.test /two/x",
            "2 GET site.test /a%20b",
        ],
    );
}
