//! Active health checks: what a server is asked, how often, and what counts as an answer.

use std::time::Duration;

use crate::Name;

/// Active health checks of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// Between two checks of one server, at least 10 ms; jittered by 10 %. Default 2 s.
    pub interval: Duration,
    /// For one check. Default 1 s.
    pub timeout: Duration,
    /// Failures in a row that take a server down. Default 3.
    pub fall: u32,
    /// Successes in a row that bring a server back. Default 2; the first check of a new server counts alone.
    pub rise: u32,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// A TCP connection is accepted.
    Tcp,
    /// `GET path` is answered as expected.
    Http {
        /// Begins with `/`.
        path: Name,
        /// The `Host` header; the server's address by default.
        host: Option<Name>,
        /// Accepted status codes, inclusive ranges. Default 200 to 399.
        status: Vec<(u16, u16)>,
        /// Text the first 64 KiB of the body must contain.
        body: Option<Name>,
    },
    /// `grpc.health.v1.Health/Check` is answered `SERVING`, over HTTP/2.
    Grpc {
        /// The service that is asked for; the server as a whole by default.
        service: Option<Name>,
    },
}
