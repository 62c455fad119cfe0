//! A process that is killed in the middle of writing: what it was told is recorded is there, what
//! it asked for next is there whole or not at all, and nothing else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use model::generation::GenerationState;

use super::plain::{Operation, Plain};
use super::{STATES, new};
use crate::Journal;

const FOLDER: &str = "JOURNAL_TEST_FOLDER";
const SEED: &str = "JOURNAL_TEST_SEED";
const MOMENTS: u64 = 50;
const OPERATIONS_MAX: usize = 3_000;

/// The stream of a seed: the same in the process that dies and in the one that looks.
fn next(random: &mut fastrand::Rng, plain: &Plain) -> Operation {
    let state = STATES[random.usize(..STATES.len())];
    // From a few bytes, within one page of the file, to many pages.
    let length = 1_usize << random.u32(0..17);
    let text = format!("{}{}", random.u32(..8), "x".repeat(length));
    let recent = |random: &mut fastrand::Rng| plain.newest().saturating_sub(random.u64(..3));
    match random.u32(..4) {
        0 => Operation::Settle(recent(random), state),
        1 => Operation::Append(new(&text, state)),
        _ => Operation::Replace(recent(random), GenerationState::RolledBack, new(&text, state)),
    }
}

/// What [`history_survives_a_kill`] runs in a process of its own; without its variables, nothing.
#[test]
fn child_writes_until_it_is_killed() {
    let (Some(folder), Some(seed)) = (std::env::var_os(FOLDER), std::env::var_os(SEED)) else {
        return;
    };
    let mut journal = Journal::open(Path::new(&folder)).unwrap();
    let mut random = fastrand::Rng::with_seed(seed.to_str().unwrap().parse().unwrap());
    let mut plain = Plain::default();
    for _ in 0..OPERATIONS_MAX {
        let operation = next(&mut random, &plain);
        assert_eq!(operation.run(&mut journal), plain.run(&operation), "{operation:?}");
        println!("recorded");
        std::io::stdout().flush().unwrap();
    }
}

/// Kills the child once SQLite's log has grown to `bytes`: in the middle of a transaction more
/// often than not. Gives the number of calls that returned.
fn killed_at(folder: &Path, seed: u64, bytes: u64) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::kill::child_writes_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let log = folder.join("journal.db-wal");
    while std::fs::metadata(&log).map_or(0, |metadata| metadata.len()) < bytes {
        assert!(child.try_wait().unwrap().is_none(), "the child ended before its log had {bytes}");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.filter(|line| line.as_ref().is_ok_and(|line| line.ends_with("recorded"))).count()
}

#[test]
fn history_survives_a_kill() {
    let mut lengths = Vec::new();
    let mut moments = fastrand::Rng::with_seed(4);
    for seed in 0..MOMENTS {
        let folder = tempfile::tempdir().unwrap();
        let recorded = killed_at(folder.path(), seed, moments.u64(1..600_000));
        lengths.push(recorded);

        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!(journal.warnings(), &[] as &[String], "nothing needs mending");
        let found = Plain::read(&journal);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut expected = Plain::default();
        for _ in 0..recorded {
            let operation = next(&mut random, &expected);
            expected.run(&operation);
        }
        let mut one_more = expected.clone();
        let operation = next(&mut random, &expected);
        one_more.run(&operation);
        assert!(
            found == expected || found == one_more,
            "seed {seed}: after {recorded} calls the newest is {}, expected {} or {}",
            found.newest(),
            expected.newest(),
            one_more.newest(),
        );
    }
    assert!(lengths.iter().any(|length| *length > 20), "some children wrote much: {lengths:?}");
}
