//! What is spoken at the door's two sides, beneath and beside HTTP/1.1.

use std::path::PathBuf;

use super::{CertificateFiles, HostPattern};
use crate::Name;

/// What a listener speaks (`mode`, `http2`).
#[derive(Clone, Debug, PartialEq)]
pub enum ListenerProtocol {
    /// HTTP/1.1; and HTTP/2, by ALPN under TLS and by prior knowledge without, unless it is off.
    Http {
        /// `None` speaks HTTP/1.1 only.
        http2: Option<Http2>,
    },
    /// Bytes, passed on as they are.
    Tcp(TcpForward),
}

impl Default for ListenerProtocol {
    fn default() -> Self {
        Self::Http { http2: Some(Http2::default()) }
    }
}

/// HTTP/2 towards clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Streams that one connection may have open, 1 to 1,000. Default 100.
    pub streams_max: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self { streams_max: 100 }
    }
}

/// Where a TCP listener passes its connections on to.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpForward {
    /// The pool of connections that no `sni` matches; without one they are closed.
    pub pool: Option<usize>,
    /// By the server name in the TLS ClientHello, which is passed on as it came: the most specific
    /// first. Without any the connection's bytes are not looked at.
    pub sni: Vec<SniRoute>,
}

/// Connections with this server name go to this pool.
#[derive(Clone, Debug, PartialEq)]
pub struct SniRoute {
    /// The server name.
    pub host: HostPattern,
    /// The index of the pool.
    pub pool: usize,
}

/// What the servers of a pool speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerProtocol {
    /// HTTP/1.1 (the default).
    #[default]
    Http1,
    /// HTTP/2: by ALPN under TLS, by prior knowledge without. What gRPC needs.
    Http2,
    /// Anything: connections of TCP listeners are passed on to them as they are.
    Tcp,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// A certificate that the door obtains by itself (ACME, RFC 8555).
#[derive(Clone, Debug, PartialEq)]
pub struct Acme {
    /// The hosts it is for, lower case, without wildcards. At least one.
    pub hosts: Vec<Name>,
    /// Whom the authority may write to, `mailto:...`.
    pub contact: Option<Name>,
    /// The URL of the authority's directory.
    pub directory: Name,
    /// PEM file of the authority that the directory's own certificate is from; the system's by
    /// default.
    pub roots: Option<PathBuf>,
    /// How the authority sees that the hosts are served here.
    pub challenge: AcmeChallenge,
    /// Where accounts are kept.
    pub folder: PathBuf,
    /// Where it is kept; also among the listener's certificates.
    pub files: CertificateFiles,
}

/// How an authority sees that a host is served by this door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// By a plain request on port 80 (the default).
    #[default]
    Http01,
    /// By a TLS handshake on port 443 (RFC 8737).
    TlsAlpn01,
}

/// Certificates that clients show.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCertificates {
    /// PEM file of the authorities that issue them.
    pub roots: PathBuf,
    /// PEM files of revocation lists; with any, each certificate of a chain but the root must be
    /// covered by one.
    pub revocation: Vec<PathBuf>,
    /// Refuse a client without one; else it is let in as unknown.
    pub required: bool,
}
