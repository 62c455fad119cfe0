//! Measures how often the verdicts are wrong, over thousands of changes that are simulated, and
//! prints the tables of `docs/explanation/rollout.md`.
//!
//! `cargo run -p rollout --release --example study`

use std::io::{StdoutLock, Write};

use rollout::{CanaryVerdict, WatchVerdict};
use simulated::canary::{self, Trial};
use simulated::watch;

#[path = "../tests/rollout/simulated/mod.rs"]
mod simulated;

/// The first seed: far from those of the tests, which the thresholds were chosen with.
const SEED: u64 = 1_000_000;
/// Candidates per kind and trial.
const CANDIDATES: u64 = 200;
/// Candidates per size of harm, where the smallest is looked for.
const SMALLEST: u64 = 500;
/// Watched changes per kind and rate.
const WATCHED: u64 = 125;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    canaries(&mut out)?;
    smallest(&mut out)?;
    good_watched(&mut out)?;
    bad_watched(&mut out)
}

/// Promoted, rolled back and undecided of `count`, and the mean second of a rollback.
fn verdicts(change: canary::Change, trial: Trial, count: u64) -> (u64, u64, u64, u64) {
    let (mut promoted, mut back, mut undecided, mut seconds) = (0, 0, 0, 0);
    for seed in SEED..SEED + count {
        match canary::play(change, trial, seed) {
            (CanaryVerdict::Promote(_), _) => promoted += 1,
            (CanaryVerdict::RollBack(_), after) => {
                back += 1;
                seconds += u64::from(after);
            }
            (CanaryVerdict::Undecided(_), _) => undecided += 1,
            (CanaryVerdict::Watching, _) => {}
        }
    }
    (promoted, back, undecided, seconds.checked_div(back).unwrap_or(0))
}

fn canaries(out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    writeln!(out, "\nCanary, {CANDIDATES} each: promoted / rolled back / undecided\n")?;
    let trials = Trial::ALL.map(Trial::words).join(" | ");
    writeln!(out, "| the candidate | {trials} |\n| --- |{}", " --- |".repeat(Trial::ALL.len()))?;
    for change in canary::Change::GOOD.into_iter().chain(canary::Change::BAD) {
        write!(out, "| {} |", change.words())?;
        for trial in Trial::ALL {
            let (promoted, back, undecided, mean) = verdicts(change, trial, CANDIDATES);
            write!(out, " {promoted} / {back} / {undecided}")?;
            if back * 2 > CANDIDATES {
                write!(out, " ({mean} s)")?;
            }
            write!(out, " |")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The smallest harm of which at most one candidate of a hundred is promoted.
fn smallest(out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    writeln!(out, "\nCanary: the smallest harm that is promoted once in a hundred at most\n")?;
    writeln!(out, "| requests of the candidate | its share | more failures | slower |")?;
    writeln!(out, "| --- | --- | --- | --- |")?;
    let failures = [0.002, 0.003, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06];
    let slower = [1.1, 1.12, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5];
    for trial in Trial::ALL {
        // Enough requests for a verdict: what is asked is how small a harm is seen with them.
        let requests = trial.requests().max(350.0);
        let per_second = trial.per_second * requests / trial.requests();
        let trial = Trial { per_second, ..trial };
        let is_seen = |change| verdicts(change, trial, SMALLEST).0 * 100 <= SMALLEST;
        let fails = failures.into_iter().find(|share| is_seen(canary::Change::Fails(*share)));
        let slow = slower.into_iter().find(|times| is_seen(canary::Change::Slower(*times)));
        let fails = fails.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let slow = slow.map_or_else(|| "-".to_owned(), |times| format!("{times} times"));
        let share = trial.share * 100.0;
        writeln!(out, "| {requests:.0} | {share:.0} % | {fails} | {slow} |")?;
    }
    Ok(())
}

fn good_watched(out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    writeln!(out, "\nWatch, good changes rolled back of {WATCHED}\n")?;
    writeln!(out, "| change | 1/s | 5/s | 50/s | 500/s |\n| --- | --- | --- | --- | --- |")?;
    for change in watch::Change::GOOD {
        write!(out, "| {} |", change.words())?;
        for rate in [1.0, 5.0, 50.0, 500.0] {
            let is_wrong = |seed: &u64| {
                let verdict = watch::play(change, rate, 60, *seed).verdict;
                matches!(verdict, WatchVerdict::Broken(_))
            };
            write!(out, " {} |", (SEED..SEED + WATCHED).filter(is_wrong).count())?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn bad_watched(out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    writeln!(out, "\nWatch, bad changes: seen of {WATCHED}, after seconds, mean and most\n")?;
    writeln!(
        out,
        "| change | 5/s | 50/s | 200/s | 200/s, 4 s before |\n| --- | --- | --- | --- | --- |"
    )?;
    for change in watch::Change::BAD {
        write!(out, "| {} |", change.words())?;
        for (rate, before) in [(5.0, 60), (50.0, 60), (200.0, 60), (200.0, 4)] {
            let (mut seen, mut sum, mut most) = (0_u32, 0.0, 0.0_f64);
            for seed in SEED..SEED + WATCHED {
                let outcome = watch::play(change, rate, before, seed);
                if let WatchVerdict::Broken(_) = outcome.verdict {
                    seen += 1;
                    sum += outcome.seconds;
                    most = most.max(outcome.seconds);
                }
            }
            write!(out, " {seen}: {:.1} s, {most:.1} s |", sum / f64::from(seen.max(1)))?;
        }
        writeln!(out)?;
    }
    Ok(())
}
