//! Towards a server that speaks HTTP/2: requests from HTTP/1.1, responses back to it.
//!
//! Pure. The request was checked and written by the walk, so only its form changes. What the
//! server answers is checked here before it becomes lines: nothing but what `http_wire` reads back
//! as the same fields is written, so that no value can add a line, a field or an end of message.
//!
//! Invariants: fields of one connection (RFC 9113, section 8.2.2) pass in neither direction, and a
//! body's end is told in exactly one way.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{self, Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri, Version};
use http_wire::{HeaderKind, RequestHead, may_be_trailer, trailer_fields};

use super::translate::{field_name, is_unique};
use crate::grpc;
use crate::heads::{write_decimal, write_field};

/// A message that has no form in the other version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Untranslatable;

/// How the end of a response's body is told to the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// There is no body, whatever the fields say: to HEAD, with 204 and 304.
    Bodiless,
    /// The length that the server told.
    Length,
    /// Nothing follows the head.
    Empty,
    /// In chunks, with the trailers behind them.
    Chunks,
}

/// The request whose head is `head`, parsed from `bytes`, as the walk wrote it. The values keep
/// `bytes`, without a copy. Its body's length is announced when it is known.
///
/// # Errors
/// [`Untranslatable`] for what no HTTP/2 request may hold.
pub(crate) fn request(
    head: &RequestHead,
    bytes: &Bytes,
    secure: bool,
) -> Result<Request<()>, Untranslatable> {
    let authority = head.authority.ok_or(Untranslatable)?.of(bytes);
    let mut target = Vec::with_capacity(head.forwarded_target().len());
    write_target(&mut target, head.path().as_bytes(), is_path_byte);
    if let Some(query) = head.query() {
        target.push(b'?');
        write_target(&mut target, query.as_bytes(), is_query_byte);
    }
    let invalid = |_invalid| Untranslatable;
    let mut parts = uri::Parts::default();
    parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority =
        Some(Authority::from_maybe_shared(bytes.slice_ref(authority)).map_err(invalid)?);
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(invalid)?);
    let uri = Uri::from_parts(parts).map_err(|_invalid| Untranslatable)?;
    let mut request = Request::new(());
    let method = head.method_text.of(bytes);
    *request.method_mut() = Method::from_bytes(method).map_err(|_invalid| Untranslatable)?;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let fields = request.headers_mut();
    fields.reserve(head.headers.len() + 1);
    for field in &head.headers {
        // The host is the authority by now.
        if !field.hop_by_hop && field.kind != HeaderKind::Host {
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value.of(bytes)));
            append(fields, field.kind, field.name.of(bytes), value.ok())?;
        }
    }
    if head.header(bytes, HeaderKind::ContentType).is_some_and(grpc::is_grpc) {
        // The protocol asks for it, and the walk does pass trailers on.
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(request)
}

/// The trailers of a request, from the lines behind its last chunk.
///
/// # Errors
/// [`Untranslatable`] for what no HTTP/2 field may hold.
pub(crate) fn request_trailers(lines: &[u8]) -> Result<HeaderMap, Untranslatable> {
    let mut trailers = HeaderMap::new();
    for (name, value) in trailer_fields(lines) {
        append(&mut trailers, HeaderKind::Other, name, HeaderValue::from_bytes(value).ok())?;
    }
    Ok(trailers)
}

fn append(
    fields: &mut HeaderMap,
    kind: HeaderKind,
    name: &[u8],
    value: Option<HeaderValue>,
) -> Result<(), Untranslatable> {
    let name = field_name(kind, name).ok_or(Untranslatable)?;
    let mut value = value.ok_or(Untranslatable)?;
    value.set_sensitive(is_unique(kind));
    fields.try_append(name, value).map(|_appended| ()).map_err(|_too_many| Untranslatable)
}

/// Writes a part of the target; what is not allowed there as it is, is percent-encoded, which
/// means the same (RFC 3986, section 2.1). HTTP/1.1 clients send some of these, HTTP/2 has none.
fn write_target(out: &mut Vec<u8>, part: &[u8], allowed: fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in part {
        if allowed(byte) {
            out.push(byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// What `http::Uri` takes in a path without a question mark.
const fn is_path_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x24..=0x3b | 0x3d | 0x40..=0x5f | 0x61..=0x7a | 0x7c | 0x7e)
}

/// What `http::Uri` takes in a query.
const fn is_query_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x24..=0x3b | 0x3d | 0x3f..=0x7e)
}

/// How the body of this response ends. `at_end`: nothing follows the head.
pub(crate) fn body_end(
    status: StatusCode,
    fields: &HeaderMap,
    request_method: http_wire::Method,
    at_end: bool,
) -> BodyEnd {
    let bodiless = request_method == http_wire::Method::Head
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless {
        BodyEnd::Bodiless
    } else if fields.contains_key(header::CONTENT_LENGTH) {
        BodyEnd::Length
    } else if at_end {
        BodyEnd::Empty
    } else {
        BodyEnd::Chunks
    }
}

/// Writes a response's head, interim or final, as HTTP/1.1.
///
/// # Errors
/// [`Untranslatable`] for a 101, for a status that is none, and for a field that is one of a
/// connection: a message with one is malformed.
pub(crate) fn write_response(
    out: &mut Vec<u8>,
    status: StatusCode,
    fields: &HeaderMap,
    end: BodyEnd,
) -> Result<(), Untranslatable> {
    if status == StatusCode::SWITCHING_PROTOCOLS || status.as_u16() >= 600 {
        return Err(Untranslatable);
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(out, u64::from(status.as_u16()));
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in fields {
        check_field(name, value)?;
        let is_length = name == header::CONTENT_LENGTH;
        if is_length && (end == BodyEnd::Chunks || status == StatusCode::NO_CONTENT) {
            continue;
        }
        write_field(out, name.as_str().as_bytes(), trimmed(value));
    }
    match end {
        BodyEnd::Empty => out.extend_from_slice(b"content-length: 0\r\n"),
        BodyEnd::Chunks => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        BodyEnd::Bodiless | BodyEnd::Length => {}
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes the trailers of a response as the lines behind its last chunk. Names that may not stand
/// there are left out, as RFC 9110, section 6.5.1, has it.
///
/// # Errors
/// [`Untranslatable`] as with [`write_response`].
pub(crate) fn write_trailers(
    out: &mut Vec<u8>,
    trailers: &HeaderMap,
) -> Result<(), Untranslatable> {
    for (name, value) in trailers {
        check_field(name, value)?;
        if may_be_trailer(name.as_str().as_bytes()) {
            write_field(out, name.as_str().as_bytes(), trimmed(value));
        }
    }
    Ok(())
}

/// Looks at each field of a message.
///
/// # Errors
/// [`Untranslatable`] as with [`write_response`].
pub(crate) fn check_fields(fields: &HeaderMap) -> Result<(), Untranslatable> {
    fields.iter().try_for_each(|(name, value)| check_field(name, value))
}

/// The types of `http` hold no line end and no NUL already; that is looked at again here, where it
/// would matter.
fn check_field(name: &HeaderName, value: &HeaderValue) -> Result<(), Untranslatable> {
    let of_connection = HeaderKind::of_name(name.as_str().as_bytes()).is_hop_by_hop()
        && name != header::PROXY_AUTHENTICATE
        && name != header::PROXY_AUTHORIZATION;
    let unclean = value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    if of_connection || unclean { Err(Untranslatable) } else { Ok(()) }
}

/// A value without the white space around it, which no field may have, but some servers leave
/// behind a `grpc-message`.
pub(crate) fn trimmed(value: &HeaderValue) -> &[u8] {
    value.as_bytes().trim_ascii()
}

#[cfg(test)]
mod tests;
