//! The door's own responses: refusals as problem details, redirects, fixed responses.
//!
//! A refusal says what was wrong, its reason code, the request's id, the configuration's
//! version and how earlier attempts failed; never an address or a name behind the door.

use std::borrow::Cow;

use http_wire::{Framing, Method, Version};
use model::Reason;
use model::configuration::{ErrorFormat, Listener};
use net::clock;

use crate::connection::Client;
use crate::exchange::{Ended, Exchange};
use crate::heads::{write_decimal, write_field};
use crate::worker::View;

/// The methods that the door serves anywhere, for `Allow` where it refuses the others.
const SERVED: &[&str] = &["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// A response of the door's own.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) reason: Option<Reason>,
    format: ErrorFormat,
    content_type: &'a str,
    body: &'a [u8],
    location: Option<Cow<'a, [u8]>>,
    allow: Vec<&'a str>,
    configuration: &'a str,
}

impl<'a> Answer<'a> {
    /// The request is refused for `reason`, in the listener's format, by what `view` serves.
    pub(crate) fn refusal(reason: Reason, listener: &Listener, view: &'a View) -> Self {
        Self {
            status: reason.status(),
            reason: Some(reason),
            format: listener.errors,
            content_type: match listener.errors {
                ErrorFormat::ProblemJson => "application/problem+json",
                ErrorFormat::Text => "text/plain; charset=utf-8",
            },
            body: b"",
            location: None,
            allow: if reason == Reason::MethodNotServed { SERVED.to_vec() } else { Vec::new() },
            configuration: &view.live.configuration.version,
        }
    }

    /// With the methods that would have been served.
    pub(crate) fn allowing(mut self, methods: Vec<&'a str>) -> Self {
        self.allow = methods;
        self
    }

    /// A configured response.
    pub(crate) fn fixed(status: u16, content_type: &'a str, body: &'a str) -> Self {
        Self {
            status,
            reason: None,
            format: ErrorFormat::Text,
            content_type,
            body: body.as_bytes(),
            location: None,
            allow: Vec::new(),
            configuration: "",
        }
    }
}

/// A configured redirect; `{host}`, `{path}` and `{query}` are replaced.
pub(crate) fn redirect<'a>(
    exchange: &Exchange,
    bytes: &[u8],
    status: u16,
    template: &'a str,
) -> Answer<'a> {
    let mut location = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        location.extend_from_slice(before.as_bytes());
        let Some((key, after)) = after.split_once('}') else { break };
        match key {
            "host" => {
                location.extend_from_slice(exchange.request.host.map_or(&[][..], |h| h.of(bytes)));
            }
            // A location that began with two slashes would lead to a host of the client's choice.
            "path" if location.is_empty() => {
                let path = exchange.request.path().trim_start_matches('/');
                location.push(b'/');
                location.extend_from_slice(path.as_bytes());
            }
            "path" => location.extend_from_slice(exchange.request.path().as_bytes()),
            "query" => {
                if let Some(query) = exchange.request.query() {
                    location.push(b'?');
                    location.extend_from_slice(query.as_bytes());
                }
            }
            _ => {}
        }
        rest = after;
    }
    location.extend_from_slice(rest.as_bytes());
    let mut answer = Answer::fixed(status, "text/plain; charset=utf-8", "");
    answer.location = Some(Cow::Owned(location));
    answer
}

/// Sends `answer` to the client. The connection goes on only when the request was understood
/// and nothing of its body is still to come.
pub(crate) async fn send(
    client: &mut Client,
    exchange: &mut Exchange,
    answer: &Answer<'_>,
) -> Ended {
    let understood = answer.reason.is_none_or(keeps_alive);
    let request = &exchange.request;
    let bodiless = matches!(request.framing, Framing::None | Framing::Length(0));
    let keep_alive = understood && request.keep_alive && bodiless && request.upgrade.is_none();
    let without_body =
        understood && request.method == Method::Head || matches!(answer.status, 204 | 304);
    let mut body = Vec::new();
    match answer.reason {
        Some(reason) => write_refusal(&mut body, exchange, answer, reason),
        None => body.extend_from_slice(answer.body),
    }
    write_head(exchange, answer, (keep_alive, body.len()));
    if !without_body {
        exchange.to_client.extend_from_slice(&body);
    }
    let written = client.write_all(&exchange.to_client).await;
    Ended {
        status: answer.status,
        reason: answer.reason.or(written.err()),
        keep_alive: keep_alive && written.is_ok(),
        complete: understood && bodiless && written.is_ok(),
        bytes_in: 0,
        bytes_out: if without_body { 0 } else { body.len() as u64 },
        at: clock::now(),
    }
}

/// Reasons after which the client's next request can be trusted to begin where it should.
fn keeps_alive(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoRoute
            | Reason::MethodNotAllowed
            | Reason::NoServer
            | Reason::ConnectFailed
            | Reason::ConnectTimeout
            | Reason::ServerTls
            | Reason::ServerClosed
            | Reason::BadResponse
            | Reason::FirstByteTimeout
            | Reason::TotalTimeout
    )
}

fn write_head(exchange: &mut Exchange, answer: &Answer<'_>, (keep_alive, length): (bool, usize)) {
    let http10 = exchange.request.version == Version::Http10;
    let out = &mut exchange.to_client;
    out.clear();
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(out, u64::from(answer.status));
    out.push(b' ');
    out.extend_from_slice(phrase(answer.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    write_field(out, b"date", httpdate::fmt_http_date(clock::wall()).as_bytes());
    if !matches!(answer.status, 204 | 304) {
        write_field(out, b"content-type", answer.content_type.as_bytes());
        out.extend_from_slice(b"content-length: ");
        write_decimal(out, length as u64);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(location) = &answer.location {
        write_field(out, b"location", location);
    }
    if !answer.allow.is_empty() {
        write_field(out, b"allow", answer.allow.join(", ").as_bytes());
    }
    if let Some(reason) = answer.reason {
        out.extend_from_slice(b"cache-control: no-store\r\nproxy-status: tidegate; error=");
        out.extend_from_slice(reason.proxy_error().as_bytes());
        out.extend_from_slice(b"; details=\"");
        out.extend_from_slice(reason.code().as_bytes());
        out.extend_from_slice(b"\"\r\n");
        if reason.status() == 503 {
            out.extend_from_slice(b"retry-after: 1\r\n");
        }
    }
    write_field(out, b"x-request-id", &exchange.request_id);
    out.extend_from_slice(match (keep_alive, http10) {
        (false, _) => b"connection: close\r\n\r\n",
        (true, true) => b"connection: keep-alive\r\n\r\n",
        (true, false) => b"\r\n",
    });
}

/// RFC 9457, or the same in lines of text. Every value is from a fixed table or is an id of
/// printable ASCII, so only the id needs escaping.
fn write_refusal(out: &mut Vec<u8>, exchange: &Exchange, answer: &Answer<'_>, reason: Reason) {
    let attempts: Vec<&str> = exchange.history.iter().map(|reason| reason.code()).collect();
    let id = String::from_utf8_lossy(&exchange.request_id);
    let id = id.replace('\\', "\\\\").replace('"', "\\\"");
    let (title, status, code) = (phrase(answer.status), answer.status, reason.code());
    let (detail, retryable) = (reason.detail(), reason.retryable());
    let version = answer.configuration;
    let text = match answer.format {
        ErrorFormat::ProblemJson => {
            let attempts: Vec<String> = attempts.iter().map(|code| format!("\"{code}\"")).collect();
            format!(
                "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\
                 \"detail\":\"{detail}\",\"reason\":\"{code}\",\"retryable\":{retryable},\
                 \"request_id\":\"{id}\",\"configuration\":\"{version}\",\
                 \"attempts\":[{}]}}\n",
                attempts.join(",")
            )
        }
        ErrorFormat::Text => format!(
            "{status} {title}\n{detail}\nreason: {code}\nretryable: {retryable}\n\
             request id: {id}\nconfiguration: {version}\nattempts: {}\n",
            attempts.join(", ")
        ),
    };
    out.extend_from_slice(text.as_bytes());
}

/// What is said of a status that has no phrase of its own.
fn class_phrase(status: u16) -> &'static str {
    match status / 100 {
        2 => "Success",
        3 => "Redirect",
        4 => "Client Error",
        _ => "Server Error",
    }
}

/// The reason phrase of a status (RFC 9110, section 15).
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        418 => "I'm a Teapot",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        499 => "Client Closed Request",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => class_phrase(status),
    }
}
