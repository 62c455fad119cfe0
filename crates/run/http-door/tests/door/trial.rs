//! A candidate beside what is live: one worker, real sockets, two servers that say who they are.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use http_door::worker::{Candidate, Command};
use model::arm::ArmFacts;
use model::configuration::{Balance, HashKey};
use net::clock;

use crate::harness::{self, Door, Origin, Setup, get, post};

const LIVE: &str = "live";
const CANDIDATE: &str = "candidate";

/// A door before the server `a`, and a candidate that has the server `b` in its place.
fn door_and_candidate(balance: &Balance, share: f64) -> (Door, Arc<Candidate>, [Origin; 2]) {
    let origins = [Origin::start("a"), Origin::start("b")];
    let setup = |version, server, methods: &[&str]| Setup {
        key: Some(if version == LIVE { "one" } else { "two" }),
        version,
        server,
        methods: methods.iter().map(|method| (*method).into()).collect(),
        balance: balance.clone(),
        workers: 1,
    };
    let door = Door::start(setup(LIVE, origins[0].address, &[]));
    let live = door.build(setup(CANDIDATE, origins[1].address, &["GET"]), Some(&door.live));
    (door, Arc::new(Candidate::new(live, share)), origins)
}

/// Asks until the answer is `wanted`: what the worker was told has then reached it.
fn until(client: &mut TcpStream, wanted: &str) -> u64 {
    let asked = (1..=10_000).find(|_| get(client, "/", "") == (200, wanted.to_owned()));
    asked.expect("a command takes less than ten thousand requests")
}

/// How many of `count` requests the candidate's server answered.
fn of_candidate(client: &mut TcpStream, count: usize) -> u64 {
    let answers = (0..count).map(|_| get(client, "/", "").1);
    answers.filter(|body| body == "b").count() as u64
}

#[test]
fn the_candidate_gets_its_share_and_each_arm_its_own_facts() {
    let (door, candidate, origins) = door_and_candidate(&Balance::RoundRobin, 0.3);
    let mut collector = candidate.collector();
    let mut client = door.connect();
    assert_eq!(of_candidate(&mut client, 50), 0);
    door.tell(Command::Try(Some(Arc::clone(&candidate))));
    until(&mut client, "b");
    let share = of_candidate(&mut client, 1_000);
    // Six standard deviations of a binomial distribution on each side.
    assert!((213..=387).contains(&share), "{share}");
    // The record of the last request follows its answer.
    let (mut live, mut tried) = (ArmFacts::default(), ArmFacts::default());
    let end = clock::now() + std::time::Duration::from_secs(10);
    while tried.requests <= share || live.requests < 1_000 - share {
        let (of_live, of_candidate) = collector.collect();
        live = sum(live, &of_live);
        tried = sum(tried, &of_candidate);
        assert!(clock::now() < end, "{live:?} {tried:?}");
    }
    assert_eq!((tried.requests, tried.failures), (share + 1, 0));
    for (facts, origin) in [(&live, &origins[0]), (&tried, &origins[1])] {
        let server = &facts.pools[0].servers[0];
        assert_eq!(server.address, origin.address.to_string());
        assert_eq!(server.requests, facts.requests);
    }
    let recording = door.registry.recording(clock::now());
    assert!(recording.requests >= 1_051 && recording.routes == ["all"], "{recording:?}");
    assert_eq!(recording.servers.len(), 2);
}

/// Adds up what is compared here; the place of the servers is that of the second.
fn sum(mut facts: ArmFacts, more: &ArmFacts) -> ArmFacts {
    facts.requests += more.requests;
    facts.failures += more.failures;
    if facts.pools.is_empty() {
        facts.pools.clone_from(&more.pools);
    } else if !more.pools.is_empty() {
        facts.pools[0].servers[0].requests += more.pools[0].servers[0].requests;
    }
    facts
}

#[test]
fn what_is_promoted_serves_everything_over_the_same_connection() {
    let (door, candidate, _origins) = door_and_candidate(&Balance::RoundRobin, 0.2);
    let mut client = door.connect();
    door.tell(Command::Try(Some(Arc::clone(&candidate))));
    until(&mut client, "b");
    door.tell(Command::Live(Arc::clone(candidate.live())));
    let rows = (0..1_000).find(|_| of_candidate(&mut client, 30) == 30);
    assert!(rows.is_some(), "the candidate was not promoted");
    assert_eq!(of_candidate(&mut client, 200), 200);
}

#[test]
fn a_trial_that_ends_leaves_its_requests_in_flight_in_their_arm() {
    let (door, candidate, origins) = door_and_candidate(&Balance::RoundRobin, 1.0);
    let mut client = door.connect();
    door.tell(Command::Try(Some(candidate)));
    until(&mut client, "b");
    assert_eq!(of_candidate(&mut client, 50), 50);
    let mut waiting = door.connect();
    harness::send(&mut waiting, "GET", "/wait", "");
    origins[1].has_request_waiting();
    door.tell(Command::Try(None));
    until(&mut client, "a");
    assert_eq!(of_candidate(&mut client, 50), 0);
    origins[1].release();
    assert_eq!(harness::receive(&mut waiting), (200, "b".to_owned()));
    assert_eq!(get(&mut waiting, "/", ""), (200, "a".to_owned()));
}

/// What one of the two configurations knows its client by is enough while both serve.
#[test]
fn websockets_stay_as_long_as_a_configuration_knows_their_client() {
    for promoted in [false, true] {
        let (door, candidate, _origins) = door_and_candidate(&Balance::RoundRobin, 1.0);
        let mut client = door.connect();
        let mut of_live = harness::websocket(door.connect(), "one");
        door.tell(Command::Try(Some(Arc::clone(&candidate))));
        until(&mut client, "b");
        let mut of_candidate = harness::websocket(door.connect(), "two");
        let mut unknown = harness::websocket(door.connect(), "three");
        for (socket, server) in [(&mut of_live, "a"), (&mut of_candidate, "b")] {
            assert_eq!(get(socket, "/", ""), (200, server.to_owned()));
        }
        let (command, mut ends, mut stays) = if promoted {
            (Command::Live(Arc::clone(candidate.live())), of_live, of_candidate)
        } else {
            (Command::Try(None), of_candidate, of_live)
        };
        door.tell(command);
        assert_eq!(ends.read(&mut [0]).expect("the door ends it"), 0, "{promoted}");
        assert_eq!(get(&mut stays, "/", "").0, 200);
        assert_eq!(get(&mut unknown, "/", "").0, 200);
    }
}

#[test]
fn the_doors_own_answers_name_the_configuration_they_are_from() {
    let (door, candidate, _origins) = door_and_candidate(&Balance::RoundRobin, 1.0);
    let mut client = door.connect();
    door.tell(Command::Try(Some(candidate)));
    until(&mut client, "b");
    let (status, body) = post(&mut client);
    assert_eq!(status, 405);
    assert!(body.contains("configuration: candidate"), "{body}");
}

#[test]
fn a_session_that_is_bound_to_a_server_stays_in_one_arm() {
    let balance = Balance::Maglev(HashKey::Header("x-session".into()));
    let (door, candidate, _origins) = door_and_candidate(&balance, 0.5);
    let mut client = door.connect();
    door.tell(Command::Try(Some(candidate)));
    // Without a session, each request is a choice of its own.
    until(&mut client, "b");
    let mut tried = 0;
    for session in 0..200 {
        let header = format!("x-session: {session}\r\n");
        let (_, arm) = get(&mut client, "/", &header);
        for _ in 0..4 {
            assert_eq!(get(&mut client, "/", &header).1, arm, "session {session}");
        }
        tried += u32::from(arm == "b");
    }
    assert!((60..140).contains(&tried), "{tried}");
}
