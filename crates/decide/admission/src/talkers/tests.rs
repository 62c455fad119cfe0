//! From arrivals to who is named and who is demoted, second by second.

use super::*;
use crate::tests::{at_ms, client, configuration};

const SEED: u64 = 3;
const FLOOD: Talker = Talker::V4(0x0a00_0001);

struct Door {
    talkers: Talkers,
    clients: Clients,
    ms: u64,
}

impl Door {
    fn new() -> Self {
        let settings = settings();
        Self {
            talkers: Talkers::build(&settings, 2, None, at_ms(0), SEED),
            clients: Clients::build(&settings, None, at_ms(0), SEED),
            ms: 0,
        }
    }

    /// Lets quarters of a second pass, in each of which so many requests of each of these arrive
    /// at the first pool.
    fn quarters(&mut self, quarters: u64, overloaded: bool, arrivals: &[(Talker, u32)]) {
        for _ in 0..quarters {
            arrivals.iter().for_each(|&(who, times)| self.arrive(who, times));
            self.ms += 250;
            self.clients.tick(at_ms(self.ms));
            self.talkers.tick(&[overloaded, false], &self.clients, at_ms(self.ms));
        }
    }

    fn arrive(&self, who: Talker, times: u32) {
        for worker in 0..times {
            self.talkers.record(usize::try_from(worker).unwrap(), Some(0), who);
            if let Talker::Client(index) = who {
                self.clients.count(usize::try_from(index).ok());
            }
        }
    }

    fn is_demoted(&self, who: Talker) -> bool {
        self.talkers.is_demoted(0, who)
    }
}

fn settings() -> Configuration {
    Configuration { clients: vec![client("partner"), client("shop")], ..configuration() }
}

/// A hundred polite addresses, twelve requests a second each, and these.
fn among_polite(more: &[(Talker, u32)]) -> Vec<(Talker, u32)> {
    (0..100)
        .map(|polite| (Talker::V4(0xc0a8_0000 + polite), 3))
        .chain(more.iter().copied())
        .collect()
}

#[test]
fn a_flood_is_demoted_within_a_tick_and_let_off_after_ten_seconds() {
    let mut door = Door::new();
    let (polite, flood) = (among_polite(&[]), among_polite(&[(FLOOD, 5_000)]));
    door.quarters(8, true, &polite);
    assert!(!door.is_demoted(FLOOD));
    door.quarters(1, true, &flood);
    assert!(door.is_demoted(FLOOD) && !door.talkers.is_demoted(1, FLOOD), "at this pool");
    assert!(polite.iter().all(|&(who, _)| !door.is_demoted(who)));
    // It works: the pool is not overloaded while the flood is kept behind.
    door.quarters(80, false, &flood);
    assert!(door.is_demoted(FLOOD));
    door.quarters(38, false, &polite);
    assert!(door.is_demoted(FLOOD));
    door.quarters(6, false, &polite);
    assert!(!door.is_demoted(FLOOD) && !door.talkers.shared.demoted.any());
}

#[test]
fn nobody_is_demoted_without_overload_nor_for_ever() {
    let mut door = Door::new();
    let flood = among_polite(&[(FLOOD, 5_000)]);
    door.quarters(40, false, &flood);
    assert!(!door.is_demoted(FLOOD));
    door.quarters(1, true, &flood);
    door.quarters(230, false, &flood);
    assert!(door.is_demoted(FLOOD));
    door.quarters(20, false, &flood);
    assert!(!door.is_demoted(FLOOD), "a minute without overload");
}

#[test]
fn a_lone_client_is_not_demoted() {
    let mut door = Door::new();
    door.quarters(20, true, &[(FLOOD, 5_000)]);
    assert!(!door.is_demoted(FLOOD));
}

#[test]
fn a_registered_client_is_held_against_its_baseline() {
    let (partner, shop) = (Talker::Client(0), Talker::Client(1));
    let mut door = Door::new();
    door.quarters(4 * 70, false, &among_polite(&[(partner, 500), (shop, 10)]));
    // The shop sends eight times as much; the partner is most of the traffic, as ever.
    door.quarters(4, true, &among_polite(&[(partner, 500), (shop, 80)]));
    assert_eq!((door.is_demoted(partner), door.is_demoted(shop)), (false, true));
    let demoted: Vec<bool> = door.clients.facts().iter().map(|facts| facts.demoted).collect();
    assert_eq!(demoted, [false, true]);
}

#[test]
fn the_top_is_named_by_second() {
    let mut door = Door::new();
    let others = |door: &Door, quarter: u32| {
        (0..50).for_each(|other| door.talkers.record(0, None, Talker::V4(quarter * 50 + other)));
    };
    for quarter in 0..4 {
        others(&door, quarter);
        door.quarters(
            1,
            true,
            &[
                (Talker::Client(1), 10),
                (Talker::V6(0x2001_0db8_0000_0001), 30),
                (Talker::Header(0x1234_5678_9abc_def0), 60),
            ],
        );
    }
    let facts = door.talkers.facts();
    assert_eq!(facts.len(), TOP);
    let named: Vec<(&str, &str, u64, u64)> =
        facts.iter().map(|f| (&*f.name, &*f.kind, f.requests, f.error)).take(3).collect();
    let expected = [
        ("12345678", "header", 240, 0),
        ("2001:db8:0:1::/64", "address", 120, 0),
        ("shop", "client", 40, 0),
    ];
    assert_eq!(named, expected);
    assert!((facts[0].share - 0.4).abs() < 1e-9, "{}", facts[0].share);
    door.quarters(4, false, &[]);
    assert_eq!(door.talkers.facts(), []);
}

#[test]
fn addresses_are_folded() {
    let of = |text: &str| Talker::address(text.parse().unwrap());
    assert_eq!(of("::ffff:10.0.0.1"), FLOOD);
    assert_eq!(of("2001:db8:0:1::7"), of("2001:db8:0:1:ffff::9"));
    assert_ne!(of("2001:db8:0:1::7"), of("2001:db8:0:2::7"));
    for who in [FLOOD, of("2001:db8::"), Talker::Header(u64::MAX), Talker::Client(3)] {
        let (kind, value) = who.parts();
        assert_eq!(Talker::from_parts(kind, value), Some(who));
    }
}

#[test]
fn a_reload_keeps_the_demoted_while_the_places_mean_the_same() {
    let mut door = Door::new();
    door.quarters(1, true, &among_polite(&[(FLOOD, 5_000)]));
    let build = |settings: &Configuration| {
        Talkers::build(settings, 2, Some(&door.talkers), at_ms(door.ms), SEED)
    };
    let mut settings = settings();
    settings.admission.keys_max = 5_000;
    assert!(build(&settings).is_demoted(0, FLOOD));
    settings.clients.remove(0);
    assert!(!build(&settings).is_demoted(0, FLOOD));
}

#[test]
fn as_many_are_demoted_as_there_are_places() {
    let demoted = Demoted::default();
    let inserted: Vec<u64> =
        (1..10_000).map(|key| mix(key, 1)).filter(|&key| demoted.insert(key)).collect();
    assert_eq!(inserted.len(), DEMOTED_MAX);
    assert!(inserted.iter().all(|&key| demoted.contains(key)) && !demoted.contains(mix(0, 1)));
    inserted.iter().for_each(|&key| demoted.remove(key));
    assert!(!demoted.any());
}
