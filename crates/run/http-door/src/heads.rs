//! Writes the heads that the door sends: requests to servers, responses to clients.
//!
//! Hop-by-hop fields end here (RFC 9110, section 7.6.1), framing is written anew from what the
//! codec understood, and what an untrusted peer says about itself is replaced by what the door
//! knows. Everything else passes byte for byte, in order.

use http_wire::{Framing, Header, HeaderKind, RequestHead, ResponseHead, Span, Version};
use model::configuration::{Authentication, ForwardedStyle};

use crate::compression::{self, Choice};
use crate::connection::Origin;
use crate::pump::Encoding;
use crate::quota::Shown;

/// What the door adds to a request on its way to a server.
#[derive(Debug)]
pub(crate) struct RequestContext<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) forwarded: ForwardedStyle,
    pub(crate) request_id: &'a [u8],
    /// Whose fields the request's own must not be taken for, and the lines it adds.
    pub(crate) authenticated: Option<(&'a Authentication, &'a [u8])>,
    /// The path that the server is asked for.
    pub(crate) path: &'a str,
}

/// Writes the request `head`, whose bytes are `bytes`, as it goes to the server.
pub(crate) fn write_request(
    out: &mut Vec<u8>,
    head: &RequestHead,
    bytes: &[u8],
    context: &RequestContext<'_>,
) {
    out.clear();
    out.extend_from_slice(head.method_text.of(bytes));
    out.push(b' ');
    out.extend_from_slice(context.path.as_bytes());
    if let Some(query) = head.query() {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(head.authority.map_or(&b""[..], |span| span.of(bytes)));
    out.extend_from_slice(b"\r\n");
    let trusted = context.origin.trusted;
    let certificate = context.origin.certificate();
    for header in &head.headers {
        let other = header.kind == HeaderKind::ClientCert && certificate.is_some()
            || context.authenticated.is_some_and(|(how, _)| how.owns(header.name.of(bytes)));
        if passes_to_server(header, trusted) && !other {
            copy_field(out, header, bytes);
        }
    }
    if let Some(certificate) = certificate {
        write_field(out, b"client-cert", certificate.field.as_bytes());
    }
    write_framing(out, head.framing);
    if let Some(upgrade) = head.upgrade {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
        out.extend_from_slice(upgrade.of(bytes));
        out.extend_from_slice(b"\r\n");
    }
    write_forwarding(out, head, bytes, context);
    write_field(out, b"x-request-id", context.request_id);
    if let Some((_, lines)) = context.authenticated {
        out.extend_from_slice(lines);
    }
    out.extend_from_slice(b"\r\n");
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a kind the door does not know passes")]
pub(crate) fn passes_to_server(header: &Header, trusted: bool) -> bool {
    match header.kind {
        HeaderKind::Host
        | HeaderKind::ContentLength
        | HeaderKind::TransferEncoding
        | HeaderKind::Upgrade
        | HeaderKind::XForwardedFor
        | HeaderKind::XForwardedProto
        | HeaderKind::XForwardedHost
        | HeaderKind::Forwarded
        | HeaderKind::XRequestId => false,
        HeaderKind::ClientCert
        | HeaderKind::XForwardedPort
        | HeaderKind::XForwardedOther
        | HeaderKind::XRealIp => trusted,
        _ => !header.hop_by_hop,
    }
}

pub(crate) fn write_forwarding(
    out: &mut Vec<u8>,
    head: &RequestHead,
    bytes: &[u8],
    context: &RequestContext<'_>,
) {
    let (origin, style) = (context.origin, context.forwarded);
    let x_forwarded = matches!(style, ForwardedStyle::XForwarded | ForwardedStyle::Both);
    let rfc7239 = matches!(style, ForwardedStyle::Rfc7239 | ForwardedStyle::Both);
    write_list(out, b"x-forwarded-for", origin.trusted, x_forwarded, |out, told| {
        if told {
            join_fields(out, head, bytes, HeaderKind::XForwardedFor)
        } else {
            out.extend_from_slice(origin.peer_text.as_bytes());
            true
        }
    });
    let own = |kind: HeaderKind| {
        if origin.trusted { head.header(bytes, kind) } else { None }
    };
    let scheme: &[u8] = if origin.tls { b"https" } else { b"http" };
    let proto = own(HeaderKind::XForwardedProto);
    let host = own(HeaderKind::XForwardedHost);
    if let Some(value) = proto.or(x_forwarded.then_some(scheme)) {
        write_field(out, b"x-forwarded-proto", value);
    }
    let authority = head.authority.map(|span| span.of(bytes));
    if let Some(value) = host.or(if x_forwarded { authority } else { None }) {
        write_field(out, b"x-forwarded-host", value);
    }
    write_list(out, b"forwarded", origin.trusted, rfc7239, |out, told| {
        if told {
            join_fields(out, head, bytes, HeaderKind::Forwarded)
        } else {
            write_forwarded_element(out, origin, authority.unwrap_or_default());
            true
        }
    });
}

/// A list field: what a trusted peer told first, then what the door adds.
fn write_list(
    out: &mut Vec<u8>,
    name: &[u8],
    trusted: bool,
    add: bool,
    mut write: impl FnMut(&mut Vec<u8>, bool) -> bool,
) {
    let start = out.len();
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    let told = trusted && write(out, true);
    if told && add {
        out.extend_from_slice(b", ");
    }
    if !(add && write(out, false) || told) {
        out.truncate(start);
        return;
    }
    out.extend_from_slice(b"\r\n");
}

fn join_fields(out: &mut Vec<u8>, head: &RequestHead, bytes: &[u8], kind: HeaderKind) -> bool {
    let mut any = false;
    for header in head.headers.iter().filter(|header| header.kind == kind) {
        if any {
            out.extend_from_slice(b", ");
        }
        any = true;
        out.extend_from_slice(header.value.of(bytes));
    }
    any
}

/// RFC 7239, section 4; an IPv6 address is quoted and bracketed.
fn write_forwarded_element(out: &mut Vec<u8>, origin: &Origin, authority: &[u8]) {
    let address = origin.peer_text.as_bytes();
    out.extend_from_slice(b"for=");
    if address.contains(&b':') {
        out.extend_from_slice(b"\"[");
        out.extend_from_slice(address);
        out.extend_from_slice(b"]\"");
    } else {
        out.extend_from_slice(address);
    }
    out.extend_from_slice(b";host=\"");
    out.extend_from_slice(authority);
    out.extend_from_slice(if origin.tls { b"\";proto=https" } else { b"\";proto=http" });
}

/// How the response's end is told to this client, and whether its connection can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponsePlan {
    pub(crate) encoding: Encoding,
    pub(crate) keep_alive: bool,
    /// Whether the body is compressed.
    pub(crate) choice: Choice,
}

/// Decides the framing towards a client of `version` that would like to `keep_alive`.
pub(crate) fn plan_response(
    framing: Framing,
    version: Version,
    keep_alive: bool,
    choice: Choice,
) -> ResponsePlan {
    // How long it gets shows only at its end.
    let framing = if choice.coding.is_some() { Framing::Chunked } else { framing };
    let (encoding, keep_alive) = match (framing, version) {
        (Framing::None | Framing::Length(_), _) => (Encoding::Identity, keep_alive),
        (Framing::Chunked | Framing::Close, Version::Http11) => (Encoding::Chunked, keep_alive),
        // An HTTP/1.0 client knows no chunks: the end of the connection ends the body.
        (Framing::Chunked | Framing::Close, Version::Http10) => (Encoding::Identity, false),
    };
    ResponsePlan { encoding, keep_alive, choice }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a kind the door does not know passes")]
/// Writes the response `head`, whose bytes are `bytes`, as it goes to the client.
pub(crate) fn write_response(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    bytes: &[u8],
    plan: ResponsePlan,
    (version, request_id, quota): (Version, &[u8], Option<Shown<'_>>),
) {
    out.clear();
    write_status_line(out, head, bytes);
    let mut has_request_id = false;
    let mut announced_length = None;
    for header in &head.headers {
        match header.kind {
            HeaderKind::ContentLength => {
                announced_length = announced_length.or(Some(header.value.of(bytes)));
            }
            HeaderKind::TransferEncoding | HeaderKind::Upgrade => {}
            _ if header.hop_by_hop => {}
            _ if plan.choice.rewrites(out, header.name.of(bytes), header.value.of(bytes)) => {}
            HeaderKind::XRequestId => {
                has_request_id = true;
                copy_field(out, header, bytes);
            }
            _ => copy_field(out, header, bytes),
        }
    }
    let no_length = matches!(head.status, 100..200 | 204);
    match (head.framing, announced_length) {
        // The length a GET would have had (HEAD, 304) is passed on.
        (Framing::None, Some(length)) if !no_length => {
            write_field(out, b"content-length", length);
        }
        (Framing::Length(length), _) if plan.choice.coding.is_none() => {
            write_framing(out, Framing::Length(length));
        }
        _ if plan.encoding == Encoding::Chunked => write_framing(out, Framing::Chunked),
        _ => {}
    }
    if plan.choice.varies {
        plan.choice.write(out, compression::vary(head, bytes));
    }
    if !has_request_id {
        write_field(out, b"x-request-id", request_id);
    }
    if let Some(quota) = quota {
        quota.write(out);
    }
    match (plan.keep_alive, version) {
        (false, _) => out.extend_from_slice(b"connection: close\r\n\r\n"),
        (true, Version::Http10) => out.extend_from_slice(b"connection: keep-alive\r\n\r\n"),
        (true, Version::Http11) => out.extend_from_slice(b"\r\n"),
    }
}

/// Writes an interim response (1xx), or the 101 that begins a tunnel.
pub(crate) fn write_interim(out: &mut Vec<u8>, head: &ResponseHead, bytes: &[u8]) {
    write_status_line(out, head, bytes);
    for header in &head.headers {
        let upgrade = head.status == 101 && header.kind == HeaderKind::Upgrade;
        let framing =
            matches!(header.kind, HeaderKind::ContentLength | HeaderKind::TransferEncoding);
        if upgrade || !(header.hop_by_hop || framing || header.kind == HeaderKind::Upgrade) {
            copy_field(out, header, bytes);
        }
    }
    if head.status == 101 {
        out.extend_from_slice(b"connection: upgrade\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn write_status_line(out: &mut Vec<u8>, head: &ResponseHead, bytes: &[u8]) {
    if head.version == Version::Http11 && !head.reason_phrase.is_empty() {
        // It is what would be written here.
        let end = head.reason_phrase.end.saturating_add(2);
        out.extend_from_slice(Span { start: 0, end }.of(bytes));
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(out, u64::from(head.status));
    out.push(b' ');
    out.extend_from_slice(head.reason_phrase.of(bytes));
    out.extend_from_slice(b"\r\n");
}

fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            write_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::Close => {}
    }
}

fn copy_field(out: &mut Vec<u8>, header: &Header, bytes: &[u8]) {
    let (name, value) = (header.name.of(bytes), header.value.of(bytes));
    // Nearly every line is written as it would be written here.
    let line = Span { start: header.name.start, end: header.value.end.saturating_add(2) };
    let line = line.of(bytes);
    let is_plain = line.len() == name.len() + value.len() + 4
        && line.ends_with(b"\r\n")
        && line.get(name.len()..).is_some_and(|rest| rest.starts_with(b": "));
    if is_plain {
        out.extend_from_slice(line);
    } else {
        write_field(out, name, value);
    }
}

pub(crate) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes `number` in decimal without going through the formatting machinery.
pub(crate) fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
