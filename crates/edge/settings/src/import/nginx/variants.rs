//! What is done with the requests of one location: with some by their path or method, and with all
//! others.
//!
//! `rewrite` tells paths apart; `limit_except`, and `if` about the method, tell methods apart. Each
//! part is a route of its own, before the one for the rest.

use std::rc::Rc;

use super::action::{Action, Answer, Context, Rewrite};
use super::asked::Map;
use super::expression::Expression;
use super::forward::Passed;
use super::guard::Guard;
use super::level::Level;
use super::location::{Kind, Location, Locations};
use super::path::encoded;
use super::rewrite::Change;
use super::tree::Node;
use super::walk::{Inside, level};
use crate::import::Place;

/// A part of a location's requests.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    /// What their paths match; `None`: all that the location takes.
    pub(super) expression: Option<Expression>,
    /// Their methods; none is any.
    pub(super) methods: Vec<String>,
    pub(super) action: Action,
    /// The location whose limits hold for them.
    pub(super) of: usize,
}

/// Directives that an `if` about the method may have.
const IN_IF: [&str; 10] = [
    "add_header",
    "break",
    "expires",
    "more_clear_headers",
    "more_clear_input_headers",
    "more_set_headers",
    "more_set_input_headers",
    "proxy_pass",
    "grpc_pass",
    "return",
];

/// Why a block within a location is refused.
const CONDITION: &str = "within a location the door asks for the method alone, by `=`, `~` or `!~` \
                         and names: make routes of it";

/// What holds for some methods.
struct OfMethods<'t> {
    node: &'t Node,
    methods: Vec<String>,
    level: Rc<Level<'t>>,
}

/// What holds for all methods but some.
struct Others<'t> {
    allowed: Vec<String>,
    level: Rc<Level<'t>>,
    node: &'t Node,
}

impl<'t> Context<'_, 't> {
    /// The parts of a location's requests, the first first.
    pub(super) fn variants(
        &mut self,
        index: usize,
        (locations, map): (&Locations<'t>, &Map),
    ) -> Vec<Variant> {
        let Some(location) = locations.list.get(index) else { return Vec::new() };
        let place = &location.node.place;
        for node in location.level.own("rewrite") {
            self.site.expression(node.arg(0), &node.place);
        }
        if location.is_partial {
            let note = "the locations within this one are none that the door can look for";
            let action = Action::status(501, place).note(note);
            return vec![whole(action, index)];
        }
        let changes = self.changes(location);
        // nginx carries out conditions and rewrites in their order.
        let is_plain = changes.list.is_empty() && location.level.own("return").is_empty();
        let (some, others) = self.methods(location, is_plain);
        let mut variants = Vec::new();
        for change in &changes.list {
            variants.extend(self.changed((index, change), changes.is_raw, (locations, map)));
        }
        if !changes.is_all() {
            let passed = Passed { rewrite: None, is_raw: changes.is_raw };
            variants.extend(self.by_method(index, &some, (locations, &passed)));
        }
        if let Some(others) = others {
            let open = variants.iter_mut().filter(|variant| variant.methods.is_empty());
            open.for_each(|variant| variant.methods.clone_from(&others.allowed));
            let closed = Action::status(403, &others.node.place).note("no other method may enter");
            let rest = self.first(&others.level, Some(location)).unwrap_or(closed);
            let rest = self.treated(rest, &others.level, Guard::default());
            if takes_head(&others.allowed) {
                variants.insert(0, of_head(whole(rest.clone(), index)));
            }
            variants.push(whole(rest, index));
        }
        // Paths and expressions are not asked in their order: all that take the location's own paths
        // are the one or the other, and an exact path of the door comes before any expression.
        let is_exact = |one: &Variant| location.kind == Kind::Exact && one.expression.is_some();
        let mut own = variants.iter().filter(|one| one.expression.is_none());
        if own.any(|one| is_asked(one, location)) || variants.iter().any(is_exact) {
            for variant in variants.iter_mut().filter(|one| one.expression.is_none()) {
                ask(variant, location);
            }
        }
        variants
    }

    /// What is done with paths that a rewrite changes.
    fn changed(
        &mut self,
        (index, change): (usize, &Change<'t>),
        is_raw: bool,
        (locations, map): (&Locations<'t>, &Map),
    ) -> Vec<Variant> {
        let Some(location) = locations.list.get(index) else { return Vec::new() };
        let result = match (&change.to, change.again) {
            (Err(reason), _) => Err(reason.clone()),
            (Ok(_), true) => self.found_again((index, change), (locations, map)),
            (Ok(rewrite), false) => {
                let passed = Passed { rewrite: Some(rewrite.clone()), is_raw };
                let action = self.action(location, locations, &passed);
                let expression = change.expression.clone();
                Ok(vec![Variant { expression, ..whole(action, index) }])
            }
        };
        match result {
            Ok(variants) => {
                self.site.mapped(change.node);
                variants
            }
            Err(reason) => {
                self.site.refused(change.node, reason);
                let action = Action::status(501, &change.node.place)
                    .note("the door cannot change the path as nginx does here");
                vec![Variant { expression: change.expression.clone(), ..whole(action, index) }]
            }
        }
    }

    /// The parts of what a location does by itself, by method.
    fn by_method(
        &mut self,
        index: usize,
        some: &[OfMethods<'t>],
        (locations, passed): (&Locations<'t>, &Passed),
    ) -> Vec<Variant> {
        let Some(location) = locations.list.get(index) else { return Vec::new() };
        let (action, level, guard) = self.decided(location, locations, (passed, true));
        let mut variants = Vec::new();
        for of in some {
            let has = |name: &str| !of.level.own(name).is_empty();
            let action = if ["return", "proxy_pass", "grpc_pass"].into_iter().any(has) {
                let inner = Location { level: Rc::clone(&of.level), ..location.clone() };
                self.action(&inner, locations, &Passed::default())
            } else {
                self.treated(action.clone(), &of.level, guard.clone())
            };
            variants.push(Variant { methods: of.methods.clone(), ..whole(action, index) });
        }
        let own = self.treated(action, &level, guard);
        let named: Vec<String> = some.iter().flat_map(|of| of.methods.clone()).collect();
        if takes_head(&named) {
            variants.insert(0, of_head(whole(own.clone(), index)));
        }
        variants.push(whole(own, index));
        variants
    }

    /// What holds for some methods of a location, and for all but some. What becomes of the other
    /// blocks in it that are no locations is said here.
    fn methods(
        &mut self,
        location: &Location<'t>,
        is_plain: bool,
    ) -> (Vec<OfMethods<'t>>, Option<Others<'t>>) {
        let (mut some, mut others): (Vec<OfMethods<'t>>, Option<Others<'t>>) = (Vec::new(), None);
        let mut known = Vec::new();
        for node in location.node.children().iter().filter(|node| node.block.is_some()) {
            let asked = match node.name.as_str() {
                "limit_except" if others.is_none() => allowed(node).map(|names| (true, names)),
                "if" if is_plain => condition(node),
                _ => None,
            };
            let Some((is_except, methods)) = asked else { continue };
            let taken = |name: &String| some.iter().any(|of| of.methods.contains(name));
            let is_taken = methods.iter().any(taken) || (is_except && others.is_some());
            if is_taken || (node.name == "if" && !is_simple(node)) {
                continue;
            }
            let inner = level(node.children(), Some(&location.level), Inside::Location, self.site);
            let returns = !inner.own("return").is_empty();
            if node.name == "if" && is_except && !returns {
                continue;
            }
            if node.name == "limit_except" {
                self.closed(node, &inner);
            }
            self.site.mapped(node);
            known.push(node.place.clone());
            if is_except {
                others = Some(Others { allowed: methods, level: inner, node });
            } else {
                some.push(OfMethods { node, methods, level: inner });
            }
        }
        // What is not allowed is answered before any condition about it.
        if let Some(others) = &others {
            some.retain(|of| {
                let is_before = others.node.name == "if"
                    && of.node.place.span.start < others.node.place.span.start;
                let is_asked =
                    is_before || of.methods.iter().all(|name| others.allowed.contains(name));
                if !is_asked {
                    self.site.ignored(of.node, "another condition answers before it");
                }
                is_asked
            });
        }
        self.blocks(location, &known);
        (some, others)
    }

    /// What guards the methods that a `limit_except` does not name: they are closed.
    fn closed(&mut self, node: &'t Node, level: &Level<'t>) {
        for inner in node.children() {
            let is_all = inner.name == "deny" && inner.arg(0) == "all";
            if is_all && level.own("allow").is_empty() {
                self.site.mapped(inner);
            } else {
                let reason = "the door answers 403 to all methods that are not named here";
                self.site.settle(inner, Err(reason.to_owned()));
            }
        }
    }

    /// Says what becomes of the blocks within a location that are no locations, but for those that
    /// are `known`.
    pub(super) fn blocks(&mut self, location: &Location<'t>, known: &[Place]) {
        let nodes = location.node.children().iter().filter(|inner| inner.block.is_some());
        for inner in nodes.filter(|inner| !known.contains(&inner.place)) {
            match inner.name.as_str() {
                "if" => {
                    self.judge_if(inner);
                    self.site.refuse_all(inner, CONDITION);
                }
                "limit_except" => {
                    self.site.refuse_all(inner, "the door has one of it, with names of methods");
                }
                "types" => self
                    .site
                    .ignore_all(inner, "the door serves no files, so it needs no types for them"),
                _ => {}
            }
        }
    }
}

fn whole(action: Action, of: usize) -> Variant {
    Variant { expression: None, methods: Vec::new(), action, of }
}

/// Whether routes for these methods would serve `HEAD` as well, as those for `GET` do here, and
/// nginx means `GET` alone.
fn takes_head(methods: &[String]) -> bool {
    let has = |name: &str| methods.iter().any(|method| method == name);
    has("GET") && !has("HEAD")
}

fn of_head(variant: Variant) -> Variant {
    Variant { methods: vec!["HEAD".to_owned()], ..variant }
}

/// Whether what becomes of the path can only be said with an expression. The door replaces letters
/// so that no two slashes meet, which nginx lets happen.
fn is_asked(variant: &Variant, location: &Location<'_>) -> bool {
    match &variant.action.answer {
        Answer::Forward { rewrite: Some(Rewrite::Path(_)), .. } => true,
        Answer::Forward { rewrite: Some(Rewrite::Prefix(to)), .. } => {
            to.ends_with('/') && !location.text.ends_with('/')
        }
        Answer::Forward { .. } | Answer::Redirect { .. } | Answer::Respond { .. } => false,
    }
}

/// Puts the paths of a location into a variant as an expression; an expression stays what it is.
fn ask(variant: &mut Variant, location: &Location<'_>) {
    let Some(path) = encoded(&location.text) else { return };
    let mut has_rest = false;
    if let Answer::Forward { rewrite: Some(rewrite), .. } = &mut variant.action.answer
        && let Rewrite::Prefix(to) = rewrite
    {
        *rewrite = Rewrite::Path(format!("{}$1", to.replace('$', "$$")));
        has_rest = true;
    }
    variant.expression = match location.kind {
        Kind::Exact => Expression::exact(&path),
        Kind::Prefix | Kind::FirmPrefix => Expression::beginning(&path, has_rest),
        Kind::Expression { .. } => None,
    };
}

/// Whether an `if` has nothing but what the door can do for a method.
fn is_simple(node: &Node) -> bool {
    node.children().iter().all(|inner| IN_IF.contains(&inner.name.as_str()))
}

/// The methods that a `limit_except` names. With `GET` goes `HEAD`.
fn allowed(node: &Node) -> Option<Vec<String>> {
    let mut methods: Vec<String> = node.texts().map(str::to_ascii_uppercase).collect();
    if methods.iter().any(|name| name == "GET") && !methods.iter().any(|name| name == "HEAD") {
        methods.push("HEAD".to_owned());
    }
    (!methods.is_empty() && methods.iter().all(|name| crate::pool::is_token(name)))
        .then_some(methods)
}

/// What an `if` asks of the method: whether it must be none of these, or one of them.
pub(super) fn condition(node: &Node) -> Option<(bool, Vec<String>)> {
    let words: Vec<&str> = node.texts().collect();
    let joined = words.join(" ");
    let inner = joined.strip_prefix('(')?.strip_suffix(')')?.trim();
    let rest = inner.strip_prefix("$request_method")?.trim_start();
    let (is_except, is_expression, value) =
        [("!~", true, true), ("!=", true, false), ("~", false, true), ("=", false, false)]
            .into_iter()
            .find_map(|(sign, except, expression)| {
                Some((except, expression, rest.strip_prefix(sign)?))
            })?;
    let value = value.trim();
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
    };
    let names: Vec<String> = if is_expression {
        let value = value.strip_prefix('^')?;
        let value = value.strip_suffix('$')?;
        let value = value.strip_prefix('(').map_or(Some(value), |value| value.strip_suffix(')'))?;
        let value = value.strip_prefix("?:").unwrap_or(value);
        value.split('|').map(str::to_owned).collect()
    } else {
        vec![value.to_owned()]
    };
    let is_known = names.iter().all(|name| is_name(name)) && names.len() <= 32;
    is_known.then_some((is_except, names))
}
