//! Where each band of a drawing is: the same for all front doors of a drill, and for the words
//! beside them.

use crate::drill::report::RunReport;

/// Streams and servers that are drawn; further ones are in the tables.
pub(super) const DRAWN_MAX: usize = 8;
/// The width of all columns together, CSS pixels.
const COLUMNS_WIDTH: f64 = 1_100.0;
const COLUMN_GAP: f64 = 14.0;
const GAP: f64 = 9.0;

/// What a band shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// When things happened.
    Events,
    /// The success of the stream with this index.
    Success(usize),
    /// The 99th percentile of all drawn streams.
    Latency,
    /// The servers' shares of the answers.
    Share,
    /// The taken places of the server with this index.
    Places(usize),
    /// Failures at the database.
    Database,
    /// The seconds.
    Time,
}

/// One band.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    pub(super) shows: Shows,
    pub(super) top: f64,
    pub(super) height: f64,
}

/// The bands and axes that all drawings of one drill share.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) bands: Vec<Band>,
    pub(super) width: f64,
    pub(super) height: f64,
    /// The end of the time axis, seconds; above zero.
    pub(super) seconds: f64,
    /// The decades of the latency axis: powers of ten of a millisecond.
    pub(super) decades: (i32, i32),
    /// The highest number of database failures in a second; at least 1.
    pub(super) failures: f64,
}

impl Layout {
    /// A layout that holds all these runs.
    pub(super) fn of(runs: &[&RunReport]) -> Self {
        let most = |count: fn(&RunReport) -> usize| {
            runs.iter().map(|run| count(run)).max().unwrap_or(0).min(DRAWN_MAX)
        };
        let streams = most(|run| run.streams.len());
        let servers = most(|run| run.servers.len());
        let rows = || runs.iter().flat_map(|run| &run.seconds);
        let database = rows().any(|row| row.database.is_some());
        let failures = rows().filter_map(|row| row.database.as_ref()).map(|row| row.failures);
        let mut stack = Stack::default();
        stack.add(Shows::Events, 17.0, 2.0);
        let tall = if streams <= 3 { 42.0 } else { 30.0 };
        for stream in 0..streams {
            stack.add(Shows::Success(stream), tall, GAP - 3.0);
        }
        stack.add(Shows::Latency, 84.0, GAP + 4.0);
        stack.add(Shows::Share, 64.0, GAP + 4.0);
        for server in 0..servers {
            stack.add(Shows::Places(server), 12.0, if server == 0 { GAP + 4.0 } else { 3.0 });
        }
        if database {
            stack.add(Shows::Database, 36.0, GAP + 4.0);
        }
        stack.add(Shows::Time, 18.0, 4.0);
        let columns = runs.len().max(1) as f64;
        let ends = rows().map(|row| row.second as f64 + 1.0);
        Self {
            width: (COLUMNS_WIDTH / columns - COLUMN_GAP).clamp(150.0, 1_086.0).floor(),
            height: stack.height,
            bands: stack.bands,
            seconds: runs.iter().map(|run| run.duration_seconds).chain(ends).fold(1.0, f64::max),
            decades: decades(runs),
            failures: failures.max().unwrap_or(1).max(1) as f64,
        }
    }

    /// Where a second is, from left to right.
    pub(super) fn x(&self, seconds: f64) -> f64 {
        (seconds / self.seconds).clamp(0.0, 1.0) * self.width
    }

    /// Where a latency is in its band, from the top.
    pub(super) fn latency(&self, milliseconds: f64, height: f64) -> f64 {
        let (low, high) = (f64::from(self.decades.0), f64::from(self.decades.1));
        let place = (milliseconds.max(0.001).log10() - low) / (high - low);
        height * (1.0 - place.clamp(0.0, 1.0))
    }

    /// Labels of the time axis, 3 to 6 of them.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let steps = [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0];
        let most = if self.width < 240.0 { 4.0 } else { 7.0 };
        let step = steps.into_iter().find(|step| self.seconds / step <= most).unwrap_or(1_800.0);
        (0..8_u32).map(|index| f64::from(index) * step).filter(|at| *at <= self.seconds).collect()
    }
}

/// Bands one below the other.
#[derive(Default)]
struct Stack {
    bands: Vec<Band>,
    height: f64,
}

impl Stack {
    fn add(&mut self, shows: Shows, height: f64, gap: f64) {
        let top = self.height + gap;
        self.bands.push(Band { shows, top, height });
        self.height = top + height;
    }
}

/// The decades that hold every latency of the runs: at least two.
fn decades(runs: &[&RunReport]) -> (i32, i32) {
    let rows = runs.iter().flat_map(|run| &run.seconds).flat_map(|row| &row.streams);
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for p99 in rows.filter_map(|row| row.p99_ms).filter(|p99| p99.is_finite() && *p99 > 0.0) {
        (low, high) = (low.min(p99), high.max(p99));
    }
    if low > high {
        return (0, 2);
    }
    let powers = -1..=6;
    let below = powers.clone().rev().find(|power| 10_f64.powi(*power) <= low).unwrap_or(-1);
    let above = powers.into_iter().find(|power| 10_f64.powi(*power) >= high).unwrap_or(6);
    (below.min(above - 2), above)
}
