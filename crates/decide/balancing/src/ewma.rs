//! How slow a server is: a peak-sensitive moving average of its latency.
//!
//! A slower answer counts at once, up to four times the average: a lone hiccup of 100 times the
//! usual then costs a second or two of traffic, and three slow answers still say all of it.
//! Faster answers pull the average down with a time constant of 10 s or eight samples, whichever
//! is sooner: a server that is avoided gets few samples, so each has to count. One below an
//! eighth of the average says that the peak is over, and at least halves it.
//! While nothing is measured the value read decays with 10 s, so that a slow server is tried
//! again. The first answer ever is often a cold one: alone it fades within seconds, and a
//! faster second one replaces it.
//! Failures that ejection does not deal with are a penalty, so that failing fast does not
//! attract traffic (linkerd2-proxy #4537): the server reads as if it took a full timeout. A
//! lone failure penalises nobody, for one request may fail everywhere. The penalty is no
//! measurement: it decays within seconds, and the first success ends it.
//! Invariant: value, time and the failure marks are one atomic word, so no reader sees a torn
//! pair; the value is finite and never negative.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use model::Timestamp;

/// How fast the average forgets.
const TIME_CONSTANT_MS: f32 = 10_000.0;
/// The part of the average that a faster sample leaves at most.
const KEPT_MAX: f32 = 7.0 / 8.0;
/// A sample below this part of the average at least halves it.
const FAR_BELOW: f32 = 1.0 / 8.0;
/// How far above the average one sample can lift it.
const RISE_MAX: f32 = 4.0;
/// How much faster a penalty and a first sample fade: a penalty of 30 s lets a server of 20 ms
/// be tried after 5 s.
const HASTE: u64 = 20;
/// How long a penalised server is avoided by those who do not compare latencies; about as long
/// as p2c, which does, goes without trying it.
const PENALTY_PAUSE_MS: u64 = 3_000;
/// 29 bits of milliseconds: wraps after 6 days without a sample, which only delays decay.
const TIME_MASK: u64 = (1 << 29) - 1;
/// Set while there was but one sample.
const FIRST: u64 = 1 << 29;
/// Set while the latest sample was a failure.
const FAILED: u64 = 1 << 30;
/// Set while the value is a penalty.
const PENALISED: u64 = 1 << 31;
/// An average never falls below this, so that 0 can mean "nothing measured".
const MICROS_MIN: f32 = 0.1;

/// A moving average in microseconds, shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Ewma(AtomicU64);

/// The average as read at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Latency {
    /// As of the last sample, in microseconds; 0 when nothing was measured.
    pub(crate) stored: f32,
    /// Decayed to now, in microseconds.
    pub(crate) decayed: f32,
    /// Whether it is a penalty, not a measurement.
    pub(crate) penalised: bool,
}

impl Latency {
    /// The decayed value in whole microseconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "never negative; the cast saturates"
    )]
    pub(crate) fn micros(self) -> u64 {
        self.decayed.round() as u64
    }
}

impl Ewma {
    pub(crate) fn read(&self, now: Timestamp) -> Latency {
        let word = self.0.load(Relaxed);
        let stored = value(word);
        let haste = if word & (PENALISED | FIRST) == 0 { 1 } else { HASTE };
        let decayed = stored * fading(elapsed_ms(word, now) * haste);
        Latency { stored, decayed, penalised: word & PENALISED != 0 }
    }

    /// Whether it was penalised so lately that it should rather not be tried.
    pub(crate) fn is_penalised(&self, now: Timestamp) -> bool {
        let word = self.0.load(Relaxed);
        word & PENALISED != 0 && elapsed_ms(word, now) < PENALTY_PAUSE_MS
    }

    /// A request was answered after `latency`.
    pub(crate) fn success(&self, latency: Duration, now: Timestamp) {
        self.update(|word| {
            let (average, sample) = (value(word), micros(latency));
            if average == 0.0 {
                return pack(sample, now, FIRST);
            }
            let replaced = word & PENALISED != 0 || word & FIRST != 0 && sample < average;
            pack(if replaced { sample } else { blend(word, sample, now) }, now, 0)
        });
    }

    /// A request failed; from the second in a row on, that is a penalty of `cost`, the longer
    /// of its latency and the timeout.
    pub(crate) fn failure(&self, cost: Duration, now: Timestamp) {
        self.update(|word| {
            if word & (FAILED | PENALISED) == 0 {
                return word | FAILED;
            }
            pack(micros(cost), now, PENALISED)
        });
    }

    /// The server failed often enough that one more failure is a penalty of `cost`.
    pub(crate) fn penalise(&self, cost: Duration, now: Timestamp) {
        self.0.store(pack(micros(cost), now, PENALISED), Relaxed);
    }

    /// Forgets the past: a server that returned is measured anew.
    pub(crate) fn restart(&self, latency: Duration, now: Timestamp) {
        self.0.store(pack(micros(latency), now, FIRST), Relaxed);
    }

    /// Forgets the past, with nothing known yet: as a new server.
    pub(crate) fn forget(&self) {
        self.0.store(0, Relaxed);
    }

    fn update(&self, step: impl Fn(u64) -> u64) {
        let mut word = self.0.load(Relaxed);
        loop {
            let next = step(word);
            if next == word {
                return;
            }
            match self.0.compare_exchange_weak(word, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(current) => word = current,
            }
        }
    }
}

fn blend(word: u64, sample: f32, now: Timestamp) -> f32 {
    let average = value(word);
    if sample >= average {
        return sample.min(average * RISE_MAX);
    }
    // Written so that no rounding takes it below the sample.
    let kept = fading(elapsed_ms(word, now)).min(KEPT_MAX);
    let pulled = sample + kept * (average - sample);
    if sample < average * FAR_BELOW { pulled.min(average / 2.0) } else { pulled }
}

/// e^-x by its reciprocal series: within 1 % up to x = 1.4, monotone, and cheap on the path.
fn fading(elapsed_ms: u64) -> f32 {
    let x = elapsed_ms as f32 / TIME_CONSTANT_MS;
    1.0 / (1.0 + x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x / 24.0))))
}

fn value(word: u64) -> f32 {
    let [bits, _] = halves(word);
    f32::from_bits(bits)
}

fn elapsed_ms(word: u64, now: Timestamp) -> u64 {
    let passed = millis(now).wrapping_sub(word) & TIME_MASK;
    // Another worker's clock may be read a moment later than ours: that is no time, not 6 days.
    if passed > TIME_MASK - 60_000 { 0 } else { passed }
}

fn pack(value: f32, now: Timestamp, marks: u64) -> u64 {
    u64::from(value.to_bits()) << 32 | marks | (millis(now) & TIME_MASK)
}

const fn millis(now: Timestamp) -> u64 {
    now.as_nanos() / 1_000_000
}

fn micros(latency: Duration) -> f32 {
    (latency.as_secs_f32() * 1e6).max(MICROS_MIN)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a word")]
const fn halves(word: u64) -> [u32; 2] {
    [(word >> 32) as u32, word as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `N`: success after N ms, `!`: failure with a timeout of 1000 ms, `+N`: N seconds pass.
    /// Expected: the average read after each word, in whole ms.
    fn check(script: &str, expected: &[u64]) {
        let ewma = Ewma::default();
        let mut now = Timestamp::from_nanos(1_000_000_000);
        let mut read = Vec::new();
        for word in script.split(' ') {
            if let Some(seconds) = word.strip_prefix('+') {
                now = now + Duration::from_secs(seconds.parse().unwrap());
            } else if word == "!" {
                ewma.failure(Duration::from_secs(1), now);
            } else {
                ewma.success(Duration::from_millis(word.parse().unwrap()), now);
            }
            read.push((ewma.read(now).micros() + 500) / 1000);
        }
        assert_eq!(read, expected, "{script}");
    }

    #[test]
    fn peaks_count_at_once_and_fade() {
        check("20 50 50", &[20, 50, 50]);
        check("100 100 +10 20", &[100, 100, 37, 50]);
        check("100 100 +1 20", &[100, 100, 90, 90]);
        check("100 100 +60", &[100, 100, 1]);
    }

    #[test]
    fn one_peak_is_bounded_and_three_tell_all() {
        check("10 10 1000 1000 1000 1000", &[10, 10, 40, 160, 640, 1000]);
    }

    #[test]
    fn good_samples_pull_in_no_time() {
        check("80 80 40 40 40", &[80, 80, 75, 71, 67]);
        check("800 800 10 10 10 10", &[800, 800, 400, 200, 100, 50]);
    }

    #[test]
    fn a_first_sample_fades_in_seconds_and_yields_to_a_faster_one() {
        check("1000 +1 +1", &[1000, 143, 29]);
        check("100 10 100", &[100, 10, 40]);
        check("10 100 10", &[10, 40, 36]);
    }

    #[test]
    fn a_penalised_server_is_avoided_for_seconds() {
        let ewma = Ewma::default();
        let at = |seconds| Timestamp::ZERO + Duration::from_secs(seconds);
        ewma.penalise(Duration::from_secs(30), at(10));
        assert_eq!(
            [10, 12, 13, 14].map(|now| ewma.is_penalised(at(now))),
            [true, true, false, false]
        );
        ewma.penalise(Duration::from_secs(30), at(20));
        ewma.success(Duration::from_millis(10), at(20));
        assert!(!ewma.is_penalised(at(20)));
    }

    #[test]
    fn failures_count_from_the_second_in_a_row() {
        check("10 !", &[10, 10]);
        check("10 ! 10 ! 10 !", &[10, 10, 10, 10, 10, 10]);
        check("10 ! !", &[10, 10, 1000]);
        check("! !", &[0, 1000]);
    }

    #[test]
    fn a_penalty_fades_in_seconds_and_ends_with_a_success() {
        check("10 ! ! +1 +1 +1", &[10, 10, 1000, 143, 29, 9]);
        check("10 ! ! 12 !", &[10, 10, 1000, 12, 12]);
        // Each further failure renews it.
        check("10 ! ! +2 !", &[10, 10, 1000, 29, 1000]);
    }

    #[test]
    fn time_going_back_is_no_time() {
        let ewma = Ewma::default();
        let now = Timestamp::from_nanos(5_000_000_000);
        ewma.success(Duration::from_millis(10), now);
        let earlier = Timestamp::from_nanos(4_000_000_000);
        assert_eq!(ewma.read(earlier).decayed, ewma.read(now).stored);
    }

    #[test]
    fn extremes_stay_finite() {
        let ewma = Ewma::default();
        let late = Timestamp::from_nanos(u64::MAX);
        ewma.success(Duration::MAX, Timestamp::ZERO);
        ewma.success(Duration::ZERO, late);
        let read = ewma.read(late);
        assert!(read.stored.is_finite() && read.decayed.is_finite() && read.decayed > 0.0);
    }
}
