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

pub(crate) fn failed_attempts(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for facts in &*view.snapshot.certificates {
        let labels = [&*facts.owner, &*facts.name, &*facts.kind, &*facts.file];
        let failures = facts.obtaining.as_ref().map(|obtaining| obtaining.failures);
        family.maybe(&labels, failures.map(f64::from));
    }
}

pub(crate) fn next_attempt(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for facts in &*view.snapshot.certificates {
        let labels = [&*facts.owner, &*facts.name, &*facts.kind, &*facts.file];
        let next = facts.obtaining.as_ref().map(|obtaining| obtaining.next_at_unix_s);
        family.maybe(&labels, next.map(|next| next as f64));
    }
}
