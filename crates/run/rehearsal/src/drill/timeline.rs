//! What is to happen when: the events of a drill, their ends, and the steps of a rolling restart.
//!
//! Pure: time comes in as seconds since the drill's begin. Invariants: of what is due at the same
//! time an end comes before a begin, and events come in the order they were written; the next
//! server of a rolling restart is due only after the one before is back, so that a slow restart
//! never makes two servers be gone at once.

use std::collections::BTreeMap;
use std::time::Duration;

use model::drill::{Drill, Event, Fault};

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The event of this index ends: what it did is undone.
    Undo(usize),
    /// The event of this index begins.
    Begin(usize),
    /// The rolling restart that is the event of the first index restarts its server of the second.
    Restart(usize, usize),
}

/// The steps that are still to come.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// By time, then in the order of [`Step`]: bounded by the drill's events.
    steps: BTreeMap<(Duration, Step), ()>,
    /// Servers and pause of each rolling restart, by event.
    rolling: BTreeMap<usize, (usize, Duration)>,
}

impl Timeline {
    /// Everything of a drill. An end at or after the drill's own needs no step: the stage's end undoes it.
    pub(crate) fn new(drill: &Drill) -> Self {
        let mut timeline = Self { steps: BTreeMap::new(), rolling: BTreeMap::new() };
        for (index, event) in drill.events.iter().enumerate() {
            let first = if let Fault::RollingRestart { servers, pause } = &event.fault {
                timeline.rolling.insert(index, (servers.len(), *pause));
                Step::Restart(index, 0)
            } else {
                Step::Begin(index)
            };
            timeline.steps.insert((event.at, first), ());
            if let Some(end) = end(event).filter(|end| *end < drill.duration) {
                timeline.steps.insert((end, Step::Undo(index)), ());
            }
        }
        timeline
    }

    /// When the next step is due.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.steps.keys().next().map(|(at, _)| *at)
    }

    /// The next step that is due at `now`, with when it was; each is given once.
    pub(crate) fn due(&mut self, now: Duration) -> Option<(Duration, Step)> {
        let first = self.steps.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove_entry().0)
    }

    /// A step was done; a rolling restart goes on from here.
    pub(crate) fn done(&mut self, step: Step, now: Duration) {
        let Step::Restart(event, server) = step else { return };
        let Some((servers, pause)) = self.rolling.get(&event) else { return };
        if server + 1 < *servers {
            self.steps.insert((now + *pause, Step::Restart(event, server + 1)), ());
        }
    }
}

/// When an event is undone before the end of its drill; what leaves nothing behind has nothing to undo.
fn end(event: &Event) -> Option<Duration> {
    match event.fault {
        Fault::RollingRestart { .. } | Fault::CutClients { .. } => None,
        Fault::Kill { .. }
        | Fault::Stop { .. }
        | Fault::Behave { .. }
        | Fault::Network { .. }
        | Fault::Configure { .. }
        | Fault::Stale
        | Fault::Deploy { .. } => event.lasting.map(|lasting| event.at + lasting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::tests::drill;
    use model::Name;

    /// Events as `AT kill LASTING`, `AT stale`, `AT roll SERVERS PAUSE`; a restart takes 2 s.
    fn check(events: &str, expected: &str) {
        let names = |count: usize| (0..count).map(|n| Name::from(n.to_string())).collect();
        let seconds = Duration::from_secs;
        let events = events.split(", ").map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words.get(at).map(|word| word.parse::<u64>().unwrap());
            let fault = match words[1] {
                "kill" => Fault::Kill { servers: names(1) },
                "stale" => Fault::Stale,
                "roll" => Fault::RollingRestart {
                    servers: names(usize::try_from(number(2).unwrap()).unwrap()),
                    pause: seconds(number(3).unwrap()),
                },
                word => panic!("no fault {word}"),
            };
            Event { at: seconds(number(0).unwrap()), lasting: number(2).map(seconds), fault }
        });
        let mut timeline = Timeline::new(&model::drill::Drill {
            events: events.collect(),
            duration: seconds(60),
            ..drill()
        });
        let mut found = Vec::new();
        while let Some(now) = timeline.next_at() {
            assert_eq!(timeline.due(now.saturating_sub(Duration::from_nanos(1))), None);
            let (at, step) = timeline.due(now).unwrap();
            found.push(match step {
                Step::Begin(event) => format!("{}:{event}", at.as_secs()),
                Step::Undo(event) => format!("{}:-{event}", at.as_secs()),
                Step::Restart(event, server) => format!("{}:{event}.{server}", at.as_secs()),
            });
            timeline.done(step, now + seconds(2));
        }
        assert_eq!(found.join(" "), expected, "{events:?}", events = found);
    }

    #[test]
    fn an_end_is_a_step_unless_the_drill_ends_first() {
        check("10 kill 5", "10:0 15:-0");
        check("10 kill 50", "10:0");
        check("10 kill 100", "10:0");
        check("10 stale", "10:0");
    }

    #[test]
    fn at_the_same_time_ends_come_first_and_then_the_written_order() {
        check("10 kill 5, 15 kill 5, 15 stale", "10:0 15:-0 15:1 15:2 20:-1");
    }

    #[test]
    fn a_rolling_restart_waits_for_each_server_and_is_not_undone() {
        check("10 roll 3 5, 12 stale", "10:0.0 12:1 17:0.1 24:0.2");
    }
}
