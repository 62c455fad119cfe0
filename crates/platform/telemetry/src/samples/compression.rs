//! The samples of compression.

use super::View;
use crate::shard::CODINGS;
use crate::text::FamilyWriter;

pub(crate) fn bytes(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (coding, [before, after]) in CODINGS.iter().zip(view.workers.compressed) {
        if before > 0 {
            family.count(&[coding.name(), "before"], before);
            family.count(&[coding.name(), "after"], after);
        }
    }
}
