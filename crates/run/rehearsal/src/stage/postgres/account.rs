//! Where the programs of PostgreSQL are, and who runs them.

use std::ffi::OsString;
use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// Accounts without privileges, the best first.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];
/// Where Debian puts one folder per version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Anybody may pass through a folder.
const PASS: u32 = 0o001;

/// The folder with `initdb` and `postgres`: Debian's newest version, else one of the search path.
///
/// # Errors
/// That they are not installed, and how to install them.
pub(super) fn programs() -> Result<PathBuf, String> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    let search = std::env::var_os("PATH").unwrap_or_default();
    let search: Vec<PathBuf> = std::env::split_paths(&search).collect();
    let mut folders = versions.into_iter().map(|(_, folder)| folder).chain(search);
    folders
        .find(|folder| ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file()))
        .ok_or_else(|| {
            format!(
                "PostgreSQL is not found in {VERSIONS}/*/bin or on the path; install it, on Debian by: apt-get install postgresql"
            )
        })
}

/// An account without privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// The account that runs the cluster when this process is root's; `None`: this one's own.
    ///
    /// # Errors
    /// When it would have to be root.
    pub(super) fn needed() -> Result<Option<Self>, String> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let accounts =
            fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
        let found = ACCOUNTS.iter().find_map(|name| Self::named(&accounts, name));
        found.map(Some).ok_or_else(|| {
            "PostgreSQL does not run as root, and there is no account postgres or nobody: run the drill as another user".to_owned()
        })
    }

    fn named(accounts: &str, name: &str) -> Option<Self> {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            let mut number = |skipped: usize| fields.nth(skipped)?.parse().ok();
            let (user, group) = (number(1)?, number(0)?);
            (user != 0).then_some(Self { user, group })
        })
    }

    /// What `setpriv` is told.
    pub(super) fn arguments(self) -> [OsString; 3] {
        [
            format!("--reuid={}", self.user).into(),
            format!("--regid={}", self.group).into(),
            "--clear-groups".into(),
        ]
    }

    /// Makes a folder this account's own, and the way to it passable.
    ///
    /// # Errors
    /// When a folder on the way is closed and not ours to open.
    pub(super) fn give(self, folder: &Path) -> Result<(), String> {
        let failed = |path: &Path, error| format!("{}: {error}", path.display());
        chown(folder, Some(self.user), Some(self.group)).map_err(|error| failed(folder, error))?;
        let folder = fs::canonicalize(folder).map_err(|error| failed(folder, error))?;
        for above in folder.ancestors().skip(1) {
            let found = fs::metadata(above).map_err(|error| failed(above, error))?;
            if found.mode() & PASS == 0 {
                open(above, &found)?;
            }
        }
        Ok(())
    }
}

/// Lets anybody pass through a scratch folder. Other folders are closed on purpose.
fn open(folder: &Path, found: &Metadata) -> Result<(), String> {
    let scratch = fs::canonicalize(std::env::temp_dir()).unwrap_or_default();
    let ours = folder.starts_with(&scratch) && found.uid() == geteuid().as_raw();
    if !ours {
        return Err(format!(
            "{}: PostgreSQL's account may not pass through this folder; choose a scratch folder in {}",
            folder.display(),
            scratch.display()
        ));
    }
    fs::set_permissions(folder, Permissions::from_mode(found.mode() | PASS))
        .map_err(|error| format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_from_its_line() {
        let accounts = "root:x:0:0::/root:/bin/sh\nnot-postgres:x:7:8::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\nbad:x:y:z\nnull:x:0:5\n";
        for (name, expected) in [
            ("postgres", Some(Account { user: 101, group: 104 })),
            ("root", None),
            ("null", None),
            ("bad", None),
            ("nobody", None),
        ] {
            assert_eq!(Account::named(accounts, name), expected, "{name}");
        }
    }
}
