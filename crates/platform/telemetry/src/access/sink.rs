//! Where lines go: a file that can be reopened, standard output, or, in tests, any writer.
//!
//! A failed write loses the lines it did not finish, and says how many. Invariant: a line that
//! was torn by a failure is closed by a line feed before the next line is written, so a failure
//! never glues two lines into one.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::configuration::AccessLogTarget;

/// How often a writer that says "not now" is asked again before its lines count as lost: with
/// the wait between, one second.
const BUSY_ATTEMPTS_MAX: u32 = 100;
const BUSY_WAIT: Duration = Duration::from_millis(10);

/// An open target.
pub(super) struct Sink {
    output: Box<dyn Write + Send>,
    /// The file to open again after a rotation.
    path: Option<PathBuf>,
    /// True when the last byte written was not the end of a line.
    torn: bool,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink")
            .field("path", &self.path)
            .field("torn", &self.torn)
            .finish_non_exhaustive()
    }
}

impl Sink {
    /// Opens the target; a file is made when it does not exist, and appended to.
    pub(super) fn open(target: &AccessLogTarget) -> io::Result<Self> {
        match target {
            // Not `io::stdout()` itself: its line buffer would make one system call per line.
            AccessLogTarget::Stdout => {
                Ok(Self::over(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
            }
            AccessLogTarget::File(path) => {
                Ok(Self { output: Box::new(append(path)?), path: Some(path.clone()), torn: false })
            }
        }
    }

    /// A sink over any writer.
    pub(super) fn over(output: impl Write + Send + 'static) -> Self {
        Self { output: Box::new(output), path: None, torn: false }
    }

    /// Opens the file again by its path; on failure the old file stays in use.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.output = Box::new(append(path)?);
            self.torn = false;
        }
        Ok(())
    }

    /// Writes whole lines. On failure, tells how many lines were not written to their end.
    pub(super) fn write(&mut self, lines: &str) -> Result<(), (u64, io::Error)> {
        if self.torn {
            self.write_all(b"\n").map_err(|(_, error)| (count_lines(lines.as_bytes()), error))?;
        }
        self.write_all(lines.as_bytes()).map_err(|(rest, error)| (count_lines(rest), error))
    }

    /// Writes all bytes, or tells which were left. Not the standard `write_all`, which does not.
    fn write_all<'a>(&mut self, mut bytes: &'a [u8]) -> Result<(), (&'a [u8], io::Error)> {
        let mut busy = 0;
        while !bytes.is_empty() {
            match self.output.write(bytes) {
                Ok(0) => return Err((bytes, ErrorKind::WriteZero.into())),
                Ok(count) => {
                    let (done, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
                    self.torn = done.last() != Some(&b'\n');
                    bytes = rest;
                    busy = 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Standard output can be a pipe that another process made non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock && busy < BUSY_ATTEMPTS_MAX => {
                    busy += 1;
                    std::thread::park_timeout(BUSY_WAIT);
                }
                Err(error) => return Err((bytes, error)),
            }
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    // Lines hold addresses of clients: not for every account of the machine.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    /// Answers each write from a script: a number of bytes taken, or an error.
    struct Scripted {
        script: VecDeque<Result<usize, ErrorKind>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.script.pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            self.taken.lock().unwrap().extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes `first`, then `second`; says how many lines each lost and what arrived.
    fn check(
        script: &[Result<usize, ErrorKind>],
        first: &str,
        second: &str,
        expected: (u64, u64, &str),
    ) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let mut sink = Sink::over(Scripted {
            script: script.iter().copied().collect(),
            taken: Arc::clone(&taken),
        });
        let lost =
            |result: Result<(), (u64, io::Error)>| result.map_or_else(|(lost, _)| lost, |()| 0);
        let found = (lost(sink.write(first)), lost(sink.write(second)));
        let arrived = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
        assert_eq!((found.0, found.1, arrived.as_str()), expected);
    }

    #[test]
    fn failures_lose_only_what_was_not_written() {
        let full = Err(ErrorKind::StorageFull);
        check(&[], "a\nb\n", "c\n", (0, 0, "a\nb\nc\n"));
        check(&[Ok(1), Ok(1), Ok(1)], "a\nb\n", "c\n", (0, 0, "a\nb\nc\n"));
        check(&[full, full], "a\nb\n", "c\n", (2, 1, ""));
        check(&[Ok(2), full], "a\nb\n", "c\n", (1, 0, "a\nc\n"));
        check(&[Ok(3), full], "a\nbbb\n", "c\n", (1, 0, "a\nb\nc\n"));
        check(&[Ok(3), full, full], "a\nbbb\n", "c\nd\n", (1, 2, "a\nb"));
        check(&[Ok(0)], "a\n", "b\n", (1, 0, "b\n"));
        check(
            &[Err(ErrorKind::Interrupted), Err(ErrorKind::WouldBlock)],
            "a\n",
            "b\n",
            (0, 0, "a\nb\n"),
        );
        check(&[Err(ErrorKind::BrokenPipe)], "a\n", "b\n", (1, 0, "b\n"));
    }
}
