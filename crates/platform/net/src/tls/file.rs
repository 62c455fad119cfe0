//! The files that TLS is made of: read within bounds, and what each says about its own end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::UnixTime;

use super::TlsError;

/// The largest certificate or key file. The system's whole root store is about 0.2 MiB; lists of
/// revoked certificates can be larger, and none is expected to be that large.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

const DAY_S: i64 = 86_400;

/// What a file in use is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// A certificate that the door shows.
    Certificate,
    /// The OCSP response that is sent along with one.
    Ocsp,
    /// A list of revoked certificates.
    Revocation,
    /// Authorities whose certificates are accepted.
    Roots,
}

impl FileKind {
    /// Its name in facts and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Ocsp => "ocsp",
            Self::Revocation => "revocation",
            Self::Roots => "roots",
        }
    }
}

/// What a file in use says about itself, for metrics and status pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub kind: FileKind,
    /// The DNS names a certificate is for, lower case; `*.` in front means exactly one label.
    pub names: Vec<String>,
    /// Valid from, in seconds of Unix time.
    pub not_before_unix_s: i64,
    /// Valid until, in seconds of Unix time; of several, the first to end. `None` where it does
    /// not say.
    pub not_after_unix_s: Option<i64>,
    /// Why it is not used although it could be read, if it is not.
    pub problem: Option<String>,
}

impl FileStatus {
    /// Whole days until it expires, seen from `now_unix_s`; negative when it has expired.
    #[must_use]
    pub fn days_left(&self, now_unix_s: i64) -> Option<i64> {
        self.not_after_unix_s.map(|end| days_left(end, now_unix_s))
    }

    /// What is wrong with it at `now_unix_s`, in words for whoever can mend it. An expired
    /// certificate is shown all the same: the other side decides, and an outage of every name on
    /// the listener would be worse.
    #[must_use]
    pub fn trouble(&self, now_unix_s: i64) -> Option<String> {
        if self.problem.is_some() {
            return self.problem.clone();
        }
        let consequence = match self.kind {
            FileKind::Certificate => "the other side will refuse it",
            FileKind::Ocsp => "it is not sent",
            FileKind::Revocation => "every client that it covers is refused",
            FileKind::Roots => "what it issued is refused",
        };
        if self.not_after_unix_s.is_some_and(|end| end <= now_unix_s) {
            Some(format!("it has expired: {consequence}"))
        } else if self.not_before_unix_s > now_unix_s {
            Some(format!("it is not valid yet (check the clock): {consequence}"))
        } else {
            None
        }
    }
}

/// Whole days from `now_unix_s` to `not_after_unix_s`, rounded down; -1 from the first second after.
#[must_use]
pub fn days_left(not_after_unix_s: i64, now_unix_s: i64) -> i64 {
    not_after_unix_s.saturating_sub(now_unix_s).div_euclid(DAY_S)
}

/// The wall clock that certificates are judged by, in seconds of Unix time.
#[must_use]
pub fn now_unix_s() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}

/// A whole file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let length = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|source| TlsError::Read { path: path.to_path_buf(), source })?;
    if u64::try_from(length).is_ok_and(|length| length <= FILE_BYTES_MAX) {
        Ok(bytes)
    } else {
        Err(TlsError::TooLarge { path: path.to_path_buf(), bytes_max: FILE_BYTES_MAX })
    }
}

/// What the system says of files that are used: equal as long as nobody touched them.
///
/// A change of content, name, owner or rights changes at least one of the numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps(BTreeMap<PathBuf, Option<Stamp>>);

/// Of one file: device, inode, bytes, and when it changed and was written in nanoseconds.
type Stamp = (u64, u64, u64, i128, i128);

impl Stamps {
    /// Asks for each of `paths`. To be taken before the files are read, so that what is written in
    /// between counts as a change. It waits for the disk.
    #[must_use]
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        Self(paths.into_iter().map(|path| (path.to_path_buf(), stamp(path))).collect())
    }

    /// Asks again for the same files.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::of(self.0.keys().map(PathBuf::as_path))
    }

    /// The files that are not as they were `before`.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> Vec<PathBuf> {
        let differs =
            |(path, stamp): &(&PathBuf, &Option<Stamp>)| before.0.get(*path) != Some(stamp);
        self.0.iter().filter(differs).map(|(path, _)| path.clone()).collect()
    }
}

/// `None` for a file that is not there, or cannot be asked for.
fn stamp(path: &Path) -> Option<Stamp> {
    let whole = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let found = std::fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        whole(found.ctime(), found.ctime_nsec()),
        whole(found.mtime(), found.mtime_nsec()),
    ))
}
