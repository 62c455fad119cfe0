//! Servers that stand still for a moment, as on a machine that others keep busy, are not overloaded.

use std::time::Duration;

use model::configuration::Balance;
use simulation::{Condition, Entrance, Flow, Plan, Rule, ServerPlan, Work, run};

const SEEDS: u64 = 8;
const DURATION: Duration = Duration::from_secs(30);

/// All servers pause together for so many ms, with `gap_ms` in between on the average.
fn pauses(
    seed: u64,
    (shortest_ms, longest_ms): (u64, u64),
    gap_ms: u64,
) -> Vec<(Duration, Condition)> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = |below: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below.max(1)
    };
    let mut at = Duration::ZERO;
    let mut changes = Vec::new();
    while at < DURATION {
        at += Duration::from_millis(gap_ms / 4 + next(gap_ms * 3 / 2));
        changes.push((at, Condition::Paused));
        at += Duration::from_millis(shortest_ms + next(longest_ms - shortest_ms));
        changes.push((at, Condition::Works { speed: 1.0 }));
    }
    changes
}

/// How many of a thousand requests were not answered, of four servers with much room: mean of the seeds.
fn lost(lengths: (u64, u64), gap_ms: u64, per_second: f64) -> f64 {
    let of = |seed: u64| {
        let changes = pauses(seed, lengths, gap_ms);
        let server = ServerPlan { changes, ..ServerPlan::sleeping(200) };
        let seen = run(&Plan {
            seed,
            servers: vec![server; 4],
            doors: 1,
            rule: Rule::Pool(Balance::P2c),
            work_mean: Duration::from_millis(1),
            entrance: Entrance::Found,
            work: Work::Exponential,
            flows: vec![Flow::steady(per_second)],
            objective: Duration::from_secs(1),
            warm_up: Duration::ZERO,
            duration: DURATION,
        });
        let total = seen.total();
        1_000.0 * (1.0 - total.answered as f64 / total.due as f64)
    };
    (1..=SEEDS).map(of).sum::<f64>() / SEEDS as f64
}

/// At most so many of a thousand are not answered.
fn check(lengths: (u64, u64), gap_ms: u64, per_second: f64, most: f64) {
    let lost = lost(lengths, gap_ms, per_second);
    assert!(lost <= most, "{lengths:?} ms every {gap_ms} ms at {per_second}/s: {lost:.2} of 1,000");
}

#[test]
fn hardly_any_request_is_refused() {
    check((20, 60), 500, 300.0, 0.3);
    check((20, 60), 500, 1_000.0, 0.5);
    check((50, 150), 500, 300.0, 1.5);
    check((50, 150), 500, 1_000.0, 4.0);
    check((100, 300), 2_000, 300.0, 3.0);
    check((100, 300), 2_000, 1_000.0, 12.0);
}
