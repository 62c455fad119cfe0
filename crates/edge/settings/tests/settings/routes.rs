//! The order of routes, and those that no request reaches.

use crate::{check, lines};

/// Reads routes of one line each, `NAME: BODY`, in this order.
fn text(routes: &[&str]) -> String {
    let mut text = "[listen.a]\naddress = \"127.0.0.1:1\"\n".to_owned();
    for route in routes {
        let (name, body) = route.split_once(": ").expect("a name");
        text.push_str(&format!("[routes.{name}]\n{}\nrespond = {{}}\n", body.replace("; ", "\n")));
    }
    text
}

/// Expects these names first to last.
fn ordered(routes: &[&str], expected: &str) {
    let checked = check(&text(routes));
    let Some(configuration) = &checked.configuration else { panic!("{:#?}", lines(&checked)) };
    let names: Vec<&str> = configuration.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names.join(" "), expected);
}

/// Expects these rules and messages.
fn hidden(routes: &[&str], expected: &[&str]) {
    let checked = check(&text(routes));
    let found: Vec<String> = checked
        .findings
        .iter()
        .map(|finding| format!("{}: {}", finding.rule, finding.message))
        .collect();
    assert_eq!(found, expected, "{routes:?}");
}

#[test]
fn most_specific_first() {
    ordered(
        &[
            "any: path = '/'",
            "any_long: path = '/very/long/path'",
            "wildcard: host = '*.example.com'",
            "exact: host = 'www.example.com'",
        ],
        "exact wildcard any_long any",
    );
    ordered(
        &[
            "prefix: path = '/a'",
            "longer: path = '/a/b'",
            "rest: path = '/a/{*rest}'; methods = ['GET']",
            "one: path = '/a/{x}'; methods = ['GET']",
            "two: path = '/a/{x}/b'",
            "exact: path = { exact = '/a/b' }",
        ],
        "exact two one rest longer prefix",
    );
    ordered(
        &[
            "plain: path = '/a'",
            "method: path = '/a'; methods = ['GET']",
            "header: path = '/a'; headers = { a = '1' }",
            "headers: path = '/a'; headers = { a = '1', b = '2' }",
            "header_too: path = '/a'; headers = { c = '1' }",
        ],
        "headers header header_too method plain",
    );
}

#[test]
fn starts_stand_among_prefixes_and_regular_expressions_before_them() {
    ordered(
        &[
            "start: path = '/api*'",
            "root: path = '/'",
            "prefix: path = '/api'",
            "longer: path = '/api/v*'",
            "second: path_regex = 'b$'; headers = { a = '1' }",
            "first: path_regex = '^/a'; methods = ['GET']",
            "template: path = '/{x}'",
        ],
        "template second first longer prefix start root",
    );
}

#[test]
fn priority_comes_before_hosts_and_paths() {
    ordered(
        &[
            "exact: host = 'www.example.com'; path = { exact = '/' }",
            "low: path = '/b'; priority = 1",
            "high: path_regex = '^/a'; priority = 1000",
            "zero: path = '/c'; priority = 0",
        ],
        "high low exact zero",
    );
}

#[test]
fn a_route_with_both_kinds_of_host_stands_twice() {
    // One place for `a` would be wrong either for `x.a.com` or for `x.b.com`.
    ordered(&["a: host = ['x.a.com', '*.b.com']", "b: host = ['*.a.com', 'x.b.com']"], "a b a b");
}

#[test]
fn the_length_of_a_wildcard_never_outranks_a_path() {
    ordered(
        &["a: host = ['*.long.example.com', '*.x']", "b: host = '*.x'; path = '/deeper'"],
        "b a",
    );
}

#[test]
fn duplicates() {
    hidden(
        &["a: path = '/a'", "b: path = '/a'"],
        &["duplicate-route: route `b` matches the same requests as `a`"],
    );
    hidden(
        &["a: host = ['a.b', 'c.d']", "b: host = ['c.d', 'e.f']"],
        &["duplicate-route: host `c.d` of route `b` matches the same requests as `a`"],
    );
    hidden(
        &["a: host = '*.a.b'", "b: host = '*.A.b'"],
        &["duplicate-route: route `b` matches the same requests as `a`"],
    );
    hidden(
        &["a: path = '/{x}'", "b: path = '/{y}'"],
        &["unreachable-route: route `b` is never reached: `a` takes all its requests"],
    );
    hidden(&["a: host = 'a.b'", "b: host = 'c.d'", "c: path = '/'", "d: path = '/d'"], &[]);
}

#[test]
fn unreachable() {
    let unreachable = "unreachable-route: route `b` is never reached: `a` takes all its requests";
    hidden(&["b: path = '/api'", "a: path = '/api/{*rest}'"], &[]);
    hidden(&["b: path = '/api'", "a: path = '/{*rest}'"], &[unreachable]);
    hidden(&["b: path = '/'", "a: path = '/{*rest}'"], &[]);
    hidden(&["b: path = { exact = '/api' }", "a: path = '/{x}'"], &[]);
    hidden(&["a: path = '/a/{x}/{*r}'", "b: path = '/a/{x}/{*s}'; methods = ['GET']"], &[]);
    hidden(&["a: methods = ['GET', 'PUT']", "b: methods = ['GET']"], &[unreachable]);
    hidden(&["a: methods = ['GET']", "b: methods = ['GET', 'PUT']"], &[]);
    hidden(&["a: headers = { a = true }", "b: headers = { a = '1' }"], &[unreachable]);
    hidden(&["a: headers = { a = '1' }", "b: headers = { a = true }"], &[]);
}

#[test]
fn starts_and_regular_expressions_that_are_never_reached() {
    let unreachable = "unreachable-route: route `b` is never reached: `a` takes all its requests";
    hidden(&["b: path = '/*'", "a: path = '/'"], &[unreachable]);
    hidden(&["b: path = '/api/v*'", "a: path = '/{*rest}'"], &[unreachable]);
    hidden(&["b: path = '/api/v*'", "a: path = '/api/{x}'"], &[]);
    hidden(&["b: path = '/api/*'", "a: path = '/api'"], &[]);
    hidden(&["a: path = '/api*'", "b: path = '/api*'; methods = ['GET']"], &[]);
    hidden(&["a: path_regex = '^/a'", "b: path_regex = '^/a'; methods = ['GET']"], &[unreachable]);
    hidden(&["a: path_regex = '^/a'; methods = ['GET']", "b: path_regex = '^/a'"], &[]);
    hidden(&["a: path_regex = '^/'", "b: path_regex = '^/a'", "c: path = '/c'"], &[]);
    hidden(
        &["a: path_regex = '^/a'", "b: path_regex = '^/a'"],
        &["duplicate-route: route `b` matches the same requests as `a`"],
    );
}

#[test]
fn a_higher_priority_hides_narrower_routes() {
    let unreachable = "unreachable-route: route `b` is never reached: `a` takes all its requests";
    for (a, b, is_hidden) in [
        ("path = '/'", "host = 'www.a.b'; path = { exact = '/x' }", true),
        ("host = '*.a.b'", "host = 'www.a.b'", true),
        ("host = '*.a.b'", "host = ['www.a.b', 'b.c']", false),
        ("path = '/api'", "path = { exact = '/api' }", true),
        ("path = '/api'", "path = '/api/v2'", true),
        ("path = '/api'", "path = '/api/{x}'", true),
        ("path = '/api'", "path = '/api/v*'", true),
        ("path = '/api'", "path = '/api*'", false),
        ("path = '/api'", "path = '/apis'", false),
        ("path = '/api*'", "path = '/apis'", true),
        ("path = '/api*'", "path = { exact = '/api' }", true),
        ("path = '/api*'", "path = '/api/{*rest}'", true),
        ("path = '/api/*'", "path = '/api'", false),
        ("path = '/api/*'", "path = '/{x}'", false),
        ("path = '/*'", "path_regex = 'x'", true),
        ("path = '/a*'", "path_regex = '^/ab'", false),
        ("path_regex = '^/a'", "path_regex = '^/a'", true),
        ("path = '/'; methods = ['GET']", "path = '/a'", false),
    ] {
        let found: &[&str] = match (is_hidden, b.contains("b.c")) {
            (true, _) => &[unreachable],
            (false, true) => &["unreachable-route: host `www.a.b` of route `b` is never reached: \
                   `a` takes all its requests"],
            (false, false) => &[],
        };
        hidden(&[&format!("b: {b}"), &format!("a: {a}; priority = 1")], found);
    }
}

#[test]
fn routes_of_a_listener_come_before_those_of_all() {
    ordered(&["all: path = '/'", "one: path = '/'; listen = 'a'"], "one all");
    hidden(
        &["one: listen = 'a'", "other: listen = 'b'"],
        &["unknown-listener: there is no listener `b`"],
    );
    hidden(
        &["one: listen = 'a'", "same: listen = ['a']"],
        &["duplicate-route: route `same` matches the same requests as `one`"],
    );
}
