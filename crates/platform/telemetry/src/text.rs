//! Writes metric families in the Prometheus text format 0.0.4 and in OpenMetrics 1.0.
//!
//! The two differ in few places: OpenMetrics names the family of a counter without `_total` and
//! of an info without `_info`, has units, and ends in `# EOF`. Invariant: a family's lines are
//! written together, with exactly the label names that the catalogue gives it, and no value can
//! break out of its quotes or carry a control character to a terminal.

use std::fmt::Write as _;

use crate::catalogue::{Kind, Metric};
use crate::exposition::ExpositionFormat;
use crate::histogram::{HistogramCounts, bound_seconds};

/// The text so far, and the family it is in.
#[derive(Debug)]
pub(crate) struct TextWriter {
    text: String,
    format: ExpositionFormat,
}

impl TextWriter {
    pub(crate) fn new(format: ExpositionFormat) -> Self {
        Self { text: String::with_capacity(16 * 1_024), format }
    }

    /// Starts a family: its type, unit and help. Samples follow through the writer it returns.
    pub(crate) fn family(&mut self, metric: &'static Metric) -> FamilyWriter<'_> {
        let openmetrics = self.format == ExpositionFormat::OpenMetrics;
        let sample = metric.sample_name();
        let (family, kind) = match (openmetrics, metric.kind) {
            (true, Kind::Info) => (metric.name.to_owned(), "info"),
            (true, Kind::Counter) => (metric.name.to_owned(), "counter"),
            (false, Kind::Info) => (sample.clone(), "gauge"),
            (false, Kind::Counter) => (sample.clone(), "counter"),
            (_, Kind::Gauge) => (metric.name.to_owned(), "gauge"),
            (_, Kind::Histogram) => (metric.name.to_owned(), "histogram"),
        };
        self.line(format_args!("# HELP {family} {}", escaped(metric.help, openmetrics)));
        self.line(format_args!("# TYPE {family} {kind}"));
        if let (true, Some(unit)) = (openmetrics, metric.unit) {
            self.line(format_args!("# UNIT {family} {unit}"));
        }
        FamilyWriter { writer: self, metric, sample }
    }

    /// The whole text.
    pub(crate) fn finish(mut self) -> String {
        if self.format == ExpositionFormat::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).expect("writing to a string does not fail");
        self.text.push('\n');
    }
}

/// Writes the samples of one family.
#[derive(Debug)]
pub(crate) struct FamilyWriter<'a> {
    writer: &'a mut TextWriter,
    metric: &'static Metric,
    sample: String,
}

impl FamilyWriter<'_> {
    /// One sample of a counter, a gauge or an info; `labels` are values in the catalogue's order.
    pub(crate) fn sample(&mut self, labels: &[&str], value: f64) {
        let labels = self.labels(labels);
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let sample = &self.sample;
        self.writer.line(format_args!("{sample}{braced} {}", number(value)));
    }

    /// One sample of a counter.
    pub(crate) fn count(&mut self, labels: &[&str], value: u64) {
        self.sample(labels, value as f64);
    }

    /// One sample, or none where the value is not known.
    pub(crate) fn maybe(&mut self, labels: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.sample(labels, value);
        }
    }

    /// A whole histogram.
    pub(crate) fn histogram(&mut self, labels: &[&str], counts: &HistogramCounts) {
        let labels = self.labels(labels);
        let comma = if labels.is_empty() { "" } else { "," };
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let name = self.metric.name;
        for (bound, count) in counts.cumulative() {
            let bound = bound_seconds(bound);
            self.writer
                .line(format_args!("{name}_bucket{{{labels}{comma}le=\"{bound:?}\"}} {count}"));
        }
        let count = counts.count();
        self.writer.line(format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"));
        self.writer.line(format_args!("{name}_sum{braced} {}", number(counts.sum_seconds())));
        self.writer.line(format_args!("{name}_count{braced} {count}"));
    }

    fn labels(&self, values: &[&str]) -> String {
        debug_assert_eq!(self.metric.labels.len(), values.len(), "{}", self.metric.name);
        let mut text = String::new();
        for (name, value) in self.metric.labels.iter().zip(values) {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            text.push_str(&escaped(value, true));
            text.push('"');
        }
        text
    }
}

/// A number as both formats read it.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        (if value > 0.0 { "+Inf" } else { "-Inf" }).to_owned()
    } else {
        format!("{value}")
    }
}

/// Escapes as the formats ask: backslash and line feed, and quotes where `quotes` says so. Other
/// control characters are allowed by the formats, but not by a terminal that shows the page:
/// they become visible text.
fn escaped(value: &str, quotes: bool) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            _ if crate::access::is_unsafe_to_show(character) => {
                for escape in character.escape_unicode() {
                    text.push_str(if escape == '\\' { "\\\\" } else { "" });
                    text.extend((escape != '\\').then_some(escape));
                }
            }
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let check = |value: &str, expected: &str| assert_eq!(escaped(value, true), expected);
        check("plain é", "plain é");
        check("a\"b\\c\nd", "a\\\"b\\\\c\\nd");
        check("\u{1b}[31m\u{7f}\r", "\\\\u{1b}[31m\\\\u{7f}\\\\u{d}");
        check("\u{202e}\u{9b}", "\\\\u{202e}\\\\u{9b}");
    }

    #[test]
    fn numbers_are_read_back() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.25, "0.25"),
            (1e21, "1000000000000000000000"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
