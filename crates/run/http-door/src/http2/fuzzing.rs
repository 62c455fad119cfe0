//! Opens the mapping of heads and trailers between the versions to the fuzz targets; no other build
//! has this. `None` stands for a message that has no form in the other version.

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Request, Response, StatusCode};
use http_wire::{Method, RequestHead, ResponseHead};

use super::translate_out::BodyEnd;
use super::{translate, translate_out};

/// A client's request as the walk reads it.
#[must_use]
pub fn request_to_lines(request: &Request<()>, ends: bool) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    translate::write_request(&mut out, request, ends, 7).ok()?;
    Some(out)
}

/// The same, of the lines that the walk wrote for a server.
#[must_use]
pub fn request_of_lines(head: &RequestHead, lines: &[u8]) -> Option<Request<()>> {
    translate_out::request(head, &Bytes::copy_from_slice(lines), false).ok()
}

/// A server's response as the walk reads it. `at_end`: nothing follows the head.
#[must_use]
pub fn response_to_lines(
    status: StatusCode,
    fields: &HeaderMap,
    to: Method,
    at_end: bool,
) -> Option<Vec<u8>> {
    let end: BodyEnd = translate_out::body_end(status, fields, to, at_end);
    let mut out = Vec::new();
    translate_out::write_response(&mut out, status, fields, end).ok()?;
    Some(out)
}

/// The same, of the lines that the walk wrote for a client.
#[must_use]
pub fn response_of_lines(head: &ResponseHead, lines: &Bytes) -> Option<Response<()>> {
    translate::response(head, lines).ok()
}

/// The end of a chunked body of a client's, with its trailers.
#[must_use]
pub fn trailers_to_body_end(trailers: &HeaderMap) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    translate::write_trailers(&mut out, trailers).ok()?;
    Some(out)
}

/// The lines of a server's trailers.
#[must_use]
pub fn trailers_to_lines(trailers: &HeaderMap) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    translate_out::write_trailers(&mut out, trailers).ok()?;
    Some(out)
}

/// The trailers for a server, of lines that the walk wrote.
#[must_use]
pub fn request_trailers_of_lines(lines: &[u8]) -> Option<HeaderMap> {
    translate_out::request_trailers(lines).ok()
}

/// The trailers for a client, of lines that the walk wrote.
#[must_use]
pub fn response_trailers_of_lines(lines: &[u8]) -> Option<HeaderMap> {
    translate::trailers(lines).ok().map(Option::unwrap_or_default)
}
