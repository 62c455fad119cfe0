//! A door that has just started before an overload finds the limit by itself, and soon.

use std::time::Duration;

use model::configuration::Balance;
use simulation::{Entrance, Flow, Patience, Plan, Rule, ServerPlan, Work, run};

const SEEDS: u64 = 6;

/// Two servers, `times` their capacity is asked for from the first moment on: what is answered
/// within the objective from the third second to the tenth, as a part of the capacity, mean of
/// the seeds.
fn goodput(places: usize, work_ms: u64, work: Work, times: f64) -> f64 {
    let at = Duration::from_secs;
    let work_mean = Duration::from_millis(work_ms);
    let capacity = 2.0 * places as f64 / work_mean.as_secs_f64();
    let patience = Patience { timeout: Some(at(1)), ..Patience::default() };
    let good = |seed| {
        let seen = run(&Plan {
            seed,
            servers: vec![ServerPlan::sleeping(places); 2],
            doors: 1,
            rule: Rule::Pool(Balance::P2c),
            work_mean,
            entrance: Entrance::Found,
            work,
            flows: vec![Flow {
                rates: vec![(Duration::ZERO, times * capacity)],
                burst: 1,
                clients: 1,
                patience,
            }],
            objective: Duration::from_millis(200),
            warm_up: Duration::ZERO,
            duration: at(10),
        });
        seen.good_per_second(at(2), at(10)) / capacity
    };
    (1..=SEEDS).map(good).sum::<f64>() / SEEDS as f64
}

fn check(places: usize, work_ms: u64, work: Work) {
    for (times, least) in [(2.0, 0.92), (5.0, 0.95), (10.0, 0.93), (20.0, 0.92)] {
        let good = goodput(places, work_ms, work, times);
        assert!(good >= least, "{places} places, {work:?}, {times} x: {good}");
    }
}

#[test]
fn two_seconds_are_enough() {
    check(4, 32, Work::Fixed);
    check(5, 20, Work::Exponential);
}
