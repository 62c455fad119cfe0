//! What is leased, until when, and in which order it is undone.
//!
//! Pure: time comes in as `now`; the watchdog carries out what comes out.
//! Invariant: every lease comes out exactly once, by [`Leases::release`], at its end by
//! [`Leases::due`], or by [`Leases::all`]; those that come out together come newest first, since
//! a later fault may stand on an earlier one.

use model::Timestamp;

/// Leases at once.
pub(super) const LEASES_MAX: usize = 1_024;

#[derive(Debug)]
struct Lease<U> {
    id: u64,
    undo: U,
    end: Option<Timestamp>,
}

/// The leases that run, oldest first.
#[derive(Debug)]
pub(super) struct Leases<U> {
    running: Vec<Lease<U>>,
}

impl<U> Leases<U> {
    pub(super) fn new() -> Self {
        Self { running: Vec::new() }
    }

    /// Registers one more; `end`: when it is undone unless it was released.
    ///
    /// # Errors
    /// In words: there are too many, or the id is taken.
    pub(super) fn lease(&mut self, id: u64, undo: U, end: Option<Timestamp>) -> Result<(), String> {
        if self.running.len() >= LEASES_MAX {
            return Err(format!("{LEASES_MAX} leases run already: release one first"));
        }
        if self.running.iter().any(|lease| lease.id == id) {
            return Err(format!("lease {id} runs already"));
        }
        self.running.push(Lease { id, undo, end });
        Ok(())
    }

    /// Takes one out; `None` when it does not run (any more).
    pub(super) fn release(&mut self, id: u64) -> Option<U> {
        let index = self.running.iter().position(|lease| lease.id == id)?;
        Some(self.running.remove(index).undo)
    }

    /// Takes out those whose end has come, newest first.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<U> {
        let ended = |lease: &mut Lease<U>| lease.end.is_some_and(|end| end <= now);
        let mut due: Vec<U> = self.running.extract_if(.., ended).map(|lease| lease.undo).collect();
        due.reverse();
        due
    }

    /// Takes out all, newest first.
    pub(super) fn all(&mut self) -> Vec<U> {
        self.running.drain(..).rev().map(|lease| lease.undo).collect()
    }

    /// When the next lease ends, if one has an end.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.running.iter().filter_map(|lease| lease.end).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(second)
    }

    /// `3` leases for good, `3:5` leases until second 5, `-3` releases, `@5` turns the clock,
    /// `.` is the end of the pipe; gives what was undone, in order.
    fn check(script: &str, undone: &str) {
        let mut leases = Leases::new();
        let mut out = Vec::new();
        for word in script.split_whitespace() {
            if let Some(id) = word.strip_prefix('-') {
                leases.release(id.parse().unwrap());
            } else if let Some(now) = word.strip_prefix('@') {
                out.extend(leases.due(at(now.parse().unwrap())));
            } else if word == "." {
                out.extend(leases.all());
            } else {
                let (id, end) =
                    word.split_once(':').map_or((word, None), |(id, end)| (id, Some(end)));
                let end = end.map(|end| at(end.parse().unwrap()));
                leases.lease(id.parse().unwrap(), id.to_owned(), end).unwrap();
            }
        }
        assert_eq!(out.join(" "), undone, "{script}");
    }

    #[test]
    fn leases_are_undone_newest_first() {
        check("1 2 3 .", "3 2 1");
        check("1:5 2:5 3 @5 .", "2 1 3");
        check("1:9 2:5 @5 @9 .", "2 1");
    }

    #[test]
    fn what_was_released_is_not_undone() {
        check("1 2 3 -2 .", "3 1");
        check("1:5 -1 @5 .", "");
        check("-7 1 .", "1");
    }

    #[test]
    fn an_end_counts_from_its_second_on() {
        check("1:5 @4", "");
        check("1:5 @5", "1");
        check("1:5 @60", "1");
    }

    #[test]
    fn the_table_is_bounded_and_ids_are_distinct() {
        let mut leases = Leases::new();
        for id in 0..LEASES_MAX as u64 {
            leases.lease(id, (), None).unwrap();
        }
        assert!(leases.lease(u64::MAX, (), None).unwrap_err().contains("1024 leases run already"));
        leases.release(0);
        assert_eq!(leases.lease(1, (), None), Err("lease 1 runs already".to_owned()));
        assert_eq!(leases.lease(0, (), None), Ok(()));
    }

    proptest! {
        #[test]
        fn every_lease_comes_out_exactly_once(
            steps in prop::collection::vec((0..3_u8, 0..20_u64, 0..30_u64), 0..200)
        ) {
            let (mut leases, mut now) = (Leases::new(), 0);
            let (mut came_in, mut came_out) = (0_u64, Vec::new());
            let mut running: Vec<u64> = Vec::new();
            for (step, id, seconds) in steps {
                let mut out = match step {
                    0 => {
                        // The undo is the number of the registration: distinct, and it tells the order.
                        if leases.lease(id, came_in, (id % 2 == 0).then(|| at(now + seconds))).is_ok() {
                            running.push(came_in);
                            came_in += 1;
                        }
                        Vec::new()
                    }
                    1 => leases.release(id).into_iter().collect(),
                    _ => {
                        now += seconds / 10;
                        let due = leases.due(at(now));
                        prop_assert!(leases.next_end().is_none_or(|end| end > at(now)));
                        due
                    }
                };
                prop_assert!(out.is_sorted_by(|newer, older| newer > older));
                came_out.append(&mut out);
            }
            let rest = leases.all();
            prop_assert!(rest.is_sorted_by(|newer, older| newer > older));
            came_out.extend(rest);
            came_out.sort_unstable();
            prop_assert_eq!(came_out, running);
        }
    }
}
