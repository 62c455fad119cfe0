//! Which changes break which invariant, and which do not.

use model::configuration::{Allowance, Rate};

use super::*;

/// The messages that a change gives, without recorded traffic.
fn check(change: impl FnOnce(&mut Configuration), expected: &[&str]) {
    let forecast = crate::forecast(&configuration(), &changed(change), None);
    assert_eq!(forecast.broken, expected);
}

fn weigh(to: &mut Configuration, weights: [u32; 3]) {
    for (server, weight) in to.pools[0].servers.iter_mut().zip(weights) {
        server.weight = weight;
    }
    to.pools[0].balance = model::configuration::Balance::RoundRobin;
    to.changes.move_max = 1.0;
}

#[test]
fn the_same_configuration_breaks_nothing() {
    check(|_| (), &[]);
}

#[test]
fn one_server_gets_nearly_everything() {
    let ninety = "pool api: 10.0.0.1:80 would get 90 % of its requests, with 3 of 3 servers taking \
                  any; less than 90 % is wanted (invariants.share_max)";
    check(|to| weigh(to, [90, 5, 5]), &[ninety]);
    check(|to| weigh(to, [80, 10, 10]), &[]);
    let all = "pool api: 10.0.0.1:80 would get 100 % of its requests, with 1 of 3 servers taking \
               any; less than 90 % is wanted (invariants.share_max)";
    check(|to| weigh(to, [1, 0, 0]), &[all]);
    let allow = |to: &mut Configuration| {
        weigh(to, [1, 0, 0]);
        to.allowances.push(Allowance {
            rule: "lopsided-distribution".into(),
            at: Some("pools.api".into()),
            reason: "two are rebuilt".into(),
        });
    };
    check(allow, &[]);
}

#[test]
fn one_of_two_may_be_drained() {
    check(|to| to.pools[1].servers[0].drain = true, &[]);
}

#[test]
fn too_few_servers_are_left() {
    let drain = |to: &mut Configuration| {
        to.changes.move_max = 1.0;
        to.pools[1].servers.iter_mut().for_each(|server| server.drain = true);
    };
    let none = "pool web: 0 of 2 servers could take requests; at least 1 must \
                (invariants.eligible_min)";
    check(drain, &[none]);
    // A pool that never had as many is not asked for them.
    let three = |to: &mut Configuration| {
        to.invariants.eligible_min = 3;
        to.pools[0].servers[2].drain = true;
    };
    let two = "pool api: 2 of 3 servers could take requests; at least 3 must \
               (invariants.eligible_min)";
    check(three, &[two]);
}

#[test]
fn much_is_moved_at_once() {
    let replace = |to: &mut Configuration| to.pools[0] = pool("api", 21, &[1, 1, 1]);
    let all = "pool api: 100 % of its requests would move to other servers at once, more than \
               50 % (changes.move_max): the change needs a canary";
    check(replace, &[all]);
    check(|to| to.pools[0].servers[1].weight = 0, &[]);
    // The other route's requests are as new to these servers as the pool is old.
    let reroute = |to: &mut Configuration| {
        to.changes.move_max = 0.4;
        to.routes[0].action = Action::Forward { pool: 1, rewrite: None };
    };
    let half = "pool web: 50 % of its requests would move to other servers at once, more than \
                40 % (changes.move_max): the change needs a canary";
    check(reroute, &[half]);
}

#[test]
fn a_route_is_lost() {
    let lose = |keep: bool| {
        move |to: &mut Configuration| {
            to.invariants.keep_routes = keep;
            to.routes.remove(1);
        }
    };
    check(lose(true), &["route web would be lost (invariants.keep_routes)"]);
    check(lose(false), &[]);
}

#[test]
fn a_rate_falls() {
    let with_rates = |change: fn(&mut Configuration)| {
        changed(|to| {
            to.invariants.limit_drop_max = 0.5;
            to.clients = vec![client("partner")];
            to.limits = vec![limit("all", 100), limit("login", 10)];
            to.limits[1].observe = true;
            change(to);
        })
    };
    let check = |change: fn(&mut Configuration), expected: &[&str]| {
        let forecast = crate::forecast(&with_rates(|_| ()), &with_rates(change), None);
        assert_eq!(forecast.broken, expected);
    };
    let lower = |to: &mut Configuration| {
        to.clients[0].rate = Some(Rate { count: 1_200, per: Duration::from_secs(60) });
        to.clients[0].in_flight_max = Some(5);
        to.limits[0].rate.count = 40;
        to.limits[1].observe = false;
        to.admission.unknown_rate = Some(Rate { count: 7, per: Duration::from_secs(86_400) });
    };
    check(
        lower,
        &[
            "unregistered clients: the rate would fall from none to 7/d, by 100 %; at most 50 % is \
             allowed (invariants.limit_drop_max)",
            "client partner: the rate would fall from 50/s to 1200/m, by 60 %; at most 50 % is \
             allowed (invariants.limit_drop_max)",
            "client partner: the limit of requests in flight would fall from 20 to 5, by 75 %; at \
             most 50 % is allowed (invariants.limit_drop_max)",
            "limit all: the rate would fall from 100/s to 40/s, by 60 %; at most 50 % is allowed \
             (invariants.limit_drop_max)",
            "limit login: the rate would fall from none to 10/s, by 100 %; at most 50 % is allowed \
             (invariants.limit_drop_max)",
        ],
    );
    let sensible = |to: &mut Configuration| {
        to.clients[0].rate = Some(Rate { count: 1_500, per: Duration::from_secs(60) });
        to.limits[0].rate.count = 50;
        to.limits[1].rate.count = 1;
        to.clients[0].enabled = false;
    };
    check(sensible, &[]);
    check(|to| to.limits.clear(), &[]);
}

#[test]
fn a_limit_falls() {
    let lower = |to: &mut Configuration| {
        to.invariants.limit_drop_max = 0.5;
        to.door.connections_max = 9_999;
        to.listeners[0].limits.head_bytes_max = 8_192;
        to.listeners[0].limits.body_bytes_max = 1 << 20;
        to.pools[0].in_flight_max = 1_000;
        to.routes[1].body_bytes_max = Some(10 << 20);
    };
    check(
        lower,
        &[
            "door: the limit of connections would fall from 20000 to 9999, by 50 %; at most 50 % is \
             allowed (invariants.limit_drop_max)",
            "listener web: the body limit would fall from 100MiB to 1MiB, by 99 %; at most 50 % is \
             allowed (invariants.limit_drop_max)",
            "pool api: the limit of requests in flight would fall from none to 1000, by 100 %; at \
             most 50 % is allowed (invariants.limit_drop_max)",
            "route web: the body limit would fall from 100MiB to 10MiB, by 90 %; at most 50 % is \
             allowed (invariants.limit_drop_max)",
        ],
    );
    // By default any drop is allowed.
    check(|to| to.limits = vec![limit("all", 1)], &[]);
    check(|to| to.listeners[0].limits.body_bytes_max = 1, &[]);
}
