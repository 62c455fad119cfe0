//! Where the text of an imported configuration comes from: the disk, or memory in tests.
//!
//! Only regular files are opened, so that a pipe or a device named by an `include` can neither
//! block nor feed without end. Invariant: no answer is larger than its limit.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

/// Bytes of one file, at most: 4 MiB.
pub const FILE_BYTES_MAX: usize = crate::TEXT_BYTES_MAX;

/// Names in one folder, at most.
pub const NAMES_MAX: usize = 10_000;

/// Why a file or folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// There is no such file or folder.
    #[error("there is no such file")]
    Absent,
    /// It is a folder, a pipe or a device, not a regular file.
    #[error("it is not a regular file")]
    NotAFile,
    /// A file larger than [`FILE_BYTES_MAX`].
    #[error("the file is larger than 4 MiB")]
    TooLarge,
    /// A folder with more than [`NAMES_MAX`] names.
    #[error("the folder has more than {NAMES_MAX} entries")]
    TooMany,
    /// The system said no.
    #[error("it cannot be read")]
    System(#[source] std::io::Error),
}

/// Gives the text of files and the names in folders.
pub trait Files: std::fmt::Debug {
    /// The text of a file. Bytes that are not UTF-8 become U+FFFD each: the balancers themselves
    /// take any byte in comments and values.
    ///
    /// # Errors
    /// When it is absent, no regular file, or larger than [`FILE_BYTES_MAX`].
    fn read(&self, path: &Path) -> Result<String, FilesError>;

    /// The names in a folder, of files and folders, sorted by their bytes.
    ///
    /// # Errors
    /// When it is absent, or has more than [`NAMES_MAX`] names.
    fn list(&self, folder: &Path) -> Result<Vec<String>, FilesError>;
}

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<String, FilesError> {
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(FilesError::NotAFile);
        }
        let mut bytes = Vec::new();
        // One byte more than allowed is enough to know that there are too many.
        let limit = u64::try_from(FILE_BYTES_MAX + 1).unwrap_or(u64::MAX);
        std::fs::File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(failed)?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(FilesError::TooLarge);
        }
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>, FilesError> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            if names.len() == NAMES_MAX {
                return Err(FilesError::TooMany);
            }
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }
}

fn failed(error: std::io::Error) -> FilesError {
    if error.kind() == std::io::ErrorKind::NotFound {
        return FilesError::Absent;
    }
    FilesError::System(error)
}

/// Files that exist only in memory, by their path: for tests and fuzzing.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The texts.
    pub texts: BTreeMap<PathBuf, String>,
}

impl Memory {
    /// Files with these paths and texts.
    pub fn new<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> Self {
        let texts = files.into_iter().map(|(path, text)| (PathBuf::from(path), text.to_owned()));
        Self { texts: texts.collect() }
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> Result<String, FilesError> {
        let text = self.texts.get(&plain(path)).ok_or(FilesError::Absent)?;
        if text.len() > FILE_BYTES_MAX {
            return Err(FilesError::TooLarge);
        }
        Ok(text.clone())
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>, FilesError> {
        let folder = plain(folder);
        let below = self.texts.keys().filter_map(|path| path.strip_prefix(&folder).ok());
        let mut names: Vec<String> = below
            .filter_map(|rest| rest.components().next())
            .map(|name| name.as_os_str().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { Err(FilesError::Absent) } else { Ok(names) }
    }
}

/// The path without `.` and `..`, by its letters alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                plain.push(component);
            }
        }
    }
    plain
}
