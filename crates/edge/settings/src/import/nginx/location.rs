//! Locations: which paths each takes, in this door's terms.
//!
//! nginx takes an exact location, else the longest prefix, unless that one lacks `^~` and a
//! regular expression matches, of which the first wins. This door asks exact paths first, then
//! expressions in their order, then prefixes, the longest first; `asked` puts them into an order in
//! which both find the same.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::action::{Action, Answer, Context, Rewrite};
use super::asked::{Asked, Map, Stand, ordered};
use super::connections;
use super::expression::Expression;
use super::level::Level;
use super::limit::{Limit, limits};
use super::listen::body_max;
use super::path::{Pattern, encoded};
use super::site::Counted;
use super::tree::Node;
use super::variants::Variant;
use super::walk::{Inside, level};
use crate::finding::quote;
use crate::import::Place;
use crate::import::writer::Value;

/// Routes of one server, at most: as many as the door has in all.
const PLANNED_MAX: usize = 10_000;

/// Expressions of one server, at most: as many as the door has in all.
const EXPRESSIONS_MAX: usize = 1_000;

/// How a location takes paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Exact,
    Prefix,
    /// `^~`: no regular expression is asked.
    FirmPrefix,
    Expression {
        ignores_case: bool,
    },
}

/// One location.
#[derive(Clone, Debug)]
pub(super) struct Location<'t> {
    pub(super) node: &'t Node,
    pub(super) level: Rc<Level<'t>>,
    pub(super) kind: Kind,
    /// The path or expression.
    pub(super) text: String,
    /// The location that it stands in, by its number.
    pub(super) within: Option<usize>,
    /// Whether locations stand in it that the door cannot look for.
    pub(super) is_partial: bool,
}

/// A route in the making.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) pattern: Pattern,
    pub(super) place: Place,
    pub(super) action: Action,
    /// The location it is made of, by its number.
    pub(super) location: usize,
    /// Methods that it is for; none is any.
    pub(super) methods: Vec<String>,
    /// How large a body may be, and where that is said.
    pub(super) body: (u64, Place),
    /// The rates that requests are held to before they are passed on.
    pub(super) limits: Vec<Limit>,
}

impl Planned {
    /// A name for the route, from its path.
    pub(super) fn wanted_name(&self) -> String {
        let path = self.pattern.base().trim_matches('/').replace('/', "-");
        match (&self.pattern, path.is_empty()) {
            (Pattern::Exact(_), true) => "root".to_owned(),
            (Pattern::Regex(_), true) => "expression".to_owned(),
            (_, true) => "all".to_owned(),
            (Pattern::Exact(_), false) => format!("{path}-exact"),
            (_, false) => path,
        }
    }
}

/// All locations of a server: those with paths, and the named ones.
#[derive(Debug, Default)]
pub(super) struct Locations<'t> {
    pub(super) list: Vec<Location<'t>>,
    pub(super) named: BTreeMap<&'t str, Location<'t>>,
}

/// Said of a location whose paths nginx always looks for in another one.
const SHADOWED: &str = "another location beside those around it takes its paths first";

/// How the paths of a location are known.
enum Sought {
    Path(Pattern),
    /// With nginx's own text, where that alone says which paths are meant.
    Expression(Expression, Option<String>),
}

/// Routes in the making.
#[derive(Default)]
struct Routes {
    plain: Vec<Planned>,
    asked: Vec<Asked>,
    /// Paths, or expressions with where they stand, that a location has.
    known: BTreeSet<(Pattern, Option<usize>)>,
    /// Paths that nginx redirects to those with a slash, each with a route of that location.
    redirected: Vec<(String, Planned)>,
}

/// Finds out what each location of a server comes to.
pub(super) fn plan(context: &mut Context<'_, '_>) -> Vec<Planned> {
    let mut locations = Locations::default();
    let (nodes, level) = (context.server.nodes, Rc::clone(&context.server.level));
    collect((nodes, None), &level, context, &mut locations);
    let map = Map::new(&locations.list);
    let mut routes = Routes::default();
    for (index, location) in locations.list.iter().enumerate() {
        if map.is_shadowed(index) {
            context.site.ignore_all(location.node, SHADOWED);
            continue;
        }
        match sought(location, &locations) {
            Ok(Some(sought)) => routes.add(index, sought, (&locations, &map), context),
            Ok(None) => {
                let reason = "no path of the location around it matches";
                context.site.ignore_all(location.node, reason);
            }
            Err(reason) => {
                let asked = refused((index, location), &reason, (&routes, &map), context);
                routes.asked.extend(asked);
            }
        }
    }
    let Routes { mut plain, asked, known, redirected } = routes;
    slashes(redirected, &known, &mut plain);
    let mut routes = ordered(&map, asked, plain, context.site);
    let exact: BTreeSet<String> = routes
        .iter()
        .filter(|route| matches!(route.pattern, Pattern::Exact(_)))
        .map(|route| route.pattern.base().to_owned())
        .collect();
    // All routes of a location have the same paths: what needs one letter more would be asked first.
    let letters: BTreeSet<usize> = routes
        .iter()
        .filter(|route| is_of_letters(route, &exact))
        .map(|route| route.location)
        .collect();
    for route in routes.iter_mut().filter(|route| letters.contains(&route.location)) {
        if let Pattern::Below(path) = &route.pattern {
            route.pattern = Pattern::Start(path.clone());
        }
    }
    routes
}

impl Routes {
    /// Adds what becomes of one location.
    fn add<'t>(
        &mut self,
        index: usize,
        sought: Sought,
        (locations, map): (&Locations<'t>, &Map),
        context: &mut Context<'_, 't>,
    ) {
        let Some(location) = locations.list.get(index) else { return };
        let (key, within) = match &sought {
            Sought::Path(pattern) => (pattern.clone(), None),
            Sought::Expression(expression, _) => {
                (Pattern::Regex(expression.text()), location.within)
            }
        };
        if self.plain.len() >= PLANNED_MAX || self.asked.len() >= EXPRESSIONS_MAX {
            context.site.refuse_all(location.node, "there are more paths than the door has routes");
            return;
        }
        if !self.known.insert((key.clone(), within)) {
            context.site.ignore_all(location.node, "an earlier location takes the same paths");
            return;
        }
        context.site.mapped(location.node);
        connections::of_location(&location.level, context.site);
        let mut own = Vec::new();
        let mut redirected = without_slash(location, &key);
        for variant in context.variants(index, (locations, map)) {
            let Some(mut planned) = planned(&variant, &key, index, locations, context) else {
                continue;
            };
            let trimmed = redirected.take();
            self.redirected.extend(trimmed.map(|trimmed| (trimmed, planned.clone())));
            let Some(expression) = variant.expression else {
                own.push(planned);
                continue;
            };
            let outer = location.within.and_then(|outer| encoded(&locations.list.get(outer)?.text));
            let inside = outer.and_then(|outer| expression.within(&outer));
            let expression = inside.unwrap_or(expression);
            planned.pattern = Pattern::Regex(expression.text());
            let stand = match location.kind {
                Kind::Exact => Stand::First,
                Kind::Prefix | Kind::FirmPrefix => Stand::Tail(index),
                Kind::Expression { .. } => Stand::Within(location.within),
            };
            self.asked.push(Asked { expression, stand, source: None, routes: vec![planned] });
        }
        match sought {
            Sought::Path(_) => self.plain.extend(own),
            Sought::Expression(expression, source) => {
                let stand = Stand::Within(location.within);
                self.asked.push(Asked { expression, stand, source, routes: own });
            }
        }
    }
}

/// Directives with which nginx redirects a path without its last slash.
const REDIRECTS: [&str; 6] =
    ["proxy_pass", "grpc_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"];

/// The path that nginx redirects to this one, with a slash.
fn without_slash(location: &Location<'_>, pattern: &Pattern) -> Option<String> {
    let (Pattern::Below(path) | Pattern::Exact(path)) = pattern else { return None };
    let passes = REDIRECTS.iter().any(|name| !location.level.own(name).is_empty());
    let trimmed = path.strip_suffix('/').filter(|trimmed| passes && !trimmed.is_empty());
    trimmed.map(str::to_owned)
}

/// A variant as a route of its location's own paths.
fn planned(
    variant: &Variant,
    pattern: &Pattern,
    index: usize,
    locations: &Locations<'_>,
    context: &mut Context<'_, '_>,
) -> Option<Planned> {
    let of = locations.list.get(variant.of)?;
    let body = body_max(&of.level, &context.server.place);
    if let Some(node) = of.level.one("client_max_body_size") {
        context.site.mapped(node);
    }
    // What nginx answers by itself it answers before it counts.
    let is_forward = matches!(variant.action.answer, Answer::Forward { .. });
    let limits = if is_forward { limits(&of.level, context.site) } else { Vec::new() };
    Some(Planned {
        pattern: pattern.clone(),
        place: locations.list.get(index)?.node.place.clone(),
        action: variant.action.clone(),
        location: index,
        methods: variant.methods.clone(),
        body,
        limits,
    })
}

/// Refuses a location. Of an expression, what is below its fixed part is answered 501: what it
/// takes must not go on to another location, which nginx would not have asked.
fn refused(
    (index, location): (usize, &Location<'_>),
    reason: &str,
    (routes, map): (&Routes, &Map),
    context: &mut Context<'_, '_>,
) -> Option<Asked> {
    let is_expression = matches!(location.kind, Kind::Expression { .. });
    if !is_expression {
        context.site.refuse_all(location.node, reason);
        return None;
    }
    let fixed = fixed_part(&location.text).filter(|base| {
        // A location of this path has more than the expression takes from it.
        let trimmed = base.trim_end_matches('/');
        !map.prefixes().any(|(path, _)| path == base || path == trimmed)
            && !routes.asked.iter().any(|asked| {
                asked.expression.heads().is_some_and(|heads| heads == [base.as_bytes()])
            })
    });
    let expression = fixed.as_ref().and_then(|base| Expression::beginning(base, false));
    let (Some(base), Some(expression)) = (fixed, expression) else {
        let reason = format!("{reason}; what it takes goes to the other locations");
        context.site.refuse_all(location.node, &reason);
        return None;
    };
    let reason = format!("{reason}; what is below {} is answered 501", quote(&base));
    context.site.refuse_all(location.node, &reason);
    let place = location.node.place.clone();
    let action = Action::status(501, &place)
        .note("nginx asks an expression here, and the door has none like it");
    let route = Planned {
        pattern: Pattern::Regex(expression.text()),
        place,
        action,
        location: index,
        methods: Vec::new(),
        body: body_max(&location.level, &context.server.place),
        limits: Vec::new(),
    };
    let stand = Stand::Within(location.within);
    Some(Asked { expression, stand, source: Some(format!("^{base}")), routes: vec![route] })
}

/// The whole segments that an expression begins with, up to a slash; not the root alone.
pub(super) fn fixed_part(expression: &str) -> Option<String> {
    let rest = expression.strip_prefix('^')?;
    let mut depth = 0_usize;
    for character in rest.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            // One of two expressions: they need not begin alike.
            '|' if depth == 0 => return None,
            _ => {}
        }
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '~');
    let end = rest.find(|c| !is_plain(c)).unwrap_or(rest.len());
    let (plain, behind) = rest.split_at_checked(end)?;
    // What may also be absent is not fixed.
    let cut = usize::from(behind.starts_with(['?', '*', '{']));
    let plain = plain.get(..plain.len().checked_sub(cut)?)?;
    let base = plain.get(..=plain.rfind('/')?)?;
    let is_path = base.starts_with('/') && !base.contains("//") && base != "/";
    is_path.then(|| base.to_owned())
}

/// Gathers locations with those inside them.
fn collect<'t>(
    (nodes, within): (&'t [Node], Option<usize>),
    around: &Rc<Level<'t>>,
    context: &mut Context<'_, 't>,
    locations: &mut Locations<'t>,
) {
    for node in nodes.iter().filter(|node| node.name == "location" && node.block.is_some()) {
        let level = level(node.children(), Some(around), Inside::Location, context.site);
        context.site.waiting(node);
        if !context.site.count(Counted::Locations, 1) {
            context.site.refuse_all(node, "there are more locations than the door has routes");
            continue;
        }
        let (kind, text) = match kind(node) {
            Ok(found) => found,
            Err(reason) => {
                context.site.refuse_all(node, reason);
                continue;
            }
        };
        let mut inner = node.children().iter().filter(|inner| inner.name == "location").peekable();
        let is_expression = matches!(kind, Kind::Expression { .. });
        let is_partial = is_expression && inner.peek().is_some();
        let location = Location { node, level: Rc::clone(&level), kind, text, within, is_partial };
        if is_expression {
            context.site.expression(&location.text, &node.place);
            for inner in inner {
                let reason = "the door asks no expression within another: both are answered 501";
                context.site.refuse_all(inner, reason);
            }
        }
        if location.text.starts_with('@') {
            context.blocks(&location, &[]);
            locations.named.insert(node.arg(0), location);
            continue;
        }
        locations.list.push(location);
        if !is_expression {
            let index = locations.list.len() - 1;
            collect((node.children(), Some(index)), &level, context, locations);
        }
    }
}

fn kind(node: &Node) -> Result<(Kind, String), &'static str> {
    const MODIFIERS: [(&str, Kind); 4] = [
        ("~*", Kind::Expression { ignores_case: true }),
        ("^~", Kind::FirmPrefix),
        ("~", Kind::Expression { ignores_case: false }),
        ("=", Kind::Exact),
    ];
    if let Some(text) = node.args.get(1) {
        let kind = MODIFIERS.iter().find(|(modifier, _)| *modifier == node.arg(0));
        return kind
            .map(|(_, kind)| (*kind, text.text.clone()))
            .ok_or("nginx itself refuses this modifier");
    }
    let Some(only) = node.args.first() else {
        return Err("nginx itself refuses it: it has no path");
    };
    let glued = MODIFIERS
        .iter()
        .find_map(|(modifier, kind)| Some((*kind, only.text.strip_prefix(modifier)?.to_owned())));
    Ok(glued.unwrap_or_else(|| (Kind::Prefix, only.text.clone())))
}

/// How the paths of a location are known; `None` when it has none.
fn sought(location: &Location<'_>, locations: &Locations<'_>) -> Result<Option<Sought>, String> {
    const NEVER: &str = "no canonical path of a request matches it";
    match location.kind {
        Kind::Exact => {
            let path = encoded(&location.text).ok_or(NEVER)?;
            Ok(Some(Sought::Path(Pattern::Exact(path))))
        }
        Kind::Prefix | Kind::FirmPrefix => {
            let path = encoded(&location.text).ok_or(NEVER)?;
            if path.contains('*') {
                return Err("a path of the door has no `*` of its own".to_owned());
            }
            let is_below = path.ends_with('/');
            let pattern = if is_below { Pattern::Below(path) } else { Pattern::Start(path) };
            Ok(Some(Sought::Path(pattern)))
        }
        Kind::Expression { ignores_case } => {
            let expression = Expression::new(&location.text, ignores_case)?;
            let has_letters = location.text.bytes().any(|byte| byte.is_ascii_alphabetic());
            let source = (!(ignores_case && has_letters)).then(|| location.text.clone());
            let Some(outer) = location.within.and_then(|outer| locations.list.get(outer)) else {
                return Ok(Some(Sought::Expression(expression, source)));
            };
            let base = encoded(&outer.text).ok_or(NEVER)?;
            if !expression.may_begin(&base) {
                return Ok(None);
            }
            let within = expression
                .within(&base)
                .ok_or("the door cannot tell where it matches in the location around it")?;
            let source = source.filter(|_| within == expression);
            Ok(Some(Sought::Expression(within, source)))
        }
    }
}

/// nginx sends `/api` on to `/api/` where that is a location without an expression that is passed
/// to servers, and nothing has the path itself.
fn slashes(
    redirected: Vec<(String, Planned)>,
    known: &BTreeSet<(Pattern, Option<usize>)>,
    plain: &mut Vec<Planned>,
) {
    let mut made = BTreeSet::new();
    for (trimmed, route) in redirected {
        if !made.insert(trimmed.clone()) {
            continue;
        }
        let is_known = |pattern: Pattern| known.contains(&(pattern, None));
        let pattern = Pattern::Exact(trimmed.clone());
        if is_known(pattern.clone()) || is_known(Pattern::Start(trimmed.clone())) {
            continue;
        }
        let answer = Answer::Redirect { status: 301, location: format!("{trimmed}/{{query}}") };
        let (place, mut keys) = (route.action.place, route.action.keys);
        // nginx sends it on before it asks who may enter.
        keys.retain(|(key, ..)| *key == "response_headers");
        let action = Action { answer, place, notes: Vec::new(), keys };
        plain.push(Planned { pattern, action, methods: Vec::new(), ..route });
    }
}

/// Whether a prefix has to be written by its letters. As segments, a prefix of the door takes the path
/// without the last slash too, and nginx's does not: so it is one only where something else has that
/// path, and where it is replaced as whole segments.
fn is_of_letters(route: &Planned, exact: &BTreeSet<String>) -> bool {
    let Pattern::Below(path) = &route.pattern else { return false };
    let is_whole = match &route.action.answer {
        Answer::Forward { rewrite: Some(Rewrite::Prefix(to)), .. } => to.ends_with('/'),
        Answer::Forward { .. } | Answer::Redirect { .. } | Answer::Respond { .. } => true,
    };
    !(is_whole && (path == "/" || exact.contains(path.trim_end_matches('/'))))
}

/// The key of a route that says which paths it takes, and its value.
pub(super) fn path_value(pattern: &Pattern) -> (&'static str, Value) {
    let value = match pattern {
        Pattern::Exact(path) => super::site::inline(vec![("exact", Value::text(path).here())]),
        Pattern::Template(path) => Value::text(path),
        Pattern::Start(path) => Value::text(format!("{path}*")),
        Pattern::Regex(text) => return ("path_regex", Value::text(text)),
        Pattern::Below(path) | Pattern::Segments(path) => {
            let trimmed = path.trim_end_matches('/');
            Value::text(if trimmed.is_empty() { "/" } else { trimmed })
        }
    };
    ("path", value)
}
