//! No state of a pool makes one server take more than its bound.
//!
//! The bound, per server: nothing while it drains, has weight 0 or waits for its first check;
//! never more than `in_flight_max` in flight; and of the traffic at most 1.3 times its part by
//! weight and warmth of the servers it is chosen among (plus 2.5 % for chance). In panic the
//! healthy are chosen first; the bound on what they hold then is tested in `traps`, for the
//! load here stays below it. Maglev's bound on requests in flight comes on top (see `traps`),
//! so its shares are taken one at a time.

use model::fact::ServerState;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Situation {
    Up,
    Down,
    Unknown,
    Ejected,
    Draining,
    Weightless,
    /// Came back so many seconds before the load, of 30 to warm up.
    Warming(u64),
}

fn situation() -> impl Strategy<Value = Situation> {
    prop_oneof![
        4 => Just(Situation::Up),
        1 => Just(Situation::Down),
        1 => Just(Situation::Unknown),
        1 => Just(Situation::Ejected),
        1 => Just(Situation::Draining),
        1 => Just(Situation::Weightless),
        1 => (0_u64..30).prop_map(Situation::Warming),
    ]
}

fn server() -> impl Strategy<Value = (u32, Situation, bool)> {
    (1_u32..10, situation(), prop::bool::weighted(0.15))
}

/// A pool in which each server is in its situation at 100 s.
fn arrange(configuration: &configuration::Pool, servers: &[(u32, Situation, bool)]) -> Pool {
    let mut members = members(&servers.iter().map(|server| server.0).collect::<Vec<_>>());
    for (member, (_, situation, _)) in members.iter_mut().zip(servers) {
        member.drain = *situation == Situation::Draining;
        if *situation == Situation::Weightless {
            member.weight = 0;
        }
    }
    let pool = build(configuration, &members);
    let report = |index, passed, seconds| drop(pool.report_check(index, passed, at(seconds)));
    for (index, (_, situation, _)) in servers.iter().enumerate() {
        match situation {
            Situation::Unknown => {}
            Situation::Down => report(index, false, 1),
            Situation::Warming(age) => {
                report(index, false, 1);
                (0..2).for_each(|_| report(index, true, 100 - age));
            }
            Situation::Up | Situation::Ejected | Situation::Draining | Situation::Weightless => {
                report(index, true, 1)
            }
        }
    }
    for (index, (_, situation, _)) in servers.iter().enumerate() {
        if *situation == Situation::Ejected {
            eject(&pool, index, at(100));
        }
    }
    pool
}

/// The part of the traffic each server may be expected to take.
fn expected(pool: &Pool, tried: &[usize]) -> Vec<f64> {
    let state = |index: usize| pool.facts(at(100)).servers[index].state;
    let all: Vec<usize> = (0..pool.len()).collect();
    let of = |wanted: &dyn Fn(ServerState) -> bool| -> Vec<usize> {
        all.iter().copied().filter(|&index| wanted(state(index))).collect()
    };
    let healthy = of(&|state| matches!(state, ServerState::Up | ServerState::SlowStart));
    let unhealthy = of(&|state| matches!(state, ServerState::Down | ServerState::Ejected));
    let untried =
        |group: &[usize]| group.iter().copied().filter(|i| !tried.contains(i)).collect::<Vec<_>>();
    // The same order of concessions as the pool's.
    let others = if pool.facts(at(100)).panic { unhealthy } else { Vec::new() };
    let steady = |i: &usize| pool.inner.servers[*i].learned.ejection.is_steady();
    let mut best = untried(&healthy);
    best.retain(|i| tried.is_empty() || steady(i));
    let options = [best, untried(&healthy), healthy, untried(&others), others];
    let mut shares = vec![0.0; pool.len()];
    let Some(group) = options.iter().find(|group| !group.is_empty()) else { return shares };
    let careful = pool.inner.configuration.balance != maglev();
    let warmed = |i: usize| {
        let learned = &pool.inner.servers[i].learned;
        // A server that failed, but could not be set aside, is avoided while there are others.
        let part = if careful && learned.ewma.is_penalised(at(100)) { 0.002 } else { 1.0 };
        part * f64::from(
            learned.warm(at(100), Duration::from_secs(30)) * pool.servers()[i].member.weight as f32,
        )
    };
    let total: f64 = group.iter().map(|&i| warmed(i)).sum();
    group.iter().for_each(|&i| shares[i] = warmed(i) / total);
    shares
}

/// Sends 3,000 requests and compares each server's share with its bound.
fn check(
    balance: &Balance,
    servers: &[(u32, Situation, bool)],
    concurrency: usize,
) -> Result<(), TestCaseError> {
    let mut configuration = settings(balance.clone());
    configuration.check = checks();
    configuration.ejection.pause = Duration::from_secs(60);
    configuration.ejection.pause_max = Duration::from_secs(60);
    let concurrency = if configuration.balance == maglev() { 1 } else { concurrency };
    let pool = arrange(&configuration, servers);
    let tried: Vec<usize> = (0..servers.len()).filter(|&index| servers[index].2).collect();
    let expected = expected(&pool, &tried);
    let mut dice = Dice::new(9);
    if expected.iter().sum::<f64>() == 0.0 {
        let reason = pool.pick(&PickRequest::default(), at(100), &mut dice).unwrap_err();
        prop_assert!(matches!(reason, NoServer::Draining | NoServer::Unchecked));
        return Ok(());
    }
    let mut counts = vec![0_u32; pool.len()];
    let mut in_flight = VecDeque::new();
    for _ in 0..3_000 {
        if in_flight.len() >= concurrency {
            in_flight.pop_front();
        }
        let request = PickRequest { hash: Some(dice.roll()), tried: &tried };
        let pick = pool.pick(&request, at(100), &mut dice).unwrap();
        counts[pick.index()] += 1;
        in_flight.push_back(pick);
    }
    for (index, &count) in counts.iter().enumerate() {
        let share = f64::from(count) / 3_000.0;
        prop_assert!(
            share <= expected[index] * 1.3 + 0.025 && (expected[index] > 0.0 || count == 0),
            "{balance:?}: {counts:?}, expected {expected:?}"
        );
    }
    Ok(())
}

// What the property below once found, each by the mistake behind it.

#[test]
fn a_penalty_does_not_make_the_unmeasured_look_as_bad() {
    let servers = [Situation::Ejected, Situation::Up, Situation::Ejected];
    check(&Balance::P2c, &servers.map(|situation| (1, situation, false)), 1).unwrap();
}

#[test]
fn a_light_server_that_is_hard_to_hit_gets_no_second_draw() {
    let mut servers = vec![(9, Situation::Down, false); 8];
    servers.extend([(3, Situation::Up, false), (4, Situation::Warming(0), false)]);
    check(&Balance::P2c, &servers, 1).unwrap();
}

#[test]
fn of_those_tried_already_the_one_that_works_is_tried_again() {
    let servers =
        [(1, Situation::Ejected, false), (1, Situation::Ejected, true), (1, Situation::Up, true)];
    check(&Balance::LeastRequest, &servers, 1).unwrap();
}

proptest! {
    // The tolerance is more than fifteen standard deviations of 3,000 draws: what fails here is a
    // mistake and no chance. The seed is fixed, so that a rare mistake stops whoever looks for it
    // and nobody else: 180,000 random cases found none.
    #![proptest_config(ProptestConfig {
        cases: 96,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_state_makes_one_server_take_more_than_its_bound(
        servers in prop::collection::vec(server(), 1..14),
        algorithm in 0_usize..5,
        concurrency in 1_usize..6,
    ) {
        check(&algorithms()[algorithm], &servers, concurrency)?;
    }

    #[test]
    fn never_overfill(
        weights in prop::collection::vec(1_u32..10, 1..12),
        algorithm in 0_usize..5,
        most in 1_u32..5,
    ) {
        let mut configuration = settings(algorithms()[algorithm].clone());
        configuration.in_flight_max = most;
        let pool = build(&configuration, &members(&weights));
        let mut dice = Dice::new(1);
        let mut picks = Vec::new();
        let room = most as usize * weights.len();
        for _ in 0..room {
            let request = PickRequest { hash: Some(dice.roll()), tried: &[] };
            picks.push(pool.pick(&request, at(1), &mut dice).expect("there is room"));
            prop_assert!(pool.servers().iter().all(|server| server.in_flight() <= most));
        }
        let full = pool.pick(&PickRequest { hash: Some(7), tried: &[] }, at(1), &mut dice);
        prop_assert_eq!(full.unwrap_err(), NoServer::Full);
        drop(picks);
        prop_assert!(pool.servers().iter().all(|server| server.in_flight() == 0));
    }
}
