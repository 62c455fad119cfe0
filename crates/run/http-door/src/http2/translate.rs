//! Towards a client that speaks HTTP/2: its requests as HTTP/1.1, and responses back to it.
//!
//! Pure. The library has refused what is no HTTP/2 message: pseudo-fields that are missing, twice
//! or late, upper-case names, fields of one connection, a wrong content-length (RFC 9113, sections
//! 8.1 to 8.3). What is left is written out as it came and then read by the walk as strictly as
//! any request, so that limits, refusals and paths are those of HTTP/1.1.
//!
//! Invariants: no value adds a line to the head that is written (threat 39), and the end of the
//! body is told in one way only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_wire::{HeaderKind, ResponseHead, trailer_fields};

use crate::heads::write_field;

/// A message that has no form in the other version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Untranslatable;

/// What follows a request's head in HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing.
    None,
    /// As many bytes as were announced.
    Length,
    /// Chunks, for no length was announced.
    Chunked,
    /// Bytes both ways, once the server has agreed: a WebSocket.
    Tunnel,
}

/// Writes the request's head. `ends`: nothing follows it. `key` is for a WebSocket, of which
/// HTTP/2 has none (RFC 8441, section 5).
///
/// # Errors
/// [`Untranslatable`] for what no HTTP/2 request may hold.
pub(crate) fn write_request<T>(
    out: &mut Vec<u8>,
    request: &Request<T>,
    ends: bool,
    key: u128,
) -> Result<Body, Untranslatable> {
    let is_websocket = is_websocket(request);
    let fields = request.headers();
    if is_websocket && fields.contains_key(header::CONTENT_LENGTH) {
        // What follows is no body (RFC 9110, section 9.3.6), so nothing has this length.
        return Err(Untranslatable);
    }
    let body = match fields.get(header::CONTENT_LENGTH) {
        _ if is_websocket => Body::Tunnel,
        _ if ends => Body::None,
        Some(_) => Body::Length,
        None => Body::Chunked,
    };
    write_request_line(out, request, is_websocket)?;
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if let Some(authority) = authority {
        write(out, b"host", authority)?;
    }
    for host in fields.get_all(header::HOST) {
        // One that differs is written too: the walk refuses two hosts.
        if !authority.is_some_and(|known| known.eq_ignore_ascii_case(host.as_bytes())) {
            write(out, b"host", host.as_bytes())?;
        }
    }
    for (name, value) in fields {
        if !is_written_apart(name) {
            write(out, name.as_str().as_bytes(), value.as_bytes())?;
        }
    }
    write_cookies(out, fields)?;
    if body == Body::Chunked {
        write_field(out, b"transfer-encoding", b"chunked");
    }
    if is_websocket {
        write_field(out, b"connection", b"upgrade");
        write_field(out, b"upgrade", b"websocket");
        write_field(out, b"sec-websocket-key", STANDARD.encode(key.to_ne_bytes()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Ok(body)
}

/// True for an extended CONNECT that asks for a WebSocket (RFC 8441, section 5).
fn is_websocket<T>(request: &Request<T>) -> bool {
    request.extensions().get::<Protocol>().is_some_and(|known| known.as_str() == "websocket")
}

fn write_request_line<T>(
    out: &mut Vec<u8>,
    request: &Request<T>,
    is_websocket: bool,
) -> Result<(), Untranslatable> {
    let (method, uri) = (request.method(), request.uri());
    let target = match uri.path_and_query() {
        // No CONNECT is served but that for a WebSocket: the walk says so.
        _ if method == Method::CONNECT && !is_websocket => "/",
        Some(target) => target.as_str(),
        None => "/",
    };
    if !(target.starts_with('/') || target == "*") || breaks_line(target.as_bytes()) {
        return Err(Untranslatable);
    }
    out.extend_from_slice(if is_websocket { "GET" } else { method.as_str() }.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    Ok(())
}

/// Fields that are written elsewhere, or which HTTP/1.1 has no use for.
fn is_written_apart(name: &HeaderName) -> bool {
    name == header::HOST
        || name == header::COOKIE
        || name == header::TE
        || name == header::SEC_WEBSOCKET_KEY
        || name == "http2-settings"
}

/// Cookies may come in crumbs, each a field of its own (RFC 9113, section 8.2.3).
fn write_cookies(out: &mut Vec<u8>, fields: &HeaderMap) -> Result<(), Untranslatable> {
    for (index, crumb) in fields.get_all(header::COOKIE).iter().enumerate() {
        check(crumb.as_bytes())?;
        out.extend_from_slice(if index == 0 { b"cookie: " } else { b"; " });
        out.extend_from_slice(crumb.as_bytes());
    }
    if fields.contains_key(header::COOKIE) {
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}

fn write(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), Untranslatable> {
    check(value)?;
    write_field(out, name, value);
    Ok(())
}

/// RFC 9113, section 8.2.1. The library has looked too, but this is what keeps one field from
/// becoming two.
fn check(value: &[u8]) -> Result<(), Untranslatable> {
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if breaks_line(value) || space(value.first()) || space(value.last()) {
        return Err(Untranslatable);
    }
    Ok(())
}

fn breaks_line(text: &[u8]) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, text).is_some()
}

/// Writes the end of a chunked body with these trailers. One that may not be a trailer is written
/// too: the walk refuses it.
///
/// # Errors
/// [`Untranslatable`] for what no HTTP/2 field may hold.
pub(crate) fn write_trailers(
    out: &mut Vec<u8>,
    trailers: &HeaderMap,
) -> Result<(), Untranslatable> {
    out.extend_from_slice(http_wire::LAST_CHUNK);
    for (name, value) in trailers {
        write(out, name.as_str().as_bytes(), value.as_bytes())?;
    }
    out.extend_from_slice(http_wire::CHUNK_END);
    Ok(())
}

/// True for a field whose value comes once and never again. The library keeps it out of the table
/// of fields that were sent (it is a literal that is never indexed, RFC 7541, section 6.2.3): there
/// it would push out those that come again, and be compared with all of its kind before.
pub(crate) fn is_unique(kind: HeaderKind) -> bool {
    kind == HeaderKind::XRequestId
}

/// The name of a field, whose kind is known; `None` when it is no name. The names that the door
/// itself writes into heads, and those that most heads have, are there already: any other is looked
/// for by its text, and one that `http` does not know is a copy.
#[expect(clippy::wildcard_enum_match_arm, reason = "any other is made from its text")]
pub(crate) fn field_name(kind: HeaderKind, text: &[u8]) -> Option<HeaderName> {
    match kind {
        HeaderKind::Authorization => Some(header::AUTHORIZATION),
        HeaderKind::ContentEncoding => Some(header::CONTENT_ENCODING),
        HeaderKind::ContentLength => Some(header::CONTENT_LENGTH),
        HeaderKind::ContentType => Some(header::CONTENT_TYPE),
        HeaderKind::Cookie => Some(header::COOKIE),
        HeaderKind::Date => Some(header::DATE),
        HeaderKind::Server => Some(header::SERVER),
        HeaderKind::SetCookie => Some(header::SET_COOKIE),
        HeaderKind::UserAgent => Some(header::USER_AGENT),
        HeaderKind::XForwardedFor => Some(const { HeaderName::from_static("x-forwarded-for") }),
        HeaderKind::XForwardedHost => Some(const { HeaderName::from_static("x-forwarded-host") }),
        HeaderKind::XForwardedProto => Some(const { HeaderName::from_static("x-forwarded-proto") }),
        HeaderKind::XRequestId => Some(const { HeaderName::from_static("x-request-id") }),
        _ => HeaderName::from_bytes(text).ok(),
    }
}

/// The response whose head is `head`, parsed from `bytes`, as the walk wrote it. The values keep
/// `bytes`, without a copy. A 101 becomes the 200 that opens a WebSocket.
///
/// # Errors
/// [`Untranslatable`] for what no HTTP/2 response may hold.
pub(crate) fn response(head: &ResponseHead, bytes: &Bytes) -> Result<Response<()>, Untranslatable> {
    let mut response = Response::new(());
    let opens_tunnel = head.status == 101;
    let status = if opens_tunnel { 200 } else { head.status };
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_invalid| Untranslatable)?;
    let fields = response.headers_mut();
    fields.reserve(head.headers.len());
    for field in &head.headers {
        if field.hop_by_hop {
            continue;
        }
        let name = field_name(field.kind, field.name.of(bytes)).ok_or(Untranslatable)?;
        if opens_tunnel
            && (name == header::SEC_WEBSOCKET_ACCEPT || field.kind == HeaderKind::ContentLength)
        {
            continue;
        }
        let value = bytes.slice_ref(field.value.of(bytes));
        let mut value = HeaderValue::from_maybe_shared(value).map_err(|_invalid| Untranslatable)?;
        value.set_sensitive(is_unique(field.kind));
        fields.try_append(name, value).map_err(|_too_many| Untranslatable)?;
    }
    Ok(response)
}

/// The trailers of a response, from the lines behind its last chunk; `None` when there are none.
///
/// # Errors
/// [`Untranslatable`] for what no HTTP/2 field may hold.
pub(crate) fn trailers(lines: &[u8]) -> Result<Option<HeaderMap>, Untranslatable> {
    if lines.is_empty() {
        return Ok(None);
    }
    let mut trailers = HeaderMap::new();
    for (name, value) in trailer_fields(lines) {
        let name = HeaderName::from_bytes(name).map_err(|_invalid| Untranslatable)?;
        let value = HeaderValue::from_bytes(value).map_err(|_invalid| Untranslatable)?;
        trailers.try_append(name, value).map_err(|_too_many| Untranslatable)?;
    }
    Ok(Some(trailers))
}

#[cfg(test)]
mod tests;
