//! What an import has read and what became of it: files, directives, findings.
//!
//! Both importers write into one [`Ledger`] while they walk; lines and columns are worked out
//! once at the end, in one walk over each file.
//! Invariant: every place it holds lies inside its file.

use std::ops::Range;
use std::path::Path;

use super::writer::Toml;
use super::{Directive, Disposition, FILE_BYTES_MAX, Files, FilesError, Imported, Place};
use crate::Source;
use crate::finding::{Finding, place, printable};

/// Bytes of all files together, at most: 16 MiB. A file that is included twice counts twice.
pub(super) const BYTES_MAX: usize = 4 * FILE_BYTES_MAX;

/// Files, at most; one that is included twice counts twice.
pub(super) const FILES_MAX: usize = 2_000;

/// Directives over all files, at most.
pub(super) const DIRECTIVES_MAX: usize = 200_000;

/// Findings that are kept; more are counted.
const FINDINGS_MAX: usize = 1_000;

/// Files, directives and findings of one import.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sources: Vec<Source>,
    bytes: usize,
    directives: Vec<Directive>,
    findings: Vec<Finding>,
    findings_more: usize,
    notes: Vec<&'static str>,
}

impl Ledger {
    /// Reads a file and adds it, or adds it empty with a finding that says why not. The first
    /// file read is the main one. Gives its index in [`Imported::sources`].
    pub(super) fn read(&mut self, path: &Path, files: &dyn Files) -> usize {
        match files.read(path) {
            Ok(text) => self.add(path, text),
            Err(error) => {
                let file = self.add(path, String::new());
                let message = format!("cannot read {}: {}", shown(path), cause(&error));
                self.finding(&Place { file, span: 0..0 }, unreadable(message));
                file
            }
        }
    }

    /// Adds a file whose text is known.
    pub(super) fn add(&mut self, path: &Path, text: String) -> usize {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        self.bytes = self.bytes.saturating_add(text.len());
        self.sources.push(Source { name: path.display().to_string(), text, folder });
        self.sources.len() - 1
    }

    /// Whether the limits on files and bytes are reached: nothing more is to be read then.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > BYTES_MAX || self.sources.len() >= FILES_MAX
    }

    /// The text of a file; empty for a file there is not.
    pub(super) fn text(&self, file: usize) -> &str {
        self.sources.get(file).map_or("", |source| source.text.as_str())
    }

    /// The source of a file.
    pub(super) fn source(&self, file: usize) -> Option<&Source> {
        self.sources.get(file)
    }

    /// Says what became of a directive. Each directive is said once.
    pub(super) fn directive(&mut self, name: &str, place: &Place, disposition: Disposition) {
        self.directives.push(Directive {
            file: place.file,
            span: place.span.clone(),
            line: 1,
            column: 1,
            name: printable(name, 64),
            disposition,
        });
    }

    /// Adds a finding at a place.
    pub(super) fn finding(&mut self, place: &Place, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { file: place.file, span: place.span.clone(), ..finding });
        } else {
            self.findings_more += 1;
        }
    }

    /// Says once what no single directive is the cause of.
    pub(super) fn note(&mut self, note: &'static str) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Ends the import.
    pub(super) fn finish(mut self, toml: Toml) -> Imported {
        if self.sources.is_empty() {
            self.sources.push(Source {
                name: String::new(),
                text: String::new(),
                folder: std::path::PathBuf::from("/"),
            });
        }
        let mut findings = self.findings;
        if self.findings_more > 0 {
            let message = format!("{} more findings are not shown", self.findings_more);
            findings.push(Finding::warning("more-findings", 0..0, message));
        }
        place_findings(&mut findings, &self.sources);
        place_directives(&mut self.directives, &self.sources);
        let (text, map) = toml.finish();
        let Self { sources, directives, notes, .. } = self;
        Imported { text, sources, directives, findings, notes, map }
    }
}

/// The finding of a file that cannot be read.
pub(super) fn unreadable(message: String) -> Finding {
    Finding::error("unreadable-file", 0..0, message)
        .label("this file")
        .help("give the path of a file that exists and may be read")
}

/// An error of the files, with what the system said.
pub(super) fn cause(error: &FilesError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A path in a message.
pub(super) fn shown(path: &Path) -> String {
    format!("`{}`", printable(&path.display().to_string(), 200))
}

/// Sorts findings by file and place, and fills in lines and columns.
pub(super) fn place_findings(findings: &mut Vec<Finding>, sources: &[Source]) {
    let mut placed = Vec::with_capacity(findings.len());
    findings.sort_by_key(|finding| finding.file);
    for of_file in findings.chunk_by_mut(|a, b| a.file == b.file) {
        let file = of_file.first().map_or(0, |finding| finding.file);
        place(of_file, sources.get(file).map_or("", |source| source.text.as_str()));
        placed.extend_from_slice(of_file);
    }
    *findings = placed;
}

/// Sorts directives by file and place, and fills in lines and columns.
fn place_directives(directives: &mut [Directive], sources: &[Source]) {
    directives.sort_by(|a, b| {
        (a.file, a.span.start, a.span.end).cmp(&(b.file, b.span.start, b.span.end))
    });
    for of_file in directives.chunk_by_mut(|a, b| a.file == b.file) {
        let file = of_file.first().map_or(0, |directive| directive.file);
        let text = sources.get(file).map_or("", |source| source.text.as_str());
        let mut walk = Walk::new(text);
        for directive in of_file {
            directive.span = clamp(&directive.span, text);
            (directive.line, directive.column) = walk.to(directive.span.start);
        }
    }
}

fn clamp(span: &Range<usize>, text: &str) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    start..text.ceil_char_boundary(span.end.clamp(start, text.len()))
}

/// Lines and columns of offsets that only grow.
struct Walk<'t> {
    characters: std::iter::Peekable<std::str::CharIndices<'t>>,
    line: usize,
    column: usize,
}

impl<'t> Walk<'t> {
    fn new(text: &'t str) -> Self {
        Self { characters: text.char_indices().peekable(), line: 1, column: 1 }
    }

    fn to(&mut self, offset: usize) -> (usize, usize) {
        while let Some((_, character)) = self.characters.next_if(|(index, _)| *index < offset) {
            self.column += 1;
            if character == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            }
        }
        (self.line, self.column)
    }
}
