//! Locations: which paths each takes, in this door's terms.
//!
//! nginx takes an exact location, else the longest prefix, unless that one lacks `^~` and a
//! regular expression matches, of which the first wins. This door takes the most specific path.
//! Where the two disagree the location that nginx would never ask is left out, or the one that
//! has no counterpart is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::action::{Action, Answer, Context, PASSES};
use super::connections;
use super::level::Level;
use super::limit::{Limit, limits};
use super::listen::body_max;
use super::path::{CASE_NOTE, Pattern, SEGMENT_NOTE, encoded};
use super::regex::express;
use super::site::Counted;
use super::tree::Node;
use super::walk::{Inside, level};
use crate::finding::{Finding, quote};
use crate::import::Place;
use crate::import::writer::Value;

/// Routes of one server, at most: as many as the door has in all.
const PLANNED_MAX: usize = 10_000;

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
}

/// A route in the making.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) pattern: Pattern,
    pub(super) place: Place,
    pub(super) action: Action,
    pub(super) note: Option<&'static str>,
    /// Whether it comes from a regular expression.
    pub(super) is_expression: bool,
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

/// Finds out what each location of a server comes to.
pub(super) fn plan(context: &mut Context<'_, '_>) -> Vec<Planned> {
    let mut locations = Locations::default();
    let (nodes, level) = (context.server.nodes, Rc::clone(&context.server.level));
    collect(nodes, &level, context, &mut locations);
    let mut planned: Vec<Planned> = Vec::new();
    let mut known = BTreeSet::new();
    let prefixes = prefixes(&locations);
    for location in &locations.list {
        let (patterns, note) = match patterns(location, &prefixes) {
            Ok(found) => found,
            Err(reason) => {
                let route = refused(location, &reason, (&prefixes, &known), context);
                known.extend(route.iter().map(|route| route.pattern.clone()));
                planned.extend(route);
                continue;
            }
        };
        if planned.len() + patterns.len() > PLANNED_MAX {
            context.site.refuse_all(location.node, "there are more paths than the door has routes");
            continue;
        }
        if patterns.iter().all(|pattern| known.contains(pattern)) {
            context.site.ignore_all(location.node, "an earlier location takes the same paths");
            continue;
        }
        context.site.mapped(location.node);
        if let Some(note) = note {
            let finding = Finding::warning("inexact-import", 0..0, note.to_owned());
            let finding = finding.label("the door does nearly the same");
            context.site.finding(&location.node.place, finding);
        }
        let action = context.action(location, &locations);
        let around = &context.server.place;
        let body = body_max(&location.level, around);
        if let Some(node) = location.level.one("client_max_body_size") {
            context.site.mapped(node);
        }
        connections::of_location(&location.level, context.site);
        // What nginx answers by itself it answers before it counts.
        let is_forward = matches!(action.answer, Answer::Forward { .. });
        let held = if is_forward { limits(&location.level, context.site) } else { Vec::new() };
        let place = location.node.place.clone();
        for pattern in patterns {
            if !known.insert(pattern.clone()) {
                continue;
            }
            let (place, action, body) = (place.clone(), action.clone(), body.clone());
            let is_expression = matches!(location.kind, Kind::Expression { .. });
            let limits = held.clone();
            planned.push(Planned { pattern, place, action, note, is_expression, body, limits });
        }
    }
    slashes(&mut planned);
    planned
}

/// Refuses a location. Of an expression, what is below its fixed part is answered 501: what it
/// takes must not go on to another location, which nginx would not have asked.
fn refused(
    location: &Location<'_>,
    reason: &str,
    (prefixes, known): (&Prefixes, &BTreeSet<Pattern>),
    context: &mut Context<'_, '_>,
) -> Option<Planned> {
    let is_expression = matches!(location.kind, Kind::Expression { .. });
    if !is_expression {
        context.site.refuse_all(location.node, reason);
        return None;
    }
    let fixed = fixed_part(&location.text).filter(|base| {
        // A location of this path has more than the expression takes from it.
        let trimmed = base.trim_end_matches('/');
        let patterns = [Pattern::Below(base.clone()), Pattern::Segments(trimmed.to_owned())];
        !prefixes.contains_key(base)
            && !prefixes.contains_key(trimmed)
            && patterns.iter().all(|pattern| !known.contains(pattern))
    });
    let Some(base) = fixed else {
        let reason = format!("{reason}; what it takes goes to the other locations");
        context.site.refuse_all(location.node, &reason);
        return None;
    };
    let reason = format!("{reason}; what is below {} is answered 501", quote(&base));
    context.site.refuse_all(location.node, &reason);
    let place = location.node.place.clone();
    let action = Action::status(501, &place)
        .note("nginx asks an expression here, and the door has none like it");
    Some(Planned {
        pattern: Pattern::Below(base),
        place,
        action,
        note: None,
        is_expression: true,
        body: body_max(&location.level, &context.server.place),
        limits: Vec::new(),
    })
}

/// The whole segments that an expression begins with, up to a slash; not the root alone.
fn fixed_part(expression: &str) -> Option<String> {
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
    nodes: &'t [Node],
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
        let named = text.starts_with('@');
        let location = Location { node, level: Rc::clone(&level), kind, text };
        context.inner_blocks(node);
        if let Kind::Expression { .. } = kind {
            context.site.expression(&location.text, &node.place);
            let inner = node.children().iter().filter(|inner| inner.name == "location");
            for inner in inner {
                context.site.refuse_all(
                    inner,
                    "the door has no expression within which it could look for a path",
                );
            }
        } else if !named {
            collect(node.children(), &level, context, locations);
        }
        if named {
            locations.named.insert(node.arg(0), location);
        } else {
            locations.list.push(location);
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

/// The prefixes of a server as encoded paths, and whether each is firm.
type Prefixes = BTreeMap<String, bool>;

fn prefixes(locations: &Locations<'_>) -> Prefixes {
    let prefix = |location: &Location<'_>| match location.kind {
        Kind::Prefix => Some((encoded(&location.text)?, false)),
        Kind::FirmPrefix => Some((encoded(&location.text)?, true)),
        Kind::Exact | Kind::Expression { .. } => None,
    };
    locations.list.iter().filter_map(prefix).collect()
}

type Found = (Vec<Pattern>, Option<&'static str>);

fn patterns(location: &Location<'_>, prefixes: &Prefixes) -> Result<Found, String> {
    const NEVER: &str = "no canonical path of a request matches it";
    match location.kind {
        Kind::Exact => {
            let path = encoded(&location.text).ok_or(NEVER)?;
            Ok((vec![Pattern::Exact(path)], None))
        }
        Kind::Prefix | Kind::FirmPrefix => {
            let path = encoded(&location.text).ok_or(NEVER)?;
            if path.ends_with('/') {
                return Ok((vec![Pattern::Below(path)], None));
            }
            if path.ends_with(['-', '_', '.', '=']) {
                return Err(
                    "it takes paths by the start of a segment; the door compares whole segments"
                        .to_owned(),
                );
            }
            if prefixes.contains_key(&format!("{path}/")) {
                return Ok((vec![Pattern::Exact(path)], Some(SEGMENT_NOTE)));
            }
            Ok((vec![Pattern::Segments(path)], Some(SEGMENT_NOTE)))
        }
        Kind::Expression { ignores_case } => {
            let expressed = express(&location.text)?;
            for pattern in &expressed.patterns {
                meets(pattern, prefixes)?;
            }
            if !ignores_case || !expressed.has_letters {
                return Ok((expressed.patterns, expressed.note));
            }
            // Servers take or leave a path in other letters; a refusal must not be got around.
            let forwards =
                location.node.children().iter().any(|node| PASSES.contains(&node.name.as_str()));
            if !forwards {
                return Err("the door compares paths with the case of their letters".to_owned());
            }
            Ok((expressed.patterns, Some(CASE_NOTE)))
        }
    }
}

/// Whether a path made from an expression would win and lose as the expression does.
fn meets(pattern: &Pattern, prefixes: &Prefixes) -> Result<(), String> {
    let base = pattern.base();
    let around = prefixes.iter().filter(|(prefix, _)| base.starts_with(prefix.as_str()));
    if around.max_by_key(|(prefix, _)| prefix.len()).is_some_and(|(_, is_firm)| *is_firm) {
        return Err("a location with `^~` around it takes its paths first".to_owned());
    }
    if matches!(pattern, Pattern::Exact(_)) {
        return Ok(());
    }
    let mut below =
        prefixes.iter().filter(|(prefix, _)| prefix.len() > base.len() && prefix.starts_with(base));
    // A template of the door is asked before any prefix, as an expression of nginx is before all
    // but firm ones.
    let is_template = matches!(pattern, Pattern::Template(_));
    match below.find(|(_, is_firm)| **is_firm == is_template) {
        None => Ok(()),
        Some((prefix, _)) if is_template => Err(format!(
            "nginx asks the longer location `^~ {prefix}` first; the door takes a template before it"
        )),
        Some((prefix, _)) => Err(format!(
            "nginx asks this expression before the longer location `{prefix}`; the door takes the longer path"
        )),
    }
}

/// A prefix of the door that ends with a slash takes the path without it too; nginx's does not.
/// nginx sends `/api` on to `/api/` where that is a location without an expression that is passed
/// to servers; elsewhere `/api` belongs to whatever is around it.
fn slashes(planned: &mut Vec<Planned>) {
    let mut added: Vec<Planned> = Vec::new();
    let mut known: BTreeSet<Pattern> =
        planned.iter().map(|planned| planned.pattern.clone()).collect();
    for route in planned.iter() {
        let path = match &route.pattern {
            Pattern::Below(path) => path,
            Pattern::Exact(path) if path.ends_with('/') && !route.is_expression => path,
            Pattern::Exact(_) | Pattern::Segments(_) | Pattern::Template(_) => continue,
        };
        let trimmed = path.trim_end_matches('/');
        let same = Pattern::Exact(trimmed.to_owned());
        if trimmed.is_empty()
            || known.contains(&Pattern::Segments(trimmed.to_owned()))
            || !known.insert(same.clone())
        {
            continue;
        }
        let is_forward = matches!(route.action.answer, Answer::Forward { .. });
        if is_forward && !route.is_expression {
            let location = format!("{trimmed}/{{query}}");
            let answer = Answer::Redirect { status: 301, location };
            let place = route.action.place.clone();
            // nginx sends it on before it asks who may enter.
            let mut keys = route.action.keys.clone();
            keys.retain(|(key, ..)| *key == "response_headers");
            let action = Action { answer, place, notes: Vec::new(), keys };
            added.push(Planned { pattern: same, action, note: None, ..route.clone() });
        } else if matches!(route.pattern, Pattern::Below(_)) {
            added
                .extend(around(trimmed, planned).map(|around| Planned { pattern: same, ..around }));
        }
    }
    planned.extend(added);
}

/// What takes a path if nothing is said of it: the longest prefix around it.
fn around(path: &str, planned: &[Planned]) -> Option<Planned> {
    let takes = |other: &&Planned| match &other.pattern {
        Pattern::Below(prefix) => path.starts_with(prefix.as_str()),
        Pattern::Segments(prefix) => {
            let rest = path.strip_prefix(prefix.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        Pattern::Exact(_) | Pattern::Template(_) => false,
    };
    let longest = planned.iter().filter(takes).max_by_key(|other| other.pattern.base().len())?;
    // A prefix can only be replaced where the route is one.
    let replaces = matches!(longest.action.answer, Answer::Forward { replace_prefix: Some(_), .. });
    (!replaces).then(|| longest.clone())
}

/// What a value of a route looks like when it is a path.
pub(super) fn path_value(pattern: &Pattern) -> Value {
    match pattern {
        Pattern::Exact(path) => super::site::inline(vec![("exact", Value::text(path).here())]),
        Pattern::Template(path) => Value::text(path),
        Pattern::Below(path) | Pattern::Segments(path) => {
            let trimmed = path.trim_end_matches('/');
            Value::text(if trimmed.is_empty() { "/" } else { trimmed })
        }
    }
}
