//! nginx, and beside it the door with the same configuration, imported: what both answer.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::compared::{Seen, ask, named};
use crate::{Door, eventually, free_port, tidegate};

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

/// The answers of nginx and of the door to each request are the same; see [`both`].
///
/// # Panics
/// When one is not.
#[track_caller]
pub fn check(http: &str, requests: &[&str]) {
    for (request, (ours, theirs)) in requests.iter().zip(both(http, requests)) {
        assert_eq!(ours, theirs, "{request}");
    }
}

/// The hash of `secret`, by bcrypt.
const HASH: &str = "$2y$04$EH2GAsAeH8cdRo/00jh98.EDsE8iKSBTwckeIp7qt3aFxOZLPojSS";

/// Serves `http`, the content of a block `http`, by nginx and, imported, by the door, and gives
/// the door's and nginx's answers. In the text `{one}` and `{two}` are addresses to listen on, and
/// `{a}`, `{b}`, `{c}` are servers, and `{dir}/users` has the password `secret` of `ann`. A request begins with the number of the address it goes to.
///
/// # Panics
/// When nginx cannot be started, or the import refuses something.
#[must_use]
#[track_caller]
pub fn both(http: &str, requests: &[&str]) -> Vec<(Seen, Seen)> {
    let servers = ["a", "b", "c"].map(named);
    let ports = [free_port(), free_port()];
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
  include sites/*.conf;
}}
"
    );
    http = http.replace("{dir}", &folder.path().display().to_string());
    let users = folder.path().join("users");
    std::fs::write(users, format!("ann:{HASH}\n")).expect("the folder is writable");
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
    let answers = requests.iter().map(|request| {
        let (number, request) = request.split_once(' ').expect("a request begins with a number");
        let port = ports[usize::from(number == "2")];
        let theirs = ask(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), request);
        let ours = ask(door.address(&format!("port-{port}")), request);
        (ours, theirs)
    });
    answers.collect()
}
