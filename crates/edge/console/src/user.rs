//! Who a user of this machine is, by name.
//!
//! Only `/etc/passwd` is read: a directory service that hangs must not keep a change waiting.

use std::io::Read as _;
use std::path::Path;

use crate::guard::Caller;

/// More of the file than this is not read.
const BYTES_MAX: u64 = 1 << 20;
/// A longer name is not taken.
const NAME_BYTES_MAX: usize = 32;

/// What a change by `caller` is recorded under: `ci-bot (root)`, `root`, `uid 1000`, `token`.
pub(crate) async fn author(caller: Caller, calls_itself: Option<&str>) -> String {
    let known = match caller {
        Caller::User(Some(uid)) => {
            let looked_up =
                tokio::task::spawn_blocking(move || name(Path::new("/etc/passwd"), uid));
            looked_up.await.ok().flatten().unwrap_or_else(|| format!("uid {uid}"))
        }
        Caller::User(None) => "unknown user".to_owned(),
        Caller::Network(_) => "token".to_owned(),
    };
    match calls_itself {
        Some(own) => format!("{own} ({known})"),
        None => known,
    }
}

/// The name of the user `uid` in a file like `/etc/passwd` (passwd(5)).
fn name(file: &Path, uid: u32) -> Option<String> {
    let mut text = Vec::new();
    std::fs::File::open(file).ok()?.take(BYTES_MAX).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let fits = |line: &&str| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(uid);
    let name = text.lines().find(fits)?.split(':').next()?;
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && (1..=NAME_BYTES_MAX).contains(&name.len())).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_by_number() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "root:x:0:0:root:/root:/bin/sh\nbroken\nci:x:1000:1000::/:/bin/sh\n\u{1b}[31m:x:7:7::/:\n",
        )
        .unwrap();
        for (uid, expected) in [(0, Some("root")), (1_000, Some("ci")), (7, None), (8, None)] {
            assert_eq!(name(file.path(), uid).as_deref(), expected, "{uid}");
        }
        assert_eq!(name(Path::new("/nowhere/passwd"), 0), None);
    }

    #[tokio::test]
    async fn an_author_is_who_the_door_knows() {
        let network = Caller::Network(([127, 0, 0, 1], 5).into());
        assert_eq!(author(network, None).await, "token");
        assert_eq!(author(network, Some("ci-bot")).await, "ci-bot (token)");
        assert_eq!(author(Caller::User(Some(4_000_000_000)), None).await, "uid 4000000000");
    }
}
