//! Reads `replace_prefix` and `replace_path`: what the server is asked for in place of the path.

use model::Name;
use model::configuration::{PathPart, PathPattern, Rewrite};
use regex::bytes::Regex;

use crate::finding::{Finding, quote};
use crate::path::{expression, invalid_path, path_problem, plain_path};
use crate::reader::{Table, Value};

/// Bytes of `replace_path`, at most.
const TEXT_BYTES_MAX: usize = 1_000;

/// Reads both, of which each needs another kind of `path`; `forwards`: there is a pool.
pub(super) fn rewrite(
    table: &mut Table<'_>,
    path: Option<&PathPattern>,
    forwards: bool,
) -> Option<Rewrite> {
    let (prefix, whole) = (table.get("replace_prefix"), table.get("replace_path"));
    let is = |kind: fn(&PathPattern) -> bool| forwards && path.is_none_or(kind);
    let is_regex = |path: &PathPattern| matches!(path, PathPattern::Regex(_));
    let has_beginning =
        |path: &PathPattern| matches!(path, PathPattern::Prefix(_) | PathPattern::Start(_));
    if let Some(value) = prefix.as_ref().filter(|_| !is(has_beginning)) {
        let message = "`replace_prefix` needs a `pool` and a `path` that is a prefix".to_owned();
        let help = if path.is_some_and(is_regex) {
            "remove it, or use `replace_path`"
        } else {
            "remove it, or give the path as \"/prefix\""
        };
        value.invalid("conflicting-keys", message, help);
    }
    if let Some(value) = whole.as_ref().filter(|_| !is(is_regex)) {
        let message = "`replace_path` needs a `pool` and a `path_regex`".to_owned();
        value.invalid("conflicting-keys", message, "remove it, or use `replace_prefix`");
    }
    let prefix = prefix.and_then(|value| plain_path(&value)).map(Rewrite::Prefix);
    let whole = whole.and_then(|value| parts(&value, path)).map(Rewrite::Path);
    prefix.or(whole)
}

/// The parts of `replace_path`; of a pattern that is no regular expression, or a wrong one, that
/// has been said, and nothing is said of groups.
fn parts(value: &Value<'_>, path: Option<&PathPattern>) -> Option<Vec<PathPart>> {
    let text = value.text()?;
    let Some(pieces) = pieces(text) else {
        let message = format!("{} is not a path to go in place of another", quote(text));
        let help = "`$1` and `${name}` stand for groups, `$$` for a dollar";
        value.invalid("invalid-replacement", message, help);
        return None;
    };
    if let Some(help) = problem(text, &pieces) {
        invalid_path(value, help);
        return None;
    }
    let Some(PathPattern::Regex(regex)) = path else { return None };
    let regex = expression::compiled(regex).ok()?;
    let parts = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => Some(PathPart::Text(Name::from(*text))),
        Piece::Group(name) => {
            let number = group(&regex, name);
            if number.is_none() {
                value.report(unknown_group(value, name, &regex));
            }
            number.map(PathPart::Group)
        }
    });
    // All are looked for, so that all that are missing are told.
    parts.collect::<Vec<_>>().into_iter().collect()
}

/// A part as it is written.
enum Piece<'t> {
    Text(&'t str),
    /// Its number or its name.
    Group(&'t str),
}

/// `None`: what follows a `$` is nothing that may.
fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        pieces.push(Piece::Text(before));
        if let Some(after) = after.strip_prefix('$') {
            pieces.push(Piece::Text("$"));
            rest = after;
            continue;
        }
        let (name, after) = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}')?,
            None => after.split_at_checked(1).filter(|(digit, _)| is_number(digit))?,
        };
        pieces.push(Piece::Group(name));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| !matches!(piece, Piece::Text("")));
    Some(pieces)
}

/// What is wrong with the text between the groups, of which each may stand for anything.
fn problem(text: &str, pieces: &[Piece<'_>]) -> Option<&'static str> {
    if text.len() > TEXT_BYTES_MAX {
        return Some("it has at most 1000 bytes");
    }
    let as_letter = |piece: &Piece<'_>| match piece {
        Piece::Text(text) => (*text).to_owned(),
        Piece::Group(_) => "x".to_owned(),
    };
    let plain: String = pieces.iter().map(as_letter).collect();
    let slash = if plain.starts_with('/') { "" } else { "/" };
    if plain.contains(['?', '#']) {
        return Some("leave out the query: that of the request stays");
    }
    path_problem(&format!("{slash}{plain}"))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn group(regex: &Regex, name: &str) -> Option<usize> {
    if is_number(name) {
        return name.parse().ok().filter(|number| *number < regex.captures_len());
    }
    regex.capture_names().position(|known| known == Some(name))
}

fn unknown_group(value: &Value<'_>, name: &str, regex: &Regex) -> Finding {
    let message = format!("`path_regex` has no group {}", quote(name));
    let help = match regex.captures_len().saturating_sub(1) {
        0 => "put the part that is meant in parentheses".to_owned(),
        1 => "its only group is `$1`".to_owned(),
        last => format!("its groups are `$1` to `${{{last}}}`"),
    };
    Finding::error("unknown-group", value.span.clone(), message).label("no such group").help(help)
}
