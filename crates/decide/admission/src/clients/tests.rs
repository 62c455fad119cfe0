//! What is known of a client: its switch, its places, its rate, its baseline.

use super::*;
use crate::tests::{at_ms, client, configuration};

const SEED: u64 = 3;

fn with(clients: Vec<Client>) -> Configuration {
    Configuration { clients, ..configuration() }
}

fn build(configuration: &Configuration, previous: Option<&Clients>) -> Clients {
    Clients::build(configuration, previous, at_ms(0), SEED)
}

#[test]
fn the_switch_works_at_once_and_outlives_a_reload() {
    let settings = with(vec![client("a"), client("partner")]);
    let clients = build(&settings, None);
    assert_eq!(clients.may_use(Some(1), 0), Ok(()));
    assert!(!clients.set_enabled(1, false));
    assert_eq!(clients.may_use(Some(1), 0), Err(Reason::ClientDisabled));
    assert_eq!((clients.may_use(Some(0), 0), clients.may_use(None, 0)), (Ok(()), Ok(())));
    // It stands at another place then.
    let after = build(&with(vec![client("partner")]), Some(&clients));
    assert_eq!(after.may_use(Some(0), 0), Err(Reason::ClientDisabled));
    assert!(after.set_enabled(after.find("partner").unwrap(), true));
    assert_eq!(clients.may_use(Some(1), 0), Ok(()));
}

#[test]
fn what_the_configuration_disables_no_hand_enables() {
    let clients = build(&with(vec![Client { enabled: false, ..client("partner") }]), None);
    assert!(!clients.set_enabled(0, true));
    assert_eq!(clients.may_use(Some(0), 0), Err(Reason::ClientDisabled));
    assert!(!clients.facts()[0].enabled);
    assert!(!clients.set_enabled(9, true), "no such client");
}

#[test]
fn routes_are_by_name() {
    let only = Client { routes: vec!["slow".into()], ..client("partner") };
    let clients = build(&with(vec![only]), None);
    let allowed = [0, 1, 2].map(|route| clients.may_use(Some(0), route));
    assert_eq!(allowed, [Err(Reason::ClientRoute), Ok(()), Err(Reason::ClientRoute)]);
}

#[test]
fn places_are_given_back_across_a_reload() {
    let mut settings = with(vec![Client { in_flight_max: Some(2), ..client("partner") }]);
    settings.admission.unknown_in_flight_max = Some(1);
    let clients = build(&settings, None);
    let places: Vec<_> = (0..2).map(|_| clients.begin(Some(0)).unwrap()).collect();
    let unknown = clients.begin(None).unwrap();
    let after = build(&settings, Some(&clients));
    for full in [Some(0), None] {
        assert_eq!(after.begin(full).unwrap_err(), Reason::TooManyInFlight);
    }
    let over = after.begin_over(Some(0));
    assert_eq!(after.facts()[0].in_flight, 3);
    drop((places, unknown, over));
    assert_eq!(after.facts()[0].in_flight, 0);
    assert!(after.begin(Some(0)).is_ok() && after.begin(None).is_ok());
}

#[test]
fn facts_are_of_a_second() {
    let rate = Some(Rate { count: 30, per: Duration::from_secs(60) });
    let settings = with(vec![Client { rate, class: Class::Bulk, ..client("partner") }]);
    let clients = build(&settings, None);
    (0..5).for_each(|_| clients.count(Some(0)));
    clients.count_refused(Some(0));
    clients.count(None);
    let expected = ClientFacts {
        name: "partner".into(),
        class: Class::Bulk,
        enabled: true,
        requests: 5,
        refused: 1,
        limit_per_second: Some(0.5),
        ..ClientFacts::default()
    };
    assert_eq!(clients.facts(), std::slice::from_ref(&expected));
    assert_eq!(clients.facts(), [ClientFacts { requests: 0, refused: 0, ..expected }]);
}

#[test]
fn the_baseline_is_of_calm_seconds_and_outlives_a_reload() {
    let settings = with(vec![client("partner")]);
    let mut clients = build(&settings, None);
    let seconds = |clients: &Clients, from: u64, to: u64, rate: u32| {
        for second in from..to {
            (0..rate).for_each(|_| clients.count(Some(0)));
            // A tick may come more often: the second counts.
            clients.tick(at_ms(second * 1_000 + 500));
            clients.tick(at_ms(second * 1_000 + 1_000));
        }
    };
    seconds(&clients, 0, 59, 20);
    assert_eq!(clients.facts()[0].baseline_per_second, None);
    clients = build(&settings, Some(&clients));
    seconds(&clients, 59, 100, 20);
    let learned = |clients: &Clients| clients.facts()[0].baseline_per_second.unwrap();
    assert!((19.9..20.1).contains(&learned(&clients)), "{}", learned(&clients));
    clients.set_demoted(|index| index == 0);
    let before = learned(&clients);
    seconds(&clients, 100, 120, 2_000);
    assert_eq!((learned(&clients), clients.facts()[0].demoted), (before, true));
}
