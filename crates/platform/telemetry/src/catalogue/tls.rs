//! The metrics of certificates.

use super::{Kind, Metric};
use crate::samples::tls as samples;

/// In the order of the page.
pub(super) const TLS: &[Metric] = &[
    Metric {
        name: "tidegate_certificate_expiry_timestamp_seconds",
        kind: Kind::Gauge,
        unit: Some("seconds"),
        labels: &["owner", "name", "kind", "file"],
        help: "When a file in use expires, in seconds of Unix time: a certificate, the OCSP response sent along with it, a revocation list, the first authority of a file of roots; by the listener or pool that uses it.",
        samples: samples::expiry,
    },
    Metric {
        name: "tidegate_certificate_troubled",
        kind: Kind::Gauge,
        unit: None,
        labels: &["owner", "name", "kind", "file"],
        help: "1 while something is wrong with such a file: it has expired, or what is on the disk now cannot be used and what was read before still serves.",
        samples: samples::troubled,
    },
    Metric {
        name: "tidegate_certificate_failed_attempts",
        kind: Kind::Gauge,
        unit: None,
        labels: &["owner", "name", "kind", "file"],
        help: "Attempts in a row that failed to obtain a certificate from its authority (ACME); 0 after one that succeeded. Only of certificates that the door obtains by itself.",
        samples: samples::failed_attempts,
    },
    Metric {
        name: "tidegate_certificate_next_attempt_timestamp_seconds",
        kind: Kind::Gauge,
        unit: Some("seconds"),
        labels: &["owner", "name", "kind", "file"],
        help: "When such a certificate is renewed, or what failed is tried again, in seconds of Unix time.",
        samples: samples::next_attempt,
    },
];
