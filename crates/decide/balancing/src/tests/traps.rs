//! The traps that other balancers fell into, each with a test named after it.

use model::fact::ServerState;

use super::*;
use crate::StateChange;

/// 500 requests/s over equal servers of 20 ms; the first one fails after 1 ms from 10 s on.
/// Returns each server's part of the second that begins `after` seconds later.
fn failing_fast(configuration: &configuration::Pool, after: u64, cause: FailureCause) -> Vec<f64> {
    let pool = build(configuration, &members(&[1, 1, 1]));
    let mut dice = Dice::new(3);
    let mut in_flight: Vec<(Timestamp, Pick)> = Vec::new();
    let mut counts = [0_u32; 3];
    for step in 0..500 * (10 + after + 1) {
        let now = Timestamp::from_nanos(step * 2_000_000);
        let fails = now >= at(10);
        let (done, left): (Vec<_>, Vec<_>) =
            in_flight.into_iter().partition(|(done_at, _)| *done_at <= now);
        in_flight = left;
        for (_, pick) in done {
            let outcome = if fails && pick.index() == 0 {
                Outcome::Failure { latency: Duration::from_millis(1), cause }
            } else {
                Outcome::Success { latency: SERVICE }
            };
            drop(pick.finish(outcome, now));
        }
        let request = PickRequest { hash: Some(dice.roll()), tried: &[] };
        let pick = pool.pick(&request, now, &mut dice).unwrap();
        counts[pick.index()] += u32::from(now >= at(10 + after));
        let takes = if fails && pick.index() == 0 { Duration::from_millis(1) } else { SERVICE };
        in_flight.push((now + takes, pick));
    }
    counts.iter().map(|&count| f64::from(count) / 500.0).collect()
}

#[test]
fn fast_failures_do_not_attract_traffic() {
    for balance in algorithms() {
        for after in 1..=6 {
            let shares = failing_fast(&settings(balance.clone()), after, FailureCause::Status(500));
            assert!(shares[0] < 0.01, "{balance:?} after {after} s: {shares:?}");
        }
    }
}

#[test]
fn fast_failures_do_not_attract_traffic_without_ejection() {
    let mut configuration = settings(Balance::P2c);
    configuration.ejection.failures = 0;
    let shares = failing_fast(&configuration, 1, FailureCause::Status(503));
    assert!(shares[0] < 0.01, "{shares:?}");
}

#[test]
fn status_429_slows_down_but_never_ejects() {
    let pool = build(&settings(Balance::P2c), &members(&[1, 1]));
    let mut dice = Dice::new(1);
    for _ in 0..100 {
        let pick = pool.pick(&PickRequest::default(), at(1), &mut dice).unwrap();
        let cause = FailureCause::Status(429);
        assert_eq!(pick.finish(Outcome::Failure { latency: SERVICE, cause }, at(1)), None);
    }
    let shares = failing_fast(&settings(Balance::P2c), 1, FailureCause::Status(429));
    assert!(shares[0] < 0.01, "{shares:?}");
}

#[test]
fn sporadic_failures_do_not_concentrate_traffic() {
    let pool = build(&settings(Balance::P2c), &members(&[1, 1, 1]));
    let mut dice = Dice::new(5);
    let mut counts = [0_u32; 3];
    for step in 0..10_000_u64 {
        let now = Timestamp::from_nanos(step * 5_000_000);
        let pick = pool.pick(&PickRequest::default(), now, &mut dice).unwrap();
        counts[pick.index()] += 1;
        let cause = FailureCause::Status(500);
        let outcome = if dice.chance(0.001) {
            Outcome::Failure { latency: Duration::from_millis(2), cause }
        } else {
            Outcome::Success { latency: SERVICE }
        };
        assert_eq!(pick.finish(outcome, now), None);
    }
    assert!(counts.iter().all(|count| (3_000..3_700).contains(count)), "{counts:?}");
}

#[test]
fn two_samples_are_never_the_same_host() {
    // A busy and an idle server among ten: with both samples on one host the busy one would win.
    let pool = build(&settings(Balance::P2c), &members(&[1; 10]));
    let mut dice = Dice::new(2);
    let tried: Vec<usize> = (2..10).collect();
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(pool.pick(&PickRequest { hash: None, tried: &tried }, at(1), &mut dice).unwrap());
        let (a, b) = (pool.servers()[0].in_flight(), pool.servers()[1].in_flight());
        assert!(a.abs_diff(b) <= 1, "{a} {b}");
    }
}

#[test]
fn slow_start_is_never_zero_and_never_a_flood() {
    for balance in algorithms() {
        let configuration = settings(balance.clone());
        let old = build(&configuration, &members(&[1, 1, 1]));
        let pool = Pool::build(&configuration, &members(&[1, 1, 1, 1]), Some(&old), at(100));
        assert_eq!(pool.facts(at(101)).servers[3].state, ServerState::SlowStart);
        // Two seconds of 500/s at the beginning: a tenth of its share.
        let shares = Bench::new(&pool, at(100)).load(1_000, 10, &[]).shares();
        assert!((0.01..0.08).contains(&shares[3]), "{balance:?}: {shares:?}");
        let shares = Bench::new(&pool, at(130)).load(2_000, 10, &[]).shares();
        assert!((0.19..0.31).contains(&shares[3]), "{balance:?}: {shares:?}");
        assert_eq!(pool.facts(at(131)).servers[3].state, ServerState::Up);
    }
}

#[test]
fn when_all_are_new_none_is_slow() {
    let mut configuration = settings(Balance::P2c);
    for check in [None, checks()] {
        configuration.check = check;
        let empty = build(&configuration, &[]);
        let pool = Pool::build(&configuration, &members(&[1, 1]), Some(&empty), at(1));
        for index in 0..2 {
            drop(pool.report_check(index, true, at(2)));
            assert_eq!(pool.facts(at(2)).servers[index].state, ServerState::Up);
        }
    }
}

#[test]
fn panic_does_not_crush_the_survivors() {
    for balance in algorithms() {
        let mut configuration = settings(balance.clone());
        configuration.check = checks();
        let pool = build(&configuration, &members(&[1; 6]));
        (0..6).for_each(|index| drop(pool.report_check(index, true, at(0))));
        // 15 in flight each for 10 s, of which the measure of the calm takes 63 %.
        Bench::new(&pool, at(1)).load(45_000, 90, &[]);
        (0..3).for_each(|_| (1..6).for_each(|i| drop(pool.report_check(i, false, at(12)))));
        assert!(pool.facts(at(12)).panic);
        // One of six is left. Of 480 in flight it holds five times what it held, and the
        // others share the rest: nothing piles onto one server.
        let mut bench = Bench::new(&pool, at(13));
        let _ = bench.load(6_000, 480, &[]);
        let held: Vec<u32> = pool.servers().iter().map(crate::Server::in_flight).collect();
        assert!((42..=52).contains(&held[0]), "{balance:?}: {held:?}");
        assert!(held[1..].iter().all(|held| (50..115).contains(held)), "{balance:?}: {held:?}");
    }
}

#[test]
fn panic_never_raises_a_limit() {
    let mut configuration = settings(Balance::P2c);
    configuration.check = checks();
    configuration.in_flight_max = 2;
    let pool = build(&configuration, &members(&[1; 4]));
    (0..4).for_each(|index| drop(pool.report_check(index, index == 0, at(1))));
    let mut dice = Dice::new(4);
    let mut pick = || pool.pick(&PickRequest::default(), at(2), &mut dice);
    let held: Vec<_> = (0..8).map(|_| pick().unwrap()).collect();
    assert_eq!(pick().unwrap_err(), NoServer::Full);
    assert!(pool.servers().iter().all(|server| server.in_flight() == 2));
    drop(held);
}

#[test]
fn maglev_tables_are_the_same_in_every_instance() {
    let configuration = settings(maglev());
    let forward = members(&[1, 2, 3, 4, 5]);
    let backward: Vec<Member> = forward.iter().rev().cloned().collect();
    let (a, b) = (build(&configuration, &forward), build(&configuration, &backward));
    let (mut one, mut other) = (Dice::new(1), Dice::new(2));
    for hash in 0..5_000 {
        let request = PickRequest { hash: Some(hash), tried: &[] };
        let address = a.pick(&request, at(1), &mut one).unwrap().address();
        assert_eq!(b.pick(&request, at(1), &mut other).unwrap().address(), address);
    }
}

#[test]
fn maglev_moves_few_keys_when_a_server_leaves() {
    let configuration = settings(maglev());
    let all = members(&[1; 10]);
    let (before, after) = (build(&configuration, &all), build(&configuration, &all[..9]));
    let mut dice = Dice::new(1);
    let mut moved = 0;
    for hash in 0..5_000 {
        let request = PickRequest { hash: Some(hash), tried: &[] };
        let was = before.pick(&request, at(1), &mut dice).unwrap().address();
        let is = after.pick(&request, at(1), &mut dice).unwrap().address();
        moved += u32::from(was != is && was != all[9].address);
    }
    // A tenth had to move; of the others Maglev moves a few per cent.
    assert!(moved < 250, "{moved}");
}

#[test]
fn maglev_bounds_the_load_of_a_hot_key() {
    let pool = build(&settings(maglev()), &members(&[1; 4]));
    let mut dice = Dice::new(1);
    let mut held = Vec::new();
    for sent in 1..=100_u32 {
        held.push(pool.pick(&PickRequest { hash: Some(7), tried: &[] }, at(1), &mut dice).unwrap());
        let most = pool.servers().iter().map(crate::Server::in_flight).max().unwrap();
        assert!(f64::from(most) <= (1.25 * f64::from(sent) / 4.0).ceil(), "{most} of {sent}");
    }
}

#[test]
fn new_server_is_down_before_its_first_check() {
    for balance in algorithms() {
        let mut configuration = settings(balance);
        configuration.check = checks();
        let old = build(&configuration, &members(&[1, 1]));
        let mut dice = Dice::new(1);
        let none = old.pick(&PickRequest::default(), at(1), &mut dice).unwrap_err();
        assert_eq!(none, NoServer::Unchecked);
        (0..2).for_each(|index| drop(old.report_check(index, true, at(1))));
        // Twice as many join: still no traffic for them, and no panic because of them.
        let pool = Pool::build(&configuration, &members(&[1; 6]), Some(&old), at(2));
        let counts = Bench::new(&pool, at(2)).load(500, 4, &[]).counts.clone();
        assert_eq!(counts[2..], [0; 4]);
        assert!(!pool.facts(at(3)).panic);
        let change = pool.report_check(2, true, at(60)).unwrap();
        assert_eq!((change.from, change.to), (ServerState::Unknown, ServerState::SlowStart));
    }
}

#[test]
fn one_failed_check_takes_nobody_down() {
    let mut configuration = settings(Balance::P2c);
    configuration.check = checks();
    let pool = build(&configuration, &members(&[1, 1]));
    assert!(pool.report_check(0, true, at(1)).is_some());
    let changes: Vec<Option<StateChange>> =
        (2..5).map(|second| pool.report_check(0, false, at(second))).collect();
    assert_eq!(changes[..2], [None, None]);
    assert_eq!(changes[2].as_ref().unwrap().to, ServerState::Down);
    assert_eq!(changes[2].as_ref().unwrap().why, "3 checks in a row failed");
    assert_eq!(pool.report_check(9, true, at(6)), None);
}

#[test]
fn round_robin_does_not_restart_at_server_one() {
    let configuration = settings(Balance::RoundRobin);
    let mut pool = build(&configuration, &members(&[1, 1, 1]));
    let mut dice = Dice::new(1);
    let mut counts = [0_u32; 3];
    for reload in 0..300 {
        counts[pool.pick(&PickRequest::default(), at(1), &mut dice).unwrap().index()] += 1;
        pool = Pool::build(&configuration, &members(&[1, 1, 1]), Some(&pool), at(reload));
    }
    assert_eq!(counts, [100, 100, 100]);
}

#[test]
fn a_lost_servers_share_does_not_fall_on_its_neighbour() {
    let pool = build(&settings(Balance::RoundRobin), &members(&[1; 6]));
    eject(&pool, 2, at(1));
    let mut dice = Dice::new(1);
    let mut counts = [0_u32; 6];
    for _ in 0..600 {
        counts[pool.pick(&PickRequest::default(), at(1), &mut dice).unwrap().index()] += 1;
    }
    assert_eq!(counts, [120, 120, 0, 120, 120, 120]);
}

#[test]
fn a_paused_server_holds_no_pile() {
    // Its requests never end; without a limit it holds hardly more than the others.
    let pool = build(&settings(Balance::P2c), &members(&[1, 1, 1]));
    let mut dice = Dice::new(1);
    let mut stuck = Vec::new();
    let mut busy = VecDeque::new();
    for _ in 0..2_000 {
        let pick = pool.pick(&PickRequest::default(), at(1), &mut dice).unwrap();
        if pick.index() == 0 {
            stuck.push(pick);
        } else {
            busy.push_back(pick);
        }
        if busy.len() > 4 {
            busy.pop_front();
        }
    }
    assert!(stuck.len() <= 3, "{}", stuck.len());
}

#[test]
fn ejection_never_empties_the_pool() {
    for (servers, share_max, most) in
        [(1, 0.5, 0), (2, 0.5, 1), (3, 0.5, 1), (10, 0.3, 3), (4, 1.0, 4), (5, 0.0, 0)]
    {
        let mut configuration = settings(Balance::P2c);
        configuration.ejection.share_max = share_max;
        let pool = build(&configuration, &members(&vec![1; servers]));
        (0..servers).for_each(|index| eject(&pool, index, at(1)));
        let facts = pool.facts(at(1));
        let aside =
            facts.servers.iter().filter(|server| server.state == ServerState::Ejected).count();
        assert_eq!(aside, most, "{servers} servers, {share_max}");
    }
}

#[test]
fn a_returned_server_starts_slowly_and_is_measured_anew() {
    let pool = build(&settings(Balance::P2c), &members(&[1, 1, 1]));
    eject(&pool, 1, at(10));
    let facts = pool.facts(at(10));
    assert_eq!(facts.servers[1].state, ServerState::Ejected);
    let why = "set aside after 5 failures in a row, the last: connection closed early";
    assert_eq!(facts.servers[1].why.as_deref(), Some(why));
    assert_eq!(
        facts.servers.iter().map(|server| server.share_intended).collect::<Vec<_>>(),
        [0.5, 0.0, 0.5]
    );
    let mut dice = Dice::new(1);
    let retry = PickRequest { hash: None, tried: &[0] };
    assert_eq!(pool.pick(&retry, at(12), &mut dice).unwrap().index(), 2, "a retry is no probe");
    let probe = pool.pick(&PickRequest::default(), at(12), &mut dice).unwrap();
    assert!(probe.is_probe() && probe.index() == 1);
    let change = probe.finish(Outcome::Success { latency: SERVICE }, at(12)).unwrap();
    assert_eq!((change.from, change.to), (ServerState::Ejected, ServerState::SlowStart));
    assert_eq!(pool.facts(at(12)).servers[1].ewma_us, 20_000);
    let shares = Bench::new(&pool, at(12)).load(1_000, 10, &[]).shares();
    assert!((0.01..0.12).contains(&shares[1]), "{shares:?}");
}

#[test]
fn reload_keeps_what_was_learned() {
    let configuration = settings(Balance::P2c);
    let old = build(&configuration, &members(&[1, 1, 1]));
    eject(&old, 0, at(10));
    let mut dice = Dice::new(1);
    let pick = old.pick(&PickRequest::default(), at(10), &mut dice).unwrap();
    let new = Pool::build(&configuration, &members(&[3, 2, 1]), Some(&old), at(10));
    assert_eq!(new.facts(at(10)).servers[0].state, ServerState::Ejected);
    assert_eq!(new.servers()[pick.index()].in_flight(), 1);
    assert_eq!(pick.finish(Outcome::Success { latency: SERVICE }, at(10)), None);
    assert!(new.servers().iter().all(|server| server.in_flight() == 0));
    // Checks switched on by a reload: who served keeps serving.
    let checked = configuration::Pool { check: checks(), ..configuration };
    let checked = Pool::build(&checked, &members(&[1, 1, 1]), Some(&new), at(10));
    assert_eq!(checked.facts(at(10)).servers[1].state, ServerState::Up);
}

#[test]
fn an_outcome_in_an_old_generation_reaches_the_new_one() {
    let configuration = settings(Balance::Random);
    let old = build(&configuration, &members(&[1, 1, 1]));
    let new = Pool::build(&configuration, &members(&[1, 1, 1]), Some(&old), at(1));
    eject(&old, 2, at(1));
    let counts = Bench::new(&new, at(1)).load(100, 10, &[]).counts.clone();
    assert_eq!(counts[2], 0);
}

#[test]
fn zones_keep_traffic_until_their_fair_part_is_full() {
    for balance in [Balance::P2c, Balance::LeastRequest, Balance::RoundRobin, Balance::Random] {
        let mut configuration = settings(balance.clone());
        configuration.zone = Some("a".into());
        configuration.ejection.share_max = 1.0;
        let pool = build(&configuration, &zoned(&["a", "a", "a", "b", "b", "b"]));
        let own = || Bench::new(&pool, at(1)).load(1_000, 4, &[]).shares()[..3].iter().sum::<f64>();
        assert!((own() - 1.0).abs() < 1e-9, "{balance:?}");
        eject(&pool, 0, at(1) + Duration::from_secs(9));
        let mut dice = Dice::new(1);
        let mut kept = 0;
        for _ in 0..1_000 {
            kept += u32::from(
                pool.pick(&PickRequest::default(), at(10), &mut dice).unwrap().index() < 3,
            );
        }
        assert!((740..860).contains(&kept), "{balance:?}: {kept}");
    }
}

#[test]
fn no_key_falls_back_to_load() {
    let pool = build(&settings(maglev()), &members(&[1, 1]));
    let mut dice = Dice::new(1);
    let held: Vec<_> =
        (0..10).map(|_| pool.pick(&PickRequest::default(), at(1), &mut dice).unwrap()).collect();
    assert!(pool.servers().iter().all(|server| server.in_flight() == 5));
    drop(held);
}

#[test]
fn duplicate_addresses_share_one_count() {
    let mut twice = members(&[1, 1]);
    twice[1].address = twice[0].address;
    let pool = build(&settings(Balance::P2c), &twice);
    let pick = pool.pick(&PickRequest::default(), at(1), &mut Dice::new(1)).unwrap();
    assert!(pool.servers().iter().all(|server| server.in_flight() == 1));
    drop(pick);
    assert!(pool.servers().iter().all(|server| server.in_flight() == 0));
}
