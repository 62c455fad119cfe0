//! Regular expressions of HAProxy that the door's own engine takes, and what they say in letters.
//!
//! HAProxy's are those of PCRE. What the two engines read in two ways is refused, as is what only
//! one of them knows: references back, looking around, atomic groups.

use std::cmp::Ordering;

use regex::bytes::{Captures, Regex};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::pattern::{Expression, Letter, escaped, letters};

/// Bytes of an expression, at most: as many as a route takes.
pub(super) const TEXT_BYTES_MAX: usize = 1_000;

/// Texts that an expression may stand for, at most.
const TEXTS_MAX: usize = 64;

/// An expression with its text, by which it is compared.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    text: String,
    regex: Regex,
}

impl PartialEq for Compiled {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Compiled {}

impl PartialOrd for Compiled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Compiled {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Compiled {
    /// Compiles as the door does; or why it does not.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("an expression has {TEXT_BYTES_MAX} bytes at most"));
        }
        let regex = crate::path::expression::compiled(text)
            .map_err(|_unknown| "the door does not know such an expression".to_owned())?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// The expression.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches somewhere in `path`.
    pub(super) fn is_match(&self, path: &[u8]) -> bool {
        self.regex.is_match(path)
    }

    /// What its groups match in `path`.
    pub(super) fn captures<'p>(&self, path: &'p [u8]) -> Option<Captures<'p>> {
        self.regex.captures(path)
    }

    /// How many groups it has, the whole counted.
    pub(super) fn groups(&self) -> usize {
        self.regex.captures_len()
    }
}

/// An expression of HAProxy's as one of the door's.
pub(super) fn compiled(text: &str, folds: bool) -> Result<Compiled, String> {
    if is_ambiguous(text) || !text.is_ascii() {
        return Err("the door's engine reads this expression in another way".to_owned());
    }
    let text = text.replace("\\/", "/");
    Compiled::new(&if folds { format!("(?i){text}") } else { text })
}

/// An expression of HAProxy's that a path has to match.
pub(super) fn matching(text: &str, folds: bool) -> Result<Expression, String> {
    let compiled = compiled(text, folds)?;
    let (mut start, end) = parsed(compiled.text()).map(|hir| ends_of(&hir)).unwrap_or_default();
    if start == letters("/", false) {
        // All paths begin so.
        start.clear();
    }
    Ok(Expression { compiled, contains: Vec::new(), start, end })
}

/// What stands in an expression behind its first letters, which are `text`; without any, all of it.
/// `None` where it cannot be put behind anything else.
pub(super) fn behind(expression: &str, text: &str) -> Option<String> {
    let mut rest = match expression.strip_prefix('^') {
        Some(rest) => rest.to_owned(),
        None if text.is_empty() && !expression.contains('^') => format!(".*{expression}"),
        None => return None,
    };
    for letter in text.chars() {
        let plain = rest.strip_prefix('\\').filter(|_| !letter.is_ascii_alphanumeric());
        rest = plain.unwrap_or(&rest).strip_prefix(letter)?.to_owned();
    }
    let is_quantified = rest.starts_with(['*', '+', '?', '{']);
    (!is_quantified && !rest.contains("(?i") && !has_alternatives(&rest)).then_some(rest)
}

/// Whether an expression stands for one thing or another, outside of groups.
fn has_alternatives(text: &str) -> bool {
    let (mut depth, mut in_class) = (0_usize, false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            ']' => in_class = false,
            '[' => in_class = true,
            _ if in_class => {}
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// Whether no path matches, since each begins with a slash.
pub(super) fn is_never(text: &str) -> bool {
    let begins = text.strip_prefix('^').filter(|_| !text.contains('|'));
    match begins.map(str::as_bytes) {
        Some([letter, b'?' | b'*' | b'{', ..]) if letter.is_ascii_alphanumeric() => false,
        Some([letter, ..]) => letter.is_ascii_alphanumeric(),
        Some([]) | None => false,
    }
}

/// The paths that hold a text.
pub(super) fn containing(text: &str, folds: bool) -> Result<Expression, String> {
    let contains = letters(text, folds);
    let escaped = escaped(&contains, folds);
    let compiled = Compiled::new(&if folds { format!("(?i){escaped}") } else { escaped })?;
    Ok(Expression { compiled, contains, start: Vec::new(), end: Vec::new() })
}

/// Whether PCRE and the door's engine may take different texts: what one takes for a repetition
/// that keeps what it has, the other takes for two repetitions, and classes hold operators here.
fn is_ambiguous(text: &str) -> bool {
    let possessive = ["++", "*+", "?+", "}+"].iter().any(|part| text.contains(part));
    let operators =
        ["&&", "--", "~~", "\\<", "\\>", "\\b{", "(?x", "(?s", "(?U", "(?m", "(?u", "(?-"];
    let has_nested = text.match_indices('[').any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let open = before
            .rfind('[')
            .is_some_and(|open| !before.get(open..).unwrap_or_default().contains(']'));
        open && !text.get(at..).unwrap_or_default().starts_with("[:")
    });
    possessive || has_nested || operators.iter().any(|part| text.contains(part))
}

fn parsed(text: &str) -> Option<Hir> {
    ParserBuilder::new().unicode(false).utf8(false).build().parse(text).ok()
}

/// The letters that all matching texts begin and end with.
fn ends_of(hir: &Hir) -> (Vec<Letter>, Vec<Letter>) {
    let HirKind::Concat(parts) = hir.kind() else { return Default::default() };
    let start = match parts.split_first() {
        Some((first, rest)) if is_look(first, Look::Start) => {
            rest.iter().map_while(letters_of).flatten().collect()
        }
        Some(_) | None => Vec::new(),
    };
    let mut end: Vec<Letter> = match parts.split_last() {
        Some((last, rest)) if is_look(last, Look::End) => {
            let backwards = rest.iter().rev().map_while(letters_of);
            backwards.flat_map(|letters| letters.into_iter().rev()).collect()
        }
        Some(_) | None => Vec::new(),
    };
    end.reverse();
    (start, end)
}

fn is_look(hir: &Hir, look: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(found) if *found == look)
}

/// The letters of a part that is nothing else.
fn letters_of(hir: &Hir) -> Option<Vec<Letter>> {
    match hir.kind() {
        HirKind::Literal(literal) => {
            Some(literal.0.iter().map(|byte| Letter::of(*byte, false)).collect())
        }
        HirKind::Class(class) => match bytes_of(class)?.as_slice() {
            [byte] => Some(vec![Letter::of(*byte, false)]),
            [upper, lower] if upper.to_ascii_lowercase() == *lower => {
                Some(vec![Letter::of(*lower, true)])
            }
            _ => None,
        },
        HirKind::Empty
        | HirKind::Look(_)
        | HirKind::Repetition(_)
        | HirKind::Capture(_)
        | HirKind::Concat(_)
        | HirKind::Alternation(_) => None,
    }
}

/// The bytes of a class, sorted, when they are few.
fn bytes_of(class: &Class) -> Option<Vec<u8>> {
    let ranges: Vec<(u8, u8)> = match class {
        Class::Bytes(bytes) => bytes.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Unicode(characters) => {
            let byte = |character: char| u8::try_from(character).ok();
            let ranges =
                characters.iter().map(|range| Some((byte(range.start())?, byte(range.end())?)));
            ranges.collect::<Option<_>>()?
        }
    };
    let bytes: Vec<u8> =
        ranges.into_iter().flat_map(|(from, to)| from..=to).take(TEXTS_MAX).collect();
    (bytes.len() < TEXTS_MAX).then_some(bytes)
}

/// All texts that an expression matches whole, in lower case, when they are few: `^(www\.)?a\.b$`.
pub(super) fn texts(text: &str) -> Option<Vec<String>> {
    let hir = parsed(text)?;
    let HirKind::Concat(parts) = hir.kind() else { return None };
    let [first, inner @ .., last] = parts.as_slice() else { return None };
    if !is_look(first, Look::Start) || !is_look(last, Look::End) {
        return None;
    }
    let texts = all_of(inner.iter().map(texts_of))?;
    let lower = texts.into_iter().map(|text| String::from_utf8(text.to_ascii_lowercase()).ok());
    let mut lower = lower.collect::<Option<Vec<String>>>()?;
    lower.sort_unstable();
    lower.dedup();
    Some(lower)
}

fn texts_of(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![Vec::new()]),
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Class(class) => {
            Some(bytes_of(class)?.into_iter().map(|byte| vec![byte]).collect())
        }
        HirKind::Look(_) => None,
        HirKind::Repetition(repetition) if (repetition.min, repetition.max) == (0, Some(1)) => {
            let mut texts = texts_of(&repetition.sub)?;
            texts.push(Vec::new());
            Some(texts)
        }
        HirKind::Repetition(_) => None,
        HirKind::Capture(capture) => texts_of(&capture.sub),
        HirKind::Concat(parts) => all_of(parts.iter().map(texts_of)),
        HirKind::Alternation(either) => {
            let texts: Vec<Vec<u8>> =
                either.iter().map(texts_of).collect::<Option<Vec<_>>>()?.concat();
            (texts.len() <= TEXTS_MAX).then_some(texts)
        }
    }
}

/// Each text of one part behind each of those before it.
fn all_of(parts: impl Iterator<Item = Option<Vec<Vec<u8>>>>) -> Option<Vec<Vec<u8>>> {
    let mut all = vec![Vec::new()];
    for part in parts {
        let part = part?;
        if all.len() * part.len() > TEXTS_MAX {
            return None;
        }
        let behind = |head: &Vec<u8>| {
            part.iter().map(|tail| [head.as_slice(), tail].concat()).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(behind).collect();
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_texts_are_listed() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(texts(text).unwrap_or_default(), expected, "{text}");
        };
        check(r"^(www\.)?a\.test$", &["a.test", "www.a.test"]);
        check(r"^(?:a|b)\.(t|u)$", &["a.t", "a.u", "b.t", "b.u"]);
        check(r"(?i)^A$", &["a"]);
        check(r"^a$", &["a"]);
        check(r"^[^.]+\.a$", &[]);
        check(r"^a", &[]);
        check(r"^(a$|b)$", &[]);
    }

    #[test]
    fn expressions_are_cut_behind_their_first_letters() {
        let check = |expression: &str, text: &str, expected: Option<&str>| {
            assert_eq!(behind(expression, text).as_deref(), expected, "{expression}");
        };
        check("^/a/[0-9]+", "/a/", Some("[0-9]+"));
        check(r"^\/a\.b(c|d)", "/a.b", Some("(c|d)"));
        check("^/a+", "/a", None);
        check(r"^\d", "d", None);
        check("^/a|b", "/a", None);
        check("^/a[|]", "/a", Some("[|]"));
        check("a", "", Some(".*a"));
        check("a", "a", None);
        check("(?i)^/a", "", None);
    }

    #[test]
    fn letters_at_the_ends_are_known() {
        let check = |text: &str, folds: bool, start: &str, end: &str| {
            let found = matching(text, folds).expect("it is known");
            assert_eq!(
                (found.start, found.end),
                (letters(start, folds), letters(end, folds)),
                "{text}"
            );
        };
        check("^/api/[0-9]+", false, "/api/", "");
        check(r"^\/api/(.*)\.php$", false, "/api/", ".php");
        check("^/Api/[0-9]+/x$", true, "/Api/", "/x");
        check("/api", false, "", "");
        check("^/[a-z]+/x$", false, "", "/x");
        for text in [r"(a)\1", "a(?=b)", "a++", "[a&&b]", "[[a]]", r"\<a", "a{"] {
            assert!(matching(text, false).is_err(), "{text}");
        }
        assert!(matching("[[:alpha:]_-]+[.]", false).is_ok());
    }
}
