//! The simulation agrees with what queueing theory knows exactly.
//!
//! Erlang's C formula gives the waiting at a server with places and a queue; Mitzenmacher's
//! fixed point gives the time at many servers that are chosen among at random, or as the less
//! loaded of two. The choices are made by the door's own code.

use std::time::Duration;

use model::configuration::Balance;
use simulation::{Entrance, Flow, Plan, Rule, Seen, ServerPlan, Work, run};

const SERVICE: Duration = Duration::from_millis(10);

const REQUESTS: f64 = 1_500_000.0;

fn play(rule: Rule, servers: &[ServerPlan], load: f64, seed: u64) -> Seen {
    run(&plan(rule, servers, load, seed, REQUESTS))
}

/// Exponential work for these servers, at a part of what they can do.
fn plan(rule: Rule, servers: &[ServerPlan], load: f64, seed: u64, requests: f64) -> Plan {
    let capacity: f64 = servers.iter().map(ServerPlan::capacity).sum();
    let per_second = capacity * load / SERVICE.as_secs_f64();
    let counted = Duration::from_secs_f64(requests / per_second);
    Plan {
        seed,
        servers: servers.to_vec(),
        doors: 1,
        rule,
        work_mean: SERVICE,
        entrance: Entrance::Open,
        work: Work::Exponential,
        flows: vec![Flow::steady(per_second)],
        objective: Duration::from_secs(1),
        warm_up: counted / 10,
        duration: counted + counted / 10,
    }
}

/// The probability of waiting with `places` places that are busy to this part (Erlang C).
fn erlang_c(places: u32, load: f64) -> f64 {
    let offered = f64::from(places) * load;
    // The blocking of Erlang B by its recursion, then B to C.
    let blocked = (1..=places).fold(1.0, |blocked, n| {
        let blocked = blocked * offered;
        blocked / (f64::from(n) + blocked)
    });
    blocked / (1.0 - load * (1.0 - blocked))
}

fn assert_near(found: f64, expected: f64, part: f64, what: &str) {
    let off = (found / expected - 1.0).abs();
    assert!(off <= part, "{what}: {found}, by theory {expected}");
}

/// The load that was played, which is a random number near the one that was meant: a formula
/// of that load is met more closely than with many more requests.
fn played(seen: &Seen, places: f64, load: f64) -> f64 {
    let worked: f64 = seen.servers.iter().map(|server| server.worked).sum();
    let played = worked / (places * seen.servers.len() as f64);
    assert_near(played, load, 0.005, "load");
    played
}

#[test]
fn waiting_is_what_erlang_says() {
    for (places, load) in [(1, 0.5), (1, 0.8), (4, 0.8), (4, 0.9), (32, 0.9)] {
        let server = ServerPlan::sleeping(usize::try_from(places).unwrap());
        let seen = play(Rule::Pool(Balance::P2c), &[server], load, 1);
        let what = format!("M/M/{places} at {load}");
        let load = played(&seen, f64::from(places), load);
        let waits = erlang_c(places, load);
        let waited = seen.servers[0].waited as f64 / seen.servers[0].attempts as f64;
        assert_near(waited, waits, 0.02, &format!("{what}, waits"));
        // Those who wait, on average, over those at work: in service times (Little).
        let wait = (seen.servers[0].held / seen.servers[0].worked) - 1.0;
        let expected = waits / (f64::from(places) * (1.0 - load));
        assert_near(wait, expected, 0.03, &format!("{what}, mean wait"));
    }
}

#[test]
fn one_place_has_an_exponential_sojourn() {
    let seen = play(Rule::Pool(Balance::P2c), &[ServerPlan::sleeping(1)], 0.8, 1);
    let mean_ms = 10.0 / (1.0 - played(&seen, 1.0, 0.8));
    for (quantile, part) in [(0.5_f64, 0.02), (0.99, 0.03), (0.999, 0.05)] {
        let what = format!("M/M/1 at 0.8, quantile {quantile}");
        assert_near(seen.quantile_ms(quantile), -mean_ms * (1.0 - quantile).ln(), part, &what);
    }
}

/// The mean time at infinitely many servers with one place, in service times: the less loaded of
/// two is `sum of load^(2^i - 2)` (Mitzenmacher 1996).
fn less_loaded_of_two(load: f64) -> f64 {
    (1..8).map(|i| load.powi(2_i32.pow(i) - 2)).sum()
}

#[test]
fn two_choices_are_as_good_as_mitzenmacher_says() {
    let (few, many) = (vec![ServerPlan::sleeping(1); 20], vec![ServerPlan::sleeping(1); 500]);
    for load in [0.5, 0.9] {
        let seen = play(Rule::Pool(Balance::Random), &few, load, 1);
        let expected = 1.0 / (1.0 - played(&seen, 1.0, load));
        assert_near(seen.mean_ms() / 10.0, expected, 0.03, &format!("random at {load}"));
        let seen = play(Rule::Pool(Balance::LeastRequest), &many, load, 1);
        let expected = less_loaded_of_two(played(&seen, 1.0, load));
        let what = format!("500 servers, the less loaded of two at {load}");
        assert_near(seen.mean_ms() / 10.0, expected, 0.02, &what);
    }
}

#[test]
fn a_run_replays_from_its_seed() {
    for rule in [Rule::Pool(Balance::P2c), Rule::JoinLeast, Rule::HotCold(5)] {
        let [one, again, other] = [7, 7, 8].map(|seed| {
            let servers = vec![ServerPlan::sleeping(2); 10];
            let plan = plan(rule.clone(), &servers, 0.8, seed, 20_000.0);
            run(&Plan { doors: 3, entrance: Entrance::Found, ..plan })
        });
        assert_eq!(one.latencies_us, again.latencies_us);
        assert_eq!(one.servers, again.servers);
        assert_ne!(one.latencies_us, other.latencies_us);
    }
}

#[test]
fn four_thousand_servers_behind_a_hundred_doors_all_get_their_share() {
    let servers = vec![ServerPlan::sleeping(4); 4_000];
    let plan = plan(Rule::Pool(Balance::P2c), &servers, 0.5, 1, 200_000.0);
    let seen = run(&Plan { doors: 100, ..plan });
    assert!(seen.servers.iter().all(|server| server.attempts > 0));
    // 50 requests each: chance alone gives the busiest of 4,000 half as many again.
    assert!(seen.lopsidedness() < 2.0, "{}", seen.lopsidedness());
}
