//! A mistake or a doubt about the configuration, with its place in the text.
//!
//! Readers never stop at the first mistake: they report it to [`Findings`] and go on with a
//! default, so that one run shows everything. Text of the user's only enters a message through
//! [`quote`], so a finding holds no control character and no endless line.
//! Invariant: a configuration is made only when no finding is an error.

use std::cell::RefCell;
use std::ops::Range;

/// Findings of one severity that are kept; more are counted and summed up in one.
const FINDINGS_MAX: usize = 1_000;

/// Characters of the user's text that are repeated in a message.
const QUOTE_CHARACTERS_MAX: usize = 80;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration works, but probably not as meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One mistake or doubt, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The stable name of the rule, such as `unknown-key`.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Which of the sources it is in, from 0; only imports have several.
    pub file: usize,
    /// Where, in bytes of the text; always on character boundaries inside it.
    pub span: Range<usize>,
    /// What to say at that place.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
    /// A second place that explains the first.
    pub related: Option<Related>,
    /// The line of the start, from 1.
    pub line: usize,
    /// The column of the start in characters, from 1.
    pub column: usize,
}

/// A second place that explains a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What to say at that place.
    pub label: String,
}

impl Finding {
    /// An error at `span`; its label says it shortly, in the text's margin.
    pub(crate) fn error(rule: &'static str, span: Range<usize>, message: String) -> Self {
        Self {
            rule,
            severity: Severity::Error,
            message,
            file: 0,
            span,
            label: String::new(),
            help: None,
            related: None,
            line: 1,
            column: 1,
        }
    }

    /// A warning at `span`.
    pub(crate) fn warning(rule: &'static str, span: Range<usize>, message: String) -> Self {
        Self { severity: Severity::Warning, ..Self::error(rule, span, message) }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn help_maybe(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    pub(crate) fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related = Some(Related { span, label: label.into() });
        self
    }
}

/// Collects findings while a text is read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Vec<Finding>,
    errors: usize,
    warnings: usize,
}

impl Findings {
    /// Adds a finding. Warnings never crowd out errors: each severity has its own limit.
    pub(crate) fn add(&self, finding: Finding) {
        let mut state = self.state.borrow_mut();
        let count = match finding.severity {
            Severity::Error => &mut state.errors,
            Severity::Warning => &mut state.warnings,
        };
        *count += 1;
        if *count <= FINDINGS_MAX {
            state.kept.push(finding);
        }
    }

    /// Adds an error that takes some work to word, unless it would only be counted.
    pub(crate) fn add_error_with(&self, word: impl FnOnce() -> Finding) {
        if self.state.borrow().errors < FINDINGS_MAX {
            self.add(word());
        } else {
            self.state.borrow_mut().errors += 1;
        }
    }

    /// Whether anything refuses the configuration so far.
    pub(crate) fn has_errors(&self) -> bool {
        self.state.borrow().errors > 0
    }

    /// All findings, sorted by place, with lines and columns in `text`.
    pub(crate) fn finish(self, text: &str) -> Vec<Finding> {
        let State { mut kept, errors, warnings } = self.state.into_inner();
        for (count, severity) in [(errors, Severity::Error), (warnings, Severity::Warning)] {
            if count > FINDINGS_MAX {
                let message = format!("{} more findings are not shown", count - FINDINGS_MAX);
                let finding = Finding::error("more-findings", text.len()..text.len(), message);
                kept.push(Finding { severity, ..finding });
            }
        }
        place(&mut kept, text);
        kept
    }
}

/// Sorts by place and fills in lines and columns, in one walk over the text.
pub(crate) fn place(findings: &mut [Finding], text: &str) {
    for finding in findings.iter_mut() {
        finding.span = clamp(&finding.span, text);
        if let Some(related) = &mut finding.related {
            related.span = clamp(&related.span, text);
        }
    }
    findings.sort_by(|a, b| {
        (a.span.start, a.severity, a.span.end, a.rule).cmp(&(
            b.span.start,
            b.severity,
            b.span.end,
            b.rule,
        ))
    });
    let mut characters = text.char_indices().peekable();
    let (mut line, mut column) = (1, 1);
    for finding in findings {
        while let Some((_, character)) =
            characters.next_if(|(index, _)| *index < finding.span.start)
        {
            column += 1;
            if character == '\n' {
                (line, column) = (line + 1, 1);
            }
        }
        (finding.line, finding.column) = (line, column);
    }
}

/// The parser's spans are trusted for meaning, not for safety: they end up as string indexes.
fn clamp(span: &Range<usize>, text: &str) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    start..end
}

/// The user's text in backquotes, printable and of bounded length.
pub(crate) fn quote(text: &str) -> String {
    format!("`{}`", printable(text, QUOTE_CHARACTERS_MAX))
}

/// At most so many characters of a text, with those escaped that a terminal could act on.
pub(crate) fn printable(text: &str, characters_max: usize) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == characters_max {
            shown.push('…');
            break;
        }
        if is_unsafe_to_print(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a terminal could act on this character, or show the text in another order.
pub(crate) fn is_unsafe_to_print(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// ``did you mean `x`?`` when one of `known` is close to `given`.
pub(crate) fn did_you_mean<'k>(
    given: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<String> {
    closest(given, known).map(meant)
}

/// ``did you mean `x`?``
pub(crate) fn meant(text: &str) -> String {
    format!("did you mean {}?", quote(text))
}

/// Known words that are compared with a misspelt one, at most.
const CANDIDATES_MAX: usize = 1_000;

/// The known word closest to `given`, if it is close enough to be a slip of the hand.
pub(crate) fn closest<'k>(
    given: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    // A name has at most 64 characters; what is longer is no slip of one.
    if given.len() > 64 {
        return None;
    }
    let given = given.to_lowercase();
    let distance_max = (given.chars().count() / 3).max(1);
    known
        .into_iter()
        .take(CANDIDATES_MAX)
        .map(|name| (strsim::damerau_levenshtein(&given, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= distance_max && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `a`, `b` or `c`.
pub(crate) fn one_of<'k>(words: impl IntoIterator<Item = &'k str>) -> String {
    joined(words, "or")
}

/// `a`, `b` and `c`.
pub(crate) fn all_of<'k>(words: impl IntoIterator<Item = &'k str>) -> String {
    joined(words, "and")
}

fn joined<'k>(words: impl IntoIterator<Item = &'k str>, before_last: &str) -> String {
    let words: Vec<String> = words.into_iter().map(quote).collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {before_last} {last}", first.join(", ")),
    }
}
