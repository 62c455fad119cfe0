//! What a sample application answers at each path.
//!
//! Work (`/`, `/echo`, `/upload` and every path not listed) waits for a place, pays its route's cost
//! and fails at the error rate. The health check, `/_control`, `/bytes/N`, `/hash/N`,
//! `/status/N`, `/delay/MS` and `/websocket` do not: they test one thing each.
//! Invariant: `/_control` is answered however ill the application is.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::bytes::{AnswerBody, Deterministic};
use super::database::QueryError;
use super::work::{Sample, WorkError, Worked};
use model::sample::SampleSettings;

/// The largest body of `/_control`.
const CONTROL_BYTES_MAX: usize = 64 * 1_024;
/// The longest `/delay/MS`.
const DELAY_MS_MAX: u64 = 600_000;
/// The longest `/bytes/N`: 1 TiB.
const DOWNLOAD_BYTES_MAX: u64 = 1 << 40;
/// The longest `/hash/N`, which is computed before it answers: 256 MiB.
const HASH_BYTES_MAX: u64 = 1 << 28;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

type Answer = Response<AnswerBody>;

/// A half-open application does not answer; its connection ends with it or with its client.
#[derive(Debug, thiserror::Error)]
#[error("the application is half-open and does not answer")]
pub(super) struct Unanswered;

/// Answers one request.
///
/// # Errors
/// Instead of an answer once the application is no longer half-open.
pub(super) async fn answer(
    sample: &Sample,
    request: Request<Incoming>,
) -> Result<Answer, Unanswered> {
    let is_control = request.uri().path() == "/_control";
    if !is_control && sample.settings().half_open {
        swallow(request.into_body()).await;
        return never(sample).await;
    }
    let settings = sample.settings();
    let mut response = routed(sample, &settings, request).await;
    if !is_control && sample.settings().half_open {
        return never(sample).await;
    }
    for (header, value) in [("x-server", &settings.name), ("x-version", &settings.version)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(header, value);
        }
    }
    Ok(response)
}

/// Reads a body to its end.
async fn swallow(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

async fn never(sample: &Sample) -> Result<Answer, Unanswered> {
    // An error is the end of the application.
    drop(sample.watch().wait_for(|settings| !settings.half_open).await);
    Err(Unanswered)
}

async fn routed(sample: &Sample, settings: &SampleSettings, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    if path == settings.health_path {
        return health(sample, settings).await;
    }
    match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some(("bytes", length)) => return download(length, request.uri().query()),
        Some(("hash", length)) => return hash(length),
        Some(("status", status)) => return fixed_status(status),
        Some(("delay", delay)) => return delayed(settings, delay).await,
        Some(_) | None => {}
    }
    match path.as_str() {
        "/_control" => return control(sample, request).await,
        "/websocket" => return websocket(sample, request),
        _ => {}
    }
    let worked = match sample.work(settings, &path).await {
        Ok(worked) => worked,
        Err(error) => return failure(settings, error),
    };
    let mut response = match path.as_str() {
        "/echo" => echo(settings, request).await,
        "/upload" => upload(settings, request).await,
        _ => ordinary(settings, request.headers()),
    };
    let cache = match worked {
        Worked::Whole => return response,
        Worked::Hit => "hit",
        Worked::Miss => "miss",
    };
    response.headers_mut().insert("x-cache", HeaderValue::from_static(cache));
    response
}

/// What it says has nothing to do with how the work goes; when it says it, has.
async fn health(sample: &Sample, settings: &SampleSettings) -> Answer {
    sample.turn().await;
    if settings.healthy {
        text(StatusCode::OK, "healthy\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "not healthy\n")
    }
}

fn failure(settings: &SampleSettings, error: WorkError) -> Answer {
    match error {
        WorkError::QueueFull => text(StatusCode::SERVICE_UNAVAILABLE, "the queue is full\n"),
        WorkError::AsTold => {
            let status = StatusCode::from_u16(settings.error_status);
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            text(status, format!("{} fails as it was told\n", settings.name))
        }
        WorkError::Query(QueryError::NotSet) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "this route has queries: set `database` to postgres://USER@HOST:PORT/NAME\n",
        ),
        WorkError::Query(QueryError::NoPlace) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "no connection to the database was free in time\n",
        ),
        WorkError::Query(QueryError::Failed { sqlstate, why }) => {
            let body = format!("the database failed with SQLSTATE {sqlstate}: {why}\n");
            let mut response = text(StatusCode::INTERNAL_SERVER_ERROR, body);
            if let Ok(sqlstate) = HeaderValue::from_str(&sqlstate) {
                response.headers_mut().insert("x-sqlstate", sqlstate);
            }
            response
        }
    }
}

fn ordinary(settings: &SampleSettings, headers: &HeaderMap) -> Answer {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wants_json = accept.contains(JSON);
    let padding = |used: usize| ".".repeat(settings.body_bytes.saturating_sub(used));
    if wants_json {
        let empty = serde_json::json!({ "server": settings.name, "padding": "" }).to_string();
        return json(
            &serde_json::json!({ "server": settings.name, "padding": padding(empty.len() + 1) }),
        );
    }
    text(StatusCode::OK, format!("{} {}\n", settings.name, padding(settings.name.len() + 2)))
}

async fn echo(settings: &SampleSettings, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let headers: Vec<[String; 2]> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            [name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()]
        })
        .collect();
    let (body_bytes, body_sha256) = match digest(body).await {
        Ok(found) => found,
        Err(failure) => return failure,
    };
    json(&serde_json::json!({
        "server": settings.name, "method": parts.method.as_str(), "target": parts.uri.to_string(), "version": format!("{:?}", parts.version),
        "headers": headers, "body_bytes": body_bytes, "body_sha256": body_sha256,
    }))
}

async fn upload(settings: &SampleSettings, request: Request<Incoming>) -> Answer {
    match digest(request.into_body()).await {
        Ok((bytes, sha256)) => {
            json(&serde_json::json!({ "server": settings.name, "bytes": bytes, "sha256": sha256 }))
        }
        Err(failure) => failure,
    }
}

/// Length and hash of a body, which is read in pieces and never kept.
async fn digest(mut body: Incoming) -> Result<(u64, String), Answer> {
    let mut hash = Context::new(&SHA256);
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(text(StatusCode::BAD_REQUEST, "the body ended early\n"));
        };
        if let Some(data) = frame.data_ref() {
            hash.update(data);
            length += data.len() as u64;
        }
    }
    Ok((length, hexadecimal(hash.finish().as_ref())))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String never fails");
        text
    })
}

/// `/bytes/N`: deterministic bytes; `?chunked` sends them without a length.
fn download(length: &str, query: Option<&str>) -> Answer {
    let Some(length) = length.parse().ok().filter(|length| *length <= DOWNLOAD_BYTES_MAX) else {
        return text(StatusCode::BAD_REQUEST, "expected /bytes/N with N up to 2^40\n");
    };
    let mut response =
        Response::new(AnswerBody::Made(Deterministic::new(length, query != Some("chunked"))));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

/// `/hash/N`: the hash of what `/bytes/N` sends.
fn hash(length: &str) -> Answer {
    let Some(length) = length.parse().ok().filter(|length| *length <= HASH_BYTES_MAX) else {
        return text(StatusCode::BAD_REQUEST, "expected /hash/N with N up to 2^28\n");
    };
    let mut hash = Context::new(&SHA256);
    for block in Deterministic::new(length, true) {
        hash.update(&block);
    }
    json(&serde_json::json!({ "bytes": length, "sha256": hexadecimal(hash.finish().as_ref()) }))
}

fn fixed_status(status: &str) -> Answer {
    match status
        .parse::<u16>()
        .ok()
        .filter(|status| (200..=599).contains(status))
        .map(StatusCode::from_u16)
    {
        Some(Ok(status @ (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED))) => text(status, ""),
        Some(Ok(status)) => text(status, format!("{}\n", status.as_u16())),
        Some(Err(_)) | None => {
            text(StatusCode::BAD_REQUEST, "expected /status/N with N from 200 to 599\n")
        }
    }
}

async fn delayed(settings: &SampleSettings, delay: &str) -> Answer {
    let Some(delay_ms) = delay.parse().ok().filter(|delay| *delay <= DELAY_MS_MAX) else {
        return text(StatusCode::BAD_REQUEST, "expected /delay/MS with MS up to 600000\n");
    };
    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    text(StatusCode::OK, format!("{} waited {delay_ms} ms\n", settings.name))
}

/// `GET` reads the settings and gauges; `POST` changes settings.
async fn control(sample: &Sample, request: Request<Incoming>) -> Answer {
    // A page in a browser on this machine has no business here.
    if request.headers().contains_key(ORIGIN) {
        return text(StatusCode::FORBIDDEN, "requests of pages are refused\n");
    }
    if request.method() == Method::POST {
        let Ok(body) = Limited::new(request.into_body(), CONTROL_BYTES_MAX).collect().await else {
            return text(StatusCode::BAD_REQUEST, "the body is too large or ended early\n");
        };
        if let Err(why) = sample.change(&body.to_bytes()) {
            return text(StatusCode::BAD_REQUEST, format!("{why}\n"));
        }
    } else if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET reads the settings, POST changes them\n");
    }
    json(&sample.described())
}

/// Echoes WebSocket messages until the peer closes.
fn websocket(sample: &Sample, mut request: Request<Incoming>) -> Answer {
    let asks = request
        .headers()
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let accept =
        request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let Some(accept) =
        accept.filter(|_| asks).and_then(|accept| HeaderValue::from_str(&accept).ok())
    else {
        return text(StatusCode::UPGRADE_REQUIRED, "ask with a WebSocket client\n");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    sample.keep(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut stream =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = stream.next().await {
            let is_data = message.is_text() || message.is_binary();
            if is_data && stream.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn json(value: &serde_json::Value) -> Answer {
    whole(StatusCode::OK, JSON, format!("{value}\n"))
}

fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    whole(status, TEXT, body.into())
}

fn whole(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut response = Response::new(AnswerBody::Whole(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
