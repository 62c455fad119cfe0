//! Findings in the manner of rustc, for people.

use std::ops::Range;

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Origin, Padding, Renderer, Snippet,
};

use super::secrets::secrets;
use super::{clean, line_starts, shown};
use crate::Source;
use crate::finding::{Finding, Severity};

/// Bytes of one line that are given to the renderer, which shows what fits a terminal around the
/// finding. Longer lines are cut before, so that many findings in one huge line stay cheap.
const EXCERPT_BYTES_MAX: usize = 4_096;

/// A source and what is found out about it once.
struct Prepared<'s> {
    text: &'s str,
    name: String,
    lines: Vec<usize>,
    /// Where it may hold secrets.
    secrets: Vec<Range<usize>>,
}

impl<'s> Prepared<'s> {
    fn new(source: &'s Source) -> Self {
        Self {
            text: &source.text,
            name: clean(&source.name),
            lines: line_starts(&source.text),
            secrets: secrets(&source.text),
        }
    }
}

/// Findings in the manner of rustc, one after another with a blank line between.
#[must_use]
pub fn render_text(findings: &[Finding], sources: &[Source], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let prepared: Vec<Prepared<'_>> = sources.iter().map(Prepared::new).collect();
    let nowhere = Prepared { text: "", name: String::new(), lines: vec![0], secrets: Vec::new() };
    let mut text = String::new();
    for finding in findings {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&render_one(
            finding,
            prepared.get(finding.file).unwrap_or(&nowhere),
            &renderer,
        ));
        text.push('\n');
    }
    text
}

fn render_one(finding: &Finding, source: &Prepared<'_>, renderer: &Renderer) -> String {
    let name = &source.name;
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(finding.message.as_str()).id(finding.rule);
    let excerpt = Excerpt::around(source, &finding.span);
    let related = finding
        .related
        .as_ref()
        .map(|related| (Excerpt::around(source, &related.span), related.label.as_str()));

    let mut group = Group::with_title(title);
    let snippet = excerpt.snippet(AnnotationKind::Primary, &finding.label);
    if excerpt.is_cut {
        // The renderer would count columns from where the line is cut.
        let place = Origin::path(name.as_str()).line(finding.line).char_column(finding.column);
        group = group.element(place).element(Padding).element(snippet);
    } else {
        group = group.element(snippet.path(name.as_str()));
    }
    if let Some((excerpt, label)) = &related {
        group = group.element(excerpt.snippet(AnnotationKind::Context, label).path(name.as_str()));
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
    fn around(source: &Prepared<'_>, span: &Range<usize>) -> Self {
        let Prepared { text, lines, secrets, .. } = source;
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
            let place = window_start + offset;
            excerpt.mark(place, &span);
            excerpt.text.push(if is_in(secrets, place) { '*' } else { shown(character) });
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

/// Whether a place is in one of these ranges, which are in order.
fn is_in(ranges: &[Range<usize>], place: usize) -> bool {
    let after = ranges.partition_point(|range| range.start <= place);
    ranges.get(..after).and_then(<[_]>::last).is_some_and(|range| range.contains(&place))
}
