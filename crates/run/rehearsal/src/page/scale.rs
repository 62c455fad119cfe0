//! From values to places on an axis, and where its ticks are.

use super::Unit;

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// Each factor of ten as wide as the next. Values of zero and below stand at the begin.
    Log,
    /// Quantiles, 0 to below 1: each further nine as wide as the one before.
    Nines,
}

/// The widest axis of quantiles: six nines.
const NINES_MAX: f64 = 6.0;

/// A scale with its ends: values in, 0 to 1 out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruler {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Ruler {
    /// A ruler for these values, its ends on round numbers. A linear one that is not `tight`
    /// begins at zero.
    pub(super) fn new(scale: Scale, values: impl Iterator<Item = f64>, tight: bool) -> Self {
        let finite =
            values.filter(|value| value.is_finite() && (scale != Scale::Log || *value > 0.0));
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        match scale {
            Scale::Linear if tight => {
                Self { scale, low, high: if high > low { high } else { low + 1.0 } }
            }
            Scale::Linear => {
                let high = if high > 0.0 { high } else { 1.0 };
                let step = step(high);
                Self { scale, low: 0.0, high: (high / step).ceil() * step }
            }
            Scale::Log => {
                let low = if low > 0.0 { low.log10().floor() } else { 0.0 };
                let high = if high > 0.0 { high.log10().ceil() } else { 1.0 };
                Self { scale, low, high: if high > low { high } else { low + 1.0 } }
            }
            Scale::Nines => Self { scale, low: 0.0, high: nines(high).clamp(1.0, NINES_MAX) },
        }
    }

    /// The same with fixed ends, for a linear scale.
    pub(super) fn fixed(low: f64, high: f64) -> Self {
        Self { scale: Scale::Linear, low, high: if high > low { high } else { low + 1.0 } }
    }

    /// Where on the axis, 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(1e-12).log10(),
            Scale::Nines => nines(value),
        };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Values with their labels, from the begin to the end.
    pub(super) fn ticks(&self, unit: Unit) -> Vec<(f64, String)> {
        let values: Vec<f64> = match self.scale {
            Scale::Linear => {
                let step = step(self.high - self.low);
                let first = (self.low / step).ceil() * step;
                counted(((self.high - first) / step + 1e-9).floor())
                    .map(|index| first + step * index)
                    .collect()
            }
            Scale::Log => {
                let decades = self.high - self.low;
                let within: &[f64] = if decades <= 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let ends = self.high + 1e-9;
                counted(decades)
                    .flat_map(|decade| within.iter().map(move |part| (decade, part)))
                    .map(|(decade, part)| part * 10_f64.powf(self.low + decade))
                    .filter(|value| value.log10() <= ends)
                    .collect()
            }
            Scale::Nines => [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999]
                .into_iter()
                .filter(|value| nines(*value) <= self.high + 1e-9)
                .collect(),
        };
        values.into_iter().map(|value| (value, unit.show(value))).collect()
    }
}

/// 0, 1, 2 and so on up to `last`, at most a hundred.
fn counted(last: f64) -> impl Iterator<Item = f64> {
    (0..=100_u32).map(f64::from).take_while(move |index| *index <= last)
}

fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(10_f64.powf(-NINES_MAX)).log10()
}

/// A round distance (1, 2 or 5 times a power of ten) that makes three to seven ticks.
fn step(width: f64) -> f64 {
    let rough = width / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = match rough / power {
        part if part <= 1.0 => 1.0,
        part if part <= 2.0 => 2.0,
        part if part <= 5.0 => 5.0,
        _ => 10.0,
    };
    factor * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ruler: Ruler, unit: Unit, expected: &[&str]) {
        let ticks = ruler.ticks(unit);
        let labels: Vec<&str> = ticks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, expected);
        let places: Vec<f64> = ticks.iter().map(|(value, _)| ruler.place(*value)).collect();
        assert!(places.is_sorted() && places.iter().all(|place| (0.0..=1.0).contains(place)));
    }

    #[test]
    fn ticks_are_round() {
        let of = |scale, values: &[f64]| Ruler::new(scale, values.iter().copied(), false);
        check(
            of(Scale::Linear, &[3.0, 487.0]),
            Unit::Count,
            &["0", "100", "200", "300", "400", "500"],
        );
        check(of(Scale::Linear, &[0.0]), Unit::Count, &["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        check(of(Scale::Linear, &[]), Unit::Count, &["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        check(
            of(Scale::Log, &[0.3, 0.0, 45.0]),
            Unit::Milliseconds,
            &["100 \u{b5}s", "1 ms", "10 ms", "100 ms"],
        );
        check(of(Scale::Log, &[1.5, 9.0]), Unit::Count, &["1", "2", "5", "10"]);
        check(
            of(Scale::Nines, &[0.5, 0.999]),
            Unit::Share,
            &["0 %", "50 %", "90 %", "99 %", "99.9 %"],
        );
        check(
            Ruler::new(Scale::Linear, [3.0, 9.0].into_iter(), true),
            Unit::Seconds,
            &["4 s", "6 s", "8 s"],
        );
        check(
            Ruler::fixed(0.0, 1.0),
            Unit::Share,
            &["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"],
        );
    }
}
