//! The samples of certificates.
//!
//! Invariant: every label value is a name or a file of the configuration.

use super::View;
use crate::text::FamilyWriter;

pub(crate) fn expiry(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for facts in &*view.snapshot.certificates {
        let labels = [&*facts.owner, &*facts.name, &*facts.kind, &*facts.file];
        family.maybe(&labels, facts.not_after_unix_s.map(|end| end as f64));
    }
}

pub(crate) fn troubled(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for facts in &*view.snapshot.certificates {
        let labels = [&*facts.owner, &*facts.name, &*facts.kind, &*facts.file];
        family.count(&labels, u64::from(facts.trouble.is_some()));
    }
}
