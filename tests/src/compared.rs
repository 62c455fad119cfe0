//! One request to two balancers with the same servers behind them, and what is compared.

use std::net::SocketAddr;

use crate::{Backend, Client, response};

/// What a client and the server behind the balancer see of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The status of the answer.
    pub status: u16,
    /// Where it leads. On the same host only the path is kept: nginx writes its own address.
    pub location: Option<String>,
    /// The body of a page that the configuration itself holds; pages of errors are each one's own.
    pub body: String,
    /// Which server was asked.
    pub server: Option<String>,
    /// Its method, target and length of the body, as the server received them.
    pub received: Option<String>,
    /// The host and the header fields for tests that the server received.
    pub told: Option<String>,
    /// Of the answer's header fields those that a configuration may write.
    pub fields: Vec<String>,
    /// What came back through an upgraded connection.
    pub echo: Vec<u8>,
}

/// Whether a header field is there for tests: the door and its rivals add others of their own.
fn is_for_tests(name: &str) -> bool {
    let starts = ["x-t-", "x-real-ip", "authorization", "access-control-"];
    starts.iter().any(|start| name.starts_with(start))
}

/// Header fields that a configuration may write into the answers of servers.
const WRITTEN: [&str; 4] =
    ["cache-control", "content-encoding", "strict-transport-security", "x-powered-by"];

/// A server for [`ask`] that says who it is and what it received; upgraded connections echo. A
/// target with `/large` is answered with a page of 3000 bytes, one with `/fail` with 404, and one
/// with `/verify` with 200 if the request has the field `X-T-Key`, else 403.
#[must_use]
pub fn named(name: &'static str) -> Backend {
    Backend::for_any_proxy(move |request, peer| {
        let received = format!("{} {} {}", request.method, request.target, request.body.len());
        let mut told: Vec<String> = request
            .headers
            .0
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| name == "host" || is_for_tests(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        told.sort_unstable();
        let lines = format!(
            "X-Server: {name}\r\nX-Received: {received}\r\nX-Told: {}\r\nX-Powered-By: {name}\r\n\
             X-T-User: {name}\r\n",
            told.join(" ")
        );
        if request.target.contains("/large") {
            let lines = format!("{lines}Content-Type: text/html\r\n");
            return peer.send(response(200, &lines, &"large ".repeat(500)));
        }
        if request.target.contains("/fail") {
            return peer.send(response(404, &lines, ""));
        }
        if request.target.contains("/verify") && !request.headers.has("x-t-key") {
            return peer.send(response(403, &lines, ""));
        }
        if !request.headers.has("upgrade") {
            return peer.send(response(200, &lines, ""));
        }
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{lines}\r\n"
        ));
        let echo = peer.read_some().unwrap_or_default();
        peer.send(echo);
        peer.close();
    })
}

/// Sends `METHOD HOST TARGET`, perhaps with header lines behind. `POST:300` has a body of 300
/// bytes, and the method `UPGRADE` opens a WebSocket and sends four bytes through it.
///
/// # Panics
/// When the answer is not whole.
#[must_use]
#[track_caller]
pub fn ask(address: SocketAddr, request: &str) -> Seen {
    let mut words = request.splitn(4, ' ');
    let mut next = || words.next().unwrap_or_default();
    let (method, host, target, lines) = (next(), next(), next(), next());
    let mut lines = if lines.is_empty() { String::new() } else { format!("{lines}\r\n") };
    let (method, length) = method.split_once(':').unwrap_or((method, ""));
    if !length.is_empty() {
        lines.push_str(&format!("Content-Length: {length}\r\n"));
    }
    let is_upgrade = method == "UPGRADE";
    let method = if is_upgrade { "GET" } else { method };
    if is_upgrade {
        lines.push_str(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        );
    }
    let body = "x".repeat(length.parse().unwrap_or(0));
    let mut client = Client::connect(address);
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n{body}"));
    let answer = match client.response_head() {
        Ok(head) if head.status == 101 => head,
        Ok(_) | Err(_) if is_upgrade => panic!("{request} is not upgraded"),
        Ok(head) => client.rest_of(head, method == "HEAD"),
        Err(broken) => panic!("{request}: {broken:?}"),
    };
    let mut echo = Vec::new();
    if answer.status == 101 {
        client.send("ping");
        echo = client.read_exactly(4);
    }
    let header = |name: &str| answer.header(name).map(str::to_owned);
    let location = header("location").map(|location| {
        let own = [format!("http://{host}:{}", address.port()), format!("http://{host}")];
        let path = own.iter().find_map(|own| location.strip_prefix(own.as_str()));
        path.filter(|path| path.starts_with('/')).map_or(location.clone(), str::to_owned)
    });
    let server = header("x-server");
    let is_own = answer.status == 200 && server.is_none();
    let body = if is_own { answer.text() } else { String::new() };
    let (received, told) = (header("x-received"), header("x-told"));
    let mut fields: Vec<String> = answer
        .headers
        .0
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| {
            is_for_tests(name) || (server.is_some() && WRITTEN.contains(&name.as_str()))
        })
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    fields.sort_unstable();
    Seen { status: answer.status, location, body, server, received, told, fields, echo }
}
