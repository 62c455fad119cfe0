//! nginx's regular expressions as those of this door.
//!
//! nginx matches PCRE on decoded text; this door matches the `regex` crate on canonical paths, in
//! which some characters stay escaped; `atoms` sees to those. What the crate does not know (looking
//! around, going back) is refused.
//! Invariant: what comes out matches a canonical path where nginx matches it decoded, but for an
//! escaped slash, which is a slash to nginx only.

use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, Look};

use super::atoms::translated;

/// Bytes of an expression of this door, at most.
const TEXT_BYTES_MAX: usize = 1_000;

/// Beginnings that are told apart, at most; more are taken together.
const HEADS_MAX: usize = 64;

/// A character of a canonical path: one, or an escape as a whole.
const ANY: &str = "(?:[^%]|%[0-9A-F]{2})";

/// An expression of this door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    body: String,
    ignores_case: bool,
    /// What every path it matches begins with, one of these; `None` when that may be anything.
    heads: Option<Vec<Vec<u8>>>,
    /// What every match begins with, wherever it stands; `None` when that may be anything.
    firsts: Option<Vec<Vec<u8>>>,
    /// The expression that may match anywhere, which this one looks for between escapes.
    inner: Option<Box<Self>>,
}

impl Expression {
    /// Reads an expression of nginx, or says why the door has none like it.
    pub(super) fn new(text: &str, ignores_case: bool) -> Result<Self, String> {
        let (text, ignores_case) = match text.strip_prefix("(?i)") {
            Some(rest) => (rest, true),
            None => (text, ignores_case),
        };
        let body = translated(text, ignores_case)?;
        let expression = Self::of(body, ignores_case).ok_or(UNKNOWN)?;
        let expression = expression.anywhere().unwrap_or(expression);
        let starts_amid = |first: &Vec<u8>| {
            first.first().is_none_or(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte))
        };
        let is_whole =
            |firsts: &Vec<Vec<u8>>| !firsts.is_empty() && !firsts.iter().any(starts_amid);
        let aligned =
            if expression.heads.is_some() || expression.firsts.as_ref().is_some_and(is_whole) {
                expression
            } else {
                // A match must not begin within an escape.
                Self::of(format!("^{ANY}*?(?:{})", expression.body), ignores_case).ok_or(UNKNOWN)?
            };
        if aligned.text().len() > TEXT_BYTES_MAX {
            return Err(format!("an expression of the door has {TEXT_BYTES_MAX} bytes at most"));
        }
        Ok(aligned)
    }

    /// This expression without the start and what may stand between that and the rest, as in
    /// `^.+\.php$`, where that says the same.
    fn anywhere(&self) -> Option<Self> {
        let starts = [("^.*", false), ("^.+", true), ("^/.*", true)];
        let (rest, is_behind) = starts
            .iter()
            .find_map(|(start, is_behind)| Some((self.body.strip_prefix(start)?, *is_behind)))?;
        let is_one =
            !matches!(ast::parse::Parser::new().parse(&self.body).ok()?, Ast::Alternation(_));
        let has_groups = parsed(&self.body, false)?.properties().explicit_captures_len() > 0;
        if !is_one || has_groups || rest.starts_with('?') {
            return None;
        }
        let found = Self::of(rest.to_owned(), self.ignores_case)?;
        // The first letter of a path is a slash.
        let is_slash = |first: &Vec<u8>| first.first().is_none_or(|byte| *byte == b'/');
        let firsts = found.firsts.as_ref().filter(|firsts| !firsts.is_empty())?;
        (!(is_behind && firsts.iter().any(is_slash))).then_some(found)
    }

    /// All paths that begin with `path`, the rest in a group.
    pub(super) fn beginning(path: &str, captures: bool) -> Option<Self> {
        let rest = if captures { "(.*)$" } else { "" };
        Self::of(format!("^{}{rest}", literal(path)), false).filter(Self::is_short)
    }

    /// This path alone.
    pub(super) fn exact(path: &str) -> Option<Self> {
        Self::of(format!("^{}$", literal(path)), false).filter(Self::is_short)
    }

    /// This expression, which ends with a group that takes all that follows, where that begins with
    /// `more`; `captures` is whether anything may follow that.
    pub(super) fn extended(&self, more: &str, captures: bool) -> Option<Self> {
        let body = self.body.strip_suffix('$').unwrap_or(&self.body).strip_suffix("(.*)")?;
        let rest = if captures { "(.*)$" } else { "$" };
        Self::of(format!("{body}{}{rest}", literal(more)), self.ignores_case).filter(Self::is_short)
    }

    /// Whether the last thing in it is a group, its first, that takes all that follows.
    pub(super) fn ends_with_rest(&self) -> bool {
        let body = self.body.strip_suffix('$').unwrap_or(&self.body);
        let before = body.strip_suffix("(.*)").unwrap_or("(");
        !before.replace("(?:", "").replace("\\(", "").contains(['(', '|'])
    }

    fn of(body: String, ignores_case: bool) -> Option<Self> {
        let hir = parsed(&body, ignores_case)?;
        let literals = Extractor::new().limit_total(HEADS_MAX).extract(&hir);
        let firsts: Option<Vec<Vec<u8>>> = literals
            .literals()
            .map(|all| all.iter().map(|literal| literal.as_bytes().to_vec()).collect());
        let is_anchored = hir.properties().look_set_prefix().contains(Look::Start);
        // Every path begins with a slash.
        let heads = if is_anchored {
            Some(firsts.clone().unwrap_or_else(|| vec![b"/".to_vec()]))
        } else {
            None
        };
        Some(Self { body, ignores_case, heads, firsts, inner: None })
    }

    fn is_short(&self) -> bool {
        self.text().len() <= TEXT_BYTES_MAX
    }

    /// As this door has it.
    pub(super) fn text(&self) -> String {
        let has_letters = self.body.bytes().any(|byte| byte.is_ascii_alphabetic());
        let flag = if self.ignores_case && has_letters { "(?i)" } else { "" };
        format!("{flag}{}", self.body)
    }

    /// A path with groups, without those that this expression does not have: nginx puts nothing there.
    pub(super) fn filled(&self, to: &str) -> Result<String, String> {
        let groups = parsed(&self.body, self.ignores_case)
            .map_or(0, |hir| hir.properties().explicit_captures_len());
        let mut path = to.to_owned();
        for number in (1..10).filter(|number| *number > groups) {
            path = path.replace(&format!("${number}"), "");
        }
        if path != to && (!path.starts_with('/') || path.contains("//")) {
            return Err("it has fewer groups than the path that it makes".to_owned());
        }
        Ok(path)
    }

    /// What every path that it matches begins with, one of these; `None` when that may be anything.
    pub(super) fn heads(&self) -> Option<&[Vec<u8>]> {
        self.heads.as_deref()
    }

    /// Whether it may match a path that begins with `start`.
    pub(super) fn may_begin(&self, start: &str) -> bool {
        let start = start.as_bytes();
        self.heads.as_ref().is_none_or(|heads| {
            heads.iter().any(|head| head.starts_with(start) || start.starts_with(head))
        })
    }

    /// Whether some path may be matched by both.
    pub(super) fn may_meet(&self, other: &Self) -> bool {
        let (Some(heads), Some(others)) = (&self.heads, &other.heads) else { return true };
        let meets = |head: &Vec<u8>| {
            others.iter().any(|other| other.starts_with(head) || head.starts_with(other))
        };
        heads.iter().any(meets)
    }

    /// This expression on paths that begin with `base`; `None` when the door cannot say that.
    pub(super) fn within(&self, base: &str) -> Option<Self> {
        let bytes = base.as_bytes();
        if base == "/" {
            return Some(self.clone());
        }
        let (inner, between) = match &self.inner {
            Some(inner) => (inner.as_ref(), ANY),
            None => (self, "."),
        };
        let flag = if inner.ignores_case { "(?i:" } else { "(?:" };
        if let Some(heads) = &inner.heads {
            if heads.iter().all(|head| head.starts_with(bytes)) {
                return Some(self.clone());
            }
            // Letters of either case, of which the base has one.
            let rest = inner.behind(inner.body.strip_prefix('^')?, bytes)??;
            let body = format!("^{}{flag}{rest})", literal(base));
            return Self::of(body, false).filter(Self::is_short);
        }
        let mut ways = vec![format!("{between}*?{flag}{})", inner.body)];
        let is_behind = |first: &Vec<u8>| first.first().is_some_and(|byte| !bytes.contains(byte));
        if !inner.firsts.as_ref().is_some_and(|firsts| firsts.iter().all(is_behind)) {
            // A match may also begin within the base, wherever its letters allow that.
            for start in 0..bytes.len() {
                let rest = inner.behind(&inner.body, bytes.get(start..)?)?;
                ways.extend(rest.map(|rest| format!("{flag}{rest})")));
            }
        }
        let ways = match ways.as_slice() {
            [way] => way.clone(),
            several => format!("(?:{})", several.join("|")),
        };
        Self::of(format!("^{}{ways}", literal(base)), false).filter(Self::is_short)
    }

    /// What is left of `body` where its letters are those of `base`: `Some(None)` when they are
    /// others, `None` when that cannot be told.
    fn behind<'b>(&self, body: &'b str, base: &[u8]) -> Option<Option<&'b str>> {
        let is_one = !matches!(ast::parse::Parser::new().parse(body).ok()?, Ast::Alternation(_));
        let groups = parsed(body, self.ignores_case)?.properties().explicit_captures_len();
        if !is_one || base.contains(&b'%') || (groups > 0 && self.heads.is_none()) {
            return None;
        }
        let letters = letters(body);
        let is_same = |(own, (letter, _)): (&u8, &(u8, usize))| {
            own == letter || (self.ignores_case && own.eq_ignore_ascii_case(letter))
        };
        if !base.iter().zip(&letters).all(is_same) {
            return Some(None);
        }
        let (_, end) = base.len().checked_sub(1).and_then(|last| letters.get(last))?;
        Some(Some(body.get(*end..)?))
    }
}

/// The letters that an expression begins with, each with where it ends.
fn letters(body: &str) -> Vec<(u8, usize)> {
    let bytes = body.as_bytes();
    let (mut letters, mut at) = (Vec::new(), 0);
    loop {
        let (letter, end) = match bytes.get(at..) {
            Some([b'\\', letter, ..]) if !letter.is_ascii_alphanumeric() => (*letter, at + 2),
            Some([letter, ..]) if !b"\\^$.|?*+()[]{}".contains(letter) => (*letter, at + 1),
            Some(_) | None => return letters,
        };
        if bytes.get(end).is_some_and(|next| b"?*+{".contains(next)) {
            return letters;
        }
        letters.push((letter, end));
        at = end;
    }
}

pub(super) const UNKNOWN: &str = "the door has no expression like it";

/// A text that stands for itself in an expression.
pub(super) fn literal(text: &str) -> String {
    regex_syntax::escape(text).replace("\\-", "-").replace("\\&", "&").replace("\\~", "~")
}

/// Reads an expression of this door.
pub(super) fn parsed(body: &str, ignores_case: bool) -> Option<Hir> {
    let mut parser = regex_syntax::ParserBuilder::new();
    let parser = parser.unicode(false).utf8(false).case_insensitive(ignores_case);
    parser.build().parse(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let actual = Expression::new(text, false).map_or("no".to_owned(), |found| found.text());
        assert_eq!(actual, expected, "{text}");
    }

    #[test]
    fn expressions_that_stay_as_they_are() {
        for text in [
            r"^/api/[1-9]\d*/",
            r"\.php$",
            "^/static/[0-9a-fA-F]{8}/(.*)$",
            "/api/v[0-9]+/(users/)?websocket$",
            "^/(assets|avatars)/",
            "^/[^/]+/(.*)$",
            r"^/(.+\.(?:png|jpg))$",
            "^(/_matrix|/_synapse/client)",
            "^/~(?<user>[a-z]+)(/.*)?$",
        ] {
            check(text, text);
        }
        check(r"^\/a\/b", "^/a/b");
        check(r"^.+\.php$", r"\.php$");
        check(r"^/.*\.(?:gif|png)$", r"\.(?:gif|png)$");
        check(r"^.+/x$", r"^.+/x$");
        check(r"^/.*\.(php)$", r"^/.*\.(php)$");
    }

    #[test]
    fn what_a_path_has_escaped_is_written_so() {
        check("^/a b", "^/a(?:%20)b");
        check("^/@a", "^/(?:@|%40)a");
        check(r"^/\s+$", "^/(?:%20)+$");
        check("^/.x", "^/(?:[^%]|%[0-9A-F]{2})x");
        check("^/[^/]{3}$", r"^/(?:[^/%]|%[0-9A-F]{2}){3}$");
        check("^/.*0$", "^/(?:[^%]|%[0-9A-F]{2})*0$");
        check("^/[^/?]+$", r"^/(?:[^/%]|%(?:[25789ABCDEF][0-9A-F]|3[ABCDE]|[46]0))+$");
        // A match must not begin within an escape.
        check(r"\d+$", r"^(?:[^%]|%[0-9A-F]{2})*?(?:\d+$)");
    }

    #[test]
    fn what_the_door_cannot_match_is_refused() {
        for text in [
            "^/a(?!b)", "(?<=a)b", r"(a)\1", "^/a++", "^/(?>a)", "^/[a[b]", r"^/\bx", "/ü",
            "(?x)a", "^/a*+b", r"^/\n",
        ] {
            check(text, "no");
        }
    }

    #[test]
    fn beginnings_are_known() {
        let heads = |text: &str| {
            let found = Expression::new(text, false).unwrap();
            found.heads().map(|heads| {
                heads.iter().map(|head| String::from_utf8_lossy(head).into_owned()).collect()
            })
        };
        let some = |heads: &[&str]| Some(heads.iter().map(|head| (*head).to_owned()).collect());
        assert_eq!(heads("^/(a|b)/"), some(&["/a/", "/b/"]));
        assert_eq!(heads(r"\.php$"), None::<Vec<String>>);
        assert_eq!(heads("^/a|b"), None::<Vec<String>>);
        let inside = |text: &str, base: &str| {
            let found = Expression::new(text, text.contains('i')).unwrap();
            found.within(base).map_or("no".to_owned(), |found| found.text())
        };
        assert_eq!(inside(r"\.php$", "/app/"), r"^/app/.*?(?:\.php$)");
        assert_eq!(inside(r"\.gif$", "/app/"), r"^/app/.*?(?i:\.gif$)");
        assert_eq!(inside(r"p/x$", "/app/"), "^/app/(?:.*?(?:p/x$)|(?:x$))");
        assert_eq!(inside(r"p/(x)$", "/app/"), "no");
        assert_eq!(
            inside("/app/css[0-9]", "/app/"),
            "^/app/(?:.*?(?:/app/css[0-9])|(?:css[0-9])|(?:app/css[0-9]))"
        );
        assert_eq!(
            inside("^/App/img.x", "/app/"),
            "^/app/(?i:img.x)".replace('.', "(?:[^%]|%[0-9A-F]{2})")
        );
        assert_eq!(inside("^/app/x", "/app/"), "^/app/x");
        assert_eq!(inside("^/x", "/app/"), "no");
    }
}
