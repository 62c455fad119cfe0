//! What runs came to: the success that stands for a run, and whether repetitions agree.
//!
//! Pure. Text, page and JSON take these numbers from here, so that all of them say the same.

use serde::Serialize;

use super::report::{EntryKind, Judged, RunReport, StreamRow, Verdict};

/// The runs of one drill with one front door, guard on or off, when there are several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repetition {
    /// The drill's name.
    pub drill: String,
    /// The front door.
    pub front: String,
    /// Whether its guard was on.
    pub guard: bool,
    /// How often it was run, at least 2.
    pub runs: usize,
    /// Whether all runs came to the same verdicts.
    pub same: bool,
    /// What was judged otherwise than in the first run, each once.
    pub differences: Vec<String>,
}

/// All repetitions among these runs, in their order.
#[must_use]
pub fn repetitions(runs: &[RunReport]) -> Vec<Repetition> {
    let mut found: Vec<(&RunReport, Repetition)> = Vec::new();
    for run in runs {
        let is_alike = |first: &RunReport| {
            (&first.drill, &first.front, first.guard) == (&run.drill, &run.front, run.guard)
        };
        let Some((first, repetition)) = found.iter_mut().find(|(first, _)| is_alike(first)) else {
            let repetition = Repetition {
                drill: run.drill.clone(),
                front: run.front.clone(),
                guard: run.guard,
                runs: 1,
                same: true,
                differences: Vec::new(),
            };
            found.push((run, repetition));
            continue;
        };
        repetition.runs += 1;
        for difference in run.differences(first) {
            repetition.same = false;
            if !repetition.differences.contains(&difference) {
                repetition.differences.push(difference);
            }
        }
    }
    found.into_iter().map(|(_, found)| found).filter(|found| found.runs > 1).collect()
}

impl RunReport {
    /// The share of the requests that ended well from the first fault or change, of the load too, to the end, 0 to 1,
    /// of the streams whose success is expected; of all streams when none is. Absent without any.
    #[must_use]
    pub fn client_success(&self) -> Option<f64> {
        let expected = |name: &str| {
            let mut measures = self.expectations.iter();
            measures.any(|judged| judged.at_least.is_some() && is_success_of(judged, name))
        };
        let streams = self.streams.iter().enumerate();
        let watched: Vec<usize> =
            streams.filter(|(_, stream)| expected(&stream.name)).map(|(index, _)| index).collect();
        if watched.is_empty() {
            return self.success_of(&(0..self.streams.len()).collect::<Vec<_>>());
        }
        self.success_of(&watched)
    }

    /// The share of the requests of these streams, by index, that ended well from the first fault
    /// or change, of the load too, to the end, 0 to 1; absent without any.
    #[must_use]
    pub fn success_of(&self, streams: &[usize]) -> Option<f64> {
        let broken = self.timeline.iter().filter(|entry| {
            matches!(entry.kind, EntryKind::Load | EntryKind::Fault | EntryKind::Change)
        });
        let from = broken.map(|entry| entry.at_seconds).min_by(f64::total_cmp).unwrap_or(0.0);
        let rows = self.seconds.iter().filter(|row| row.second as f64 >= from.floor());
        let rows = rows.flat_map(|row| streams.iter().filter_map(|&index| row.streams.get(index)));
        let (ok, all) = rows.fold((0, 0), |(ok, all), row| (ok + row.ok, all + row.ended()));
        (all > 0).then(|| ok as f64 / all as f64)
    }

    /// What an expectation's verdict says of this run: marks `pending` are about tidegate with its
    /// guard on, so that other runs simply held it or missed it.
    #[must_use]
    pub fn verdict_of(&self, judged: &Judged) -> Verdict {
        match judged.verdict {
            Verdict::Pending if !self.summary.decides => Verdict::Missed,
            Verdict::PendingHolds if !self.summary.decides => Verdict::Held,
            Verdict::Held
            | Verdict::Missed
            | Verdict::Pending
            | Verdict::PendingHolds
            | Verdict::NotAvailable
            | Verdict::GeneratorBound => judged.verdict,
        }
    }

    /// What was judged otherwise than in `other`, in words.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let judged = |run: &Self| -> Vec<(String, Verdict)> {
            let all = run.symptoms.iter().chain(&run.expectations);
            all.map(|judged| (judged.measure.clone(), judged.verdict)).collect()
        };
        let differs = judged(self).into_iter().zip(judged(other));
        differs
            .filter(|(own, others)| own != others)
            .map(|((measure, verdict), (_, others))| {
                format!("{measure}: {} and {}", others.as_str(), verdict.as_str())
            })
            .collect()
    }
}

impl StreamRow {
    /// Requests that ended in this second: well, badly or unsent.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ok + self.failed + self.dropped
    }
}

fn is_success_of(judged: &Judged, stream: &str) -> bool {
    judged.key == "success"
        && judged.measure.strip_suffix(stream).is_some_and(|rest| rest.ends_with(' '))
}

#[cfg(test)]
mod tests {
    use super::super::html::tests::run;
    use super::*;

    #[test]
    fn success_counts_watched_streams_from_the_first_fault_on() {
        // 100 requests a second each; from second 10 on, half of the shoppers' are lost.
        let mut report = run("nginx", true, 0.5);
        assert_eq!(report.client_success(), Some(0.5));
        assert_eq!(report.success_of(&[1]), Some(1.0));
        report.expectations.clear();
        assert_eq!(report.client_success(), Some(0.75), "without expectations, all streams count");
        report.seconds.clear();
        assert_eq!(report.client_success(), None);
    }

    #[test]
    fn repetitions_that_differ_are_told() {
        let (good, bad) = (run("tidegate", true, 0.0), run("tidegate", true, 0.5));
        assert_eq!(repetitions(&[good.clone(), run("nginx", true, 0.0)]), []);
        let same = repetitions(&[good.clone(), good.clone()]);
        assert_eq!((same[0].runs, same[0].same), (2, true));
        let differ = repetitions(&[good, bad.clone(), bad]);
        assert_eq!((differ[0].runs, differ[0].same), (3, false));
        assert_eq!(differ[0].differences, ["success of shoppers: held and missed"]);
    }
}
