//! `proxy_pass` and `grpc_pass`: to which pool, and with which path.
//!
//! nginx replaces the part of the path that the location matched by the path of the address, as
//! text, and so does this door. An address with variables is the whole of it: what is not there,
//! such as the query, is not sent.

use super::action::{Action, Answer, Context, Rewrite};
use super::expression::Expression;
use super::level::Level;
use super::location::{Kind, Location};
use super::path::encoded;
use super::pool::Use;
use super::rewrite::replacement;
use super::site::{Keys, Site};
use super::target::{target, variables};
use super::tree::Node;
use crate::finding::quote;

/// What was done to the path of requests before they are passed on.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    pub(super) rewrite: Option<Rewrite>,
    /// Whether nginx's `$uri` is what the client sent, query and all.
    pub(super) is_raw: bool,
}

/// Said of addresses with variables.
const QUERY: &str = "nginx leaves the query out of an address with variables that does not name it; \
                     the door forwards the query";

/// Ends of an address that stand for the query.
const QUERIES: [&str; 4] = ["$is_args$args", "$is_args$query_string", "?$args", "?$query_string"];

impl<'t> Context<'_, 't> {
    /// What a location with this `proxy_pass` does.
    pub(super) fn pass(&mut self, node: &Node, location: &Location<'t>, passed: &Passed) -> Action {
        let result = self.forward(node, location, passed);
        result.unwrap_or_else(|reason| {
            self.site.refused(node, reason);
            Action::status(501, &node.place).note("the door cannot pass requests on like this")
        })
    }

    fn forward(
        &mut self,
        node: &Node,
        location: &Location<'t>,
        passed: &Passed,
    ) -> Result<Action, String> {
        let (address, uri) = split(node.arg(0));
        let text = self.resolved_text(node, address, &location.level)?;
        let is_grpc = node.name == "grpc_pass";
        if is_grpc && uri.is_some() {
            return Err("nginx itself refuses it: calls are passed on with their path".to_owned());
        }
        let target = target(&text, is_grpc)?;
        let is_fixed = variables(node.arg(0)).is_empty();
        let rewrite = match uri.or(target.uri) {
            None => passed.rewrite.clone(),
            // nginx leaves out a fixed path where the path was changed before.
            Some(_) if is_fixed && passed.rewrite.is_some() => passed.rewrite.clone(),
            Some(uri) if is_fixed => self.replaced(node, location, uri)?,
            Some("$request_uri") => Some(Rewrite::AsSent),
            Some(uri) => self.composed(node, location, (uri, passed))?,
        };
        let is_sent = passed.is_raw || rewrite == Some(Rewrite::AsSent);
        if !is_sent && (uri.or(target.uri).is_some() || rewrite.is_some()) {
            self.site.decodes(&node.place);
        }
        let by = Use { target: &target, level: &location.level, upstreams: self.upstreams, node };
        let pool = self.pools.name(&by, self.site)?;
        self.site.mapped(node);
        let module = if node.name == "grpc_pass" { "grpc" } else { "proxy" };
        let answer = Answer::Forward { pool, rewrite, host: target.name(), module };
        Ok(Action { answer, place: node.place.clone(), notes: Vec::new(), keys: Keys::new() })
    }

    /// The path of an address with variables, which is all that nginx sends.
    fn composed(
        &mut self,
        node: &Node,
        location: &Location<'t>,
        (uri, passed): (&str, &Passed),
    ) -> Result<Option<Rewrite>, String> {
        let (path, has_query) = match QUERIES.iter().find_map(|query| uri.strip_suffix(query)) {
            Some(path) => (path, true),
            None => (uri, passed.is_raw),
        };
        let rewrite = if matches!(path, "$uri" | "$document_uri") {
            passed.rewrite.clone()
        } else if passed.rewrite.is_some() {
            return Err("the path was changed before, and groups are of that expression".to_owned());
        } else {
            let text = replacement(path, &location.level)?;
            let asks =
                |node: &Node| node.name == "if" && node.texts().any(|word| word.contains('~'));
            if text.contains('$') && location.node.children().iter().any(asks) {
                return Err("groups are those of the condition that was asked last".to_owned());
            }
            let text = match location.kind {
                Kind::Expression { ignores_case } => {
                    Expression::new(&location.text, ignores_case)?.filled(&text)?
                }
                Kind::Exact | Kind::Prefix | Kind::FirmPrefix if text.contains('$') => {
                    return Err("groups are those of an expression".to_owned());
                }
                Kind::Exact | Kind::Prefix | Kind::FirmPrefix => text,
            };
            Some(Rewrite::Path(text))
        };
        if !has_query {
            self.site.inexact(&node.place, QUERY);
        }
        Ok(rewrite)
    }

    /// What replaces the location's own letters when the address has a fixed path.
    fn replaced(
        &mut self,
        node: &Node,
        location: &Location<'t>,
        uri: &str,
    ) -> Result<Option<Rewrite>, String> {
        let from = location.text.as_str();
        if uri == from {
            return Ok(None);
        }
        if uri.contains('?') {
            return Err("the door changes no query".to_owned());
        }
        let message =
            format!("the path changes on its way: {} becomes {}", quote(from), quote(uri));
        self.site.rule("path-rewritten", &node.place, message, "servers see another path");
        match location.kind {
            Kind::Exact => Ok(encoded(uri).map(Rewrite::Path)),
            Kind::Expression { .. } => Err("nginx itself refuses a path here".to_owned()),
            Kind::Prefix | Kind::FirmPrefix => Ok(Some(Rewrite::Prefix(uri.to_owned()))),
        }
    }

    /// The address of a `proxy_pass`, with the variables in it that have one value.
    pub(super) fn resolved(&mut self, node: &Node, level: &Level<'t>) -> Result<String, String> {
        self.resolved_text(node, node.arg(0), level)
    }

    /// A part of an address, with the variables in it that have one value.
    fn resolved_text(
        &mut self,
        node: &Node,
        part: &str,
        level: &Level<'t>,
    ) -> Result<String, String> {
        let mut text = part.to_owned();
        for name in variables(part) {
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
        mark_sets(part, level, self.site);
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

/// Splits an address before its path: at a slash, or at a variable that stands for a path.
fn split(text: &str) -> (&str, Option<&str>) {
    let start = text.find("://").map_or(0, |at| at + 3);
    let rest = text.get(start..).unwrap_or_default();
    let marks = ["/", "?", "$uri", "$document_uri", "$request_uri"];
    let end = marks.iter().filter_map(|mark| rest.find(mark)).min();
    match end.and_then(|end| text.split_at_checked(start + end)) {
        Some((address, uri)) if !address.contains("unix:") => (address, Some(uri)),
        Some(_) | None => (text, None),
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
