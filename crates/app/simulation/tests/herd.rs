//! Every session connects again in the same moment: the herd is spread over what others leave.

use std::time::Duration;

use model::configuration::Balance;
use simulation::{Entrance, Flow, Patience, Plan, Rule, Seen, ServerPlan, Work, run};

/// Three servers that do 235 requests a second, users who send 50, and a herd of about 800 in the
/// ninth second, after about as many came one after the other in the first six.
fn herd(seed: u64, work: Work) -> Seen {
    let at = Duration::from_secs;
    let flow = |rates, clients, timeout| {
        let patience = Patience { timeout: Some(timeout), ..Patience::default() };
        Flow { rates, burst: 1, clients, patience }
    };
    let users = flow(vec![(at(0), 50.0), (at(18), 0.0)], 50, at(2));
    let moment = Duration::from_millis(9_020);
    let herd = vec![(at(0), 133.0), (at(6), 0.0), (at(9), 40_000.0), (moment, 0.0)];
    run(&Plan {
        seed,
        servers: vec![ServerPlan::sleeping(8); 3],
        doors: 1,
        rule: Rule::Pool(Balance::P2c),
        work_mean: Duration::from_millis(102),
        entrance: Entrance::Found,
        work,
        flows: vec![users, flow(herd, 800, at(8))],
        objective: at(8),
        warm_up: Duration::ZERO,
        duration: at(20),
    })
}

/// At least these parts of the users' requests and of the devices' are answered, mean of ten seeds.
fn check(work: Work, least: (f64, f64)) {
    const SEEDS: u64 = 10;
    let (mut users, mut devices) = (0.0, 0.0);
    for seed in 1..=SEEDS {
        let seen = herd(seed, work);
        let part = |flow: usize| seen.flows[flow].answered as f64 / seen.flows[flow].due as f64;
        users += part(0) / SEEDS as f64;
        devices += part(1) / SEEDS as f64;
    }
    assert!(users >= least.0 && devices >= least.1, "{work:?}: {users} {devices}");
}

#[test]
fn a_herd_is_served_and_others_hardly_notice() {
    check(Work::Fixed, (0.99, 0.99));
    // Some who come before the herd find a limit that is too low.
    check(Work::Exponential, (0.98, 0.97));
}
