//! Files of users and passwords: whether the door knows how the passwords are kept.
//!
//! The door reads such a file by itself; the import only looks at how each password is kept, so
//! that a file the door refuses is told of where nginx names it. No password is kept or shown.

use std::collections::BTreeMap;
use std::path::Path;

use super::tree::Node;
use crate::import::Files;
use crate::import::passwords::{ANEW, unknown};

/// Files of users that are looked at, at most.
const FILES_MAX: usize = 64;

/// Looks at every file that an `auth_basic_user_file` of the tree names, by the name it has there.
pub(super) fn users(
    tree: &[Node],
    folder: &Path,
    files: &dyn Files,
) -> BTreeMap<String, Result<(), String>> {
    let mut users = BTreeMap::new();
    let mut rest: Vec<&Node> = tree.iter().collect();
    while let Some(node) = rest.pop() {
        rest.extend(node.children());
        let name = node.arg(0);
        let is_asked = node.name == "auth_basic_user_file" && !users.contains_key(name);
        if is_asked && users.len() < FILES_MAX {
            // A file that is not here is looked at by the door.
            let text = files.read(&folder.join(name));
            users.insert(name.to_owned(), text.map_or(Ok(()), |text| judged(&text)));
        }
    }
    users
}

/// Whether the door knows every password of a file.
fn judged(text: &str) -> Result<(), String> {
    let lines = text.lines().map(str::trim).zip(1_usize..);
    for (line, number) in lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')) {
        let hash = line.split_once(':').map_or("", |(_, hash)| hash);
        if let Some(kind) = unknown(hash) {
            return Err(format!("line {number} of it has a password {kind}: {ANEW}"));
        }
        if hash.contains(':') {
            return Err(format!(
                "line {number} of it has a comment behind the password: remove it"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_when_the_door_knows_every_password() {
        for (text, expected) in [
            ("", Ok(())),
            ("# staff\nann:$2y$10$abc\n\nbob:$argon2id$v=19$m=1$x\n", Ok(())),
            ("ann:$2y$10$abc\nbob:$apr1$x$y\n", Err("line 2 of it has a password as Apache's MD5")),
            ("ann:{SHA}abc", Err("line 1 of it has a password as SHA-1")),
            ("ann:{PLAIN}abc", Err("in clear")),
            ("ann:abcdefghijklm", Err("DES")),
            ("ann:$6$x$y", Err("SHA-2")),
            ("ann:$2y$10$abc:a comment", Err("comment")),
            ("ann", Err("DES")),
        ] {
            match (judged(text), expected) {
                (Ok(()), Ok(())) => {}
                (Err(reason), Err(part)) => {
                    assert!(reason.contains(part) && !reason.contains("abc"), "{text}: {reason}");
                }
                (result, _) => panic!("{text}: {result:?}"),
            }
        }
    }
}
