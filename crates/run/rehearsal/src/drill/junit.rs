//! Verdicts as JUnit XML: one suite a run, one case an expectation.
//!
//! Invariant: a case fails only where `drill run` itself fails; what is pending, not available or
//! judged of a front door that does not decide is skipped, with its reason, and never passes.

use super::report::{Judged, RunReport, Verdict};

/// The whole document.
#[must_use]
pub fn document(runs: &[RunReport]) -> String {
    let suites: String = runs.iter().map(suite).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tidegate drill\">\n{suites}</testsuites>\n"
    )
}

fn suite(run: &RunReport) -> String {
    let guard = if run.guard { "on" } else { "off" };
    let name = escape(&format!("{} {} guard {guard}", run.drill, run.front));
    let cases: Vec<Case<'_>> =
        run.expectations.iter().map(|judged| case(judged, run.summary.decides)).collect();
    let count = |result: fn(&Case<'_>) -> bool| cases.iter().filter(|case| result(case)).count();
    let body: String = cases.iter().map(|case| case.xml(&name)).collect();
    format!(
        "<testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{:.3}\">\n{body}<system-out>{}</system-out>\n</testsuite>\n",
        cases.len(),
        count(|case| matches!(case.result, Case::FAILED)),
        count(|case| matches!(case.result, Case::SKIPPED)),
        run.wall_seconds,
        escape(&run.summary.words),
    )
}

/// One expectation; the result is the element that says so, if any.
struct Case<'a> {
    judged: &'a Judged,
    result: Option<&'static str>,
}

impl Case<'_> {
    const FAILED: Option<&'static str> = Some("failure");
    const SKIPPED: Option<&'static str> = Some("skipped");

    fn xml(&self, suite: &str) -> String {
        let judged = self.judged;
        let name = escape(&format!(
            "{}: {} ({} to {} s)",
            judged.measure, judged.bound_words, judged.from_seconds, judged.to_seconds
        ));
        let open = format!("<testcase classname=\"{suite}\" name=\"{name}\"");
        let Some(element) = self.result else { return format!("{open}/>\n") };
        let why = match &judged.pending {
            Some(why) => format!("{}: {} ({why})", judged.verdict.as_str(), judged.value_words),
            None => format!("{}: {}", judged.verdict.as_str(), judged.value_words),
        };
        format!("{open}><{element} message=\"{}\"/></testcase>\n", escape(&why))
    }
}

fn case(judged: &Judged, decides: bool) -> Case<'_> {
    let result = match judged.verdict {
        Verdict::Held => None,
        Verdict::Pending | Verdict::NotAvailable => Case::SKIPPED,
        Verdict::Missed | Verdict::PendingHolds | Verdict::GeneratorBound if decides => {
            Case::FAILED
        }
        Verdict::Missed | Verdict::PendingHolds | Verdict::GeneratorBound => Case::SKIPPED,
    };
    Case { judged, result }
}

/// As XML wants it in text and attributes; what XML cannot hold is replaced.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            '\u{fffe}' | '\u{ffff}' => safe.push(char::REPLACEMENT_CHARACTER),
            _ if character.is_control() => safe.push(char::REPLACEMENT_CHARACTER),
            _ => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::super::html::tests::run;
    use super::*;

    #[test]
    fn a_case_fails_only_where_the_run_decides() {
        let deciding = document(&[run("tidegate", true, 0.5)]);
        assert!(
            deciding.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""),
            "{deciding}"
        );
        assert!(deciding.contains("<failure message=\"missed: 50 %\"/>"), "{deciding}");
        assert!(
            deciding.contains("<skipped message=\"pending: never (nothing names causes yet)\"/>")
        );
        let compared = document(&[run("nginx", true, 0.5)]);
        assert!(compared.contains("failures=\"0\" errors=\"0\" skipped=\"2\""), "{compared}");
    }

    #[test]
    fn nothing_breaks_the_document() {
        assert_eq!(escape("<a b=\"c\">&\u{1b}\n"), "&lt;a b=&quot;c&quot;&gt;&amp;\u{fffd}&#10;");
    }
}
