//! `http-request replace-path` of a back end: a prefix of the path that becomes another.
//!
//! The door replaces the prefix that a route matched, so a back end whose one rule replaces a
//! fixed prefix becomes two routes: what is below the prefix, and the rest as it came.

use super::account::Account;
use super::condition::{Cell, Expression, Path};
use super::items::Line;
use super::proxy::Proxy;
use super::regex::{End, simple};
use super::routes::{Action, Rule, Then};

const ENDS_AT_SEGMENT: &str = "a prefix ends at a segment here: `/apix` is left as it is";

/// A prefix and what it becomes; neither ends with a slash, unless it is the root.
struct Replacement {
    prefix: String,
    to: String,
    /// Whether the bare prefix is replaced too.
    with_bare: bool,
}

/// The rule that replaces a prefix before requests go to `pool`, if the back end has such a one.
pub(super) fn rule(proxy: &Proxy<'_>, pool: &str, account: &mut Account) -> Option<Rule> {
    let mut lines = proxy.all("http-request replace-path");
    let line = lines.next().filter(|_| lines.next().is_none())?;
    // Rules behind it would see the path that it makes.
    let others = ["http-request deny", "http-request return", "http-request redirect"];
    let others = others.into_iter().chain(["http-request allow", "redirect"]);
    if others.into_iter().any(|keyword| proxy.all(keyword).next().is_some()) {
        return None;
    }
    let Replacement { prefix, to, with_bare } = replacement(line)?;
    account.items.mapped(line.item);
    if with_bare {
        account.differs(line, ENDS_AT_SEGMENT);
    }
    let below = Expression::Is(Cell::of_path(Path::Below(prefix.clone())));
    let bare = Expression::Is(Cell::of_path(Path::Exact(prefix.clone())));
    let when = if with_bare { Expression::AnyOf(vec![below, bare]) } else { below };
    let action = Action::Replaced { pool: pool.to_owned(), prefix, to };
    Some(Rule { when, then: Then::Act(action), item: line.item })
}

/// Reads `^/api/(.*) /\1`, `^/api(/.*) /v2\1` and `^/api/?(.*) /\1`.
fn replacement(line: &Line) -> Option<Replacement> {
    let words = line.texts(2);
    let [expression, format] = words.as_slice() else { return None };
    if line.variable(2).is_some() {
        return None;
    }
    let expression = expression.strip_suffix('$').unwrap_or(expression);
    let forms = [("/?(.*)", "/\\1", true), ("/(.*)", "/\\1", false), ("(/.*)", "\\1", false)];
    let (prefix, end, with_bare) = forms
        .into_iter()
        .find_map(|(form, end, bare)| Some((expression.strip_suffix(form)?, end, bare)))?;
    let to = format.strip_suffix(end)?;
    let prefix = simple(&format!("{prefix}$")).filter(|simple| simple.end == End::Exact)?;
    let is_path = |text: &str| {
        text.starts_with('/')
            && !text.ends_with('/')
            && !text.contains("//")
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte))
            && !text.split('/').any(|segment| segment == "." || segment == "..")
    };
    let to = if to.is_empty() { "/" } else { Some(to).filter(|to| is_path(to))? };
    is_path(&prefix.literal).then(|| Replacement {
        prefix: prefix.literal,
        to: to.to_owned(),
        with_bare,
    })
}

/// What the path of a route becomes; `None` where the door cannot replace it.
pub(super) fn replaced(path: &Path, prefix: &str, to: &str) -> Option<String> {
    let Path::Below(path) = path else { return None };
    let rest = path.strip_prefix(prefix)?;
    Some(match (to, rest) {
        (_, "") => to.to_owned(),
        ("/", rest) => rest.to_owned(),
        (to, rest) => format!("{to}{rest}"),
    })
}
