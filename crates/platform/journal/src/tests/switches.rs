//! Switches: who is disabled outlives restarts, much history and damage.

use model::switch::Switch;
use rusqlite::Connection;

use super::new;
use crate::{Journal, JournalError, NewSwitch, SWITCHES_MAX};

fn switch(client: &str, enabled: bool) -> NewSwitch {
    NewSwitch {
        client: client.to_owned(),
        enabled,
        at: "2026-01-31T23:59:59.000Z".to_owned(),
        author: "ada".to_owned(),
        reason: "because".to_owned(),
    }
}

fn clients(switches: &[Switch]) -> Vec<(u64, &str)> {
    switches.iter().map(|switch| (switch.number, switch.client.as_str())).collect()
}

/// `a` is disabled, `+a` enabled again; who is disabled then, each with its switch's number.
#[track_caller]
fn check(script: &str, expected: &[(u64, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    for step in script.split_whitespace() {
        let client = step.trim_start_matches('+');
        journal.switch(&switch(client, client != step)).unwrap();
    }
    assert_eq!(clients(&journal.disabled().unwrap()), expected, "{script}");
    drop(journal);
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(clients(&journal.disabled().unwrap()), expected, "{script}, opened again");
}

#[test]
fn the_newest_switch_of_a_client_counts() {
    check("", &[]);
    check("b a", &[(2, "a"), (1, "b")]);
    check("a b +a", &[(2, "b")]);
    check("a +a a", &[(3, "a")]);
}

#[test]
fn the_history_is_bounded_and_forgets_no_disabled_client() {
    let mut journal = Journal::in_memory().unwrap();
    journal.switch(&switch("first", false)).unwrap();
    for step in 0..SWITCHES_MAX + 10 {
        journal.switch(&switch("often", step % 2 == 1)).unwrap();
    }
    let all = journal.switches(usize::MAX, None).unwrap();
    assert_eq!(all.len(), SWITCHES_MAX, "one call lists no more");
    let oldest = all.last().unwrap().number;
    assert_eq!(clients(&journal.switches(5, Some(oldest)).unwrap()), [(1, "first")]);
    assert_eq!(clients(&journal.disabled().unwrap()), [(1, "first")]);
    let newest = &all[0];
    assert_eq!((newest.number, newest.enabled), (SWITCHES_MAX as u64 + 11, true));
}

#[test]
fn what_a_person_wrote_too_long_is_refused() {
    let mut journal = Journal::in_memory().unwrap();
    let long = NewSwitch { reason: "x".repeat(2_001), ..switch("a", false) };
    let refused = journal.switch(&long);
    assert!(matches!(refused, Err(JournalError::TooLong { what: "reason", .. })), "{refused:?}");
    assert_eq!(journal.disabled().unwrap(), []);
}

#[test]
fn a_history_of_the_first_version_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let confirmed = model::generation::GenerationState::Confirmed;
    Journal::open(folder.path()).unwrap().append(&new("text", confirmed)).unwrap();
    let connection = Connection::open(folder.path().join("journal.db")).unwrap();
    connection.execute_batch("DROP TABLE switches; PRAGMA user_version = 1").unwrap();
    drop(connection);
    let mut journal = Journal::open(folder.path()).unwrap();
    journal.switch(&switch("a", false)).unwrap();
    assert_eq!(journal.live().unwrap().unwrap().text, "text");
}

#[test]
fn who_is_disabled_outlives_a_damaged_history() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    let confirmed = model::generation::GenerationState::Confirmed;
    journal.append(&new("text", confirmed)).unwrap();
    journal.switch(&switch("a", false)).unwrap();
    drop(journal);
    let connection = Connection::open(folder.path().join("journal.db")).unwrap();
    connection.execute_batch("UPDATE texts SET text = 'another'").unwrap();
    drop(connection);
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.warnings().len(), 1, "{:?}", journal.warnings());
    assert_eq!(clients(&journal.disabled().unwrap()), [(1, "a")]);
}
