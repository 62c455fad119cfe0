//! Reads and changes the settings of a running sample application over its `/_control`.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// For the whole exchange: an application that is stopped never answers.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The largest answer that is taken.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

/// The settings of the application at `address`, after `change` (an object of settings) if given.
///
/// # Errors
/// In words: it does not answer within a second, or refuses the change.
pub async fn control(address: SocketAddr, change: Option<&Value>) -> Result<Value, String> {
    match tokio::time::timeout(TIMEOUT, exchange(address, change)).await {
        Ok(Ok(settings)) => Ok(settings),
        Ok(Err(error)) => Err(error.to_string()),
        Err(late) => Err(late.to_string()),
    }
}

async fn exchange(
    address: SocketAddr,
    change: Option<&Value>,
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let (method, body) = match change {
        Some(change) => (Method::POST, change.to_string()),
        None => (Method::GET, String::new()),
    };
    let request = Request::builder()
        .method(method)
        .uri("/_control")
        .header("host", address.to_string())
        .body(Full::new(Bytes::from(body)))?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
        if status.is_success() {
            Ok(serde_json::from_slice(&body)?)
        } else {
            Err(String::from_utf8_lossy(&body).trim().to_owned().into())
        }
    };
    // The connection moves the bytes of the answer; when it ends first, the answer says why.
    let drive = async {
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = drive => Err("the connection ended".into()),
    }
}
