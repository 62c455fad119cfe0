//! The metrics of listeners that only pass bytes on.

use super::{Kind, Metric};
use crate::samples::tcp as samples;

/// In the order of the page.
pub(super) const TCP: &[Metric] = &[
    Metric {
        name: "tidegate_tcp_connections",
        kind: Kind::Gauge,
        unit: None,
        labels: &["listener"],
        help: "Connections open at a TCP listener.",
        samples: samples::connections,
    },
    Metric {
        name: "tidegate_tcp_connections_opened",
        kind: Kind::Counter,
        unit: None,
        labels: &["listener"],
        help: "Connections that a TCP listener took in.",
        samples: samples::opened,
    },
    Metric {
        name: "tidegate_tcp_connections_ended",
        kind: Kind::Counter,
        unit: None,
        labels: &["listener", "reason"],
        help: "Connections of a TCP listener that did not end by themselves, by reason code.",
        samples: samples::ended,
    },
    Metric {
        name: "tidegate_tcp_connection_duration_seconds",
        kind: Kind::Histogram,
        unit: Some("seconds"),
        labels: &["listener"],
        help: "How long the connections of a TCP listener lasted that have ended.",
        samples: samples::duration,
    },
    Metric {
        name: "tidegate_tcp_received_bytes",
        kind: Kind::Counter,
        unit: Some("bytes"),
        labels: &["listener"],
        help: "Bytes that passed from clients of a TCP listener to servers.",
        samples: samples::received,
    },
    Metric {
        name: "tidegate_tcp_sent_bytes",
        kind: Kind::Counter,
        unit: Some("bytes"),
        labels: &["listener"],
        help: "Bytes that passed from servers to clients of a TCP listener.",
        samples: samples::sent,
    },
];
