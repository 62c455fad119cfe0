//! The samples of listeners that only pass bytes on.

use super::{View, occurred};
use crate::text::FamilyWriter;

pub(crate) fn connections(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    view.tcp.iter().for_each(|(name, totals)| family.count(&[name], totals.open()));
}

pub(crate) fn opened(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    view.tcp.iter().for_each(|(name, totals)| family.count(&[name], totals.opened));
}

pub(crate) fn ended(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (name, totals) in &view.tcp {
        for (reason, count) in occurred(&totals.reasons) {
            family.count(&[name, reason.code()], count);
        }
    }
}

pub(crate) fn duration(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    view.tcp.iter().for_each(|(name, totals)| family.histogram(&[name], &totals.durations));
}

pub(crate) fn received(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    view.tcp.iter().for_each(|(name, totals)| family.count(&[name], totals.bytes_in));
}

pub(crate) fn sent(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    view.tcp.iter().for_each(|(name, totals)| family.count(&[name], totals.bytes_out));
}
