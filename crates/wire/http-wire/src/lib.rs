//! HTTP/1 bytes to messages and back, strictly, without I/O.
//!
//! The caller owns the sockets and the buffers; this crate looks at bytes and says what they mean,
//! or which [`model::Reason`] refuses them. Every message has one reading only: what two servers
//! could read differently (framing, line ends, paths, hosts, look-alike names) is refused here, so
//! that nothing ambiguous is ever forwarded.
//!
//! - [`HeadScanner`] finds the end of a head while it arrives.
//! - [`RequestHead`] and [`ResponseHead`] parse a whole head into spans; both are reused, so that a
//!   warmed connection allocates nothing.
//! - [`canonical_path`] gives a rewritten path the one form that paths have here.
//! - [`ChunkDecoder`] decodes a chunked body in place; [`write_chunk_head`] writes chunks.
//! - [`read_proxy_header`] and [`ClientHelloReader`] read what may stand before HTTP, or TCP: the
//!   PROXY protocol, and the server name of TLS that is passed on as it came.
//!
//! Invariant: nothing here panics on input, and memory is bounded by the limits that are passed in.

#![deny(clippy::indexing_slicing)]

mod authority;
mod bytes;
mod chunk;
mod client_hello;
mod fields;
mod kind;
mod path;
mod proxy;
mod request;
mod response;
mod scanner;
mod span;
mod trailer;

pub use chunk::{
    BODY_END, CHUNK_END, ChunkDecoder, ChunkLimits, Decoded, LAST_CHUNK, write_chunk_head,
};
pub use client_hello::{CLIENT_HELLO_BYTES_MAX, ClientHello, ClientHelloError, ClientHelloReader};
pub use fields::{Framing, Header, Version};
pub use kind::HeaderKind;
pub use path::canonical_path;
pub use proxy::{
    Endpoints, PROXY_BYTES_MAX, ProxyError, ProxyHeader, read_proxy_header, write_proxy_header,
};
pub use request::{Method, RequestHead};
pub use response::ResponseHead;
pub use scanner::HeadScanner;
pub use span::Span;
pub use trailer::{may_be_trailer, trailer_fields};

/// The most header fields a head may ever have, whatever [`HeadLimits::headers_max`] says.
pub const HEADERS_MAX: usize = 256;

/// Limits on one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the head, its blank line included.
    pub bytes_max: usize,
    /// Header fields, at most [`HEADERS_MAX`].
    pub headers_max: usize,
    /// Bytes of the request target.
    pub target_bytes_max: usize,
}

impl Default for HeadLimits {
    /// The defaults of a listener: 16 KiB, 100 fields, a target of 8 KiB.
    fn default() -> Self {
        Self { bytes_max: 16_384, headers_max: 100, target_bytes_max: 8_192 }
    }
}
