//! Several limits at once, over a configuration: all or none, by whom, and across reloads.

use std::time::Duration;

use model::configuration::{Client, Rate};

use super::*;
use crate::lease::Asks;
use crate::tests::{Asked, at_ms, client, configuration};

const SEED: u64 = 3;

fn limit(name: &str, by: LimitKey, burst: u32) -> RateLimit {
    RateLimit {
        name: name.into(),
        by,
        rate: Rate { count: 1, per: Duration::from_secs(1) },
        burst,
        routes: Vec::new(),
        observe: false,
        headers: false,
        shared: false,
    }
}

struct Room {
    table: KeyTable,
    clients: Clients,
    limits: Limits,
}

fn build(configuration: &Configuration, previous: Option<&Room>) -> Room {
    Room {
        table: KeyTable::new(1_000, SEED),
        clients: Clients::build(configuration, previous.map(|p| &p.clients), at_ms(0), SEED),
        limits: Limits::build(configuration, previous.map(|p| &p.limits), SEED),
    }
}

impl Room {
    fn ask(&self, asked: Asked, ms: u64) -> Result<Option<Quota>, Refusal> {
        self.limits.check(&self.table, &self.clients, &asked, at_ms(ms))
    }

    /// How many of 20 at once are let in.
    fn let_in(&self, asked: Asked, ms: u64) -> usize {
        (0..20).filter(|_| self.ask(asked, ms).is_ok()).count()
    }
}

fn of_address(address: u32) -> Asked {
    Asked { address, ..Asked::default() }
}

fn with(limits: &[RateLimit]) -> Configuration {
    Configuration { limits: limits.to_vec(), ..configuration() }
}

#[test]
fn each_key_has_its_own_and_all_share_one() {
    let per_address = limit("per-address", LimitKey::Address, 3);
    let room = build(&with(&[per_address.clone(), limit("all", LimitKey::All, 5)]), None);
    assert_eq!([1, 2, 3].map(|address| room.let_in(of_address(address), 0)), [3, 2, 0]);
    let per_route = limit("per-route", LimitKey::Route, 3);
    let room = build(&with(&[per_route]), None);
    let on_route = |route| Asked { route, ..Asked::default() };
    assert_eq!([0, 1, 0].map(|route| room.let_in(on_route(route), 0)), [3, 3, 0]);
}

#[test]
fn who_is_refused_has_taken_nothing() {
    let room = build(
        &with(&[limit("all", LimitKey::All, 5), limit("per-address", LimitKey::Address, 2)]),
        None,
    );
    // The second limit refuses 18; the first has 3 left for the others.
    assert_eq!([1, 2, 3].map(|address| room.let_in(of_address(address), 0)), [2, 2, 1]);
    let counts: Vec<(u64, u64)> =
        room.limits.facts().iter().map(|facts| (facts.requests, facts.refused)).collect();
    assert_eq!(counts, [(60, 19), (41, 36)], "the coarse one is asked first");
    assert!(room.limits.facts().iter().all(|facts| facts.requests == 0), "of a second");
}

#[test]
fn a_limit_holds_on_its_routes() {
    let on_slow = RateLimit { routes: vec!["slow".into()], ..limit("s", LimitKey::All, 2) };
    let room = build(&with(&[on_slow]), None);
    let on_route = |route| Asked { route, ..Asked::default() };
    assert_eq!([0, 1, 2].map(|route| room.let_in(on_route(route), 0)), [20, 2, 20]);
}

#[test]
fn observing_counts_and_lets_in() {
    let observed = RateLimit { observe: true, ..limit("observed", LimitKey::All, 2) };
    let mut settings = with(&[observed, limit("held", LimitKey::All, 4)]);
    assert_eq!(build(&settings, None).let_in(of_address(1), 0), 4);
    settings.admission.observe = true;
    settings.clients = vec![Client {
        rate: Some(Rate { count: 1, per: Duration::from_secs(1) }),
        ..client("partner")
    }];
    let room = build(&settings, None);
    assert_eq!(room.let_in(Asked { client: Some(0), ..Asked::default() }, 0), 20);
    let refused: Vec<u64> = room.limits.facts().iter().map(|facts| facts.refused).collect();
    assert_eq!((refused, room.clients.facts()[0].refused), (vec![18, 16], 19));
}

#[test]
fn a_clients_own_rate_comes_first_and_is_given_back() {
    let mut settings = with(&[limit("all", LimitKey::All, 3)]);
    let rate = Some(Rate { count: 1, per: Duration::from_secs(1) });
    settings.clients = vec![Client { rate, burst: 5, ..client("partner") }, client("other")];
    settings.admission.unknown_rate = Some(Rate { count: 2, per: Duration::from_secs(1) });
    let room = build(&settings, None);
    let by = |client| Asked { client, ..Asked::default() };
    assert_eq!(room.let_in(by(Some(0)), 0), 3, "the limit refuses, and its own 2 stay");
    assert_eq!(room.let_in(by(Some(0)), 3_000), 3, "5 of its own, 3 of all");
    let refusal = room.ask(by(None), 3_000).unwrap_err();
    assert_eq!((refusal.reason, refusal.limit), (Reason::RateLimited, Some(0)));
    let room = build(&Configuration { limits: Vec::new(), ..settings }, None);
    assert_eq!([Some(0), Some(1), None].map(|client| room.let_in(by(client), 0)), [5, 20, 2]);
    let refusal = room.ask(by(Some(0)), 0).unwrap_err();
    assert_eq!(refusal.limit, None);
    assert!((1..=2).contains(&refusal.retry_after.unwrap().as_secs()), "{refusal:?}");
}

#[test]
fn a_reload_keeps_what_is_owed_unless_the_limit_changed() {
    let settings = with(&[limit("all", LimitKey::All, 3), limit("routes", LimitKey::Route, 9)]);
    let before = build(&settings, None);
    assert_eq!(before.let_in(of_address(1), 0), 3);
    let mut settings = Configuration { limits: settings.limits.clone(), ..settings };
    settings.limits.reverse();
    assert_eq!(build(&settings, Some(&before)).let_in(of_address(1), 0), 0);
    settings.limits[1].burst = 4;
    assert_eq!(build(&settings, Some(&before)).let_in(of_address(1), 0), 4);
}

#[test]
fn the_tightest_that_is_shown_is_shown() {
    let shown = |name, by, burst| RateLimit { headers: true, ..limit(name, by, burst) };
    let mut settings = with(&[
        shown("all", LimitKey::All, 9),
        limit("hidden", LimitKey::All, 2),
        shown("per-address", LimitKey::Address, 4),
    ]);
    let room = build(&settings, None);
    let quota = room.ask(of_address(1), 0).unwrap().unwrap();
    assert_eq!((quota.limit, quota.room.remaining(), quota.room.pace().burst()), (Some(2), 3, 4));
    assert_eq!(quota.room.full_in(), Duration::from_secs(1));
    settings.limits.retain(|limit| !limit.headers);
    assert_eq!(build(&settings, None).ask(of_address(1), 0), Ok(None));
}

/// Keeps what is asked.
#[derive(Debug, Default)]
struct Questions(std::sync::Mutex<Vec<crate::Ask>>);

impl Asks for Questions {
    fn push(&self, ask: crate::Ask) -> bool {
        self.0.lock().unwrap().push(ask);
        true
    }
}

/// A room that shares with another door, and what it asks.
fn sharing(configuration: &Configuration, previous: Option<&Room>) -> (Room, Arc<Questions>) {
    let (room, questions) = (build(configuration, previous), Arc::<Questions>::default());
    let leases = room.limits.leases().unwrap();
    leases.ask_by(&(Arc::clone(&questions) as Arc<dyn Asks>));
    leases.set_shared(2);
    (room, questions)
}

fn shared(mut settings: Configuration) -> Configuration {
    settings.admission.shared = Some(model::configuration::SharedQuotas {
        url: "redis://127.0.0.1".into(),
        name: "test".into(),
        timeout: Duration::from_millis(100),
    });
    settings
}

#[test]
fn what_is_shared_is_leased_and_the_rest_is_not() {
    let held = limit("held", LimitKey::Address, 3);
    let leased = RateLimit { shared: true, ..limit("leased", LimitKey::All, 8) };
    let (room, questions) = sharing(&shared(with(&[leased, held])), None);
    let let_in = (0..9).filter(|_| room.ask(of_address(1), 0).is_ok()).count();
    assert_eq!(let_in, 3, "the other limit refuses, and what was leased is given back");
    let asks = std::mem::take(&mut *questions.0.lock().unwrap());
    let names: Vec<_> = asks.iter().map(|ask| (&*ask.name, ask.charge, ask.tokens)).collect();
    assert_eq!(names, [("limit:leased:1/1000ms+8", 0, 1)]);
    let leases = Arc::clone(room.limits.leases().unwrap());
    leases.answer(&asks[0], 1, Duration::ZERO, at_ms(1));
    leases.set_alone();
    // Nothing was taken from its own part while it was leased: 4 of 8.
    assert_eq!([2, 3].map(|address| room.let_in(of_address(address), 2)), [3, 1]);
    assert_eq!(build(&with(&[]), Some(&room)).limits.leases().map(|_| ()), None);
}

#[test]
fn a_client_whose_rate_changes_starts_anew() {
    let rate = |count| Some(Rate { count, per: Duration::from_secs(3_600) });
    let partner = Client { rate: rate(2), burst: 2, shared: true, ..client("partner") };
    let mut settings = shared(with(&[]));
    settings.clients = vec![partner];
    let (room, questions) = sharing(&settings, None);
    let by = Asked { client: Some(0), ..Asked::default() };
    assert!(room.ask(by, 0).is_ok());
    let ask = questions.0.lock().unwrap().remove(0);
    assert_eq!(&*ask.name, "client:partner:2/3600000ms+2");
    room.limits.leases().unwrap().answer(&ask, 0, Duration::from_secs(1_800), at_ms(1));
    assert_eq!(room.ask(by, 2).unwrap_err().limit, None);
    assert!(build(&settings, Some(&room)).ask(by, 3).is_err(), "a reload forgives nothing");
    settings.clients[0].rate = rate(3);
    assert!(build(&settings, Some(&room)).ask(by, 4).is_ok());
}
