//! What verdicts say in single cases.

use std::time::Duration;

use model::Configuration;
use model::arm::{ArmFacts, ArmPool, ArmServer, LATENCY_BUCKETS, latency_bucket};
use model::configuration::Allowance;
use model::fact::{PoolFacts, RouteFacts, ServerFacts, ServerState, Snapshot};
use rollout::{Canary, CanarySettings, CanaryVerdict, Watch, WatchVerdict};

use crate::simulated::watch::configuration;

/// The requests that each of the servers a, b and so on gets in a second; `-`: it is down.
fn second(servers: &str, uptime_seconds: u64) -> Snapshot {
    let servers = servers.split(' ').zip('a'..).map(|(requests, name)| ServerFacts {
        address: name.to_string(),
        state: if requests == "-" { ServerState::Down } else { ServerState::Up },
        weight: 1,
        requests: requests.parse().unwrap_or(0),
        ..ServerFacts::default()
    });
    let servers: Vec<_> = servers.collect();
    let requests = servers.iter().map(|server| server.requests).sum();
    let by_class = [0, requests, 0, 0, 0];
    Snapshot {
        uptime_seconds,
        routes: vec![RouteFacts {
            name: "web".to_owned(),
            requests,
            by_class,
            p50_us: (requests > 0).then_some(10_000),
            p99_us: (requests > 0).then_some(20_000),
            ..RouteFacts::default()
        }],
        pools: vec![PoolFacts { name: "web".to_owned(), servers, ..PoolFacts::default() }],
        ..Snapshot::default()
    }
}

/// Ten seconds of `before`, then `after` until there is a verdict.
fn check_watch(settings: &Configuration, before: &str, after: &str, expected: &str) {
    let history: Vec<_> = (1..=10).map(|at| second(before, at)).collect();
    let mut watch = Watch::new(settings, &history, 10);
    // A second from before the change that comes late is none of its own.
    assert_eq!(watch.second(&second(before, 10)), WatchVerdict::Watching);
    let mut seconds = (11..).map(|at| (at - 10, watch.second(&second(after, at))));
    let verdict =
        seconds.find(|(_, verdict)| *verdict != WatchVerdict::Watching).expect("every watch ends");
    assert_eq!(format!("{verdict:?}"), expected, "{before} -> {after}");
}

#[test]
fn a_watch_says_what_broke() {
    let settings = configuration();
    let check = |before, after, expected| check_watch(&settings, before, after, expected);
    check(
        "60 70 70",
        "200",
        "(1, Broken(\"pool web: a is to get 100 % of the requests, at most 90 % is allowed\"))",
    );
    check(
        "60 70 70",
        "100 0 0",
        "(4, Broken(\"pool web: a got 100 % of 400 requests, at most 90 % is allowed\"))",
    );
    check(
        "60 70 70",
        "- - -",
        "(3, Broken(\"pool web: 0 of 3 servers take requests, at least 1 must\"))",
    );
    check(
        "1 0 0",
        "1 0 0",
        "(30, Held(\"nothing broke in 30s: 0 of 30 requests (0.0 %) failed; that is too few to \
         see small harm\"))",
    );
}

#[test]
fn what_was_broken_before_is_not_held_against_a_change() {
    let settings = configuration();
    check_watch(
        &settings,
        "100 -",
        "100 -",
        "(30, Held(\"nothing broke in 30s: 0 of 3000 requests (0.0 %) failed; not held against \
         it: pool web sent 100 % of its requests to one server before the change, too\"))",
    );
    let mut settings = configuration();
    settings.invariants.eligible_min = 2;
    settings.invariants.share_max = 1.0;
    check_watch(
        &settings,
        "50 50 -",
        "100 - -",
        "(3, Broken(\"pool web: 1 of 3 servers take requests, at least 2 must\"))",
    );
    check_watch(
        &settings,
        "100 - -",
        "100 - -",
        "(30, Held(\"nothing broke in 30s: 0 of 3000 requests (0.0 %) failed; not held against \
         it: pool web had 1 eligible servers before the change, too\"))",
    );
}

#[test]
fn an_allowance_lets_one_server_get_all() {
    let mut settings = configuration();
    settings.pools.push(model::configuration::Pool { name: "web".into(), ..pool() });
    settings.allowances.push(Allowance {
        rule: "lopsided-distribution".into(),
        at: Some("pools.web".into()),
        reason: "one writer".into(),
    });
    check_watch(
        &settings,
        "60 70 70",
        "200 0 0",
        "(30, Held(\"nothing broke in 30s: 0 of 6000 requests (0.0 %) failed\"))",
    );
}

fn pool() -> model::configuration::Pool {
    use model::configuration::{Balance, Ejection, Pool, PoolAdmission, Retries, ServerTimeouts};
    let time = Duration::from_secs(1);
    Pool {
        protocol: model::configuration::ServerProtocol::default(),
        proxy_protocol: None,
        name: "web".into(),
        servers: Vec::new(),
        balance: Balance::P2c,
        zone: None,
        check: None,
        tls: None,
        timeouts: ServerTimeouts {
            connect: time,
            first_byte: time,
            progress: time,
            total: None,
            idle: time,
            tunnel_idle: time,
        },
        retries: Retries {
            attempts_max: 2,
            budget: 0.1,
            budget_min_per_second: 3,
            on_status: false,
        },
        ejection: Ejection { failures: 5, pause: time, pause_max: time, share_max: 0.5 },
        slow_start: time,
        in_flight_max: 0,
        admission: PoolAdmission::default(),
        idle_max: 1,
        resolve: time,
        capacity: None,
        peak_per_second: None,
    }
}

/// `requests failures milliseconds first-server's-requests`, every second.
fn arm(facts: &str) -> ArmFacts {
    let numbers: Vec<u64> =
        facts.split(' ').map(|number| number.parse().expect("a number")).collect();
    let [requests, failures, milliseconds, first] = numbers[..] else { panic!("{facts}") };
    let mut latencies = vec![0; LATENCY_BUCKETS];
    latencies[latency_bucket(milliseconds * 1_000)] = requests;
    let server =
        |address: &str, requests| ArmServer { address: address.to_owned(), requests, failures: 0 };
    let servers = vec![server("a", first), server("b", requests - first)];
    ArmFacts {
        requests,
        failures,
        latencies,
        pools: vec![ArmPool { name: "web".to_owned(), servers }],
    }
}

fn check_canary(live: &str, candidate: &str, expected: &str) {
    let mut settings = CanarySettings::new(&configuration(), 0.1, Duration::from_secs(60));
    settings.requests_min = 300;
    let mut canary = Canary::new(settings);
    let mut seconds = (1..).map(|at| (at, canary.second(&arm(live), &arm(candidate))));
    let verdict =
        seconds.find(|(_, verdict)| *verdict != CanaryVerdict::Watching).expect("every trial ends");
    assert_eq!(format!("{verdict:?}"), expected, "{live} against {candidate}");
}

#[test]
fn a_canary_says_why() {
    check_canary(
        "90 0 10 45",
        "10 0 10 5",
        "(60, Promote(\"no harm in 1m: 0 of 600 requests (0.0 %) failed, of the live generation \
         0 of 5400 requests (0.0 %)\"))",
    );
    check_canary(
        "90 0 10 45",
        "2 0 10 1",
        "(60, Undecided(\"not enough requests: 120 of 300 after 1m\"))",
    );
    check_canary(
        "2 0 10 1",
        "90 0 10 45",
        "(60, Undecided(\"not enough requests of the live generation: 120 of 300 after 1m\"))",
    );
    check_canary(
        "90 0 10 45",
        "10 2 10 5",
        "(3, RollBack(\"6 of 30 requests (20.0 %) failed, of the live generation 0 of 270 \
         requests (0.0 %)\"))",
    );
    check_canary(
        "90 0 10 45",
        "10 0 20 5",
        "(2, RollBack(\"p90 is 21 ms over 20 requests, of the live generation 10 ms over 180\"))",
    );
    check_canary(
        "90 0 10 45",
        "10 0 10 10",
        "(8, RollBack(\"pool web: a gets 100 % of 80 requests, at most 90 % is allowed; of the \
         live generation's 50 %\"))",
    );
}

#[test]
fn a_harm_that_begins_late_is_seen_soon() {
    let settings = CanarySettings::new(&configuration(), 0.5, Duration::from_secs(600));
    let mut canary = Canary::new(settings);
    let good = arm("50 1 10 25");
    for _ in 0..300 {
        assert_eq!(canary.second(&good, &good), CanaryVerdict::Watching);
    }
    let bad = arm("50 10 10 25");
    let mut seconds = (1..20).map(|at| (at, canary.second(&good, &bad)));
    let seen = seconds.find(|(_, verdict)| matches!(verdict, CanaryVerdict::RollBack(_)));
    assert_eq!(seen.map(|(at, _)| at), Some(5));
}

/// Ten seconds of 200 requests, all served; then `asked` a second, of which `refused` were not let in.
fn check_refusals(asked: u64, refused: u64, is_held_against_it: bool) {
    let mut settings = configuration();
    settings.changes.watch = Duration::from_secs(10);
    let history: Vec<_> = (1..=10).map(|at| second("60 70 70", at)).collect();
    let mut watch = Watch::new(&settings, &history, 10);
    let verdict = (11..)
        .map(|at| {
            let mut facts = second("60 70 70", at);
            let web = &mut facts.routes[0];
            web.requests = asked;
            web.refused = refused;
            web.by_class = [0, asked - refused, 0, 0, refused];
            watch.second(&facts)
        })
        .find(|verdict| *verdict != WatchVerdict::Watching);
    let broken = matches!(verdict, Some(WatchVerdict::Broken(_)));
    assert_eq!(broken, is_held_against_it, "{asked} asked, {refused} refused: {verdict:?}");
}

#[test]
fn a_surge_is_not_held_against_a_change() {
    check_refusals(200, 0, false);
    // Less is served of what was asked for before: the change did that.
    check_refusals(200, 100, true);
    // Far more is asked for; what was served before still is.
    check_refusals(2_000, 1_800, false);
    // The same, but less is served than before: clients may ask more because it fails.
    check_refusals(2_000, 1_900, true);
}
