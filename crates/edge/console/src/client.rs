//! Asks a running door over its Unix socket: what `status`, `reload` and `demo` use.
//!
//! One connection per request: a command asks once, and a watcher once a second.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// For reading endpoints.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// For changes: a reload resolves names and may wait for others.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is taken.
const ANSWER_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// Why the door could not be asked. The text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error(
        "no door answers on {socket}: start one with `tidegate run -c FILE`, or name its admin socket with `--socket PATH`"
    )]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// The system forbids it.
    #[error(
        "this user may not use {socket}: run the command as root or as the user that runs the door"
    )]
    Denied {
        /// The socket.
        socket: PathBuf,
    },
    /// The door answered with an error.
    #[error("the door answered {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why, in the door's words; may hold several lines.
        detail: String,
    },
    /// The door did not answer in time.
    #[error("the door did not answer on {socket} within {seconds} s")]
    Timeout {
        /// The socket.
        socket: PathBuf,
        /// How long it was given.
        seconds: u64,
    },
    /// The connection failed otherwise.
    #[error("asking the door on {socket} failed")]
    Failed {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Sends `GET path` and gives the body of a 2xx answer.
///
/// # Errors
/// As [`ClientError`] says; any other status is [`ClientError::Refused`].
pub async fn get(socket: &Path, path: &str) -> Result<Bytes, ClientError> {
    ask(socket, Method::GET, path, Bytes::new(), READ_TIMEOUT).await
}

/// Sends `POST path` with a JSON body and gives the body of a 2xx answer.
///
/// # Errors
/// As [`get`].
pub async fn post(
    socket: &Path,
    path: &str,
    body: &serde_json::Value,
) -> Result<Bytes, ClientError> {
    ask(socket, Method::POST, path, body.to_string().into(), CHANGE_TIMEOUT).await
}

async fn ask(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
    timeout: Duration,
) -> Result<Bytes, ClientError> {
    let exchanged = tokio::time::timeout(timeout, exchange(socket, method, path, body)).await;
    let too_late =
        |_| ClientError::Timeout { socket: socket.to_owned(), seconds: timeout.as_secs() };
    let (status, body) = exchanged.map_err(too_late)??;
    if status.is_success() {
        return Ok(body);
    }
    Err(ClientError::Refused { status: status.as_u16(), detail: detail(&body) })
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), ClientError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| not_connected(socket, error))?;
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Failed {
        socket: socket.to_owned(),
        source,
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body))
        .map_err(|error| failed(error.into()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(error.into()))?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
        Ok((status, body.to_bytes()))
    };
    // The connection moves the bytes of the answer; when it ends first, the answer says why.
    let drive = async {
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer.map_err(failed),
        () = drive => Err(failed("the connection ended".into())),
    }
}

fn not_connected(socket: &Path, error: std::io::Error) -> ClientError {
    let socket = socket.to_owned();
    let kind = error.kind();
    if matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
        return ClientError::NotRunning { socket };
    }
    if kind == ErrorKind::PermissionDenied {
        return ClientError::Denied { socket };
    }
    ClientError::Failed { socket, source: error.into() }
}

/// The `detail` of a problem body, or the body itself.
fn detail(body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    match problem
        .as_ref()
        .and_then(|problem| problem.get("detail"))
        .and_then(serde_json::Value::as_str)
    {
        Some(detail) => detail.to_owned(),
        None => String::from_utf8_lossy(body).trim().to_owned(),
    }
}
