//! The due times of one stream in one thread: of every request, each thread takes its turn.

use std::sync::Arc;

use model::load::{self, ReplayRequest};

use super::requests::mix;
use super::schedule::Schedule;

/// Requests that are due at times of their own.
#[derive(Debug)]
pub(super) struct Arrivals {
    source: Source,
    /// The number of the next request of all threads.
    number: u64,
    thread: u64,
    threads: u64,
}

#[derive(Debug)]
enum Source {
    Schedule(Schedule),
    Replay(Arc<[ReplayRequest]>),
    /// Users and sessions say themselves when they ask.
    Askers,
}

impl Arrivals {
    pub(super) fn new(arrivals: &load::Arrivals, seed: u64, turn: (usize, usize)) -> Self {
        let source = match arrivals {
            load::Arrivals::Open { stages, spacing } => {
                Source::Schedule(Schedule::new(stages, *spacing, mix(seed, u64::MAX)))
            }
            load::Arrivals::Replay { requests } => Source::Replay(Arc::clone(requests)),
            load::Arrivals::Closed { .. } | load::Arrivals::Sessions { .. } => Source::Askers,
        };
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Self { source, number: 0, thread: wide(turn.0), threads: wide(turn.1).max(1) }
    }

    /// The next request of this thread: its number, and when it is due in nanoseconds from the
    /// start of the stream.
    pub(super) fn next(&mut self) -> Option<(u64, u64)> {
        loop {
            let due = match &mut self.source {
                Source::Schedule(schedule) => schedule.next()?,
                Source::Replay(requests) => {
                    let index = usize::try_from(self.number).unwrap_or(usize::MAX);
                    model::time::saturating_nanos(requests.get(index)?.due)
                }
                Source::Askers => return None,
            };
            let number = self.number;
            self.number += 1;
            if number % self.threads == self.thread {
                return Some((number, due));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::load::{Spacing, Stage};

    use super::*;

    #[test]
    fn threads_take_turns_and_lose_nothing() {
        let stage =
            Stage { from_per_second: 0.0, to_per_second: 90.0, duration: Duration::from_secs(3) };
        for spacing in [Spacing::Even, Spacing::Poisson] {
            let arrivals = load::Arrivals::Open { stages: vec![stage], spacing };
            let all = |turn| {
                let mut arrivals = Arrivals::new(&arrivals, 9, turn);
                std::iter::from_fn(move || arrivals.next()).collect::<Vec<_>>()
            };
            let mut shared: Vec<_> = (0..3).flat_map(|thread| all((thread, 3))).collect();
            shared.sort_unstable();
            assert_eq!(shared, all((0, 1)));
            assert!(shared.len() > 100);
        }
    }
}
