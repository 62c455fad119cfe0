//! From what was recorded to what a report shows: rows of seconds, and what the front door noticed.
//!
//! Pure.

use std::time::Duration;

use model::Name;

use crate::load::{Latencies, Second, StreamSecond};
use crate::stage::Look;

use super::measure::{Looked, Record, Seen, answers};
use super::report::{
    DatabaseRow, EntryKind, EntryOutcome, SecondRow, ServerRow, StreamRow, TimelineEntry,
};
use super::verdict::share;

/// Timeline entries about what the door noticed; a door that flaps says no more after so many.
const NOTICED_MAX: usize = 500;

/// One second as a report shows it, with what the looks inside it saw.
pub(crate) fn row(record: &Record, second: &Second) -> SecondRow {
    let from = Duration::from_secs(second.second);
    let to = from + Duration::from_secs(1);
    let begin = record.looks.partition_point(|look| look.at < from);
    let end = record.looks.partition_point(|look| look.at < to);
    let looks = record.looks.get(begin..end).unwrap_or_default();
    let alone = std::slice::from_ref(second);
    let given: Vec<u64> = record.servers.iter().map(|name| answers(alone, name)).collect();
    let all = given.iter().sum();
    let servers = given.iter().enumerate();
    let servers = servers.map(|(index, given)| server(looks, index, *given, all)).collect();
    let before = begin.checked_sub(1).and_then(|before| record.looks.get(before));
    SecondRow {
        second: second.second,
        streams: second.streams.iter().map(stream).collect(),
        servers,
        database: record.database.then(|| database(before, looks)),
    }
}

fn stream(second: &StreamSecond) -> StreamRow {
    let ms = |latency: &Latencies, quantile| {
        latency.quantile(quantile).map(|micros| micros as f64 / 1_000.0)
    };
    StreamRow {
        due: second.due,
        tries: second.tries,
        ok: second.ok,
        failed: second.failed,
        dropped: second.dropped,
        answered: second.answered,
        connects: second.connects,
        in_flight: second.in_flight,
        by_status: second.by_status.clone(),
        by_failure: second.by_failure.clone(),
        p50_ms: ms(&second.latency, 0.5),
        p99_ms: ms(&second.latency, 0.99),
    }
}

fn server(looks: &[Looked], index: usize, given: u64, all: u64) -> ServerRow {
    let seen = || looks.iter().filter_map(|look| look.servers.get(index));
    let gauges = || seen().filter_map(|seen| seen.gauges.as_ref());
    let full = gauges().filter(|gauges| gauges.is_saturated()).count();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let last = seen().next_back();
    let said = last.and_then(|seen| seen.gauges.as_ref());
    ServerRow {
        answers: given,
        share: share(given, all),
        busy: said.map(|gauges| gauges.busy),
        waiting: said.map(|gauges| gauges.waiting),
        saturated: share(count(full), count(gauges().count())),
        door_state: last.and_then(|seen| seen.state.clone()),
        door_wrong: last.is_some_and(|seen| seen.wrong),
    }
}

/// How much the servers' counts about the database grew; a count that fell began anew.
fn database(before: Option<&Looked>, looks: &[Looked]) -> DatabaseRow {
    let mut row = DatabaseRow::default();
    let servers = looks.iter().map(|look| look.servers.len()).max().unwrap_or_default();
    for server in 0..servers {
        let all = before.into_iter().chain(looks);
        let gauges = all.filter_map(|look| look.servers.get(server)?.gauges);
        let mut last: Option<(u64, u64)> = None;
        for gauges in gauges {
            let now = (gauges.database_attempts, gauges.database_failures);
            if let Some(last) = last {
                row.attempts += grown(last.0, now.0);
                row.failures += grown(last.1, now.1);
            }
            last = Some(now);
        }
    }
    row
}

/// How much a count grew; one that fell began anew with its process.
pub(crate) fn grown(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

/// A look at the stage, with its time counted from the begin of the drill.
pub(crate) fn looked(look: Look, at: Duration) -> Looked {
    let servers = look.servers.into_iter().map(|server| Seen {
        gauges: server.gauges,
        wrong: server.wrong.unwrap_or(false),
        state: server.state_seen_by_door,
    });
    Looked { at, servers: servers.collect(), rollbacks: look.rollbacks }
}

/// What the front door shows of each server, so that a change is told once.
#[derive(Debug, Default)]
pub(crate) struct Noticed {
    wrong: Vec<bool>,
    told: usize,
}

impl Noticed {
    /// What a look shows anew.
    pub(crate) fn entries(&mut self, servers: &[Name], look: &Looked) -> Vec<TimelineEntry> {
        self.wrong.resize(servers.len(), false);
        let mut entries = Vec::new();
        let all = servers.iter().zip(&look.servers).zip(&mut self.wrong);
        for ((name, seen), before) in all {
            let Some(state) = &seen.state else { continue };
            if seen.wrong == *before || self.told >= NOTICED_MAX {
                continue;
            }
            *before = seen.wrong;
            self.told += 1;
            let words = match seen.wrong {
                true => format!("the door noticed: {name} is {state}"),
                false => format!("the door noticed: {name} is {state} again"),
            };
            entries.push(TimelineEntry {
                at_seconds: look.at.as_secs_f64(),
                kind: EntryKind::DoorNoticed,
                words,
                outcome: EntryOutcome::Ok,
                server: Some(name.to_string()),
            });
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Gauges;

    fn look(at_ms: u64, busy: Option<u64>, state: Option<(&str, bool)>) -> Looked {
        let gauges = busy.map(|busy| Gauges {
            places: 5,
            busy,
            waiting: 2 * busy,
            database_attempts: 10 * busy,
            database_failures: busy,
            ..Gauges::default()
        });
        let (state, wrong) =
            state.map_or((None, false), |(state, wrong)| (Some(state.to_owned()), wrong));
        let servers = vec![Seen { gauges, state, wrong }];
        Looked { at: Duration::from_millis(at_ms), servers, rollbacks: None }
    }

    #[test]
    fn a_row_has_what_its_own_second_saw() {
        let looks = vec![
            look(900, Some(1), None),
            look(1_100, Some(5), Some(("up", false))),
            look(1_900, Some(2), Some(("down", true))),
            look(2_000, Some(5), None),
        ];
        let by_server = [("a".to_owned(), 3), ("other".to_owned(), 9)].into();
        let stream = StreamSecond { ok: 3, by_server, ..StreamSecond::default() };
        let second = Second { second: 1, streams: vec![stream] };
        let servers = vec![Name::from("a")];
        let record = Record { servers, looks, database: true, ..Record::default() };
        let row = row(&record, &second);
        let expected = ServerRow {
            answers: 3,
            share: Some(1.0),
            busy: Some(2),
            waiting: Some(4),
            saturated: Some(0.5),
            door_state: Some("down".to_owned()),
            door_wrong: true,
        };
        assert_eq!(row.servers, [expected]);
        // 10 to 50, then a new process that tried 20 times.
        assert_eq!(row.database, Some(DatabaseRow { attempts: 60, failures: 6 }));
    }

    #[test]
    fn the_door_is_said_to_notice_once() {
        let mut noticed = Noticed::default();
        let servers = [Name::from("a")];
        let mut told = Vec::new();
        for state in [
            Some(("up", false)),
            Some(("down", true)),
            Some(("ejected", true)),
            None,
            Some(("up", false)),
            Some(("up", false)),
        ] {
            let entries = noticed.entries(&servers, &look(0, None, state));
            told.extend(entries.into_iter().map(|entry| entry.words));
        }
        assert_eq!(told, ["the door noticed: a is down", "the door noticed: a is up again"]);
    }
}
