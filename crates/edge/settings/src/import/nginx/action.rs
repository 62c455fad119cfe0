//! What a server or location does with a request: redirect, answer, or pass on.
//!
//! As in nginx, `return` and `rewrite` come before the question who may enter, and that before
//! `proxy_pass`. Where the door cannot ask that question it answers 403: a site must not become
//! open by being imported. Where it cannot do what nginx does it answers 501.

use std::rc::Rc;

use super::forward::{Passed, constant};
use super::guard::{Guard, closes};
use super::level::Level;
use super::location::{Location, Locations};
use super::pool::Pools;
use super::rewrite::{is_inner, whole};
use super::server::{Condition, Server};
use super::site::{Keys, Site};
use super::target::{expanded, variables};
use super::tree::Node;
use super::upstream::Upstreams;
use crate::finding::quote;
use crate::import::Place;

/// Stands for `http` or `https` in a location, until the listener is known.
pub(super) const SCHEME: &str = "\u{1}";

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Redirect {
        status: u16,
        location: String,
    },
    Respond {
        status: u16,
        body: String,
        content_type: String,
    },
    /// `host` is what nginx calls the servers, `module` the part of it that passes requests on.
    Forward {
        pool: String,
        rewrite: Option<Rewrite>,
        host: String,
        module: &'static str,
    },
}

/// What is sent to servers instead of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rewrite {
    /// The location's own letters are replaced by these.
    Prefix(String),
    /// The path is replaced as a whole; `$1` stands for a group of the route's expression.
    Path(String),
    /// Whatever was done to it, the path goes as the client sent it.
    AsSent,
}

/// What is done, where that is said, and what a reader should know.
#[derive(Clone, Debug)]
pub(super) struct Action {
    pub(super) answer: Answer,
    pub(super) place: Place,
    pub(super) notes: Vec<String>,
    /// What is done to requests and answers besides, as keys of the route.
    pub(super) keys: Keys,
}

impl Action {
    pub(super) fn new(answer: Answer, place: &Place) -> Self {
        Self { answer, place: place.clone(), notes: Vec::new(), keys: Keys::new() }
    }

    /// An answer of nothing but a status.
    pub(super) fn status(status: u16, place: &Place) -> Self {
        let (body, content_type) = (String::new(), String::new());
        Self::new(Answer::Respond { status, body, content_type }, place)
    }

    /// With something a reader should know.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// One server while its routes are made.
pub(super) struct Context<'c, 't> {
    pub(super) server: &'c Server<'t>,
    pub(super) upstreams: &'c Upstreams<'t>,
    pub(super) pools: &'c mut Pools,
    pub(super) site: &'c mut Site,
}

/// Conditions of one server, at most.
const CONDITIONS_MAX: usize = 100;

/// Directives that pass requests on to servers.
pub(super) const PASSES: [&str; 2] = ["proxy_pass", "grpc_pass"];

/// Directives that make content the door cannot make.
const CONTENT: &[&str] = &[
    "stub_status",
    "fastcgi_pass",
    "uwsgi_pass",
    "scgi_pass",
    "memcached_pass",
    "try_files",
    "alias",
    "root",
    "autoindex",
    "empty_gif",
    "flv",
    "mp4",
    "hls",
    "api",
    "perl",
    "js_content",
    "index",
    "random_index",
];

impl<'t> Context<'_, 't> {
    /// The conditions of the server that the door can ask, with what they lead to.
    pub(super) fn conditions(&mut self) -> Vec<(Condition, Action)> {
        let mut conditions = Vec::new();
        for node in
            self.server.nodes.iter().filter(|node| node.name == "if" && node.block.is_some())
        {
            self.judge_if(node);
            let level = super::walk::level(
                node.children(),
                Some(&self.server.level),
                super::walk::Inside::Location,
                self.site,
            );
            let asked = condition(node).filter(|_| conditions.len() < CONDITIONS_MAX);
            let action = asked.and_then(|condition| Some((condition, self.first(&level, None)?)));
            match action {
                Some((condition, action)) => {
                    self.site.mapped(node);
                    let action = self.treated(action, &level, Guard::default());
                    conditions.push((condition, action));
                }
                _ => self.site.refuse_all(
                    node,
                    "the door asks for host, path, method and headers, \
                                                 and only for a value, not for an expression",
                ),
            }
        }
        conditions
    }

    /// What the server does with every request, before it looks for a location.
    pub(super) fn whole(&mut self) -> Option<Action> {
        let level = Rc::clone(&self.server.level);
        let guard = self.server.nodes.iter().find(|node| node.name == "if" && closes(node));
        let closed = guard.map(|node| {
            Action::status(403, &node.place).note("`if` guards this, and the door cannot: closed")
        });
        let action = self.first(&level, None).or(closed)?;
        Some(self.treated(action, &level, Guard::default()))
    }

    /// What is left when no location takes a request: nginx looks for a file.
    pub(super) fn rest(&mut self) -> Action {
        let level = Rc::clone(&self.server.level);
        let action = Action::status(404, &self.server.place)
            .note("no location takes what is left; nginx looks for a file");
        self.treated(action, &level, Guard::default())
    }

    /// Says of all locations that the server answers before them.
    pub(super) fn never_reached(&mut self) {
        for node in self.server.nodes.iter().filter(|node| node.name == "location") {
            self.site.ignore_all(
                node,
                "the server answers every request before it looks for a location",
            );
        }
    }

    pub(super) fn judge_if(&mut self, node: &Node) {
        let mut expects = false;
        for word in &node.args {
            if expects {
                self.site.expression(word.text.trim_end_matches(')'), &node.place);
            }
            expects = ["~", "~*", "!~", "!~*"].contains(&word.text.as_str());
        }
    }

    /// What a location does; `passed` is what was done to the path before.
    pub(super) fn action(
        &mut self,
        location: &Location<'t>,
        locations: &Locations<'t>,
        passed: &Passed,
    ) -> Action {
        let (action, level, guard) = self.decided(location, locations, (passed, true));
        self.treated(action, &level, guard)
    }

    /// What a location does, the level that holds for it, and how it is guarded. `follows`: whether
    /// it may go on to a named location.
    pub(super) fn decided(
        &mut self,
        location: &Location<'t>,
        locations: &Locations<'t>,
        (passed, follows): (&Passed, bool),
    ) -> (Action, Rc<Level<'t>>, Guard) {
        let place = location.node.place.clone();
        let level = Rc::clone(&location.level);
        // What is done once the path was changed is asked without what comes before that.
        if passed.rewrite.is_none()
            && let Some(action) = self.first(&level, Some(location))
        {
            return (action, level, Guard::default());
        }
        let guard = match self.guard(location, locations) {
            Ok(guard) => guard,
            Err(action) => {
                let names = PASSES.iter().chain(["try_files"].iter());
                for node in names.flat_map(|name| level.own(name)) {
                    self.site.ignored(
                        node,
                        "the door cannot check who may come here, so nobody gets this far",
                    );
                }
                return (*action, level, Guard::default());
            }
        };
        if let Some(node) = level.own("try_files").first() {
            self.site.refused(
                node,
                "the door serves no files: it looks for none, and goes on to the last argument",
            );
            let last = node.args.last().map_or("", |word| word.text.as_str());
            if let Some(fallback) = locations.named.get(last).filter(|_| follows) {
                self.site.mapped(fallback.node);
                let fallback = Location {
                    text: location.text.clone(),
                    kind: location.kind,
                    ..fallback.clone()
                };
                let (action, level, guard) = self.decided(&fallback, locations, (passed, false));
                let note = format!("nginx looks for a file first, and goes on to `{last}`");
                return (action.note(note), level, guard);
            }
        }
        if let Some(node) = PASSES.iter().find_map(|name| level.own(name).first()) {
            return (self.pass(node, location, passed), level, guard);
        }
        let content = CONTENT.iter().find_map(|name| level.one(name));
        let what = content.map_or("serve a file", |node| node.name.as_str());
        let note = format!("the door cannot do what nginx does here: {what}");
        (Action::status(501, &place).note(note), level, guard)
    }

    /// What `return` or `rewrite` says, if one of them does. A rewrite that stays inside a location
    /// is not looked at here.
    pub(super) fn first(
        &mut self,
        level: &Level<'t>,
        location: Option<&Location<'t>>,
    ) -> Option<Action> {
        let rewrites = level.own("rewrite");
        let own_return = level.own("return").first().copied();
        if location.is_some() && rewrites.iter().all(|node| is_inner(node)) {
            return own_return.map(|node| self.returned(node, level));
        }
        for node in rewrites {
            self.site.expression(node.arg(0), &node.place);
        }
        let first_rewrite = rewrites.first().copied();
        let rewrite_is_first = match (first_rewrite, own_return) {
            (Some(rewrite), Some(last)) => rewrite.place.span.start < last.place.span.start,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let mut action = None;
        if let (Some(node), true) = (first_rewrite, rewrite_is_first) {
            let found = self.rewrite(node, level);
            match found.filter(|_| rewrites.len() == 1 || location.is_none()) {
                Some(found) => {
                    self.site.mapped(node);
                    action = Some(found);
                }
                None => rewrites.iter().for_each(|node| {
                    self.site.refused(
                        node,
                        "the door changes paths within locations, and redirects by host and path",
                    );
                }),
            }
        }
        if action.is_some() { action } else { own_return.map(|node| self.returned(node, level)) }
    }

    fn returned(&mut self, node: &Node, level: &Level<'t>) -> Action {
        let place = &node.place;
        let (status, text) = match (node.arg(0).parse::<u16>(), node.args.get(1)) {
            (Ok(status), text) => (status, text.map(|word| word.text.as_str())),
            (Err(_), _) => (302, Some(node.arg(0))),
        };
        if let (301 | 302 | 303 | 307 | 308, Some(text)) = (status, text) {
            return match self.text(text, level) {
                Ok(location) => {
                    self.site.mapped(node);
                    Action::new(Answer::Redirect { status, location }, place)
                }
                Err(reason) => {
                    self.site.refused(node, reason);
                    Action::status(501, place).note("the door cannot redirect there")
                }
            };
        }
        let body = text.unwrap_or("");
        if status == 444 {
            self.site.refused(node, "the door answers every request; here with 404");
            return Action::status(404, place)
                .note("nginx closes the connection without an answer");
        }
        let empty = matches!(status, 204 | 205 | 304) && !body.is_empty();
        if !(200..=599).contains(&status)
            || !variables(body).is_empty()
            || body.len() > 65_536
            || empty
        {
            self.site.refused(node, "the door answers with 200 to 599 and a fixed text");
            return Action::status(501, place).note("the door cannot answer like this");
        }
        self.site.mapped(node);
        let default_type = level.one("default_type");
        let content_type = default_type.map_or("text/plain", |node| node.arg(0)).to_owned();
        if let Some(node) = default_type {
            self.site.mapped(node);
        }
        Action::new(Answer::Respond { status, body: body.to_owned(), content_type }, place)
    }

    /// A rewrite that redirects every path.
    fn rewrite(&self, node: &Node, level: &Level<'t>) -> Option<Action> {
        let (expression, to, flag) = (node.arg(0), node.arg(1), node.arg(2));
        let is_absolute =
            ["http://", "https://", "$scheme"].iter().any(|start| to.starts_with(start));
        let status = match flag {
            "permanent" => 301,
            "redirect" => 302,
            _ if is_absolute => 302,
            _ => return None,
        };
        let captured = whole(expression)?.map(|skipped| if skipped == 0 { "$1" } else { "/$1" });
        let (to, keeps_query) = match to.strip_suffix('?') {
            Some(to) => (to, false),
            None => (to, !to.contains("$request_uri")),
        };
        if to.contains('?') {
            return None;
        }
        let to = captured.map_or(to.to_owned(), |captured| to.replace(captured, "${uri}"));
        let location = self.text(&to, level).ok()?;
        let query = if keeps_query { "{query}" } else { "" };
        let location = format!("{location}{query}");
        Some(Action::new(Answer::Redirect { status, location }, &node.place))
    }

    /// A text with variables as a location of this door.
    fn text(&self, text: &str, level: &Level<'t>) -> Result<String, String> {
        let text = text.replace("$is_args$args", "${query_with_mark}");
        let text = text.replace("$is_args$query_string", "${query_with_mark}");
        let text = text
            .replace("?$args", "${query_with_mark}")
            .replace("?$query_string", "${query_with_mark}");
        if text.contains('{') && text.replace("${", "").contains('{') {
            return Err("a location of the door has no braces of its own".to_owned());
        }
        expanded(&text, str::to_owned, |name| self.variable(name, level))
    }

    fn variable(&self, name: &str, level: &Level<'t>) -> Result<String, String> {
        Ok(match name {
            "scheme" => SCHEME.to_owned(),
            "host" | "http_host" => "{host}".to_owned(),
            "server_name" => match self.server.names.first() {
                Some((name, _)) if !name.starts_with('*') => name.clone(),
                _ => "{host}".to_owned(),
            },
            "request_uri" => "{path}{query}".to_owned(),
            "uri" | "document_uri" => "{path}".to_owned(),
            "query_with_mark" => "{query}".to_owned(),
            _ => constant(name, level).ok_or_else(|| {
                format!("the door has no variable {}", quote(&format!("${name}")))
            })?,
        })
    }
}

/// A condition of a server that the door can ask.
fn condition(node: &Node) -> Option<Condition> {
    let words: Vec<&str> = node.texts().collect();
    let joined = words.join(" ");
    let inner = joined.strip_prefix('(')?.strip_suffix(')')?.trim();
    let (variable, rest) = inner.split_once([' ', '=', '!'])?;
    let rest = inner.get(variable.len()..).unwrap_or(rest).trim();
    let (is_equal, value) = match rest.strip_prefix("!=") {
        Some(value) => (false, value),
        None => (true, rest.strip_prefix('=')?),
    };
    let value = value.trim();
    match (variable, value) {
        ("$host" | "$http_host", name) => {
            let host = crate::server::host_name(name).ok()?.to_string();
            Some(if is_equal { Condition::Host(host) } else { Condition::NotHost(host) })
        }
        ("$scheme", "http" | "https") => {
            Some(Condition::Scheme { is_tls: (value == "https") == is_equal })
        }
        ("$https", "on") => Some(Condition::Scheme { is_tls: is_equal }),
        ("$https", "") => Some(Condition::Scheme { is_tls: !is_equal }),
        ("$server_port", "80" | "443") => {
            Some(Condition::Scheme { is_tls: (value == "443") == is_equal })
        }
        _ => None,
    }
}
