//! The samples of HTTP/2 from clients.

use super::View;
use crate::text::FamilyWriter;

pub(crate) fn connections(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.workers.http2_connections);
}

pub(crate) fn streams(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.workers.http2_streams);
}

pub(crate) fn floods(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.workers.http2_floods);
}
