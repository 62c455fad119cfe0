//! What rules found, each with the place that an allowance names.

use std::ops::Range;

use crate::finding::Finding;

/// Findings of one check, at most: more are beyond what anybody reads, and are only counted by
/// those who show them.
const FOUND_MAX: usize = 20_000;

/// A finding of a rule, and where it is: a key path such as `pools.web.servers.1`.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) place: String,
    pub(crate) finding: Finding,
}

impl Found {
    pub(crate) fn label(self, label: impl Into<String>) -> Self {
        Self { finding: self.finding.label(label), ..self }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { finding: self.finding.help(help), ..self }
    }

    pub(crate) fn related(self, span: Range<usize>, label: impl Into<String>) -> Self {
        Self { finding: self.finding.related(span, label), ..self }
    }
}

/// Collects what rules find.
#[derive(Debug, Default)]
pub(crate) struct Report {
    found: Vec<Found>,
}

impl Report {
    pub(crate) fn add(&mut self, found: Found) {
        if self.found.len() < FOUND_MAX {
            self.found.push(found);
        }
    }

    pub(crate) fn finish(self) -> Vec<Found> {
        self.found
    }
}
