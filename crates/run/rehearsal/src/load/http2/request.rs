//! What is asked, as HTTP/2 writes it: made once per shape, templates filled in per request.

use bytes::Bytes;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Uri, Version};
use model::load::{Protocol, ReplayRequest, RequestShape, Stream};

use super::super::Target;
use super::super::requests::{Kind, Piece, USER_AGENT, fill, push};
use super::grpc;

/// Fields that HTTP/2 has no place for (RFC 9113, section 8.2.2), or that are written otherwise.
const LEFT_OUT: [&str; 8] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "te",
];

/// One request, ready to be sent.
#[derive(Debug)]
pub(in super::super) struct Asked {
    pub(super) head: http::Request<()>,
    pub(super) body: Bytes,
    pub(super) kind: Kind,
    pub(super) grpc: bool,
}

/// One shape.
#[derive(Debug)]
pub(in super::super) struct Request {
    method: Method,
    scheme: Scheme,
    authority: Authority,
    target: Vec<Piece>,
    fields: Vec<(HeaderName, Vec<Piece>)>,
    body: Bytes,
    kind: Kind,
    grpc: bool,
    /// The whole head, where nothing is to be filled in.
    ready: Option<http::Request<()>>,
}

impl Request {
    /// `None`: HTTP/2 cannot carry it.
    pub(in super::super) fn new(
        shape: &RequestShape,
        stream: &Stream,
        target: &Target,
    ) -> Option<Self> {
        let grpc = stream.protocol == Protocol::Grpc;
        let host = shape.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let body = if grpc { grpc::frame(&shape.body) } else { shape.body.to_vec() };
        let mut pieces = Vec::new();
        push(&mut pieces, &shape.target);
        let mut request = Self {
            method: Method::from_bytes(shape.method.as_bytes()).ok()?,
            scheme: if target.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP },
            authority: Authority::try_from(host.map_or(&*target.host, |(_, value)| value)).ok()?,
            target: pieces,
            fields: fields(shape, stream, grpc)?,
            body: Bytes::from(body),
            kind: Kind::of(&shape.method),
            grpc,
            ready: None,
        };
        let is_fixed = |pieces: &[Piece]| matches!(pieces, [] | [Piece::Bytes(_)]);
        if is_fixed(&request.target) && request.fields.iter().all(|(_, value)| is_fixed(value)) {
            request.ready = Some(request.head((0, 0), &mut Vec::new())?);
        }
        Some(request)
    }

    /// The same for any target of a recorded log.
    pub(in super::super) fn of_replay(stream: &Stream, target: &Target) -> Option<Self> {
        Self::new(&RequestShape::default(), stream, target)
    }

    /// The request of a key and a client; `None`: HTTP/2 cannot carry it.
    pub(in super::super) fn asked(
        &self,
        filled: (u32, u32),
        scratch: &mut Vec<u8>,
    ) -> Option<Asked> {
        let head = match &self.ready {
            Some(ready) => ready.clone(),
            None => self.head(filled, scratch)?,
        };
        Some(Asked { head, body: self.body.clone(), kind: self.kind, grpc: self.grpc })
    }

    /// The same fields for another method and target.
    pub(in super::super) fn replayed(&self, request: &ReplayRequest) -> Option<Asked> {
        let mut head = match &self.ready {
            Some(ready) => ready.clone(),
            None => self.head((0, 0), &mut Vec::new())?,
        };
        *head.method_mut() = Method::from_bytes(request.method.as_bytes()).ok()?;
        *head.uri_mut() = self.uri(request.target.as_bytes())?;
        let kind = Kind::of(&request.method);
        Some(Asked { head, body: Bytes::new(), kind, grpc: self.grpc })
    }

    fn head(&self, filled: (u32, u32), scratch: &mut Vec<u8>) -> Option<http::Request<()>> {
        scratch.clear();
        fill(&self.target, filled, scratch);
        let mut head = http::Request::new(());
        *head.method_mut() = self.method.clone();
        *head.uri_mut() = self.uri(scratch)?;
        *head.version_mut() = Version::HTTP_2;
        for (name, value) in &self.fields {
            scratch.clear();
            fill(value, filled, scratch);
            head.headers_mut().append(name, HeaderValue::from_bytes(scratch).ok()?);
        }
        Some(head)
    }

    fn uri(&self, target: &[u8]) -> Option<Uri> {
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
        Uri::from_parts(parts).ok()
    }
}

fn fields(
    shape: &RequestShape,
    stream: &Stream,
    grpc: bool,
) -> Option<Vec<(HeaderName, Vec<Piece>)>> {
    let has = |name: &str| shape.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let length = shape.body.len().to_string();
    let mut given: Vec<(&str, &str)> = Vec::new();
    if !has("user-agent") {
        given.push(("user-agent", USER_AGENT));
    }
    if grpc {
        if !has("content-type") {
            given.push(("content-type", "application/grpc"));
        }
        given.push(("te", "trailers"));
    } else if !shape.body.is_empty() {
        given.push(("content-length", &length));
    }
    let own = shape.headers.iter().map(|(name, value)| (&**name, &**value));
    let is_kept = |name: &str| LEFT_OUT.iter().all(|left_out| !name.eq_ignore_ascii_case(left_out));
    given.extend(own.filter(|(name, _)| is_kept(name)));
    if let Some(name) = &stream.clients.key_header {
        given.push((name, &stream.clients.key));
    }
    let made = given.into_iter().map(|(name, value)| {
        let mut pieces = Vec::new();
        push(&mut pieces, value);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, pieces))
    });
    made.collect()
}
