//! What an answer costs at each number in flight, and where that turns from flat to steep.
//!
//! Where single times vary much, a neighbour that is tried against the limit that is held tells
//! little: it takes many pairs of windows until chance is ruled out. So here every window that was
//! measured counts, at whatever limit. Below its knee a server's cost is about flat, above it
//! rises with the number in flight (asymptotic bounds of a closed queue: Denning and Buzen, "The
//! operational analysis of queueing network models", 1978), or faster where requests get in each
//! other's way. All such broken lines, weighed by how well they explain what was measured
//! (Bayes' rule, on a grid), say how likely each knee is.

use std::array;

use super::window::rounded;

/// Numbers in flight up to this have a bin each, above are eight per doubling.
const EXACT: u32 = 15;
/// Enough for numbers of more than ten thousand.
const BINS: usize = 96;
/// How the logarithm of the cost may rise with that of the number, below the knee and above.
const FLATS: [f64; 3] = [0.0, 0.25, 0.5];
const STEEPS: [f64; 3] = [1.0, 1.4, 2.0];
/// How far below and above what was measured a knee is looked for.
const BELOW: u32 = 4;
const ABOVE: f64 = 1.7;
/// Variance of a logarithm of cost that no number of attempts takes away: no server is a broken
/// line.
const MODEL: f64 = 0.0016;
/// Attempts after which a bin counts.
const WEIGHT_MIN: f64 = 0.5;
/// No bin is known better than with this variance, so that it follows the servers,
const VARIANCE_MIN: f64 = 0.004;
/// and none is a mean of fewer attempts than this.
const WEIGHT_FEW: f64 = 8.0;
/// Attempts that are compared need a past of so many.
const COMPARED_MIN: f64 = 4.0;
/// A past counts at most so many times the attempts of a trial: trials are rare, and one that is
/// long ago may be wrong.
const TRIAL_PAST: f64 = 4.0;
/// A trial that costs so many standard errors less than before is no chance.
const SURPRISE: f64 = 2.0;
/// What is left of the weight of numbers above a trial: they were not visited for even longer.
const LEFT_ABOVE: f64 = 0.5;
/// Time constants of forgetting, in seconds and in attempts; the slower one counts.
const MEMORY_SECONDS: f64 = 6.0;
const MEMORY_ATTEMPTS: f64 = 1_000.0;
/// How fast the variance between windows is learned, and its bound.
const WOBBLE_RATE: f64 = 0.1;
const WOBBLE_MAX: f64 = 4.0;

/// The costs by number in flight, as natural logarithms of microseconds per answer.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    bins: [Bin; BINS],
    /// The variance of one attempt's cost from window to window.
    wobble: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    /// Attempts that it is the mean of.
    weight: f32,
    cost: f32,
}

/// What one window tells of its limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) limit: u32,
    /// Natural logarithm of the microseconds in flight per answer.
    pub(super) cost: f64,
    /// Attempts.
    pub(super) count: f64,
    /// The relative variance of one of them.
    pub(super) scatter: f64,
}

/// What is believed of the knee, by half bins: the odds that it is there, and those times the
/// slopes below and above.
#[derive(Clone, Debug)]
pub(super) struct Knee {
    from: usize,
    to: usize,
    parts: [Part; BINS * 2],
    /// The probability that it is above all that was measured.
    pub(super) beyond: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// The logarithm of its number.
    at: f64,
    odds: f64,
    flat: f64,
    steep: f64,
}

impl Default for Curve {
    fn default() -> Self {
        Self { bins: [Bin::default(); BINS], wobble: 0.0 }
    }
}

impl Curve {
    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether anything is known below this limit, and above it.
    pub(super) fn sides(&self, limit: u32) -> (bool, bool) {
        let (below, rest) = self.bins.split_at(bin(limit));
        (below.iter().any(Bin::is_known), rest[1..].iter().any(Bin::is_known))
    }

    /// How far a cost is from the one known at the same limit, and the standard error of that;
    /// `None` where too little is known.
    pub(super) fn moved(&self, point: &Point) -> Option<(f64, f64)> {
        let (apart, parts) = self.apart(point)?;
        Some((apart, (self.noise(point.scatter) * parts).sqrt()))
    }

    /// The same, and the variance of that in variances of one attempt.
    fn apart(&self, point: &Point) -> Option<(f64, f64)> {
        let bin = &self.bins[bin(point.limit)];
        let weight = f64::from(bin.weight);
        (weight >= COMPARED_MIN)
            .then(|| (point.cost - f64::from(bin.cost), 1.0 / point.count + 1.0 / weight))
    }

    /// The past loses weight by this time and so many attempts.
    pub(super) fn fade(&mut self, seconds: f64, attempts: f64) {
        let passed = (seconds / MEMORY_SECONDS).min(attempts / MEMORY_ATTEMPTS);
        self.scale(0, (-passed).exp());
    }

    /// Adds a window, while the limit `held` is held to. A trial above it that costs less than was
    /// known there tells that what is known of it, and of all above, is of servers that are gone.
    pub(super) fn add(&mut self, point: &Point, held: u32) {
        let (trial, above) = (point.limit != held, point.limit > held);
        if let Some((apart, parts)) = self.apart(point) {
            let seen = (apart * apart / parts).min(WOBBLE_MAX);
            self.wobble += WOBBLE_RATE * (seen - self.wobble);
        }
        let surprising = above && self.is_surprising(point);
        let most = (self.noise(point.scatter) / VARIANCE_MIN).max(WEIGHT_FEW).max(point.count);
        let index = bin(point.limit);
        let bin = &mut self.bins[index];
        let (weight, cost) = (f64::from(bin.weight), f64::from(bin.cost));
        let past = match (surprising, trial) {
            (true, _) => 0.0,
            (_, true) => weight.min(point.count * TRIAL_PAST),
            (_, false) => weight,
        };
        let all = past + point.count;
        *bin = Bin {
            weight: narrow(all.min(most)),
            cost: narrow((cost * past + point.cost * point.count) / all),
        };
        if above {
            self.scale(index + 1, if surprising { 0.0 } else { LEFT_ABOVE });
        }
    }

    /// Whether a trial costs so much less than one there did before that chance hardly explains it.
    fn is_surprising(&self, point: &Point) -> bool {
        let bin = &self.bins[bin(point.limit)];
        let past = f64::from(bin.weight).min(point.count * TRIAL_PAST);
        let doubt = (self.noise(point.scatter) * (1.0 / point.count + 1.0 / past)).sqrt();
        bin.is_known() && f64::from(bin.cost) - point.cost > SURPRISE * doubt
    }

    fn scale(&mut self, from: usize, by: f64) {
        for bin in &mut self.bins[from..] {
            bin.weight *= narrow(by);
        }
    }

    fn noise(&self, scatter: f64) -> f64 {
        scatter.max(self.wobble)
    }

    /// Where the knee is, as far as that is known, where times vary by `scatter`.
    pub(super) fn knee(&self, scatter: f64) -> Option<Knee> {
        let first = self.bins.iter().position(Bin::is_known)?;
        let last = self.bins.iter().rposition(Bin::is_known)?;
        let mut knee = Knee {
            from: bin(number(first) / BELOW) * 2,
            to: bin((number(last) + 2).max(scaled(number(last), ABOVE))) * 2,
            parts: array::from_fn(|half| Part { at: at(half), ..Part::default() }),
            beyond: 0.0,
        };
        let known = self.known(&knee.parts, first, scatter);
        let mut best = f64::NEG_INFINITY;
        let mut all = [Sums::default(); BINS * 2];
        let halves = knee.from..=knee.to;
        for (sums, part) in all[halves.clone()].iter_mut().zip(&knee.parts[halves.clone()]) {
            for &(x, y, weight) in known.iter().take_while(|known| known.2 > 0.0) {
                sums.add(x - part.at, y, weight);
            }
            best = sums.fits().map(|fit| fit.2).fold(best, f64::max);
        }
        for half in halves {
            // No knee is likelier than one a few times as high.
            let above = knee.parts[(half + 1).min(BINS * 2 - 1)].at;
            let width = (above - knee.parts[half.saturating_sub(1)].at) / 2.0;
            let part = &mut knee.parts[half];
            for (flat, steep, fit) in all[half].fits() {
                let odds = (fit - best).exp() * width;
                part.odds += odds;
                part.flat += odds * flat;
                part.steep += odds * steep;
            }
        }
        knee.normalise(last * 2);
        Some(knee)
    }

    /// What is known: logarithms of numbers, costs as far as above the first one, and their weights;
    /// then weights of zero.
    fn known(&self, parts: &[Part], first: usize, scatter: f64) -> [(f64, f64, f64); BINS] {
        let (noise, base) = (self.noise(scatter), f64::from(self.bins[first].cost));
        let mut known = [(0.0, 0.0, 0.0); BINS];
        let bins = self.bins.iter().enumerate().filter(|(_, bin)| bin.is_known());
        for (known, (index, bin)) in known.iter_mut().zip(bins) {
            let weight = 1.0 / (noise / f64::from(bin.weight) + MODEL);
            *known = (parts[index * 2].at, f64::from(bin.cost) - base, weight);
        }
        known
    }
}

impl Bin {
    fn is_known(&self) -> bool {
        f64::from(self.weight) >= WEIGHT_MIN
    }
}

/// Weighted sums over what is known, of `x` from the knee and `y`, below the knee and above.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    all: f64,
    y: f64,
    yy: f64,
    below: [f64; 3],
    above: [f64; 3],
}

impl Sums {
    fn add(&mut self, x: f64, y: f64, weight: f64) {
        self.all += weight;
        self.y += weight * y;
        self.yy += weight * y * y;
        let side = if x < 0.0 { &mut self.below } else { &mut self.above };
        side[0] += weight * x;
        side[1] += weight * x * x;
        side[2] += weight * x * y;
    }

    /// The logarithm of how likely what is known is, by the slopes below and above.
    fn fits(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let pairs = FLATS.iter().flat_map(|flat| STEEPS.iter().map(move |steep| (*flat, *steep)));
        pairs.map(|(flat, steep)| {
            let sum = self.y - flat * self.below[0] - steep * self.above[0];
            let lines = flat * flat * self.below[1] + steep * steep * self.above[1];
            let both = flat * self.below[2] + steep * self.above[2];
            let squares = self.yy + lines - 2.0 * both - sum * sum / self.all;
            (flat, steep, -squares / 2.0)
        })
    }
}

impl Knee {
    fn normalise(&mut self, last: usize) {
        let sum: f64 = self.parts.iter().map(|part| part.odds).sum();
        for part in &mut self.parts {
            part.odds /= sum;
            part.flat /= sum;
            part.steep /= sum;
        }
        self.beyond = self.parts[last..].iter().map(|part| part.odds).sum();
    }

    /// The number in flight that the knee is not above, with this probability.
    pub(super) fn quantile(&self, probability: f64) -> u32 {
        let mut sum = 0.0;
        for half in self.from..self.to {
            sum += self.parts[half].odds;
            if sum >= probability {
                return number(half.div_ceil(2));
            }
        }
        number(self.to / 2)
    }

    /// The limit between these, at least 1, that has the best power `throughput^exponent / latency`
    /// in the mean of its logarithm.
    pub(super) fn best(&self, least: u32, most: u32, exponent: f64) -> u32 {
        let worth = |limit: u32| {
            let x = f64::from(limit).ln();
            let cost = |part: &Part| {
                let above = x - part.at;
                above * if above < 0.0 { part.flat } else { part.steep }
            };
            // By Little's law throughput is the limit over the cost.
            exponent * x
                - (exponent + 1.0) * self.parts[self.from..=self.to].iter().map(cost).sum::<f64>()
        };
        let limits = (bin(least)..=bin(most)).map(|index| number(index).clamp(least, most));
        let worths = limits.map(|limit| (worth(limit), limit));
        worths.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(least, |(_, limit)| limit)
    }
}

/// The bin of a number in flight, at least 1.
fn bin(number: u32) -> usize {
    let number = number.max(1);
    if number <= EXACT {
        return number as usize - 1;
    }
    let octave = number.ilog2();
    let eighth = (number >> (octave - 3)) & 7;
    ((EXACT + (octave - 4) * 8 + eighth) as usize).min(BINS - 1)
}

/// The least number of a bin.
fn number(bin: usize) -> u32 {
    let bin = u32::try_from(bin).unwrap_or(u32::MAX);
    if bin < EXACT {
        return bin + 1;
    }
    let (octave, eighth) = ((bin - EXACT) / 8 + 4, (bin - EXACT) % 8);
    ((8 + eighth) << octave) >> 3
}

/// The logarithm of the number that half a bin stands for: its own, or one between two.
fn at(half: usize) -> f64 {
    let here = f64::from(number(half / 2)).ln();
    if half.is_multiple_of(2) { here } else { (here + f64::from(number(half / 2 + 1)).ln()) / 2.0 }
}

/// So many times a number in flight.
pub(super) fn scaled(number: u32, by: f64) -> u32 {
    rounded(f64::from(number) * by)
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are more than is known")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A curve of what servers cost at these limits, and the knee with a probability of a half.
    fn knee(limits: &[u32], cost: impl Fn(f64) -> f64) -> Knee {
        let mut curve = Curve::default();
        for &limit in limits {
            let cost = cost(f64::from(limit)).ln();
            curve.add(&Point { limit, cost, count: 200.0, scatter: 0.5 }, limit);
        }
        curve.knee(0.5).unwrap()
    }

    #[test]
    fn shapes_have_their_knee() {
        type Shape = fn(f64) -> f64;
        let table: [(Shape, &[u32], std::ops::RangeInclusive<u32>); 6] = [
            (|n| 20e3 * (n / 5.0).max(1.0), &[3, 4, 5, 6, 8], 5..=6),
            (|n| 20e3 * (n / 5.0).max(1.0), &[4, 6, 9], 5..=7),
            (|n| 90e3 * (n / 40.0).max(1.0), &[20, 28, 36, 44, 56], 36..=44),
            // A lock that seven keep busy, where each makes the others longer.
            (|n| 3e3 * (1.0 + 0.05 * n) * (n / 7.0).max(1.0), &[4, 6, 8, 12], 6..=8),
            // All below, and all above.
            (|_| 20e3, &[10, 20, 40], 40..=68),
            (|n| 4e3 * n, &[10, 20, 40], 1..=10),
        ];
        for (number, (shape, limits, expected)) in table.into_iter().enumerate() {
            let knee = knee(limits, shape);
            let middle = knee.quantile(0.5);
            assert!(expected.contains(&middle), "shape {number}: {middle}");
            assert!(knee.quantile(0.1) <= middle && middle <= knee.quantile(0.9));
        }
    }

    #[test]
    fn the_best_limit_is_the_knee_and_stays_between_its_bounds() {
        let knee = knee(&[3, 4, 5, 6, 8, 12], |n| 20e3 * (n / 5.0).max(1.0));
        for (least, most, expected) in [(1, 20, 5), (1, 4, 4), (7, 20, 7), (6, 6, 6)] {
            assert_eq!(knee.best(least, most, 3.5), expected, "{least} {most}");
        }
    }

    #[test]
    fn a_knee_that_was_not_reached_is_beyond() {
        assert!(knee(&[10, 20, 40], |_| 20e3).beyond > 0.6);
        assert!(knee(&[10, 20, 40], |n| 4e3 * n).beyond < 0.1);
    }

    #[test]
    fn nothing_known_says_nothing_and_the_past_fades() {
        let mut curve = Curve::default();
        assert!(curve.knee(0.5).is_none());
        let point = Point { limit: 20, cost: 10.0, count: 20.0, scatter: 0.5 };
        curve.add(&point, 20);
        assert!(curve.knee(0.5).is_some() && curve.moved(&point).is_some());
        assert_eq!(
            (curve.sides(19), curve.sides(20), curve.sides(25)),
            ((false, true), (false, false), (true, false))
        );
        curve.fade(3_600.0, 1e6);
        assert!(curve.knee(0.5).is_none() && curve.moved(&point).is_none());
    }

    /// Above a trial that costs what it did nothing is forgotten; above one that costs much less all is.
    #[test]
    fn a_surprise_above_clears_what_is_known_there() {
        let check = |cost, expected| {
            let mut curve = Curve::default();
            let point = |limit, cost| Point { limit, cost, count: 100.0, scatter: 0.5 };
            for (limit, cost) in [(10, 10.0), (20, 11.0), (40, 12.0)] {
                curve.add(&point(limit, cost), limit);
            }
            curve.add(&point(20, cost), 10);
            assert_eq!(curve.sides(20), (true, expected), "{cost}");
        };
        check(11.0, true);
        check(10.8, true);
        check(10.0, false);
    }

    #[test]
    fn a_bin_holds_its_number() {
        for index in 0..BINS {
            assert_eq!(bin(number(index)), index);
        }
        assert_eq!((bin(0), bin(u32::MAX)), (0, BINS - 1));
        assert!(number(BINS - 1) > 10_000);
    }
}
