//! How values are written: durations, sizes and shares as people write them, names without
//! anything that a terminal would take for a command.
//!
//! Invariant: what is written is bounded and holds no control characters.

use std::fmt::Display;
use std::time::Duration;

use model::Name;
use model::configuration::Rate;

/// Characters of a text that are shown, at most.
const TEXT_MAX: usize = 120;

/// Names and milliseconds, longest first.
const DURATION_UNITS: [(&str, u128); 4] =
    [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Names and bytes, largest first.
const SIZE_UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// `1m30s`; what is below a millisecond is left out.
pub(crate) fn duration(duration: &Duration) -> String {
    let mut rest_ms = duration.as_millis();
    let mut text = String::new();
    for (name, unit_ms) in DURATION_UNITS {
        if rest_ms >= unit_ms {
            text.push_str(&format!("{}{name}", rest_ms / unit_ms));
            rest_ms %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `16KiB`; in bytes where no unit fits exactly.
pub(crate) fn size(bytes: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*unit);
    let unit = SIZE_UNITS.iter().find(fits);
    unit.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// A part of a whole: `33 %`, and `0.4 %` where it is small.
pub(crate) fn share(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 9.95 {
        let text = format!("{percent:.1}");
        return format!("{} %", text.strip_suffix(".0").unwrap_or(&text));
    }
    format!("{percent:.0} %")
}

/// `50/s`, `1000/m`; of another time, `5 in 90s`.
pub(crate) fn rate(rate: &Rate) -> String {
    let units = [(1, "s"), (60, "m"), (3_600, "h"), (86_400, "d")];
    let unit = units.iter().find(|(seconds, _)| rate.per == Duration::from_secs(*seconds));
    let time =
        unit.map_or_else(|| format!(" in {}", duration(&rate.per)), |(_, name)| format!("/{name}"));
    format!("{}{time}", rate.count)
}

/// A number of which 0 means that there is none.
pub(crate) fn limit(limit: u32) -> String {
    if limit == 0 { "none".to_owned() } else { limit.to_string() }
}

pub(crate) fn switch(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// `3 servers`, `1 server`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A value, or `none`.
pub(crate) fn or_none<T>(value: Option<&T>, show: impl Fn(&T) -> String) -> String {
    value.map_or_else(|| "none".to_owned(), show)
}

/// A list, or `none`.
pub(crate) fn list<T>(values: &[T], show: impl Fn(&T) -> String) -> String {
    if values.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<String> = values.iter().take(8).map(show).collect();
    let rest = values.len() - shown.len();
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// A text of the configuration: as it is where that is harmless, else quoted with escapes, and
/// cut where it is long.
pub(crate) fn text(text: impl Display) -> String {
    let whole = text.to_string();
    let cut: String = whole.chars().take(TEXT_MAX).collect();
    let end = if cut.len() < whole.len() { "..." } else { "" };
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ',' | ';');
    if !cut.is_empty() && cut.chars().all(plain) {
        return format!("{cut}{end}");
    }
    // Beside control characters Debug escapes what is invisible or changes direction.
    format!("{cut:?}{end}")
}

/// A name of the configuration, see [`text`].
pub(crate) fn name(name: &Name) -> String {
    text(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_people_write_them() {
        let ms = |ms| duration(&Duration::from_millis(ms));
        assert_eq!([ms(0), ms(250), ms(90_000), ms(3_600_000)], ["0s", "250ms", "1m30s", "1h"]);
        assert_eq!([size(0), size(1_000), size(16_384)], ["0B", "1000B", "16KiB"]);
        assert_eq!([share(0.0), share(0.004), share(1.0 / 3.0)], ["0 %", "0.4 %", "33 %"]);
        assert_eq!([share(0.05), share(0.9996), share(0.0996)], ["5 %", "100 %", "10 %"]);
        let every = |count, seconds| rate(&Rate { count, per: Duration::from_secs(seconds) });
        assert_eq!([every(50, 1), every(10, 86_400), every(5, 90)], ["50/s", "10/d", "5 in 1m30s"]);
        assert_eq!(list(&[1; 10], i32::to_string), "1, 1, 1, 1, 1, 1, 1, 1 and 2 more");
    }

    #[test]
    fn names_cannot_write_to_the_terminal() {
        assert_eq!(text("10.0.0.1:80"), "10.0.0.1:80");
        assert_eq!(text("a b"), "\"a b\"");
        assert_eq!(text(""), "\"\"");
        assert_eq!(text("a\u{1b}[2Jb\n\u{202e}"), "\"a\\u{1b}[2Jb\\n\\u{202e}\"");
        assert_eq!(text("x".repeat(500)).len(), TEXT_MAX + 3);
    }
}
