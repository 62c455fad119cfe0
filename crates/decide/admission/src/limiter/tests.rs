//! The limiter before simulated servers: what it has to reach, told nothing about them.
//!
//! A case that fails prints its seconds as answers, in percent of the peak, and the limit.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds and nanoseconds of a simulation, far from the bounds"
)]

mod world;

use std::time::Duration;

use model::Timestamp;
use proptest::prelude::*;

use super::{Ending, Limiter, LimiterSample};
use world::{Kind, Phase, SECOND, Second, Server, Spread, World};

/// Servers that take so many at once; the others wait before them.
const fn sleeping(ms: u64, places: u32, spread: Spread) -> Server {
    Server { kind: Kind::Places(places), work: Duration::from_millis(ms), spread, failing: 0.0 }
}

/// Servers whose throughput has its peak at `knee` and falls beyond.
fn collapsing(ms: u64, knee: f64) -> Server {
    let kind = Kind::Usl { sigma: 0.02, kappa: 0.98 / (knee * knee) };
    Server { kind, work: Duration::from_millis(ms), spread: Spread::Fixed, failing: 0.0 }
}

/// Servers with a lock that each request holds for `part` of its work.
fn locking(ms: u64, part: f64, contention: f64) -> Server {
    let kind = Kind::Lock { part, contention };
    Server { kind, work: Duration::from_millis(ms), spread: Spread::Fixed, failing: 0.0 }
}

/// Requests per second that so many of these serve at best, and how many are in flight then.
fn peak(server: &Server, servers: usize) -> (f64, u32) {
    let work = server.work.as_secs_f64();
    let rate = |n: u32| {
        let n = f64::from(n);
        n / work
            / match server.kind {
                Kind::Places(places) => (n / f64::from(places)).max(1.0),
                Kind::Usl { sigma, kappa } => 1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0),
                Kind::Lock { part, contention } => {
                    (1.0 + part).max(n * part) * (1.0 + contention * (n - 1.0))
                }
            }
    };
    let best = (1..1_000).max_by(|&a, &b| rate(a).total_cmp(&rate(b)).then(b.cmp(&a))).unwrap();
    (rate(best) * servers as f64, best * servers as u32)
}

/// A case: servers, how many, and whether each has a limiter of its own.
type Case = (Server, usize, bool);

/// Every case runs with each of these: a limiter that finds what it should with one of them only was
/// lucky. What is stated holds for all their requests together.
const SEEDS: std::ops::Range<u64> = 10..18;

/// The seconds of a run for each seed, and the peak.
struct Run(Vec<Vec<Second>>, f64);

impl Run {
    /// `load` times the peak for so many seconds.
    fn new(case: Case, load: f64, seconds: u64, by_hand: bool) -> Self {
        let (server, servers, stacked) = case;
        let (peak, best) = peak(&server, servers);
        let phase = Phase { until: seconds * SECOND, server, rate: peak * load };
        let run = |seed| {
            let mut world = World::new(servers, stacked && !by_hand, seed, phase);
            world.by_hand = by_hand.then_some(best);
            world.run(&[phase]);
            world.seconds
        };
        Self(SEEDS.map(run).collect(), peak)
    }

    /// These seconds of all runs.
    fn seconds(&self, from: usize, to: usize) -> impl Iterator<Item = &Second> {
        self.0.iter().flat_map(move |run| &run[from..to])
    }

    /// Answers in these seconds as a part of the peak.
    fn goodput(&self, from: usize, to: usize) -> f64 {
        let good: u32 = self.seconds(from, to).map(|second| second.good).sum();
        f64::from(good) / self.1 / ((to - from) * self.0.len()) as f64
    }

    /// The 99th percentile of the time in flight.
    fn p99(&self, from: usize, to: usize) -> Duration {
        let mut took: Vec<u64> = self.seconds(from, to).flat_map(|s| s.took.clone()).collect();
        took.sort_unstable();
        Duration::from_nanos(took[took.len() * 99 / 100])
    }

    fn mean_limit(&self, from: usize, to: usize) -> f64 {
        let limits = self.seconds(from, to).map(|second| f64::from(second.limit));
        limits.sum::<f64>() / ((to - from) * self.0.len()) as f64
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|run| {
            writeln!(f)?;
            run.iter().try_for_each(|second| {
                write!(f, "{:.0}/{} ", f64::from(second.good) / self.1 * 100.0, second.limit)
            })
        })
    }
}

/// Overloaded from the first second, measured from the ninth on: the bars of the design. Of its
/// latency, half of the unloaded one is left for the wait in the door.
fn check(case: Case) {
    let unloaded = Run::new(case, 0.5, 12, false).p99(2, 12);
    for (load, goodput) in [(2.0, 0.95), (5.0, 0.95), (10.0, 0.93), (20.0, 0.92)] {
        let run = Run::new(case, load, 18, false);
        let (reached, p99) = (run.goodput(8, 18), run.p99(8, 18));
        assert!(reached >= goodput, "{case:?} x{load}: {reached:.3} {run}");
        assert!(p99 <= unloaded.mul_f64(1.8), "{case:?} x{load}: {p99:?} of {unloaded:?} {run}");
    }
}

#[test]
fn sleeping_servers() {
    check((sleeping(50, 20, Spread::Fixed), 2, true));
    check((sleeping(20, 5, Spread::Fixed), 1, false));
    check((sleeping(20, 5, Spread::Fixed), 2, true));
    check((sleeping(5, 10, Spread::Fixed), 1, false));
    check((sleeping(20, 5, Spread::Exponential), 2, true));
    check((sleeping(50, 20, Spread::Exponential), 2, true));
    check((sleeping(5, 10, Spread::Lognormal), 1, false));
}

#[test]
fn collapsing_servers() {
    check((collapsing(20, 5.0), 1, false));
    check((collapsing(20, 10.0), 2, true));
    check((collapsing(50, 40.0), 1, false));
    check((locking(20, 0.2, 0.05), 2, true));
    check((locking(20, 0.5, 0.2), 2, true));
}

/// At exactly its capacity a pool does as well as with a limit that was set by hand.
#[test]
fn full_load_is_no_overload() {
    for case in [
        (sleeping(20, 5, Spread::Fixed), 2, true),
        (sleeping(5, 10, Spread::Exponential), 1, false),
        (sleeping(50, 20, Spread::Lognormal), 2, true),
        (locking(20, 0.2, 0.05), 2, true),
    ] {
        let by_hand = Run::new(case, 1.0, 16, true).goodput(6, 16);
        let run = Run::new(case, 1.0, 16, false);
        let reached = run.goodput(6, 16);
        assert!(reached >= by_hand * 0.95, "{case:?}: {reached:.3} of {by_hand:.3} {run}");
    }
}

/// A pool that takes many more than the first limit gets them within seconds, and one that is half
/// loaded is never throttled afterwards.
#[test]
fn many_places_are_found() {
    for spread in [Spread::Fixed, Spread::Exponential, Spread::Lognormal] {
        let case = (sleeping(100, 200, spread), 1, false);
        for (load, from, expected) in [(0.5, 5, 0.47), (1.0, 5, 0.92), (5.0, 4, 0.95)] {
            let run = Run::new(case, load, 12, false);
            let reached = run.goodput(from, 12);
            assert!(reached >= expected, "{spread:?} x{load}: {reached:.3} {run}");
        }
    }
}

/// Clients leave before the first answers of an overloaded pool come; their work goes on.
#[test]
fn clients_that_leave_are_heard() {
    let case = (sleeping(100, 2, Spread::Fixed), 1, false);
    for load in [5.0, 20.0] {
        let run = Run::new(case, load, 24, false);
        let reached = run.goodput(8, 24);
        assert!(reached >= 0.92, "x{load}: {reached:.3} {run}");
    }
}

/// From the fifth second on after each change.
fn follows(before: Server, during: Server, servers: usize, load: f64) {
    let rate = peak(&before, servers).0 * load;
    let [first, second, third] = [(10, before), (22, during), (34, before)]
        .map(|(until, server)| Phase { until: until * SECOND, server, rate });
    let run = |seed| {
        let mut world = World::new(servers, servers > 1, seed, first);
        world.run(&[first, second, third]);
        world.seconds
    };
    let runs: Vec<_> = SEEDS.map(run).collect();
    for (server, from) in [(before, 5), (during, 15), (before, 27)] {
        let seconds = runs.iter().map(|run| run[from..from + 5].to_vec()).collect();
        let run = Run(seconds, peak(&server, servers).0);
        let reached = run.goodput(0, 5);
        assert!(reached >= 0.92, "{server:?} x{load} from {from} s: {reached:.3} {run}");
    }
}

#[test]
fn slower_and_fast_again() {
    for load in [2.0, 20.0] {
        for spread in [Spread::Fixed, Spread::Exponential] {
            follows(sleeping(20, 5, spread), sleeping(80, 5, spread), 2, load);
            follows(sleeping(20, 8, spread), sleeping(20, 2, spread), 2, load);
        }
        follows(sleeping(50, 40, Spread::Fixed), sleeping(50, 10, Spread::Fixed), 1, load);
        follows(locking(20, 0.2, 0.05), locking(80, 0.2, 0.05), 2, load);
    }
}

/// Nobody is made to wait for servers whose answers take three milliseconds at the most.
#[test]
fn quick_answers_are_not_waited_for() {
    let run = Run::new((sleeping(1, 8, Spread::Fixed), 1, false), 2.0, 16, false);
    let limit = run.mean_limit(6, 16);
    assert!(run.goodput(6, 16) >= 0.95 && (16.0..=48.0).contains(&limit), "{limit} {run}");
}

/// Fast and slow routes in one pool neither drive the limit to 1 nor let it run away.
#[test]
fn mixed_times_do_not_collapse() {
    let case = (sleeping(5, 10, Spread::Mixed), 1, false);
    let run = Run::new(case, 5.0, 20, false);
    let (reached, limit) = (run.goodput(6, 20), run.mean_limit(6, 20));
    assert!(reached >= 0.92 && (8.0..=25.0).contains(&limit), "{reached:.3} {limit} {run}");
}

/// Answers are what counts: requests that fail at once neither attract more nor starve the rest.
#[test]
fn fast_failures_change_nothing() {
    let server = Server { failing: 0.3, ..sleeping(20, 5, Spread::Fixed) };
    let run = Run::new((server, 2, true), 5.0, 16, false);
    let (reached, p99) = (run.goodput(6, 16), run.p99(6, 16));
    assert!(reached >= 0.92 && p99 <= server.work.mul_f64(2.2), "{reached:.3} {p99:?} {run}");
}

/// Three minutes of overload: nothing that could drift is remembered.
#[test]
fn nothing_drifts() {
    for (spread, bound) in [(Spread::Fixed, 1.3), (Spread::Exponential, 2.0)] {
        let case = (sleeping(20, 5, spread), 1, false);
        let run = Run::new(case, 3.0, 180, false);
        let (reached, limit) = (run.goodput(120, 180), run.mean_limit(120, 180));
        assert!(reached >= 0.95 && limit <= 5.0 * bound, "{spread:?}: {reached:.3} {limit}");
    }
}

#[test]
fn few_requests_change_nothing() {
    let case = (sleeping(20, 5, Spread::Exponential), 1, false);
    let run = Run::new(case, 0.1, 60, false);
    assert!(run.seconds(0, 60).all(|second| second.limit == 20), "{run}");
}

#[test]
fn the_service_time_is_the_median() {
    let limiter = Limiter::new(Timestamp::ZERO);
    assert_eq!(limiter.service_time(), Duration::ZERO);
    for step in 0..100 {
        let began = Timestamp::from_nanos(step * 10_000_000);
        let took = Duration::from_millis(if step % 4 == 0 { 500 } else { 20 });
        let (ended, ending) = (began + took, Ending::Answered);
        limiter.record(&LimiterSample { began, ended, in_flight: 1, ending });
    }
    let median = limiter.service_time().as_secs_f64();
    assert!((0.019..0.021).contains(&median), "{median}");
}

proptest! {
    /// Whatever comes, in whatever order, the limit stays between its bounds.
    #[test]
    fn the_limit_stays_in_bounds(samples in prop::collection::vec(
        (0..10_000_u64, 0..3_000_u64, 0..4_u8, 0..40_000_u32), 0..600,
    )) {
        let limiter = Limiter::new(Timestamp::ZERO);
        for (at, took, ending, in_flight) in samples {
            let began = Timestamp::from_nanos(at * 1_000_000);
            let ended = began + Duration::from_millis(took);
            let ending = match ending {
                0 => Ending::Answered,
                1 => Ending::Failed,
                2 => Ending::TimedOut,
                _ => Ending::Left,
            };
            // Every other one at the limit, where it counts.
            let in_flight = if in_flight % 2 == 0 { limiter.limit() } else { in_flight };
            limiter.record(&LimiterSample { began, ended, in_flight, ending });
            prop_assert!((1..=10_000).contains(&limiter.limit()));
        }
    }
}

/// Many threads record; none waits, and no count is lost that matters.
#[test]
fn threads_record_together() {
    let limiter = Limiter::new(Timestamp::ZERO);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let limiter = &limiter;
            scope.spawn(move || {
                for step in 0..20_000_u64 {
                    let began = Timestamp::from_nanos((step * 4 + worker) * 100_000);
                    let ended = began + Duration::from_millis(20);
                    let (in_flight, ending) = (limiter.limit(), Ending::Answered);
                    limiter.record(&LimiterSample { began, ended, in_flight, ending });
                }
            });
        }
    });
    // Always full, and never slower: a limit that only stands in the way.
    assert!(limiter.limit() > 20, "{}", limiter.limit());
}
