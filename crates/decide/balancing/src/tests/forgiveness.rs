//! What a server gets after a hiccup or a cold start, and while it is faster or slower for good;
//! and what that does to latency.
//!
//! `Farm` is a queueing model: requests come at random (Poisson), each server has places, one
//! first-come queue and random service times. It replays from its seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

/// Places with which no server ever queues.
const UNBOUNDED: usize = 1_000;
const SEEDS: std::ops::Range<u64> = 0..5;
const USUAL_MS: f64 = 1.0;

#[derive(Debug)]
struct Farm<'a> {
    pool: &'a Pool,
    per_second: f64,
    now_ns: u64,
    dice: Dice,
    /// When each place of each server is free.
    free_ns: Vec<BinaryHeap<Reverse<u64>>>,
    /// When each answer comes, and its place in `picks`.
    answers: BinaryHeap<Reverse<(u64, usize)>>,
    picks: Vec<Option<(Pick, u64)>>,
    seen: Seen,
}

/// What was seen since the last look.
#[derive(Clone, Debug)]
struct Seen {
    attempts: Vec<u32>,
    /// How long each server's requests took together: what it held, integrated over time.
    held_ns: Vec<u64>,
    latencies_ns: Vec<u64>,
}

impl Seen {
    fn nothing(servers: usize) -> Self {
        Self { attempts: vec![0; servers], held_ns: vec![0; servers], latencies_ns: Vec::new() }
    }

    fn share(&self, index: usize) -> f64 {
        f64::from(self.attempts[index]) / f64::from(self.attempts.iter().sum::<u32>().max(1))
    }

    /// What the fullest server held on average, over the mean of all.
    fn unevenness(&self) -> f64 {
        let most = *self.held_ns.iter().max().unwrap() as f64;
        most * self.held_ns.len() as f64 / self.held_ns.iter().sum::<u64>() as f64
    }

    fn percentile_ms(&mut self, per_mille: usize) -> f64 {
        self.latencies_ns.sort_unstable();
        self.latencies_ns[(self.latencies_ns.len() - 1) * per_mille / 1_000] as f64 / 1e6
    }
}

impl<'a> Farm<'a> {
    fn new(pool: &'a Pool, per_second: f64, places: usize, seed: u64) -> Self {
        Self {
            pool,
            per_second,
            now_ns: 1_000_000_000,
            dice: Dice::new(seed),
            free_ns: vec![vec![Reverse(0); places].into(); pool.len()],
            answers: BinaryHeap::new(),
            picks: Vec::new(),
            seen: Seen::nothing(pool.len()),
        }
    }

    /// Runs so many ms; `service` says how long a server works on one request.
    fn go(&mut self, ms: u64, mut service: impl FnMut(usize, &mut Dice) -> Duration) -> Seen {
        let end_ns = self.now_ns + ms * 1_000_000;
        loop {
            self.now_ns += nanos(exponential(&mut self.dice) / self.per_second);
            if self.now_ns >= end_ns {
                break;
            }
            self.settle();
            let now = Timestamp::from_nanos(self.now_ns);
            let pick = self.pool.pick(&PickRequest::default(), now, &mut self.dice).unwrap();
            let index = pick.index();
            let Reverse(free_ns) = self.free_ns[index].pop().unwrap();
            let work = service(index, &mut self.dice);
            let done_ns = free_ns.max(self.now_ns) + nanos(work.as_secs_f64());
            self.free_ns[index].push(Reverse(done_ns));
            let latency_ns = done_ns - self.now_ns;
            self.seen.attempts[index] += 1;
            self.seen.held_ns[index] += latency_ns;
            self.seen.latencies_ns.push(latency_ns);
            self.answers.push(Reverse((done_ns, self.picks.len())));
            self.picks.push(Some((pick, latency_ns)));
        }
        self.now_ns = end_ns;
        self.settle();
        std::mem::replace(&mut self.seen, Seen::nothing(self.pool.len()))
    }

    fn settle(&mut self) {
        while let Some(&Reverse((done_ns, place))) = self.answers.peek() {
            if done_ns > self.now_ns {
                return;
            }
            let _ = self.answers.pop();
            let (pick, latency_ns) = self.picks[place].take().unwrap();
            let latency = Duration::from_nanos(latency_ns);
            let now = Timestamp::from_nanos(done_ns);
            assert_eq!(pick.finish(Outcome::Success { latency }, now), None);
        }
    }
}

/// A random number of mean 1, as the gaps between independent events have.
fn exponential(dice: &mut Dice) -> f64 {
    -(1.0 - dice.unit()).ln()
}

fn nanos(seconds: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).unwrap()
}

/// Exactly, or on average when `random`.
fn takes(ms: f64, random: bool, dice: &mut Dice) -> Duration {
    Duration::from_secs_f64(ms / 1e3 * if random { exponential(dice) } else { 1.0 })
}

/// What one rate showed, with one kind of service time: a value of each seed.
#[derive(Debug)]
struct Row {
    rate: u32,
    values: Vec<f64>,
}

impl Row {
    fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    fn worst(&self) -> f64 {
        self.values.iter().copied().fold(0.0, f64::max)
    }
}

/// Runs three servers, 1 ms each on average, at each rate with fixed and random service times,
/// and judges what `measure` says of each.
fn check(
    name: &str,
    rates: &[u32],
    measure: impl Fn(u32, &mut Farm<'_>, bool) -> f64,
    holds: impl Fn(&Row) -> bool,
) {
    for &rate in rates {
        for random in [false, true] {
            let one = |seed| {
                let pool = build(&settings(Balance::P2c), &members(&[1; 3]));
                measure(rate, &mut Farm::new(&pool, f64::from(rate), UNBOUNDED, seed), random)
            };
            let row = Row { rate, values: SEEDS.map(one).collect() };
            let service = if random { "random" } else { "fixed" };
            println!(
                "{name:<18} {rate:>5}/s {service:<6} mean {:.3} worst {:.3}",
                row.mean(),
                row.worst()
            );
            assert!(holds(&row), "{name}, {service}: {row:?}");
        }
    }
}

const RATES: [u32; 3] = [20, 500, 5_000];

/// Within 3 s, at a few requests a second within 10.
fn within_seconds(row: &Row) -> bool {
    row.worst() <= if row.rate < 100 { 10.0 } else { 3.0 }
}

/// Seconds until all have over 15 % again, in a span of at least 60 requests.
fn seconds_until_back(farm: &mut Farm<'_>, rate: u32, random: bool) -> f64 {
    let (span_ms, mut passed_ms) = (if rate < 100 { 3_000 } else { 250 }, 0);
    loop {
        let seen = farm.go(span_ms, |_, dice| takes(USUAL_MS, random, dice));
        passed_ms += span_ms;
        if (0..3).all(|index| seen.share(index) > 0.15) || passed_ms > 60_000 {
            return passed_ms as f64 / 1e3;
        }
    }
}

#[test]
fn a_hiccup_is_forgiven_within_seconds() {
    let measure = |rate, farm: &mut Farm<'_>, random| {
        let _ = farm.go(3_000, |_, dice| takes(USUAL_MS, random, dice));
        // 0.1 s of 100 ms each; again if by chance nobody asked it meanwhile.
        let stalls = |index, dice: &mut Dice| {
            if index == 0 { Duration::from_millis(100) } else { takes(USUAL_MS, random, dice) }
        };
        while farm.go(100, stalls).attempts[0] == 0 {}
        seconds_until_back(farm, rate, random)
    };
    check("hiccup", &RATES, measure, within_seconds);
}

#[test]
fn a_long_stall_is_forgiven_within_seconds() {
    let measure = |rate, farm: &mut Farm<'_>, random| {
        let _ = farm.go(3_000, |_, dice| takes(USUAL_MS, random, dice));
        // Whoever asks it meanwhile waits 2 s, and it answers them all late.
        let _ = farm.go(2_000, |index, dice| {
            if index == 0 { Duration::from_secs(2) } else { takes(USUAL_MS, random, dice) }
        });
        let _ = farm.go(2_000, |_, dice| takes(USUAL_MS, random, dice));
        seconds_until_back(farm, rate, random)
    };
    check("stall of 2 s", &RATES[1..], measure, within_seconds);
}

#[test]
fn a_cold_start_is_forgiven_within_seconds() {
    let measure = |rate, farm: &mut Farm<'_>, random| {
        let mut first_ms = [90.0, 70.0, 50.0];
        let _ = farm.go(if rate < 100 { 1_000 } else { 200 }, |index, dice| {
            takes(std::mem::replace(&mut first_ms[index], USUAL_MS), random, dice)
        });
        seconds_until_back(farm, rate, random)
    };
    check("cold start", &RATES, measure, within_seconds);
}

/// What is seen of servers with these mean service times, after 5 s of getting to know them.
fn steady(farm: &mut Farm<'_>, rate: u32, random: bool, means_ms: [f64; 3]) -> Seen {
    let service = |index: usize, dice: &mut Dice| takes(means_ms[index], random, dice);
    let _ = farm.go(5_000, service);
    farm.go(if rate < 100 { 60_000 } else { 6_000 }, service)
}

fn within(row: &Row, range: std::ops::Range<f64>) -> bool {
    row.values.iter().all(|value| range.contains(value))
}

#[test]
fn a_server_twice_as_slow_gets_about_half() {
    // Half of what its equals get is a fifth. At 5,000/s it already holds more than they do.
    let share =
        |rate, farm: &mut Farm<'_>, random| steady(farm, rate, random, [2.0, 1.0, 1.0]).share(0);
    check("2 x slower, share", &RATES, share, |row| within(row, 0.12..0.26));
}

#[test]
fn a_server_tenfold_faster_leaves_some_to_the_others() {
    // Ten parts of twelve are 83 %. At 5,000/s the others hold much for their speed.
    let share =
        |rate, farm: &mut Farm<'_>, random| steady(farm, rate, random, [0.1, 1.0, 1.0]).share(0);
    check("10 x faster, share", &RATES, share, |row| within(row, 0.75..0.9));
}

#[test]
fn a_server_fifty_times_slower_gets_little_and_holds_little() {
    let slow = |rate, farm: &mut Farm<'_>, random| steady(farm, rate, random, [50.0, 1.0, 1.0]);
    let share = |rate, farm: &mut Farm<'_>, random| slow(rate, farm, random).share(0);
    check("50 x slower, share", &RATES, share, |row| within(row, 0.002..0.05));
    // At 20/s nobody holds a twentieth of a request on average, and the ratio means nothing.
    let uneven = |rate, farm: &mut Farm<'_>, random| slow(rate, farm, random).unevenness();
    check("50 x slower, holds", &RATES[1..], uneven, |row| row.mean() <= 1.5);
}

/// Median and 99th percentile in ms of four servers of four places each.
fn latency_ms(balance: Balance, means_ms: &[f64; 4], load: f64) -> (f64, f64) {
    const PLACES: usize = 4;
    let capacity = means_ms.map(|mean_ms| PLACES as f64 * 1e3 / mean_ms).iter().sum::<f64>();
    let pool = build(&settings(balance), &members(&[1; 4]));
    let mut farm = Farm::new(&pool, capacity * load, PLACES, 5);
    let service = |index: usize, dice: &mut Dice| takes(means_ms[index], true, dice);
    let _ = farm.go(3_000, service);
    let mut seen = farm.go(15_000, service);
    (seen.percentile_ms(500), seen.percentile_ms(990))
}

#[test]
fn unequal_servers_are_faster_than_by_round_robin() {
    for means_ms in [
        [10.0, 10.0, 10.0, 10.0],
        [20.0, 10.0, 10.0, 10.0],
        [40.0, 40.0, 10.0, 10.0],
        [100.0, 10.0, 10.0, 10.0],
    ] {
        for load in [0.1, 0.5, 0.8] {
            let turns = latency_ms(Balance::RoundRobin, &means_ms, load);
            let least = latency_ms(Balance::LeastRequest, &means_ms, load);
            let p2c = latency_ms(Balance::P2c, &means_ms, load);
            println!(
                "{means_ms:?} at {load}: p50/p99 round robin {turns:.0?}, least {least:.0?}, p2c {p2c:.0?}"
            );
            // Equal servers with little to do: only chance is between them.
            let factor = if means_ms[0] > 10.0 { 0.95 } else { 1.1 };
            assert!(p2c.1 <= turns.1 * factor, "{means_ms:?} at {load}: {turns:?} {p2c:?}");
        }
    }
}
