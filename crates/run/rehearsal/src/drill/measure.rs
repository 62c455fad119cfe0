//! The number behind each symptom and expectation, from what was recorded second by second.
//!
//! Pure. A window counts the whole seconds that lie inside it. A request counts in the second in
//! which it ended, and is dropped or due in the second in which it was due. So that requests that
//! hang do not look like requests that were never sent, those that were under way for longer than
//! a second at the window's end count as failed, as far as counts can tell: what is under way at
//! the end, less what became due in the last second, less what was already under way at the begin.
//!
//! `None` means that there is no such number; infinity means that what was waited for never came.

use std::ops::Range;
use std::time::Duration;

use model::Name;
use model::drill::{Expectation, Measure};

use crate::load::{Latencies, Second, StreamSecond};
use crate::stage::Gauges;

use super::rows;
use super::verdict::share;

/// The share of a second's requests that end well in a stream that has recovered.
const RECOVERED_SHARE: f64 = 0.99;
/// For so many seconds in a row.
const RECOVERED_SECONDS: usize = 3;
/// What a front door does that goes back to an earlier configuration by itself.
const ROLL_BACK: &str = "roll back";
/// How failures begin that are complete answers.
const STATUS: &str = "status ";

/// Everything that was recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// The names of the streams, as in each second.
    pub(crate) streams: Vec<Name>,
    /// The names of the servers, as in each look.
    pub(crate) servers: Vec<Name>,
    /// What the clients saw, from second 0 without gaps.
    pub(crate) seconds: Vec<Second>,
    /// What was seen on the stage, in order of time.
    pub(crate) looks: Vec<Looked>,
    /// Whether the stage has a database of its own.
    pub(crate) database: bool,
    /// What became of changes, in order of time.
    pub(crate) changes: Vec<Changed>,
}

/// One look at the stage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    /// When, from the begin of the drill.
    pub(crate) at: Duration,
    /// In the order of [`Record::servers`].
    pub(crate) servers: Vec<Seen>,
    /// How often the front door had gone back by itself, if it says so.
    pub(crate) rollbacks: Option<u64>,
}

/// One server in one look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// What it says of itself, if it answers.
    pub(crate) gauges: Option<Gauges>,
    /// The front door's own word for its state, if the door shows one.
    pub(crate) state: Option<String>,
    /// Whether that means that something is wrong with it.
    pub(crate) wrong: bool,
}

/// A change that somebody wanted to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changed {
    /// When it was due.
    pub(crate) due: Duration,
    /// Whether it was refused before it went live.
    pub(crate) refused: bool,
}

/// Measures what an expectation asks for.
pub(crate) fn measure(record: &Record, expectation: &Expectation) -> Option<f64> {
    let window = Window { record, from: expectation.from, to: expectation.to };
    match &expectation.measure {
        Measure::Success { stream } => window.ended(stream, |second| second.ok),
        Measure::Answered { stream } => window.ended(stream, answered),
        Measure::Goodput { stream } => window.per_second(stream, |second| second.ok),
        Measure::P50Ms { stream } => window.latency_ms(stream, 0.5),
        Measure::P99Ms { stream } => window.latency_ms(stream, 0.99),
        Measure::Share { server } => window.share(server.as_deref()),
        Measure::Saturated { server } => window.saturated(server),
        Measure::AttemptsPerRequest => window.attempts_per_request(),
        Measure::ConnectsPerSecond { stream } => {
            window.per_second(stream, |second| second.connects)
        }
        Measure::DatabaseFailures => window.grown(|gauges| gauges.database_failures),
        Measure::RecoverySeconds { stream } => window.recovery_seconds(stream),
        Measure::DetectSeconds { server } => window.detect_seconds(server),
        Measure::ChangeRefused => window.change_refused(),
        Measure::ActionSeconds { action } if action == ROLL_BACK => window.roll_back_seconds(),
        // Nothing names causes or does more by itself as yet.
        Measure::CauseSeconds { .. } | Measure::ActionSeconds { .. } => None,
    }
}

struct Window<'a> {
    record: &'a Record,
    from: Duration,
    to: Duration,
}

impl<'a> Window<'a> {
    /// The whole seconds inside, as far as they were recorded.
    fn whole(&self) -> Range<usize> {
        let from = self.from.as_secs() + u64::from(self.from.subsec_nanos() > 0);
        let bound = |second: u64| usize::try_from(second).unwrap_or(usize::MAX);
        let recorded = self.record.seconds.len();
        let from = bound(from).min(recorded);
        from..bound(self.to.as_secs()).clamp(from, recorded)
    }

    fn stream(&self, name: &str) -> Option<usize> {
        self.record.streams.iter().position(|stream| **stream == *name)
    }

    fn server(&self, name: &str) -> Option<usize> {
        self.record.servers.iter().position(|server| **server == *name)
    }

    /// The stream's seconds inside.
    fn of(&self, name: &str) -> Option<Vec<&'a StreamSecond>> {
        let stream = self.stream(name)?;
        let seconds = self.record.seconds.get(self.whole())?;
        Some(seconds.iter().filter_map(|second| second.streams.get(stream)).collect())
    }

    /// The share of the ended requests that `good` counts.
    fn ended(&self, name: &str, good: impl Fn(&StreamSecond) -> u64) -> Option<f64> {
        let seconds = self.of(name)?;
        let ended: u64 = seconds.iter().map(|second| ended(second)).sum();
        let good: u64 = seconds.iter().map(|second| good(second)).sum();
        let due: u64 = seconds.iter().map(|second| second.due).sum();
        share(good, ended + self.hanging(name)?).or((due > 0).then_some(0.0))
    }

    /// Requests that were due inside, more than a second before its end, and had not ended by then: at least so many.
    fn hanging(&self, name: &str) -> Option<u64> {
        let stream = self.stream(name)?;
        let whole = self.whole();
        let at = |second: usize| self.record.seconds.get(second)?.streams.get(stream);
        let before = whole.start.checked_sub(1).and_then(at).map_or(0, |second| second.in_flight);
        let last = whole.end.checked_sub(1).filter(|last| whole.contains(last)).and_then(at)?;
        Some(last.in_flight.saturating_sub(last.due).saturating_sub(before))
    }

    fn per_second(&self, name: &str, count: impl Fn(&StreamSecond) -> u64) -> Option<f64> {
        let seconds = self.of(name)?;
        let whole = u64::try_from(seconds.len()).ok()?;
        share(seconds.iter().map(|second| count(second)).sum(), whole)
    }

    fn latency_ms(&self, name: &str, quantile: f64) -> Option<f64> {
        let seconds = self.of(name)?;
        let mut latency = Latencies::default();
        for second in &seconds {
            latency.merge(&second.latency);
        }
        match latency.quantile(quantile) {
            Some(micros) => Some(micros as f64 / 1_000.0),
            // Requests that were due and never answered took longer than any bound.
            None => seconds.iter().any(|second| second.due > 0).then_some(f64::INFINITY),
        }
    }

    fn share(&self, server: Option<&str>) -> Option<f64> {
        let seconds = self.record.seconds.get(self.whole())?;
        let answers: Vec<u64> =
            self.record.servers.iter().map(|name| answers(seconds, name)).collect();
        let part = match server {
            Some(server) => *answers.get(self.server(server)?)?,
            None => answers.iter().copied().max()?,
        };
        share(part, answers.iter().sum())
    }

    fn looks(&self) -> impl Iterator<Item = &'a Looked> + '_ {
        self.record.looks.iter().filter(|look| (self.from..self.to).contains(&look.at))
    }

    fn saturated(&self, server: &str) -> Option<f64> {
        let server = self.server(server)?;
        let gauges = self.looks().filter_map(|look| look.servers.get(server)?.gauges);
        let (mut full, mut all) = (0, 0);
        for gauges in gauges {
            all += 1;
            full += u64::from(gauges.is_saturated());
        }
        share(full, all)
    }

    fn attempts_per_request(&self) -> Option<f64> {
        let seconds = self.record.seconds.get(self.whole())?;
        let due =
            seconds.iter().flat_map(|second| &second.streams).map(|stream| stream.due).sum::<u64>();
        let attempts = self.grown(|gauges| gauges.served + gauges.failed)?;
        (due > 0).then(|| attempts / due as f64)
    }

    /// How much a count of all servers grew inside. A count that fell began anew with its process.
    fn grown(&self, count: impl Fn(&Gauges) -> u64) -> Option<f64> {
        let mut grown = None;
        for server in 0..self.record.servers.len() {
            let mut last: Option<u64> = None;
            let until = self.record.looks.iter().take_while(|look| look.at < self.to);
            for look in until {
                let Some(now) = look.servers.get(server).and_then(|seen| seen.gauges.as_ref())
                else {
                    continue;
                };
                let now = count(now);
                if look.at >= self.from {
                    // What was counted before the first look of all belongs to no window.
                    *grown.get_or_insert(0) += rows::grown(last.unwrap_or(now), now);
                }
                last = Some(now);
            }
        }
        grown.map(|grown: u64| grown as f64)
    }

    fn recovery_seconds(&self, name: &str) -> Option<f64> {
        let seconds = self.of(name)?;
        let good: Vec<bool> = seconds.windows(RECOVERED_SECONDS).map(recovered).collect();
        // What fails only later, as a queue does that has to fill first, has yet to recover.
        let ill = good.iter().position(|good| !good);
        let well = match ill {
            Some(ill) => good.iter().skip(ill).position(|good| *good).map(|after| ill + after),
            None if good.is_empty() => None,
            None => Some(0),
        };
        match well {
            Some(well) => {
                let begin = Duration::from_secs(u64::try_from(self.whole().start + well).ok()?);
                Some(begin.saturating_sub(self.from).as_secs_f64())
            }
            None => seconds.iter().any(|second| second.due > 0).then_some(f64::INFINITY),
        }
    }

    fn detect_seconds(&self, server: &str) -> Option<f64> {
        let server = self.server(server)?;
        let mut shows_states = false;
        for look in self.looks() {
            let Some(seen) = look.servers.get(server) else { continue };
            shows_states |= seen.state.is_some();
            if seen.state.is_some() && seen.wrong {
                return Some((look.at - self.from).as_secs_f64());
            }
        }
        shows_states.then_some(f64::INFINITY)
    }

    fn roll_back_seconds(&self) -> Option<f64> {
        let looks = self.record.looks.iter();
        let before = looks.take_while(|look| look.at < self.from).filter_map(|look| look.rollbacks);
        let before = before.last().unwrap_or_default();
        let mut says_so = false;
        for look in self.looks() {
            says_so |= look.rollbacks.is_some();
            if look.rollbacks.is_some_and(|rollbacks| rollbacks > before) {
                return Some((look.at - self.from).as_secs_f64());
            }
        }
        says_so.then_some(f64::INFINITY)
    }

    fn change_refused(&self) -> Option<f64> {
        let change = self.record.changes.iter().find(|change| change.due == self.from)?;
        Some(if change.refused { 1.0 } else { 0.0 })
    }
}

/// Requests that ended in a second, the dropped among them.
fn ended(second: &StreamSecond) -> u64 {
    second.ok + second.failed + second.dropped
}

/// Requests whose last try was answered completely: well, or with a status that is a failure.
fn answered(second: &StreamSecond) -> u64 {
    let failures = second.by_failure.iter();
    let by_status =
        failures.filter(|(failure, _)| failure.starts_with(STATUS)).map(|(_, count)| count);
    second.ok + by_status.sum::<u64>()
}

/// Whether these seconds are those of a stream that works: none with too many failures, and
/// together as many successes as half of what was due, so that a stall is no recovery.
fn recovered(seconds: &[&StreamSecond]) -> bool {
    let good = |second: &&StreamSecond| {
        share(second.ok, ended(second)).is_none_or(|share| share >= RECOVERED_SHARE)
    };
    let ok: u64 = seconds.iter().map(|second| second.ok).sum();
    let due: u64 = seconds.iter().map(|second| second.due).sum();
    seconds.iter().all(good) && ok > 0 && ok * 2 >= due
}

/// The answers of one server in these seconds.
pub(crate) fn answers(seconds: &[Second], server: &str) -> u64 {
    let streams = seconds.iter().flat_map(|second| &second.streams);
    streams.filter_map(|stream| stream.by_server.get(server)).sum()
}

#[cfg(test)]
mod tests;
