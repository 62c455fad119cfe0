//! What became of the directives, as text for people and as JSON for machines.

use serde_json::{Value, json};

use super::{Directive, Disposition, Imported};
use crate::finding::printable;

/// How many directives ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In the TOML.
    pub mapped: usize,
    /// What the door cannot do.
    pub refused: usize,
    /// Left out with a reason.
    pub ignored: usize,
}

/// Counts how the directives of an import ended.
#[must_use]
pub fn counts(directives: &[Directive]) -> Counts {
    directives.iter().fold(Counts::default(), |mut counts, directive| {
        match directive.disposition {
            Disposition::Mapped => counts.mapped += 1,
            Disposition::Refused(_) => counts.refused += 1,
            Disposition::Ignored(_) => counts.ignored += 1,
        }
        counts
    })
}

/// Said of every import: it is so whatever is configured.
const CANONICAL: &str = "the door forwards paths in canonical form: escapes of plain characters are \
    decoded, `%2F` is neither decoded nor taken for a separator, dot segments are resolved, and what a \
    server could read in two ways is refused";

/// What no single directive is the cause of.
fn notes(imported: &Imported) -> impl Iterator<Item = &'static str> {
    std::iter::once(CANONICAL).chain(imported.notes.iter().copied())
}

/// One line for each directive that was not mapped, such as
/// `nginx.conf:12:5: refused: root: the door serves no files`, one with the counts, and one with
/// each difference that is not of a single directive.
#[must_use]
pub fn render_import_text(imported: &Imported) -> String {
    let mut text = String::new();
    for directive in &imported.directives {
        let (word, reason) = match &directive.disposition {
            Disposition::Mapped => continue,
            Disposition::Refused(reason) => ("refused", format!(": {reason}")),
            Disposition::Ignored(reason) => ("ignored", format!(" because {reason}")),
        };
        let Directive { line, column, name, .. } = directive;
        let file = file_name(imported, directive);
        text.push_str(&format!("{file}:{line}:{column}: {word}: {name}{reason}\n"));
    }
    let Counts { mapped, refused, ignored } = counts(&imported.directives);
    text.push_str(&format!("{mapped} directives mapped, {refused} refused, {ignored} ignored\n"));
    for note in notes(imported) {
        text.push_str(&format!("{note}\n"));
    }
    text
}

/// The TOML, the counts, a `note` of what differs whatever the directives, and every directive with `file`, `line`, `column`, `name`,
/// `disposition` and `reason`.
#[must_use]
pub fn render_import_json(imported: &Imported) -> String {
    let object = |directive: &Directive| {
        let (word, reason) = match &directive.disposition {
            Disposition::Mapped => ("mapped", None),
            Disposition::Refused(reason) => ("refused", Some(reason)),
            Disposition::Ignored(reason) => ("ignored", Some(reason)),
        };
        json!({
            "file": file_name(imported, directive),
            "line": directive.line,
            "column": directive.column,
            "name": directive.name,
            "disposition": word,
            "reason": reason,
        })
    };
    let Counts { mapped, refused, ignored } = counts(&imported.directives);
    let text = Value::from(imported.text.as_str());
    // One by one: as a tree, the directives of a large file would take half a gigabyte.
    let directives: Vec<String> =
        imported.directives.iter().map(|directive| object(directive).to_string()).collect();
    let directives = directives.join(",");
    let note = Value::from(notes(imported).collect::<Vec<_>>().join(". "));
    format!(
        "{{\"text\":{text},\"mapped\":{mapped},\"refused\":{refused},\"ignored\":{ignored},\"note\":{note},\"directives\":[{directives}]}}"
    )
}

fn file_name(imported: &Imported, directive: &Directive) -> String {
    let source = imported.sources.get(directive.file);
    source.map(|source| printable(&source.name, 200)).unwrap_or_default()
}
