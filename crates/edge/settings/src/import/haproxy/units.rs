//! HAProxy's numbers: times in milliseconds unless a unit says otherwise.
//!
//! Manual, section 2.6: `us`, `ms` (the default), `s`, `m`, `h`, `d`; several may follow one
//! another only in newer versions, and nobody writes that.

/// The longest timeout of this door: a day.
pub(super) const TIMEOUT_MS_MAX: u64 = 86_400_000;

/// The shortest: ten milliseconds.
pub(super) const TIMEOUT_MS_MIN: u64 = 10;

/// Reads a time in milliseconds, microseconds rounded up.
pub(super) fn time_ms(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let number: u64 = digits.parse().ok()?;
    match unit {
        "us" => Some(number.div_ceil(1_000)),
        "" | "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => None,
    }
}

/// A timeout as this door takes it: `Ok(None)` is none at all, `Err` says why it is not taken.
pub(super) fn timeout_ms(text: &str) -> Result<Option<u64>, &'static str> {
    match time_ms(text) {
        None => Err("this is not a time"),
        Some(0) => Ok(None),
        Some(ms) if ms > TIMEOUT_MS_MAX => Err("the door's longest timeout is 24h"),
        Some(ms) => Ok(Some(ms.max(TIMEOUT_MS_MIN))),
    }
}

/// Reads a whole number.
pub(super) fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("5000", Some(5_000)),
            ("0", Some(0)),
            ("10s", Some(10_000)),
            ("1m", Some(60_000)),
            ("2h", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("500us", Some(1)),
            ("50ms", Some(50)),
            ("s", None),
            ("-1", None),
            ("1 s", None),
            ("99999999999999999d", None),
        ] {
            assert_eq!(time_ms(text), expected, "{text}");
        }
        assert_eq!(timeout_ms("0"), Ok(None));
        assert_eq!(timeout_ms("1"), Ok(Some(10)));
        assert!(timeout_ms("2d").is_err());
    }
}
