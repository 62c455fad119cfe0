//! Findings as text for people and as JSON for machines.
//!
//! Invariant: no control character of the configuration reaches the terminal. The excerpt is
//! cleaned here; messages were cleaned where they were made.

use std::ops::Range;

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Origin, Padding, Renderer, Snippet,
};
use serde_json::{Value, json};

use crate::Source;
use crate::finding::{Finding, Severity, is_unsafe_to_print};

/// Bytes of one line that are given to the renderer, which shows what fits a terminal around the
/// finding. Longer lines are cut before, so that many findings in one huge line stay cheap.
const EXCERPT_BYTES_MAX: usize = 4_096;

/// Findings in the manner of rustc, one after another with a blank line between.
#[must_use]
pub fn render_text(findings: &[Finding], source: &Source, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let lines = line_starts(&source.text);
    let name = clean(&source.name);
    let mut text = String::new();
    for finding in findings {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&render_one(finding, source, &lines, (&renderer, &name)));
        text.push('\n');
    }
    text
}

/// Findings as an array of objects with `rule`, `severity`, `message`, `file`, `line`, `column`,
/// `start`, `end` (bytes), `label`, `help` and `related`.
#[must_use]
pub fn render_json(findings: &[Finding], source: &Source) -> Value {
    let name = clean(&source.name);
    let object = |finding: &Finding| {
        json!({
            "rule": finding.rule,
            "severity": finding.severity.as_str(),
            "message": finding.message,
            "file": name,
            "line": finding.line,
            "column": finding.column,
            "start": finding.span.start,
            "end": finding.span.end,
            "label": finding.label,
            "help": finding.help,
            "related": finding.related.as_ref().map(|related| json!({
                "start": related.span.start,
                "end": related.span.end,
                "label": related.label,
            })),
        })
    };
    Value::Array(findings.iter().map(object).collect())
}

fn render_one(
    finding: &Finding,
    source: &Source,
    lines: &[usize],
    (renderer, name): (&Renderer, &str),
) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(finding.message.as_str()).id(finding.rule);
    let excerpt = Excerpt::around(&source.text, lines, &finding.span);
    let related = finding.related.as_ref().map(|related| {
        (Excerpt::around(&source.text, lines, &related.span), related.label.as_str())
    });

    let mut group = Group::with_title(title);
    let snippet = excerpt.snippet(AnnotationKind::Primary, &finding.label);
    if excerpt.is_cut {
        // The renderer would count columns from where the line is cut.
        let place = Origin::path(name).line(finding.line).char_column(finding.column);
        group = group.element(place).element(Padding).element(snippet);
    } else {
        group = group.element(snippet.path(name));
    }
    if let Some((excerpt, label)) = &related {
        group = group.element(excerpt.snippet(AnnotationKind::Context, label).path(name));
    }
    if let Some(help) = &finding.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// One line of the text, clean, and where the finding is in it.
struct Excerpt {
    text: String,
    line: usize,
    span: Range<usize>,
    /// Whether the text does not begin where the line does.
    is_cut: bool,
}

impl Excerpt {
    /// The line where `span` starts. A span over several lines ends with its first: a table's
    /// header says enough.
    fn around(text: &str, lines: &[usize], span: &Range<usize>) -> Self {
        let index = lines.partition_point(|start| *start <= span.start).saturating_sub(1);
        let line_start = lines.get(index).copied().unwrap_or(0);
        let line_end = lines.get(index + 1).map_or(text.len(), |next| next - 1);
        let window_start = span.start.saturating_sub(EXCERPT_BYTES_MAX / 2).max(line_start);
        let window_start = text.floor_char_boundary(window_start);
        let window_end = text.ceil_char_boundary((window_start + EXCERPT_BYTES_MAX).min(line_end));
        let start = span.start.min(window_end);
        let span = start..span.end.clamp(start, window_end);

        let mut excerpt = Self {
            text: String::new(),
            line: index + 1,
            span: usize::MAX..usize::MAX,
            is_cut: window_start > line_start,
        };
        let window = text.get(window_start..window_end).unwrap_or_default();
        for (offset, character) in window.char_indices() {
            excerpt.mark(window_start + offset, &span);
            excerpt.text.push(shown(character));
        }
        excerpt.mark(window_end, &span);
        let length = excerpt.text.len();
        excerpt.span = excerpt.span.start.min(length)..excerpt.span.end.min(length);
        excerpt
    }

    fn snippet<'e>(&'e self, kind: AnnotationKind, label: &'e str) -> Snippet<'e, Annotation<'e>> {
        Snippet::source(self.text.as_str())
            .line_start(self.line)
            .annotation(kind.span(self.span.clone()).label(label))
    }

    fn mark(&mut self, position: usize, span: &Range<usize>) {
        if position == span.start {
            self.span.start = self.text.len();
        }
        if position == span.end {
            self.span.end = self.text.len();
        }
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect()
}

fn clean(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// A character that a terminal shows and does not act on.
fn shown(character: char) -> char {
    match character {
        '\t' | '\r' => ' ',
        '\u{7f}' => '\u{2421}',
        '\0'..='\u{1f}' => {
            char::from_u32(0x2400 + u32::from(character)).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        _ if is_unsafe_to_print(character) => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}
