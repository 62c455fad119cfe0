//! Surges: what is asked for exceeds what the servers can do, and then does not any more.

use std::time::Duration;

use model::configuration::Class;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::simulation::{Farm, Sender};
use super::{Asked, client, configuration};

const SECOND: Duration = Duration::from_secs(1);
/// Requests per second that 20 places of 20 ms can do.
const CAPACITY: f64 = 1_000.0;

/// So many senders of their own address, which send so much together.
fn senders(count: u32, per_second: f64) -> Vec<Sender> {
    let sender = |address| Sender {
        asked: Asked { address, ..Asked::default() },
        per_second: per_second / f64::from(count),
    };
    (1..=count).map(sender).collect()
}

/// Equal senders that ask for `times` the capacity: all of it is given.
fn check_equal(count: u32, times: f64, workers: usize) {
    let mut farm = Farm::new(&configuration(), workers, 1);
    farm.send(senders(count, CAPACITY * times)).go(SECOND).forget();
    farm.go(4 * SECOND);
    let per_second = f64::from(farm.served()) / 4.0;
    let what = format!("{count} senders, {times} x, {workers} workers: {per_second}/s");
    assert!(per_second >= CAPACITY * 0.97 && farm.in_flight_most() == 20, "{what}");
}

#[test]
fn equal_flows_get_the_whole_capacity() {
    for (count, times, workers) in [
        (3, 1.2, 1),
        (3, 20.0, 2),
        (50, 2.0, 2),
        (2_000, 1.2, 2),
        (2_000, 20.0, 1),
        (2_000, 20.0, 2),
    ] {
        check_equal(count, times, workers);
    }
}

#[test]
fn critical_requests_of_four_fifths_of_the_capacity_are_served() {
    for (others, workers) in [(10, 1), (1_000, 2)] {
        let mut settings = configuration();
        settings.clients.push(client("vital"));
        settings.clients[0].class = Class::Critical;
        let mut farm = Farm::new(&settings, workers, 1);
        let vital = Asked { client: Some(0), ..Asked::default() };
        let mut all = senders(others, CAPACITY * 19.2);
        all.push(Sender { asked: vital, per_second: CAPACITY * 0.8 });
        farm.send(all).go(5 * SECOND);
        let part = farm.tallies.last().unwrap().part();
        assert!(part >= 0.99, "{part} with {others} others, {workers} workers");
    }
}

#[test]
fn after_a_surge_everything_is_served_within_two_seconds() {
    for (count, workers) in [(3, 1), (50, 2), (2_000, 2)] {
        let mut farm = Farm::new(&configuration(), workers, 1);
        farm.send(senders(count, CAPACITY * 20.0)).go(10 * SECOND);
        farm.send(senders(count, CAPACITY * 0.8)).go(SECOND / 2).forget();
        farm.go(3 * SECOND / 2);
        let sent: u32 = farm.tallies.iter().map(|tally| tally.sent).sum();
        let part = f64::from(farm.served()) / f64::from(sent);
        assert!(part >= 0.98, "{part} of {count} senders, {workers} workers");
    }
}

proptest! {
    // A fixed seed: each case is a simulation, and what it shows must not depend on who runs it.
    #![proptest_config(ProptestConfig {
        cases: 12,
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    // Demotion is off: the queue alone has to do it.
    #[test]
    fn who_sends_less_than_its_share_is_served_beside_a_flood(
        demands in prop::collection::vec(0.1_f64..0.8, 1..40),
        workers in 1_usize..4,
    ) {
        let mut settings = configuration();
        settings.admission.demote_above = 0.0;
        let mut farm = Farm::new(&settings, workers, 3);
        let polite = demands.len();
        let share = CAPACITY / (polite as f64 + 1.0);
        let mut all = senders(u32::try_from(polite).unwrap(), 0.0);
        for (sender, demand) in all.iter_mut().zip(&demands) {
            sender.per_second = share * demand;
        }
        // All of it is 20 times the capacity; the flood is 95 % of it.
        let flood = Asked { address: 9_999, ..Asked::default() };
        all.push(Sender { asked: flood, per_second: CAPACITY * 19.0 });
        farm.send(all).go(5 * SECOND);
        for tally in &farm.tallies[..polite] {
            // What is in flight at the end has not been answered.
            let lost: u32 = tally.refused.values().sum();
            prop_assert!(
                f64::from(lost) <= f64::from(tally.sent) * 0.01,
                "{} of {}: {:?}, {polite} polite, {workers} workers", lost, tally.sent, tally.refused
            );
        }
        let per_second = f64::from(farm.served()) / 5.0;
        prop_assert!(per_second >= CAPACITY * 0.97, "{per_second}/s");
    }
}
