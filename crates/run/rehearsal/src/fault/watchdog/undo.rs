//! Takes hold of what a lease is about, and undoes it.
//!
//! Invariant: what is to be undone was checked when it was leased, and what may have changed
//! since then is checked again; a thing that is gone already is undone.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::process::Process;
use super::sweep::processes_inside;
use super::{FOLDER_PREFIX, Grounds, Undo};
use crate::sample;

/// Tries to remove a folder that somebody still writes into, and the pause between two.
const REMOVALS_MAX: u32 = 40;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);
/// For the system to say whether anybody listens.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Something that was taken hold of.
#[derive(Debug)]
pub(super) enum Held {
    End { pid: u32, process: Process, group: bool },
    Continue { pid: u32, process: Process },
    Folder(PathBuf),
    Sample { address: SocketAddr, settings: Value },
}

impl fmt::Display for Held {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End { pid, .. } => write!(out, "ending process {pid}"),
            Self::Continue { pid, .. } => write!(out, "continuing process {pid}"),
            Self::Folder(path) => write!(out, "removing {}", path.display()),
            Self::Sample { address, .. } => write!(out, "resetting the application at {address}"),
        }
    }
}

impl Held {
    /// Checks what is asked and takes hold of it.
    ///
    /// # Errors
    /// In words: no such process, not a folder of a drill.
    pub(super) fn take(undo: Undo, grounds: &Grounds) -> Result<Self, String> {
        let hold = |pid| {
            Process::hold(pid).map_err(|error| format!("process {pid} is not there: {error}"))
        };
        match undo {
            Undo::EndProcess { pid, group } => Ok(Self::End { pid, process: hold(pid)?, group }),
            Undo::Continue { pid } => Ok(Self::Continue { pid, process: hold(pid)? }),
            Undo::RemoveFolder { path } => folder_of_drill(&path, &grounds.scratch)
                .map(Self::Folder)
                .map_err(|why| format!("{} is not removed: {why}", path.display())),
            Undo::SetSample { address, settings } if settings.is_object() => {
                Ok(Self::Sample { address, settings })
            }
            Undo::SetSample { .. } => Err("settings of an application are an object".to_owned()),
        }
    }

    async fn undo(&self, grounds: &Grounds) -> Result<(), String> {
        match self {
            Self::End { process, group, .. } => process.end(*group).await,
            Self::Continue { process, .. } => {
                process.signal(Signal::CONT).map_err(|error| error.to_string())
            }
            Self::Folder(path) => remove(path, grounds).await,
            Self::Sample { address, settings } => reset_sample(*address, settings).await,
        }
    }
}

async fn reset_sample(address: SocketAddr, settings: &Value) -> Result<(), String> {
    let Err(why) = sample::control(address, Some(settings)).await else { return Ok(()) };
    // An application that is gone has no settings any more.
    if is_refused(address).await { Ok(()) } else { Err(why) }
}

async fn is_refused(address: SocketAddr) -> bool {
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    connected.is_ok_and(|connected| {
        connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

/// Undoes one after the other, in this order; neighbours of one kind that concern different
/// things at once, so that thirty processes do not wait for each other's patience. What fails is
/// tried once more after the rest: a stopped application takes its settings once it goes on.
/// Gives how many could not be undone; the log says why.
pub(super) async fn undo_all(held: Vec<Held>, grounds: &Arc<Grounds>) -> usize {
    let failed = undo_in_waves(held, grounds).await;
    let again = failed.into_iter().map(|(held, _)| held).collect();
    let left = undo_in_waves(again, grounds).await;
    for (held, why) in &left {
        tracing::error!("a fault of the drill is left behind: {held} failed: {why}");
    }
    left.len()
}

type Failed = (Held, String);

async fn undo_in_waves(held: Vec<Held>, grounds: &Arc<Grounds>) -> Vec<Failed> {
    let mut failed = Vec::new();
    let mut wave: Vec<Held> = Vec::new();
    let mut names = BTreeSet::new();
    for next in held {
        let fits = |last: &Held| std::mem::discriminant(last) == std::mem::discriminant(&next);
        if !wave.last().is_none_or(fits) || names.contains(&next.to_string()) {
            failed.extend(undo_wave(std::mem::take(&mut wave), grounds).await);
            names.clear();
        }
        names.insert(next.to_string());
        wave.push(next);
    }
    failed.extend(undo_wave(wave, grounds).await);
    failed
}

async fn undo_wave(wave: Vec<Held>, grounds: &Arc<Grounds>) -> Vec<Failed> {
    let mut tasks = JoinSet::new();
    for held in wave {
        let grounds = Arc::clone(grounds);
        tasks.spawn(async move {
            let undone = held.undo(&grounds).await;
            undone.map_err(|why| (held, why))
        });
    }
    let mut failed = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(undone) => failed.extend(undone.err()),
            // A defect in one undoing must not keep the others from being carried out.
            Err(error) => tracing::error!(%error, "a fault of the drill may be left behind"),
        }
    }
    failed
}

/// The canonical path of a folder that may be removed; it need not exist, its parent must.
fn folder_of_drill(path: &Path, scratch: &Path) -> Result<PathBuf, String> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err("it has no name".to_owned());
    };
    if !name.as_encoded_bytes().starts_with(FOLDER_PREFIX.as_bytes()) {
        return Err(format!("its name does not begin with {FOLDER_PREFIX}"));
    }
    if !path.is_absolute() {
        return Err("it is not absolute".to_owned());
    }
    let parent = parent.canonicalize().map_err(|error| error.to_string())?;
    if !parent.starts_with(scratch) {
        return Err(format!("it does not lie inside {}", scratch.display()));
    }
    Ok(parent.join(name))
}

async fn remove(path: &Path, grounds: &Grounds) -> Result<(), String> {
    // Between the lease and now a parent may have become a link to elsewhere.
    if folder_of_drill(path, &grounds.scratch)? != path {
        return Err("it lies elsewhere now".to_owned());
    }
    let mut left = REMOVALS_MAX;
    loop {
        match std::fs::symlink_metadata(path) {
            Ok(about) if about.is_dir() => {}
            Ok(_) => return Err("it is no folder".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        for process in processes_inside(path, grounds.session) {
            process.end(false).await?;
        }
        left -= 1;
        match std::fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if left == 0 => return Err(error.to_string()),
            // Somebody who is just ending still wrote into it.
            Err(_) => tokio::time::sleep(REMOVAL_PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_drills_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let scratch = root.join("scratch");
        std::fs::create_dir_all(scratch.join("inner")).unwrap();
        std::fs::create_dir(root.join("outside")).unwrap();
        std::os::unix::fs::symlink(root.join("outside"), scratch.join("link")).unwrap();
        let check = |path: &str, expected: Result<&str, &str>| {
            let found = folder_of_drill(&root.join(path), &scratch);
            match expected {
                Ok(expected) => assert_eq!(found, Ok(root.join(expected)), "{path}"),
                Err(why) => {
                    assert!(found.as_ref().is_err_and(|e| e.contains(why)), "{path}: {found:?}")
                }
            }
        };
        check("scratch/tidegate-drill-a", Ok("scratch/tidegate-drill-a"));
        check("scratch/inner/tidegate-drill-a", Ok("scratch/inner/tidegate-drill-a"));
        check("scratch/a", Err("does not begin with tidegate-drill-"));
        check("scratch", Err("does not begin with"));
        check("tidegate-drill-a", Err("does not lie inside"));
        check("scratch/../tidegate-drill-a", Err("does not lie inside"));
        check("scratch/tidegate-drill-a/..", Err("it has no name"));
        check("scratch/link/tidegate-drill-a", Err("does not lie inside"));
        check("scratch/nowhere/tidegate-drill-a", Err("No such file"));
        check("/", Err("it has no name"));
        assert!(folder_of_drill(Path::new("tidegate-drill-a"), &scratch).is_err());
    }

    #[tokio::test]
    async fn a_link_named_as_a_folder_of_a_drill_leads_nowhere() {
        let scratch = tempfile::tempdir().unwrap();
        let kept = tempfile::tempdir().unwrap();
        std::fs::write(kept.path().join("file"), "kept").unwrap();
        let grounds = Grounds { scratch: scratch.path().canonicalize().unwrap(), session: None };
        let link = grounds.scratch.join("tidegate-drill-link");
        std::os::unix::fs::symlink(kept.path(), &link).unwrap();
        assert_eq!(remove(&link, &grounds).await, Err("it is no folder".to_owned()));
        assert!(kept.path().join("file").exists());
    }
}
