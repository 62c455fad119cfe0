//! Gates of a load test: `p99 > 200ms` fails the run when it is true of the result.
//!
//! Pure: text in, a gate or what is wrong with the text and where; a result in, the measured
//! number and whether the gate was breached. Invariant: what could not be measured, such as a
//! latency when nothing was answered, is a breach and never a pass.

use std::fmt;

use crate::page::Unit;

use super::StreamSecond;

/// Gates of one run, at most.
pub const THRESHOLDS_MAX: usize = 64;

/// One gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    measure: Measure,
    comparison: Comparison,
    /// Milliseconds, a share of 0 to 1, a rate or a count, as the measure has it.
    bound: f64,
    unit: Unit,
}

#[derive(Clone, Debug, PartialEq)]
enum Measure {
    /// Of successful answers, from when they were due.
    Quantile(f64),
    Max,
    /// The share of requests due that did not end well.
    Errors,
    /// The share that did.
    Success,
    /// The share of all answers that one server gave.
    Share(String),
    /// Requests that ended well each second.
    Rate,
    /// Answers with a status: `503`, or `5xx` for a whole class.
    Status(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is wrong with a gate's text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}, column {}: {message}", column + 1)]
pub struct ThresholdError {
    /// The whole text.
    pub text: String,
    /// Characters before the place.
    pub column: usize,
    /// What was expected there.
    pub message: String,
}

/// What a gate found.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The gate as it was written.
    pub threshold: String,
    /// The measured number in the gate's unit (milliseconds, share, rate, count); `None` when
    /// there was nothing to measure.
    pub measured: Option<f64>,
    /// The same for a person.
    pub shown: String,
    /// Whether the run fails.
    pub breached: bool,
}

impl fmt::Display for Threshold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Threshold {
    /// Reads `p99 > 200ms`, `max >= 2s`, `errors > 1%`, `success < 99%`, `share(a) > 60%`,
    /// `rate < 900/s` or `status(503) > 0`.
    ///
    /// # Errors
    /// What was expected where.
    pub fn parse(text: &str) -> Result<Self, ThresholdError> {
        let mut reader = Reader { text, at: 0 };
        let measure = reader.measure()?;
        let comparison = reader.comparison()?;
        let (bound, unit) = reader.bound(&measure)?;
        Ok(Self { text: text.trim().to_owned(), measure, comparison, bound, unit })
    }

    /// Judges what was counted over `seconds`, the time in which requests were due.
    #[must_use]
    pub fn judge(&self, counts: &StreamSecond, seconds: f64) -> Judged {
        let measured = self.measured(counts, seconds);
        let breached = measured.is_none_or(|measured| match self.comparison {
            Comparison::Less => measured < self.bound,
            Comparison::LessOrEqual => measured <= self.bound,
            Comparison::Greater => measured > self.bound,
            Comparison::GreaterOrEqual => measured >= self.bound,
        });
        let shown =
            measured.map_or_else(|| "nothing to measure".to_owned(), |it| self.unit.show(it));
        Judged { threshold: self.text.clone(), measured, shown, breached }
    }

    fn measured(&self, counts: &StreamSecond, seconds: f64) -> Option<f64> {
        let milliseconds = |micros: u64| count(micros) / 1_000.0;
        match &self.measure {
            Measure::Quantile(quantile) => counts.latency.quantile(*quantile).map(milliseconds),
            Measure::Max => {
                (counts.latency.count() > 0).then(|| milliseconds(counts.latency.max()))
            }
            Measure::Errors => share(counts.due.saturating_sub(counts.ok), counts.due),
            Measure::Success => share(counts.ok, counts.due),
            Measure::Share(server) => {
                share(counts.by_server.get(server).copied().unwrap_or(0), counts.answered)
            }
            Measure::Rate => (seconds > 0.0).then(|| count(counts.ok) / seconds),
            Measure::Status(pattern) => {
                let matching =
                    counts.by_status.iter().filter(|(status, _)| fits(pattern, **status));
                let number: u64 = matching.map(|(_, number)| number).sum();
                match self.unit {
                    Unit::Share => share(number, counts.answered),
                    Unit::Count | Unit::PerSecond | Unit::Milliseconds | Unit::Seconds => {
                        Some(count(number))
                    }
                }
            }
        }
    }
}

/// `503` is itself; `5xx` is its class.
fn fits(pattern: &str, status: u16) -> bool {
    let status = status.to_string();
    pattern.len() == status.len()
        && pattern
            .chars()
            .zip(status.chars())
            .all(|(wanted, found)| wanted == 'x' || wanted == found)
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| count(part) / count(whole))
}

/// Exact up to 2^53, which no run counts to.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
fn count(number: u64) -> f64 {
    number as f64
}

/// Reads a gate from left to right.
struct Reader<'t> {
    text: &'t str,
    /// Bytes read, always at a character's begin.
    at: usize,
}

impl<'t> Reader<'t> {
    fn measure(&mut self) -> Result<Measure, ThresholdError> {
        self.skip_spaces();
        let from = self.at;
        let word = self.take(|character| character.is_ascii_alphanumeric() || character == '.');
        match word {
            "max" => Ok(Measure::Max),
            "errors" => Ok(Measure::Errors),
            "success" => Ok(Measure::Success),
            "rate" => Ok(Measure::Rate),
            "share" => self.argument("a server's name").map(Measure::Share),
            "status" => {
                let from = self.at + 1;
                let pattern = self.argument("a status such as 503 or 5xx")?;
                let mut digits = pattern.chars();
                let first = digits.next().is_some_and(|first| ('1'..='9').contains(&first));
                let rest = digits.as_str();
                let known = rest == "xx" || (rest.len() == 2 && rest.bytes().all(|b| b.is_ascii_digit()));
                match first && known {
                    true => Ok(Measure::Status(pattern)),
                    false => Err(self.error(from, "expected a status such as 503 or 5xx")),
                }
            }
            _ => match word.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok()) {
                Some(percent) if percent > 0.0 && percent < 100.0 => {
                    Ok(Measure::Quantile(percent / 100.0))
                }
                Some(_) => Err(self.error(from, "a percentile is between 0 and 100, as in p99.9")),
                None => Err(self.error(
                    from,
                    "expected p50, p99 or another percentile, max, errors, success, share(SERVER), rate or status(CODE)",
                )),
            },
        }
    }

    fn argument(&mut self, what: &str) -> Result<String, ThresholdError> {
        self.skip_spaces();
        if !self.eat("(") {
            return Err(self.error(self.at, &format!("expected ( and {what}")));
        }
        let from = self.at;
        let argument = self.take(|character| character != ')').trim().to_owned();
        if argument.is_empty() {
            return Err(self.error(from, &format!("expected {what}")));
        }
        if !self.eat(")") {
            return Err(self.error(self.at, "expected )"));
        }
        Ok(argument)
    }

    fn comparison(&mut self) -> Result<Comparison, ThresholdError> {
        self.skip_spaces();
        let known = [
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        match known.into_iter().find(|(sign, _)| self.eat(sign)) {
            Some((_, comparison)) => Ok(comparison),
            None => Err(self.error(self.at, "expected <, <=, > or >=")),
        }
    }

    fn bound(&mut self, measure: &Measure) -> Result<(f64, Unit), ThresholdError> {
        self.skip_spaces();
        let from = self.at;
        let digits = self.take(|character| character.is_ascii_digit() || character == '.');
        let number: Option<f64> = digits.parse().ok();
        let Some(number) = number else { return Err(self.error(from, "expected a number")) };
        self.skip_spaces();
        let from = self.at;
        let unit = self.take(|character| !character.is_whitespace());
        self.skip_spaces();
        if self.at < self.text.len() {
            return Err(self.error(self.at, "expected nothing more"));
        }
        let (found, expected) = match measure {
            Measure::Quantile(_) | Measure::Max => {
                let factor = match unit {
                    "us" => Some(1e-3),
                    "ms" => Some(1.0),
                    "s" => Some(1e3),
                    _ => None,
                };
                (factor.map(|factor| (number * factor, Unit::Milliseconds)), "us, ms or s")
            }
            Measure::Errors | Measure::Success | Measure::Share(_) => {
                ((unit == "%").then_some((number / 100.0, Unit::Share)), "%")
            }
            Measure::Rate => ((unit == "/s").then_some((number, Unit::PerSecond)), "/s"),
            Measure::Status(_) => match unit {
                "" => (Some((number, Unit::Count)), ""),
                "%" => (Some((number / 100.0, Unit::Share)), ""),
                _ => (None, "% or nothing"),
            },
        };
        found.ok_or_else(|| self.error(from, &format!("expected the unit {expected}")))
    }

    fn skip_spaces(&mut self) {
        self.take(char::is_whitespace);
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|character| !wanted(character)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    fn error(&self, at: usize, message: &str) -> ThresholdError {
        let column = self.text.get(..at).unwrap_or(self.text).chars().count();
        ThresholdError { text: self.text.to_owned(), column, message: message.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Latencies;
    use super::*;

    /// 1,000 requests in 10 s: 980 good answers of 1 to 98 us, 15 times 5xx, 5 timeouts.
    fn counts() -> StreamSecond {
        let mut latency = Latencies::default();
        (10..990).for_each(|tenth| latency.add(tenth / 10));
        StreamSecond {
            due: 1_000,
            sent: 1_000,
            ok: 980,
            failed: 20,
            answered: 995,
            by_status: [(200, 980), (500, 5), (503, 10)].into(),
            by_server: [("a".to_owned(), 600), ("b".to_owned(), 395)].into(),
            by_failure: [("timeout".to_owned(), 5)].into(),
            latency,
            ..StreamSecond::default()
        }
    }

    #[test]
    fn gates_are_judged() {
        for (text, shown, breached) in [
            ("p50 > 0.05ms", "49 \u{b5}s", false),
            ("p99 > 90us", "98 \u{b5}s", true),
            ("p10<=0.000010s", "10 \u{b5}s", true),
            ("max >= 98us", "98 \u{b5}s", true),
            ("max > 98us", "98 \u{b5}s", false),
            ("errors > 2%", "2 %", false),
            ("errors >= 2 %", "2 %", true),
            ("success < 99%", "98 %", true),
            ("share(a) > 60%", "60.3 %", true),
            ("share( c ) < 1%", "0 %", true),
            ("rate < 98/s", "98/s", false),
            ("  rate<99/s ", "98/s", true),
            ("status(503) > 0", "10", true),
            ("status(404) > 0", "0", false),
            ("status(5xx) > 1.5%", "1.5 %", true),
            ("status(5xx) > 15", "15", false),
        ] {
            let judged = Threshold::parse(text).unwrap().judge(&counts(), 10.0);
            assert_eq!((judged.shown.as_str(), judged.breached), (shown, breached), "{text}");
        }
    }

    #[test]
    fn what_was_not_measured_is_a_breach() {
        for text in ["p99 > 1s", "max < 1s", "errors > 100%", "share(a) < 1%", "rate < 0/s"] {
            let judged = Threshold::parse(text).unwrap().judge(&StreamSecond::default(), 0.0);
            assert_eq!((judged.measured, judged.breached), (None, true), "{text}");
        }
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, column, message) in [
            ("", 0, "expected p50, p99"),
            ("p > 1ms", 0, "expected p50"),
            ("  p100 > 1ms", 2, "a percentile is between"),
            ("p99", 3, "expected <, <=, > or >="),
            ("p99 = 1ms", 4, "expected <"),
            ("p99 >> 1ms", 5, "expected a number"),
            ("p99 > 1..2ms", 6, "expected a number"),
            ("p99 > 200", 9, "expected the unit us, ms or s"),
            ("p99 > 200%", 9, "expected the unit us, ms or s"),
            ("p99 > 2s or more", 9, "expected nothing more"),
            ("errors > 1", 10, "expected the unit %"),
            ("rate < 900", 10, "expected the unit /s"),
            ("share > 60%", 6, "expected ( and a server's name"),
            ("share() > 60%", 6, "expected a server's name"),
            ("share(a > 60%", 13, "expected )"),
            ("status(9999) > 0", 7, "expected a status such as"),
            ("status(5x) > 0", 7, "expected a status such as"),
            ("status(503) > 0/s", 15, "expected the unit % or nothing"),
            ("ü99 > 1ms", 0, "expected p50"),
            ("share(ü) = 1%", 9, "expected <"),
        ] {
            let error = Threshold::parse(text).unwrap_err();
            assert_eq!(error.column, column, "{error}");
            assert!(error.message.starts_with(message), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            if let Err(error) = Threshold::parse(&text) {
                proptest::prop_assert!(error.column <= text.chars().count());
            }
        }
    }
}
