//! Prints: data on stdout, everything else on stderr.
//!
//! A closed pipe ends the output, not the run: what was asked for still happens.

use std::io::Write;

/// One line of data on stdout.
pub(crate) fn data(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// One line for the person who waits, on stderr.
pub(crate) fn note(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
