//! In which order expressions are asked, and what is asked before them.
//!
//! nginx looks for the longest prefix first, and then asks the expressions that stand beside it,
//! those within it before those around it, and none beside a prefix with `^~`. This door asks all
//! its expressions before all its prefixes. So a prefix that must win over an expression is written
//! as one itself, in front of it; and what changes the path of a prefix's requests comes behind all
//! other expressions.
//! What nginx asks before that prefix all the same stands in front of it once more, for its paths.
//! Invariant: of the paths of a prefix none is taken by an expression that nginx would not ask, and
//! where one is taken by the prefix that nginx asks later, that is told.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Answer, Rewrite};
use super::expression::{Expression, literal};
use super::location::{Kind, Location, Planned};
use super::path::{Pattern, encoded};
use super::regex::express;
use super::site::Site;
use crate::finding::quote;

/// Expressions that are compared with each other, at most.
const SIMPLIFIED_MAX: usize = 100;

/// Routes that an expression leads to.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) expression: Expression,
    pub(super) stand: Stand,
    /// nginx's own text, where that alone says which paths are meant.
    pub(super) source: Option<String>,
    pub(super) routes: Vec<Planned>,
}

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It is one exact path, which nginx looks for before all else.
    First,
    /// In the server, or in the location of this number.
    Within(Option<usize>),
    /// It changes the paths of this location, a prefix.
    Tail(usize),
}

/// Which locations are around which, and the prefixes among them.
#[derive(Debug, Default)]
pub(super) struct Map {
    within: Vec<Option<usize>>,
    firm: Vec<bool>,
    /// The expressions that are understood, by the numbers of their locations.
    expressions: BTreeMap<usize, Expression>,
    /// The locations by the canonical paths that they are prefixes of.
    prefixes: BTreeMap<String, usize>,
    /// Locations whose paths nginx always looks for in another one.
    shadowed: BTreeSet<usize>,
    /// Locations of which one within them has the very same path.
    hollow: BTreeSet<usize>,
}

impl Map {
    pub(super) fn new(locations: &[Location<'_>]) -> Self {
        let mut map = Self {
            within: locations.iter().map(|location| location.within).collect(),
            firm: locations.iter().map(|location| location.kind == Kind::FirmPrefix).collect(),
            ..Self::default()
        };
        let mut beside: BTreeMap<Option<usize>, Vec<&Location<'_>>> = BTreeMap::new();
        for location in locations {
            beside.entry(location.within).or_default().push(location);
        }
        for (index, location) in locations.iter().enumerate() {
            if let Kind::Expression { ignores_case } = location.kind {
                let found = Expression::new(&location.text, ignores_case).ok();
                map.expressions.extend(found.map(|found| (index, found)));
            }
            let is_within = location.within.is_some_and(|outer| map.shadowed.contains(&outer));
            if is_within || map.is_shadowed_by(location, locations, &beside) {
                map.shadowed.insert(index);
            } else if let (Kind::Prefix | Kind::FirmPrefix, Some(path)) =
                (location.kind, encoded(&location.text))
            {
                let outer = location.within.and_then(|outer| locations.get(outer));
                if outer.is_some_and(|outer| outer.text == location.text) {
                    map.hollow.extend(location.within);
                    map.prefixes.insert(path, index);
                } else {
                    map.prefixes.entry(path).or_insert(index);
                }
            }
        }
        map
    }

    /// Whether one that stands beside a location around it takes all its paths.
    fn is_shadowed_by(
        &self,
        location: &Location<'_>,
        locations: &[Location<'_>],
        beside: &BTreeMap<Option<usize>, Vec<&Location<'_>>>,
    ) -> bool {
        if matches!(location.kind, Kind::Expression { .. }) {
            return false;
        }
        let mut around = location.within;
        while let Some(outer) = around.and_then(|index| locations.get(index)) {
            let takes = |other: &&&Location<'_>| match other.kind {
                Kind::Prefix | Kind::FirmPrefix => {
                    other.text.len() > outer.text.len() && location.text.starts_with(&other.text)
                }
                Kind::Exact => location.kind == Kind::Exact && location.text == other.text,
                Kind::Expression { .. } => false,
            };
            if beside.get(&outer.within).into_iter().flatten().any(|other| takes(&other)) {
                return true;
            }
            around = outer.within;
        }
        false
    }

    /// Whether nginx never asks this location.
    pub(super) fn is_shadowed(&self, index: usize) -> bool {
        self.shadowed.contains(&index) || self.hollow.contains(&index)
    }

    /// Whether the expression of a location may match a path that begins with `start`.
    pub(super) fn may_match(&self, index: usize, start: &str) -> bool {
        self.expressions.get(&index).is_none_or(|expression| expression.may_begin(start))
    }

    /// The prefixes by path.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.prefixes.iter().map(|(path, index)| (path.as_str(), *index))
    }

    /// Whether the location is a prefix with `^~`.
    pub(super) fn is_firm(&self, index: usize) -> bool {
        self.firm.get(index).copied().unwrap_or(false)
    }

    /// The longest prefix that a path begins with.
    pub(super) fn around(&self, path: &[u8]) -> Option<usize> {
        let text = std::str::from_utf8(path).unwrap_or_default();
        let ends = text.char_indices().map(|(at, letter)| at + letter.len_utf8()).rev();
        ends.filter_map(|end| text.get(..end)).find_map(|start| self.prefixes.get(start)).copied()
    }

    /// The prefixes that begin with `path`, and are longer.
    pub(super) fn below<'m>(&'m self, path: &'m str) -> impl Iterator<Item = (&'m str, usize)> {
        self.prefixes
            .range(path.to_owned()..)
            .take_while(move |(other, _)| other.starts_with(path))
            .filter(move |(other, _)| other.len() > path.len())
            .map(|(other, index)| (other.as_str(), *index))
    }

    fn depth(&self, mut within: Option<usize>) -> usize {
        let mut depth = 0;
        while let Some(outer) = within {
            depth += 1;
            within = self.within.get(outer).copied().flatten();
        }
        depth
    }

    /// Whether nginx asks an expression that stands `within` for the paths of a prefix.
    fn asks(&self, within: Option<usize>, prefix: usize) -> bool {
        let mut inner = prefix;
        loop {
            if within == Some(inner) {
                return true;
            }
            let outer = self.within.get(inner).copied().flatten();
            if outer == within {
                return !self.is_firm(inner);
            }
            let Some(outer) = outer else { return false };
            inner = outer;
        }
    }

    /// The longest prefixes around all that an expression's paths may begin with.
    fn reach<'a>(&self, asked: &'a Asked) -> Reach<'a> {
        let heads = asked.expression.heads();
        let around = heads.unwrap_or_default().iter().filter_map(|head| self.around(head));
        Reach { heads, around: around.collect() }
    }

    fn is_asked(&self, asked: &Asked, prefix: usize) -> bool {
        match asked.stand {
            Stand::First => true,
            Stand::Within(within) => self.asks(within, prefix),
            Stand::Tail(of) => of == prefix,
        }
    }

    /// The prefixes that must stand in front of an expression, with its number.
    fn guards(&self, asked: &[(&Asked, Reach<'_>)]) -> BTreeMap<usize, usize> {
        let mut guards: BTreeMap<usize, usize> = BTreeMap::new();
        for (path, prefix) in self.prefixes() {
            let is_wrong = |(asked, reach): &(&Asked, Reach<'_>)| {
                asked.stand != Stand::First
                    && !self.is_asked(asked, prefix)
                    && reach.meets(path, prefix)
            };
            let Some(at) = asked.iter().position(is_wrong) else { continue };
            // What is longer must stand in front of it as well.
            for (_, prefix) in std::iter::once((path, prefix)).chain(self.below(path)) {
                let known = guards.entry(prefix).or_insert(at);
                *known = (*known).min(at);
            }
        }
        guards
    }
}

/// Which prefixes an expression may match paths of.
struct Reach<'a> {
    heads: Option<&'a [Vec<u8>]>,
    around: BTreeSet<usize>,
}

impl Reach<'_> {
    /// Whether it may match a path of a prefix that no longer one takes.
    fn meets(&self, path: &str, prefix: usize) -> bool {
        let begins = |heads: &[Vec<u8>]| heads.iter().any(|head| path.as_bytes().starts_with(head));
        self.around.contains(&prefix) || self.heads.is_none_or(begins)
    }
}

/// The routes of a server in the order in which the door asks them. `plain` are those that need no
/// expression.
pub(super) fn ordered(
    map: &Map,
    mut asked: Vec<Asked>,
    mut plain: Vec<Planned>,
    site: &mut Site,
) -> Vec<Planned> {
    asked.sort_by_key(|asked| match asked.stand {
        Stand::First => (0, 0),
        Stand::Within(within) => (1, usize::MAX - map.depth(within)),
        Stand::Tail(_) => (2, 0),
    });
    let reached: Vec<(&Asked, Reach<'_>)> =
        asked.iter().map(|asked| (asked, map.reach(asked))).collect();
    let guards = map.guards(&reached);
    let mut kept = kept(map, &reached, &guards, site);
    if guards.is_empty() && asked.len() <= SIMPLIFIED_MAX {
        simplified(map, &mut asked, &mut plain);
    }
    let mut fronts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (_, prefix) in map.prefixes() {
        if let Some(at) = guards.get(&prefix) {
            fronts.entry(*at).or_default().push(prefix);
        }
    }
    let mut tails: BTreeMap<usize, Vec<Planned>> = BTreeMap::new();
    let mut routes = Vec::new();
    let mut rest = Vec::new();
    for (number, asked) in asked.into_iter().enumerate() {
        match asked.stand {
            Stand::Tail(of) if guards.contains_key(&of) => {
                tails.entry(of).or_default().extend(asked.routes);
            }
            Stand::First | Stand::Within(_) | Stand::Tail(_) => rest.push((number, asked.routes)),
        }
    }
    let numbers: BTreeSet<usize> =
        fronts.keys().copied().chain(rest.iter().map(|(number, _)| *number)).collect();
    let mut rest = rest.into_iter().peekable();
    for number in numbers {
        // Sorted by path, so that what is longer comes later: it has to stand in front.
        for prefix in fronts.remove(&number).unwrap_or_default().into_iter().rev() {
            routes.extend(kept.remove(&prefix).unwrap_or_default());
            routes.extend(tails.remove(&prefix).unwrap_or_default());
            routes.extend(in_front(prefix, &mut plain));
        }
        if let Some((_, asked)) = rest.next_if(|(next, _)| *next == number) {
            routes.extend(asked);
        }
    }
    // What stands in front of another one with the same expression leaves it nothing.
    let mut known: BTreeSet<(String, Vec<String>)> = BTreeSet::new();
    routes.retain(|route| {
        let Pattern::Regex(text) = &route.pattern else { return true };
        let is_taken = known.contains(&(text.clone(), Vec::new()));
        !is_taken && known.insert((text.clone(), route.methods.clone()))
    });
    plain.extend(routes);
    plain
}

/// Takes the routes of a prefix from `plain`, as expressions.
fn in_front(prefix: usize, plain: &mut Vec<Planned>) -> Vec<Planned> {
    let is_own = |planned: &Planned| {
        planned.location == prefix
            && matches!(planned.pattern, Pattern::Below(_) | Pattern::Start(_))
    };
    let (own, others) = std::mem::take(plain).into_iter().partition(is_own);
    *plain = others;
    let own: Vec<Planned> = own;
    own.into_iter().map(as_expression).collect()
}

/// A prefix as an expression.
fn as_expression(mut planned: Planned) -> Planned {
    let path = literal(planned.pattern.base());
    planned.pattern = Pattern::Regex(format!("^{path}"));
    if let Answer::Forward { rewrite, .. } = &mut planned.action.answer
        && let Some(Rewrite::Prefix(to)) = rewrite
    {
        planned.pattern = Pattern::Regex(format!("^{path}(.*)$"));
        *rewrite = Some(Rewrite::Path(format!("{}$1", to.replace('$', "$$"))));
    }
    planned
}

/// What nginx asks for the paths of a prefix that stands in front of it here: the same once more,
/// for those paths alone. Where the door cannot say that it is told.
fn kept(
    map: &Map,
    asked: &[(&Asked, Reach<'_>)],
    guards: &BTreeMap<usize, usize>,
    site: &mut Site,
) -> BTreeMap<usize, Vec<Planned>> {
    let mut kept: BTreeMap<usize, Vec<Planned>> = BTreeMap::new();
    for (path, prefix) in map.prefixes() {
        let Some(at) = guards.get(&prefix) else { continue };
        let is_late = |(asked, reach): &&(&Asked, Reach<'_>)| {
            matches!(asked.stand, Stand::Within(_))
                && map.is_asked(asked, prefix)
                && reach.meets(path, prefix)
        };
        for (late, _) in asked.iter().skip(*at).filter(is_late) {
            let Some(route) = late.routes.first() else { continue };
            let within = late.expression.within(path).filter(|_| kept.len() <= SIMPLIFIED_MAX);
            if let Some(within) = within {
                let pattern = Pattern::Regex(within.text());
                let routes = late.routes.iter().cloned();
                let routes = routes.map(|route| Planned { pattern: pattern.clone(), ..route });
                kept.entry(prefix).or_default().extend(routes);
                continue;
            }
            let message = format!(
                "nginx asks this expression before the location {}; the door does not",
                quote(path)
            );
            site.inexact(&route.place, &message);
        }
    }
    kept
}

/// Writes expressions as paths where they say no more, and no other one may match the same.
fn simplified(map: &Map, asked: &mut Vec<Asked>, plain: &mut Vec<Planned>) {
    let is_alone = |number: usize, one: &Asked| {
        let mut others = asked.iter().enumerate().filter(|(other, _)| *other != number);
        others.all(|(_, other)| !other.expression.may_meet(&one.expression))
    };
    let found: Vec<Option<Vec<Pattern>>> = asked
        .iter()
        .enumerate()
        .map(|(number, one)| {
            let patterns = paths(one, map)?;
            let known = |pattern: &Pattern| plain.iter().any(|other| other.pattern == *pattern);
            (!patterns.iter().any(known) && is_alone(number, one)).then_some(patterns)
        })
        .collect();
    let mut left = Vec::new();
    for (one, patterns) in std::mem::take(asked).into_iter().zip(found) {
        let Some(patterns) = patterns else {
            left.push(one);
            continue;
        };
        for pattern in patterns {
            let routes = one.routes.iter().cloned();
            plain.extend(routes.map(|route| Planned { pattern: pattern.clone(), ..route }));
        }
    }
    *asked = left;
}

/// The paths that an expression stands for, if it says no more and wins as they do.
fn paths(asked: &Asked, map: &Map) -> Option<Vec<Pattern>> {
    let is_changed = |rewrite: &Option<Rewrite>| match rewrite {
        Some(Rewrite::Prefix(_) | Rewrite::Path(_)) => true,
        Some(Rewrite::AsSent) | None => false,
    };
    let is_changed = asked.routes.iter().any(|route| match &route.action.answer {
        Answer::Forward { rewrite, .. } => is_changed(rewrite),
        Answer::Redirect { .. } | Answer::Respond { .. } => false,
    });
    let patterns = express(asked.source.as_deref().filter(|_| !is_changed)?)?;
    let is_won = |pattern: &Pattern| match pattern {
        Pattern::Exact(_) => true,
        // A template of the door is asked before any prefix, as an expression of nginx is.
        Pattern::Template(_) => true,
        Pattern::Below(base) | Pattern::Start(base) | Pattern::Segments(base) => {
            !map.prefixes.contains_key(base) && map.below(base).next().is_none()
        }
        Pattern::Regex(_) => false,
    };
    patterns.iter().all(is_won).then_some(patterns)
}
