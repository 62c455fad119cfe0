//! Runs other programs and finds the repository.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Context;

use crate::say;

/// The root of the repository this program was built from.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("xtask lies in the root of the repository").to_path_buf()
}

/// Runs a command in the root, its output shown, after printing it as one could type it.
pub(crate) fn show(program: &str, arguments: &[&str]) -> anyhow::Result<ExitStatus> {
    say::note(&format!("+ {program} {}", arguments.join(" ")));
    Command::new(program)
        .args(arguments)
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot run {program}"))
}

/// Like [`show`], and anything but success is an error.
pub(crate) fn must(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let status = show(program, arguments)?;
    anyhow::ensure!(status.success(), "{program} {} ended with {status}", arguments.join(" "));
    Ok(())
}

/// True when the command runs and succeeds; its output is dropped.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Finds a program by name, also where only root's search path looks.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let further = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&search)
        .chain(further)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}
