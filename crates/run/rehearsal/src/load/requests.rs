//! The bytes of requests: made once per shape; only templates are filled in per request.
//!
//! What a request asks follows from the load's seed and the request's number alone, so that it
//! is the same with any number of threads, and a retry asks the same again.

use std::net::Ipv4Addr;
use std::sync::Arc;

use fastrand::Rng;
use http_wire::Method;
use ipnet::IpNet;
use model::load::{Arrivals, Keys, ReplayRequest, RequestShape, Stream};

use super::Target;
use super::http2;

/// The requests of one stream.
#[derive(Debug)]
pub(super) struct Requests {
    shapes: Vec<Prepared>,
    /// The sum of all weights.
    weights: u64,
    seed: u64,
    clients: u32,
    source: Option<(u32, u32)>,
    replay: Option<Replay>,
    /// Whether they go over HTTP/2.
    over_http2: bool,
}

#[derive(Debug)]
struct Replay {
    requests: Arc<[ReplayRequest]>,
    /// Everything after the target.
    tail: Vec<u8>,
    /// The same for HTTP/2; `None` also when that cannot carry it.
    http2: Option<Box<http2::Request>>,
}

/// One shape, ready to be sent.
#[derive(Debug)]
struct Prepared {
    weight: u64,
    keys: Keys,
    pieces: Vec<Piece>,
    kind: Kind,
    /// The same for HTTP/2; `None` also when that cannot carry it.
    http2: Option<Box<http2::Request>>,
}

/// A part of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    Key,
    Client,
}

/// What a request's method means to who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// For the reader of the answer.
    pub(super) method: Method,
    /// Whether it may be sent again on another connection when the first was closed.
    pub(super) repeatable: bool,
}

impl Kind {
    pub(super) fn of(method: &str) -> Self {
        let repeatable = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"].contains(&method);
        Self { method: if method == "HEAD" { Method::Head } else { Method::Get }, repeatable }
    }
}

impl Requests {
    pub(super) fn new(stream: &Stream, target: &Target, seed: u64) -> Self {
        let shapes: Vec<_> =
            stream.requests.iter().map(|shape| Prepared::new(shape, stream, target)).collect();
        let replay = match &stream.arrivals {
            Arrivals::Replay { requests } => Some(Replay {
                requests: Arc::clone(requests),
                tail: replay_tail(stream, target),
                http2: over_http2(stream, || http2::Request::of_replay(stream, target)),
            }),
            Arrivals::Open { .. } | Arrivals::Closed { .. } | Arrivals::Sessions { .. } => None,
        };
        Self {
            weights: shapes.iter().map(|shape| shape.weight).sum(),
            shapes,
            seed,
            clients: stream.clients.count.max(1),
            source: stream.clients.source.and_then(source_range),
            replay,
            over_http2: stream.protocol.is_http2(),
        }
    }

    /// Whether they go over HTTP/2.
    pub(super) const fn over_http2(&self) -> bool {
        self.over_http2
    }

    /// The client whose turn it is.
    pub(super) fn client(&self, number: u64) -> u32 {
        // A remainder of a u32 is one.
        u32::try_from(number % u64::from(self.clients)).unwrap_or(0)
    }

    /// Where a client connects from; `None`: the system's choice.
    pub(super) fn source(&self, client: u32) -> Option<Ipv4Addr> {
        let (first, count) = self.source?;
        Some(Ipv4Addr::from_bits(first + client % count))
    }

    /// The bytes of a request, put together in `scratch` where they are not ready as they are.
    pub(super) fn bytes<'a>(
        &'a self,
        number: u64,
        client: u32,
        scratch: &'a mut Vec<u8>,
    ) -> (&'a [u8], Kind) {
        if let Some(replay) = &self.replay {
            return replay.bytes(number, scratch);
        }
        let mut rng = Rng::with_seed(mix(self.seed, number));
        let Some(shape) = self.draw(&mut rng) else { return (&[], Kind::of("GET")) };
        if let [Piece::Bytes(bytes)] = shape.pieces.as_slice() {
            return (bytes, shape.kind);
        }
        scratch.clear();
        let key = shape.key(&mut rng);
        fill(&shape.pieces, (key, client), scratch);
        (scratch, shape.kind)
    }

    /// The same request for HTTP/2; `None`: that cannot carry it.
    pub(super) fn over(
        &self,
        number: u64,
        client: u32,
        scratch: &mut Vec<u8>,
    ) -> Option<http2::Asked> {
        if let Some(replay) = &self.replay {
            let index = usize::try_from(number).unwrap_or(usize::MAX);
            return replay.http2.as_ref()?.replayed(replay.requests.get(index)?);
        }
        let mut rng = Rng::with_seed(mix(self.seed, number));
        let shape = self.draw(&mut rng)?;
        let key = shape.key(&mut rng);
        shape.http2.as_ref()?.asked((key, client), scratch)
    }

    /// Draws a shape by weight.
    fn draw(&self, rng: &mut Rng) -> Option<&Prepared> {
        if let [only] = self.shapes.as_slice() {
            return Some(only);
        }
        let mut left = rng.u64(0..self.weights.max(1));
        self.shapes.iter().find(|shape| {
            let found = left < shape.weight;
            left = left.saturating_sub(shape.weight);
            found
        })
    }
}

impl Prepared {
    fn new(shape: &RequestShape, stream: &Stream, target: &Target) -> Self {
        let mut pieces = Vec::new();
        push(&mut pieces, &format!("{} {} HTTP/1.1\r\n", shape.method, shape.target));
        let has = |name: &str| shape.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        if !has("host") {
            push(&mut pieces, &format!("Host: {}\r\n", target.host));
        }
        if !has("user-agent") {
            push(&mut pieces, &format!("User-Agent: {USER_AGENT}\r\n"));
        }
        for (name, value) in &shape.headers {
            push(&mut pieces, &format!("{name}: {value}\r\n"));
        }
        push(&mut pieces, &common_fields(stream));
        let sends_body = ["POST", "PUT", "PATCH"].contains(&&*shape.method);
        if (sends_body || !shape.body.is_empty()) && !has("content-length") {
            push(&mut pieces, &format!("Content-Length: {}\r\n", shape.body.len()));
        }
        push(&mut pieces, "\r\n");
        push_bytes(&mut pieces, &shape.body);
        let kind = Kind::of(&shape.method);
        let http2 = over_http2(stream, || http2::Request::new(shape, stream, target));
        Self { weight: u64::from(shape.weight), keys: shape.keys, pieces, kind, http2 }
    }

    fn key(&self, rng: &mut Rng) -> u32 {
        if self.keys.hot_share > 0.0 && rng.f64() < self.keys.hot_share {
            return 0;
        }
        // With a hot key, the rest is spread over the others.
        let first = u32::from(self.keys.hot_share > 0.0 && self.keys.count > 1);
        rng.u32(first..self.keys.count.max(1))
    }
}

impl Replay {
    fn bytes<'a>(&self, number: u64, scratch: &'a mut Vec<u8>) -> (&'a [u8], Kind) {
        scratch.clear();
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(request) = self.requests.get(index) else { return (&[], Kind::of("GET")) };
        for part in [request.method.as_bytes(), b" ", request.target.as_bytes(), &self.tail] {
            scratch.extend_from_slice(part);
        }
        (scratch, Kind::of(&request.method))
    }
}

pub(super) const USER_AGENT: &str = "tidegate-load";

/// What HTTP/2 needs, where it is spoken.
fn over_http2(
    stream: &Stream,
    make: impl FnOnce() -> Option<http2::Request>,
) -> Option<Box<http2::Request>> {
    if stream.protocol.is_http2() { make().map(Box::new) } else { None }
}

fn replay_tail(stream: &Stream, target: &Target) -> Vec<u8> {
    let fields = common_fields(stream).replace("{client}", "0");
    let agent = format!("User-Agent: {USER_AGENT}\r\n");
    format!(" HTTP/1.1\r\nHost: {}\r\n{agent}{fields}\r\n", target.host).into_bytes()
}

/// The client's key, and whether the connection stays open.
fn common_fields(stream: &Stream) -> String {
    let clients = &stream.clients;
    let mut fields = String::new();
    if let Some(name) = &clients.key_header {
        fields = format!("{name}: {}\r\n", clients.key);
    }
    if !stream.keep_alive {
        fields.push_str("Connection: close\r\n");
    }
    fields
}

/// Appends a template, filled in for a key and a client.
pub(super) fn fill(pieces: &[Piece], (key, client): (u32, u32), out: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            Piece::Key => write_number(out, key),
            Piece::Client => write_number(out, client),
        }
    }
}

/// Appends a text, its `{key}` and `{client}` to be filled in.
pub(super) fn push(pieces: &mut Vec<Piece>, text: &str) {
    let mut rest = text;
    loop {
        let found = [("{key}", Piece::Key), ("{client}", Piece::Client)]
            .into_iter()
            .filter_map(|(name, piece)| rest.split_once(name).map(|parts| (parts, piece)))
            .min_by_key(|((before, _), _)| before.len());
        let Some(((before, after), piece)) = found else { break };
        push_bytes(pieces, before.as_bytes());
        pieces.push(piece);
        rest = after;
    }
    push_bytes(pieces, rest.as_bytes());
}

fn push_bytes(pieces: &mut Vec<Piece>, bytes: &[u8]) {
    match pieces.last_mut() {
        _ if bytes.is_empty() => {}
        Some(Piece::Bytes(last)) => last.extend_from_slice(bytes),
        Some(Piece::Key | Piece::Client) | None => pieces.push(Piece::Bytes(bytes.to_vec())),
    }
}

fn write_number(out: &mut Vec<u8>, mut number: u32) {
    let mut digits = [0_u8; 10];
    let mut start = digits.len();
    for slot in digits.iter_mut().rev() {
        // A remainder below ten is a digit.
        *slot = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// The first of the addresses to connect from, and how many there are; without the two ends of a
/// network, which are not addresses of anybody.
fn source_range(net: IpNet) -> Option<(u32, u32)> {
    let IpNet::V4(net) = net else { return None };
    let bits = 32 - u32::from(net.prefix_len());
    let first = net.network().to_bits();
    if bits < 2 { Some((first, 1 << bits)) } else { Some((first + 1, (1 << bits) - 2)) }
}

/// Two numbers to one that looks like neither (splitmix64).
pub(super) const fn mix(seed: u64, number: u64) -> u64 {
    let mut mixed = seed ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::Name;
    use model::load::Clients;

    use super::*;

    fn target() -> Target {
        Target { address: ([127, 0, 0, 1], 80).into(), host: "shop.test".to_owned(), tls: None }
    }

    fn text(requests: &Requests, number: u64) -> String {
        let mut scratch = Vec::new();
        let (bytes, _) = requests.bytes(number, requests.client(number), &mut scratch);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_request_as_it_goes_out() {
        let shape = RequestShape {
            method: Name::from("POST"),
            target: Name::from("/users/{key}?by={client}"),
            headers: vec![(Name::from("x-trace"), Name::from("k{key}"))],
            body: Arc::from(*b"{key}"),
            ..RequestShape::default()
        };
        let clients =
            Clients { count: 3, key_header: Some(Name::from("x-api-key")), ..Clients::default() };
        let stream =
            Stream { requests: vec![shape], clients, keep_alive: false, ..Stream::default() };
        assert_eq!(
            text(&Requests::new(&stream, &target(), 7), 5),
            "POST /users/0?by=2 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: tidegate-load\r\n\
             x-trace: k0\r\nx-api-key: 2\r\nConnection: close\r\nContent-Length: 5\r\n\r\n{key}"
        );
        let plain = Requests::new(&Stream::default(), &target(), 7);
        assert_eq!(
            text(&plain, 0),
            "GET / HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: tidegate-load\r\n\r\n"
        );
    }

    #[test]
    fn shapes_and_keys_come_in_their_shares() {
        let shape = |target: &str, weight| RequestShape {
            weight,
            target: Name::from(target),
            keys: Keys { count: 10, hot_share: 0.5 },
            ..RequestShape::default()
        };
        let requests = vec![shape("/a/{key}", 3), shape("/b/{key}", 1)];
        let requests = Requests::new(&Stream { requests, ..Stream::default() }, &target(), 42);
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for number in 0..40_000 {
            let target = text(&requests, number).split(' ').nth(1).unwrap().to_owned();
            *counts.entry(target).or_default() += 1;
        }
        assert_eq!(counts.len(), 20);
        for (target, expected) in [("/a/0", 15_000), ("/b/0", 5_000), ("/a/9", 1_667)] {
            assert!(counts[target].abs_diff(expected) < expected / 10, "{target}: {counts:?}");
        }
    }

    #[test]
    fn clients_take_turns_on_their_addresses() {
        let source = |net: &str, client| {
            let clients = Clients { count: 1_000, source: net.parse().ok(), ..Clients::default() };
            let stream = Stream { clients, ..Stream::default() };
            Requests::new(&stream, &target(), 0).source(client).unwrap().to_string()
        };
        assert_eq!(source("127.7.0.0/24", 0), "127.7.0.1");
        assert_eq!(source("127.7.0.0/24", 253), "127.7.0.254");
        assert_eq!(source("127.7.0.0/24", 254), "127.7.0.1");
        assert_eq!(source("127.7.0.9/32", 5), "127.7.0.9");
        assert_eq!(source("127.0.0.0/8", 999), "127.0.3.232");
    }
}
