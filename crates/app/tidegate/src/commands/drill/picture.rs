//! What is known of a run under way: the state behind the live view and the plain lines.

use model::drill::Drill;
use rehearsal::drill::report::{EntryOutcome, SecondRow, TimelineEntry};
use rehearsal::drill::{Progress, upcoming};

/// A run under way.
pub(super) struct Picture {
    /// Drill, front door, guard, seed.
    pub(super) heading: String,
    /// What it is busy with before and after the load.
    pub(super) phase: String,
    pub(super) duration_seconds: f64,
    pub(super) streams: Vec<String>,
    pub(super) servers: Vec<String>,
    /// Places of each server, as the drill starts it.
    places: Vec<(String, usize)>,
    /// When what is to happen, in order.
    planned: Vec<(f64, String)>,
    /// What happened last, in words.
    pub(super) last: Option<String>,
    /// The newest second.
    pub(super) second: Option<SecondRow>,
}

impl Picture {
    pub(super) fn new(heading: String, drill: &Drill) -> Self {
        let places =
            drill.stack.servers.iter().map(|server| (server.name.clone(), server.concurrency));
        Self {
            heading,
            phase: "starting".to_owned(),
            duration_seconds: drill.duration.as_secs_f64(),
            streams: Vec::new(),
            servers: Vec::new(),
            places: places.collect(),
            planned: upcoming(drill),
            last: None,
            second: None,
        }
    }

    /// Takes in what was told.
    pub(super) fn take(&mut self, progress: &Progress) {
        match progress {
            Progress::Phase(phase) => self.phase.clone_from(phase),
            Progress::Begun { duration_seconds, streams, servers } => {
                self.duration_seconds = *duration_seconds;
                self.streams.clone_from(streams);
                self.servers.clone_from(servers);
                self.phase.clear();
            }
            Progress::Entry(entry) => self.last = Some(entry_words(entry)),
            Progress::Second(row) => self.second = Some(row.clone()),
        }
    }

    /// Seconds that are over.
    pub(super) fn seconds(&self) -> f64 {
        self.second.as_ref().map_or(0.0, |row| row.second as f64 + 1.0)
    }

    /// What happens next, and when.
    pub(super) fn next(&self) -> Option<&(f64, String)> {
        self.planned.iter().find(|(at, _)| *at >= self.seconds())
    }

    /// Places of a server, if the drill says.
    pub(super) fn places(&self, server: &str) -> Option<usize> {
        self.places.iter().find(|(name, _)| name == server).map(|(_, places)| *places)
    }
}

/// An entry of the timeline in one line.
pub(super) fn entry_words(entry: &TimelineEntry) -> String {
    let outcome = match &entry.outcome {
        EntryOutcome::Ok => String::new(),
        EntryOutcome::Refused(why) => format!(" \u{2014} refused: {}", first_line(why)),
        EntryOutcome::Failed(why) => format!(" \u{2014} FAILED: {}", first_line(why)),
    };
    format!("{:.1} s {}{outcome}", entry.at_seconds, entry.words)
}

pub(super) fn first_line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim()
}

/// The share of a second's requests of one stream that ended well.
pub(super) fn success(row: &SecondRow, stream: usize) -> Option<f64> {
    let row = row.streams.get(stream)?;
    let all = row.ok + row.failed + row.dropped;
    (all > 0).then(|| row.ok as f64 / all as f64)
}
