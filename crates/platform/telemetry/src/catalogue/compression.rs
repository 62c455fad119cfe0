//! The metrics of compression.

use super::{Kind, Metric};
use crate::samples::compression as samples;

/// In the order of the page.
pub(super) const COMPRESSION: &[Metric] = &[Metric {
    name: "tidegate_compression_bytes",
    kind: Kind::Counter,
    unit: Some("bytes"),
    labels: &["coding", "stage"],
    help: "Bytes of bodies before and after they were compressed (stage: before, after), by content coding. What passed as it was counts in neither.",
    samples: samples::bytes,
}];
