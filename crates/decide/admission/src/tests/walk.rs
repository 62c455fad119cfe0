//! The steps of the walk in, one by one: who is refused by which, and that nothing is kept.

use std::net::SocketAddr;

use model::Reason;
use model::configuration::{Class, Configuration, LimitKey, Rate, RateLimit};

use super::{Asked, at_ms, client, configuration};
use crate::{Admission, Called, Line, Pass, Refusal, Verdict};

/// A door with one worker.
struct Door {
    admission: Admission,
    line: Line<u32>,
    passes: Vec<Pass>,
}

impl Door {
    fn new(settings: &Configuration) -> Self {
        let addresses: [SocketAddr; 1] = ["10.0.0.1:80".parse().unwrap()];
        let pools = [&addresses[..], &addresses[..]];
        let admission = Admission::build(settings, 1, &pools, None, (at_ms(0), 9));
        let line = Line::new(admission.gate(0).clone(), 0);
        Self { admission, line, passes: Vec::new() }
    }

    /// `None`: let in; `Some("waits")`, or the reason of the refusal.
    fn ask(&mut self, asked: &Asked, ms: u64) -> Option<&'static str> {
        let line = (asked.route == 0).then_some(&mut self.line);
        match self.admission.admit(asked, line, || 1, at_ms(ms)) {
            Verdict::Serve(pass) => {
                self.passes.push(pass);
                None
            }
            Verdict::Wait(_) => Some("waits"),
            Verdict::Refuse(Refusal { reason, .. }) => Some(reason.code()),
        }
    }

    fn fill(&mut self) {
        for address in 0..20 {
            assert_eq!(self.ask(&Asked { address, ..Asked::default() }, 0), None);
        }
    }
}

fn limit(by: LimitKey) -> RateLimit {
    RateLimit {
        name: "few".into(),
        by,
        rate: Rate { count: 1, per: std::time::Duration::from_secs(10) },
        burst: 2,
        routes: Vec::new(),
        observe: false,
        headers: false,
        shared: false,
    }
}

/// Everything that can refuse, at once: then removed from the front, one by one.
#[test]
fn the_steps_refuse_in_their_order() {
    let mut settings = configuration();
    settings.limits.push(limit(LimitKey::Client));
    settings.admission.retry_share = 0.0;
    let mut one = client("one");
    (one.in_flight_max, one.routes) = (Some(1), vec!["web".into()]);
    settings.clients.push(one);
    let mut door = Door::new(&settings);
    let one = Asked { client: Some(0), ..Asked::default() };

    let held = door.admission.buffers().hold(1 << 40);
    door.admission.clients().set_enabled(0, false);
    assert_eq!(door.ask(&one, 0), Some("buffers_full"));
    drop(held);
    assert_eq!(door.ask(&one, 0), Some("client_disabled"));
    door.admission.clients().set_enabled(0, true);
    assert_eq!(door.ask(&Asked { route: 2, ..one }, 0), Some("client_route"));
    // Two tokens; refusals took none of them. The second meets the limit in flight.
    assert_eq!(door.ask(&one, 0), None);
    assert_eq!(door.ask(&one, 0), Some("too_many_in_flight"));
    door.passes.clear();
    assert_eq!(door.ask(&one, 0), Some("rate_limited"));
    // What was refused is not in flight.
    assert_eq!(door.admission.clients().facts()[0].in_flight, 0);
    assert_eq!(door.admission.gate(0).in_flight(), 0);
}

#[test]
fn who_repeats_too_much_is_told_not_to() {
    let mut door = Door::new(&configuration());
    let retry = Asked { is_retry: true, ..Asked::default() };
    let refused = (0..100).find_map(|_| {
        door.passes.clear();
        door.ask(&retry, 0)
    });
    assert_eq!(refused, Some("too_many_retries"));
    door.passes.clear();
    assert_eq!(door.ask(&Asked::default(), 0), None);
}

#[test]
fn with_room_it_is_let_in_and_without_it_waits() {
    let mut door = Door::new(&configuration());
    door.fill();
    assert_eq!(door.admission.gate(0).in_flight(), 20);
    assert_eq!(door.ask(&Asked::default(), 0), Some("waits"));
    // A route without servers has nothing to wait for.
    assert_eq!(door.ask(&Asked { route: 2, ..Asked::default() }, 0), None);
    door.passes.clear();
    let Some(Called::Serve { token: 1, .. }) = door.line.next(true, at_ms(1)) else {
        panic!("who waited is served");
    };
}

#[test]
fn nobody_overtakes_who_waits() {
    let mut door = Door::new(&configuration());
    let full = Asked { server_free: false, ..Asked::default() };
    assert_eq!(door.ask(&full, 0), Some("waits"));
    assert_eq!(door.ask(&Asked::default(), 0), Some("waits"));
}

#[test]
fn a_deadline_that_has_passed_is_not_served() {
    let mut door = Door::new(&configuration());
    let late = Asked { deadline: Some(at_ms(5)), ..Asked::default() };
    assert_eq!((door.ask(&late, 4), door.ask(&late, 5)), (None, Some("too_late")));
}

#[test]
fn the_class_is_the_clients_then_the_routes() {
    let mut settings = configuration();
    settings.routes[0].class = Some(Class::Important);
    settings.clients.push(client("batch"));
    settings.clients[0].class = Class::Bulk;
    let mut door = Door::new(&settings);
    door.fill();
    assert_eq!(door.ask(&Asked { client: Some(0), ..Asked::default() }, 0), Some("waits"));
    assert_eq!(door.ask(&Asked::default(), 0), Some("waits"));
    let lane = |class, flow| !door.line.is_new(class, flow);
    use crate::Request;
    assert!(lane(Class::Important, Asked::default().flow()));
    let key = door.admission.clients().key(Some(0)).unwrap();
    assert!(lane(Class::Bulk, key));
}

#[test]
fn who_only_observes_refuses_nobody_but_the_disabled() {
    let mut settings = configuration();
    settings.admission.observe = true;
    settings.admission.retry_share = 0.0;
    settings.limits.push(limit(LimitKey::All));
    settings.clients.push(client("off"));
    settings.clients[0].enabled = false;
    let mut door = Door::new(&settings);
    for _ in 0..50 {
        assert_eq!(door.ask(&Asked { is_retry: true, ..Asked::default() }, 0), None);
    }
    assert_eq!(
        door.ask(&Asked { client: Some(0), ..Asked::default() }, 0),
        Some("client_disabled")
    );
    let facts = door.admission.facts();
    let codes: Vec<&str> = facts.observed.iter().map(|count| &*count.code).collect();
    assert_eq!(codes, [Reason::TooManyRetries.code(), Reason::QueueFull.code()]);
    assert_eq!(facts.limits[0].refused, 48);
    door.passes.clear();
    assert_eq!(door.admission.gate(0).in_flight(), 0);
}

#[test]
fn what_is_in_flight_is_counted_over_a_reload() {
    let mut door = Door::new(&configuration());
    door.fill();
    let addresses: [SocketAddr; 1] = ["10.0.0.1:80".parse().unwrap()];
    let pools = [&addresses[..], &addresses[..]];
    let previous = Some(&door.admission);
    let reloaded = Admission::build(&configuration(), 1, &pools, previous, (at_ms(9), 1));
    let line = Line::new(reloaded.gate(0).clone(), 0);
    (door.admission, door.line) = (reloaded, line);
    assert_eq!(door.admission.gate(0).in_flight(), 20);
    assert_eq!(door.ask(&Asked::default(), 10), Some("waits"));
    door.passes.clear();
    assert_eq!(door.admission.gate(0).in_flight(), 0);
}
