//! Asks a server over HTTP/2: a `GET` as over HTTP/1.1, or gRPC's own health service.
//!
//! A connection per check, as with HTTP/1.1: a server that takes no new ones is not well. The two
//! messages of `grpc.health.v1` have one field each, so they are written and read by hand
//! (<https://protobuf.dev/programming-guides/encoding/>).

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use h2::RecvStream;
use h2::client;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Request, Response, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{CheckError, RESPONSE_BYTES_MAX};

/// What `grpc.health.v1.HealthCheckResponse` calls `SERVING`.
const SERVING: u64 = 1;
/// A gRPC message is preceded by whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A whole answer.
struct Answer {
    head: Response<()>,
    body: Vec<u8>,
    trailers: HeaderMap,
}

/// Sends `GET path` to `host`; the status and what was read of the body.
pub(super) async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    (scheme, host, path): (&str, &str, &str),
) -> Result<(u16, Vec<u8>), CheckError> {
    let request = Request::get(format!("{scheme}://{host}{path}"))
        .version(Version::HTTP_2)
        .header(USER_AGENT, "tidegate-check")
        .header("accept", "*/*")
        .body(())
        .map_err(|_invalid| CheckError::Name)?;
    let answer = ask(stream, request, Bytes::new()).await?;
    Ok((answer.head.status().as_u16(), answer.body))
}

/// Asks whether `service`, or the server as a whole, is serving.
pub(super) async fn grpc_health(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    (scheme, host): (&str, &str),
    service: &str,
) -> Result<(), CheckError> {
    let request = Request::post(format!("{scheme}://{host}/grpc.health.v1.Health/Check"))
        .version(Version::HTTP_2)
        .header(USER_AGENT, "tidegate-check")
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(())
        .map_err(|_invalid| CheckError::Name)?;
    let answer = ask(stream, request, health_request(service)).await?;
    if answer.head.status() != 200 {
        return Err(CheckError::Status(answer.head.status().as_u16()));
    }
    // Without a message the status stands in the head.
    let fields = [&answer.trailers, answer.head.headers()];
    let status = fields.iter().find_map(|fields| fields.get("grpc-status"));
    match status.map(http::HeaderValue::as_bytes) {
        Some(b"0") if serving_status(&answer.body) == Some(SERVING) => Ok(()),
        Some(b"0") => Err(CheckError::NotServing),
        Some(b"5") => Err(CheckError::UnknownService),
        Some(b"12") => Err(CheckError::NoHealthService),
        _ => Err(CheckError::Grpc),
    }
}

/// One request and its answer, as far as it is looked at.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<()>,
    body: Bytes,
) -> Result<Answer, CheckError> {
    let (sender, connection) =
        client::Builder::new().enable_push(false).handshake::<_, Bytes>(stream).await?;
    let mut connection = pin!(connection);
    let mut exchange = pin!(exchange(sender, request, body));
    // The connection moves while, and only while, the exchange does not.
    std::future::poll_fn(|context| {
        if let Poll::Ready(answer) = exchange.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        match connection.as_mut().poll(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            // What has ended may have told the exchange so.
            Poll::Ready(Ok(())) => match exchange.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(answer),
                Poll::Pending => Poll::Ready(Err(CheckError::NotHttp)),
            },
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn exchange(
    sender: client::SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<Answer, CheckError> {
    let mut sender = sender.ready().await?;
    let (response, mut stream) = sender.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        // It is far smaller than any window.
        stream.send_data(body, true)?;
    }
    let (head, mut stream) = response.await?.into_parts();
    let (body, is_whole) = read(&mut stream).await?;
    let trailers = if is_whole { stream.trailers().await? } else { None };
    let head = Response::from_parts(head, ());
    Ok(Answer { head, body, trailers: trailers.unwrap_or_default() })
}

/// The body as far as it is looked at, and whether that is all of it.
async fn read(stream: &mut RecvStream) -> Result<(Vec<u8>, bool), CheckError> {
    let bytes_max = usize::try_from(RESPONSE_BYTES_MAX).unwrap_or(usize::MAX);
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
        if body.len() > bytes_max {
            return Ok((body, false));
        }
    }
    Ok((body, true))
}

/// `HealthCheckRequest { service }`, with its prefix.
fn health_request(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, of a length that comes first.
        message.push(0x0a);
        write_varint(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&message);
    Bytes::from(framed)
}

fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// The status in a `HealthCheckResponse`, the last one if there are several; 0 when there is none.
/// `None` for bytes that are no such message, or compressed.
fn serving_status(body: &[u8]) -> Option<u64> {
    let (prefix, message) = body.split_at_checked(PREFIX_BYTES)?;
    let length = u32::from_be_bytes(prefix.get(1..)?.try_into().ok()?);
    if prefix.first() != Some(&0) || usize::try_from(length) != Ok(message.len()) {
        return None;
    }
    let (mut rest, mut status) = (message, 0);
    while !rest.is_empty() {
        let key = read_varint(&mut rest)?;
        let skipped = match key & 7 {
            0 => {
                let number = read_varint(&mut rest)?;
                if key >> 3 == 1 {
                    status = number;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(read_varint(&mut rest)?).ok()?,
            5 => 4,
            _ => return None,
        };
        rest = rest.get(skipped..)?;
    }
    Some(status)
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_service() {
        fn check(service: &str, expected: &[u8]) {
            assert_eq!(health_request(service), expected, "{service:?}");
        }
        check("", &[0, 0, 0, 0, 0]);
        check("a.B", &[0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = "s".repeat(200);
        let mut expected = vec![0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01];
        expected.extend_from_slice(long.as_bytes());
        check(&long, &expected);
    }

    #[test]
    fn an_answer_says_what_serves() {
        fn check(body: &[u8], expected: Option<u64>) {
            assert_eq!(serving_status(body), expected, "{body:?}");
        }
        check(&[0, 0, 0, 0, 2, 0x08, 1], Some(SERVING));
        check(&[0, 0, 0, 0, 2, 0x08, 2], Some(2));
        check(&[0, 0, 0, 0, 0], Some(0));
        // Fields that are not known, of each kind, are passed over.
        let fields = [0x10, 5, 0x1a, 1, b'x', 0x25, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1];
        check(&[&[0, 0, 0, 0, 21][..], &fields].concat(), Some(SERVING));
        check(&[], None);
        check(&[1, 0, 0, 0, 2, 0x08, 1], None);
        check(&[0, 0, 0, 0, 3, 0x08, 1], None);
        check(&[0, 0, 0, 0, 1, 0x08], None);
        check(&[0, 0, 0, 0, 3, 0x1a, 9, 0], None);
        check(&[0, 0, 0, 0, 2, 0x0b, 0], None);
        check(&[[0, 0, 0, 0, 12, 0x08].as_slice(), &[0xff; 11]].concat(), None);
    }
}
