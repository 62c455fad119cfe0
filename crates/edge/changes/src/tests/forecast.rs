//! What a forecast states, with and without recorded traffic.

use model::recording::{RecordedRequest, Recording};

use super::world::{World, run};
use super::*;

fn recorded() -> Recording {
    let world = World {
        routes: vec![("api", 100.0), ("web", 50.0)],
        service_us: 20_000.0,
        slow: Vec::new(),
        places: 8,
        seconds: 20,
        sampled: 1,
    };
    run(&world, &configuration(), 3).0
}

#[test]
fn an_unchanged_configuration_moves_nothing() {
    for recording in [None, Some(&recorded())] {
        let forecast = crate::forecast(&configuration(), &configuration(), recording);
        for pool in &forecast.pools {
            assert!(pool.moved.abs() < 1e-9, "{pool:?}");
            let shares: f64 = pool.servers.iter().filter_map(|server| server.share).sum();
            assert!((shares - 1.0).abs() < 1e-9);
            assert!(pool.servers.iter().all(|server| server.share == server.share_before));
            assert!(pool.servers.iter().all(|server| server.p99_us == server.p99_us_before));
        }
        assert_eq!((forecast.changes.len(), forecast.broken.len(), forecast.lost), (0, 0, 0));
        assert_eq!(forecast.replayed > 0, recording.is_some());
    }
}

#[test]
fn a_pool_left_with_one_server_shows_its_queue() {
    let to = changed(|to| {
        to.pools[0].servers[1].weight = 0;
        to.pools[0].servers[2].weight = 0;
    });
    let mut recording = recorded();
    // Slow enough that one server was never seen to hold what all three do.
    recording.kept.iter_mut().for_each(|request| request.service_us *= 10);
    let forecast = crate::forecast(&configuration(), &to, Some(&recording));
    let [last, other, _] = &forecast.pools[0].servers[..] else { panic!("three servers") };
    assert!((last.share, other.share) == (Some(1.0), Some(0.0)), "{forecast:?}");
    assert!((forecast.pools[0].moved - 0.667).abs() < 0.02, "{forecast:?}");
    assert!(last.in_flight > last.in_flight_before.map(|held| held * 3.0), "{last:?}");
    assert!(last.p99_us > last.p99_us_before.map(|us| us * 3) && other.p99_us.is_none());
    assert_eq!(forecast.broken.len(), 2, "{:?}", forecast.broken);
}

#[test]
fn requests_of_a_route_that_is_gone_are_lost() {
    let to = changed(|to| drop(to.routes.remove(1)));
    let recording = recorded();
    let web = recording.kept.iter().filter(|request| request.route == 1).count() as u64;
    let forecast = crate::forecast(&configuration(), &to, Some(&recording));
    assert_eq!(forecast.lost, web);
    // Nothing leads to the pool any more, so it is tried with a synthetic load.
    assert!(forecast.pools[1].servers.iter().all(|server| server.in_flight.is_none()));
}

#[test]
fn a_route_that_changes_its_pool_moves_its_requests() {
    let to = changed(|to| to.routes[0].action = Action::Forward { pool: 1, rewrite: None });
    let forecast = crate::forecast(&configuration(), &to, Some(&recorded()));
    let web = &forecast.pools[1];
    assert!((web.moved - 2.0 / 3.0).abs() < 0.03, "{web:?}");
    let held = web.servers.iter().map(|server| server.in_flight.zip(server.in_flight_before));
    for (after, before) in held.map(|held| held.expect("both were replayed")) {
        assert!(after > 2.5 * before && after < 3.5 * before, "{web:?}");
    }
    assert_eq!((forecast.lost, forecast.broken.len()), (0, 1), "{:?}", forecast.broken);
}

#[test]
fn servers_that_join_and_leave_are_both_there() {
    let to = changed(|to| {
        to.pools[1].servers.remove(0);
        to.pools[1].servers.push(server(13, 1));
    });
    let forecast = crate::forecast(&configuration(), &to, None);
    let servers = forecast.pools[1].servers.iter().map(|server| {
        let rounded = |share: f64| (share * 10.0).round();
        (&*server.address, server.share_before.map(rounded), server.share.map(rounded))
    });
    let expected = [
        ("10.0.0.12:80", Some(5.0), Some(5.0)),
        ("10.0.0.13:80", None, Some(5.0)),
        ("10.0.0.11:80", Some(5.0), None),
    ];
    assert!(servers.eq(expected), "{forecast:?}");
}

#[test]
fn a_limit_that_refuses_requests_is_told() {
    let to = changed(|to| to.pools[0].in_flight_max = 1);
    let mut recording = recorded();
    recording.kept.iter_mut().for_each(|request| request.service_us *= 10);
    let forecast = crate::forecast(&configuration(), &to, Some(&recording));
    assert!(forecast.pools[0].refused > 0.5, "{forecast:?}");
}

#[test]
fn a_recording_that_makes_no_sense_does_no_harm() {
    let odd = RecordedRequest {
        at_ms: u32::MAX,
        weight: u32::MAX,
        route: 9,
        server: u16::MAX,
        key: 0,
        bytes: 0,
        service_us: u32::MAX,
    };
    let mut recording = recorded();
    recording.kept.extend([odd, RecordedRequest { route: 0, ..odd }, RecordedRequest::default()]);
    let forecast = crate::forecast(&configuration(), &configuration(), Some(&recording));
    assert!(forecast.pools.iter().all(|pool| pool.moved.abs() < 1e-9));
}

#[test]
fn what_a_hair_of_latency_moves_at_rest_refuses_nothing() {
    let world = World {
        routes: vec![("api", 20.0), ("web", 10.0)],
        service_us: 200.0,
        slow: Vec::new(),
        places: 8,
        seconds: 20,
        sampled: 1,
    };
    let to = changed(|to| to.pools[0].servers.push(server(9, 1)));
    for seed in 0..5 {
        let (mut recording, _) = run(&world, &configuration(), seed);
        // All but the last of the live servers are slower by a half.
        let slow = recording.kept.iter_mut().filter(|request| request.server < 2);
        slow.for_each(|request| request.service_us += request.service_us / 2);
        let forecast = crate::forecast(&configuration(), &to, Some(&recording));
        let pool = &forecast.pools[0];
        assert!(pool.moved < 0.27, "{pool:?}");
        let intended: f64 = pool.servers.iter().filter_map(|server| server.share_intended).sum();
        assert!((intended - 1.0).abs() < 1e-9, "{pool:?}");
        assert!(forecast.broken.is_empty(), "{:?}", forecast.broken);
    }
}
