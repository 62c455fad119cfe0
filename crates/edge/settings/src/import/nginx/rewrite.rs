//! `rewrite` where it stays inside: which paths of a location become which.
//!
//! nginx replaces the whole path where an expression matches, and then goes on in the location
//! (`break`) or looks for one again (`last`). Here a rewrite that only cuts or changes the
//! location's own letters is `replace_prefix`, and any other one a route of its own, whose expression
//! is the rewrite's. Where nginx looks for a location again, what it finds is worked out for each
//! location that the new path may lead to.

use super::action::{Action, Answer, Context, Rewrite};
use super::asked::Map;
use super::expression::Expression;
use super::forward::{Passed, constant};
use super::level::Level;
use super::location::{Kind, Location, Locations, fixed_part};
use super::path::encoded;
use super::target::expanded;
use super::tree::Node;
use super::variants::{Variant, condition};
use crate::finding::quote;

/// Locations that one rewrite may lead to, at most.
const LEADS_MAX: usize = 64;

/// Said where nginx would ask expressions for a path that was changed.
const AGAIN: &str = "nginx also looks among expressions for the location of the path that this \
                     makes; the door looks among prefixes and exact paths alone";

/// What one rewrite does.
pub(super) struct Change<'t> {
    pub(super) node: &'t Node,
    /// Where it does so; `None`: wherever the location is.
    pub(super) expression: Option<Expression>,
    /// What it makes of the path, or why the door cannot.
    pub(super) to: Result<Rewrite, String>,
    /// Whether it takes all of the location's requests.
    pub(super) is_all: bool,
    /// Whether nginx looks for a location again.
    pub(super) again: bool,
}

/// The changes of a location, and whether nginx works with the path as it was sent.
#[derive(Default)]
pub(super) struct Changes<'t> {
    pub(super) list: Vec<Change<'t>>,
    pub(super) is_raw: bool,
}

impl Changes<'_> {
    /// Whether one of them takes all of the location's requests.
    pub(super) fn is_all(&self) -> bool {
        self.list.iter().any(|change| change.is_all)
    }
}

/// Whether a rewrite answers nothing, but changes the path.
pub(super) fn is_inner(node: &Node) -> bool {
    let is_absolute =
        ["http://", "https://", "$scheme"].iter().any(|start| node.arg(1).starts_with(start));
    ["", "break", "last"].contains(&node.arg(2)) && !is_absolute
}

/// Of an expression that matches every path: whether it has the path in its first group, and
/// without how many of its letters.
pub(super) fn whole(expression: &str) -> Option<Option<usize>> {
    match expression {
        "^" | "^/" | "/" | ".*" | "^.*" | "^.*$" | "^/.*$" | "^/.*" => Some(None),
        "^(.*)$" | "^(.*)" | "(.*)" | "(.*)$" | "^(/.*)$" | "^(/.*)" | "(/.*)" => Some(Some(0)),
        "^/(.*)$" | "^/(.*)" | "/(.*)" | "/(.*)$" | "^/(.*)?$" => Some(Some(1)),
        _ => None,
    }
}

/// A path with nginx's groups as those of this door.
pub(super) fn replacement(text: &str, level: &Level<'_>) -> Result<String, String> {
    if text.contains(['?', '#']) {
        return Err("the door changes no query".to_owned());
    }
    let path = expanded(text, plain, |name| {
        let (first, rest) = name.split_at_checked(1).unwrap_or((name, ""));
        if first.bytes().all(|byte| byte.is_ascii_digit()) && !first.is_empty() {
            return Ok(format!("${first}{}", plain(rest)));
        }
        let unknown =
            || format!("the door has no variable {} for a path", quote(&format!("${name}")));
        constant(name, level).map(|value| plain(&value)).ok_or_else(unknown)
    })?;
    if !path.starts_with(['/', '$']) {
        return Err("a path begins with a slash".to_owned());
    }
    if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
        return Err("the door sends no empty segments and none of dots".to_owned());
    }
    Ok(path)
}

/// A part of a path, percent-encoded.
fn plain(text: &str) -> String {
    let encoded = encoded(&format!("/{}", text.replace('/', "\u{1}"))).unwrap_or_default();
    encoded.trim_start_matches('/').replace("%01", "/").replace('$', "$$")
}

impl<'t> Context<'_, 't> {
    /// What the rewrites of a location do that stay inside it.
    pub(super) fn changes(&mut self, location: &Location<'t>) -> Changes<'t> {
        let level = &location.level;
        let mut nodes: Vec<&'t Node> = level.own("rewrite").to_vec();
        let mut changes = Changes::default();
        if !nodes.iter().all(|node| is_inner(node)) {
            return changes;
        }
        let returns = level.own("return").first();
        if let [first, rest @ ..] = nodes.as_slice() {
            if returns.is_some_and(|node| node.place.span.start < first.place.span.start) {
                nodes.iter().for_each(|node| self.site.ignored(node, "nginx answers before it"));
                return changes;
            }
            let passes_uri =
                level.own("proxy_pass").iter().any(|node| node.arg(0).ends_with("$uri"));
            let is_raw = (first.arg(1), first.arg(2)) == ("$request_uri", "")
                && whole(first.arg(0)).is_some()
                && passes_uri
                && !rest.is_empty();
            if is_raw {
                self.site.mapped(first);
                changes.is_raw = true;
                nodes.remove(0);
            }
        }
        let last = nodes.len().saturating_sub(1);
        for (number, node) in nodes.into_iter().enumerate() {
            if changes.is_all() {
                self.site.ignored(node, "one before it takes every path");
                continue;
            }
            match change(node, location, number == last) {
                Ok(change) if change.to.as_ref().is_err_and(|reason| reason == NEVER) => {
                    self.site.ignored(node, NEVER);
                }
                Ok(change) => changes.list.push(change),
                Err(reason) => {
                    changes.list.extend(unknown(node, location, &reason));
                    self.site.refused(node, reason);
                }
            }
        }
        changes
    }

    /// What a change leads to that nginx does not go on with in its own location.
    pub(super) fn found_again(
        &mut self,
        (index, change): (usize, &Change<'t>),
        (locations, map): (&Locations<'t>, &Map),
    ) -> Result<Vec<Variant>, String> {
        let location = locations.list.get(index).ok_or("it stands in no location")?;
        let (expression, to) = spelled(location, change)?;
        let (head, has_rest) = match to.split_once('$') {
            None => (to.clone(), false),
            Some((head, _)) => (head.to_owned(), true),
        };
        let is_open = to == format!("{head}$1") && expression.ends_with_rest();
        let mut leads: Vec<(String, usize, bool)> = Vec::new();
        for (number, other) in locations.list.iter().enumerate() {
            let path = encoded(&other.text).filter(|path| path.starts_with(&head));
            let path = path.filter(|path| !path.contains('$'));
            let path = path.filter(|path| has_rest || *path == head);
            match (other.kind, path) {
                (Kind::Exact, Some(path)) if !map.is_shadowed(number) => {
                    leads.push((path, number, false));
                }
                (Kind::Expression { .. }, _) if map.may_match(number, &head) => {
                    self.site.inexact(&change.node.place, AGAIN);
                }
                (Kind::Expression { .. } | Kind::Exact | Kind::Prefix | Kind::FirmPrefix, _) => {}
            }
        }
        if has_rest {
            leads.extend(map.below(&head).map(|(path, number)| (path.to_owned(), number, true)));
        }
        if leads.len() > LEADS_MAX || (has_rest && !leads.is_empty() && !is_open) {
            return Err("the path that it makes may lead to many locations".to_owned());
        }
        // What is longer is asked first, and of the same length what is exact.
        leads.sort_by_key(|(path, _, is_start)| (std::cmp::Reverse(path.len()), *is_start));
        let mut variants = Vec::new();
        for (path, number, is_start) in leads {
            let lead = if has_rest {
                let more = path.get(head.len()..).unwrap_or_default();
                expression.extended(more, is_start).ok_or("the expression would be too long")?
            } else {
                expression.clone()
            };
            let to = if is_start { format!("{path}$1") } else { path };
            variants.push(self.lead(change, number, (lead, to), locations)?);
        }
        let has_exact = !has_rest && !variants.is_empty();
        if !has_exact {
            let around = map.around(head.as_bytes());
            let around = around.ok_or("no location takes the path that it makes")?;
            variants.push(self.lead(change, around, (expression, to), locations)?);
        }
        Ok(variants)
    }

    /// What the location `number` does with paths that were changed to `to`.
    fn lead(
        &mut self,
        change: &Change<'t>,
        number: usize,
        (expression, to): (Expression, String),
        locations: &Locations<'t>,
    ) -> Result<Variant, String> {
        let found = locations.list.get(number).ok_or("it leads to no location")?;
        if !found.level.own("internal").is_empty() {
            return Err("it leads to a location that only nginx itself may ask for".to_owned());
        }
        let by_method = |inner: &Node| inner.name == "limit_except" || condition(inner).is_some();
        if found.is_partial || found.node.children().iter().any(by_method) {
            return Err("it leads to a location that asks for more than the path".to_owned());
        }
        let head = to.split('$').next().unwrap_or_default();
        let meets = |change: &Change<'_>| {
            change.expression.as_ref().is_none_or(|expression| expression.may_begin(head))
        };
        if self.changes(found).list.iter().any(meets) {
            return Err("the path that it makes is changed once more".to_owned());
        }
        let (mut action, level, guard) = self.decided(found, locations, (&Passed::default(), true));
        changed(&mut action, found, &to)?;
        self.site.decodes(&change.node.place);
        let action = self.treated(action, &level, guard);
        Ok(Variant { expression: Some(expression), methods: Vec::new(), action, of: number })
    }
}

/// Lets an action send `to` instead of the path it would send.
fn changed(action: &mut Action, found: &Location<'_>, to: &str) -> Result<(), String> {
    match &mut action.answer {
        Answer::Forward { rewrite, .. } => {
            let path = match rewrite {
                None => to.to_owned(),
                Some(Rewrite::Prefix(new)) => {
                    let own = encoded(&found.text).unwrap_or_default();
                    let rest = to.strip_prefix(own.as_str());
                    format!("{new}{}", rest.ok_or("it is not known where it leads")?)
                }
                Some(Rewrite::AsSent) => return Ok(()),
                // One exact path becomes another, whatever led to it.
                Some(Rewrite::Path(path)) if !path.contains('$') => path.clone(),
                Some(Rewrite::Path(_)) => {
                    return Err("the path that it makes is changed once more".to_owned());
                }
            };
            *rewrite = Some(Rewrite::Path(path));
        }
        Answer::Redirect { location, .. } if location.contains("{path}") => {
            return Err("the door redirects by the path that the client sent".to_owned());
        }
        Answer::Redirect { .. } | Answer::Respond { .. } => {}
    }
    Ok(())
}

/// A change as an expression and what it makes of the path.
fn spelled(location: &Location<'_>, change: &Change<'_>) -> Result<(Expression, String), String> {
    let unknown = || "the expression would be too long".to_owned();
    let path = encoded(&location.text).unwrap_or_default();
    let own = |captures| match location.kind {
        Kind::Exact => Expression::exact(&path).ok_or_else(unknown),
        Kind::Prefix | Kind::FirmPrefix => {
            Expression::beginning(&path, captures).ok_or_else(unknown)
        }
        Kind::Expression { ignores_case } => Expression::new(&location.text, ignores_case),
    };
    let given = change.expression.clone();
    match change.to.clone()? {
        Rewrite::Prefix(new) => Ok((own(true)?, format!("{}$1", new.replace('$', "$$")))),
        Rewrite::Path(to) => Ok((given.map_or_else(|| own(false), Ok)?, to)),
        Rewrite::AsSent => Err("it changes nothing".to_owned()),
    }
}

/// What one rewrite does in its location; `is_last`: none follows.
fn change<'t>(
    node: &'t Node,
    location: &Location<'t>,
    is_last: bool,
) -> Result<Change<'t>, String> {
    let again = node.arg(2) != "break";
    let change = |expression: Option<Expression>, to| {
        let is_all = expression.is_none();
        Change { node, expression, to, is_all, again }
    };
    if node.arg(2).is_empty() && !is_last {
        return Err("the door changes a path once".to_owned());
    }
    let to = replacement(node.arg(1), &location.level);
    let path = encoded(&location.text).unwrap_or_default();
    if let Some(captured) = whole(node.arg(0)) {
        return Ok(change(None, to.and_then(|to| whole_path(&to, captured, (location, &path)))));
    }
    let expression = Expression::new(node.arg(0), false)?;
    let to = to.and_then(|to| match to.strip_prefix('$') {
        Some(group) if !begins(node.arg(0), group) => Err("a path begins with a slash".to_owned()),
        Some(_) | None => expression.filled(&to),
    });
    match location.kind {
        // Of one path it is known what the expression makes.
        Kind::Exact => {
            let to = to.and_then(|to| made(&expression, &path, &to));
            Ok(match to {
                Ok(None) => Change { is_all: false, ..change(None, Err(NEVER.to_owned())) },
                Ok(Some(to)) => change(None, Ok(Rewrite::Path(to))),
                Err(reason) => change(None, Err(reason)),
            })
        }
        Kind::Prefix | Kind::FirmPrefix => {
            if let Some(new) = cut(node.arg(0), node.arg(1), &path) {
                return Ok(change(None, Ok(Rewrite::Prefix(new))));
            }
            let within = expression.within(&path).ok_or(ELSEWHERE)?;
            Ok(change(Some(within), to.map(Rewrite::Path)))
        }
        Kind::Expression { ignores_case } => {
            if !ignores_case && trimmed(node.arg(0)) == trimmed(&location.text) {
                // The two match the same, and the groups are those of the rewrite.
                let found = change(Some(expression), to.map(Rewrite::Path));
                return Ok(Change { is_all: true, ..found });
            }
            let base =
                location.text.strip_prefix('^').and_then(unescaped).filter(|_| !ignores_case);
            let base = base.and_then(|base| encoded(&base)).ok_or(ELSEWHERE)?;
            let within = expression.within(&base).ok_or(ELSEWHERE)?;
            Ok(change(Some(within), to.map(Rewrite::Path)))
        }
    }
}

/// Of a rewrite that the door cannot say: the paths that it may change, as far as they are known.
fn unknown<'t>(node: &'t Node, location: &Location<'t>, reason: &str) -> Option<Change<'t>> {
    let to = Err(reason.to_owned());
    let again = node.arg(2) != "break";
    if matches!(location.kind, Kind::Expression { .. } | Kind::Exact) {
        return Some(Change { node, expression: None, to, is_all: true, again });
    }
    let path = encoded(&location.text)?;
    let below = Expression::beginning(&fixed_part(node.arg(0))?, false)?;
    let expression = if below.may_begin(&path) { below.within(&path) } else { return None };
    let is_all = expression.is_none();
    Some(Change { node, expression, to, is_all, again })
}

/// Whether the group whose number `group` begins with has a slash first.
fn begins(expression: &str, group: &str) -> bool {
    let plain = expression.replace("\\(", "").replace("(?:", "");
    let number = group.chars().next().and_then(|digit| digit.to_digit(10));
    let number = number.and_then(|number| usize::try_from(number).ok());
    let found = number.and_then(|number| plain.split('(').nth(number));
    found.is_some_and(|group| group.starts_with('/') || group.starts_with("\\/"))
}

const NEVER: &str = "the location's one path does not match it";

/// What an expression makes of one path; `None` when it does not match.
fn made(expression: &Expression, path: &str, to: &str) -> Result<Option<String>, String> {
    let regex = crate::path::expression::compiled(&expression.text());
    let regex = regex.map_err(|_too_large| ELSEWHERE.to_owned())?;
    let Some(found) = regex.captures(path.as_bytes()) else { return Ok(None) };
    let mut made = to.to_owned();
    for number in 1..10 {
        let group = found.get(number).map_or(&b""[..], |group| group.as_bytes());
        made = made.replace(&format!("${number}"), &String::from_utf8_lossy(group));
    }
    if !made.starts_with('/') || made.contains("//") {
        return Err("a path begins with a slash, and the door sends no empty segments".to_owned());
    }
    Ok(Some(made))
}

const ELSEWHERE: &str = "the door cannot ask this expression of the location's paths alone";

/// An expression without what takes all that follows.
fn trimmed(expression: &str) -> String {
    let plain = expression.replace("\\/", "/");
    let ends = ["(.*)$", "(.*)", ".*$", ".*"];
    let short = ends.iter().find_map(|end| plain.strip_suffix(end));
    short.map_or(plain.clone(), str::to_owned)
}

/// What becomes of the paths of a location where a rewrite takes them whole.
fn whole_path(
    to: &str,
    captured: Option<usize>,
    (location, path): (&Location<'_>, &str),
) -> Result<Rewrite, String> {
    let Some((head, group)) = to.split_once('$') else { return Ok(Rewrite::Path(to.to_owned())) };
    let skipped = captured.filter(|_| group == "1").ok_or("it has one group, the path")?;
    let own = format!("{head}{}", path.get(skipped..).unwrap_or_default());
    if !own.starts_with('/') || own.contains("//") {
        return Err("a path begins with a slash, and the door sends no empty segments".to_owned());
    }
    match location.kind {
        Kind::Exact => Ok(Rewrite::Path(own)),
        Kind::Prefix | Kind::FirmPrefix => Ok(Rewrite::Prefix(own)),
        Kind::Expression { .. } => Err("its groups are not those of the location".to_owned()),
    }
}

/// The letters that replace the location's, when a rewrite only cuts or changes those, whatever
/// follows.
fn cut(expression: &str, to: &str, path: &str) -> Option<String> {
    // What the paths begin with is also what the expression finds first.
    let expression = expression.strip_prefix('^').unwrap_or(expression);
    let expression = expression.strip_suffix('$').unwrap_or(expression);
    let to = to.strip_suffix("$1").filter(|to| !to.contains(['$', '?', '#']))?;
    let (base, slash) = match expression.strip_suffix("(/.*)") {
        Some(base) => (base, "/"),
        None => (expression.strip_suffix("(.*)")?, ""),
    };
    let (base, optional) = match base.strip_suffix("/?") {
        Some(base) => (base, "/"),
        None => (base, ""),
    };
    let taken = format!("{}{optional}", unescaped(base)?);
    let rest = path.strip_prefix(&taken).filter(|rest| rest.starts_with(slash))?;
    let new = format!("{}{rest}", if to.is_empty() { String::new() } else { encoded(to)? });
    (new.starts_with('/') && !new.contains("//")).then_some(new)
}

/// The text that an expression stands for, if it is one.
fn unescaped(expression: &str) -> Option<String> {
    let mut text = String::new();
    let mut characters = expression.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => characters.next().filter(|c| !c.is_ascii_alphanumeric())?,
            c if "^$.?*+([{}])|".contains(c) => return None,
            c => c,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_cuts_the_prefix() {
        for (expression, to, path, expected) in [
            ("^/a/(.*)$", "/$1", "/a/", Some("/")),
            ("^/a/(.*)", "/b/$1", "/a/", Some("/b/")),
            ("^/a(/.*)$", "$1", "/a/", Some("/")),
            ("^/a(/.*)$", "$1", "/a", None),
            ("^/a/?(.*)$", "/$1", "/a/", Some("/")),
            ("^/a/?(.*)$", "/$1", "/a", None),
            ("^/a(.*)$", "/b$1", "/a", Some("/b")),
            ("^/a(.*)$", "/b$1", "/a/c", Some("/b/c")),
            (r"^\/a\/(.*)$", "/$1", "/a/", Some("/")),
            (r"^/a\d/(.*)$", "/$1", "/a/", None),
            ("^/a.b/(.*)$", "/$1", "/a.b/", None),
            ("^/a/(.*)$", "$1", "/a/", None),
            ("/a(.*)", "$1", "/a/", Some("/")),
            ("/b(.*)", "$1", "/a/b/", None),
        ] {
            let actual = cut(expression, to, path);
            assert_eq!(actual.as_deref(), expected, "{expression} {to} {path}");
        }
    }
}
