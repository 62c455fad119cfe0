//! Several workers at once: nothing in flight leaks, limits and budgets hold.

use std::sync::atomic::{Ordering::Acquire, Ordering::Release};

use super::*;

#[test]
fn in_flight_never_leaks_and_limits_hold_between_threads() {
    for balance in algorithms() {
        let mut configuration = settings(balance);
        configuration.in_flight_max = 3;
        configuration.ejection.pause = Duration::from_millis(1);
        let pool = build(&configuration, &members(&[1, 2, 3]));
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let pool = &pool;
                scope.spawn(move || work(pool, worker));
            }
        });
        let held: Vec<u32> = pool.servers().iter().map(crate::Server::in_flight).collect();
        assert_eq!(held, [0, 0, 0]);
        assert_eq!(pool.inner.shared.hashed_in_flight(), 0);
    }
}

fn work(pool: &Pool, worker: u64) {
    let mut dice = Dice::new(worker);
    let mut held = Vec::new();
    for step in 0..5_000 {
        let now = Timestamp::from_nanos(1_000_000_000 + step * 100_000);
        let request = PickRequest { hash: Some(dice.roll()), tried: &[] };
        if let Ok(pick) = pool.pick(&request, now, &mut dice) {
            assert!(pool.servers()[pick.index()].in_flight() <= 3);
            held.push(pick);
        }
        if held.len() > 2 || dice.chance(0.3) {
            let latency = Duration::from_millis(1);
            let cause = FailureCause::Reset;
            let outcome = match dice.below(4) {
                0 => Outcome::Neutral,
                1 | 2 => Outcome::Failure { latency, cause },
                _ => Outcome::Success { latency },
            };
            match held.pop() {
                Some(pick) if dice.chance(0.9) => drop(pick.finish(outcome, now)),
                other => drop(other),
            }
        }
        assert!(aside(pool) <= 1, "at most half of three may be set aside");
    }
}

/// Counts while no worker can set another server aside; otherwise one that returns and one
/// that leaves meanwhile would both be counted.
fn aside(pool: &Pool) -> usize {
    while pool.inner.shared.ejecting.swap(true, Acquire) {
        std::hint::spin_loop();
    }
    let servers = pool.inner.servers.iter();
    let aside = servers.filter(|server| server.learned.ejection.is_aside()).count();
    pool.inner.shared.ejecting.store(false, Release);
    aside
}

#[test]
fn one_probe_between_threads() {
    let pool = build(&settings(Balance::P2c), &members(&[1, 1, 1]));
    eject(&pool, 0, at(10));
    let probes: usize = std::thread::scope(|scope| {
        let worker = |seed| {
            let pool = &pool;
            move || {
                let mut dice = Dice::new(seed);
                let mut pick =
                    || pool.pick(&PickRequest::default(), at(12), &mut dice).unwrap().is_probe();
                (0..200).filter(|_| pick()).count()
            }
        };
        let workers: Vec<_> = (0..4).map(|seed| scope.spawn(worker(seed))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(probes, 1);
}

#[test]
fn round_robin_stays_exact_between_threads() {
    let pool = build(&settings(Balance::RoundRobin), &members(&[1, 2, 3]));
    let mut counts = [0_u32; 3];
    std::thread::scope(|scope| {
        let worker = |seed| {
            let pool = &pool;
            move || {
                let mut dice = Dice::new(seed);
                let mut counts = [0_u32; 3];
                for _ in 0..3_000 {
                    counts
                        [pool.pick(&PickRequest::default(), at(1), &mut dice).unwrap().index()] +=
                        1;
                }
                counts
            }
        };
        let workers: Vec<_> = (0..4).map(|seed| scope.spawn(worker(seed))).collect();
        for worker in workers {
            let part = worker.join().unwrap();
            counts.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    });
    assert_eq!(counts, [2_000, 4_000, 6_000]);
}
