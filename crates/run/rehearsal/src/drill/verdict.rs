//! What follows from what was measured.
//!
//! Pure. Invariants: what cannot be measured never counts as passed; a mark `pending` never hides
//! an expectation that holds; a load that was not what it claims proves nothing.

use std::time::Duration;

use model::drill::{Expectation, Measure};

use super::report::{Judged, Summary, Verdict};
use super::words;

/// Judges one number: `None` is not available, infinity is what never came.
pub(crate) fn judge(expectation: &Expectation, value: Option<f64>, honest: bool) -> Judged {
    let verdict = verdict(expectation, value, honest);
    let unit = words::unit(&expectation.measure);
    let measure = words::measure(&expectation.measure);
    let bound_words = words::bounds(expectation);
    let value_words = match value {
        None => "not available".to_owned(),
        Some(value) if value.is_infinite() && is_latency(&expectation.measure) => {
            "no successful answer".to_owned()
        }
        Some(value) => words::value(value, unit),
    };
    Judged {
        words: format!(
            "{measure} {} to {}: {value_words}, expected {bound_words}",
            words::time(expectation.from),
            words::time(expectation.to)
        ),
        key: words::key(&expectation.measure).to_owned(),
        from_seconds: expectation.from.as_secs_f64(),
        to_seconds: expectation.to.as_secs_f64(),
        at_least: expectation.at_least,
        at_most: expectation.at_most,
        unit,
        // JSON has no infinity.
        value: value.filter(|value| value.is_finite()),
        value_words,
        bound_words,
        measure,
        pending: expectation.pending.clone(),
        verdict,
    }
}

fn verdict(expectation: &Expectation, value: Option<f64>, honest: bool) -> Verdict {
    let Some(value) = value else { return Verdict::NotAvailable };
    if !honest {
        return Verdict::GeneratorBound;
    }
    let holds = expectation.at_least.is_none_or(|least| value >= least)
        && expectation.at_most.is_none_or(|most| value <= most);
    match (holds, expectation.pending.is_some()) {
        (true, false) => Verdict::Held,
        (false, false) => Verdict::Missed,
        (false, true) => Verdict::Pending,
        (true, true) => Verdict::PendingHolds,
    }
}

fn is_latency(measure: &Measure) -> bool {
    words::unit(measure) == super::report::Unit::Milliseconds
}

/// What a run has besides its judged numbers, for its summary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Played {
    /// Tidegate with its guard on.
    pub(crate) decides: bool,
    /// No fault, change or undo failed.
    pub(crate) carried_out: bool,
    /// The generator was not bound.
    pub(crate) honest: bool,
    /// Requests that were due, and those that ended well, in the whole run.
    pub(crate) due: u64,
    pub(crate) ok: u64,
    pub(crate) ended: u64,
    pub(crate) duration: Duration,
}

/// Counts the verdicts of a run.
pub(crate) fn summary(played: Played, symptoms: &[Judged], expectations: &[Judged]) -> Summary {
    let count = |verdict| expectations.iter().filter(|judged| judged.verdict == verdict).count();
    let passed = played.carried_out
        && played.honest
        && !expectations.iter().any(|judged| judged.verdict.fails());
    let known = symptoms.iter().filter(|judged| judged.verdict != Verdict::NotAvailable);
    let shown = |judged: &&Judged| match judged.verdict {
        Verdict::Held | Verdict::PendingHolds => true,
        Verdict::Missed | Verdict::Pending | Verdict::NotAvailable | Verdict::GeneratorBound => {
            false
        }
    };
    let summary = Summary {
        passed,
        carried_out: played.carried_out,
        decides: played.decides,
        held: count(Verdict::Held),
        missed: count(Verdict::Missed),
        pending: count(Verdict::Pending),
        pending_holds: count(Verdict::PendingHolds),
        not_available: count(Verdict::NotAvailable),
        symptoms_shown: symptoms.iter().filter(shown).count(),
        symptoms: known.count(),
        due: played.due,
        success: share(played.ok, played.ended),
        words: String::new(),
    };
    Summary { words: sentence(&summary, played), ..summary }
}

fn sentence(summary: &Summary, played: Played) -> String {
    if !played.carried_out {
        return "The drill was not carried out as written: see its timeline.".to_owned();
    }
    if !played.honest {
        return "Generator-bound: the load was not what the drill says, so nothing follows."
            .to_owned();
    }
    let success = summary.success.map_or_else(
        || "no request ended".to_owned(),
        |success| {
            let success = words::value(success, super::report::Unit::Share);
            format!(
                "{success} of the clients' requests succeeded in {}",
                words::time(played.duration)
            )
        },
    );
    let counts = [
        (summary.held, "held"),
        (summary.missed, "missed"),
        (summary.pending, "pending"),
        (summary.pending_holds, "pending and yet holding"),
        (summary.not_available, "not available"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let expectations = match counts.is_empty() {
        true => "none".to_owned(),
        false => counts.join(", "),
    };
    format!(
        "{success}; symptoms shown: {} of {}; expectations: {expectations}.",
        summary.symptoms_shown, summary.symptoms
    )
}

/// A share of counts; `None` of nothing.
pub(crate) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Name;

    fn expectation(at_least: Option<f64>, at_most: Option<f64>, pending: bool) -> Expectation {
        Expectation {
            measure: Measure::RecoverySeconds { stream: Name::from("web") },
            from: Duration::from_secs(10),
            to: Duration::from_secs(30),
            at_least,
            at_most,
            pending: pending.then(|| "overload control is to come".to_owned()),
        }
    }

    #[test]
    fn bounds_and_marks_decide() {
        use Verdict::{GeneratorBound, Held, Missed, NotAvailable, Pending, PendingHolds};
        let never = Some(f64::INFINITY);
        let check = |at_least, at_most, value, [bare, marked]: [Verdict; 2]| {
            for (pending, expected) in [(false, bare), (true, marked)] {
                let judged = judge(&expectation(at_least, at_most, pending), value, true);
                assert_eq!(judged.verdict, expected, "{at_least:?} {at_most:?} {value:?}");
                assert!(judged.value.is_none_or(f64::is_finite));
            }
            let lied = if value.is_some() { GeneratorBound } else { NotAvailable };
            assert_eq!(judge(&expectation(at_least, at_most, false), value, false).verdict, lied);
        };
        check(None, Some(5.0), Some(5.0), [Held, PendingHolds]);
        check(None, Some(5.0), Some(5.1), [Missed, Pending]);
        check(Some(5.0), None, Some(4.9), [Missed, Pending]);
        check(Some(1.0), Some(5.0), Some(3.0), [Held, PendingHolds]);
        check(None, Some(5.0), never, [Missed, Pending]);
        check(Some(5.0), None, never, [Held, PendingHolds]);
        check(None, Some(5.0), None, [NotAvailable, NotAvailable]);
    }

    /// `verdicts`: one letter for each expectation: held, missed, pending, x for one that is
    /// pending and holds, not available.
    fn passed(verdicts: &str, honest: bool, carried_out: bool) -> bool {
        let judged: Vec<Judged> = verdicts
            .chars()
            .map(|letter| {
                let value = match letter {
                    'n' => None,
                    'h' | 'x' => Some(1.0),
                    _ => Some(9.0),
                };
                let pending = matches!(letter, 'p' | 'x');
                judge(&expectation(None, Some(5.0), pending), value, honest)
            })
            .collect();
        let played = Played {
            decides: true,
            carried_out,
            honest,
            due: 10,
            ok: 9,
            ended: 10,
            duration: Duration::from_secs(60),
        };
        let summary = summary(played, &[], &judged);
        assert_eq!(summary.success, Some(0.9));
        summary.passed
    }

    #[test]
    fn a_run_fails_on_what_is_missed_and_on_marks_that_are_out_of_date() {
        assert!(passed("hhpn", true, true));
        assert!(!passed("hm", true, true));
        assert!(!passed("hx", true, true));
        assert!(!passed("h", false, true));
        assert!(!passed("n", false, true));
        assert!(!passed("h", true, false));
    }

    #[test]
    fn the_sentence_says_what_counts() {
        let missed = judge(&expectation(None, Some(5.0), false), Some(f64::INFINITY), true);
        assert_eq!(missed.words, "recovery of web 10 s to 30 s: never, expected at most 5 s");
        let played = Played {
            decides: true,
            carried_out: true,
            honest: true,
            due: 8,
            ok: 6,
            ended: 8,
            duration: Duration::from_secs(60),
        };
        assert_eq!(
            summary(played, &[], &[missed]).words,
            "75 % of the clients' requests succeeded in 60 s; symptoms shown: 0 of 0; expectations: 1 missed."
        );
    }
}
