//! Each server's share follows its weight, for every algorithm, pool size and load.

use proptest::prelude::*;

use super::*;

/// `relative`: of the intended share; `absolute`: what chance may add in 6,000 requests.
fn check(
    balance: Balance,
    weights: &[u32],
    concurrency: u32,
    relative: f64,
) -> Result<(), TestCaseError> {
    let pool = build(&settings(balance.clone()), &members(weights));
    let shares = Bench::new(&pool, at(1)).load(6_000, concurrency, &[]).shares();
    let total: u32 = weights.iter().sum();
    for (share, weight) in shares.iter().zip(weights) {
        let intended = f64::from(*weight) / f64::from(total);
        let off = (share - intended).abs();
        prop_assert!(
            off <= intended * relative + 0.015,
            "{balance:?} x{concurrency}: {shares:?} for {weights:?}"
        );
    }
    Ok(())
}

fn weights() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(1_u32..20, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn p2c_follows_weights(weights in weights(), concurrency in 1_u32..40) {
        check(Balance::P2c, &weights, concurrency, 0.25)?;
    }

    #[test]
    fn least_request_follows_weights(weights in weights(), concurrency in 1_u32..40) {
        check(Balance::LeastRequest, &weights, concurrency, 0.25)?;
    }

    #[test]
    fn round_robin_follows_weights(weights in weights(), concurrency in 1_u32..40) {
        check(Balance::RoundRobin, &weights, concurrency, 0.0)?;
    }

    #[test]
    fn random_follows_weights(weights in weights(), concurrency in 1_u32..40) {
        check(Balance::Random, &weights, concurrency, 0.05)?;
    }

    #[test]
    fn maglev_follows_weights(weights in weights()) {
        check(maglev(), &weights, 1, 0.05)?;
    }

    // The bound is in whole requests: a light server with room for one request, and 0.8 of one
    // in flight on average, passes up to 0.8 / 1.8 of its keys on (Erlang's loss formula).
    #[test]
    fn maglev_follows_weights_within_its_bound(weights in weights(), concurrency in 2_u32..40) {
        check(maglev(), &weights, concurrency, 0.45)?;
    }
}

#[test]
fn a_canary_of_one_percent_gets_its_percent_at_any_load() {
    for concurrency in [1, 3, 10, 30, 100, 300] {
        let pool = build(&settings(Balance::P2c), &members(&[1, 99]));
        let shares = Bench::new(&pool, at(1)).load(40_000, concurrency, &[]).shares();
        assert!((0.006..0.014).contains(&shares[0]), "x{concurrency}: {shares:?}");
    }
}

#[test]
fn equal_servers_are_never_apart_by_more_than_a_request() {
    for balance in [Balance::P2c, Balance::LeastRequest] {
        let pool = build(&settings(balance), &members(&[1; 5]));
        let mut bench = Bench::new(&pool, at(1));
        for _ in 0..500 {
            bench.load(1, 12, &[]);
            let held: Vec<u32> = pool.servers().iter().map(crate::Server::in_flight).collect();
            let (least, most) = (held.iter().min().unwrap(), held.iter().max().unwrap());
            assert!(most - least <= 2, "{held:?}");
        }
    }
}
