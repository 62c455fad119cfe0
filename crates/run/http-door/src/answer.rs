//! The door's own responses: refusals as problem details, redirects, fixed responses.
//!
//! A refusal says what was wrong, its reason code, the request's id, the configuration's
//! version and how earlier attempts failed; never an address or a name behind the door.
//!
//! In a flood a refusal is the commonest answer, so it must be cheap: it is written into the
//! exchange's own memory, and allocates nothing.

use std::borrow::Cow;
use std::time::Duration;

use admission::Refusal;
use http_wire::{Method, Version};
use model::Reason;
use model::configuration::{Compression, ErrorFormat, Listener};
use net::clock;

use crate::authenticate::Reply;
use crate::coder::Then;
use crate::compression::{self, Choice};
use crate::connection::Client;
use crate::exchange::{Ended, Exchange};
use crate::grpc;
use crate::heads::{write_decimal, write_field};
use crate::quota::Shown;
use crate::serve::head_bytes;
use crate::treated::{self, Kind};
use crate::view::View;
use crate::worker::Worker;

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
    retry_after: Option<Duration>,
    quota: Option<Shown<'a>>,
    compression: Option<&'a Compression>,
    is_preflight: bool,
    /// Complete lines of the head.
    fields: &'a [u8],
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
            retry_after: None,
            quota: None,
            compression: None,
            is_preflight: false,
            fields: b"",
        }
    }

    /// With the time after which it is worth to ask again, and what is left of the rate that was
    /// exceeded, as far as the client is told.
    pub(crate) fn of_admission(
        mut self,
        refusal: &Refusal,
        client: Option<usize>,
        view: &'a View,
    ) -> Self {
        self.retry_after = refusal.retry_after;
        self.quota = Shown::of_refusal(&view.live.configuration, client, refusal);
        self
    }

    /// With these complete lines in its head.
    pub(crate) fn with_fields(mut self, fields: &'a [u8]) -> Self {
        self.fields = fields;
        self
    }

    /// What another server answers in the place of the one that was asked for.
    pub(crate) fn of_another(reply: &'a Reply) -> Self {
        let answer = Self::fixed(reply.status, "", "");
        Self { body: &reply.body, fields: &reply.fields, ..answer }
    }

    /// With the methods that would have been served.
    pub(crate) fn allowing(mut self, methods: Vec<&'a str>) -> Self {
        self.allow = methods;
        self
    }

    /// With what is left of the rate, as far as the client is told.
    pub(crate) fn with_quota(mut self, quota: Option<Shown<'a>>) -> Self {
        self.quota = quota;
        self
    }

    /// What a browser is told before it lets a script of another site send its request.
    pub(crate) fn preflight() -> Self {
        Self { is_preflight: true, ..Self::fixed(204, "", "") }
    }

    /// Compressed, if these are not `None` and the client likes it.
    pub(crate) fn compressed_by(mut self, settings: Option<&'a Compression>) -> Self {
        self.compression = settings;
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
            retry_after: None,
            quota: None,
            compression: None,
            is_preflight: false,
            fields: b"",
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
    worker: &Worker,
    client: &mut Client,
    exchange: &mut Exchange,
    answer: &Answer<'_>,
) -> Ended {
    let understood = answer.reason.is_none_or(keeps_alive);
    let bodiless = understood && client.skips_body(exchange);
    let request = &exchange.request;
    let keep_alive = understood && request.keep_alive && bodiless && request.upgrade.is_none();
    let keep_alive = keep_alive && client.stays(worker);
    // A call is answered by a head alone.
    let grpc_type = answer.reason.and_then(|_| grpc::answer_type(request, head_bytes(client)));
    let without_body = understood && request.method == Method::Head
        || matches!(answer.status, 204 | 304)
        || grpc_type.is_some();
    // Nothing goes to a server any more: the memory for its head holds the body.
    exchange.to_server.clear();
    match answer.reason {
        Some(_) if grpc_type.is_some() => {}
        Some(reason) => write_refusal(exchange, answer, reason),
        None => exchange.to_server.extend_from_slice(answer.body),
    }
    let choice = match answer.compression {
        Some(settings) => compress(worker, client, exchange, (answer, settings)),
        None => Choice::default(),
    };
    let length = exchange.to_server.len();
    write_head(worker, exchange, answer, (keep_alive, length, grpc_type, choice));
    let kind = if answer.is_preflight { Kind::Preflight } else { Kind::Response(answer.status) };
    treated::treat_response(client, exchange, kind);
    if !without_body {
        exchange.to_client.extend_from_slice(&exchange.to_server);
    }
    let written = client.write_all(&exchange.to_client).await;
    Ended {
        status: answer.status,
        reason: answer.reason.or(written.err()),
        keep_alive: keep_alive && written.is_ok(),
        complete: understood && bodiless && written.is_ok(),
        bytes_in: 0,
        bytes_out: if without_body { 0 } else { length as u64 },
        at: clock::now(),
    }
}

/// Compresses the body that `to_server` holds, if the client likes it.
fn compress(
    worker: &Worker,
    client: &Client,
    exchange: &mut Exchange,
    (answer, settings): (&Answer<'_>, &Compression),
) -> Choice {
    let request = (&exchange.request, head_bytes(client));
    let body = &mut exchange.to_server;
    let described = (answer.status, answer.content_type, body.len());
    let choice = compression::of_own(settings, request, described);
    let Some(coding) = choice.coding else { return choice };
    let mut encoded = Vec::new();
    let lent = worker.coders.lend(coding, settings.level, u64::try_from(body.len()).ok());
    match lent.and_then(|mut coder| coder.encode(body, Then::End, &mut encoded)) {
        Ok(()) => {
            *body = encoded;
            choice
        }
        Err(_no_memory) => Choice { coding: None, ..choice },
    }
}

/// Reasons after which the client's next request can be trusted to begin where it should.
fn keeps_alive(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Misdirected
            | Reason::NoRoute
            | Reason::MethodNotAllowed
            | Reason::ClientDisabled
            | Reason::ClientRoute
            | Reason::RateLimited
            | Reason::TooManyInFlight
            | Reason::TooManyRetries
            | Reason::Shed
            | Reason::QueueFull
            | Reason::QueueTimeout
            | Reason::TooLate
            | Reason::Unauthenticated
            | Reason::Forbidden
            | Reason::AuthenticationUnavailable
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

fn write_head(
    worker: &Worker,
    exchange: &mut Exchange,
    answer: &Answer<'_>,
    (keep_alive, length, grpc_type, choice): (bool, usize, Option<&str>, Choice),
) {
    let http10 = exchange.request.version == Version::Http10;
    let out = &mut exchange.to_client;
    out.clear();
    out.extend_from_slice(b"HTTP/1.1 ");
    // The status of a call is a field.
    let status = if grpc_type.is_some() { 200 } else { answer.status };
    write_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    write_field(out, b"date", &worker.date.text(exchange.phases.started));
    if !matches!(answer.status, 204 | 304) {
        let content_type = grpc_type.unwrap_or(answer.content_type);
        if !content_type.is_empty() {
            write_field(out, b"content-type", content_type.as_bytes());
        }
        out.extend_from_slice(b"content-length: ");
        write_decimal(out, length as u64);
        out.extend_from_slice(b"\r\n");
    }
    choice.write(out, std::iter::empty());
    out.extend_from_slice(answer.fields);
    if let Some(location) = &answer.location {
        write_field(out, b"location", location);
    }
    if !answer.allow.is_empty() {
        write_field(out, b"allow", answer.allow.join(", ").as_bytes());
    }
    if let Some(reason) = answer.reason {
        if grpc_type.is_some() {
            out.extend_from_slice(b"grpc-status: ");
            write_decimal(out, u64::from(grpc::status(reason)));
            out.extend_from_slice(b"\r\n");
            write_field(out, b"grpc-message", reason.detail().as_bytes());
        }
        out.extend_from_slice(b"cache-control: no-store\r\nproxy-status: tidegate; error=");
        out.extend_from_slice(reason.proxy_error().as_bytes());
        out.extend_from_slice(b"; details=\"");
        out.extend_from_slice(reason.code().as_bytes());
        out.extend_from_slice(b"\"\r\n");
        write_retry_after(out, answer, reason);
    }
    if let Some(quota) = &answer.quota {
        quota.write(out);
    }
    write_field(out, b"x-request-id", &exchange.request_id);
    out.extend_from_slice(match (keep_alive, http10) {
        (false, _) => b"connection: close\r\n\r\n",
        (true, true) => b"connection: keep-alive\r\n\r\n",
        (true, false) => b"\r\n",
    });
}

/// Says when to ask again: in whole seconds, rounded up, at least one (RFC 9110, section 10.2.3).
fn write_retry_after(out: &mut Vec<u8>, answer: &Answer<'_>, reason: Reason) {
    if matches!(reason.status(), 429 | 503) && reason.retryable() {
        let time = answer.retry_after.unwrap_or_default();
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        out.extend_from_slice(b"retry-after: ");
        write_decimal(out, seconds.max(1));
        out.extend_from_slice(b"\r\n");
    }
}

/// What stands before title, detail, code, whether to retry, id, configuration and attempts, and
/// at the end.
type Labels = [&'static [u8]; 8];

/// RFC 9457.
const PROBLEM: Labels = [
    b"{\"type\":\"about:blank\",\"title\":\"",
    b",\"detail\":\"",
    b"\",\"reason\":\"",
    b"\",\"retryable\":",
    b",\"request_id\":\"",
    b"\",\"configuration\":\"",
    b"\",\"attempts\":[",
    b"]}\n",
];

/// The same in lines of text.
const TEXT: Labels = [
    b"",
    b"\n",
    b"\nreason: ",
    b"\nretryable: ",
    b"\nrequest id: ",
    b"\nconfiguration: ",
    b"\nattempts: ",
    b"\n",
];

/// Every value is from a fixed table or is an id of printable ASCII, so only the id needs
/// escaping.
fn write_refusal(exchange: &mut Exchange, answer: &Answer<'_>, reason: Reason) {
    let quoted = answer.format == ErrorFormat::ProblemJson;
    let [open, detail, code, retryable, id, configuration, attempts, end] =
        if quoted { PROBLEM } else { TEXT };
    let out = &mut exchange.to_server;
    out.extend_from_slice(open);
    if quoted {
        out.extend_from_slice(phrase(answer.status).as_bytes());
        out.extend_from_slice(b"\",\"status\":");
        write_decimal(out, u64::from(answer.status));
    } else {
        write_decimal(out, u64::from(answer.status));
        out.push(b' ');
        out.extend_from_slice(phrase(answer.status).as_bytes());
    }
    for (label, value) in [
        (detail, reason.detail()),
        (code, reason.code()),
        (retryable, if reason.retryable() { "true" } else { "false" }),
    ] {
        out.extend_from_slice(label);
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(id);
    for &byte in &exchange.request_id {
        if quoted && matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.extend_from_slice(configuration);
    out.extend_from_slice(answer.configuration.as_bytes());
    out.extend_from_slice(attempts);
    let mark: &[u8] = if quoted { b"\"" } else { b"" };
    for (index, attempt) in exchange.history.iter().enumerate() {
        let separator: &[u8] = match (index, quoted) {
            (0, _) => b"",
            (_, true) => b",",
            (_, false) => b", ",
        };
        for part in [separator, mark, attempt.code().as_bytes(), mark] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(end);
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
