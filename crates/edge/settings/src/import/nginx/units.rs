//! nginx's times and sizes.

/// Milliseconds of a time such as `60`, `500ms` or `1h30m`; a bare number is seconds.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let units = [
            ("ms", 1),
            ("s", 1_000),
            ("m", 60_000),
            ("h", 3_600_000),
            ("d", 86_400_000),
            ("w", 604_800_000),
            ("M", 2_592_000_000),
            ("y", 31_536_000_000),
        ];
        let unit = units.iter().find_map(|(name, ms)| Some((rest.strip_prefix(name)?, *ms)));
        let (after, ms) = match unit {
            Some(unit) => unit,
            None if rest.is_empty() => ("", 1_000),
            None => return None,
        };
        rest = after.trim_start();
        total = total.checked_add(number.checked_mul(ms)?)?;
    }
    Some(total)
}

/// Bytes of a size such as `8k`, `1m`, `2g` or `512`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let unit = match text.get(digits..)? {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_those_of_nginx() {
        for (text, expected) in [
            ("60", Some(60_000)),
            ("500ms", Some(500)),
            ("1m30s", Some(90_000)),
            ("1h 30m", Some(5_400_000)),
            ("1x", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
        for (text, expected) in [("8k", Some(8_192)), ("1M", Some(1 << 20)), ("5t", None)] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
