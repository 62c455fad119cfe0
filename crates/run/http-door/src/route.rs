//! Which route serves a request: by host, then path, then headers, method and listener.
//!
//! The routes come most specific first (`settings` orders them), and the first that matches
//! wins. The table only avoids looking at all of them: exact hosts and paths by hash, prefixes
//! by the path's own segments, longest first.
//!
//! Invariant: what is matched is the canonical path, which is also what is forwarded.

use std::collections::HashMap;

use http_wire::RequestHead;
use model::Name;
use model::configuration::{HostPattern, PathPattern, Route, TemplateSegment};

/// The routes of one configuration, indexed.
#[derive(Debug)]
pub(crate) struct Router {
    routes: Vec<Route>,
    exact_hosts: HashMap<Name, Paths>,
    /// Longest suffix first.
    wildcard_hosts: Vec<(Name, Paths)>,
    any_host: Paths,
}

#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Name, Vec<usize>>,
    templates: Vec<usize>,
    prefixes: HashMap<Name, Vec<usize>>,
    /// Of which lengths there are prefixes, a bit each, so that others are not hashed.
    lengths: u128,
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
            exact_hosts: HashMap::new(),
            wildcard_hosts: Vec::new(),
            any_host: Paths::default(),
        };
        for (index, route) in routes.iter().enumerate() {
            if route.hosts.is_empty() {
                router.any_host.insert(index, &route.path);
            }
            for host in &route.hosts {
                router.paths_of(host).insert(index, &route.path);
            }
        }
        router.wildcard_hosts.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        router
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
        if self.exact_hosts.is_empty() && self.wildcard_hosts.is_empty() {
            return "";
        }
        lower_host(head, bytes, lower)
    }

    /// Routes whose host, path and headers match, most specific first.
    fn candidates<'a>(
        &'a self,
        host: &'a str,
        head: &'a RequestHead,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = usize> + 'a {
        let paths = self.by_host(host).chain(std::iter::once(&self.any_host));
        paths
            .flat_map(|paths| self.by_path(paths, head.path()))
            .filter(|index| headers_match(&self.routes[*index], head, bytes))
    }

    fn by_host<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Paths> + 'a {
        let exact = self.exact_hosts.get(host);
        // A wildcard stands for exactly one label.
        let rest =
            host.split_once('.').map_or("", |(label, _)| host.get(label.len()..).unwrap_or(""));
        let wildcard = self.wildcard_hosts.iter().filter(move |(suffix, _)| **suffix == *rest);
        exact.into_iter().chain(wildcard.map(|(_, paths)| paths))
    }

    fn by_path<'a>(&'a self, paths: &'a Paths, path: &'a str) -> impl Iterator<Item = usize> + 'a {
        let exact = paths.exact.get(path).into_iter().flatten();
        let templates = paths.templates.iter().filter(move |index| {
            matches!(&self.routes[**index].path, PathPattern::Template(segments) if template_matches(segments, path))
        });
        let prefixes = prefixes_of(path).filter(|prefix| paths.lengths & bit_of(prefix) != 0);
        let prefixes = prefixes.filter_map(|prefix| paths.prefixes.get(prefix)).flatten();
        exact.chain(templates).chain(prefixes).copied()
    }
}

impl Paths {
    fn insert(&mut self, index: usize, path: &PathPattern) {
        match path {
            PathPattern::Exact(path) => self.exact.entry(path.clone()).or_default().push(index),
            PathPattern::Template(_) => self.templates.push(index),
            PathPattern::Prefix(path) => {
                let trimmed = path.strip_suffix('/').unwrap_or(path);
                self.lengths |= bit_of(trimmed);
                self.prefixes.entry(trimmed.into()).or_default().push(index);
            }
        }
    }
}

/// The bit of a prefix's length; all that are longer than 127 share one.
fn bit_of(prefix: &str) -> u128 {
    1 << prefix.len().min(127)
}

/// The prefixes of a path at segment borders, longest first: `/a/b` gives `/a/b`, `/a`, ``.
fn prefixes_of(path: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(path);
    std::iter::from_fn(move || {
        let current = next?;
        next = current.rfind('/').and_then(|slash| current.get(..slash));
        Some(current)
    })
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

fn template_matches(segments: &[TemplateSegment], path: &str) -> bool {
    let mut rest = path.strip_prefix('/');
    for segment in segments {
        if matches!(segment, TemplateSegment::Rest(_)) {
            return rest.is_some();
        }
        let Some(current) = rest else { return false };
        let (text, after) = match current.split_once('/') {
            Some((text, after)) => (text, Some(after)),
            None => (current, None),
        };
        let fits = match segment {
            TemplateSegment::Literal(literal) => **literal == *text,
            TemplateSegment::Parameter(_) => !text.is_empty(),
            TemplateSegment::Rest(_) => true,
        };
        if !fits {
            return false;
        }
        rest = after;
    }
    rest.is_none()
}

#[cfg(test)]
mod tests {
    use http_wire::HeadLimits;
    use model::configuration::{Action, HeaderMatch};

    use super::*;

    fn route(name: &str, hosts: &[&str], path: PathPattern, methods: &[&str]) -> Route {
        let host = |host: &&str| match host.strip_prefix('*') {
            Some(suffix) => HostPattern::Wildcard(suffix.into()),
            None => HostPattern::Exact((*host).into()),
        };
        Route {
            name: name.into(),
            listeners: Vec::new(),
            hosts: hosts.iter().map(host).collect(),
            path,
            methods: methods.iter().map(|method| (*method).into()).collect(),
            headers: Vec::new(),
            action: Action::Forward { pool: 0, replace_prefix: None },
            body_bytes_max: None,
            total_timeout: None,
            treatment: model::configuration::Treatment::default(),
            class: None,
        }
    }

    fn router() -> Router {
        let prefix = |path: &str| PathPattern::Prefix(path.into());
        let template = PathPattern::Template(vec![
            TemplateSegment::Literal("users".into()),
            TemplateSegment::Parameter("id".into()),
            TemplateSegment::Literal("posts".into()),
        ]);
        let rest = PathPattern::Template(vec![
            TemplateSegment::Literal("files".into()),
            TemplateSegment::Rest("path".into()),
        ]);
        let mut canary = route("canary", &[], prefix("/api"), &[]);
        canary.headers = vec![HeaderMatch { name: "x-canary".into(), value: Some("1".into()) }];
        let mut elsewhere = route("elsewhere", &[], PathPattern::Exact("/".into()), &[]);
        elsewhere.listeners = vec!["secure".into()];
        Router::new(&[
            route("shop", &["shop.example.com"], prefix("/"), &[]),
            route("any-shop", &["*.example.com"], prefix("/shop"), &[]),
            route("exact", &[], PathPattern::Exact("/api/exact".into()), &[]),
            route("posts", &[], template, &["GET"]),
            route("files", &[], rest, &[]),
            canary,
            route("api-read", &[], prefix("/api"), &["GET"]),
            route("api-write", &[], prefix("/api/"), &["POST"]),
            elsewhere,
            route("root", &[], PathPattern::Exact("/".into()), &[]),
        ])
    }

    fn check(request: &str, expected: &str) {
        let head = format!("{}\r\n\r\n", request.replace('\n', "\r\n"));
        let mut parsed = RequestHead::default();
        parsed.parse(head.as_bytes(), &HeadLimits::default()).unwrap();
        let router = router();
        let found = match router.find(&parsed, head.as_bytes(), "web") {
            Match::Route(index) => router.routes()[index].name.to_string(),
            Match::WrongMethod => router.methods(&parsed, head.as_bytes(), "web").join(","),
            Match::None => "none".to_owned(),
        };
        assert_eq!(found, expected, "{request}");
    }

    #[test]
    fn the_most_specific_route_wins() {
        check("GET / HTTP/1.1\nHost: shop.example.com", "shop");
        check("GET /api HTTP/1.1\nHost: SHOP.example.com:8080", "shop");
        check("GET /shop/1 HTTP/1.1\nHost: other.example.com", "any-shop");
        check("GET /other HTTP/1.1\nHost: other.example.com", "none");
        check("GET /shop/1 HTTP/1.1\nHost: a.b.example.com", "none");
        check("GET /api/exact HTTP/1.1\nHost: x", "exact");
        check("GET /api/exact/more HTTP/1.1\nHost: x", "api-read");
        check("POST /api/x HTTP/1.1\nHost: x", "api-write");
        check("GET /api HTTP/1.1\nHost: x\nX-Canary: 1", "canary");
        check("GET /api HTTP/1.1\nHost: x\nX-Canary: 2", "api-read");
        check("GET / HTTP/1.1\nHost: x", "root");
    }

    #[test]
    fn prefixes_end_at_segments() {
        check("GET /apix HTTP/1.1\nHost: x", "none");
        check("GET /api/ HTTP/1.1\nHost: x", "api-read");
        check("GET /api?x=/exact HTTP/1.1\nHost: x", "api-read");
    }

    #[test]
    fn templates_match_segment_by_segment() {
        check("GET /users/7/posts HTTP/1.1\nHost: x", "posts");
        check("GET /users//posts HTTP/1.1\nHost: x", "none");
        check("GET /users/7/posts/1 HTTP/1.1\nHost: x", "none");
        check("GET /files/a/b/c HTTP/1.1\nHost: x", "files");
        check("GET /files/ HTTP/1.1\nHost: x", "files");
        check("GET /files HTTP/1.1\nHost: x", "none");
    }

    #[test]
    fn methods_are_refused_only_when_no_route_serves_them() {
        check("DELETE /api/x HTTP/1.1\nHost: x", "GET,HEAD,POST");
        check("HEAD /api/x HTTP/1.1\nHost: x", "api-read");
        check("PUT /users/7/posts HTTP/1.1\nHost: x", "GET,HEAD");
    }

    #[test]
    fn the_canonical_path_is_matched() {
        check("GET /ap%69/%65xact HTTP/1.1\nHost: x", "exact");
        check("GET /api/a/../exact HTTP/1.1\nHost: x", "exact");
    }
}
