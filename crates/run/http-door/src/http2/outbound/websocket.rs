//! A WebSocket towards a server that speaks HTTP/2 (RFC 8441): an extended CONNECT in place of the
//! upgrade that the walk asks for, and an upgrade in place of the server's agreement.
//!
//! HTTP/2 has neither key nor accept of a WebSocket's handshake, so the door answers the key itself,
//! as the server would have: from then on bytes pass both ways as they are.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Request};
use http_wire::RequestHead;

use crate::heads::write_field;
use crate::http2::translate_out::trimmed;

/// What a server makes of a client's key, besides the key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The answer to a client whose server agreed to a WebSocket.
#[derive(Debug)]
pub(super) struct Agreement {
    accept: String,
}

/// What a client is to get that asks for a WebSocket; `None` when it asks for something else.
pub(super) fn agreement(head: &RequestHead, bytes: &[u8]) -> Option<Agreement> {
    let upgrade = head.upgrade?.of(bytes);
    let key = head.header_named(bytes, "sec-websocket-key")?;
    let is_websocket =
        upgrade.eq_ignore_ascii_case(b"websocket") && head.method == http_wire::Method::Get;
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    is_websocket.then(|| Agreement { accept: STANDARD.encode(hash) })
}

/// Makes an extended CONNECT of the request.
pub(super) fn extend(request: &mut Request<()>) {
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
}

impl Agreement {
    /// Writes the head that tells the client, with the server's fields, which were checked.
    pub(super) fn write(&self, out: &mut Vec<u8>, fields: &HeaderMap) {
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        write_field(out, b"connection", b"upgrade");
        write_field(out, b"upgrade", b"websocket");
        write_field(out, b"sec-websocket-accept", self.accept.as_bytes());
        let is_apart = |name: &HeaderName| {
            name == header::SEC_WEBSOCKET_ACCEPT || name == header::CONTENT_LENGTH
        };
        for (name, value) in fields.iter().filter(|(name, _)| !is_apart(name)) {
            write_field(out, name.as_str().as_bytes(), trimmed(value));
        }
        out.extend_from_slice(b"\r\n");
    }
}
