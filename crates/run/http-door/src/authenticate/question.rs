//! What another server is asked: a request of the door's own that tells of the client's.
//!
//! It is a `GET` without a body, whatever the client's request is. Which request it is about stands
//! in the fields that nginx's `auth_request` (`X-Original-*`), Traefik's `ForwardAuth`
//! (`X-Forwarded-*`) and Envoy's `ext_authz` (the host itself) are used with.
//! Invariant: of those fields none comes from the client, unless a trusted proxy told it.

use http_wire::{Header, HeaderKind};
use model::configuration::{ForwardAuthentication, ForwardedStyle};

use super::bytes_of;
use crate::connection::Client;
use crate::exchange::Exchange;
use crate::heads::{self, RequestContext, write_field};

/// Fields that speak of a body, of what was stored, or of how the answer is to be coded. The question
/// has no body, and its answer is for the door.
const OF_BODY: [&[u8]; 6] =
    [b"accept-encoding", b"content-", b"expect", b"if-", b"range", b"trailer"];

/// The head of the question.
pub(super) fn write(
    client: &Client,
    exchange: &Exchange,
    settings: &ForwardAuthentication,
) -> Vec<u8> {
    let (request, bytes, origin) = (&exchange.request, bytes_of(client), &*client.origin);
    let authority = request.authority.map_or(&b""[..], |span| span.of(bytes));
    let mut out = Vec::with_capacity(1_024);
    for part in [b"GET ", settings.path.as_bytes(), b" HTTP/1.1\r\nhost: ", authority, b"\r\n"] {
        out.extend_from_slice(part);
    }
    let certificate = origin.certificate().filter(|_| is_wanted(settings, b"client-cert"));
    for header in &request.headers {
        let name = header.name.of(bytes);
        let told = header.kind == HeaderKind::ClientCert && origin.certificate().is_some();
        if is_wanted(settings, name) && passes(header, name, origin.trusted) && !told {
            write_field(&mut out, name, header.value.of(bytes));
        }
    }
    if let Some(certificate) = certificate {
        write_field(&mut out, b"client-cert", certificate.field.as_bytes());
    }
    let context = RequestContext {
        origin,
        forwarded: ForwardedStyle::XForwarded,
        request_id: &exchange.request_id,
        authenticated: None,
        path: &settings.path,
    };
    heads::write_forwarding(&mut out, request, bytes, &context);
    let method = request.method_text.of(bytes);
    let target = request.forwarded_target().as_bytes();
    let scheme: &[u8] = if origin.tls { b"https" } else { b"http" };
    let told = |kind| if origin.trusted { request.header(bytes, kind) } else { None };
    let scheme = told(HeaderKind::XForwardedProto).unwrap_or(scheme);
    let host = told(HeaderKind::XForwardedHost).unwrap_or(authority);
    let url = [scheme, b"://", host, target].concat();
    for (name, value) in [
        (&b"x-forwarded-method"[..], method),
        (b"x-forwarded-uri", target),
        (b"x-original-method", method),
        (b"x-original-uri", target),
        (b"x-original-url", &url),
        (b"x-request-id", &exchange.request_id),
    ] {
        write_field(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn is_wanted(settings: &ForwardAuthentication, name: &[u8]) -> bool {
    let is = |wanted: &model::Name| name.eq_ignore_ascii_case(wanted.as_bytes());
    settings.headers.as_ref().is_none_or(|wanted| wanted.iter().any(is))
}

/// Whether a field of the client's request is one of the question's.
fn passes(header: &Header, name: &[u8], trusted: bool) -> bool {
    let begins = |start: &[u8]| {
        name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
    };
    heads::passes_to_server(header, trusted)
        && header.kind != HeaderKind::XForwardedOther
        && !begins(b"x-original-")
        && !OF_BODY.iter().any(|start| begins(start))
}
