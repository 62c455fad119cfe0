//! What trials must agree with: weights, bounds, and what is known of each scenario.

use std::net::{Ipv4Addr, SocketAddr};

use model::configuration::{self, Balance, ServerAddress};
use proptest::prelude::*;

use super::*;
use crate::tests::{algorithms, checks, maglev, settings};

fn server(number: usize, weight: u32) -> configuration::Server {
    let port = u16::try_from(number + 1).unwrap();
    let address = ServerAddress::Socket(SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), port)));
    configuration::Server { address, weight, zone: None, drain: false }
}

fn pool(balance: Balance, weights: &[u32]) -> configuration::Pool {
    let servers = weights.iter().enumerate().map(|(number, &weight)| server(number, weight));
    configuration::Pool { servers: servers.collect(), ..settings(balance) }
}

/// Shares that a scenario must show, each within `off`.
fn check(pool: &configuration::Pool, scenario: Scenario, expected: &[f64], off: f64) {
    let shares = shares(pool, scenario, 7);
    let near = shares.iter().zip(expected).all(|(share, meant)| (share - meant).abs() <= off);
    let name = &pool.balance;
    assert!(near && shares.len() == expected.len(), "{name:?} {scenario:?}: {shares:?}");
}

fn scenarios(servers: usize) -> impl Iterator<Item = Scenario> {
    [Scenario::Start, Scenario::Steady, Scenario::Reload]
        .into_iter()
        .chain((0..servers).map(Scenario::Loss))
}

#[test]
fn a_lopsided_pool_is_seen_in_every_algorithm() {
    for balance in algorithms() {
        for scenario in [Scenario::Start, Scenario::Steady, Scenario::Reload] {
            check(&pool(balance.clone(), &[90, 5, 5]), scenario, &[0.9, 0.05, 0.05], 0.03);
        }
    }
}

#[test]
fn servers_without_weight_get_nothing_and_the_last_one_everything() {
    for balance in algorithms() {
        for scenario in scenarios(0) {
            check(&pool(balance.clone(), &[1, 0, 0]), scenario, &[1.0, 0.0, 0.0], 0.0);
            let mut drained = pool(balance.clone(), &[1, 1, 1]);
            drained.servers[0].drain = true;
            check(&drained, scenario, &[0.0, 0.5, 0.5], 0.02);
            drained.servers.iter_mut().for_each(|server| server.drain = true);
            check(&drained, scenario, &[0.0; 3], 0.0);
        }
    }
}

#[test]
fn a_lost_server_gets_next_to_nothing() {
    for balance in algorithms() {
        let mut pool = pool(balance, &[1, 1, 2]);
        check(&pool, Scenario::Loss(2), &[0.5, 0.5, 0.0], 0.03);
        pool.check = checks();
        check(&pool, Scenario::Loss(2), &[0.5, 0.5, 0.0], 0.03);
    }
}

#[test]
fn a_name_is_one_server_and_a_repeated_one_gets_nothing() {
    let mut pool = pool(Balance::RoundRobin, &[1, 1, 1]);
    let name = |host: &str| ServerAddress::Name { host: host.into(), port: 80 };
    pool.servers[0].address = name("a.example");
    pool.servers[1].address = name("b.example");
    pool.servers[2].address = name("a.example");
    check(&pool, Scenario::Steady, &[0.5, 0.5, 0.0], 0.01);
}

#[test]
fn a_limit_of_one_in_flight_does_not_hide_the_weights() {
    for balance in [Balance::RoundRobin, Balance::Random, Balance::P2c] {
        let mut pool = pool(balance, &[90, 5, 5]);
        pool.in_flight_max = 1;
        let found = shares(&pool, Scenario::Steady, 7);
        assert!(found[0] > 0.8, "{found:?}");
    }
}

#[test]
fn large_pools_are_tried_too() {
    for balance in algorithms() {
        let shares = shares(&pool(balance, &[1; 5_000]), Scenario::Start, 7);
        assert!(shares.iter().all(|&share| share < 0.001), "{shares:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn shares_sum_to_one_and_are_the_same_again(
        weights in prop::collection::vec(0_u32..50, 1..8),
        algorithm in 0_usize..5,
        checked in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut pool = pool(algorithms()[algorithm].clone(), &weights);
        pool.check = checks().filter(|_| checked);
        let serves = weights.iter().any(|&weight| weight > 0);
        for scenario in scenarios(weights.len()) {
            let once = shares(&pool, scenario, seed);
            let sum: f64 = once.iter().sum();
            prop_assert!((sum - f64::from(u8::from(serves))).abs() < 1e-9, "{once:?}");
            prop_assert_eq!(&once, &shares(&pool, scenario, seed));
        }
    }

    // The tolerance is relative to the intended share, and what chance adds in 4,000 requests.
    #[test]
    fn steady_shares_are_those_of_the_weights(
        weights in prop::collection::vec(1_u32..20, 1..10),
        seed in any::<u64>(),
    ) {
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        let tolerances =
            [(Balance::RoundRobin, 0.01), (Balance::Random, 0.05), (Balance::P2c, 0.15)];
        // The bound of consistent hashing is in whole requests: see `tests::shares`.
        for (balance, relative) in tolerances.into_iter().chain([(maglev(), 0.45)]) {
            let found = shares(&pool(balance.clone(), &weights), Scenario::Steady, seed);
            for (share, &weight) in found.iter().zip(&weights) {
                let meant = f64::from(weight) / total;
                prop_assert!(
                    (share - meant).abs() <= meant * relative + 0.02,
                    "{balance:?}: {found:?} for {weights:?}"
                );
            }
        }
    }
}

/// Requests at this rate for 20 s, each of 10 ms.
fn steady(per_second: u64) -> Vec<ReplayRequest> {
    let request = |number: u64| ReplayRequest {
        at_us: number * 1_000_000 / per_second,
        key: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        service_us: 10_000.0,
    };
    (0..20 * per_second).map(request).collect()
}

#[test]
fn a_replay_states_what_servers_hold_and_take() {
    let seen = [Seen { at_once: 8, slowness: 1.0 }, Seen { at_once: 8, slowness: 3.0 }];
    let replayed = replay(&pool(Balance::RoundRobin, &[3, 1]), &seen, &steady(200), 7);
    let [fast, slow] = replayed.servers[..] else { panic!("two servers") };
    assert_eq!((replayed.refused, fast.requests, slow.requests), (0, 3_000, 1_000));
    assert!((fast.share - 0.75).abs() < 1e-9);
    // Little's law: 150/s of 10 ms, 50/s of 30 ms.
    assert!((fast.in_flight - 1.5).abs() < 0.01 && (slow.in_flight - 1.5).abs() < 0.01);
    assert_eq!((fast.p99_us, slow.p99_us), (10_000, 30_000));
}

#[test]
fn what_a_server_was_never_seen_to_hold_waits() {
    let seen = [Seen { at_once: 1, slowness: 1.0 }; 2];
    let both = replay(&pool(Balance::RoundRobin, &[1, 1]), &seen, &steady(160), 7);
    let one = replay(&pool(Balance::RoundRobin, &[1, 0]), &seen, &steady(160), 7);
    assert_eq!(both.servers[0].p99_us, 10_000);
    // 160/s at 100/s: after 20 s the last of them wait for more than 10 s.
    assert!(one.servers[0].p99_us > 10_000_000, "{one:?}");
    assert_eq!(one.servers[1], ReplayServer::default());
}

#[test]
fn a_replay_counts_what_no_server_had_room_for() {
    let mut pool = pool(Balance::P2c, &[1]);
    pool.in_flight_max = 1;
    let seen = [Seen { at_once: 1, slowness: 1.0 }];
    let replayed = replay(&pool, &seen, &steady(200), 7);
    assert_eq!((replayed.servers[0].requests, replayed.refused), (2_000, 2_000));
}

#[test]
fn a_replay_is_bounded() {
    let requests = vec![ReplayRequest { at_us: 0, key: 0, service_us: f64::MAX }; 300_000];
    let replayed = replay(&pool(Balance::RoundRobin, &[1]), &[], &requests, 7);
    assert_eq!(replayed.servers[0].requests, 200_000);
}
