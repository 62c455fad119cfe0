//! The folder and its files: held, foreign, newer, damaged, full.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use model::generation::GenerationState::{Confirmed, Watched};
use rusqlite::Connection;

use super::new;
use crate::{Journal, JournalError};

/// A folder with a history of `count` generations, closed.
fn folder(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    for index in 0..count {
        // Two kilobytes each, so that generations lie on pages of their own.
        let text = format!("{index:03} {}", "x".repeat(2_000));
        journal.append(&new(&text, Confirmed)).unwrap();
    }
    folder
}

fn database(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("journal.db")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The files that were set aside.
fn aside(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.display().to_string().contains(".damaged-")).collect()
}

#[test]
fn a_history_outlives_its_process() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("a/b");
    {
        let mut journal = Journal::open(&folder).unwrap();
        journal.append(&new("text", Watched)).unwrap();
        assert_eq!(mode(&folder), 0o700);
        for file in ["journal.db", "journal.db-wal", "journal.lock"] {
            assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
        }
    }
    let journal = Journal::open(&folder).unwrap();
    assert_eq!(journal.warnings(), &[] as &[String]);
    assert_eq!(journal.live().unwrap().unwrap().text, "text");
}

#[test]
fn one_process_at_a_time() {
    let folder = folder(1);
    let journal = Journal::open(folder.path()).unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the state folder {} is used by another door (process {}): stop that one, or give this one a folder of its own with `state` in `[door]`",
            folder.path().display(),
            std::process::id()
        )
    );
    drop(journal);
    Journal::open(folder.path()).unwrap();
}

#[test]
fn a_later_version_is_refused_untouched() {
    let folder = folder(1);
    let connection = Connection::open(database(&folder)).unwrap();
    connection.pragma_update(None, "user_version", 3).unwrap();
    drop(connection);
    let before = fs::read(database(&folder)).unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the history in {} has version 3, and this program knows 2: run the version that wrote it, or give this one a folder of its own with `state` in `[door]`",
            folder.path().display()
        )
    );
    assert!(fs::read(database(&folder)).unwrap() == before && aside(&folder).is_empty());
}

#[test]
fn a_database_of_another_program_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(database(&folder)).unwrap();
    connection.execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    drop(connection);
    let before = fs::read(database(&folder)).unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
    assert!(fs::read(database(&folder)).unwrap() == before && aside(&folder).is_empty());
}

/// Damages a history of 100 generations; gives how many are left and what was said.
fn damaged(damage: impl FnOnce(&Path, Vec<u8>)) -> (Vec<u64>, String) {
    let folder = folder(100);
    let bytes = fs::read(database(&folder)).unwrap();
    damage(&database(&folder), bytes);
    let wrong = fs::read(database(&folder)).unwrap_or_default();

    let mut journal = Journal::open(folder.path()).unwrap();
    let listed = journal.list(1_000, None).unwrap();
    for generation in &listed {
        let stored = journal.get(generation.number).unwrap().unwrap();
        let expected = format!("{:03} {}", generation.number - 1, "x".repeat(2_000));
        assert!(stored.text == expected, "the text of {} is another", generation.number);
    }
    assert_eq!(mode(&database(&folder)), 0o600);
    journal.append(&new("goes on", Confirmed)).unwrap();
    let set_aside = aside(&folder);
    let original = set_aside.iter().find(|path| fs::read(path).unwrap() == wrong).unwrap();
    let warning = journal.warnings().join("\n");
    assert!(warning.contains(&format!("is now {};", original.display())), "{warning}");
    drop(journal);
    // Mended once and for all.
    assert_eq!(Journal::open(folder.path()).unwrap().warnings(), &[] as &[String]);
    (listed.iter().map(|generation| generation.number).collect(), warning)
}

#[test]
fn what_is_no_database_is_set_aside() {
    for wrong in [&b""[..], b"not a database", &[0; 8_192]] {
        let (left, warning) = damaged(|path, _| fs::write(path, wrong).unwrap());
        assert_eq!(left, [0; 0]);
        assert!(warning.ends_with("no generation in it could be read: the history begins anew"));
    }
}

#[test]
fn what_can_be_read_of_a_damaged_file_is_kept() {
    // A page that holds texts; what is on other pages is whole.
    let (left, warning) = damaged(|path, mut bytes| {
        let text = format!("050 {}", "x".repeat(100));
        let text = bytes.windows(text.len()).position(|found| found == text.as_bytes()).unwrap();
        let page = text / 4_096 * 4_096;
        bytes[page..page + 4_096].fill(0xa5);
        fs::write(path, bytes).unwrap();
    });
    assert!((90..100).contains(&left.len()), "{} left", left.len());
    assert_eq!((left.first(), left.last()), (Some(&100), Some(&1)));
    assert!(warning.contains("of its generations could be read and are kept, 1 to 100"));

    // SQLite reads nothing of a file whose end is gone.
    let (left, _) = damaged(|path, bytes| fs::write(path, &bytes[..bytes.len() / 2]).unwrap());
    assert_eq!(left, [0; 0]);
}

#[test]
fn a_flipped_bit_in_a_text_is_noticed() {
    let (left, _) = damaged(|path, mut bytes| {
        // Pages that were split hold old copies of it, too.
        for index in 0..bytes.len() - 7 {
            if bytes[index..].starts_with(b"041 xxx") {
                bytes[index + 100] ^= 1;
            }
        }
        fs::write(path, bytes).unwrap();
    });
    let expected: Vec<u64> = (1..=100).rev().filter(|number| *number != 42).collect();
    assert_eq!(left, expected);
}

#[test]
fn random_damage_never_yields_a_wrong_generation() {
    let sound = fs::read(database(&folder(20))).unwrap();
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = sound.clone();
        for _ in 0..random.usize(1..60) {
            let index = random.usize(..bytes.len());
            bytes[index] = random.u8(..);
        }
        fs::write(database(&folder), bytes).unwrap();
        let journal = match Journal::open(folder.path()) {
            Ok(journal) => journal,
            // The marks of whose file it is were hit: refused, and still there.
            Err(JournalError::Foreign { .. } | JournalError::Newer { .. }) => continue,
            Err(error) => panic!("seed {seed}: {error}"),
        };
        for generation in journal.list(1_000, None).unwrap() {
            let text = journal.get(generation.number).unwrap().unwrap().text;
            let expected = format!("{:03} {}", generation.number - 1, "x".repeat(2_000));
            assert!(text == expected, "seed {seed}: {}", generation.number);
        }
    }
}

#[test]
fn a_log_without_its_database_is_set_aside() {
    let folder = folder(3);
    fs::remove_file(database(&folder)).unwrap();
    fs::write(folder.path().join("journal.db-wal"), "what was not yet in the file").unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.list(9, None).unwrap(), []);
    assert!(journal.warnings().join("").contains("the file is gone, and its log is not"));
    assert_eq!(aside(&folder).len(), 1);
}

#[test]
fn a_full_disk_leaves_the_history_as_it_was() {
    let folder = folder(1);
    let mut journal = Journal::open(folder.path()).unwrap();
    // As SQLite sees a full disk.
    let pages: i64 =
        journal.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    journal.connection.pragma_update(None, "max_page_count", pages + 1).unwrap();
    let large = new(&"y".repeat(100_000), Watched);
    for error in [
        journal.append(&large).unwrap_err(),
        journal.replace(1, model::generation::GenerationState::RolledBack, "", &large).unwrap_err(),
    ] {
        assert_eq!(
            error.to_string(),
            format!(
                "the disk of the state folder {} is full: nothing was recorded; make room and try again",
                folder.path().display()
            )
        );
    }
    let listed = journal.list(9, None).unwrap();
    assert_eq!((listed.len(), listed[0].state), (1, Confirmed));
    journal.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    assert_eq!(journal.append(&large).unwrap().number, 2);
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let outer = tempfile::tempdir().unwrap();
    let file = outer.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("inside")] {
        let error = Journal::open(&path).unwrap_err();
        let expected = format!("the state folder {} cannot be used: make it", path.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    // Root writes wherever it wants, so what is there is read only by another name: a folder in
    // the place of the file.
    let folder = outer.path().join("folder");
    fs::create_dir_all(folder.join("journal.db")).unwrap();
    let error = Journal::open(&folder).unwrap_err();
    assert!(matches!(error, JournalError::Folder { .. }), "{error:?}");
}
