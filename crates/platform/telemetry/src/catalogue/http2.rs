//! The metrics of HTTP/2 from clients. Its requests are counted with all others, by route.

use super::{Kind, Metric};
use crate::samples::http2 as samples;

/// In the order of the page.
pub(super) const HTTP2: &[Metric] = &[
    Metric {
        name: "tidegate_http2_connections",
        kind: Kind::Counter,
        unit: None,
        labels: &[],
        help: "Client connections on which HTTP/2 was begun.",
        samples: samples::connections,
    },
    Metric {
        name: "tidegate_http2_streams",
        kind: Kind::Counter,
        unit: None,
        labels: &[],
        help: "Requests that came over HTTP/2.",
        samples: samples::streams,
    },
    Metric {
        name: "tidegate_http2_floods",
        kind: Kind::Counter,
        unit: None,
        labels: &[],
        help: "HTTP/2 connections ended because the client sent more resets or frames without use than any needs.",
        samples: samples::floods,
    },
    Metric {
        name: "tidegate_http2_errors",
        kind: Kind::Counter,
        unit: None,
        labels: &["scope", "code"],
        help: "Streams of clients that the door reset and HTTP/2 connections that it ended (scope: stream, connection) with an error, by its code (RFC 9113, section 7). Streams with protocol_error are requests that were malformed or beyond all limits, of which the access log has a few lines a second at most.",
        samples: samples::errors,
    },
];
