//! What shared rates promise: doors around one server, in time that the test turns by hand.

use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::KeyTable;
use crate::tests::at_ms;

const SLOT: u64 = 77;

#[derive(Debug)]
struct Queue {
    asks: Mutex<Vec<Ask>>,
    room: usize,
}

impl Asks for Queue {
    fn push(&self, ask: Ask) -> bool {
        let mut asks = self.asks.lock().unwrap();
        let fits = asks.len() < self.room;
        if fits {
            asks.push(ask);
        }
        fits
    }
}

/// A door as far as shared rates go.
struct Door {
    leases: Leases,
    table: KeyTable,
    queue: Arc<Queue>,
    rate: SharedRate,
    /// Asked, and when it is answered.
    asked: Vec<(u64, Ask)>,
    admitted: u64,
}

impl Door {
    fn new((rate, burst): (Rate, u32), room: usize) -> Self {
        let queue = Arc::new(Queue { asks: Mutex::default(), room });
        let leases = Leases::new(1_000, 5);
        leases.ask_by(&(Arc::clone(&queue) as Arc<dyn Asks>));
        Self {
            leases,
            table: KeyTable::new(1_000, 5),
            queue,
            rate: SharedRate::new("limit", &"all".into(), rate, burst),
            asked: Vec::new(),
            admitted: 0,
        }
    }

    fn take_of(&mut self, slot: u64, ms: u64) -> Result<Room, Duration> {
        let now = at_ms(ms);
        let alone = |pace: &Pace| self.table.take(slot, pace, now);
        let of = Shared { rate: &self.rate, slot, key: &|| Some(u128::from(slot)), alone: &alone };
        let taken = self.leases.take(&of, now);
        self.admitted += u64::from(taken.is_ok());
        taken
    }

    fn take(&mut self, ms: u64) -> Result<Room, Duration> {
        self.take_of(SLOT, ms)
    }

    fn asks(&self) -> Vec<Ask> {
        std::mem::take(&mut self.queue.asks.lock().unwrap())
    }

    /// Brings what was asked on its way, and what is due to the server and back.
    fn exchange(&mut self, server: &mut Server, ms: u64, delay: u64) {
        let asks = self.asks();
        self.asked.extend(asks.into_iter().map(|ask| (ms + delay, ask)));
        let (due, later) = self.asked.drain(..).partition(|(at, _)| *at <= ms);
        self.asked = later;
        let due: Vec<(u64, Ask)> = due;
        for (_, ask) in due {
            if server.is_gone {
                self.leases.unanswered(&ask);
            } else {
                let (tokens, wait) = server.answer(&ask, ms);
                self.leases.answer(&ask, tokens, wait, at_ms(ms));
            }
        }
        if server.is_gone {
            self.leases.set_alone();
        } else {
            self.leases.set_shared(server.doors);
        }
    }
}

/// The server with one key, as the script of `quota` has it.
struct Server {
    due: f64,
    doors: u32,
    is_gone: bool,
}

impl Server {
    fn answer(&mut self, ask: &Ask, ms: u64) -> (u32, Duration) {
        let interval = ask.rate.per.as_secs_f64() * 1e3 / f64::from(ask.rate.count);
        let (now, depth) = (ms as f64, interval * f64::from(ask.burst));
        let due = (self.due.max(now) + f64::from(ask.charge) * interval).max(now);
        let room = ((now + depth - due) / interval + 0.001).floor();
        let tokens = (0..=ask.tokens).rev().find(|&t| f64::from(t) <= room).unwrap_or(0);
        self.due = due + f64::from(tokens) * interval;
        let wait = if tokens == 0 { (self.due + interval - depth - now).max(0.0) } else { 0.0 };
        (tokens, Duration::from_secs_f64(wait / 1e3))
    }
}

fn per_second(count: u32) -> Rate {
    Rate { count, per: Duration::from_secs(1) }
}

/// Doors that share one key for a while.
#[derive(Clone, Debug)]
struct Fleet {
    rate: u32,
    burst: u32,
    /// Requests per door in each 10 ms.
    demand: Vec<u32>,
    /// From the question to the answer, in ms.
    delay: u64,
    /// When the server goes and comes back, wiped, in ms.
    gone: Option<(u64, u64)>,
    /// When the first door dies, in ms.
    dies: Option<u64>,
}

const RUN_MS: u64 = 10_000;

impl Fleet {
    fn run(&self) -> u64 {
        let doors = self.demand.len();
        let count = u32::try_from(doors).unwrap();
        let mut server = Server { due: 0.0, doors: count, is_gone: false };
        let settings = (per_second(self.rate), self.burst);
        let mut fleet: Vec<Door> = (0..doors).map(|_| Door::new(settings, 8)).collect();
        fleet.iter().for_each(|door| door.leases.set_shared(count));
        for ms in 0..RUN_MS {
            let was_gone = server.is_gone;
            server.is_gone = self.gone.is_some_and(|(from, to)| (from..to).contains(&ms));
            if was_gone && !server.is_gone {
                server.due = 0.0;
            }
            let dead = usize::from(self.dies.is_some_and(|at| ms >= at));
            for (index, door) in fleet.iter_mut().enumerate().skip(dead) {
                door.exchange(&mut server, ms, self.delay);
                let arrivals = if ms % 10 == index as u64 % 10 { self.demand[index] } else { 0 };
                for _ in 0..arrivals {
                    door.take(ms).ok();
                }
                door.exchange(&mut server, ms, self.delay);
            }
        }
        fleet.iter().map(|door| door.admitted).sum()
    }

    /// The most that may be admitted.
    fn most(&self) -> u64 {
        let part = u64::from(self.burst).max(self.demand.len() as u64);
        let once = if self.gone.is_some() { 4 } else { 2 };
        u64::from(self.burst) + u64::from(self.rate) * RUN_MS / 1_000 + once * part
    }

    /// What at least must be, where more is demanded.
    #[track_caller]
    fn check(&self, least: f64) {
        let admitted = self.run();
        let (most, fair) = (self.most(), u64::from(self.rate) * RUN_MS / 1_000);
        assert!(admitted <= most, "{admitted} > {most}: {self:?}");
        assert!(admitted as f64 >= least * fair as f64, "{admitted} of {fair}: {self:?}");
    }
}

fn fleet(rate: u32, burst: u32, demand: &[u32]) -> Fleet {
    Fleet { rate, burst, demand: demand.to_vec(), delay: 1, gone: None, dies: None }
}

#[test]
fn doors_share_a_rate_however_the_load_is_spread() {
    fleet(100, 100, &[20, 20]).check(1.0);
    fleet(100, 100, &[20, 0]).check(1.0);
    fleet(1_000, 1_000, &[30, 1, 0, 0]).check(1.0);
    // Of a burst so small some is lost between two answers.
    fleet(1_000, 10, &[30, 30]).check(0.8);
    fleet(100, 20, &[5; 20]).check(0.9);
    fleet(2, 1, &[3; 5]).check(0.9);
    Fleet { delay: 50, ..fleet(100, 100, &[20, 20]) }.check(1.0);
}

#[test]
fn a_dead_door_only_leaves_less() {
    let quiet = Fleet { dies: Some(1_003), ..fleet(100, 100, &[20, 20]) };
    quiet.check(0.95);
}

#[test]
fn without_the_server_each_door_holds_to_its_part() {
    let gone = Some((2_000, 8_000));
    Fleet { gone, ..fleet(100, 100, &[20, 20]) }.check(1.0);
    Fleet { gone, ..fleet(1_000, 100, &[30; 5]) }.check(0.9);
    // What only one of them is asked for is not shared then.
    Fleet { gone, ..fleet(100, 100, &[20, 0]) }.check(0.6);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        rng_seed: RngSeed::Fixed(0x71de),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn over_admission_is_bounded(
        rate in 1_u32..2_000,
        burst in 1_u32..2_000,
        demand in prop::collection::vec(0_u32..40, 1..12),
        delay in 0_u64..120,
        gone in prop::option::of((0_u64..9_000, 1_u64..3_000)),
        dies in prop::option::of(0_u64..RUN_MS),
    ) {
        let gone = gone.map(|(from, time)| (from, from + time));
        let fleet = Fleet { rate, burst, demand, delay, gone, dies };
        let (admitted, most) = (fleet.run(), fleet.most());
        prop_assert!(admitted <= most, "{admitted} > {most}: {fleet:?}");
    }

    #[test]
    fn a_word_holds_an_entry(
        until in 0_u64..1 << 35, exhausted: bool, asked: bool, balance in -1_023_i32..=1_023,
    ) {
        let entry = Entry { until, exhausted, asked, balance };
        prop_assert_eq!(Entry::of(entry.word()), entry);
        prop_assert_eq!(entry.word() >> 48, 0);
    }
}

#[test]
fn the_first_request_is_let_in_and_asks_for_the_rest() {
    let mut door = Door::new((per_second(80), 40), 8);
    door.leases.set_shared(2);
    for _ in 0..3 {
        assert!(door.take(0).is_ok());
    }
    let asks = door.asks();
    assert_eq!(asks.len(), 1, "once: {asks:?}");
    assert_eq!((asks[0].charge, asks[0].tokens, asks[0].burst), (0, 5, 40));
    assert_eq!((&*asks[0].name, asks[0].key), ("limit:all:80/1000ms+40", 77));
    door.leases.answer(&asks[0], 5, Duration::ZERO, at_ms(1));
    // Three were let in uncharged, so two tokens are left, and one is the last fifth.
    assert_eq!(door.take(1).unwrap().remaining(), 1);
    let asks = door.asks();
    assert_eq!((asks.len(), asks[0].charge), (1, 0));
    door.leases.answer(&asks[0], 0, Duration::from_secs(3), at_ms(2));
    assert!(door.take(2).is_ok(), "the last token");
    let wait = door.take(3).unwrap_err();
    assert!((2_990..=3_004).contains(&wait.as_millis()), "{wait:?}");
    assert!(door.take(2_990).is_err() && door.asks().is_empty(), "nobody asks in vain");
    // Then one finds out for all.
    assert!(door.take(3_010).is_ok() && door.take(3_010).is_err());
    assert_eq!(door.asks().len(), 1);
    let facts = door.leases.facts();
    assert_eq!((facts.leased, facts.alone, &*facts.state), (5, 0, "shared"));
}

#[test]
fn what_was_leased_too_long_ago_comes_back() {
    let mut door = Door::new((per_second(80), 40), 8);
    door.leases.set_shared(2);
    assert!(door.take(0).is_ok());
    let ask = door.asks().remove(0);
    door.leases.answer(&ask, 5, Duration::ZERO, at_ms(1));
    assert!(door.take(5_000).is_ok());
    let ask = door.asks().remove(0);
    assert_eq!(ask.charge, -4);
    // Nobody answered: it is still there.
    door.leases.unanswered(&ask);
    assert!(door.take(5_010).is_ok() && door.asks().is_empty());
    assert!(door.take(9_000).is_ok());
    assert_eq!(door.asks().remove(0).charge, -2);
}

#[test]
fn what_is_given_back_is_there_again() {
    let mut door = Door::new((per_second(10), 2), 8);
    door.leases.set_shared(2);
    assert!(door.take(0).is_ok());
    assert!(door.leases.give_back(&door.rate, SLOT).is_none());
    let ask = door.asks().remove(0);
    door.leases.answer(&ask, 0, Duration::from_secs(1), at_ms(1));
    assert!(door.take(2).is_err());
    assert!(door.leases.give_back(&door.rate, SLOT).is_none());
    assert!(door.take(3).is_ok(), "the one that was given back");
    door.leases.set_alone();
    assert_eq!(door.leases.give_back(&door.rate, SLOT), Some(door.rate.pace.share(2)));
}

#[test]
fn alone_it_holds_to_its_part_and_asks_nobody() {
    let mut door = Door::new((per_second(10), 20), 8);
    let let_in = |door: &mut Door, ms| (0..50).filter(|_| door.take(ms).is_ok()).count();
    assert_eq!(let_in(&mut door, 0), 20, "nobody else is known");
    door.leases.set_shared(4);
    door.leases.set_alone();
    assert_eq!(let_in(&mut door, 2_000), 5, "its part of the burst");
    assert_eq!(let_in(&mut door, 4_000), 5, "its part of the rate");
    assert!(door.asks().is_empty());
    let facts = door.leases.facts();
    assert_eq!((&*facts.state, facts.doors, facts.alone), ("alone", 4, 150));
}

#[test]
fn a_flood_of_keys_that_cannot_all_ask_takes_no_place() {
    let mut door = Door::new((per_second(10), 20), 3);
    door.leases.set_shared(2);
    let mut admitted = 0;
    for key in 0..50_000 {
        admitted += u32::from(door.take_of(key, 0).is_ok());
    }
    assert_eq!(admitted, 50_000, "each is new");
    let used = |leases: &Leases| {
        leases.sets.iter().flat_map(|set| &set.0).filter(|slot| slot.load(Relaxed) != 0).count()
    };
    assert_eq!((used(&door.leases), door.asks().len()), (3, 3));
    assert_eq!(door.leases.facts().alone, 49_997);
}

#[test]
fn memory_is_fixed() {
    for (keys, mebibytes) in [(1_000_000, 8), (10_000_000, 64)] {
        let bytes = size_of_val(&*Leases::new(keys, 1).sets);
        assert!(bytes <= mebibytes << 20, "{bytes}");
    }
}

#[test]
fn workers_that_race_take_no_token_twice() {
    let door = Door::new((per_second(1_000_000), 1_000_000), 8);
    door.leases.set_shared(1);
    let (leases, rate) = (&door.leases, &door.rate);
    let nobody = |_: &Pace| Err(Duration::ZERO);
    let of = || Shared { rate, slot: SLOT, key: &|| Some(1), alone: &nobody };
    let credit = usize::try_from(BALANCE_MAX).unwrap();
    let admitted: usize = std::thread::scope(|scope| {
        let worker =
            || scope.spawn(|| (0..2_000).filter(|_| leases.take(&of(), at_ms(0)).is_ok()).count());
        let workers: Vec<_> = (0..4).map(|_| worker()).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(admitted, credit);
}
