//! Files into sections and lines, as HAProxy puts several files together.
//!
//! A folder stands for its `*.cfg` files, sorted by name. A section begins at its keyword and
//! ends at the next one or with its file. What stands between `.if` and `.endif` depends on the
//! machine HAProxy runs on, so it is refused as a whole.
//! Invariant: every line with a word on it is one item.

use std::path::{Path, PathBuf};

use super::super::ledger::{DIRECTIVES_MAX, Ledger};
use super::super::{Files, Place};
use super::items::{Items, Line, span_of};
use super::keywords::{self, SectionKind};
use super::lexer;
use crate::finding::{Finding, did_you_mean, quote};

/// A section with its lines.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// What it is.
    pub(super) kind: SectionKind,
    /// Its name; empty when it has none.
    pub(super) name: String,
    /// The `defaults` section it names with `from`.
    pub(super) from: Option<String>,
    /// The line that opens it.
    pub(super) head: Line,
    /// The lines in it.
    pub(super) lines: Vec<Line>,
}

/// Reads the file or folder at `path` into sections.
pub(super) fn read(
    path: &Path,
    files: &dyn Files,
    ledger: &mut Ledger,
    items: &mut Items,
) -> Vec<Section> {
    let mut sections = Vec::new();
    for path in paths(path, files) {
        let file = ledger.read(&path, files);
        let text = ledger.text(file).to_owned();
        let mut reader = Reader { file, ledger, items, conditions: 0, is_open: false };
        reader.read(&text, &mut sections);
        if ledger.is_full() {
            let place = Place { file, span: 0..0 };
            let message = "the configuration is larger than can be imported".to_owned();
            let finding = Finding::error("too-large", 0..0, message);
            ledger.finding(&place, finding.label("the last file that was read"));
            break;
        }
    }
    sections
}

/// The file itself, or the `*.cfg` files of a folder.
fn paths(path: &Path, files: &dyn Files) -> Vec<PathBuf> {
    let Ok(names) = files.list(path) else { return vec![path.to_owned()] };
    let is_configuration = |name: &&String| name.ends_with(".cfg") && !name.starts_with('.');
    let paths: Vec<PathBuf> =
        names.iter().filter(is_configuration).map(|name| path.join(name)).collect();
    // A folder without any is reported as the file it is not.
    if paths.is_empty() { vec![path.to_owned()] } else { paths }
}

struct Reader<'r> {
    file: usize,
    ledger: &'r mut Ledger,
    items: &'r mut Items,
    /// How many `.if` are open.
    conditions: usize,
    /// Whether a section of this file has begun.
    is_open: bool,
}

impl Reader<'_> {
    fn read(&mut self, text: &str, sections: &mut Vec<Section>) {
        let mut start = 0;
        for raw in text.split_inclusive('\n') {
            // A carriage return ends the line too; nothing behind it is read.
            let line = raw.split(['\n', '\r', '\0']).next().unwrap_or_default();
            if self.items.len() >= DIRECTIVES_MAX {
                let message = format!("more than {DIRECTIVES_MAX} directives");
                self.error(
                    start..start + line.len(),
                    "too-large",
                    message,
                    "the first one too many",
                );
                return;
            }
            self.line(line, start, sections);
            let after = raw.get(line.len()..).unwrap_or_default();
            let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | '\0');
            if !after.trim_matches(blank).is_empty() {
                let end = start + raw.trim_end_matches(['\n', '\r', '\0']).len();
                let span = start + line.len()..end;
                let place = Place { file: self.file, span: span.clone() };
                let item = self.items.add("", place);
                self.items.refused(item, "HAProxy reads nothing behind a carriage return");
                let message = "text stands behind a carriage return or a zero byte".to_owned();
                self.error(span, "syntax", message, "begin a new line before it");
            }
            start += raw.len();
        }
        if self.conditions > 0 {
            let message = "`.if` is never closed".to_owned();
            self.error(text.len()..text.len(), "syntax", message, "add `.endif`");
        }
        if !text.is_empty() && !text.ends_with('\n') {
            let message = "the last line has no line end".to_owned();
            let help = "HAProxy refuses such a file, since it may have been cut off";
            self.error(text.len()..text.len(), "syntax", message, help);
        }
    }

    fn error(
        &mut self,
        span: std::ops::Range<usize>,
        rule: &'static str,
        message: String,
        help: &str,
    ) {
        let place = Place { file: self.file, span };
        self.ledger.finding(&place, Finding::error(rule, 0..0, message).label("here").help(help));
    }

    fn line(&mut self, text: &str, start: usize, sections: &mut Vec<Section>) {
        let (mut words, error) = lexer::words(text, start);
        if let Some(error) = error {
            let blank = |c: char| matches!(c, ' ' | '\t' | '\u{b}' | '\u{c}');
            let begin = start + text.len() - text.trim_start_matches(blank).len();
            let place = Place { file: self.file, span: begin..error.span.end };
            let name = words.first().map_or("", |word| word.text.as_str());
            let item = self.items.add(name, place);
            self.items.refused(item, error.message);
            self.error(error.span, "syntax", error.message.to_owned(), error.help);
            return;
        }
        if words.is_empty() {
            return;
        }
        let place = Place { file: self.file, span: span_of(&words) };
        let prefix = words.first().map_or("", |word| word.text.as_str());
        let is_negated = prefix == "no" && words.len() > 1;
        let is_default = prefix == "default" && words.len() > 1;
        if is_negated || is_default {
            words.remove(0);
        }
        let name: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let item = self.items.add(&keywords::name_of(&name), place);
        let line = Line { item, file: self.file, words, is_negated };
        if self.condition(&line) {
            return;
        }
        if is_default {
            self.items.ignored(item, "it asks for what is the default");
            return;
        }
        self.place_line(line, sections);
    }

    /// Takes the line when it is a directive of the preprocessor, or between two of them.
    fn condition(&mut self, line: &Line) -> bool {
        let word = line.text(0);
        let reason = match word {
            ".if" => "it depends on the machine HAProxy runs on: leave the right branch standing",
            ".elif" | ".else" | ".endif" if self.conditions == 0 => {
                let message = format!("{word} without `.if`");
                self.error(line.place().span, "syntax", message, "remove it, or add `.if`");
                "there is no `.if` before it"
            }
            ".elif" | ".else" | ".endif" => "it belongs to an `.if`, which is refused",
            ".notice" | ".warning" | ".diag" => {
                self.items.ignored(line.item, "HAProxy only prints it");
                return true;
            }
            ".alert" => "HAProxy stops at it",
            _ if self.conditions > 0 => "it stands inside an `.if`, which is refused",
            _ => return false,
        };
        match word {
            ".if" => self.conditions = self.conditions.saturating_add(1),
            ".endif" => self.conditions = self.conditions.saturating_sub(1),
            _ => {}
        }
        self.items.refused(line.item, reason);
        true
    }

    fn place_line(&mut self, line: Line, sections: &mut Vec<Section>) {
        if let Some(kind) = keywords::section(line.text(0)).filter(|_| !line.is_negated) {
            self.is_open = true;
            let section = self.open(kind, line);
            sections.push(section);
            return;
        }
        match sections.last_mut().filter(|_| self.is_open) {
            Some(section) => section.lines.push(line),
            None => {
                let message = format!("{} stands before any section", quote(line.text(0)));
                let known = keywords::section_names();
                let help = did_you_mean(line.text(0), known)
                    .unwrap_or_else(|| "begin with `global`, `defaults` or `frontend NAME`".into());
                self.error(line.place().span, "syntax", message, &help);
                self.items.refused(line.item, "it stands before any section");
            }
        }
    }

    fn open(&mut self, kind: SectionKind, head: Line) -> Section {
        let has_from = |index: usize| kind.is_proxy() && head.text(index) == "from";
        let (name, after) = match head.words.len() {
            1 => (String::new(), 1),
            _ if has_from(1) && kind == SectionKind::Defaults && head.words.len() == 3 => {
                (String::new(), 1)
            }
            _ => (head.text(1).to_owned(), 2),
        };
        let from = has_from(after).then(|| head.text(after + 1).to_owned());
        let known = if from.is_some() { after + 2 } else { after };
        if name.is_empty() && kind.needs_name() {
            let message = format!("{} needs a name", quote(head.text(0)));
            self.error(head.place().span, "syntax", message, "write a name behind it");
        }
        if head.words.len() > known && kind.is_proxy() {
            self.items.cut(&head, known);
            let item = self.items.part(&head, known, head.words.len());
            self.items.refused(
                item,
                "HAProxy no longer takes anything here: write addresses with `bind`",
            );
            let span = head.place_of(known, head.words.len()).span;
            let message = format!("{} is not known here", quote(head.text(known)));
            self.error(
                span,
                "syntax",
                message,
                "write addresses with `bind`, on a line of its own",
            );
        }
        Section { kind, name, from, head, lines: Vec::new() }
    }
}
