//! Decides whether a response is compressed on its way to the client, and by which coding.
//!
//! Pure. The client's word is `Accept-Encoding` (RFC 9110, section 12.5.3); among codings that it
//! likes equally, the configured order decides. The response is left alone where other bytes would
//! mean something else (a part of a representation, a coding that is there already, `no-transform`)
//! or gain nothing.
//!
//! Invariant: [`Choice::varies`] depends on the response alone, so that a cache learns of every
//! response that some client could get in another coding, whoever asked for it first.

use http_wire::{HeaderKind, Method, RequestHead, ResponseHead, Version};
use model::configuration::{Coding, Compression};

use crate::grpc;
use crate::heads::write_field;

/// Fields that are true of the uncompressed bytes only: lengths, digests (RFC 9530, RFC 3230,
/// RFC 1864), and that parts of them may be asked for.
const LOST: [&str; 5] = ["accept-ranges", "content-digest", "content-md5", "digest", "repr-digest"];

/// What becomes of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// It is compressed so.
    pub(crate) coding: Option<Coding>,
    /// For another client it might be compressed otherwise.
    pub(crate) varies: bool,
}

/// What becomes of a server's response.
pub(crate) fn of_response(
    settings: &Compression,
    (request, request_bytes): (&RequestHead, &[u8]),
    (response, bytes): (&ResponseHead, &[u8]),
) -> Choice {
    let kind = response.header(bytes, HeaderKind::ContentType).unwrap_or_default();
    let plain = !matches!(response.status, 100..200 | 204..=206 | 304)
        && response.header(bytes, HeaderKind::ContentEncoding).is_none()
        && !grpc::is_grpc(kind);
    let eligible = plain
        && is_worth_it(settings, kind, response.content_length)
        && !forbids(values(&response.headers, bytes, "cache-control"));
    if !eligible {
        return Choice::default();
    }
    Choice { coding: accepted(settings, request, request_bytes), varies: true }
}

/// What becomes of a response of the door's own, of this type and length.
pub(crate) fn of_own(
    settings: &Compression,
    (request, request_bytes): (&RequestHead, &[u8]),
    (status, kind, length): (u16, &str, usize),
) -> Choice {
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    let plain = !matches!(status, 204..=206 | 304);
    if !plain || !is_worth_it(settings, kind.as_bytes(), Some(length)) {
        return Choice::default();
    }
    Choice { coding: accepted(settings, request, request_bytes), varies: true }
}

/// Whether a body of this type and length, if it is known, gets shorter by it.
fn is_worth_it(settings: &Compression, kind: &[u8], length: Option<u64>) -> bool {
    // Parameters follow a semicolon.
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let matches = |listed: &str| match listed.strip_suffix('*') {
        Some(prefix) => kind
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())),
        None => kind.eq_ignore_ascii_case(listed.as_bytes()),
    };
    length.is_none_or(|length| length > 0 && length >= settings.bytes_min)
        && settings.types.iter().any(|listed| matches(listed))
}

/// The coding for this client, if there is one that it likes no less than none at all.
fn accepted(settings: &Compression, request: &RequestHead, bytes: &[u8]) -> Option<Coding> {
    let understands = request.version == Version::Http11
        && request.method != Method::Head
        && request.upgrade.is_none()
        && !forbids(values(&request.headers, bytes, "cache-control"));
    if !understands {
        return None;
    }
    let weights = Weights::read(values(&request.headers, bytes, "accept-encoding"));
    let mut best = None;
    let mut best_weight = weights.identity().max(1);
    // The last of the most wanted would win, so the most preferred comes last.
    for &coding in settings.codings.iter().rev() {
        let weight = weights.of(coding);
        if weight >= best_weight {
            (best, best_weight) = (Some(coding), weight);
        }
    }
    best
}

/// The values of all fields of this name, which is given in lower case.
fn values<'a>(
    headers: &'a [http_wire::Header],
    bytes: &'a [u8],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> {
    let is_named = move |header: &&http_wire::Header| {
        header.name.of(bytes).eq_ignore_ascii_case(name.as_bytes())
    };
    headers.iter().filter(is_named).map(|header| header.value.of(bytes))
}

/// The elements of lists.
fn elements<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values.flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// Whether `Cache-Control` forbids to change the content (RFC 9111, sections 5.2.1.6, 5.2.2.6).
fn forbids<'a>(cache_control: impl Iterator<Item = &'a [u8]>) -> bool {
    elements(cache_control).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

/// How much a client wants each coding, in thousandths; `None` where it does not say.
#[derive(Clone, Copy, Debug, Default)]
struct Weights {
    gzip: Option<u16>,
    brotli: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

impl Weights {
    fn read<'a>(accept_encoding: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut weights = Self::default();
        for element in elements(accept_encoding) {
            let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let slot = match name {
                b"*" => &mut weights.any,
                _ if name.eq_ignore_ascii_case(b"gzip") => &mut weights.gzip,
                _ if name.eq_ignore_ascii_case(b"x-gzip") => &mut weights.gzip,
                _ if name.eq_ignore_ascii_case(b"br") => &mut weights.brotli,
                _ if name.eq_ignore_ascii_case(b"zstd") => &mut weights.zstd,
                _ if name.eq_ignore_ascii_case(b"identity") => &mut weights.identity,
                _ => continue,
            };
            // What cannot be read is not wanted: the uncompressed body is always right.
            *slot = Some(parts.next().map_or(Some(1000), weight).unwrap_or(0));
        }
        weights
    }

    fn of(self, coding: Coding) -> u16 {
        let own = match coding {
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
        };
        own.or(self.any).unwrap_or(0)
    }

    /// No coding at all, which is always accepted if nothing is said, and then wanted least.
    fn identity(self) -> u16 {
        self.identity.or(self.any).unwrap_or(0)
    }
}

/// `q=0.5` in thousandths (RFC 9110, section 12.4.2).
fn weight(parameter: &[u8]) -> Option<u16> {
    let (name, value) = parameter.split_at_checked(2)?;
    if !name.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    let (&whole, fraction) = value.split_first()?;
    let digits = match fraction {
        [] => fraction,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let padded = digits.iter().copied().chain(*b"000").take(3);
    let thousandths =
        padded.fold(u16::from(whole - b'0'), |sum, digit| sum * 10 + u16::from(digit - b'0'));
    (thousandths <= 1000).then_some(thousandths)
}

impl Choice {
    /// Writes a field of the response as it is true of the compressed body, if it is another then;
    /// false: the field passes as it is.
    pub(crate) fn rewrites(self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> bool {
        if self.coding.is_none() {
            return false;
        }
        if name.eq_ignore_ascii_case(b"etag") {
            // Other bytes that mean the same are weakly the same (RFC 9110, section 8.8.1).
            let is_strong = value.starts_with(b"\"");
            if is_strong {
                write_field(out, name, &[b"W/", value].concat());
            }
            return is_strong;
        }
        LOST.iter().any(|lost| name.eq_ignore_ascii_case(lost.as_bytes()))
    }

    /// Writes what the client, and caches on the way, have to know.
    pub(crate) fn write<'a>(self, out: &mut Vec<u8>, vary: impl Iterator<Item = &'a [u8]>) {
        if let Some(coding) = self.coding {
            write_field(out, b"content-encoding", coding.name().as_bytes());
        }
        let says_so =
            |field: &[u8]| field == b"*" || field.eq_ignore_ascii_case(b"accept-encoding");
        if self.varies && !elements(vary).any(says_so) {
            write_field(out, b"vary", b"accept-encoding");
        }
    }
}

/// The values of `Vary` of a response.
pub(crate) fn vary<'a>(
    response: &'a ResponseHead,
    bytes: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> {
    values(&response.headers, bytes, "vary")
}

#[cfg(test)]
mod tests;
