//! Sets of paths: all of them, those that begin or end with letters, and those that an expression
//! matches.
//!
//! They are closed under intersection: letters meet letters, and of expressions each is kept, since
//! no single one says what two say ([`Path::written`] is `None` for those). What two sets have in
//! common is thus always a set of this kind, and of two sets that are equal both are the same value.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::expression::{Compiled, TEXT_BYTES_MAX};

/// A set of paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Path {
    /// Any.
    Any,
    /// What begins with this and a slash; it does not end with one itself.
    Below(String),
    /// This one.
    Exact(String),
    /// What none of the others says.
    Like(Rc<Like>),
}

/// One character of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Letter {
    byte: u8,
    /// Whether it may be in upper or lower case; then `byte` is in lower case.
    folds: bool,
}

/// Paths that begin and end with letters, and that expressions match.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Like {
    /// The first letters.
    pub(super) start: Vec<Letter>,
    /// The last letters; they may be among the first.
    pub(super) end: Vec<Letter>,
    /// Whether the first letters are all.
    pub(super) is_whole: bool,
    /// What has to match besides, unless letters say so already.
    pub(super) expressions: BTreeSet<Rc<Expression>>,
}

/// An expression that a path has to match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Expression {
    /// The expression.
    pub(super) compiled: Compiled,
    /// The letters that it looks for anywhere, when it does nothing else.
    pub(super) contains: Vec<Letter>,
    /// What all of its paths begin with.
    pub(super) start: Vec<Letter>,
    /// What all of its paths end with.
    pub(super) end: Vec<Letter>,
}

/// A set of paths as the key of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// No key: any path.
    Any,
    /// A prefix, which ends at a segment.
    Prefix(String),
    /// The whole path.
    Exact(String),
    /// The first letters.
    Start(String),
    /// An expression.
    Regex(String),
}

/// The letters of a text.
pub(super) fn letters(text: &str, folds: bool) -> Vec<Letter> {
    text.bytes().map(|byte| Letter::of(byte, folds)).collect()
}

impl Letter {
    /// A letter; `folds`: in upper or lower case, if it has both.
    pub(super) fn of(byte: u8, folds: bool) -> Self {
        let folds = folds && byte.is_ascii_alphabetic();
        Self { byte: if folds { byte.to_ascii_lowercase() } else { byte }, folds }
    }

    /// Whether it is this byte.
    pub(super) fn is(self, byte: u8) -> bool {
        self.byte == byte
    }

    /// What both are.
    fn and(self, other: Self) -> Option<Self> {
        let is_same = match (self.folds, other.folds) {
            (false, false) | (true, true) => self.byte == other.byte,
            (true, false) | (false, true) => self.byte.eq_ignore_ascii_case(&other.byte),
        };
        let narrower = if self.folds { other } else { self };
        is_same.then_some(narrower)
    }
}

impl Path {
    /// The paths that begin with a text.
    pub(super) fn beginning(text: &str, folds: bool) -> Self {
        Like { start: letters(text, folds), ..Like::default() }.path()
    }

    /// The paths that end with a text.
    pub(super) fn ending(text: &str, folds: bool) -> Self {
        Like { end: letters(text, folds), ..Like::default() }.path()
    }

    /// The path that is a text.
    pub(super) fn whole(text: &str, folds: bool) -> Self {
        Like { start: letters(text, folds), is_whole: true, ..Like::default() }.path()
    }

    /// The paths that an expression matches.
    pub(super) fn matching(expression: Expression) -> Self {
        let (start, end) = (expression.start.clone(), expression.end.clone());
        let expressions = [Rc::new(expression)].into();
        Like { start, end, is_whole: false, expressions }.path()
    }

    /// The paths in both; `None` when there are none.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, path) | (path, Self::Any) => Some(path.clone()),
            (Self::Exact(a), Self::Exact(b)) => (a == b).then(|| self.clone()),
            (Self::Below(prefix), Self::Exact(path)) => {
                is_below(path, prefix).then(|| other.clone())
            }
            (Self::Exact(path), Self::Below(prefix)) => {
                is_below(path, prefix).then(|| self.clone())
            }
            (Self::Below(a), Self::Below(b)) if a == b || is_below(a, b) => Some(self.clone()),
            (Self::Below(a), Self::Below(b)) => is_below(b, a).then(|| other.clone()),
            (Self::Like(_), _) | (_, Self::Like(_)) => Some(self.like().and(&other.like())?.path()),
        }
    }

    /// Whether every path of `other` is one of these.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Exact(_), _) => self == other,
            (Self::Below(_), Self::Any) => false,
            (Self::Below(prefix), Self::Exact(path)) => is_below(path, prefix),
            (Self::Below(a), Self::Below(b)) => a == b || is_below(b, a),
            (Self::Like(_), _) | (_, Self::Like(_)) => {
                self.and(other).is_some_and(|both| both == *other)
            }
        }
    }

    /// The set said by letters.
    pub(super) fn like(&self) -> Like {
        match self {
            Self::Any => Like::default(),
            Self::Below(prefix) => {
                Like { start: letters(&format!("{prefix}/"), false), ..Like::default() }
            }
            Self::Exact(path) => {
                Like { start: letters(path, false), is_whole: true, ..Like::default() }
            }
            Self::Like(like) => (**like).clone(),
        }
    }

    /// How a route asks for the set; `None` when no single one can.
    pub(super) fn written(&self) -> Option<Pattern> {
        match self {
            Self::Any => Some(Pattern::Any),
            Self::Below(prefix) => Some(Pattern::Prefix(prefix.clone())),
            Self::Exact(path) => Some(Pattern::Exact(path.clone())),
            Self::Like(like) => match like.only_start() {
                Some(start) if is_plain(&start) => Some(Pattern::Start(start)),
                Some(_) | None => like.regex().map(Pattern::Regex),
            },
        }
    }

    /// The set as an expression.
    pub(super) fn regex(&self) -> Option<String> {
        self.like().regex()
    }

    /// Grows with every narrowing, wherever letters fold or expressions match too.
    pub(super) fn depth(&self) -> usize {
        let weight = |letters: &[Letter]| -> usize {
            letters.iter().map(|letter| if letter.folds { LETTER } else { 2 * LETTER }).sum()
        };
        match self {
            Self::Any => 0,
            Self::Below(prefix) => 2 * LETTER * (prefix.len() + 1),
            Self::Exact(path) => WHOLE + 2 * LETTER * path.len(),
            Self::Like(like) => {
                let whole = if like.is_whole { WHOLE } else { 0 };
                whole + weight(&like.start) + weight(&like.end) + like.expressions.len()
            }
        }
    }
}

/// What a letter weighs: more than all expressions that it may make needless.
const LETTER: usize = 1 << 14;

/// More than all letters weigh.
const WHOLE: usize = 1 << 40;

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a route takes a text as its path, as it stands.
pub(super) fn is_plain(text: &str) -> bool {
    is_of_path(text)
        && text.starts_with('/')
        && !text.contains(['*', '%'])
        && !text.contains("//")
        && !text.split('/').any(|segment| segment == "." || segment == "..")
}

/// Whether a text may stand in a path in canonical form.
pub(super) fn is_of_path(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte))
}

impl Like {
    /// The paths in both.
    fn and(&self, other: &Self) -> Option<Self> {
        let expressions = self.expressions.union(&other.expressions).cloned().collect();
        let like = match (self.is_whole, other.is_whole) {
            (true, true) => {
                let start = (self.start.len() == other.start.len())
                    .then(|| met(&self.start, &other.start))??;
                Self { start, is_whole: true, end: Vec::new(), expressions }
            }
            (true, false) => Self { expressions, ..self.within(other)? },
            (false, true) => Self { expressions, ..other.within(self)? },
            (false, false) => {
                let start = met(&self.start, &other.start)?;
                let end = met(&reversed(&self.end), &reversed(&other.end))?;
                Self { start, end: reversed(&end), is_whole: false, expressions }
            }
        };
        like.settled()
    }

    /// These whole letters, as far as they begin and end as `other` wants.
    fn within(&self, other: &Self) -> Option<Self> {
        if self.start.len() < other.start.len().max(other.end.len()) {
            return None;
        }
        let start = met(&self.start, &other.start)?;
        let start = met(&reversed(&start), &reversed(&other.end))?;
        Some(Self { start: reversed(&start), end: Vec::new(), ..self.clone() })
    }

    /// Without the expressions that the letters say already; `None` when one never matches them.
    fn settled(mut self) -> Option<Self> {
        if self.is_whole && !self.start.iter().any(|letter| letter.folds) {
            let path: Vec<u8> = self.start.iter().map(|letter| letter.byte).collect();
            let matches = |expression: &Rc<Expression>| expression.compiled.is_match(&path);
            if !self.expressions.iter().all(matches) {
                return None;
            }
            self.expressions.clear();
        }
        let (start, end) = (self.start.clone(), self.end.clone());
        self.expressions.retain(|expression| {
            let found = &expression.contains;
            found.is_empty() || !(holds(&start, found) || holds(&end, found))
        });
        Some(self)
    }

    /// The set, in the simplest way to say it.
    pub(super) fn path(mut self) -> Path {
        let folds = self.start.iter().any(|letter| letter.folds);
        if !self.is_whole && matches!(self.start.as_slice(), [Letter { byte: b'/', .. }]) {
            // Every path begins with a slash.
            self.start.clear();
        }
        let is_simple = !folds && self.end.is_empty() && self.expressions.is_empty();
        if !is_simple {
            return Path::Like(Rc::new(self));
        }
        let text = text_of(&self.start);
        match text.strip_suffix('/') {
            _ if self.is_whole => Path::Exact(text),
            _ if text.is_empty() => Path::Any,
            Some(prefix) if is_plain(prefix) => Path::Below(prefix.to_owned()),
            Some(_) | None => Path::Like(Rc::new(self)),
        }
    }

    /// The first letters, when nothing else is asked.
    fn only_start(&self) -> Option<String> {
        let is_alone = self.end.is_empty()
            && !self.is_whole
            && self.expressions.is_empty()
            && !self.start.iter().any(|letter| letter.folds);
        is_alone.then(|| text_of(&self.start))
    }

    /// One expression for the set, if there is one that is short enough.
    fn regex(&self) -> Option<String> {
        let text = if self.expressions.is_empty() {
            self.regex_of_letters()
        } else {
            self.only_expression()?.compiled.text().to_owned()
        };
        (text.len() <= TEXT_BYTES_MAX).then_some(text)
    }

    fn regex_of_letters(&self) -> String {
        let all = || self.start.iter().chain(&self.end);
        // Said once for all letters, if it holds for all of them.
        let folds_all = all().any(|letter| letter.folds)
            && all().all(|letter| letter.folds || !letter.byte.is_ascii_alphabetic());
        let escaped = |letters: &[Letter]| escaped(letters, folds_all);
        let (start, end) = (escaped(&self.start), escaped(&self.end));
        let inner = match (self.is_whole, start.is_empty(), end.is_empty()) {
            (true, _, _) => format!("^{start}$"),
            (false, _, true) => format!("^{start}"),
            (false, true, false) => format!("{end}$"),
            (false, false, false) => {
                let mut either = vec![format!("{start}.*{end}")];
                either.extend(self.overlaps().iter().map(|whole| escaped(whole)));
                match either.as_slice() {
                    [only] => format!("^{only}$"),
                    many => format!("^(?:{})$", many.join("|")),
                }
            }
        };
        if folds_all { format!("(?i){inner}") } else { inner }
    }

    /// The expression that says all there is to say, if there is one.
    pub(super) fn only_expression(&self) -> Option<&Expression> {
        let only = self.expressions.first().filter(|_| self.expressions.len() == 1)?;
        let says_all = !self.is_whole && self.start == only.start && self.end == only.end;
        says_all.then_some(&**only)
    }

    /// One expression for the set, whose first group is the whole path.
    pub(super) fn captured(&self) -> Option<String> {
        if !self.expressions.is_empty() {
            return None;
        }
        let (start, end) = (escaped(&self.start, false), escaped(&self.end, false));
        Some(match (self.is_whole, end.is_empty()) {
            (true, _) => format!("^({start})$"),
            (false, true) => format!("^({start}.*)"),
            (false, false) => {
                let mut either = vec![format!("{start}.*{end}")];
                either.extend(self.overlaps().iter().map(|whole| escaped(whole, false)));
                format!("^({})$", either.join("|"))
            }
        })
    }

    /// What all of the paths begin with, and how what follows ends: where nothing else is asked, and
    /// the two cannot share letters.
    pub(super) fn between(&self) -> Option<(String, String)> {
        let is_exact = !self.start.iter().any(|letter| letter.folds);
        if self.is_whole || !self.expressions.is_empty() || !is_exact {
            return None;
        }
        let begins = if self.start.is_empty() { letters("/", false) } else { self.start.clone() };
        let like = Self { start: begins, ..self.clone() };
        let text = text_of(&like.start);
        like.overlaps().is_empty().then(|| (text, escaped(&self.end, false)))
    }

    /// The paths in which some of the last letters are among the first.
    fn overlaps(&self) -> Vec<Vec<Letter>> {
        let (start, end) = (&self.start, &self.end);
        let overlap = |count: usize| {
            let (head, tail) = start.split_at_checked(start.len() - count)?;
            let (front, rest) = end.split_at_checked(count)?;
            let shared = met(tail, front)?;
            Some([head, &shared, rest].concat())
        };
        (1..=start.len().min(end.len())).filter_map(overlap).collect()
    }
}

/// What begins with both.
fn met(a: &[Letter], b: &[Letter]) -> Option<Vec<Letter>> {
    let (longer, shorter) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let mut all: Vec<Letter> =
        shorter.iter().zip(longer).map(|(one, other)| one.and(*other)).collect::<Option<_>>()?;
    all.extend(longer.iter().skip(shorter.len()));
    Some(all)
}

fn reversed(letters: &[Letter]) -> Vec<Letter> {
    letters.iter().rev().copied().collect()
}

/// Whether `found` stands in all texts that have these letters.
fn holds(letters: &[Letter], found: &[Letter]) -> bool {
    letters.windows(found.len().max(1)).any(|part| {
        part.iter().zip(found).all(|(letter, wanted)| letter.and(*wanted) == Some(*letter))
    })
}

fn text_of(letters: &[Letter]) -> String {
    letters.iter().map(|letter| char::from(letter.byte)).collect()
}

/// The letters in an expression; `folds_all`: it says of all of them that they fold.
pub(super) fn escaped(letters: &[Letter], folds_all: bool) -> String {
    let mut text = String::new();
    for letter in letters {
        let character = char::from(letter.byte);
        if letter.folds && !folds_all {
            text.push_str(&format!("[{character}{}]", character.to_ascii_uppercase()));
        } else if ".+*?()|[]{}^$\\".contains(character) {
            text.push_str(&format!("\\{character}"));
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::expression::containing;
    use super::*;

    #[test]
    fn sets_are_written_in_the_simplest_way() {
        let both = |a: Path, b: Path| a.and(&b).expect("they meet");
        let found = |text: &str| Path::matching(containing(text, false).expect("it is short"));
        for (path, expected) in [
            (Path::beginning("/", true), Some(Pattern::Any)),
            (Path::beginning("/a/", false), Some(Pattern::Prefix("/a".to_owned()))),
            (Path::beginning("/img", false), Some(Pattern::Start("/img".to_owned()))),
            (Path::whole("/a", false), Some(Pattern::Exact("/a".to_owned()))),
            (Path::beginning("/Img", true), Some(Pattern::Regex("(?i)^/img".to_owned()))),
            (Path::beginning("/.", false), Some(Pattern::Regex(r"^/\.".to_owned()))),
            (Path::beginning("/a*", false), Some(Pattern::Regex(r"^/a\*".to_owned()))),
            (Path::ending(".php", false), Some(Pattern::Regex(r"\.php$".to_owned()))),
            (Path::whole("/a", true), Some(Pattern::Regex("(?i)^/a$".to_owned()))),
            (
                both(Path::beginning("/a", false), Path::ending(".js", true)),
                Some(Pattern::Regex(r"^/a.*\.[jJ][sS]$".to_owned())),
            ),
            (
                both(Path::beginning("/aba", false), Path::ending("aba", false)),
                Some(Pattern::Regex("^(?:/aba.*aba|/ababa|/aba)$".to_owned())),
            ),
            (
                both(Path::beginning("/API/", true), Path::beginning("/api", false)),
                Some(Pattern::Prefix("/api".to_owned())),
            ),
            (found("min"), Some(Pattern::Regex("min".to_owned()))),
            (
                both(found("min"), Path::beginning("/admin", false)),
                Some(Pattern::Start("/admin".to_owned())),
            ),
            (both(found("min"), Path::beginning("/x", false)), None),
            (both(found("min"), found("max")), None),
            (
                both(found("min"), Path::whole("/min", false)),
                Some(Pattern::Exact("/min".to_owned())),
            ),
        ] {
            assert_eq!(path.written(), expected, "{path:?}");
        }
        assert_eq!(found("min").and(&Path::whole("/max", false)), None);
        assert_eq!(Path::beginning("/a", false).and(&Path::beginning("/B", true)), None);
    }

    fn path() -> impl Strategy<Value = Path> {
        let text =
            |pattern: &'static str| proptest::string::string_regex(pattern).expect("it is one");
        prop_oneof![
            Just(Path::Any),
            (text("/[aB/]{0,3}"), any::<bool>())
                .prop_map(|(text, folds)| Path::beginning(&text, folds)),
            (text("[aB/]{1,3}"), any::<bool>())
                .prop_map(|(text, folds)| Path::ending(&text, folds)),
            (text("/[aB/]{0,3}"), any::<bool>())
                .prop_map(|(text, folds)| Path::whole(&text, folds)),
            (text("[aB/]{1,2}"), any::<bool>()).prop_map(|(text, folds)| Path::matching(
                containing(&text, folds).expect("it is short")
            )),
        ]
    }

    /// Whether a path is in a set, by the expression that says so.
    fn is_in(set: &Path, path: &str) -> Option<bool> {
        let compiled = Compiled::new(&set.regex()?).expect("it compiles");
        Some(compiled.is_match(path.as_bytes()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn what_is_in_both_sets_is_in_what_they_have_in_common(
            a in path(), b in path(), path in "/[abAB/]{0,6}"
        ) {
            let both = (is_in(&a, &path) == Some(true)) && (is_in(&b, &path) == Some(true));
            match a.and(&b) {
                None => prop_assert!(!both, "{a:?} {b:?}"),
                Some(meet) => {
                    if let Some(inside) = is_in(&meet, &path) {
                        prop_assert_eq!(inside, both, "{:?} {:?} {:?}", a, b, meet);
                    }
                    prop_assert!(a.covers(&meet) && b.covers(&meet), "{:?} {:?} {:?}", a, b, meet);
                    prop_assert!(meet == a || a.depth() < meet.depth(), "{:?} {:?}", a, meet);
                    prop_assert_eq!(b.and(&a), Some(meet));
                }
            }
        }
    }
}
