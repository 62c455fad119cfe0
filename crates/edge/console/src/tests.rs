//! The console over real sockets: who is let in, what each endpoint says, what is recorded.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use model::fact::Snapshot;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use crate::client::{self, ClientError};
use crate::{Control, Reload, Token, serve_tcp, serve_unix};

const TOKEN: &str = "0123456789abcdef";

#[derive(Default)]
struct FakeDoor {
    drained: Mutex<Vec<String>>,
    reload_may_end: Arc<Notify>,
    reload_waits: bool,
    reloads: Arc<Mutex<u32>>,
    ended: Arc<Notify>,
    empty: bool,
}

impl Control for FakeDoor {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        (!self.empty).then(|| Arc::new(Snapshot { uptime_seconds: 42, ..Snapshot::default() }))
    }

    fn history(&self, seconds: usize) -> Vec<Arc<Snapshot>> {
        let count = if self.empty { 0 } else { seconds as u64 };
        (0..count)
            .map(|uptime_seconds| Arc::new(Snapshot { uptime_seconds, ..Snapshot::default() }))
            .collect()
    }

    fn metrics(&self, accept: &str) -> (String, &'static str) {
        (format!("# accept: {accept}\n"), "text/plain; version=0.0.4")
    }

    fn reload(&self) -> Reload {
        let (may_end, waits, reloads, ended) = (
            Arc::clone(&self.reload_may_end),
            self.reload_waits,
            Arc::clone(&self.reloads),
            Arc::clone(&self.ended),
        );
        Box::pin(async move {
            if waits {
                may_end.notified().await;
            }
            *reloads.lock().unwrap() += 1;
            ended.notify_one();
            if waits {
                Ok("one pool was added".to_owned())
            } else {
                Err("error: unknown key\n  --> tidegate.toml:1:1".to_owned())
            }
        })
    }

    fn ready(&self) -> bool {
        !self.empty
    }

    fn drain_server(&self, pool: &str, server: &str, on: bool) -> Result<(), String> {
        if pool != "api" {
            return Err(format!("there is no pool {pool:?}"));
        }
        self.drained.lock().unwrap().push(format!("{server} {on}"));
        Ok(())
    }
}

/// A console on both sockets, ended when dropped.
struct Console {
    tcp: SocketAddr,
    socket: PathBuf,
    door: Arc<FakeDoor>,
    stop: Option<(oneshot::Sender<()>, oneshot::Sender<()>)>,
    tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Console {
    fn start(door: FakeDoor) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let unix = UnixListener::bind(&socket).unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let door = Arc::new(door);
        let ((stop_unix, unix_ends), (stop_tcp, tcp_ends)) =
            (oneshot::channel(), oneshot::channel());
        let mut tasks = JoinSet::new();
        let control = Arc::clone(&door);
        tasks.spawn(async move {
            serve_unix(unix, control, async { drop(unix_ends.await) }).await.unwrap()
        });
        let control = Arc::clone(&door);
        tasks.spawn(async move {
            serve_tcp(tcp, Token::new(TOKEN).unwrap(), control, async { drop(tcp_ends.await) })
                .await
                .unwrap()
        });
        Self {
            tcp: address,
            socket,
            door,
            stop: Some((stop_unix, stop_tcp)),
            tasks,
            _folder: folder,
        }
    }

    async fn end(mut self) {
        let (unix, tcp) = self.stop.take().unwrap();
        unix.send(()).unwrap();
        tcp.send(()).unwrap();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// `request` is the request line and further lines without the connection header; `expected` is
/// the status and a part of the rest.
async fn check_unix(socket: &Path, request: &str, body: &str, expected: (u16, &str)) {
    let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    check(stream, request, body, expected).await;
}

async fn check(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
    body: &str,
    expected: (u16, &str),
) {
    let head = request.replace('\n', "\r\n");
    let text =
        format!("{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = exchange(stream, &text).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {} ", expected.0)), "{request}\n=> {answer}");
    assert!(answer.contains(expected.1), "{request}\nwants {:?} => {answer}", expected.1);
}

#[tokio::test]
async fn reading_endpoints() {
    let console = Console::start(FakeDoor::default());
    let socket = &console.socket;
    for (request, expected) in [
        ("GET /v1/status HTTP/1.1\nHost: localhost", (200, "\"uptime_seconds\":42")),
        ("GET /v1/history?seconds=2 HTTP/1.1\nHost: localhost", (200, "\"uptime_seconds\":1")),
        ("GET /v1/history?seconds=0 HTTP/1.1\nHost: localhost", (400, "bad_query")),
        ("GET /v1/history?seconds=3601 HTTP/1.1\nHost: localhost", (400, "bad_query")),
        ("GET /v1/history?second=1 HTTP/1.1\nHost: localhost", (400, "bad_query")),
        (
            "GET /metrics HTTP/1.1\nHost: localhost\nAccept: application/openmetrics-text",
            (200, "# accept: application/openmetrics-text"),
        ),
        ("GET /health HTTP/1.1\nHost: localhost", (200, "live")),
        ("HEAD /health HTTP/1.1\nHost: localhost", (200, "content-length: 5\r\n")),
        ("GET /ready HTTP/1.1\nHost: localhost", (200, "ready")),
        ("GET /nothing HTTP/1.1\nHost: localhost", (404, "not_found")),
        ("GET http://localhost/health HTTP/1.1\nHost: localhost", (400, "bad_target")),
        ("GET /health HTTP/1.1\nHost: evil.example", (421, "wrong_host")),
        ("GET /health HTTP/1.1", (400, "bad_host")),
        ("GET /v1/status HTTP/1.1\nHost: localhost", (200, "x-content-type-options: nosniff")),
    ] {
        check_unix(socket, request, "", expected).await;
    }
    console.end().await;
}

#[tokio::test]
async fn before_the_first_second() {
    let console = Console::start(FakeDoor { empty: true, ..FakeDoor::default() });
    check_unix(&console.socket, "GET /v1/status HTTP/1.1\nHost: localhost", "", (503, "too_early"))
        .await;
    check_unix(&console.socket, "GET /ready HTTP/1.1\nHost: localhost", "", (503, "not ready"))
        .await;
    assert_eq!(&client::get(&console.socket, "/v1/history").await.unwrap()[..], b"[]");
    console.end().await;
}

#[tokio::test]
async fn history_is_one_json_array() {
    let console = Console::start(FakeDoor::default());
    for seconds in [1_usize, 3, 600] {
        let body =
            client::get(&console.socket, &format!("/v1/history?seconds={seconds}")).await.unwrap();
        let snapshots: Vec<Snapshot> = serde_json::from_slice(&body).unwrap();
        assert_eq!(snapshots.len(), seconds);
    }
    console.end().await;
}

#[tokio::test]
async fn tcp_lets_nobody_in_without_the_token() {
    let console = Console::start(FakeDoor::default());
    let host = format!("Host: {}", console.tcp);
    let good = format!("Authorization: Bearer {TOKEN}");
    for (request, expected) in [
        (format!("GET /health HTTP/1.1\n{host}"), (401, "www-authenticate: Bearer")),
        (
            format!("GET /metrics HTTP/1.1\n{host}\nAuthorization: Bearer 0123456789abcdeg"),
            (401, "no_token"),
        ),
        (
            format!("POST /v1/reload HTTP/1.1\n{host}\nContent-Type: application/json"),
            (401, "no_token"),
        ),
        (format!("GET /health HTTP/1.1\n{host}\n{good}"), (200, "live")),
        (
            format!("GET /health HTTP/1.1\nHost: evil.example:{}\n{good}", console.tcp.port()),
            (421, "wrong_host"),
        ),
        (
            format!(
                "POST /v1/reload HTTP/1.1\n{host}\n{good}\nContent-Type: application/json\nOrigin: http://evil.example"
            ),
            (403, "wrong_origin"),
        ),
        (
            format!("GET /v1/status HTTP/1.1\n{host}\n{good}\nSec-Fetch-Site: cross-site"),
            (403, "wrong_origin"),
        ),
    ] {
        let stream = tokio::net::TcpStream::connect(console.tcp).await.unwrap();
        check(stream, &request, "", expected).await;
    }
    assert_eq!(*console.door.reloads.lock().unwrap(), 0);
    console.end().await;
}

#[tokio::test]
async fn changes_only_by_post_of_json() {
    let console = Console::start(FakeDoor::default());
    let json = "Content-Type: application/json";
    let drain = r#"{"pool": "api", "server": "127.0.0.1:1", "on": true}"#;
    let large = "x".repeat(20_000);
    for (request, body, expected) in [
        ("GET /v1/reload HTTP/1.1", "", (405, "allow: POST")),
        ("HEAD /v1/reload HTTP/1.1", "", (405, "allow: POST")),
        ("GET /v1/servers/drain HTTP/1.1", "", (405, "method_not_allowed")),
        ("PUT /v1/servers/drain HTTP/1.1", drain, (405, "method_not_allowed")),
        ("POST /v1/status HTTP/1.1", "", (405, "allow: GET, HEAD")),
        ("POST /v1/reload HTTP/1.1", "", (415, "not_json")),
        ("POST /v1/servers/drain HTTP/1.1\nContent-Type: text/plain", drain, (415, "not_json")),
        (
            "POST /v1/reload HTTP/1.1\nContent-Type: application/json",
            "{\"a\": 1}",
            (400, "bad_body"),
        ),
        (
            "POST /v1/reload HTTP/1.1\nContent-Type: application/json; charset=utf-8",
            "{}",
            (422, "tidegate.toml:1:1"),
        ),
        (
            "POST /v1/servers/drain HTTP/1.1\nContent-Type: application/json",
            "{}",
            (400, "missing field `pool`"),
        ),
        (
            "POST /v1/servers/drain HTTP/1.1\nContent-Type: application/json",
            &large,
            (413, "body_too_large"),
        ),
        (
            "POST /v1/servers/drain HTTP/1.1\nContent-Type: application/json",
            r#"{"pool": "web", "server": "a", "on": true}"#,
            (409, "there is no pool"),
        ),
        (
            "POST /v1/servers/drain HTTP/1.1\nContent-Type: application/json",
            drain,
            (200, "is draining"),
        ),
    ] {
        check_unix(&console.socket, &format!("{request}\nHost: localhost"), body, expected).await;
    }
    assert_eq!(*console.door.drained.lock().unwrap(), ["127.0.0.1:1 true"]);
    assert_eq!(
        *console.door.reloads.lock().unwrap(),
        1,
        "{json}: only the well-formed reload was carried out"
    );
    console.end().await;
}

#[tokio::test]
async fn a_reload_ends_even_when_its_caller_hangs_up() {
    let console = Console::start(FakeDoor { reload_waits: true, ..FakeDoor::default() });
    let mut caller = std::os::unix::net::UnixStream::connect(&console.socket).unwrap();
    caller.write_all(b"POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n").unwrap();
    // Another answered request: the first one's order was placed before, or is about to be.
    check_unix(&console.socket, "GET /health HTTP/1.1\nHost: localhost", "", (200, "live")).await;
    drop(caller);
    console.door.reload_may_end.notify_one();
    console.door.ended.notified().await;
    assert_eq!(*console.door.reloads.lock().unwrap(), 1);
    console.end().await;
}

#[tokio::test]
async fn the_65th_connection_is_turned_away() {
    let console = Console::start(FakeDoor::default());
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = tokio::net::UnixStream::connect(&console.socket).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(stream);
    }
    let mut stream = tokio::net::UnixStream::connect(&console.socket).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(held);
    console.end().await;
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let console = Console::start(FakeDoor::default());
    let many = (0..100).map(|number| format!("\nX-{number}: y")).collect::<String>();
    check_unix(
        &console.socket,
        &format!("GET /health HTTP/1.1\nHost: localhost{many}"),
        "",
        (431, ""),
    )
    .await;
    console.end().await;
}

#[tokio::test]
async fn the_client_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = folder.path().join("nobody.sock");
    let error = client::get(&nobody, "/v1/status").await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error:?}");
    assert!(
        error.to_string().contains("nobody.sock")
            && error.to_string().contains("tidegate run -c FILE"),
        "{error}"
    );

    drop(UnixListener::bind(&nobody).unwrap());
    assert!(
        matches!(client::get(&nobody, "/v1/status").await, Err(ClientError::NotRunning { .. })),
        "a dead door's socket"
    );

    let console = Console::start(FakeDoor::default());
    let error =
        client::post(&console.socket, "/v1/reload", &serde_json::json!({})).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the door answered 422: error: unknown key\n  --> tidegate.toml:1:1"
    );
    let drain = serde_json::json!({ "pool": "api", "server": "127.0.0.1:1", "on": false });
    let done = client::post(&console.socket, "/v1/servers/drain", &drain).await.unwrap();
    assert_eq!(&done[..], br#"{"result":"server 127.0.0.1:1 of pool api is back in rotation"}"#);
    console.end().await;
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_change_leaves_one_audit_line() {
    // The subscriber is everybody's: a log call that another thread meets first asks that thread's
    // subscriber whether it is wanted, and without one it would stay off here too.
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing::callsite::rebuild_interest_cache();
    let console = Console::start(FakeDoor::default());
    let forged = serde_json::json!({ "pool": "api", "server": "a\nINFO audit: forged \u{1b}[31m", "on": true });
    client::post(&console.socket, "/v1/servers/drain", &forged).await.unwrap();
    let unknown = serde_json::json!({ "pool": "audited", "server": "a", "on": true });
    client::post(&console.socket, "/v1/servers/drain", &unknown).await.unwrap_err();
    console.end().await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(" audit: "))
        .filter(|line| line.contains("forged") || line.contains("audited"))
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("who=\"uid ") && lines[0].contains("Drain") && lines[0].contains("done"),
        "{text}"
    );
    assert!(lines[1].contains("audited") && lines[1].contains("refused"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}
