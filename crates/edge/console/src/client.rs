//! Asks a running door over its Unix socket or its admin address: what the commands use.
//!
//! One connection per request: a command asks once, and a watcher once a second. TLS is not
//! spoken by the admin interface; a door on another machine is reached through a tunnel.

use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::token::{self, TokenError};

/// For reading endpoints; `/v1/changes/wait` answers within 30 s.
const READ_TIMEOUT: Duration = Duration::from_secs(40);
/// For changes: a reload resolves names and may wait for others.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is taken.
const ANSWER_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// Where a door is asked.
#[derive(Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// At its admin socket.
    Unix(PathBuf),
    /// At its admin address (`[admin] tcp`).
    Tcp {
        /// Where.
        address: SocketAddr,
        /// The bearer token, visible ASCII.
        token: String,
    },
}

/// Why an admin address cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It is no address of an admin interface.
    #[error("{url:?} is no admin address: write it as http://HOST:PORT, without a path")]
    NotAnAddress {
        /// What was given.
        url: String,
    },
    /// The admin interface does not speak TLS.
    #[error(
        "{url:?}: the admin interface does not speak TLS; ask http://HOST:PORT, through a tunnel if the network is not yours alone"
    )]
    Tls {
        /// What was given.
        url: String,
    },
    /// The host has no address.
    #[error("{host:?} cannot be resolved")]
    Unresolved {
        /// The host and port.
        host: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token cannot be used.
    #[error("the token cannot be used")]
    Token(#[from] TokenError),
}

impl Endpoint {
    /// The admin address `http://HOST:PORT`, with the token in a file. Resolves the host, which
    /// may take as long as the system's resolver lets it.
    ///
    /// # Errors
    /// As [`EndpointError`] says.
    pub fn tcp(url: &str, token_file: &Path) -> Result<Self, EndpointError> {
        let wrong = || EndpointError::NotAnAddress { url: url.to_owned() };
        if url.starts_with("https://") {
            return Err(EndpointError::Tls { url: url.to_owned() });
        }
        let host = url.strip_prefix("http://").ok_or_else(wrong)?;
        let host = host.strip_suffix('/').unwrap_or(host);
        if host.contains(['/', '@', '?', '#']) || !host.contains(':') {
            return Err(wrong());
        }
        let token = token::text(token_file)?;
        let found = host.to_socket_addrs();
        let unresolved = |source| EndpointError::Unresolved { host: host.to_owned(), source };
        let address = found.map_err(unresolved)?.next().ok_or_else(wrong)?;
        Ok(Self::Tcp { address, token })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(socket) => write!(f, "{}", socket.display()),
            Self::Tcp { address, .. } => write!(f, "http://{address}"),
        }
    }
}

/// Without the token.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl From<&Path> for Endpoint {
    fn from(socket: &Path) -> Self {
        Self::Unix(socket.to_owned())
    }
}

impl From<&PathBuf> for Endpoint {
    fn from(socket: &PathBuf) -> Self {
        Self::Unix(socket.clone())
    }
}

impl From<&Self> for Endpoint {
    fn from(endpoint: &Self) -> Self {
        endpoint.clone()
    }
}

/// Why the door could not be asked. The text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("no door answers on {endpoint}: {}", way_out(endpoint))]
    NotRunning {
        /// Where it was asked.
        endpoint: Endpoint,
    },
    /// The system forbids it.
    #[error(
        "this user may not use {endpoint}: run the command as root or as the user that runs the door"
    )]
    Denied {
        /// Where it was asked.
        endpoint: Endpoint,
    },
    /// The door answered with an error.
    #[error("the door answered {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Which refusal it is, for programs: `refused`, `stale`, `open`, `no_generation`; empty
        /// if the answer does not say.
        code: String,
        /// Why, in the door's words; may hold several lines.
        detail: String,
    },
    /// The door did not answer in time.
    #[error("the door did not answer on {endpoint} within {seconds} s")]
    Timeout {
        /// Where it was asked.
        endpoint: Endpoint,
        /// How long it was given.
        seconds: u64,
    },
    /// The connection failed otherwise.
    #[error("asking the door on {endpoint} failed")]
    Failed {
        /// Where it was asked.
        endpoint: Endpoint,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn way_out(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Unix(_) => {
            "start one with `tidegate run -c FILE`, or name its admin socket with `--socket PATH`"
        }
        Endpoint::Tcp { .. } => "is this the address of `[admin] tcp`, and can it be reached?",
    }
}

/// Sends `GET path` and gives the body of a 2xx answer.
///
/// # Errors
/// As [`ClientError`] says; any other status is [`ClientError::Refused`].
pub async fn get(endpoint: impl Into<Endpoint>, path: &str) -> Result<Bytes, ClientError> {
    ask(&endpoint.into(), Method::GET, path, Bytes::new(), READ_TIMEOUT).await
}

/// Sends `POST path` with a JSON body and gives the body of a 2xx answer.
///
/// # Errors
/// As [`get`].
pub async fn post(
    endpoint: impl Into<Endpoint>,
    path: &str,
    body: &serde_json::Value,
) -> Result<Bytes, ClientError> {
    ask(&endpoint.into(), Method::POST, path, body.to_string().into(), CHANGE_TIMEOUT).await
}

async fn ask(
    endpoint: &Endpoint,
    method: Method,
    path: &str,
    body: Bytes,
    timeout: Duration,
) -> Result<Bytes, ClientError> {
    let asked = async {
        match endpoint {
            Endpoint::Unix(socket) => {
                let stream = UnixStream::connect(socket).await;
                let stream = stream.map_err(|error| not_connected(endpoint, error))?;
                exchange(endpoint, stream, method, path, body).await
            }
            Endpoint::Tcp { address, .. } => {
                let stream = TcpStream::connect(address).await;
                let stream = stream.map_err(|error| not_connected(endpoint, error))?;
                exchange(endpoint, stream, method, path, body).await
            }
        }
    };
    let too_late =
        |_| ClientError::Timeout { endpoint: endpoint.clone(), seconds: timeout.as_secs() };
    let (status, body) = tokio::time::timeout(timeout, asked).await.map_err(too_late)??;
    if status.is_success() {
        return Ok(body);
    }
    let (code, detail) = problem(&body);
    Err(ClientError::Refused { status: status.as_u16(), code, detail })
}

async fn exchange(
    endpoint: &Endpoint,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), ClientError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Failed {
        endpoint: endpoint.clone(),
        source,
    };
    let request =
        Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = match endpoint {
        Endpoint::Unix(_) => request.header("host", "localhost"),
        Endpoint::Tcp { address, token } => request
            .header("host", address.to_string())
            .header("authorization", format!("Bearer {}", token.trim())),
    };
    let request = request.body(Full::new(body)).map_err(|error| failed(error.into()))?;
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

fn not_connected(endpoint: &Endpoint, error: std::io::Error) -> ClientError {
    let endpoint = endpoint.clone();
    let kind = error.kind();
    if matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
        return ClientError::NotRunning { endpoint };
    }
    if kind == ErrorKind::PermissionDenied {
        return ClientError::Denied { endpoint };
    }
    ClientError::Failed { endpoint, source: error.into() }
}

/// The `code` and `detail` of a problem body; the body itself if it is none.
fn problem(body: &[u8]) -> (String, String) {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let text = |key: &str| Some(problem.as_ref()?.get(key)?.as_str()?.to_owned());
    let whole = || String::from_utf8_lossy(body).trim().to_owned();
    (text("code").unwrap_or_default(), text("detail").unwrap_or_else(whole))
}
