//! `bench overload`: goodput against offered load, for Tidegate told nothing and for its peers with
//! limits set by hand.
//!
//! Two app servers behind one door, open loop, latency from when a request was due, client timeout
//! 1 s. Goodput is what was answered within the objective. Two kinds of server: one sleeps and
//! serves a fixed number at once, one holds a lock and collapses past its knee. What they carry is
//! measured first, without a door; everything is a multiple or a share of that. Each point has
//! a fresh door and fresh servers, the first seconds are not judged, and the order of the points
//! is drawn anew in each round. A point whose generator was late is lost, not counted.

mod app;
mod bars;
mod case;
mod configurations;
mod door;
mod page;
mod plan;
mod point;
mod runner;
mod table;

use std::path::PathBuf;

use anyhow::{Context, ensure};

use super::processes::{self, Workshop};
use crate::{Outcome, say, shell};
use app::Kind;
use case::{Case, Scenario};
use door::Door;
use runner::Runner;

/// Tries of a point whose generator was late.
const TRIES: usize = 2;

/// How `bench overload` runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these scenarios; all by default.
    #[arg(long, value_name = "SCENARIO", value_enum)]
    only: Vec<Scenario>,
    /// Only these doors; all that take part by default.
    #[arg(long = "door", value_name = "NAME", value_enum)]
    doors: Vec<Door>,
    /// Only these app servers.
    #[arg(long = "app", value_name = "KIND", value_enum)]
    apps: Vec<Kind>,
    /// These multiples of the capacity, instead of each scenario's own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=40))]
    times: Vec<u32>,
    /// Only with (`true`) or without (`false`) client retries.
    #[arg(long, value_name = "BOOL")]
    retries: Option<bool>,
    /// Rounds; medians are judged.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds that are judged of each point.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=120))]
    seconds: u32,
    /// A few minutes: fewer points, no retries, 4 s each.
    #[arg(long)]
    quick: bool,
    /// Count points whose generator was late, for work on a busy machine; then no bar is judged.
    #[arg(long)]
    busy: bool,
    /// Of the load, the servers and the order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The tidegate program; without it one is built with the profile `dist`.
    #[arg(long, value_name = "PROGRAM")]
    tidegate: Option<PathBuf>,
    /// Writes every point and verdict to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes tables and plots as one self-contained page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The core of door and servers.
    #[arg(long, default_value_t = 0)]
    door_core: usize,
    /// The core of the load generator.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

impl Options {
    /// Seconds that are judged of each point.
    fn judged(&self) -> u32 {
        if self.quick { self.seconds.min(4) } else { self.seconds }
    }

    /// Every point of one round, in the order of the tables.
    fn cases(&self, doors: &[Door]) -> Vec<Case> {
        let asked = |case: &Case| {
            (self.only.is_empty() || self.only.contains(&case.scenario))
                && (self.doors.is_empty() || self.doors.contains(&case.door))
                && (self.apps.is_empty() || self.apps.contains(&case.app))
                && self.retries.is_none_or(|wanted| case.retries == wanted)
                && !(self.quick && case.is_left_out_when_quick())
        };
        let mut cases = case::all(doors, &self.times, self.quick);
        cases.retain(asked);
        cases
    }
}

/// Builds, measures, reports.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    ensure!(options.door_core != options.load_core, "door and load need a core each");
    processes::raise_descriptors()?;
    let tidegate = match &options.tidegate {
        Some(program) => std::path::absolute(program)?,
        None => {
            shell::must("cargo", &["build", "--profile", "dist", "--package", "tidegate"])?;
            shell::root().join("target/dist/tidegate")
        }
    };
    let programs = door::Programs::find(tidegate)?;
    let cases = options.cases(&programs.doors());
    ensure!(!cases.is_empty(), "nothing that was asked for takes part");
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let workshop = Workshop {
        folder: folder.path().to_path_buf(),
        xtask: std::env::current_exe().context("this program has no file")?,
        door_core: options.door_core,
        load_core: options.load_core,
    };
    let tries = if options.busy { 1 } else { TRIES };
    let runner = Runner::new(workshop, programs, (options.judged(), tries), options.seed);
    let capacities = runner.capacities(&cases)?;
    say::note(&format!("{} points a round", cases.len()));
    let mut points = Vec::new();
    let mut order = fastrand::Rng::with_seed(options.seed);
    for round in 0..usize::from(options.rounds) {
        let mut cases = cases.clone();
        order.shuffle(&mut cases);
        for (index, case) in cases.iter().enumerate() {
            let point = runner.point(case, round, &capacities);
            let point = if options.busy { point.kept_although_late() } else { point };
            say::note(&format!("[{}/{}] {}", index + 1, cases.len(), point.progress()));
            points.push(point);
        }
    }
    points.sort_by_key(|point| (point.case, point.round));
    let verdicts = if options.busy { Vec::new() } else { bars::judge(&points) };
    table::print(&points, &verdicts, &capacities);
    if let Some(path) = &options.json {
        table::write_json(path, &points, &verdicts, &capacities)?;
    }
    if let Some(path) = &options.html {
        std::fs::write(path, page::render(&points, &verdicts))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let all = verdicts.iter().all(bars::Verdict::reached);
    Ok(if all { Outcome::Clean } else { Outcome::BarMissed })
}
