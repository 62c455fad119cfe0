//! Finds and parses the Rust sources of the repository, for the checks that read them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use proc_macro2::Span;
use syn::spanned::Spanned;

use crate::shell;

/// Folders at the root that hold our Rust.
const FOLDERS: [&str; 4] = ["crates", "fuzz", "tests", "xtask"];

/// Folders that hold what tools made.
const SKIPPED: [&str; 3] = ["artifacts", "corpus", "target"];

/// One source file.
#[derive(Debug)]
pub(super) struct Source {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

/// Reads every Rust source, sorted by path.
pub(super) fn read_all() -> anyhow::Result<Vec<Source>> {
    let root = shell::root();
    let mut paths = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut paths)?;
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Source { path: relative(&root, &path), text })
    };
    paths.into_iter().map(read).collect()
}

/// A path as it is written in documents: relative to the root.
fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The lines a piece of syntax covers, first and last, counted from 1.
pub(super) fn lines(syntax: &impl Spanned) -> (usize, usize) {
    let span: Span = syntax.span();
    (span.start().line, span.end().line)
}

/// True for `#[cfg(test)]` among the attributes.
pub(super) fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}
