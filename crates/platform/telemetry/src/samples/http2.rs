//! The samples of HTTP/2 from clients.

use super::View;
use crate::shard::HTTP2_CODES;
use crate::text::FamilyWriter;

/// The error codes, as RFC 9113 names them.
const CODES: [&str; HTTP2_CODES] = [
    "no_error",
    "protocol_error",
    "internal_error",
    "flow_control_error",
    "settings_timeout",
    "stream_closed",
    "frame_size_error",
    "refused_stream",
    "cancel",
    "compression_error",
    "connect_error",
    "enhance_your_calm",
    "inadequate_security",
    "http_1_1_required",
    "other",
];

pub(crate) fn connections(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.workers.http2_connections);
}

pub(crate) fn streams(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.workers.http2_streams);
}

pub(crate) fn floods(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.workers.http2_floods);
}

pub(crate) fn errors(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    let workers = &view.workers;
    for (scope, counts) in
        [("stream", &workers.http2_streams_reset), ("connection", &workers.http2_connections_ended)]
    {
        for (code, count) in CODES.iter().zip(counts).filter(|(_, count)| **count > 0) {
            family.count(&[scope, code], *count);
        }
    }
}
