//! Servers that fail and come back, and pools of which little is left: what clients see.
//!
//! `Play` sends requests at a fixed rate, whatever becomes of them, and tries failed
//! connections once more within the retry budget, as the door does.

use model::fact::ServerState;

use super::*;

/// What a server does with a request: how long it takes, and in which way it fails.
type Answer = (Duration, Option<FailureCause>);

const FAST: Duration = Duration::from_millis(1);
const WELL: Answer = (SERVICE, None);
const REFUSED: Answer = (FAST, Some(FailureCause::Connect));
const ERROR: Answer = (FAST, Some(FailureCause::Status(500)));

#[derive(Debug)]
struct Play<'a> {
    pool: &'a Pool,
    per_second: u32,
    now: Timestamp,
    dice: Dice,
    in_flight: Vec<(Timestamp, Pick, Option<FailureCause>, Vec<usize>)>,
    seen: Seen,
}

/// What was seen since the last look.
#[derive(Clone, Debug, Default)]
struct Seen {
    requests: u32,
    /// Requests whose client got an error.
    failed: u32,
    /// Attempts by server.
    attempts: Vec<u32>,
    /// The most that each server held.
    held: Vec<u32>,
}

impl Seen {
    fn share(&self, index: usize) -> f64 {
        f64::from(self.attempts[index]) / f64::from(self.attempts.iter().sum::<u32>())
    }
}

impl<'a> Play<'a> {
    fn new(pool: &'a Pool, per_second: u32, now: Timestamp) -> Self {
        let seen =
            Seen { attempts: vec![0; pool.len()], held: vec![0; pool.len()], ..Seen::default() };
        Self { pool, per_second, now, dice: Dice::new(8), in_flight: Vec::new(), seen }
    }

    /// Plays so many ms; `answer` knows the server and what it holds.
    fn go(&mut self, ms: u32, answer: impl Fn(usize, u32) -> Answer) -> Seen {
        for _ in 0..ms * self.per_second / 1_000 {
            self.now = self.now + Duration::from_secs(1) / self.per_second;
            self.settle(&answer);
            self.pool.retries().deposit();
            self.seen.requests += 1;
            self.send(Vec::new(), &answer);
        }
        let empty = vec![0; self.pool.len()];
        let next = Seen { attempts: empty.clone(), held: empty, ..Seen::default() };
        std::mem::replace(&mut self.seen, next)
    }

    fn send(&mut self, mut tried: Vec<usize>, answer: &impl Fn(usize, u32) -> Answer) {
        let request = PickRequest { hash: Some(self.dice.roll()), tried: &tried };
        let Ok(pick) = self.pool.pick(&request, self.now, &mut self.dice) else {
            self.seen.failed += 1;
            return;
        };
        let index = pick.index();
        let held = self.pool.servers()[index].in_flight();
        self.seen.attempts[index] += 1;
        self.seen.held[index] = self.seen.held[index].max(held);
        let (takes, cause) = answer(index, held);
        tried.push(index);
        self.in_flight.push((self.now + takes, pick, cause, tried));
    }

    fn settle(&mut self, answer: &impl Fn(usize, u32) -> Answer) {
        let now = self.now;
        let (done, left) =
            std::mem::take(&mut self.in_flight).into_iter().partition(|one| one.0 <= now);
        self.in_flight = left;
        let done: Vec<_> = done;
        for (_, pick, cause, tried) in done {
            let Some(cause) = cause else {
                drop(pick.finish(Outcome::Success { latency: SERVICE }, now));
                continue;
            };
            drop(pick.finish(Outcome::Failure { latency: FAST, cause }, now));
            let again = cause == FailureCause::Connect && tried.len() < 2;
            if again && self.pool.retries().withdraw(now) {
                self.send(tried, answer);
            } else {
                self.seen.failed += 1;
            }
        }
    }
}

fn checked(balance: Balance) -> configuration::Pool {
    configuration::Pool { check: checks(), ..settings(balance) }
}

fn report(pool: &Pool, index: usize, passed: bool, now: Timestamp) {
    (0..3).for_each(|_| drop(pool.report_check(index, passed, now)));
}

fn up(configuration: &configuration::Pool, servers: usize) -> Pool {
    let pool = build(configuration, &members(&vec![1; servers]));
    (0..servers).for_each(|index| report(&pool, index, true, at(0)));
    pool
}

fn dead(from: usize) -> impl Fn(usize, u32) -> Answer {
    move |index, _| if index >= from { REFUSED } else { WELL }
}

fn well(_: usize, _: u32) -> Answer {
    WELL
}

#[test]
fn a_fast_failing_server_is_ejected_at_any_rate() {
    for balance in algorithms() {
        for per_second in [10, 100, 500] {
            let pool = up(&checked(balance.clone()), 3);
            let mut play = Play::new(&pool, per_second, at(1));
            let _ = play.go(3_000, well);
            let fails = |index: usize, _| if index == 0 { ERROR } else { WELL };
            // The fifth failure comes after 15 requests, or a few more by chance.
            let seen = play.go((1_000.max(4 * 15_000 / per_second)).min(6_000), fails);
            let state = || pool.facts(play.now).servers[0].state;
            assert_eq!(state(), ServerState::Ejected, "{balance:?} {per_second}/s: {seen:?}");
            let seen = play.go(30_000, fails);
            assert!(seen.failed <= 6, "{balance:?} {per_second}/s: {seen:?}");
            assert_eq!(pool.facts(play.now).servers[0].state, ServerState::Ejected);
        }
    }
}

#[test]
fn a_server_that_cannot_be_spared_is_avoided_and_comes_back_within_seconds() {
    let spared = configuration::Ejection { share_max: 0.0, ..settings(Balance::P2c).ejection };
    let off = configuration::Ejection { failures: 0, ..spared };
    for (ejection, cause) in [
        (spared, FailureCause::Status(500)),
        (off, FailureCause::Status(500)),
        (settings(Balance::P2c).ejection, FailureCause::Status(429)),
    ] {
        for per_second in [100, 500] {
            let pool = up(&configuration::Pool { ejection, ..checked(Balance::P2c) }, 3);
            let mut play = Play::new(&pool, per_second, at(1));
            let _ = play.go(3_000, well);
            let fails = |index: usize, _| if index == 0 { (FAST, Some(cause)) } else { WELL };
            let _ = play.go(1_000, fails);
            let seen = play.go(30_000, fails);
            assert!(seen.share(0) < 0.01, "{cause:?} {per_second}/s: {seen:?}");
            let _ = play.go(8_000, well);
            let seen = play.go(2_000, well);
            assert!((0.25..0.42).contains(&seen.share(0)), "{cause:?} {per_second}/s: {seen:?}");
        }
    }
}

#[test]
fn two_failures_in_a_row_cost_no_traffic() {
    let pool = up(&checked(Balance::P2c), 3);
    let mut play = Play::new(&pool, 100, at(1));
    let _ = play.go(3_000, well);
    eject_short(&pool, 0, 4, play.now);
    let seen = play.go(3_000, well);
    assert!((0.28..0.39).contains(&seen.share(0)), "{seen:?}");
}

/// Fails a server so often, without reaching ejection.
fn eject_short(pool: &Pool, index: usize, failures: u32, now: Timestamp) {
    for _ in 0..failures {
        let ticket = pool.inner.servers[index].learned.ejection.ticket();
        let failure = Failure { latency: FAST, cause: FailureCause::Status(500) };
        assert_eq!(pool.inner.failed(index, ticket, failure, now), None);
    }
}

#[test]
fn a_server_that_fails_in_part_attracts_no_traffic() {
    for per_second in [100, 500] {
        let pool = up(&checked(Balance::P2c), 3);
        let mut play = Play::new(&pool, per_second, at(1));
        let _ = play.go(3_000, well);
        let luck = std::cell::RefCell::new(Dice::new(3));
        let seen =
            play.go(
                60_000,
                |index, _| {
                    if index == 0 && luck.borrow_mut().chance(0.4) { ERROR } else { WELL }
                },
            );
        assert!(seen.share(0) < 0.2, "{per_second}/s: {seen:?}");
    }
}

#[test]
fn a_killed_server_comes_back_through_slow_start() {
    for balance in algorithms() {
        for per_second in [100, 500] {
            let pool = up(&checked(balance.clone()), 3);
            let mut play = Play::new(&pool, per_second, at(1));
            let _ = play.go(3_000, well);
            let refuses = |index: usize, _| if index == 0 { REFUSED } else { WELL };
            assert_eq!(play.go(1_000, refuses).failed, 0);
            report(&pool, 0, false, play.now);
            assert_eq!(play.go(8_000, refuses).failed, 0);
            report(&pool, 0, true, play.now);
            // 30 s of slow start: the share intended by warmth, from the first second on.
            for second in 0..40_u32 {
                let intended = pool.facts(play.now).servers[0].share_intended;
                let seen = play.go(1_000, well);
                let (share, most) = (seen.share(0), intended * 1.5 + 0.12);
                assert!(
                    share <= most,
                    "{balance:?} {per_second}/s, {second} s: {share} {intended}"
                );
                assert!(seen.attempts[0] > 0 || second < 2, "{balance:?}, {second} s: {seen:?}");
            }
            let seen = play.go(5_000, well);
            assert!((0.27..0.40).contains(&seen.share(0)), "{balance:?} {per_second}/s: {seen:?}");
        }
    }
}

#[test]
fn a_server_that_is_up_again_is_as_unknown_as_a_new_one() {
    let pool = up(&checked(Balance::P2c), 3);
    let mut play = Play::new(&pool, 100, at(1));
    let _ = play.go(3_000, well);
    pool.inner.servers[1].learned.ewma.penalise(Duration::from_secs(30), play.now);
    report(&pool, 1, false, play.now);
    report(&pool, 1, true, play.now);
    let facts = pool.facts(play.now);
    assert_eq!((facts.servers[1].state, facts.servers[1].ewma_us), (ServerState::SlowStart, 0));
}

#[test]
fn the_share_intended_follows_warmth_health_and_zone() {
    let near = |pool: &Pool, now, expected: &[f64]| {
        let facts = pool.facts(now);
        let shares: Vec<f64> = facts.servers.iter().map(|server| server.share_intended).collect();
        let off = shares.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-6, "{shares:?}, expected {expected:?}");
    };
    let pool = up(&checked(Balance::P2c), 3);
    let third = 1.0 / 3.0;
    near(&pool, at(1), &[third, third, third]);
    report(&pool, 2, false, at(1));
    near(&pool, at(2), &[0.5, 0.5, 0.0]);
    report(&pool, 2, true, at(10));
    near(&pool, at(25), &[0.4, 0.4, 0.2]);
    near(&pool, at(40), &[third, third, third]);
    // Panic means everything for the survivor, and without one for all.
    (1..3).for_each(|index| report(&pool, index, false, at(41)));
    near(&pool, at(41), &[1.0, 0.0, 0.0]);
    report(&pool, 0, false, at(42));
    near(&pool, at(80), &[third, third, third]);

    let mut configuration = settings(Balance::P2c);
    configuration.zone = Some("a".into());
    let pool = build(&configuration, &zoned(&["a", "a", "a", "b", "b", "b"]));
    near(&pool, at(1), &[third, third, third, 0.0, 0.0, 0.0]);
    eject(&pool, 0, at(1));
    let part = 0.2 / 3.0;
    near(&pool, at(1), &[0.0, 0.4, 0.4, part, part, part]);
}

#[test]
fn a_survivor_serves_all_clients() {
    for balance in algorithms() {
        for (servers, per_second) in [(3, 100), (3, 500), (10, 500)] {
            let pool = up(&checked(balance.clone()), servers);
            let mut play = Play::new(&pool, per_second, at(1));
            let _ = play.go(5_000, well);
            (1..servers).for_each(|index| report(&pool, index, false, play.now));
            assert!(pool.facts(play.now).panic);
            let seen = play.go(30_000, dead(1));
            assert_eq!(seen.failed, 0, "{balance:?}, {servers}, {per_second}/s: {seen:?}");
        }
    }
}

#[test]
fn two_servers_that_die_at_once_cost_hardly_a_client_anything() {
    // Only one of three may be set aside; the other is avoided by its penalty. With consistent
    // hashing its keys stay with it.
    for balance in algorithms().into_iter().filter(|balance| *balance != maglev()) {
        for per_second in [100, 500] {
            let pool = up(&checked(balance.clone()), 3);
            let mut play = Play::new(&pool, per_second, at(1));
            let _ = play.go(3_000, well);
            // Until the checks notice, retries go where nothing failed last.
            let seen = play.go(6_000, dead(1));
            assert!(seen.failed <= 2, "{balance:?} {per_second}/s: {seen:?}");
        }
    }
}

#[test]
fn a_survivor_that_cannot_keep_up_is_not_crushed() {
    // Each server has places for 20 at once; 6 carry 3,000/s with 10 each in flight.
    let crowded = |held: u32| (SERVICE * held.max(20) / 20, None);
    let busy = |index: usize, held| if index == 0 { crowded(held) } else { REFUSED };
    for balance in algorithms() {
        let pool = up(&checked(balance.clone()), 6);
        let mut play = Play::new(&pool, 3_000, at(1));
        let _ = play.go(20_000, |_, held| crowded(held));
        (1..6).for_each(|index| report(&pool, index, false, play.now));
        let _ = play.go(1_000, busy);
        let seen = play.go(5_000, busy);
        // It holds five times what it held, not all that comes, and stays at its best: 1,000/s.
        assert!((38..=55).contains(&seen.held[0]), "{balance:?}: {seen:?}");
        assert!(seen.requests - seen.failed >= 4_500, "{balance:?}: {seen:?}");
    }
}

#[test]
fn in_flight_max_bounds_a_survivor_and_the_others_find_out_the_truth() {
    let mut configuration = checked(Balance::P2c);
    configuration.in_flight_max = 4;
    let pool = up(&configuration, 6);
    (1..6).for_each(|index| report(&pool, index, false, at(1)));
    let mut play = Play::new(&pool, 1_000, at(1));
    // The checks are wrong: all are well, and together they can carry it.
    let seen = play.go(10_000, well);
    assert_eq!(seen.failed, 0, "{seen:?}");
    assert_eq!(seen.held.iter().max(), Some(&4), "{seen:?}");
}

#[test]
fn with_all_down_all_are_tried() {
    for balance in algorithms() {
        let pool = up(&checked(balance.clone()), 3);
        (0..3).for_each(|index| report(&pool, index, false, at(1)));
        let mut play = Play::new(&pool, 100, at(40));
        // The checks are wrong.
        let seen = play.go(10_000, well);
        assert_eq!(seen.failed, 0);
        assert!((0..3).all(|i| (0.25..0.42).contains(&seen.share(i))), "{balance:?}: {seen:?}");
    }
}
