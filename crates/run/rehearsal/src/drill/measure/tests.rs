//! What is measured, on records that are written out second by second.

use super::*;

/// Seconds as `DUE/OK/FAILED[/DROPPED[/IN_FLIGHT]]`; each success took as many microseconds as its second's number.
fn seconds(script: &str) -> Vec<Second> {
    let second = |(number, word): (usize, &str)| {
        let number = u64::try_from(number).unwrap();
        let counts: Vec<u64> = word.split('/').map(|count| count.parse().unwrap()).collect();
        let count = |at: usize| counts.get(at).copied().unwrap_or_default();
        let mut latency = Latencies::default();
        (0..count(1)).for_each(|_| latency.add(number));
        let stream = StreamSecond {
            due: count(0),
            ok: count(1),
            failed: count(2),
            by_failure: [("status 503".to_owned(), count(2))].into(),
            dropped: count(3),
            in_flight: count(4),
            connects: count(0),
            latency,
            ..StreamSecond::default()
        };
        Second { second: number, streams: vec![stream] }
    };
    script.split_whitespace().enumerate().map(second).collect()
}

fn expectation(measure: Measure, from_seconds: f64, to_seconds: f64) -> Expectation {
    Expectation {
        measure,
        from: Duration::from_secs_f64(from_seconds),
        to: Duration::from_secs_f64(to_seconds),
        at_least: None,
        at_most: None,
        pending: None,
    }
}

fn stream() -> Name {
    Name::from("web")
}

fn check(script: &str, measured: Measure, window: (f64, f64), expected: Option<f64>) {
    let record = Record { streams: vec![stream()], seconds: seconds(script), ..Record::default() };
    let found = measure(&record, &expectation(measured.clone(), window.0, window.1));
    assert_eq!(found, expected, "{measured:?} of {script} in {window:?}");
}

#[test]
fn success_counts_what_failed_was_dropped_or_hangs() {
    let check = |script, window, expected| {
        check(script, Measure::Success { stream: stream() }, window, expected);
    };
    check("10/10/0 10/5/5 10/10/0", (0.0, 3.0), Some(25.0 / 30.0));
    check("10/10/0 10/5/5 10/10/0", (1.0, 2.0), Some(0.5));
    check("10/8/0/2", (0.0, 1.0), Some(0.8));
    // What is under way for less than a second has done nothing wrong.
    check("10/10/0/0/0 10/5/0/0/5", (0.0, 2.0), Some(1.0));
    // A server that stopped: nothing ends, and yet it is no success.
    check("10/10/0/0/0 10/0/0/0/10 10/0/0/0/20 10/0/0/0/30", (0.0, 4.0), Some(10.0 / 30.0));
    // What hung before the window is not counted twice.
    check("10/0/0/0/10 10/0/0/0/20 10/10/0/0/20 10/10/0/0/20", (2.0, 4.0), Some(1.0));
    // Nothing was asked: there is no success to speak of.
    check("0/0/0 0/0/0", (0.0, 2.0), None);
    check("10/0/0/0/10", (0.0, 1.0), Some(0.0));
}

#[test]
fn an_answer_is_one_whatever_its_status() {
    let answered = || Measure::Answered { stream: stream() };
    check("10/5/5", answered(), (0.0, 1.0), Some(1.0));
    check("10/5/3/2", answered(), (0.0, 1.0), Some(0.8));
    let timeout = [("timeout".to_owned(), 5)].into();
    let second = StreamSecond { ok: 5, failed: 5, by_failure: timeout, ..StreamSecond::default() };
    let seconds = vec![Second { second: 0, streams: vec![second] }];
    let record = Record { streams: vec![stream()], seconds, ..Record::default() };
    assert_eq!(measure(&record, &expectation(answered(), 0.0, 1.0)), Some(0.5));
}

#[test]
fn only_whole_recorded_seconds_inside_the_window_count() {
    let goodput = || Measure::Goodput { stream: stream() };
    check("10/1/0 10/2/0 10/4/0 10/8/0", goodput(), (0.5, 3.5), Some(3.0));
    check("10/1/0 10/2/0 10/4/0 10/8/0", goodput(), (2.0, 9.0), Some(6.0));
    check("10/1/0", goodput(), (0.2, 0.9), None);
    check("10/1/0", goodput(), (5.0, 9.0), None);
    check("10/1/0", Measure::Goodput { stream: Name::from("nobody") }, (0.0, 1.0), None);
    check("10/1/0 30/1/0", Measure::ConnectsPerSecond { stream: stream() }, (0.0, 2.0), Some(20.0));
}

#[test]
fn latency_without_a_success_is_longer_than_any_bound() {
    let p50 = || Measure::P50Ms { stream: stream() };
    check("1/0/0 1/1/0 1/1/0 1/1/0", p50(), (1.0, 4.0), Some(0.002));
    check("1/0/1 1/0/1", p50(), (0.0, 2.0), Some(f64::INFINITY));
    check("0/0/0 0/0/0", p50(), (0.0, 2.0), None);
}

#[test]
fn recovery_is_three_good_seconds_in_a_row() {
    let check = |script, window, expected| {
        check(script, Measure::RecoverySeconds { stream: stream() }, window, expected);
    };
    check("9/9/0 9/9/0 9/9/0", (0.0, 3.0), Some(0.0));
    check("9/0/9 9/9/0 9/0/9 9/9/0 9/9/0 9/9/0", (0.0, 6.0), Some(3.0));
    check("9/0/9 9/9/0 9/9/0 9/9/0", (0.5, 4.0), Some(0.5));
    check("9/0/9 9/0/9 9/9/0 9/9/0", (0.0, 4.0), Some(f64::INFINITY));
    // What has yet to fail has not recovered.
    check("9/9/0 9/9/0 9/9/0 9/0/9 9/9/0 9/9/0 9/9/0", (0.0, 7.0), Some(4.0));
    check("9/9/0 9/9/0 9/9/0 9/0/9 9/9/0 9/9/0", (0.0, 6.0), Some(f64::INFINITY));
    // A stall is no recovery, and neither is silence.
    check("9/1/0 9/1/0 9/1/0", (0.0, 3.0), Some(f64::INFINITY));
    check("0/0/0 0/0/0 0/0/0", (0.0, 3.0), None);
    // A slow stream has seconds without any request.
    check("1/1/0 0/0/0 1/1/0", (0.0, 3.0), Some(0.0));
}

#[test]
fn shares_are_of_the_answers_that_servers_gave() {
    let by_server =
        [("a", 6), ("b", 2), ("none", 90)].map(|(server, count)| (server.to_owned(), count));
    let streams = vec![StreamSecond { by_server: by_server.into(), ..StreamSecond::default() }];
    let record = Record {
        servers: vec![Name::from("a"), Name::from("b"), Name::from("c")],
        seconds: vec![Second { second: 0, streams }],
        ..Record::default()
    };
    for (server, expected) in
        [(Some("b"), Some(0.25)), (Some("c"), Some(0.0)), (None, Some(0.75)), (Some("x"), None)]
    {
        let share = Measure::Share { server: server.map(Name::from) };
        assert_eq!(measure(&record, &expectation(share, 0.0, 1.0)), expected, "{server:?}");
    }
}

/// Looks at one server, one a second: `BUSY` of 5 places, with `!` when the door shows it as wrong,
/// with `?` when it shows nothing, or `-` when the server does not answer.
fn looks(script: &str) -> Record {
    let look = |(second, word): (usize, &str)| {
        let busy: Option<u64> = word.trim_end_matches(['!', '?']).parse().ok();
        let gauges = busy.map(|busy| Gauges {
            places: 5,
            busy,
            served: busy,
            failed: 1,
            database_failures: 10 * busy,
            ..Gauges::default()
        });
        let wrong = word.ends_with('!');
        let state = (!word.ends_with('?')).then(|| if wrong { "down" } else { "up" }.to_owned());
        Looked {
            at: Duration::from_secs(u64::try_from(second).unwrap()),
            servers: vec![Seen { gauges, state, wrong }],
            rollbacks: None,
        }
    };
    Record {
        streams: vec![stream()],
        servers: vec![Name::from("a")],
        seconds: seconds("4/4/0 4/4/0 4/4/0 4/4/0"),
        looks: script.split_whitespace().enumerate().map(look).collect(),
        ..Record::default()
    }
}

fn check_looks(script: &str, measured: Measure, window: (f64, f64), expected: Option<f64>) {
    let found = measure(&looks(script), &expectation(measured.clone(), window.0, window.1));
    assert_eq!(found, expected, "{measured:?} of {script} in {window:?}");
}

#[test]
fn a_server_is_saturated_in_the_looks_that_found_no_place_free() {
    let saturated = || Measure::Saturated { server: Name::from("a") };
    check_looks("0 5 5 1", saturated(), (0.0, 4.0), Some(0.5));
    check_looks("0 5 5 1", saturated(), (1.0, 3.0), Some(1.0));
    check_looks("5 - - 1", saturated(), (0.0, 4.0), Some(0.5));
    check_looks("- - 5", saturated(), (0.0, 2.0), None);
}

#[test]
fn counts_grow_from_the_last_look_before_and_begin_anew_with_a_process() {
    let failures = || Measure::DatabaseFailures;
    check_looks("1 2 3 5", failures(), (1.0, 3.0), Some(20.0));
    check_looks("1 - 3 5", failures(), (1.0, 3.0), Some(20.0));
    check_looks("4 5 0 2", failures(), (1.0, 4.0), Some(30.0));
    check_looks("- -", failures(), (0.0, 2.0), None);
    // Served 1 to 5 and one error: four more than before the window, for eight requests.
    check_looks("1 3 5", Measure::AttemptsPerRequest, (1.0, 3.0), Some(0.5));
}

#[test]
fn detection_is_what_the_door_shows() {
    let detect = || Measure::DetectSeconds { server: Name::from("a") };
    check_looks("0 0 0! 0!", detect(), (1.0, 4.0), Some(1.0));
    check_looks("0! 0! 0", detect(), (1.0, 3.0), Some(0.0));
    check_looks("0! 0 0", detect(), (1.0, 3.0), Some(f64::INFINITY));
    check_looks("0? 0? 0?", detect(), (0.0, 3.0), None);
}

#[test]
fn a_change_is_found_by_its_time() {
    let at = Duration::from_secs(10);
    for (refused, expected) in [(true, Some(1.0)), (false, Some(0.0))] {
        let record = Record { changes: vec![Changed { due: at, refused }], ..Record::default() };
        assert_eq!(measure(&record, &expectation(Measure::ChangeRefused, 10.0, 20.0)), expected);
        assert_eq!(measure(&record, &expectation(Measure::ChangeRefused, 11.0, 20.0)), None);
    }
}

#[test]
fn what_nobody_does_yet_is_not_available() {
    let record = looks("0 0 0");
    for measured in [
        Measure::CauseSeconds { cause: "noisy-client".to_owned() },
        Measure::ActionSeconds { action: "roll back".to_owned() },
    ] {
        assert_eq!(measure(&record, &expectation(measured, 0.0, 3.0)), None);
    }
}
