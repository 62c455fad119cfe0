//! A surge with retries ends when its cause ends; without admission it keeps itself alive.

use std::time::Duration;

use model::configuration::Balance;
use simulation::{Condition, Entrance, Flow, Patience, Plan, Rule, Seen, ServerPlan, Work, run};

const PEAK: f64 = 500.0;

/// Ten seconds of twenty times what two servers can do, then 0.8 times; clients try three times
/// more. Goodput between two seconds after the surge, as a part of what is asked for then.
fn after(rule: Balance, entrance: Entrance, from: u64, to: u64) -> f64 {
    let at = Duration::from_secs;
    let patience = Patience { timeout: Some(at(1)), retries: 3, pause: Duration::from_millis(50) };
    let rates = vec![(at(0), 0.8 * PEAK), (at(5), 20.0 * PEAK), (at(15), 0.8 * PEAK)];
    let seen: Seen = run(&Plan {
        seed: 1,
        servers: vec![ServerPlan::sleeping(5); 2],
        doors: 1,
        rule: Rule::Pool(rule),
        work_mean: Duration::from_millis(20),
        entrance,
        work: Work::Fixed,
        flows: vec![Flow { rates, burst: 1, clients: 200, patience }],
        objective: Duration::from_millis(200),
        warm_up: Duration::ZERO,
        duration: at(15 + to),
    });
    seen.good_per_second(at(15 + from), at(15 + to)) / (0.8 * PEAK)
}

#[test]
fn with_the_defaults_it_is_over_within_two_seconds() {
    let good = after(Balance::P2c, Entrance::Found, 2, 7);
    assert!(good >= 0.95, "{good}");
}

#[test]
fn round_robin_without_admission_never_recovers() {
    let good = after(Balance::RoundRobin, Entrance::Open, 10, 30);
    assert!(good <= 0.05, "{good}");
}

/// Servers lose most of their places for three seconds while every client tries again at once; what
/// they began for clients who left they finish. Seconds after they have them all back until three
/// seconds in a row are good, mean of these seeds.
fn recovery_s() -> f64 {
    const RATE: f64 = 120.0;
    const SEEDS: u64 = 10;
    let at = Duration::from_secs;
    let mut server = ServerPlan::sleeping(24);
    server.changes =
        vec![(at(5), Condition::Takes { places: 3 }), (at(8), Condition::Works { speed: 1.0 })];
    let patience = Patience {
        timeout: Some(Duration::from_millis(600)),
        retries: 3,
        pause: Duration::from_millis(1),
    };
    let flow = Flow { rates: vec![(at(0), RATE)], burst: 1, clients: 50, patience };
    let over = |seed| {
        let seen: Seen = run(&Plan {
            seed,
            servers: vec![server.clone(); 3],
            doors: 1,
            rule: Rule::Pool(Balance::P2c),
            work_mean: Duration::from_millis(400),
            entrance: Entrance::Found,
            work: Work::Fixed,
            flows: vec![flow.clone()],
            objective: Duration::from_millis(2_400),
            warm_up: Duration::ZERO,
            duration: at(20),
        });
        let good = |from| seen.good_per_second(at(from), at(from + 3)) >= 0.93 * RATE;
        (8..17).find(|from| good(*from)).map_or(9.0, |from| (from - 8) as f64)
    };
    (1..=SEEDS).map(over).sum::<f64>() / SEEDS as f64
}

#[test]
fn places_that_come_back_are_used_within_four_seconds() {
    let recovery = recovery_s();
    assert!(recovery <= 4.0, "{recovery} s");
}
