//! Writes the metrics page, in the format that the scraper asked for.
//!
//! The catalogue is the page's table of contents: each of its metrics is written, in its order,
//! and nothing else.

use model::fact::Snapshot;

use crate::catalogue::CATALOGUE;
use crate::registry::Registry;
use crate::samples::View;
use crate::text::TextWriter;

/// The `Content-Type` of [`ExpositionFormat::Prometheus`].
pub const CONTENT_TYPE_PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The `Content-Type` of [`ExpositionFormat::OpenMetrics`].
pub const CONTENT_TYPE_OPENMETRICS: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How the metrics page is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// The Prometheus text format 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl ExpositionFormat {
    /// The format's `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => CONTENT_TYPE_PROMETHEUS,
            Self::OpenMetrics => CONTENT_TYPE_OPENMETRICS,
        }
    }

    /// Chooses by the `Accept` header: OpenMetrics where it is asked for by name, at version 1
    /// or any, with at least the weight of plain text; else the Prometheus text, which every
    /// scraper and every person can read.
    #[must_use]
    pub fn negotiate(accept: Option<&str>) -> Self {
        let mut openmetrics = 0.0;
        // A more specific range wins over a wildcard, whatever their order.
        let (mut plain, mut plain_rank) = (0.0, 0);
        for range in accept.unwrap_or_default().split(',') {
            let range = MediaRange::parse(range);
            let rank = match range.media.as_str() {
                "application/openmetrics-text"
                    if range.version.is_none_or(|version| version.starts_with("1.")) =>
                {
                    openmetrics = f64::max(openmetrics, range.quality);
                    continue;
                }
                "text/plain" if range.version.is_none_or(|version| version == "0.0.4") => 3,
                "text/*" => 2,
                "*/*" => 1,
                _ => continue,
            };
            if rank > plain_rank || (rank == plain_rank && range.quality > plain) {
                (plain, plain_rank) = (range.quality, rank);
            }
        }
        if openmetrics > 0.0 && openmetrics >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }
}

/// One entry of an `Accept` header.
struct MediaRange<'a> {
    media: String,
    version: Option<&'a str>,
    quality: f64,
}

impl<'a> MediaRange<'a> {
    fn parse(range: &'a str) -> Self {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut parsed = Self { media, version: None, quality: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            if name.trim().eq_ignore_ascii_case("version") {
                parsed.version = Some(value.trim().trim_matches('"'));
            } else if name.trim().eq_ignore_ascii_case("q") {
                // An unreadable weight is the least one: it must not win by being malformed.
                let quality = value.trim().parse::<f64>().unwrap_or(0.0);
                parsed.quality = if (0.0..=1.0).contains(&quality) { quality } else { 0.0 };
            }
        }
        parsed
    }
}

/// The metrics page: counters from the registry as of now, gauges and shares from the last
/// snapshot. Locks the registry while it reads, so never on the request path.
#[must_use]
pub fn exposition(registry: &Registry, snapshot: &Snapshot, format: ExpositionFormat) -> String {
    let view = View::new(registry, snapshot);
    let mut writer = TextWriter::new(format);
    for metric in CATALOGUE {
        let mut family = writer.family(metric);
        (metric.samples)(&view, &mut family);
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_decides() {
        let check = |accept: &str, expected: ExpositionFormat| {
            assert_eq!(ExpositionFormat::negotiate(Some(accept)), expected, "{accept}");
        };
        // What Prometheus 2 and Prometheus 3 send.
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ExpositionFormat::OpenMetrics,
        );
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ExpositionFormat::OpenMetrics,
        );
        check("application/openmetrics-text", ExpositionFormat::OpenMetrics);
        check("Application/OpenMetrics-Text; Version=\"1.0.0\"", ExpositionFormat::OpenMetrics);
        check("*/*, application/openmetrics-text;q=1.0", ExpositionFormat::OpenMetrics);
        check("*/*", ExpositionFormat::Prometheus);
        check("text/html,*/*;q=0.8", ExpositionFormat::Prometheus);
        check("application/openmetrics-text;version=0.0.1", ExpositionFormat::Prometheus);
        check("application/openmetrics-text;q=0", ExpositionFormat::Prometheus);
        check("application/openmetrics-text;q=x,text/plain", ExpositionFormat::Prometheus);
        check("application/openmetrics-text;q=0.2,text/plain;q=0.5", ExpositionFormat::Prometheus);
        check(
            "application/openmetrics-text;q=0.4,text/plain;q=0.3,*/*",
            ExpositionFormat::OpenMetrics,
        );
        check(",;=;q,", ExpositionFormat::Prometheus);
        assert_eq!(ExpositionFormat::negotiate(None), ExpositionFormat::Prometheus);
    }
}
