//! Orders routes so that the first match is the most specific; finds those never reached, and
//! those that only the order in the file tells apart.
//!
//! Higher priorities come first. Within one, exact hosts come before wildcards and wildcards before
//! any host; then exact paths, templates with more literals, regular expressions, and prefixes and
//! starts together, the longer before the shorter; then more headers, then methods, then listeners,
//! then the file's order. Which of two regular expressions is narrower nobody can tell: among them
//! the file's order alone decides.
//! A route that lists exact and wildcard hosts stands in the result once for each kind, under
//! the same name, since no single place would be right for both.
//! Invariant: of two routes that match one request, the first in the result is the more specific.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::configuration::{HostPattern, PathPattern, Route, TemplateSegment};

/// Orders `routes`, most specific first.
pub(crate) fn order(routes: Vec<Route>) -> Vec<Route> {
    let mut split: Vec<Route> = routes.into_iter().flat_map(split_by_host_kind).collect();
    // The sort is stable, so that file order decides between equals.
    split.sort_by_cached_key(rank);
    split
}

fn split_by_host_kind(route: Route) -> Vec<Route> {
    let is_exact = |host: &HostPattern| matches!(host, HostPattern::Exact(_));
    let (exact, wildcard): (Vec<_>, Vec<_>) = route.hosts.iter().cloned().partition(is_exact);
    if exact.is_empty() || wildcard.is_empty() {
        return vec![route];
    }
    let with = |hosts| Route { hosts, ..route.clone() };
    vec![with(exact), with(wildcard)]
}

/// What a sort by specificity compares, smallest first.
type Rank = (Reverse<u16>, u8, PathRank, Reverse<usize>, bool, bool);

/// Kind; then literals, no rest, segments for templates; or bytes, for prefixes and starts, of which
/// the prefix is narrower since it ends with a segment.
type PathRank = (u8, Reverse<usize>, bool, Reverse<usize>);

fn rank(route: &Route) -> Rank {
    // The length of a wildcard's suffix says nothing: no host matches two different wildcards,
    // and to rank by it would put a route with several hosts in the wrong place for some.
    let host_kind = match route.hosts.first() {
        Some(HostPattern::Exact(_)) => 0,
        Some(HostPattern::Wildcard(_)) => 1,
        None => 2,
    };
    let (priority, path) = (Reverse(route.priority), path_rank(&route.path));
    if matches!(route.path, PathPattern::Regex(_)) {
        return (priority, host_kind, path, Reverse(0), false, false);
    }
    let headers = Reverse(route.headers.len());
    (priority, host_kind, path, headers, route.methods.is_empty(), route.listeners.is_empty())
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
        PathPattern::Regex(_) => (2, Reverse(0), false, Reverse(0)),
        PathPattern::Prefix(path) => (3, Reverse(path.len()), false, Reverse(0)),
        PathPattern::Start(text) => (3, Reverse(text.len()), true, Reverse(0)),
    }
}

/// Earlier routes that could hide a later one, by one of their hosts (`None` is any).
///
/// A host of a hidden route is listed literally by the one that hides it, or, where that has a
/// higher priority, is one of its wildcard's or any. Two different wildcards never meet: one matches
/// exactly one label.
#[derive(Default)]
struct Earlier<'r> {
    by_path: HashMap<(HostKey<'r>, PathKey<'r>), Vec<&'r Route>>,
    templates: HashMap<HostKey<'r>, Vec<&'r Route>>,
    /// The lengths of all starts.
    lengths: BTreeSet<usize>,
}

/// The parts of a host pattern; `None` is any.
type HostKey<'r> = Option<(u8, &'r str)>;

/// The key of a host, and those of the hosts that it is one of.
fn host_keys(host: Option<&HostPattern>) -> Vec<HostKey<'_>> {
    let wildcard = match host {
        Some(HostPattern::Exact(host)) => host.find('.').and_then(|dot| host.get(dot..)),
        Some(HostPattern::Wildcard(_)) | None => None,
    };
    let any = host.is_some().then_some(None);
    let wildcard = wildcard.map(|suffix| Some((1, suffix)));
    [host_key(host)].into_iter().chain(wildcard).chain(any).collect()
}

fn host_key(host: Option<&HostPattern>) -> HostKey<'_> {
    host.map(|host| match host {
        HostPattern::Exact(host) => (0, host.as_ref()),
        HostPattern::Wildcard(suffix) => (1, suffix.as_ref()),
    })
}

/// The parts of any path but a template.
type PathKey<'r> = (u8, &'r str);

/// The first parts of two of them.
const PREFIX: u8 = 1;
const START: u8 = 2;

fn path_key(path: &PathPattern) -> Option<PathKey<'_>> {
    match path {
        PathPattern::Exact(path) => Some((0, path)),
        PathPattern::Prefix(path) => Some((PREFIX, path)),
        PathPattern::Start(text) => Some((START, text)),
        PathPattern::Regex(text) => Some((3, text)),
        PathPattern::Template(_) => None,
    }
}

/// The letters with which every path of a pattern begins.
fn beginning(path: &PathPattern) -> String {
    match path {
        PathPattern::Exact(text) | PathPattern::Prefix(text) | PathPattern::Start(text) => {
            text.to_string()
        }
        PathPattern::Template(segments) => {
            let literals = segments.iter().map_while(|segment| match segment {
                TemplateSegment::Literal(text) => Some(format!("/{text}")),
                TemplateSegment::Parameter(_) | TemplateSegment::Rest(_) => None,
            });
            let whole = literals.clone().count() == segments.len();
            literals.chain((!whole).then(|| "/".to_owned())).collect()
        }
        PathPattern::Regex(_) => "/".to_owned(),
    }
}

/// A route that an earlier one hides, for all its hosts or for one of them.
#[derive(Debug)]
pub(crate) struct Hidden<'r> {
    pub(crate) route: &'r Route,
    pub(crate) by: &'r Route,
    /// The first hidden host, when not all of them are.
    pub(crate) host: Option<&'r HostPattern>,
    /// Whether both match exactly the same requests.
    pub(crate) is_same: bool,
}

/// The routes that can never match, in the order given, which is that of [`order`].
pub(crate) fn hidden(sorted: &[Route]) -> Vec<Hidden<'_>> {
    let mut earlier = Earlier::default();
    let mut found = Vec::new();
    for route in sorted {
        let hosts = hosts(route);
        let hidden: Vec<(Option<&HostPattern>, &Route)> =
            hosts.iter().filter_map(|host| Some((*host, earlier.hiding(*host, route)?))).collect();
        if let Some(&(host, by)) = hidden.first() {
            let host = host.filter(|_| hidden.len() < hosts.len());
            let is_same = route.priority == by.priority
                && route.path == by.path
                && route.methods == by.methods
                && route.headers == by.headers
                && route.listeners == by.listeners;
            found.push(Hidden { route, by, host, is_same });
        }
        for host in hosts {
            earlier.add(host, route);
        }
    }
    found
}

fn hosts(route: &Route) -> Vec<Option<&HostPattern>> {
    match route.hosts.as_slice() {
        [] => vec![None],
        hosts => hosts.iter().map(Some).collect(),
    }
}

impl<'r> Earlier<'r> {
    fn add(&mut self, host: Option<&'r HostPattern>, route: &'r Route) {
        let host = host_key(host);
        if let PathPattern::Start(text) = &route.path {
            self.lengths.insert(text.len());
        }
        match path_key(&route.path) {
            Some(key) => self.by_path.entry((host, key)).or_default().push(route),
            None => self.templates.entry(host).or_default().push(route),
        }
    }

    fn hiding(&self, host: Option<&'r HostPattern>, route: &'r Route) -> Option<&'r Route> {
        let beginning = beginning(&route.path);
        let prefixes = beginning.match_indices('/').map(|(slash, _)| {
            let prefix = beginning.get(..slash).filter(|prefix| !prefix.is_empty());
            (PREFIX, prefix.unwrap_or("/"))
        });
        let starts = self.lengths.iter().map_while(|length| beginning.get(..*length));
        let wider: Vec<PathKey<'_>> = prefixes
            .chain([(PREFIX, &*beginning)])
            .chain(starts.map(|start| (START, start)))
            .collect();
        host_keys(host).into_iter().find_map(|host| {
            let same = path_key(&route.path).and_then(|key| self.by_path.get(&(host, key)));
            let wider = wider.iter().filter_map(|key| self.by_path.get(&(host, *key)));
            let candidates = same.into_iter().chain(self.templates.get(&host)).chain(wider);
            candidates.flatten().copied().find(|earlier| covers(earlier, route))
        })
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
    let listeners = earlier.listeners.is_empty()
        || (!later.listeners.is_empty()
            && later.listeners.iter().all(|name| earlier.listeners.contains(name)));
    methods && headers && listeners && covers_path(&earlier.path, &later.path)
}

fn covers_path(earlier: &PathPattern, later: &PathPattern) -> bool {
    let earlier = match earlier {
        PathPattern::Exact(_) | PathPattern::Regex(_) => return earlier == later,
        PathPattern::Start(text) => return beginning(later).starts_with(&**text),
        PathPattern::Prefix(text) => {
            let text = text.strip_suffix('/').unwrap_or(text);
            let rest = beginning(later);
            let rest = rest.strip_prefix(text);
            let is_whole = earlier == later || matches!(later, PathPattern::Exact(_));
            return rest.is_some_and(|rest| rest.starts_with('/') || rest.is_empty() && is_whole);
        }
        PathPattern::Template(segments) => segments,
    };
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
        PathPattern::Start(text) => {
            // The last segment goes on with any letters, and others may follow it.
            let (whole, last) = text.rsplit_once('/').unwrap_or_default();
            let last = if last.is_empty() { None } else { Some(Step::Any) };
            let bare: Vec<Step<'_>> = literals(whole).chain(last).collect();
            let below: Vec<Step<'_>> = literals(whole).chain(last).chain([Step::Rest]).collect();
            (last.is_none() || template_covers(earlier, &bare)) && template_covers(earlier, &below)
        }
        PathPattern::Regex(_) => false,
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

/// Pairs of routes that are compared for [`equals`], at most.
const COMPARED_MAX: usize = 200_000;

/// Pairs of routes of which neither is more specific, that do different things, and that some
/// request matches both: the first in the file takes it. For each second one, its first.
pub(crate) fn equals(sorted: &[Route]) -> Vec<(&Route, &Route)> {
    let mut alike: BTreeMap<(Rank, Option<PathKey<'_>>), Vec<&Route>> = BTreeMap::new();
    for route in sorted {
        alike.entry((rank(route), path_key(&route.path))).or_default().push(route);
    }
    let mut compared = 0;
    let mut found = Vec::new();
    for routes in alike.values() {
        for (index, second) in routes.iter().enumerate() {
            let earlier = routes.iter().take(index);
            compared += index;
            if compared > COMPARED_MAX {
                return found;
            }
            let claims = |first: &&&Route| {
                first.action != second.action && meet(first, second) && !covers(first, second)
            };
            found.extend(
                earlier.copied().find(|first| claims(&first)).map(|first| (first, *second)),
            );
        }
    }
    found
}

/// Whether some request matches both of two routes of the same rank. Of regular expressions that
/// is not known, and their order in the file is meant.
fn meet(a: &Route, b: &Route) -> bool {
    let hosts = a.hosts.is_empty() || a.hosts.iter().any(|host| b.hosts.contains(host));
    let listeners =
        a.listeners.is_empty() || a.listeners.iter().any(|name| b.listeners.contains(name));
    let methods = a.methods.is_empty() || a.methods.iter().any(|name| b.methods.contains(name));
    let headers = a.headers.iter().all(|header| {
        let other = b.headers.iter().find(|other| other.name == header.name);
        let values = other.and_then(|other| Some((other.value.as_ref()?, header.value.as_ref()?)));
        values.is_none_or(|(one, other)| one == other)
    });
    hosts && listeners && methods && headers && paths_meet(&a.path, &b.path)
}

fn paths_meet(a: &PathPattern, b: &PathPattern) -> bool {
    let (PathPattern::Template(a), PathPattern::Template(b)) = (a, b) else {
        return a == b && !matches!(a, PathPattern::Regex(_));
    };
    a.iter().zip(b).all(|(a, b)| match (a, b) {
        (TemplateSegment::Literal(a), TemplateSegment::Literal(b)) => a == b,
        (TemplateSegment::Literal(_), _)
        | (TemplateSegment::Parameter(_) | TemplateSegment::Rest(_), _) => true,
    })
}
