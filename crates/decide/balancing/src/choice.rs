//! Draw a server by weight, then move to a less loaded one if that saves a whole request.
//!
//! Choosing the lowest `(in-flight + 1) / weight` outright gives a server of half the weight
//! nothing at all while traffic is light, and sends everything to whichever server was last a
//! little faster. So the first choice is a draw by weight, warmth and relative latency, and
//! load moves it where the drawn server is busier by at least one request of the coarser of
//! the two, and by chance where it is busier by less: with equal weights that is the least
//! loaded server, with unequal ones the shares stay near those of the weights at any load.
//!
//! A server is drawn in proportion to weight, warmth and the inverse of its latency: twice as
//! slow, half as often; at the least a twenty-fifth as often. Simulated with three servers of
//! 1 ms at 20 to 5,000 requests/s (`tests::forgiveness`):
//! - the cube of the inverse kept a server that stalled for 0.1 s below 15 % of the traffic for
//!   18 to 45 s in the median, since it got too few samples to recover, and gave one that is
//!   ten times faster than its equals 87 to 98 % of it. Linear, with `ewma` as it is now: at
//!   most 1 s (6 s at 20/s), and 81 to 87 %;
//! - its power of 3/4 gave the faster one 73 to 82 %, at a 99th percentile a quarter longer
//!   where one server of four is ten times slower (138 ms against 110 ms);
//! - with a least part of 1/20 one that is 50 times slower held 1.3 to 1.43 times the mean of
//!   the three at 500 requests/s, with 1/25 1.2 to 1.36.
//!
//! Unequal servers stay far from round robin: with one of four ten times slower at half the
//! capacity the 99th percentile is 62 ms, that of least request 164 ms, while round robin
//! overloads the slow one. The cube had 61 ms there, and 60 ms against 94 ms at a tenth of the
//! capacity: that is the price, for a good server that is not given up.
//!
//! How busy a server is counts the same while it is less than three times slower than the best: with
//! random service times two equal servers often differ by twice, the slower one for what it has in
//! flight. Where latency counted in full the mean of 4 and of 20 equal servers was 15 and 12 % longer
//! at a load of 0.8, and the 99th percentile where half of them pause 188 ms in place of 159
//! (`docs/explanation/balancing.md`).
//!
//! Invariant: the server returned is not busier than any other compared one by more than one
//! request of the coarser of the two, however its state came about; ties go to no index.

use crate::candidates::Candidates;
use crate::dice::Dice;

/// The least part of its share that a slow server is drawn with, so that it is measured. Of
/// three servers one that is 50 times slower then holds up to half as much again as the mean.
const SLOW_PART_MIN: f32 = 1.0 / 25.0;
/// The same for a penalised server: enough to find out that it works again.
const PENALISED_PART_MIN: f32 = 1.0 / 500.0;
/// Servers that are less than so many times slower than the best are alike in how busy they are;
/// those that are this many times slower are as busy as their latency says.
const ALIKE: f32 = 3.0;
const UNLIKE: f32 = 12.0;
/// What servers of which none was ever measured are taken for, in microseconds.
const UNMEASURED_MICROS: f32 = 1_000.0;
/// Draws for each of two samples before all servers are looked at.
const DRAWS_MAX: u32 = 48;

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    index: usize,
    in_flight: f32,
    /// By configuration and warmth.
    weight: f32,
    /// As of its last sample, and decayed to now, in microseconds; 0 when nothing is known.
    stored: f32,
    decayed: f32,
    penalised: bool,
    /// What one request adds to its load; set once all samples are known.
    step: f32,
    /// How slow it is relative to the best, as a part of its share.
    part: f32,
    /// Its chance to be drawn, relative to the others': by weight, warmth and part.
    odds: f32,
}

impl Sample {
    fn load(&self) -> f32 {
        self.in_flight * self.step
    }
}

/// Chooses among all servers of a pool of up to `COMPARED`, among two of a larger one.
pub(crate) fn choose<const COMPARED: usize>(
    candidates: &Candidates<'_>,
    by_latency: bool,
    dice: &mut Dice,
) -> Option<usize> {
    let mut samples = [Sample::default(); COMPARED];
    let mut count = 0;
    let mut drawn_first = false;
    if candidates.table().len() > COMPARED
        && let Some(first) = hit(candidates, None, dice)
    {
        samples[0] = sample(candidates, first, by_latency);
        if let Some(second) = hit(candidates, Some(first), dice) {
            samples[1] = sample(candidates, second, by_latency);
            let pair = &mut samples[..2];
            weigh(pair);
            let drawn = keep_first_or_move(pair, dice);
            return Some(pair[relieve(pair, drawn, dice)].index);
        }
        (count, drawn_first) = (1, true);
    }
    // From a random start, so that of more than fit no index is preferred.
    for index in candidates.walk(dice) {
        let is_first = drawn_first && samples[0].index == index;
        if count < COMPARED && !is_first && candidates.eligible(index) {
            samples[count] = sample(candidates, index, by_latency);
            count += 1;
        }
    }
    let all = &mut samples[..count];
    if all.is_empty() {
        return None;
    }
    weigh(all);
    // A first draw that found no second stands, by its latency: drawn anew, a light server that
    // is hard to find as the second would get up to twice its share.
    let stands = drawn_first && dice.chance(f64::from(all[0].part));
    let drawn = if stands { 0 } else { draw(all, dice) };
    Some(all[relieve(all, drawn, dice)].index)
}

/// An eligible server other than this one, by weight and warmth. `None`: none was hit.
fn hit(candidates: &Candidates<'_>, other: Option<usize>, dice: &mut Dice) -> Option<usize> {
    let table = candidates.table();
    (0..DRAWS_MAX).find_map(|_| {
        let index = table.owner(dice.below(table.total()));
        // The same host twice would be no choice (Envoy #11004).
        let taken = Some(index) != other
            && candidates.eligible(index)
            && dice.chance(f64::from(candidates.warm(index)));
        taken.then_some(index)
    })
}

fn sample(candidates: &Candidates<'_>, index: usize, by_latency: bool) -> Sample {
    let latency = by_latency.then(|| candidates.latency(index));
    Sample {
        index,
        in_flight: candidates.in_flight(index),
        weight: candidates.weight(index) * candidates.warm(index),
        stored: latency.map_or(0.0, |latency| latency.stored),
        decayed: latency.map_or(0.0, |latency| latency.decayed),
        penalised: latency.is_some_and(|latency| latency.penalised),
        step: 0.0,
        part: 0.0,
        odds: 0.0,
    }
}

/// Sets each sample's step and part, relative to the best latency among them.
fn weigh(samples: &mut [Sample]) {
    // The best latency as measured, not as decayed: an idle server fades to be as good as the
    // best, never better, or all traffic would fall on it at once.
    let best_of = |penalised: bool| {
        let measured = samples.iter().filter(|s| s.penalised == penalised && s.stored > 0.0);
        measured.map(|s| s.stored).reduce(f32::min)
    };
    // A penalty is no measurement: a server that was never measured must not count as good as
    // one that fails. Only where all fail are they compared with each other.
    let all_penalised = samples.iter().all(|s| s.penalised);
    let best = best_of(false).or_else(|| best_of(true).filter(|_| all_penalised));
    let best = best.unwrap_or(UNMEASURED_MICROS);
    for sample in samples {
        // A server that was never measured counts as good as the best; warming up limits it.
        let latency = sample.decayed.max(best);
        let part = best / latency;
        sample.part = if sample.penalised {
            (part * part).max(PENALISED_PART_MIN)
        } else {
            part.max(SLOW_PART_MIN)
        };
        sample.step = heaviness(latency / best) / sample.weight;
        sample.odds = sample.weight * sample.part;
    }
}

/// How much load one request is at a server that is so many times slower than the best.
fn heaviness(times: f32) -> f32 {
    if times <= ALIKE {
        return 1.0;
    }
    times.min(1.0 + (times - ALIKE) * (UNLIKE - 1.0) / (UNLIKE - ALIKE))
}

/// A place drawn by weight, warmth and relative latency.
fn draw(samples: &[Sample], dice: &mut Dice) -> usize {
    let mut left = dice.unit() * samples.iter().map(|sample| f64::from(sample.odds)).sum::<f64>();
    for (place, sample) in samples.iter().enumerate() {
        left -= f64::from(sample.odds);
        if left < 0.0 {
            return place;
        }
    }
    samples.len() - 1
}

/// Of two that were drawn by weight and warmth: the first, unless it is the slower one.
fn keep_first_or_move(pair: &[Sample], dice: &mut Dice) -> usize {
    usize::from(!dice.chance(f64::from(pair[0].part / pair[1].part)))
}

/// The drawn place, or a less loaded one.
fn relieve(samples: &[Sample], drawn: usize, dice: &mut Dice) -> usize {
    let from = &samples[drawn];
    let saves_a_request = |to: &Sample| from.load() - to.load() >= from.step.max(to.step);
    if let Some(place) = least_loaded(samples, dice, saves_a_request) {
        return place;
    }
    // Less than a whole request apart. For two servers with little in flight, moving with this
    // probability makes what a light server gains while idle equal what it loses while busy,
    // so that shares stay those of the weights.
    let Some(place) = least_loaded(samples, dice, |to| to.load() < from.load()) else {
        return drawn;
    };
    let coarser = from.step.max(samples[place].step);
    let gain = (from.load() - samples[place].load()) * from.step / (coarser * coarser);
    if dice.chance(f64::from(gain)) { place } else { drawn }
}

/// The least loaded of those wanted; among equals by weight, never by index.
fn least_loaded(
    samples: &[Sample],
    dice: &mut Dice,
    wanted: impl Fn(&Sample) -> bool,
) -> Option<usize> {
    let mut least: Option<(usize, f64)> = None;
    for (place, sample) in samples.iter().enumerate() {
        if !wanted(sample) {
            continue;
        }
        least = match least {
            Some((other, _)) if samples[other].load() < sample.load() => least,
            Some((other, sum)) if samples[other].load() == sample.load() => {
                let sum = sum + f64::from(sample.odds);
                Some((if dice.unit() * sum < f64::from(sample.odds) { place } else { other }, sum))
            }
            Some(_) | None => Some((place, f64::from(sample.odds))),
        };
    }
    least.map(|(place, _)| place)
}
