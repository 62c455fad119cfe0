//! Plays a drill on a stage: timeline, measurements, verdicts.
//!
//! What happens and what is measured is decided by pure modules (`timeline`, `layers`, `measure`,
//! `verdict`); `runner` only carries it out.

mod hands;
mod honesty;
pub mod html;
pub mod junit;
mod layers;
mod measure;
mod outcome;
pub mod report;
mod rows;
mod runner;
mod scene;
mod timeline;
mod verdict;
mod warm;
mod words;

#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use model::drill::Drill;
use tokio::sync::{mpsc, watch};

use crate::stage::{FrontDoor, TidegateTools};

pub use outcome::{Repetition, repetitions};
pub use report::{Progress, RunReport, Verdict};

/// How a drill is played.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The front door.
    pub front: FrontDoor,
    /// Whether the front door's own protections are on.
    pub guard: bool,
    /// Of the load and of the sample applications.
    pub seed: u64,
    /// The `tidegate` executable: the front door, the sample applications and the watchdog.
    pub executable: PathBuf,
    /// Once true, or once its sender is gone, the drill is broken off and undone.
    pub stop: watch::Receiver<bool>,
}

/// What is planned on a drill's timeline, ends included: when, in seconds from its begin, and what in one line.
#[must_use]
pub fn upcoming(drill: &Drill) -> Vec<(f64, String)> {
    let mut timeline = timeline::Timeline::new(drill);
    let steps = std::iter::from_fn(|| timeline.due(std::time::Duration::MAX));
    let said = steps.filter_map(|(at, step)| {
        let words = match step {
            timeline::Step::Begin(index) | timeline::Step::Restart(index, _) => {
                words::event(drill.events.get(index)?, drill)
            }
            timeline::Step::Undo(index) => words::undo(drill.events.get(index)?),
        };
        Some((at.as_secs_f64(), words))
    });
    let load = words::load_changes(drill).into_iter().map(|(at, words)| (at.as_secs_f64(), words));
    let mut all: Vec<(f64, String)> = said.chain(load).collect();
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    all
}

/// Plays a drill once and judges it. Whatever was started or broken is gone when this returns.
///
/// Progress that does not fit into the channel is lost, so that nobody delays a drill.
///
/// # Errors
/// In words: the stage could not be raised, the load not be started, or the drill was broken off.
/// A fault that could not be applied is no error: the report says so, and does not pass.
pub async fn run(
    drill: &Drill,
    options: &RunOptions,
    tools: Arc<dyn TidegateTools>,
    progress: mpsc::Sender<Progress>,
) -> Result<RunReport, String> {
    Box::pin(runner::run(drill, options, tools, progress)).await
}
