//! The exit codes, the same for every command.

use std::process::ExitCode;

/// 0: clean.
pub(crate) fn clean() -> ExitCode {
    ExitCode::SUCCESS
}

/// 1: findings, or a run that failed.
pub(crate) fn failed() -> ExitCode {
    ExitCode::from(1)
}

/// 2: wrong usage, or a configuration that cannot be read.
pub(crate) fn usage() -> ExitCode {
    ExitCode::from(2)
}

/// 3: a gate was breached: what was demanded of a run did not hold.
pub(crate) fn breached() -> ExitCode {
    ExitCode::from(3)
}
