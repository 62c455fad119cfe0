//! What a gate keeps over a reload, and how it opens again after an outage.

use super::*;
use crate::tests::{at_ms, pool};

fn addresses(count: u16) -> Vec<SocketAddr> {
    (1..=count).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect()
}

fn gate(servers: u16, previous: Option<&Gate>) -> Gate {
    Gate::build(&pool("web"), &addresses(servers), 1, previous, at_ms(0))
}

fn sample(ended_ms: u64, ending: Ending) -> LimiterSample {
    let began = at_ms(ended_ms.saturating_sub(5));
    LimiterSample { began, ended: at_ms(ended_ms), in_flight: 1, ending }
}

/// Attempts that end so (`f` failed, `l` the client left, `a` answered), one every 100 ms;
/// expected: whether the gate holds back after the last.
fn check(script: &str, holds_back: bool) {
    let gate = gate(1, None);
    let mut ms = 0;
    for ending in script.chars() {
        ms += 100;
        let ending = match ending {
            'f' => Ending::Failed,
            'l' => Ending::Left,
            _ => Ending::Answered,
        };
        let _moved = gate.record(0, &sample(ms, ending), 1);
    }
    let limit = gate.limit().unwrap();
    let allowed = gate.allowed(at_ms(ms)).unwrap();
    assert_eq!(allowed < limit, holds_back, "{script}: {allowed} of {limit}");
}

#[test]
fn an_outage_is_a_second_of_failures_only() {
    check("afffffffffffa", true);
    check("afffffffffa", false);
    check("afffffaffffffffa", false);
    check("alllllllllllllla", false);
    check("afffffffffffaa", true);
}

#[test]
fn after_an_outage_the_limit_rises_from_an_eighth_in_a_second_and_a_half() {
    let gate = gate(1, None);
    for tenth in 0..=11 {
        gate.unserved(at_ms(100 * tenth));
    }
    assert_eq!(gate.allowed(at_ms(1_100)), Some(20));
    let _moved = gate.record(0, &sample(1_200, Ending::Answered), 1);
    let allowed = [0, 500, 1_000, 1_499, 1_500].map(|ms| gate.allowed(at_ms(1_200 + ms)).unwrap());
    assert_eq!(allowed, [2, 8, 14, 19, 20]);
}

#[test]
fn what_was_learned_of_a_server_is_kept_by_its_address() {
    let first = gate(2, None);
    let turned = [addresses(3)[1], addresses(3)[2]];
    let second = Gate::build(&pool("web"), &turned, 1, Some(&first), at_ms(9));
    assert!(Arc::ptr_eq(&first.servers[1].limiter, &second.servers[0].limiter));
    assert!(!Arc::ptr_eq(&first.servers[0].limiter, &second.servers[1].limiter));
    assert!(Arc::ptr_eq(&first.limiter, &second.limiter));
    let pass = first.enter(&mut None, at_ms(9)).unwrap();
    assert_eq!((second.in_flight(), pass.in_flight()), (1, 1));
    // Other workers: the queues are new, what is in flight is not.
    let third = Gate::build(&pool("web"), &turned, 4, Some(&second), at_ms(9));
    assert_eq!(third.in_flight(), 1);
    drop(pass);
    assert_eq!((first.in_flight(), third.in_flight()), (0, 0));
}

#[test]
fn a_servers_limit_is_told_when_it_moves() {
    let gate = gate(1, None);
    let limit = gate.server_limit(0);
    assert_eq!(gate.record(0, &sample(10, Ending::Answered), 1), Some(limit));
    assert_eq!(gate.record(0, &sample(11, Ending::Answered), 1), None);
    assert_eq!(gate.record(7, &sample(12, Ending::Answered), 1), None);
}

#[test]
fn without_measuring_nothing_limits_but_the_servers_themselves() {
    let mut settings = pool("web");
    settings.admission.adaptive = false;
    let gate = Gate::build(&settings, &addresses(1), 1, None, at_ms(0));
    let passes: Vec<Pass> = (0..100).filter_map(|_| gate.enter(&mut None, at_ms(0))).collect();
    assert_eq!((passes.len(), gate.limit(), gate.server_limit(0)), (100, None, 0));
    assert!(!gate.is_busy(true, at_ms(0)) && gate.is_busy(false, at_ms(0)));
    assert_eq!(gate.record(0, &sample(10, Ending::Answered), 1), None);
}

#[test]
fn an_overload_that_nobody_looks_at_any_more_ends() {
    let gate = gate(1, None);
    gate.shared.board.overloads(0, at_ms(0));
    assert!(gate.is_overloaded(at_ms(499)) && !gate.is_overloaded(at_ms(500)));
}

#[test]
fn a_pass_may_end_on_another_worker() {
    let gate = gate(1, None);
    let pass = gate.enter(&mut None, at_ms(0)).unwrap();
    std::thread::spawn(move || drop(pass)).join().unwrap();
    assert_eq!(gate.in_flight(), 0);
}
