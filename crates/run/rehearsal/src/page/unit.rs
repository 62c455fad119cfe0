//! How a number reads: with as many digits as say something, and its unit.

/// What a number counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    #[default]
    Count,
    /// Things each second.
    PerSecond,
    /// Time, given in milliseconds.
    Milliseconds,
    /// Time, given in seconds.
    Seconds,
    /// A part of a whole, given as 0 to 1.
    Share,
}

impl Unit {
    /// The number with its unit: `1,234`, `870 µs`, `12.3 ms`, `99.95 %`.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Count => number(value),
            Self::PerSecond => format!("{}/s", number(value)),
            Self::Milliseconds => time(value),
            Self::Seconds => format!("{} s", number(value)),
            Self::Share => format!("{} %", percent(value)),
        }
    }
}

/// Milliseconds in the unit a person would choose.
fn time(ms: f64) -> String {
    match ms {
        _ if ms == 0.0 => "0 ms".to_owned(),
        _ if ms < 0.9995 => format!("{} \u{b5}s", digits(ms * 1_000.0)),
        _ if ms < 999.5 => format!("{} ms", digits(ms)),
        _ => format!("{} s", digits(ms / 1_000.0)),
    }
}

/// Three significant digits, without empty ones behind the point.
fn digits(value: f64) -> String {
    let places = match value.abs() {
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    trimmed(format!("{value:.places$}"))
}

/// Four digits of a percentage near 0 and 100, where they are what matters.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let edge = percent.min(100.0 - percent).abs();
    let places = match edge {
        _ if percent == 0.0 || edge == 0.0 => 0,
        edge if edge < 0.095 => 3,
        edge if edge < 0.95 => 2,
        _ => 1,
    };
    trimmed(format!("{percent:.places$}"))
}

/// A count with its thousands apart; a small broken number with three digits.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value.abs() < 99.95 && value.fract() != 0.0 {
        return digits(value);
    }
    let plain = format!("{:.0}", value.abs());
    let mut grouped = String::with_capacity(plain.len() + plain.len() / 3);
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 && plain != "0" { format!("-{grouped}") } else { grouped }
}

fn trimmed(text: String) -> String {
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (unit, value, expected) in [
            (Unit::Count, 0.0, "0"),
            (Unit::Count, 1_234_567.0, "1,234,567"),
            (Unit::Count, 999.6, "1,000"),
            (Unit::Count, -1_500.0, "-1,500"),
            (Unit::Count, 0.25, "0.25"),
            (Unit::Count, f64::NAN, "-"),
            (Unit::PerSecond, 1_000.0, "1,000/s"),
            (Unit::Milliseconds, 0.0, "0 ms"),
            (Unit::Milliseconds, 0.087, "87 \u{b5}s"),
            (Unit::Milliseconds, 0.9999, "1 ms"),
            (Unit::Milliseconds, 12.34, "12.3 ms"),
            (Unit::Milliseconds, 1_234.0, "1.23 s"),
            (Unit::Seconds, 90.0, "90 s"),
            (Unit::Share, 1.0, "100 %"),
            (Unit::Share, 0.0, "0 %"),
            (Unit::Share, 0.999_5, "99.95 %"),
            (Unit::Share, 0.999_99, "99.999 %"),
            (Unit::Share, 0.333_3, "33.3 %"),
            (Unit::Share, 0.001, "0.1 %"),
        ] {
            assert_eq!(unit.show(value), expected, "{unit:?} {value}");
        }
    }
}
