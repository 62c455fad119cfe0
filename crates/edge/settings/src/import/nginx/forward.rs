//! `proxy_pass` and `grpc_pass`: to which pool, and with which path.
//!
//! nginx replaces the part of the path that the location matched by the path of the address, as
//! text; this door replaces whole segments. Where that is not the same it is refused or noted.

use super::action::{Action, Answer, Context};
use super::level::Level;
use super::location::{Kind, Location};
use super::pool::Use;
use super::site::{Keys, Site};
use super::target::{target, variables};
use super::tree::Node;
use crate::finding::quote;

impl<'t> Context<'_, 't> {
    /// What a location with this `proxy_pass` does; `replace` is what a rewrite made of its prefix.
    pub(super) fn pass(
        &mut self,
        node: &Node,
        location: &Location<'t>,
        replace: Option<String>,
    ) -> Action {
        let result = self.forward(node, location, replace);
        result.unwrap_or_else(|reason| {
            self.site.refused(node, reason);
            Action::status(501, &node.place).note("the door cannot pass requests on like this")
        })
    }

    fn forward(
        &mut self,
        node: &Node,
        location: &Location<'t>,
        replace: Option<String>,
    ) -> Result<Action, String> {
        let text = self.resolved(node, &location.level)?;
        let target = target(&text, node.name == "grpc_pass")?;
        let mut notes = Vec::new();
        let replaced = match target.uri {
            Some(uri) => {
                let replaced = replaced(location, uri, &mut notes)?;
                let same = uri == location.text;
                if !same {
                    let message = format!(
                        "the path changes on its way: {} becomes {}",
                        quote(&location.text),
                        quote(uri)
                    );
                    self.site.rule(
                        "path-rewritten",
                        &node.place,
                        message,
                        "servers see another path",
                    );
                }
                replaced
            }
            None => replace,
        };
        if target.uri.is_some() || replaced.is_some() {
            self.site.decodes(&node.place);
        }
        let by = Use { target: &target, level: &location.level, upstreams: self.upstreams, node };
        let pool = self.pools.name(&by, self.site)?;
        self.site.mapped(node);
        let answer = Answer::Forward { pool, replace_prefix: replaced, host: target.name() };
        Ok(Action { answer, place: node.place.clone(), notes, keys: Keys::new() })
    }

    /// The address of a `proxy_pass`, with the variables in it that have one value.
    pub(super) fn resolved(&mut self, node: &Node, level: &Level<'t>) -> Result<String, String> {
        let mut text = node.arg(0).to_owned();
        for name in variables(node.arg(0)) {
            let Some(value) = constant(name, level) else {
                self.judge_variable(name, node);
                return Err(format!(
                    "the door has no variables, and {} is one",
                    quote(&format!("${name}"))
                ));
            };
            text =
                text.replace(&format!("${{{name}}}"), &value).replace(&format!("${name}"), &value);
        }
        mark_sets(node.arg(0), level, self.site);
        Ok(text)
    }

    /// Whether the variable that names a server is the client's to choose.
    fn judge_variable(&mut self, name: &str, node: &Node) {
        let is_sent =
            ["http_", "arg_", "cookie_", "request"].iter().any(|start| name.starts_with(start))
                || ["host", "uri", "document_uri", "args", "query_string"].contains(&name)
                || name.bytes().all(|byte| byte.is_ascii_digit());
        let authority = node.arg(0).split_once("://").map_or(node.arg(0), |(_, rest)| rest);
        let authority = authority.split('/').next().unwrap_or("");
        if is_sent && variables(authority).contains(&name) {
            let message =
                format!("the client chooses the server by {}", quote(&format!("${name}")));
            self.site.rule(
                "client-chosen-upstream",
                &node.place,
                message,
                "any server the door can reach",
            );
        }
    }
}

/// The value of a variable that is set once, to a text without variables.
pub(super) fn constant(name: &str, level: &Level<'_>) -> Option<String> {
    let wanted = format!("${name}");
    let mut sets = level.all("set").iter().filter(|node| node.arg(0) == wanted);
    let set = sets.next().filter(|node| variables(node.arg(1)).is_empty())?;
    sets.next().is_none().then(|| set.arg(1).to_owned())
}

/// The `set` of every variable in a text is in the TOML by now.
pub(super) fn mark_sets(text: &str, level: &Level<'_>, site: &mut Site) {
    for name in variables(text) {
        let is_of_name = |set: &&&Node| set.arg(0).strip_prefix('$') == Some(name);
        level.all("set").iter().filter(is_of_name).for_each(|set| site.mapped(set));
    }
}

/// What replaces the prefix when `proxy_pass` has a path.
fn replaced(
    location: &Location<'_>,
    uri: &str,
    notes: &mut Vec<String>,
) -> Result<Option<String>, String> {
    let from = location.text.as_str();
    if uri == from {
        return Ok(None);
    }
    if uri.contains('?') {
        return Err("the door changes no query".to_owned());
    }
    match location.kind {
        Kind::Exact => return Err("the door replaces prefixes, not exact paths".to_owned()),
        Kind::Expression { .. } => return Err("nginx itself refuses a path here".to_owned()),
        Kind::Prefix | Kind::FirmPrefix => {}
    }
    match (from.ends_with('/'), uri.ends_with('/')) {
        (true, true) | (false, false) => {}
        (false, true) => {
            notes.push(format!("nginx sends `{uri}/x` for `{from}/x`; the door one slash less"))
        }
        (true, false) => {
            return Err(format!(
                "nginx glues names together here: {} becomes {}",
                quote(&format!("{from}x")),
                quote(&format!("{uri}x"))
            ));
        }
    }
    Ok(Some(uri.to_owned()))
}

/// The path that replaces the location's, when a rewrite only cuts or changes the prefix.
pub(super) fn cut(expression: &str, to: &str, location: &Location<'_>) -> Option<String> {
    if !matches!(location.kind, Kind::Prefix | Kind::FirmPrefix) {
        return None;
    }
    let expression = expression.strip_prefix('^').unwrap_or(expression);
    let expression = expression.strip_suffix('$').unwrap_or(expression);
    let to = to.strip_suffix("$1")?;
    let (base, has_slash) = match expression.strip_suffix("(/.*)") {
        Some(base) => (base, true),
        None => (expression.strip_suffix("(.*)")?, false),
    };
    let base = base
        .strip_suffix("/?")
        .unwrap_or(base)
        .replace("\\/", "/")
        .replace("\\.", ".")
        .replace("\\-", "-");
    if base.contains(['(', '[', '*', '+', '?', '\\', '|', '$', '^']) || to.contains('$') {
        return None;
    }
    if base.trim_end_matches('/') != location.text.trim_end_matches('/')
        || !(has_slash || to.ends_with('/'))
    {
        return None;
    }
    let path = if to.is_empty() { "/" } else { to };
    path.starts_with('/').then(|| path.to_owned())
}
