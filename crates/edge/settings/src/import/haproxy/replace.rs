//! `http-request replace-path`, `set-path` and their kin: a path that goes to servers as another.
//!
//! The door replaces the prefix that a route matched, or the whole path by groups of the expression
//! that a route matched. So what a rule makes of a path becomes a table of each route that it holds
//! for ([`Rewrite::on`]); where it does not, the door has no answer for these requests.
//! Invariant: of every path in its set, [`Rewrite::on`] makes what HAProxy makes of it.

use super::condition::{Cell, Expression, Path};
use super::expression::{self, Compiled, containing};
use super::items::Line;
use super::pattern::{self, Pattern, escaped, is_plain, letters};
use super::regex::{End, simple};

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rewrite {
    /// Its first letters become others.
    Letters {
        /// The first letters.
        from: String,
        /// What follows them, and what is done with it.
        rest: Rest,
        /// What they become.
        to: String,
    },
    /// It becomes what the groups of an expression say; texts and numbers of groups by turns.
    Groups(Compiled, Vec<Piece>),
    /// It becomes this.
    Constant(String),
}

/// What follows the letters that are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rest {
    /// Anything, which stays.
    Any,
    /// A slash, which stays, and anything.
    Kept,
    /// A slash, which goes, and anything, which stays.
    Slash,
    /// A slash, which goes, if there is one, and anything, which stays.
    MaybeSlash,
}

/// A part of what a path becomes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    /// This text.
    Text(String),
    /// What a group matched.
    Group(usize),
}

/// What takes the place of a route's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Replacement {
    /// `replace_prefix`.
    Prefix(String),
    /// `replace_path`.
    Path(String),
}

/// A rule that rewrites: for which paths, and how.
pub(super) type Rewriting = (Expression, Rewrite);

/// Whether a line rewrites the target of requests.
pub(super) fn is_rewriting(line: &Line) -> bool {
    matches!(
        line.text(1),
        "replace-path"
            | "replace-pathq"
            | "replace-uri"
            | "set-path"
            | "set-pathq"
            | "set-uri"
            | "set-query"
            | "set-method"
    )
}

/// Reads a line that rewrites, without its condition: what it says in `words`.
pub(super) fn rewritings(keyword: &str, words: &[&str]) -> Result<Vec<Rewriting>, String> {
    match (keyword, words) {
        ("replace-path" | "replace-pathq" | "replace-uri", [expression, format]) => {
            let found = by_letters(expression, format)?;
            match found {
                Some(found) => Ok(found),
                None if keyword == "replace-path" => {
                    by_groups(expression, format).map(|one| vec![one])
                }
                None => Err("the door replaces paths, and leaves queries as they are".to_owned()),
            }
        }
        ("set-path" | "set-pathq", [format]) => set(format).map(|one| vec![one]),
        _ => Err("the door replaces paths alone, by what stands in them".to_owned()),
    }
}

/// Reads `^/api/(.*) /\1`, `/api/?(.*) /\1` and their kin. `None`: it is another expression.
fn by_letters(expression: &str, format: &str) -> Result<Option<Vec<Rewriting>>, String> {
    const FORMS: [(&str, usize, Rest); 7] = [
        ("(/)?(.*)", 2, Rest::MaybeSlash),
        ("(/?)(.*)", 2, Rest::MaybeSlash),
        ("(?:/)?(.*)", 1, Rest::MaybeSlash),
        ("/?(.*)", 1, Rest::MaybeSlash),
        ("/(.*)", 1, Rest::Slash),
        ("(/.*)", 1, Rest::Kept),
        ("(.*)", 1, Rest::Any),
    ];
    let whole = expression.replace("\\/", "/");
    let text = whole.strip_suffix('$').unwrap_or(&whole);
    let is_anchored = text.starts_with('^');
    let text = text.strip_prefix('^').unwrap_or(text);
    let form =
        FORMS.iter().find_map(|(form, group, rest)| Some((text.strip_suffix(form)?, group, *rest)));
    let Some((literal, group, rest)) = form else { return Ok(None) };
    let from = match literal {
        "" => Some(String::new()),
        literal => simple(&format!("^{literal}$"))
            .filter(|simple| simple.end == End::Exact)
            .map(|simple| simple.literal),
    };
    let is_path =
        |from: &String| from.is_empty() || (from.starts_with('/') && pattern::is_of_path(from));
    let Some(from) = from.filter(is_path) else { return Ok(None) };
    let to = match pieces(format)?.as_slice() {
        [Piece::Group(number)] if number == group => String::new(),
        [Piece::Text(to), Piece::Group(number)] if number == group => to.clone(),
        _ => return Ok(None),
    };
    let start = match rest {
        Rest::Kept | Rest::Slash => format!("{from}/"),
        Rest::Any | Rest::MaybeSlash => from.clone(),
    };
    let set = Expression::Is(Cell::of_path(Path::beginning(&start, false)));
    let mut rewritings = vec![(set.clone(), Rewrite::Letters { from, rest, to })];
    if !is_anchored && start.len() > 1 {
        // Where the letters come later in the path, what is before them goes too.
        let later = Expression::Is(Cell::of_path(Path::matching(containing(&start, false)?)));
        let (_, rewrite) = by_groups(expression, format)?;
        rewritings.push((Expression::All(vec![later, set.negated()]), rewrite));
    }
    Ok(Some(rewritings))
}

fn by_groups(expression: &str, format: &str) -> Result<Rewriting, String> {
    let found = expression::matching(expression, false)?;
    let (compiled, pieces) = (found.compiled.clone(), pieces(format)?);
    let set = Expression::Is(Cell::of_path(Path::matching(found)));
    Ok((set, Rewrite::Groups(compiled, pieces)))
}

/// What a path becomes, with `\1` for what the first group matched.
fn pieces(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        let number = match character {
            '\\' => match characters.next() {
                Some('x') | None => return Err("bytes by their number are no path".to_owned()),
                Some(digit) => match digit.to_digit(10) {
                    Some(number) => usize::try_from(number).unwrap_or_default(),
                    None => {
                        text.push(digit);
                        continue;
                    }
                },
            },
            '?' | '#' => return Err("the door replaces the path, and leaves the query".to_owned()),
            _ => {
                text.push(character);
                continue;
            }
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(Piece::Group(number));
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    let is_of_path = |piece: &Piece| match piece {
        Piece::Text(text) => pattern::is_of_path(text),
        Piece::Group(_) => true,
    };
    if pieces.iter().all(is_of_path) {
        Ok(pieces)
    } else {
        Err("this is no path in the form that the door forwards".to_owned())
    }
}

/// Reads `/v2%[path]`, `%[path,regsub(^/api/,/)]` and `/fixed`.
fn set(format: &str) -> Result<Rewriting, String> {
    let everything = Expression::Constant(true);
    for sample in ["%[path]", "%[pathq]", "%[capture.req.uri]"] {
        if let Some(to) = format.strip_suffix(sample).filter(|to| pattern::is_of_path(to)) {
            let rewrite =
                Rewrite::Letters { from: String::new(), rest: Rest::Any, to: to.to_owned() };
            return Ok((everything, rewrite));
        }
    }
    if format.starts_with('/') && pattern::is_of_path(format) {
        return Ok((everything, Rewrite::Constant(format.to_owned())));
    }
    let inner = format.strip_prefix("%[path,regsub(").and_then(|rest| rest.strip_suffix(")]"));
    let inner = inner.and_then(|inner| inner.split_once(','));
    let unquoted = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    let Some((expression, to)) = inner.map(|(from, to)| (unquoted(from), unquoted(to))) else {
        return Err("a path is set to a text, with `%[path]` behind it at most".to_owned());
    };
    // What stands behind the letters stays where it is.
    let expression = expression.replace("\\/", "/");
    let (literal, rest) = match expression.strip_suffix("/?") {
        Some(literal) => (literal, Rest::MaybeSlash),
        None => (expression.as_str(), Rest::Any),
    };
    let from = simple(&format!("{literal}$")).filter(|simple| simple.end == End::Exact);
    let is_path = |text: &String| text.starts_with('/') && pattern::is_of_path(text);
    let from = from.map(|simple| simple.literal).filter(is_path);
    match from.filter(|_| pattern::is_of_path(&to)) {
        Some(from) => {
            let set = Expression::Is(Cell::of_path(Path::beginning(&from, false)));
            Ok((set, Rewrite::Letters { from, rest, to }))
        }
        None => Err("of `regsub` the door knows those that replace first letters".to_owned()),
    }
}

impl Rewrite {
    /// The path of a route for `path`, and what takes its place; `None` where the door cannot.
    pub(super) fn on(&self, path: &Path) -> Option<(Pattern, Replacement)> {
        let text = |text: &str| Piece::Text(text.to_owned());
        if let Path::Exact(whole) = path {
            let expression = format!("^{}$", escaped(&letters(whole, false), false));
            return of_groups(expression, &[text(&self.of(whole)?)], 1);
        }
        match self {
            Self::Constant(to) => of_groups(path.regex()?, &[text(to)], 1),
            Self::Groups(expression, pieces) => {
                let is_same = path.regex().as_deref() == Some(expression.text());
                let own = expression.text().to_owned();
                is_same.then(|| of_groups(own, pieces, expression.groups()))?
            }
            Self::Letters { from, rest, to } => {
                let like = path.like();
                if let Some(only) = like.only_expression() {
                    return of_expression(only.compiled.text(), (from, *rest, to));
                }
                let Some((start, end)) = like.between() else {
                    // Nothing goes, so it is all the same what the path is.
                    let stays = from.is_empty() && matches!(rest, Rest::Any | Rest::Kept);
                    let whole = like.captured().filter(|_| stays)?;
                    return of_groups(whole, &[text(to), Piece::Group(1)], 2);
                };
                let more = start.strip_prefix(from.as_str())?;
                let begins = escaped(&letters(&start, false), false);
                let behind = if end.is_empty() { "(.*)".to_owned() } else { format!("(.*{end})$") };
                if *rest == Rest::MaybeSlash && more.is_empty() {
                    if end.is_empty() && to.ends_with('/') && is_plain(&start) && is_plain(to) {
                        // Where two slashes meet, the door leaves one.
                        return Some((Pattern::Start(start), Replacement::Prefix(to.clone())));
                    }
                    let expression = format!("^{begins}/?{behind}");
                    return of_groups(expression, &[text(to), Piece::Group(1)], 2);
                }
                let to = format!("{to}{}", rest.of(more)?);
                if let (Path::Below(prefix), Some(short)) = (path, prefix_of(&to)) {
                    let pattern = Pattern::Prefix(prefix.clone());
                    return Some((pattern, Replacement::Prefix(short.to_owned())));
                }
                of_groups(format!("^{begins}{behind}"), &[text(&to), Piece::Group(1)], 2)
            }
        }
    }

    /// What becomes of this path; `None` when it is not one of those it is for.
    pub(super) fn of(&self, path: &str) -> Option<String> {
        match self {
            Self::Constant(to) => Some(to.clone()),
            Self::Letters { from, rest, to } => {
                let more = rest.of(path.strip_prefix(from.as_str())?)?;
                Some(format!("{to}{more}"))
            }
            Self::Groups(expression, pieces) => {
                let captures = expression.captures(path.as_bytes())?;
                let text = |piece: &Piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::Group(number) => {
                        captures.get(*number).map_or_else(String::new, |group| {
                            String::from_utf8_lossy(group.as_bytes()).into_owned()
                        })
                    }
                };
                Some(pieces.iter().map(text).collect())
            }
        }
    }
}

impl Rest {
    /// What stays of what follows.
    fn of(self, more: &str) -> Option<&str> {
        match self {
            Self::Any => Some(more),
            Self::Kept => more.starts_with('/').then_some(more),
            Self::Slash => more.strip_prefix('/'),
            Self::MaybeSlash => Some(more.strip_prefix('/').unwrap_or(more)),
        }
    }
}

/// What a prefix becomes when all below it becomes what is below `to`.
fn prefix_of(to: &str) -> Option<&str> {
    let short = to.strip_suffix('/')?;
    if short.is_empty() { Some("/") } else { Some(short).filter(|short| is_plain(short)) }
}

/// A route for an expression whose first letters, those in `from`, become `to`.
fn of_expression(
    expression: &str,
    (from, rest, to): (&str, Rest, &str),
) -> Option<(Pattern, Replacement)> {
    let slash = |text: &str| format!("{text}/");
    let (start, to) = match rest {
        Rest::Any => (from.to_owned(), to.to_owned()),
        Rest::Slash => (slash(from), to.to_owned()),
        Rest::Kept => (slash(from), slash(to)),
        // What follows is one thing or the other, if that is known.
        Rest::MaybeSlash if expression::behind(expression, &slash(from)).is_some() => {
            (slash(from), to.to_owned())
        }
        Rest::MaybeSlash => return None,
    };
    let behind = expression::behind(expression, &start)?;
    let text = format!("^{}((?:{behind}).*)$", escaped(&letters(&start, false), false));
    of_groups(text, &[Piece::Text(to), Piece::Group(1)], 2)
}

/// A route for an expression with so many `groups`, the whole counted; `None` when the door does
/// not take it.
fn of_groups(
    expression: String,
    pieces: &[Piece],
    groups: usize,
) -> Option<(Pattern, Replacement)> {
    let sample = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Group(_) => "x".to_owned(),
    };
    let sample: String = pieces.iter().map(sample).collect();
    let slash = if sample.starts_with('/') { "" } else { "/" };
    let is_taken = expression.len() <= expression::TEXT_BYTES_MAX
        && sample.len() <= expression::TEXT_BYTES_MAX
        && is_plain(&format!("{slash}{sample}"));
    let to = Replacement::Path(template(pieces, groups));
    is_taken.then_some((Pattern::Regex(expression), to))
}

/// A template of `replace_path`. Groups that the expression has not are nothing.
fn template(pieces: &[Piece], groups: usize) -> String {
    let known = |piece: &&Piece| !matches!(piece, Piece::Group(number) if *number >= groups);
    let mut known = pieces.iter().filter(known).peekable();
    let mut template = String::new();
    while let Some(piece) = known.next() {
        match piece {
            Piece::Text(text) => template.push_str(&text.replace('$', "$$")),
            Piece::Group(number) => {
                let next = known.peek().and_then(|next| match next {
                    Piece::Text(text) => text.chars().next(),
                    Piece::Group(_) => None,
                });
                let is_word = next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
                let number = if is_word { format!("{{{number}}}") } else { number.to_string() };
                template.push_str(&format!("${number}"));
            }
        }
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The route's path and what takes its place, for the paths that begin with `start`.
    fn check(keyword: &str, words: &[&str], start: &str, expected: Option<(&str, &str)>) {
        let found = rewritings(keyword, words).expect("it is understood");
        let path = Path::beginning(start, false);
        let on = found.first().and_then(|(_, rewrite)| rewrite.on(&path));
        let written = on.map(|(pattern, to)| {
            let from = match pattern {
                Pattern::Prefix(text) | Pattern::Regex(text) => text,
                Pattern::Start(text) => format!("{text}*"),
                Pattern::Any | Pattern::Exact(_) => panic!("{pattern:?} is replaced"),
            };
            let (Replacement::Prefix(to) | Replacement::Path(to)) = to;
            (from, to)
        });
        let written = written.as_ref().map(|(from, to)| (from.as_str(), to.as_str()));
        assert_eq!(written, expected, "{words:?}");
    }

    #[test]
    fn paths_are_replaced_as_the_rules_say() {
        check("replace-path", &["/a(/)?(.*)", "/\\2"], "/a", Some(("/a*", "/")));
        check("replace-path", &["/a\\/?(.*)", "\\/\\1"], "/a", Some(("/a*", "/")));
        check("replace-path", &["/a/?(.*)", "/x\\1"], "/a", Some(("^/a/?(.*)", "/x$1")));
        check("replace-path", &["^/a/?(.*)", "/\\1"], "/a/", Some(("/a", "/")));
        check("replace-path", &["^/a/?(.*)", "/x\\1"], "/a/", Some(("^/a/(.*)", "/x$1")));
        check("replace-path", &["^/a/(.*)", "/x/\\1"], "/a/b/", Some(("/a/b", "/x/b")));
        check("replace-path", &["^/a(/.*)", "/x\\1"], "/a/", Some(("/a", "/x")));
        check("replace-path", &["^/a(/.*)", "/x\\1"], "/a", None);
        check("replace-path", &["(.*)", "/x\\1"], "/", Some(("^/(.*)", "/x/$1")));
        check("replace-uri", &["^/a/(.*)", "/\\1"], "/a/", Some(("/a", "/")));
        check("set-path", &["/v2%[path]"], "/a", Some(("^/a(.*)", "/v2/a$1")));
        check("set-path", &["%[path,regsub(^/a/,/)]"], "/a/", Some(("/a", "/")));
        check("set-path", &["%[path,regsub(^/a/?,/)]"], "/a", Some(("/a*", "/")));
        check("set-path", &["/x"], "/a", Some(("^/a", "/x")));
        let prepended = rewritings("set-path", &["/v2%[path]"]).expect("it is understood");
        let script = Path::ending(".js", true);
        let on = prepended.first().and_then(|(_, rewrite)| rewrite.on(&script));
        let pattern = Pattern::Regex(r"^/(.*\.[jJ][sS])$".to_owned());
        assert_eq!(on, Some((pattern, Replacement::Path("/v2/$1".to_owned()))));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (keyword, words) in [
            ("replace-path", ["^/a/(.*)", "/x?y=\\1"].as_slice()),
            ("replace-path", &["^/(a)(?=b)", "/\\1"]),
            ("replace-uri", &["^/([a-z])/", "/\\1"]),
            ("set-path", &["/%[req.hdr(x)]"]),
            ("set-uri", &["/x"]),
            ("set-query", &["a=b"]),
        ] {
            assert!(rewritings(keyword, words).is_err(), "{words:?}");
        }
    }
}
