//! Criteria of paths: by their first and last letters, as a whole, or by expressions.
//!
//! What is asked of the whole address, its query included, is known where the path alone decides.

use super::acl::{Asked, Outcome};
use super::condition::{Cell, Expression, Path};
use super::criterion::{Criterion, any};
use super::expression::{self, containing};
use super::pattern::{self, escaped, is_of_path, letters};
use super::regex::{End, simple};

const QUERIES: &str = "routes do not ask for the query: compare the path with `path`";

/// Reads a criterion of paths.
pub(super) fn path(criterion: &Criterion<'_>) -> Outcome {
    let folds = criterion.ignores_case;
    let is_path = criterion.fetch == "path";
    if criterion.comparison == "found" {
        return Ok(Asked::exactly(Expression::Constant(true)));
    }
    let mut alternatives = Vec::new();
    let mut unknown = None;
    for value in &criterion.values {
        let asked = match (criterion.comparison, is_path) {
            ("reg", true) => expressed(value, folds)?,
            ("str" | "beg" | "end" | "sub" | "dir" | "dom", true) => {
                compared(criterion.comparison, value, folds)?
            }
            (comparison, false) => {
                let (expression, is_exact) = address(comparison, value, folds)?;
                if !is_exact {
                    unknown = Some(QUERIES.to_owned());
                }
                expression
            }
            (comparison, true) => {
                return Err(format!("routes cannot compare `path` as `{comparison}`"));
            }
        };
        alternatives.push(asked);
    }
    Ok(Asked { unknown, ..Asked::exactly(Expression::AnyOf(alternatives)) })
}

/// A path compared with a text.
fn compared(comparison: &str, value: &str, folds: bool) -> Result<Expression, String> {
    if !is_of_path(value) {
        return Err(format!("`{value}` is no path that a request has here"));
    }
    let is_absolute = value.starts_with('/');
    let path = match comparison {
        // No path is so.
        "str" | "beg" if !is_absolute && !value.is_empty() => {
            return Ok(Expression::Constant(false));
        }
        "str" if value.is_empty() => return Ok(Expression::Constant(false)),
        "str" => Path::whole(value, folds),
        "beg" => Path::beginning(value, folds),
        "end" => Path::ending(value, folds),
        "sub" if value.is_empty() || value == "/" => Path::Any,
        "sub" => Path::matching(containing(value, folds)?),
        "dir" => between("/", value, folds)?,
        _ => between("/.:", value, folds)?,
    };
    Ok(Expression::of_path(path))
}

/// A text between two of the `borders`, or at an end of the path.
fn between(borders: &str, value: &str, folds: bool) -> Result<Path, String> {
    let word = value.trim_matches(|character| borders.contains(character));
    if word.is_empty() {
        return Err(format!("`{value}` is nothing that a path has between its borders"));
    }
    let word = escaped(&letters(word, folds), folds);
    let border = if borders.len() == 1 { borders.to_owned() } else { format!("[{borders}]") };
    let text = format!("(?:^|{border}){word}(?:{border}|$)");
    Ok(Path::matching(expression::matching(&text, folds)?))
}

/// A path compared with an expression.
fn expressed(value: &str, folds: bool) -> Result<Expression, String> {
    if expression::is_never(value) {
        return Ok(Expression::Constant(false));
    }
    let literal = simple(value).filter(|simple| is_of_path(&simple.literal));
    let is_path = |simple: &super::regex::Simple| {
        let is_cut = simple.end == End::Segment && simple.literal.ends_with('/');
        simple.literal.starts_with('/') && !is_cut
    };
    let Some(simple) = literal.filter(is_path) else {
        return Ok(Expression::of_path(Path::matching(expression::matching(value, folds)?)));
    };
    let text = simple.literal.as_str();
    Ok(match simple.end {
        End::Exact => Expression::of_path(Path::whole(text, folds)),
        End::Open => Expression::of_path(Path::beginning(text, folds)),
        End::Segment => {
            let below = Path::beginning(&format!("{text}/"), folds);
            let bare = Path::whole(text, folds);
            any(vec![Cell::of_path(below), Cell::of_path(bare)])
        }
    })
}

/// What is known of an address compared with a text, and whether that is all.
fn address(comparison: &str, value: &str, folds: bool) -> Result<(Expression, bool), String> {
    let (path, query) = value.split_once('?').map_or((value, None), |(p, q)| (p, Some(q)));
    // That there is such a query, nobody knows.
    let perhaps = |path: Path| (Expression::perhaps(Cell::of_path(path)), false);
    let is_path = path.starts_with('/') && is_of_path(path);
    match comparison {
        "beg" if is_path && query.is_none() => Ok((compared("beg", path, folds)?, true)),
        "beg" | "str" if is_path => Ok(perhaps(Path::whole(path, folds))),
        "sub" | "dir" if is_of_path(value) => {
            let path = compared(comparison, value, folds)?;
            Ok((Expression::AnyOf(vec![path, Expression::Unknown]), false))
        }
        "reg" => match simple(value).filter(|simple| simple.literal.starts_with('/')) {
            Some(simple) if is_of_path(&simple.literal) => match simple.end {
                End::Open => Ok((compared("beg", &simple.literal, folds)?, true)),
                End::Exact => Ok(perhaps(Path::whole(&simple.literal, folds))),
                End::Segment => Ok(perhaps(Path::beginning(&simple.literal, folds))),
            },
            Some(_) | None => {
                let mut start = expression::matching(value, folds)?.start;
                // Behind a question mark is the query.
                let end = start.iter().position(|letter| letter.is(b'?'));
                start.truncate(end.unwrap_or(start.len()));
                let begins = pattern::Like { start, ..pattern::Like::default() };
                Ok(perhaps(begins.path()))
            }
        },
        _ => Err(QUERIES.to_owned()),
    }
}
