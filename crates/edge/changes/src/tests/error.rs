//! How far a forecast is from what then happens, per server, for ten kinds of change.
//!
//! The live configuration works in a world for a minute and is recorded; the candidate is
//! forecast from the recording, then works in the same world with another seed for five minutes.

use model::configuration::{Balance, HashKey};

use super::world::{World, run};
use super::*;

type Change = fn(&mut Configuration);

const CHANGES: [(&str, Change); 10] = [
    ("weight of one server 1 -> 3", |to| to.pools[0].servers[0].weight = 3),
    ("weight of one server 1 -> 0", |to| to.pools[0].servers[1].weight = 0),
    ("one server drained", |to| to.pools[0].servers[2].drain = true),
    ("one server added", |to| to.pools[0].servers.push(server(4, 1))),
    ("one server removed", |to| drop(to.pools[0].servers.remove(0))),
    ("weights 90, 5, 5", |to| {
        for (server, weight) in to.pools[0].servers.iter_mut().zip([90, 5, 5]) {
            server.weight = weight;
        }
    }),
    ("p2c -> round robin", |to| to.pools[0].balance = Balance::RoundRobin),
    ("p2c -> maglev", |to| to.pools[0].balance = Balance::Maglev(HashKey::ClientAddress)),
    ("a route moved to another pool", |to| {
        to.routes[1].action = Action::Forward { pool: 0, rewrite: None };
    }),
    ("at most 4 in flight", |to| to.pools[0].in_flight_max = 4),
];

/// The largest errors over the servers of pool `api`.
#[derive(Debug, Default)]
struct Errors {
    share: f64,
    in_flight: f64,
    p99: f64,
}

fn errors(world: &World, change: Change) -> Errors {
    let (from, to) = (configuration(), changed(change));
    let (recording, _) = run(world, &from, 11);
    let forecast = crate::forecast(&from, &to, Some(&recording));
    let long = World { seconds: 5 * world.seconds, ..world.clone() };
    let (_, happened) = run(&long, &to, 12);
    let mut errors = Errors::default();
    for server in &forecast.pools[0].servers {
        let Some(share) = server.share else { continue };
        let got = &happened[&("api".to_owned(), server.address.clone())];
        errors.share = errors.share.max((share - got.share).abs());
        let in_flight = server.in_flight.expect("it was replayed");
        errors.in_flight = errors.in_flight.max((in_flight - got.in_flight).abs());
        if let Some(p99_us) = server.p99_us {
            let relative = p99_us as f64 / got.p99_us.max(1) as f64 - 1.0;
            errors.p99 = errors.p99.max(relative.abs());
        }
    }
    errors
}

/// Prints the errors of each kind of change; none may miss a share by more than `share_max`.
fn check(title: &str, world: &World, share_max: f64) {
    println!("{title}\n{:32} {:>8} {:>10} {:>8}", "", "share", "in flight", "p99");
    for (kind, change) in CHANGES {
        let Errors { share, in_flight, p99 } = errors(world, change);
        let (share_percent, p99_percent) = (share * 100.0, p99 * 100.0);
        println!("{kind:32} {share_percent:7.2}% {in_flight:10.2} {p99_percent:7.0}%");
        assert!(share <= share_max, "{title}, {kind}: a share is off by {share:.3}");
    }
}

fn world() -> World {
    World {
        routes: vec![("api", 200.0), ("web", 50.0)],
        service_us: 20_000.0,
        slow: Vec::new(),
        places: 16,
        seconds: 60,
        sampled: 1,
    }
}

#[test]
fn shares_are_foreseen_where_servers_are_equal() {
    check("equal servers", &world(), 0.02);
}

#[test]
fn shares_are_foreseen_where_one_server_is_slow() {
    check(
        "one server four times slower",
        &World { slow: vec![(address(2), 4.0)], ..world() },
        0.05,
    );
}

#[test]
fn shares_are_foreseen_from_a_part_of_the_requests() {
    let routes = vec![("api", 800.0), ("web", 200.0)];
    let world = World { routes, sampled: 8, seconds: 20, ..world() };
    // With weights 90, 5, 5 one server comes near its end, where p2c makes way; that it can hold
    // as much was never seen, so the replay makes way sooner.
    check("one request in eight recorded", &world, 0.03);
}
