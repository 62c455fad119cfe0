//! Regular expressions of locations as paths of this door, where they say no more than those.
//!
//! `^/api/(.*)$` is a prefix, `^/(a|b)/` two of them, `^/health$` an exact path,
//! `^/users/[^/]+$` a template. Everything else has no counterpart.
//! Invariant: a pattern that comes out matches what the expression matches.

use super::path::{Pattern, encoded};

/// Paths one expression may stand for, at most.
const PATHS_MAX: usize = 64;

/// The paths an expression stands for; `None` when it says more than paths of this door can.
pub(super) fn express(text: &str) -> Option<Vec<Pattern>> {
    let mut bases = vec![String::new()];
    let mut rest = text.strip_prefix('^')?;
    let mut parameters = 0;
    loop {
        if let Some(tail) = tail(rest) {
            return finish(bases, tail, parameters);
        }
        rest = item(rest, &mut bases, &mut parameters)?;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Anything may follow, as behind nginx's own prefixes.
    Anything,
    /// Anything below, or nothing.
    Segments,
    Nothing,
    SlashOrNothing,
}

fn tail(rest: &str) -> Option<Tail> {
    Some(match rest {
        "" | ".*" | "(.*)" | ".*$" | "(.*)$" | "(?:.*)$" => Tail::Anything,
        "(/|$)" | "(?:/|$)" | "($|/)" | "(/.*)?$" | "(?:/.*)?$" | "(/.*|$)" => Tail::Segments,
        "$" => Tail::Nothing,
        "/?$" => Tail::SlashOrNothing,
        _ => return None,
    })
}

/// Reads one literal, group or parameter, and gives what follows it.
fn item<'r>(rest: &'r str, bases: &mut Vec<String>, parameters: &mut usize) -> Option<&'r str> {
    for any_segment in ["([^/]+)", "[^/]+", "([^/]*)", "(?:[^/]+)"] {
        if let Some(after) = rest.strip_prefix(any_segment) {
            let is_whole = bases.iter().all(|base| base.ends_with('/'))
                && (after.is_empty() || after.starts_with(['/', '$']));
            if !is_whole || any_segment.contains('*') {
                return None;
            }
            *parameters += 1;
            let parameter = format!("\u{0}p{parameters}\u{1}");
            bases.iter_mut().for_each(|base| base.push_str(&parameter));
            return Some(after);
        }
    }
    if rest.starts_with('(') {
        return group(rest, bases);
    }
    let mut characters = rest.chars();
    let literal = match characters.next() {
        Some('\\') => characters.next().filter(|c| !c.is_ascii_alphanumeric()),
        Some(c) if !"^$.|?*+()[]{}".contains(c) => Some(c),
        _ => None,
    };
    let after = characters.as_str();
    if after.starts_with(['?', '*', '+', '{']) && !(literal == Some('/') && after == "?$") {
        return None;
    }
    let literal = literal?;
    bases.iter_mut().for_each(|base| base.push(literal));
    Some(after)
}

/// A group of alternatives that are literals, such as `(a|b)`.
fn group<'r>(rest: &'r str, bases: &mut Vec<String>) -> Option<&'r str> {
    let (inside, after) = rest.strip_prefix('(')?.split_once(')')?;
    let inside = inside.strip_prefix("?:").unwrap_or(inside);
    if after.starts_with(['?', '*', '+', '{']) {
        return None;
    }
    let mut literals = Vec::new();
    for alternative in inside.split('|') {
        let mut literal = String::new();
        let mut characters = alternative.chars();
        while let Some(character) = characters.next() {
            literal.push(match character {
                '\\' => characters.next().filter(|c| !c.is_ascii_alphanumeric())?,
                c if "^$.?*+([]{}".contains(c) => return None,
                c => c,
            });
        }
        literals.push(literal);
    }
    if bases.len() * literals.len() > PATHS_MAX {
        return None;
    }
    let joined =
        bases.iter().flat_map(|base| literals.iter().map(move |end| format!("{base}{end}")));
    *bases = joined.collect();
    Some(after)
}

fn finish(bases: Vec<String>, tail: Tail, parameters: usize) -> Option<Vec<Pattern>> {
    let mut patterns = Vec::new();
    for base in bases {
        if parameters > 0 {
            patterns.push(Pattern::Template(template(&base, tail)?));
            continue;
        }
        // What may come escaped as well is no plain path.
        let path = encoded(&base).filter(|path| path.bytes().all(is_plain))?;
        match tail {
            Tail::Nothing => patterns.push(Pattern::Exact(path)),
            Tail::SlashOrNothing => {
                patterns.push(Pattern::Exact(format!("{path}/")));
                patterns.push(Pattern::Exact(path));
            }
            Tail::Segments => patterns.push(Pattern::Segments(path)),
            Tail::Anything if path.ends_with('/') => patterns.push(Pattern::Below(path)),
            Tail::Anything => patterns.push(Pattern::Start(path)),
        }
    }
    Some(patterns)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte)
}

/// A template from a base whose parameters stand between marks; its paths end with a segment.
fn template(base: &str, tail: Tail) -> Option<String> {
    let marked: Vec<String> = base
        .split('/')
        .map(|segment| match segment.strip_prefix('\u{0}').and_then(|s| s.strip_suffix('\u{1}')) {
            Some(name) => Some(format!("{{{name}}}")),
            None => segment.bytes().all(is_plain).then(|| segment.to_owned()),
        })
        .collect::<Option<_>>()?;
    let path = marked.join("/");
    (tail == Tail::Nothing && !path.ends_with('/')).then_some(path)
}

/// Whether an expression can take exponential time: a repeated group that holds nothing but a
/// repetition, such as `(a+)+`, leaves the engine every way to split the text.
pub(super) fn is_catastrophic(text: &str) -> bool {
    let bytes = text.as_bytes();
    // The starts of the groups that are open.
    let mut open: Vec<usize> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => at = class_end(bytes, at),
            b'(' => open.push(at + 1),
            b')' => {
                let start = open.pop().unwrap_or(at);
                if is_repetition(bytes.get(at + 1..).unwrap_or_default())
                    && bytes.get(start..at).is_some_and(is_only_repetition)
                {
                    return true;
                }
            }
            _ => {}
        }
        at += 1;
    }
    false
}

fn is_repetition(rest: &[u8]) -> bool {
    match rest {
        [b'*' | b'+', ..] => true,
        [b'{', rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == b'}').unwrap_or(0);
            rest.get(..end).is_some_and(|range| range.ends_with(b","))
        }
        _ => false,
    }
}

/// The place of the `]` that ends the class that starts at `at`.
fn class_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    if bytes.get(end) == Some(&b'^') {
        end += 1;
    }
    // A `]` that comes first stands for itself.
    end += 1;
    while bytes.get(end).is_some_and(|byte| *byte != b']') {
        end += if bytes.get(end) == Some(&b'\\') { 2 } else { 1 };
    }
    end
}

/// Whether a group's text has an unbounded atom and no other that must match: `[a-z]+`, `.*`,
/// `\w+\s?`. Alternatives are judged one by one.
fn is_only_repetition(group: &[u8]) -> bool {
    let group = group.strip_prefix(b"?:").unwrap_or(group);
    let (mut unbounded, mut needed) = (0, 0);
    let mut at = 0;
    while let Some(byte) = group.get(at) {
        if *byte == b'|' {
            if unbounded > 0 && needed == 0 {
                return true;
            }
            (unbounded, needed) = (0, 0);
            at += 1;
            continue;
        }
        let end = match byte {
            b'\\' => at + 2,
            b'[' => class_end(group, at) + 1,
            b'(' => group_end(group, at) + 1,
            b'^' | b'$' => at + 1,
            _ => at + 1,
        };
        let inner = byte == &b'(' && group.get(at + 1..end - 1).is_some_and(is_only_repetition);
        let rest = group.get(end..).unwrap_or_default();
        if is_repetition(rest) || (inner && !rest.starts_with(b"?")) {
            unbounded += 1;
        } else if !rest.starts_with(b"?") && !matches!(byte, b'^' | b'$') {
            needed += 1;
        }
        at = end + usize::from(rest.first().is_some_and(|byte| b"*+?".contains(byte)));
        if rest.first() == Some(&b'{') {
            at = end + rest.iter().position(|byte| *byte == b'}').map_or(1, |close| close + 1);
        }
    }
    unbounded > 0 && needed == 0
}

fn group_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut end = at;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'\\' => end += 1,
            b'[' => end = class_end(bytes, end),
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return end;
                }
            }
            _ => {}
        }
        end += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let actual = match express(text) {
            Some(patterns) => patterns
                .iter()
                .map(|pattern| match pattern {
                    Pattern::Exact(path) => format!("={path}"),
                    Pattern::Below(path) => format!("below {path}"),
                    Pattern::Start(path) => format!("start {path}"),
                    Pattern::Segments(path) => format!("prefix {path}"),
                    Pattern::Template(path) => format!("template {path}"),
                    Pattern::Regex(text) => format!("regex {text}"),
                })
                .collect::<Vec<_>>()
                .join(" "),
            None => "no".to_owned(),
        };
        assert_eq!(actual, expected, "{text}");
    }

    #[test]
    fn expressions_that_are_paths() {
        check("^/api/", "below /api/");
        check("^/api/(.*)$", "below /api/");
        check("^/api", "start /api");
        check("^/(a|b)/", "below /a/ below /b/");
        check(r"^/health\.txt$", "=/health.txt");
        check("^/a(/|$)", "prefix /a");
        check("^/a/?$", "=/a/ =/a");
        check("^/users/([^/]+)/posts$", "template /users/{p1}/posts");
    }

    #[test]
    fn expressions_that_are_more() {
        for text in [
            "^/users/[^/]+/(.*)$",
            "^/a/.+",
            r"\.php$",
            "^/a+",
            r"^/\d+",
            "^/[ab]",
            "^/(a|b",
            "^/(a.)",
            "^/a$b",
            "/api",
        ] {
            check(text, "no");
        }
    }

    #[test]
    fn nested_repetition_is_found() {
        for text in ["(a+)+", "^/(([a-z0-9]+)+)+$", "(.*)*", r"(\w+\s?)*", "(?:a|b+)+", "(a+){2,}"]
        {
            assert!(is_catastrophic(text), "{text}");
        }
        for text in
            ["(/[^/]+)+", "^/(.*)$", "(ab)+", r"(\.\w+)*", "[(a+)+]", "(a+)?", "(a|b)+", "(a+b)*"]
        {
            assert!(!is_catastrophic(text), "{text}");
        }
    }
}
