//! Collects what failed tests printed, to tell it once more at the end of a run.
//!
//! Of a long log often only the end is kept or read. So the name of every failed test and the
//! end of its output come again last, without the backtraces, which say little and take most
//! of the room. Invariant: what is kept and what is told is bounded, whatever the tests print.

use std::collections::VecDeque;

/// Lines told in all, the names of the tests among them.
const LINES_MAX: usize = 300;
/// Lines told of one test, from the end of its output.
const LINES_PER_TEST_MAX: usize = 60;
/// Characters told of one line.
const LINE_CHARACTERS_MAX: usize = 1_000;

/// The failed tests seen so far.
#[derive(Debug, Default)]
pub(super) struct Failures {
    sections: Vec<Section>,
    /// Tests that failed after as many as can be told.
    further: usize,
    place: Place,
}

/// Where in the output of `cargo test` the last line was.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Elsewhere,
    Section,
    Backtrace,
}

/// What one failed test printed.
#[derive(Debug)]
struct Section {
    name: String,
    /// Its last lines, oldest first.
    lines: VecDeque<String>,
}

impl Failures {
    /// Reads the next line of the output of `cargo test`.
    pub(super) fn add(&mut self, line: &str) {
        if let Some(name) = name_of(line) {
            self.open(name);
        } else if line == "failures:" || line.starts_with("test result: ") {
            // The list of names that follows the sections, or the sum that follows the list.
            self.place = Place::Elsewhere;
        } else if line == "stack backtrace:" && self.place == Place::Section {
            self.place = Place::Backtrace;
        } else if self.place == Place::Backtrace && !line.starts_with(' ') {
            self.place = Place::Section;
        }
        if self.place == Place::Section && name_of(line).is_none() && !line.trim().is_empty() {
            self.keep(line);
        }
    }

    fn open(&mut self, name: &str) {
        if self.sections.len() == LINES_MAX {
            self.further += 1;
            self.place = Place::Elsewhere;
            return;
        }
        self.sections.push(Section { name: name.to_owned(), lines: VecDeque::new() });
        self.place = Place::Section;
    }

    fn keep(&mut self, line: &str) {
        let Some(section) = self.sections.last_mut() else {
            return;
        };
        if section.lines.len() == LINES_PER_TEST_MAX {
            section.lines.pop_front();
        }
        section.lines.push_back(line.chars().take(LINE_CHARACTERS_MAX).collect());
    }

    /// What is to be told: nothing when nothing failed. Where many failed each has a shorter end.
    pub(super) fn report(&self) -> Vec<String> {
        let mut told = Vec::new();
        // One line of each test's share is its name.
        let share = LINES_MAX.checked_div(self.sections.len()).unwrap_or(0).saturating_sub(1);
        for section in &self.sections {
            told.push(format!("---- failed: {} ----", section.name));
            let skipped = section.lines.len().saturating_sub(share);
            told.extend(section.lines.iter().skip(skipped).cloned());
        }
        if self.further > 0 {
            told.push(format!("and {} failed tests more", self.further));
        }
        told
    }
}

/// The test of a line such as `---- tests::name stdout ----`.
fn name_of(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

#[cfg(test)]
mod tests {
    use super::{Failures, LINES_MAX, LINES_PER_TEST_MAX};

    fn report(lines: &[String]) -> Vec<String> {
        let mut failures = Failures::default();
        lines.iter().for_each(|line| failures.add(line));
        failures.report()
    }

    fn check(output: &str, expected: &[&str]) {
        assert_eq!(report(&output.lines().map(str::to_owned).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn nothing_is_told_of_what_passed() {
        check("running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed", &[]);
    }

    #[test]
    fn every_failed_test_is_told_without_its_backtrace() {
        let output = "\
running 3 tests
test a ... FAILED
test b ... FAILED
test tests::c ... ok

failures:

---- a stdout ----
a figure

thread 'a' panicked at tests/a.rs:1:2:
waited in vain
stack backtrace:
   0: __rustc::rust_begin_unwind
             at /rustc/panicking.rs:689:5
note: run with `RUST_BACKTRACE=full` for a verbose backtrace.

---- b stdout ----
Error: \"no\"


failures:
    a
    b

test result: FAILED. 1 passed; 2 failed; 0 ignored
running 1 test
test d ... FAILED

failures:

---- d stdout ----
thread 'd' panicked


failures:
    d
";
        check(
            output,
            &[
                "---- failed: a ----",
                "a figure",
                "thread 'a' panicked at tests/a.rs:1:2:",
                "waited in vain",
                "note: run with `RUST_BACKTRACE=full` for a verbose backtrace.",
                "---- failed: b ----",
                "Error: \"no\"",
                "---- failed: d ----",
                "thread 'd' panicked",
            ],
        );
    }

    /// The output of this many tests that fail, each with this many numbered lines.
    fn failing(tests: usize, lines: usize) -> Vec<String> {
        let section = |test| {
            let head = format!("---- test {test} stdout ----");
            std::iter::once(head).chain((0..lines).map(|line| format!("line {line}")))
        };
        (0..tests).flat_map(section).collect()
    }

    #[test]
    fn the_end_of_a_long_output_is_told() {
        let told = report(&failing(1, 1_000));
        assert_eq!(told.len(), 1 + LINES_PER_TEST_MAX);
        assert_eq!(told.last().map(String::as_str), Some("line 999"));
    }

    #[test]
    fn all_names_are_told_and_no_more_lines_than_the_most() {
        for tests in [1, 4, 5, 100, LINES_MAX, 2 * LINES_MAX] {
            let told = report(&failing(tests, 1_000));
            assert!(told.len() <= LINES_MAX + 1, "{} lines of {tests} tests", told.len());
            let names = told.iter().filter(|line| line.starts_with("---- failed: test ")).count();
            assert_eq!(names, tests.min(LINES_MAX));
        }
        let told = report(&failing(2 * LINES_MAX, 1));
        assert_eq!(told.last().map(String::as_str), Some("and 300 failed tests more"));
    }
}
