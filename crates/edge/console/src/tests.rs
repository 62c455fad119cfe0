//! The console over real sockets: who is let in, what each endpoint says, what is recorded.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use model::fact::{ClientFacts, Snapshot};
use model::generation::{ChangeStatus, Generation, GenerationState, Origin};
use model::recording::Recording;
use model::switch::Switch;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;

use crate::client::{self, ClientError, Endpoint};
use crate::{
    Answer, ChangeOrder, Changed, Control, Kept, Refusal, RefusalKind, RegisteredClient,
    SwitchOrder, Token, What, serve_tcp, serve_unix,
};

const TOKEN: &str = "0123456789abcdef";

#[derive(Default)]
struct FakeDoor {
    drained: Mutex<Vec<String>>,
    reload_may_end: Arc<Notify>,
    reload_waits: bool,
    reloads: Arc<Mutex<u32>>,
    ended: Arc<Notify>,
    empty: bool,
    ordered: Mutex<Vec<ChangeOrder>>,
    switched: Mutex<Vec<SwitchOrder>>,
    status: watch::Sender<Arc<ChangeStatus>>,
}

/// Generation `number`, decided or not.
fn generation(number: u64, state: GenerationState) -> Generation {
    Generation {
        number,
        version: "0123456789ab".to_owned(),
        base: None,
        at: "2026-01-01T00:00:00.000Z".to_owned(),
        author: "root".to_owned(),
        reason: "because".to_owned(),
        origin: Origin::Apply,
        forced: false,
        state,
        verdict: String::new(),
        changes: Vec::new(),
    }
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

    fn change(&self, order: ChangeOrder) -> Answer<Changed> {
        let what = order.what.clone();
        self.ordered.lock().unwrap().push(order);
        let (may_end, waits, reloads, ended) = (
            Arc::clone(&self.reload_may_end),
            self.reload_waits,
            Arc::clone(&self.reloads),
            Arc::clone(&self.ended),
        );
        Box::pin(async move {
            if what != What::Reload {
                let generation = Some(generation(8, GenerationState::Watched));
                return Ok(Changed { generation, result: "live".to_owned(), ..Changed::default() });
            }
            if waits {
                may_end.notified().await;
            }
            *reloads.lock().unwrap() += 1;
            ended.notify_one();
            if waits {
                Ok(Changed { result: "one pool was added".to_owned(), ..Changed::default() })
            } else {
                let detail = "error: unknown key\n  --> tidegate.toml:1:1";
                Err(Refusal::new(RefusalKind::Invalid, detail))
            }
        })
    }

    fn changes(&self) -> watch::Receiver<Arc<ChangeStatus>> {
        self.status.subscribe()
    }

    fn generations(&self, limit: usize, before: Option<u64>) -> Answer<Vec<Generation>> {
        let newest = before.map_or(9, |before| before.min(10) - 1);
        let found = (1..=newest).rev().take(limit);
        let found = found.map(|number| generation(number, GenerationState::Confirmed)).collect();
        Box::pin(async move { Ok(found) })
    }

    fn generation(&self, number: u64) -> Answer<Kept> {
        let open = self.status.borrow().open.as_ref().map(|open| open.number);
        Box::pin(async move {
            if number > 9 {
                return Err(Refusal::new(RefusalKind::Unknown, "there is none"));
            }
            let state = if open == Some(number) {
                GenerationState::Watched
            } else {
                GenerationState::Confirmed
            };
            Ok(Kept { generation: generation(number, state), text: "[door]".to_owned() })
        })
    }

    fn configuration(&self) -> Arc<Kept> {
        let generation = generation(7, GenerationState::Confirmed);
        Arc::new(Kept { generation, text: "[listen]".to_owned() })
    }

    fn recording(&self) -> Recording {
        Recording { span_ms: 1_000, ..Recording::default() }
    }

    fn clients(&self) -> Vec<RegisteredClient> {
        let facts = ClientFacts { name: "partner".to_owned(), ..ClientFacts::default() };
        vec![RegisteredClient { facts, ..RegisteredClient::default() }]
    }

    fn switches(&self, limit: usize, before: Option<u64>) -> Answer<Vec<Switch>> {
        let newest = before.map_or(9, |before| before.min(10) - 1);
        let found = (1..=newest).rev().take(limit);
        let found = found.map(|number| Switch { number, ..Switch::default() }).collect();
        Box::pin(async move { Ok(found) })
    }

    fn switch(&self, order: SwitchOrder) -> Answer<String> {
        let known = order.client == "partner";
        self.switched.lock().unwrap().push(order);
        Box::pin(async move {
            let none = || Refusal::new(RefusalKind::NoClient, "there is no client of this name");
            known.then(|| "it is disabled".to_owned()).ok_or_else(none)
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
        ("GET /v1/changes HTTP/1.1\nHost: localhost", (200, "{\"live\":0}")),
        ("GET /v1/generations?limit=2 HTTP/1.1\nHost: localhost", (200, "\"number\":8")),
        ("GET /v1/generations?before=3 HTTP/1.1\nHost: localhost", (200, "[{\"number\":2")),
        ("GET /v1/generations?limit=1001 HTTP/1.1\nHost: localhost", (400, "bad_query")),
        ("GET /v1/generations?limit=2&limit=3 HTTP/1.1\nHost: localhost", (400, "bad_query")),
        ("GET /v1/generations/9 HTTP/1.1\nHost: localhost", (200, "\"text\":\"[door]\"")),
        ("GET /v1/generations/10 HTTP/1.1\nHost: localhost", (404, "no_generation")),
        ("GET /v1/generations/x HTTP/1.1\nHost: localhost", (404, "not_found")),
        ("GET /v1/configuration HTTP/1.1\nHost: localhost", (200, "\"text\":\"[listen]\"")),
        ("GET /v1/recording HTTP/1.1\nHost: localhost", (200, "\"span_ms\":1000")),
        ("GET /v1/changes/wait?seconds=31 HTTP/1.1\nHost: localhost", (400, "bad_query")),
        ("GET /v1/changes/wait HTTP/1.1\nHost: localhost", (200, "{\"live\":0}")),
        ("GET /v1/clients HTTP/1.1\nHost: localhost", (200, "[{\"name\":\"partner\"")),
        ("GET /v1/switches?limit=1&before=4 HTTP/1.1\nHost: localhost", (200, "[{\"number\":3,")),
        ("GET /v1/switches?limit=0 HTTP/1.1\nHost: localhost", (400, "bad_query")),
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
        ("GET /v1/clients/disable HTTP/1.1", "", (405, "allow: POST")),
        ("POST /v1/clients HTTP/1.1", "", (405, "allow: GET, HEAD")),
        ("POST /v1/clients/enable HTTP/1.1", "{}", (415, "not_json")),
        ("GET /v1/apply HTTP/1.1", "", (405, "allow: POST")),
        ("GET /v1/rollback HTTP/1.1", "", (405, "allow: POST")),
        ("GET /v1/confirm HTTP/1.1", "", (405, "allow: POST")),
        ("POST /v1/apply HTTP/1.1", "{}", (415, "not_json")),
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

/// What an apply of these further keys is answered.
async fn check_apply(console: &Console, keys: &str, expected: (u16, &str)) {
    let body = format!("{{\"text\": \"[door]\"{keys}}}");
    let head = "POST /v1/apply HTTP/1.1\nHost: localhost\nContent-Type: application/json";
    check_unix(&console.socket, head, &body, expected).await;
}

#[tokio::test]
async fn the_form_of_a_change_is_checked() {
    let console = Console::start(FakeDoor::default());
    for keys in [
        "",
        ", \"reason\": \" \"",
        ", \"reason\": \"a\\nb\"",
        ", \"reason\": \"\\u202egood\"",
        ", \"reason\": \"a\", \"author\": \"\\u001b[31m\"",
        ", \"reason\": \"a\", \"author\": \"\"",
        ", \"reason\": \"a\", \"canary\": 1.0",
        ", \"reason\": \"a\", \"canary\": 0",
        ", \"reason\": \"a\", \"for_seconds\": 10",
        ", \"reason\": \"a\", \"confirm_within_seconds\": 86401",
        ", \"reason\": \"a\", \"bsae\": 4",
    ] {
        check_apply(&console, keys, (400, "bad_body")).await;
    }
    let long = format!(", \"reason\": \"{}\"", "a".repeat(501));
    check_apply(&console, &long, (400, "1 to 500")).await;
    assert!(console.door.ordered.lock().unwrap().is_empty());
    // A text of 4 MiB fits; more than 5 MiB of body do not.
    let large = format!(", \"reason\": \"a\", \"author\": \"ci\" {}", " ".repeat(4 << 20));
    check_apply(&console, &large, (200, "\"number\":8")).await;
    let too_large = format!(", \"reason\": \"a\" {}", " ".repeat((5 << 20) - 20));
    check_apply(&console, &too_large, (413, "body_too_large")).await;
    let ordered = console.door.ordered.lock().unwrap().clone();
    assert_eq!(ordered.len(), 1);
    // Who it is, the kernel says; what it calls itself, it says.
    assert!(ordered[0].author.starts_with("ci ("), "{}", ordered[0].author);
    console.end().await;
}

#[tokio::test]
async fn a_client_is_disabled_while_a_change_is_under_way() {
    let console = Console::start(FakeDoor { reload_waits: true, ..FakeDoor::default() });
    let mut reload = std::os::unix::net::UnixStream::connect(&console.socket).unwrap();
    reload.write_all(b"POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n").unwrap();
    while console.door.ordered.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let head = "POST /v1/clients/disable HTTP/1.1\nHost: localhost\nContent-Type: application/json";
    for (body, expected) in [
        (r#"{"client": "partner", "reason": " "}"#, (400, "bad_body")),
        (r#"{"client": "partner", "reason": "a", "since": 1}"#, (400, "bad_body")),
        (r#"{"client": "nobody", "reason": "a flood"}"#, (404, "no_client")),
        (
            r#"{"client": "partner", "reason": "a flood", "author": "ada"}"#,
            (200, r#"{"result":"it is disabled"}"#),
        ),
    ] {
        check_unix(&console.socket, head, body, expected).await;
    }
    let switched = console.door.switched.lock().unwrap().clone();
    let [_, SwitchOrder { author, client, enabled, reason }] = &switched[..] else {
        panic!("two of a right form: {switched:?}")
    };
    assert!(author.starts_with("ada ("), "{author}");
    assert_eq!((&**client, *enabled, &**reason), ("partner", false, "a flood"));
    assert_eq!(*console.door.reloads.lock().unwrap(), 0, "the change is still under way");
    console.door.reload_may_end.notify_one();
    console.end().await;
}

#[tokio::test]
async fn a_wait_ends_with_the_verdict() {
    let console = Console::start(FakeDoor::default());
    let open = |number| {
        let open = Some(generation(number, GenerationState::Watched));
        Arc::new(ChangeStatus { live: number, open, ..ChangeStatus::default() })
    };
    console.door.status.send_replace(open(8));
    let early = client::get(&console.socket, "/v1/changes/wait?seconds=1").await.unwrap();
    let early: crate::Waited = serde_json::from_slice(&early).unwrap();
    assert_eq!(early.generation.unwrap().state, GenerationState::Watched);
    let waits = async {
        let body = client::get(&console.socket, "/v1/changes/wait?generation=8").await.unwrap();
        serde_json::from_slice::<crate::Waited>(&body).unwrap()
    };
    let decides = async {
        // The one who waits is there once it looks at the status.
        while console.door.status.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        console.door.status.send_replace(open(9));
    };
    let (waited, ()) = tokio::join!(waits, decides);
    let generation = waited.generation.unwrap();
    assert_eq!((generation.number, generation.state), (8, GenerationState::Confirmed));
    assert_eq!(waited.status.live, 9);
    console.end().await;
}

#[tokio::test]
async fn the_client_asks_over_tcp_too() {
    let console = Console::start(FakeDoor::default());
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), format!("{TOKEN}\n")).unwrap();
    let url = format!("http://{}/", console.tcp);
    let endpoint = Endpoint::tcp(&url, token.path()).unwrap();
    let order = serde_json::json!({ "to": 3, "reason": "too slow", "author": "ci-bot" });
    client::post(&endpoint, "/v1/rollback", &order).await.unwrap();
    let author = console.door.ordered.lock().unwrap()[0].author.clone();
    assert_eq!(author, "ci-bot (token)");
    let Endpoint::Tcp { address, .. } = endpoint else { panic!("a TCP endpoint") };
    let wrong = Endpoint::Tcp { address, token: "f".repeat(16) };
    let error = client::get(&wrong, "/v1/changes").await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused { status: 401, code, .. } if code == "no_token"));
    assert!(!format!("{wrong:?}").contains("ffff"), "the token is not shown");
    for url in ["https://127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1", "http://a:1/x"] {
        Endpoint::tcp(url, token.path()).unwrap_err();
    }
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
