//! What becomes of generations, and what is kept of them.

use model::generation::GenerationState::{
    Canary, Confirmed, RolledBack, Superseded, Unconfirmed, Watched,
};
use model::generation::{Generation, GenerationState, Origin};

use super::{STATES, new};
use crate::{Journal, JournalError, NewGeneration, Stored};

/// A history of these states, numbered from 1.
fn history(states: &[GenerationState]) -> Journal {
    let mut journal = Journal::in_memory().unwrap();
    for (index, state) in states.iter().enumerate() {
        journal.append(&new(&format!("text {index}"), *state)).unwrap();
    }
    journal
}

fn states(journal: &Journal) -> Vec<(u64, GenerationState)> {
    let listed = journal.list(100, None).unwrap();
    listed.iter().rev().map(|generation| (generation.number, generation.state)).collect()
}

#[test]
fn everything_is_kept() {
    let mut journal = Journal::in_memory().unwrap();
    for origin in [
        Origin::Start,
        Origin::Reload,
        Origin::Apply,
        Origin::Rollback { to: 3 },
        Origin::AutomaticRollback { to: 4 },
    ] {
        let given = NewGeneration {
            version: "0123456789ab".to_owned(),
            base: Some(7),
            at: "2026-01-31T23:59:59.123Z".to_owned(),
            author: "zoë".to_owned(),
            reason: "two\nlines, and a \0".to_owned(),
            origin,
            forced: true,
            state: Watched,
            verdict: "not yet".to_owned(),
            changes: vec!["pool api: a".to_owned(), "\"quoted\"".to_owned()],
            text: "[door]\n# grün\n".to_owned(),
            file_version: Some("ba9876543210".to_owned()),
        };
        let generation = journal.append(&given).unwrap();
        let expected = Generation {
            number: generation.number,
            version: given.version.clone(),
            base: given.base,
            at: given.at.clone(),
            author: given.author.clone(),
            reason: given.reason.clone(),
            origin,
            forced: true,
            state: Watched,
            verdict: given.verdict.clone(),
            changes: given.changes.clone(),
        };
        assert_eq!(generation, expected);
        let stored =
            Stored { generation: expected, text: given.text, file_version: given.file_version };
        assert_eq!(journal.get(generation.number).unwrap(), Some(stored));
    }
    assert_eq!(journal.get(6).unwrap(), None);
    assert_eq!(journal.get(u64::MAX).unwrap(), None);
}

#[test]
fn what_is_decided_stays() {
    // For each state, in the order of `STATES`, whether it may become each of them.
    for (from, allowed) in [
        (Canary, "yyyyyy"),
        (Unconfirmed, "-yyyyy"),
        (Watched, "--yyyy"),
        (Confirmed, "-----y"),
        (Superseded, "------"),
        (RolledBack, "------"),
    ] {
        for (to, may) in STATES.into_iter().zip(allowed.chars()) {
            for replace in [false, true] {
                let mut journal = history(&[from]);
                let settled = if replace {
                    journal.replace(1, to, "why", &new("next", Watched)).map(drop)
                } else {
                    journal.settle(1, to, "why").map(drop)
                };
                let first = journal.get(1).unwrap().unwrap().generation;
                let count = journal.list(9, None).unwrap().len();
                if may == 'y' {
                    settled.unwrap();
                    assert_eq!((first.state, first.verdict.as_str()), (to, "why"));
                    assert_eq!(count, 1 + usize::from(replace));
                } else {
                    let error = settled.unwrap_err();
                    assert!(matches!(error, JournalError::Decided { number: 1, .. }), "{error}");
                    assert_eq!((first.state, first.verdict.as_str()), (from, ""));
                    assert_eq!(count, 1, "{from:?} to {to:?} left half of a replacement");
                }
            }
        }
    }
    let error = history(&[Watched]).settle(2, Confirmed, "").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no generation 2 in the history: `tidegate history` lists them"
    );
}

#[test]
fn what_a_restart_serves() {
    let check = |given: &[GenerationState], live: Option<u64>, confirmed: Option<u64>| {
        let journal = history(given);
        let number = |stored: Option<Stored>| stored.map(|stored| stored.generation.number);
        assert_eq!(number(journal.live().unwrap()), live, "live of {given:?}");
        assert_eq!(number(journal.last_confirmed(None).unwrap()), confirmed, "of {given:?}");
    };
    check(&[], None, None);
    check(&[Canary], None, None);
    check(&[Watched], Some(1), None);
    check(&[Confirmed, Superseded, Watched], Some(3), Some(1));
    check(&[Confirmed, Confirmed, Unconfirmed], Some(2), Some(2));
    check(&[Confirmed, RolledBack, Canary], Some(1), Some(1));
    let earlier = history(&[Confirmed, Confirmed, Watched]).last_confirmed(Some(2)).unwrap();
    assert_eq!(earlier.map(|stored| stored.text), Some("text 0".to_owned()));
}

#[test]
fn what_nobody_decided_is_rolled_back() {
    let mut journal = history(&[Confirmed, Canary, Watched, Unconfirmed]);
    let recovered = journal.recover().unwrap();
    let numbers: Vec<u64> = recovered.iter().map(|generation| generation.number).collect();
    assert_eq!(numbers, [2, 4]);
    assert!(
        recovered
            .iter()
            .all(|generation| generation.verdict == "the process ended before it was decided"
                && generation.state == RolledBack)
    );
    assert_eq!(states(&journal), [(1, Confirmed), (2, RolledBack), (3, Watched), (4, RolledBack)]);
    assert_eq!(journal.recover().unwrap(), []);
}

#[test]
fn trimming_keeps_what_is_needed() {
    let given = [RolledBack, Confirmed, Watched, RolledBack, RolledBack, RolledBack];
    let check = |max: usize, left: &[u64]| {
        let mut journal = history(&given);
        let gone = journal.trim(max).unwrap();
        let numbers: Vec<u64> = states(&journal).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, left, "trimmed to {max}");
        assert_eq!(gone, given.len() - left.len());
        assert_eq!(journal.append(&new("next", Watched)).unwrap().number, 7);
    };
    check(6, &[1, 2, 3, 4, 5, 6]);
    check(4, &[2, 3, 4, 5, 6]);
    check(2, &[2, 3, 5, 6]);
    check(0, &[2, 3, 6]);
}

#[test]
fn a_text_is_kept_once_and_goes_with_its_last_generation() {
    let mut journal = Journal::in_memory().unwrap();
    let texts = |journal: &Journal| -> i64 {
        journal.connection.query_row("SELECT count(*) FROM texts", [], |row| row.get(0)).unwrap()
    };
    for text in ["a", "b", "a", "a"] {
        journal.append(&new(text, Confirmed)).unwrap();
    }
    assert_eq!(texts(&journal), 2);
    journal.trim(2).unwrap();
    assert_eq!(texts(&journal), 1);
    assert_eq!(journal.newest_with("v-a").unwrap().unwrap().number, 4);
    assert_eq!(journal.newest_with("v-b").unwrap(), None);
}

#[test]
fn lists_are_pages() {
    let journal = history(&[Confirmed; 5]);
    let page = |limit, before| -> Vec<u64> {
        let listed = journal.list(limit, before).unwrap();
        listed.iter().map(|generation| generation.number).collect()
    };
    assert_eq!(page(2, None), [5, 4]);
    assert_eq!(page(2, Some(4)), [3, 2]);
    assert_eq!(page(usize::MAX, Some(2)), [1]);
    assert_eq!(page(0, None), [0; 0]);
}

#[test]
fn lengths_have_limits() {
    let mut journal = Journal::in_memory().unwrap();
    let mut check = |new: NewGeneration, expected: &str| {
        let error = journal.append(&new).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(journal.list(1, None).unwrap(), []);
    };
    let good = new("", Confirmed);
    check(
        NewGeneration { text: "x".repeat((4 << 20) + 1), ..good.clone() },
        "the text has 4194305 bytes, and at most 4194304 are kept: shorten it",
    );
    check(
        NewGeneration { author: "x".repeat(201), ..good.clone() },
        "the author has 201 bytes, and at most 200 are kept: shorten it",
    );
    check(
        NewGeneration { reason: "ü".repeat(1_001), ..good.clone() },
        "the reason has 2002 bytes, and at most 2000 are kept: shorten it",
    );
    // What the door words itself is cut instead.
    let changes = vec!["ü".repeat(1_000); 300];
    let generation =
        journal.append(&NewGeneration { changes, verdict: "é".repeat(9_000), ..good }).unwrap();
    assert_eq!(generation.changes.len(), 200);
    let longest = generation.changes.iter().map(String::len).max();
    assert!(longest <= Some(1_000) && generation.verdict.len() <= 4_000);
    assert!(generation.verdict.ends_with("é…"), "cut between characters");
}
