//! Builds and runs the fuzz targets over their kept corpus, and says how far each came.
//!
//! The coverage hooks are ordinary code generation options, so the stable compiler builds the
//! targets. `--target` keeps the hooks out of build scripts. A crash leaves its input under
//! `fuzz/artifacts` and ends the run with exit code 1.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::{Outcome, say, shell};

/// Code generation options that give libFuzzer its view of the program.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 -Cdebug-assertions=on -Coverflow-checks=on";

/// What `fuzz` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only these targets; all by default.
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
}

/// How one target's run ended.
struct Run {
    target: String,
    executions: Option<u64>,
    inputs_kept: usize,
    crashed: bool,
}

/// Builds all targets, runs each for its time, prints a table.
pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let folder = shell::root().join("fuzz");
    let triple = host_triple()?;
    let targets = chosen(&folder, &options.targets)?;
    build(&folder, &triple, &targets)?;
    let mut runs = Vec::new();
    for target in targets {
        let program = folder.join("target").join(&triple).join("release").join(&target);
        runs.push(run_target(&folder, &program, target, options.seconds)?);
    }
    say::data(&format!("{:<20} {:>14} {:>8}  result", "target", "executions", "corpus"));
    for run in &runs {
        let executions = run.executions.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
        let result = if run.crashed { "CRASHED, see fuzz/artifacts" } else { "clean" };
        say::data(&format!("{:<20} {executions:>14} {:>8}  {result}", run.target, run.inputs_kept));
    }
    let crashed = runs.iter().any(|run| run.crashed);
    Ok(if crashed { Outcome::Findings } else { Outcome::Clean })
}

/// The triple of this compiler, since `--target` needs one.
fn host_triple() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// The targets asked for, or every program of the fuzz package.
fn chosen(folder: &Path, asked: &[String]) -> anyhow::Result<Vec<String>> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(folder.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cannot read fuzz/Cargo.toml")?;
    let known: Vec<String> = metadata
        .packages
        .iter()
        .flat_map(|package| &package.targets)
        .filter(|target| target.is_bin())
        .map(|target| target.name.clone())
        .collect();
    for name in asked {
        anyhow::ensure!(known.contains(name), "no fuzz target {name}; there are: {known:?}");
    }
    Ok(if asked.is_empty() { known } else { asked.to_vec() })
}

fn build(folder: &Path, triple: &str, targets: &[String]) -> anyhow::Result<()> {
    say::note("+ cargo build --release, in fuzz, with coverage hooks");
    let status = Command::new("cargo")
        .args(["build", "--release", "--target", triple])
        .args(targets.iter().flat_map(|target| ["--bin", target]))
        .current_dir(folder)
        .env("RUSTFLAGS", COVERAGE)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .status()
        .context("cannot run cargo")?;
    anyhow::ensure!(status.success(), "the fuzz targets do not build: {status}");
    Ok(())
}

/// Runs one target; new inputs go to a scratch corpus, so that the kept one changes only by hand.
fn run_target(folder: &Path, program: &Path, target: String, seconds: u32) -> anyhow::Result<Run> {
    let kept = folder.join("corpus").join(&target);
    let found = folder.join("target").join("found").join(&target);
    let artifacts = folder.join("artifacts").join(&target);
    for needed in [&kept, &found, &artifacts] {
        std::fs::create_dir_all(needed)
            .with_context(|| format!("cannot make {}", needed.display()))?;
    }
    say::note(&format!("{target}: {seconds} s"));
    let mut child = Command::new(program)
        .args([&found, &kept])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-timeout=5", "-rss_limit_mb=2048"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let output = child.stderr.take().expect("stderr was piped above");
    let (executions, tail) = read_report(BufReader::new(output));
    let status = child.wait().context("cannot wait for the fuzz target")?;
    if !status.success() {
        tail.iter().for_each(|line| say::note(line));
    }
    Ok(Run { target, executions, inputs_kept: entries(&kept), crashed: !status.success() })
}

/// The executions libFuzzer reports, and its last lines for when it found something.
fn read_report(output: impl BufRead) -> (Option<u64>, Vec<String>) {
    const TAIL_LINES_MAX: usize = 40;
    let mut executions = None;
    let mut tail = std::collections::VecDeque::new();
    for line in output.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            executions = count.trim().parse().ok();
        }
        if tail.len() == TAIL_LINES_MAX {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    (executions, tail.into())
}

fn entries(folder: &PathBuf) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::read_report;

    #[test]
    fn executions_are_read_from_the_final_statistics() {
        let report = "INFO: Seed: 1\n#2 INITED\nstat::number_of_executed_units: 81920\n";
        let (executions, tail) = read_report(report.as_bytes());
        assert_eq!(executions, Some(81_920));
        assert_eq!(tail.len(), 3);
        assert_eq!(read_report("died\n".as_bytes()).0, None);
    }
}
