//! ARCHITECTURE.md tells where things are: a path it names must exist, a room must be named.
//!
//! A path is a word in backticks that has a `/` inside or ends like a file of ours. What
//! begins with `/` is a URL path, and what stands in a fenced block is an illustration.

use std::path::Path;

use anyhow::Context;
use cargo_metadata::MetadataCommand;

use super::Finding;
use crate::shell;

const DOCUMENT: &str = "ARCHITECTURE.md";

/// Endings that make a word without `/` a path.
const ENDINGS: [&str; 5] = [".rs", ".md", ".toml", ".txt", ".lock"];

/// Reads the document and looks for each path.
pub(super) fn check() -> anyhow::Result<Vec<Finding>> {
    let root = shell::root();
    let text = std::fs::read_to_string(root.join(DOCUMENT))
        .with_context(|| format!("cannot read {DOCUMENT}"))?;
    let named = paths(&text);
    let mut findings: Vec<Finding> = named
        .iter()
        .filter(|(_, path)| !root.join(path).exists())
        .map(|(line, path)| {
            Finding::new(
                format!("{DOCUMENT}:{line}"),
                format!("`{path}` does not exist"),
                "name what is there now",
            )
        })
        .collect();
    for room in rooms(&root)? {
        if !named.iter().any(|(_, path)| path.trim_end_matches('/') == room) {
            findings.push(Finding::new(
                DOCUMENT,
                format!("`{room}` is not named"),
                "add a line that says what the room does",
            ));
        }
    }
    Ok(findings)
}

/// The folder of each package, relative to the root.
fn rooms(root: &Path) -> anyhow::Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata failed")?;
    let folder = |package: &cargo_metadata::Package| {
        let folder = package.manifest_path.parent()?.as_std_path();
        Some(folder.strip_prefix(root).ok()?.display().to_string())
    };
    Ok(metadata.packages.iter().filter_map(folder).collect())
}

/// Every path in backticks, with its line from 1.
pub(super) fn paths(text: &str) -> Vec<(usize, String)> {
    words(text).into_iter().filter(|(_, word)| is_path(word)).collect()
}

/// Every text in backticks outside fenced blocks, with its line from 1.
pub(super) fn words(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let inside = line.split('`').skip(1).step_by(2);
            found.extend(inside.map(|word| (index + 1, word.to_owned())));
        }
    }
    found
}

fn is_path(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let relative = !word.starts_with('/') && word.chars().all(plain);
    relative && (word.contains('/') || ENDINGS.iter().any(|ending| word.ends_with(ending)))
}

#[cfg(test)]
mod tests {
    use super::paths;

    fn check(text: &str, expected: &[(usize, &str)]) {
        let found = paths(text);
        let found: Vec<(usize, &str)> =
            found.iter().map(|(line, path)| (*line, path.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn paths_are_told_from_other_words() {
        check(
            "`crates/nouns/model` and `Cargo.toml`",
            &[(1, "crates/nouns/model"), (1, "Cargo.toml")],
        );
        check("`/metrics`, `serve`, `a::b`, `tidegate run -c FILE`, `GET /x`", &[]);
        check("plain crates/x\n```\n`crates/y`\n```\n`crates/z/`", &[(5, "crates/z/")]);
    }
}
