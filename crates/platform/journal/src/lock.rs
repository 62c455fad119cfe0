//! One process at a time: a lock on a file beside the database.
//!
//! The kernel holds the lock (`flock`) and drops it with the process, however that ends. The file
//! names the process, for the message to the next one; it stays, because removing it would let
//! two processes lock two files of one name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::JournalError;

const FILE: &str = "journal.lock";

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Closing the file would not do: the lock lasts as long as any copy of it is open, and a
    /// child process has one for a moment, until it runs its program.
    fn drop(&mut self) {
        drop(self.file.unlock());
    }
}

impl Lock {
    /// Takes the folder for this process.
    ///
    /// # Errors
    /// When another one has it, and when the folder cannot be written.
    pub(crate) fn take(folder: &Path) -> Result<Self, JournalError> {
        let failed = |error| JournalError::Folder { folder: folder.to_owned(), error };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join(FILE))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&mut file);
                return Err(JournalError::Held { folder: folder.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // The lock counts, not its text: a full disk only costs the next message the process.
        drop(sign(&mut file));
        Ok(Self { file })
    }
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Whoever locked it wrote its id; in the moment between the two it is not known.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
