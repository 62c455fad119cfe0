//! The line as a whole, by scripts. The limit is 20, so that of one worker 40 may wait. Nobody is held
//! back but where a test says so.

use std::net::SocketAddr;

use super::*;
use crate::tests::{at_ms, pool};

fn gate(workers: usize) -> Arc<Gate> {
    gate_of(Duration::ZERO, workers)
}

/// Where requests of a burst wait for so long.
fn gate_of(burst_wait_max: Duration, workers: usize) -> Arc<Gate> {
    let addresses: [SocketAddr; 1] = ["10.0.0.1:80".parse().unwrap()];
    let mut pool = pool("web");
    pool.admission.burst_wait_max = burst_wait_max;
    let gate = Arc::new(Gate::build(&pool, &addresses, workers, None, at_ms(0)));
    gate.assume_found();
    gate
}

fn arrival(class: Class, flow: u64) -> Arrival {
    Arrival { class, flow, bytes: 1_000, newcomer: true, deadline: None, carried: None }
}

/// Takes all places there are.
fn fill(gate: &Arc<Gate>) -> Vec<Pass> {
    std::iter::from_fn(|| gate.enter(&mut None, at_ms(0))).collect()
}

/// Everybody who need not wait any more: `name` is served, `name!reason` is refused.
fn called(line: &mut Line<String>, passes: &mut Vec<Pass>, now: Timestamp) -> String {
    let mut all = Vec::new();
    while let Some(called) = line.next(true, now) {
        all.push(match called {
            Called::Serve { token, pass, .. } => {
                passes.push(pass);
                token
            }
            Called::Refuse { token, refusal, .. } => format!("{token}!{}", refusal.reason),
        });
    }
    all.join(" ")
}

/// Words: `nA` a normal request of flow A waits (`c` critical, `i` important, `b` bulk), `nA*9`
/// nine of them; `+N` N ms pass, in which the worker runs; `-` a place is freed; `?` nothing but a call. Tokens are numbered
/// from 1. Expected: who was called after each `-` and `?`, by `/`.
fn check(script: &str, expected: &str) {
    check_at(&gate(1), script, expected);
}

/// As `check`, where requests take 102 ms, so that 195 a second can be served, and those of a burst
/// wait for up to a second.
fn check_burst(script: &str, expected: &str) {
    let gate = gate_of(Duration::from_secs(1), 1);
    gate.assume_service(100_000, at_ms(0));
    check_at(&gate, script, expected);
}

fn check_at(gate: &Arc<Gate>, script: &str, expected: &str) {
    let mut passes = fill(gate);
    let mut line = Line::new(Arc::clone(gate), 0);
    let (mut number, mut now, mut seen) = (0, 0, Vec::new());
    for word in script.split(' ') {
        if let Some(ms) = word.strip_prefix('+') {
            now += ms.parse::<u64>().unwrap();
            line.looked_at(at_ms(now));
            continue;
        }
        if word == "-" {
            drop(passes.pop());
        }
        if word == "-" || word == "?" {
            seen.push(called(&mut line, &mut passes, at_ms(now)));
            continue;
        }
        let (who, times) = word.split_once('*').unwrap_or((word, "1"));
        let class = match who.as_bytes()[0] {
            b'c' => Class::Critical,
            b'i' => Class::Important,
            b'n' => Class::Normal,
            _ => Class::Bulk,
        };
        for _ in 0..times.parse().unwrap() {
            number += 1;
            let arrival = arrival(class, u64::from(who.as_bytes()[1]));
            let token = || format!("{who}{number}");
            if let Err(reason) = line.push(arrival, token, at_ms(now)) {
                seen.push(format!("{}!{reason}", token()));
            }
        }
    }
    assert_eq!(seen.join("/"), expected, "{script}");
    drop((line, passes));
    assert_eq!((gate.in_flight(), gate.shared.board.waiting()), (0, 0), "{script}");
}

#[test]
fn who_waits_is_served_in_turn_when_a_place_is_freed() {
    check("nA nB ? - - -", "/nA1/nB2/");
    check("nA nA nA nB nB - - -", "nA1/nB4/nB5");
}

#[test]
fn the_more_important_class_goes_first() {
    check("bA nB iC cD - - - -", "cD4/iC3/nB2/bA1");
}

#[test]
fn the_newest_of_the_longest_flow_gives_way() {
    check("nA*39 nB nC ?", "nA39!queue_full");
    check("nA*40 nA", "nA41!queue_full");
    check("nA*20 nB*20 nB", "nB41!queue_full");
}

#[test]
fn the_least_important_gives_way() {
    check("nA*39 bB nC ?", "bB40!queue_full");
    check("nA*40 bB", "bB41!queue_full");
    check("nA*40 cB ?", "nA40!queue_full");
}

#[test]
fn a_burst_is_held_back_and_served_when_nobody_else_waits() {
    // The line has its 40 until they have waited for 100 ms.
    check_burst("nA*43 ? nB - -", "/nB44/nA1");
    // Then they are held back as well, and the newest of all is first.
    check_burst("nA*43 +60 ? +60 ? - nB - -", "//nA43/nB44/nA42");
    check_burst("bA*41 +110 ? cA*41 +110 ? - -", "//cA82/cA81");
}

#[test]
fn no_more_of_a_burst_is_held_back_than_can_be_served_in_time() {
    // 195 in a second, beside the 40 who wait as always.
    check_burst("nA*236", "nA236!queue_full");
    let refused = |from, to| {
        (from..=to).map(|n| format!("nA{n}!queue_timeout")).collect::<Vec<_>>().join(" ")
    };
    // Two were served in half a second: at twice that pace three more are in time.
    check_burst("nA*10 +110 ? - - +510 ?", &format!("/nA10/nA9/{}", refused(1, 5)));
    // Nothing is left over.
    check_burst("nA*10 +110 ? +510 ?", &format!("/{}", refused(1, 10)));
}

#[test]
fn nobody_is_held_back_where_somebody_was_refused() {
    check_burst("nA +110 ? +510 ? nB +110 ?", "/nA1!queue_timeout/nB2!queue_timeout");
    check_burst("nA +110 ? +510 ? +2010 nB +110 ? -", "/nA1!queue_timeout//nB2");
}

#[test]
fn more_may_wait_while_the_limit_is_a_guess() {
    let addresses: [SocketAddr; 1] = ["10.0.0.1:80".parse().unwrap()];
    let gate = Arc::new(Gate::build(&pool("web"), &addresses, 1, None, at_ms(0)));
    let mut line = Line::new(Arc::clone(&gate), 0);
    let join = |line: &mut Line<()>, at| line.push(arrival(Class::Normal, at), || (), at_ms(0));
    assert!((0..256).all(|flow| join(&mut line, flow).is_ok()));
    assert_eq!(join(&mut line, 256), Err(Reason::QueueFull));
    line.looked_at(at_ms(190));
    assert!(line.next(false, at_ms(199)).is_none());
    let Some(Called::Refuse { refusal, .. }) = line.next(false, at_ms(210)) else {
        panic!("its time is over");
    };
    assert_eq!(refusal.reason, Reason::QueueTimeout);
    gate.assume_found();
    assert_eq!(join(&mut line, 257), Err(Reason::QueueFull));
}

/// Who is refused after a wait comes back as spread as who is refused at once; who is too late is
/// told no more than who was on arrival.
#[test]
fn who_waited_is_told_when_to_come_back() {
    let check = |flow, deadline: Option<Timestamp>, others: usize, expected: Refusal| {
        let gate = gate(1);
        let _passes = fill(&gate);
        let mut line = Line::new(Arc::clone(&gate), 0);
        let first = Arrival { deadline, ..arrival(Class::Bulk, flow) };
        line.push(first, || 0, at_ms(0)).unwrap();
        for other in 1..=others {
            line.push(arrival(Class::Normal, other as u64), || other, at_ms(0)).unwrap();
        }
        line.looked_at(at_ms(300));
        let called = line.next(false, at_ms(if others > 0 { 0 } else { 300 }));
        let Some(Called::Refuse { token: 0, refusal, .. }) = called else {
            panic!("the first is refused: {called:?}");
        };
        assert_eq!(refusal, expected);
    };
    for flow in 100..103 {
        check(flow, None, 0, Refusal::busy(Reason::QueueTimeout, flow));
        check(flow, None, 40, Refusal::busy(Reason::QueueFull, flow));
        check(flow, Some(at_ms(200)), 0, Refusal::because(Reason::TooLate));
    }
}

/// A worker that stood still gives those who wait as long again as it stood.
#[test]
fn standing_still_is_no_waiting() {
    let gate = gate(1);
    let mut passes = fill(&gate);
    let mut line = Line::new(Arc::clone(&gate), 0);
    line.push(arrival(Class::Normal, 1), || "one".to_owned(), at_ms(0)).unwrap();
    line.looked_at(at_ms(10));
    assert_eq!(called(&mut line, &mut passes, at_ms(510)), "");
    assert_eq!(called(&mut line, &mut passes, at_ms(540)), "");
    assert_eq!(called(&mut line, &mut passes, at_ms(570)), "one!queue_timeout");
}

#[test]
fn who_waits_too_long_is_refused() {
    check("nA +60 nB +40 ? +5 ? +60 ?", "/nA1!queue_timeout/nB2!queue_timeout");
}

#[test]
fn in_overload_the_newest_of_a_flow_goes_first() {
    // For 100 ms nobody was served who had not waited for more than 50 ms.
    let warm = "nA*8 +60 - +10 - +10 - +20 - +20 nA*3";
    let too_long = "nA5!queue_timeout nA6!queue_timeout nA7!queue_timeout nA8!queue_timeout";
    check(&format!("{warm} +50 nA nA - -"), &format!("nA1/nA2/nA3/nA4/{too_long} nA13/nA12"));
}

#[test]
fn what_cannot_be_answered_in_time_is_not_begun() {
    let gate = gate(1);
    let mut passes = fill(&gate);
    let mut line = Line::new(Arc::clone(&gate), 0);
    for (name, deadline_ms) in [("soon", 10), ("late", 90)] {
        let deadline = Some(at_ms(deadline_ms));
        let arrival = Arrival { deadline, ..arrival(Class::Normal, deadline_ms) };
        let _ticket = line.push(arrival, || name.to_owned(), at_ms(0)).unwrap();
    }
    drop(passes.pop());
    assert_eq!(called(&mut line, &mut passes, at_ms(10)), "soon!too_late late");
}

#[test]
fn who_hangs_up_gives_its_place_back_at_once() {
    let gate = gate(1);
    let mut passes = fill(&gate);
    let mut line = Line::new(Arc::clone(&gate), 0);
    let push = |line: &mut Line<String>, name: &str| {
        line.push(arrival(Class::Normal, 1), || name.to_owned(), at_ms(0)).unwrap()
    };
    let (first, _second) = (push(&mut line, "first"), push(&mut line, "second"));
    assert!(line.leave(first) && !line.leave(first));
    assert_eq!((line.len(), gate.facts(at_ms(1)).waiting), (1, 1));
    drop(passes.pop());
    assert_eq!(called(&mut line, &mut passes, at_ms(1)), "second");
}

#[test]
fn bytes_are_bounded() {
    let gate = gate(1);
    let mut line = Line::new(Arc::clone(&gate), 0);
    let large = |flow| Arrival { bytes: BYTES_MAX / 2, ..arrival(Class::Normal, flow) };
    for flow in [1, 2] {
        let _ticket = line.push(large(flow), || flow.to_string(), at_ms(0)).unwrap();
    }
    let refused = line.push(arrival(Class::Normal, 3), String::new, at_ms(0));
    assert_eq!(refused, Err(Reason::QueueFull));
    let more_important = line.push(arrival(Class::Critical, 3), String::new, at_ms(0));
    assert!(more_important.is_ok());
    assert_eq!(line.len(), 2);
}

#[test]
fn a_free_place_is_left_to_the_worker_it_is_due_to_but_not_for_long() {
    let gate = gate(2);
    let mut passes = fill(&gate);
    let mut lines = [0, 1].map(|worker| Line::new(Arc::clone(&gate), worker));
    for (line, class) in lines.iter_mut().zip([Class::Bulk, Class::Critical]) {
        let _ticket = line.push(arrival(class, 1), || class.name().to_owned(), at_ms(0)).unwrap();
    }
    drop(passes.pop());
    assert_eq!(called(&mut lines[0], &mut passes, at_ms(1)), "");
    assert_eq!((gate.waits_elsewhere(0), gate.waits_elsewhere(1)), (Some(1), Some(0)));
    assert_eq!(gate.due_elsewhere(0, at_ms(1)), Some(1));
    // The other worker is busy with something else for more than a millisecond.
    assert_eq!(called(&mut lines[0], &mut passes, at_ms(3)), "bulk");
    assert_eq!(gate.due_elsewhere(0, at_ms(3)), None);
    drop(passes.pop());
    assert_eq!(called(&mut lines[1], &mut passes, at_ms(3)), "critical");
    assert_eq!(gate.waits_elsewhere(0), None);
}
