//! The arithmetic of evidence: exact binomial tails, and a test that may be looked at every second.
//!
//! A plain p-value that is looked at again and again is wrong far more often than it says. An
//! e-process is not: under "no difference" it is a supermartingale that starts at 1, so that it
//! ever reaches 1/alpha with probability alpha at most, whenever one looks (Ville's inequality;
//! Howard, Ramdas, McAuliffe, Sekhon 2021; Johari, Koomen, Pekelis, Walsh 2017).

/// The natural logarithm of the gamma function for `x` of at least 1, by Stirling's series after
/// shifting `x` above 8: exact to 1e-10, far below what a verdict needs.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 8.0 {
        shift += x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let series = (1.0 / 12.0 - inverse * (1.0 / 360.0 - inverse / 1260.0)) / x;
    (x - 0.5).mul_add(x.ln(), -x) + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

/// The probability that at least `hits` of `trials` hit when each does with `chance`; 1 when that
/// many are no more than expected, where nobody needs the number.
pub(crate) fn binomial_tail(hits: u64, trials: u64, chance: f64) -> f64 {
    let (k, n) = (hits as f64, trials as f64);
    if k <= n * chance || hits > trials {
        return 1.0;
    }
    if chance <= 0.0 {
        return 0.0;
    }
    let choose = ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0);
    let mut term = (n - k).mul_add((1.0 - chance).ln(), k.mul_add(chance.ln(), choose)).exp();
    let (mut sum, odds) = (0.0, chance / (1.0 - chance));
    // Above the expectation every term is smaller than the one before it.
    for hit in hits..=trials {
        sum += term;
        if term < sum * 1e-12 {
            break;
        }
        term *= (trials - hit) as f64 / (hit + 1) as f64 * odds;
    }
    sum.min(1.0)
}

/// The largest chance at which `hits` of `trials` or fewer are still seen with probability
/// `alpha` (Clopper and Pearson 1934); 1 without trials.
pub(crate) fn binomial_upper(hits: u64, trials: u64, alpha: f64) -> f64 {
    if hits >= trials {
        return 1.0;
    }
    let (mut low, mut high) = (hits as f64 / trials as f64, 1.0);
    // Thirty halvings: a billionth.
    for _ in 0..30 {
        let chance = f64::midpoint(low, high);
        if binomial_tail(trials - hits, trials, 1.0 - chance) > alpha {
            low = chance;
        } else {
            high = chance;
        }
    }
    high
}

/// The natural logarithm of how many times likelier `hits` of `trials` are at the chance
/// `harmful` than at `harmless`.
pub(crate) fn ln_ratio(hits: u64, trials: u64, harmful: f64, harmless: f64) -> f64 {
    let misses = trials.saturating_sub(hits) as f64;
    let hit = if hits == 0 { 0.0 } else { hits as f64 * (harmful / harmless).ln() };
    let miss = if misses > 0.0 { misses * ((1.0 - harmful) / (1.0 - harmless)).ln() } else { 0.0 };
    hit + miss
}

/// What both arms did in the same stretch of time, of whatever is counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) live_requests: u64,
    pub(crate) live_hits: u64,
    pub(crate) candidate_requests: u64,
    pub(crate) candidate_hits: u64,
}

/// Chance explains a suspicion in one of twenty trials; the same in standard deviations.
const CHANCE_SUSPICIOUS: f64 = 0.05;
const DEVIATIONS_SUSPICIOUS: f64 = 1.645;
/// From this variance on, the normal law is as good as the exact tail.
const VARIANCE_OF_MANY: f64 = 9.0;

/// How many times more often the candidate may hit: what the test bets on, each with an equal
/// stake. Small harm takes many requests to see, large harm few.
const BETS: [f64; 6] = [1.3, 1.8, 3.0, 6.0, 15.0, 50.0];

/// A bet is worth this much at most: far more than any verdict needs, and still a number.
const WORTH_MAX: f64 = 1e100;

/// Whether the candidate is hit (fails, is slow) more often than the live arm beside it.
///
/// Given how many of a stretch's requests were hit in all, how they split between the arms does
/// not depend on how often requests are hit at that time: a burst that hits both arms alike says
/// nothing, as it should. With equal chances the split is hypergeometric; betting on it as if it
/// were binomial is safe, because the binomial is larger in convex order (Hoeffding 1963,
/// theorem 4) and the bet is convex.
#[derive(Clone, Debug, Default)]
pub(crate) struct Split {
    /// How many times its stake each bet has become.
    bets: [f64; BETS.len()],
    stretches: f64,
    all: Stretch,
    /// The candidate's hits in stretches with requests of both, how many there would be if
    /// chances are equal, and their variance.
    paired_hits: u64,
    expected: f64,
    variance: f64,
}

impl Split {
    pub(crate) fn add(&mut self, stretch: Stretch) {
        self.all.live_requests += stretch.live_requests;
        self.all.live_hits += stretch.live_hits;
        self.all.candidate_requests += stretch.candidate_requests;
        self.all.candidate_hits += stretch.candidate_hits;
        let (live, candidate) = (stretch.live_requests as f64, stretch.candidate_requests as f64);
        let hits = stretch.live_hits + stretch.candidate_hits;
        if hits == 0 || live == 0.0 || candidate == 0.0 {
            return;
        }
        let equal = candidate / (candidate + live);
        self.stretches += 1.0;
        // Harm may begin late: each stretch gets a part of the stake, the first a half of
        // it, so that the whole stake stays one (a mixture over the moments it began).
        let stake = 1.0 / (self.stretches * (self.stretches + 1.0));
        for (worth, bet) in self.bets.iter_mut().zip(BETS) {
            let more = candidate * bet / candidate.mul_add(bet, live);
            let likelier = ln_ratio(stretch.candidate_hits, hits, more, equal).exp();
            *worth = ((*worth + stake) * likelier).min(WORTH_MAX);
        }
        self.paired_hits += stretch.candidate_hits;
        let (all, hits) = (live + candidate, hits as f64);
        self.expected += hits * equal;
        self.variance += hits * equal * (1.0 - equal) * (all - hits) / (all - 1.0).max(1.0);
    }

    /// Whether more is shown than chance brings with probability `alpha`, at whatever moment.
    pub(crate) fn shows_harm(&self, alpha: f64) -> bool {
        self.bets.iter().sum::<f64>() / BETS.len() as f64 >= 1.0 / alpha
    }

    /// Whether one look, at the end, leaves a suspicion: as many hits of the candidate come by
    /// chance in one of twenty trials at most. By the normal law where hits are many (Mantel and
    /// Haenszel 1959); by the exact tail over all requests where they are few, since stretches
    /// then say little one by one.
    pub(crate) fn leaves_suspicion(&self) -> bool {
        let Stretch { live_requests, live_hits, candidate_requests, candidate_hits } = self.all;
        if self.variance >= VARIANCE_OF_MANY {
            // Stretches without one of the arms are in neither number: they expected nothing.
            let excess = self.paired_hits as f64 - self.expected;
            return excess / self.variance.sqrt() >= DEVIATIONS_SUSPICIOUS;
        }
        let requests = (candidate_requests + live_requests).max(1) as f64;
        let equal = candidate_requests as f64 / requests;
        binomial_tail(candidate_hits, candidate_hits + live_hits, equal) <= CHANCE_SUSPICIOUS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(seen: f64, expected: f64) {
        assert!((seen / expected - 1.0).abs() < 1e-6, "{seen} instead of {expected}");
    }

    #[test]
    fn tails_and_bounds_are_exact() {
        close(binomial_tail(10, 10, 0.9), 0.9_f64.powi(10));
        close(binomial_tail(3, 4, 0.5), 5.0 / 16.0);
        close(binomial_tail(1, 1_000, 0.000_1), 1.0 - 0.999_9_f64.powi(1_000));
        close(binomial_tail(90, 100, 0.9), 1.0);
        close(binomial_upper(0, 60, 0.01), 1.0 - 0.01_f64.powf(1.0 / 60.0));
        close(binomial_upper(0, 0, 0.01), 1.0);
        // The sum over a million trials ends, and agrees with the normal law.
        let tail = binomial_tail(501_000, 1_000_000, 0.5);
        assert!((0.0226..0.0230).contains(&tail), "{tail}");
    }

    #[test]
    fn a_split_shows_harm_only_where_there_is_some() {
        let mut split = Split::default();
        for _ in 0..100 {
            let (live_hits, candidate_hits) = (9, 1);
            split.add(Stretch {
                live_requests: 90,
                live_hits,
                candidate_requests: 10,
                candidate_hits,
            });
        }
        assert!(!split.shows_harm(0.01) && !split.leaves_suspicion());
        // A burst that hits everybody says nothing.
        split.add(Stretch {
            live_requests: 90,
            live_hits: 90,
            candidate_requests: 10,
            candidate_hits: 10,
        });
        assert!(!split.shows_harm(0.01) && !split.leaves_suspicion());
        for _ in 0..5 {
            split.add(Stretch {
                live_requests: 90,
                live_hits: 1,
                candidate_requests: 10,
                candidate_hits: 10,
            });
        }
        assert!(split.shows_harm(0.001) && split.leaves_suspicion());
    }
}
