//! Notices that files of certificates changed, reads them again, and says what became of them.
//!
//! Files are looked at and read on a thread that may wait for the disk, one look at a time. What
//! can be used goes to the operator, who puts it before new handshakes; it is no generation, for
//! the configuration is the same. What cannot be used leaves what was read before in its place, and
//! is told once: when it is still the same at the next look, for a pair of files is not written at
//! one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_door::live::Live;
use http_door::secured::{Owner, Secured};
use model::fact::CertificateFacts;
use net::tls::{FileStatus, Stamps, now_unix_s};
use tokio::task::JoinSet;

use super::acme::Obtaining;
use crate::commands::chain;

/// Between two looks at the files.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// What is known of the files.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// At most one look.
    looking: JoinSet<Found>,
    refused: Refusals,
    /// Troubles that were told.
    told: BTreeSet<(Owner, PathBuf, String)>,
    facts: Arc<[CertificateFacts]>,
}

/// By whose files they are.
type Refusals = BTreeMap<Owner, Refused>;

/// Files that cannot be used.
#[derive(Clone, Debug)]
struct Refused {
    /// As they were on the disk.
    stamps: Stamps,
    why: String,
    /// They were the same at a second look.
    told: bool,
}

/// What one look found.
#[derive(Debug)]
pub(super) struct Found {
    /// What was live.
    pub(super) live: Arc<Live>,
    /// Its certificates with those that changed, if any did.
    pub(super) secured: Option<Secured>,
    /// Whose files were read again, and which of them had changed.
    pub(super) renewed: Vec<(Owner, Vec<PathBuf>)>,
    refused: Refusals,
}

impl Certificates {
    /// Begins a look at the files of `live`, unless the one before still waits for the disk.
    pub(super) fn look(&mut self, live: &Arc<Live>) {
        if self.looking.is_empty() {
            let (live, refused) = (Arc::clone(live), self.refused.clone());
            self.looking.spawn_blocking(move || look(live, &refused));
        }
    }

    /// What the look found; `None` when there is none.
    pub(super) async fn found(&mut self) -> Option<Found> {
        let found = self.looking.join_next().await?.ok()?;
        for (owner, refused) in found.refused.iter().filter(|(_, refused)| refused.told) {
            if self.refused.get(owner).is_none_or(|before| !before.told) {
                let why = &refused.why;
                tracing::error!(%owner, why, "certificates cannot be read again: those read before stay in use");
            }
        }
        self.refused.clone_from(&found.refused);
        Some(found)
    }

    /// Notes how the certificates in use stand; tells each trouble once.
    pub(super) fn take(&mut self, secured: &Secured, obtaining: &Obtaining) {
        let facts = facts(secured, (&self.refused, obtaining), now_unix_s());
        let mut told = BTreeSet::new();
        for (owner, file) in secured.files() {
            let Some(trouble) = file.trouble(now_unix_s()) else { continue };
            let key = (owner, file.path.clone(), trouble);
            if !self.told.contains(&key) {
                let (owner, path, trouble) = &key;
                tracing::warn!(%owner, path = %path.display(), kind = file.kind.name(), "{trouble}");
            }
            told.insert(key);
        }
        self.told = told;
        if *self.facts != *facts {
            self.facts = facts.into();
        }
    }

    /// Facts of the files in use; the same slice as long as nothing of them changed.
    pub(super) fn facts(&self) -> Arc<[CertificateFacts]> {
        Arc::clone(&self.facts)
    }
}

/// Looks at the files of all owners, and reads those of an owner again of whom one changed. What
/// was refused `before`, and has not changed since, is not read again.
fn look(live: Arc<Live>, before: &Refusals) -> Found {
    let mut secured = live.secured().clone();
    let (mut renewed, mut refused) = (Vec::new(), Refusals::new());
    for (owner, read) in live.secured().stamps() {
        let now = read.again();
        let changed = now.changed_since(read);
        if changed.is_empty() {
            continue;
        }
        if let Some(same) = before.get(&owner).filter(|refused| refused.stamps == now) {
            refused.insert(owner, Refused { told: true, ..same.clone() });
            continue;
        }
        match secured.renew(live.configuration(), &owner) {
            Ok(()) => renewed.push((owner, changed)),
            Err(error) => {
                let why = chain(&error);
                refused.insert(owner, Refused { stamps: now, why, told: false });
            }
        }
    }
    let secured = (!renewed.is_empty()).then_some(secured);
    Found { live, secured, renewed, refused }
}

fn facts(
    secured: &Secured,
    (refused, obtaining): (&Refusals, &Obtaining),
    now_unix_s: i64,
) -> Vec<CertificateFacts> {
    let mut all: Vec<CertificateFacts> = Vec::new();
    let mut last = None;
    for (owner, file) in secured.files() {
        let mut facts = of_file(&owner, file, now_unix_s);
        facts.obtaining = obtaining.get(&file.path).cloned();
        // What is refused is told at the first of its owner's files.
        if last.as_ref() != Some(&owner)
            && let Some(refused) = refused.get(&owner).filter(|refused| refused.told)
        {
            let why = format!("what is on the disk now cannot be used: {}", refused.why);
            facts.trouble = Some(why);
        }
        last = Some(owner);
        all.push(facts);
    }
    all
}

fn of_file(owner: &Owner, file: &FileStatus, now_unix_s: i64) -> CertificateFacts {
    let (kind, name) = owner.words();
    CertificateFacts {
        owner: kind.to_owned(),
        name: name.to_string(),
        kind: file.kind.name().to_owned(),
        file: file.path.display().to_string(),
        hosts: file.names.clone(),
        not_after_unix_s: file.not_after_unix_s,
        days_left: file.days_left(now_unix_s),
        trouble: file.trouble(now_unix_s),
        obtaining: None,
    }
}
