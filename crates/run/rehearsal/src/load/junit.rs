//! A report as JUnit XML, as build servers read it: one test case for each gate, and two more:
//! that the target answers, and that the generator kept up.
//!
//! Invariant: well-formed XML 1.0 whatever the text is.

use super::report::{Report, Verdict};

/// The whole document.
#[must_use]
pub fn render(report: &Report) -> String {
    let generator = (report.verdict == Verdict::GeneratorBound).then_some(report.why.as_str());
    let nothing = (report.all.answered == 0).then_some("nothing was answered");
    let mut cases =
        vec![case("the target answers", nothing), case("the generator keeps up", generator)];
    let mut failures = usize::from(nothing.is_some()) + usize::from(generator.is_some());
    for gate in &report.thresholds {
        let message = format!("{}: {}", gate.fail_if, gate.shown);
        failures += usize::from(gate.breached);
        cases.push(case(
            &format!("not {}", gate.fail_if),
            gate.breached.then_some(message.as_str()),
        ));
    }
    let counts = format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\"", cases.len());
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts} time=\"{time:.3}\">\n\
         <testsuite name=\"load {url}\" {counts} skipped=\"0\" timestamp=\"{at}\" time=\"{time:.3}\">\n{}</testsuite>\n</testsuites>\n",
        cases.concat(),
        time = report.wall_seconds,
        url = escaped(&report.url),
        at = escaped(&report.started_at),
    )
}

fn case(name: &str, failure: Option<&str>) -> String {
    let name = escaped(name);
    match failure {
        None => format!("<testcase classname=\"load\" name=\"{name}\"/>\n"),
        Some(why) => format!(
            "<testcase classname=\"load\" name=\"{name}\"><failure message=\"{}\"/></testcase>\n",
            escaped(why)
        ),
    }
}

/// Text for a quoted attribute. What XML cannot carry at all is written out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.extend(character.escape_unicode()),
            _ if character.is_control() => escaped.extend(character.escape_unicode()),
            _ => escaped.push(character),
        }
    }
    escaped
}
