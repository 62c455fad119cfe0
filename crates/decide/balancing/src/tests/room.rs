//! Limits that were measured: they hold in every state, and say when waiting helps.

use super::*;

/// Servers as `U`p, `D`own or unknown (`?`), each with a measured limit, `0` for none. `max`: the
/// configuration's. Expected: how many requests each can be given at once, and then no more.
fn check(servers: &[(char, u32)], max: u32, expected: &[u32]) {
    for balance in algorithms() {
        let mut configuration = settings(balance);
        configuration.check = checks();
        configuration.in_flight_max = max;
        let pool = build(&configuration, &members(&vec![1; servers.len()]));
        for (index, &(state, limit)) in servers.iter().enumerate() {
            if state != '?' {
                drop(pool.report_check(index, state == 'U', at(1)));
            }
            pool.limit_server(index, limit);
        }
        let (mut dice, mut picks) = (Dice::new(3), Vec::new());
        while pool.has_room() {
            let request = PickRequest { hash: Some(dice.roll()), tried: &[] };
            picks.push(pool.pick(&request, at(100), &mut dice).expect("it has room"));
        }
        let held: Vec<u32> = pool.servers().iter().map(crate::Server::in_flight).collect();
        assert_eq!(held, expected, "{servers:?} {:?}", configuration.balance);
        let request = PickRequest { hash: Some(7), tried: &[] };
        assert_eq!(pool.pick(&request, at(100), &mut dice).unwrap_err(), NoServer::Full);
    }
}

#[test]
fn the_lower_limit_holds() {
    check(&[('U', 2), ('U', 5)], 0, &[2, 5]);
    check(&[('U', 2), ('U', 5), ('U', 0)], 3, &[2, 3, 3]);
}

#[test]
fn who_is_down_counts_only_in_panic() {
    check(&[('U', 2), ('U', 1), ('D', 4)], 0, &[2, 1, 0]);
    check(&[('U', 2), ('D', 4), ('D', 1), ('?', 9)], 0, &[2, 4, 1, 0]);
}

#[test]
fn where_nobody_may_take_any_waiting_does_not_help() {
    let mut configuration = settings(Balance::P2c);
    configuration.check = checks();
    let pool = build(&configuration, &members(&[1, 1]));
    assert!(pool.has_room() && build(&configuration, &[]).has_room());
}

#[test]
fn a_measured_limit_is_kept_over_a_rebuild_and_stated() {
    let configuration = settings(Balance::P2c);
    let pool = build(&configuration, &members(&[1, 1]));
    pool.limit_server(1, 3);
    pool.limit_server(7, 3);
    let pool = Pool::build(&configuration, &members(&[1, 1]), Some(&pool), at(2));
    let stated: Vec<Option<u32>> =
        pool.facts(at(2)).servers.iter().map(|server| server.in_flight_max).collect();
    assert_eq!(stated, [None, Some(3)]);
}

#[test]
fn a_stream_holds_no_place_of_a_measured_limit() {
    let mut configuration = settings(Balance::P2c);
    configuration.in_flight_max = 4;
    let pool = build(&configuration, &members(&[1]));
    pool.limit_server(0, 2);
    let mut dice = Dice::new(3);
    let mut pick = || pool.pick(&PickRequest::default(), at(1), &mut dice);
    let (mut first, mut second) = (pick().unwrap(), pick().unwrap());
    assert_eq!(pick().unwrap_err(), NoServer::Full);
    for stream in [&mut first, &mut second] {
        stream.detach();
        stream.detach();
    }
    let rest = (pick().unwrap(), pick().unwrap());
    assert_eq!((pick().unwrap_err(), pool.servers()[0].in_flight()), (NoServer::Full, 4));
    second.attach();
    assert_eq!((pick().unwrap_err(), pool.servers()[0].in_flight()), (NoServer::Full, 4));
    drop((first, second));
    assert_eq!((pick().unwrap_err(), pool.servers()[0].in_flight()), (NoServer::Full, 2));
    drop(rest);
    assert_eq!(pool.servers()[0].in_flight(), 0);
}
