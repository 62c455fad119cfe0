//! What is written down of a request, and the keys that are taken from it.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::Write as _;
use std::net::IpAddr;

use http_wire::{HeaderKind, RequestHead, Span, Version};
use model::Reason;
use model::configuration::{Action, Balance, HashKey, Listener};
use net::clock;
use telemetry::{AccessRecord, ForwardedRequest, Phases, TlsFacts};

use crate::admit;
use crate::connection::{Client, Origin};
use crate::exchange::{Ended, Exchange};
use crate::serve::head_bytes;
use crate::session::Session;
use crate::view::View;
use crate::worker::Worker;

/// Hands the request to the access log, if there is one: by which configuration it was served,
/// and on which of its routes.
pub(crate) fn access(
    worker: &Worker,
    client: &Client,
    exchange: &Exchange,
    (view, route): (&View, Option<usize>),
    ended: &Ended,
) {
    let Some(log) = &worker.shared.log else { return };
    let listener = client.listener.settings();
    let (request, bytes) = (&exchange.request, head_bytes(client));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let field = |kind| request.header(bytes, kind).map(text);
    let total = ended.at.since(exchange.phases.started);
    let class = route.map(|route| admit::class(worker, client, exchange, (view, route, &listener)));
    let (route, pool, server) = places(exchange, view, route);
    log.record(AccessRecord {
        at: clock::wall().checked_sub(total).unwrap_or_else(clock::wall),
        client: client.origin.client(request, bytes, &listener),
        client_name: exchange
            .client
            .map(|client| view.live.configuration.clients[client].name.clone()),
        class,
        user: (!exchange.user.is_empty()).then(|| text(&exchange.user)),
        peer: client.origin.peer,
        method: text(request.method_text.of(bytes)),
        host: request.authority.map(|authority| text(authority.of(bytes))),
        target: text(request.target.of(bytes)),
        protocol: match request.version {
            _ if client.over_http2 => "HTTP/2",
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        },
        status: ended.status,
        reason: ended.reason,
        route,
        pool,
        server,
        attempts: u32::try_from(exchange.tried.len()).unwrap_or(u32::MAX),
        request_id: text(&exchange.request_id),
        user_agent: field(HeaderKind::UserAgent),
        referer: field(HeaderKind::Referer),
        bytes_in: ended.bytes_in,
        bytes_out: ended.bytes_out,
        phases: Phases {
            head: client.head_began.map(|began| exchange.phases.started.since(began)),
            waited: exchange.phases.waited,
            pick: None,
            connect: exchange.phases.connect,
            first_byte: exchange.phases.first_byte,
            total,
        },
        tls: client.origin.session.as_deref().map(tls_facts),
        trace_id: field(HeaderKind::Traceparent)
            .and_then(|parent| Some(parent.split('-').nth(1)?.to_owned())),
        configuration: view.live.configuration.version.clone(),
    });
}

/// What can be said of a connection of which nothing was read.
pub(crate) fn bare(worker: &Worker, view: &View, origin: &Origin) -> AccessRecord {
    AccessRecord {
        at: clock::wall(),
        client: origin.peer.ip().to_canonical(),
        client_name: None,
        class: None,
        user: None,
        peer: origin.peer,
        method: "-".to_owned(),
        host: None,
        target: "-".to_owned(),
        protocol: "TCP",
        status: 0,
        reason: None,
        route: None,
        pool: None,
        server: None,
        attempts: 0,
        request_id: format!("{:032x}", worker.random_id()),
        user_agent: None,
        referer: None,
        bytes_in: 0,
        bytes_out: 0,
        phases: Phases::default(),
        tls: origin.session.as_deref().map(tls_facts),
        trace_id: None,
        configuration: view.live.configuration.version.clone(),
    }
}

/// A stream of HTTP/2 was refused before it was a request. All that is known of it is who sent it; a
/// client can send many, so only so many are written down.
pub(crate) fn stream_refused(worker: &Worker, origin: &Origin) {
    let Some(log) =
        worker.shared.log.as_ref().filter(|_| worker.notes.may_write(worker.wheel.ticks()))
    else {
        return;
    };
    let reason = Some(Reason::StreamRefused);
    let nothing_else = bare(worker, &worker.view(), origin);
    log.record(AccessRecord { protocol: "HTTP/2", reason, ..nothing_else });
}

/// Offers a request that was forwarded to the recorder.
pub(crate) fn traffic(
    worker: &Worker,
    client: &Client,
    exchange: &Exchange,
    (view, route, pool): (&View, usize, usize),
    ended: &Ended,
) {
    worker.recorder.offer(ended.at, || {
        let listener = client.listener.settings();
        let balance = &view.live.configuration.pools[pool].balance;
        let server = exchange.tried.last().map(|server| view.pools[pool].servers[*server].number);
        let (request, bytes) = (&exchange.request, head_bytes(client));
        let arrived = exchange.phases.started;
        ForwardedRequest {
            arrived,
            route: view.routes[route].number,
            server: server.unwrap_or(u16::MAX),
            key: key(balance, client, exchange, &listener)
                .unwrap_or_else(|| client.origin.client_hash(request, bytes, &listener)),
            bytes: ended.bytes_out,
            // Without an answer, all of it was spent on waiting for one.
            service: exchange.phases.first_byte.unwrap_or(ended.at.since(arrived)),
        }
    });
}

/// What can be said of a head that was refused: the first two words of its first line.
pub(crate) fn unparsed(bytes: &[u8]) -> RequestHead {
    let end = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
    let line = bytes.get(..end).unwrap_or_default();
    let spaces: Vec<usize> = memchr::memchr_iter(b' ', line).take(2).collect();
    let span = |start: usize, end: usize| {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { start: place(start), end: place(end) }
    };
    let mut head = RequestHead::default();
    if let Some(&first) = spaces.first() {
        head.method_text = span(0, first);
        head.target = span(first + 1, spaces.get(1).copied().unwrap_or(end));
    }
    head
}

type Places = (Option<model::Name>, Option<model::Name>, Option<std::net::SocketAddr>);

fn places(exchange: &Exchange, view: &View, route: Option<usize>) -> Places {
    let Some(index) = route else { return (None, None, None) };
    let route = &view.live.router.routes()[index];
    let Action::Forward { pool, .. } = &route.action else {
        return (Some(route.name.clone()), None, None);
    };
    let server = exchange.tried.last().map(|server| view.pools[*pool].servers[*server].address);
    let pool = view.live.configuration.pools[*pool].name.clone();
    (Some(route.name.clone()), Some(pool), server)
}

pub(crate) fn tls_facts(session: &Session) -> TlsFacts {
    TlsFacts {
        version: session.version,
        server_name: session.server_name.as_deref().map(str::to_owned),
        client: session.certificate.as_ref().map(|shown| shown.words().to_owned()),
    }
}

/// The hash of what consistent hashing takes of the request; `None` where it is not used, or the
/// request lacks it.
pub(crate) fn key(
    balance: &Balance,
    client: &Client,
    exchange: &Exchange,
    listener: &Listener,
) -> Option<u64> {
    let Balance::Maglev(key) = balance else { return None };
    let (request, bytes) = (&exchange.request, head_bytes(client));
    match key {
        HashKey::ClientAddress => Some(client.origin.client_hash(request, bytes, listener)),
        HashKey::Path => Some(hash(request.path().as_bytes())),
        HashKey::Header(name) => request.header_named(bytes, name).map(hash),
        HashKey::Cookie(name) => cookie(request, bytes, name).map(hash),
    }
}

/// The hash of an address as text.
pub(crate) fn hash_address(address: IpAddr) -> u64 {
    // An IPv6 address that ends in an IPv4 one is the longest, with 45 characters.
    let mut text = [0; 48];
    let mut rest = &mut text[..];
    drop(write!(rest, "{address}"));
    let left = rest.len();
    hash(text.get(..text.len() - left).unwrap_or_default())
}

/// The same bytes give the same hash in every process, so that several doors agree.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes)
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(request: &RequestHead, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let fields = request.headers.iter().filter(|header| header.kind == HeaderKind::Cookie);
    fields
        .flat_map(|field| field.value.of(bytes).split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let pair = pair.trim_ascii();
            let at = memchr::memchr(b'=', pair)?;
            (pair.get(..at)? == name.as_bytes()).then(|| pair.get(at + 1..))?
        })
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_hashes_as_its_text() {
        for text in ["192.0.2.1", "::", "2001:db8:1111:2222:3333:4444:5555:6666"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(hash_address(address), hash(text.as_bytes()), "{text}");
        }
    }
}
