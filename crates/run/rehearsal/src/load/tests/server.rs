//! A server for the tests of the load: one thread a connection, and each target is a behaviour.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::Timestamp;
use model::configuration::{CertificateFiles, ListenerTls, TlsVersion};
use net::clock;

/// One request that came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) at: Timestamp,
    pub(super) peer: SocketAddr,
    pub(super) target: String,
    pub(super) body: String,
    fields: Vec<(String, String)>,
}

impl Request {
    pub(super) fn field(&self, name: &str) -> String {
        let found = self.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Request>>,
    by_target: Mutex<HashMap<String, u32>>,
    open: AtomicUsize,
    at_once: AtomicUsize,
}

/// Serves until the test ends.
pub(super) struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    folder: Option<tempfile::TempDir>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Server {
    pub(super) fn start() -> Self {
        Self::serve(None, None)
    }

    pub(super) fn start_tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["load.test".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let tls = ListenerTls {
            certificates: vec![CertificateFiles { certificate, key, ocsp: None }],
            version_min: TlsVersion::Tls12,
            strict_sni: false,
            clients: None,
            acme: None,
        };
        let config = net::tls::load(&tls, &[b"http/1.1"]).unwrap();
        Self::serve(Some(config), Some(folder))
    }

    fn serve(tls: Option<Arc<rustls::ServerConfig>>, folder: Option<tempfile::TempDir>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            while let Ok((socket, peer)) = listener.accept() {
                let (seen, tls) = (Arc::clone(&shared), tls.clone());
                std::thread::spawn(move || connection(socket, peer, &seen, tls));
            }
        });
        Self { address, seen, folder }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn roots(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.path().join("cert.pem"))
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Connections open now.
    pub(super) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// The most that were ever open at once.
    pub(super) fn at_once(&self) -> usize {
        self.seen.at_once.load(Ordering::SeqCst)
    }

    pub(super) fn wait_for(&self, condition: impl Fn(&Self) -> bool) {
        let begun = clock::now();
        while !condition(self) {
            assert!(clock::now().since(begun) < Duration::from_secs(20), "waited in vain");
            std::thread::yield_now();
        }
    }
}

fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    seen: &Seen,
    tls: Option<Arc<rustls::ServerConfig>>,
) {
    let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
    seen.at_once.fetch_max(open, Ordering::SeqCst);
    let mut stream: BufReader<Box<dyn Stream>> = BufReader::new(match tls {
        None => Box::new(socket),
        Some(config) => {
            let connection = rustls::ServerConnection::new(config).unwrap();
            Box::new(rustls::StreamOwned::new(connection, socket))
        }
    });
    let mut number = 0;
    // A client that goes away, however rudely, is what some tests are about.
    while let Ok(Some(request)) = read(&mut stream, peer) {
        number += 1;
        seen.requests.lock().unwrap().push(request.clone());
        if !matches!(answer(&request, number, seen, stream.get_mut()), Ok(true)) {
            break;
        }
    }
    seen.open.fetch_sub(1, Ordering::SeqCst);
}

fn read(stream: &mut impl BufRead, peer: SocketAddr) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let at = clock::now();
    let target = line.split(' ').nth(1).unwrap().to_owned();
    let mut fields = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request { at, peer, target, body: String::new(), fields };
    let length = request.field("content-length").parse().unwrap_or(0);
    stream.take(length).read_to_string(&mut request.body)?;
    Ok(Some(request))
}

/// Answers as the target says; true when the connection goes on.
fn answer(
    request: &Request,
    number: u32,
    seen: &Seen,
    stream: &mut dyn Stream,
) -> std::io::Result<bool> {
    let mut parts = request.target.trim_start_matches('/').split(['/', '?']);
    let (behaviour, detail) = (parts.next().unwrap(), parts.next().unwrap_or_default());
    let ok = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nX-Server: test\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let (text, goes_on) = match behaviour {
        "ok" | "echo" => (ok("hello"), true),
        "large" => (ok(&"x".repeat(300_000)), true),
        "chunked" => (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_owned(),
            true,
        ),
        "until-close" => ("HTTP/1.1 200 OK\r\n\r\nabc".to_owned(), false),
        "close" => {
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned(), false)
        }
        "status" => (format!("HTTP/1.1 {detail} So\r\nContent-Length: 0\r\n\r\n"), true),
        "vanish" => (String::new(), false),
        "cut" => ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_owned(), false),
        // An asterisk is what HTTP/2 begins with.
        "garbage" | "*" => ("220 mail\r\n\r\n".to_owned(), false),
        "first-only" => (if number == 1 { ok("") } else { String::new() }, number == 1),
        // Every other request of a target fails.
        "flaky" => {
            let mut counts = seen.by_target.lock().unwrap();
            let count = counts.entry(request.target.clone()).or_default();
            *count += 1;
            let fails = *count % 2 == 1;
            (if fails { ok("").replace("200", "500") } else { ok("") }, true)
        }
        // The first request of a connection is to be repeated a second later.
        "busy" if number == 1 => {
            ("HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n".to_owned(), true)
        }
        "busy" => (ok(""), true),
        "hang" => {
            // Until the client gives up.
            stream.read(&mut [0]).map(|_| ())?;
            (String::new(), false)
        }
        other => panic!("no such behaviour: {other}"),
    };
    stream.write_all(text.as_bytes())?;
    stream.flush()?;
    Ok(goes_on)
}

/// A listener whose queue is full: connections to it neither succeed nor fail.
pub(super) struct FullListener {
    listener: socket2::Socket,
    _waiting: Vec<socket2::Socket>,
}

impl FullListener {
    pub(super) fn start() -> Self {
        let new =
            || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let listener = new();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = (0..3).map(|_| {
            let socket = new();
            socket.set_nonblocking(true).unwrap();
            // In progress, for ever.
            socket.connect(&address).unwrap_or_default();
            socket
        });
        let _waiting = waiting.collect();
        Self { listener, _waiting }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap().as_socket().unwrap()
    }
}
