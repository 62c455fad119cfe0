//! Which route serves a request: by priority, host, path, then headers, method and listener.
//!
//! The routes come in the order in which they are asked (`settings` orders them), and the first that
//! matches wins. The tables only avoid looking at all of them: one for each priority, in it one for
//! each host, and in that the paths.
//!
//! Invariant: what is matched is the canonical path, which is also what is forwarded.

mod paths;
mod rewrite;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use http_wire::{RequestHead, canonical_path};
use model::configuration::{
    Action, HostPattern, PathPattern, REGEX_COMPILED_BYTES_MAX, Rewrite, Route,
};
use model::{Name, Reason};
use regex::bytes::{Regex, RegexBuilder};

use paths::{Paths, template_matches};

/// Bytes of memory that all regular expressions of a configuration together keep of what they
/// learned, for each worker: their states are made while they run.
const REGEXES_CACHE_BYTES_MAX: usize = 16 << 20;

/// The routes of one configuration, indexed.
#[derive(Debug)]
pub(crate) struct Router {
    routes: Vec<Route>,
    /// With the index of the route, in the order of the routes.
    regexes: Vec<(usize, Regex)>,
    /// The highest priority first.
    tiers: Vec<Tier>,
    /// Whether any route asks for a host.
    by_host: bool,
}

/// The routes of one priority.
#[derive(Debug)]
struct Tier {
    priority: u16,
    exact_hosts: HashMap<Name, Paths>,
    /// Longest suffix first.
    wildcard_hosts: Vec<(Name, Paths)>,
    any_host: Paths,
}

/// The outcome of matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// This route serves the request.
    Route(usize),
    /// A route serves the path, but not with this method.
    WrongMethod,
    /// No route serves the path.
    None,
}

impl Router {
    pub(crate) fn new(routes: &[Route]) -> Self {
        let mut router = Self {
            routes: routes.to_vec(),
            regexes: compiled(routes),
            tiers: Vec::new(),
            by_host: routes.iter().any(|route| !route.hosts.is_empty()),
        };
        for (index, route) in routes.iter().enumerate() {
            // They come by priority.
            if router.tiers.last().is_none_or(|tier| tier.priority != route.priority) {
                router.tiers.push(Tier::new(route.priority));
            }
            let regex = router.regexes.binary_search_by_key(&index, |(route, _)| *route).ok();
            let Some(tier) = router.tiers.last_mut() else { continue };
            tier.insert(route, index, regex);
        }
        for tier in &mut router.tiers {
            tier.wildcard_hosts.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        }
        router
    }

    pub(crate) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The route for `head`, whose bytes are `bytes`, that came in by `listener`.
    pub(crate) fn find(&self, head: &RequestHead, bytes: &[u8], listener: &str) -> Match {
        self.find_for(head.method_text.of(bytes), head, bytes, listener)
    }

    /// The route that the same request would take with this method.
    pub(crate) fn find_for(
        &self,
        method: &[u8],
        head: &RequestHead,
        bytes: &[u8],
        listener: &str,
    ) -> Match {
        let mut lower = [0; 256];
        let host = self.host_of(head, bytes, &mut lower);
        let mut outcome = Match::None;
        for index in self.candidates(host, head, bytes) {
            if !listener_matches(&self.routes[index], listener) {
                continue;
            }
            if method_matches(&self.routes[index], method) {
                return Match::Route(index);
            }
            outcome = Match::WrongMethod;
        }
        outcome
    }

    /// The methods with which some route serves the path of `head` on `listener`, sorted.
    pub(crate) fn methods(&self, head: &RequestHead, bytes: &[u8], listener: &str) -> Vec<&str> {
        let mut lower = [0; 256];
        let host = self.host_of(head, bytes, &mut lower);
        let routes = self.candidates(host, head, bytes).map(|index| &self.routes[index]);
        let routes = routes.filter(|route| listener_matches(route, listener));
        let mut methods: Vec<&str> =
            routes.flat_map(|route| route.methods.iter().map(|method| &**method)).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        methods.dedup();
        methods
    }

    /// The host in lower case; empty when no route asks for one.
    fn host_of<'a>(&self, head: &RequestHead, bytes: &[u8], lower: &'a mut [u8; 256]) -> &'a str {
        if self.by_host { lower_host(head, bytes, lower) } else { "" }
    }

    /// Routes whose host, path and headers match, in their order.
    fn candidates<'a>(
        &'a self,
        host: &'a str,
        head: &'a RequestHead,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = usize> + 'a {
        self.tiers
            .iter()
            .flat_map(move |tier| tier.of_host(host))
            .flat_map(move |paths| self.by_path(paths, head.path()))
            .filter(move |index| headers_match(&self.routes[*index], head, bytes))
    }

    fn by_path<'a>(&'a self, paths: &'a Paths, path: &'a str) -> impl Iterator<Item = usize> + 'a {
        let templates = paths.templates.iter().filter(move |index| {
            matches!(&self.routes[**index].path, PathPattern::Template(segments) if template_matches(segments, path))
        });
        let regexes = paths.regexes.iter().filter_map(move |at| {
            let (index, regex) = self.regexes.get(*at)?;
            regex.is_match(path.as_bytes()).then_some(index)
        });
        let exact = paths.exact(path).iter();
        exact.chain(templates).chain(regexes).chain(paths.beginnings(path).flatten()).copied()
    }

    /// Writes the path that the server of route `index` is asked for in place of `path` to
    /// `rewritten`, if its route says so. It is put together in `raw`, whose contents are lost.
    ///
    /// # Errors
    /// The reason to refuse the request: what came about is no path that could be forwarded.
    pub(crate) fn rewrite(
        &self,
        (index, path): (usize, &str),
        raw: &mut Vec<u8>,
        rewritten: &mut String,
    ) -> Result<(), Reason> {
        let route = &self.routes[index];
        let Action::Forward { rewrite: Some(rewrite), .. } = &route.action else { return Ok(()) };
        raw.clear();
        match rewrite {
            Rewrite::Prefix(replacement) => {
                let rest = path.as_bytes().get(route.path.prefix_length()..).unwrap_or_default();
                rewrite::beginning(raw, replacement, rest);
            }
            Rewrite::Path(parts) => {
                let at = self.regexes.binary_search_by_key(&index, |(route, _)| *route);
                let regex = at.ok().and_then(|at| self.regexes.get(at));
                let captures = regex.and_then(|(_, regex)| regex.captures(path.as_bytes()));
                rewrite::whole(raw, parts, &captures.ok_or(Reason::Internal)?)?;
            }
        }
        canonical_path(raw, rewritten)
    }
}

impl Tier {
    fn new(priority: u16) -> Self {
        Self {
            priority,
            exact_hosts: HashMap::new(),
            wildcard_hosts: Vec::new(),
            any_host: Paths::default(),
        }
    }

    fn insert(&mut self, route: &Route, index: usize, regex: Option<usize>) {
        if route.hosts.is_empty() {
            self.any_host.insert(&route.path, index, regex);
        }
        for host in &route.hosts {
            self.paths_of(host).insert(&route.path, index, regex);
        }
    }

    fn paths_of(&mut self, host: &HostPattern) -> &mut Paths {
        match host {
            HostPattern::Exact(name) => self.exact_hosts.entry(name.clone()).or_default(),
            HostPattern::Wildcard(suffix) => {
                let known = self.wildcard_hosts.iter().position(|(known, _)| known == suffix);
                let at = known.unwrap_or_else(|| {
                    self.wildcard_hosts.push((suffix.clone(), Paths::default()));
                    self.wildcard_hosts.len() - 1
                });
                &mut self.wildcard_hosts[at].1
            }
        }
    }

    /// The paths of a host, the most specific pattern of it first.
    fn of_host<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Paths> + 'a {
        let exact = self.exact_hosts.get(host);
        // A wildcard stands for exactly one label.
        let rest =
            host.split_once('.').map_or("", |(label, _)| host.get(label.len()..).unwrap_or(""));
        let wildcard = self.wildcard_hosts.iter().filter(move |(suffix, _)| **suffix == *rest);
        let wildcard = wildcard.map(|(_, paths)| paths);
        exact.into_iter().chain(wildcard).chain(std::iter::once(&self.any_host))
    }
}

/// The regular expressions of `routes`, each with the index of its route.
fn compiled(routes: &[Route]) -> Vec<(usize, Regex)> {
    let text = |(index, route): (usize, &Route)| match &route.path {
        PathPattern::Regex(text) => Some((index, text.clone())),
        PathPattern::Exact(_)
        | PathPattern::Prefix(_)
        | PathPattern::Start(_)
        | PathPattern::Template(_) => None,
    };
    let texts: Vec<(usize, Name)> = routes.iter().enumerate().filter_map(text).collect();
    let cache = REGEXES_CACHE_BYTES_MAX / texts.len().max(1);
    let compile = |(index, text): (usize, Name)| {
        let regex = RegexBuilder::new(&text)
            .unicode(false)
            .size_limit(REGEX_COMPILED_BYTES_MAX)
            .dfa_size_limit(cache.min(REGEX_COMPILED_BYTES_MAX))
            .build();
        // `settings` has compiled the same text within the same size: none is left out.
        Some((index, regex.ok()?))
    };
    texts.into_iter().filter_map(compile).collect()
}

fn lower_host<'a>(head: &RequestHead, bytes: &[u8], lower: &'a mut [u8; 256]) -> &'a str {
    let host = head.host.map_or(&[][..], |span| span.of(bytes));
    let Some(room) = lower.get_mut(..host.len()) else { return "" };
    room.copy_from_slice(host);
    room.make_ascii_lowercase();
    let host = std::str::from_utf8(room).unwrap_or("");
    host.strip_suffix('.').unwrap_or(host)
}

fn headers_match(route: &Route, head: &RequestHead, bytes: &[u8]) -> bool {
    route.headers.iter().all(|wanted| {
        let found = head.header_named(bytes, &wanted.name);
        match (&wanted.value, found) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(value), Some(found)) => value.as_bytes() == found,
        }
    })
}

fn listener_matches(route: &Route, listener: &str) -> bool {
    route.listeners.is_empty() || route.listeners.iter().any(|name| **name == *listener)
}

/// A route for GET serves HEAD too (RFC 9110, section 9.3.2).
fn method_matches(route: &Route, method: &[u8]) -> bool {
    let serves = |wanted: &[u8]| route.methods.iter().any(|name| name.as_bytes() == wanted);
    route.methods.is_empty() || serves(method) || (method == b"HEAD" && serves(b"GET"))
}
