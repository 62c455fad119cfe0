//! Orders routes so that the first match is the most specific, and finds those never reached.
//!
//! Exact hosts come before wildcards and wildcards before any host; then exact paths, templates
//! with more literals, longer prefixes; then more headers, then methods, then the file's order.
//! A route that lists exact and wildcard hosts stands in the result once for each kind, under
//! the same name, since no single place would be right for both.
//! Invariant: of two routes that match one request, the first in the result is the more specific.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;

use model::configuration::{HostPattern, PathPattern, Route, TemplateSegment};

use crate::finding::{Finding, Findings, quote};
use crate::route::Placed;

/// Orders `routes` and reports what can never match.
pub(crate) fn order(routes: Vec<Placed>, findings: &Findings) -> Vec<Route> {
    let mut split: Vec<Placed> = routes.into_iter().flat_map(split_by_host_kind).collect();
    // The sort is stable, so that file order decides between equals.
    split.sort_by_cached_key(|placed| rank(&placed.route));
    find_hidden(&split, findings);
    split.into_iter().map(|placed| placed.route).collect()
}

fn split_by_host_kind(placed: Placed) -> Vec<Placed> {
    let is_exact = |host: &HostPattern| matches!(host, HostPattern::Exact(_));
    let (exact, wildcard): (Vec<_>, Vec<_>) =
        placed.route.hosts.iter().cloned().partition(is_exact);
    if exact.is_empty() || wildcard.is_empty() {
        return vec![placed];
    }
    let with = |hosts| Placed {
        route: Route { hosts, ..placed.route.clone() },
        span: placed.span.clone(),
    };
    vec![with(exact), with(wildcard)]
}

/// What a sort by specificity compares, smallest first.
type Rank = (u8, PathRank, Reverse<usize>, bool);

/// Kind; then literals, no rest, segments for templates, or bytes for prefixes.
type PathRank = (u8, Reverse<usize>, bool, Reverse<usize>);

fn rank(route: &Route) -> Rank {
    // The length of a wildcard's suffix says nothing: no host matches two different wildcards,
    // and to rank by it would put a route with several hosts in the wrong place for some.
    let host_kind = match route.hosts.first() {
        Some(HostPattern::Exact(_)) => 0,
        Some(HostPattern::Wildcard(_)) => 1,
        None => 2,
    };
    let headers = Reverse(route.headers.len());
    (host_kind, path_rank(&route.path), headers, route.methods.is_empty())
}

fn path_rank(path: &PathPattern) -> PathRank {
    match path {
        PathPattern::Exact(_) => (0, Reverse(0), false, Reverse(0)),
        PathPattern::Template(segments) => {
            let literals =
                segments.iter().filter(|s| matches!(s, TemplateSegment::Literal(_))).count();
            let has_rest = matches!(segments.last(), Some(TemplateSegment::Rest(_)));
            (1, Reverse(literals), has_rest, Reverse(segments.len()))
        }
        PathPattern::Prefix(path) => (2, Reverse(path.len()), false, Reverse(0)),
    }
}

/// Earlier routes that could hide a later one, by one of their hosts (`None` is any).
///
/// Only routes of the same host kind can hide each other: an earlier kind is narrower. And a
/// host of a hidden route is listed literally by the one that hides it: a wildcard matches
/// exactly one label, so two different wildcards never meet.
#[derive(Default)]
struct Earlier<'r> {
    by_path: HashMap<(HostKey<'r>, PathKey<'r>), Vec<&'r Placed>>,
    templates: HashMap<HostKey<'r>, Vec<&'r Placed>>,
}

/// The parts of a host pattern; `None` is any.
type HostKey<'r> = Option<(u8, &'r str)>;

fn host_key(host: Option<&HostPattern>) -> HostKey<'_> {
    host.map(|host| match host {
        HostPattern::Exact(host) => (0, host.as_ref()),
        HostPattern::Wildcard(suffix) => (1, suffix.as_ref()),
    })
}

/// The parts of an exact path or a prefix.
type PathKey<'r> = (u8, &'r str);

fn path_key(path: &PathPattern) -> Option<PathKey<'_>> {
    match path {
        PathPattern::Exact(path) => Some((0, path)),
        PathPattern::Prefix(path) => Some((1, path)),
        PathPattern::Template(_) => None,
    }
}

fn find_hidden(sorted: &[Placed], findings: &Findings) {
    let mut earlier = Earlier::default();
    for placed in sorted {
        let hosts: Vec<Option<&HostPattern>> = match placed.route.hosts.as_slice() {
            [] => vec![None],
            hosts => hosts.iter().map(Some).collect(),
        };
        let hidden: Vec<(Option<&HostPattern>, &Placed)> = hosts
            .iter()
            .filter_map(|host| Some((*host, earlier.hiding(*host, &placed.route)?)))
            .collect();
        if let Some((host, first)) = hidden.first() {
            let host = host.filter(|_| hidden.len() < hosts.len());
            report(placed, first, host, findings);
        }
        for host in hosts {
            earlier.add(host, placed);
        }
    }
}

impl<'r> Earlier<'r> {
    fn add(&mut self, host: Option<&'r HostPattern>, placed: &'r Placed) {
        let host = host_key(host);
        match path_key(&placed.route.path) {
            Some(key) => self.by_path.entry((host, key)).or_default().push(placed),
            None => self.templates.entry(host).or_default().push(placed),
        }
    }

    fn hiding(&self, host: Option<&'r HostPattern>, route: &'r Route) -> Option<&'r Placed> {
        let host = host_key(host);
        let same = path_key(&route.path).and_then(|key| self.by_path.get(&(host, key)));
        let templates = self.templates.get(&host);
        let candidates = same.into_iter().chain(templates).flatten();
        candidates.copied().find(|earlier| covers(&earlier.route, route))
    }
}

/// Whether every request for `later`, host aside, matches `earlier` too.
fn covers(earlier: &Route, later: &Route) -> bool {
    let methods = earlier.methods.is_empty()
        || (!later.methods.is_empty()
            && later.methods.iter().all(|method| earlier.methods.contains(method)));
    let headers = earlier.headers.iter().all(|wanted| {
        later.headers.iter().any(|given| {
            given.name == wanted.name && (wanted.value.is_none() || given.value == wanted.value)
        })
    });
    methods && headers && covers_path(&earlier.path, &later.path)
}

fn covers_path(earlier: &PathPattern, later: &PathPattern) -> bool {
    let PathPattern::Template(earlier) = earlier else { return earlier == later };
    match later {
        PathPattern::Exact(path) => {
            let segments: Vec<Step<'_>> = literals(path).collect();
            // A last slash is a segment of its own that no parameter matches.
            (path.len() == 1 || !path.ends_with('/')) && template_covers(earlier, &segments)
        }
        PathPattern::Template(later) => {
            let segments: Vec<Step<'_>> = later.iter().map(Step::of).collect();
            template_covers(earlier, &segments)
        }
        PathPattern::Prefix(path) => {
            // Below the prefix comes anything, or nothing: both must be covered.
            let bare: Vec<Step<'_>> = literals(path).collect();
            let below: Vec<Step<'_>> = literals(path).chain([Step::Rest]).collect();
            template_covers(earlier, &bare) && template_covers(earlier, &below)
        }
    }
}

/// One segment of the paths that are to be covered.
#[derive(Clone, Copy)]
enum Step<'p> {
    Literal(&'p str),
    /// Any one segment that is not empty.
    Any,
    Rest,
}

impl<'p> Step<'p> {
    fn of(segment: &'p TemplateSegment) -> Self {
        match segment {
            TemplateSegment::Literal(text) => Self::Literal(text),
            TemplateSegment::Parameter(_) => Self::Any,
            TemplateSegment::Rest(_) => Self::Rest,
        }
    }
}

fn literals(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.strip_prefix('/').unwrap_or(path).split('/').filter(|s| !s.is_empty()).map(Step::Literal)
}

fn template_covers(template: &[TemplateSegment], steps: &[Step<'_>]) -> bool {
    let mut steps = steps.iter();
    for segment in template {
        let covered = match (segment, steps.next()) {
            // Whether an empty rest matches is not relied on.
            (TemplateSegment::Rest(_), step) => return step.is_some(),
            (TemplateSegment::Literal(text), Some(Step::Literal(given))) => text.as_ref() == *given,
            (TemplateSegment::Parameter(_), Some(Step::Literal(_) | Step::Any)) => true,
            (TemplateSegment::Literal(_) | TemplateSegment::Parameter(_), _) => false,
        };
        if !covered {
            return false;
        }
    }
    steps.next().is_none()
}

fn report(hidden: &Placed, by: &Placed, host: Option<&HostPattern>, findings: &Findings) {
    let (name, other) = (quote(&hidden.route.name), quote(&by.route.name));
    let is_same = hidden.route.path == by.route.path
        && hidden.route.methods == by.route.methods
        && hidden.route.headers == by.route.headers;
    let subject = match host {
        None => format!("route {name}"),
        Some(HostPattern::Exact(host)) => format!("host {} of route {name}", quote(host)),
        Some(HostPattern::Wildcard(suffix)) => {
            format!("host {} of route {name}", quote(&format!("*{suffix}")))
        }
    };
    let (rule, message, help) = if is_same {
        let message = format!("{subject} matches the same requests as {other}");
        ("duplicate-route", message, "remove one, or tell them apart by host, path or headers")
    } else {
        let message = format!("{subject} is never reached: {other} takes all its requests");
        ("unreachable-route", message, "narrow the route that comes first, or remove this one")
    };
    let span: Range<usize> = hidden.span.clone();
    findings.add(
        Finding::error(rule, span, message)
            .label("never reached")
            .related(by.span.clone(), "this route comes first")
            .help(help),
    );
}
