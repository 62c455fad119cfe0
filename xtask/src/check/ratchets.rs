//! Sizes that may only fall: lines per file, lines per function, and the opening of each file.
//!
//! `xtask/ratchets.txt` may list an exception with the size it has today. A size above its
//! exception fails, and so does an exception that is larger than the size: the ratchet turns
//! one way, and a file that was repaired leaves the list.

use std::collections::BTreeMap;

use anyhow::Context;
use syn::visit::{self, Visit};

use super::Finding;
use super::sources::{self, Source};
use crate::shell;

/// Lines of a file, those of its tests not counted.
const FILE_LINES_MAX: usize = 500;

/// Lines of a function that hold code: not those that are blank or only a comment.
const FUNCTION_LINES_MAX: usize = 70;

const RATCHET_FILE: &str = "xtask/ratchets.txt";

/// A measured size: `lines PATH` or `function PATH::NAME`.
type Sizes = BTreeMap<String, usize>;

/// Reads every source, measures, compares with the limits and the exceptions.
pub(super) fn check() -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut sizes = Sizes::new();
    for source in sources::read_all()? {
        match measure(&source) {
            Ok(found) => sizes.extend(found),
            Err(error) => findings.push(Finding::new(
                &source.path,
                format!("does not parse: {error}"),
                "repair the syntax",
            )),
        }
        if !source.text.starts_with("//!") {
            findings.push(Finding::new(
                &source.path,
                "does not open with `//!`",
                "say what the file decides or does, why so, and its invariant",
            ));
        }
    }
    let list = std::fs::read_to_string(shell::root().join(RATCHET_FILE)).unwrap_or_default();
    findings.extend(compare(&sizes, &exceptions(&list)?));
    Ok(findings)
}

/// Reads the exceptions: `lines PATH SIZE` or `function PATH::NAME SIZE`, `#` begins a comment.
fn exceptions(list: &str) -> anyhow::Result<Sizes> {
    let mut sizes = Sizes::new();
    for line in list.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, size) = line.rsplit_once(' ').with_context(|| format!("no size in: {line}"))?;
        let size = size.parse().with_context(|| format!("no number at the end of: {line}"))?;
        sizes.insert(key.trim().to_owned(), size);
    }
    Ok(sizes)
}

/// What one file weighs.
fn measure(source: &Source) -> syn::Result<Sizes> {
    let file = syn::parse_file(&source.text)?;
    let mut sizes = Sizes::new();
    let path = &source.path;
    if !is_test_file(path) {
        sizes.insert(format!("lines {path}"), lines_without_tests(source, &file));
    }
    let mut functions = Functions { source, sizes: &mut sizes };
    functions.visit_file(&file);
    Ok(sizes)
}

/// A file that is nothing but tests.
fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn lines_without_tests(source: &Source, file: &syn::File) -> usize {
    let tests: usize = file
        .items
        .iter()
        .filter(|item| sources::is_test_only(attributes(item)))
        .map(|item| {
            let (first, last) = sources::lines(item);
            last - first + 1
        })
        .sum();
    source.text.lines().count() - tests
}

/// The attributes of the items that can be for tests only.
#[expect(clippy::wildcard_enum_match_arm, reason = "syn's items are not all ours to know")]
fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        _ => &[],
    }
}

/// Collects the size of each function.
struct Functions<'a> {
    source: &'a Source,
    sizes: &'a mut Sizes,
}

impl Functions<'_> {
    fn record(&mut self, name: &syn::Ident, (first, last): (usize, usize)) {
        let is_code = |line: &&str| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with("//")
        };
        let lines = self.source.text.lines().skip(first - 1).take(last - first + 1);
        let size = lines.filter(is_code).count();
        let key = format!("function {}::{name}", self.source.path);
        // Functions of one name in one file share an entry: the largest counts.
        let known = self.sizes.entry(key).or_default();
        *known = size.max(*known);
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.record(&function.sig.ident, body(&function.block));
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.record(&function.sig.ident, body(&function.block));
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.record(&function.sig.ident, body(block));
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// The lines between a function's braces.
fn body(block: &syn::Block) -> (usize, usize) {
    let (open, close) = sources::lines(block);
    // A body of one line counts as that line.
    if close - open < 2 { (open, open) } else { (open + 1, close - 1) }
}

/// Every size over its limit or exception, and every exception that is no longer needed.
fn compare(sizes: &Sizes, exceptions: &Sizes) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, &size) in sizes {
        let (kind, place) = key.split_once(' ').unwrap_or(("lines", key));
        let limit = if kind == "function" { FUNCTION_LINES_MAX } else { FILE_LINES_MAX };
        let allowed = exceptions.get(key).copied();
        if size <= limit && allowed.is_none() {
            continue;
        }
        match allowed {
            Some(allowed) if size == allowed && size > limit => {}
            Some(allowed) if size < allowed => findings.push(Finding::new(
                RATCHET_FILE,
                format!("`{key}` may have {allowed} lines and has {size}"),
                "lower the number, or remove the line once the size is within the limit",
            )),
            Some(_) if size <= limit => findings.push(Finding::new(
                RATCHET_FILE,
                format!("`{key}` needs no exception"),
                "remove the line",
            )),
            Some(_) | None => findings.push(Finding::new(
                place,
                format!("{size} lines, over {}", allowed.unwrap_or(limit)),
                if kind == "function" {
                    "split it: branches up, loops down"
                } else {
                    "split it by what it decides"
                },
            )),
        }
    }
    for key in exceptions.keys().filter(|key| !sizes.contains_key(*key)) {
        findings.push(Finding::new(RATCHET_FILE, format!("`{key}` is gone"), "remove the line"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{Sizes, Source, compare, exceptions, measure};

    fn sizes(list: &str) -> Sizes {
        exceptions(list).unwrap()
    }

    fn check(measured: &str, excepted: &str, expected: &[&str]) {
        let found: Vec<String> =
            compare(&sizes(measured), &sizes(excepted)).into_iter().map(|f| f.what).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_ratchet_turns_one_way() {
        check("lines a.rs 500\nfunction a.rs::f 70", "", &[]);
        check("lines a.rs 501", "", &["501 lines, over 500"]);
        check("function a.rs::f 71", "", &["71 lines, over 70"]);
        check("lines a.rs 501", "# today\nlines a.rs 501", &[]);
        check("lines a.rs 502", "lines a.rs 501", &["502 lines, over 501"]);
        check("lines a.rs 501", "lines a.rs 600", &["`lines a.rs` may have 600 lines and has 501"]);
        check("lines a.rs 9", "lines a.rs 9", &["`lines a.rs` needs no exception"]);
        check("", "lines a.rs 501", &["`lines a.rs` is gone"]);
    }

    #[test]
    fn tests_comments_and_blank_lines_do_not_count() {
        let text = "//! Opens.\nfn f() {\n    // why\n\n    g();\n    h();\n}\n\
                    #[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        let source = Source { path: "crates/x/src/a.rs".into(), text: text.into() };
        let measured = measure(&source).unwrap();
        assert_eq!(measured["lines crates/x/src/a.rs"], 7);
        assert_eq!(measured["function crates/x/src/a.rs::f"], 2);
        let alone = Source { path: "tests/src/a.rs".into(), text: text.into() };
        assert!(!measure(&alone).unwrap().contains_key("lines tests/src/a.rs"));
    }
}
