//! The file patterns of `include`: `*`, `?` and `[...]`, each within one name of the path.
//!
//! As the C library's `glob`: names that begin with a dot match only a pattern that does, and
//! matches come sorted. Matching one name takes at most pattern times name steps.
//! Invariant: at most [`MATCHES_MAX`] paths come out, and as many folders are listed.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::import::{Files, FilesError};

/// Paths that one pattern may match, at most.
const MATCHES_MAX: usize = 2_000;

/// Folders that were listed before: the same pattern is often used many times.
#[derive(Debug, Default)]
pub(super) struct Listing {
    folders: BTreeMap<PathBuf, Vec<String>>,
}

impl Listing {
    fn names(&mut self, files: &dyn Files, folder: &Path) -> Result<&[String], FilesError> {
        if !self.folders.contains_key(folder) {
            if self.folders.len() >= MATCHES_MAX {
                return Err(FilesError::TooMany);
            }
            // A folder that cannot be read matches nothing, as in the C library.
            let names = match files.list(folder) {
                Ok(names) => names,
                Err(FilesError::Absent | FilesError::NotAFile | FilesError::System(_)) => vec![],
                Err(error @ (FilesError::TooMany | FilesError::TooLarge)) => return Err(error),
            };
            self.folders.insert(folder.to_owned(), names);
        }
        Ok(self.folders.get(folder).map_or(&[], Vec::as_slice))
    }
}

/// Whether a path has a character that makes it a pattern.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The paths that match a pattern, sorted.
pub(super) fn matching(
    listing: &mut Listing,
    files: &dyn Files,
    pattern: &Path,
) -> Result<Vec<PathBuf>, FilesError> {
    let mut paths = vec![PathBuf::new()];
    for component in pattern.components() {
        let part = component.as_os_str().to_string_lossy();
        let is_fixed = !matches!(component, Component::Normal(_)) || !is_pattern(&part);
        let mut next = Vec::new();
        for path in paths {
            if is_fixed {
                next.push(path.join(component));
                continue;
            }
            let names = listing.names(files, &path)?;
            next.extend(names.iter().filter(|name| fits(&part, name)).map(|name| path.join(name)));
            if next.len() > MATCHES_MAX {
                return Err(FilesError::TooMany);
            }
        }
        paths = next;
    }
    // A last part without a pattern, as in `sites/*/nginx.conf`, need not exist everywhere.
    let last_is_fixed =
        pattern.file_name().is_some_and(|name| !is_pattern(&name.to_string_lossy()));
    if last_is_fixed {
        paths.retain(|path| {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
                return false;
            };
            let names = listing.names(files, folder).unwrap_or_default();
            names.iter().any(|known| known.as_str() == name)
        });
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Whether a name fits a pattern of one path part.
fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when the last `*` takes one more character.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = name.get(n).and_then(|character| one(pattern.get(p..)?, *character));
        if pattern.get(p) == Some(&'*') {
            retry = Some((p + 1, n));
            p += 1;
        } else if let Some(length) = step {
            p += length;
            n += 1;
        } else if let Some((after, taken)) = retry {
            retry = Some((after, taken + 1));
            (p, n) = (after, taken + 1);
        } else {
            return false;
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|character| *character == '*'))
}

/// How much of the pattern stands for this one character; `None` when it does not fit.
fn one(pattern: &[char], character: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', rest @ ..] => {
            let (negated, rest, skipped) = match rest {
                ['!' | '^', rest @ ..] => (true, rest, 2),
                _ => (false, rest, 1),
            };
            // A `]` that comes first stands for itself.
            let close = rest.iter().skip(1).position(|c| *c == ']')? + 1;
            let set = rest.get(..close)?;
            let mut found = false;
            let mut at = 0;
            while let Some(low) = set.get(at) {
                match (set.get(at + 1), set.get(at + 2)) {
                    (Some('-'), Some(high)) => {
                        found |= (*low..=*high).contains(&character);
                        at += 3;
                    }
                    _ => {
                        found |= *low == character;
                        at += 1;
                    }
                }
            }
            (found != negated).then_some(skipped + close + 1)
        }
        ['\\', literal, ..] => (*literal == character).then_some(2),
        [literal, ..] => (*literal == character).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::Memory;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("*", ".a", false),
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a*b*c", "axbxbxc", true),
            ("[a-c]?", "bz", true),
            ("[!a-c]?", "bz", false),
            ("[]]", "]", true),
            ("[a", "[a", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn folders_are_matched_part_by_part() {
        let files =
            Memory::new([("/n/b/site.conf", ""), ("/n/a/site.conf", ""), ("/n/c/other.conf", "")]);
        let found = matching(&mut Listing::default(), &files, Path::new("/n/*/site.conf"));
        let expected = ["/n/a/site.conf", "/n/b/site.conf"].map(PathBuf::from).to_vec();
        assert_eq!(found.unwrap(), expected);
    }
}
