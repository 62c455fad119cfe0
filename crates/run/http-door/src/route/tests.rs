//! The tables find what looking at every route would find, and paths are rewritten to canonical ones.

use std::cmp::Reverse;

use http_wire::HeadLimits;
use model::configuration::{HeaderMatch, PathPart, TemplateSegment};
use proptest::prelude::*;

use super::*;

fn route(name: &str, hosts: &[&str], path: PathPattern, methods: &[&str]) -> Route {
    let host = |host: &&str| match host.strip_prefix('*') {
        Some(suffix) => HostPattern::Wildcard(suffix.into()),
        None => HostPattern::Exact((*host).into()),
    };
    Route {
        name: name.into(),
        priority: 0,
        listeners: Vec::new(),
        hosts: hosts.iter().map(host).collect(),
        path,
        methods: methods.iter().map(|method| (*method).into()).collect(),
        headers: Vec::new(),
        action: Action::Forward { pool: 0, rewrite: None },
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

/// The name of the route that `router` finds, or the methods it would serve.
fn found(router: &Router, request: &str) -> String {
    let head = format!("{}\r\n\r\n", request.replace('\n', "\r\n"));
    let mut parsed = RequestHead::default();
    parsed.parse(head.as_bytes(), &HeadLimits::default()).unwrap();
    match router.find(&parsed, head.as_bytes(), "web") {
        Match::Route(index) => router.routes()[index].name.to_string(),
        Match::WrongMethod => router.methods(&parsed, head.as_bytes(), "web").join(","),
        Match::None => "none".to_owned(),
    }
}

fn check(request: &str, expected: &str) {
    assert_eq!(found(&router(), request), expected, "{request}");
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

/// Finds these paths, by these patterns in the order in which `settings` would give them.
fn check_paths(patterns: &[PathPattern], expected: &[(&str, &str)]) {
    let name = |path: &PathPattern| match path {
        PathPattern::Exact(text) => format!("={text}"),
        PathPattern::Prefix(text) => text.to_string(),
        PathPattern::Start(text) => format!("{text}*"),
        PathPattern::Regex(text) => format!("~{text}"),
        PathPattern::Template(segments) => format!("{segments:?}"),
    };
    let routes: Vec<Route> =
        patterns.iter().map(|path| route(&name(path), &[], path.clone(), &[])).collect();
    let router = Router::new(&routes);
    for (path, expected) in expected {
        assert_eq!(found(&router, &format!("GET {path} HTTP/1.1\nHost: x")), *expected, "{path}");
    }
}

#[test]
fn starts_and_prefixes_are_found_by_length() {
    let prefix = |text: &str| PathPattern::Prefix(text.into());
    let start = |text: &str| PathPattern::Start(text.into());
    check_paths(
        &[
            start("/api/v1/b"),
            prefix("/api/v1"),
            start("/api/v1"),
            prefix("/api"),
            start("/ab"),
            start("/a"),
            prefix("/"),
            start("/"),
        ],
        &[
            ("/api/v1/bc", "/api/v1/b*"),
            ("/api/v1/c", "/api/v1"),
            ("/api/v10", "/api/v1*"),
            ("/api/v", "/api"),
            ("/apis", "/a*"),
            ("/abc/d", "/ab*"),
            ("/aa", "/a*"),
            ("/b", "/"),
            ("/", "/"),
        ],
    );
    check_paths(&[start("/img")], &[("/im", "none"), ("/img", "/img*"), ("/%69mg/a", "/img*")]);
}

#[test]
fn regular_expressions_are_tried_in_their_order_and_before_prefixes() {
    let regex = |text: &str| PathPattern::Regex(text.into());
    check_paths(
        &[
            PathPattern::Exact("/a.php".into()),
            regex(r"\.php$"),
            regex(r"(?i)^/A"),
            regex(r"^/\d+/"),
            PathPattern::Prefix("/a".into()),
        ],
        &[
            ("/a.php", "=/a.php"),
            ("/a/b.php", r"~\.php$"),
            ("/a", "~(?i)^/A"),
            ("/x/a", "none"),
            ("/12/a", r"~^/\d+/"),
            ("/%d9%a1/a", "none"),
            ("/x.php?y", r"~\.php$"),
            ("/x?y.php", "none"),
        ],
    );
}

#[test]
fn a_higher_priority_comes_before_any_host_and_path() {
    let with = |name: &str, hosts: &[&str], priority: u16, methods: &[&str]| {
        let path = PathPattern::Prefix("/".into());
        Route { priority, ..route(name, hosts, path, methods) }
    };
    let router = Router::new(&[
        with("posts", &[], 10, &["POST"]),
        with("shop", &["shop.example.com"], 0, &["GET"]),
        with("all", &[], 0, &["PUT"]),
    ]);
    for (request, expected) in [
        ("POST / HTTP/1.1\nHost: shop.example.com", "posts"),
        ("GET / HTTP/1.1\nHost: shop.example.com", "shop"),
        ("PUT / HTTP/1.1\nHost: shop.example.com", "all"),
        ("DELETE / HTTP/1.1\nHost: shop.example.com", "GET,HEAD,POST,PUT"),
    ] {
        assert_eq!(found(&router, request), expected, "{request}");
    }
}

/// What the server is asked for instead of `path`.
fn rewritten(pattern: PathPattern, rewrite: Rewrite, path: &str) -> Result<String, Reason> {
    let action = Action::Forward { pool: 0, rewrite: Some(rewrite) };
    let router = Router::new(&[Route { action, ..route("a", &[], pattern, &[]) }]);
    let (mut raw, mut out) = (b"left over".to_vec(), "left over".to_owned());
    router.rewrite((0, path), &mut raw, &mut out).map(|()| out)
}

#[test]
fn beginnings_are_replaced() {
    let refused = Err(Reason::BadTarget);
    let ok = |path: &str| Ok(path.to_owned());
    let prefix = PathPattern::Prefix("/api".into());
    let start = PathPattern::Start("/img".into());
    for (pattern, replacement, path, expected) in [
        (&prefix, "/v2", "/api", ok("/v2")),
        (&prefix, "/v2", "/api/a", ok("/v2/a")),
        (&prefix, "/", "/api", ok("/")),
        (&prefix, "/", "/api/a", ok("/a")),
        (&prefix, "/v2/", "/api/a%2Fb", ok("/v2/a%2Fb")),
        (&prefix, "/v2", "/api//a", ok("/v2//a")),
        (&start, "/", "/img", ok("/")),
        (&start, "/", "/imgx", ok("/x")),
        (&start, "/", "/img/x", ok("/x")),
        (&start, "/v2", "/img1/x", ok("/v21/x")),
        // Dot segments that come about go the way of all others.
        (&start, "/a/", "/img./x", ok("/a/x")),
        (&start, "/a/b/", "/img../x", ok("/a/x")),
        (&start, "/a.", "/img./x", ok("/a../x")),
        (&start, "/", "/img../x", refused.clone()),
        (&start, "/a/", "/img..;x/y", refused.clone()),
        (&start, "/a/", "/img..%2Fy", refused.clone()),
        (&start, "/%2e", "/img./x", refused),
    ] {
        let found = rewritten(pattern.clone(), Rewrite::Prefix(replacement.into()), path);
        assert_eq!(found, expected, "{pattern:?} {replacement} {path}");
    }
}

#[test]
fn whole_paths_are_replaced() {
    let text = |text: &str| PathPart::Text(text.into());
    let check = |regex: &str, parts: &[PathPart], path: &str, expected: Result<&str, Reason>| {
        let rewrite = Rewrite::Path(parts.to_vec());
        let found = rewritten(PathPattern::Regex(regex.into()), rewrite, path);
        assert_eq!(found, expected.map(str::to_owned), "{regex} {parts:?} {path}");
    };
    let second = [text("/v2/"), PathPart::Group(2), text("-"), PathPart::Group(1)];
    check("^/api/([a-z]+)/(.*)", &second, "/api/a/b/c", Ok("/v2/b/c-a"));
    // Whatever the pattern leaves out is replaced too.
    check("([0-9]+)", &[text("/n/"), PathPart::Group(1)], "/a/12/b", Ok("/n/12"));
    check("[0-9]+", &[text("/n/"), PathPart::Group(0)], "/a/12/b", Ok("/n/12"));
    check("^/(a)?(b)?", &[text("/"), PathPart::Group(1), PathPart::Group(2)], "/b", Ok("/b"));
    check("^/a/(.*)", &[PathPart::Group(1)], "/a/b", Ok("/b"));
    check("^/a/(.*)", &[PathPart::Group(1)], "/a/", Ok("/"));
    check("^/a/(.*)", &[text("/"), PathPart::Group(1)], "/a//b", Ok("//b"));
    check("^/a/(.*)", &[text("/x/y/"), PathPart::Group(1)], "/a/%2F", Ok("/x/y/%2F"));
    let dots = [text("/a/"), PathPart::Group(1), text("/b")];
    check("^/(.*)x", &dots, "/.x", Ok("/a/b"));
    check("^/(.*)x", &dots, "/..x", Ok("/b"));
    check("^/(.*)x", &[text("/"), PathPart::Group(1)], "/..x", Err(Reason::BadTarget));
    check("^/(.*)x", &[text("/"), PathPart::Group(1)], "/..;x", Err(Reason::BadTarget));
    // Half of an escape.
    check("^/(%.)", &[text("/"), PathPart::Group(1)], "/%2Fa", Err(Reason::BadTarget));
    let many = vec![PathPart::Group(0); 1_000];
    check("^/.*", &many, &format!("/{}", "a".repeat(99)), Err(Reason::TargetTooLong));
}

/// Whether a path is meant.
type Meaning = fn(&str) -> bool;

/// Regular expressions, and what they mean for paths of `a`, `b` and single slashes.
const EXPRESSIONS: [(&str, Meaning); 6] = [
    ("b$", |path| path.ends_with('b')),
    ("^/a", |path| path.starts_with("/a")),
    ("^/[a-b]+/", |path| path.rfind('/') > Some(0)),
    ("aa", |path| path.contains("aa")),
    ("/(?:b|aa)$", |path| path.ends_with("/b") || path.ends_with("/aa")),
    (".", |_| true),
];

/// Whether the route serves the request, by the words of its definition.
fn serves(route: &Route, (host, path, method): (&str, &str, &str)) -> bool {
    let host_matches = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => **name == *host,
        HostPattern::Wildcard(suffix) => host
            .strip_suffix(&**suffix)
            .is_some_and(|label| !label.is_empty() && !label.contains('.')),
    };
    let path_matches = match &route.path {
        PathPattern::Exact(text) => **text == *path,
        PathPattern::Prefix(text) => {
            let below = format!("{}/", text.trim_end_matches('/'));
            **text == *path || path.starts_with(&below)
        }
        PathPattern::Start(text) => path.starts_with(&**text),
        PathPattern::Regex(text) => {
            let (_, means) = EXPRESSIONS.iter().find(|(known, _)| *known == &**text).unwrap();
            means(path)
        }
        PathPattern::Template(segments) => {
            let given: Vec<&str> = path.split('/').skip(1).collect();
            let fits = |(segment, given): (&TemplateSegment, &&str)| match segment {
                TemplateSegment::Literal(text) => **text == **given,
                TemplateSegment::Parameter(_) => !given.is_empty(),
                TemplateSegment::Rest(_) => true,
            };
            let rest = matches!(segments.last(), Some(TemplateSegment::Rest(_)));
            segments.iter().zip(&given).all(fits)
                && (segments.len() == given.len() || rest && segments.len() < given.len())
        }
    };
    (route.hosts.is_empty() || route.hosts.iter().any(host_matches))
        && path_matches
        && (route.methods.is_empty() || route.methods.iter().any(|name| **name == *method))
}

/// The place of a route among all, as `settings` orders them.
fn rank(route: &Route) -> impl Ord + use<> {
    let host = match route.hosts.first() {
        Some(HostPattern::Exact(_)) => 0,
        Some(HostPattern::Wildcard(_)) => 1,
        None => 2,
    };
    let path = match &route.path {
        PathPattern::Exact(_) => (0, 0, false),
        PathPattern::Template(_) => (1, 0, false),
        PathPattern::Regex(_) => (2, 0, false),
        PathPattern::Prefix(text) => (3, text.len(), false),
        PathPattern::Start(text) => (3, text.len(), true),
    };
    (Reverse(route.priority), host, path.0, Reverse(path.1), path.2)
}

fn a_path() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "(/[ab]{1,2}){1,3}", "(/[ab]{1,2}){1,3}/"]
}

fn a_pattern() -> impl Strategy<Value = PathPattern> {
    let segment = prop_oneof![
        "[ab]{1,2}".prop_map(|text| TemplateSegment::Literal(text.into())),
        Just(TemplateSegment::Parameter("p".into())),
    ];
    let template = (prop::collection::vec(segment, 1..3), any::<bool>());
    let regexes = prop::sample::select(EXPRESSIONS.map(|(text, _)| text).to_vec());
    prop_oneof![
        a_path().prop_map(|path| PathPattern::Exact(path.into())),
        prop_oneof![Just("/".to_owned()), "(/[ab]{1,2}){1,3}"]
            .prop_map(|path| PathPattern::Prefix(path.into())),
        "(/[ab]{1,2}){0,2}/[ab]?".prop_map(|text| PathPattern::Start(text.into())),
        template.prop_map(|(mut segments, rest)| {
            segments.extend(rest.then(|| TemplateSegment::Rest("rest".into())));
            PathPattern::Template(segments)
        }),
        regexes.prop_map(|text| PathPattern::Regex(text.into())),
    ]
}

fn a_route() -> impl Strategy<Value = Route> {
    let hosts: [&'static [&'static str]; 5] =
        [&[], &["a.x"], &["a.x", "b.y"], &["*.x"], &["*.y", "*.x"]];
    let methods: [&'static [&'static str]; 2] = [&[], &["POST"]];
    let (hosts, methods) =
        (prop::sample::select(hosts.to_vec()), prop::sample::select(methods.to_vec()));
    let priority = prop_oneof![3 => Just(0), 1 => 0_u16..3];
    (a_pattern(), hosts, methods, priority).prop_map(|(path, hosts, methods, priority)| Route {
        priority,
        ..route("", hosts, path, methods)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_tables_find_what_looking_at_every_route_finds(
        mut routes in prop::collection::vec(a_route(), 0..24),
        requests in prop::collection::vec(
            (prop::sample::select(vec!["a.x", "c.x", "b.y", "x", "z"]), a_path(), any::<bool>()),
            1..16,
        ),
    ) {
        routes.sort_by_cached_key(rank);
        for (index, route) in routes.iter_mut().enumerate() {
            route.name = index.to_string().into();
        }
        let router = Router::new(&routes);
        for (host, path, posts) in &requests {
            let method = if *posts { "POST" } else { "GET" };
            let first = routes.iter().find(|route| serves(route, (*host, path.as_str(), method)));
            let found = found(&router, &format!("{method} {path} HTTP/1.1\nHost: {host}"));
            // Without a route that serves it come the methods of those that serve the path.
            let others = routes.iter().any(|route| serves(route, (*host, path.as_str(), "POST")));
            let expected = first.map_or(if others { "POST" } else { "none" }, |route| &*route.name);
            prop_assert_eq!(found, expected, "{} {}", host, path);
        }
    }

    #[test]
    fn rewritten_paths_are_canonical(
        rest in "([a./;]|%2[Ee5F]){0,6}",
        replacement in "/([a./;]|%2[Ee5F]){0,4}",
        whole in any::<bool>(),
    ) {
        let mut path = String::new();
        prop_assume!(canonical_path(format!("/x{rest}").as_bytes(), &mut path).is_ok());
        prop_assume!(path.starts_with("/x"));
        let found = if whole {
            let parts = vec![PathPart::Text(replacement.as_str().into()), PathPart::Group(1)];
            rewritten(PathPattern::Regex("^/x(.*)".into()), Rewrite::Path(parts), &path)
        } else {
            let replacement = Rewrite::Prefix(replacement.as_str().into());
            rewritten(PathPattern::Start("/x".into()), replacement, &path)
        };
        if let Ok(found) = found {
            prop_assert!(found.starts_with('/'));
            prop_assert!(!found.split('/').any(|segment| matches!(segment, "." | "..")), "{}", found);
            let mut again = String::new();
            prop_assert_eq!(canonical_path(found.as_bytes(), &mut again), Ok(()));
            prop_assert_eq!(again, found);
        }
    }
}
