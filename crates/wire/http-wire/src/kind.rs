//! Which header fields mean something to the door, and which names only look like them.
//!
//! Names compare without case. A name with a byte other than letters, digits and `-` looks like a
//! known one when some servers would read it as that (CGI and WSGI turn `-`, `_` and more into one
//! character): those are refused, see [`is_look_alike`]. Other such names are ordinary and pass.

/// What a header field is to the door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the header field of its name")]
pub enum HeaderKind {
    Authorization,
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440): a certificate that a proxy verified.
    ClientCert,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentType,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    KeepAlive,
    Location,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    ProxyStatus,
    Referer,
    Server,
    SetCookie,
    Te,
    Traceparent,
    Tracestate,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Via,
    XForwardedFor,
    XForwardedHost,
    XForwardedPort,
    XForwardedProto,
    /// Any other `X-Forwarded-*`, such as `X-Forwarded-User`: as untrusted as those.
    XForwardedOther,
    XRealIp,
    XRequestId,
    /// Anything else.
    #[default]
    Other,
}

const X_FORWARDED: &[u8; 12] = b"x-forwarded-";

/// Fields of identity and routing that have no kind of their own, but which a client must be able
/// neither to fake with a look-alike nor to remove with `Connection`. A `*` at the end is a prefix.
const PROTECTED: &[&[u8]] = &[
    b"access-control-*",
    b"authentication-info",
    b"cache-control",
    b"cf-connecting-ip",
    b"client-ip",
    b"content-*",
    b"fastly-client-ip",
    b"front-end-https",
    b"if-*",
    b"origin",
    b"proxy-*",
    b"range",
    b"remote-*",
    b"sec-*",
    b"ssl-client-*",
    b"true-client-ip",
    b"www-authenticate",
    b"x-auth-*",
    b"x-authenticated-*",
    b"x-client-*",
    b"x-cluster-client-ip",
    b"x-correlation-id",
    b"x-http-method-override",
    b"x-original-*",
    b"x-real-*",
    b"x-remote-*",
    b"x-rewrite-url",
    b"x-ssl-*",
    b"x-tidegate-*",
    b"x-user-*",
];

impl HeaderKind {
    /// The kind of a name, in any case.
    #[must_use]
    #[inline]
    pub fn of_name(name: &[u8]) -> Self {
        let Some(&first) = name.first() else { return Self::Other };
        // Length and first letter leave one candidate, so that one comparison decides.
        let (is_it, kind) = match (name.len(), first | 0x20) {
            (_, b'x') => return Self::of_extension(name),
            (2, b't') => (is(name, b"te"), Self::Te),
            (3, b'v') => (is(name, b"via"), Self::Via),
            (4, b'h') => (is(name, b"host"), Self::Host),
            (4, b'd') => (is(name, b"date"), Self::Date),
            (6, b'c') => (is(name, b"cookie"), Self::Cookie),
            (6, b'e') => (is(name, b"expect"), Self::Expect),
            (6, b's') => (is(name, b"server"), Self::Server),
            (7, b'r') => (is(name, b"referer"), Self::Referer),
            (7, b't') => (is(name, b"trailer"), Self::Trailer),
            (7, b'u') => (is(name, b"upgrade"), Self::Upgrade),
            (8, b'l') => (is(name, b"location"), Self::Location),
            (9, b'f') => (is(name, b"forwarded"), Self::Forwarded),
            (10, b'c') => (is(name, b"connection"), Self::Connection),
            (10, b'k') => (is(name, b"keep-alive"), Self::KeepAlive),
            (10, b's') => (is(name, b"set-cookie"), Self::SetCookie),
            (10, b't') => (is(name, b"tracestate"), Self::Tracestate),
            (10, b'u') => (is(name, b"user-agent"), Self::UserAgent),
            (11, b'c') => (is(name, b"client-cert"), Self::ClientCert),
            (11, b't') => (is(name, b"traceparent"), Self::Traceparent),
            (12, b'c') => (is(name, b"content-type"), Self::ContentType),
            (12, b'p') => (is(name, b"proxy-status"), Self::ProxyStatus),
            (13, b'a') => (is(name, b"authorization"), Self::Authorization),
            (14, b'c') => (is(name, b"content-length"), Self::ContentLength),
            (16, b'c') => (is(name, b"content-encoding"), Self::ContentEncoding),
            (16, b'p') => (is(name, b"proxy-connection"), Self::ProxyConnection),
            (17, b'c') => (is(name, b"client-cert-chain"), Self::ClientCert),
            (17, b't') => (is(name, b"transfer-encoding"), Self::TransferEncoding),
            (18, b'p') => (is(name, b"proxy-authenticate"), Self::ProxyAuthenticate),
            (19, b'p') => (is(name, b"proxy-authorization"), Self::ProxyAuthorization),
            _ => return Self::Other,
        };
        if is_it { kind } else { Self::Other }
    }

    /// The kind of a name that begins with `x`.
    fn of_extension(name: &[u8]) -> Self {
        if is(name, b"x-real-ip") {
            return Self::XRealIp;
        }
        if is(name, b"x-request-id") {
            return Self::XRequestId;
        }
        let Some((prefix, rest)) = name.split_at_checked(X_FORWARDED.len()) else {
            return Self::Other;
        };
        if !is(prefix, X_FORWARDED) {
            return Self::Other;
        }
        match rest {
            _ if is(rest, b"for") => Self::XForwardedFor,
            _ if is(rest, b"proto") => Self::XForwardedProto,
            _ if is(rest, b"host") => Self::XForwardedHost,
            _ if is(rest, b"port") => Self::XForwardedPort,
            _ => Self::XForwardedOther,
        }
    }

    /// True for fields that concern one connection only and are never forwarded as they are.
    /// `Trailer` and `Expect` are not among them: trailers are passed on, and the caller decides
    /// about the expectation.
    #[must_use]
    #[inline]
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::ProxyConnection
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }

    /// True for fields that tell a server who asks, by which way: those of a peer that is not
    /// trusted are removed.
    #[must_use]
    #[inline]
    pub const fn is_forwarding(self) -> bool {
        matches!(
            self,
            Self::ClientCert
                | Self::Forwarded
                | Self::XForwardedFor
                | Self::XForwardedHost
                | Self::XForwardedPort
                | Self::XForwardedProto
                | Self::XForwardedOther
                | Self::XRealIp
        )
    }
}

/// Whether `name` is this one, which is in lower case. Its length is known when it is compiled, so
/// that it takes a few instructions where a comparison byte by byte takes ten times as many.
#[inline]
fn is<const LENGTH: usize>(name: &[u8], lower_case: &[u8; LENGTH]) -> bool {
    let Ok(name) = <&[u8; LENGTH]>::try_from(name) else { return false };
    let pairs = name.iter().zip(lower_case);
    pairs.fold(0, |apart, (byte, wanted)| apart | byte.to_ascii_lowercase() ^ wanted) == 0
}

/// True when `Connection` may not nominate this name, because removing it would change who asks,
/// for what, or where the message ends. (`Transfer-Encoding` is for the caller to judge: servers do
/// nominate it, and it is never forwarded as it is.)
pub(crate) fn is_protected(name: &[u8]) -> bool {
    let kind = HeaderKind::of_name(name);
    if kind == HeaderKind::Other {
        return is_listed(name) || is_look_alike(name);
    }
    // Fields of the connection itself are removed anyway; naming those is harmless.
    !(kind.is_hop_by_hop() || kind == HeaderKind::Trailer)
}

/// True when the name, with each byte that is neither letter nor digit read as `-`, is one that
/// the door or a server relies on, but written plainly is not.
pub(crate) fn is_look_alike(name: &[u8]) -> bool {
    let odd = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'-';
    if !name.iter().fold(false, |found, &byte| found | odd(byte)) {
        return false;
    }
    // The longest name that matters is far shorter; longer ones can only match a prefix.
    let mut plain = [0_u8; 64];
    for (to, &from) in plain.iter_mut().zip(name) {
        *to = if odd(from) { b'-' } else { from };
    }
    let plain = plain.get(..name.len()).unwrap_or(&plain);
    HeaderKind::of_name(plain) != HeaderKind::Other || is_listed(plain)
}

/// True when the name is in [`PROTECTED`].
pub(crate) fn is_listed(name: &[u8]) -> bool {
    let first = name.first().map(u8::to_ascii_lowercase);
    // Few begin alike, so that few are compared.
    let candidates = PROTECTED.iter().filter(|listed| listed.first().copied() == first);
    candidates.copied().any(|listed| match listed.split_last() {
        Some((b'*', prefix)) => {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        }
        _ => name.eq_ignore_ascii_case(listed),
    })
}
