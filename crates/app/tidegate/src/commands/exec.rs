//! `tidegate exec`: becomes another program.
//!
//! With `--end-with-parent` before it, the kernel ends that program with the process that started
//! it: the front doors of others, which drills start, know no such option of their own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use crate::commands::complain;
use crate::exit;

pub(crate) fn run(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        complain("expected a program");
        return exit::usage();
    };
    // It returns only when it failed.
    let error = Command::new(program).args(arguments).exec();
    complain(&format!("{} cannot be run: {error}", program.display()));
    exit::failed()
}
