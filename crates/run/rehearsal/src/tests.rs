//! The sample application over real sockets.

mod effects;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::sample::{self, Ended, SampleSettings};

struct Sample {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinSet<std::io::Result<Ended>>,
}

impl Sample {
    async fn start(settings: SampleSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(sample::serve(listener, settings, async { drop(stopped.await) }));
        Self { address, stop, task }
    }

    async fn end(mut self) {
        self.stop.send(()).unwrap();
        let ended = self.task.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(ended, Ended::Shutdown);
    }
}

fn quick() -> SampleSettings {
    SampleSettings {
        name: "a".to_owned(),
        service_time_ms: 0.0,
        body_bytes: 10,
        ..SampleSettings::default()
    }
}

struct Answer {
    status: u16,
    server: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn ask(address: SocketAddr, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(async move { connection.await.unwrap() });
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("x-probe", "1")
        .body(Full::new(body.into()))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let server =
        headers.get("x-server").map(|name| name.to_str().unwrap().to_owned()).unwrap_or_default();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, server, headers, body }
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, Method::GET, path, "").await
}

#[tokio::test]
async fn each_path_answers() {
    let sample = Sample::start(quick()).await;
    for (path, status, part) in [
        ("/", 200, "a .......\n"),
        ("/any/path", 200, "a "),
        ("/health", 200, "healthy"),
        ("/status/418", 418, "418"),
        ("/status/204", 204, ""),
        ("/status/99", 400, "expected"),
        ("/delay/1", 200, "waited 1 ms"),
        ("/delay/600001", 400, "expected"),
        ("/bytes/5000000000000", 400, "expected"),
        ("/hash/x", 400, "expected"),
        ("/websocket", 426, "WebSocket"),
        ("/echo", 200, "[\"x-probe\",\"1\"]"),
        ("/_control", 200, "\"concurrency\":5"),
    ] {
        let answer = get(sample.address, path).await;
        assert_eq!((answer.status, answer.server.as_str()), (status, "a"), "{path}");
        assert!(answer.text().contains(part), "{path}: {}", answer.text());
    }
    assert_eq!(get(sample.address, "/").await.body.len(), 10);
    sample.end().await;
}

#[tokio::test]
async fn hashes_agree_both_ways() {
    let sample = Sample::start(quick()).await;
    for length in [0, 1, 100_000] {
        let expected = get(sample.address, &format!("/hash/{length}")).await;
        let expected: serde_json::Value = serde_json::from_slice(&expected.body).unwrap();
        for query in ["", "?chunked"] {
            let bytes = get(sample.address, &format!("/bytes/{length}{query}")).await.body;
            assert_eq!(bytes.len(), length);
            let uploaded = ask(sample.address, Method::POST, "/upload", bytes).await;
            let uploaded: serde_json::Value = serde_json::from_slice(&uploaded.body).unwrap();
            assert_eq!(uploaded["sha256"], expected["sha256"], "{length}{query}");
            assert_eq!(uploaded["bytes"], length);
        }
    }
    sample.end().await;
}

#[tokio::test]
async fn settings_change_live() {
    let sample = Sample::start(quick()).await;
    let change = |body: &'static str| ask(sample.address, Method::POST, "/_control", body);
    assert_eq!(
        change(r#"{"healthy": false, "error_rate": 1.0, "error_status": 503}"#).await.status,
        200
    );
    assert_eq!(get(sample.address, "/health").await.status, 503);
    assert_eq!(get(sample.address, "/").await.status, 503);
    assert_eq!(change(r#"{"error_rate": 2}"#).await.status, 400);
    assert_eq!(change("nonsense").await.status, 400);
    assert_eq!(get(sample.address, "/").await.status, 503, "a bad change changes nothing");
    assert_eq!(change(r#"{"error_rate": 0, "name": "b"}"#).await.status, 200);
    let answer = get(sample.address, "/").await;
    assert_eq!((answer.status, answer.server.as_str()), (200, "b"));
    sample.end().await;
}

#[tokio::test]
async fn settings_change_from_afar() {
    let sample = Sample::start(quick()).await;
    let change = serde_json::json!({ "service_time_ms": 3.0 });
    assert_eq!(sample::control(sample.address, None).await.unwrap()["service_time_ms"], 0.0);
    assert_eq!(
        sample::control(sample.address, Some(&change)).await.unwrap()["service_time_ms"],
        3.0
    );
    assert_eq!(sample::control(sample.address, None).await.unwrap()["service_time_ms"], 3.0);
    let unknown = serde_json::json!({ "speed": 3 });
    assert_eq!(
        sample::control(sample.address, Some(&unknown)).await,
        Err("there is no setting \"speed\"".to_owned())
    );
    sample.end().await;
}

#[tokio::test]
async fn one_place_serves_one_request_at_a_time() {
    let settings =
        SampleSettings { concurrency: 1, queue_max: 1, service_time_ms: 200.0, ..quick() };
    let sample = Sample::start(settings).await;
    let before = tokio::time::Instant::now();
    let answers =
        tokio::join!(get(sample.address, "/"), get(sample.address, "/"), get(sample.address, "/"));
    let mut statuses = [answers.0.status, answers.1.status, answers.2.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503], "one is served, one waits, one finds the queue full");
    assert!(
        before.elapsed() >= Duration::from_millis(400),
        "two service times, one after the other"
    );
    sample.end().await;
}

#[tokio::test]
async fn websocket_messages_come_back() {
    let sample = Sample::start(quick()).await;
    let stream = TcpStream::connect(sample.address).await.unwrap();
    let (mut socket, response) =
        tokio_tungstenite::client_async("ws://localhost/websocket", stream).await.unwrap();
    assert_eq!(response.headers()["x-server"], "a");
    for message in [Message::text("hello"), Message::binary(vec![7_u8; 100_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    sample.end().await;
}
