//! A promise is a number with the test or command that holds it; this finds that test.
//!
//! PROMISES.md is one table: promise, number, held by. The last cell names at least one of
//! `path/to/file.rs::test_function` (a test that exists in that file) or a command of this
//! program as one would type it (`cargo xtask bench http --scenario small`).

use std::path::Path;

use anyhow::Context;
use clap::Parser;
use syn::visit::{self, Visit};

use super::{Finding, documents};
use crate::{CommandLine, shell};

const DOCUMENT: &str = "PROMISES.md";

/// Reads the table and looks for what holds each row.
pub(super) fn check() -> anyhow::Result<Vec<Finding>> {
    let root = shell::root();
    let text = std::fs::read_to_string(root.join(DOCUMENT))
        .with_context(|| format!("cannot read {DOCUMENT}"))?;
    let rows = rows(&text);
    anyhow::ensure!(!rows.is_empty(), "{DOCUMENT} holds no table of promises");
    Ok(rows.iter().flat_map(|row| check_row(&root, row)).collect())
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    line: usize,
    promise: String,
    number: String,
    holders: Vec<String>,
}

/// The rows below the table's head.
fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(inside) = line.trim().strip_prefix('|').and_then(|l| l.strip_suffix('|')) else {
            continue;
        };
        let cells: Vec<&str> = inside.split('|').map(str::trim).collect();
        let rule = cells.iter().all(|cell| cell.starts_with("--"));
        if let [promise, number, holders] = cells[..]
            && !rule
            && !promise.eq_ignore_ascii_case("promise")
        {
            let holders = documents::words(holders).into_iter().map(|(_, word)| word).collect();
            let (promise, number) = (promise.to_owned(), number.to_owned());
            rows.push(Row { line: index + 1, promise, number, holders });
        }
    }
    rows
}

fn check_row(root: &Path, row: &Row) -> Vec<Finding> {
    let place = format!("{DOCUMENT}:{}", row.line);
    let mut findings = Vec::new();
    if !row.number.chars().any(|c| c.is_ascii_digit()) {
        findings.push(Finding::new(
            &place,
            format!("\"{}\" has no number", row.promise),
            "a promise is a number that can be missed",
        ));
    }
    if row.holders.is_empty() {
        findings.push(Finding::new(
            &place,
            format!("\"{}\" is held by nothing", row.promise),
            "name its test as `path/to/file.rs::function`, or its `cargo xtask ...` command",
        ));
    }
    for holder in &row.holders {
        if let Err(error) = find_holder(root, holder) {
            findings.push(Finding::new(
                &place,
                format!("`{holder}`: {error:#}"),
                "name the test or command that holds the promise now, or drop the promise",
            ));
        }
    }
    findings
}

/// Finds the test, or tries the command line without running it.
fn find_holder(root: &Path, holder: &str) -> anyhow::Result<()> {
    if let Some(arguments) = holder.strip_prefix("cargo xtask ") {
        let words = std::iter::once("xtask").chain(arguments.split_whitespace());
        CommandLine::try_parse_from(words).map_err(|error| anyhow::anyhow!("{}", error.kind()))?;
        return Ok(());
    }
    let (path, function) = holder
        .split_once("::")
        .context("is neither `path/to/file.rs::function` nor `cargo xtask ...`")?;
    let text = std::fs::read_to_string(root.join(path)).context("the file is gone")?;
    let name = function.rsplit("::").next().unwrap_or(function);
    anyhow::ensure!(has_test(&text, name)?, "the file has no test of that name");
    Ok(())
}

/// True when the source has a test function of this name, also inside `proptest!`.
fn has_test(text: &str, name: &str) -> anyhow::Result<bool> {
    let file = syn::parse_file(text).context("the file does not parse")?;
    let mut search = Search { name, found: false };
    search.visit_file(&file);
    Ok(search.found)
}

struct Search<'a> {
    name: &'a str,
    found: bool,
}

impl<'ast> Visit<'ast> for Search<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let is_test = function.attrs.iter().any(|attribute| {
            attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
        });
        self.found |= is_test && function.sig.ident == self.name;
        visit::visit_item_fn(self, function);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if call.path.segments.last().is_some_and(|segment| segment.ident == "proptest") {
            // The macro's own grammar does not parse as items: look for the two tokens.
            let tokens: Vec<String> =
                call.tokens.clone().into_iter().map(|token| token.to_string()).collect();
            self.found |= tokens.windows(2).any(|pair| pair[0] == "fn" && pair[1] == self.name);
        }
        visit::visit_macro(self, call);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{check_row, has_test, rows};
    use crate::shell;

    fn check(root: &Path, row: &str, expected: &[&str]) {
        let table = format!("| Promise | Number | Held by |\n| --- | --- | --- |\n{row}\n");
        let rows = rows(&table);
        let found: Vec<String> =
            rows.iter().flat_map(|row| check_row(root, row)).map(|f| f.what).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (what, part) in found.iter().zip(expected) {
            assert!(what.contains(part), "{what} does not contain {part}");
        }
    }

    #[test]
    fn a_promise_names_what_holds_it() {
        let root = shell::root();
        let own = "xtask/src/check/promises.rs";
        check(&root, &format!("| p | 1 | `{own}::a_promise_names_what_holds_it` |"), &[]);
        check(&root, "| p | 0 | `cargo xtask check` |", &[]);
        check(&root, "| p | 0.85 | `cargo xtask bench http --scenario small` |", &[]);
        check(&root, "| p | 0 | `cargo xtask bench nothing` |", &["cargo xtask bench nothing"]);
        check(&root, &format!("| p | 1 | `{own}::rows` |"), &["no test of that name"]);
        check(&root, "| p | 1 | `xtask/src/gone.rs::t` |", &["the file is gone"]);
        check(&root, "| p | fast | our word |", &["has no number", "held by nothing"]);
    }

    #[test]
    fn a_property_counts_as_a_test() {
        let text = "proptest! { #[test] fn shares_follow(x in 0..9) { } }\nfn plain() {}";
        assert!(has_test(text, "shares_follow").unwrap());
        assert!(!has_test(text, "plain").unwrap());
    }
}
