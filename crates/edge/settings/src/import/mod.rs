//! Configurations of other balancers: read, translated into TOML, judged where they stand.
//!
//! [`import`] reads a file of nginx or HAProxy with everything it includes and writes the same
//! door as TOML. Every directive ends as mapped, refused or ignored, with its place and a reason:
//! nothing is dropped in silence. [`check_imported`] runs the rules of this door on the TOML and
//! moves each finding to the place of the original it came from, so that a configuration of
//! another balancer can be judged as it is.
//! Invariant: whatever the input, an import ends, in bounded memory and time, without a panic.

mod fields;
mod files;
mod haproxy;
mod ledger;
mod nginx;
mod passwords;
mod show;
mod writer;

use std::ops::Range;
use std::path::Path;

pub use files::{Disk, FILE_BYTES_MAX, Files, FilesError, Memory, NAMES_MAX};
pub use show::{Counts, counts, render_import_json, render_import_text};
pub use writer::SourceMap;

use crate::finding::Finding;
use crate::{Environment, Source};

/// Whose configuration language a text is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// This door's own: TOML.
    Native,
    /// nginx's.
    Nginx,
    /// HAProxy's.
    Haproxy,
}

/// A place in one of the files that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into [`Imported::sources`].
    pub file: usize,
    /// Bytes of that file's text.
    pub span: Range<usize>,
}

/// What became of one directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is in the TOML, or the door does the same by itself.
    Mapped,
    /// The door cannot do this, and the site would not work the same without it: why.
    Refused(String),
    /// It is left out, and what clients and servers see stays the same or nearly so: why.
    Ignored(String),
}

/// One directive of the original and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Index into [`Imported::sources`].
    pub file: usize,
    /// Where the directive stands, in bytes of its file: name and arguments, without its block.
    pub span: Range<usize>,
    /// The line of its start, from 1.
    pub line: usize,
    /// The column of its start in characters, from 1.
    pub column: usize,
    /// Its name as it was written, at most 64 characters.
    pub name: String,
    /// What became of it.
    pub disposition: Disposition,
}

/// What [`import`] made of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The same door as TOML, as far as directives were mapped.
    pub text: String,
    /// The files that were read, the main one first; there is always at least one.
    pub sources: Vec<Source>,
    /// Every directive of every file, once each time its file is read, sorted by file and place.
    pub directives: Vec<Directive>,
    /// Mistakes of syntax, and the rules that only the original's own text can break; sorted by
    /// file and place.
    pub findings: Vec<Finding>,
    /// What differs, though no single directive says so: each a sentence.
    pub notes: Vec<&'static str>,
    /// Where each part of `text` came from.
    pub map: SourceMap,
}

/// Reads the configuration in the file at `path`, with what it includes, and translates it.
///
/// Mistakes are findings of [`Imported`], never a panic; a main file that cannot be read is one
/// too. [`Dialect::Native`] is given back as it is, with no directive.
#[must_use]
pub fn import(kind: Dialect, path: &Path, files: &dyn Files) -> Imported {
    match kind {
        Dialect::Nginx => nginx::import(path, files),
        Dialect::Haproxy => haproxy::import(path, files),
        Dialect::Native => {
            let mut ledger = ledger::Ledger::default();
            ledger.read(path, files);
            let text = ledger.text(0).to_owned();
            Imported { text, ..ledger.finish(writer::Toml::default()) }
        }
    }
}

/// All that is to be said about a configuration of another balancer: the findings of
/// [`Imported`], and those of this door's rules on the TOML, each moved to where it came from.
/// Sorted by file and place.
#[must_use]
pub fn check_imported(imported: &Imported, environment: &Environment) -> Vec<Finding> {
    let folder = imported.sources.first().map(|source| source.folder.clone()).unwrap_or_default();
    let text = imported.text.clone();
    let source = Source { name: "imported.toml".to_owned(), text, folder };
    let found = check_without_certificates(source, imported, environment);
    let moved = found.into_iter().map(|finding| {
        let place = imported.map.origin(&finding.span);
        // A second place is only kept when both are in one file: a finding has one file.
        let related = finding.related.clone().and_then(|mut related| {
            let other = imported.map.origin(&related.span);
            related.span = other.span;
            (other.file == place.file).then_some(related)
        });
        Finding { file: place.file, span: place.span, related, ..finding }
    });
    let mut findings: Vec<Finding> = imported.findings.iter().cloned().chain(moved).collect();
    ledger::place_findings(&mut findings, &imported.sources);
    findings
}

/// How keys begin that name files of the door's own machine.
const FILED: [&str; 3] =
    ["tls = { certificates", "basic_auth = { users_file", "jwt_auth = { jwks_file"];

/// Checks the TOML; where only certificates or files of users are missing, as on a machine that is
/// not the door's, the rules judge the rest all the same.
fn check_without_certificates(
    mut source: Source,
    imported: &Imported,
    environment: &Environment,
) -> Vec<Finding> {
    let mut findings = crate::check(&source, environment).findings;
    let certificates: Vec<Range<usize>> = imported
        .map
        .ranges()
        .filter(|range| {
            source
                .text
                .get((*range).clone())
                .is_some_and(|text| FILED.iter().any(|start| text.starts_with(start)))
        })
        .cloned()
        .collect();
    let is_of_certificate =
        |finding: &Finding| certificates.iter().any(|range| range.contains(&finding.span.start));
    let stops = |finding: &&Finding| {
        finding.severity == crate::Severity::Error && crate::rules::find(finding.rule).is_none()
    };
    if !findings.iter().any(is_of_certificate)
        || !findings.iter().filter(stops).all(is_of_certificate)
    {
        return findings;
    }
    // Blanks in their place, so that every other part stays where it was.
    for range in &certificates {
        let blanks = " ".repeat(range.len());
        source.text.replace_range(range.clone(), &blanks);
    }
    let rest = crate::check(&source, environment).findings;
    findings.extend(rest.into_iter().filter(|finding| crate::rules::find(finding.rule).is_some()));
    findings
}
