//! Regular expressions for paths, and what goes to servers in place of a path.

use std::fmt::Write as _;

use model::configuration::{Action, PathPart, PathPattern, Rewrite, Route};

use crate::{check, lines};

/// A route with these lines and a pool.
fn text(route: &str) -> String {
    format!(
        "[routes.a]\n{route}\npool = 'p'\n[listen.a]\naddress = '127.0.0.1:1'\n\
         [pools.p]\nservers = ['127.0.0.1:2', '127.0.0.1:3']\ncheck = 'tcp'\n"
    )
}

#[track_caller]
fn read(route: &str) -> Route {
    let checked = check(&text(route));
    let Some(mut configuration) = checked.configuration.clone() else {
        panic!("{route}\n{:#?}", lines(&checked));
    };
    configuration.routes.remove(0)
}

/// Expects these findings.
#[track_caller]
fn refused(route: &str, expected: &[&str]) {
    assert_eq!(lines(&check(&text(route))), expected, "{route}");
}

#[test]
fn patterns() {
    for (lines, expected) in [
        ("path = '/img*'", PathPattern::Start("/img".into())),
        ("path = '/img/*'", PathPattern::Start("/img/".into())),
        ("path = '/.*'", PathPattern::Start("/.".into())),
        ("path = '/*'", PathPattern::Start("/".into())),
        ("path = { exact = '/a*' }", PathPattern::Exact("/a*".into())),
        ("path_regex = '(?i)[.]PHP$'", PathPattern::Regex("(?i)[.]PHP$".into())),
        ("path_regex = '^a?/|^b'", PathPattern::Regex("^a?/|^b".into())),
        ("path_regex = '^(?<first>/\\d+)\\b'", PathPattern::Regex("^(?<first>/\\d+)\\b".into())),
        ("", PathPattern::Prefix("/".into())),
    ] {
        assert_eq!(read(lines).path, expected, "{lines}");
    }
    assert_eq!(read("priority = 1000").priority, 1_000);
    assert_eq!(read("").priority, 0);
}

#[test]
fn rewrites() {
    let text = |text: &str| PathPart::Text(text.into());
    let rewrite = |lines: &str| {
        let Action::Forward { rewrite, .. } = read(lines).action else { panic!("{lines}") };
        rewrite
    };
    assert_eq!(rewrite(""), None);
    let prefix = Some(Rewrite::Prefix("/v2".into()));
    assert_eq!(rewrite("path = '/img*'\nreplace_prefix = '/v2'"), prefix);
    for (replacement, expected) in [
        ("/v2/$1", vec![text("/v2/"), PathPart::Group(1)]),
        ("$1$0", vec![PathPart::Group(1), PathPart::Group(0)]),
        ("/$12", vec![text("/"), PathPart::Group(1), text("2")]),
        ("/${12}", vec![text("/"), PathPart::Group(12)]),
        ("/${name}x", vec![text("/"), PathPart::Group(2), text("x")]),
        ("/$$1%20", vec![text("/"), text("$"), text("1%20")]),
        ("x", vec![text("x")]),
        ("", vec![]),
    ] {
        let regex = format!("^/(.*)/(?<name>.){}", "()".repeat(10));
        let found = rewrite(&format!("path_regex = '{regex}'\nreplace_path = '{replacement}'"));
        assert_eq!(found, Some(Rewrite::Path(expected)), "{replacement}");
    }
}

#[test]
fn wrong_expressions() {
    for (regex, problem) in [
        (
            "(a",
            "(unclosed group) help: the syntax is that of the `regex` crate, without Unicode classes",
        ),
        (
            "a(?=b)",
            "(look-around, including look-ahead and look-behind, is not supported) help: the \
             syntax is that of the `regex` crate, without Unicode classes",
        ),
        (
            "\\p{L}",
            "(Unicode not allowed here) help: the syntax is that of the `regex` crate, without \
             Unicode classes",
        ),
        (
            "/ä",
            "(no path matches it) help: percent-encode what is not ASCII, as requests do (`ä` is `%C3%A4`)",
        ),
        ("^api/", "(no path matches it) help: every path begins with `/`: write `^/`"),
        (
            "[a-z]{1,999}{1,999}",
            "(it needs more than 256 KiB of memory) help: repeat less: `+` for `{1,500}`",
        ),
    ] {
        let message = format!(
            "error[invalid-regex] 2:14 `{regex}` is not a regular expression for paths {problem}"
        );
        refused(&format!("path_regex = '{regex}'"), &[&message]);
    }
    let long = check(&text(&format!("path_regex = '^/{}'", "a".repeat(999))));
    let found = &long.findings[0];
    assert_eq!((found.rule, &*found.label), ("invalid-regex", "more than 1000 bytes"));
}

#[test]
fn wrong_rewrites() {
    let regex = "path_regex = '^/(a)'";
    for (lines, finding) in [
        (
            "path = '/a'\npath_regex = 'a'",
            "error[conflicting-keys] 3:1 `path_regex` stands in place of `path` (not valid here) \
             help: remove one of the two",
        ),
        (
            &*format!("{regex}\nreplace_prefix = '/b'"),
            "error[conflicting-keys] 3:18 `replace_prefix` needs a `pool` and a `path` that is a \
             prefix (not valid here) help: remove it, or use `replace_path`",
        ),
        (
            "path = '/a*'\nreplace_path = '/b'",
            "error[conflicting-keys] 3:16 `replace_path` needs a `pool` and a `path_regex` (not \
             valid here) help: remove it, or use `replace_prefix`",
        ),
        (
            &*format!("{regex}\nreplace_path = '/$2'"),
            "error[unknown-group] 3:16 `path_regex` has no group `2` (no such group) help: its \
             only group is `$1`",
        ),
        (
            "path_regex = '^/a'\nreplace_path = '/${b}'",
            "error[unknown-group] 3:16 `path_regex` has no group `b` (no such group) help: put \
             the part that is meant in parentheses",
        ),
        (
            &*format!("{regex}\nreplace_path = '/$b'"),
            "error[invalid-replacement] 3:16 `/$b` is not a path to go in place of another (not \
             valid here) help: `$1` and `${name}` stand for groups, `$$` for a dollar",
        ),
        (
            &*format!("{regex}\nreplace_path = '/b?c=$1'"),
            "error[invalid-path] 3:16 `/b?c=$1` is not a path (not valid here) help: leave out \
             the query: that of the request stays",
        ),
        (
            &*format!("{regex}\nreplace_path = '/$1/../b'"),
            "error[invalid-path] 3:16 `/$1/../b` is not a path (not valid here) help: leave out \
             `.` and `..`: requests never match them",
        ),
        (
            "priority = 1001",
            "error[out-of-range] 2:12 `priority` must be from 0 to 1000 (out of range)",
        ),
    ] {
        refused(lines, &[finding]);
    }
}

#[test]
fn all_expressions_together_are_bounded() {
    let many = |count: usize, regex: &str| {
        let mut text = "[listen.a]\naddress = '127.0.0.1:1'\n".to_owned();
        for number in 0..count {
            writeln!(text, "[routes.r{number}]\npath_regex = '^/{number}{regex}'\nrespond = {{}}")
                .unwrap();
        }
        let checked = check(&text);
        checked.findings.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(many(1_000, "/"), [""; 0]);
    assert_eq!(many(1_001, "/"), ["more than 1000 regular expressions"]);
    // More than 100 KiB each.
    let together = "the regular expressions of all routes need more than 16 MiB";
    assert_eq!(many(200, "/[a-f]{3000}"), [together]);
}
