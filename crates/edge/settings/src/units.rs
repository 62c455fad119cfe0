//! Durations, sizes and rates as people write them: `250ms`, `1m30s`, `16KiB`, `200/s`.
//!
//! Strict on purpose: a unit is always written for a duration, so nobody has to know whether
//! `30` are seconds or milliseconds.
//! Invariant: what [`duration`] or [`size`] accept, [`show_duration`] or [`show_size`] write so
//! that it is read back as the same value.

use std::time::Duration;

/// Names and milliseconds, longest first.
const DURATION_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Names and bytes. Binary units first: they win when a size is shown.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Why a duration or size could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnitError {
    /// Not of the expected form.
    #[error("not a number with a unit")]
    Form,
    /// A unit that is not known; a close one, if any.
    #[error("an unknown unit")]
    Unit {
        /// The same text with the unit that was probably meant.
        meant: Option<String>,
    },
    /// A number without a unit.
    #[error("a number without a unit")]
    NoUnit,
    /// The same or a longer unit after a shorter one.
    #[error("units out of order")]
    Order,
    /// More than the type can hold.
    #[error("too large")]
    TooLarge,
}

/// Reads `250ms`, `1s`, `2m`, `1h` or several of them, longest unit first.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut unit_before = u64::MAX;
    while !rest.is_empty() || text.is_empty() {
        let (number, unit, after) = split(rest)?;
        let Some((_, unit_ms)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(unknown_unit(text, unit, DURATION_UNITS.iter().map(|(name, _)| *name)));
        };
        if *unit_ms >= unit_before {
            return Err(UnitError::Order);
        }
        unit_before = *unit_ms;
        let part_ms = number.checked_mul(*unit_ms).ok_or(UnitError::TooLarge)?;
        total_ms = total_ms.checked_add(part_ms).ok_or(UnitError::TooLarge)?;
        rest = after;
    }
    Ok(Duration::from_millis(total_ms))
}

/// Reads `16KiB`, `1MB`, `512B`.
pub(crate) fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit, after) = split(text)?;
    if !after.is_empty() {
        return Err(UnitError::Form);
    }
    let Some((_, unit_bytes)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(unknown_unit(text, unit, SIZE_UNITS.iter().map(|(name, _)| *name)));
    };
    number.checked_mul(*unit_bytes).ok_or(UnitError::TooLarge)
}

/// Reads `200/s`, `0.5/s`: so many a second.
pub(crate) fn rate(text: &str) -> Result<f64, UnitError> {
    let (number, unit) = text.split_once('/').unwrap_or((text, ""));
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let is_number =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return Err(UnitError::Form);
    }
    match unit {
        // Only an overflow is left to go wrong with digits alone, and it reads as infinite.
        "s" => number.parse().or(Err(UnitError::TooLarge)),
        "" => Err(UnitError::NoUnit),
        _ => Err(unknown_unit(text, unit, ["s"].into_iter())),
    }
}

/// Names and durations of what a rate may be counted in.
const RATE_UNITS: [(&str, Duration); 4] = [
    ("s", Duration::from_secs(1)),
    ("m", Duration::from_secs(60)),
    ("h", Duration::from_secs(3_600)),
    ("d", Duration::from_secs(86_400)),
];

/// Reads `50/s`, `1000/m`, `5/h`, `10/d`: so many in such a time. The number is whole, so that
/// nobody has to think about half a request.
pub(crate) fn count_rate(text: &str) -> Result<(u32, Duration), UnitError> {
    let (number, unit) = text.split_once('/').unwrap_or((text, ""));
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UnitError::Form);
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit);
    }
    let names = RATE_UNITS.iter().map(|(name, _)| *name);
    let known = RATE_UNITS.iter().find(|(name, _)| *name == unit);
    let (_, per) = known.ok_or_else(|| unknown_unit(text, unit, names))?;
    // Only an overflow is left to go wrong with digits alone.
    Ok((number.parse().or(Err(UnitError::TooLarge))?, *per))
}

/// A rate as it would be written; in milliseconds where its time is none of the units.
pub(crate) fn show_rate(count: u32, per: Duration) -> String {
    match RATE_UNITS.iter().find(|(_, time)| *time == per) {
        Some((name, _)) => format!("{count}/{name}"),
        None => format!("{count} in {}", show_duration(per)),
    }
}

/// A leading number, the unit behind it, and the rest.
fn split(text: &str) -> Result<(u64, &str, &str), UnitError> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, after) = text.split_at(digits_end);
    let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
    let (unit, after) = after.split_at(unit_end);
    if digits.is_empty() || (unit.is_empty() && !after.is_empty()) {
        return Err(UnitError::Form);
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit);
    }
    // Only an overflow is left to go wrong with digits alone.
    let Ok(number) = digits.parse() else { return Err(UnitError::TooLarge) };
    Ok((number, unit, after))
}

fn unknown_unit<'u>(
    text: &str,
    unit: &str,
    units: impl Iterator<Item = &'u str> + Clone,
) -> UnitError {
    let lower = unit.to_ascii_lowercase();
    let meant = match lower.as_str() {
        "sec" | "secs" | "second" | "seconds" => Some("s"),
        "min" | "mins" | "minute" | "minutes" => Some("m"),
        "hour" | "hours" | "hr" => Some("h"),
        "day" | "days" => Some("d"),
        "millis" | "msec" | "milliseconds" => Some("ms"),
        "k" => Some("KiB"),
        "g" => Some("GiB"),
        _ => None,
    };
    let known = |name: &&str| units.clone().any(|unit| unit == *name);
    let meant = meant
        .filter(known)
        .or_else(|| units.clone().find(|name| name.eq_ignore_ascii_case(unit)))
        .or_else(|| Some("MiB").filter(|name| lower == "m" && known(name)));
    UnitError::Unit { meant: meant.map(|name| text.replacen(unit, name, 1)) }
}

/// A duration as it would be written, in whole milliseconds.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut rest_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, unit_ms) in DURATION_UNITS {
        if rest_ms >= unit_ms {
            text.push_str(&format!("{}{name}", rest_ms / unit_ms));
            rest_ms %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A size as it would be written, in the largest unit that divides it.
pub(crate) fn show_size(bytes: u64) -> String {
    for (name, unit_bytes) in SIZE_UNITS {
        if bytes > 0 && bytes.is_multiple_of(unit_bytes) {
            return format!("{}{name}", bytes / unit_bytes);
        }
    }
    "0B".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_duration(text: &str, expected: Result<u64, UnitError>) {
        assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn durations() {
        check_duration("250ms", Ok(250));
        check_duration("1s", Ok(1_000));
        check_duration("2m", Ok(120_000));
        check_duration("1h", Ok(3_600_000));
        check_duration("1m30s", Ok(90_000));
        check_duration("1h2m3s4ms", Ok(3_723_004));
        check_duration("0s", Ok(0));
        check_duration("", Err(UnitError::Form));
        check_duration("s", Err(UnitError::Form));
        check_duration("-1s", Err(UnitError::Form));
        check_duration("1.5s", Err(UnitError::Form));
        check_duration("1 s", Err(UnitError::Form));
        check_duration("30", Err(UnitError::NoUnit));
        check_duration("1s1m", Err(UnitError::Order));
        check_duration("1s1s", Err(UnitError::Order));
        check_duration("1sec", Err(UnitError::Unit { meant: Some("1s".to_owned()) }));
        check_duration("1MS", Err(UnitError::Unit { meant: Some("1ms".to_owned()) }));
        check_duration("1x", Err(UnitError::Unit { meant: None }));
        check_duration("99999999999999999999s", Err(UnitError::TooLarge));
        check_duration("9999999999999999999h", Err(UnitError::TooLarge));
    }

    fn check_size(text: &str, expected: Result<u64, UnitError>) {
        assert_eq!(size(text), expected, "{text}");
    }

    #[test]
    fn sizes() {
        check_size("16KiB", Ok(16_384));
        check_size("1MB", Ok(1_000_000));
        check_size("512B", Ok(512));
        check_size("2GiB", Ok(2_147_483_648));
        check_size("16kib", Err(UnitError::Unit { meant: Some("16KiB".to_owned()) }));
        check_size("16k", Err(UnitError::Unit { meant: Some("16KiB".to_owned()) }));
        check_size("16m", Err(UnitError::Unit { meant: Some("16MiB".to_owned()) }));
        check_size("16", Err(UnitError::NoUnit));
        check_size("1KiB2B", Err(UnitError::Form));
        check_size("99999999TiB", Err(UnitError::TooLarge));
    }

    fn check_rate(text: &str, expected: Result<f64, UnitError>) {
        assert_eq!(rate(text), expected, "{text}");
    }

    #[test]
    fn rates() {
        check_rate("200/s", Ok(200.0));
        check_rate("0.5/s", Ok(0.5));
        check_rate("200", Err(UnitError::NoUnit));
        check_rate("/s", Err(UnitError::Form));
        check_rate("-1/s", Err(UnitError::Form));
        check_rate("1e3/s", Err(UnitError::Form));
        check_rate("5/sec", Err(UnitError::Unit { meant: Some("5/s".to_owned()) }));
        check_rate("5/day", Err(UnitError::Unit { meant: None }));
    }

    fn check_count_rate(text: &str, expected: Result<(u32, u64), UnitError>) {
        let expected = expected.map(|(count, seconds)| (count, Duration::from_secs(seconds)));
        assert_eq!(count_rate(text), expected, "{text}");
        if let Ok((count, per)) = expected {
            assert_eq!(show_rate(count, per), text);
        }
    }

    #[test]
    fn rates_of_whole_requests() {
        check_count_rate("50/s", Ok((50, 1)));
        check_count_rate("1000/m", Ok((1_000, 60)));
        check_count_rate("5/h", Ok((5, 3_600)));
        check_count_rate("10/d", Ok((10, 86_400)));
        check_count_rate("50", Err(UnitError::NoUnit));
        check_count_rate("50/", Err(UnitError::NoUnit));
        check_count_rate("/s", Err(UnitError::Form));
        check_count_rate("0.5/s", Err(UnitError::Form));
        check_count_rate("-1/s", Err(UnitError::Form));
        check_count_rate("5/day", Err(UnitError::Unit { meant: Some("5/d".to_owned()) }));
        check_count_rate("5/minute", Err(UnitError::Unit { meant: Some("5/m".to_owned()) }));
        check_count_rate("5/ms", Err(UnitError::Unit { meant: None }));
        check_count_rate("99999999999/s", Err(UnitError::TooLarge));
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_is_read_back(value: u64) {
            let shown = show_duration(Duration::from_millis(value));
            proptest::prop_assert_eq!(duration(&shown), Ok(Duration::from_millis(value)));
            proptest::prop_assert_eq!(size(&show_size(value)), Ok(value));
        }
    }
}
