//! Reads values that have a unit: rates, durations, sizes.

use std::ops::RangeInclusive;
use std::time::Duration;

use model::configuration::Rate;

use super::Value;
use crate::finding::{Finding, quote};
use crate::units::{self, UnitError};

/// The highest rate that a limit may have: one request a microsecond, as exact as limits count.
const PER_SECOND_MAX: f64 = 1_000_000.0;

impl Value<'_> {
    /// A rate such as `50/s` or `1000/m`: so many in a second, a minute, an hour or a day.
    pub(crate) fn count_rate(&self) -> Option<Rate> {
        const HELP: &str = "write it like \"50/s\", \"1000/m\", \"5/h\" or \"10/d\"";
        let Some(text) = self.as_text() else {
            self.wrong_type("a rate such as \"50/s\" or \"1000/m\"");
            return None;
        };
        match units::count_rate(text) {
            Ok((count @ 1.., per)) if f64::from(count) / per.as_secs_f64() <= PER_SECOND_MAX => {
                Some(Rate { count, per })
            }
            Ok(_) | Err(UnitError::TooLarge) => {
                self.out_of_range("1/d", &format!("{PER_SECOND_MAX}/s"));
                None
            }
            Err(error) => {
                self.wrong_unit("rate", &error, HELP);
                None
            }
        }
    }

    /// A rate such as `200/s`, per second, in `range`.
    pub(crate) fn rate(&self, range: &RangeInclusive<f64>) -> Option<f64> {
        let Some(text) = self.as_text() else {
            self.wrong_type("a rate such as \"200/s\"");
            return None;
        };
        match units::rate(text) {
            Ok(rate) if range.contains(&rate) => Some(rate),
            Ok(_) | Err(UnitError::TooLarge) => {
                self.out_of_range(&format!("{}/s", range.start()), &format!("{}/s", range.end()));
                None
            }
            Err(error) => {
                self.wrong_unit("rate", &error, "write it like \"200/s\" or \"0.5/s\"");
                None
            }
        }
    }

    /// A duration in `range`.
    pub(crate) fn duration(&self, range: &RangeInclusive<Duration>) -> Option<Duration> {
        let Some(text) = self.as_text() else {
            self.wrong_type("a duration such as \"250ms\", \"1s\" or \"1m30s\"");
            return None;
        };
        let (first, last) =
            (units::show_duration(*range.start()), units::show_duration(*range.end()));
        match units::duration(text) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Ok(_) | Err(UnitError::TooLarge) => {
                self.out_of_range(&first, &last);
                None
            }
            Err(error) => {
                self.wrong_unit("duration", &error, "write it like \"250ms\", \"1s\" or \"1m30s\"");
                None
            }
        }
    }

    /// A size in bytes in `range`; a plain integer is bytes.
    pub(crate) fn size(&self, range: &RangeInclusive<u64>) -> Option<u64> {
        let (first, last) = (units::show_size(*range.start()), units::show_size(*range.end()));
        let read = match (self.as_text(), self.inner.as_integer()) {
            (Some(text), _) => units::size(text),
            (None, Some(integer)) => {
                u64::from_str_radix(integer.as_str(), integer.radix()).or(Err(UnitError::TooLarge))
            }
            (None, None) => {
                self.wrong_type("a size such as \"16KiB\" or 16384");
                return None;
            }
        };
        match read {
            Ok(size) if range.contains(&size) => Some(size),
            Ok(_) | Err(UnitError::TooLarge) => {
                self.out_of_range(&first, &last);
                None
            }
            Err(error) => {
                self.wrong_unit("size", &error, "write it like \"16KiB\" or \"1MB\"");
                None
            }
        }
    }

    fn wrong_unit(&self, what: &str, error: &UnitError, help: &str) {
        let message = format!("{} is not a {what}", quote(self.as_text().unwrap_or_default()));
        let meant = match error {
            UnitError::Unit { meant } => meant.as_deref().map(crate::finding::meant),
            UnitError::Form | UnitError::NoUnit | UnitError::Order | UnitError::TooLarge => None,
        };
        let finding = Finding::error("invalid-unit", self.span.clone(), message);
        self.report(finding.label(error.to_string()).help(help).help_maybe(meant));
    }
}
